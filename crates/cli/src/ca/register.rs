//! What was issued here, and what was revoked: one JSON file, changed under a lock.
//!
//! A certificate is in the register before it is on disk, so whatever is out there can be revoked. A revocation list is
//! made from the register while nobody changes it, so a later list never forgets what an earlier one said.

use super::folder::{Folder, Kind, kept};
use crate::fault::{Fault, Outcome};
use sectag_keep::KeepError;
use sectag_pki::{Authority, Certificate, PkiError, RevocationList, pem, sha256};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const VERSION: u32 = 1;
const DAY_S: u64 = 86_400;
/// How long a list is valid. Strict verifiers refuse every client once it has ended, so this is long; the timer makes a
/// new one every [`CRL_FRESH_S`].
const CRL_S: u64 = 365 * DAY_S;
/// A list older than this is made anew when somebody with the key passes by.
const CRL_FRESH_S: u64 = 30 * DAY_S;

/// Everything that was issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    version: u32,
    /// The number of the last revocation list of any authority here.
    crl_number: u64,
    pub(crate) certificates: Vec<Entry>,
}

/// One certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    /// Lower-case hexadecimal.
    pub(crate) serial: String,
    /// How it is called here: the identity of a client, the file name of a server.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// SHA-256 of the issuing certificate.
    pub(crate) issuer: String,
    /// SHA-256 of the certificate.
    pub(crate) sha256: String,
    pub(crate) not_before_s: u64,
    pub(crate) not_after_s: u64,
    /// Where it was written.
    pub(crate) certificate: Option<PathBuf>,
    /// Where its key was written; `None` when the key was made elsewhere.
    pub(crate) key: Option<PathBuf>,
    /// When it was revoked, Unix seconds.
    pub(crate) revoked_s: Option<u64>,
    /// Where its CRL is published.
    pub(crate) crl_url: Option<String>,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            version: VERSION,
            crl_number: 0,
            certificates: Vec::new(),
        }
    }
}

impl Register {
    /// SHA-256 of every certificate that was revoked.
    pub(crate) fn revoked(&self) -> BTreeSet<String> {
        let revoked = |entry: &&Entry| entry.revoked_s.is_some();
        let all = self.certificates.iter().filter(revoked);
        all.map(|entry| entry.sha256.clone()).collect()
    }
}

impl Entry {
    pub(crate) fn new(
        kind: Kind,
        name: &str,
        certificate: &Certificate,
        issuer: &Certificate,
        crl_url: Option<&str>,
    ) -> Self {
        Self {
            serial: certificate.serial_hex.clone(),
            name: name.to_owned(),
            kind,
            issuer: fingerprint(issuer),
            sha256: fingerprint(certificate),
            not_before_s: certificate.not_before_s,
            not_after_s: certificate.not_after_s,
            certificate: None,
            key: None,
            revoked_s: None,
            crl_url: crl_url.map(str::to_owned),
        }
    }

    /// "valid", "expired" or "revoked".
    pub(crate) const fn status(&self, now_s: u64) -> &'static str {
        if self.revoked_s.is_some() {
            "revoked"
        } else if self.not_after_s < now_s {
            "expired"
        } else {
            "valid"
        }
    }
}

pub(crate) fn fingerprint(certificate: &Certificate) -> String {
    sha256(certificate.der())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Why a list was not written.
enum Unwritten {
    Keep(KeepError),
    Pki(PkiError),
}

impl From<KeepError> for Unwritten {
    fn from(error: KeepError) -> Self {
        Self::Keep(error)
    }
}

/// The list in a file, if it is one of this authority.
fn list_of(file: &[u8], authority: &Authority) -> Option<RevocationList> {
    let der = pem::decode("X509 CRL", std::str::from_utf8(file).ok()?)?;
    let issuer = sectag_pki::show(authority.certificate_der()).ok()?.subject;
    let list = RevocationList::from_der(&der).ok()?;
    (list.issuer == issuer).then_some(list)
}

impl Folder {
    fn register_path(&self) -> PathBuf {
        // In a folder of its own: its lock is held while a list beside the authorities is written.
        self.dir.join("issued").join("certificates.json")
    }

    /// The register as it is.
    pub(crate) fn register(&self) -> Outcome<Register> {
        let path = self.register_path();
        match sectag_keep::read_public(&path).map_err(kept)? {
            None => Ok(Register::default()),
            Some(bytes) => self.parse(&bytes),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Outcome<Register> {
        let path = self.register_path();
        let register: Register = serde_json::from_slice(bytes)
            .map_err(|e| Fault::untried(format!("`{}` is not a register: {e}", path.display())))?;
        if register.version == VERSION {
            Ok(register)
        } else {
            Err(Fault::untried(format!(
                "`{}` has version {}, and {VERSION} is known here",
                path.display(),
                register.version
            )))
        }
    }

    /// Changes the register; nobody else does meanwhile. It stays as it is when `change` fails.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Register) -> Outcome<T>) -> Outcome<T> {
        enum Stop {
            Keep(KeepError),
            Fault(Fault),
        }
        impl From<KeepError> for Stop {
            fn from(error: KeepError) -> Self {
                Self::Keep(error)
            }
        }
        let done = sectag_keep::edit(&self.register_path(), |old| {
            let mut register = match old {
                Some(bytes) => self.parse(&bytes).map_err(Stop::Fault)?,
                None => Register::default(),
            };
            let answer = change(&mut register).map_err(Stop::Fault)?;
            let mut text =
                serde_json::to_vec_pretty(&register).map_err(|e| Stop::Fault(Fault::from(e)))?;
            text.push(b'\n');
            Ok((Some(text), answer))
        });
        done.map_err(|stop| match stop {
            Stop::Keep(error) => kept(error),
            Stop::Fault(fault) => fault,
        })
    }

    /// Writes down a certificate before anybody has it.
    pub(crate) fn record(&self, entry: Entry) -> Outcome {
        self.change(|register| {
            register.certificates.push(entry);
            Ok(())
        })?;
        sectag_keep::crash::point("pki.issue.recorded");
        Ok(())
    }

    /// Signs and writes the revocation list of an authority: from the register, and what the list said before, for a running
    /// service writes there as well.
    pub(crate) fn write_crl(&self, kind: Kind, authority: &Authority, now_s: u64) -> Outcome {
        let path = self.crl(kind);
        self.change(|register| {
            let issuer = fingerprint(authority.certificate());
            let revoked: Vec<(&str, u64)> = register
                .certificates
                .iter()
                .filter(|entry| entry.issuer == issuer)
                .filter_map(|entry| Some((entry.serial.as_str(), entry.revoked_s?)))
                .collect();
            let number = sectag_keep::edit(&path, |found| {
                let before = found.and_then(|bytes| list_of(&bytes, authority));
                let mut all: BTreeMap<&str, u64> = revoked.into_iter().collect();
                if let Some(before) = &before {
                    for (serial, at) in &before.revoked {
                        all.entry(serial).or_insert(*at);
                    }
                }
                let last = before.as_ref().map_or(0, |list| list.number);
                let last = last.max(register.crl_number);
                let number = now_s.max(last.saturating_add(1));
                let all: Vec<(&str, u64)> = all.into_iter().collect();
                let list = authority
                    .crl_numbered(&all, number, now_s, now_s.saturating_add(CRL_S))
                    .map_err(Unwritten::Pki)?;
                let text = pem::encode("X509 CRL", &list).into_bytes();
                Ok((Some(text), number))
            });
            register.crl_number = number.map_err(|stop| match stop {
                Unwritten::Keep(error) => kept(error),
                Unwritten::Pki(error) => super::folder::broken(&path, &error),
            })?;
            Ok(())
        })
    }

    /// Is a list missing, older than thirty days, or without a revocation that the register has?
    pub(crate) fn crl_is_due(&self, kind: Kind, now_s: u64) -> Outcome<bool> {
        let Some(bytes) = sectag_keep::read_public(&self.crl(kind)).map_err(kept)? else {
            return Ok(true);
        };
        let text = String::from_utf8_lossy(&bytes);
        let der = pem::decode("X509 CRL", &text);
        let Some(list) = der.and_then(|der| RevocationList::from_der(&der).ok()) else {
            return Ok(true);
        };
        let listed: BTreeSet<&str> = list.revoked.iter().map(|(serial, _)| &serial[..]).collect();
        let issuer = fingerprint(&self.certificates(kind.stem())?[0]);
        let missing = |entry: &Entry| {
            entry.issuer == issuer
                && entry.revoked_s.is_some()
                && !listed.contains(entry.serial.as_str())
        };
        let lacks = self.register()?.certificates.iter().any(missing);
        Ok(lacks || list.this_update_s.saturating_add(CRL_FRESH_S) < now_s)
    }
}
