//! Commands and responses: no panic, and what is accepted has exactly one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::wire::{
    DecodeLimits, decode_commands, decode_responses, encode_commands, encode_responses,
};

const LIMITS: DecodeLimits = DecodeLimits {
    records_max: 20,
    config_pairs_max: 100,
    bytes_max: 65_536,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(commands) = decode_commands(bytes, LIMITS) {
        assert_eq!(encode_commands(&commands), bytes);
    }
    if let Ok(responses) = decode_responses(bytes, LIMITS) {
        assert_eq!(encode_responses(&responses), bytes);
    }
});
