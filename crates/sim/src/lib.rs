//! The town: a device and a service on a virtual clock, without sockets; for tests only, nothing depends on it.
//! Beside it the [`herd`]: ten thousand clients and one question, when they come.
//! And a [`year`]: a fleet and the whole service, and whether anybody is ever without a certificate.
//!
//! ```text
//!   device::Device                   town::Town                        desk::Desk
//!     Client + VirtualModem ───────► fetch ──────── cut? ────────────► token check, next_batch
//!     settings, reboots      ◄────── batch ──────── cut? ────────────  Queue, device CA
//!                            ──────► report ─────── cut? ────────────► settle, sign, follow
//!                            ◄────── acknowledgement cut? ───────────
//! ```
//!
//! The arrows are method calls over HTTPS, and datagrams over CoAP: there the real endpoints stand at both ends of an air
//! that loses, delays, doubles and renames (`air`, `coap`). `month` adds up what each way costs.
//!
//! The town moves the clock to the next wake-up, carries requests, and loses what the [`cuts::Cuts`] say. It hears
//! everything that anybody could print, so that a test can look for secrets in it.

#[cfg(feature = "coap")]
pub mod air;
pub mod ca;
#[cfg(feature = "coap")]
pub mod coap;
pub mod cuts;
pub mod desk;
pub mod device;
pub mod herd;
pub mod job;
pub mod meter;
#[cfg(feature = "coap")]
pub mod month;
pub mod road;
pub mod town;
pub mod year;
