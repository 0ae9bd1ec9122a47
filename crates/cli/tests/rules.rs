//! A rule from the command line: written, previewed, activated, applied to a real device, reset; and the words of mistakes.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use serde_json::{Value, json};
use support::Home;

/// `kind STATUS` of each command.
fn statuses(home: &Home, device: &str) -> Vec<String> {
    let found = home.json(&["commands", "list", device]);
    let words = |command: &Value| {
        let request = command["request"].as_object().unwrap();
        let kind = request.keys().find(|key| *key != "requestedAt").unwrap();
        format!("{kind} {}", command["status"].as_str().unwrap())
    };
    found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(words)
        .collect()
}

fn claimed(home: &Home, tags: &[&str]) -> String {
    let token = home.sectag(&["device", "token"]).expect_code(0).stdout;
    let mut args = vec!["claim", token.trim()];
    for tag in tags {
        args.extend(["--tag", tag]);
    }
    let claimed = home.json(&args);
    claimed["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_rule_is_previewed_and_then_does_what_the_preview_said() {
    let home = Home::new();
    let _up = home.up(&[]);
    let empty = home.sectag(&["rules"]).expect_code(0);
    assert_eq!(
        empty.stderr,
        "no rules; make one with `sectag rules create --name N --tag T --onboard`\n"
    );
    let made = home
        .sectag(&[
            "rules",
            "create",
            "--name",
            "farm",
            "--tag",
            "farm",
            "--onboard",
            "--renew",
        ])
        .expect_code(0);
    assert!(made.stderr.contains("`farm` is a draft"), "{made:?}");
    let device = claimed(&home, &["farm"]);
    let rules = home.json(&["rules"]);
    assert_eq!(rules["items"][0]["renewal"]["atPercent"], 67);

    let nothing = home.sectag(&["plan", &device]).expect_code(0);
    assert_eq!(nothing.stdout, "");
    let plan = home.sectag(&["plan", "--rule", "farm"]).expect_code(0);
    assert!(
        plan.stdout.starts_with("1 of 1 devices looked at\n"),
        "{plan:?}"
    );
    for line in [
        "  1  rule `farm`, if it were active: serverCertificate\n",
        "     AT%KEYGEN=16842753,2,0,\"\",\"101010000\"\n",
        "     finished\n",
    ] {
        assert!(plan.stdout.contains(line), "{}", plan.stdout);
    }
    home.sectag(&["rules", "activate", "farm"]).expect_code(0);
    let late = home
        .sectag(&["rules", "change", "farm", "--name", "x"])
        .expect_code(1);
    assert!(late.stderr.contains("is ACTIVE"), "{late:?}");
    let plan = home.json(&["plan", &device]);
    let kinds: Vec<&str> = plan["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            c["request"]
                .as_object()
                .unwrap()
                .keys()
                .next()
                .unwrap()
                .as_str()
        })
        .collect();
    assert_eq!(
        kinds,
        ["serverCertificate", "certificateSigningRequest", "finished"]
    );

    home.sectag(&["device", "run"]).expect_code(0);
    let done = [
        "serverCertificate SUCCEEDED",
        "certificateSigningRequest SUCCEEDED",
        "clientCertificate SUCCEEDED",
        "finished SUCCEEDED",
    ];
    assert_eq!(statuses(&home, &device), done);
    let reset = home.sectag(&["devices", "reset", &device]).expect_code(0);
    assert!(
        reset.stderr.contains("rules that apply again: 1,"),
        "{reset:?}"
    );
    assert!(statuses(&home, &device).is_empty());
    home.sectag(&["device", "run"]).expect_code(0);
    assert_eq!(statuses(&home, &device), done);
    home.sectag(&["rules", "delete", "farm"]).expect_code(0);
}

#[test]
fn a_parked_command_is_seen_and_skipped() {
    let home = Home::new();
    let _up = home.up(&[]);
    let device = claimed(&home, &[]);
    let set = [
        "commands",
        "add",
        &device,
        "--on-error",
        "park",
        r#"{"atCommand":{"command":"%CMNG","parameters":"9,1,1"}}"#,
        r#"{"config":{"k":"1"}}"#,
    ];
    let ids = home.sectag(&set).expect_code(0).stdout;
    let first = ids.lines().next().unwrap();
    home.sectag(&["device", "run"]);
    let shown = home.sectag(&["commands", "list", &device]).expect_code(0);
    assert!(shown.stdout.contains("IN_PROGRESS, parked"), "{shown:?}");
    home.sectag(&["commands", "change", &device, first, "--skip"])
        .expect_code(0);
    home.sectag(&["device", "run"]);
    assert_eq!(
        statuses(&home, &device),
        ["atCommand FAILED", "config SUCCEEDED"]
    );
    let twice = home
        .sectag(&["commands", "change", &device, first, "--skip"])
        .expect_code(1);
    assert!(
        twice.stderr.contains("is not parked: it is FAILED"),
        "{twice:?}"
    );
}

#[test]
fn mistakes_are_named_with_what_helps() {
    let home = Home::new();
    let _up = home.up(&[]);
    for (args, code, words) in [
        (
            &["rules", "create"][..],
            2,
            "hint: `sectag rules create --name N --tag T --onboard`",
        ),
        (
            &["rules", "show", "nope"],
            1,
            "hint: `sectag rules` lists names and ids",
        ),
        (
            &["rules", "create", "nope.json"],
            2,
            "cannot read `nope.json`",
        ),
        (&["plan"], 2, "<DEVICE|--tag <TAG>|--rule <FILE|NAME>>"),
        (
            &["plan", "--rule", "nope"],
            1,
            "neither a file nor a rule `nope`",
        ),
        (
            &["rules", "create", "--name", "x", "--on-error", "retry"],
            2,
            "one of drop-rest, keep-rest, retry=N, park",
        ),
        (&["tags", "delete", "nope"], 1, "no tag `nope`"),
    ] {
        let said = home.sectag(args).expect_code(code);
        assert!(said.stderr.contains(words), "{args:?}: {}", said.stderr);
    }
    let file = home.beside("rule.json");
    let bad = json!({"name": "x", "tags": ["a"], "commands": [{"request": {"config": {"k": "{{device.nme}}"}}}]});
    std::fs::write(&file, bad.to_string()).unwrap();
    let said = home
        .sectag(&["rules", "create", file.to_str().unwrap()])
        .expect_code(1);
    assert!(
        said.stderr
            .contains("commands[0].request.config: `{{device.nme}}` is not a variable"),
        "{}",
        said.stderr
    );
    let example = home.sectag(&["rules", "example"]).expect_code(0);
    let root = std::fs::read_to_string(home.path().join("ca/root.crt")).unwrap();
    let commands = serde_json::from_str::<Value>(&example.stdout).unwrap()["commands"].clone();
    assert_eq!(
        commands[0]["request"]["serverCertificate"],
        json!({"secTag": 16_842_753, "content": root.trim_end()}),
        "or no device could connect"
    );
    std::fs::write(&file, example.stdout).unwrap();
    home.sectag(&["rules", "create", file.to_str().unwrap()])
        .expect_code(0);
    let check = home
        .sectag(&["plan", "--rule", "farm", "--check"])
        .expect_code(0);
    assert!(
        check.stderr.contains("no device carries such a tag"),
        "{check:?}"
    );
}
