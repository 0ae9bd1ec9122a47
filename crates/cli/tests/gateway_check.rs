//! `gateway check`: the blocks that go around on the web, a file that works, and mistakes of the one who types.
#![allow(clippy::unwrap_used)]

mod support;

use support::Home;

const MUTUAL_BLOCK: &str = "\
listener 8883
allow_anonymous false
require_certificate true
cafile   PATH_TO_SERVER_CERTIFICATE
certfile PATH_TO_SERVER_PRIVATE_KEY
keyfile  PATH_TO_CLIENT_CA_CERTIFICATE
";

fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn the_rotated_block_is_explained_and_its_correction_passes() {
    let home = Home::new();
    let dir = tempfile::tempdir().unwrap();
    let block = file(&dir, "tls.conf", MUTUAL_BLOCK);
    for version in ["2.0.11", "2.1.2"] {
        let check =
            |file: &str| home.sectag(&["gateway", "--broker-version", version, "check", file]);
        let said = check(&block).expect_code(1);
        assert!(
            said.stdout
                .contains("the three file names are rotated by one"),
            "{said:#?}"
        );
        assert!(
            said.stderr.contains("would keep the broker from starting"),
            "{said:#?}"
        );
        let (_, corrected) = said.stdout.split_once("the file as it works").unwrap();
        let lines = corrected.lines().skip(2);
        let corrected: String = lines
            .map(|line| format!("{}\n", line.trim_start()))
            .collect();
        let corrected = file(&dir, "corrected.conf", &corrected);
        let said = check(&corrected).expect_code(0);
        assert!(
            said.stdout.starts_with("listener 8883: level mutual\n"),
            "{said:#?}"
        );
        assert!(
            said.stdout.contains("nothing is wrong for mosquitto"),
            "{said:#?}"
        );
    }
}

#[test]
fn programs_get_one_value() {
    let home = Home::new();
    let dir = tempfile::tempdir().unwrap();
    let block = file(
        &dir,
        "tls.conf",
        "listener 8883\ncertfile /nonexistent/server.crt\nkeyfile /nonexistent/server.key\n",
    );
    let args = [
        "--json",
        "gateway",
        "--broker-version",
        "2.0.11",
        "check",
        &block,
    ];
    let value = home.sectag(&args).expect_code(1).json();
    assert_eq!(value["fine"], false);
    assert_eq!(value["listeners"][0]["level"], "server");
    assert_eq!(value["judgements"][0]["at"]["line"], 1);
    assert_eq!(value["findings"][0]["id"], "E13");
    assert!(
        value["corrected"]
            .as_str()
            .unwrap()
            .contains("allow_anonymous true")
    );
}

#[test]
fn what_cannot_be_read_is_another_exit_code() {
    let home = Home::new();
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no.conf").display().to_string();
    let said = home.sectag(&["gateway", "check", &missing]).expect_code(2);
    assert!(
        said.stderr.contains("does not exist") && said.stdout.is_empty(),
        "{said:#?}"
    );
    let directory = dir.path().display().to_string();
    let said = home
        .sectag(&["gateway", "check", &directory])
        .expect_code(2);
    assert!(said.stdout.is_empty(), "{said:#?}");
    home.sectag(&["gateway", "check"]).expect_code(2);
    // Somebody's log, for example.
    let long = file(&dir, "mosquitto.log", &"x".repeat(2 << 20));
    let said = home.sectag(&["gateway", "check", &long]).expect_code(2);
    assert!(
        said.stderr.contains("has more than the 1048576 bytes") && said.stdout.is_empty(),
        "{said:#?}"
    );
}
