//! The device session for C: header `include/sectag_provisioning.h`, static library `libsectag_capi.a`.
//!
//! The machines of `sectag_proto::device` decide, the C program carries: HTTP, AT lines, settings, time and waiting come
//! to it as callbacks. No sockets, no files, no modem here. What the functions promise is written once, in the header.
//!
//! ```text
//!   C program                         this crate                          sectag_proto::device
//!     sectag_client_run ────────────►  ffi ──► Handle::run ──────────────► Client, Session: handle, poll
//!     fetch, report, at_line, … ◄────  Carrier ◄── Handle::carry ◄──────── Fetch, Report, Line, Sign, Radio, Save
//!     event callback ◄───────────────  Carrier ◄───────────────────────── Event
//! ```
//!
//! `unsafe` lives in `ffi` (pointers from C), and in a build without `std` in `lock` and `bare`. A machine is locked
//! only while it takes an input or gives an output, never during a callback, so callbacks may call back.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod ask;
#[cfg(all(not(feature = "std"), target_os = "none"))]
#[allow(unsafe_code)]
mod bare;
mod config;
mod errno;
#[allow(unsafe_code)]
mod ffi;
mod handle;
#[cfg_attr(not(feature = "std"), allow(unsafe_code))]
mod lock;
mod log;

pub use ffi::carrier::{AtFn, HttpFn, sectag_answer, sectag_carrier, sectag_request};
pub use ffi::client::{
    sectag_client_free, sectag_client_init, sectag_client_network, sectag_client_new,
    sectag_client_run, sectag_client_set_interval, sectag_client_step, sectag_client_trigger,
};
pub use ffi::event::{
    EventCallback, EventFn, nrf_attestation_token, nrf_provisioning_callback_data,
    nrf_provisioning_callback_union,
};
pub use ffi::library::{
    nrf_provisioning_init, nrf_provisioning_set_interval, nrf_provisioning_trigger_manually,
    sectag_configure, sectag_network, sectag_release, sectag_run, sectag_step,
};
pub use ffi::options::{sectag_carrier_init, sectag_config, sectag_config_init};
pub use ffi::session::{
    sectag_session_after, sectag_session_free, sectag_session_network, sectag_session_new,
    sectag_session_run, sectag_session_start, sectag_session_step,
};
pub use handle::Handle;
