//! Options of requests and responses, read once: what is known, what must not be ignored (RFC 7252 §5.4).

use crate::Code;
use crate::block::Block;
use crate::message::{Message, Token, option, read_uint};

/// What a request says besides its payload.
#[derive(Debug, Default)]
pub(crate) struct RequestOptions {
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<String>,
    pub(crate) content_format: Option<u16>,
    pub(crate) accept: Option<u16>,
    pub(crate) block1: Option<Block>,
    pub(crate) block2: Option<Block>,
    /// Bytes of the whole body, as announced.
    pub(crate) size1: Option<u32>,
    /// Whether the peer asks how large the answer is.
    pub(crate) size2: bool,
    /// What all blocks of one body have in common: the method and every option that is not about blocks or their content
    /// (RFC 7959 §2.5). The token is free to change.
    pub(crate) key: Vec<u8>,
}

/// Bytes of [`RequestOptions::key`]: path and query of the longest request here have about 100. A key is kept as long as a
/// body is.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

impl RequestOptions {
    /// # Errors
    /// The code to answer: 4.02 for an option that may not be ignored, 4.00 for the reserved block size, 5.05 for a proxy.
    pub(crate) fn read(message: &Message) -> Result<RequestOptions, Code> {
        let mut read = RequestOptions::default();
        read.key.push(message.code);
        for (number, values) in message.options() {
            for (position, value) in values.iter().enumerate() {
                if !read.take(number, value, position == 0)? && option::is_critical(number) {
                    return Err(Code::BAD_OPTION);
                }
            }
            if !is_of_blocks(number) {
                for value in values {
                    read.key.extend_from_slice(&number.to_be_bytes());
                    // A value is never longer than a datagram.
                    read.key
                        .extend_from_slice(&(value.len() as u16).to_be_bytes());
                    read.key.extend_from_slice(value);
                }
                if read.key.len() > KEY_BYTES_MAX {
                    return Err(Code::BAD_OPTION);
                }
            }
        }
        read.key.shrink_to_fit();
        Ok(read)
    }

    /// Whether the option was understood: known, of a fitting length, and not once too often (RFC 7252 §5.4.3, §5.4.5).
    fn take(&mut self, number: u16, value: &[u8], first: bool) -> Result<bool, Code> {
        Ok(match number {
            option::URI_PATH => push(&mut self.path, value),
            option::URI_QUERY => push(&mut self.query, value),
            option::URI_HOST => {
                first && (1..=255).contains(&value.len()) && std::str::from_utf8(value).is_ok()
            }
            option::URI_PORT => first && value.len() <= 2,
            option::CONTENT_FORMAT if first => set(&mut self.content_format, read_u16(value)),
            option::ACCEPT if first => set(&mut self.accept, read_u16(value)),
            option::BLOCK1 if first => set(&mut self.block1, block(value)?),
            option::BLOCK2 if first => set(&mut self.block2, block(value)?),
            option::SIZE1 if first => set(&mut self.size1, read_uint(value, 4)),
            option::SIZE2 if first => {
                self.size2 = value.len() <= 4;
                self.size2
            }
            option::PROXY_URI | option::PROXY_SCHEME => return Err(Code::PROXYING_NOT_SUPPORTED),
            _ => false,
        })
    }
}

/// What a response says besides its payload.
#[derive(Debug, Default)]
pub(crate) struct ResponseOptions {
    pub(crate) content_format: Option<u16>,
    pub(crate) max_age: Option<u32>,
    pub(crate) etag: Option<Token>,
    pub(crate) block1: Option<Block>,
    pub(crate) block2: Option<Block>,
    pub(crate) size2: Option<u32>,
}

impl ResponseOptions {
    /// `None` if it carries an option that may not be ignored: such a response is rejected (RFC 7252 §5.4.1).
    pub(crate) fn read(message: &Message) -> Option<ResponseOptions> {
        let mut read = ResponseOptions::default();
        for (number, values) in message.options() {
            for (position, value) in values.iter().enumerate() {
                if !read.take(number, value, position == 0) && option::is_critical(number) {
                    return None;
                }
            }
        }
        Some(read)
    }

    fn take(&mut self, number: u16, value: &[u8], first: bool) -> bool {
        first
            && match number {
                option::CONTENT_FORMAT => set(&mut self.content_format, read_u16(value)),
                option::MAX_AGE => set(&mut self.max_age, read_uint(value, 4)),
                option::ETAG => set(
                    &mut self.etag,
                    (1..=8)
                        .contains(&value.len())
                        .then(|| Token::from_wire(value)),
                ),
                option::BLOCK1 => set(&mut self.block1, Block::decode(value)),
                option::BLOCK2 => set(&mut self.block2, Block::decode(value)),
                option::SIZE2 => set(&mut self.size2, read_uint(value, 4)),
                _ => false,
            }
    }
}

/// Options that may differ between the blocks of one body.
fn is_of_blocks(number: u16) -> bool {
    [
        option::BLOCK1,
        option::BLOCK2,
        option::SIZE1,
        option::SIZE2,
        option::CONTENT_FORMAT,
        option::ETAG,
    ]
    .contains(&number)
}

fn push(texts: &mut Vec<String>, value: &[u8]) -> bool {
    match std::str::from_utf8(value) {
        Ok(text) if value.len() <= 255 => {
            texts.push(text.into());
            true
        }
        _ => false,
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

fn read_u16(value: &[u8]) -> Option<u16> {
    read_uint(value, 2).map(|number| number as u16)
}

/// Too long is not understood; the reserved size is a bad request (RFC 7959 §2.2).
fn block(value: &[u8]) -> Result<Option<Block>, Code> {
    match Block::decode(value) {
        None if value.len() <= 3 => Err(Code::BAD_REQUEST),
        block => Ok(block),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::message::{Draft, Kind};

    fn request(options: &[(u16, &[u8])]) -> Result<RequestOptions, Code> {
        RequestOptions::read(&message(1, options))
    }

    fn message(code: u8, options: &[(u16, &[u8])]) -> Message {
        let mut draft = Draft::new(Kind::Confirmable, code, 1, &Token::of(0, 0));
        for (number, value) in options {
            draft.option(*number, value.to_vec());
        }
        Message::parse(&draft.encode(b""), 4096).unwrap()
    }

    #[test]
    fn path_and_query_are_taken_as_they_are() {
        let read = request(&[
            (option::URI_PATH, b"p"),
            (option::URI_PATH, b"auth-jwt"),
            (option::URI_QUERY, b"after="),
            (option::URI_QUERY, b"mver=mfw_nrf91x1_2.0.1%20"),
        ])
        .unwrap();
        assert_eq!(read.path, ["p", "auth-jwt"]);
        assert_eq!(read.query, ["after=", "mver=mfw_nrf91x1_2.0.1%20"]);
    }

    #[test]
    fn a_critical_option_that_is_not_understood_is_answered_4_02() {
        for bad in [
            &[(9, &b"oscore"[..])][..],
            &[(1, b"if-match")],
            &[(5, b"")],
            &[(option::URI_PATH, &[b'x'; 256])],
            &[(option::URI_PATH, &[0xff])],
            &[(option::ACCEPT, b"abc")],
            &[(option::ACCEPT, b"a"), (option::ACCEPT, b"a")],
            &[(option::BLOCK1, &[0, 0, 0, 0])],
            &[(option::BLOCK2, &[2]), (option::BLOCK2, &[2])],
            &[(option::URI_HOST, b"")],
        ] {
            assert_eq!(request(bad).unwrap_err(), Code::BAD_OPTION, "{bad:?}");
        }
    }

    #[test]
    fn an_elective_option_that_is_not_understood_is_ignored() {
        let read = request(&[
            (6, b""),
            (option::CONTENT_FORMAT, b"abc"),
            (258, b"\x02"),
            (option::SIZE1, b"12345"),
            (2048, b"x"),
        ])
        .unwrap();
        assert_eq!((read.content_format, read.size1), (None, None));
    }

    #[test]
    fn the_reserved_block_size_is_a_bad_request_and_a_proxy_is_somewhere_else() {
        assert_eq!(
            request(&[(option::BLOCK1, &[7])]).unwrap_err(),
            Code::BAD_REQUEST
        );
        assert_eq!(
            request(&[(option::PROXY_SCHEME, b"coap")]).unwrap_err(),
            Code::PROXYING_NOT_SUPPORTED
        );
    }

    #[test]
    fn blocks_of_one_body_have_one_key() {
        let key = |options: &[(u16, &[u8])]| request(options).unwrap().key;
        let path = (option::URI_PATH, &b"p"[..]);
        let first = key(&[
            path,
            (option::BLOCK1, &[0x0c]),
            (option::SIZE1, &[9]),
            (option::CONTENT_FORMAT, &[60]),
        ]);
        assert_eq!(first, key(&[path, (option::BLOCK1, &[0x1c])]));
        assert_eq!(first, key(&[path, (option::BLOCK2, &[0x1c])]));
        assert_ne!(first, key(&[path, (option::URI_QUERY, b"x")]));
        assert_ne!(first, key(&[(option::URI_QUERY, b"p")]));
        assert_ne!(
            key(&[(11, b"ab"), (11, b"c")]),
            key(&[(11, b"a"), (11, b"bc")])
        );
    }

    #[test]
    fn options_without_an_end_are_refused() {
        let many = vec![(option::URI_QUERY, &b"a"[..]); 500];
        assert_eq!(request(&many).unwrap_err(), Code::BAD_OPTION);
    }

    #[test]
    fn a_response_with_an_unknown_critical_option_is_rejected() {
        assert!(ResponseOptions::read(&message(0x45, &[(9, b"x")])).is_none());
        let read =
            ResponseOptions::read(&message(0x45, &[(option::MAX_AGE, &[1, 0]), (2048, b"x")]))
                .unwrap();
        assert_eq!(read.max_age, Some(256));
    }
}
