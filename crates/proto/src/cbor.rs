//! A strict CBOR reader (RFC 8949 §4.2.1): shortest form and definite lengths only, each refusal named with its offset.
//!
//! `minicbor` writes; it also reads, but forgives long forms, and a text that has two spellings cannot be compared.

use crate::wire::CborRefusal;
use alloc::vec::Vec;

/// Writing into memory has no way to fail.
pub(crate) const IN_MEMORY: &str = "writing CBOR into a Vec is infallible";

/// A writer into memory.
pub(crate) type Writer = minicbor::Encoder<Vec<u8>>;

/// An empty [`Writer`].
pub(crate) fn writer() -> Writer {
    minicbor::Encoder::new(Vec::new())
}

/// Major types, RFC 8949 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Major {
    Unsigned,
    Negative,
    Bytes,
    Text,
    Array,
    Map,
    Tag,
    Simple,
}

/// The head of one data item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) major: Major,
    pub(crate) value: u64,
    pub(crate) at: usize,
}

/// Reads items from the front.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes consumed.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), CborRefusal> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            bytes => Err(CborRefusal::TrailingBytes { bytes }),
        }
    }

    /// An unsigned integer of at most 32 bits.
    pub(crate) fn u32(&mut self, expected: &'static str) -> Result<u32, CborRefusal> {
        let head = self.head(expected)?;
        let out_of_range = CborRefusal::NumberRange { at: head.at };
        match head.major {
            Major::Unsigned => u32::try_from(head.value).map_err(|_| out_of_range),
            Major::Negative => Err(out_of_range),
            _ => Err(unexpected(head, expected)),
        }
    }

    pub(crate) fn array(&mut self, expected: &'static str) -> Result<u64, CborRefusal> {
        self.expect(Major::Array, expected)
    }

    pub(crate) fn map(&mut self, expected: &'static str) -> Result<u64, CborRefusal> {
        self.expect(Major::Map, expected)
    }

    pub(crate) fn tag(&mut self, number: u64, expected: &'static str) -> Result<(), CborRefusal> {
        let head = self.head(expected)?;
        if head.major == Major::Tag && head.value == number {
            return Ok(());
        }
        Err(CborRefusal::Unexpected {
            expected,
            at: head.at,
        })
    }

    pub(crate) fn text(&mut self, expected: &'static str) -> Result<&'a str, CborRefusal> {
        let len = self.expect(Major::Text, expected)?;
        let start = self.at;
        core::str::from_utf8(self.take(len)?).map_err(|error| CborRefusal::NotUtf8 {
            at: start + error.valid_up_to(),
        })
    }

    pub(crate) fn bytes(&mut self, expected: &'static str) -> Result<&'a [u8], CborRefusal> {
        let len = self.expect(Major::Bytes, expected)?;
        self.take(len)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn byte_array<const N: usize>(
        &mut self,
        expected: &'static str,
    ) -> Result<[u8; N], CborRefusal> {
        let at = self.at;
        self.bytes(expected)?
            .try_into()
            .map_err(|_| CborRefusal::Unexpected { expected, at })
    }

    /// A byte string, or null as `None`.
    pub(crate) fn bytes_or_null(
        &mut self,
        expected: &'static str,
    ) -> Result<Option<&'a [u8]>, CborRefusal> {
        const NULL: u64 = 22;
        let head = self.head(expected)?;
        match head.major {
            Major::Simple if head.value == NULL => Ok(None),
            Major::Bytes => self.take(head.value).map(Some),
            _ => Err(unexpected(head, expected)),
        }
    }

    /// The next head, whatever it is.
    pub(crate) fn head(&mut self, expected: &'static str) -> Result<Head, CborRefusal> {
        let at = self.at;
        let [first] = self.take_array::<1>()?;
        let major = match first >> 5 {
            0 => Major::Unsigned,
            1 => Major::Negative,
            2 => Major::Bytes,
            3 => Major::Text,
            4 => Major::Array,
            5 => Major::Map,
            6 => Major::Tag,
            _ => Major::Simple,
        };
        // The smallest value that needs this form; below it the form is too long.
        let (value, least) = match first & 0x1f {
            info @ 0..=23 => (u64::from(info), 0),
            24 => (u64::from(self.take_array::<1>()?[0]), 24),
            25 => (
                u64::from(u16::from_be_bytes(self.take_array()?)),
                u64::from(u8::MAX) + 1,
            ),
            26 => (
                u64::from(u32::from_be_bytes(self.take_array()?)),
                u64::from(u16::MAX) + 1,
            ),
            27 => (
                u64::from_be_bytes(self.take_array()?),
                u64::from(u32::MAX) + 1,
            ),
            31 if matches!(
                major,
                Major::Bytes | Major::Text | Major::Array | Major::Map
            ) =>
            {
                return Err(CborRefusal::Indefinite { at });
            }
            _ => return Err(CborRefusal::Unexpected { expected, at }),
        };
        if major == Major::Simple && least != 0 {
            return Err(CborRefusal::Unexpected { expected, at });
        }
        if value < least {
            return Err(CborRefusal::NotShortest { at });
        }
        Ok(Head { major, value, at })
    }

    fn expect(&mut self, major: Major, expected: &'static str) -> Result<u64, CborRefusal> {
        let head = self.head(expected)?;
        if head.major == major {
            Ok(head.value)
        } else {
            Err(unexpected(head, expected))
        }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], CborRefusal> {
        let truncated = CborRefusal::Truncated {
            at: self.bytes.len(),
        };
        let Ok(len) = usize::try_from(len) else {
            return Err(truncated);
        };
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            return Err(truncated);
        };
        self.at += len;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], CborRefusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }
}

fn unexpected(head: Head, expected: &'static str) -> CborRefusal {
    match head.major {
        Major::Tag => CborRefusal::Tag { at: head.at },
        _ => CborRefusal::Unexpected {
            expected,
            at: head.at,
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_integer_has_one_spelling() {
        for (long, at) in [
            (&[0x18, 0x17][..], 0),
            (&[0x19, 0x00, 0xff], 0),
            (&[0x1a, 0x00, 0x00, 0xff, 0xff], 0),
            (&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], 0),
        ] {
            assert_eq!(
                Reader::new(long).u32("number"),
                Err(CborRefusal::NotShortest { at })
            );
        }
        assert_eq!(Reader::new(&[0x18, 0x18]).u32("number"), Ok(24));
        assert_eq!(
            Reader::new(&[0x1a, 0xff, 0xff, 0xff, 0xff]).u32("number"),
            Ok(u32::MAX)
        );
    }

    #[test]
    fn a_length_beyond_the_end_is_truncated_not_allocated() {
        let huge = [0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            Reader::new(&huge).text("text"),
            Err(CborRefusal::Truncated { at: 9 })
        );
    }
}
