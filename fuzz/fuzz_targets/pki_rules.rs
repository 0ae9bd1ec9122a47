//! Topic rules come from a file, topics and client identifiers from clients: what is read back is the same, and nothing that
//! begins with `$` is ever opened.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::topics::{Client, Rule, Rules};

fuzz_target!(|input: (String, String, String)| {
    let (text, client_id, topic) = input;
    let Ok(rules) = Rules::parse(&text) else {
        return;
    };
    for rule in rules.rules() {
        assert_eq!(rule.to_string().parse::<Rule>().as_ref(), Ok(rule));
    }
    let rights = rules.rights(&Client {
        certificate: None,
        client_id: Some(&client_id),
    });
    if rights.may_publish(&topic) || rights.may_subscribe(&topic) {
        assert!(!topic.starts_with('$') || topic.starts_with("$share/"));
    }
});
