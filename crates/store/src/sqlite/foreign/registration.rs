//! Registering: whose an id and a certificate are.
//!
//! An id is a team's own: two teams may have the same one, each below its own topics. Only a device's UUID is also proven, by
//! a claim: from then on it is the claiming team's, and what others had registered under it is taken back. A certificate
//! is the first one's that registers it, since a connection with it must be somebody's.

use super::{one, pin, rows, texts};
use crate::contract::StoreError;
use crate::contract::foreign::{
    NewRegistration, REGISTERED_CERTIFICATES_MAX, REGISTERED_MAX, Registered,
    RegisteredCertificate, Subject, TAKEN_BACK_MAX,
};
use crate::record::AuditEvent;
use crate::sqlite::devices::count;
use crate::sqlite::rows::{all, at, first, get, sql, time};
use crate::sqlite::{audit, execute, teams};
use rusqlite::{Connection, params};
use sectag_proto::{DeviceId, Timestamp};
use serde_json::{Value, json};

pub(super) fn registered(
    db: &Connection,
    subject: &Subject,
    team: &str,
) -> Result<Option<Registered>, StoreError> {
    let key = subject.key();
    let found = first(db, sql!("registered_of_team"), params![key, team], |row| {
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
    let Some(mut found) = found else {
        return Ok(None);
    };
    found.certificates = all(
        db,
        sql!("registered_certificates"),
        params![key, team],
        |row| {
            Ok(RegisteredCertificate {
                serial: get(row, 0)?,
                issuer: get(row, 1)?,
                der: get(row, 2)?,
                registered_at: at(row, 3)?,
                ends_at: at(row, 4)?,
            })
        },
    )?;
    Ok(Some(found))
}

pub(super) fn name(
    db: &Connection,
    subject: &Subject,
    team: &str,
    name: &str,
    by: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let Some(before) = registered(db, subject, team)? else {
        return Ok(false);
    };
    let row = params![subject.key(), team, name];
    execute(db, sql!("registered_name"), row)?;
    let named = AuditEvent::new(at, by, "device-named")
        .team(team)
        .device(subject.device())
        .detail(subject.to_string())
        .changed(json!({ "name": before.name }), json!({ "name": name }));
    audit::insert(db, &named)?;
    Ok(true)
}

/// Forgets what a team registered under an id, and takes its certificates back. `why` is for the audit trail.
pub(super) fn remove(
    db: &Connection,
    subject: &Subject,
    team: &str,
    by: &str,
    at: Timestamp,
    why: &str,
) -> Result<bool, StoreError> {
    let Some(known) = registered(db, subject, team)? else {
        return Ok(false);
    };
    let key = subject.key();
    let row = params![key, team, time(at)];
    execute(db, sql!("registered_revoke"), row)?;
    execute(db, sql!("registered_unpin"), params![key, team])?;
    execute(db, sql!("registered_delete"), params![key, team])?;
    let serials: Vec<&String> = known.certificates.iter().map(|c| &c.serial).collect();
    let gone = AuditEvent::new(at, by, "certificate-revoked")
        .team(team)
        .device(subject.device())
        .detail(format!("registered device {subject} {why}"))
        .changed(json!({ "id": known.id, "serials": serials }), Value::Null);
    audit::insert(db, &gone)?;
    Ok(true)
}

/// A device was claimed: what other teams registered under its UUID is taken back.
pub(crate) fn give_way(
    db: &Connection,
    device: DeviceId,
    owner: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let subject = Subject::Device(device);
    for team in holders(db, &subject)? {
        if team != owner {
            // Not by whom: that is the other team's.
            remove(db, &subject, &team, "service", at, "was claimed elsewhere")?;
        }
    }
    Ok(())
}

/// The teams that registered something under an id.
fn holders(db: &Connection, subject: &Subject) -> Result<Vec<String>, StoreError> {
    let key = subject.key();
    all(db, sql!("registered_teams"), [key], |row| get(row, 0))
}

fn has_no_prefix(db: &Connection, team: &str) -> Result<bool, StoreError> {
    let found = teams::team(db, team)?;
    Ok(found.is_none_or(|team| team.topic_prefix.is_none()))
}

/// Whether a registered device has this id, and topics that no prefix stands before.
pub(crate) fn is_a_top_level(db: &Connection, id: &str) -> Result<bool, StoreError> {
    for team in holders(db, &Subject::Named(id.to_owned()))? {
        if has_no_prefix(db, &team)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Registers one row, or says why not. A row that was registered before changes what it says beside the certificate.
pub(super) fn register(
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
        if owner.map_or(new.needs_claim, |owner| owner != team) {
            return refuse(NewRegistration::ID_REFUSED);
        }
    }
    if teams::is_gone(db, team)? {
        return refuse(NewRegistration::ID_REFUSED);
    }
    if let Subject::Named(id) = &new.subject
        && teams::has_prefix(db, id)?
        && has_no_prefix(db, team)?
    {
        return refuse(NewRegistration::ID_REFUSED);
    }
    let marks = params![&new.der_sha256[..], &new.spki_sha256[..]];
    if one::<i64>(db, sql!("revoked_marks"), marks)? > 0 {
        return refuse("this certificate was revoked; register a new one");
    }
    let others = params![&new.der_sha256[..], &new.spki_sha256[..], key, team];
    if one::<i64>(db, sql!("registered_elsewhere"), others)? > 0 {
        return refuse(NewRegistration::CERTIFICATE_REFUSED);
    }
    let of_others = params![&new.spki_sha256[..], key];
    if one::<i64>(db, sql!("issued_elsewhere"), of_others)? > 0 {
        return refuse(NewRegistration::CERTIFICATE_REFUSED);
    }
    let mut known = all(db, sql!("registered_pins_of"), [&key], pin)?;
    known.retain(|pin| pin.team == team);
    let is_new = !known.iter().any(|pin| pin.der_sha256 == new.der_sha256);
    if is_new && known.len() >= REGISTERED_CERTIFICATES_MAX {
        return Ok(Err(format!(
            "this device has {REGISTERED_CERTIFICATES_MAX} registered certificates; remove it (`DELETE /v1/devices/<id>`) or revoke some first"
        )));
    }
    let last = params![key, team, rows(TAKEN_BACK_MAX - 1)];
    if is_new && first(db, sql!("registered_taken_back"), last, |_| Ok(()))?.is_some() {
        return Ok(Err(format!(
            "{TAKEN_BACK_MAX} certificates of this device were taken back, and that is the limit; register it under another id"
        )));
    }
    let is_known = holders(db, &new.subject)?
        .iter()
        .any(|holder| holder == team);
    if !is_known && count(db, &format!("registered:{team}"))? >= REGISTERED_MAX {
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
