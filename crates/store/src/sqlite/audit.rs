//! The audit trail: written by other operations, read by pages.

use crate::contract::{PAGE_ROWS_MAX, StoreError};
use crate::record::{AuditEvent, AuditRecord, Page};
use crate::sqlite::devices::cut;
use crate::sqlite::rows::{self, all, damaged, first, get, int, sql, time};
use crate::sqlite::{execute, read_error};
use rusqlite::{Connection, params};
use sectag_proto::{DeviceId, Timestamp};

pub(crate) fn event(
    at: Timestamp,
    by: &str,
    action: &str,
    device: impl Into<Option<DeviceId>>,
    detail: String,
) -> AuditEvent {
    AuditEvent {
        at,
        by: by.to_owned(),
        action: action.to_owned(),
        device: device.into(),
        command: None,
        detail,
    }
}

pub(crate) fn insert(db: &Connection, event: &AuditEvent) -> Result<(), StoreError> {
    let row = params![
        time(event.at),
        event.by,
        event.action,
        event.device.as_ref().map(DeviceId::as_bytes),
        event.command.as_ref().map(|command| command.as_bytes()),
        event.detail,
    ];
    execute(db, sql!("audit_insert"), row).map(drop)
}

pub(crate) fn page(
    db: &Connection,
    device: Option<DeviceId>,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<AuditRecord, u64>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let before = before.map_or(i64::MAX, int);
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
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
