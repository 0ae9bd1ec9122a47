//! The device's side: one session to one server.

use crate::config::{ClientConfig, ConfigError, Now, Random, Resumption};
use crate::counters::ClientCounters;
use crate::event::{ClientOutput, SendError};
use crate::saved::{LoadError, SavedSession};

/// One session to one server. `Send`, not `Sync`.
pub struct Client {
    counters: ClientCounters,
}

impl Client {
    /// A client that is not connected.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(_config: &ClientConfig, _random: Box<dyn Random>) -> Result<Self, ConfigError> {
        Ok(Self {
            counters: ClientCounters::default(),
        })
    }

    /// Starts the handshake. On a client that is connected or has failed: a new one.
    pub fn connect(&mut self, _now: Now) {}

    /// A UDP payload arrived from the server.
    pub fn feed(&mut self, _datagram: &[u8], _now: Now) {}

    /// Sends one record.
    ///
    /// # Errors
    /// When there is no session, or the bytes do not fit one record.
    pub fn send(&mut self, _bytes: &[u8], _now: Now) -> Result<(), SendError> {
        Err(SendError::NotConnected)
    }

    /// Ends the session with a close_notify.
    pub fn close(&mut self, _now: Now) {}

    /// What is to be done; until [`ClientOutput::Wait`], which is always last.
    pub fn poll(&mut self, _now: Now) -> ClientOutput {
        ClientOutput::Wait(None)
    }

    /// Whether records can be sent.
    pub fn is_connected(&self) -> bool {
        false
    }

    /// What a later client needs to resume this session by a short handshake.
    pub fn resumption(&self) -> Option<Resumption> {
        None
    }

    /// What happened since the beginning.
    pub fn counters(&self) -> ClientCounters {
        self.counters
    }

    /// Orderly stop: ends the client and hands out its session, if it can go on in another one.
    pub fn save(self, _now: Now) -> Option<SavedSession> {
        None
    }

    /// A client that goes on with a saved session, which is consumed.
    ///
    /// # Errors
    /// When it cannot go on; a new client has to connect.
    pub fn load(
        _config: &ClientConfig,
        _random: Box<dyn Random>,
        _saved: SavedSession,
        _now: Now,
    ) -> Result<Self, LoadError> {
        Err(LoadError::Garbage)
    }
}
