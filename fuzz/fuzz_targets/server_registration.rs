//! An onboarding CSV: any text gives rows or the number of a line, and any row a registration or words.
#![no_main]

use sectag_proto::Timestamp;
use sectag_server::app::{RowRules, checked_row};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let rules = RowRules::of_the_home(Timestamp::from_secs(1_800_000_000));
    let Ok(rows) = sectag_server::owner_api::csv_rows(text) else {
        return;
    };
    for row in rows {
        if let Err(reason) = checked_row(&row, &rules) {
            assert!(!reason.is_empty());
        }
    }
});
