//! Files become C headers and AT scripts: whatever is in them, the text stays inside its quotes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::at_script::{self, Dialect, Kind};
use sectag_pki::header::{self, Options, Style};

fuzz_target!(|bytes: &[u8]| {
    for style in [Style::Macro, Style::String, Style::Bytes, Style::Lines] {
        for line_length in [None, Some(header::LINE_LENGTH_MIN)] {
            let options = Options {
                style,
                name: "x",
                line_length,
                guard: None,
            };
            if let Ok(text) = header::render(bytes, &options) {
                assert!(text.is_ascii());
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = header::check_name(text);
        assert!(header::check_name(&header::name_from_file(text)).is_ok());
        for dialect in [Dialect::AtHost, Dialect::Shell] {
            let options = at_script::Options {
                sec_tag: 24,
                dialect,
                delete_first: true,
            };
            if let Ok(script) = at_script::script(&[(Kind::RootCa, text)], &options) {
                assert_eq!(script.text.matches('"').count(), 2);
            }
        }
    }
});
