//! Topics and filters as text: a filter inside `<CN>/#` never matches a topic outside it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_mqtt::topic;
use sectag_pki::topics;

fuzz_target!(|input: (&str, &str)| {
    let (filter, name) = input;
    let matches = topic::is_filter(filter) && topic::is_topic(name) && topic::matches(filter, name);
    if matches {
        assert!(name.starts_with(topic::literal_prefix(filter)));
    }
    if matches && topics::filter_allowed("a", filter) {
        assert!(topics::publish_allowed("a", name), "{filter:?} reaches {name:?}");
    }
});
