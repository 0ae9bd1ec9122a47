//! `gateway` against Debian's mosquitto: what it does when all goes well, and how it goes back when something does not.
#![allow(clippy::unwrap_used)]

mod desk;
mod drills;
mod guide;
mod levels;
mod renewal;
mod services;
