//! The main job through the real binary: a blank device, its owner, HTTPS and MQTT over mutual TLS; and the chart
//! where the second command fails (spec/device-protocol §7, §10).
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;
mod witness;

use sectag_device::state::DeviceState;
use sectag_modem::Options;
use serde_json::{Value, json};
use support::{Home, Output};
use witness::Witness;

/// The default sec tag of `commands onboard`.
const SEC_TAG: &str = "16842753";

#[test]
fn a_blank_device_ends_with_a_certificate_and_a_message_at_the_operator() {
    let home = Home::new();
    let up = home.up(&[]);

    // Nobody has claimed it: it shows its token.
    let id = home.json(&["device", "uuid"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let blank = home.sectag(&["device", "run"]).expect_code(1);
    assert_eq!(blank.stdout, "NOT_CLAIMED\n");
    let token = claim_token(&blank, &id);

    // The owner claims it by that token and queues the whole way.
    assert_eq!(home.json(&["devices"]), json!({ "items": [] }));
    let dry = home.sectag(&["claim", &token, "--dry-run"]).expect_code(0);
    assert_eq!(dry.stderr, "this device can be claimed\n");
    assert_eq!(
        home.json(&["devices"]),
        json!({ "items": [] }),
        "only asked"
    );
    let claimed = home.json(&["claim", &token, "--tag", "first"]);
    assert_eq!(claimed["id"], id);
    let queued = home.sectag(&["commands", "onboard", &id]).expect_code(0);
    assert_eq!(
        queued.stderr,
        format!(
            "key, certificate and root CA for sec tag {SEC_TAG} are queued; the device gets them when it comes\n"
        )
    );
    assert_eq!(
        statuses(&home, &id),
        [
            "serverCertificate PENDING",
            "certificateSigningRequest PENDING",
            "finished PENDING"
        ]
    );

    // It comes back and works through its queue; the certificate was issued on the way.
    let mut session = home.json(&["device", "run"]);
    let air = session["air"].take();
    assert_eq!(air["transport"], "https");
    // Four rounds of a request each: fetch and report, twice, over a connection of its own.
    assert_eq!(air["handshakes"]["full"], air["roundTrips"], "{air}");
    assert_eq!(
        session,
        json!({ "id": id, "result": "DONE", "errno": null, "claimToken": null, "air": null })
    );
    assert_eq!(
        statuses(&home, &id),
        [
            "serverCertificate SUCCEEDED",
            "certificateSigningRequest SUCCEEDED",
            "clientCertificate SUCCEEDED",
            "finished SUCCEEDED"
        ]
    );
    let device = home.json(&["devices", "show", &id]);
    assert!(device["keyId"].is_string(), "the key is pinned: {device}");
    assert!(device["finishedAt"].is_string(), "{device}");
    assert_eq!(device["tags"], json!(["first"]));

    // A second session finds nothing to do, and that is no failure.
    let again = home.json(&["device", "run"]);
    assert_eq!(again["result"], "NO_COMMANDS");

    // MQTT: the operator sees what the device says; the device gets back what was kept for it.
    let mut operator = Witness::start(&home.path(), &["--operator"], "#");
    let hello = ["mqtt", "pub", "--name", "device-1", "-t", "~/hello", "-m"];
    let said = home
        .sectag(&[&hello[..], &["over 3.1.1"]].concat())
        .expect_code(0);
    assert_eq!(
        said.stderr,
        format!("published to {id}/hello (MQTT 3.1.1 cannot say whether it was allowed)\n")
    );
    home.sectag(
        &[
            &hello[..],
            &["over 5, kept", "--mqtt-version", "5", "--retain"],
        ]
        .concat(),
    )
    .expect_code(0);
    let topic = format!("{id}/hello");
    assert_eq!(
        [operator.next(), operator.next()],
        [
            json!({ "topic": topic, "payload": "over 3.1.1", "retain": false }),
            json!({ "topic": topic, "payload": "over 5, kept", "retain": false }),
        ]
    );
    let kept = home.json(&["mqtt", "sub", "--name", "device-1", "-t", "~/#", "-C", "1"]);
    assert_eq!(
        kept,
        json!({ "topic": topic, "payload": "over 5, kept", "retain": true })
    );

    // Another device's topics are not its own.
    let foreign = home
        .sectag(&[
            "mqtt",
            "pub",
            "--name",
            "device-1",
            "--mqtt-version",
            "5",
            "-t",
            "another/x",
            "-m",
            "x",
        ])
        .expect_code(1);
    let said = format!(
        "refused the message to `another/x` (not authorized, code 135); the topics of this certificate are `{id}/#`\n\n\
         hint: use a topic below `{id}/`, or allow this one at the broker\n"
    );
    assert!(foreign.stderr.ends_with(&said), "{foreign:?}");
    let status = home.json(&["status"]);
    assert_eq!(status["broker"]["deniedPublish"], 1, "{status}");
    assert_eq!(status["broker"]["published"], 2, "{status}");
    assert_eq!(status["devices"], json!({ "claimed": 1, "blocked": 0 }));
    assert_eq!(
        status["listeners"]["mqtt"],
        json!(up.listeners.mqtt.to_string())
    );

    // Given back, it is a stranger again.
    home.sectag(&["devices", "unclaim", &id]).expect_code(0);
    let gone = home.sectag(&["device", "run"]).expect_code(1);
    assert_eq!(gone.stdout, "NOT_CLAIMED\n");
    drop(operator);
    assert!(up.stop().success(), "SIGTERM ends it in order");
}

#[test]
fn after_a_failed_command_the_rest_is_never_run_and_the_owner_sees_it() {
    let home = Home::new();
    let _up = home.up(&[]);
    let token = home.json(&["device", "token"])["claimToken"].clone();
    let id = home.json(&["claim", token.as_str().unwrap()])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let root = home.sectag(&["ca", "export"]).expect_code(0).stdout;
    let tag: u32 = SEC_TAG.parse().unwrap();
    let requests = [
        json!({ "serverCertificate": { "secTag": tag, "content": root.trim_end() } }),
        json!({ "atCommand": { "command": "%CMNG", "parameters": format!("3,{tag},1") } }),
        json!({ "clientPrivateKeyGeneration": { "secTag": tag } }),
        json!({ "finished": {} }),
    ]
    .map(|request| request.to_string());
    let texts: Vec<&str> = requests.iter().map(String::as_str).collect();
    let added = home
        .sectag(&[&["commands", "add", &id][..], &texts].concat())
        .expect_code(0);
    assert_eq!(added.stdout.lines().count(), 4, "one id each: {added:?}");

    let session = home.sectag(&["device", "run"]).expect_code(0);
    assert_eq!(session.stdout, "NO_COMMANDS\n", "not DONE: {session:?}");
    assert!(
        session
            .stderr
            .contains("): AT%CMNG=3,16842753,1: CME 513: +CME ERROR: 513\n"),
        "the device says which: {session:?}"
    );

    let seen = home.json(&["commands", "list", &id]);
    let items = seen["items"].as_array().unwrap();
    assert_eq!(
        statuses(&home, &id),
        [
            "serverCertificate SUCCEEDED",
            "atCommand FAILED",
            "clientPrivateKeyGeneration FAILED",
            "finished FAILED"
        ]
    );
    let failed = &items[1]["response"]["atCommand"];
    assert_eq!(
        *failed,
        json!({ "cmeError": 513, "message": "+CME ERROR: 513", "failure": "refusedByDevice" })
    );
    let culprit = items[1]["id"].as_str().unwrap();
    for (index, kind) in [(2, "clientPrivateKeyGeneration"), (3, "finished")] {
        let dropped = &items[index]["response"][kind];
        assert_eq!(
            dropped["message"],
            format!("not executed: command {culprit} (atCommand) failed before it"),
            "{dropped}"
        );
    }

    // The modem is the last witness: the first command's CA is there, the third command's key is not.
    // A copy is asked: a lock taken here could outlive its end in a child that another test is starting.
    let copy = home.beside("modem");
    sectag_keep::private_dir(&copy).unwrap();
    for file in std::fs::read_dir(home.path().join("devices/device-1")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let state = DeviceState::open(&copy).unwrap();
    let mut modem = state.modem(Options::default()).unwrap();
    let stored = modem.line(&format!("AT%CMNG=1,{tag}"));
    assert!(stored.contains(&format!("%CMNG: {tag},0,")), "{stored}");
    assert!(!stored.contains(&format!("%CMNG: {tag},2,")), "{stored}");

    // What came back stays: the next session has nothing to do, nothing changes.
    let next = home.json(&["device", "run"]);
    assert_eq!(next["result"], "NO_COMMANDS");
    assert_eq!(home.json(&["commands", "list", &id]), seen);
}

#[test]
fn keys_are_shown_once_work_until_revoked_and_never_listed() {
    let home = Home::new();
    let _up = home.up(&[]);
    let created = home
        .sectag(&["keys", "create", "dashboard", "--role", "viewer"])
        .expect_code(0);
    assert_eq!(
        created.stderr,
        "key `dashboard`, role viewer; it is shown this once:\n"
    );
    let key = created.stdout.trim_end();
    let file = home.beside("dashboard.key");
    std::fs::write(&file, key).unwrap();
    let as_dashboard =
        |args: &[&str]| home.sectag_with(args, &[("SECTAG_KEY_FILE", file.to_str().unwrap())]);
    as_dashboard(&["devices", "--json"]).expect_code(0);
    let denied = as_dashboard(&["keys", "create", "more"]).expect_code(1);
    assert!(
        denied.stderr.contains("the service said no (403)"),
        "{denied:?}"
    );
    let listed = home.json(&["keys"]);
    assert!(!listed.to_string().contains(key), "never the key itself");
    let names: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("{} {}", item["name"], item["role"]))
        .collect();
    assert_eq!(
        names,
        [r#""dashboard" "viewer""#, r#""owner" "owner""#],
        "{listed}"
    );
    let revoked = home.sectag(&["keys", "revoke", "dashboard"]).expect_code(0);
    assert_eq!(revoked.stderr, "revoked\n");
    let refused = as_dashboard(&["devices"]).expect_code(1);
    assert!(
        refused.stderr.contains("does not know this API key"),
        "{refused:?}"
    );
    // The last key that can manage keys stays.
    let last = home.sectag(&["keys", "revoke", "owner"]).expect_code(1);
    assert!(last.stderr.contains("(409)"), "{last:?}");
}

#[test]
fn the_authorities_and_the_certificates_they_signed_can_be_read() {
    let home = Home::new();
    let _up = home.up(&[]);
    let authorities = home.json(&["ca"]);
    let facts: Vec<_> = authorities["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let usages = &item["extendedKeyUsages"];
            format!(
                "{} ca={} below={} {usages}",
                item["name"], item["isCa"], item["pathLength"]
            )
        })
        .collect();
    assert_eq!(
        facts,
        [
            r#""root" ca=true below=1 []"#,
            r#""servers" ca=true below=0 ["serverAuth"]"#,
            r#""devices" ca=true below=0 ["clientAuth"]"#,
        ]
    );
    assert_eq!(
        home.sectag(&["ca", "export"]).expect_code(0).stdout,
        home.read("ca/root.crt")
    );
    let show = |file: &str| {
        let path = home.path().join(file);
        home.json(&["cert", "show", path.to_str().unwrap()])["items"].clone()
    };
    let server = show("tls/server.crt");
    assert_eq!(server[0]["extendedKeyUsages"], json!(["serverAuth"]));
    assert!(
        server[0]["names"].to_string().contains("localhost"),
        "{server}"
    );
    assert_eq!(server[0]["issuer"], authorities["items"][1]["subject"]);
    let operator = show("operator/operator.crt");
    assert_eq!(operator[0]["extendedKeyUsages"], json!(["clientAuth"]));
    assert_eq!(operator[0]["isCa"], false);
    assert_eq!(operator[1]["sha256"], authorities["items"][2]["sha256"]);
    // The table for people has the same fingerprint.
    let path = home.path().join("operator/operator.crt");
    let table = home
        .sectag(&["cert", "show", path.to_str().unwrap()])
        .expect_code(0);
    let fingerprint = operator[0]["sha256"].as_str().unwrap();
    assert!(
        table
            .stdout
            .contains(&format!("sha-256      {fingerprint}\n")),
        "{table:?}"
    );
}

#[test]
fn the_demo_plays_both_charts_and_leaves_nothing_behind() {
    let home = Home::new();
    let temporary = home.beside("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let envs = [("TMPDIR", temporary.to_str().unwrap())];

    let told = home.sectag_with(&["demo"], &envs).expect_code(0);
    let (_, received) = told.stdout.split_once(" received:\n\n").unwrap();
    let line = received.lines().next().unwrap().trim();
    let (topic, text) = line.split_once(' ').unwrap();
    assert!(topic.ends_with("/hello"), "{line}");
    let run = text.strip_prefix("from blank to MQTT, run ").unwrap();
    assert!(
        run.len() == 16 && run.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "a random id: {line}"
    );
    assert!(
        told.stdout
            .contains("\nFrom nothing to a received message in ")
    );
    let again = home.sectag_with(&["demo"], &envs).expect_code(0);
    assert!(!again.stdout.contains(run), "another id in each run");

    let failing = home
        .sectag_with(&["demo", "--failing"], &envs)
        .expect_code(0);
    let (_, seen) = failing.stdout.rsplit_once("What the owner sees\n").unwrap();
    let rows: Vec<Vec<&str>> = seen
        .lines()
        .take(4)
        .map(|line| line.split_whitespace().skip(1).take(2).collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["config", "SUCCEEDED"],
            ["atCommand", "FAILED"],
            ["clientPrivateKeyGeneration", "FAILED"],
            ["finished", "FAILED"]
        ]
    );
    assert!(seen.contains("CME 513: +CME ERROR: 513\n"), "{seen}");

    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert!(!home.path().exists(), "the usual home is not touched");
}

/// The token in the hint of an unclaimed device.
fn claim_token(blank: &Output, id: &str) -> String {
    let (_, hint) = blank
        .stderr
        .split_once(&format!(
            "error: device {id} is not claimed\n\nhint: claim it: sectag claim "
        ))
        .unwrap_or_else(|| panic!("{blank:?}"));
    let token = hint.trim_end().to_owned();
    assert_eq!(token.len(), 180, "spec/device-protocol §2.1: {token}");
    token
}

/// `kind STATUS` of each command in queue order.
fn statuses(home: &Home, id: &str) -> Vec<String> {
    let found: Value = home.json(&["commands", "list", id]);
    found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let kind = item["request"]
                .as_object()
                .unwrap()
                .keys()
                .find(|key| *key != "requestedAt")
                .unwrap();
            format!("{kind} {}", item["status"].as_str().unwrap())
        })
        .collect()
}
