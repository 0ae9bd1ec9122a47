//! Services of this machine that are clients of the broker.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sectag_mqtt::Qos;
use serde_json::Value;

use crate::broker;
use crate::probe::{self, Questions};
use crate::processes::processes;
use crate::status::is_named;

/// Retained messages come at once; nothing marks the last of them.
const RETAINED_WAIT: Duration = Duration::from_millis(300);

/// Those that systemd runs; none where it does not.
pub fn active(names: &[&str]) -> Vec<String> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Vec::new();
    }
    let is_active = |name: &&&str| {
        Command::new("systemctl")
            .args(["is-active", "--quiet", "--", name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    names
        .iter()
        .filter(is_active)
        .map(|name| (*name).to_owned())
        .collect()
}

/// Those that run, whoever started them.
pub fn running(names: &[&str]) -> Vec<String> {
    let processes = processes();
    let runs = |name: &&&str| {
        processes
            .iter()
            .any(|process| is_named(&process.name, name))
    };
    names
        .iter()
        .filter(runs)
        .map(|name| (*name).to_owned())
        .collect()
}

/// `systemctl restart`.
///
/// # Errors
/// A sentence.
pub fn restart_unit(unit: &str, log: &Path, patience: Duration) -> Result<(), String> {
    let shown = format!("systemctl restart {unit}");
    broker::run("systemctl", &["restart", "--", unit], &shown, log, patience)
}

/// A shell command.
///
/// # Errors
/// A sentence.
pub fn run_command(command: &str, log: &Path, patience: Duration) -> Result<(), String> {
    broker::run("sh", &["-c", command], command, log, patience)
}

/// Topics of operations that are not over: retained commands under the topic root that are `executing` or `scheduled`.
/// Empty when the broker cannot be asked: then nothing of it is under way either.
pub async fn operations(questions: &Questions<'_>) -> Vec<String> {
    let Ok((session, mut incoming)) = probe::own_session(questions).await else {
        return Vec::new();
    };
    let filter = format!("{}/+/+/+/+/cmd/+/+", questions.settings.topic_root);
    let mut found = Vec::new();
    if session.subscribe(&filter, Qos::AtMostOnce).await.is_ok() {
        while let Ok(Some(message)) = tokio::time::timeout(RETAINED_WAIT, incoming.recv()).await {
            let status: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            if matches!(status["status"].as_str(), Some("executing" | "scheduled")) {
                found.push(message.topic);
            }
        }
    }
    let _ = session.disconnect().await; // it ends either way
    found
}
