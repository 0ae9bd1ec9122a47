//! Uploads: kept as they came, and done a few rows in a transaction.

use super::registration::register;
use super::{one, rows, texts};
use crate::contract::StoreError;
use crate::contract::foreign::{
    BULK_KEPT_MAX, BULK_OPEN_MAX, Bulk, BulkKind, BulkRow, BulkStatus, BulkStepped, Uploads,
};
use crate::record::Role;
use crate::sqlite::rows::{at, at_or_none, damaged, first, get, int, number, sql, time};
use crate::sqlite::writer::Kind;
use crate::sqlite::{SqliteStore, access, execute, read_error};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sectag_proto::Timestamp;
use serde_json::json;

/// Rows of an upload that fail together and are told one by one: as many as an upload has, so that a number of rows that is
/// damaged fills no disk.
const ROWS_TOLD_MAX: u64 = 1000;

#[async_trait]
impl Uploads for SqliteStore {
    async fn add_bulk(&self, bulk: Bulk) -> Result<bool, StoreError> {
        self.write(Kind::RECORD, move |db| add_bulk(db, &bulk))
            .await
    }

    async fn bulk(&self, id: &str) -> Result<Option<Bulk>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| first(db, sql!("bulk_by_id"), [&id], bulk))
            .await
    }

    async fn next_bulk(&self, behind: &str) -> Result<Option<(String, String)>, StoreError> {
        let behind = behind.to_owned();
        let place = |row: &Row<'_>| Ok((get(row, 0)?, get(row, 1)?));
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            match first(db, sql!("bulk_next"), [&behind], place)? {
                None => first(db, sql!("bulk_next"), [""], place),
                found => Ok(found),
            }
        })
        .await
    }

    async fn bulk_with_body(&self, id: &str) -> Result<Option<Bulk>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| first(db, sql!("bulk_with_body"), [&id], bulk))
            .await
    }

    async fn bulk_halted(&self, id: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            match first(db, sql!("bulk_by_id"), [&id], bulk)? {
                Some(bulk) => halted(db, &bulk, now),
                None => Ok(None),
            }
        })
        .await
    }

    async fn fail_bulk(&self, id: &str, reason: &str, at: Timestamp) -> Result<bool, StoreError> {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.write(Kind::RECORD, move |db| fail_bulk(db, &id, &reason, at))
            .await
    }

    async fn step_bulk(
        &self,
        id: &str,
        from: u64,
        rows: Vec<BulkRow>,
        at: Timestamp,
    ) -> Result<BulkStepped, StoreError> {
        let id = id.to_owned();
        self.write(Kind::RECORD, move |db| step_bulk(db, &id, from, rows, at))
            .await
    }
}

fn add_bulk(db: &Connection, bulk: &Bulk) -> Result<bool, StoreError> {
    let open: i64 = one(db, sql!("bulk_open_of_team"), [&bulk.team])?;
    if open >= rows(BULK_OPEN_MAX) {
        return Ok(false);
    }
    let row = params![
        bulk.id,
        bulk.kind.as_str(),
        bulk.team,
        bulk.by,
        bulk.role.as_str(),
        json!(bulk.scope).to_string(),
        int(bulk.total),
        time(bulk.created_at),
        bulk.body,
        bulk.secret
    ];
    execute(db, sql!("bulk_insert"), row)?;
    let kept = params![bulk.team, rows(BULK_KEPT_MAX)];
    execute(db, sql!("bulk_forget"), kept)?;
    Ok(true)
}

fn step_bulk(
    db: &Connection,
    id: &str,
    from: u64,
    rows: Vec<BulkRow>,
    now: Timestamp,
) -> Result<BulkStepped, StoreError> {
    let found = first(db, sql!("bulk_by_id"), [id], bulk)?;
    let mut bulk = found.ok_or_else(|| StoreError::Misuse {
        what: format!("step through upload {id}, which does not exist"),
    })?;
    let mut changed = Vec::new();
    if bulk.done != from || bulk.status.is_finished() {
        let status = bulk.status;
        return Ok(BulkStepped { status, changed });
    }
    if let Some(reason) = halted(db, &bulk, now)? {
        fail_bulk(db, id, &reason, now)?;
        let status = BulkStatus::Failed;
        return Ok(BulkStepped { status, changed });
    }
    for row in rows {
        let outcome = match row {
            Err(reason) => Err(reason),
            Ok(None) => Ok(()),
            Ok(Some(new)) => {
                let outcome = register(db, &new, &bulk.team, &bulk.by, now)?;
                if outcome.is_ok() {
                    changed.push(new.subject);
                }
                outcome
            }
        };
        if let Err(reason) = outcome {
            bulk.errors.push(format!("[{}]: {reason}", bulk.done));
            bulk.failed += 1;
        }
        bulk.done += 1;
    }
    bulk.status = match (bulk.done >= bulk.total, bulk.failed) {
        (false, _) => BulkStatus::InProgress,
        (true, 0) => BulkStatus::Succeeded,
        (true, _) => BulkStatus::Failed,
    };
    let row = params![
        id,
        bulk.status.as_str(),
        int(bulk.done),
        int(bulk.failed),
        bulk.status.is_finished().then(|| time(now)),
        json!(bulk.errors).to_string()
    ];
    execute(db, sql!("bulk_step"), row)?;
    let status = bulk.status;
    Ok(BulkStepped { status, changed })
}

/// Why an upload must not go on, although the service could.
fn halted(db: &Connection, bulk: &Bulk, now: Timestamp) -> Result<Option<String>, StoreError> {
    let key = access::key_by_name(db, &bulk.team, &bulk.by)?;
    let Some(key) = key else { return Ok(None) };
    let how = match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "was revoked",
        (None, Some(end)) if end <= now => "expired",
        (None, _) => return Ok(None),
    };
    Ok(Some(format!(
        "not worked on: the API key `{}` that sent it {how} before its turn came",
        key.name
    )))
}

fn fail_bulk(db: &Connection, id: &str, reason: &str, now: Timestamp) -> Result<bool, StoreError> {
    let left = first(db, sql!("bulk_left"), [id], |row| {
        let errors: String = get(row, 3).unwrap_or_default();
        // A number below zero, or a list that cannot be read, may be what it fails for.
        let number = |column| number(row, column).unwrap_or(0);
        let errors = texts(&errors).unwrap_or_default();
        Ok((number(0), number(1), number(2), errors))
    })?;
    let Some((total, done, failed, mut errors)) = left else {
        return Ok(false);
    };
    let total = total.clamp(1, ROWS_TOLD_MAX);
    let done = done.min(total - 1);
    errors.extend((done..total).map(|row| format!("[{row}]: {reason}")));
    let failed = failed.min(done) + (total - done);
    let row = params![
        id,
        int(total),
        int(failed),
        time(now),
        json!(errors).to_string()
    ];
    execute(db, sql!("bulk_fail"), row)?;
    Ok(true)
}

fn bulk(row: &Row<'_>) -> Result<Bulk, StoreError> {
    let id: String = get(row, 0)?;
    let what = || format!("upload {id}");
    let (kind, role, status): (String, String, String) = (get(row, 1)?, get(row, 4)?, get(row, 6)?);
    Ok(Bulk {
        kind: BulkKind::parse(&kind).ok_or_else(|| damaged(what(), &kind))?,
        team: get(row, 2)?,
        by: get(row, 3)?,
        role: Role::parse(&role).ok_or_else(|| damaged(what(), &role))?,
        scope: texts(&get::<String>(row, 5)?)?,
        status: BulkStatus::parse(&status).ok_or_else(|| damaged(what(), &status))?,
        total: number(row, 7)?,
        done: number(row, 8)?,
        failed: number(row, 9)?,
        created_at: at(row, 10)?,
        finished_at: at_or_none(row, 11)?,
        body: get::<Option<Vec<u8>>>(row, 12)?.unwrap_or_default(),
        errors: texts(&get::<String>(row, 13)?)?,
        secret: get(row, 14)?,
        id,
    })
}
