//! What a new user types wrong, and what the terminal answers: both streams and the exit code, word for word.
//! 1: the answer is no. 2: it could not be tried.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../witness/mod.rs"]
mod witness;

mod desk;
mod operator;
mod owner;
mod service;
mod session;
mod typing;
