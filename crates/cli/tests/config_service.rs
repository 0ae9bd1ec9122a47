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
