//! The audit trail as evidence, through the real binary: whatever is done to it in the database is found in the export and
//! named; a stranger's tools come to the same hashes.
#![allow(clippy::unwrap_used)]

mod support;

use sectag_pki::PrivateKey;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Home, Output};

/// Entries that [`story`] leaves: the owner's key, and those made here.
const ENTRIES: u64 = 11;

/// A home whose trail has [`ENTRIES`] entries, all signed at the orderly end.
fn story() -> Home {
    let home = Home::new();
    let up = home.up(&[]);
    for n in 1..ENTRIES {
        let name = format!("key-{n}");
        home.sectag(&["keys", "create", &name]).expect_code(0);
    }
    assert!(up.stop().success());
    home
}

fn database(home: &Home) -> PathBuf {
    home.path().join("sectag.db")
}

/// Exports with a service that runs for it, and verifies with none.
fn exported(home: &Home) -> PathBuf {
    let up = home.up(&[]);
    let file = home.beside("audit.ndjson");
    let path = file.to_str().unwrap();
    let said = home
        .sectag(&["audit", "export", "--out", path])
        .expect_code(0);
    assert!(said.stderr.contains("entries written to"), "{said:?}");
    let listed = home.json(&["audit", "list", "--limit", "3"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert!(up.stop().success());
    file
}

fn verify(home: &Home, file: &Path, more: &[&str]) -> Output {
    home.sectag(&[&["audit", "verify", file.to_str().unwrap()], more].concat())
}

#[test]
fn an_untouched_trail_holds_and_a_stranger_agrees() {
    let home = story();
    let file = exported(&home);
    let whole = verify(&home, &file, &[]).expect_code(0);
    assert_eq!(
        whole.stdout,
        format!(
            "{ENTRIES} entries; everything holds up to entry {ENTRIES}, signed up to entry {ENTRIES} (key: the home)\n"
        )
    );
    let data = verify(&home, &file, &["--json"]).expect_code(0).json();
    assert_eq!(data["holds"], true);
    assert_eq!(data["signedTo"], ENTRIES);

    // Elsewhere, without a home: with the key at hand, and with what the export says.
    let key = home.beside("audit.pem");
    std::fs::write(&key, home.sectag(&["audit", "key"]).expect_code(0).stdout).unwrap();
    let elsewhere = Home::new();
    let with_key = verify(&elsewhere, &file, &["--key", key.to_str().unwrap()]).expect_code(0);
    assert!(with_key.stdout.ends_with("(key: --key)\n"), "{with_key:?}");
    let without = verify(&elsewhere, &file, &[]).expect_code(0);
    assert!(
        without.stderr.starts_with("the key came with the export"),
        "{without:?}"
    );
    a_stranger_agrees(&home, &file, &key);

    // Another's key, a file that is none, and half an export.
    let other = home.beside("other.pem");
    let spki = PrivateKey::generate().unwrap().spki_der();
    std::fs::write(&other, sectag_pki::pem::encode("PUBLIC KEY", &spki)).unwrap();
    let foreign = verify(&home, &file, &["--key", other.to_str().unwrap()]).expect_code(1);
    assert!(foreign.stdout.contains("is not of this key"), "{foreign:?}");
    assert!(foreign.stderr.contains("hint: "), "{foreign:?}");
    let none = verify(&home, &home.path().join("run.toml"), &[]).expect_code(2);
    assert!(none.stderr.contains("cannot read"), "{none:?}");
    let toml = verify(&home, &home.path().join("sectag.toml"), &[]).expect_code(2);
    assert!(
        toml.stderr.contains("is not an export of an audit trail"),
        "{toml:?}"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&file, lines[..lines.len() - 3].join("\n")).unwrap();
    let half = verify(&home, &file, &[]).expect_code(1);
    assert!(half.stdout.contains("the export breaks off"), "{half:?}");
    assert!(half.stdout.contains("the trail was cut"), "{half:?}");
}

/// docs/reference/audit.md in the words of Python and OpenSSL.
fn a_stranger_agrees(home: &Home, export: &Path, key: &Path) {
    for program in ["python3", "openssl"] {
        let there = Command::new(program).arg("--help").output().is_ok();
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            there || !required,
            "{program} is missing and SECTAG_PEERS=require"
        );
        if !there {
            println!("{program} is not there: no foreign judge");
            return;
        }
    }
    let page = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/audit.md"),
    )
    .unwrap();
    let (_, script) = page.split_once("```python\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let run = Command::new("python3")
        .args(["-c", script])
        .arg(export)
        .current_dir(home.beside(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{said}{run:?}");
    assert_eq!(said, format!("chain holds up to entry {ENTRIES}\n"));
    // The script left message and signature of each checkpoint beside it.
    let mut judged = 0;
    for number in 1..=ENTRIES {
        let (message, signature) = (
            home.beside(&format!("checkpoint-{number}.txt")),
            home.beside(&format!("checkpoint-{number}.sig")),
        );
        if !message.exists() {
            continue;
        }
        judged += 1;
        let openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-verify"])
            .arg(key)
            .arg("-signature")
            .args([signature, message])
            .output()
            .unwrap();
        assert!(openssl.status.success(), "{openssl:?}");
    }
    assert_eq!(judged, 2, "one at the first start, one at the end");
}

#[test]
fn what_is_done_to_the_database_is_found_and_named() {
    let home = story();
    let kept = std::fs::read(database(&home)).unwrap();
    let checkpoints = home.read("audit.checkpoints");
    let cases: [(&str, &str, u64); 8] = [
        (
            "UPDATE audit SET team = 'another' WHERE number = 5",
            "entry 5 was altered",
            4,
        ),
        (
            "UPDATE audit SET by = 'mallory' WHERE number = 5",
            "entry 5 was altered",
            4,
        ),
        (
            "UPDATE audit SET after = '{\"role\":\"viewer\"}' WHERE number = 5",
            "entry 5 was altered",
            4,
        ),
        (
            "DELETE FROM audit WHERE number = 5",
            "entries 5 to 5 were dropped",
            4,
        ),
        (
            "DELETE FROM audit WHERE number = 5; UPDATE audit SET number = -number WHERE number > 5; \
             UPDATE audit SET number = -number - 1 WHERE number < 0",
            "entries 5 to 5 were dropped",
            4,
        ),
        (
            "UPDATE audit SET number = -5 WHERE number = 5; UPDATE audit SET number = 5 WHERE number = 6; \
             UPDATE audit SET number = 6 WHERE number = -5",
            "entries 5 and 6 were reordered",
            4,
        ),
        (
            "UPDATE audit SET number = -number WHERE number > 4; \
             UPDATE audit SET number = -number + 1 WHERE number < 0; \
             INSERT INTO audit SELECT 5, at, 'mallory', action, device, command, detail, before, after, hash, team \
             FROM audit WHERE number = 4",
            "an entry was inserted as number 5",
            4,
        ),
        // The checkpoints in the database go as well; those of the file stay.
        (
            "DELETE FROM audit WHERE number > 8; DELETE FROM audit_checkpoints",
            "the trail was cut after entry 9",
            8,
        ),
    ];
    for (sql, finding, holds_to) in cases {
        std::fs::write(database(&home), &kept).unwrap();
        std::fs::write(home.path().join("audit.checkpoints"), &checkpoints).unwrap();
        let db = rusqlite::Connection::open(database(&home)).unwrap();
        db.execute_batch(sql).unwrap();
        drop(db);
        let file = exported(&home);
        let found = verify(&home, &file, &["--json"]).expect_code(1).json();
        let findings = found["findings"].as_array().unwrap();
        let says = |finding: &str| {
            let starts = |f: &Value| f.as_str().unwrap().starts_with(finding);
            findings.iter().any(starts)
        };
        assert!(says(finding), "{sql}: {found}");
        let held = found["holdsTo"].as_u64().unwrap();
        // Behind a cut stands the service's own alarm about it.
        assert!(held == holds_to || held == holds_to + 1, "{sql}: {found}");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.contains("\"audit-alarm\"") || !finding.contains("cut"),
            "{text}"
        );
    }
}

#[test]
fn a_forged_checkpoint_and_an_altered_export_are_named() {
    let home = story();
    let file = exported(&home);
    let text = std::fs::read_to_string(&file).unwrap();
    let forge = |from: &str, to: &str, finding: &str| {
        assert!(text.contains(from), "{from}");
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let found = verify(&home, &file, &[]).expect_code(1);
        assert!(found.stdout.contains(finding), "{found:?}");
    };
    forge("key-4", "key-x", "was altered");
    forge(
        "\"kind\":\"checkpoint\",\"number\":1,",
        "\"kind\":\"checkpoint\",\"number\":2,",
        "the signature of the checkpoint at entry 2 is not of this key",
    );
    forge(
        "\"kind\":\"end\"",
        "\"kind\":\"rest\"",
        "is not of an export",
    );
    forge(
        "{\"action\"",
        "{\"note\":\"x\",\"action\"",
        "unknown member `note`",
    );
}

#[test]
fn an_export_that_is_refused_leaves_the_one_before() {
    let home = Home::new();
    let _up = home.up(&[]);
    let file = home.beside("audit.ndjson");
    let to = |path: &Path| ["audit", "export", "--out", path.to_str().unwrap()].map(str::to_owned);
    let export = |to: [String; 4], more: &[&str]| {
        let args: Vec<&str> = to.iter().map(String::as_str).collect();
        home.sectag(&[&args[..], more].concat())
    };
    export(to(&file), &[]).expect_code(0);
    let whole = std::fs::read(&file).unwrap();
    let made = home.sectag(&["keys", "create", "ada"]).expect_code(0);
    let key = home.beside("ada.key");
    std::fs::write(&key, made.stdout).unwrap();
    let refused = export(to(&file), &["--key-file", key.to_str().unwrap()]).expect_code(1);
    assert!(refused.stderr.contains("role `editor`"), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    // A link leads to the new content, and a device stays one.
    let link = home.beside("link.ndjson");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    export(to(&link), &[]).expect_code(0);
    assert!(link.is_symlink() && std::fs::read(&file).unwrap().len() > whole.len());
    export(to(Path::new("/dev/null")), &[]).expect_code(0);
    let beside = std::fs::read_dir(home.beside("")).unwrap();
    let names = beside.map(|entry| entry.unwrap().file_name());
    let parts = names.filter(|name| name.to_string_lossy().ends_with(".part"));
    assert_eq!(parts.count(), 0);
}
