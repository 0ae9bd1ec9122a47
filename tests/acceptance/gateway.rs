//! The acceptance list of spec/gateway-config §17, number by number, through the binary. A number that is tested in depth
//! elsewhere shows its essence here and names that test.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../gateway_desk/mod.rs"]
mod gateway_desk;
#[path = "gateway/mod.rs"]
mod list;
#[path = "../peers/stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;
