//! Claims, tombstones, tags, and lists of devices.

use crate::claiming::{Decision, decide, tidy};
use crate::contract::{PAGE_ROWS_MAX, StoreError};
use crate::record::{AuditEvent, ClaimOutcome, Device, DeviceQuery, NewClaim, Page, Tombstone};
use crate::sqlite::audit::{changed, event};
use crate::sqlite::rows::{self, all, first, get, int, sql, time};
use crate::sqlite::{audit, damaged, execute};
use rusqlite::{Connection, params};
use sectag_proto::{DeviceId, Timestamp};
use serde_json::{Value, json};

pub(crate) fn device(db: &Connection, id: DeviceId) -> Result<Option<Device>, StoreError> {
    first(db, sql!("device_by_id"), [id.as_bytes()], rows::device)
}

pub(crate) fn tombstone(db: &Connection, id: DeviceId) -> Result<Option<Tombstone>, StoreError> {
    first(
        db,
        sql!("tombstone_by_device"),
        [id.as_bytes()],
        rows::tombstone,
    )
}

/// Whether this claim makes sense at all.
fn checked(claim: &NewClaim) -> Result<(), StoreError> {
    if claim.candidates.is_empty() {
        return Err(StoreError::Misuse {
            what: format!("claim device {} without a candidate key", claim.device),
        });
    }
    Ok(())
}

fn decision(db: &Connection, claim: NewClaim) -> Result<Decision, StoreError> {
    checked(&claim)?;
    let id = claim.device;
    Ok(decide(claim, device(db, id)?, tombstone(db, id)?))
}

pub(crate) fn would_claim(db: &Connection, claim: NewClaim) -> Result<ClaimOutcome, StoreError> {
    Ok(match decision(db, claim)? {
        Decision::Answer(outcome) => outcome,
        Decision::Create { device, .. } => ClaimOutcome::Created(device),
        Decision::Rekey { device } => ClaimOutcome::Existing(device),
    })
}

pub(crate) fn claim(db: &Connection, claim: NewClaim) -> Result<ClaimOutcome, StoreError> {
    let (by, at) = (claim.by.clone(), claim.claimed_at);
    // Read before the claim changes it: the keys that the owner gives up.
    let known = match device(db, claim.device)? {
        Some(device) => key_ids(&device),
        None => tombstone(db, claim.device)?.map_or_else(Vec::new, |left| {
            left.candidates.iter().map(|c| c.kid.to_string()).collect()
        }),
    };
    let new_key = |device: &Device| {
        let kids = key_ids(device);
        let detail = format!("known under another key; accepted: {}", kids.join(", "));
        let accepted = event(at, &by, "accept-new-key", device.id, detail);
        let (before, after) = (json!({ "keyIds": known }), json!({ "keyIds": kids }));
        audit::insert(db, &changed(accepted, before, after))
    };
    match decision(db, claim)? {
        Decision::Answer(outcome) => Ok(outcome),
        Decision::Create {
            device,
            new_key: accepted,
        } => {
            execute(db, sql!("tombstone_delete"), [device.id.as_bytes()])?;
            put(db, sql!("device_insert"), &device)?;
            put_tags(db, &device)?;
            let claimed = event(at, &by, "claim", device.id, format!("for {}", device.owner));
            audit::insert(db, &changed(claimed, Value::Null, said(&device)))?;
            if accepted {
                new_key(&device)?;
            }
            Ok(ClaimOutcome::Created(device))
        }
        Decision::Rekey { device } => {
            put(db, sql!("device_replace"), &device)?;
            new_key(&device)?;
            Ok(ClaimOutcome::Existing(device))
        }
    }
}

pub(crate) fn unclaim(
    db: &Connection,
    id: DeviceId,
    by: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let Some(device) = device(db, id)? else {
        return Ok(false);
    };
    execute(db, sql!("commands_delete"), [id.as_bytes()])?;
    execute(db, sql!("tags_delete"), [id.as_bytes()])?;
    execute(db, sql!("device_delete"), [id.as_bytes()])?;
    let spki = device.pin.as_ref().map(|pin| &pin.as_spki_der()[..]);
    let candidates = rows::candidate_bytes(&device.candidates);
    execute(
        db,
        sql!("tombstone_insert"),
        params![
            id.as_bytes(),
            int(device.version),
            candidates,
            spki,
            time(at)
        ],
    )?;
    let detail = format!("was claimed for {}", device.owner);
    let unclaimed = event(at, by, "unclaim", id, detail);
    audit::insert(db, &changed(unclaimed, said(&device), Value::Null))?;
    Ok(true)
}

pub(crate) fn set_blocked(
    db: &Connection,
    id: DeviceId,
    blocked: bool,
    by: &str,
    at: Timestamp,
) -> Result<Option<Device>, StoreError> {
    let action = if blocked { "block" } else { "unblock" };
    change(db, id, |device| {
        let before = json!({ "blocked": device.blocked });
        device.blocked = blocked;
        let after = json!({ "blocked": blocked });
        changed(event(at, by, action, id, String::new()), before, after)
    })
}

pub(crate) fn set_tags(
    db: &Connection,
    id: DeviceId,
    tags: Vec<String>,
    by: &str,
    at: Timestamp,
) -> Result<Option<Device>, StoreError> {
    change(db, id, |device| {
        let before = json!({ "tags": device.tags });
        device.tags = tidy(tags);
        let after = json!({ "tags": device.tags });
        let tagged = event(at, by, "tags", id, device.tags.join(", "));
        changed(tagged, before, after)
    })
}

/// A claim, for the audit trail.
fn said(device: &Device) -> Value {
    json!({
        "ownerId": device.owner,
        "tags": device.tags,
        "blocked": device.blocked,
        "keyIds": key_ids(device),
    })
}

fn key_ids(device: &Device) -> Vec<String> {
    let kid = |candidate: &sectag_proto::token::Candidate| candidate.kid.to_string();
    device.candidates.iter().map(kid).collect()
}

fn change(
    db: &Connection,
    id: DeviceId,
    apply: impl FnOnce(&mut Device) -> AuditEvent,
) -> Result<Option<Device>, StoreError> {
    let Some(mut device) = device(db, id)? else {
        return Ok(None);
    };
    device.version += 1;
    let event = apply(&mut device);
    put(db, sql!("device_replace"), &device)?;
    execute(db, sql!("tags_delete"), [id.as_bytes()])?;
    put_tags(db, &device)?;
    audit::insert(db, &event)?;
    Ok(Some(device))
}

/// Inserts or replaces: both statements take the columns in the same order.
fn put(db: &Connection, sql: &str, device: &Device) -> Result<(), StoreError> {
    let tags = serde_json::to_string(&device.tags).map_err(|e| damaged("list of tags", e))?;
    execute(
        db,
        sql,
        params![
            device.id.as_bytes(),
            int(device.version),
            rows::candidate_bytes(&device.candidates),
            device.pin.as_ref().map(|pin| &pin.as_spki_der()[..]),
            device.device_type.0,
            device.firmware.as_bytes(),
            device.owner,
            tags,
            device.blocked,
            time(device.claimed_at),
            device.last_seen_at.map(time),
            device.finished_at.map(time),
            device.next_sequence,
        ],
    )?;
    Ok(())
}

/// Enters the device under each tag, and under the empty one, which lists all.
fn put_tags(db: &Connection, device: &Device) -> Result<(), StoreError> {
    for tag in device.tags.iter().map(String::as_str).chain([""]) {
        let row = params![tag, device.id.as_bytes(), device.blocked];
        execute(db, sql!("tag_insert"), row)?;
    }
    Ok(())
}

pub(crate) fn page(
    db: &Connection,
    query: &DeviceQuery,
) -> Result<Page<Device, DeviceId>, StoreError> {
    let tag = query.tag.as_deref().unwrap_or("");
    let after: &[u8] = query.after.as_ref().map_or(&[], |id| id.as_bytes());
    let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
    // One row more than asked for tells whether there is a next page.
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut items = match query.blocked {
        None => all(
            db,
            sql!("devices_page"),
            params![tag, after, rows],
            rows::device,
        ),
        Some(blocked) => {
            let filter = params![tag, after, rows, blocked];
            all(db, sql!("devices_page_blocked"), filter, rows::device)
        }
    }?;
    let mut total = 0;
    for blocked in [false, true] {
        if query.blocked.is_none_or(|wanted| wanted == blocked) {
            total += count(db, &format!("tag:{}:{tag}", u8::from(blocked)))?;
        }
    }
    let next = cut(&mut items, limit).map(|last| last.id);
    Ok(Page { items, next, total })
}

/// How many rows a list has; see the `counts` table.
pub(crate) fn count(db: &Connection, name: &str) -> Result<u64, StoreError> {
    let n = first(db, sql!("count"), [name], |row| get::<i64>(row, 0))?;
    u64::try_from(n.unwrap_or(0)).map_err(|e| damaged("count", e))
}

/// Cuts to `limit` rows; the last of them when something was cut off.
pub(crate) fn cut<T>(items: &mut Vec<T>, limit: usize) -> Option<&T> {
    if items.len() <= limit {
        return None;
    }
    items.truncate(limit);
    items.last()
}
