//! The acceptance list of spec/gateway-config §17, number by number.
#![allow(clippy::unwrap_used, unreachable_pub)]
