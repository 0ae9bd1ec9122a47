//! What only the inside can show: plans, batches, and a disk that fails.
#![allow(clippy::unwrap_used)]

use super::*;
use fixtures::{adding, at, claim_of, claimed, command, csr, device_id, event, open};
use std::sync::mpsc;

fn file() -> (tempfile::TempDir, SqliteStore) {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    (home, store)
}

#[test]
fn every_kind_of_write_has_its_crash_points() {
    for kind in writer::KINDS {
        for name in [kind.before, kind.after] {
            let known = sectag_keep::crash::POINTS
                .iter()
                .any(|(point, _)| *point == name);
            assert!(known, "{name} is not in the list of crash points");
        }
    }
}

/// Holds the writer until the sender is used or dropped, so that all that follows becomes one batch.
async fn hold(store: &Arc<SqliteStore>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (started, starts) = tokio::sync::oneshot::channel();
    let store = Arc::clone(store);
    let task = tokio::spawn(async move {
        let job = move |_: &Connection| {
            let _ = started.send(());
            let _ = held.recv();
            Ok::<_, StoreError>(())
        };
        store.write(Kind::RECORD, job).await.unwrap();
    });
    starts.await.unwrap();
    (release, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_batch_128_failing_jobs_roll_back_alone() {
    let (_home, store) = file();
    let store = Arc::new(store);
    for n in 0..256 {
        store.claim(claim_of(n, &[0])).await.unwrap();
    }
    let (release, held) = hold(&store).await;
    let commits: Vec<_> = (0..256_u32)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut change = adding(vec![command(n + 1, csr())]);
                if n % 2 == 1 {
                    // Fails last of all: the version was raised and the command written by then.
                    change.issued = vec![
                        fixtures::issued(n, n + 1, n as u8),
                        fixtures::issued(n, n + 2, n as u8),
                    ];
                }
                store.commit(device_id(n), 1, change).await
            })
        })
        .collect();
    while store.handles.as_ref().unwrap().0.waiting() < 256 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    held.await.unwrap();
    for (n, commit) in (0_u32..).zip(commits) {
        let (commit, device) = (commit.await.unwrap(), device_id(n));
        let commands = store.commands(device).await.unwrap().len();
        let version = store.device(device).await.unwrap().unwrap().version;
        if n % 2 == 1 {
            assert_eq!(commit, Err(CommitError::KeyAlreadyIssued { device }));
            assert_eq!((commands, version), (0, 1));
            assert_eq!(store.certificates(device).await.unwrap(), []);
        } else {
            assert_eq!(commit, Ok(Committed { version: 2 }));
            assert_eq!((commands, version), (1, 2));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_answers_every_waiting_job_and_later_writes_work_again() {
    let (_home, store) = file();
    let store = Arc::new(store);
    claimed(&*store, 1).await;
    let pages = |count: &'static str| {
        let sql = format!("PRAGMA max_page_count = {count}");
        store.write(Kind::RECORD, move |db| {
            db.query_row(&sql, [], |_| Ok(())).map_err(read_error)
        })
    };
    pages("1").await.unwrap(); // SQLite makes it the size the file has.
    let (release, held) = hold(&store).await;
    let mut long = event(1, Some(1));
    long.detail = "x".repeat(100_000);
    let writes: Vec<_> = (0..20)
        .map(|_| {
            let (store, long) = (Arc::clone(&store), long.clone());
            tokio::spawn(async move { store.record(vec![long]).await })
        })
        .collect();
    while store.handles.as_ref().unwrap().0.waiting() < 20 {
        tokio::task::yield_now().await;
    }
    drop(release);
    held.await.unwrap();
    for write in writes {
        let refused = write.await.unwrap().unwrap_err().to_string();
        assert!(
            refused.starts_with("the database cannot write"),
            "{refused}"
        );
        assert!(refused.contains("full"), "{refused}");
    }
    pages("1073741823").await.unwrap();
    store.record(vec![long]).await.unwrap();
    assert_eq!(store.audit(None, None, 9).await.unwrap().total, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_is_told_to_all_of_its_batch() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE events (number INTEGER PRIMARY KEY);",
    )
    .unwrap();
    let events = outbox::Events::new(&db, 1).unwrap();
    let (writer, thread) = writer::start(db, 256, events).unwrap();
    let insert = |sql: &'static str| writer.run(Kind::RECORD, move |db| execute(db, sql, []));
    let (release, held) = mpsc::channel::<()>();
    let (started, starts) = tokio::sync::oneshot::channel();
    let holding = writer.run(Kind::RECORD, move |_| {
        let _ = started.send(());
        let _ = held.recv();
        Ok::<_, StoreError>(())
    });
    let releasing = async {
        starts.await.unwrap();
        // The orphan is found by the commit only; its neighbour is in the same batch.
        tokio::join!(
            insert("INSERT INTO child VALUES (7)"),
            insert("INSERT INTO parent VALUES (1)"),
            async {
                while writer.waiting() < 2 {
                    tokio::task::yield_now().await;
                }
                release.send(()).unwrap();
            }
        )
    };
    let (held, (orphan, neighbour, ())) = tokio::join!(holding, releasing);
    held.unwrap();
    for refused in [orphan, neighbour] {
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.starts_with("the database cannot commit"),
            "{refused}"
        );
    }
    let parents = writer.run(Kind::RECORD, |db| {
        rows::first(db, "SELECT count(*) FROM parent", [], |row| {
            rows::get::<i64>(row, 0)
        })
    });
    let parents = parents.await.unwrap();
    assert_eq!(parents, Some(0));
    assert_eq!(insert("INSERT INTO parent VALUES (7)").await, Ok(1));
    drop(writer);
    thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_panics_is_rolled_back_and_takes_nobody_along() {
    let (_home, store) = file();
    let panics = store.write(Kind::RECORD, |db| {
        audit::insert(db, &event(1, None))?;
        if db.is_autocommit() {
            return Ok(());
        }
        panic!("a mistake in a job (this panic is part of the test)")
    });
    assert_eq!(panics.await, Err(StoreError::Closed));
    store.record(vec![event(2, None)]).await.unwrap();
    let trail = store.audit(None, None, 9).await.unwrap();
    assert_eq!((trail.total, &trail.items[0].event), (1, &event(2, None)));
}

#[tokio::test]
async fn dropping_the_store_writes_what_was_queued() {
    let (home, store) = file();
    let store = Arc::new(store);
    claimed(&*store, 1).await;
    {
        let record = store.record(vec![event(1, None)]);
        let mut record = std::pin::pin!(record);
        // Handed over, and then nobody waits for it.
        let poll = std::future::poll_fn(|task| {
            let _ = record.as_mut().poll(task);
            std::task::Poll::Ready(())
        });
        poll.await;
    }
    drop(store);
    let files: Vec<_> = std::fs::read_dir(home.path())
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert_eq!(
        files.len(),
        2,
        "the database and its lock, no log: {files:?}"
    );
    let store = open(home.path());
    assert_eq!(store.audit(None, None, 9).await.unwrap().total, 2);
    store.unclaim(device_id(1), 1, "ada", at(1)).await.unwrap();
}

#[tokio::test]
async fn a_damaged_row_is_an_error_with_its_name() {
    let (_home, store) = file();
    claimed(&store, 1).await;
    store
        .commit(device_id(1), 1, adding(vec![command(1, csr())]))
        .await
        .unwrap();
    let damage = |sql: &'static str| store.write(Kind::RECORD, move |db| execute(db, sql, []));
    damage("UPDATE commands SET request = '{'").await.unwrap();
    let error = store.commands(device_id(1)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the database holds a damaged command c0c0"),
        "{error}"
    );
    damage("UPDATE devices SET candidates = zeroblob(92)")
        .await
        .unwrap();
    let error = store.device(device_id(1)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the database holds a damaged candidate key"),
        "{error}"
    );
}
