//! CoAP messages in a few lines, apart from the library under test (RFC 7252 §3): confirmable requests and their answers.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

pub const GET: u8 = 1;
pub const POST: u8 = 2;

/// A confirmable request to `p/<last>` with a token made from its message id.
pub fn request(
    code: u8,
    message_id: u16,
    last: &str,
    queries: &[&str],
    payload: Option<&[u8]>,
) -> Vec<u8> {
    let id = message_id.to_be_bytes();
    let mut bytes = vec![0x42, code, id[0], id[1], id[0], id[1]];
    let mut number = 0;
    let mut option = |bytes: &mut Vec<u8>, which: u16, value: &[u8]| {
        let delta = u8::try_from(which - number).unwrap();
        number = which;
        assert!(delta < 13 && value.len() < 269);
        match u8::try_from(value.len()) {
            Ok(short) if short < 13 => bytes.push(delta << 4 | short),
            _ => bytes.extend([delta << 4 | 13, u8::try_from(value.len() - 13).unwrap()]),
        }
        bytes.extend(value);
    };
    option(&mut bytes, 11, b"p");
    option(&mut bytes, 11, last.as_bytes());
    if payload.is_some() {
        option(&mut bytes, 12, &[60]);
    }
    for query in queries {
        option(&mut bytes, 15, query.as_bytes());
    }
    if let Some(payload) = payload {
        bytes.push(0xFF);
        bytes.extend(payload);
    }
    bytes
}

/// An answer: acknowledgement with content, or a message of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As written: `4.01`.
    pub code: String,
    pub message_id: u16,
    pub confirmable: bool,
    pub token: Vec<u8>,
    pub max_age: Option<u32>,
    pub payload: Vec<u8>,
}

pub fn answer(bytes: &[u8]) -> Answer {
    let token_end = 4 + usize::from(bytes[0] & 15);
    let mut rest = &bytes[token_end..];
    let mut number = 0;
    let mut max_age = None;
    let mut payload = Vec::new();
    while let Some((&head, tail)) = rest.split_first() {
        rest = tail;
        if head == 0xFF {
            payload = rest.to_vec();
            break;
        }
        let mut extended = |nibble: u8| match nibble {
            13 => {
                let value = usize::from(rest[0]) + 13;
                rest = &rest[1..];
                value
            }
            14 => {
                let value = usize::from(u16::from_be_bytes([rest[0], rest[1]])) + 269;
                rest = &rest[2..];
                value
            }
            small => usize::from(small),
        };
        number += extended(head >> 4);
        let length = extended(head & 15);
        let (value, tail) = rest.split_at(length);
        rest = tail;
        if number == 14 {
            max_age = Some(
                value
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
            );
        }
    }
    Answer {
        code: format!("{}.{:02}", bytes[1] >> 5, bytes[1] & 31),
        message_id: u16::from_be_bytes([bytes[2], bytes[3]]),
        confirmable: bytes[0] >> 4 & 3 == 0,
        token: bytes[4..token_end].to_vec(),
        max_age,
        payload,
    }
}
