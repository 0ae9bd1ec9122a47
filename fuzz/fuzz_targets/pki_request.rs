//! Requests of other people's tools: any bytes are judged, and what is read has a key that can be certified or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::own;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(asked) = own::read_request(bytes) {
        assert!(!asked.spki.is_empty());
        let _ = asked.common_name();
    }
    let _ = own::names_in_order(bytes);
    let _ = own::read_issued(bytes, bytes);
});
