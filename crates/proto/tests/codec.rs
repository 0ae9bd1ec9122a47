//! Commands and responses on the wire: one spelling each, a named refusal for all else, never a panic.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use sectag_proto::CorrelationId;
use sectag_proto::id::IdError;
use sectag_proto::wire::{
    Action, CborRefusal, DecodeLimits, WireCommand, WireResponse, WireResult, command_len,
    decode_commands, decode_responses, encode_commands, encode_responses,
};
use support::from_hex;

const LIMITS: DecodeLimits = DecodeLimits {
    records_max: 10,
    config_pairs_max: 10,
    bytes_max: 4096,
};

/// `[["a", 2]]` written in `hex`, and what is wrong with each variation.
#[test]
fn each_refusal_has_its_name_and_place() {
    let cases: &[(&str, CborRefusal)] = &[
        ("", CborRefusal::Empty),
        ("80", CborRefusal::EmptyArray),
        ("8b", CborRefusal::TooManyRecords { count: 11, max: 10 }),
        (
            "9bffffffffffffffff",
            CborRefusal::TooManyRecords {
                count: u64::MAX,
                max: 10,
            },
        ),
        ("9f82616102ff", CborRefusal::Indefinite { at: 0 }),
        ("819f616102ff", CborRefusal::Indefinite { at: 1 }),
        ("81827f6161ff02", CborRefusal::Indefinite { at: 2 }),
        ("8183616101bfff", CborRefusal::Indefinite { at: 5 }),
        ("c08182616102", CborRefusal::Tag { at: 0 }),
        ("8182c0616102", CborRefusal::Tag { at: 2 }),
        ("98018182616102", CborRefusal::NotShortest { at: 0 }),
        ("818278016102", CborRefusal::NotShortest { at: 2 }),
        ("818261611802", CborRefusal::NotShortest { at: 4 }),
        ("81826161190002", CborRefusal::NotShortest { at: 4 }),
        ("8182616121", CborRefusal::NumberRange { at: 4 }),
        (
            "818261611b0000000100000000",
            CborRefusal::NumberRange { at: 4 },
        ),
        (
            "a0",
            CborRefusal::Unexpected {
                expected: "array",
                at: 0,
            },
        ),
        (
            "8182416102",
            CborRefusal::Unexpected {
                expected: "correlation id",
                at: 2,
            },
        ),
        (
            "81826161f6",
            CborRefusal::Unexpected {
                expected: "kind",
                at: 4,
            },
        ),
        (
            "81826161f90000",
            CborRefusal::Unexpected {
                expected: "kind",
                at: 4,
            },
        ),
        (
            "818161611c",
            CborRefusal::WrongItemCount {
                what: "command",
                items: 1,
                at: 1,
            },
        ),
        (
            "8183616102f6",
            CborRefusal::WrongItemCount {
                what: "finished command",
                items: 3,
                at: 1,
            },
        ),
        (
            "8182616101",
            CborRefusal::WrongItemCount {
                what: "config command",
                items: 2,
                at: 1,
            },
        ),
        ("8182616103", CborRefusal::UnknownKind { number: 3, at: 4 }),
        (
            "818261611a00010002",
            CborRefusal::UnknownKind {
                number: 65538,
                at: 4,
            },
        ),
        (
            "8185616100606087",
            CborRefusal::TooManyIgnoredCodes { count: 7 },
        ),
        (
            "8183616101ab",
            CborRefusal::TooManyPairs { count: 11, max: 10 },
        ),
        ("818262c32802", CborRefusal::NotUtf8 { at: 3 }),
        (
            "81826002",
            CborRefusal::Correlation {
                at: 2,
                reason: IdError::CorrelationCharacter,
            },
        ),
        ("81826161", CborRefusal::Truncated { at: 4 }),
        ("818278", CborRefusal::Truncated { at: 3 }),
        ("81827bffffffffffffffff", CborRefusal::Truncated { at: 11 }),
        ("818261610200", CborRefusal::TrailingBytes { bytes: 1 }),
    ];
    for (hex, refusal) in cases {
        assert_eq!(
            decode_commands(&from_hex(hex), LIMITS).as_ref(),
            Err(refusal),
            "{hex}"
        );
    }
    assert_eq!(
        decode_commands(&[0; 4097], LIMITS),
        Err(CborRefusal::TooLong {
            bytes: 4097,
            max: 4096
        })
    );
}

#[test]
fn responses_are_refused_by_name_too() {
    for (hex, refusal) in [
        (
            "818361611864".to_owned() + "f6",
            CborRefusal::Unexpected {
                expected: "message",
                at: 6,
            },
        ),
        (
            "81836161186360".into(),
            CborRefusal::WrongItemCount {
                what: "failure response",
                items: 3,
                at: 1,
            },
        ),
        (
            "8182616102".into(),
            CborRefusal::UnknownKind { number: 2, at: 4 },
        ),
        (
            format!("8182782e{}1866", "61".repeat(46)),
            CborRefusal::Correlation {
                at: 2,
                reason: IdError::CorrelationTooLong(46),
            },
        ),
    ] {
        assert_eq!(
            decode_responses(&from_hex(&hex), LIMITS),
            Err(refusal),
            "{hex}"
        );
    }
}

fn correlation() -> impl Strategy<Value = CorrelationId> {
    "[a-z0-9.-]{1,45}".prop_map(|text| CorrelationId::new(&text).unwrap())
}

fn command() -> impl Strategy<Value = WireCommand> {
    let action = prop_oneof![
        ("\\PC{0,30}", "\\PC{0,300}", vec(any::<u32>(), 0..=6)).prop_map(
            |(set_command, parameters, ignore)| Action::At {
                set_command,
                parameters,
                ignore
            }
        ),
        vec(("\\PC{0,30}", "\\PC{0,30}"), 0..=10).prop_map(Action::Config),
        Just(Action::Finished),
    ];
    (correlation(), action).prop_map(|(correlation, action)| WireCommand {
        correlation,
        action,
    })
}

fn response() -> impl Strategy<Value = WireResponse> {
    let result = prop_oneof![
        (any::<u32>(), "\\PC{0,300}")
            .prop_map(|(cme_error, message)| WireResult::Failed { cme_error, message }),
        "\\PC{0,300}".prop_map(|message| WireResult::AtDone { message }),
        Just(WireResult::ConfigStored),
        Just(WireResult::Finished),
    ];
    (correlation(), result).prop_map(|(correlation, result)| WireResponse {
        correlation,
        result,
    })
}

const WIDE: DecodeLimits = DecodeLimits {
    bytes_max: 1 << 20,
    ..LIMITS
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_come_back(commands in vec(command(), 1..=10)) {
        let bytes = encode_commands(&commands);
        prop_assert_eq!(bytes.len(), 1 + commands.iter().map(command_len).sum::<usize>());
        prop_assert_eq!(decode_commands(&bytes, WIDE), Ok(commands));
    }

    #[test]
    fn responses_come_back(responses in vec(response(), 1..=10)) {
        prop_assert_eq!(decode_responses(&encode_responses(&responses), WIDE), Ok(responses));
    }

    #[test]
    fn any_bytes_are_refused_or_have_one_spelling(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(commands) = decode_commands(&bytes, WIDE) {
            prop_assert_eq!(encode_commands(&commands), bytes.clone());
        }
        if let Ok(responses) = decode_responses(&bytes, WIDE) {
            prop_assert_eq!(encode_responses(&responses), bytes);
        }
    }

    #[test]
    fn altered_commands_are_refused_or_have_one_spelling(
        commands in vec(command(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        insert in any::<bool>(),
    ) {
        let mut bytes = encode_commands(&commands);
        let at = at.index(bytes.len());
        if insert {
            bytes.insert(at, byte);
        } else {
            bytes[at] = byte;
        }
        if let Ok(commands) = decode_commands(&bytes, WIDE) {
            prop_assert_eq!(encode_commands(&commands), bytes);
        }
    }

    #[test]
    fn a_cut_is_always_noticed(commands in vec(command(), 1..4), at in any::<prop::sample::Index>()) {
        let bytes = encode_commands(&commands);
        let cut = &bytes[..at.index(bytes.len())];
        let noticed = matches!(
            decode_commands(cut, WIDE),
            Err(CborRefusal::Truncated { .. } | CborRefusal::Empty)
        );
        prop_assert!(noticed);
    }
}
