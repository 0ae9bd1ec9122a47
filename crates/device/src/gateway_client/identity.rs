//! Who we are: a certificate chain and its private key, both or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_gateway::Client;
use sectag_gateway::findings::FindingId;

use super::{Unready, key, read as content, unready};
use crate::failures::Cause;
use crate::https::provider;
use crate::link::papers::pem_problem;

/// The path of the certificate, and the pair.
type Identity = (PathBuf, Arc<CertifiedKey>);

/// RULE 11.
pub(super) fn both_or_none(client: &Client) -> Result<(), Box<Unready>> {
    let (set, path, missing, cause) = match (&client.cert_file, &client.key_file) {
        (Some(path), None) => (
            key::CERT_FILE,
            path,
            key::KEY_FILE,
            Cause::CertificateWithoutKey,
        ),
        (None, Some(path)) => (
            key::KEY_FILE,
            path,
            key::CERT_FILE,
            Cause::KeyWithoutCertificate,
        ),
        _ => return Ok(()),
    };
    Err(Box::new(unready(
        FindingId::E1,
        (cause, missing),
        format!(
            "{missing} is not set, but {set} is `{}`: both are needed for a client certificate, neither for none",
            path.display()
        ),
        vec![(set, path.display().to_string())],
        format!("sectag config set {missing} <path>"),
    )))
}

/// Reads both files. Renewal renames them one after the other; whoever read in between reads again.
pub(super) fn read(client: &Client) -> Result<Option<Identity>, Box<Unready>> {
    let (Some(cert), Some(key)) = (&client.cert_file, &client.key_file) else {
        return Ok(None);
    };
    match pair(cert, key) {
        Err(first) if first.cause == Cause::ClientKeyMismatch => pair(cert, key).map(Some),
        other => other.map(Some),
    }
}

fn pair(cert: &Path, key_path: &Path) -> Result<Identity, Box<Unready>> {
    let chain = chain(cert)?;
    let key = private_key(key_path)?;
    let subject = match chain.first().map(|leaf| sectag_pki::show(leaf)) {
        Some(Ok(facts)) if facts.version < 3 => {
            return Err(Box::new(version(cert, &facts.subject, facts.version)));
        }
        Some(Ok(facts)) => facts.subject,
        Some(Err(error)) => return Err(bad_certificate(cert, format!("is unusable: {error}"))),
        None => return Err(bad_certificate(cert, "holds no certificate".to_owned())),
    };
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(certified) => Ok((cert.to_owned(), Arc::new(certified))),
        Err(rustls::Error::InconsistentKeys(_)) => Err(bad_key(
            Cause::ClientKeyMismatch,
            key_path,
            format!(
                "is the key of another certificate than `{subject}` in mqtt.client.auth.cert_file `{}`",
                cert.display()
            ),
        )),
        Err(rustls::Error::InvalidCertificate(error)) => {
            Err(bad_certificate(cert, format!("is unusable: {error}")))
        }
        Err(error) => Err(bad_key(
            Cause::KeyCannotSign,
            key_path,
            format!("cannot be used: {error}"),
        )),
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Box<Unready>> {
    let bytes = content(path).map_err(|why| missing(key::CERT_FILE, path, &why))?;
    let text = String::from_utf8_lossy(&bytes);
    let chain = sectag_pki::pem::certificates(&text)
        .map_err(|_| bad_certificate(path, format!("is unusable: {}", pem_problem(&text))))?;
    Ok(chain.into_iter().map(CertificateDer::from).collect())
}

/// PKCS#1, PKCS#8 or SEC 1, not encrypted.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Box<Unready>> {
    let bytes = content(path).map_err(|why| missing(key::KEY_FILE, path, &why))?;
    let holds = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    // RFC 5958 §3 in its PEM form, and RFC 1421 §4.6.1.1, which OpenSSL's older format uses.
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        let shown = path.display();
        return Err(Box::new(unready(
            FindingId::E13,
            (Cause::KeyCannotSign, key::KEY_FILE),
            format!(
                "mqtt.client.auth.key_file `{shown}` is encrypted, and nobody is there to type its passphrase"
            ),
            vec![(key::KEY_FILE, shown.to_string())],
            format!("openssl pkey -in {shown} -out <path>"),
        )));
    }
    let unreadable = |why: &str| {
        bad_key(
            Cause::CredentialUnreadable,
            path,
            format!("holds no private key in PEM{why}"),
        )
    };
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if holds(b"BEGIN CERTIFICATE") => {
            unreadable(", but a certificate")
        }
        pem::Error::NoItemsFound => unreadable(""),
        other => unreadable(&format!(": {other}")),
    })
}

/// Half of a pair that is named and not there leaves half a pair.
fn missing(key: &'static str, path: &Path, why: &str) -> Box<Unready> {
    let cause = match key {
        key::CERT_FILE => Cause::ClientCertificateUnreadable,
        _ => Cause::CredentialUnreadable,
    };
    Box::new(unready(
        FindingId::E1,
        (cause, key),
        format!("{key} `{}` {why}", path.display()),
        vec![(key, path.display().to_string())],
        format!("sectag config set {key} <path>"),
    ))
}

fn bad_certificate(path: &Path, why: String) -> Box<Unready> {
    missing(key::CERT_FILE, path, &why)
}

fn bad_key(cause: Cause, path: &Path, why: String) -> Box<Unready> {
    Box::new(unready(
        FindingId::E13,
        (cause, key::KEY_FILE),
        format!("mqtt.client.auth.key_file `{}` {why}", path.display()),
        vec![(key::KEY_FILE, path.display().to_string())],
        format!("sectag config set {} <path>", key::KEY_FILE),
    ))
}

fn version(path: &Path, subject: &str, version: u32) -> Unready {
    unready(
        FindingId::E12,
        (Cause::ClientCertificateUnreadable, key::CERT_FILE),
        format!(
            "mqtt.client.auth.cert_file `{}` holds `{subject}`, an X.509 version {version} certificate, and TLS needs version 3",
            path.display()
        ),
        vec![(key::CERT_FILE, path.display().to_string())],
        format!("sectag cert reissue {}", path.display()),
    )
}
