//! Whom the broker lets in beside what chains say: certificates taken back, certificates of other CAs, blocked devices.
//!
//! ```text
//!   block, unclaim, revoke, register ──commit──► trust_of(subject) ──► the broker's view, in memory
//!                                      start ──► blocked · revoked · pins, page by page
//! ```
//!
//! Only what is exceptional is kept apart, so a start does not read the fleet. The end of a claim takes back, in its own
//! transaction, everything that was issued or registered under it.

mod uploads;

pub use uploads::{
    BULK_KEPT_MAX, BULK_OPEN_MAX, Bulk, BulkKind, BulkRow, BulkStatus, BulkStepped, Uploads,
};

use super::StoreError;
use async_trait::async_trait;
use sectag_proto::{DeviceId, Timestamp};
use std::fmt;

/// Certificates of one registered device that count at a time: a renewal overlaps, a fleet on one id is a mistake.
pub const REGISTERED_CERTIFICATES_MAX: usize = 8;

/// Registered certificates of one device that one team may have taken back. All of them are read whenever something about the
/// device changes, and others wait for that. Who registers a device anew every hour gets there in a year.
pub const TAKEN_BACK_MAX: usize = 10_000;

/// Registered devices of one team. Each costs the broker 40 to 80 bytes of memory.
pub const REGISTERED_MAX: u64 = 2_000_000;

/// Characters of a registered device's id: it is the CN of its certificate (RFC 5280 Appendix A.1, ub-common-name).
pub const REGISTERED_ID_CHARS_MAX: usize = 64;

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
    /// Only when the team has claimed the device: nothing else would tell who may see it, or keep its topics apart.
    pub needs_claim: bool,
}

impl NewRegistration {
    /// The same words for every id that is not this team's to give: nobody learns from them who has it.
    pub const ID_REFUSED: &str = "this id cannot be registered here: claim the device with a key of this team first; an id that is no device UUID must be free";

    /// The same words for whatever other device has it, of whichever team.
    pub const CERTIFICATE_REFUSED: &str = "this certificate, or its key, belongs to another device";
}

/// Trust that chains do not say. Part of [`Store`](crate::Store).
#[async_trait]
pub trait Foreign: Uploads + Send + Sync {
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
    /// Its renewal ends with it, and what that had not brought to the device yet. What is being decided about the device at
    /// this moment has to be decided again ([`CommitError::Conflict`](super::CommitError::Conflict)).
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
