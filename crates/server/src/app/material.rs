//! What a command writes into a device, looked at as X.509 before it is queued: certificates and keys must read, and a
//! private key must be the one of the certificate that waits for the same tag (spec/owner-api §4, notes).
//!
//! The grammar of fields, lengths and quotes is `proto`'s; here is what takes a reader of certificates.

use sectag_pki::csr;
use sectag_pki::material::{Material, material};
use sectag_proto::{CommandRequest, SecTag};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MaterialError {
    /// The JSON member.
    pub(crate) field: &'static str,
    /// In words, with the facts. Holds nothing secret.
    pub(crate) reason: String,
}

/// Refuses material that no device could use, given what is queued `before` it, in order.
pub(crate) fn check_material(
    request: &CommandRequest,
    before: &[&CommandRequest],
) -> Result<(), MaterialError> {
    match request {
        // The closed loop compares the subject of the CSR with these attributes: what it cannot read it would never sign.
        CommandRequest::CertificateSigningRequest {
            attributes,
            issue: Some(_),
            ..
        } if !attributes.trim().is_empty() => csr::attributes(attributes)
            .map(drop)
            .map_err(|e| refusal("attributes", e.to_string())),
        CommandRequest::ServerCertificate { content, .. } => {
            certificates(&material(content.as_bytes()))
        }
        CommandRequest::ClientCertificate { sec_tag, content } => {
            let held = material(content.as_bytes());
            certificates(&held)?;
            pair(*sec_tag, &held, Side::Certificate, before)
        }
        CommandRequest::ClientPrivateKey {
            sec_tag,
            content,
            password,
        } => {
            let Some(text) = content.given() else {
                return Ok(()); // refused by `proto`
            };
            let held = material(text.expose().as_bytes());
            key(&held, password.is_some())?;
            pair(*sec_tag, &held, Side::Key, before)
        }
        _ => Ok(()),
    }
}

fn refusal(field: &'static str, reason: impl Into<String>) -> MaterialError {
    MaterialError {
        field,
        reason: reason.into(),
    }
}

fn certificates(held: &Material) -> Result<(), MaterialError> {
    let refuse = |reason: String| Err(refusal("content", reason));
    if let Some(problem) = held.problems.first() {
        return refuse(problem.clone());
    }
    if !held.keys.is_empty() {
        return refuse(
            "holds a private key; it belongs into `clientPrivateKey`, which is write-only"
                .to_owned(),
        );
    }
    if held.certificates.is_empty() {
        return refuse("holds no certificate".to_owned());
    }
    Ok(())
}

fn key(held: &Material, has_password: bool) -> Result<(), MaterialError> {
    // Words about a file that should hold a secret are not repeated: they could quote it.
    if !held.problems.is_empty() {
        return Err(refusal("content", "is no private key in PEM"));
    }
    match &held.keys[..] {
        [] => Err(refusal("content", "holds no private key")),
        [only] if only.is_encrypted && !has_password => {
            Err(refusal("password", "is needed: the key is encrypted"))
        }
        [only] if !only.is_encrypted && only.public.is_none() => Err(refusal(
            "content",
            "is no private key that can be read: ECDSA on P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519 is expected",
        )),
        [_] => Ok(()),
        keys => Err(refusal(
            "content",
            format!("holds {} private keys; a tag has one", keys.len()),
        )),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Certificate,
    Key,
}

/// Whether the newest other half that waits for this tag belongs to this one. A half that has found its own is not asked.
fn pair(
    tag: SecTag,
    new: &Material,
    side: Side,
    before: &[&CommandRequest],
) -> Result<(), MaterialError> {
    let on_tag: Vec<(Side, Material)> = before.iter().filter_map(|r| half(r, tag)).collect();
    let Some((_, other)) = on_tag.iter().rev().find(|(of, _)| *of != side) else {
        return Ok(());
    };
    let is_pair = |one: &Material, two: &Material| match side {
        Side::Certificate => belongs(two, one),
        Side::Key => belongs(one, two),
    };
    let has_found_its_own = on_tag
        .iter()
        .any(|(of, same)| *of == side && is_pair(same, other) == Some(true));
    if has_found_its_own || is_pair(new, other) != Some(false) {
        return Ok(());
    }
    let reason = match side {
        Side::Certificate => format!(
            "is not the certificate of the private key that is queued for sec tag {tag} (subject {})",
            subject(new)
        ),
        Side::Key => format!(
            "is not the key of the certificate that is queued for sec tag {tag} (subject {})",
            subject(other)
        ),
    };
    Err(refusal("content", reason))
}

fn subject(certificate: &Material) -> &str {
    certificate
        .certificates
        .first()
        .map_or("", |held| &held.facts.subject)
}

fn half(request: &CommandRequest, tag: SecTag) -> Option<(Side, Material)> {
    match request {
        CommandRequest::ClientCertificate { sec_tag, content } if *sec_tag == tag => {
            Some((Side::Certificate, material(content.as_bytes())))
        }
        CommandRequest::ClientPrivateKey {
            sec_tag, content, ..
        } if *sec_tag == tag => {
            let text = content.given()?.expose();
            Some((Side::Key, material(text.as_bytes())))
        }
        _ => None,
    }
}

/// `None`: that cannot be told, of an encrypted key for example.
fn belongs(key: &Material, certificate: &Material) -> Option<bool> {
    key.keys.first()?.is_of(certificate.certificates.first()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_pki::own::self_signed;
    use sectag_pki::{KeyPair, KeyType};

    fn tag() -> SecTag {
        SecTag::new(7).unwrap()
    }

    fn certificate(content: &str) -> CommandRequest {
        CommandRequest::ClientCertificate {
            sec_tag: tag(),
            content: content.into(),
        }
    }

    fn private(content: &str) -> CommandRequest {
        CommandRequest::ClientPrivateKey {
            sec_tag: tag(),
            content: content.into(),
            password: None,
        }
    }

    fn pair_of_files() -> (CommandRequest, CommandRequest) {
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let made = self_signed(&key, &[("CN", "x")], 1_800_000_000, 0, 86_400).unwrap();
        (private(&key.to_pem()), certificate(&made.pem()))
    }

    #[test]
    fn a_key_must_be_the_one_of_the_certificate_on_its_tag_in_either_order() {
        let (key, cert) = pair_of_files();
        let (other_key, other_cert) = pair_of_files();
        check_material(&key, &[&cert]).unwrap();
        check_material(&cert, &[&key]).unwrap();
        let e = check_material(&other_key, &[&cert]).unwrap_err();
        assert!(e.reason.contains("sec tag 7 (subject CN=x)"), "{e:?}");
        assert!(check_material(&other_cert, &[&key]).is_err());
        // A further pair behind a whole one.
        check_material(&other_cert, &[&cert, &key]).unwrap();
        check_material(&other_key, &[&cert, &key, &other_cert]).unwrap();
    }

    #[test]
    fn what_is_no_certificate_or_key_is_refused_without_quoting_it() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(check_material(&certificate(broken), &[]).is_err());
        let (key, cert) = pair_of_files();
        let CommandRequest::ClientPrivateKey { content, .. } = &key else {
            unreachable!()
        };
        let text = content.given().unwrap().expose().clone();
        let e = check_material(&certificate(&text), &[]).unwrap_err();
        assert!(e.reason.contains("clientPrivateKey"), "{e:?}");
        let CommandRequest::ClientCertificate { content, .. } = &cert else {
            unreachable!()
        };
        assert!(check_material(&private(content), &[]).is_err());
        let secret = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n";
        let e = check_material(&private(secret), &[]).unwrap_err();
        assert!(!e.reason.contains("SECRET"), "{e:?}");
    }
}
