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

pub use contract::lives::{
    DeviceLives, Ending, EndingCursor, EndingQuery, FirstUse, Life, LifeChange, LifeNotes, LifeState, Lives,
    RenewalQuery, RenewalRun, RenewalStep, Spki,
};
pub use contract::{AddKeyError, CommitError, PAGE_ROWS_MAX, Store, StoreError};
pub use record::{
    Allowed, ApiKey, AuditEvent, AuditRecord, ClaimOutcome, Committed, Device, DeviceChange,
    DeviceQuery, Issued, KnownKey, Loaded, NewClaim, Page, Role, Tombstone,
};
pub use seal::SealKey;
pub use sqlite::{BATCH_MAX, OpenError, Options, SqliteStore};
