//! The audit trail: written by other operations, read by pages.

use crate::audit::{AuditEntry, AuditHead, Checkpoint, NO_HASH};
use crate::contract::{PAGE_ROWS_MAX, StoreError, kind_of};
use crate::record::{AuditEvent, AuditRecord, Page};
use crate::sqlite::devices::{cut, limits};
use crate::sqlite::rows::{self, all, damaged, first, get, int, sql};
use crate::sqlite::{execute, outbox, read_error};
use rusqlite::{Connection, params};
use sectag_proto::DeviceId;

/// Columns of an entry, see [`insert_entry`].
const COLUMNS: usize = 11;
/// As the table was when the chain was made, see [`chain_all`].
const COLUMNS_BEFORE_TEAMS: usize = 8;

/// Appends to the chain: the entry's hash goes over the last one's, in the same transaction, and so do the event that
/// tells it and the alarm that it raises. What is about a claimed device is its team's, whoever forgot to say so.
pub(crate) fn insert(db: &Connection, event: &AuditEvent) -> Result<(), StoreError> {
    let head = head(db)?;
    let team = match (&event.team, &event.device) {
        (None, Some(device)) => first(db, sql!("device_owner"), [device.as_bytes()], |row| {
            get::<String>(row, 0)
        })?,
        (team, _) => team.clone(),
    };
    let mut entry = AuditEntry {
        number: head.number + 1,
        // As the database keeps it, or the hash would be of another number.
        at: event.at.0.min(i64::MAX.cast_unsigned()),
        by: event.by.clone(),
        action: event.action.clone(),
        team,
        device: event.device,
        command: event.command,
        detail: event.detail.clone(),
        before: event.before.as_ref().map(ToString::to_string),
        after: event.after.as_ref().map(ToString::to_string),
        hash: NO_HASH,
    };
    entry.hash = entry.chained(&head.hash);
    insert_entry(db, sql!("audit_insert"), COLUMNS, &entry)?;
    if entry.action.ends_with("-alarm") {
        outbox::raise(db, entry.number, entry.team.as_deref())?;
    }
    outbox::tell(db, kind_of(&entry.action), entry.number)
}

/// The columns of an entry, those first that the table had before there were teams.
fn insert_entry(
    db: &Connection,
    sql: &str,
    columns: usize,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let row = params![
        int(entry.number),
        int(entry.at),
        entry.by,
        entry.action,
        entry.device.as_ref().map(DeviceId::as_bytes),
        entry.command.as_ref().map(|command| command.as_bytes()),
        entry.detail,
        &entry.hash[..],
        entry.before,
        entry.after,
        entry.team,
    ];
    execute(db, sql, &row[..columns]).map(drop)
}

/// The last entry, or what stands before the first.
pub(crate) fn head(db: &Connection) -> Result<AuditHead, StoreError> {
    let found = first(db, sql!("audit_head"), [], rows::audit_head)?;
    Ok(found.unwrap_or(AuditHead {
        number: 0,
        hash: NO_HASH,
    }))
}

/// Chains what was written before there was a chain; part of a migration.
pub(crate) fn chain_all(db: &Connection) -> Result<(), StoreError> {
    let old = "SELECT number, at, by, action, device, command, detail, NULL, NULL, zeroblob(32), NULL \
               FROM audit_unchained ORDER BY number";
    let new = "INSERT INTO audit (number, at, by, action, device, command, detail, hash) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut statement = db.prepare(old).map_err(read_error)?;
    let mut found = statement.query([]).map_err(read_error)?;
    let mut previous = NO_HASH;
    let mut number = 0;
    while let Some(row) = found.next().map_err(read_error)? {
        number += 1;
        let mut entry = rows::audit_entry(row)?;
        entry.number = number;
        entry.hash = entry.chained(&previous);
        previous = entry.hash;
        insert_entry(db, new, COLUMNS_BEFORE_TEAMS, &entry)?;
    }
    drop(found);
    drop(statement);
    execute(db, "DROP TABLE audit_unchained", []).map(drop)
}

pub(crate) fn entries(
    db: &Connection,
    after: u64,
    last: u64,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let rows = i64::try_from(limit.clamp(1, PAGE_ROWS_MAX)).unwrap_or(i64::MAX);
    let range = params![int(after), int(last), rows];
    all(db, sql!("audit_entries"), range, rows::audit_entry)
}

pub(crate) fn add_checkpoint(db: &Connection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let row = params![
        int(checkpoint.number),
        &checkpoint.hash[..],
        int(checkpoint.at),
        checkpoint.signature
    ];
    execute(db, sql!("audit_checkpoint_insert"), row).map(drop)
}

pub(crate) fn checkpoints(
    db: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<Checkpoint>, StoreError> {
    let rows = i64::try_from(limit.clamp(1, PAGE_ROWS_MAX)).unwrap_or(i64::MAX);
    let range = params![int(after), rows];
    all(db, sql!("audit_checkpoints"), range, rows::checkpoint)
}

pub(crate) fn page(
    db: &Connection,
    device: Option<DeviceId>,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<AuditRecord, u64>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let before = before.map_or(i64::MAX, int);
    let (limit, rows) = limits(limit);
    let count = |row: &rusqlite::Row<'_>| get::<i64>(row, 0);
    let (mut items, total) = match &device {
        None => (
            all(db, sql!("audit_page"), params![before, rows], rows::audit)?,
            first(db, sql!("audit_count"), [], count)?,
        ),
        Some(device) => {
            let device = device.as_bytes();
            let filter = params![before, rows, device];
            (
                all(db, sql!("audit_page_device"), filter, rows::audit)?,
                first(db, sql!("audit_count_device"), [device], count)?,
            )
        }
    };
    let next = cut(&mut items, limit).map(|last| last.number);
    Ok(Page {
        items,
        next,
        total: u64::try_from(total.unwrap_or(0)).map_err(|e| damaged("count", e))?,
    })
}
