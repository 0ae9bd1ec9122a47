//! `sectag devices register` and `revoke`, as an operator with a CA of their own uses them.
#![allow(clippy::unwrap_used)]

mod support;

use sectag_pki::{Authority, PrivateKey};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use support::Home;
use support::owner::call;

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A certificate by a CA that the service never heard of: its PEM and its serial number.
fn signed(ca: &Authority, cn: &str) -> (String, String) {
    let key = PrivateKey::generate().unwrap();
    let made = ca.issue_device(&key.spki_der(), cn, now_s()).unwrap();
    (made.pem(), made.serial_hex)
}

fn file(home: &Home, name: &str, text: &str) -> PathBuf {
    let path = home.beside(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn certificates_are_registered_by_one_and_by_many_and_taken_back() {
    let home = Home::new();
    let _up = home.up(&[]);
    let ca = Authority::root("Operator's own", now_s()).unwrap();
    let (pem, serial) = signed(&ca, "nrf-1");
    let path = file(&home, "nrf-1.crt", &pem);
    let path = path.to_str().unwrap();
    let register = [
        "devices",
        "register",
        "nrf-1",
        path,
        "--tag",
        "a",
        "--firmware-type",
        "APP",
    ];
    let done = home.sectag(&register).expect_code(0);
    assert!(
        done.stdout.is_empty() && done.stderr.contains("registered"),
        "{done:#?}"
    );

    // A CSV of the vendor's tool, in more than one piece, with two mistakes.
    let mut csv = String::new();
    for n in 2..8 {
        let (pem, _) = signed(&ca, &format!("nrf-{n}"));
        let id = if n == 4 {
            "nrf-44".to_owned()
        } else {
            format!("nrf-{n}")
        };
        csv += &format!("{id},gateway,a|b,APP|MODEM,\"{pem}\"\n");
    }
    csv += "nrf-9,gateway\n";
    let csv = file(&home, "onboarding.csv", &csv);
    let from = ["devices", "register", "--from", csv.to_str().unwrap()];
    let done = home.sectag(&from).expect_code(1);
    let rows: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(rows.len(), 2, "{done:#?}");
    assert!(
        rows[0].starts_with("row 3 (nrf-44): the certificate is for CN=nrf-4"),
        "{done:#?}"
    );
    assert!(rows[1].starts_with("row 7 (nrf-9): 2 columns"), "{done:#?}");
    assert!(
        done.stderr.contains("2 of 7 rows were refused"),
        "{done:#?}"
    );
    let told = home
        .sectag(&[&from[..], &["--json"]].concat())
        .expect_code(1)
        .json();
    assert_eq!(
        (&told["registered"], &told["failed"][0]["row"]),
        (&5.into(), &3.into())
    );

    let done = home
        .sectag(&["devices", "revoke", "nrf-1", "--all"])
        .expect_code(0);
    assert_eq!(done.stdout.trim(), serial);
    let done = home
        .sectag(&["devices", "revoke", "nrf-1", "--all"])
        .expect_code(1);
    assert!(
        done.stderr
            .contains("no device `nrf-1` is claimed or registered"),
        "{done:#?}"
    );
    let done = home.sectag(&register).expect_code(1);
    assert!(done.stderr.contains("was revoked"), "{done:#?}");
}

#[test]
fn a_claimed_devices_certificate_is_revoked_by_its_serial_number() {
    let home = Home::new();
    let _up = home.up(&[]);
    let token = home.json(&["device", "token"]);
    let id = token["id"].as_str().unwrap();
    let claim = token["claimToken"].as_str().unwrap();
    home.sectag(&["claim", claim, "--onboard", "42"])
        .expect_code(0);
    home.sectag(&["device", "run"]).expect_code(0);
    let publish = [
        "mqtt",
        "pub",
        "--name",
        "device-1",
        "--sec-tag",
        "42",
        "--topic",
        "~/x",
        "--message",
        "x",
    ];
    home.sectag(&publish).expect_code(0);
    let done = home.sectag(&["devices", "revoke", id, "00"]).expect_code(1);
    assert!(
        done.stderr.contains("certificate of this device"),
        "{done:#?}"
    );
    let revoked = home
        .sectag(&["devices", "revoke", id, "--all", "--json"])
        .expect_code(0)
        .json();
    let serial = revoked["revoked"][0].as_str().unwrap();
    let done = home.sectag(&publish);
    assert_ne!(done.code, Some(0), "{done:#?}");
    assert!(done.stderr.contains("revoked"), "{done:#?}");
    home.sectag(&["devices", "revoke", id, serial])
        .expect_code(0);
}

#[test]
fn typical_mistakes_are_told_apart() {
    let home = Home::new();
    let _up = home.up(&[]);
    let key = file(&home, "key.pem", "-----BEGIN PRIVATE KEY-----\n");
    let open = file(&home, "open.csv", "a,b,\"c\n");
    let (key, open) = (key.to_str().unwrap(), open.to_str().unwrap());
    for (args, code, words) in [
        (&["devices", "register"][..], 2, "required"),
        (&["devices", "register", "nrf-1"][..], 2, "required"),
        (
            &["devices", "register", "nrf-1", "/nowhere.crt"][..],
            2,
            "cannot read",
        ),
        (
            &["devices", "register", "nrf-1", key][..],
            1,
            "is not registered for `nrf-1`: ",
        ),
        (&["devices", "register", "--from", open][..], 1, "line 1"),
        (&["devices", "revoke", "nrf-1"][..], 2, "required"),
        (&["devices", "revoke", "nrf/1", "0a"][..], 1, "is not an id"),
        (
            &["devices", "revoke", "nrf-1", "xyz"][..],
            1,
            "not a serial number",
        ),
    ] {
        let done = home.sectag(args).expect_code(code);
        assert!(done.stderr.contains(words), "{args:?} {done:#?}");
    }
}

#[test]
fn an_upload_cut_by_a_kill_at_each_of_its_writes_registers_each_row_once() {
    const ROWS: usize = 70;
    let ca = Authority::root("Operator's own", now_s()).unwrap();
    let csv: String = (0..ROWS)
        .map(|n| {
            let id = format!("nrf-{n}");
            format!("{id},,,,\"{}\"\n", signed(&ca, &id).0)
        })
        .collect();
    // The upload, then three steps of at most 32 rows.
    for pass in 1..=4 {
        for point in ["store.record.before-commit", "store.record.after-commit"] {
            let home = Home::new();
            let csv = file(&home, "onboarding.csv", &csv);
            let register = ["devices", "register", "--from", csv.to_str().unwrap()];
            let armed = format!("{point}:{pass}");
            let mut up = home.up(&[("SECTAG_CRASH_AT", &armed)]);
            let cut = home.sectag(&register);
            if cut.code == Some(0) {
                assert!(pass > 1, "{armed} was not reached");
                continue;
            }
            assert!(up.wait(support::DEADLINE).is_some(), "{armed}");
            drop(up);
            let up = home.up(&[]);
            home.sectag(&register).expect_code(0);
            let key = home.read("owner.key");
            let at = up.listeners.loopback;
            let get = |path: &str| call(at, &key, "GET", path, None).unwrap().body;
            for n in 0..ROWS {
                let found = get(&format!("/v1/devices/nrf-{n}"));
                assert_eq!(
                    found["certificates"].as_array().unwrap().len(),
                    1,
                    "{armed}"
                );
            }
            let audit = get("/v1/audit?pageLimit=100");
            let told = audit["items"].as_array().unwrap().iter();
            let registered = told.filter(|entry| entry["action"] == "certificate-registered");
            assert_eq!(registered.count(), ROWS, "{armed}");
        }
    }
}
