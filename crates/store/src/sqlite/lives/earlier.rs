//! Certificates from before there were lives.

use super::rows::{at, at_or_none, insert};
use crate::contract::StoreError;
use crate::contract::lives::{Life, LifeState};
use crate::sqlite::rows::{all, damaged, get, sql};
use rusqlite::Connection;
use sectag_proto::command::CommandRequest;
use sectag_proto::{CommandId, DeviceId, SecTag, Timestamp};

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
    use crate::sqlite::lives::rows::by_spki;
    use rusqlite::params;
    use sectag_pki::{Authority, PrivateKey, Purpose};

    /// A database before there were lives, with two certificates under one tag, and one of an unclaimed device.
    #[test]
    fn certificates_from_before_get_their_lives() {
        let mut db = Connection::open_in_memory().unwrap();
        for sql in [
            include_str!("../../../sql/sqlite/migrations/0001_first.sql"),
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
}
