//! Lives of certificates and their renewals.

use crate::contract::lives::{
    DeviceLives, Ending, EndingCursor, EndingQuery, FirstUse, ForeignCursor, ForeignEnding,
    ForeignEndingQuery, Life, LifeChange, LifeNotes, LifeState, Lives, RenewalQuery, RenewalRun,
    RenewalSeen, RenewalStep, Spki,
};
use crate::contract::{PAGE_ROWS_MAX, StoreError};
use crate::record::{AuditEvent, Page, View};
use crate::sqlite::rows::{all, damaged, first, get, int, sql, time};
use crate::sqlite::writer::Kind;
use crate::sqlite::{SqliteStore, audit, devices, execute, read_error};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sectag_proto::command::CommandRequest;
use sectag_proto::{CommandId, DeviceId, SecTag, Timestamp};
use serde_json::json;

#[async_trait]
impl Lives for SqliteStore {
    async fn lives(&self, device: DeviceId) -> Result<DeviceLives, StoreError> {
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            let key = [device.as_bytes()];
            Ok(DeviceLives {
                lives: all(db, sql!("lives_of_device"), key, life)?,
                renewals: all(db, sql!("renewals_of_device"), key, renewal)?,
            })
        })
        .await
    }

    async fn life_history(&self, device: DeviceId) -> Result<DeviceLives, StoreError> {
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            let key = [device.as_bytes()];
            Ok(DeviceLives {
                lives: all(db, sql!("lives_all_of_device"), key, life)?,
                renewals: all(db, sql!("renewals_all_of_device"), key, renewal)?,
            })
        })
        .await
    }

    async fn life(&self, spki_sha256: Spki) -> Result<Option<Life>, StoreError> {
        self.read(move |db| by_spki(db, &spki_sha256)).await
    }

    async fn certificates_used(
        &self,
        uses: Vec<(Spki, Timestamp)>,
    ) -> Result<Vec<FirstUse>, StoreError> {
        self.write(Kind::RECORD, move |db| {
            let mut first_uses = Vec::new();
            for (spki, at) in &uses {
                first_uses.extend(used(db, spki, *at)?);
            }
            Ok(first_uses)
        })
        .await
    }

    async fn endings(&self, query: EndingQuery) -> Result<Page<Ending, EndingCursor>, StoreError> {
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            endings(db, &query)
        })
        .await
    }

    async fn foreign_endings(
        &self,
        query: ForeignEndingQuery,
    ) -> Result<Page<ForeignEnding, ForeignCursor>, StoreError> {
        self.read(move |db| foreign_endings(db, &query)).await
    }

    async fn renewals(
        &self,
        query: RenewalQuery,
    ) -> Result<Page<RenewalSeen, EndingCursor>, StoreError> {
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            renewals(db, &query)
        })
        .await
    }

    async fn revoke_lives(
        &self,
        device: DeviceId,
        only: Option<Spki>,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        self.write(Kind::RECORD, move |db| {
            let only = only.as_ref().map(|spki| &spki[..]);
            let row = params![device.as_bytes(), only, time(at)];
            execute(db, sql!("renewals_abandon"), row)?;
            let row = params![device.as_bytes(), only, time(at)];
            execute(db, sql!("lives_revoke"), row)
        })
        .await
    }

    async fn certificate_alarm(&self, der_sha256: [u8; 32]) -> Result<Option<u32>, StoreError> {
        self.read(move |db| {
            let key = [&der_sha256[..]];
            first(db, sql!("certificate_alarm"), key, |row| get(row, 0))
        })
        .await
    }

    async fn note_lives(&self, notes: LifeNotes) -> Result<(), StoreError> {
        self.write(Kind::RECORD, move |db| {
            for spki in &notes.expired {
                execute(db, sql!("life_expired"), [&spki[..]])?;
            }
            for (spki, days) in &notes.alarmed {
                execute(db, sql!("life_alarmed"), params![&spki[..], days])?;
            }
            for (sha256, days) in &notes.others_alarmed {
                let row = params![&sha256[..], days];
                execute(db, sql!("certificate_alarm_put"), row)?;
            }
            for (old, at) in &notes.renewals_alarmed {
                execute(db, sql!("renewal_alarmed"), params![&old[..], time(*at)])?;
            }
            for (old, at) in &notes.abandoned {
                end_renewal(db, old, RenewalStep::Abandoned, *at)?;
            }
            for event in &notes.audit {
                audit::insert(db, event)?;
            }
            Ok::<(), StoreError>(())
        })
        .await
    }
}

/// A part of a device's commit.
pub(crate) fn apply(db: &Connection, change: &LifeChange) -> Result<(), StoreError> {
    match change {
        LifeChange::Born(life) => insert(db, life),
        LifeChange::Written { spki_sha256, at } => {
            let row = params![&spki_sha256[..], time(*at)];
            execute(db, sql!("life_written"), row).map(drop)
        }
        LifeChange::Superseded { spki_sha256, at } => supersede(db, spki_sha256, *at),
        LifeChange::Renewal(run) => put_renewal(db, run),
    }
}

fn by_spki(db: &Connection, spki: &Spki) -> Result<Option<Life>, StoreError> {
    first(db, sql!("life_by_spki"), [&spki[..]], life)
}

fn supersede(db: &Connection, spki: &Spki, at: Timestamp) -> Result<(), StoreError> {
    let row = params![&spki[..], time(at)];
    execute(db, sql!("life_superseded"), row).map(drop)
}

fn end_renewal(
    db: &Connection,
    old: &Spki,
    step: RenewalStep,
    at: Timestamp,
) -> Result<(), StoreError> {
    let row = params![&old[..], step.as_str(), time(at)];
    execute(db, sql!("renewal_end"), row).map(drop)
}

/// A connection; what it proves is written once.
fn used(db: &Connection, spki: &Spki, at: Timestamp) -> Result<Option<FirstUse>, StoreError> {
    let Some(before) = by_spki(db, spki)? else {
        return Ok(None);
    };
    execute(db, sql!("life_used"), params![&spki[..], time(at)])?;
    if before.used_at.is_some() || !before.state.counts() {
        return Ok(None);
    }
    let run = first(db, sql!("renewal_by_new"), [&spki[..]], renewal)?;
    if let Some(run) = &run {
        supersede(db, &run.old, at)?;
        end_renewal(db, &run.old, RenewalStep::Done, at)?;
        let detail = format!(
            "the device connected with certificate {} from sec tag {}",
            before.serial, run.sec_tag
        );
        let old = by_spki(db, &run.old)?.map(|old| json!({ "serial": old.serial }));
        let new = json!({ "serial": before.serial, "secTag": run.sec_tag.get() });
        let done = AuditEvent::new(at, "service", "renewal-done")
            .team(&run.team)
            .device(run.device)
            .detail(detail)
            .changed(old.unwrap_or_default(), new);
        audit::insert(db, &done)?;
    }
    let life = by_spki(db, spki)?.unwrap_or(before);
    Ok(Some(FirstUse { life, renewal: run }))
}

fn endings(db: &Connection, query: &EndingQuery) -> Result<Page<Ending, EndingCursor>, StoreError> {
    let (limit, rows) = limits(query.limit);
    let (after, spki) = cursor(query.after);
    let until = time(query.until);
    let mut lives = match &query.view {
        None => all(
            db,
            sql!("lives_ending"),
            params![after, &spki[..], until, rows],
            life,
        ),
        Some(view) => all(
            db,
            sql!("lives_ending_of_team"),
            params![after, &spki[..], until, rows, view.team],
            life,
        ),
    }?;
    let next = devices::cut(&mut lives, limit).map(|last| (last.not_after, last.spki_sha256));
    let mut items = Vec::with_capacity(lives.len());
    for life in lives {
        let Some(device) = devices::device(db, life.device)? else {
            continue;
        };
        let is_shown = query.view.as_ref().is_none_or(|view| view.shows(&device));
        if device.owner != life.team || !is_shown {
            continue;
        }
        items.push(Ending {
            renewal: first(db, sql!("renewal_by_old"), [&life.spki_sha256[..]], renewal)?,
            tags: device.tags,
            blocked: device.blocked,
            last_seen_at: device.last_seen_at,
            life,
        });
    }
    let total = items.len() as u64;
    Ok(Page { items, next, total })
}

fn foreign_endings(
    db: &Connection,
    query: &ForeignEndingQuery,
) -> Result<Page<ForeignEnding, ForeignCursor>, StoreError> {
    let (limit, rows) = limits(query.limit);
    let (after, number) = (time(query.after.0), int(query.after.1));
    let until = time(query.until);
    let read = |row: &Row<'_>| {
        let id: String = get(row, 0)?;
        let tags: String = get(row, 5)?;
        let tags = serde_json::from_str(&tags)
            .map_err(|e| damaged(format!("registered device {id}"), e))?;
        let number: i64 = get(row, 6)?;
        let ending = ForeignEnding {
            id,
            team: get(row, 1)?,
            serial: get(row, 2)?,
            der_sha256: get(row, 3)?,
            ends_at: at(row, 4)?,
            tags,
        };
        Ok((number.unsigned_abs(), ending))
    };
    let mut found = match &query.view {
        None => all(
            db,
            sql!("registered_ending"),
            params![after, number, until, rows],
            read,
        ),
        Some(view) => all(
            db,
            sql!("registered_ending_of_team"),
            params![after, number, until, rows, view.team],
            read,
        ),
    }?;
    let next = devices::cut(&mut found, limit).map(|(number, last)| (last.ends_at, *number));
    let shown = |ending: &ForeignEnding| {
        let of = |view: &View| {
            view.tags.is_empty() || ending.tags.iter().any(|tag| view.tags.contains(tag))
        };
        query.view.as_ref().is_none_or(of)
    };
    let items: Vec<ForeignEnding> = found
        .into_iter()
        .map(|(_, ending)| ending)
        .filter(shown)
        .collect();
    let total = items.len() as u64;
    Ok(Page { items, next, total })
}

fn renewals(
    db: &Connection,
    query: &RenewalQuery,
) -> Result<Page<RenewalSeen, EndingCursor>, StoreError> {
    let (limit, rows) = limits(query.limit);
    let (after, old) = cursor(query.after);
    let mut runs = match &query.view {
        None => all(
            db,
            sql!("renewals_open"),
            params![after, &old[..], rows],
            renewal,
        ),
        Some(view) => all(
            db,
            sql!("renewals_open_of_team"),
            params![after, &old[..], rows, view.team],
            renewal,
        ),
    }?;
    let next = devices::cut(&mut runs, limit).map(|last| (last.started_at, last.old));
    let mut items = Vec::with_capacity(runs.len());
    for run in runs {
        let Some(device) = devices::device(db, run.device)? else {
            continue;
        };
        if query.view.as_ref().is_some_and(|view| !view.shows(&device)) {
            continue;
        }
        items.push(RenewalSeen {
            old: by_spki(db, &run.old)?,
            new: match &run.new {
                Some(new) => by_spki(db, new)?,
                None => None,
            },
            last_seen_at: device.last_seen_at,
            run,
        });
    }
    let total = items.len() as u64;
    Ok(Page { items, next, total })
}

/// Rows of a page, and one more, which tells whether there is a next page.
fn limits(limit: usize) -> (usize, i64) {
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    (limit, i64::try_from(limit + 1).unwrap_or(i64::MAX))
}

/// Before everything, when there is no cursor.
fn cursor(after: Option<EndingCursor>) -> (i64, Spki) {
    after.map_or((-1, [0; 32]), |(at, spki)| (time(at), spki))
}

/// One life per public key, as there is one certificate.
fn insert(db: &Connection, life: &Life) -> Result<(), StoreError> {
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

fn put_renewal(db: &Connection, run: &RenewalRun) -> Result<(), StoreError> {
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

fn life(row: &Row<'_>) -> Result<Life, StoreError> {
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

fn renewal(row: &Row<'_>) -> Result<RenewalRun, StoreError> {
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

fn at(row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    let time: i64 = get(row, column)?;
    let time = u64::try_from(time).map_err(|e| damaged("time", e))?;
    Ok(Timestamp(time))
}

fn at_or_none(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    match get::<Option<i64>>(row, column)? {
        None => Ok(None),
        Some(_) => at(row, column).map(Some),
    }
}

/// Gives each certificate that was issued before there were lives one of its own. What became of it is known as far as
/// the command that wrote it is still there; a certificate of an earlier claim is revoked.
pub(crate) fn bear_all(db: &Connection) -> Result<(), StoreError> {
    let issued = all(db, sql!("lives_missing"), [], |row| {
        let der: Vec<u8> = get(row, 2)?;
        let certificate = sectag_pki::Certificate::from_der(&der)
            .map_err(|e| damaged("issued certificate", e))?;
        let request: Option<String> = get(row, 6)?;
        let sec_tag = request
            .and_then(|json| serde_json::from_str(&json).ok())
            .and_then(|request| match request {
                CommandRequest::CertificateSigningRequest { sec_tag, .. } => Some(sec_tag),
                _ => None,
            });
        let issued_at = at(row, 5)?;
        let (team, claimed_at) = (get::<Option<String>>(row, 8)?, at_or_none(row, 9)?);
        let is_of_this_claim = claimed_at.is_some_and(|claimed| claimed <= issued_at);
        Ok(Life {
            spki_sha256: get(row, 0)?,
            serial: get(row, 1)?,
            device: DeviceId::from_bytes(get(row, 3)?),
            team: team.unwrap_or_default(),
            csr: CommandId::from_bytes(get(row, 4)?),
            certificate: None,
            sec_tag,
            rule_id: get(row, 7)?,
            not_before: Timestamp::from_secs(certificate.not_before_s),
            not_after: Timestamp::from_secs(certificate.not_after_s),
            issued_at,
            written_at: None,
            used_at: None,
            last_used_at: None,
            state: match is_of_this_claim {
                true => LifeState::Issued,
                false => LifeState::Revoked,
            },
            ended_at: (!is_of_this_claim).then(|| claimed_at.unwrap_or(issued_at)),
            alarm_days: None,
        })
    })?;
    let mut later: Vec<(DeviceId, Option<SecTag>)> = Vec::new();
    for mut life in issued {
        let place = (life.device, life.sec_tag);
        if life.state.counts() && life.sec_tag.is_some() && later.contains(&place) {
            life.state = LifeState::Superseded;
            life.ended_at = Some(life.issued_at);
        }
        if later
            .last()
            .is_some_and(|(device, _)| *device != life.device)
        {
            later.clear();
        }
        later.push(place);
        insert(db, &life)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_pki::{Authority, PrivateKey, Purpose};

    /// A database before there were lives, with two certificates under one tag, and one of an unclaimed device.
    #[test]
    fn certificates_from_before_get_their_lives() {
        let mut db = Connection::open_in_memory().unwrap();
        for sql in [
            include_str!("../../sql/sqlite/migrations/0001_first.sql"),
            "INSERT INTO devices VALUES (x'00000000000000000000000000000001', 1, x'', NULL, 1, zeroblob(16), 'ada', '[]', 0, 100, NULL, NULL, 9)",
        ] {
            db.execute_batch(sql).unwrap();
        }
        let ca = Authority::root("Old", 1_000_000).unwrap();
        let ca = ca.issuing(Purpose::Devices, 1_000_000).unwrap();
        for (n, device, command) in [(1_u8, 1_u8, 1_u8), (2, 1, 2), (3, 2, 3)] {
            let key = PrivateKey::generate().unwrap();
            let made = ca.issue_device(&key.spki_der(), "d", 1_000_000).unwrap();
            let id = |n: u8| [[0; 15].as_slice(), &[n]].concat();
            db.execute(
                "INSERT INTO issued (spki_sha256, serial, certificate, device, command, issued_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![[n; 32], format!("0{n}"), made.der(), id(device), id(command), 200 + i64::from(n)],
            )
            .unwrap();
            db.execute(
                "INSERT INTO commands (device, id, sequence, position_major, position_minor, request, status, created_at)
                 VALUES (?1, ?2, ?3, ?3, 0, ?4, 'SUCCEEDED', 1)",
                params![
                    id(device),
                    id(command),
                    n,
                    r#"{"certificateSigningRequest":{"secTag":42,"attributes":"","issue":true}}"#
                ],
            )
            .unwrap();
        }
        db.execute_batch("PRAGMA user_version = 1; PRAGMA application_id = 1399153524")
            .unwrap();
        crate::sqlite::migrate::migrate(&mut db).unwrap_or_else(|e| panic!("{e:?}"));
        let of = |n: u8| by_spki(&db, &[n; 32]).unwrap().unwrap();
        assert_eq!(of(1).state, LifeState::Superseded, "its key was replaced");
        assert_eq!(of(2).state, LifeState::Issued);
        assert_eq!(
            of(3).state,
            LifeState::Revoked,
            "of a device that nobody has"
        );
        assert_eq!(of(2).sec_tag, SecTag::new(42).ok());
        assert_eq!(of(2).team, "ada");
        assert_eq!(of(2).not_before, Timestamp::from_secs(1_000_000 - 3600));
        assert!(of(2).not_after > Timestamp::from_secs(1_000_000 + 700 * 86_400));
    }

    #[test]
    fn what_is_kept_per_fleet_is_found_by_an_index() {
        let mut db = Connection::open_in_memory().unwrap();
        crate::sqlite::migrate::migrate(&mut db).unwrap_or_else(|e| panic!("{e:?}"));
        for (sql, index) in [
            (sql!("lives_ending"), "lives_by_end"),
            (sql!("lives_ending_of_team"), "lives_by_team_and_end"),
            (sql!("lives_of_device"), "lives_by_device"),
            (sql!("renewals_of_device"), "renewals_by_device"),
            (sql!("renewal_by_new"), "renewals_by_new"),
            (sql!("registered_ending"), "registered_certificates_by_end"),
            (
                sql!("registered_ending_of_team"),
                "registered_certificates_by_team_and_end",
            ),
            (sql!("renewals_open"), "renewals_open"),
            (sql!("renewals_open_of_team"), "renewals_open_by_team"),
        ] {
            let mut explained = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let count = explained.parameter_count();
            let none = vec![rusqlite::types::Null; count];
            let plan: Vec<String> = explained
                .query_map(rusqlite::params_from_iter(none), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let plan = plan.join("; ");
            assert!(
                plan.contains("SEARCH") && plan.contains(index),
                "{plan}\n{sql}"
            );
            assert!(
                !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"),
                "{plan}\n{sql}"
            );
        }
    }
}
