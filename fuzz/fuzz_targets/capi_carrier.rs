//! A C program whose callbacks say anything and lie about lengths: no panic, no read outside a buffer.
#![no_main]

#[path = "../../crates/capi/tests/desk/anything.rs"]
mod program;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: (bool, Vec<program::Step>)| {
    program::play(script.0, script.1);
});
