//! Lines from outside, one per NUL-separated piece: the modem never panics and always ends its answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_modem::{Modem, VirtualModem};
use sectag_proto::Timestamp;
use sectag_proto::at::Answer;

fuzz_target!(|text: &str| {
    let mut modem = VirtualModem::from_seed(1);
    modem.set_time(Timestamp::from_secs(1_700_000_000));
    for line in text.split('\0').take(16) {
        let answer = modem.line(line);
        assert!(Answer::parse(&answer).is_ok(), "{line:?} answered {answer:?}");
        let _ = modem.notifications();
    }
});
