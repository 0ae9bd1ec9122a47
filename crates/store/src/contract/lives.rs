//! Lives of certificates: from issue to end, and the renewals between one and the next.
//!
//! ```text
//!   issued ──device wrote it──► written ──device connected with it──► used ──► superseded | revoked | expired
//!                                                                      │
//!   renewal:  waiting ─► key ─► certificate ─► (switch) ─► connect ────┴─► done        (abandoned)
//!                ▲        │          │             │
//!                └────────┴──failed──┴─────────────┘   again from `retry_at`
//! ```
//!
//! What a device decides about (`LifeChange`) is committed with the device. What a connection proves comes from
//! elsewhere and at any time ([`Lives::certificates_used`]), so it only ever moves a life forward.

use crate::contract::StoreError;
use crate::record::{AuditEvent, Page, View};
use async_trait::async_trait;
use sectag_proto::{CommandId, DeviceId, SecTag, Timestamp};

/// SHA-256 of a SubjectPublicKeyInfo: which certificate, over all devices and all time.
pub type Spki = [u8; 32];

/// The life of one issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Of its public key.
    pub spki_sha256: Spki,
    /// Whose.
    pub device: DeviceId,
    /// Whose device it was when the certificate was issued; empty when that is not known.
    pub team: String,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// The CSR command that it answers.
    pub csr: CommandId,
    /// The command that writes it to the device.
    pub certificate: Option<CommandId>,
    /// Where on the device; `None` when that is not known.
    pub sec_tag: Option<SecTag>,
    /// The rule that asked for it.
    pub rule_id: Option<String>,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When the device reported that it wrote it.
    pub written_at: Option<Timestamp>,
    /// First connection with it.
    pub used_at: Option<Timestamp>,
    /// Last connection with it that was noted (not each one is).
    pub last_used_at: Option<Timestamp>,
    /// Where it stands.
    pub state: LifeState,
    /// When it was superseded or revoked.
    pub ended_at: Option<Timestamp>,
    /// The smallest number of days before its end at which an alarm was raised.
    pub alarm_days: Option<u32>,
}

/// Where a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifeState {
    /// Signed, and on its way.
    Issued,
    /// The device reported that it stored it.
    Written,
    /// The device connected with it.
    Used,
    /// Its time is over, and nothing took its place.
    Expired,
    /// Another certificate took its place.
    Superseded,
    /// It was taken back.
    Revoked,
}

impl LifeState {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Issued,
        Self::Written,
        Self::Used,
        Self::Expired,
        Self::Superseded,
        Self::Revoked,
    ];

    /// `issued`, `written`, `used`, `expired`, `superseded`, `revoked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Written => "written",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }

    /// The reverse of [`LifeState::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the certificate may still be what a device works with, or should be.
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Superseded | Self::Revoked)
    }
}

/// One renewal: from the old certificate to a connection with the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalRun {
    /// The certificate that is renewed; one run each.
    pub old: Spki,
    /// Whose.
    pub device: DeviceId,
    /// Whose device.
    pub team: String,
    /// The rule that asks for it.
    pub rule_id: String,
    /// Where the new certificate goes.
    pub sec_tag: SecTag,
    /// The new key takes the place of the old one, instead of another tag.
    pub in_place: bool,
    /// When the device was first asked for a new key.
    pub started_at: Timestamp,
    /// What is awaited.
    pub step: RenewalStep,
    /// Since when.
    pub step_at: Timestamp,
    /// The command of this step.
    pub command: Option<CommandId>,
    /// The certificate that takes over; `None` until it is issued.
    pub new: Option<Spki>,
    /// How often a new key was asked for.
    pub attempts: u32,
    /// Nothing is tried before.
    pub retry_at: Timestamp,
    /// When the first of the failures happened that were not followed by a success.
    pub failing_since: Option<Timestamp>,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// When the alarm about these failures, or about a device that does not connect, was raised.
    pub alarmed_at: Option<Timestamp>,
    /// When it was done or abandoned.
    pub ended_at: Option<Timestamp>,
}

/// What a renewal waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RenewalStep {
    /// The next fetch from `retry_at` on.
    Waiting,
    /// The device's new key and its CSR.
    Key,
    /// The device's word that it stored the new certificate.
    Certificate,
    /// The device's word that it knows which tag to use.
    Switch,
    /// A connection with the new certificate.
    Connect,
    /// Nothing: the device connected with the new certificate.
    Done,
    /// Nothing: the device was unclaimed, or somebody gave it another certificate, or no rule asks for it any more.
    Abandoned,
}

impl RenewalStep {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Key,
        Self::Certificate,
        Self::Switch,
        Self::Connect,
        Self::Done,
        Self::Abandoned,
    ];

    /// `waiting`, `key`, `certificate`, `switch`, `connect`, `done`, `abandoned`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Switch => "switch",
            Self::Connect => "connect",
            Self::Done => "done",
            Self::Abandoned => "abandoned",
        }
    }

    /// The reverse of [`RenewalStep::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// Whether the run goes on.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Done | Self::Abandoned)
    }
}

/// A part of a [`crate::DeviceChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifeChange {
    /// A certificate was issued. The same one again changes nothing.
    Born(Box<Life>),
    /// The device reported that it stored it.
    Written {
        /// Which.
        spki_sha256: Spki,
        /// When.
        at: Timestamp,
    },
    /// Its key is gone, or another certificate took over.
    Superseded {
        /// Which.
        spki_sha256: Spki,
        /// When.
        at: Timestamp,
    },
    /// The complete new state of a run. One that is over stays so, unless it begins anew (another `started_at`).
    Renewal(Box<RenewalRun>),
}

/// What counts of a device's certificates (no superseded, no revoked ones), and its open runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceLives {
    /// Oldest first.
    pub lives: Vec<Life>,
    /// Oldest first.
    pub renewals: Vec<RenewalRun>,
}

/// A certificate that comes to its end, with what a forecast must know about its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The certificate.
    pub life: Life,
    /// Its open renewal.
    pub renewal: Option<RenewalRun>,
    /// The device's tags.
    pub tags: Vec<String>,
    /// Whether the device is blocked.
    pub blocked: bool,
    /// When the device last came for commands.
    pub last_seen_at: Option<Timestamp>,
}

/// Where a list of endings begins: behind this certificate.
pub type EndingCursor = (Timestamp, Spki);

/// A run, with what its reader asks next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalSeen {
    /// The run.
    pub run: RenewalRun,
    /// The certificate that is renewed.
    pub old: Option<Life>,
    /// The one that takes over.
    pub new: Option<Life>,
    /// When the device last came for commands.
    pub last_seen_at: Option<Timestamp>,
}

/// Which endings to list, soonest first. Only certificates that count, of devices that are claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingQuery {
    /// Of these devices; `None` for those of all teams, and then only what has not expired.
    pub view: Option<View>,
    /// Ending at this time or before.
    pub until: Timestamp,
    /// The [`Page::next`] of the page before.
    pub after: Option<EndingCursor>,
    /// Certificates to look at, at most; a page may hold fewer.
    pub limit: usize,
}

/// Which runs to list, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalQuery {
    /// Of these devices; `None` for those of all teams.
    pub view: Option<View>,
    /// Begin behind this run: start and old certificate.
    pub after: Option<EndingCursor>,
    /// Runs to look at, at most; a page may hold fewer.
    pub limit: usize,
}

/// A certificate of another CA that comes to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignEnding {
    /// The registered device.
    pub id: String,
    /// Who registered it.
    pub team: String,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub der_sha256: [u8; 32],
    /// End of validity.
    pub ends_at: Timestamp,
    /// As registered.
    pub tags: Vec<String>,
}

/// Where a list of foreign endings begins: behind this certificate.
pub type ForeignCursor = (Timestamp, u64);

/// Which foreign endings to list, soonest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignEndingQuery {
    /// Of this team, as far as it sees them: with tags, claimed devices only; `None` for all.
    pub view: Option<View>,
    /// Ending at this time or before.
    pub until: Timestamp,
    /// The [`Page::next`] of the page before; else a time, and 0.
    pub after: ForeignCursor,
    /// Certificates to look at, at most; a page may hold fewer.
    pub limit: usize,
}

/// A connection with a certificate of ours that says more than those before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    /// The certificate.
    pub life: Life,
    /// The run that is done by it.
    pub renewal: Option<RenewalRun>,
}

/// What a look at the calendar found, written at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LifeNotes {
    /// Certificates whose time is over.
    pub expired: Vec<Spki>,
    /// Certificates about which an alarm is raised, with the number of days.
    pub alarmed: Vec<(Spki, u32)>,
    /// Certificates without a life here, by the SHA-256 of the whole certificate, with the number of days.
    pub others_alarmed: Vec<([u8; 32], u32)>,
    /// Runs about which an alarm is raised, by their old certificate.
    pub renewals_alarmed: Vec<(Spki, Timestamp)>,
    /// Runs that nobody asks for any more, by their old certificate.
    pub abandoned: Vec<(Spki, Timestamp)>,
    /// For the audit trail.
    pub audit: Vec<AuditEvent>,
}

/// Lives and renewals.
#[async_trait]
pub trait Lives: Send + Sync {
    /// What counts of a device's certificates, and its open runs: two lookups, whatever the fleet's size.
    async fn lives(&self, device: DeviceId) -> Result<DeviceLives, StoreError>;

    /// All certificates that a device ever had, and all its runs; oldest first.
    async fn life_history(&self, device: DeviceId) -> Result<DeviceLives, StoreError>;

    /// What this service issued to a device and took back, and when; a life that had ended before stays what it was.
    async fn taken_back(&self, device: DeviceId) -> Result<Vec<(Spki, Timestamp)>, StoreError>;

    /// One certificate.
    async fn life(&self, spki_sha256: Spki) -> Result<Option<Life>, StoreError>;

    /// Devices connected with these certificates at these times; what we did not issue is left out. A first use ends the
    /// run that waited for it and supersedes the old certificate, with `renewal-done` in the audit trail.
    async fn certificates_used(
        &self,
        uses: Vec<(Spki, Timestamp)>,
    ) -> Result<Vec<FirstUse>, StoreError>;

    /// A page of what ends, soonest first, by an index over the end of validity. [`Page::total`] is the number of items of
    /// this page: to count all would be to read all.
    async fn endings(&self, query: EndingQuery) -> Result<Page<Ending, EndingCursor>, StoreError>;

    /// As [`Lives::endings`], of registered certificates.
    async fn foreign_endings(
        &self,
        query: ForeignEndingQuery,
    ) -> Result<Page<ForeignEnding, ForeignCursor>, StoreError>;

    /// A page of the open runs, oldest first. [`Page::total`] as for [`Lives::endings`].
    async fn renewals(
        &self,
        query: RenewalQuery,
    ) -> Result<Page<RenewalSeen, EndingCursor>, StoreError>;

    /// The smallest number of days at which an alarm was raised about a certificate without a life here.
    async fn certificate_alarm(&self, der_sha256: [u8; 32]) -> Result<Option<u32>, StoreError>;

    /// Writes down what a look at the calendar found.
    async fn note_lives(&self, notes: LifeNotes) -> Result<(), StoreError>;
}
