//! TLS borrows a signature; the private key stays (design: `TagSigner`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sectag_proto::es256::{PublicKey, SignEs256};
use sectag_proto::{CredentialType, SecTag};

use crate::host::Bell;
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
    /// It is there, and cannot be had.
    #[error("the {credential} (type {}) under sec tag {tag} cannot be read: {why}", credential.0)]
    Unreadable {
        /// The tag asked.
        tag: SecTag,
        /// What was wanted.
        credential: CredentialType,
        /// Why, and what to do.
        why: String,
    },
    /// The modem is reached by AT lines and has no command that lends signatures.
    #[error(
        "this modem's key under sec tag {tag} cannot sign for a TLS connection of the host, since its AT commands have no raw signature; what works: the modem's own MQTT, or a sec tag in the file store"
    )]
    NoRemoteSigning {
        /// The tag asked.
        tag: SecTag,
    },
    /// The modem is reached by AT lines, and did not answer in a way that makes sense.
    #[error("the modem could not be asked about sec tag {tag}: {reason}")]
    Unreachable {
        /// The tag asked.
        tag: SecTag,
        /// What went wrong.
        reason: String,
    },
}

/// A virtual modem with several holders: the one that sends AT lines and the TLS connections that borrow signatures.
///
/// Each clone hears every notification from its making on.
#[derive(Clone)]
pub struct SharedModem {
    shared: Arc<Shared>,
    /// Notifications read through this clone.
    heard: u64,
}

struct Shared {
    modem: Mutex<VirtualModem>,
    /// Whom to wake when a line has run.
    bells: Mutex<Vec<Weak<Bell>>>,
}

impl SharedModem {
    /// Shares `modem`; clones are the same modem.
    pub fn new(modem: VirtualModem) -> Self {
        Self {
            shared: Arc::new(Shared {
                modem: Mutex::new(modem),
                bells: Mutex::default(),
            }),
            heard: 0,
        }
    }

    /// The modem alone, for as long as the guard lives. A holder that panicked left a complete state behind, since
    /// changes are swapped in whole.
    pub fn lock(&self) -> MutexGuard<'_, VirtualModem> {
        self.shared
            .modem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings `bell` after each line that any clone runs, for as long as the bell lives.
    pub(crate) fn tell_changes(&self, bell: &Arc<Bell>) {
        self.bells().push(Arc::downgrade(bell));
    }

    fn bells(&self) -> MutexGuard<'_, Vec<Weak<Bell>>> {
        self.shared
            .bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.bells().retain(|bell| match bell.upgrade() {
            Some(bell) => {
                bell.ring();
                true
            }
            None => false,
        });
    }
}

impl SharedModem {
    /// Runs one command line; see [`VirtualModem::line`].
    pub fn line(&mut self, at: &str) -> String {
        let answer = self.lock().line(at);
        self.ring();
        answer
    }
}

impl Modem for SharedModem {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        let answer = Modem::line(&mut *self.lock(), at);
        self.ring();
        answer
    }

    fn notifications(&mut self) -> Vec<String> {
        let mut heard = self.heard;
        let said = self.lock().hear(&mut heard);
        self.heard = heard;
        said
    }

    fn reboot(&mut self) {
        self.lock().reboot();
        self.ring();
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
        match self.shared.modem.try_lock() {
            Ok(modem) => modem.fmt(f),
            Err(_) => f.write_str("VirtualModem(in use)"),
        }
    }
}
