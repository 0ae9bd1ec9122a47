//! One certificate of a device taken back, and what ends with it in the same transaction.
//!
//! The renewal of it is over. What that had asked for is not handed out, what the device still answers brings no certificate
//! (the run keeps its command, and the service asks), and a new certificate that the device has not stored is taken back as
//! well. One that it has stored is a certificate of its own.

use crate::contract::StoreError;
use crate::record::AuditEvent;
use crate::sqlite::foreign::one;
use crate::sqlite::rows::{all, get, sql, time};
use crate::sqlite::{audit, execute};
use rusqlite::{Connection, params};
use sectag_proto::{DeviceId, Timestamp};
use serde_json::json;

/// A renewal from or to the certificate, as far as the device may not know of it.
struct Run {
    rule_id: String,
    command: Option<[u8; 16]>,
    /// Serial number of the new certificate.
    unstored: Option<String>,
}

pub(crate) fn certificate(
    db: &Connection,
    device: DeviceId,
    team: &str,
    serial: &str,
    by: &str,
    at: Timestamp,
) -> Result<Option<bool>, StoreError> {
    let key = device.as_bytes();
    let count =
        |serial: &str| one::<i64>(db, sql!("revoked_of_serial"), params![key, team, serial]);
    let before = count(serial)?;
    let issued: i64 = one(db, sql!("lives_of_serial"), params![key, team, serial])?;
    let runs = all(
        db,
        sql!("renewals_with_serial"),
        params![key, serial],
        |row| {
            Ok(Run {
                rule_id: get(row, 0)?,
                command: get(row, 1)?,
                unstored: get(row, 2)?,
            })
        },
    )?;
    execute(
        db,
        sql!("renewals_abandon_serial"),
        params![key, serial, time(at)],
    )?;
    let mut commands = 0;
    for run in &runs {
        let pending = params![key, run.command, run.rule_id];
        let pending: Vec<[u8; 16]> =
            all(db, sql!("commands_pending_of_renewal"), pending, |row| {
                get(row, 0)
            })?;
        for id in &pending {
            execute(db, sql!("command_delete"), params![key, id])?;
        }
        commands += pending.len();
    }
    let unstored = runs.iter().filter_map(|run| run.unstored.as_deref());
    let unstored: Vec<&str> = unstored.filter(|other| *other != serial).collect();
    for issued in unstored.iter().copied().chain([serial]) {
        let of_device = params![key, issued, time(at)];
        execute(db, sql!("lives_revoke_serial"), of_device)?;
        // A life that ended before is not touched by that, and its certificate may be valid by its dates.
        let of_claim = params![key, team, issued, time(at)];
        execute(db, sql!("revoked_of_life"), of_claim)?;
    }
    let of_claim = params![key, team, serial, time(at)];
    let pinned = execute(db, sql!("registered_revoke_serial"), of_claim)?;
    execute(
        db,
        sql!("registered_unpin_serial"),
        params![key, team, serial],
    )?;
    if issued == 0 && pinned == 0 && before == 0 {
        return Ok(None);
    }
    if count(serial)? == before {
        return Ok(Some(false));
    }
    execute(db, sql!("device_touch"), [key])?;
    let mut detail = format!("certificate {serial}");
    if !runs.is_empty() {
        detail += &format!("; its renewal ends, {commands} commands of it are removed");
    }
    for other in &unstored {
        detail += &format!("; certificate {other}, which the device has not stored, as well");
    }
    let revoked = AuditEvent::new(at, by, "certificate-revoked")
        .team(team)
        .device(device)
        .detail(detail)
        .changed(
            json!({ "serial": serial, "revoked": false }),
            json!({ "serial": serial, "revoked": true }),
        );
    audit::insert(db, &revoked)?;
    Ok(Some(true))
}
