//! Rows to records and back. What does not read as it was written is a [`StoreError::Damaged`], never a panic.

use crate::audit::{AuditEntry, AuditHead, Checkpoint};
use crate::contract::StoreError;
use crate::record::{
    Allowed, ApiKey, AuditEvent, AuditRecord, Device, Issued, Role, Team, Tombstone,
};
use crate::seal::SealKey;
use crate::sqlite::read_error;
use rusqlite::types::FromSql;
use rusqlite::{Params, Row};
use sectag_proto::cose::Convention;
use sectag_proto::es256::{Kid, PublicKey};
use sectag_proto::service::{Command, Status};
use sectag_proto::token::{Candidate, DeviceType};
use sectag_proto::{CommandId, DeviceId, FirmwareId, Timestamp};
use std::fmt::Display;

/// A prepared statement of the connection's cache; `sql!("device_by_id")` is the file of that name.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/sql/sqlite/",
            $name,
            ".sql"
        ))
    };
}
pub(crate) use sql;

/// All rows of a query as records.
pub(crate) fn all<T>(
    db: &rusqlite::Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = db.prepare_cached(sql).map_err(read_error)?;
    let mut rows = statement.query(params).map_err(read_error)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(read_error)? {
        items.push(read(row)?);
    }
    Ok(items)
}

/// The first row, if there is one.
pub(crate) fn first<T>(
    db: &rusqlite::Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = db.prepare_cached(sql).map_err(read_error)?;
    let mut rows = statement.query(params).map_err(read_error)?;
    rows.next().map_err(read_error)?.map(read).transpose()
}

/// One column.
pub(crate) fn get<T: FromSql>(row: &Row<'_>, column: usize) -> Result<T, StoreError> {
    row.get(column).map_err(read_error)
}

/// A number as SQLite keeps it; above 2^63 it stays there (the year 292 million).
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// See [`int`].
pub(crate) fn time(at: Timestamp) -> i64 {
    int(at.0)
}

pub(crate) fn number(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    let number: i64 = get(row, column)?;
    u64::try_from(number).map_err(|e| damaged("number", e))
}

pub(crate) fn at(row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    number(row, column).map(Timestamp)
}

pub(crate) fn at_or_none(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    let time: Option<i64> = get(row, column)?;
    let time = time.map(u64::try_from).transpose();
    Ok(time.map_err(|e| damaged("time", e))?.map(Timestamp))
}

pub(crate) fn damaged(what: impl Into<String>, reason: impl Display) -> StoreError {
    StoreError::Damaged {
        what: what.into(),
        reason: reason.to_string(),
    }
}

pub(crate) fn device(row: &Row<'_>) -> Result<Device, StoreError> {
    let id = DeviceId::from_bytes(get(row, 0)?);
    let tags: String = get(row, 7)?;
    Ok(Device {
        id,
        version: number(row, 1)?,
        candidates: candidates(get(row, 2)?)?,
        pin: pin(get(row, 3)?)?,
        device_type: DeviceType(get(row, 4)?),
        firmware: FirmwareId::from_bytes(get(row, 5)?),
        owner: get(row, 6)?,
        tags: serde_json::from_str(&tags).map_err(|e| damaged(format!("device {id}"), e))?,
        blocked: get(row, 8)?,
        claimed_at: at(row, 9)?,
        last_seen_at: at_or_none(row, 10)?,
        finished_at: at_or_none(row, 11)?,
        next_sequence: get(row, 12)?,
        reserved: get(row, 13)?,
    })
}

pub(crate) fn tombstone(row: &Row<'_>) -> Result<Tombstone, StoreError> {
    Ok(Tombstone {
        device: DeviceId::from_bytes(get(row, 0)?),
        version: number(row, 1)?,
        candidates: candidates(get(row, 2)?)?,
        pin: pin(get(row, 3)?)?,
        unclaimed_at: at(row, 4)?,
    })
}

/// Bytes of one stored candidate: its key and its convention.
const CANDIDATE_BYTES: usize = 92;

pub(crate) fn candidate_bytes(candidates: &[Candidate]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(candidates.len() * CANDIDATE_BYTES);
    for candidate in candidates {
        bytes.extend_from_slice(candidate.key.as_spki_der());
        bytes.push(match candidate.convention {
            Convention::BodyIsAad => 0,
            Convention::EmptyAad => 1,
        });
    }
    bytes
}

pub(crate) fn candidates(bytes: Vec<u8>) -> Result<Vec<Candidate>, StoreError> {
    let (whole, rest) = bytes.as_chunks::<CANDIDATE_BYTES>();
    if !rest.is_empty() {
        return Err(damaged("candidate key", "its length is wrong"));
    }
    let read = |[spki @ .., convention]: &[u8; CANDIDATE_BYTES]| {
        let key = PublicKey::from_spki_der(spki).map_err(|e| damaged("candidate key", e))?;
        let convention = match convention {
            0 => Convention::BodyIsAad,
            1 => Convention::EmptyAad,
            other => return Err(damaged("candidate key", format!("convention {other}"))),
        };
        Ok(Candidate {
            kid: key.kid(),
            key,
            convention,
        })
    };
    whole.iter().map(read).collect()
}

pub(crate) fn pin(spki: Option<Vec<u8>>) -> Result<Option<PublicKey>, StoreError> {
    let key = spki.map(|spki| PublicKey::from_spki_der(&spki)).transpose();
    key.map_err(|e| damaged("pinned key", e))
}

/// A command with its secrets when `seal` is given, with their digests otherwise.
pub(crate) fn command(
    row: &Row<'_>,
    device: DeviceId,
    seal: Option<&SealKey>,
) -> Result<Command, StoreError> {
    let id = CommandId::from_bytes(get(row, 0)?);
    let what = || format!("command {id} of device {device}");
    let request: String = get(row, 6)?;
    let response: Option<String> = get(row, 14)?;
    let status: String = get(row, 8)?;
    let on_error: Option<String> = get(row, 15)?;
    let mut command = Command {
        id,
        sequence: get(row, 1)?,
        position: (get(row, 2)?, get(row, 3)?),
        rule_id: get(row, 4)?,
        description: get(row, 5)?,
        request: serde_json::from_str(&request).map_err(|e| damaged(what(), e))?,
        status: status_of(&status).ok_or_else(|| damaged(what(), format!("status {status}")))?,
        created_at: at(row, 9)?,
        updated_at: at_or_none(row, 10)?,
        requested_at: at_or_none(row, 11)?,
        responded_at: at_or_none(row, 12)?,
        covered_at: at_or_none(row, 13)?,
        on_error: on_error
            .map(|policy| serde_json::from_str(&policy))
            .transpose()
            .map_err(|e| damaged(what(), e))?
            .unwrap_or_default(),
        tries: get(row, 16)?,
        parked: get(row, 17)?,
        response: response
            .map(|response| serde_json::from_str(&response))
            .transpose()
            .map_err(|e| damaged(what(), e))?,
    };
    if let Some(seal) = seal
        && let Some(sealed) = get::<Option<Vec<u8>>>(row, 7)?
    {
        let secrets = seal
            .open(device, id, &sealed)
            .map_err(|_| StoreError::Unsealable { what: what() })?;
        command.request.restore_secrets(secrets);
    }
    Ok(command)
}

fn status_of(text: &str) -> Option<Status> {
    use Status::{Failed, InProgress, Pending, Succeeded};
    let mut all = [Pending, InProgress, Succeeded, Failed].into_iter();
    all.find(|status| status.as_str() == text)
}

pub(crate) fn issued(row: &Row<'_>) -> Result<Issued, StoreError> {
    Ok(Issued {
        spki_sha256: get(row, 0)?,
        serial: get(row, 1)?,
        certificate_der: get(row, 2)?,
        command: CommandId::from_bytes(get(row, 3)?),
        device: DeviceId::from_bytes(get(row, 4)?),
        issued_at: at(row, 5)?,
    })
}

pub(crate) fn allowed(row: &Row<'_>) -> Result<Allowed, StoreError> {
    Ok(Allowed {
        team: get(row, 0)?,
        device: DeviceId::from_bytes(get(row, 1)?),
        kid: Kid::from_bytes(get(row, 2)?),
        added_at: at(row, 3)?,
    })
}

pub(crate) fn api_key(row: &Row<'_>) -> Result<ApiKey, StoreError> {
    let name: String = get(row, 1)?;
    let role: String = get(row, 3)?;
    let tags: String = get(row, 4)?;
    let what = || format!("API key `{name}`");
    Ok(ApiKey {
        team: get(row, 0)?,
        hash: get(row, 2)?,
        role: Role::parse(&role).ok_or_else(|| damaged(what(), format!("role `{role}`")))?,
        tags: serde_json::from_str(&tags).map_err(|e| damaged(what(), e))?,
        created_at: at(row, 5)?,
        expires_at: at_or_none(row, 6)?,
        revoked_at: at_or_none(row, 7)?,
        name,
    })
}

pub(crate) fn team(row: &Row<'_>) -> Result<Team, StoreError> {
    Ok(Team {
        id: get(row, 0)?,
        name: get(row, 1)?,
        topic_prefix: get(row, 2)?,
        created_at: at(row, 3)?,
    })
}

pub(crate) fn audit(row: &Row<'_>) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        number: number(row, 0)?,
        event: AuditEvent {
            at: at(row, 1)?,
            by: get(row, 2)?,
            action: get(row, 3)?,
            team: get(row, 9)?,
            device: get::<Option<[u8; 16]>>(row, 4)?.map(DeviceId::from_bytes),
            command: get::<Option<[u8; 16]>>(row, 5)?.map(CommandId::from_bytes),
            detail: get(row, 6)?,
            before: json(get(row, 7)?),
            after: json(get(row, 8)?),
        },
    })
}

/// What is no JSON any more is shown as the text it is: it is the evidence.
pub(crate) fn json(text: Option<String>) -> Option<serde_json::Value> {
    text.map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
}

pub(crate) fn audit_entry(row: &Row<'_>) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        number: number(row, 0)?,
        at: number(row, 1)?,
        by: get(row, 2)?,
        action: get(row, 3)?,
        device: get::<Option<[u8; 16]>>(row, 4)?.map(DeviceId::from_bytes),
        command: get::<Option<[u8; 16]>>(row, 5)?.map(CommandId::from_bytes),
        detail: get(row, 6)?,
        before: get(row, 7)?,
        after: get(row, 8)?,
        hash: get(row, 9)?,
        team: get(row, 10)?,
    })
}

pub(crate) fn audit_head(row: &Row<'_>) -> Result<AuditHead, StoreError> {
    Ok(AuditHead {
        number: number(row, 0)?,
        hash: get(row, 1)?,
    })
}

pub(crate) fn checkpoint(row: &Row<'_>) -> Result<Checkpoint, StoreError> {
    Ok(Checkpoint {
        number: number(row, 0)?,
        hash: get(row, 1)?,
        at: number(row, 2)?,
        signature: get(row, 3)?,
    })
}
