//! Uploads that are worked off in the background, row by row: kept as they came, so that a stop loses nothing.
//!
//! ```text
//!   add ─► next: the team behind the one whose turn it was ─► with its body ─► step, step, … ─► all rows done
//!                                                                └─ the key was revoked, nothing can be made of it ─► the rest fails
//! ```

use super::{NewRegistration, Subject};
use crate::contract::StoreError;
use crate::record::Role;
use async_trait::async_trait;
use sectag_proto::Timestamp;
use std::fmt;

/// Uploads of one team that wait or are worked off; each may hold a thousand certificates.
pub const BULK_OPEN_MAX: usize = 32;

/// Uploads of one team that are remembered; the oldest finished ones are forgotten.
pub const BULK_KEPT_MAX: usize = 1000;

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

/// What many ask for at once. Part of [`Store`](crate::Store).
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Keeps an upload until it is worked off. `false`: [`BULK_OPEN_MAX`] of the team wait already.
    async fn add_bulk(&self, bulk: Bulk) -> Result<bool, StoreError>;

    /// An upload, without its body.
    async fn bulk(&self, id: &str) -> Result<Option<Bulk>, StoreError>;

    /// Team and id of the upload whose turn it is: the oldest one of the next team behind `behind` that has one, and after
    /// the last team the first again. Says nothing of what is in it, so a damaged one keeps nobody from going on.
    async fn next_bulk(&self, behind: &str) -> Result<Option<(String, String)>, StoreError>;

    /// An upload with its body.
    async fn bulk_with_body(&self, id: &str) -> Result<Option<Bulk>, StoreError>;

    /// Why an upload must not go on: the API key that sent it was revoked, or has expired. [`Uploads::step_bulk`] asks for itself.
    async fn bulk_halted(&self, id: &str, at: Timestamp) -> Result<Option<String>, StoreError>;

    /// Ends an upload: all rows that are not done fail for this reason. `false`: it has ended, or there is none. It also works on
    /// one that is damaged, and makes it readable.
    async fn fail_bulk(&self, id: &str, reason: &str, at: Timestamp) -> Result<bool, StoreError>;

    /// Does the next rows of an upload, in one transaction. `from` is the number of rows done before: when that is not so,
    /// somebody did them, and nothing is changed. When its key is none any more, all that is left fails.
    async fn step_bulk(
        &self,
        id: &str,
        from: u64,
        rows: Vec<BulkRow>,
        at: Timestamp,
    ) -> Result<BulkStepped, StoreError>;
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
