//! The virtual modem: AT in, AT out, credentials under security tags.
//!
//! It is pure: state in, state out. Keys, time and randomness are injected, nothing here reads a clock or opens a
//! socket; only [`VirtualModem::open`] touches files, through `sectag_keep`. It never has heard of a server.
//!
//! ```text
//!   AT%KEYGEN=42,2,0 ──► VirtualModem::line ──► %KEYGEN: "<csr>.<cose>"  OK
//!                          │      ▲
//!     identity key, tags ──┘      └── set_time, advance (clock), entropy (randomness)
//!                          │
//!   TLS handshake ◄── TagSigner::sign(tag, message): the signature leaves, the private key stays
//! ```
//!
//! What the commands mean is `spec/modem-at.md`; what tokens and CSRs look like is `spec/device-protocol.md` §2, §3.

mod certificate;
mod cme;
mod commands;
mod functional;
mod identity;
mod key;
mod network;
mod options;
mod signer;
mod state;
mod storage;
mod virtual_modem;

pub use cme::Cme;
pub use identity::Identity;
pub use options::{Entropy, Fault, FaultAnswer, Options, seeded};
pub use signer::{SharedModem, SignerError, TagSigner};
pub use state::OpenError;
pub use storage::CONTENT_BYTES_MAX;
pub use virtual_modem::{LINE_BYTES_MAX, VirtualModem};

/// A modem: real or virtual, it takes a line and answers.
pub trait Modem {
    /// Runs one command line (without terminator) and returns everything printed for it, each line ending in CR LF,
    /// the last one being the final result (`OK`, `ERROR`, `+CME ERROR: n`).
    fn line(&mut self, at: &str) -> String;

    /// What the modem said on its own since the last call, without line ends, oldest first.
    fn notifications(&mut self) -> Vec<String>;
}
