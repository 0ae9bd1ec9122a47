//! What the broker must know beside chains, and uploads that are worked off in the background.

use crate::contract::StoreError;
use crate::contract::foreign::{
    BULK_KEPT_MAX, BULK_OPEN_MAX, Bulk, BulkKind, BulkRow, BulkStatus, BulkStepped, Foreign,
    NewRegistration, Pin, REGISTERED_CERTIFICATES_MAX, REGISTERED_MAX, Registered,
    RegisteredCertificate, Revoked, Subject, SubjectTrust,
};
use crate::record::{AuditEvent, Role};
use crate::sqlite::devices::count;
use crate::sqlite::rows::{all, at, at_or_none, damaged, first, get, int, number, sql, time};
use crate::sqlite::writer::Kind;
use crate::sqlite::{SqliteStore, audit, execute, read_error, teams};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sectag_proto::{DeviceId, Timestamp};
use serde_json::{Value, json};

/// The same words for every id that is not free for this team: nobody learns from them who has it.
const ID_REFUSED: &str = "this id cannot be registered here: a device UUID must be claimed with this key's team first, \
                          and any other id must be free";
const CERTIFICATE_REFUSED: &str = "this certificate, or its key, belongs to another device";

#[async_trait]
impl Foreign for SqliteStore {
    async fn trust_of(&self, subject: Subject) -> Result<SubjectTrust, StoreError> {
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            trust_of(db, &subject)
        })
        .await
    }

    async fn blocked_devices(
        &self,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>, StoreError> {
        self.read(move |db| {
            let after: &[u8] = after.as_ref().map_or(&[], |id| id.as_bytes());
            all(
                db,
                sql!("devices_blocked"),
                params![after, rows(limit)],
                |row| Ok(DeviceId::from_bytes(get(row, 0)?)),
            )
        })
        .await
    }

    async fn revoked(
        &self,
        after: u64,
        valid: Timestamp,
        limit: usize,
    ) -> Result<Vec<Revoked>, StoreError> {
        self.read(move |db| {
            let page = params![int(after), time(valid), rows(limit)];
            all(db, sql!("revoked_page"), page, revoked)
        })
        .await
    }

    async fn revoked_of_team(&self, team: &str) -> Result<Vec<Revoked>, StoreError> {
        let team = team.to_owned();
        self.read(move |db| all(db, sql!("revoked_of_team"), [&team], revoked))
            .await
    }

    async fn pins(
        &self,
        after: Option<[u8; 32]>,
        valid: Timestamp,
        limit: usize,
    ) -> Result<Vec<Pin>, StoreError> {
        self.read(move |db| {
            let after: &[u8] = after.as_ref().map_or(&[], |digest| &digest[..]);
            let page = params![after, time(valid), rows(limit)];
            all(db, sql!("registered_pins"), page, pin)
        })
        .await
    }

    async fn revoke_certificate(
        &self,
        device: DeviceId,
        team: &str,
        serial: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<bool>, StoreError> {
        let (team, serial, by) = (team.to_owned(), serial.to_owned(), by.to_owned());
        self.write(Kind::RECORD, move |db| {
            revoke_certificate(db, device, &team, &serial, &by, at)
        })
        .await
    }

    async fn registered(
        &self,
        subject: Subject,
        team: &str,
    ) -> Result<Option<Registered>, StoreError> {
        let team = team.to_owned();
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            registered(db, &subject, &team)
        })
        .await
    }

    async fn name_registered(
        &self,
        subject: Subject,
        team: &str,
        name: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (team, name, by) = (team.to_owned(), name.to_owned(), by.to_owned());
        self.write(Kind::RECORD, move |db| {
            let Some(before) = registered(db, &subject, &team)? else {
                return Ok(false);
            };
            execute(db, sql!("registered_name"), params![subject.key(), name])?;
            let named = AuditEvent::new(at, &by, "device-named")
                .team(&team)
                .device(subject.device())
                .detail(subject.to_string())
                .changed(json!({ "name": before.name }), json!({ "name": name }));
            audit::insert(db, &named)?;
            Ok(true)
        })
        .await
    }

    async fn unregister(
        &self,
        subject: Subject,
        team: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (team, by) = (team.to_owned(), by.to_owned());
        self.write(Kind::RECORD, move |db| {
            let Some(known) = registered(db, &subject, &team)? else {
                return Ok(false);
            };
            let key = subject.key();
            execute(db, sql!("registered_revoke"), params![key, time(at)])?;
            execute(db, sql!("registered_unpin"), [&key])?;
            execute(db, sql!("registered_delete"), [&key])?;
            let serials: Vec<&String> = known.certificates.iter().map(|c| &c.serial).collect();
            let gone = AuditEvent::new(at, &by, "certificate-revoked")
                .team(&team)
                .device(subject.device())
                .detail(format!("registered device {subject} removed"))
                .changed(json!({ "id": known.id, "serials": serials }), Value::Null);
            audit::insert(db, &gone)?;
            Ok(true)
        })
        .await
    }

    async fn add_bulk(&self, bulk: Bulk) -> Result<bool, StoreError> {
        self.write(Kind::RECORD, move |db| add_bulk(db, &bulk))
            .await
    }

    async fn bulk(&self, id: &str) -> Result<Option<Bulk>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| first(db, sql!("bulk_by_id"), [&id], bulk))
            .await
    }

    async fn open_bulk(&self) -> Result<Option<Bulk>, StoreError> {
        self.read(|db| first(db, sql!("bulk_open"), [], bulk)).await
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

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn trust_of(db: &Connection, subject: &Subject) -> Result<SubjectTrust, StoreError> {
    let key = subject.key();
    let blocked = match subject.device() {
        Some(device) => first(db, sql!("device_blocked"), [device.as_bytes()], |row| {
            get::<bool>(row, 0)
        })?
        .unwrap_or(false),
        None => false,
    };
    Ok(SubjectTrust {
        blocked,
        revoked: all(db, sql!("revoked_by_subject"), [&key], |row| get(row, 0))?,
        pins: all(db, sql!("registered_pins_of"), [&key], pin)?,
    })
}

fn revoke_certificate(
    db: &Connection,
    device: DeviceId,
    team: &str,
    serial: &str,
    by: &str,
    at: Timestamp,
) -> Result<Option<bool>, StoreError> {
    let key = device.as_bytes();
    let before: i64 = one(db, sql!("revoked_of_serial"), params![key, serial])?;
    let of_claim = params![key, team, serial, time(at)];
    let issued: i64 = one(db, sql!("lives_of_serial"), params![key, team, serial])?;
    let of_device = params![key, serial, time(at)];
    // Neither is it renewed, nor does another one wait for a connection with it.
    execute(db, sql!("renewals_abandon_serial"), of_device)?;
    execute(db, sql!("lives_revoke_serial"), of_device)?;
    // A life that ended before is not touched by that, and its certificate may be valid by its dates.
    execute(db, sql!("revoked_of_life"), of_claim)?;
    let pinned = execute(db, sql!("registered_revoke_serial"), of_claim)?;
    execute(
        db,
        sql!("registered_unpin_serial"),
        params![key, team, serial],
    )?;
    let after: i64 = one(db, sql!("revoked_of_serial"), params![key, serial])?;
    if issued == 0 && pinned == 0 && before == 0 {
        return Ok(None);
    }
    if after == before {
        return Ok(Some(false));
    }
    let revoked = AuditEvent::new(at, by, "certificate-revoked")
        .team(team)
        .device(device)
        .detail(format!("certificate {serial}"))
        .changed(
            json!({ "serial": serial, "revoked": false }),
            json!({ "serial": serial, "revoked": true }),
        );
    audit::insert(db, &revoked)?;
    Ok(Some(true))
}

fn one<T: rusqlite::types::FromSql>(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<T, StoreError> {
    first(db, sql, params, |row| get(row, 0))?.ok_or_else(|| damaged("count", "no row"))
}

fn registered(
    db: &Connection,
    subject: &Subject,
    team: &str,
) -> Result<Option<Registered>, StoreError> {
    let key = subject.key();
    let found = first(db, sql!("registered_by_subject"), [&key], |row| {
        Ok(Registered {
            id: get(row, 0)?,
            team: get(row, 1)?,
            name: get(row, 2)?,
            sub_type: get(row, 3)?,
            tags: texts(&get::<String>(row, 4)?)?,
            firmware_types: texts(&get::<String>(row, 5)?)?,
            registered_at: at(row, 6)?,
            certificates: Vec::new(),
        })
    })?;
    let Some(mut found) = found.filter(|found| found.team == team) else {
        return Ok(None);
    };
    found.certificates = all(db, sql!("registered_certificates"), [&key], |row| {
        Ok(RegisteredCertificate {
            serial: get(row, 0)?,
            issuer: get(row, 1)?,
            der: get(row, 2)?,
            registered_at: at(row, 3)?,
            ends_at: at(row, 4)?,
        })
    })?;
    Ok(Some(found))
}

/// The team that registered a device.
fn holder(db: &Connection, subject: &Subject) -> Result<Option<String>, StoreError> {
    first(db, sql!("registered_by_subject"), [subject.key()], |row| {
        get(row, 1)
    })
}

fn has_no_prefix(db: &Connection, team: &str) -> Result<bool, StoreError> {
    let found = teams::team(db, team)?;
    Ok(found.is_none_or(|team| team.topic_prefix.is_none()))
}

/// Whether a registered device has this id, and topics that no prefix stands before.
pub(crate) fn is_a_top_level(db: &Connection, id: &str) -> Result<bool, StoreError> {
    match holder(db, &Subject::Named(id.to_owned()))? {
        Some(team) => has_no_prefix(db, &team),
        None => Ok(false),
    }
}

/// Registers one row, or says why not. A row that was registered before changes what it says beside the certificate.
fn register(
    db: &Connection,
    new: &NewRegistration,
    team: &str,
    by: &str,
    now: Timestamp,
) -> Result<Result<(), String>, StoreError> {
    let refuse = |reason: &str| Ok(Err(reason.to_owned()));
    let key = new.subject.key();
    if let Some(device) = new.subject.device() {
        let owner = first(db, sql!("device_owner"), [device.as_bytes()], |row| {
            get::<String>(row, 0)
        })?;
        if owner.as_deref() != Some(team) {
            return refuse(ID_REFUSED);
        }
    }
    if teams::is_gone(db, team)? {
        return refuse(ID_REFUSED);
    }
    if let Subject::Named(id) = &new.subject
        && teams::has_prefix(db, id)?
        && has_no_prefix(db, team)?
    {
        return refuse(ID_REFUSED);
    }
    let holder = holder(db, &new.subject)?;
    if holder.as_ref().is_some_and(|holder| holder != team) {
        return refuse(ID_REFUSED);
    }
    let marks = params![&new.der_sha256[..], &new.spki_sha256[..]];
    if one::<i64>(db, sql!("revoked_marks"), marks)? > 0 {
        return refuse("this certificate was revoked; register a new one");
    }
    let others = params![&new.der_sha256[..], &new.spki_sha256[..], key];
    if one::<i64>(db, sql!("registered_elsewhere"), others)? > 0 {
        return refuse(CERTIFICATE_REFUSED);
    }
    let of_others = params![&new.spki_sha256[..], key];
    if one::<i64>(db, sql!("issued_elsewhere"), of_others)? > 0 {
        return refuse(CERTIFICATE_REFUSED);
    }
    let known: Vec<[u8; 32]> = all(db, sql!("registered_pins_of"), [&key], |row| get(row, 0))?;
    let is_new = !known.contains(&new.der_sha256);
    if is_new && known.len() >= REGISTERED_CERTIFICATES_MAX {
        return Ok(Err(format!(
            "this device has {REGISTERED_CERTIFICATES_MAX} registered certificates; remove it (`DELETE /v1/devices/<id>`) or revoke some first"
        )));
    }
    if holder.is_none() && count(db, &format!("registered:{team}"))? >= REGISTERED_MAX {
        return Ok(Err(format!(
            "this team has {REGISTERED_MAX} registered devices, and that is the limit"
        )));
    }
    let row = params![
        key,
        new.subject.to_string(),
        team,
        new.sub_type,
        json!(new.tags).to_string(),
        json!(new.firmware_types).to_string(),
        time(now)
    ];
    execute(db, sql!("registered_put"), row)?;
    if !is_new {
        return Ok(Ok(()));
    }
    let certificate = &new.certificate;
    let row = params![
        &new.der_sha256[..],
        &new.spki_sha256[..],
        key,
        team,
        certificate.serial,
        certificate.issuer,
        certificate.der,
        time(now),
        time(certificate.ends_at)
    ];
    execute(db, sql!("registered_certificate_insert"), row)?;
    let event = AuditEvent::new(now, by, "certificate-registered")
        .team(team)
        .device(new.subject.device())
        .detail(format!(
            "certificate {} of {} for {}",
            certificate.serial, certificate.issuer, new.subject
        ))
        .changed(
            Value::Null,
            json!({ "id": new.subject.to_string(), "serial": certificate.serial, "issuer": certificate.issuer }),
        );
    audit::insert(db, &event)?;
    Ok(Ok(()))
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

fn revoked(row: &Row<'_>) -> Result<Revoked, StoreError> {
    Ok(Revoked {
        number: number(row, 0)?,
        mark: get(row, 1)?,
        serial: get(row, 2)?,
        revoked_at: at(row, 3)?,
        ends_at: at(row, 4)?,
    })
}

fn pin(row: &Row<'_>) -> Result<Pin, StoreError> {
    Ok(Pin {
        der_sha256: get(row, 0)?,
        team: get(row, 1)?,
    })
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

fn texts(json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(json).map_err(|e| damaged("list of texts", e))
}
