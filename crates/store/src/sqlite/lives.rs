//! Lives of certificates and their renewals: what a device's commit and a connection change.
//!
//! `ending` lists what a forecast asks for, `rows` reads and writes rows, `earlier` is for certificates that were issued before
//! there were lives.

mod earlier;
mod ending;
mod rows;

pub(crate) use earlier::bear_all;
use ending::{endings, foreign_endings, renewals};
use rows::{at, by_spki, insert, life, put_renewal, renewal};

use crate::contract::StoreError;
use crate::contract::lives::{
    DeviceLives, Ending, EndingCursor, EndingQuery, FirstUse, ForeignCursor, ForeignEnding,
    ForeignEndingQuery, Life, LifeChange, LifeNotes, Lives, RenewalQuery, RenewalSeen, RenewalStep,
    Spki,
};
use crate::record::{AuditEvent, Page};
use crate::sqlite::rows::{all, first, get, sql, time};
use crate::sqlite::writer::Kind;
use crate::sqlite::{SqliteStore, audit, execute, read_error};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use sectag_proto::{DeviceId, Timestamp};
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

    async fn taken_back(&self, device: DeviceId) -> Result<Vec<(Spki, Timestamp)>, StoreError> {
        self.read(move |db| {
            let key = [device.as_bytes()];
            all(db, sql!("revoked_of_device"), key, |row| {
                Ok((get(row, 0)?, at(row, 1)?))
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
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            foreign_endings(db, &query)
        })
        .await
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
