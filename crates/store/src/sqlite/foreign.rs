//! What the broker must know beside chains: blocked devices, certificates taken back, registered ones.
//!
//! How certificates are registered is in `registration`, how many at once in `uploads`.

mod registration;
mod uploads;

pub(crate) use registration::{give_way, is_a_top_level};

use crate::contract::StoreError;
use crate::contract::foreign::{Foreign, Pin, Registered, Revoked, Subject, SubjectTrust};
use crate::sqlite::rows::{all, at, damaged, first, get, int, number, sql, time};
use crate::sqlite::writer::Kind;
use crate::sqlite::{SqliteStore, read_error, revoking};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sectag_proto::{DeviceId, Timestamp};

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
            revoking::certificate(db, device, &team, &serial, &by, at)
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
            registration::registered(db, &subject, &team)
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
            registration::name(db, &subject, &team, &name, &by, at)
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
            registration::remove(db, &subject, &team, &by, at, "removed")
        })
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

pub(crate) fn one<T: rusqlite::types::FromSql>(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<T, StoreError> {
    first(db, sql, params, |row| get(row, 0))?.ok_or_else(|| damaged("count", "no row"))
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

fn texts(json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(json).map_err(|e| damaged("list of texts", e))
}
