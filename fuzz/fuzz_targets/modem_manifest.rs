//! A manifest of credentials, and the names of files in a folder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_modem::credentials::{Manifest, type_from_text, type_name, type_of_file};

fuzz_target!(|text: &str| {
    match Manifest::parse(text) {
        Ok(manifest) => {
            assert!(!manifest.tags.is_empty());
            for files in manifest.tags.values() {
                assert!(files.only || !files.files.is_empty());
            }
        }
        Err(error) => {
            let _ = (error.to_string(), error.hint());
        }
    }
    let _ = type_of_file(text);
    if let Ok(kind) = type_from_text(text) {
        assert_eq!(type_from_text(&type_name(kind)), Ok(kind));
    }
});
