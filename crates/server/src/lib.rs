//! The provisioning service: who may come, what they get, and the certificates that make a device trusted.
//!
//! ```text
//!   owners ──► owner_api (REST, TLS + loopback) ──┐            ┌──► store (SQLite)
//!                                                 ├──► app ────┤
//!   devices ─► device_api (HTTPS + CBOR) ─────────┤            └──► pki (closed loop)
//!   devices ─► coap (DTLS, CoAP + CBOR) ──────────┘
//!                                                   home: CA, keys, settings      mqtt: broker on the same CA
//! ```
//! HTTP and CoAP are known at the doors only; what to answer is decided in [`app`], and the rules of the conversation in `proto`.
//! It has never heard of a modem. The calendar is an argument ([`Config::clock`]).
#![forbid(unsafe_code)]

pub mod admission;
pub mod app;
mod audit;
mod clones;
#[cfg_attr(not(feature = "coap"), path = "no_coap.rs")]
mod coap;
pub mod device_api;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod documents;
mod error;
mod events;
mod evidence;
pub mod gate;
mod home;
pub mod issuers;
mod listen;
pub mod listeners;
mod metrics;
mod objects;
pub mod owner_api;
mod parts;
mod service;
mod settings;
mod shown;
mod tls;
mod verify;
mod webhooks;

pub use app::{Clock, OwnerError, Refusal};
pub use error::StartError;
pub use home::{Home, Pair};
pub use service::{Addresses, Config, Service, level_word, system_clock};
pub use settings::{
    AUTHORISED_S_LIMIT, CertificateFiles, Coap, Listen, OPEN_COMMANDS_LIMIT, Policy, Private,
    Settings, SettingsError, Webhooks,
};
pub use verify::AwsLc;

/// Whether the device API over CoAP is built in (the feature `coap`).
pub const HAS_COAP: bool = cfg!(feature = "coap");
