//! The server refuses us: an alert within the handshake, or in TLS 1.3 right after it.

use rustls::AlertDescription;
use sectag_mqtt::client::Heard;
use sectag_pki::CertificateFacts;

use super::words::{list, moment, span};
use super::{Cause, Explanation, Facts, transport};
use crate::link::{Place, tag_list};

/// The server sent `alert`.
pub(super) fn refused(
    alert: AlertDescription,
    heard: &Heard,
    facts: &Facts,
) -> Option<Explanation> {
    let tls = facts.tls.as_ref()?;
    let said = name(alert);
    match alert {
        AlertDescription::ProtocolVersion => {
            return Some(transport::no_common_version(&said, facts));
        }
        AlertDescription::InsufficientSecurity => {
            return Some(transport::no_common_suite(&said, facts));
        }
        AlertDescription::UnrecognisedName => return Some(unknown_name(&said, facts)),
        AlertDescription::BadRecordMac
        | AlertDescription::DecodeError
        | AlertDescription::IllegalParameter
        | AlertDescription::UnexpectedMessage => return Some(damaged(&said, heard)),
        AlertDescription::RecordOverflow => return Some(transport::too_large(heard)),
        _ => {}
    }
    // What comes before the server has shown its certificate cannot be about ours.
    let before_certificates = tls.sent_count == 0 && !tls.asked;
    match alert {
        AlertDescription::HandshakeFailure if before_certificates => {
            Some(transport::no_common_suite(&said, facts))
        }
        AlertDescription::AccessDenied if before_certificates => Some(unknown_name(&said, facts)),
        AlertDescription::InternalError | AlertDescription::UserCanceled => None,
        _ => match &tls.papers.pair {
            _ if tls.scheme_refused => Some(scheme(&said, facts)),
            None => Some(missing(facts)),
            Some(pair) => Some(about(alert, &said, &pair.place, &pair.facts, facts)),
        },
    }
}

/// The server demands a certificate and there is none.
pub(super) fn missing(facts: &Facts) -> Explanation {
    let (places, takes) = match &facts.tls {
        Some(tls) => (tls.papers.places.as_slice(), takes(&tls.issuers)),
        None => (&[][..], String::new()),
    };
    let (has, fix) = match places.first() {
        Some(Place::File(_)) => (
            "none was given".to_owned(),
            "give certificate and key with `--cert` and `--key`".to_owned(),
        ),
        first => (
            format!(
                "{} has none (type 1), only a root CA (type 0)",
                tags(places)
            ),
            format!(
                "provision {} with key and certificate",
                first.map_or_else(|| "a sec tag".to_owned(), ToString::to_string)
            ),
        ),
    };
    Explanation::new(
        Cause::ClientCertificateMissing,
        format!(
            "{} demands a client certificate{takes}, and {has}",
            facts.target()
        ),
        format!("{fix}, or use a listener of the broker that does not ask for one"),
    )
}

fn tags(places: &[Place]) -> String {
    let tags: Vec<_> = places
        .iter()
        .filter_map(|place| match place {
            Place::Tag(tag) => Some(*tag),
            Place::File(_) => None,
        })
        .collect();
    tag_list(&tags)
}

fn takes(issuers: &[String]) -> String {
    if issuers.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = issuers.iter().map(|issuer| format!("`{issuer}`")).collect();
    format!(" issued by {}", list(&quoted))
}

fn about(
    alert: AlertDescription,
    said: &str,
    place: &Place,
    ours: &CertificateFacts,
    facts: &Facts,
) -> Explanation {
    let issuers = facts.tls.as_ref().map_or(&[][..], |tls| &tls.issuers);
    let outside = ours.not_after_s < facts.now_s || ours.not_before_s > facts.now_s;
    let foreign = !issuers.is_empty() && !issuers.contains(&ours.issuer);
    match alert {
        AlertDescription::CertificateExpired => expired(said, place, ours, facts),
        AlertDescription::CertificateRevoked => revoked(said, place, ours, facts),
        AlertDescription::UnknownCA => unknown_ca(alert, said, place, ours, issuers, facts),
        AlertDescription::UnsupportedCertificate => purpose(said, place, ours, facts),
        AlertDescription::DecryptError => unknown_ca(alert, said, place, ours, issuers, facts),
        _ if outside => expired(said, place, ours, facts),
        _ if foreign => unknown_ca(alert, said, place, ours, issuers, facts),
        _ => Explanation::new(
            Cause::ClientCertificateRefused,
            format!(
                "{} refused the client certificate `{}` of {place}, issued by `{}` and valid until {}, without a reason ({said})",
                facts.target(),
                ours.subject,
                ours.issuer,
                moment(ours.not_after_s)
            ),
            "look into the broker's log for the reason",
        ),
    }
}

fn expired(said: &str, place: &Place, ours: &CertificateFacts, facts: &Facts) -> Explanation {
    let (until, now) = (ours.not_after_s, facts.now_s);
    let (what, fix) = if until < now {
        (
            format!("expired {} ago", span(now - until)),
            format!("issue a new certificate for its key and write it to {place}"),
        )
    } else if ours.not_before_s > now {
        (
            format!("is not valid before {}", moment(ours.not_before_s)),
            "set the clock of the authority that issued it, and issue it again".to_owned(),
        )
    } else {
        (
            "has expired by the server's clock and not by ours".to_owned(),
            "set the clock of the server, or ours".to_owned(),
        )
    };
    Explanation::new(
        Cause::ClientCertificateExpired,
        format!(
            "{} refused the client certificate `{}` of {place}, which {what}: valid until {}, and the clock here says {} ({said})",
            facts.target(),
            ours.subject,
            moment(until),
            moment(now)
        ),
        fix,
    )
}

fn revoked(said: &str, place: &Place, ours: &CertificateFacts, facts: &Facts) -> Explanation {
    Explanation::new(
        Cause::ClientCertificateRevoked,
        format!(
            "{} refused the client certificate `{}` of {place}: its serial number {} is on the revocation list of `{}` ({said})",
            facts.target(),
            ours.subject,
            ours.serial_hex,
            ours.issuer
        ),
        format!(
            "generate a new key and have a new certificate issued for {place}, if the device may come back"
        ),
    )
}

fn unknown_ca(
    alert: AlertDescription,
    said: &str,
    place: &Place,
    ours: &CertificateFacts,
    issuers: &[String],
    facts: &Facts,
) -> Explanation {
    // A signature that does not hold was tried with a key: there is an authority of that name (RFC 8446 §6.2).
    let tried = issuers.is_empty() && alert == AlertDescription::DecryptError;
    let same_name = tried || issuers.contains(&ours.issuer);
    let theirs = if same_name {
        format!(
            "the server knows an authority of that name with another key (ours is {})",
            ours.authority_key_id.as_deref().unwrap_or("unnamed")
        )
    } else if issuers.is_empty() {
        "the server does not know that authority and does not say which it takes".to_owned()
    } else {
        let quoted: Vec<String> = issuers.iter().map(|issuer| format!("`{issuer}`")).collect();
        format!("the server takes certificates of {}", list(&quoted))
    };
    Explanation::new(
        Cause::ClientCertificateUnknownCa,
        format!(
            "{} refused the client certificate `{}` of {place}: it was issued by `{}`, and {theirs} ({said})",
            facts.target(),
            ours.subject,
            ours.issuer
        ),
        if same_name {
            format!(
                "give the broker the present certificate of `{}`, or have the certificate of {place} issued again",
                ours.issuer
            )
        } else {
            format!(
                "let the broker trust `{}` for clients (its `cafile`), or have the certificate of {place} issued by an authority it trusts",
                ours.issuer
            )
        },
    )
}

fn purpose(said: &str, place: &Place, ours: &CertificateFacts, facts: &Facts) -> Explanation {
    let for_what = if ours.extended_key_usages.is_empty() {
        format!("{:?}", ours.key_usages)
    } else {
        list(&ours.extended_key_usages)
    };
    Explanation::new(
        Cause::ClientCertificatePurpose,
        format!(
            "{} refused the client certificate `{}` of {place}: it is for {for_what} (extended key usage), and clientAuth is needed ({said})",
            facts.target(),
            ours.subject
        ),
        "issue the certificate again with extended key usage clientAuth",
    )
}

fn scheme(said: &str, facts: &Facts) -> Explanation {
    let pair = facts.tls.as_ref().and_then(|tls| tls.papers.pair.as_ref());
    let (whose, fix) = match pair.map(|pair| &pair.place) {
        Some(place @ Place::File(_)) => (
            format!("that the key of {place} can make"),
            "have the certificate issued again for an ECDSA P-256 key, or allow this kind of key at the server",
        ),
        _ => (
            "of ECDSA P-256 with SHA-256, which is what a key under a sec tag makes".to_owned(),
            "allow ecdsa_secp256r1_sha256 for client certificates at the server",
        ),
    };
    Explanation::new(
        Cause::ClientCertificateRefused,
        format!(
            "{} demands a client certificate and takes no signature {whose} ({said})",
            facts.target()
        ),
        fix,
    )
}

fn unknown_name(said: &str, facts: &Facts) -> Explanation {
    let asked = facts
        .tls
        .as_ref()
        .map_or(facts.host.as_str(), |tls| tls.server_name.as_str());
    Explanation::new(
        Cause::ServerNameUnknown,
        format!(
            "{} was asked for `{asked}` (SNI) and has no certificate for that name ({said})",
            facts.target()
        ),
        "give the name by which the server is known with `--server-name`, or add this one to the server",
    )
}

fn damaged(said: &str, heard: &Heard) -> Explanation {
    Explanation::new(
        Cause::RecordDamaged,
        format!(
            "{} received a record other than the one we sent ({said}), after {} bytes from its side: it was altered on the way",
            heard.address, heard.received
        ),
        "look for what changes the bytes between here and the server: a proxy, a broken line, an attack",
    )
}

/// `alert unknown_ca (48)`: the registry's spelling, which other tools print as well (RFC 8446 §6).
pub(super) fn name(alert: AlertDescription) -> String {
    let mut words = String::new();
    let library = alert
        .as_str()
        .map_or_else(|| "unassigned".to_owned(), ToOwned::to_owned);
    let spelled = match library.as_str() {
        "UnrecognisedName" => "unrecognized_name",
        "UnknownCA" => "unknown_ca",
        other => {
            for letter in other.chars() {
                if letter.is_uppercase() && !words.is_empty() {
                    words.push('_');
                }
                words.extend(letter.to_lowercase());
            }
            words.as_str()
        }
    };
    format!("alert {spelled}, {}", u8::from(alert))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_spelled_as_in_the_registry() {
        let cases = [
            (AlertDescription::UnknownCA, "alert unknown_ca, 48"),
            (
                AlertDescription::HandshakeFailure,
                "alert handshake_failure, 40",
            ),
            (
                AlertDescription::UnrecognisedName,
                "alert unrecognized_name, 112",
            ),
            (AlertDescription::BadRecordMac, "alert bad_record_mac, 20"),
            (AlertDescription::Unknown(200), "alert unassigned, 200"),
        ];
        for (alert, spelled) in cases {
            assert_eq!(name(alert), spelled);
        }
    }
}
