//! Queue writes at the store's door against SQLite with one commit per write, in one run on one disk.
//!
//! `cargo bench -p sectag-store --bench queue_writes [-- DIRECTORY]`; the directory must be on the disk to be measured
//! (default: cargo's target directory). Both sides are durable (WAL, `synchronous=FULL`), have the same tables and
//! write the same rows: the life of a command, which is three writes (queued, delivered, settled), each with the
//! device's version raised. So no queue grows beyond what the service allows. The store does all else that it does on
//! the way: JSON, channels, savepoints, compare-and-swap.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use fixtures::*;
use rusqlite::params;
use sectag_proto::service::Status;
use sectag_store::{Options, SealKey, SqliteStore, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const WRITERS: u32 = 64;
const TIME: Duration = Duration::from_secs(5);
const TARGET: f64 = 8.0;
/// Queued, delivered, settled.
const LIFE: [Status; 3] = [Status::Pending, Status::InProgress, Status::Succeeded];

fn main() {
    let directory = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let directory = directory.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned());
    let home = tempfile::tempdir_in(directory).unwrap();
    let single = one_commit_per_write(&home.path().join("single"));
    let ungrouped = through_the_store(&home.path().join("ungrouped"), 1);
    let grouped = through_the_store(&home.path().join("grouped"), sectag_store::BATCH_MAX);
    println!("SQLite, one commit per write:           {single:>9.0} writes/s");
    println!("store, {WRITERS} writers, batches of one:      {ungrouped:>9.0} writes/s");
    println!("store, {WRITERS} writers, group commit:        {grouped:>9.0} writes/s");
    let ratio = grouped / single;
    let verdict = if ratio >= TARGET { "reached" } else { "missed" };
    println!("ratio: {ratio:.1} (target {TARGET}: {verdict})");
}

/// Writes per second until [`TIME`] is over.
fn through_the_store(directory: &Path, batch_max: usize) -> f64 {
    std::fs::create_dir(directory).unwrap();
    let options = Options {
        batch_max,
        ..Options::default()
    };
    let path = directory.join("sectag.db");
    let store = SqliteStore::open_with(&path, SealKey::new(&SEAL), options).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1) // The writer's thread is the other core.
        .build()
        .unwrap();
    let written = Arc::new(AtomicU32::new(0));
    let (rate, store) = runtime.block_on(async {
        for writer in 0..WRITERS {
            claimed(&*store, writer).await;
        }
        let begin = Instant::now();
        let tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, written) = (Arc::clone(&store), Arc::clone(&written));
                tokio::spawn(async move {
                    let (mut version, mut n) = (1, 0);
                    while begin.elapsed() < TIME {
                        n += 1;
                        for status in LIFE {
                            let mut row = command(n, csr());
                            row.status = status;
                            let change = adding(vec![row]);
                            let committed = store.commit(device_id(writer), version, change).await;
                            version = committed.unwrap().version;
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let rate = f64::from(written.load(Ordering::Relaxed)) / begin.elapsed().as_secs_f64();
        (rate, store)
    });
    drop(store);
    // What was counted is there.
    let rows: u32 = rusqlite::Connection::open(path)
        .unwrap()
        .query_row("SELECT count(*) FROM commands", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows * 3, written.load(Ordering::Relaxed));
    rate
}

/// The fastest honest way without groups: one thread, prepared statements, a transaction per write.
fn one_commit_per_write(directory: &Path) -> f64 {
    std::fs::create_dir(directory).unwrap();
    let path = directory.join("sectag.db");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let store = open(directory);
    runtime.block_on(async {
        for writer in 0..WRITERS {
            claimed(&store, writer).await;
        }
    });
    drop(store);
    let db = rusqlite::Connection::open(path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    let request = serde_json::to_string(&csr()).unwrap();
    let begin = Instant::now();
    let mut written = 0_u32;
    while begin.elapsed() < TIME {
        // Device by device, one step of each one's command at a time, as 64 writers in turn would.
        let (device, version) = (device_id(written % WRITERS), written / WRITERS + 1);
        let (n, status) = ((version - 1) / 3 + 1, LIFE[(version - 1) as usize % 3]);
        let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
            assert!(db.prepare_cached(sql).unwrap().execute(params).unwrap() <= 1);
        };
        run("BEGIN IMMEDIATE", &[]);
        run(
            include_str!("../sql/sqlite/device_advance.sql"),
            params![device.as_bytes(), version, n + 1, None::<i64>, None::<i64>],
        );
        run(
            include_str!("../sql/sqlite/command_put.sql"),
            params![
                device.as_bytes(),
                command_id(n).as_bytes(),
                n,
                n,
                0,
                None::<String>,
                "number",
                request,
                None::<Vec<u8>>,
                status.as_str(),
                at(0).0 as i64,
                None::<i64>,
                None::<i64>,
                None::<i64>,
                None::<i64>,
                None::<String>
            ],
        );
        run("COMMIT", &[]);
        written += 1;
    }
    f64::from(written) / begin.elapsed().as_secs_f64()
}
