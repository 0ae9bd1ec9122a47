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
    Step::sql(include_str!(
        "../../sql/sqlite/migrations/0006_foreign.sql"
    )),
    Step::sql(include_str!(
        "../../sql/sqlite/migrations/0007_events.sql"
    )),
    Step::sql(include_str!(
        "../../sql/sqlite/migrations/0008_forecast.sql"
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
