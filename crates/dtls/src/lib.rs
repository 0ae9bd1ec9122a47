//! DTLS 1.2 with Connection ID (RFC 6347, RFC 9146) over Mbed TLS, without IO.
//!
//! No sockets, no threads, no files, no clock and no generator of its own: datagrams go in and come out as bytes, time is the argument
//! [`Now`], chance is [`Random`]. One seed and one clock make one conversation, byte for byte.
//!
//! ```text
//!                      feed(datagram, from, now)        ┌──────────────────────────────┐
//!   UDP socket ────────────────────────────────────────►│ Endpoint: many peers         │
//!        ▲                                              │   cookie → handshake → CID   │──► Event::Connected, Moved, Closed …
//!        │   Output::Datagram { to, bytes }             │   → records → close          │──► Output::Record { session, bytes }
//!        └──────────────────────────────────────────────│                              │◄── send(session, bytes, now)
//!                                                       └──────────────────────────────┘
//! ```
//!
//! [`Client`] is the other end with the same words: `connect`, `feed`, `send`, `close`, and `poll` until `Wait`.
//!
//! ```
//! use sectag_dtls::{Endpoint, Now, Output};
//!
//! /// What a driver does after each input.
//! fn carry(endpoint: &mut Endpoint, now: Now) {
//!     loop {
//!         match endpoint.poll(now) {
//!             Output::Datagram { to, bytes } => println!("send {} bytes to {to}", bytes.len()),
//!             Output::Record { session, bytes } => println!("{session} said {} bytes", bytes.len()),
//!             Output::Event(event) => println!("{event:?}"),
//!             Output::Wait(_until) => break,
//!         }
//!     }
//! }
//! ```
//!
//! # What it promises
//!
//! - **No state before the cookie.** A ClientHello costs one HMAC and an answer shorter than itself, until its sender has shown that it
//!   hears us. The keys of cookies change every minute.
//! - **A session is told by its Connection ID**, not by its address. The address moves only on a fresh, authenticated record with a
//!   sequence number above all before; until the peer goes on from there, it is sent little more than it has sent.
//! - **Nobody ends another's session.** What is not authenticated is dropped. A ClientHello with a good cookie begins a new session beside
//!   the old one, which ends when the new handshake is complete.
//! - **Records stay apart.** One [`Output::Record`] is one record.
//! - **Everything is bounded**: sessions, handshakes, their time, silence, cached sessions, waiting outputs ([`Limits`]). The session idle
//!   for the longest time makes room. An idle session costs about 8.4 kB, all included.
//! - **Resumption outlives a crash.** Ticket keys are derived from the home's secret day by day; sessions resumed by ID can be kept by the
//!   caller ([`Event::Cache`], [`Endpoint::remember`]).
//! - **A session goes on over an orderly restart, once.** [`Endpoint::into_saved`] ends the endpoint, [`Endpoint::load`] consumes what was
//!   saved. Two that went on with one session would use one nonce twice.
//!
//! # What it refuses
//!
//! - renegotiation, compression, DTLS 1.0, RSA, PSK, SHA-1 signatures, curves other than P-256 and P-384;
//! - client certificates: a device shows who it is by its token, inside;
//! - handshake messages and records above 2,048 bytes, and a ClientHello in fragments (Mbed TLS 3.6.5 does not put it together);
//! - in the client: a server whose chain, validity or name does not hold, with the two facts that disagree ([`CertificateFault`]).
//!
//! # Unsafe
//!
//! All calls into C are in `src/ffi`, each with the contract it relies on. Mbed TLS is built by `mbedtls-rs-sys` and needs clang and cmake.

#![deny(unsafe_op_in_unsafe_fn)]

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
