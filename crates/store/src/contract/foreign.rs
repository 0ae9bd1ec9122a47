//! Whom the broker lets in beside what chains say: certificates taken back, certificates of other CAs, blocked devices;
//! and the uploads that register many at once.
//!
//! ```text
//!   block, unclaim, revoke, register ──commit──► trust_of(subject) ──► the broker's view, in memory
//!                                      start ──► blocked · revoked · pins, page by page
//! ```
//!
//! Only what is exceptional is kept apart, so a start does not read the fleet. The end of a claim takes back, in its own
//! transaction, everything that was issued or registered under it.

use super::StoreError;
use crate::record::Role;
use async_trait::async_trait;
use sectag_proto::{DeviceId, Timestamp};
use std::fmt;

/// Certificates of one registered device that count at a time: a renewal overlaps, a fleet on one id is a mistake.
pub const REGISTERED_CERTIFICATES_MAX: usize = 8;

/// Registered devices of one team. Each costs the broker about 40 bytes of memory.
pub const REGISTERED_MAX: u64 = 2_000_000;

/// Characters of a registered device's id: it is the CN of its certificate (RFC 5280 Appendix A.1, ub-common-name).
pub const REGISTERED_ID_CHARS_MAX: usize = 64;

/// Uploads of one team that wait or are worked off; each may hold a thousand certificates.
pub const BULK_OPEN_MAX: usize = 32;

/// Uploads of one team that are remembered; the oldest finished ones are forgotten.
pub const BULK_KEPT_MAX: usize = 1000;

/// Whose certificate: a device by its UUID, or a registered device whose id is no UUID. It is the CN of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Claimed here.
    Device(DeviceId),
    /// Known by its registration alone.
    Named(String),
}

/// What the broker must know of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectTrust {
    /// Its device is claimed and blocked.
    pub blocked: bool,
    /// Marks of its certificates that were taken back; see [`Revoked::mark`].
    pub revoked: Vec<[u8; 32]>,
    /// Its registered certificates.
    pub pins: Vec<Pin>,
}

/// A registered certificate, as far as the broker needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256 of the certificate.
    pub der_sha256: [u8; 32],
    /// Who registered it.
    pub team: String,
}

/// A certificate that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// In the order of their taking back; never reused.
    pub number: u64,
    /// SHA-256 of its public key when a CA of this home issued it, of the whole certificate when it was registered.
    pub mark: [u8; 32],
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// When.
    pub revoked_at: Timestamp,
    /// End of its validity.
    pub ends_at: Timestamp,
}

/// A registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// As registered, and the CN of its certificates.
    pub id: String,
    /// Who registered it.
    pub team: String,
    /// Given by its owner.
    pub name: Option<String>,
    /// As the upload said.
    pub sub_type: String,
    /// As the upload said.
    pub tags: Vec<String>,
    /// As the upload said.
    pub firmware_types: Vec<String>,
    /// When it was first registered.
    pub registered_at: Timestamp,
    /// Its certificates, oldest first.
    pub certificates: Vec<RegisteredCertificate>,
}

/// A certificate of a registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredCertificate {
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// End of its validity.
    pub ends_at: Timestamp,
}

/// One row of an upload, checked as far as it can be without the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRegistration {
    /// Whose.
    pub subject: Subject,
    /// See [`Registered`].
    pub sub_type: String,
    /// See [`Registered`].
    pub tags: Vec<String>,
    /// See [`Registered`].
    pub firmware_types: Vec<String>,
    /// SHA-256 of its public key.
    pub spki_sha256: [u8; 32],
    /// SHA-256 of the certificate.
    pub der_sha256: [u8; 32],
    /// The certificate.
    pub certificate: RegisteredCertificate,
}

/// What an upload asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkKind {
    /// Certificates of other CAs (spec/owner-api §10).
    Register,
    /// Claim tokens (spec/owner-api §2.3, the older form).
    Claim,
}

/// Where an upload stands (spec/owner-api §10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkStatus {
    /// Not begun.
    Pending,
    /// Some rows are done.
    InProgress,
    /// All rows are done, none failed.
    Succeeded,
    /// All rows are done, some failed.
    Failed,
}

/// An upload.
#[derive(Clone, PartialEq, Eq)]
pub struct Bulk {
    /// 26 characters, in the order of time.
    pub id: String,
    /// What it asks for.
    pub kind: BulkKind,
    /// Whose.
    pub team: String,
    /// The API key that sent it.
    pub by: String,
    /// The role it had.
    pub role: Role,
    /// The tags it was limited to.
    pub scope: Vec<String>,
    /// Where it stands.
    pub status: BulkStatus,
    /// Rows.
    pub total: u64,
    /// Rows done, failed ones as well.
    pub done: u64,
    /// Rows that failed.
    pub failed: u64,
    /// When it came.
    pub created_at: Timestamp,
    /// When the last row was done.
    pub finished_at: Option<Timestamp>,
    /// What was sent; empty when all is done.
    pub body: Vec<u8>,
    /// `[<row from 0>]: <reason>` for each row that failed.
    pub errors: Vec<String>,
    /// The unguessable part of the path of its errors. Opens nothing else, and not for long.
    pub secret: String,
}

/// What a step of an upload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkStepped {
    /// As it stands.
    pub status: BulkStatus,
    /// Whose certificates were registered.
    pub changed: Vec<Subject>,
}

/// A row of a step: what to do in its transaction, or why it fails.
pub type BulkRow = Result<Option<NewRegistration>, String>;

/// Trust that chains do not say. Part of [`Store`](crate::Store).
#[async_trait]
pub trait Foreign: Send + Sync {
    /// What the broker must know of this subject at this moment.
    async fn trust_of(&self, subject: Subject) -> Result<SubjectTrust, StoreError>;

    /// Blocked devices of all teams, in the order of their ids, behind `after`.
    async fn blocked_devices(
        &self,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>, StoreError>;

    /// Certificates taken back that are valid by their dates at `at` or later, behind number `after`, oldest first.
    async fn revoked(
        &self,
        after: u64,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<Revoked>, StoreError>;

    /// Certificates taken back that the issuing CA of this team signed: what its revocation list is made of. All of them, ended
    /// ones as well.
    async fn revoked_of_team(&self, team: &str) -> Result<Vec<Revoked>, StoreError>;

    /// Registered certificates that are valid by their dates at `at` or later, in the order of their digests, behind `after`.
    async fn pins(
        &self,
        after: Option<[u8; 32]>,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<Pin>, StoreError>;

    /// Takes back one certificate of a device for good: issued here under the claim of this team, or registered by it.
    /// `None`: it has none with this serial number. `false`: it was taken back before.
    async fn revoke_certificate(
        &self,
        device: DeviceId,
        team: &str,
        serial: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<bool>, StoreError>;

    /// A registered device; `None` also when another team registered it.
    async fn registered(
        &self,
        subject: Subject,
        team: &str,
    ) -> Result<Option<Registered>, StoreError>;

    /// Names a registered device. `false`: this team has none with this id.
    async fn name_registered(
        &self,
        subject: Subject,
        team: &str,
        name: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Forgets a registered device and takes its certificates back. `false`: this team has none with this id.
    async fn unregister(
        &self,
        subject: Subject,
        team: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Keeps an upload until it is worked off. `false`: [`BULK_OPEN_MAX`] of the team wait already.
    async fn add_bulk(&self, bulk: Bulk) -> Result<bool, StoreError>;

    /// An upload, without its body.
    async fn bulk(&self, id: &str) -> Result<Option<Bulk>, StoreError>;

    /// The oldest upload that is not worked off, with its body.
    async fn open_bulk(&self) -> Result<Option<Bulk>, StoreError>;

    /// Does the next rows of an upload, in one transaction. `from` is the number of rows done before: when that is not so,
    /// somebody did them, and nothing is changed.
    async fn step_bulk(
        &self,
        id: &str,
        from: u64,
        rows: Vec<BulkRow>,
        at: Timestamp,
    ) -> Result<BulkStepped, StoreError>;
}

impl Subject {
    /// Who a certificate with this CN speaks of. A UUID in another spelling than ours is a name like any other.
    pub fn of(cn: &str) -> Self {
        match cn.parse::<DeviceId>() {
            Ok(device) if device.to_string() == cn => Self::Device(device),
            _ => Self::Named(cn.to_owned()),
        }
    }

    /// Its UUID, if it has one.
    pub const fn device(&self) -> Option<DeviceId> {
        match self {
            Self::Device(device) => Some(*device),
            Self::Named(_) => None,
        }
    }

    /// As the database has it.
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Device(device) => device.as_bytes().to_vec(),
            Self::Named(id) => [b"id:", id.as_bytes()].concat(),
        }
    }
}

impl From<DeviceId> for Subject {
    fn from(device: DeviceId) -> Self {
        Self::Device(device)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Named(id) => f.write_str(id),
        }
    }
}

impl fmt::Debug for Bulk {
    /// Without what was sent, which may hold claim tokens, and without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("team", &self.team)
            .field("by", &self.by)
            .field("status", &self.status)
            .field("total", &self.total)
            .field("done", &self.done)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl BulkKind {
    /// `register` or `claim`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Claim => "claim",
        }
    }

    /// The reverse of [`BulkKind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = [Self::Register, Self::Claim].into_iter();
        all.find(|kind| kind.as_str() == text)
    }
}

impl BulkStatus {
    /// As owners see it (spec/owner-api §10).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }

    /// The reverse of [`BulkStatus::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = [
            Self::Pending,
            Self::InProgress,
            Self::Succeeded,
            Self::Failed,
        ]
        .into_iter();
        all.find(|status| status.as_str() == text)
    }

    /// Whether all rows are done.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}
