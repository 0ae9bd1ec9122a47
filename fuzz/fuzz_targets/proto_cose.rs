//! COSE_Sign1: no panic, and what is accepted has exactly one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::cose::Sign1;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sign1) = Sign1::decode(bytes) {
        assert_eq!(sign1.encode(), bytes);
    }
});
