//! A broker's configuration of any bytes, main file and included one: the parser and the judge answer, and what the judge
//! corrects is a file that the parser reads without an unknown word.
#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use sectag_gateway::mosquitto::{BrokerVersion, ProblemKind, judge, parse};

fuzz_target!(|input: (&[u8], String, bool)| {
    let (main, included, newer) = input;
    let version = if newer {
        BrokerVersion::V2_1_2
    } else {
        BrokerVersion::V2_0_11
    };
    let files = BTreeMap::from([(PathBuf::from("/d/a.conf"), included)]);
    let judged = judge(Path::new("/f"), main, &files, version);
    for listener in &judged.effective.listeners {
        let _ = judged.effective.level(listener);
    }
    if let Some(text) = judged.corrected {
        let none: BTreeMap<PathBuf, String> = BTreeMap::new();
        let again = parse(Path::new("/f"), text.as_bytes(), &none, version);
        let unknown = again.problems.iter().find(|problem| problem.kind == ProblemKind::Unknown);
        assert!(unknown.is_none(), "{unknown:?}");
    }
});
