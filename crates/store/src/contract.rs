//! The contract: what a store does for the service, whatever database stands behind it.
//!
//! ```text
//!   claim ──► Device{version 1} ──► queue() ──► decide, sign (outside) ──► commit(version) ──► Device{version 2} …
//!                                      ▲                                        │
//!                                      └────────────── Conflict: load again ◄───┘
//! ```
//!
//! Each operation is one transaction, and its answer leaves after the transaction is durable. Reads see everything
//! that was answered before. A future dropped halfway does not undo a write that was already handed over.

pub(crate) mod foreign;
pub(crate) mod lives;
pub(crate) mod rules;
pub(crate) mod teams;

mod outbox;

pub use outbox::{
    AddWebhookError, AlarmRecord, AuditScope, EVENT_KINDS, EVENTS_MAX, Event, NewEvent, Outbox,
    Pressure, WEBHOOKS_OF_TEAM_MAX, Webhook, WebhookChange, WebhookHealth, WebhookProgress,
    kind_of,
};

use crate::audit::{AuditEntry, AuditHead, Checkpoint};
use crate::record::{
    AuditEvent, AuditRecord, ClaimOutcome, Committed, Device, DeviceChange, DevicePage,
    DevicePatch, DeviceQuery, Issued, Loaded, NewClaim, Page, Tombstone, View,
};
use async_trait::async_trait;
use sectag_proto::service::Command;
use sectag_proto::{CommandId, DeviceId, Timestamp};

/// Rows in one page at most; a larger [`DeviceQuery::limit`] is cut to it.
pub const PAGE_ROWS_MAX: usize = 1000;

/// Everything the service remembers. Dyn compatible: pass it as `Arc<dyn Store>`.
///
/// `by` is who did it, for the audit trail (the name of an API key, or `service`); every change made through an
/// operation that takes it is audited in the same transaction.
#[async_trait]
pub trait Store:
    foreign::Foreign
    + lives::Lives
    + Outbox
    + rules::Rules
    + teams::Teams
    + Send
    + Sync
    + std::fmt::Debug
{
    /// Claims a device, or says why not.
    ///
    /// A device whose key is known (claimed at this moment, or the tombstone of an earlier claim) must show a token
    /// of that key: a pinned key must be among the new candidates, unpinned candidates must meet the new ones.
    /// [`NewClaim::accept_new_key`] overrides that, for a claimed device only to whom it is shown ([`NewClaim::view`]);
    /// `accept-new-key` is then in the audit trail. A new claim over a tombstone keeps its pin, and only those candidates that both have.
    async fn claim(&self, claim: NewClaim) -> Result<ClaimOutcome, StoreError>;

    /// What [`Store::claim`] would answer. Changes nothing (the dry run of spec/owner-api §2.2).
    async fn would_claim(&self, claim: NewClaim) -> Result<ClaimOutcome, StoreError>;

    /// Forgets a claim with its commands and their secrets, if the device is still at the version that was decided on. A
    /// [`Tombstone`] keeps the key. Issued certificates stay on record.
    ///
    /// # Errors
    /// [`CommitError::Gone`] when it is not claimed, [`CommitError::Conflict`].
    async fn unclaim(
        &self,
        device: DeviceId,
        version: u64,
        by: &str,
        at: Timestamp,
    ) -> Result<(), CommitError>;

    /// What an unclaimed device left behind; `None` when it was never claimed, or is claimed at this moment.
    async fn tombstone(&self, device: DeviceId) -> Result<Option<Tombstone>, StoreError>;

    /// A claimed device.
    async fn device(&self, device: DeviceId) -> Result<Option<Device>, StoreError>;

    /// A page of the claimed devices, in the order of their ids.
    async fn devices(&self, query: DeviceQuery) -> Result<DevicePage, StoreError>;

    /// Changes tags, block, or both, if the device is still at the version that was decided on; raises the version.
    ///
    /// # Errors
    /// [`CommitError::Gone`] when it is not claimed, [`CommitError::Conflict`].
    async fn change_device(
        &self,
        device: DeviceId,
        version: u64,
        patch: DevicePatch,
        by: &str,
        at: Timestamp,
    ) -> Result<Device, CommitError>;

    /// The device and its queue at one moment: all open commands with their secrets, and of the terminal ones those
    /// that are `named`. `None`: not claimed. Give the version of the device to [`Store::commit`].
    async fn queue(
        &self,
        device: DeviceId,
        named: &[CommandId],
    ) -> Result<Option<Loaded>, StoreError>;

    /// Makes a decision permanent, if the device is still at the version it was decided on. All of it, or nothing.
    ///
    /// # Errors
    /// [`CommitError::Conflict`]: load, decide and commit again.
    async fn commit(
        &self,
        device: DeviceId,
        version: u64,
        change: DeviceChange,
    ) -> Result<Committed, CommitError>;

    /// One command, its secrets erased.
    async fn command(
        &self,
        device: DeviceId,
        command: CommandId,
    ) -> Result<Option<Command>, StoreError>;

    /// All commands of a device in queue order, terminal ones as well, their secrets erased.
    async fn commands(&self, device: DeviceId) -> Result<Vec<Command>, StoreError>;

    /// As [`Store::commands`], or only one of them, for somebody who may know of `view` alone: whose the device is and what
    /// it is to do are read at one moment. `None`: there is no such device for them.
    async fn commands_seen(
        &self,
        view: View,
        device: DeviceId,
        only: Option<CommandId>,
    ) -> Result<Option<Vec<Command>>, StoreError>;

    /// The certificate that was ever issued for this public key (SHA-256 of its SubjectPublicKeyInfo).
    async fn issued_by_spki(&self, spki_sha256: [u8; 32]) -> Result<Option<Issued>, StoreError>;

    /// All certificates ever issued to a device, oldest first, also those of earlier claims.
    async fn certificates(&self, device: DeviceId) -> Result<Vec<Issued>, StoreError>;

    /// Adds to the audit trail what belongs to no other operation (a refused request, an alarm).
    async fn record(&self, events: Vec<AuditEvent>) -> Result<(), StoreError>;

    /// The end of the audit trail.
    async fn audit_head(&self) -> Result<AuditHead, StoreError>;

    /// Entries of the audit trail as they are kept, oldest first: at most `limit`, behind number `after` and up to `last`.
    async fn audit_entries(
        &self,
        after: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// Keeps what was signed about the audit trail. A second checkpoint of the same entry changes nothing.
    async fn add_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError>;

    /// Checkpoints of entries behind number `after`, oldest first, at most `limit`.
    async fn checkpoints(&self, after: u64, limit: usize) -> Result<Vec<Checkpoint>, StoreError>;

    /// A page of the audit trail, newest first; `before` is the [`Page::next`] of the page before.
    /// With `device`, only what concerns it.
    async fn audit(
        &self,
        device: Option<DeviceId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AuditRecord, u64>, StoreError>;
}

/// Why the store could not do it. Nothing was changed, except where a variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk, or what stands between: full, broken, read-only. Trying later may help.
    /// When the words are about a commit, what was asked may still come true after a restart.
    #[error("the database cannot {action}: {reason}")]
    Unavailable {
        /// "write", "read", "commit".
        action: &'static str,
        /// In the words of the database.
        reason: String,
    },
    /// The store is shutting down, or the operation panicked (the log says so) and was rolled back.
    #[error("the store is closed")]
    Closed,
    /// What was read is not what was written: a damaged or foreign database.
    #[error("the database holds a damaged {what}: {reason}")]
    Damaged {
        /// e.g. "command 47be3210-… of device 50363154-…"
        what: String,
        /// What does not hold.
        reason: String,
    },
    /// A secret that the seal key does not open.
    #[error("a sealed secret of {what} does not open with this seal key")]
    Unsealable {
        /// Which command of which device.
        what: String,
    },
    /// The caller asked for something that has no meaning; a mistake in our program.
    #[error("the store was asked for something it must not do: {what}")]
    Misuse {
        /// What, with the ids.
        what: String,
    },
}

/// Why a commit did not happen. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Someone else changed the device in between.
    #[error("the device changed meanwhile (version {current})")]
    Conflict {
        /// The version it has.
        current: u64,
    },
    /// A certificate for this public key exists, for another command or another device.
    #[error("a certificate for this public key was issued before, to device {device}")]
    KeyAlreadyIssued {
        /// To whom.
        device: DeviceId,
    },
    /// The device is not claimed (any more).
    #[error("the device is not claimed")]
    Gone,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}
