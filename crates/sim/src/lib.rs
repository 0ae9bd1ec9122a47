//! The town: a device and a service on a virtual clock, without sockets; for tests only, nothing depends on it.
//!
//! ```text
//!   device::Device                   town::Town                        desk::Desk
//!     Session + VirtualModem ──────► fetch ──────── cut? ────────────► token check, next_batch
//!     settings, reboots      ◄────── batch ──────── cut? ────────────  Queue, device CA
//!                            ──────► report ─────── cut? ────────────► settle, sign, follow
//!                            ◄────── acknowledgement cut? ───────────
//! ```
//!
//! The town moves the clock to the next wake-up, carries requests, and loses what the [`cuts::Cuts`] say. It hears
//! everything that anybody could print, so that a test can look for secrets in it.

pub mod cuts;
pub mod desk;
pub mod device;
pub mod town;
