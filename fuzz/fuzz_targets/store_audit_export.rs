//! An export of the audit trail: any line parses or is refused, and what parses reads as it was written.
#![no_main]

use sectag_store::audit::{Checkpoint, Line};

libfuzzer_sys::fuzz_target!(|text: &str| {
    for line in text.lines() {
        if let Ok(read) = Line::parse(line) {
            assert_eq!(Line::parse(&read.text()), Ok(read));
        }
        if let Some(checkpoint) = Checkpoint::parse(line) {
            assert_eq!(Checkpoint::parse(&checkpoint.line()), Some(checkpoint));
        }
    }
});
