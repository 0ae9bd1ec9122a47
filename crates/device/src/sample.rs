//! The SDK's MQTT sample and the Academy's exercise "MQTT over TLS", as a device on this machine: the same topics,
//! triggers, state machine and log lines (spec/mqtt-tls-sample).
//!
//! ```text
//!   Sample (pure)  ──Provision──► Credentials ──► the modem's tags, while it is offline
//!                  ──Online─────► modem: CFUN=1, and its notifications
//!                  ──Connect, Subscribe, Publish──► link
//! ```
//!
//! [`Sample`] decides, [`run()`] carries. What the firmware does badly is behind [`Config::faithful`].

mod board;
mod choices;
mod config;
mod credentials;
pub mod errno;
mod events;
mod helper;
mod machine;
mod options;
mod remote;
mod run;
#[cfg(test)]
mod tests;
mod words;

pub use board::{Board, Happening, Observer, Session};
pub use choices::{Choices, SEC_TAG_ACADEMY, SEC_TAG_SAMPLE, WILL_MESSAGE, WILL_TOPIC};
pub use config::{Config, Edition, Program};
pub use credentials::{Credentials, FILE_BYTES_MAX, File, Folder, FolderError, ProvisionError};
pub use events::{Ending, Input, Message, Output, SUBSCRIBE_ID_ACADEMY, SUBSCRIBE_ID_SAMPLE, Step};
pub use helper::{Helper, HelperCall, HelperState, IllegalTransition, WrongState};
pub use machine::Sample;
pub use options::Options;
pub use remote::{Handle, Remote, remote};
pub use run::run;
pub use words::{Level, Line};
