//! One message: coap-lite's codec, and what RFC 7252 §3 and §4 ask of a receiver on top of it.

use crate::block::uint;
use coap_lite::{CoapOption, MessageType, Packet};
use std::collections::LinkedList;

/// Option numbers (RFC 7252 §12.2, RFC 7959 §6).
pub(crate) mod option {
    pub(crate) const URI_HOST: u16 = 3;
    pub(crate) const ETAG: u16 = 4;
    pub(crate) const URI_PORT: u16 = 7;
    pub(crate) const URI_PATH: u16 = 11;
    pub(crate) const CONTENT_FORMAT: u16 = 12;
    pub(crate) const MAX_AGE: u16 = 14;
    pub(crate) const URI_QUERY: u16 = 15;
    pub(crate) const ACCEPT: u16 = 17;
    pub(crate) const BLOCK2: u16 = 23;
    pub(crate) const BLOCK1: u16 = 27;
    pub(crate) const SIZE2: u16 = 28;
    pub(crate) const PROXY_URI: u16 = 35;
    pub(crate) const PROXY_SCHEME: u16 = 39;
    pub(crate) const SIZE1: u16 = 60;

    /// Whoever does not know it must not go on (RFC 7252 §5.4.6).
    pub(crate) fn is_critical(number: u16) -> bool {
        number & 1 == 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Confirmable,
    NonConfirmable,
    Acknowledgement,
    Reset,
}

/// At most eight bytes, chosen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    length: u8,
    bytes: [u8; 8],
}

impl Token {
    /// The last `length` (at most eight) bytes of a number.
    pub(crate) fn of(number: u64, length: u8) -> Token {
        let length = length.min(8);
        let mut bytes = [0; 8];
        bytes[..length.into()].copy_from_slice(&number.to_be_bytes()[8 - usize::from(length)..]);
        Token { length, bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length.into()]
    }

    /// At most eight bytes.
    pub(crate) fn from_wire(wire: &[u8]) -> Token {
        let mut bytes = [0; 8];
        bytes[..wire.len()].copy_from_slice(wire);
        Token {
            length: wire.len() as u8,
            bytes,
        }
    }
}

/// A message that obeys the format.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// Empty is 0; classes as in [`crate::Code`].
    pub(crate) code: u8,
    pub(crate) id: u16,
    pub(crate) token: Token,
    options: Packet,
}

/// A datagram that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// No header, or another version: silence (RFC 7252 §3).
    Ignore,
    /// A confirmable message with a format error: a Reset with this id (§4.2). Others are ignored (§4.3).
    Reset(u16),
}

impl Message {
    pub(crate) fn parse(datagram: &[u8], bytes_max: usize) -> Result<Message, Unreadable> {
        let &[first, code, high, low, ..] = datagram else {
            return Err(Unreadable::Ignore);
        };
        if first >> 6 != 1 {
            return Err(Unreadable::Ignore);
        }
        let id = u16::from_be_bytes([high, low]);
        let kind = match first >> 4 & 3 {
            0 => Kind::Confirmable,
            1 => Kind::NonConfirmable,
            2 => Kind::Acknowledgement,
            _ => Kind::Reset,
        };
        let unreadable = match kind {
            Kind::Confirmable => Unreadable::Reset(id),
            _ => Unreadable::Ignore,
        };
        // An empty message is the header alone (§4.1).
        if datagram.len() > bytes_max || (code == 0 && datagram.len() > 4) {
            return Err(unreadable);
        }
        let mut options = Packet::from_bytes(datagram).map_err(|_| unreadable)?;
        // coap-lite takes a payload marker with nothing behind it, which is a format error (§3). Lengths on the wire have
        // one form each, so a message without payload is as long as it would be written.
        if datagram.last() == Some(&0xff)
            && options.payload.is_empty()
            && options.to_bytes_unlimited().map_err(|_| unreadable)?.len() < datagram.len()
        {
            return Err(unreadable);
        }
        let token = Token::from_wire(options.get_token());
        options.set_token(Vec::new());
        Ok(Message {
            kind,
            code,
            id,
            token,
            options,
        })
    }

    /// Options by number, each with its values in order.
    pub(crate) fn options(&self) -> impl Iterator<Item = (u16, &LinkedList<Vec<u8>>)> {
        self.options
            .options()
            .map(|(number, values)| (*number, values))
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.options.payload
    }

    pub(crate) fn take_payload(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.options.payload)
    }
}

/// Header alone: an empty acknowledgement or a Reset.
pub(crate) fn empty(kind: Kind, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![0x40 | bits(kind) << 4, 0, high, low]
}

fn bits(kind: Kind) -> u8 {
    match kind {
        Kind::Confirmable => 0,
        Kind::NonConfirmable => 1,
        Kind::Acknowledgement => 2,
        Kind::Reset => 3,
    }
}

/// A message being written.
pub(crate) struct Draft(Packet);

impl Draft {
    pub(crate) fn new(kind: Kind, code: u8, id: u16, token: &Token) -> Draft {
        let mut packet = Packet::new();
        packet.header.set_type(match kind {
            Kind::Confirmable => MessageType::Confirmable,
            Kind::NonConfirmable => MessageType::NonConfirmable,
            Kind::Acknowledgement => MessageType::Acknowledgement,
            Kind::Reset => MessageType::Reset,
        });
        packet.header.code = code.into();
        packet.header.message_id = id;
        packet.set_token(token.bytes().to_vec());
        Draft(packet)
    }

    pub(crate) fn option(&mut self, number: u16, value: Vec<u8>) {
        self.0.add_option(CoapOption::from(number), value);
    }

    pub(crate) fn uint(&mut self, number: u16, value: u32) {
        self.option(number, uint(value));
    }

    pub(crate) fn encode(mut self, payload: &[u8]) -> Vec<u8> {
        self.0.payload = payload.to_vec();
        self.0.to_bytes_unlimited().expect(
            "only a buffer of less than four bytes is refused, and the header alone has four",
        )
    }
}

/// An unsigned integer of at most `bytes_max` bytes (leading zeros are tolerated, RFC 7252 §3.2).
pub(crate) fn read_uint(value: &[u8], bytes_max: usize) -> Option<u32> {
    (value.len() <= bytes_max).then(|| {
        value
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAX: usize = 2048;

    #[test]
    fn what_is_written_is_read_back() {
        let mut draft = Draft::new(Kind::Confirmable, 2, 0x1234, &Token::of(0xabcd, 2));
        draft.option(option::URI_PATH, b"p".to_vec());
        draft.option(option::URI_PATH, b"rsp".to_vec());
        draft.uint(option::CONTENT_FORMAT, 60);
        let bytes = draft.encode(b"hello");
        assert_eq!(
            bytes,
            b"\x42\x02\x12\x34\xab\xcd\xb1p\x03rsp\x11\x3c\xffhello"
        );
        let message = Message::parse(&bytes, MAX).unwrap();
        assert_eq!(
            (message.kind, message.code, message.id),
            (Kind::Confirmable, 2, 0x1234)
        );
        assert_eq!(message.token.bytes(), [0xab, 0xcd]);
        assert_eq!(message.payload(), b"hello");
        assert_eq!(message.options().count(), 2);
    }

    #[test]
    fn a_format_error_of_a_confirmable_message_asks_for_a_reset() {
        for broken in [
            &b"\x49\x01\x00\x07123456789"[..], // a token of nine bytes
            b"\x42\x01\x00\x07a",              // a token that is not there
            b"\x40\x01\x00\x07\xf1x",          // option delta 15
            b"\x40\x01\x00\x07\xb5abc",        // an option longer than the datagram
            b"\x40\x01\x00\x07\xff",           // a payload marker and no payload
            b"\x40\x01\x00\x07\xb1p\xff",
            b"\x40\x00\x00\x07x",    // an empty message that is not empty
            b"\x41\x00\x00\x07\x01", // … or has a token
        ] {
            assert_eq!(
                Message::parse(broken, MAX).unwrap_err(),
                Unreadable::Reset(7),
                "{broken:02x?}"
            );
            let mut non = broken.to_vec();
            non[0] |= 0x10;
            assert_eq!(Message::parse(&non, MAX).unwrap_err(), Unreadable::Ignore);
        }
        assert_eq!(
            Message::parse(&[0x40; 3000], MAX).unwrap_err(),
            Unreadable::Reset(0x4040)
        );
    }

    #[test]
    fn another_version_and_a_torn_header_are_met_with_silence() {
        assert_eq!(Message::parse(b"", MAX).unwrap_err(), Unreadable::Ignore);
        assert_eq!(
            Message::parse(b"\x40\x01\x00", MAX).unwrap_err(),
            Unreadable::Ignore
        );
        assert_eq!(
            Message::parse(b"\x80\x01\x00\x07", MAX).unwrap_err(),
            Unreadable::Ignore
        );
    }

    #[test]
    fn an_option_that_ends_in_the_marker_byte_is_no_marker() {
        let message = Message::parse(b"\x40\x01\x00\x07\xb1\xff", MAX).unwrap();
        assert_eq!(
            message.options().next().unwrap().1.front().unwrap(),
            &[0xff]
        );
    }

    #[test]
    fn an_empty_acknowledgement_is_four_bytes() {
        assert_eq!(empty(Kind::Acknowledgement, 0x0102), [0x60, 0, 1, 2]);
        assert_eq!(empty(Kind::Reset, 0x0102), [0x70, 0, 1, 2]);
    }
}
