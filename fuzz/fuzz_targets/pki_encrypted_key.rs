//! Encrypted private keys: any structure is judged. A count of rounds that would take seconds is left out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::{KeyPair, pem};

fuzz_target!(|bytes: &[u8]| {
    // The count is an INTEGER of three bytes or more from 65536 on.
    let is_long = bytes
        .windows(2)
        .any(|w| w[0] == 2 && (3..=8).contains(&w[1]));
    if !is_long {
        let text = pem::encode("ENCRYPTED PRIVATE KEY", bytes);
        let _ = KeyPair::from_encrypted_pem(&text, b"passphrase");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = KeyPair::from_pem(text);
    }
});
