//! The audit trail of a service: who may take it out, in which pieces, and when it is signed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::Timestamp;
use sectag_store::AuditEvent;
use sectag_store::audit::{AuditHead, CHECKPOINT_EVERY, Checkpoint, Line};
use serde_json::json;
use std::time::Duration;
use support::Town;
use support::device::FakeDevice;

fn event(n: u64) -> AuditEvent {
    AuditEvent::new(Timestamp(n), "service", "noted").detail(format!("event {n}"))
}

async fn note(town: &Town, events: u64) -> AuditHead {
    let store = town.service().app().store();
    store
        .record((1..=events).map(event).collect())
        .await
        .unwrap();
    store.audit_head().await.unwrap()
}

async fn export(town: &Town, query: &str) -> Vec<Line> {
    let path = format!("/v1/audit/export{query}");
    let reply = town.owner("GET", &path, None).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(reply.body).unwrap();
    // Between the lines stand the lengths of the pieces.
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| Line::parse(line).unwrap()).collect()
}

fn numbers(lines: &[Line]) -> Vec<u64> {
    let entries = lines.iter().filter_map(|line| match line {
        Line::Entry(entry) => Some(entry.number),
        _ => None,
    });
    entries.collect()
}

fn signed(town: &Town) -> Vec<u64> {
    let file = town.dir.path().join("home/audit.checkpoints");
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter_map(Checkpoint::parse);
    lines.map(|checkpoint| checkpoint.number).collect()
}

#[tokio::test]
async fn an_export_is_whole_or_goes_on_where_it_ended() {
    let town = Town::start().await;
    let head = note(&town, 500).await;
    let whole = export(&town, "").await;
    assert!(matches!(&whole[0], Line::Header(header) if header.after == 0));
    assert!(matches!(&whole[1], Line::Checkpoint(first) if first.number == 1));
    assert_eq!(whole.last(), Some(&Line::End(head)));
    assert_eq!(numbers(&whole), (1..=head.number).collect::<Vec<_>>());
    let part = export(&town, "?after=10&limit=5").await;
    assert_eq!(numbers(&part), [11, 12, 13, 14, 15]);
    assert!(
        !part
            .iter()
            .any(|line| matches!(line, Line::End(_) | Line::Checkpoint(_)))
    );
    let rest = export(&town, &format!("?after={}", head.number)).await;
    assert_eq!(rest[1..], [Line::End(head)]);
    for (query, status) in [("?after=x", 400), ("?after=9999", 404)] {
        let path = format!("/v1/audit/export{query}");
        assert_eq!(town.owner("GET", &path, None).await.status, status);
    }
}

#[tokio::test]
async fn the_end_is_signed_at_each_start_at_the_orderly_end_and_in_between() {
    let mut town = Town::start().await;
    assert_eq!(signed(&town), [1], "the owner's key is the first entry");
    let head = note(&town, CHECKPOINT_EVERY).await;
    while signed(&town).len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(signed(&town), [1, head.number]);
    let head = note(&town, 1).await;
    town.down().await;
    assert_eq!(signed(&town)[2..], [head.number]);
    town.up().await;
    assert_eq!(signed(&town).len(), 3, "nothing came since");
}

#[tokio::test]
async fn what_was_and_what_is_can_be_read_without_the_tables() {
    let town = Town::start().await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    let csr = json!({"certificateSigningRequest": {"secTag": 42, "attributes": "", "keyUsage": "101010000", "issue": true}});
    town.queue(&device, csr).await;
    let psk = "00112233445566778899aabbccddeeff";
    town.log.forbid(psk);
    let request = json!({"preSharedKey": {"secTag": 1, "identity": "me", "secret": psk}});
    let taken_back = town.queue(&device, request).await;
    let pin = json!({"atCommand": {"command": "+CPIN", "parameters": "\"0815471100000000\""}});
    let setting = json!({"config": {"wifi/password": "correct horse battery staple"}});
    for secret in ["0815471100000000", "correct horse battery staple"] {
        town.log.forbid(secret);
    }
    let root = json!({"serverCertificate": {"secTag": 2, "content": town.root}});
    let hidden = [
        town.queue(&device, pin).await,
        town.queue(&device, setting).await,
        town.queue(&device, root).await,
    ];
    let path = format!(
        "/v1/claimed-devices/{}/provisioning/{taken_back}",
        device.id
    );
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    town.queue(&device, json!({"finished": {}})).await;
    town.provision(&mut device).await;
    let path = format!("/v1/audit?device={}&pageLimit=100", device.id);
    let page = town.owner("GET", &path, None).await;
    let text = String::from_utf8(page.body.clone()).unwrap();
    for secret in [psk, "0815471100000000", "battery staple", "BEGIN CERT"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let page = page.json();
    let items = page["items"].as_array().unwrap();
    let of = |action: &str| {
        let found = items.iter().find(|item| item["action"] == action);
        found.unwrap_or_else(|| panic!("no {action}: {page:#}"))
    };
    let team = town.service().home().owner_id();
    assert!(items.iter().all(|item| item["teamId"] == team), "{page:#}");
    let created = of("command-created");
    assert!(created["before"].is_null() && created["after"]["status"] == "PENDING");
    for (command, says) in hidden.iter().zip(["+CPIN", "wifi/password", "sha256"]) {
        let created = items.iter().find(|item| {
            item["action"] == "command-created" && item["commandId"] == command.as_str()
        });
        let after = &created.unwrap()["after"];
        assert!(after["request"].to_string().contains(says), "{after}");
        assert!(after.to_string().len() < 400, "{after}");
    }
    let deleted = of("command-deleted");
    assert_eq!(deleted["before"]["request"]["preSharedKey"]["secTag"], 1);
    assert!(deleted["after"].is_null());
    let pin = of("pin");
    assert_eq!(pin["after"]["keyIds"].as_array().unwrap().len(), 1);
    assert!(
        pin["before"]["keyIds"]
            .as_array()
            .unwrap()
            .contains(&pin["after"]["keyIds"][0])
    );
    let issued = of("certificate-issued");
    assert_eq!(issued["after"]["secTag"], 42);
    assert!(issued["after"]["serial"].as_str().unwrap().len() > 8);
}
