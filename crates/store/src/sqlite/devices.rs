//! Claims, tombstones, tags, and lists of devices.

use crate::claiming::{Decision, decide, tidy};
use crate::contract::{CommitError, PAGE_ROWS_MAX, StoreError};
use crate::record::{
    AuditEvent, ClaimOutcome, Device, DevicePage, DevicePatch, DeviceQuery, NewClaim, Page,
    Tombstone,
};
use crate::sqlite::rows::{self, all, first, get, int, sql, time};
use crate::sqlite::{audit, damaged, execute, foreign, teams};
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
    let decision = decide(claim, device(db, id)?, tombstone(db, id)?);
    match decision {
        // Nobody could see it, nor give it back.
        Decision::Create { device, .. } if teams::is_gone(db, &device.owner)? => {
            Ok(Decision::Answer(ClaimOutcome::OwnedByOther(device)))
        }
        decision => Ok(decision),
    }
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
        let (before, after) = (json!({ "keyIds": known }), json!({ "keyIds": kids }));
        let accepted = about(device, at, &by, "accept-new-key").detail(detail);
        audit::insert(db, &accepted.changed(before, after))
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
            foreign::give_way(db, device.id, &device.owner, at)?;
            let claimed = about(&device, at, &by, "claim");
            audit::insert(db, &claimed.changed(Value::Null, said(&device)))?;
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

/// The device, if it is still at this version.
fn unchanged(db: &Connection, id: DeviceId, version: u64) -> Result<Device, CommitError> {
    let device = device(db, id)?.ok_or(CommitError::Gone)?;
    if device.version == version {
        Ok(device)
    } else {
        Err(CommitError::Conflict {
            current: device.version,
        })
    }
}

pub(crate) fn unclaim(
    db: &Connection,
    id: DeviceId,
    version: u64,
    by: &str,
    at: Timestamp,
) -> Result<(), CommitError> {
    let device = unchanged(db, id, version)?;
    execute(db, sql!("commands_delete"), [id.as_bytes()])?;
    execute(db, sql!("tags_delete"), [id.as_bytes()])?;
    execute(db, sql!("rules_applied_delete"), [id.as_bytes()])?;
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
    let unclaimed = about(&device, at, by, "unclaim").changed(said(&device), Value::Null);
    Ok(audit::insert(db, &unclaimed)?)
}

pub(crate) fn change(
    db: &Connection,
    id: DeviceId,
    version: u64,
    patch: DevicePatch,
    by: &str,
    at: Timestamp,
) -> Result<Device, CommitError> {
    let mut device = unchanged(db, id, version)?;
    device.version += 1;
    let mut events = Vec::new();
    if let Some(tags) = patch.tags {
        let before = json!({ "tags": device.tags });
        device.tags = tidy(tags);
        let after = json!({ "tags": device.tags });
        let tagged = about(&device, at, by, "tags").detail(device.tags.join(", "));
        events.push(tagged.changed(before, after));
    }
    if let Some(blocked) = patch.blocked {
        let action = if blocked { "block" } else { "unblock" };
        let before = json!({ "blocked": device.blocked });
        device.blocked = blocked;
        let after = json!({ "blocked": blocked });
        events.push(about(&device, at, by, action).changed(before, after));
    }
    put(db, sql!("device_replace"), &device)?;
    execute(db, sql!("tags_delete"), [id.as_bytes()])?;
    put_tags(db, &device)?;
    for event in &events {
        audit::insert(db, event)?;
    }
    Ok(device)
}

fn about(device: &Device, at: Timestamp, by: &str, action: &str) -> AuditEvent {
    AuditEvent::new(at, by, action)
        .team(&device.owner)
        .device(device.id)
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
            device.reserved,
        ],
    )?;
    Ok(())
}

/// Enters the device under each tag, and under the empty one, which lists all.
fn put_tags(db: &Connection, device: &Device) -> Result<(), StoreError> {
    for tag in device.tags.iter().map(String::as_str).chain([ALL]) {
        let id = device.id.as_bytes();
        let row = params![device.owner, tag, device.reserved, device.blocked, id];
        execute(db, sql!("tag_insert"), row)?;
    }
    Ok(())
}

/// The tag that every device is entered under.
const ALL: &str = "";

/// Ids that one page looks at. A tag beside the tags of a view is looked for device by device, and where few devices have
/// both, a page ends here with what it found: its cost does not grow with the fleet.
const LOOK_MAX: usize = 1000;
/// Of these, so many at a time.
const LOOK_AT: usize = 100;

/// A merge of streams, each one stretch of the primary key of `device_tags`.
pub(crate) fn page(db: &Connection, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
    let (view, limit) = (&query.view, query.limit.clamp(1, PAGE_ROWS_MAX));
    let (mut tags, mut wanted) = (vec![ALL], None);
    if !view.tags.is_empty() {
        tags = view.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
    }
    if let Some(tag) = query.tag.as_deref().filter(|tag| !tag.is_empty()) {
        if view.tags.is_empty() || tags.contains(&tag) {
            tags = vec![tag];
        } else {
            wanted = Some(tag);
        }
    }
    let streams = Streams {
        team: &view.team,
        tags: &tags,
        tiers: if view.reserved { &[0, 1] } else { &[0] },
        blocked: match query.blocked {
            None => &[0, 1],
            Some(false) => &[0],
            Some(true) => &[1],
        },
    };
    let (low, high) = match &query.prefix {
        None => (Vec::new(), vec![0xff; 16]),
        Some(prefix) => {
            let (low, high) = prefix.range();
            (low.as_bytes().to_vec(), high.as_bytes().to_vec())
        }
    };
    // What is longer sorts behind: the first id after this one.
    let behind = |id: &DeviceId| [&id.as_bytes()[..], &[0]].concat();
    let mut from = query.after.as_ref().map_or(Vec::new(), behind).max(low);
    let total = match (tags.as_slice(), wanted, query.prefix) {
        ([tag], None, None) => Some(counted(
            db,
            &view.team,
            tag,
            streams.tiers,
            streams.blocked,
        )?),
        _ => None,
    };
    let mut items = Vec::new();
    let mut looked = 0;
    loop {
        // One id more than asked for tells whether there is a next page.
        let some = if wanted.is_some() { LOOK_AT } else { limit + 1 };
        let ids = streams.next(db, &from, &high, some)?;
        let Some(last) = ids.last() else {
            return Ok(Page {
                items,
                next: None,
                total,
            });
        };
        from = behind(last);
        for id in ids {
            looked += 1;
            let found = device(db, id)?.ok_or_else(|| damaged("list of devices", id))?;
            if wanted.is_some_and(|tag| found.tags.iter().all(|has| has != tag)) {
                continue;
            }
            items.push(found);
        }
        let next = cut(&mut items, limit).map(|last| last.id);
        if next.is_some() || wanted.is_none() {
            return Ok(Page { items, next, total });
        }
        if looked >= LOOK_MAX {
            let mut id = [0; 16];
            id.copy_from_slice(&from[..16]);
            let next = Some(DeviceId::from_bytes(id));
            return Ok(Page { items, next, total });
        }
    }
}

struct Streams<'a> {
    team: &'a str,
    tags: &'a [&'a str],
    tiers: &'a [u8],
    blocked: &'a [u8],
}

impl Streams<'_> {
    /// The first `n` ids of all streams, in order, each once.
    fn next(
        &self,
        db: &Connection,
        low: &[u8],
        high: &[u8],
        n: usize,
    ) -> Result<Vec<DeviceId>, StoreError> {
        let rows = i64::try_from(n).unwrap_or(i64::MAX);
        let id = |row: &rusqlite::Row<'_>| get(row, 0).map(DeviceId::from_bytes);
        let mut ids = Vec::new();
        for tag in self.tags {
            for tier in self.tiers {
                for blocked in self.blocked {
                    let stretch = params![self.team, tag, tier, blocked, low, high, rows];
                    ids.extend(all(db, sql!("devices_stream"), stretch, id)?);
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(n);
        Ok(ids)
    }
}

/// How many devices a team has under a tag.
pub(crate) fn counted(
    db: &Connection,
    team: &str,
    tag: &str,
    tiers: &[u8],
    blocked: &[u8],
) -> Result<u64, StoreError> {
    let mut total = 0;
    for tier in tiers {
        for blocked in blocked {
            total += count(db, &format!("tag:{team}:{tier}:{blocked}:{tag}"))?;
        }
    }
    Ok(total)
}

/// How many rows a list has; see the `counts` table.
pub(crate) fn count(db: &Connection, name: &str) -> Result<u64, StoreError> {
    let n = first(db, sql!("count"), [name], |row| get::<i64>(row, 0))?;
    u64::try_from(n.unwrap_or(0)).map_err(|e| damaged("count", e))
}

/// Rows of a page, and what to ask for: one more, which tells whether there is a next page.
pub(crate) fn limits(limit: usize) -> (usize, i64) {
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    (limit, i64::try_from(limit + 1).unwrap_or(i64::MAX))
}

/// Cuts to `limit` rows; the last of them when something was cut off.
pub(crate) fn cut<T>(items: &mut Vec<T>, limit: usize) -> Option<&T> {
    if items.len() <= limit {
        return None;
    }
    items.truncate(limit);
    items.last()
}
