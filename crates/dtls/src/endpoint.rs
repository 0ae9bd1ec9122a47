//! The server's side: many peers, one socket.

use std::net::SocketAddr;

use crate::config::{CachedSession, ConfigError, Identity, Now, Random, ServerConfig};
use crate::counters::Counters;
use crate::event::{Output, SendError, SessionKey};
use crate::saved::{LoadError, SavedSession};

/// Many peers behind one socket. `Send`, not `Sync`: one thread at a time.
pub struct Endpoint {
    #[allow(dead_code)]
    config: ServerConfig,
    #[allow(dead_code)]
    random: Box<dyn Random>,
    counters: Counters,
}

impl Endpoint {
    /// An endpoint without sessions.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: ServerConfig, random: Box<dyn Random>) -> Result<Self, ConfigError> {
        Ok(Self {
            config,
            random,
            counters: Counters::default(),
        })
    }

    /// A UDP payload arrived.
    pub fn feed(&mut self, _datagram: &[u8], _from: SocketAddr, _now: Now) {
        self.counters.dropped_unknown += 1;
    }

    /// Sends one record to a session's peer.
    ///
    /// # Errors
    /// When there is no such session, or the bytes do not fit one record.
    pub fn send(
        &mut self,
        _session: SessionKey,
        _bytes: &[u8],
        _now: Now,
    ) -> Result<(), SendError> {
        Err(SendError::NoSession)
    }

    /// Ends a session with a close_notify; unknown ones are ignored.
    pub fn close(&mut self, _session: SessionKey, _now: Now) {}

    /// What is to be done; until [`Output::Wait`], which is always last.
    pub fn poll(&mut self, _now: Now) -> Output {
        Output::Wait(None)
    }

    /// New peers are shown this identity; sessions live on.
    ///
    /// # Errors
    /// When it cannot be used; the former one stays.
    pub fn replace_identity(&mut self, identity: Identity) -> Result<(), ConfigError> {
        self.config.identity = identity;
        Ok(())
    }

    /// What happened since the beginning.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sessions, handshakes included.
    pub fn sessions(&self) -> usize {
        0
    }

    /// A session that a client may resume by its ID, kept from [`Event::Cache`](crate::Event::Cache).
    pub fn remember(&mut self, _id: &[u8], _session: &CachedSession) {}

    /// Orderly shutdown: ends the endpoint and hands out the sessions that can go on in another.
    pub fn into_saved(self, _now: Now) -> Vec<SavedSession> {
        Vec::new()
    }

    /// Goes on with a saved session, which is consumed.
    ///
    /// # Errors
    /// When it cannot go on; its peer has to come back with a handshake.
    pub fn load(&mut self, _saved: SavedSession, _now: Now) -> Result<SessionKey, LoadError> {
        Err(LoadError::Garbage)
    }
}
