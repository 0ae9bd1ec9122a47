//! Whatever the callbacks say and however they lie: no panic, no read outside a buffer, every call comes back.
#![allow(unsafe_code)]

#[path = "desk/anything.rs"]
mod program;

use proptest::collection::vec;
use proptest::prelude::*;
use sectag_proto::CorrelationId;
use sectag_proto::wire::{Action, WireCommand, encode_commands};

/// Bytes that get somewhere more often than chance does.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let batch = vec((0..3_u8, ".{0,20}"), 1..4).prop_map(|commands| {
        let commands: Vec<WireCommand> = commands
            .into_iter()
            .enumerate()
            .map(|(index, (kind, text))| WireCommand {
                correlation: CorrelationId::new(&format!("u.{index}"))
                    .expect("a short id without blanks"),
                action: match kind {
                    0 => Action::Finished,
                    1 => Action::Config(vec![(text, String::from("x"))]),
                    _ => Action::At {
                        set_command: String::from("%CMNG"),
                        parameters: text,
                        ignore: vec![513],
                    },
                },
            })
            .collect();
        encode_commands(&commands)
    });
    prop_oneof![
        3 => batch,
        1 => vec(any::<u8>(), 0..64),
        1 => "[%+A-Z: \"0-9,\r\n\\.]{0,60}(OK\r\n)?".prop_map(String::into_bytes),
        1 => Just(vec![b'x'; 5000]),
    ]
}

proptest! {
    #[test]
    fn a_client_outlives_whatever_it_is_told(
        faithful: bool,
        steps in vec((any::<u8>(), any::<u16>(), bytes()), 0..60),
    ) {
        program::play(faithful, steps);
    }
}
