//! Brings a database to the schema this program knows: numbered files, each in its own transaction.

use crate::contract::StoreError;
use crate::sqlite::{audit, lives};
use rusqlite::{Connection, TransactionBehavior};
use sectag_keep::crash;

/// Step n brings a database of version n-1 (SQLite's `user_version`) to version n. Files never change once released.
const STEPS: &[Step] = &[
    Step::sql(include_str!("../../sql/sqlite/migrations/0001_first.sql")),
    Step {
        sql: include_str!("../../sql/sqlite/migrations/0002_audit_chain.sql"),
        then: audit::chain_all,
    },
    Step::sql(include_str!("../../sql/sqlite/migrations/0003_teams.sql")),
    Step::sql(include_str!("../../sql/sqlite/migrations/0004_rules.sql")),
    Step {
        sql: include_str!("../../sql/sqlite/migrations/0005_lives.sql"),
        then: lives::bear_all,
    },
    Step::sql(include_str!("../../sql/sqlite/migrations/0006_foreign.sql")),
    Step::sql(include_str!("../../sql/sqlite/migrations/0007_events.sql")),
    Step::sql(include_str!(
        "../../sql/sqlite/migrations/0008_forecast.sql"
    )),
    Step::sql(include_str!(
        "../../sql/sqlite/migrations/0009_registered_by_team.sql"
    )),
];

/// SQL, and what SQL cannot do, in one transaction.
#[derive(Debug, Clone, Copy)]
struct Step {
    sql: &'static str,
    then: fn(&Connection) -> Result<(), StoreError>,
}

impl Step {
    const fn sql(sql: &'static str) -> Self {
        Self {
            sql,
            then: |_| Ok(()),
        }
    }
}

/// Marks the file as ours: "Sect".
const APPLICATION_ID: i32 = 0x5365_6374;

/// Why the schema is not what it should be.
#[derive(Debug)]
pub(crate) enum MigrateError {
    /// Made by a later version of this program.
    Newer { found: usize, known: usize },
    /// Somebody else's database.
    Foreign,
    /// SQLite refused a step.
    Sqlite(rusqlite::Error),
    /// What is there does not read as it was written.
    Store(StoreError),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Runs the steps that are missing.
pub(crate) fn migrate(db: &mut Connection) -> Result<(), MigrateError> {
    migrate_by(db, STEPS)
}

fn migrate_by(db: &mut Connection, steps: &[Step]) -> Result<(), MigrateError> {
    loop {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let application: i32 = pragma(&transaction, "application_id")?;
        let objects: u32 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if application != APPLICATION_ID && (application != 0 || objects != 0) {
            return Err(MigrateError::Foreign);
        }
        let version: i64 = pragma(&transaction, "user_version")?;
        let Ok(found) = usize::try_from(version) else {
            return Err(MigrateError::Foreign);
        };
        if found > steps.len() {
            return Err(MigrateError::Newer {
                found,
                known: steps.len(),
            });
        }
        let Some(step) = steps.get(found) else {
            return Ok(());
        };
        transaction.execute_batch(step.sql)?;
        (step.then)(&transaction).map_err(MigrateError::Store)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
        crash::point("store.migrate.before-commit");
        transaction.commit()?;
        crash::point("store.migrate.after-commit");
    }
}

fn pragma<T: rusqlite::types::FromSql>(db: &Connection, name: &str) -> rusqlite::Result<T> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn migrate_sql(db: &mut Connection, steps: &[&'static str]) -> Result<(), MigrateError> {
        let steps: Vec<Step> = steps.iter().map(|sql| Step::sql(sql)).collect();
        migrate_by(db, &steps)
    }

    fn database() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn steps_run_once_and_in_order() {
        let mut db = database();
        migrate_sql(&mut db, &["CREATE TABLE a (x)"]).unwrap();
        let steps = ["CREATE TABLE a (x)", "INSERT INTO a VALUES (1)"];
        migrate_sql(&mut db, &steps).unwrap();
        migrate_sql(&mut db, &steps).unwrap();
        let rows: i64 = db
            .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut db = database();
        let broken = [
            "CREATE TABLE a (x)",
            "CREATE TABLE b (x); CREATE TABLE a (x)",
        ];
        assert!(matches!(
            migrate_sql(&mut db, &broken),
            Err(MigrateError::Sqlite(_))
        ));
        migrate_sql(&mut db, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
    }

    #[test]
    fn what_was_registered_stays_when_ids_become_each_teams_own() {
        let mut db = database();
        migrate_by(&mut db, &STEPS[..8]).unwrap();
        db.execute_batch(
            "INSERT INTO registered VALUES (x'01', 'nrf-1', 'ada', 'one', 't', '[]', '[]', 5), (x'02', 'nrf-2', 'ada', NULL, 't', '[\"a\"]', '[]', 6),
                                           (x'00112233445566778899aabbccddee01', 'u', 'bob', NULL, 't', '[]', '[]', 7);
             INSERT INTO registered_certificates VALUES (1, zeroblob(32), zeroblob(32), x'00112233445566778899aabbccddee01', 'bob', '0a', 'CN=a', x'30', 7, 99);",
        )
        .unwrap();
        let rows = |db: &Connection, sql: &str| -> Vec<String> {
            let mut asked = db.prepare(sql).unwrap();
            let found = asked.query_map([], |row| row.get(0)).unwrap();
            found.map(Result::unwrap).collect()
        };
        let all = "SELECT json_array(hex(subject), id, team, name, sub_type, tags, firmware_types, registered_at) FROM registered ORDER BY subject";
        let counts =
            "SELECT name || '=' || n FROM counts WHERE name LIKE 'registered:%' ORDER BY name";
        let indices = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'registered_certificates' ORDER BY name";
        let before = [all, counts, indices].map(|sql| rows(&db, sql));
        assert_eq!(before[1], ["registered:ada=2", "registered:bob=1"]);
        migrate(&mut db).unwrap();
        assert_eq!([all, counts, indices].map(|sql| rows(&db, sql)), before);
        // One more with an id that is there, and the end of a claim.
        db.execute_batch(
            "INSERT INTO registered SELECT subject, 'bob', id, name, sub_type, tags, firmware_types, 8 FROM registered WHERE id = 'nrf-1';
             INSERT INTO tombstones (device, version, candidates, pin, unclaimed_at) VALUES (x'00112233445566778899aabbccddee01', 1, x'', NULL, 9);",
        )
        .unwrap();
        assert_eq!(rows(&db, counts), ["registered:ada=2", "registered:bob=1"]);
        assert_eq!(
            rows(&db, "SELECT id FROM registered WHERE team = 'bob'"),
            ["nrf-1"]
        );
        assert_eq!(rows(&db, "SELECT serial FROM revoked"), ["0a"]);
    }

    #[test]
    fn what_was_there_before_teams_is_the_homes() {
        let mut db = database();
        migrate_by(&mut db, &STEPS[..2]).unwrap();
        db.execute_batch(
            "INSERT INTO api_keys VALUES ('ed', zeroblob(32), 'editor', 1, NULL), ('ada', randomblob(32), 'admin', 2, 3);
             INSERT INTO allow_list VALUES (randomblob(16), zeroblob(32), 1);
             INSERT INTO devices VALUES (x'00112233445566778899aabbccddee01', 1, x'', NULL, 1, zeroblob(16), 'home', '[\"a\"]', 1, 1, NULL, NULL, 1),
                                        (x'00112233445566778899aabbccddee02', 1, x'', NULL, 1, zeroblob(16), 'home', '[]', 0, 1, NULL, NULL, 1);
             INSERT INTO device_tags VALUES ('', x'00112233445566778899aabbccddee01', 1), ('a', x'00112233445566778899aabbccddee01', 1),
                                            ('', x'00112233445566778899aabbccddee02', 0);
             INSERT INTO audit (number, at, by, action, device, detail, hash)
                 VALUES (1, 1, 'ed', 'claim', x'00112233445566778899aabbccddee01', '', zeroblob(32)),
                        (2, 1, 'ada', 'claim', x'00112233445566778899aabbccddee02', '', zeroblob(32));",
        )
        .unwrap();
        migrate(&mut db).unwrap();
        let home = crate::record::Team {
            id: "home".into(),
            name: "home".into(),
            topic_prefix: None,
            created_at: sectag_proto::Timestamp(1),
        };
        crate::sqlite::teams::adopt(&db, &home).unwrap();
        let rows = |sql: &str| -> Vec<String> {
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        };
        assert_eq!(
            rows(
                "SELECT team || ' ' || name || ' ' || role || ' ' || tags FROM api_keys ORDER BY name"
            ),
            ["home ada admin []", "home ed editor []"]
        );
        // Who claimed says who may see.
        assert_eq!(
            rows(
                "SELECT team || ' ' || tag || ' ' || tier || ' ' || blocked FROM device_tags ORDER BY tier, tag"
            ),
            ["home  0 1", "home a 0 1", "home  1 0"]
        );
        assert_eq!(
            rows(
                "SELECT name || ' ' || n FROM counts WHERE n > 0 AND name NOT LIKE 'audit%' ORDER BY name"
            ),
            [
                "allowed:home 1",
                "keys:home 2",
                "tag:home:0:1: 1",
                "tag:home:0:1:a 1",
                "tag:home:1:0: 1",
                "teams 1"
            ]
        );
    }

    #[test]
    fn a_newer_or_foreign_database_is_left_alone() {
        let mut db = database();
        migrate_sql(&mut db, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
        assert!(matches!(
            migrate_sql(&mut db, &["CREATE TABLE a (x)"]),
            Err(MigrateError::Newer { found: 2, known: 1 })
        ));
        let mut db = database();
        db.execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(migrate(&mut db), Err(MigrateError::Foreign)));
    }
}
