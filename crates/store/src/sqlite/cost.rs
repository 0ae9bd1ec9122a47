//! What a question costs must not grow with the fleet: plans of all statements, and virtual machine steps by size.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::record::{DevicePatch, View};
use fixtures::{adding, claim_of, command, command_id, csr, device_id, open, terminal};
use rusqlite::StatementStatus;

/// Statements that may do more than search, and why.
const EXCEPT: [(&str, &str); 7] = [
    (
        "audit_head",
        "ends at the first row of a key read backwards",
    ),
    (
        "events_newest",
        "ends at the first row of a key read backwards",
    ),
    ("events_oldest", "ends at the first row of a key"),
    ("commands_all", "sorts the commands of one device"),
    (
        "commands_pending_of_renewal",
        "sorts the commands of one device",
    ),
    (
        "revoked_of_team",
        "a revocation list has them all, in order",
    ),
    ("lives_missing", "part of a migration"),
];

/// Tables that grow by what people make, not by devices and what becomes of them; they are bounded, or read in pages.
const SMALL: [&str; 4] = ["teams", "webhooks", "rules", "tags"];

/// All statements by name.
fn statements() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/sqlite");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.len() > 50, "{}", found.len());
    found
}

fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
    let steps = statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3));
    steps.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn no_statement_goes_through_a_table_that_grows() {
    let home = tempfile::tempdir().unwrap();
    let _store = open(home.path());
    let db = reading(&home.path().join("sectag.db")).unwrap();
    let mut bad = Vec::new();
    for (name, sql) in statements() {
        if EXCEPT.iter().any(|(known, _)| *known == name) {
            continue;
        }
        for step in plan(&db, &sql) {
            let is_small = SMALL
                .iter()
                .any(|table| step.starts_with(&format!("SCAN {table}")));
            let holds_a_search =
                step.starts_with("INDEX ") || step.ends_with(" OR") || step.contains(" SUBQUERY ");
            if !(step.starts_with("SEARCH")
                || step == "SCAN CONSTANT ROW"
                || is_small
                || holds_a_search)
            {
                bad.push(format!("{name}: {step}"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[tokio::test]
async fn triggers_find_their_counter_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let _store = open(home.path());
    let db = reading(&home.path().join("sectag.db")).unwrap();
    let update = "UPDATE counts SET n = n - 1 WHERE name = 'tag:' || ?1 || ':' || ?2";
    assert!(plan(&db, update)[0].starts_with("SEARCH"));
}

/// Virtual machine steps of all statements that `work` ran.
fn steps(db: &Connection, statements: &[(String, String)], work: impl FnOnce(&Connection)) -> i64 {
    let count = || -> i64 {
        let cached = statements.iter().map(|(_, sql)| {
            let statement = db.prepare_cached(sql).unwrap();
            i64::from(statement.get_status(StatementStatus::VmStep))
        });
        cached.sum()
    };
    let before = count();
    work(db);
    count() - before
}

/// A fleet of `n`: every third device has a tag, every sixth two, every tenth is blocked, every second reserved; each has ten
/// commands.
fn fleet(db: &mut Connection, n: u32, seal: &SealKey) {
    let transaction = db.transaction().unwrap();
    teams::adopt(&transaction, &fixtures::team("ada")).unwrap();
    for device in 0..n {
        let mut claim = claim_of(device, &[0, 1]);
        claim.reserved = device % 2 == 1;
        if device % 3 == 0 {
            claim.tags = vec!["third".into()];
        }
        if device % 6 == 0 {
            claim.tags.push("sixth".into());
        }
        devices::claim(&transaction, claim).unwrap();
        let id = device_id(device);
        let mut commands: Vec<_> = (1..=10).map(|c| command(c, csr())).collect();
        for done in &mut commands[..7] {
            *done = terminal(done.clone());
        }
        let change = commands::prepare(id, 1, adding(commands), seal).unwrap();
        commands::commit(&transaction, &change).unwrap();
        if device % 10 == 5 {
            let patch = DevicePatch {
                blocked: Some(true),
                ..DevicePatch::default()
            };
            devices::change(&transaction, id, 2, patch, "x", fixtures::at(1)).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Of a page: so few that the smaller fleet fills every stream.
const ROWS: usize = 2;

#[tokio::test]
async fn the_steps_of_a_question_do_not_grow_with_the_fleet() {
    let statements = statements();
    let seal = SealKey::new(&fixtures::SEAL);
    let measured: Vec<Vec<(String, i64)>> = [200, 10_000]
        .map(|n| {
            let home = tempfile::tempdir().unwrap();
            drop(open(home.path()));
            let mut db = writing(&home.path().join("sectag.db")).unwrap();
            db.set_prepared_statement_cache_capacity(500);
            fleet(&mut db, n, &seal);
            let id = device_id(50);
            let page = |query: DeviceQuery| {
                move |db: &Connection| {
                    let page = devices::page(db, &query).unwrap();
                    assert!(!page.items.is_empty());
                }
            };
            let editor = View {
                reserved: false,
                ..View::of("ada")
            };
            let scoped = View {
                tags: vec!["third".into(), "sixth".into()],
                ..View::of("ada")
            };
            let all = DeviceQuery::first(View::of("ada"), ROWS);
            let tagged = DeviceQuery {
                tag: Some("third".into()),
                ..all.clone()
            };
            let blocked = DeviceQuery {
                blocked: Some(true),
                ..all.clone()
            };
            let second = DeviceQuery {
                after: Some(device_id(30)),
                ..all.clone()
            };
            // 0x00000030 to 0x0000003f: sixteen in either fleet.
            let prefix = crate::IdPrefix::parse("5050505050505050505050500000003");
            let prefixed = DeviceQuery {
                prefix: Some(prefix.unwrap()),
                ..all.clone()
            };
            let measure = |what: &str, work: &dyn Fn(&Connection)| {
                work(&db); // so that everything is prepared
                (what.to_owned(), steps(&db, &statements, work))
            };
            vec![
                measure("queue", &|db| {
                    let named = [command_id(1), command_id(9)];
                    let loaded = commands::queue(db, id, &named, &seal).unwrap().unwrap();
                    assert_eq!(loaded.queue.commands().len(), 4);
                }),
                measure("commit of a fetch", &|db| {
                    let version = devices::device(db, id).unwrap().unwrap().version;
                    let mut fetched: Vec<_> = (8..=10).map(|c| command(c, csr())).collect();
                    for command in &mut fetched {
                        command.status = sectag_proto::service::Status::InProgress;
                    }
                    let change = commands::prepare(id, version, adding(fetched), &seal).unwrap();
                    commands::commit(db, &change).unwrap();
                }),
                measure("list", &page(all)),
                measure("second page", &page(second)),
                measure("list by tag", &page(tagged)),
                measure("list of blocked", &page(blocked)),
                measure("list by prefix", &page(prefixed)),
                measure(
                    "list for an editor",
                    &page(DeviceQuery::first(editor, ROWS)),
                ),
                measure(
                    "list for a scoped key",
                    &page(DeviceQuery::first(scoped, ROWS)),
                ),
                measure("claim", &|db| {
                    let version = |id| devices::device(db, id).unwrap().unwrap().version;
                    let id = device_id(7);
                    devices::unclaim(db, id, version(id), "x", fixtures::at(1)).unwrap();
                    devices::claim(db, claim_of(7, &[0, 1])).unwrap();
                }),
            ]
        })
        .into();
    for (small, large) in measured[0].iter().zip(&measured[1]) {
        println!("{:>6} steps: {}", small.1, small.0);
        assert!(small.1 > 0);
        assert_eq!(small, large);
    }
}
