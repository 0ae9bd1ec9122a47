//! What is counted, and that a stranger reads it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::Town;
use support::device::FakeDevice;

async fn metrics(town: &Town) -> String {
    let reply = town.owner_raw("GET", "/metrics", "", "").await;
    assert_eq!(reply.status, 200);
    let kind = reply.header("content-type").unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    String::from_utf8(reply.body).unwrap()
}

/// The value of a sample by its whole name, labels included.
fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let (found, value) = line.rsplit_once(' ')?;
        (found == name).then(|| value.parse().unwrap())
    })
}

/// A town in which one of each thing happened.
async fn lived_in() -> Town {
    let town = Town::start().await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    town.claim(&FakeDevice::new(2)).await;
    town.queue(&device, json!({"certificateSigningRequest": {"secTag": 1, "attributes": "", "keyUsage": "101010000", "issue": true}})).await;
    town.queue(&device, json!({"finished": {}})).await;
    town.provision(&mut device).await;
    assert_eq!(town.fetch(&FakeDevice::new(1), "").await.status, 401);
    let path = format!("/v1/claimed-devices/{}", FakeDevice::new(2).id);
    let blocked = town
        .owner("PATCH", &path, Some(&json!({"blocked": true})))
        .await;
    assert_eq!(blocked.status, 200);
    assert_eq!(town.owner("GET", "/v1/nothing", None).await.status, 404);
    town
}

#[tokio::test]
async fn what_happened_is_counted() {
    let town = lived_in().await;
    let text = metrics(&town).await;
    let team = town.service().home().owner_id();
    for (name, expected) in [
        (format!("sectag_claims_total{{team=\"{team}\"}}"), 2.0),
        (format!("sectag_commands_delivered_total{{team=\"{team}\",kind=\"certificateSigningRequest\"}}"), 1.0),
        (format!("sectag_commands_succeeded_total{{team=\"{team}\",kind=\"finished\"}}"), 1.0),
        (format!("sectag_certificates_total{{team=\"{team}\",outcome=\"issued\"}}"), 1.0),
        (format!("sectag_alarms_total{{team=\"{team}\",alarm=\"key-alarm\"}}"), 1.0),
        (format!("sectag_alarms_open{{team=\"{team}\"}}"), 1.0),
        ("sectag_devices_claimed".to_owned(), 2.0),
        ("sectag_devices_blocked".to_owned(), 1.0),
        ("sectag_event_streams".to_owned(), 0.0),
        ("sectag_http_requests_total{door=\"loopback\",method=\"POST\",route=\"/v1/claimed-devices\",status=\"201\"}".to_owned(), 2.0),
        ("sectag_http_requests_total{door=\"loopback\",method=\"GET\",route=\"unknown\",status=\"404\"}".to_owned(), 1.0),
        ("sectag_http_requests_total{door=\"device\",method=\"GET\",route=\"/v1/provisioning/commands\",status=\"401\"}".to_owned(), 1.0),
        ("sectag_mqtt_connected".to_owned(), 0.0),
    ] {
        assert_eq!(value(&text, &name), Some(expected), "{name} in\n{text}");
    }
    let handshakes = value(
        &text,
        "sectag_tls_handshakes_total{door=\"device\",outcome=\"finished\"}",
    );
    assert!(handshakes >= Some(3.0), "{text}");
    assert!(
        value(&text, "sectag_store_writes_total")
            >= value(&text, "sectag_store_transactions_total")
    );
    // Devices and keys are nobody's labels.
    assert!(!text.contains(&FakeDevice::new(1).id.to_string()));
    assert!(!text.contains(&town.key));
}

#[tokio::test]
async fn over_tls_it_takes_a_key_of_the_home() {
    let town = Town::start().await;
    let ask = async |headers: &str| {
        let door = town.service().addresses().owner;
        let mut stream = town.device_stream_at(door, rustls::DEFAULT_VERSIONS).await;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        support::reply_of(&bytes).unwrap().status
    };
    assert_eq!(ask("").await, 401);
    assert_eq!(ask("Authorization: Bearer sectag_wrong\r\n").await, 401);
    let key = |body: serde_json::Value| {
        let town = &town;
        async move {
            let made = town.owner("POST", "/v1/keys", Some(&body)).await.json();
            let key = made["key"].as_str().unwrap().to_owned();
            town.log.forbid(&key);
            format!("Authorization: Bearer {key}\r\n")
        }
    };
    let viewer = key(json!({"name": "prometheus", "role": "viewer"})).await;
    assert_eq!(ask(&viewer).await, 200);
    let team = town
        .owner("POST", "/v1/teams", Some(&json!({"name": "red"})))
        .await;
    assert_eq!(team.status, 201, "{}", String::from_utf8_lossy(&team.body));
    let id = team.json()["id"].as_str().unwrap().to_owned();
    let other = key(json!({"name": "red-owner", "role": "owner", "team": id})).await;
    assert_eq!(ask(&other).await, 403);
}

/// Prometheus' own parser reads every family, and knows its type.
#[tokio::test]
async fn a_stranger_reads_it() {
    let python =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/python/bin/python3");
    let python = std::env::var_os("SECTAG_PEERS_PYTHON").map_or(python, PathBuf::from);
    let there = Command::new(&python)
        .args(["-c", "import prometheus_client"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
    assert!(
        there || !required,
        "prometheus_client is missing and SECTAG_PEERS=require"
    );
    if !there {
        println!("prometheus_client is not there: no foreign judge");
        return;
    }
    let town = lived_in().await;
    let text = metrics(&town).await;
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
                  for family in parse(sys.stdin.read()):\n    print(family.name, family.type, len(family.samples))\n    assert family.documentation";
    let mut judge = Command::new(&python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    judge
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = judge.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{text}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("sectag_claims counter 1") && said.contains("sectag_devices_claimed gauge 1"),
        "{said}"
    );
    // What the page lists is there, and what is there is on the page.
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    for family in said.lines() {
        let name = family.split(' ').next().unwrap();
        assert!(
            page.contains(&format!("`{name}")),
            "{name} is not on the page"
        );
    }
}
