//! HTTP answers: no panic, no body beyond the input, and more bytes never turn an answer into a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_device::https::Response;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(response)) = Response::parse(bytes, false) {
        assert!(response.body.len() < bytes.len());
        let mut longer = bytes.to_vec();
        longer.extend_from_slice(b"more");
        assert_eq!(Response::parse(&longer, false), Ok(Some(response)));
    }
    let _ = Response::parse(bytes, true);
});
