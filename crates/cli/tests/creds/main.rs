//! `sectag creds`, `modem at` and `modem record`: the same story over every kind of modem, and the words of typical mistakes.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod apply;
mod desk;
mod lines;
mod mistakes;
mod story;
