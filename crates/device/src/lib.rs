//! Drives a device.
pub mod agent;
pub mod hosted;
pub mod https;
pub mod settings;
mod signer;
pub mod state;
pub mod verbs;
