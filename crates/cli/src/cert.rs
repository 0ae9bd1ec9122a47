//! `sectag cert`: what certificate files say.

use crate::args::Cert;
use crate::ca::moment;
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_pki::CertificateFacts;
use serde_json::{Value, json};
use std::path::Path;

/// Largest certificate file read: a bundle of a few hundred roots.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// `sectag cert`
pub(crate) async fn cert(verb: Cert, as_json: bool) -> Outcome {
    let Cert::Show { file } = verb;
    let all = facts_of(&file)?;
    if as_json {
        output::json(&json!({ "items": all.iter().map(value_of).collect::<Vec<_>>() }));
        return Ok(());
    }
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    for (number, facts) in all.iter().enumerate() {
        if number > 0 {
            output::print("\n");
        }
        let authority = match (facts.is_ca, facts.path_length) {
            (false, _) => "no".to_owned(),
            (true, None) => "yes".to_owned(),
            (true, Some(below)) => format!("yes, {below} below it at most"),
        };
        let lines = [
            ("subject", facts.subject.clone()),
            ("issuer", facts.issuer.clone()),
            ("serial", facts.serial_hex.clone()),
            (
                "valid",
                format!(
                    "{} to {}",
                    moment(facts.not_before_s),
                    moment(facts.not_after_s)
                ),
            ),
            ("version", facts.version.to_string()),
            ("authority", authority),
            ("names", or_dash(facts.names.join(", "))),
            ("key usage", or_dash(facts.key_usages.join(", "))),
            ("for", or_dash(facts.extended_key_usages.join(", "))),
            ("sha-256", facts.fingerprint_sha256.clone()),
            ("key sha-256", facts.spki_sha256.clone()),
        ];
        for (name, text) in lines {
            output::print(&format!("{name:12} {text}\n"));
        }
    }
    Ok(())
}

pub(crate) fn value_of(facts: &CertificateFacts) -> Value {
    json!({
        "version": facts.version,
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial_hex,
        "notBefore": moment(facts.not_before_s),
        "notAfter": moment(facts.not_after_s),
        "isCa": facts.is_ca,
        "pathLength": facts.path_length,
        "names": facts.names,
        "keyUsages": facts.key_usages,
        "extendedKeyUsages": facts.extended_key_usages,
        "sha256": facts.fingerprint_sha256,
        "keySha256": facts.spki_sha256,
    })
}

pub(crate) fn facts_of(path: &Path) -> Outcome<Vec<CertificateFacts>> {
    let bytes = bytes_of(path)?;
    let text = String::from_utf8_lossy(&bytes);
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(if text.contains("PRIVATE KEY-----") {
            Fault::no(format!(
                "`{}` holds a private key, not a certificate",
                path.display()
            ))
            .hint("the certificate lies beside it, in the file that ends in .crt")
        } else {
            Fault::no(format!("`{}` holds no certificate in PEM", path.display())).hint(
                "a PEM file begins with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`",
            )
        });
    }
    let wrong = |error| {
        Fault::no(format!(
            "`{}` holds a certificate that cannot be read: {error}",
            path.display()
        ))
        .hint("was the text cut short, or changed?")
    };
    sectag_pki::pem::certificates(&text)
        .map_err(wrong)?
        .iter()
        .map(|der| sectag_pki::show(der).map_err(wrong))
        .collect()
}

pub(crate) fn bytes_of(path: &Path) -> Outcome<Vec<u8>> {
    let unreadable =
        |why: String| Fault::untried(format!("failed to read `{}`: {why}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("{size} bytes, limit {FILE_BYTES_MAX}")));
    }
    std::fs::read(path).map_err(|error| unreadable(error.to_string()))
}
