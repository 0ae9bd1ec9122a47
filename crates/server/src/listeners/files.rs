//! The files of a TLS listener, read in one go and digested, so that a change of any of them shows.

use super::{ClientFiles, ListenerError, TlsFiles};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sectag_keep::{self as keep, KeepError};
use sectag_mqtt::{Gate, Trust, TrustMaterial};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Most entries of a directory of CAs: a system's store has a few hundred.
const CA_ENTRIES_MAX: usize = 4096;

/// Most entries of the directory of teams' CAs: certificate, key and list of ten thousand.
const TEAM_ENTRIES_MAX: usize = 40_000;

/// The content of all files, not judged yet.
pub(super) struct Found {
    server_chain: Vec<CertificateDer<'static>>,
    server_key: PrivateKeyDer<'static>,
    pub(super) clients: Option<(
        Vec<CertificateDer<'static>>,
        Vec<CertificateRevocationListDer<'static>>,
    )>,
    pub(super) digest: [u8; 32],
}

impl Found {
    pub(super) fn trust(
        self,
        listener: &str,
        gate: Option<&Arc<dyn Gate>>,
    ) -> Result<Trust, ListenerError> {
        let made = match self.clients {
            None => Trust::server_only(self.server_chain, self.server_key),
            Some((client_roots, crls)) => {
                let material = TrustMaterial {
                    server_chain: self.server_chain,
                    server_key: self.server_key,
                    client_roots,
                    crls,
                };
                match gate {
                    None => Trust::new(material),
                    Some(gate) => Trust::gated(material, gate.clone()),
                }
            }
        };
        made.map_err(|source| ListenerError::Trust {
            listener: listener.to_owned(),
            source,
        })
    }
}

impl TlsFiles {
    pub(super) fn read(&self, listener: &str) -> Result<Found, ListenerError> {
        let mut seen = Vec::new();
        let mut read = Reader {
            listener,
            seen: &mut seen,
        };
        let (path, what) = (&self.certificate, "server certificate");
        let chain = read.some(path, what)?;
        let server_chain = certificates(&chain).map_err(|e| read.holds(path, what, e))?;
        let (path, what) = (&self.key, "server key");
        let key = read.some(path, what)?;
        let server_key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|e| read.holds(path, what, format!("holds no usable private key: {e}")))?;
        let clients = match &self.clients {
            None => None,
            Some(files) => {
                let mut found = (read.authorities(files)?, read.revocations(files)?);
                read.teams(files, &mut found)?;
                Some(found)
            }
        };
        Ok(Found {
            server_chain,
            server_key,
            clients,
            digest: sectag_pki::sha256(&seen),
        })
    }
}

/// Reads files and notes a digest of each.
struct Reader<'a> {
    listener: &'a str,
    seen: &'a mut Vec<u8>,
}

impl Reader<'_> {
    fn some(
        &mut self,
        path: &Path,
        what: &'static str,
    ) -> Result<impl std::ops::Deref<Target = Vec<u8>> + use<>, ListenerError> {
        match self.any(path, what)? {
            Some(content) => Ok(content),
            None => Err(self.holds(path, what, "does not exist".to_owned())),
        }
    }

    fn any(
        &mut self,
        path: &Path,
        what: &'static str,
    ) -> Result<Option<impl std::ops::Deref<Target = Vec<u8>> + use<>>, ListenerError> {
        let content = keep::content(path).map_err(|source| self.unread(what, source))?;
        let digest = content.as_ref().map(|bytes| sectag_pki::sha256(bytes));
        self.seen.extend(digest.unwrap_or_default());
        Ok(content)
    }

    fn authorities(
        &mut self,
        files: &ClientFiles,
    ) -> Result<Vec<CertificateDer<'static>>, ListenerError> {
        let (path, what) = (&files.authorities, "CA for clients");
        if keep::is_dir(path) != Some(true) {
            let content = self.some(path, what)?;
            return certificates(&content).map_err(|e| self.holds(path, what, e));
        }
        let names =
            keep::names(path, CA_ENTRIES_MAX).map_err(|source| self.unread(what, source))?;
        let mut all = BTreeSet::new();
        for name in names
            .iter()
            .filter(|name| is_ca_name(&name.to_string_lossy()))
        {
            // A directory may hold other things too, and links to what is gone.
            let Ok(Some(content)) = self.any(&path.join(name), what) else {
                continue;
            };
            let found = certificates(&content).unwrap_or_default();
            all.extend(found.iter().map(|certificate| certificate.to_vec()));
        }
        let usable = |certificate: &CertificateDer<'static>| {
            RootCertStore::empty().add(certificate.clone()).is_ok()
        };
        let all: Vec<_> = all.into_iter().map(Into::into).filter(usable).collect();
        match all.is_empty() {
            true => Err(self.holds(path, what, "holds no CA certificate".to_owned())),
            false => Ok(all),
        }
    }

    fn revocations(
        &mut self,
        files: &ClientFiles,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, ListenerError> {
        let what = "revocation list";
        let Some(path) = &files.revocations else {
            return Ok(Vec::new());
        };
        let Some(content) = self.any(path, what)? else {
            return match files.revocations_required {
                true => Err(self.holds(path, what, "does not exist".to_owned())),
                false => Ok(Vec::new()),
            };
        };
        let lists = CertificateRevocationListDer::pem_slice_iter(&content)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| self.holds(path, what, format!("is not usable PEM: {e}")))?;
        if !lists.is_empty() {
            return Ok(lists);
        }
        // mosquitto takes PEM only, and what one broker takes the other must.
        let reason = match sectag_pki::material::material(&content).is_der {
            true => format!(
                "is DER, and PEM is needed: `openssl crl -inform DER -in {0} -out {0}.pem`",
                path.display()
            ),
            false => "holds no revocation list".to_owned(),
        };
        Err(self.holds(path, what, reason))
    }

    /// CAs that come and go, and their lists. A file that vanishes while the names are read went a moment later.
    fn teams(
        &mut self,
        files: &ClientFiles,
        found: &mut (
            Vec<CertificateDer<'static>>,
            Vec<CertificateRevocationListDer<'static>>,
        ),
    ) -> Result<(), ListenerError> {
        let Some(dir) = &files.teams else {
            return Ok(());
        };
        if keep::is_dir(dir) != Some(true) {
            return Ok(());
        }
        let what = "CAs of teams";
        let names =
            keep::names(dir, TEAM_ENTRIES_MAX).map_err(|source| self.unread(what, source))?;
        for name in &names {
            let path = dir.join(name);
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("crt") => {
                    if let Some(content) = self.any(&path, what)? {
                        let certificates = certificates(&content);
                        found
                            .0
                            .extend(certificates.map_err(|e| self.holds(&path, what, e))?);
                    }
                }
                Some("crl") => {
                    if let Some(content) = self.any(&path, what)? {
                        found.1.extend(
                            CertificateRevocationListDer::pem_slice_iter(&content)
                                .collect::<Result<Vec<_>, _>>()
                                .map_err(|e| {
                                    self.holds(&path, what, format!("is not usable PEM: {e}"))
                                })?,
                        );
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn unread(&self, what: &'static str, source: KeepError) -> ListenerError {
        ListenerError::Read {
            listener: self.listener.to_owned(),
            what,
            source,
        }
    }

    fn holds(&self, path: &Path, what: &'static str, reason: String) -> ListenerError {
        ListenerError::Content {
            listener: self.listener.to_owned(),
            what,
            path: path.to_owned(),
            reason,
        }
    }
}

/// All certificates of a PEM text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("is not usable PEM: {e}"))?;
    match found.is_empty() {
        true => Err("holds no certificate".to_owned()),
        false => Ok(found),
    }
}

/// `x.pem`, `x.crt`, `x.cer`, or a hash link of OpenSSL such as `4bfab552.0`.
fn is_ca_name(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, "pem" | "crt" | "cer")) => true,
        Some((hash, number)) => {
            hash.len() == 8
                && hash.bytes().all(|b| b.is_ascii_hexdigit())
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_directory_is_read_by_name() {
        for name in ["a.pem", "a.b.crt", "x.cer", "4bfab552.0", "4bfab552.12"] {
            assert!(is_ca_name(name), "{name}");
        }
        for name in [
            "a",
            "a.key",
            "4bfab55.0",
            "4bfab552.",
            "4bfab552.r0",
            "README.txt",
        ] {
            assert!(!is_ca_name(name), "{name}");
        }
    }
}
