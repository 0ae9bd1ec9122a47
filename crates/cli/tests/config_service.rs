//! `config --service`: `sectag.toml` by the same verbs, judged by the service's own parser.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

struct Ended {
    exit: Option<i32>,
    stdout: String,
    stderr: String,
}

fn config(home: &Path, words: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_sectag"))
        .args(["config", "--service"])
        .args(words)
        .env_clear()
        .env("SECTAG_HOME", home)
        .env("SECTAG_LISTEN_DEVICE", "127.0.0.1:9443")
        .output()
        .unwrap();
    Ended {
        exit: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_services_own_file_is_edited_with_its_comments() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    assert_eq!(config(&home, &["get", "policy"]).stdout, "auto\n");
    assert!(!home.exists(), "reading makes no home");
    let set = config(
        &home,
        &["set", "policy", "allow-list", "listen.owner", "127.0.0.1:0"],
    );
    assert_eq!(set.exit, Some(0), "{}", set.stderr);
    let file = home.join("sectag.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("# ours\n{text}")).unwrap();
    assert_eq!(
        config(&home, &["add", "names", "b.example,a.example"]).exit,
        Some(0)
    );
    assert_eq!(config(&home, &["unset", "policy"]).exit, Some(0));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# ours\n"), "{text}");
    assert!(!text.contains("policy"), "{text}");
    let list = config(&home, &["list", "--source"]).stdout;
    assert!(
        list.contains("names=[\"a.example\", \"b.example\"]\tfile\n"),
        "{list}"
    );
    assert!(
        list.contains("listen.device=127.0.0.1:9443\tenvironment\n"),
        "{list}"
    );
    assert!(list.contains("policy=auto\tdefault\n"), "{list}");
}

#[test]
fn what_the_service_would_refuse_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    for words in [
        &["set", "listen.loopback", "0.0.0.0:8441"][..],
        &["set", "open-commands-max", "0"],
        &["set", "policy", "everybody"],
        &["add", "policy", "x"],
    ] {
        let ended = config(&home, words);
        assert_eq!(
            (ended.exit, ended.stdout.as_str()),
            (Some(1), ""),
            "{words:?}"
        );
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    }
    let ended = config(&home, &["get", "polcy"]);
    assert_eq!(ended.exit, Some(2));
    assert!(!home.join("sectag.toml").exists());
}

#[test]
fn every_setting_of_the_reference_is_a_key_with_that_default() {
    let page = include_str!("../../../docs/reference/sectag-toml.md");
    let (_, table) = page
        .split_once("| key | default | environment | what it does |")
        .unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let mut told = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let default = cells[1].trim_matches('`').trim_matches('"');
        let default = if default == "none" { "" } else { default };
        for key in cells[0].split('`').skip(1).step_by(2) {
            told.push(format!("{key}={default}"));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let listed = config(dir.path(), &["list"]).stdout;
    // The environment of these tests sets one of them.
    let listed = listed.replace("127.0.0.1:9443", "127.0.0.1:8443");
    assert_eq!(listed.lines().collect::<Vec<_>>(), told);
}
