//! What the terminal says of a session: why it failed, what it cost.

use crate::fault::Fault;
use sectag_device::Explanation;
use sectag_device::link::LinkError;
use sectag_mqtt::{ClientError, Traffic};

/// A link that did not come about: cause and fix.
pub(crate) fn no_link(error: LinkError) -> Fault {
    let explanation = error.explain();
    fault(error, explanation)
}

/// The same for a device of this home: a command in the fix is for its modem.
pub(super) fn no_link_for(error: LinkError, name: &str) -> Fault {
    let mut explanation = error.explain();
    if let Some(explanation) = &mut explanation {
        let with_name = format!(" --name {name} --to-tag ");
        explanation.fix = explanation.fix.replace(" --to-tag ", &with_name);
    }
    fault(error, explanation)
}

/// The same with an explanation that was gone over.
pub(super) fn no_link_explained(error: LinkError, explanation: Option<Explanation>) -> Fault {
    fault(error, explanation)
}

fn fault(error: LinkError, explanation: Option<Explanation>) -> Fault {
    let (fault, explanation) = match (explanation, error) {
        (Some(explanation), LinkError::Session { error, facts }) => {
            let words = words(&explanation, facts.has_tags());
            match error {
                ClientError::Tcp { .. } | ClientError::Resolve { .. } => {
                    (Fault::untried(words), explanation)
                }
                _ => (Fault::no(words), explanation),
            }
        }
        (Some(explanation), _) => (Fault::untried(words(&explanation, true)), explanation),
        (None, LinkError::Session { error, .. }) => return Fault::no_because(error),
        (None, error) => return Fault::from(error),
    };
    fault.hint(explanation.fix)
}

/// An error of a link that was open.
pub(super) fn explained(explanation: &Explanation, with_tags: bool) -> Fault {
    Fault::no(words(explanation, with_tags)).hint(&explanation.fix)
}

/// How it would look on an nRF91 is for those who have one in mind.
fn words(explanation: &Explanation, with_tags: bool) -> String {
    if with_tags {
        explanation.to_string()
    } else {
        explanation.sentence.clone()
    }
}

/// Bytes of handshake, records, packets and payload (spec/source-statements X2).
pub(super) fn traffic_report(traffic: &Traffic) -> String {
    let row = |what: &str, sent: u64, received: u64| format!("{what:<26}{sent:>8}{received:>10}\n");
    let mut text = match (traffic.tls_version, traffic.cipher_suite) {
        (Some(version), suite) => format!(
            "{}, {}, {}\n",
            version.replace("TLSv1_", "TLS 1."),
            suite.unwrap_or("unnamed cipher suite"),
            if traffic.resumed {
                "session resumed"
            } else {
                "full handshake"
            }
        ),
        (None, _) => "plain TCP\n".to_owned(),
    };
    text += &format!("{:<26}{:>8}{:>10}\n", "bytes", "sent", "received");
    text += &row(
        "TLS handshake",
        traffic.handshake_sent,
        traffic.handshake_received,
    );
    let records = if traffic.tls_version.is_some() {
        "TLS records after it"
    } else {
        "TCP payload"
    };
    text += &row(records, traffic.sent, traffic.received);
    text += &row(
        "  MQTT packets in them",
        traffic.packets_sent,
        traffic.packets_received,
    );
    text += &row(
        "    payload in those",
        traffic.payload_sent,
        traffic.payload_received,
    );
    if traffic.record_received_max > 0 {
        text += &format!(
            "largest TLS record received: {} (an nRF91 takes 2048)\n",
            traffic.record_received_max
        );
    }
    text
}
