//! `docs/reference/metrics.md` lists what is counted: in a town where one of each thing happened, every family that is told
//! stands there with its kind and its labels, and the reverse.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::wire::{WireResponse, WireResult, encode_responses};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use support::Town;
use support::device::FakeDevice;

const PAGE: &str = include_str!("../../../docs/reference/metrics.md");

/// A family's kind and the names of its labels.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

fn told() -> Families {
    let (_, table) = PAGE.split_once("| name | kind | labels | what |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut told = Families::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let words = |cell: &str| -> BTreeSet<String> {
            let words = cell.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect()
        };
        for name in words(cells[0]) {
            told.insert(name, (cells[1].to_owned(), words(cells[2])));
        }
    }
    told
}

fn counted(text: &str) -> Families {
    let mut counted = Families::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            counted.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((name, labels)) = line.split_once('{') {
            let family = name.strip_suffix("_total").unwrap_or(name);
            let labels = labels.rsplit_once('}').unwrap().0;
            let names = labels
                .split("\",")
                .map(|label| label.split('=').next().unwrap());
            let known = &mut counted.get_mut(family).unwrap().1;
            known.extend(names.map(str::to_owned));
        }
    }
    counted
}

async fn metrics(town: &Town) -> String {
    let reply = town.owner_raw("GET", "/metrics", "", "").await;
    String::from_utf8(reply.body).unwrap()
}

/// One of each thing that is counted.
async fn lived_in() -> Town {
    let town = Town::start().await;
    let hook = json!({ "url": "http://127.0.0.1:1/nobody" });
    assert_eq!(
        town.owner("POST", "/v1/webhooks", Some(&hook)).await.status,
        201
    );
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    let csr = json!({ "certificateSigningRequest": { "secTag": 1, "issue": true } });
    town.queue(&device, csr).await;
    town.provision(&mut device).await;
    town.queue(&device, json!({ "config": { "a": "b" } })).await;
    let batch = town.fetch(&device, "").await.body;
    let failed = WireResponse {
        correlation: FakeDevice::decode(&batch)[0].correlation.clone(),
        result: WireResult::Failed {
            cme_error: 1,
            message: "no".to_owned(),
        },
    };
    let report = encode_responses(&[failed]);
    assert_eq!(town.report(&device, &report).await.status, 200);
    // Another device that says it is this one.
    assert_eq!(town.fetch(&FakeDevice::new(1), "").await.status, 401);
    let path = format!("/v1/claimed-devices/{}", device.id);
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    town
}

#[tokio::test]
async fn what_is_counted_stands_in_the_reference_and_the_reverse() {
    let town = lived_in().await;
    let mut told = told();
    if !sectag_server::HAS_COAP {
        told.retain(|name, _| !name.contains("coap") && !name.contains("dtls"));
    }
    // What ends soon is counted after the first question, and a webhook is tried when it is its turn.
    let counted = loop {
        let counted = counted(&metrics(&town).await);
        let late = [
            "sectag_certificates_expiring",
            "sectag_certificates_at_risk",
            "sectag_webhook_deliveries",
        ];
        if late.into_iter().all(|name| counted.contains_key(name)) {
            break counted;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let names = |families: &Families| -> BTreeSet<String> { families.keys().cloned().collect() };
    let only = |one: &Families, other: &Families| -> Vec<String> {
        names(one).difference(&names(other)).cloned().collect()
    };
    assert_eq!(
        only(&counted, &told),
        [""; 0],
        "counted, and not in the reference"
    );
    assert_eq!(
        only(&told, &counted),
        [""; 0],
        "in the reference, and not counted"
    );
    for (name, family) in &told {
        assert_eq!(&counted[name], family, "{name}");
    }
}
