//! Each finding has a fixture that produces it, and a neighbour, one step away, that does not.
//!
//! The fixtures are real files: keys and certificates of a local PKI, and some that openssl made (`material/`, for these
//! tests only), because no proper tool of ours makes them.
#![allow(clippy::unwrap_used)]

mod access;
mod authorities;
mod between;
mod client;
mod hand_written;
mod listener;
mod openssl;
mod pairs;
mod random;
mod reference;
mod scene;
mod validity;
