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
                    _ => {}
                }
            }
        }
        walk.0.is_empty().then_some(hello)
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
const SECP256R1: u16 = 23;
const SECP384R1: u16 = 24;
