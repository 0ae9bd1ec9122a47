//! AT commands and answers: no panic, and a printed answer parses to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::at::{Answer, Command};

fuzz_target!(|text: &str| {
    let _ = Command::parse(text);
    if let Ok(answer) = Answer::parse(text) {
        let _ = answer.info_text("%KEYGEN:");
        assert_eq!(Answer::parse(&answer.print()).as_ref(), Ok(&answer));
    }
});
