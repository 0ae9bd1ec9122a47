//! Debian's mosquitto tools, and papers as files the way they want them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use sectag_mqtt::Broker;
use tokio::process::Command;

use super::{PATIENCE, Papers, Town};

/// True if the program can be run; else the test is skipped with one line, or fails if peers are required.
pub fn have(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|directory| directory.join(program).is_file());
    if !found {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "{program} is not installed and SECTAG_PEERS=require"
        );
        // Once, and to the real standard error: the harness swallows what a passing test prints with eprintln.
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
        });
    }
    found
}

/// Papers as files, the way mosquitto wants them.
pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub fn new(town: &Town) -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        files.write("ca.crt", &town.root.certificate_pem());
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn papers(&self, name: &str, papers: &Papers) {
        self.write(&format!("{name}.crt"), &papers.chain);
        self.write(&format!("{name}.key"), &papers.key);
    }

    /// A mosquitto tool aimed at the broker, with these papers or none.
    pub fn tool(&self, tool: &str, broker: &Broker, papers: Option<&str>) -> Command {
        let mut command = self.bare_tool(tool, broker.local_addr().port());
        command.arg("--cafile").arg(self.path("ca.crt"));
        if let Some(name) = papers {
            command
                .arg("--cert")
                .arg(self.path(&format!("{name}.crt")))
                .arg("--key")
                .arg(self.path(&format!("{name}.key")));
        }
        command
    }

    /// The same without TLS.
    pub fn bare_tool(&self, tool: &str, port: u16) -> Command {
        // Line by line (coreutils), or its log would sit in a buffer of the C library until the tool ends.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", tool])
            .args(["-h", "localhost", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Runs a tool to its end: (exit code, what it said).
pub async fn run(mut command: Command) -> (Option<i32>, String) {
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .unwrap()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
