//! thin-edge.io's page "MQTT TLS Configuration", row by row (tests/sources/README.md, G).
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../gateway_desk/mod.rs"]
mod gateway_desk;
#[path = "gateway_page/mod.rs"]
mod page;
#[path = "../peers/stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;
