//! The authorities of a home: one folder, whether `sectag up` or `sectag ca` made it.
//!
//! ```text
//!  ca/root.{crt,key}      trusted by everybody; its key may be elsewhere
//!  ca/servers.{crt,key}   issues servers          ca/servers.crl    what it revoked
//!  ca/devices.{crt,key}   issues clients          ca/devices.crl    what it revoked: a broker reads this one
//!  ca/issued/             the register of what was issued here
//! ```

use super::passphrase::Passphrase;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_keep::KeepError;
use sectag_pki::{Authority, Certificate, KeyPair, PkiError, Purpose, pem, show};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Whom a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Server,
    Client,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// Name of the files of its authority.
    pub(crate) const fn stem(self) -> &'static str {
        match self {
            Self::Server => "servers",
            Self::Client => "devices",
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::Server => Purpose::Servers,
            Self::Client => Purpose::Devices,
        }
    }
}

/// `HOME/ca`
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
}

impl Folder {
    /// Where it is or will be, absolute: the register remembers paths.
    pub(crate) fn of(place: &Place) -> Outcome<Self> {
        Ok(Self {
            dir: std::path::absolute(&place.home)?.join("ca"),
        })
    }

    /// One that has a root.
    pub(crate) fn existing(place: &Place) -> Outcome<Self> {
        let folder = Self::of(place)?;
        if folder.certificate("root").exists() {
            return Ok(folder);
        }
        Err(
            Fault::no(format!("no CA in `{}`", folder.dir.display())).hint(
                "`sectag ca init` makes one, and `sectag up` does when it first starts; another home is chosen with --home",
            ),
        )
    }

    pub(crate) fn certificate(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.crt"))
    }

    pub(crate) fn key(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.key"))
    }

    /// Where the revocation list of an authority is.
    pub(crate) fn crl(&self, kind: Kind) -> PathBuf {
        self.dir.join(format!("{}.crl", kind.stem()))
    }

    /// The certificates of a file, at least one.
    pub(crate) fn certificates(&self, stem: &str) -> Outcome<Vec<Certificate>> {
        let path = self.certificate(stem);
        let text = sectag_keep::read_public(&path)
            .map_err(kept)?
            .ok_or_else(|| Fault::no(format!("`{}` is missing", path.display())))?;
        certificates(&path, &text)
    }

    /// What follows a certificate in its file: the issuing authority and what stands between it and the root.
    pub(crate) fn chain(&self, kind: Kind) -> Outcome<String> {
        let all = self.certificates(kind.stem())?;
        let between = all
            .iter()
            .filter(|certificate| !is_self_issued(certificate));
        Ok(between.map(Certificate::pem).collect())
    }

    /// The roots that end the chain of `kind`: what its peers trust. When none is found, all that are there.
    pub(crate) fn roots(&self, kind: Kind) -> Outcome<Vec<Certificate>> {
        let mut known = self.certificates("root")?;
        let issuing = self.certificates(kind.stem())?;
        known.extend(issuing.iter().skip(1).cloned());
        let path = path_up(&issuing[0], &known);
        match path.last() {
            Some(root) if is_self_issued(root) => Ok(vec![root.clone()]),
            _ => self.certificates("root"),
        }
    }

    /// An authority with its key.
    pub(crate) fn authority(&self, stem: &str, passphrase: &Passphrase) -> Outcome<Authority> {
        let (certificate, key) = (self.certificate(stem), self.key(stem));
        let pair = match sectag_keep::load_pair(&certificate, &key) {
            Err(KeepError::HalfPair { missing, .. }) if missing == key => {
                return Err(Fault::no(format!(
                    "the key of the {stem} CA is not in this home: `{}` is missing",
                    key.display()
                ))
                .hint("issue where the key is, or bring it here: `sectag ca import`"));
            }
            pair => pair.map_err(kept)?,
        };
        let Some((certificate_text, key_text)) = pair else {
            return Err(Fault::no(format!("`{}` is missing", certificate.display()))
                .hint("`sectag ca init` makes what is missing"));
        };
        let all = certificates(&certificate, &certificate_text)?;
        let key_text = text_of(&key, &key_text)?;
        let pair = open_key(&key, &key_text, passphrase)?;
        Authority::from_parts(all[0].clone(), pair) // `certificates` gives at least one
            .map_err(|e| broken(&certificate, &e))
    }
}

/// Reads a key, and asks for the passphrase when it has one.
pub(crate) fn open_key(path: &Path, text: &str, passphrase: &Passphrase) -> Outcome<KeyPair> {
    match KeyPair::from_pem(text) {
        Err(PkiError::Encrypted) => {
            let secret = passphrase.get(&format!("the key in `{}`", path.display()))?;
            KeyPair::from_encrypted_pem(text, secret.as_bytes()).map_err(|e| match e {
                PkiError::Passphrase => Fault::no(format!(
                    "the passphrase does not open the key in `{}`",
                    path.display()
                )),
                e => broken(path, &e),
            })
        }
        read => read.map_err(|e| broken(path, &e)),
    }
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path, bytes: &[u8]) -> Outcome<Vec<Certificate>> {
    let ders = crate::cert::certificates_of(path, bytes)?;
    ders.iter()
        .map(|der| Certificate::from_der(der).map_err(|e| broken(path, &e)))
        .collect()
}

/// From a certificate upwards, by names and signatures, as far as `known` goes; without the certificate itself.
pub(crate) fn path_up(certificate: &Certificate, known: &[Certificate]) -> Vec<Certificate> {
    let mut path: Vec<Certificate> = Vec::new();
    let mut at = certificate.clone();
    while !is_self_issued(&at) && path.len() <= known.len() {
        let signed =
            |issuer: &&Certificate| sectag_pki::own::read_issued(at.der(), issuer.der()).is_ok();
        let Some(issuer) = known.iter().find(signed) else {
            break;
        };
        at = issuer.clone();
        path.push(at.clone());
    }
    if path.is_empty() && is_self_issued(&at) {
        path.push(at);
    }
    path
}

/// Is it its own issuer?
pub(crate) fn is_self_issued(certificate: &Certificate) -> bool {
    show(certificate.der()).is_ok_and(|facts| facts.subject == facts.issuer)
}

/// Certificates as one PEM text.
pub(crate) fn bundle(certificates: &[Certificate]) -> String {
    certificates
        .iter()
        .map(|certificate| pem::encode("CERTIFICATE", certificate.der()))
        .collect()
}

pub(crate) fn text_of(path: &Path, bytes: &[u8]) -> Outcome<Zeroizing<String>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Fault::no(format!("`{}` is not PEM", path.display()))),
    }
}

/// A file that holds something else than it should.
pub(crate) fn broken(path: &Path, error: &PkiError) -> Fault {
    Fault::no(format!("`{}`: {error}", path.display()))
}

/// A file that could not be read or written.
pub(crate) fn kept(error: KeepError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
