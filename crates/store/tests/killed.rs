//! Killed at each crash point of each write: what was acknowledged is there, what was not committed is not, and what
//! was committed but not acknowledged is there as a whole. And two processes never share one file.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use sectag_proto::secret::SecretText;
use sectag_store::{OpenError, SealKey, SqliteStore, Store, Webhook, WebhookHealth};
use std::path::Path;
use std::process::{Command, Output};

const HOME: &str = "STORE_TEST_HOME";
const POINT: &str = "STORE_TEST_POINT";

/// Each kind of write once; after each one a line on stdout, which is the acknowledgement.
const STEPS: [&str; 11] = [
    "key", "claim", "commit", "block", "tags", "allow", "key", "record", "outbox", "unclaim",
    "claim",
];

fn webhook() -> Webhook {
    Webhook {
        id: "w".into(),
        team: "ada".into(),
        url: "https://sink.example/".into(),
        kinds: Vec::new(),
        created_at: at(6),
        created_by: "ada".into(),
        paused: false,
        cursor: 0,
        health: WebhookHealth::default(),
        last_delivered_at: None,
    }
}

fn secret() -> SecretText {
    SecretText::new(SECRET.into())
}

async fn step(store: &dyn Store, at_step: usize) {
    let id = device_id(1);
    match at_step {
        0 => store.add_team(team("ada"), "service").await.unwrap(),
        1 | 10 => drop(claimed(store, 1).await),
        2 => {
            let mut change = adding(vec![command(1, psk())]);
            change.issued = vec![issued(1, 1, 9)];
            store.commit(id, 1, change).await.unwrap();
        }
        3 => drop(block(store, id, true, at(2)).await.unwrap()),
        4 => drop(tag(store, id, &["x"], at(3)).await.unwrap()),
        5 => store
            .allow("ada", id, key(0).kid(), "ada", at(4))
            .await
            .unwrap(),
        6 => store.add_key(api_key("k", 1), "ada").await.unwrap(),
        7 => store.record(vec![event(6, Some(1))]).await.unwrap(),
        8 => store.add_webhook(webhook(), secret()).await.unwrap(),
        9 => assert!(unclaim(store, id, "ada", at(7)).await),
        _ => unreachable!(),
    }
}

/// How many steps the database shows; panics when it shows half of one.
async fn steps_done(store: &dyn Store) -> usize {
    let trail = store.audit(None, None, 99).await.unwrap();
    let device = store.device(device_id(1)).await.unwrap();
    let listed = store.devices(first("ada", 9)).await.unwrap();
    let commands = store.commands(device_id(1)).await.unwrap().len();
    let certificates = store.certificates(device_id(1)).await.unwrap().len();
    let entries = store.audit_entries(0, u64::MAX, 99).await.unwrap();
    let head = store.audit_head().await.unwrap();
    let judged = sectag_store::audit::verify(entries.into_iter(), [], &key(0), Some(head));
    assert_eq!((judged.findings, judged.holds_to), (vec![], trail.total));
    // The commit is the one step without an audit event here.
    let done = usize::try_from(trail.total).unwrap() + certificates;
    let version = match done {
        0 | 1 | 10 => None,
        2..=5 => Some(done as u64 - 1),
        6..=9 => Some(4),
        _ => Some(5),
    };
    assert_eq!(
        device.as_ref().map(|device| device.version),
        version,
        "after {done}"
    );
    assert_eq!(listed.total, Some(u64::from(version.is_some())));
    assert_eq!(commands, usize::from((3..10).contains(&done)));
    assert_eq!(device.is_some_and(|d| d.blocked), (4..10).contains(&done));
    let teams = store.teams(None, 9).await.unwrap();
    let counted = (teams.items.len() as u64, teams.total);
    assert_eq!(counted, (u64::from(done >= 1), u64::from(done >= 1)));
    let allowed = store.allow_list("ada", None, 9).await.unwrap();
    assert_eq!(allowed.total, u64::from(done >= 6));
    let keys = store.keys("ada", None, 9).await.unwrap();
    let counted = (keys.items.len() as u64, keys.total);
    assert_eq!(counted, (u64::from(done >= 7), u64::from(done >= 7)));
    let webhooks = store.webhooks().await.unwrap();
    assert_eq!(webhooks.len(), usize::from(done >= 9));
    assert_eq!(
        store.tombstone(device_id(1)).await.unwrap().is_some(),
        done == 10
    );
    done
}

fn child(test: &str, home: &Path, point: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(HOME, home)
        .env(POINT, point)
        .output()
        .unwrap()
}

#[tokio::test]
#[ignore = "runs as a child of the test below"]
async fn child_that_writes() {
    let Ok(home) = std::env::var(HOME) else {
        return;
    };
    sectag_keep::crash::arm(&std::env::var(POINT).unwrap()).unwrap();
    let store = open(Path::new(&home));
    for (n, name) in STEPS.iter().enumerate() {
        step(&store, n).await;
        println!("acknowledged {name}");
    }
}

#[tokio::test]
async fn at_each_point_the_database_is_whole() {
    let mut points = 0;
    for (point, _) in sectag_keep::crash::POINTS {
        let Some(kind) = point.strip_prefix("store.") else {
            continue;
        };
        points += 1;
        let (kind, place) = kind.split_once('.').unwrap();
        // A claim is passed twice: the first time nothing is known, the second time a tombstone.
        // The schema is made before the first step, and is no step itself.
        let making = kind == "migrate";
        let passes: Vec<usize> = (0..STEPS.len())
            .filter(|&n| STEPS[n] == kind || making && n == 0)
            .collect();
        assert!(!passes.is_empty(), "no step passes {point}");
        for (pass, at_step) in passes.into_iter().enumerate() {
            let home = tempfile::tempdir().unwrap();
            let ended = child(
                "child_that_writes",
                home.path(),
                &format!("{point}:{}", pass + 1),
            );
            let said = String::from_utf8_lossy(&ended.stdout);
            assert_eq!(ended.status.code(), None, "{point} was not reached: {said}");
            let acknowledged = said.matches("acknowledged").count();
            assert_eq!(acknowledged, at_step, "{point}");
            let store = open(home.path());
            let expected = at_step + usize::from(place == "after-commit" && !making);
            assert_eq!(steps_done(&store).await, expected, "{point}");
            // And it goes on from there.
            for n in expected..STEPS.len() {
                step(&store, n).await;
            }
            assert_eq!(steps_done(&store).await, STEPS.len(), "{point}");
        }
    }
    assert_eq!(points, 20);
}

#[tokio::test]
#[ignore = "runs as a child of the test below"]
async fn child_that_opens() {
    let Ok(home) = std::env::var(HOME) else {
        return;
    };
    let error = SqliteStore::open(&Path::new(&home).join("sectag.db"), SealKey::new(&SEAL));
    let error = error.unwrap_err();
    let OpenError::Lock { source, .. } = &error else {
        panic!("{error}");
    };
    println!("refused: {error}: {source}");
}

#[tokio::test]
async fn a_second_process_is_refused_with_the_first_ones_number() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let ended = child("child_that_opens", home.path(), "");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("sectag.db` cannot be used: "), "{said}");
    assert!(
        said.contains(&format!("is locked by process {}", std::process::id())),
        "{said}"
    );
    // The first one is none the worse for it.
    claimed(&store, 1).await;
    drop(store);
    let ended = child("child_that_opens", home.path(), "");
    assert!(!ended.status.success(), "free again");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sectag.db");
    drop(open(home.path()));
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = SqliteStore::open(&path, SealKey::new(&SEAL)).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("has schema version 99; this program knows versions up to"),
        "{words}"
    );
    assert!(error.hint().unwrap().contains("newer version"));
}
