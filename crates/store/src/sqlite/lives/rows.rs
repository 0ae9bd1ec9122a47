//! Lives and runs as rows.

use crate::contract::StoreError;
use crate::contract::lives::{Life, LifeState, RenewalRun, RenewalStep, Spki};
use crate::sqlite::execute;
use crate::sqlite::rows::{damaged, first, get, sql, time};
use rusqlite::{Connection, Row, params};
use sectag_proto::{CommandId, DeviceId, SecTag, Timestamp};

pub(super) fn by_spki(db: &Connection, spki: &Spki) -> Result<Option<Life>, StoreError> {
    first(db, sql!("life_by_spki"), [&spki[..]], life)
}

/// One life per public key, as there is one certificate.
pub(super) fn insert(db: &Connection, life: &Life) -> Result<(), StoreError> {
    let row = params![
        &life.spki_sha256[..],
        life.device.as_bytes(),
        life.team,
        life.serial,
        life.csr.as_bytes(),
        life.certificate.as_ref().map(CommandId::as_bytes),
        life.sec_tag.map(SecTag::get),
        life.rule_id,
        time(life.not_before),
        time(life.not_after),
        time(life.issued_at),
        life.written_at.map(time),
        life.used_at.map(time),
        life.last_used_at.map(time),
        life.state.as_str(),
        life.ended_at.map(time),
        life.alarm_days,
    ];
    execute(db, sql!("life_insert"), row).map(drop)
}

pub(super) fn put_renewal(db: &Connection, run: &RenewalRun) -> Result<(), StoreError> {
    let row = params![
        &run.old[..],
        run.device.as_bytes(),
        run.team,
        run.rule_id,
        run.sec_tag.get(),
        run.in_place,
        time(run.started_at),
        run.step.as_str(),
        time(run.step_at),
        run.command.as_ref().map(CommandId::as_bytes),
        run.new.as_ref().map(|spki| &spki[..]),
        run.attempts,
        time(run.retry_at),
        run.failing_since.map(time),
        run.reason,
        run.alarmed_at.map(time),
        run.ended_at.map(time),
    ];
    execute(db, sql!("renewal_put"), row).map(drop)
}

pub(super) fn life(row: &Row<'_>) -> Result<Life, StoreError> {
    let device = DeviceId::from_bytes(get(row, 1)?);
    let serial: String = get(row, 3)?;
    let what = || format!("life of certificate {serial} of device {device}");
    let state: String = get(row, 14)?;
    Ok(Life {
        spki_sha256: get(row, 0)?,
        device,
        team: get(row, 2)?,
        csr: CommandId::from_bytes(get(row, 4)?),
        certificate: get::<Option<[u8; 16]>>(row, 5)?.map(CommandId::from_bytes),
        sec_tag: get::<Option<u32>>(row, 6)?
            .map(|tag| SecTag::new(tag.into()))
            .transpose()
            .map_err(|e| damaged(what(), e))?,
        rule_id: get(row, 7)?,
        not_before: at(row, 8)?,
        not_after: at(row, 9)?,
        issued_at: at(row, 10)?,
        written_at: at_or_none(row, 11)?,
        used_at: at_or_none(row, 12)?,
        last_used_at: at_or_none(row, 13)?,
        state: LifeState::parse(&state).ok_or_else(|| damaged(what(), format!("state {state}")))?,
        ended_at: at_or_none(row, 15)?,
        alarm_days: get(row, 16)?,
        serial,
    })
}

pub(super) fn renewal(row: &Row<'_>) -> Result<RenewalRun, StoreError> {
    let device = DeviceId::from_bytes(get(row, 1)?);
    let what = || format!("renewal of device {device}");
    let step: String = get(row, 7)?;
    Ok(RenewalRun {
        old: get(row, 0)?,
        device,
        team: get(row, 2)?,
        rule_id: get(row, 3)?,
        sec_tag: SecTag::new(get::<u32>(row, 4)?.into()).map_err(|e| damaged(what(), e))?,
        in_place: get(row, 5)?,
        started_at: at(row, 6)?,
        step: RenewalStep::parse(&step).ok_or_else(|| damaged(what(), format!("step {step}")))?,
        step_at: at(row, 8)?,
        command: get::<Option<[u8; 16]>>(row, 9)?.map(CommandId::from_bytes),
        new: get(row, 10)?,
        attempts: get(row, 11)?,
        retry_at: at(row, 12)?,
        failing_since: at_or_none(row, 13)?,
        reason: get(row, 14)?,
        alarmed_at: at_or_none(row, 15)?,
        ended_at: at_or_none(row, 16)?,
    })
}

pub(super) fn at(row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    let time: i64 = get(row, column)?;
    let time = u64::try_from(time).map_err(|e| damaged("time", e))?;
    Ok(Timestamp(time))
}

pub(super) fn at_or_none(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    match get::<Option<i64>>(row, column)? {
        None => Ok(None),
        Some(_) => at(row, column).map(Some),
    }
}
