//! Drives a device: carries a provisioning session between modem, service and settings, then opens the MQTT link.
//!
//! ```text
//!                    ┌─ agent ── proto::device::Session ─┐
//!   modem ◄── verbs ─┤    Sign, Line, Radio      Fetch, Report ──► https ──┬► service
//!     ▲              │    Save ──► settings              │    └───► coap ──┘
//!     │ signature    └───────────────────────────────────┘
//!   link ── MQTT over TLS with sec tags, or plain ──► broker; failures says why not
//! ```
//!
//! [`agent`], [`https`] and `coap` (a feature) carry and decide nothing: rules of provisioning live in `proto`, rules of topics in `pki`.
//! This crate has never heard of a server or a store; another service can take their place.
//!
//! A device on this machine is a [`state::DeviceState`] with a [`hosted::HostedModem`] in it. No private key of a
//! modem ever enters this crate: TLS borrows signatures, and JWTs arrive signed.

pub mod agent;
pub mod budget;
pub mod chain;
#[cfg(feature = "coap")]
pub mod coap;
pub mod console;
pub mod control;
pub mod failures;
pub mod gateway_client;
pub mod hosted;
pub mod https;
pub mod kconfig;
pub mod link;
pub mod options;
pub mod sample;
pub mod settings;
mod signer;
pub mod state;
pub mod verbs;
mod way;

pub use agent::{Agent, Happening};
pub use budget::Budget;
#[cfg(feature = "coap")]
pub use coap::Coap;
pub use failures::{Cause, Explanation};
pub use gateway_client::GatewayClient;
pub use hosted::HostedModem;
pub use https::Https;
pub use link::{LinkError, LinkOptions, MqttLink, PeerVerify, Security, TlsOptions};
pub use settings::{FileSettings, Settings, VolatileSettings};
pub use state::{DeviceState, StateError};
pub use way::{Handshake, Way};

/// Whether CoAP over DTLS is built in (the feature `coap`).
pub const HAS_COAP: bool = cfg!(feature = "coap");
