//! The evidence: entries that hash each other, checkpoints that a key outside of the database signs.
//!
//! ```text
//!   zeros ─► entry 1 ─► entry 2 ─► … ─► entry n        hash(n) = SHA-256(domain ‖ hash(n-1) ‖ entry n)
//!                                  └─ checkpoint: signature over (number, hash, time)
//! ```
//! The encoding is written down byte by byte in docs/reference/audit.md, and cannot change without another domain.

mod export;
mod verify;

pub use export::{ExportError, Header, Line, entry_line};
pub use verify::{Finding, Report, verify, verify_tail};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sectag_proto::es256::PublicKey;
use sectag_proto::{CommandId, DeviceId};
use std::fmt::Write as _;

/// Entries between two checkpoints at most: so many of the newest can be cut off unnoticed after a crash, and a signature
/// with its two writes to disk is paid by so many.
pub const CHECKPOINT_EVERY: u64 = 256;

/// What stands before the first entry.
pub const NO_HASH: [u8; 32] = [0; 32];

/// First bytes of what is hashed, so that no other hash of ours can be taken for one of these. An entry without a team.
const DOMAIN: &[u8] = b"sectag-audit-1\n";
/// The same of an entry with a team, which stands directly behind the hash of the entry before.
const DOMAIN_WITH_TEAM: &[u8] = b"sectag-audit-2\n";

/// An entry as it is kept, hashed and exported; `before` and `after` are JSON texts, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// Who.
    pub by: String,
    /// What.
    pub action: String,
    /// The team it is about; `None` for the service itself, and in entries made before there were teams.
    pub team: Option<String>,
    /// The device it concerns.
    pub device: Option<DeviceId>,
    /// The command it concerns.
    pub command: Option<CommandId>,
    /// Why, in words.
    pub detail: String,
    /// What was, JSON.
    pub before: Option<String>,
    /// What is, JSON.
    pub after: Option<String>,
    /// What was recorded as its hash.
    pub hash: [u8; 32],
}

impl AuditEntry {
    /// The hash that it should have behind `previous`.
    pub fn chained(&self, previous: &[u8; 32]) -> [u8; 32] {
        self.chained_as(self.number, previous)
    }

    /// [`AuditEntry::chained`], had it another number.
    pub(crate) fn chained_as(&self, number: u64, previous: &[u8; 32]) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        match &self.team {
            None => {
                hash.update(DOMAIN);
                hash.update(previous);
            }
            Some(team) => {
                hash.update(DOMAIN_WITH_TEAM);
                hash.update(previous);
                text(&mut hash, team);
            }
        }
        hash.update(&number.to_be_bytes());
        hash.update(&self.at.to_be_bytes());
        text(&mut hash, &self.by);
        text(&mut hash, &self.action);
        optional(&mut hash, self.device.as_ref().map(|id| &id.as_bytes()[..]));
        optional(
            &mut hash,
            self.command.as_ref().map(|id| &id.as_bytes()[..]),
        );
        text(&mut hash, &self.detail);
        for value in [&self.before, &self.after] {
            hash.update(&[u8::from(value.is_some())]);
            if let Some(value) = value {
                text(&mut hash, value);
            }
        }
        let mut digest = NO_HASH;
        digest.copy_from_slice(hash.finish().as_ref());
        digest
    }
}

/// Length in eight bytes, then UTF-8: no two lists of texts read alike.
fn text(hash: &mut Context, text: &str) {
    hash.update(&(text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

fn optional(hash: &mut Context, bytes: Option<&[u8]>) {
    hash.update(&[u8::from(bytes.is_some())]);
    hash.update(bytes.unwrap_or_default());
}

/// The end of the trail at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of the last entry; 0 when there is none.
    pub number: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A signed statement: "entry `number` had this hash at this time".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of the entry.
    pub number: u64,
    /// Of the entry.
    pub hash: [u8; 32],
    /// When it was signed, milliseconds since 1970.
    pub at: u64,
    /// ECDSA P-256 with SHA-256 over [`Checkpoint::message`], DER.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// What is signed: one line of text, its end included.
    pub fn message(number: u64, hash: &[u8; 32], at: u64) -> String {
        format!("sectag-audit-checkpoint-1 {number} {} {at}\n", hex(hash))
    }

    /// Whether the owner of `key` signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let message = Self::message(self.number, &self.hash, self.at);
        // The point is what follows the 26 bytes of the algorithm (RFC 5480 §2).
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.as_spki_der()[26..])
            .verify(message.as_bytes(), &self.signature)
            .is_ok()
    }

    /// A line of the checkpoints' file, without its end: number, hash, time, signature in hex.
    pub fn line(&self) -> String {
        let (hash, signature) = (hex(&self.hash), hex(&self.signature));
        format!("{} {hash} {} {signature}", self.number, self.at)
    }

    /// Reads [`Checkpoint::line`]; `None` when it is none.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let checkpoint = Self {
            number: parts.next()?.parse().ok()?,
            hash: unhex(parts.next()?)?.try_into().ok()?,
            at: parts.next()?.parse().ok()?,
            signature: unhex(parts.next()?)?,
        };
        parts.next().is_none().then_some(checkpoint)
    }
}

/// Lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty()
        .then(|| pairs.iter().map(|pair| digit(pair)).collect())?
}
