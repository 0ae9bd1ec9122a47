//! Every cause of a failed session, provoked with real TLS: by servers in this process, by `openssl s_server`, by
//! mosquitto, and by our own broker. Each is asserted by its cause and by the values that disagree.
#![allow(clippy::unwrap_used)]

mod client;
mod house;
mod keys;
mod list;
mod material;
mod mqtt;
mod server;
mod transport;
