//! Requests come from devices: any bytes are judged, and what is repaired stays repaired.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::csr;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((normal, _)) = csr::repair(bytes) {
        assert_eq!(csr::repair(&normal), Ok((normal.clone(), false)));
    }
    let _ = csr::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = csr::attributes(text);
    }
});
