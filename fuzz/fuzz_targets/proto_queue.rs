//! Fetches and reports of a device that says anything: no panic, settled commands stay settled, batches decode.
//! The first byte is the length of `after`, the rest is the report.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::service::{FetchLimits, Fetched, NewCommand, Queue};
use sectag_proto::wire::{DecodeLimits, decode_commands, decode_responses};
use sectag_proto::{CommandId, CommandRequest, DeviceId, SecTag, Timestamp};

const LIMITS: DecodeLimits = DecodeLimits {
    records_max: 100,
    config_pairs_max: 10,
    bytes_max: 4096,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first() else {
        return;
    };
    let (after, report) = rest.split_at(usize::from(*length).min(rest.len()));
    let after = String::from_utf8_lossy(after);
    let sec_tag = SecTag::new(1).expect("in range");
    let requests = [
        CommandRequest::CertificateSigningRequest {
            sec_tag,
            attributes: String::new(),
            key_usage: None,
            issue: Some(sectag_proto::rules::ClosedLoop::default()),
        },
        CommandRequest::ClientPrivateKeyGeneration { sec_tag },
        CommandRequest::Finished {},
    ];
    let new = requests
        .into_iter()
        .zip(0u8..)
        .map(|(request, number)| NewCommand::by_hand(CommandId::from_bytes([number; 16]), request));
    let mut queue = Queue::new(DeviceId::from_bytes([0; 16]), Vec::new(), 0);
    let added = queue
        .add(new.collect(), 100, Timestamp(0))
        .expect("good commands");
    queue.apply(&added);
    let limits = FetchLimits {
        records_max: 10,
        cbor_bytes_max: 774,
        report_bytes_max: 2048,
        at_chars_max: 2047,
    };
    for (text, seconds) in [("", 0), (after.as_ref(), 1), (after.as_ref(), 1000)] {
        let now = Timestamp::from_secs(seconds);
        match queue.next_batch(text, limits, now) {
            Fetched::Batch { bytes, changes, .. } => {
                decode_commands(&bytes, LIMITS).expect("a batch that devices read");
                queue.apply(&changes);
            }
            Fetched::Nothing { changes } => queue.apply(&changes),
        }
        let Ok(report) = decode_responses(report, LIMITS) else {
            continue;
        };
        let ended = |queue: &Queue| {
            let commands = queue.commands().iter();
            commands.filter(|c| c.status.is_terminal()).count()
        };
        let before = ended(&queue);
        let changes = queue.settle(&report, now);
        queue.apply(&changes);
        assert!(ended(&queue) >= before);
    }
});
