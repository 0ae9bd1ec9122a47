//! TLS borrows a signature; the private key stays (design: `TagSigner`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sectag_proto::es256::{PublicKey, SignEs256};
use sectag_proto::{CredentialType, SecTag};

use crate::{LineError, Modem, VirtualModem};

/// What a TLS client needs of one sec tag.
pub trait TagSigner: Send + Sync + fmt::Debug {
    /// ES256 over `message` with the client key under `tag`, as r‖s.
    ///
    /// # Errors
    /// [`SignerError`]
    fn sign(&self, tag: SecTag, message: &[u8]) -> Result<[u8; 64], SignerError>;

    /// The public half of the client key under `tag`.
    ///
    /// # Errors
    /// [`SignerError`]
    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError>;

    /// The client certificate (chain) under `tag`, PEM as it was written.
    ///
    /// # Errors
    /// [`SignerError::Missing`]
    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError>;

    /// The root CA (chain) under `tag`, PEM as it was written.
    ///
    /// # Errors
    /// [`SignerError::Missing`]
    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError>;
}

/// Why a sec tag cannot serve a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// Nothing of this type is there.
    #[error("sec tag {tag} has no {credential} (type {})", credential.0)]
    Missing {
        /// The tag asked.
        tag: SecTag,
        /// What is missing.
        credential: CredentialType,
    },
    /// A key that cannot sign here.
    #[error(
        "the client private key (type 2) under sec tag {tag} cannot sign: only unencrypted P-256 keys as PKCS#8 or SEC1 PEM can"
    )]
    UnusableKey {
        /// The tag asked.
        tag: SecTag,
    },
}

/// A virtual modem with several holders: the one that sends AT lines and the TLS connections that borrow signatures.
#[derive(Clone)]
pub struct SharedModem(Arc<Mutex<VirtualModem>>);

impl SharedModem {
    /// Shares `modem`; clones are the same modem.
    pub fn new(modem: VirtualModem) -> Self {
        Self(Arc::new(Mutex::new(modem)))
    }

    /// The modem alone, for as long as the guard lives. A holder that panicked left a complete state behind, since
    /// changes are swapped in whole.
    pub fn lock(&self) -> MutexGuard<'_, VirtualModem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedModem {
    /// Runs one command line; see [`VirtualModem::line`].
    pub fn line(&mut self, at: &str) -> String {
        self.lock().line(at)
    }
}

impl Modem for SharedModem {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        Ok(self.lock().line(at))
    }

    fn notifications(&mut self) -> Vec<String> {
        self.lock().notifications()
    }
}

impl TagSigner for SharedModem {
    fn sign(&self, tag: SecTag, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let key = self.lock().client_key(tag)?;
        Ok(key.sign(message).0)
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        Ok(self.lock().client_key(tag)?.public_key())
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        self.lock().pem(tag, CredentialType::CLIENT_CERTIFICATE)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        self.lock().pem(tag, CredentialType::ROOT_CA)
    }
}

impl fmt::Debug for SharedModem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_lock() {
            Ok(modem) => modem.fmt(f),
            Err(_) => f.write_str("VirtualModem(in use)"),
        }
    }
}
