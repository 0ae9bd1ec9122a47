//! `sectag ca` and `sectag cert`: what the home's authorities and certificate files say.

use crate::args::{Ca, Cert};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_pki::CertificateFacts;
use serde_json::{Value, json};
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Largest certificate file read: a bundle of a few hundred roots.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// `sectag ca`
pub(crate) fn ca(place: &Place, verb: Option<Ca>, as_json: bool) -> Outcome {
    let folder = place.home.join("ca");
    if !folder.join("root.crt").exists() {
        return Err(Fault::no(format!("no CA in `{}`", folder.display())).hint(
            "`sectag up` makes one when it first starts; another home is chosen with --home",
        ));
    }
    match verb.unwrap_or(Ca::Show) {
        Ca::Export => output::print(&String::from_utf8_lossy(&bytes_of(
            &folder.join("root.crt"),
        )?)),
        Ca::Show => {
            let mut rows = Vec::new();
            let mut items = Vec::new();
            for name in ["root", "servers", "devices"] {
                let path = folder.join(format!("{name}.crt"));
                for facts in facts_of(&path)? {
                    rows.push(vec![
                        name.to_owned(),
                        facts.subject.clone(),
                        day(facts.not_after_s),
                        facts.fingerprint_sha256.clone(),
                    ]);
                    let mut item = value_of(&facts);
                    item["name"] = json!(name);
                    item["file"] = json!(path);
                    items.push(item);
                }
            }
            if as_json {
                output::json(&json!({ "items": items }));
            } else {
                output::table(&["CA", "SUBJECT", "UNTIL", "SHA-256"], &rows);
                eprintln!(
                    "\nfiles are in {}; devices and MQTT clients need only root.crt",
                    folder.display()
                );
            }
        }
    }
    Ok(())
}

/// `sectag cert`
pub(crate) fn cert(verb: Cert, as_json: bool) -> Outcome {
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

fn value_of(facts: &CertificateFacts) -> Value {
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

fn facts_of(path: &Path) -> Outcome<Vec<CertificateFacts>> {
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

fn bytes_of(path: &Path) -> Outcome<Vec<u8>> {
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

fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}

fn day(seconds: u64) -> String {
    moment(seconds)
        .split('T')
        .next()
        .unwrap_or_default()
        .to_owned()
}
