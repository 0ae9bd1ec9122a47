//! `sectag.toml`: any text gives settings or a sentence.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(e) = sectag_server::Settings::parse(text, "sectag.toml") {
        assert!(e.to_string().starts_with("sectag.toml: "));
    }
});
