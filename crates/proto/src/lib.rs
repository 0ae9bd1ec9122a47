//! The words of device provisioning, and the conversation itself.
//!
//! No sockets, no clocks, no files, no randomness: protocol logic takes input and a time, and returns output and
//! the next wake-up. Whoever carries the bytes is a driver and decides nothing.
//!
//! ```text
//!   device (proto::device::Session)                    service (proto::service::Queue)
//!     Sign ───────────────► JWT ─────────────────────►  jwt::UnverifiedJwt::verify → Verified<DeviceId>
//!     Fetch{after, limits} ─────────────────────────►  next_batch(after, limits, now)
//!     ◄────────────────────────────── CBOR commands     Batch | Nothing
//!     Radio(offline), Line(AT)…, Radio(restored)
//!     Report(CBOR responses) ───────────────────────►  settle(report, now) → Changes
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod at;
mod cbor;
pub mod command;
pub mod cose;
pub mod credential;
pub mod device;
pub mod es256;
pub mod id;
pub mod jwt;
pub mod query;
pub mod rules;
pub mod secret;
pub mod service;
pub mod time;
pub mod token;
pub mod wire;

pub use command::{CommandKind, CommandRequest};
pub use credential::CredentialType;
pub use id::{CommandId, CorrelationId, DeviceId, FirmwareId, RuleId, SecTag};
pub use jwt::Verified;
pub use secret::Secret;
pub use time::{Timestamp, Uptime};
