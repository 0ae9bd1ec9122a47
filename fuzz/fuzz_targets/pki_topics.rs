//! Topics and filters come from clients: what may be published may also be subscribed to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::topics;

fuzz_target!(|input: (String, String)| {
    let (cn, topic) = input;
    let filter_allowed = topics::filter_allowed(&cn, &topic);
    if topics::publish_allowed(&cn, &topic) {
        assert!(filter_allowed);
    }
    if filter_allowed {
        assert!(topics::is_usable_name(&cn));
    }
});
