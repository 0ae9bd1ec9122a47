//! `sectag claim --from`: rows of both kinds, refused ones given back, and any end in the middle gone on from.
#![allow(clippy::unwrap_used)]

mod support;

use sectag_pki::PrivateKey;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::token::{AttestationToken, DeviceType};
use sectag_proto::{DeviceId, FirmwareId};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Home, Up, sectag};

struct Key(PrivateKey);

impl SignEs256 for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).unwrap())
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::from_spki_der(&self.0.spki_der()).unwrap()
    }
}

/// A factory of devices, a home with a running service.
struct Desk {
    home: Home,
    _up: Up,
    key: Key,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        let key = Key(PrivateKey::generate().unwrap());
        Self { home, _up: up, key }
    }

    fn token(&self, n: u32) -> String {
        AttestationToken::sign(
            id(n),
            DeviceType::NRF9151_LACA,
            FirmwareId::from_bytes([7; 16]),
            [9; 16],
            Convention::BodyIsAad,
            &self.key,
        )
        .text()
    }

    /// The row that the vendor's gather_attestation_tokens writes.
    fn tool_row(&self, n: u32) -> String {
        format!(
            "35{n:013},{},{},2026-11-21T07:00:00.123456+00:00\n",
            id(n),
            self.token(n)
        )
    }

    fn file(&self, rows: &str) -> PathBuf {
        self.file_named("devices.csv", rows)
    }

    fn file_named(&self, name: &str, rows: &str) -> PathBuf {
        let path = self.home.beside(name);
        std::fs::write(&path, rows).unwrap();
        path
    }

    /// Runs to the end: exit code, summary, and what was said.
    fn claim(&self, from: &Path, more: &[&str]) -> (i32, Value, String) {
        let from = from.to_str().unwrap();
        let output = self
            .home
            .sectag(&[&["claim", "--json", "--from", from], more].concat());
        let summary = if output.stdout.is_empty() {
            Value::Null
        } else {
            output.json()
        };
        (output.code.unwrap(), summary, output.stderr)
    }

    fn claimed(&self) -> Vec<(String, Value)> {
        let list = self.home.json(&["devices", "list"]);
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| {
                (
                    item["id"].as_str().unwrap().to_owned(),
                    item["tags"].clone(),
                )
            })
            .collect()
    }
}

fn id(n: u32) -> DeviceId {
    let mut bytes = [0x40; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    DeviceId::from_bytes(bytes)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", path.display()))
}

#[test]
fn rows_of_both_kinds_are_claimed_and_refused_ones_come_back_with_the_reason() {
    let desk = Desk::new();
    let good = desk.token(2);
    let last = if good.ends_with('A') { 'Q' } else { 'A' };
    let damaged = format!("{}{last}", &good[..good.len() - 1]);
    let mut rows = "imei,uuid,token,timestamp\n".to_owned();
    rows += &desk.tool_row(1);
    let _ = write!(rows, "\"{good}\",\"a,b\"\n\n{damaged},c\nno token here\n");
    rows += &desk.tool_row(1);
    let file = desk.file(&rows);

    let (code, summary, said) = desk.claim(&file, &["--tag", "batch-7"]);
    assert_eq!(code, 1, "{said}");
    for (member, count) in [("rows", 5), ("claimed", 3), ("failed", 2)] {
        assert_eq!(summary[member], count, "{member} {summary}");
    }
    assert!(said.contains("5 rows: 3 claimed, 2 refused"), "{said}");
    assert!(said.contains("peak memory"), "{said}");
    let failed_path = beside(&file, ".failed.csv");
    assert!(said.contains(failed_path.to_str().unwrap()), "{said}");
    let failed = std::fs::read_to_string(&failed_path).unwrap();
    let lines: Vec<&str> = failed.lines().collect();
    assert_eq!(lines.len(), 2, "{failed}");
    assert!(lines[0].starts_with(&format!("\"{damaged}\",\"c,batch-7\",\"row 3: ")));
    assert!(lines[1].starts_with("\"no token here\",\"\",\"row 4: no claim token"));
    assert!(!beside(&file, ".journal").exists());
    let tags = |tags: &[&str]| serde_json::json!(tags);
    assert_eq!(
        desk.claimed(),
        [
            (id(1).to_string(), tags(&["batch-7"])),
            (id(2).to_string(), tags(&["a", "b", "batch-7"])),
        ]
    );

    // Once more changes nothing; without refused rows there is no file of them.
    let file = desk.file(&desk.tool_row(1));
    let (code, summary, said) = desk.claim(&file, &[]);
    assert_eq!((code, &summary["claimed"]), (0, &1.into()), "{said}");
    assert!(!failed_path.exists());
}

#[test]
fn killed_at_any_moment_and_resumed_no_row_is_lost_or_doubled() {
    const ROWS: u32 = 120;
    let desk = Desk::new();
    let mut rows = String::new();
    let mut refused = Vec::new();
    for n in 0..ROWS {
        if n % 10 == 3 {
            let row = format!("garbage {n}");
            let _ = writeln!(rows, "{row}");
            refused.push(row);
        } else {
            rows += &desk.tool_row(n);
        }
    }
    let file = desk.file(&rows);
    let journal = beside(&file, ".journal");
    let args = ["claim", "--rows-per-call", "7", "--from"];
    let mut kills = 0;
    // Each life gets a little further: killed while the next call runs, just before or just after it is written down.
    let mut known = 0;
    while known < u64::from(ROWS) / 2 {
        let mut child = sectag(&desk.home.path())
            .args(args)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = std::time::Instant::now();
        loop {
            let rows = known_rows(&journal);
            if rows > known {
                known = rows;
                break;
            }
            assert!(begun.elapsed() < support::DEADLINE, "no progress");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(kills % 5));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 3, "{kills}");
    let (code, summary, said) = desk.claim(&file, &["--rows-per-call", "50"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("goes on behind row"), "{said}");
    let expected = u64::from(ROWS) - refused.len() as u64;
    assert_eq!(summary["rows"], ROWS, "{summary}");
    assert_eq!(summary["claimed"], expected, "{summary}");
    assert!(summary["resumedBehindRow"].as_u64().unwrap() >= known);
    let failed = std::fs::read_to_string(beside(&file, ".failed.csv")).unwrap();
    let named: Vec<&str> = failed
        .lines()
        .map(|line| line.split('"').nth(1).unwrap())
        .collect();
    assert_eq!(named, refused);
    assert_eq!(desk.claimed().len() as u64, expected);
    let audit = desk.home.json(&["audit", "list", "--limit", "100"]);
    let claims = audit["items"].as_array().unwrap();
    let claims = claims.iter().filter(|entry| entry["action"] == "claim");
    assert_eq!(claims.count() as u64, expected.min(100), "one claim each");
}

/// `make soak`: prints how long it took and what it needed.
#[test]
#[ignore = "a minute in a release build"]
fn a_hundred_thousand_rows_are_claimed_over_many_kills_in_flat_memory() {
    const ROWS: u32 = 100_000;
    const KILLS: u64 = 9;
    let desk = Desk::new();
    let mut rows = String::new();
    for n in 0..ROWS {
        rows += &desk.tool_row(n);
    }
    let file = desk.file(&rows);
    let journal = beside(&file, ".journal");
    let begun = std::time::Instant::now();
    for kill in 1..=KILLS {
        let mut child = sectag(&desk.home.path())
            .args(["claim", "--from"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each life ends a tenth further on, in the middle of a call.
        while known_rows(&journal) < kill * u64::from(ROWS) / (KILLS + 1) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(kill * 37 % 400));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let few = desk.file_named("few.csv", &desk.tool_row(0));
    let (_, few, _) = desk.claim(&few, &[]);
    let output = Command::new(env!("CARGO_BIN_EXE_sectag"))
        .env("SECTAG_HOME", desk.home.path())
        .args(["claim", "--json", "--from"])
        .arg(&file)
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    println!(
        "{ROWS} rows over {KILLS} kills in {:.1} s\n{said}",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        (&summary["rows"], &summary["claimed"]),
        (&ROWS.into(), &ROWS.into())
    );
    let total = desk.home.json(&["status"])["devices"]["claimed"]
        .as_u64()
        .unwrap();
    assert_eq!(total, u64::from(ROWS), "each row is one device");
    let peak = |summary: &Value| summary["peakMemoryBytes"].as_u64().unwrap();
    assert!(
        peak(&summary) < peak(&few) + (4 << 20),
        "{} bytes with one row, {} with all",
        peak(&few),
        peak(&summary)
    );
}

/// Rows whose answers are known.
fn known_rows(journal: &Path) -> u64 {
    std::fs::read(journal)
        .ok()
        .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        .map_or(0, |kept| kept["rows"].as_u64().unwrap())
}

#[test]
fn rows_from_stdin_are_claimed_and_refused_ones_go_to_stdout() {
    let desk = Desk::new();
    let mut child = sectag(&desk.home.path())
        .args(["claim", "--from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let rows = format!("{}nonsense\n", desk.tool_row(1));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rows.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.starts_with("\"nonsense\",\"\",\"row 2: "),
        "{stdout}"
    );
    assert_eq!(desk.claimed().len(), 1);
}

#[test]
fn memory_does_not_grow_with_the_rows() {
    let desk = Desk::new();
    // Refused by the service one by one: as much work for the client, and little for the service.
    let row = format!("{}.{}\n", "2dn3".repeat(19), "0oRD".repeat(25));
    let peak = |rows: usize| {
        let file = desk.file(&row.repeat(rows));
        let (code, summary, said) = desk.claim(&file, &[]);
        assert_eq!((code, &summary["failed"]), (1, &rows.into()), "{said}");
        summary["peakMemoryBytes"].as_u64().unwrap()
    };
    let (few, many) = (peak(2_000), peak(20_000));
    assert!(many < few + (2 << 20), "{few} bytes, then {many}");
}

#[test]
fn mistakes_have_words() {
    let desk = Desk::new();
    let refused = |args: &[&str], code: i32, words: &str| {
        let output = desk.home.sectag(&[&["claim"], args].concat());
        assert_eq!(output.code, Some(code), "{output:#?}");
        assert!(output.stderr.contains(words), "{output:#?}");
    };
    refused(&["--from", "/nowhere.csv"], 2, "cannot read `/nowhere.csv`");
    let empty = desk.file("# nothing yet\n");
    let path = empty.to_str().unwrap();
    refused(&["--from", path], 2, "has no rows");
    refused(&["--from", path, "--rows-per-call", "1001"], 2, "1..=1000");
    refused(&["--from", path, "--dry-run"], 2, "cannot be used with");
    refused(&[], 2, "TOKEN");

    // Another file under the name of one that was begun.
    let file = desk.file(&desk.tool_row(1));
    let other = r#"{"version":1,"bytes":5,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","rows":1,"claimed":1,"failed":0,"failedBytes":0}"#;
    let journal = beside(&file, ".journal");
    sectag_keep::write_private(&journal, other.as_bytes()).unwrap();
    refused(
        &["--from", path],
        2,
        "are not those that were claimed before",
    );
    sectag_keep::write_private(&journal, b"{}").unwrap();
    refused(&["--from", path], 2, "is no journal of ours");
    std::fs::remove_file(&journal).unwrap();

    // Two at once.
    let held = std::fs::File::open(&file).unwrap();
    held.lock().unwrap();
    refused(&["--from", path], 2, "another process is claiming");
    drop(held);

    // A service that is not there.
    let output = Command::new(env!("CARGO_BIN_EXE_sectag"))
        .env("SECTAG_HOME", desk.home.path())
        .args(["claim", "--url", "http://127.0.0.1:1", "--from", path])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!journal.exists(), "nothing was begun");
}
