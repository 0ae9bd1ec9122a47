//! A gateway's settings name files of any content; they are taken apart, and keys compared with certificates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::material::material;

fuzz_target!(|bytes: &[u8]| {
    let found = material(bytes);
    for key in &found.keys {
        for held in &found.certificates {
            let _ = key.belongs_to(&held.der);
        }
        let _ = key.belongs_to(bytes);
    }
});
