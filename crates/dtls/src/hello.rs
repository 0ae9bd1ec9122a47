//! A ClientHello, read as far as an endpoint needs before it keeps anything: the cookie, and whether there is common ground; and the
//! two answers that need no state, HelloVerifyRequest and alert.
//!
//! The cookie is checked here and not in Mbed TLS, so that a flood of ClientHellos costs one HMAC each and touches no context. A
//! ClientHello must come in one piece (one record, one fragment): Mbed TLS 3.6.5 does not reassemble it either, and real ones have
//! 100 to 300 bytes.

use crate::config::{suite_is_aead, suite_name};
use crate::event::Refused;
use crate::record::{ALERT, HANDSHAKE, Record};
use crate::tickets::Cookie;

/// What is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Hello<'a> {
    /// As on the wire: FEFD is DTLS 1.2, FEFF is 1.0.
    version: u16,
    pub(crate) random: &'a [u8; 32],
    pub(crate) cookie: &'a [u8],
    /// Of the session it wants to resume; empty when it wants a new one.
    pub(crate) session_id: &'a [u8],
    /// A ticket it wants to resume by; empty when it has none.
    pub(crate) ticket: &'a [u8],
    suites: &'a [[u8; 2]],
    /// Named groups; `None` when the client does not say.
    groups: Option<&'a [[u8; 2]]>,
    extended_master_secret: bool,
    message_seq: u16,
    record_sequence: u64,
}

/// Whether a record is a plaintext ClientHello.
pub(crate) fn is_hello(record: &Record<'_>) -> bool {
    record.kind == HANDSHAKE && record.epoch == 0 && record.content.first() == Some(&CLIENT_HELLO)
}

impl<'a> Hello<'a> {
    /// `None` when it is none, or not in one piece.
    pub(crate) fn parse(record: &Record<'a>) -> Option<Self> {
        let (&[kind, l0, l1, l2, q0, q1, o0, o1, o2, f0, f1, f2], body) =
            record.content.split_first_chunk::<12>()?;
        let len = [l0, l1, l2];
        if !is_hello(record)
            || kind != CLIENT_HELLO
            || [o0, o1, o2] != [0; 3]
            || [f0, f1, f2] != len
        {
            return None;
        }
        if u32::from_be_bytes([0, l0, l1, l2]) != u32::try_from(body.len()).ok()? {
            return None;
        }
        let mut walk = Walk(body);
        let version = u16::from_be_bytes(*walk.chunk()?);
        let random = walk.chunk::<32>()?;
        let session_id = walk.len8()?;
        let cookie = walk.len8()?;
        let suites = walk.len16()?.as_chunks::<2>();
        let compressions = walk.len8()?;
        if session_id.len() > 32
            || suites.0.is_empty()
            || !suites.1.is_empty()
            || compressions.is_empty()
        {
            return None;
        }
        let mut hello = Self {
            version,
            random,
            cookie,
            session_id,
            ticket: &[],
            suites: suites.0,
            groups: None,
            extended_master_secret: false,
            message_seq: u16::from_be_bytes([q0, q1]),
            record_sequence: record.sequence,
        };
        if !walk.0.is_empty() {
            let mut extensions = Walk(walk.len16()?);
            while !extensions.0.is_empty() {
                let kind = u16::from_be_bytes(*extensions.chunk()?);
                let mut value = Walk(extensions.len16()?);
                match kind {
                    SUPPORTED_GROUPS => hello.groups = Some(value.len16()?.as_chunks::<2>().0),
                    EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
                    SESSION_TICKET => hello.ticket = value.0,
                    _ => {}
                }
            }
        }
        walk.0.is_empty().then_some(hello)
    }

    /// The suite of a handshake with this client: the first of ours that it offers.
    pub(crate) fn suite(&self, ours: &[u16]) -> Option<u16> {
        ours.iter()
            .copied()
            .find(|suite| self.suites.contains(&suite.to_be_bytes()))
    }

    /// What is missing for a handshake, with the number of the alert that says so.
    pub(crate) fn refused(
        &self,
        ours: &[u16],
        require_extended_master_secret: bool,
    ) -> Option<(Refused, u8)> {
        /// More are not kept for the event.
        const OFFERED_MAX: usize = 64;
        const PROTOCOL_VERSION: u8 = 70;
        const HANDSHAKE_FAILURE: u8 = 40;
        // Versions count downwards; 1.2 is the highest that is named here (1.3 is negotiated elsewhere and falls back).
        if self.version != DTLS_1_2 {
            return Some((
                Refused::Version {
                    offered: self.version,
                },
                PROTOCOL_VERSION,
            ));
        }
        let offered = || self.suites.iter().map(|suite| u16::from_be_bytes(*suite));
        if !offered().any(|suite| ours.contains(&suite)) {
            let only_cbc =
                offered().any(|suite| suite_name(suite).is_some()) && !offered().any(suite_is_aead);
            return Some((
                Refused::NoCommonSuite {
                    offered: offered().take(OFFERED_MAX).collect(),
                    only_cbc,
                },
                HANDSHAKE_FAILURE,
            ));
        }
        if self.groups.is_some_and(|groups| {
            !groups
                .iter()
                .any(|group| [SECP256R1, SECP384R1].contains(&u16::from_be_bytes(*group)))
        }) {
            return Some((Refused::NoCommonCurve, HANDSHAKE_FAILURE));
        }
        (require_extended_master_secret && !self.extended_master_secret)
            .then_some((Refused::NoExtendedMasterSecret, HANDSHAKE_FAILURE))
    }

    /// A HelloVerifyRequest under the sequence number of the ClientHello, of version 1.0 as RFC 6347 §4.2.1 wants it.
    pub(crate) fn verify_request(&self, cookie: &Cookie) -> Vec<u8> {
        let cookie_len = u8::try_from(cookie.len()).expect("a cookie has 16 bytes");
        let body_len = [0, 0, 3 + cookie_len];
        let [q0, q1] = self.message_seq.to_be_bytes();
        let message = [
            &[HELLO_VERIFY_REQUEST],
            &body_len[..],
            &[q0, q1, 0, 0, 0],
            &body_len[..],
            &[0xfe, 0xff, cookie_len],
            &cookie[..],
        ]
        .concat();
        self.plain_record(HANDSHAKE, [0xfe, 0xff], &message)
    }

    /// A fatal alert under the sequence number of the ClientHello.
    pub(crate) fn alert(&self, number: u8) -> Vec<u8> {
        const FATAL: u8 = 2;
        self.plain_record(ALERT, [0xfe, 0xfd], &[FATAL, number])
    }

    fn plain_record(&self, kind: u8, version: [u8; 2], content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).expect("a few dozen bytes");
        // Epoch 0 and 48 bits of sequence number: what the 48 bits of the ClientHello's were, in eight bytes.
        [
            &[kind],
            &version[..],
            &self.record_sequence.to_be_bytes(),
            &len.to_be_bytes(),
            content,
        ]
        .concat()
    }
}

struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn len8(&mut self) -> Option<&'a [u8]> {
        let [len] = *self.chunk()?;
        self.take(usize::from(len))
    }

    fn len16(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_be_bytes(*self.chunk()?);
        self.take(usize::from(len))
    }
}

const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
const DTLS_1_2: u16 = 0xfefd;
const SUPPORTED_GROUPS: u16 = 10;
const EXTENDED_MASTER_SECRET: u16 = 23;
const SESSION_TICKET: u16 = 35;
const SECP256R1: u16 = 23;
const SECP384R1: u16 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::split;

    /// A ClientHello with these suites and extensions, in a record with number 5.
    fn hello(version: u16, cookie: &[u8], suites: &[u16], extensions: &[u8]) -> Vec<u8> {
        let len8 = |bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("short")], bytes].concat();
        let len16 = |bytes: &[u8]| {
            [
                &u16::try_from(bytes.len()).expect("short").to_be_bytes(),
                bytes,
            ]
            .concat()
        };
        let suites: Vec<u8> = suites
            .iter()
            .flat_map(|suite| suite.to_be_bytes())
            .collect();
        let body = [
            &version.to_be_bytes()[..],
            &[9; 32],
            &len8(b"session"),
            &len8(cookie),
            &len16(&suites),
            &len8(&[0]),
            &len16(extensions),
        ]
        .concat();
        let len = [
            &[0][..],
            &u16::try_from(body.len()).expect("short").to_be_bytes(),
        ]
        .concat();
        let message = [&[CLIENT_HELLO][..], &len, &[0, 3, 0, 0, 0], &len, &body].concat();
        [
            &[HANDSHAKE, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 5][..],
            &len16(&message),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Option<Hello<'_>> {
        split(bytes, 8).0.first().and_then(Hello::parse)
    }

    #[test]
    fn what_an_endpoint_needs_is_read_and_any_cut_is_refused() {
        let bytes = hello(
            DTLS_1_2,
            b"cookie",
            &[0xc02b],
            &[0, 10, 0, 4, 0, 2, 0, 23, 0, 23, 0, 0],
        );
        let read_one = read(&bytes).expect("a hello");
        assert_eq!(
            (
                read_one.cookie,
                read_one.random,
                read_one.extended_master_secret
            ),
            (&b"cookie"[..], &[9; 32], true)
        );
        assert_eq!(read_one.refused(&[0xc02b], true), None);
        for len in 13..bytes.len() {
            let mut cut = bytes[..len].to_vec();
            let content = u16::try_from(len - 13).expect("short").to_be_bytes();
            cut[11..13].copy_from_slice(&content);
            assert_eq!(read(&cut), None, "{len} bytes");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let p256 = [0, 10, 0, 4, 0, 2, 0, 23];
        let refused = |version, suites: &[u16], extensions: &[u8], required| {
            let bytes = hello(version, b"", suites, extensions);
            read(&bytes)
                .expect("a hello")
                .refused(&[0xc02b, 0xc0ae], required)
        };
        assert_eq!(refused(DTLS_1_2, &[0x00ff, 0xc0ae], &p256, false), None);
        assert_eq!(
            refused(0xfeff, &[0xc02b], &p256, false),
            Some((Refused::Version { offered: 0xfeff }, 70))
        );
        let only = |only_cbc, offered: &[u16]| {
            Some((
                Refused::NoCommonSuite {
                    offered: offered.to_vec(),
                    only_cbc,
                },
                40,
            ))
        };
        assert_eq!(
            refused(DTLS_1_2, &[0xc024, 0xc009], &p256, false),
            only(true, &[0xc024, 0xc009])
        );
        assert_eq!(
            refused(DTLS_1_2, &[0xc0a8], &p256, false),
            only(false, &[0xc0a8])
        );
        assert_eq!(
            refused(DTLS_1_2, &[0xc0ac, 0xc009], &p256, false),
            only(false, &[0xc0ac, 0xc009])
        );
        assert_eq!(
            refused(DTLS_1_2, &[0xc02b], &[0, 10, 0, 4, 0, 2, 0, 29], false),
            Some((Refused::NoCommonCurve, 40))
        );
        assert_eq!(
            refused(DTLS_1_2, &[0xc02b], &p256, true),
            Some((Refused::NoExtendedMasterSecret, 40))
        );
    }

    #[test]
    fn a_verify_request_goes_under_the_numbers_of_the_hello() {
        let bytes = hello(DTLS_1_2, b"", &[0xc02b], &[]);
        let answer = read(&bytes).expect("a hello").verify_request(&[7; 16]);
        let head = [
            22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 31, 3, 0, 0, 19, 0, 3, 0, 0, 0, 0, 0, 19,
            0xfe, 0xff, 16,
        ];
        assert_eq!(answer, [&head[..], &[7; 16]].concat());
        let alert = read(&bytes).expect("a hello").alert(40);
        assert_eq!(alert, [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, 40]);
    }
}
