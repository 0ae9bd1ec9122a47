//! Claim tokens and KEYGEN outputs: no panic, and a parsed token prints and parses to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::token::{AttestationToken, KeygenOutput};

fuzz_target!(|text: &str| {
    if let Ok(token) = AttestationToken::parse(text) {
        let _ = token.candidates();
        assert_eq!(AttestationToken::parse(&token.text()), Ok(token));
    }
    if let Ok(output) = KeygenOutput::parse(text) {
        let _ = output.candidates();
        assert_eq!(KeygenOutput::parse(&output.text()), Ok(output));
    }
});
