//! `gateway check FILE`: a broker's file that somebody wrote, judged line by line, and the certificates it names as well.
//!
//! ```text
//!   file ──► mosquitto::judge ──► lines that are wrong, the corrected file ──┐
//!     └── names of certificates ──► Facts ──► findings (E8 E12 E13 E18–E21) ─┴──► Report
//! ```

use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::facts::{Facts, Machine};
use crate::findings::{self, Finding, FindingId, Severity};
use crate::mosquitto::{BrokerVersion, Files, Judged, Judgement, Listener, judge, parse};
use crate::settings::{Client, External, Internal, Settings, Source, Sourced};

/// What is to be said about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Lines and listeners.
    pub judged: Judged,
    /// Certificates, keys and CAs that its listeners name. `fix` speaks of lines where a key of ours would stand.
    pub findings: Vec<Finding>,
}

/// Judges the file at `path`, whose content is `text`. Included files come from `files`; certificates are read from disk.
pub fn check(
    path: &Path,
    text: &[u8],
    files: &dyn Files,
    version: BrokerVersion,
    machine: &Machine,
) -> Report {
    let judged = judge(path, text, files, version);
    let mut findings: Vec<Finding> = Vec::new();
    // Names in the wrong places are said already; what counts is what is wrong beside that.
    let right = judged
        .corrected
        .as_ref()
        .map(|text| parse(path, text.as_bytes(), files, version));
    for listener in &judged.effective.listeners {
        let right = right.iter().flat_map(|right| &right.listeners);
        let right = right
            .filter(|right| right.port == listener.port)
            .find(|right| right.address == listener.address);
        let place = listener.at.as_ref().map(ToString::to_string);
        for finding in of_listener(right.unwrap_or(listener), place.as_deref(), machine) {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.id));
    Report {
        path: path.to_owned(),
        judged,
        findings,
    }
}

impl Report {
    /// Nothing keeps the broker from working as the file means it: exit 0, else 1.
    pub fn is_fine(&self) -> bool {
        self.judged.judgements.iter().all(is_remark) && !findings::has_error(&self.findings)
    }

    /// For people: what each listener is, what is wrong, and the corrected file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let effective = &self.judged.effective;
        // Writing to a String cannot fail.
        for listener in &effective.listeners {
            let _ = writeln!(text, "{listener}: level {}", effective.level(listener));
        }
        for judgement in &self.judged.judgements {
            let severity = match judgement {
                judgement if is_remark(judgement) => Severity::Note,
                judgement if judgement.stops => Severity::Error,
                _ => Severity::Warn,
            };
            let _ = writeln!(text, "\n{severity}: {}", place_first(judgement));
            let _ = writeln!(text, "  {}", judgement.why);
        }
        for finding in &self.findings {
            let _ = writeln!(text, "\n{finding}");
        }
        let lines_are_fine = self.judged.judgements.iter().all(is_remark);
        match &self.judged.corrected {
            Some(corrected) if !lines_are_fine => {
                let version = effective.version;
                let _ = writeln!(text, "\nthe file as it works with mosquitto {version}:\n");
                for line in corrected.lines() {
                    let _ = writeln!(text, "    {line}");
                }
            }
            _ if self.findings.is_empty() => {
                let _ = writeln!(text, "nothing is wrong for mosquitto {}", effective.version);
            }
            _ => {}
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let effective = &self.judged.effective;
        let at = |at: &Option<crate::mosquitto::At>| match at {
            Some(at) => json!({ "file": at.file.display().to_string(), "line": at.line }),
            None => Value::Null,
        };
        let listeners: Vec<Value> = effective
            .listeners
            .iter()
            .map(|listener| {
                json!({
                    "port": listener.port,
                    "address": listener.address,
                    "level": effective.level(listener).to_string(),
                    "at": at(&listener.at),
                })
            })
            .collect();
        let judgements: Vec<Value> = self
            .judged
            .judgements
            .iter()
            .map(|judgement| {
                json!({
                    "at": at(&judgement.at),
                    "stops": judgement.stops,
                    "wrong": judgement.wrong,
                    "why": judgement.why,
                })
            })
            .collect();
        json!({
            "file": self.path.display().to_string(),
            "version": effective.version.to_string(),
            "fine": self.is_fine(),
            "listeners": listeners,
            "judgements": judgements,
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
            "corrected": self.judged.corrected,
        })
    }
}

/// About the whole file, and nothing that keeps it from working.
fn is_remark(judgement: &Judgement) -> bool {
    judgement.at.is_none() && !judgement.stops
}

fn place_first(judgement: &Judgement) -> String {
    match &judgement.at {
        Some(at) => format!("{at}: {}", judgement.wrong),
        None => judgement.wrong.clone(),
    }
}

/// What the parser has said already, or what makes no sense for a file that stands alone.
const SAID_BY_LINES: [FindingId; 6] = [
    FindingId::E1,
    FindingId::E3,
    FindingId::E4,
    FindingId::E5,
    FindingId::E6,
    FindingId::E16,
];

/// Our keys and the broker's words for them.
const WORDS: [(&str, &str); 4] = [
    ("mqtt.external.cert_file", "certfile"),
    ("mqtt.external.key_file", "keyfile"),
    ("mqtt.external.ca_path", "cafile"),
    ("mqtt.external.crl_file", "crlfile"),
];

fn of_listener(listener: &Listener, place: Option<&str>, machine: &Machine) -> Vec<Finding> {
    // A relative path depends on where the broker is started, and a placeholder is relative too.
    let path = |word: &str| {
        let path = listener.text(word).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let ca_path = path("cafile").or_else(|| path("capath"));
    let external = External {
        port: Sourced {
            value: NonZeroU16::new(listener.port).unwrap_or(NonZeroU16::MIN),
            source: Source::File,
        },
        address: None,
        interface: None,
        ca_path,
        cert_file: path("certfile"),
        key_file: path("keyfile"),
        crl_file: path("crlfile"),
    };
    let settings = alone(external);
    let facts = Facts::gather(&settings, machine);
    let ca_word = match (listener.text("cafile"), listener.text("capath")) {
        (None, Some(_)) => "capath",
        _ => "cafile",
    };
    let found = findings::for_listener(&settings, &facts);
    found
        .into_iter()
        .filter(|finding| !SAID_BY_LINES.contains(&finding.id))
        .map(|finding| in_words(finding, place, ca_word))
        .collect()
}

/// Says `keyfile` where the finding says `mqtt.external.key_file`.
fn in_words(mut finding: Finding, place: Option<&str>, ca_word: &str) -> Finding {
    let words = |text: &str| {
        WORDS.iter().fold(text.to_owned(), |text, (key, word)| {
            let word = if *word == "cafile" { ca_word } else { word };
            text.replace(key, word)
        })
    };
    let place = place.unwrap_or("of the listener");
    let line = |command: &str| {
        let set = command.strip_prefix("sectag config set mqtt.external.");
        let unset = command.strip_prefix("sectag config unset mqtt.external.");
        match (set, unset) {
            (Some(rest), _) => {
                let lines = rest.replace(" mqtt.external.", "` and `mqtt.external.");
                let lines = words(&format!("mqtt.external.{lines}"));
                format!("write `{lines}` below the line {place}")
            }
            (None, Some(rest)) => {
                let word = words(&format!("mqtt.external.{rest}"));
                format!("remove `{word}` below the line {place}")
            }
            (None, None) => command.replace("sectag config check", "sectag gateway check"),
        }
    };
    let commands = finding.fix.split(findings::OR).map(|command| {
        let steps: Vec<String> = command.split(" && ").map(line).collect();
        steps.join(", then ")
    });
    let commands: Vec<String> = commands.collect();
    Finding {
        sentence: words(&finding.sentence),
        values: finding
            .values
            .drain(..)
            .map(|(name, value)| (words(&name), value))
            .collect(),
        fix: commands.join(findings::OR),
        ..finding
    }
}

/// Settings with this listener and nothing else.
fn alone(external: External) -> Settings {
    Settings {
        internal: Internal {
            enabled: false,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            port: NonZeroU16::MIN,
        },
        client: Client {
            host: crate::settings::Host::Ip(std::net::Ipv4Addr::LOCALHOST.into()),
            port: external.port,
            server_name: None,
            ca_file: None,
            ca_dir: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
        },
        external: Some(external),
        topic_root: String::new(),
        minimum_validity_s: MINIMUM_VALIDITY_S,
    }
}

/// The default of `certificate.validity.minimum_duration`: 30 days.
const MINIMUM_VALIDITY_S: u64 = 30 * 86_400;
