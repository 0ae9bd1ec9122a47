//! Certificates, keys and PEM come from peers and files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::{Certificate, PrivateKey, check_p256_spki, identity, pem, show};

fuzz_target!(|bytes: &[u8]| {
    let _ = show(bytes);
    let _ = Certificate::from_der(bytes);
    let _ = check_p256_spki(bytes);
    let _ = PrivateKey::from_der(bytes);
    if let Ok(who) = identity(bytes) {
        assert!(sectag_pki::topics::is_usable_name(&who.cn));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = pem::certificates(text);
        let _ = PrivateKey::from_pem(text);
        let _ = text.parse::<sectag_pki::ServerName>();
    }
});
