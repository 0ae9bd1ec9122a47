//! How things stand: what the keys ask for, what is served, and what still runs with older settings.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sectag_gateway::restart::SERVICES;
use sectag_gateway::{External, Level, Settings};

use crate::journal::{Journal, JournalError};
use crate::look::{Served, look};
use crate::probe::{Check, Questions, own, said};
use crate::processes::{self, Process};
use crate::survey::Survey;

/// What stands.
#[derive(Debug)]
pub struct Status {
    /// An `apply` was interrupted.
    pub interrupted: bool,
    /// The level that the keys ask of the external listener; `None` without one.
    pub listener: Option<Level>,
    /// The level that the keys ask of our clients.
    pub client: Level,
    /// Why the two sides cannot meet.
    pub mismatch: Option<String>,
    /// Unix seconds of the last `apply`.
    pub applied_s: Option<u64>,
    /// The broker's process.
    pub broker: Option<Process>,
    /// What the external listener serves, or why nothing.
    pub served: Option<Result<Served, String>>,
    /// Our client, connected as the services do.
    pub connected: Check,
    /// Who runs with older settings.
    pub older: Vec<Older>,
    /// Certificates that the keys name.
    pub certificates: Vec<Expiry>,
}

/// A process that has not seen the newest of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Older {
    /// Its name.
    pub who: String,
    /// Its number.
    pub pid: u32,
    /// Since when it runs, Unix seconds.
    pub started_s: u64,
    /// The newest file that it read before that.
    pub file: PathBuf,
    /// When that changed, Unix seconds.
    pub changed_s: u64,
    /// What makes it read the file.
    pub cure: &'static str,
}

/// Until when a certificate is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The key that names the file.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// RFC 4514.
    pub subject: String,
    /// Hexadecimal.
    pub serial: String,
    /// Unix seconds.
    pub not_after_s: u64,
}

/// Looks at everything; opens one connection to each side.
///
/// # Errors
/// [`JournalError`] when what an interrupted `apply` left cannot be read.
pub async fn status(
    survey: &Survey,
    config: &Path,
    patience: Duration,
) -> Result<Status, JournalError> {
    let settings = &survey.settings;
    let questions = Questions {
        settings,
        facts: &survey.facts,
        logs: Vec::new(),
        patience,
    };
    let served = match &settings.external {
        Some(external) if external.level() != Level::None => {
            match crate::probe::address(external, &survey.facts) {
                Some(at) => Some(look(at, patience).await.map_err(|error| said(&error))),
                None => None,
            }
        }
        _ => None,
    };
    let broker = survey.broker.process();
    let older = older(survey, broker.as_ref(), config);
    Ok(Status {
        interrupted: Journal::read(&survey.place.journal())?.is_some(),
        listener: settings.external.as_ref().map(External::level),
        client: settings.client.level(),
        mismatch: mismatch(settings, survey.facts.machine.is_own(&settings.client.host)),
        applied_s: survey.record.as_ref().map(|record| record.at_s),
        connected: own(&questions).await,
        certificates: certificates(survey),
        broker,
        served,
        older,
    })
}

/// Why our clients cannot be let in where their port leads; `is_here`: that is a port of this machine, as far as it is known.
fn mismatch(settings: &Settings, is_here: Option<bool>) -> Option<String> {
    if is_here == Some(false) {
        return None;
    }
    let client = settings.client.level();
    let port = settings.client.port.value;
    let external = settings
        .external
        .as_ref()
        .filter(|external| external.port.value == port);
    let Some(external) = external else {
        let internal = settings.internal.enabled && settings.internal.port == port;
        return (internal && client != Level::None).then(|| {
            format!(
                "mqtt.client.* asks for TLS ({client}), and port {port} is the internal listener, which is plaintext"
            )
        });
    };
    match (external.level(), client) {
        (Level::None, Level::None) | (Level::Server, Level::Server | Level::Mutual) => None,
        (Level::Mutual, Level::Mutual) => None,
        (listener, client) => Some(format!(
            "the listener on port {port} is {listener}, mqtt.client.* is {client}"
        )),
    }
}

fn older(survey: &Survey, broker: Option<&Process>, config: &Path) -> Vec<Older> {
    let mut older = Vec::new();
    let external = survey.settings.external.as_ref();
    let mut judge = |process: &Process, who: &str, files: &[PathBuf], cure| {
        let newest = files
            .iter()
            .filter_map(|file| Some((changed_s(file)?, file)))
            .max()
            // To the second: what changed in the second of the start was probably read.
            .filter(|(changed_s, _)| *changed_s > process.started_s + 1);
        if let Some((changed_s, file)) = newest {
            older.push(Older {
                who: who.to_owned(),
                pid: process.pid,
                started_s: process.started_s,
                file: file.clone(),
                changed_s,
                cure,
            });
        }
    };
    if let Some(process) = broker {
        let mut files = survey.effective.files.clone();
        files.extend(external.and_then(|external| external.ca_path.clone()));
        judge(process, "mosquitto", &files, "restart");
    }
    let client = &survey.settings.client;
    let mut files = vec![config.to_owned()];
    files.extend(
        [
            &client.ca_file,
            &client.ca_dir,
            &client.cert_file,
            &client.key_file,
        ]
        .into_iter()
        .flatten()
        .cloned(),
    );
    for process in processes::processes() {
        let service = SERVICES.iter().find(|name| is_named(&process.name, name));
        if let Some(service) = service {
            judge(&process, service, &files, "restart");
        }
    }
    older
}

/// The kernel keeps 15 characters of a name; `*` at the end of ours stands for anything.
pub(crate) fn is_named(process: &str, service: &str) -> bool {
    const KEPT: usize = 15;
    match service.strip_suffix('*') {
        Some(start) => process.starts_with(start.get(..KEPT).unwrap_or(start)),
        None => process == service.get(..KEPT).unwrap_or(service),
    }
}

fn changed_s(file: &Path) -> Option<u64> {
    let changed = std::fs::metadata(file).ok()?.modified().ok()?;
    Some(changed.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn certificates(survey: &Survey) -> Vec<Expiry> {
    let external = survey.settings.external.as_ref();
    let client = &survey.settings.client;
    let named = [
        (
            "mqtt.external.cert_file",
            external.and_then(|e| e.cert_file.as_ref()),
        ),
        (
            "mqtt.external.ca_path",
            external.and_then(|e| e.ca_path.as_ref()),
        ),
        ("mqtt.client.auth.cert_file", client.cert_file.as_ref()),
        ("mqtt.client.auth.ca_file", client.ca_file.as_ref()),
    ];
    let mut all = Vec::new();
    for (key, path) in named {
        let Some(path) = path else { continue };
        for held in survey.facts.chain(Some(path)) {
            all.push(Expiry {
                key,
                path: path.clone(),
                subject: held.facts.subject.clone(),
                serial: held.facts.serial_hex.clone(),
                not_after_s: held.facts.not_after_s,
            });
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_gateway::config::{Config, Locations};
    use sectag_gateway::document::Document;

    #[test]
    fn a_port_of_another_machine_is_no_port_of_ours() {
        let locations = Locations {
            dir: "/".into(),
            cwd: "/".into(),
        };
        let text = "mqtt.client.auth.ca_file = \"/ca.crt\"\nmqtt.client.port = 1883\n";
        let document = Document::parse(text).unwrap();
        let config = Config::of_document(&locations, &document).unwrap();
        let settings = config.settings().unwrap();
        for (is_here, wrong) in [(Some(true), true), (None, true), (Some(false), false)] {
            assert_eq!(mismatch(&settings, is_here).is_some(), wrong);
        }
    }

    #[test]
    fn a_service_is_known_by_what_the_kernel_keeps_of_its_name() {
        assert!(is_named("tedge-mapper-c8", "tedge-mapper-c8y"));
        assert!(is_named("tedge-agent", "tedge-agent"));
        assert!(is_named("tedge-mapper", "tedge-mapper*"));
        assert!(!is_named("tedge", "tedge-agent"));
    }
}
