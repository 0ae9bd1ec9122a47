//! What a serial port brings: lines, answers, notifications, and what a transcript shows of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_modem::serial::{LineReader, Said, Sent, masked};
use sectag_proto::at::Verdict;

fuzz_target!(|data: &[u8]| {
    // The first byte cuts the input into what was sent and what came.
    let Some((cut, rest)) = data.split_first() else {
        return;
    };
    let (command, bytes) = rest.split_at(usize::from(*cut).min(rest.len()));
    let command = String::from_utf8_lossy(command);
    let sent = Sent::new(&command, &command);
    let mut reader = LineReader::default();
    for (at, byte) in bytes.iter().enumerate() {
        if at % 97 == 96 {
            reader.forget_answer();
        }
        let Some(line) = reader.push(*byte) else {
            continue;
        };
        assert!(!line.trim().is_empty());
        assert!(line.contains('"') || !line.contains(['\r', '\n']));
        match sent.sort(&line) {
            Said::Final(end) => assert!(Verdict::parse(&end).is_some()),
            Said::Notification(line) => assert!(line.starts_with(['%', '+', '#'])),
            _ => {}
        }
        assert!(!matches!(
            Sent::nothing().sort(&line),
            Said::Information(_) | Said::Final(_) | Said::Refused(_)
        ));
        assert!(!masked(&line).contains(['\r', '\n']));
    }
    let _ = reader.abandon();
    let _ = masked(&command);
});
