//! The rows of a bulk claim: any text gives rows or the number of a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    match sectag_server::owner_api::csv_rows(text) {
        Ok(rows) => assert!(rows.iter().all(|row| !row.is_empty())),
        Err(line) => assert!((1..=text.lines().count().max(1)).contains(&line)),
    }
});
