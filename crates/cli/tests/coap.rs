//! The main job over CoAP through the real binary: a blank device, its owner, and MQTT at the end; and what it costs.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use serde_json::{Value, json};
use support::Home;

const RUN: [&str; 4] = ["device", "run", "--transport", "coap"];

/// A claimed device: its id.
fn claimed(home: &Home) -> String {
    let id = home.json(&["device", "uuid"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = home.json(&["device", "token"])["claimToken"]
        .as_str()
        .unwrap()
        .to_owned();
    home.sectag(&["claim", &token]).expect_code(0);
    id
}

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn number(air: &Value, pointer: &str) -> u64 {
    air.pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{pointer}: {air}"))
}

#[test]
fn a_blank_device_ends_with_a_certificate_and_a_message() {
    let home = Home::new();
    let _up = home.up(&[]);
    let blank = home.sectag(&RUN).expect_code(1);
    assert_eq!(blank.stdout, "NOT_CLAIMED\n");
    assert!(blank.stderr.contains("sectag claim "), "{blank:?}");
    let id = claimed(&home);
    home.sectag(&["commands", "onboard", &id]).expect_code(0);

    let session = home.json(&RUN);
    assert_eq!(
        (&session["result"], &session["errno"]),
        (&json!("DONE"), &Value::Null)
    );
    let air = &session["air"];
    assert_eq!(air["transport"], "coap");
    assert_eq!(
        air["handshakes"],
        json!({ "full": 0, "resumed": 0 }),
        "kept from the first run"
    );
    let statuses = home.json(&["commands", "list", &id]);
    for command in statuses["items"].as_array().unwrap() {
        assert_eq!(command["status"], "SUCCEEDED", "{command}");
    }
    let published = [
        "mqtt", "pub", "--name", "device-1", "-t", "~/hello", "-m", "by CoAP",
    ];
    home.sectag(&published).expect_code(0);

    // Nothing to do costs one round trip and no handshake.
    let idle = home.json(&RUN);
    assert_eq!(idle["result"], "NO_COMMANDS");
    let air = &idle["air"];
    assert_eq!(
        (number(air, "/handshakes/full"), number(air, "/roundTrips")),
        (0, 1),
        "{air}"
    );
    assert_eq!(
        (number(air, "/sent/handshake"), number(air, "/sent/token")),
        (0, 0),
        "{air}"
    );
    assert!(
        number(air, "/sent/total") + number(air, "/received/total") < 250,
        "{air}"
    );
}

#[test]
fn the_firmwares_conduct_provisions_as_well_and_pays_for_it() {
    let home = Home::new();
    let _up = home.up(&[]);
    let id = claimed(&home);
    home.sectag(&["commands", "onboard", &id]).expect_code(0);
    let faithful = [&RUN[..], &["--faithful"]].concat();
    let session = home.json(&faithful);
    assert_eq!(session["result"], "DONE", "{session}");
    let air = &session["air"];
    assert_eq!(
        air["handshakes"],
        json!({ "full": 1, "resumed": 0 }),
        "{air}"
    );
    let layers = [
        "handshake",
        "record",
        "head",
        "token",
        "cbor",
        "retransmitted",
    ];
    for way in ["sent", "received"] {
        let sum: u64 = layers
            .iter()
            .map(|layer| number(air, &format!("/{way}/{layer}")))
            .sum();
        assert_eq!(sum, number(air, &format!("/{way}/total")), "{air}");
    }
    assert!(
        number(air, "/sent/token") > 600,
        "one token, presented in each round: {air}"
    );
    let again = home.json(&faithful);
    assert_eq!(again["result"], "NO_COMMANDS");
    assert_eq!(
        number(&again["air"], "/handshakes/full"),
        1,
        "the next run begins anew"
    );
}

#[test]
fn a_restart_of_the_service_costs_no_handshake() {
    let home = Home::new();
    let address = format!("127.0.0.1:{}", free_port());
    let up = || {
        home.try_up(&[], &["--listen-coap", &address])
            .unwrap_or_else(|(end, log)| panic!("{end}: {log}"))
    };
    let before = up();
    claimed(&home);
    assert_eq!(home.json(&RUN)["result"], "NO_COMMANDS");
    assert!(before.stop().success());
    let _after = up();
    let run = home.json(&RUN);
    assert_eq!(run["result"], "NO_COMMANDS");
    assert_eq!(
        run["air"]["handshakes"],
        json!({ "full": 0, "resumed": 0 }),
        "{run}"
    );
}

#[test]
fn nobody_there_and_a_wrong_root_ca_are_told_apart() {
    let home = Home::new();
    let up = home.up(&[]);
    claimed(&home);
    let port = free_port().to_string();
    let nobody = home
        .sectag(&[&RUN[..], &["--port", &port]].concat())
        .expect_code(1);
    assert_eq!(nobody.stdout, "FAILED\n");
    assert!(nobody.stderr.contains("`port unreachable`"), "{nobody:?}");

    // Another home's authority under another tag.
    let other = Home::new();
    let other_up = other.up(&[]);
    let stranger = other.path().join("ca/root.crt");
    let stranger = stranger.to_str().unwrap();
    let flags = ["--ca", stranger, "--ca-sec-tag", "77"];
    let wrong = home.sectag(&[&RUN[..], &flags].concat()).expect_code(1);
    assert!(
        wrong.stderr.contains("no trusted authority signed it"),
        "{wrong:?}"
    );
    let named = home.sectag(&[&RUN[..], &["--host", "127.0.0.2"]].concat());
    assert_eq!(named.code, Some(1), "{named:?}");
    drop((up, other_up));
}

#[test]
fn a_running_device_tells_its_budget_and_keeps_its_session() {
    let home = Home::new();
    let _up = home.up(&[]);
    claimed(&home);
    let mut device = support::sectag(&home.path())
        .args(RUN)
        .args(["--keep-running", "-o", "spread-s=0"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let budgets = || -> Vec<Value> {
        let events = home.sectag(&["device", "events", "--json"]).stdout;
        let events = events
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter(|event| event["event"] == "STOP")
            .map(|event| event["air"].clone())
            .collect()
    };
    let wait_for = |count: usize| {
        let begun = std::time::Instant::now();
        while budgets().len() < count {
            assert!(begun.elapsed() < support::DEADLINE, "{:?}", budgets());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    wait_for(1);
    home.sectag(&["device", "now"]).expect_code(0);
    wait_for(2);
    let budgets = budgets();
    assert_eq!(number(&budgets[0], "/handshakes/full"), 1, "{budgets:?}");
    assert_eq!(number(&budgets[1], "/handshakes/full"), 0, "{budgets:?}");
    assert_eq!(number(&budgets[1], "/roundTrips"), 1, "{budgets:?}");
    let people = home.sectag(&["device", "events"]).expect_code(0).stdout;
    assert!(
        people.contains("coap: handshakes=1 resumed=0 round-trips=2"),
        "{people}"
    );
    device.kill().unwrap();
    device.wait().unwrap();
}
