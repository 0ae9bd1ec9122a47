//! A revocation list of a home, which other programs may have written.
#![no_main]

use sectag_pki::{RevocationList, pem};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = RevocationList::from_der(bytes) {
        assert!(list.revoked.iter().all(|(serial, _)| serial.len() % 2 == 0));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(der) = pem::decode("X509 CRL", text)
    {
        let _ = RevocationList::from_der(&der);
    }
});
