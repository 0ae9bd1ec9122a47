//! DTLS 1.2 with Connection ID over Mbed TLS, without IO.

mod client;
mod config;
mod counters;
mod date;
mod endpoint;
mod event;
mod ffi;
mod hello;
mod layout;
mod progress;
mod record;
mod roster;
mod saved;
mod session;
mod tickets;

use std::time::Duration;

pub use client::Client;
pub use config::{
    CachedSession, ClientConfig, ConfigError, Identity, Limits, MasterSecret, Now, Random,
    Resumption, ServerConfig, Suites, suite_is_aead, suite_name,
};
pub use counters::{ClientCounters, Counters, Traffic};
pub use endpoint::Endpoint;
pub use event::{
    CertificateFault, ClientEvent, ClientFailure, ClientOutput, CloseReason, Event, HandshakeBytes,
    Output, Refused, Resumed, SendError, SessionKey,
};
pub use saved::{LoadError, SavedSession};

/// A handshake younger than this is not ended for the sake of another: it may be an honest peer two round trips away.
pub const HANDSHAKE_YOUNG: Duration = Duration::from_secs(5);
