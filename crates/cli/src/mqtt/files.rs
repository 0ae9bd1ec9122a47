//! Credentials of files, read and checked.

use crate::fault::{Fault, Outcome};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_device::link::FileCredentials;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Root CA, client certificate and its key.
pub(super) fn from_files(ca: &Path, cert: &Path, key: &Path) -> Outcome<FileCredentials> {
    let authorities = authorities(ca)?;
    let chain = certificates(cert)?;
    if chain.is_empty() {
        return Err(no_certificate(cert));
    }
    let wrong = |why: String| {
        Fault::untried(format!(
            "`{}` holds no private key that can be read: {why}",
            key.display()
        ))
        .hint("a PEM file that begins with -----BEGIN PRIVATE KEY----- is needed, not encrypted")
    };
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::Io(error) => unreadable(key, &error),
        pem::Error::NoItemsFound => wrong("there is none in it".to_owned()),
        other => wrong(other.to_string()),
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified =
        CertifiedKey::from_der(chain, secret, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Fault::untried(format!(
                "`{}` is not the key of the certificate in `{}`",
                key.display(),
                cert.display()
            )),
            other => wrong(other.to_string()),
        })?;
    Ok(FileCredentials {
        authorities,
        identity: Some((cert.to_owned(), Arc::new(certified))),
    })
}

/// All certificates of a root CA file, each with its place.
pub(super) fn authorities(ca: &Path) -> Outcome<Vec<(PathBuf, CertificateDer<'static>)>> {
    let anchors = certificates(ca)?;
    if anchors.is_empty() {
        return Err(no_certificate(ca));
    }
    let anchors = anchors.into_iter();
    Ok(anchors.map(|der| (ca.to_owned(), der)).collect())
}

fn certificates(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    let wrong = |error| match error {
        pem::Error::Io(error) => unreadable(path, &error),
        other => Fault::untried(format!(
            "failed to read certificates from `{}`: {other}",
            path.display()
        )),
    };
    CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .map(|item| item.map_err(wrong))
        .collect()
}

fn no_certificate(path: &Path) -> Fault {
    Fault::untried(format!("`{}` holds no certificate", path.display()))
        .hint("a PEM file that begins with -----BEGIN CERTIFICATE----- is needed; is this the key?")
}

/// A file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    let fault = Fault::untried(format!("failed to read `{}`: {error}", path.display()));
    if error.kind() == std::io::ErrorKind::NotFound {
        fault.hint("`sectag up` makes the root CA and the operator certificate when it first starts; others are given with --ca, --cert and --key")
    } else {
        fault
    }
}
