//! The systemd units under `packaging/`: systemd takes them, and what they call is there and means what they expect.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Home, run};

const PROGRAM: &str = "/usr/bin/sectag";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd")
}

fn units() -> Vec<(String, String)> {
    let mut units: Vec<(String, String)> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    units.sort();
    units
}

#[test]
fn systemd_takes_the_units() {
    let found = Command::new("systemd-analyze").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var("SECTAG_PEERS").as_deref() != Ok("require"),
            "systemd-analyze is not installed and SECTAG_PEERS=require"
        );
        let _ = writeln!(
            std::io::stderr(),
            "skipped: systemd-analyze is not installed"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").current_dir(dir.path());
    for (name, text) in units() {
        // It looks whether the program is there.
        let text = text.replace(PROGRAM, env!("CARGO_BIN_EXE_sectag"));
        std::fs::write(dir.path().join(&name), text).unwrap();
        command.arg(format!("./{name}"));
    }
    let said = run(command).expect_code(0);
    assert_eq!(said.stderr, "", "{said:#?}");
}

#[test]
fn every_command_in_a_unit_is_one_of_ours() {
    let home = Home::new();
    let mut seen = 0;
    for (name, text) in units() {
        let commands = text
            .lines()
            .filter(|line| line.starts_with("Exec"))
            .filter_map(|line| line.split_once(PROGRAM));
        for (_, arguments) in commands {
            let words = arguments
                .split_whitespace()
                .filter(|word| !word.starts_with('$'));
            let words: Vec<&str> = words.chain(["--help"]).collect();
            let said = home.sectag(&words);
            assert_eq!(said.code, Some(0), "{name}: {said:#?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

#[test]
fn the_timer_goes_on_only_when_something_is_due() {
    let home = Home::new();
    let due = ["cert", "needs-renewal", "--all"];
    // ExecCondition: 0 goes on, everything up to 254 skips the rest without a failure.
    home.sectag(&due).expect_code(2);
    home.sectag(&["ca", "init"]).expect_code(0);
    home.sectag(&due).expect_code(1);
    home.sectag(&["cert", "issue", "server"]).expect_code(0);
    let fine = home.sectag(&due).expect_code(1);
    assert!(fine.stderr.contains("VALID (expires in: "), "{fine:#?}");
    // A list that is gone would lock every client out of a broker that reads it.
    std::fs::remove_file(home.path().join("ca/devices.crl")).unwrap();
    home.sectag(&due).expect_code(0);
    home.sectag(&["cert", "renew", "--all", "--due"])
        .expect_code(0);
    home.sectag(&due).expect_code(1);
    // Two days of life: a third of it is left at sixteen hours, and thirty days would always be due.
    home.sectag(&["cert", "issue", "client", "short", "--days", "2"])
        .expect_code(0);
    home.sectag(&due).expect_code(1);
}
