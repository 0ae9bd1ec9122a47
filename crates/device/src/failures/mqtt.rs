//! TLS stands (or was not asked for), and MQTT does not come about or ends.

use std::io;

use rustls::AlertDescription;
use sectag_mqtt::Version;
use sectag_mqtt::client::{Ending, Heard};

use super::words::{first_bytes, is_tls};
use super::{Cause, Explanation, Facts, client, transport};

/// CONNACK said no: return codes of MQTT 3.1.1 §3.2.2.3, reason codes of MQTT 5 §3.2.2.2.
pub(super) fn connack(code: u8, reason: &str, facts: &Facts) -> Explanation {
    let whom = facts.target();
    let said = format!("CONNACK {code}, {reason}");
    let explained = |cause, sentence: String, fix: &str| Explanation::new(cause, sentence, fix);
    match code {
        1 | 0x84 => {
            let (ours, fix) = match facts.version {
                Version::V311 => (
                    "3.1.1",
                    "use `--mqtt-version 5`, or enable 3.1.1 at the broker",
                ),
                Version::V5 => ("5", "use `--mqtt-version 3.1.1`"),
            };
            explained(
                Cause::MqttVersionRefused,
                format!("{whom} does not speak MQTT {ours}, which was asked for ({said})"),
                fix,
            )
        }
        2 | 0x85 => explained(
            Cause::ClientIdRejected,
            format!(
                "{whom} rejected the client id `{}` ({} bytes, clean session {}) ({said})",
                facts.client_id,
                facts.client_id.len(),
                if facts.clean { "on" } else { "off" }
            ),
            if facts.client_id.is_empty() {
                "give a client id with `--client-id`"
            } else {
                "choose another client id: the broker's rules decide which are allowed"
            },
        ),
        3 | 0x88 | 0x89 => explained(
            Cause::ServerUnavailable,
            format!("{whom} is there and takes no MQTT connections now ({said})"),
            "try again later; the broker's log says why",
        ),
        4 | 0x86 => explained(
            Cause::BadUserNameOrPassword,
            format!("{whom} refused {} ({said})", login(facts)),
            "correct user name and password, or add them to the broker's password file",
        ),
        5 | 0x87 => explained(
            Cause::NotAuthorised,
            format!(
                "{whom} does not authorise client `{}` with {} ({said})",
                facts.client_id,
                login(facts)
            ),
            if facts.user_name.is_none() {
                "give a user name and password, or let the broker take the certificate as user name or allow anonymous clients"
            } else {
                "allow this client in the broker's configuration"
            },
        ),
        _ => explained(
            Cause::ConnectRefused,
            format!(
                "{whom} refused CONNECT of client `{}` ({said})",
                facts.client_id
            ),
            "look into the broker's log for the reason",
        ),
    }
}

fn login(facts: &Facts) -> String {
    match (&facts.user_name, facts.has_password) {
        (None, _) => "no user name".to_owned(),
        (Some(name), true) => format!("user name `{name}` and its password"),
        (Some(name), false) => format!("user name `{name}` without a password"),
    }
}

/// The connection ended between CONNECT and CONNACK.
pub(super) fn ended_before_connack(
    ending: &Ending,
    heard: &Heard,
    facts: &Facts,
) -> Option<Explanation> {
    let whom = heard.address;
    let first = match &facts.answer_to_client_hello {
        Some(answer) if heard.first.is_empty() => answer,
        _ => &heard.first,
    };
    match ending {
        Ending::Alert(alert) => client::refused(*alert, heard, facts),
        Ending::Tls(error) => transport::broken(error, heard, facts),
        Ending::Protocol | Ending::Closed | Ending::Io(_)
            if facts.tls.is_none() && is_tls(first) =>
        {
            Some(Explanation::new(
                Cause::TlsExpected,
                format!(
                    "port {} of `{}` speaks TLS ({whom} answered with {}), and plain MQTT was asked for",
                    facts.port,
                    facts.host,
                    first_bytes(first)
                ),
                "ask for TLS (with a sec tag, without `--plain`), or use the broker's plain port (1883 by custom)",
            ))
        }
        Ending::Protocol => Some(Explanation::new(
            Cause::NotMqtt,
            format!(
                "port {} of `{}` speaks no MQTT: {} came where CONNACK (20 02) was expected",
                facts.port,
                facts.host,
                match facts.tls {
                    None => first_bytes(&heard.first),
                    Some(_) => "something else".to_owned(),
                }
            ),
            "correct host and port",
        )),
        Ending::Closed | Ending::Io(_) => Some(Explanation::new(
            Cause::ClosedAfterConnect,
            format!(
                "{whom} closed the connection at CONNECT of client `{}` with {} and gave no reason",
                facts.client_id,
                login(facts)
            ),
            match facts.tls {
                Some(_) => {
                    "look into the broker's log: often anonymous clients are not allowed, or the certificate's user is not"
                }
                None => {
                    "look into the broker's log: often anonymous clients are not allowed, or the port speaks TLS (then leave out `--plain`)"
                }
            },
        )),
        _ => ended(ending, facts),
    }
}

/// The connection ended after CONNACK.
pub(super) fn ended(ending: &Ending, facts: &Facts) -> Option<Explanation> {
    let whom = facts.target();
    let explained =
        |cause, sentence: String, fix: &str| Some(Explanation::new(cause, sentence, fix));
    match ending {
        Ending::PingUnanswered { after } => explained(
            Cause::KeepAliveTimeout,
            format!(
                "{whom} did not answer a ping within {after:?} (keep-alive {:?}): the connection is dead",
                facts.keep_alive
            ),
            "connect again; if it happens often, choose a keep-alive shorter than the NAT timeout of the network",
        ),
        Ending::Disconnect { code: 0x8d } => explained(
            Cause::KeepAliveTimeout,
            format!(
                "{whom} heard nothing from client `{}` within 1.5 × the keep-alive of {:?} (DISCONNECT 0x8d)",
                facts.client_id, facts.keep_alive
            ),
            "choose a longer keep-alive, or find out what held the packets up",
        ),
        Ending::Disconnect { code: 0x8e } => explained(
            Cause::SessionTakenOver,
            format!(
                "another connection to {whom} uses the client id `{}` as well and has taken the session over (DISCONNECT 0x8e)",
                facts.client_id
            ),
            "give each client an id of its own with `--client-id`",
        ),
        Ending::Disconnect { code: 0x87 } => explained(
            Cause::NotAuthorised,
            format!(
                "{whom} withdrew the authorisation of client `{}` with {} (DISCONNECT 0x87)",
                facts.client_id,
                login(facts)
            ),
            "see at the broker whether the certificate was revoked or the client blocked",
        ),
        Ending::Disconnect {
            code: code @ (0x00 | 0x88 | 0x89 | 0x8b | 0x9c | 0x9d),
        } => explained(
            Cause::ServerUnavailable,
            format!(
                "{whom} ended the connection: it is busy, moving or shutting down (DISCONNECT {code:#04x})"
            ),
            "connect again later",
        ),
        Ending::Disconnect { code } => explained(
            Cause::ConnectionLost,
            format!(
                "{whom} ended the connection of client `{}` (DISCONNECT {code:#04x})",
                facts.client_id
            ),
            "look the reason code up in MQTT 5 §2.4 and into the broker's log",
        ),
        Ending::Tls(error) => match **error {
            rustls::Error::DecryptError
            | rustls::Error::InvalidMessage(_)
            | rustls::Error::PeerSentOversizedRecord => explained(
                Cause::RecordDamaged,
                format!(
                    "a record from {whom} does not match its authentication tag ({error}): it was altered on the way"
                ),
                "look for what changes the bytes between here and the server: a proxy, a broken line, an attack",
            ),
            _ => None,
        },
        Ending::Alert(
            alert @ (AlertDescription::BadRecordMac
            | AlertDescription::DecryptError
            | AlertDescription::DecodeError),
        ) => explained(
            Cause::RecordDamaged,
            format!(
                "{whom} received a record other than the one we sent ({}): it was altered on the way",
                client::name(*alert)
            ),
            "look for what changes the bytes between here and the server: a proxy, a broken line, an attack",
        ),
        Ending::Alert(alert) => explained(
            Cause::ConnectionLost,
            format!(
                "{whom} ended the TLS session of client `{}` ({})",
                facts.client_id,
                client::name(*alert)
            ),
            "look into the broker's log for the reason",
        ),
        Ending::Closed => lost("the server closed it without a reason", facts),
        Ending::Io(kind) => lost(&io::Error::from(*kind).to_string(), facts),
        Ending::Protocol => explained(
            Cause::NotMqtt,
            format!(
                "{whom} sent what is no MQTT {} packet at this place",
                match facts.version {
                    Version::V311 => "3.1.1",
                    Version::V5 => "5",
                }
            ),
            "check which program listens there",
        ),
        _ => None,
    }
}

fn lost(how: &str, facts: &Facts) -> Option<Explanation> {
    Some(Explanation::new(
        Cause::ConnectionLost,
        format!(
            "the connection of client `{}` to {} is lost: {how}",
            facts.client_id,
            facts.target()
        ),
        "connect again; with MQTT 3.1.1 another client with the same id ends a connection in this way too",
    ))
}

pub(super) fn subscribe_refused(
    filter: &str,
    code: u8,
    reason: &str,
    facts: &Facts,
) -> Explanation {
    let (allowed, fix) = allowed(facts);
    Explanation::new(
        Cause::SubscriptionRefused,
        format!(
            "{} refused the subscription to `{filter}` (SUBACK {code}, {reason}); {allowed}",
            facts.target()
        ),
        fix,
    )
}

pub(super) fn publish_refused(topic: &str, code: u8, reason: &str, facts: &Facts) -> Explanation {
    let (allowed, fix) = allowed(facts);
    Explanation::new(
        Cause::PublishRefused,
        format!(
            "{} refused the message to `{topic}` ({reason}, code {code}); {allowed}",
            facts.target()
        ),
        fix,
    )
}

/// Which topics a client of this identity may use by the usual rule, and what to do.
fn allowed(facts: &Facts) -> (String, String) {
    let name = facts
        .tls
        .as_ref()
        .and_then(|tls| tls.papers.pair.as_ref())
        .and_then(|pair| pair.common_name.as_deref());
    match name {
        Some(name) => (
            format!("the topics of this certificate are `{name}/#`"),
            format!("use a topic below `{name}/`, or allow this one at the broker"),
        ),
        None => (
            format!(
                "client `{}` has no certificate that gives it topics",
                facts.client_id
            ),
            "allow the topic for this client in the broker's access list".to_owned(),
        ),
    }
}
