//! Who may come in: the allow-list of devices, and the API keys of owners.

use crate::contract::{AddKeyError, PAGE_ROWS_MAX, StoreError};
use crate::record::{Allowed, ApiKey, Page};
use crate::sqlite::audit::{changed, event};
use crate::sqlite::devices::{count, cut};
use crate::sqlite::rows::{self, all, first, sql, time};
use crate::sqlite::{audit, execute, read_error};
use rusqlite::{Connection, params};
use sectag_proto::es256::Kid;
use sectag_proto::{DeviceId, Timestamp};
use serde_json::{Value, json};

pub(crate) fn allow(
    db: &Connection,
    device: DeviceId,
    kid: Kid,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let before = allowed(db, device)?.map(|kid| json!({ "keyId": kid.to_string() }));
    let row = params![device.as_bytes(), kid.as_bytes(), time(at)];
    execute(db, sql!("allowed_put"), row)?;
    let after = json!({ "keyId": kid.to_string() });
    let allow = event(at, by, "allow", Some(device), kid.to_string());
    audit::insert(db, &changed(allow, before.unwrap_or_default(), after))
}

pub(crate) fn disallow(
    db: &Connection,
    device: DeviceId,
    by: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let before = allowed(db, device)?.map(|kid| json!({ "keyId": kid.to_string() }));
    if execute(db, sql!("allowed_delete"), [device.as_bytes()])? == 0 {
        return Ok(false);
    }
    let disallow = event(at, by, "disallow", Some(device), String::new());
    audit::insert(
        db,
        &changed(disallow, before.unwrap_or_default(), Value::Null),
    )?;
    Ok(true)
}

pub(crate) fn allowed(db: &Connection, device: DeviceId) -> Result<Option<Kid>, StoreError> {
    let found = first(
        db,
        sql!("allowed_by_device"),
        [device.as_bytes()],
        rows::allowed,
    )?;
    Ok(found.map(|allowed| allowed.kid))
}

pub(crate) fn allow_list(
    db: &Connection,
    after: Option<DeviceId>,
    limit: usize,
) -> Result<Page<Allowed, DeviceId>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let after: &[u8] = after.as_ref().map_or(&[], |id| id.as_bytes());
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut items = all(
        db,
        sql!("allowed_page"),
        params![after, rows],
        rows::allowed,
    )?;
    let next = cut(&mut items, limit).map(|last| last.device);
    let total = count(db, "allowed")?;
    Ok(Page { items, next, total })
}

pub(crate) fn add_key(db: &Connection, key: &ApiKey, by: &str) -> Result<(), AddKeyError> {
    if first(db, sql!("key_taken"), [&key.name], |_| Ok(()))?.is_some() {
        return Err(AddKeyError::NameTaken {
            name: key.name.clone(),
        });
    }
    let row = params![
        key.name,
        &key.hash[..],
        key.role.as_str(),
        time(key.created_at),
        key.revoked_at.map(time)
    ];
    execute(db, sql!("key_insert"), row)?;
    let detail = format!("{} as {}", key.name, key.role.as_str());
    let added = event(key.created_at, by, "key-add", None, detail);
    let after = json!({ "name": key.name, "role": key.role.as_str(), "revoked": false });
    Ok(audit::insert(db, &changed(added, Value::Null, after))?)
}

pub(crate) fn key_by_hash(db: &Connection, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
    first(db, sql!("key_by_hash"), [&hash[..]], rows::api_key)
}

pub(crate) fn keys(db: &Connection) -> Result<Vec<ApiKey>, StoreError> {
    all(db, sql!("keys_all"), [], rows::api_key)
}

pub(crate) fn revoke_key(
    db: &Connection,
    name: &str,
    by: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    if execute(db, sql!("key_revoke"), params![name, time(at)])? == 0 {
        return Ok(false);
    }
    let revoked = event(at, by, "key-revoke", None, name.to_owned());
    let state = |revoked: bool| json!({ "name": name, "revoked": revoked });
    audit::insert(db, &changed(revoked, state(false), state(true)))?;
    Ok(true)
}
