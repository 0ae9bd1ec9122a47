//! From files that were found good to credentials. What changed since they were looked at is an error here.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_gateway::Client;
use sectag_gateway::facts::Facts;
use sectag_gateway::findings::{Finding, FindingId, Severity};
use sectag_proto::Secret;

use super::{Unready, key};
use crate::https::provider;

/// The union of file and directory, never empty.
pub(super) fn authorities(
    client: &Client,
    facts: &Facts,
) -> Result<Vec<(PathBuf, CertificateDer<'static>)>, Box<Unready>> {
    // A directory often has the same certificate under several names.
    let mut known = HashSet::new();
    let mut authorities = Vec::new();
    for trusted in facts.trusted_by_client(client) {
        let der = CertificateDer::from(trusted.held.der.clone());
        RootCertStore::empty().add(der.clone()).map_err(|error| {
            let subject = &trusted.held.facts.subject;
            no_ca(
                client,
                format!(
                    "`{subject}` in {} cannot be trusted: {error}",
                    trusted.from.display()
                ),
            )
        })?;
        if known.insert(der.clone()) {
            authorities.push((trusted.from.to_owned(), der));
        }
    }
    if authorities.is_empty() {
        return Err(no_ca(client, "there is no CA to trust".to_owned()));
    }
    Ok(authorities)
}

/// Certificate chain and key, both or none.
pub(super) fn identity(
    client: &Client,
    facts: &Facts,
) -> Result<Option<(PathBuf, Arc<CertifiedKey>)>, Box<Unready>> {
    let (Some(cert), Some(key_file)) = (&client.cert_file, &client.key_file) else {
        return Ok(None);
    };
    let unusable = |why: String| {
        let sentence = format!(
            "{} ({}) is unusable: {why}",
            key_file.display(),
            key::KEY_FILE
        );
        let finding = Finding::new(FindingId::E13, Severity::Error, sentence)
            .value(key::KEY_FILE, key_file.display())
            .fix(&[format!("sectag config set {} <path>", key::KEY_FILE)]);
        Box::new(Unready::from(finding))
    };
    let chain = facts.chain(Some(cert)).iter();
    let chain = chain.map(|held| CertificateDer::from(held.der.clone()));
    let text = match sectag_keep::content(key_file) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(unusable("it does not exist".to_owned())),
        Err(error) => return Err(unusable(error.to_string())),
    };
    let secret =
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| unusable(error.to_string()))?;
    let certified = CertifiedKey::from_der(chain.collect(), secret, &provider())
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Some((cert.clone(), Arc::new(certified))))
}

/// The first line of the file, without its end (spec/gateway-config §8, step 6).
pub(super) fn password(client: &Client) -> Result<Option<Secret<Vec<u8>>>, Box<Unready>> {
    let Some(path) = &client.password_file else {
        return Ok(None);
    };
    let content = sectag_keep::content(path).ok().flatten();
    let line = content
        .as_ref()
        .and_then(|content| content.split(|byte| *byte == b'\n').next())
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty());
    match line {
        Some(line) => Ok(Some(Secret::new(line.to_vec()))),
        None => {
            let sentence = format!(
                "{} ({}) gives no password",
                path.display(),
                key::PASSWORD_FILE
            );
            let finding = Finding::new(FindingId::E17, Severity::Error, sentence)
                .value(key::PASSWORD_FILE, path.display())
                .fix(&[format!("sectag config set {} <path>", key::PASSWORD_FILE)]);
            Err(Box::new(finding.into()))
        }
    }
}

fn no_ca(client: &Client, sentence: String) -> Box<Unready> {
    let (key, path) = match (&client.ca_file, &client.ca_dir) {
        (None, Some(dir)) => (key::CA_DIR, Some(dir)),
        (file, _) => (key::CA_FILE, file.as_ref()),
    };
    let mut finding = Finding::new(FindingId::E8, Severity::Error, sentence)
        .fix(&[format!("sectag config set {key} <path>")]);
    if let Some(path) = path {
        finding = finding.value(key, path.display());
    }
    Box::new(finding.into())
}
