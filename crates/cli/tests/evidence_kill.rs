//! Kill −9 around webhooks and around the signatures of the audit trail: what happened is delivered at least once and in order,
//! under the same ids, and the trail holds.
#![allow(clippy::unwrap_used)]

mod support;

use sectag_keep::crash::POINTS;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Home, Up};

/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const OURS: [&str; 3] = ["store.outbox.", "webhooks.", "audit."];
/// Passes of one point in one life: enough for a cursor to be written between two deliveries.
const PASSES: u64 = 3;

/// Deliveries in the order in which they came: id and body.
type Came = Arc<Mutex<Vec<(String, String)>>>;

fn receiver() -> (String, Came) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let came = Came::default();
    let taken = came.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, taken) = (stream.unwrap(), taken.clone());
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut part = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut part) {
                    bytes.extend_from_slice(&part[..read]);
                    while let Some((id, body, length)) = delivery(&bytes) {
                        bytes.drain(..length);
                        taken.lock().unwrap().push((id, body));
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                }
            });
        }
    });
    (url, came)
}

fn delivery(bytes: &[u8]) -> Option<(String, String, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let length: usize = header("content-length: ")?.parse().ok()?;
    let body = body.get(..length)?;
    let id = header("sectag-delivery: ")?.to_owned();
    Some((id, body.to_owned(), head.len() + 4 + length))
}

/// Does what is not done yet; `false` when the service is gone.
fn lives_on(home: &Home, url: &str) -> bool {
    let listed = home.sectag(&["webhooks", "--json"]);
    if listed.code != Some(0) {
        return false;
    }
    if listed.json()["total"] == 0
        && home
            .sectag(&["webhooks", "add", url, "--kind", "access"])
            .code
            != Some(0)
    {
        return false;
    }
    for n in 0..4 {
        let name = format!("key-{n}");
        let listed = home.sectag(&["keys", "--json"]);
        if listed.code != Some(0) {
            return false;
        }
        if !listed.stdout.contains(&name) && home.sectag(&["keys", "create", &name]).code != Some(0)
        {
            return false;
        }
    }
    true
}

fn is_killed(up: &mut Up) -> bool {
    up.wait(Duration::from_millis(500)).is_some()
}

#[test]
fn what_happened_is_delivered_and_the_trail_holds_after_a_kill_at_every_point() {
    let ours = |name: &&str| OURS.iter().any(|group| name.starts_with(group));
    let points: Vec<&str> = POINTS.iter().map(|(name, _)| *name).filter(ours).collect();
    assert_eq!(points.len(), 6, "{points:?}");
    let mut killed = BTreeMap::new();
    for point in points {
        for pass in 1..=PASSES {
            let times = one_life(&format!("{point}:{pass}"));
            *killed.entry(point).or_insert(0) += times;
        }
    }
    println!("{killed:?}");
    assert!(killed.values().all(|times| *times > 0), "{killed:?}");
}

/// How often it was killed: once, or not at all where the point is passed less often.
fn one_life(armed: &str) -> usize {
    let home = Home::new();
    let (url, came) = receiver();
    // The first start is of no interest: it makes the home.
    assert!(home.up(&[]).stop().success());
    let mut killed = 0;
    match home.try_up(&[("SECTAG_CRASH_AT", armed)], &[]) {
        Err(_) => killed += 1,
        Ok(mut up) => {
            let whole = lives_on(&home, &url);
            if is_killed(&mut up) {
                killed += 1;
            } else {
                assert!(whole, "{armed}: {}", up.log());
                killed += usize::from(!up.stop().success());
            }
        }
    }
    let up = home.up(&[]);
    assert!(lives_on(&home, &url), "{armed}: {}", up.log());
    let listed = home.json(&["audit", "list", "--limit", "100"]);
    let entries = listed["items"].as_array().unwrap().clone();
    let number = |entry: &Value| entry["number"].as_u64().unwrap();
    let added = entries
        .iter()
        .find(|entry| entry["action"] == "webhook-added");
    let added = number(added.unwrap_or_else(|| panic!("{armed}: {listed}")));
    let mut wanted: Vec<u64> = entries.iter().map(number).filter(|n| *n >= added).collect();
    wanted.sort_unstable();
    let begun = Instant::now();
    loop {
        let all = came.lock().unwrap().clone();
        let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
        let mut told = Vec::new();
        for (id, body) in &all {
            let known = bodies.insert(id, body);
            assert!(
                known.is_none_or(|known| known == body),
                "{armed}: {id} twice, and differently"
            );
            let event: Value = serde_json::from_str(body).unwrap();
            let entry = event["data"]["audit"].as_u64().unwrap();
            // In order, except that what comes again goes back to where the cursor was.
            if !told.contains(&entry) {
                assert!(
                    told.last().is_none_or(|last| *last < entry),
                    "{armed}: {told:?}, {entry}"
                );
                told.push(entry);
            }
        }
        if told == wanted {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{armed}: {told:?} of {wanted:?}\n{}",
            up.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let file = home.beside("audit.ndjson");
    let file = file.to_str().unwrap();
    home.sectag(&["audit", "export", "--out", file])
        .expect_code(0);
    assert!(up.stop().success());
    home.sectag(&["audit", "verify", file]).expect_code(0);
    killed
}
