//! Where credentials live: the virtual modem, real ones on a wire, and files; all under security tags.
//!
//! The virtual modem is pure: state in, state out. Keys, time and randomness are injected; only [`VirtualModem::open`]
//! touches files, through `sectag_keep`. It never has heard of a server.
//!
//! ```text
//!   AT%KEYGEN=42,2,0 ──► VirtualModem::line ──► %KEYGEN: "<csr>.<cose>"  OK
//!                          │      ▲
//!     identity key, tags ──┘      └── set_time, advance (clock), entropy (randomness)
//!                          │
//!   TLS handshake ◄── TagSigner::sign(tag, message): the signature leaves, the private key stays
//! ```
//!
//! Around it:
//!
//! - [`host`]: what stands between a serial line and the modem, and the ptys and ports that carry it;
//! - [`serial`]: the other end of such a line, for real modules as well;
//! - [`credentials`]: one contract over AT commands ([`credentials::AtStore`]) and files ([`credentials::FileStore`]).
//!
//! What the commands mean is `spec/modem-at.md`; what tokens and CSRs look like is `spec/device-protocol.md` §2, §3.

mod certificate;
mod cme;
mod commands;
pub mod credentials;
mod functional;
pub mod host;
mod identity;
mod key;
mod network;
mod options;
pub mod serial;
mod signer;
mod state;
mod storage;
mod virtual_modem;

pub use cme::Cme;
pub use identity::{Identity, IdentityError, Whose};
pub use options::{
    Entropy, FAULT_GRAMMAR, Fault, FaultAnswer, Moment, Options, PowerCut, QUIRKS, Quirk,
    QuirkError, seeded,
};
pub use signer::{SharedModem, SignerError, TagSigner};
pub use state::{Inspection, OpenError, inspect};
pub use storage::CONTENT_BYTES_MAX;
pub use virtual_modem::{LINE_BYTES_MAX, VirtualModem};

/// Why a line brought no whole answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// No final result line in time.
    #[error("no final result line within {} s", after.as_secs())]
    Timeout {
        /// How long was waited.
        after: std::time::Duration,
        /// What had arrived until then.
        said: String,
    },
    /// The port is gone, or was never there.
    #[error("the way to the modem failed")]
    Port(#[from] std::io::Error),
    /// An injected power cut: the virtual modem answers nothing until it is switched on again.
    #[error("the modem's power was cut")]
    PowerCut,
    /// The line cannot travel over this transport.
    #[error("a line of {bytes} bytes does not fit: {why}")]
    Unsendable {
        /// Bytes of the line.
        bytes: usize,
        /// The limit, or the character, that is in the way.
        why: &'static str,
    },
}

impl LineError {
    /// What the modem had printed when it failed; empty when that is nothing.
    pub fn said(&self) -> &str {
        match self {
            Self::Timeout { said, .. } => said,
            _ => "",
        }
    }
}

/// A modem: real or virtual, it takes a line and answers.
pub trait Modem {
    /// Runs one command line (without terminator) and returns everything printed for it, each line ending in CR LF,
    /// the last one being the final result (`OK`, `ERROR`, `+CME ERROR: n`). A virtual modem always answers.
    ///
    /// # Errors
    /// [`LineError`]: the way to the modem failed, or it did not finish its answer in time. Whether the command was
    /// executed is then unknown.
    fn line(&mut self, at: &str) -> Result<String, LineError>;

    /// What the modem said on its own since the last call, without line ends, oldest first.
    fn notifications(&mut self) -> Vec<String>;

    /// Switches the modem off and on, as a reboot of its board does: modes and subscriptions begin anew, credentials stay.
    /// A modem without a board that could do it stays as it is.
    fn reboot(&mut self) {}

    /// Whether line ends inside quotes arrive changed, as through a shell (LF as CR LF, spec/modem-at §9).
    fn alters_line_ends(&self) -> bool {
        false
    }
}

impl<M: Modem + ?Sized> Modem for Box<M> {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        (**self).line(at)
    }

    fn notifications(&mut self) -> Vec<String> {
        (**self).notifications()
    }

    fn reboot(&mut self) {
        (**self).reboot();
    }

    fn alters_line_ends(&self) -> bool {
        (**self).alters_line_ends()
    }
}
