//! What is printed while it runs: the log as data; lights, causes and bytes as talk.

use crate::output;
use sectag_device::failures::Explanation;
use sectag_device::link::LinkError;
use sectag_device::sample::{Happening, ProvisionError, Session};
use sectag_modem::credentials::Written;
use sectag_mqtt::{ClientError, Traffic};
use serde_json::json;
use std::time::Duration;

/// Listens to a run, and remembers what its connections cost.
pub(super) struct Report {
    as_json: bool,
    own_broker: bool,
    sessions: Vec<(Duration, Traffic)>,
    failures: u64,
}

impl Report {
    pub(super) fn new(as_json: bool, own_broker: bool) -> Self {
        Self {
            as_json,
            own_broker,
            sessions: Vec::new(),
            failures: 0,
        }
    }

    /// Connections so far.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Attempts that failed.
    pub(super) const fn failures(&self) -> u64 {
        self.failures
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
            Happening::NotProvisioned(error) => not_provisioned(error),
            Happening::Modem(words) => eprintln!("  modem: {words}"),
            Happening::NotConnected(error) => {
                self.failures += 1;
                self.not_connected(error);
            }
            Happening::Refused(error, explanation) => explain(error, *explanation),
            Happening::Warning(warning) => {
                eprintln!("warning: {}\n  {}", warning.sentence, warning.fix)
            }
            Happening::Session(session) => self.session(session),
            _ => {}
        }
    }

    fn not_connected(&self, error: &LinkError) {
        let unreachable = matches!(
            error,
            LinkError::Session {
                error: ClientError::Tcp { .. },
                ..
            }
        );
        let explanation = error.explain();
        match &explanation {
            Some(explanation) => eprintln!("  {explanation}"),
            None => eprintln!("  {error}"),
        }
        if self.own_broker && unreachable {
            eprintln!(
                "  hint: start this home's broker with `sectag up`, or name another with --host"
            );
        } else if let Some(explanation) = explanation {
            eprintln!("  hint: {}", explanation.fix);
        }
    }

    fn session(&mut self, session: &Session) {
        if let Some((error, explanation)) = &session.lost {
            explain(error, explanation.as_ref());
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

fn explain(error: &ClientError, explanation: Option<&Explanation>) {
    match explanation {
        Some(explanation) => eprintln!("  {explanation}\n  hint: {}", explanation.fix),
        None => eprintln!("  {error}"),
    }
}

fn not_provisioned(error: &ProvisionError) {
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
