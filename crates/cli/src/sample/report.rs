//! What is printed while it runs: the log as data; lights, causes and bytes as talk.

use crate::fault::Fault;
use crate::output;
use sectag_device::failures::Explanation;
use sectag_device::link::LinkError;
use sectag_device::sample::{Happening, ProvisionError, Session};
use sectag_modem::credentials::Written;
use sectag_mqtt::Traffic;
use serde_json::json;
use std::time::Duration;

/// Listens to a run, and remembers what its end needs.
pub(super) struct Report {
    as_json: bool,
    own_broker: bool,
    sessions: Vec<(Duration, Traffic)>,
    trouble: Option<(String, Option<String>)>,
}

impl Report {
    pub(super) fn new(as_json: bool, own_broker: bool) -> Self {
        Self {
            as_json,
            own_broker,
            sessions: Vec::new(),
            trouble: None,
        }
    }

    /// Connections so far.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The last trouble, as the reason for the end.
    pub(super) fn fault(&self, what: &str) -> Fault {
        match &self.trouble {
            Some((sentence, fix)) => {
                let fault = Fault::no(format!("{what}: {sentence}"));
                match fix {
                    Some(fix) => fault.hint(fix.clone()),
                    None => fault,
                }
            }
            None => Fault::no(what),
        }
    }

    pub(super) fn tell(&mut self, happening: &Happening<'_>) {
        match happening {
            Happening::Line(line) if self.as_json => one_line(&json!({
                "level": line.level.letters(), "module": line.module, "text": line.text
            })),
            Happening::Line(line) => output::print(&format!("{line}\n")),
            Happening::Led { number, on } if self.as_json => {
                one_line(&json!({ "led": number, "on": on }));
            }
            Happening::Led { number, on } => {
                eprintln!("  LED{number} {}", if *on { "on" } else { "off" });
            }
            Happening::Provisioned(file, written) => {
                let word = match written {
                    Written::New => "written",
                    Written::Replaced => "replaced",
                    Written::Unchanged => "there already, not written",
                };
                eprintln!(
                    "  sec tag {}: {} from `{}`: {word}",
                    file.tag,
                    file.kind,
                    file.path.display()
                );
            }
            Happening::NotProvisioned(error) => self.not_provisioned(error),
            Happening::Modem(words) => {
                eprintln!("  modem: {words}");
                self.trouble = Some(((*words).to_owned(), None));
            }
            Happening::NotConnected(error) => self.not_connected(error),
            Happening::Warning(warning) => {
                eprintln!("warning: {}\n  {}", warning.sentence, warning.fix)
            }
            Happening::Session(session) => self.session(session),
            _ => {}
        }
    }

    fn not_provisioned(&mut self, error: &ProvisionError) {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        eprintln!("  {text}");
        if let Some(hint) = error.hint() {
            eprintln!("  hint: {hint}");
        }
        self.trouble = Some((text, error.hint()));
    }

    fn not_connected(&mut self, error: &LinkError) {
        let (sentence, fix) = match error.explain() {
            Some(explanation) => (explanation.to_string(), Some(explanation.fix)),
            None => (error.to_string(), None),
        };
        eprintln!("  {sentence}");
        if let Some(fix) = &fix {
            eprintln!("  hint: {fix}");
        }
        let unreachable = matches!(
            error,
            LinkError::Session {
                error: sectag_mqtt::ClientError::Tcp { .. },
                ..
            }
        );
        if self.own_broker && unreachable {
            eprintln!(
                "  hint: this home's broker runs with `sectag up`; another one is named with --host"
            );
        }
        self.trouble = Some((sentence, fix));
    }

    fn session(&mut self, session: &Session) {
        if let Some((error, explanation)) = &session.lost {
            match explanation {
                Some(Explanation { sentence, fix, .. }) => eprintln!("  {sentence}\n  hint: {fix}"),
                None => eprintln!("  {error}"),
            }
        }
        self.sessions.push((session.lasted, session.traffic));
        if self.as_json {
            one_line(&session_json(session));
        } else {
            eprintln!(
                "  session {}: {}",
                session.number,
                in_words(session.lasted, &session.traffic)
            );
        }
    }

    /// What all connections cost together, if there was more than one.
    pub(super) fn sum(&self) {
        if self.sessions.len() > 1 && !self.as_json {
            let lasted = self.sessions.iter().map(|(lasted, _)| *lasted).sum();
            let all = self
                .sessions
                .iter()
                .fold(Traffic::default(), |sum, (_, one)| Traffic {
                    handshake_sent: sum.handshake_sent + one.handshake_sent,
                    handshake_received: sum.handshake_received + one.handshake_received,
                    sent: sum.sent + one.sent,
                    received: sum.received + one.received,
                    packets_sent: sum.packets_sent + one.packets_sent,
                    packets_received: sum.packets_received + one.packets_received,
                    payload_sent: sum.payload_sent + one.payload_sent,
                    payload_received: sum.payload_received + one.payload_received,
                    ..sum
                });
            eprintln!(
                "  {} sessions: {}",
                self.sessions.len(),
                in_words(lasted, &all)
            );
        }
    }
}

/// Sent + received, in bytes of TCP.
fn in_words(lasted: Duration, traffic: &Traffic) -> String {
    let mut text = format!("{:.1} s; ", lasted.as_secs_f64());
    if traffic.handshake_sent > 0 {
        let kind = if traffic.resumed { " (resumed)" } else { "" };
        text.push_str(&format!(
            "handshake{kind} {} + {} bytes, records {} + {}, ",
            traffic.handshake_sent, traffic.handshake_received, traffic.sent, traffic.received
        ));
    }
    text.push_str(&format!(
        "MQTT {} + {}, payload {} + {}",
        traffic.packets_sent,
        traffic.packets_received,
        traffic.payload_sent,
        traffic.payload_received
    ));
    if let (Some(version), Some(suite)) = (traffic.tls_version, traffic.cipher_suite) {
        text.push_str(&format!("; {version} {suite}"));
    }
    text
}

fn session_json(session: &Session) -> serde_json::Value {
    let traffic = &session.traffic;
    json!({
        "session": session.number,
        "lastedMs": u64::try_from(session.lasted.as_millis()).unwrap_or(u64::MAX),
        "lost": session.lost.as_ref().map(|(error, explanation)| match explanation {
            Some(explanation) => explanation.sentence.clone(),
            None => error.to_string(),
        }),
        "handshakeSent": traffic.handshake_sent,
        "handshakeReceived": traffic.handshake_received,
        "recordsSent": traffic.sent,
        "recordsReceived": traffic.received,
        "packetsSent": traffic.packets_sent,
        "packetsReceived": traffic.packets_received,
        "payloadSent": traffic.payload_sent,
        "payloadReceived": traffic.payload_received,
        "resumed": traffic.resumed,
        "tlsVersion": traffic.tls_version,
        "cipherSuite": traffic.cipher_suite,
    })
}

fn one_line(value: &serde_json::Value) {
    output::print(&format!("{value}\n"));
}
