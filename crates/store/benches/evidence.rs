//! What evidence costs at the store's door, as shares of what a decision costs anyway.
//!
//! `cargo bench -p sectag-store --bench evidence [-- DIRECTORY]`; the directory must be on the disk to be measured (default:
//! cargo's target directory). The same decisions, each a durable commit by one of 64 writers, once bare, once with an event (a
//! fetch), once with an entry of the audit trail, which brings its hash and its event; and the hash by itself.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use fixtures::*;
use sectag_store::audit::{AuditEntry, NO_HASH};
use sectag_store::{AuditEvent, DeviceChange, NewEvent, Store};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const WRITERS: u32 = 64;
const TIME: Duration = Duration::from_secs(3);
const HASHES: u32 = 200_000;

fn main() {
    let directory = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let directory = directory.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned());
    let home = tempfile::tempdir_in(directory).unwrap();
    let bare = rate(&home.path().join("bare"), |_, _| {});
    let told = rate(&home.path().join("told"), |change, device| {
        change.events.push(NewEvent {
            at: at(1),
            kind: "fetch",
            team: Some("ada".into()),
            device: Some(device_id(device)),
            command: None,
            data: json!({ "commands": [{ "id": command_id(1).to_string(), "kind": "config" }] }),
        });
    });
    let audited = rate(&home.path().join("audited"), |change, device| {
        change.audit.push(entry(device));
    });
    println!("decisions, {WRITERS} writers, bare:              {bare:>9.0} commits/s");
    println!(
        "  with an event:                          {told:>9.0} commits/s, {:.2} of bare",
        told / bare
    );
    println!(
        "  with an entry, its hash and its event:  {audited:>9.0} commits/s, {:.2} of bare",
        audited / bare
    );
    let hash = hash_s();
    println!(
        "the hash of an entry: {:.2} µs, {:.1} % of a decision with an entry",
        hash * 1e6,
        100.0 * hash * audited
    );
}

fn entry(device: u32) -> AuditEvent {
    let after = json!({ "request": { "config": { "properties": { "a": "b" } } }, "status": "PENDING", "onError": "vendor" });
    AuditEvent::new(at(1), "ada", "command-created")
        .team("f6ba93ac-5733-889a-ac84-7ea99e6a98c0")
        .device(device_id(device))
        .command(command_id(1))
        .detail("config")
        .changed(serde_json::Value::Null, after)
}

/// Commits per second until [`TIME`] is over.
fn rate(directory: &Path, also: impl Fn(&mut DeviceChange, u32) + Send + Sync + 'static) -> f64 {
    std::fs::create_dir(directory).unwrap();
    let store: Arc<dyn Store> = Arc::new(open(directory));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1) // The writer's thread is the other core.
        .build()
        .unwrap();
    let (written, also) = (Arc::new(AtomicU32::new(0)), Arc::new(also));
    let rate = runtime.block_on(async {
        for writer in 0..WRITERS {
            claimed(&*store, writer).await;
        }
        let begin = Instant::now();
        let tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, written, also) = (store.clone(), written.clone(), also.clone());
                tokio::spawn(async move {
                    let mut version = 1;
                    while begin.elapsed() < TIME {
                        // One row that is written again and again.
                        let mut change = adding(vec![command(1, csr())]);
                        also(&mut change, writer);
                        let committed = store.commit(device_id(writer), version, change).await;
                        version = committed.unwrap().version;
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        f64::from(written.load(Ordering::Relaxed)) / begin.elapsed().as_secs_f64()
    });
    drop(store);
    rate
}

/// Seconds for one hash.
fn hash_s() -> f64 {
    let event = entry(1);
    let text = |value: Option<serde_json::Value>| value.map(|value| value.to_string());
    let mut entry = AuditEntry {
        number: 1,
        at: event.at.0,
        by: event.by,
        action: event.action,
        team: event.team,
        device: event.device,
        command: event.command,
        detail: event.detail,
        before: text(event.before),
        after: text(event.after),
        hash: NO_HASH,
    };
    let begin = Instant::now();
    for number in 1..=u64::from(HASHES) {
        entry.number = number;
        entry.hash = entry.chained(&entry.hash.clone());
    }
    begin.elapsed().as_secs_f64() / f64::from(HASHES)
}
