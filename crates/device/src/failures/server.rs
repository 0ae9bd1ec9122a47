//! The server's certificate is not good for us.

use rustls::CertificateError;
use sectag_pki::CertificateFacts;

use super::facts::TlsFacts;
use super::words::{list, moment, span};
use super::{Cause, Explanation, Facts};
use crate::link::{PeerVerify, Place, located};

/// A chain above this upsets the modem (spec/mqtt-tls-sample §3).
const CHAIN_BYTES_MAX: usize = 4096;

/// We refused the server's certificate for `error`.
pub(super) fn refused(error: &CertificateError, facts: &Facts) -> Option<Explanation> {
    let tls = facts.tls.as_ref()?;
    let Some(leaf) = tls.chain.first() else {
        return Some(malformed(error, facts));
    };
    if let Some(old) = old_version(error, &tls.chain) {
        return Some(version(old, facts));
    }
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            expired(tls, leaf, facts)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            not_yet_valid(tls, leaf, facts)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            name_mismatch(tls, leaf)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            purpose(leaf, facts)
        }
        CertificateError::UnknownIssuer => unknown_issuer(tls, leaf, facts),
        CertificateError::BadSignature => bad_signature(tls, leaf, facts),
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            ..
        } => signature(leaf, &algorithm(signature_algorithm_id), facts),
        _ if leaf.is_ca => is_authority(leaf, facts),
        _ => malformed(error, facts),
    })
}

/// What is worth saying about a server that we talk to.
pub(super) fn warnings(facts: &Facts) -> Vec<Explanation> {
    let mut warnings = Vec::new();
    let Some(tls) = &facts.tls else {
        return warnings;
    };
    if tls.verify != PeerVerify::Required {
        warnings.push(not_verified(tls, facts));
    }
    if tls.sent_bytes > CHAIN_BYTES_MAX {
        warnings.push(Explanation::new(
            Cause::ChainTooLarge,
            format!(
                "the certificate chain of {} is {} bytes in {} certificates, and an nRF91 modem takes {CHAIN_BYTES_MAX}",
                facts.target(),
                tls.sent_bytes,
                tls.sent_count
            ),
            "let the server send only its own certificate and what lies below the root, with EC keys",
        ));
    }
    warnings
}

fn not_verified(tls: &TlsFacts, facts: &Facts) -> Explanation {
    let found = match &tls.verdict {
        None => "its certificate was found good".to_owned(),
        Some(error) => match refused(error, facts) {
            Some(explanation) => format!("{} ({})", explanation.sentence, explanation.cause),
            None => error.to_string(),
        },
    };
    let asked = match tls.verify {
        PeerVerify::DangerouslyOptional => "optional",
        _ => "off",
    };
    Explanation::new(
        Cause::ServerNotVerified,
        format!(
            "peer verification is {asked} (required is 2, this is {}): {} was connected to whoever it is; {found}",
            tls.verify.number(),
            facts.target()
        ),
        "require peer verification, with the right root CA",
    )
}

fn whose(certificate: &CertificateFacts, leaf: &CertificateFacts) -> String {
    if certificate.fingerprint_sha256 == leaf.fingerprint_sha256 {
        format!("the server's certificate `{}`", leaf.subject)
    } else {
        format!(
            "the authority `{}` of the server's certificate `{}`",
            certificate.subject, leaf.subject
        )
    }
}

fn expired(tls: &TlsFacts, leaf: &CertificateFacts, facts: &Facts) -> Explanation {
    let old = tls
        .chain
        .iter()
        .find(|certificate| certificate.not_after_s < facts.now_s)
        .unwrap_or(leaf);
    Explanation::new(
        Cause::ServerCertificateExpired,
        format!(
            "{} expired {} ago: valid until {}, and the clock here says {}",
            whose(old, leaf),
            span(facts.now_s.saturating_sub(old.not_after_s)),
            moment(old.not_after_s),
            moment(facts.now_s)
        ),
        "renew the certificate at the server; if the clock here is wrong, set it",
    )
}

fn not_yet_valid(tls: &TlsFacts, leaf: &CertificateFacts, facts: &Facts) -> Explanation {
    let young = tls
        .chain
        .iter()
        .find(|certificate| certificate.not_before_s > facts.now_s)
        .unwrap_or(leaf);
    Explanation::new(
        Cause::ServerCertificateNotYetValid,
        format!(
            "{} is valid from {}, and the clock here says {}",
            whose(young, leaf),
            moment(young.not_before_s),
            moment(facts.now_s)
        ),
        "set the clock here; if it is right, the server's certificate was issued with a wrong clock: issue it again",
    )
}

fn name_mismatch(tls: &TlsFacts, leaf: &CertificateFacts) -> Explanation {
    let asked = &tls.server_name;
    let (has, fix) = if leaf.names.is_empty() {
        (
            format!(
                "has no subjectAltName; its subject `{}` is not looked at",
                leaf.subject
            ),
            format!("issue the server's certificate again with `{asked}` as subjectAltName"),
        )
    } else {
        let first = leaf.names.iter().find_map(|name| {
            name.strip_prefix("DNS:")
                .or_else(|| name.strip_prefix("IP:"))
        });
        let name = first.unwrap_or("NAME");
        (
            format!("is for {}", list(&leaf.names)),
            format!(
                "connect with `--server-name {name}` if that is the server meant, or issue its certificate again with `{asked}` as subjectAltName"
            ),
        )
    };
    Explanation::new(
        Cause::ServerNameMismatch,
        format!("the server was asked for as `{asked}`, and its certificate {has}"),
        fix,
    )
}

fn purpose(leaf: &CertificateFacts, facts: &Facts) -> Explanation {
    Explanation::new(
        Cause::ServerCertificatePurpose,
        format!(
            "the certificate `{}` of {} is for {} (extended key usage), and serverAuth is needed",
            leaf.subject,
            facts.target(),
            list(&leaf.extended_key_usages)
        ),
        "issue the server's certificate again with extended key usage serverAuth",
    )
}

/// The certificate whose version may be to blame. A root of version 1 that the server sends along harms nobody.
fn old_version<'a>(
    error: &CertificateError,
    chain: &'a [CertificateFacts],
) -> Option<&'a CertificateFacts> {
    let about_form = matches!(
        error,
        CertificateError::Other(_)
            | CertificateError::BadEncoding
            | CertificateError::UnknownIssuer
    );
    let (leaf, above) = chain.split_first()?;
    let below_root = above
        .iter()
        .filter(|authority| authority.subject != authority.issuer);
    std::iter::once(leaf)
        .chain(below_root)
        .find(|certificate| about_form && certificate.version < 3)
}

fn version(old: &CertificateFacts, facts: &Facts) -> Explanation {
    Explanation::new(
        Cause::ServerCertificateVersion,
        format!(
            "the certificate `{}` of {} is X.509 version {}, and TLS needs version 3 with subjectAltName",
            old.subject,
            facts.target(),
            old.version
        ),
        "issue it again with extensions (`openssl x509 -req … -extfile`), subjectAltName among them",
    )
}

fn is_authority(leaf: &CertificateFacts, facts: &Facts) -> Explanation {
    Explanation::new(
        Cause::ServerCertificateIsAuthority,
        format!(
            "{} presents `{}` as its own certificate, and that is a certificate authority (CA:TRUE), no server (CA:FALSE)",
            facts.target(),
            leaf.subject
        ),
        "issue a certificate for the server from that authority (`openssl req -x509` makes an authority); leave the authority as the root CA here",
    )
}

fn signature(leaf: &CertificateFacts, algorithm: &str, facts: &Facts) -> Explanation {
    Explanation::new(
        Cause::ServerCertificateSignature,
        format!(
            "the certificate `{}` of {} is signed with {algorithm}, and SHA-256 or better with ECDSA, RSA or Ed25519 is needed",
            leaf.subject,
            facts.target()
        ),
        "issue the server's certificate again with SHA-256",
    )
}

fn malformed(error: &CertificateError, facts: &Facts) -> Explanation {
    let sent = facts
        .tls
        .as_ref()
        .map_or((0, 0), |tls| (tls.sent_count, tls.sent_bytes));
    Explanation::new(
        Cause::ServerCertificateMalformed,
        format!(
            "the certificate of {} is no usable X.509 certificate ({} certificates, {} bytes): {error}",
            facts.target(),
            sent.0,
            sent.1
        ),
        "issue the server's certificate again; `sectag cert lint` says what is wrong with it",
    )
}

/// No authority under the tags has the name of the issuer at the end of the server's chain.
fn unknown_issuer(tls: &TlsFacts, leaf: &CertificateFacts, facts: &Facts) -> Explanation {
    let anchors: Vec<_> = tls.anchors().iter().map(|anchor| &anchor.facts).collect();
    let place = located(&tls.papers.places);
    let top = top(&tls.chain).unwrap_or(leaf);
    if let Some(wrong) = anchors
        .iter()
        .find(|anchor| anchor.version >= 3 && !anchor.is_ca)
    {
        return Explanation::new(
            Cause::CaIsNoAuthority,
            format!(
                "the root CA {place} is `{}`, a certificate that may not sign others (CA:FALSE), and the server's was issued by `{}`",
                wrong.subject, top.issuer
            ),
            format!(
                "put the certificate of `{}` there: {}",
                top.issuer,
                fetch(facts)
            ),
        );
    }
    let ours: Vec<String> = anchors
        .iter()
        .map(|anchor| format!("`{}`", anchor.subject))
        .collect();
    let self_signed = top.subject == top.issuer;
    if !self_signed
        && tls.sent_count == 1
        && anchors
            .iter()
            .any(|anchor| related(&anchor.subject, &top.issuer))
    {
        return Explanation::new(
            Cause::MissingIntermediate,
            format!(
                "{} sends one certificate, `{}` issued by `{}`, and the certificate of that issuer is missing: the root CA {place} is {}",
                facts.target(),
                leaf.subject,
                top.issuer,
                list(&ours)
            ),
            "let the server send its whole chain: its own certificate first, then each issuer below the root",
        );
    }
    let end = if self_signed {
        format!("ends at the self-signed `{}`", top.subject)
    } else {
        format!("ends at issuer `{}`", top.issuer)
    };
    Explanation::new(
        Cause::WrongCa,
        format!(
            "the chain of {} {end}, and the root CA {place} is {}",
            facts.target(),
            list(&ours)
        ),
        fetch(facts),
    )
}

/// The command that fetches, shows and writes the right authority.
fn fetch(facts: &Facts) -> String {
    let name = match &facts.tls {
        Some(tls) if tls.server_name != facts.host => format!(" --server-name {}", tls.server_name),
        _ => String::new(),
    };
    let target = facts.target();
    match facts.tls.as_ref().and_then(|tls| tls.papers.places.first()) {
        Some(Place::Tag(tag)) => format!(
            "`sectag cert chain {target}{name} --to-tag {tag}` fetches its root CA, shows the fingerprint and writes it to the tag"
        ),
        _ => format!(
            "`sectag cert chain {target}{name} --output root.crt` fetches its root CA and shows the fingerprint; give that file with `--ca`"
        ),
    }
}

/// An authority of the right name did not sign what the server sent.
fn bad_signature(tls: &TlsFacts, leaf: &CertificateFacts, facts: &Facts) -> Explanation {
    let top = top(&tls.chain).unwrap_or(leaf);
    let same = tls
        .anchors()
        .iter()
        .find(|anchor| anchor.facts.subject == top.issuer);
    let Some(anchor) = same else {
        return Explanation::new(
            Cause::ServerCertificateMalformed,
            format!(
                "a signature in the chain of {} does not verify: `{}` is not signed by the key of `{}`",
                facts.target(),
                leaf.subject,
                leaf.issuer
            ),
            "issue the server's certificate again and let the server send the chain that belongs to it",
        );
    };
    let key = |id: &Option<String>| id.clone().unwrap_or_else(|| "unnamed".to_owned());
    Explanation::new(
        Cause::CaReplaced,
        format!(
            "`{}` {} has the right name and another key: the server's chain was signed by key {}, and there lies key {}",
            anchor.facts.subject,
            located(std::slice::from_ref(&anchor.place)),
            key(&top.authority_key_id),
            key(&anchor.facts.subject_key_id)
        ),
        format!(
            "the authority was made again; put its new certificate there: {}",
            fetch(facts)
        ),
    )
}

/// The last certificate that can be reached from the server's own by issuer names.
fn top(chain: &[CertificateFacts]) -> Option<&CertificateFacts> {
    let mut top = chain.first()?;
    for _ in 0..chain.len() {
        if top.subject == top.issuer {
            break;
        }
        match chain
            .iter()
            .find(|certificate| certificate.subject == top.issuer)
        {
            Some(next) => top = next,
            None => break,
        }
    }
    Some(top)
}

/// Two authorities of one house: the same organisation, or the same first word in the CN.
fn related(one: &str, other: &str) -> bool {
    let attribute = |name: &str, kind: &str| -> Option<String> {
        name.split(',')
            .find_map(|part| part.trim().strip_prefix(kind).map(str::to_lowercase))
    };
    let word = |name: &str| {
        attribute(name, "CN=").and_then(|cn| cn.split_whitespace().next().map(str::to_owned))
    };
    let same = |one: Option<String>, other: Option<String>| one.is_some() && one == other;
    same(attribute(one, "O="), attribute(other, "O=")) || same(word(one), word(other))
}

/// An algorithm identifier by name, where it is one that people meet.
fn algorithm(der: &[u8]) -> String {
    // OIDs: RFC 8017 §A.2.4, RFC 3279 §2.2.
    let known: [(&[u8], &str); 4] = [
        (
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
            "SHA-1 with RSA",
        ),
        (
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
            "MD5 with RSA",
        ),
        (
            &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
            "SHA-1 with ECDSA",
        ),
        (
            &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01],
            "SHA-224 with ECDSA",
        ),
    ];
    known
        .iter()
        .find(|(oid, _)| der.windows(oid.len()).any(|window| window == *oid))
        .map_or_else(
            || {
                let digits: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("algorithm {digits}")
            },
            |(_, name)| (*name).to_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_of_one_house_are_related() {
        assert!(related("CN=Town", "CN=Town servers"));
        assert!(related("CN=Root X1,O=House", "CN=E7,O=House"));
        assert!(!related("CN=Town", "CN=Elsewhere servers"));
        assert!(!related("O=House", "CN=House"));
    }

    #[test]
    fn signature_algorithms_have_names() {
        let sha1 = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5, 5, 0];
        assert_eq!(algorithm(&sha1), "SHA-1 with RSA");
        assert_eq!(algorithm(&[6, 1, 7]), "algorithm 060107");
    }
}
