//! What a broker must know: configuration keys in thin-edge's names, findings about them, mosquitto's files in and out,
//! and what must restart. It decides; `host` acts.
//!
//! ```text
//!   tedge.toml ─┐
//!   environment ├─► config ──► Settings ──┬─► findings (E1–E21) ──► sentences with a fix
//!   defaults   ─┘                 ▲       ├─► mosquitto: the listener's file, or a judgement on one
//!                          Facts ─┘       ├─► restart: who, in which order, why
//!        files, interfaces, broker, clock └─► client and broker of our own: the same level of security
//! ```
//!
//! Nothing here opens a socket. What the machine looks like is one value, [`facts::Facts`], filled through `sectag_keep`;
//! tests write it down. The rules are `spec/gateway-config.md`.

pub mod acl;
pub mod check;
pub mod config;
pub mod document;
pub mod facts;
pub mod findings;
pub mod keys;
pub mod mosquitto;
pub mod plan;
pub mod restart;
pub mod settings;
pub mod value;
pub mod verbs;

pub use settings::{Client, External, Host, Internal, Level, Settings, Source, Sourced};
