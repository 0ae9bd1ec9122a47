//! What the service remembers: one contract, SQLite behind it.
//!
//! ```text
//!   server ──► Store (contract.rs) ──► sqlite: callers queue jobs ──► one writer thread ──► BEGIN IMMEDIATE
//!                │                                                      up to 256 jobs,      SAVEPOINT per job
//!                │                                                      one fsync            COMMIT, then answers
//!                └── reads ──► a few read-only connections, each on its thread
//! ```
//!
//! Operations are those of the domain, not SQL. It knows no HTTP and no policy: whether an owner may claim is asked
//! elsewhere, that two claims cannot both win is decided here. It reads no clock; time is an argument.

#[cfg(test)]
extern crate self as sectag_store;

pub mod audit;
mod claiming;
mod contract;
mod record;
mod seal;
mod sqlite;

pub use contract::foreign::{
    BULK_KEPT_MAX, BULK_OPEN_MAX, Bulk, BulkKind, BulkRow, BulkStatus, BulkStepped, Foreign,
    NewRegistration, Pin, REGISTERED_CERTIFICATES_MAX, REGISTERED_ID_CHARS_MAX, REGISTERED_MAX,
    Registered, RegisteredCertificate, Revoked, Subject, SubjectTrust, TAKEN_BACK_MAX, Uploads,
};
pub use contract::lives::{
    DeviceLives, Ending, EndingCursor, EndingQuery, FirstUse, ForeignCursor, ForeignEnding,
    ForeignEndingQuery, Life, LifeChange, LifeNotes, LifeState, Lives, RenewalQuery, RenewalRun,
    RenewalSeen, RenewalStep, Spki,
};
pub use contract::rules::{RULES_MAX, RuleStoreError, Rules, TAGS_OF_TEAM_MAX};
pub use contract::teams::{AddKeyError, AddTeamError, DeleteTeamError, RevokeKeyError, Teams};
pub use contract::{
    AddWebhookError, AlarmRecord, AuditScope, EVENT_KINDS, EVENTS_MAX, Event, NewEvent, Outbox,
    Pressure, WEBHOOKS_OF_TEAM_MAX, Webhook, WebhookChange, WebhookHealth, WebhookProgress,
    kind_of,
};
pub use contract::{CommitError, PAGE_ROWS_MAX, Store, StoreError};
pub use record::rules::{ActiveRules, RulesChange, Tag};
pub use record::{
    Allowed, ApiKey, AuditEvent, AuditRecord, ClaimOutcome, Committed, Device, DeviceChange,
    DevicePage, DevicePatch, DeviceQuery, IdPrefix, Issued, KnownKey, Loaded, NewClaim, Page, Role,
    Team, Tombstone, View,
};
pub use seal::SealKey;
pub use sqlite::{BATCH_MAX, OpenError, Options, SqliteStore};
