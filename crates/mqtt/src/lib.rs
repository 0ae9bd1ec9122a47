//! MQTT for devices: the embedded [`broker`] and a [`client`], 3.1.1 and 5, over mutual TLS, server-only TLS and plain TCP.
//!
//! ```text
//!            sockets                 conversation              decisions
//!   broker:  broker::{accept,socket} ──► link (protocol core) ──► router ──► session, filters, retained
//!   client:  client::driver ──────────► (protocol core)
//!                 ▲ trust: certificate, authorities, CRLs
//! ```
//!
//! The certificate is the identity: its CN is the user name and, by the default rules, the first level of every topic. User
//! name and password of CONNECT are ignored, any client id is taken, and a session belongs to (issuer, identity, client id),
//! or without a certificate to (listener, client id). A [`Gate`] may know more of a certificate than its chain says. `link`, `router` and what is below have no sockets and no clock and
//! are tested without them.
//!
//! Offered: QoS 0, 1 and 2, retained messages, wills, persistent sessions (in memory), session and message expiry, flow
//! control, packet size limits. Not offered, and said so in CONNACK or the acknowledgement: shared subscriptions, subscription identifiers, topic
//! aliases, enhanced authentication. A will delay is taken as zero, and a MQTT 5
//! session that outlives its connection is granted QoS 1 at most. Sessions and retained messages end with the process.

pub mod broker;
pub mod client;
mod counters;
mod filters;
mod gate;
mod identity;
pub mod link;
mod message;
mod retained;
pub mod router;
mod session;
mod tls_words;
pub mod topic;
mod trust;

pub use broker::{
    Bound, Broker, BrokerConfig, BrokerError, BrokerLimits, Level, Listener, Security,
};
pub use client::{
    Client, ClientError, ConnectOptions, Incoming, Traffic, Transport, Version, Will,
};
pub use counters::{Counters, Snapshot};
pub use gate::{Admission, ClientCertificate, Gate, Verdict};
pub use identity::Identity;
pub use message::Message;
pub use mqtt_protocol_core::mqtt::packet::Qos;
pub use retained::RetainedLimits;
pub use session::{Acknowledgement, Delivery, Session, SessionKey, SessionLimits, Subscription};
pub use trust::{TLS_RECORD_BYTES_MAX, Trust, TrustError, TrustMaterial};
