//! Below the certificates: name, TCP, and whether TLS is spoken at all.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{Error as TlsError, InvalidMessage, PeerIncompatible, PeerMisbehaved};
use sectag_mqtt::client::{Heard, Stage};

use super::words::{first_bytes, is_tls, list};
use super::{Cause, Explanation, Facts};

pub(super) fn not_resolved(source: &io::Error, facts: &Facts) -> Explanation {
    Explanation::new(
        Cause::NameNotResolved,
        format!(
            "the host name `{}` has no address: the resolver says \"{source}\"",
            facts.host
        ),
        "correct the broker's host name, or give its IP address with `--host` and its name with `--server-name`",
    )
}

pub(super) fn not_connected(address: SocketAddr, source: &io::Error, facts: &Facts) -> Explanation {
    if source.kind() != io::ErrorKind::ConnectionRefused {
        return Explanation::new(
            Cause::HostUnreachable,
            format!(
                "there is no way to {address}, the address of `{}`: {source}",
                facts.host
            ),
            "check network, route and firewall between here and that address",
        );
    }
    let usual = if facts.tls.is_some() {
        "8883 for MQTT over TLS"
    } else {
        "1883 for plain MQTT"
    };
    Explanation::new(
        Cause::ConnectionRefused,
        format!(
            "nothing listens at {address}: port {} was asked for at `{}`, usual is {usual}",
            facts.port, facts.host
        ),
        "start the broker, or correct host and port",
    )
}

pub(super) fn too_late(
    stage: Stage,
    address: Option<SocketAddr>,
    after: Duration,
    facts: &Facts,
) -> Option<Explanation> {
    let whom = address.map_or_else(|| facts.target(), |address| address.to_string());
    let explained =
        |cause, sentence: String, fix: &str| Some(Explanation::new(cause, sentence, fix));
    match stage {
        Stage::Tcp if address.is_none() => explained(
            Cause::NameNotResolved,
            format!(
                "the host name `{}` has no address: no answer from the resolver within {after:?}",
                facts.host
            ),
            "check the name server, or give the broker's IP address with `--host` and its name with `--server-name`",
        ),
        Stage::Tcp => explained(
            Cause::HostUnreachable,
            format!(
                "no answer from {whom}, the address of `{}`, within {after:?}",
                facts.host
            ),
            "check that the machine is up and that no firewall drops what goes to this port",
        ),
        Stage::Tls => explained(
            Cause::HandshakeTimeout,
            format!(
                "{whom} took the connection and did not finish the TLS handshake within {after:?}"
            ),
            "check that this port speaks TLS and that the server is not overloaded; a slow network needs a longer time limit",
        ),
        Stage::Connack => explained(
            Cause::ConnackTimeout,
            format!("{whom} did not answer CONNECT within {after:?}: no CONNACK"),
            "check that this port speaks MQTT and that the broker is not overloaded",
        ),
        Stage::Publish | Stage::Subscribe | Stage::Unsubscribe => explained(
            Cause::AcknowledgementTimeout,
            format!("no {stage} from {whom} within {after:?}"),
            "check the broker's log for this client; a slow network needs a longer time limit",
        ),
        Stage::Closing => None,
    }
}

/// The connection ended within the handshake.
pub(super) fn cut(kind: io::ErrorKind, heard: &Heard, facts: &Facts) -> Explanation {
    if heard.received == 0 {
        return no_tls(
            format!(
                "{} closed the connection at our TLS ClientHello, without one byte of TLS",
                heard.address
            ),
            facts,
        );
    }
    if !is_tls(&heard.first) {
        return no_tls(
            format!(
                "{} answered TLS with {}",
                heard.address,
                first_bytes(&heard.first)
            ),
            facts,
        );
    }
    if let Some(tls) = &facts.tls
        && tls.asked
        && tls.papers.pair.is_none()
    {
        return super::client::missing(facts);
    }
    Explanation::new(
        Cause::HandshakeCut,
        format!(
            "{} ended the connection within the TLS handshake, after {} bytes and without an alert ({kind})",
            heard.address, heard.received
        ),
        "look into the server's log: it gave no reason; a proxy or load balancer between may have ended it",
    )
}

/// The TLS library ended the handshake, certificates aside.
pub(super) fn broken(error: &TlsError, heard: &Heard, facts: &Facts) -> Option<Explanation> {
    match error {
        TlsError::PeerSentOversizedRecord
        | TlsError::InvalidMessage(InvalidMessage::MessageTooLarge)
            if is_tls(&heard.first) =>
        {
            Some(too_large(heard))
        }
        TlsError::InvalidMessage(_) if !is_tls(&heard.first) => Some(no_tls(
            format!(
                "{} answered TLS with {}",
                heard.address,
                first_bytes(&heard.first)
            ),
            facts,
        )),
        TlsError::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => Some(no_common_version("the server chose another", facts)),
        TlsError::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon,
        )
        | TlsError::PeerMisbehaved(
            PeerMisbehaved::SelectedUnofferedCipherSuite
            | PeerMisbehaved::SelectedUnusableCipherSuiteForVersion,
        ) => Some(no_common_suite("the server chose another", facts)),
        TlsError::General(_) => {
            let place = &facts.tls.as_ref()?.papers.pair.as_ref()?.place;
            Some(Explanation::new(
                Cause::KeyCannotSign,
                format!("the private key of {place} did not sign the handshake: {error}"),
                format!("check the credentials of {place}"),
            ))
        }
        TlsError::DecryptError
        | TlsError::InvalidMessage(_)
        | TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. } => {
            Some(damaged(error, heard.address, heard.received))
        }
        _ => None,
    }
}

fn no_tls(what: String, facts: &Facts) -> Explanation {
    Explanation::new(
        Cause::NoTlsOnPort,
        format!(
            "port {} of `{}` speaks no TLS: {what}",
            facts.port, facts.host
        ),
        "use the broker's TLS port (8883 by custom; 1883 is plain MQTT), or ask for plain MQTT with `--plain`",
    )
}

/// A record that does not fit into the session.
pub(super) fn damaged(error: &TlsError, address: SocketAddr, received: u64) -> Explanation {
    let what = match error {
        TlsError::DecryptError => "does not match its authentication tag".to_owned(),
        other => format!("is not what TLS allows there ({other})"),
    };
    Explanation::new(
        Cause::RecordDamaged,
        format!(
            "a record from {address}, within the first {received} bytes received, {what}: it was altered on the way"
        ),
        "look for what changes the bytes between here and the server: a proxy, a broken line, an attack",
    )
}

pub(super) fn too_large(heard: &Heard) -> Explanation {
    let length = match heard.first[..] {
        [_, _, _, high, low, ..] => u16::from_be_bytes([high, low]),
        _ => 0,
    };
    Explanation::new(
        Cause::RecordTooLarge,
        format!(
            "{} sent a TLS record of more than 16384 bytes (its first record says {length})",
            heard.address
        ),
        "the peer is no proper TLS server; check host and port",
    )
}

pub(super) fn no_common_version(answer: &str, facts: &Facts) -> Explanation {
    let (ours, theirs, fix) = match &facts.tls {
        Some(tls) => {
            let (has12, has13) = tls.offered();
            let theirs = match (has12, has13) {
                (true, true) => "TLS 1.1 or older only",
                (true, false) => "TLS 1.3 only, or TLS 1.1 or older",
                _ => "TLS 1.2 or older only",
            };
            let fix = match (has12, has13) {
                (true, true) => "enable TLS 1.2 at the server",
                _ => {
                    "allow cipher suites of both TLS versions, or enable the other version at the server"
                }
            };
            let ours = match (has12, has13) {
                (true, true) => "TLS 1.2 and TLS 1.3",
                (true, false) => "TLS 1.2 only",
                _ => "TLS 1.3 only",
            };
            (ours, theirs, fix)
        }
        None => (
            "TLS 1.2 and TLS 1.3",
            "another",
            "enable TLS 1.2 at the server",
        ),
    };
    Explanation::new(
        Cause::NoCommonVersion,
        format!(
            "no common TLS version with {}: offered here: {ours}, and the server has {theirs} ({answer})",
            facts.target()
        ),
        fix,
    )
}

pub(super) fn no_common_suite(answer: &str, facts: &Facts) -> Explanation {
    let (ours, restricted) = match &facts.tls {
        Some(tls) => (
            list(&tls.suites),
            tls.suites.len() < crate::link::CipherSuite::known().count(),
        ),
        None => (String::new(), false),
    };
    Explanation::new(
        Cause::NoCommonCipherSuite,
        format!(
            "no common cipher suite with {}: offered here: {ours}, and the server takes none of them ({answer})",
            facts.target()
        ),
        if restricted {
            "leave the cipher suite list empty to offer all, or enable one of these at the server"
        } else {
            "enable one of these at the server, with an ECDSA or RSA certificate that fits"
        },
    )
}
