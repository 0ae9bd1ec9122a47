//! What becomes of the other commands when one fails.

use core::fmt;
use serde::{Deserialize, Serialize};

/// What the service does when a command fails. What the device does is always the same: it stops its batch there
/// (spec/device-protocol §8), and what it did not execute can be delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorPolicy {
    /// The vendor's way (spec/device-protocol §10 rule 7): all that waits behind the failed command is dropped.
    #[default]
    VendorDefault,
    /// The failed command is `FAILED`; what waits behind it goes on.
    KeepRest,
    /// The command is delivered again, under another correlation id; after so many repetitions the vendor's way.
    Retry {
        /// Repetitions, 1 to [`RETRIES_MAX`].
        times: u8,
    },
    /// The command stops the queue until an operator resumes, skips or discards it.
    Park,
}

/// Repetitions of one command at most: each costs the device a session or a part of one.
pub const RETRIES_MAX: u8 = 20;

impl ErrorPolicy {
    /// For `skip_serializing_if`, so that commands of the vendor's way look as they always did.
    pub const fn is_vendor_default(&self) -> bool {
        matches!(self, Self::VendorDefault)
    }
}

impl fmt::Display for ErrorPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VendorDefault => f.write_str("drop the rest"),
            Self::KeepRest => f.write_str("keep the rest"),
            Self::Retry { times: 1 } => f.write_str("retry once, then drop the rest"),
            Self::Retry { times } => write!(f, "retry {times} times, then drop the rest"),
            Self::Park => f.write_str("park for the operator"),
        }
    }
}
