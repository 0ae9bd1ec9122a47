//! Who may come in: the allow-lists of devices, and the API keys of owners.

use crate::contract::StoreError;
use crate::contract::teams::{AddKeyError, RevokeKeyError};
use crate::record::{Allowed, ApiKey, AuditEvent, Page, Role};
use crate::sqlite::devices::{count, cut, limits};
use crate::sqlite::rows::{self, all, damaged, first, sql, time};
use crate::sqlite::{audit, execute, read_error, teams};
use rusqlite::{Connection, params};
use sectag_proto::es256::Kid;
use sectag_proto::{DeviceId, Timestamp};
use serde_json::{Value, json};

pub(crate) fn allow(
    db: &Connection,
    team: &str,
    device: DeviceId,
    kid: Kid,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let before = allowed(db, team, device)?.map(said_kid);
    let row = params![team, device.as_bytes(), kid.as_bytes(), time(at)];
    execute(db, sql!("allowed_put"), row)?;
    let allow = AuditEvent::new(at, by, "allow")
        .team(team)
        .device(device)
        .detail(kid.to_string())
        .changed(before.unwrap_or_default(), said_kid(kid));
    audit::insert(db, &allow)
}

pub(crate) fn disallow(
    db: &Connection,
    team: &str,
    device: DeviceId,
    by: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let before = allowed(db, team, device)?.map(said_kid);
    let row = params![team, device.as_bytes()];
    if execute(db, sql!("allowed_delete"), row)? == 0 {
        return Ok(false);
    }
    let disallow = AuditEvent::new(at, by, "disallow")
        .team(team)
        .device(device)
        .changed(before.unwrap_or_default(), Value::Null);
    audit::insert(db, &disallow)?;
    Ok(true)
}

fn said_kid(kid: Kid) -> Value {
    json!({ "keyId": kid.to_string() })
}

pub(crate) fn allowed(
    db: &Connection,
    team: &str,
    device: DeviceId,
) -> Result<Option<Kid>, StoreError> {
    let row = params![team, device.as_bytes()];
    let found = first(db, sql!("allowed_by_device"), row, rows::allowed)?;
    Ok(found.map(|allowed| allowed.kid))
}

pub(crate) fn allow_list(
    db: &Connection,
    team: &str,
    after: Option<DeviceId>,
    limit: usize,
) -> Result<Page<Allowed, DeviceId>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let after: &[u8] = after.as_ref().map_or(&[], |id| id.as_bytes());
    let (limit, rows) = limits(limit);
    let range = params![team, after, rows];
    let mut items = all(db, sql!("allowed_page"), range, rows::allowed)?;
    let next = cut(&mut items, limit).map(|last| last.device);
    let total = count(db, &format!("allowed:{team}"))?;
    Ok(Page { items, next, total })
}

pub(crate) fn add_key(db: &Connection, key: &ApiKey, by: &str) -> Result<(), AddKeyError> {
    if teams::team(db, &key.team)?.is_none() {
        return Err(AddKeyError::NoTeam);
    }
    if key_by_name(db, &key.team, &key.name)?.is_some() {
        return Err(AddKeyError::NameTaken {
            name: key.name.clone(),
        });
    }
    let tags = serde_json::to_string(&key.tags).map_err(|e| damaged("list of tags", e))?;
    let row = params![
        key.team,
        key.name,
        &key.hash[..],
        key.role.as_str(),
        tags,
        time(key.created_at),
        key.expires_at.map(time),
        key.revoked_at.map(time)
    ];
    execute(db, sql!("key_insert"), row)?;
    let added = AuditEvent::new(key.created_at, by, "key-add")
        .team(&key.team)
        .detail(format!("{} as {}", key.name, key.role.as_str()))
        .changed(Value::Null, said(key, false));
    Ok(audit::insert(db, &added)?)
}

/// A key, for the audit trail.
fn said(key: &ApiKey, revoked: bool) -> Value {
    json!({
        "name": key.name,
        "role": key.role.as_str(),
        "tags": key.tags,
        "expiresAtMs": key.expires_at.map(|at| at.0),
        "revoked": revoked,
    })
}

pub(crate) fn key_by_hash(db: &Connection, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
    first(db, sql!("key_by_hash"), [&hash[..]], rows::api_key)
}

pub(crate) fn key_by_name(
    db: &Connection,
    team: &str,
    name: &str,
) -> Result<Option<ApiKey>, StoreError> {
    first(db, sql!("key_by_name"), [team, name], rows::api_key)
}

pub(crate) fn keys(
    db: &Connection,
    team: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<ApiKey, String>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let (limit, rows) = limits(limit);
    let range = params![team, after.unwrap_or(""), rows];
    let mut items = all(db, sql!("keys_page"), range, rows::api_key)?;
    let next = cut(&mut items, limit).map(|last| last.name.clone());
    let total = count(db, &format!("keys:{team}"))?;
    Ok(Page { items, next, total })
}

pub(crate) fn revoke_key(
    db: &Connection,
    team: &str,
    name: &str,
    by: &str,
    at: Timestamp,
) -> Result<bool, RevokeKeyError> {
    let found = key_by_name(db, team, name)?.filter(|key| key.revoked_at.is_none());
    let Some(key) = found else {
        return Ok(false);
    };
    let live = key.expires_at.is_none_or(|end| end > at);
    if key.role == Role::Owner && live {
        let another = params![team, name, time(at)];
        if first(db, sql!("key_other_owner"), another, |_| Ok(()))?.is_none() {
            return Err(RevokeKeyError::LastOwner);
        }
    }
    execute(db, sql!("key_revoke"), params![team, name, time(at)])?;
    let revoked = AuditEvent::new(at, by, "key-revoke")
        .team(team)
        .detail(name)
        .changed(said(&key, false), said(&key, true));
    audit::insert(db, &revoked)?;
    Ok(true)
}
