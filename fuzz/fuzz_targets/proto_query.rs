//! The query of a command fetch: no panic, limits hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::CorrelationId;
use sectag_proto::query::FetchQuery;

fuzz_target!(|text: &str| {
    if let Ok(query) = FetchQuery::parse(text) {
        assert!(query.after.chars().count() <= CorrelationId::CHARS_MAX);
        let _ = query.print();
    }
});
