//! Commands as owners write them: no panic, and what is accepted reads back from what it prints as.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::service::{NewCommand, Queue};
use sectag_proto::{CommandId, CommandRequest, DeviceId, Timestamp};

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = serde_json::from_slice::<CommandRequest>(bytes) else {
        return;
    };
    let queue = Queue::new(DeviceId::from_bytes([0; 16]), Vec::new(), 0);
    let new = NewCommand::by_hand(CommandId::from_bytes([1; 16]), request);
    let Ok(changes) = queue.add(vec![new], 1, Timestamp(0)) else {
        return;
    };
    let mut accepted = changes.commands[0].request.clone();
    accepted.erase_secrets();
    let printed = serde_json::to_vec(&accepted).expect("requests print");
    assert_eq!(
        serde_json::from_slice::<CommandRequest>(&printed).expect("and read"),
        accepted
    );
});
