//! A line of the file that is claimed in bulk: nothing, a claim that the service reads as it was meant, or words.
#![no_main]

#[path = "../../crates/cli/src/claim_bulk/row.rs"]
mod row;

use row::{Row, quoted, read};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    for first in [true, false] {
        match read(line, first) {
            Row::Nothing => {}
            Row::Claim { token, tags } => {
                let tags = tags.join(",");
                let sent = format!("{},{}\n", quoted(&token), quoted(&tags));
                let rows = sectag_server::owner_api::csv_rows(&sent);
                assert_eq!(rows, Ok(vec![vec![token, tags]]));
            }
            Row::Bad { text, reason } => {
                assert!(!reason.is_empty() && text.chars().count() <= 200);
                let kept = format!("{},\"\",{}\n", quoted(&text), quoted(&reason));
                assert_eq!(
                    sectag_server::owner_api::csv_rows(&kept).map(|rows| rows.len()),
                    Ok(1)
                );
            }
        }
    }
});
