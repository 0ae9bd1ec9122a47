//! Lists of devices: pages by cursor, filters by tag, status and beginning of the id; and PATCH.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::Town;
use support::device::FakeDevice;

const CLAIMED: &str = "/v1/claimed-devices";

/// Six devices: every second tagged `even`, every third `third`, the fourth blocked.
async fn fleet() -> Town {
    let town = Town::start().await;
    for n in 1..=6 {
        let mut tags = Vec::new();
        if n % 2 == 0 {
            tags.push("even");
        }
        if n % 3 == 0 {
            tags.push("third");
        }
        let device = FakeDevice::new(n);
        let body = json!({"claimToken": device.claim_token(), "tags": tags});
        assert_eq!(town.owner("POST", CLAIMED, Some(&body)).await.status, 201);
        if n == 4 {
            let path = format!("{CLAIMED}/{}", device.id);
            let blocked = town
                .owner("PATCH", &path, Some(&json!({"blocked": true})))
                .await;
            assert_eq!(
                (blocked.status, &blocked.json()["status"]),
                (200, &json!("BLOCKED"))
            );
        }
    }
    town
}

/// All pages: numbers of the devices, and the totals.
async fn pages(town: &Town, key: &str, query: &str) -> (Vec<u8>, Vec<Value>) {
    let (mut numbers, mut totals, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let path = format!("{CLAIMED}?{query}{token}");
        let headers = format!("Authorization: Bearer {key}\r\n");
        let reply = town.owner_raw("GET", &path, &headers, "").await;
        assert_eq!(reply.status, 200, "{path}");
        let page = reply.json();
        for device in page["items"].as_array().unwrap() {
            let id = device["id"].as_str().unwrap();
            numbers.push(u8::from_str_radix(&id[..2], 16).unwrap());
        }
        totals.push(page["total"].clone());
        match page["pageNextToken"].as_str() {
            Some(next) => token = format!("&pageNextToken={next}"),
            None => return (numbers, totals),
        }
    }
}

#[tokio::test]
async fn filters_meet_in_pages() {
    let town = fleet().await;
    for (query, expected) in [
        ("pageLimit=4", &[1, 2, 3, 4, 5, 6][..]),
        ("tag=even&pageLimit=2", &[2, 4, 6]),
        ("status=BLOCKED", &[4]),
        ("tag=even&status=READY&pageLimit=1", &[2, 6]),
        ("tag=third&status=BLOCKED", &[]),
        ("tag=nobody", &[]),
    ] {
        let (numbers, totals) = pages(&town, &town.key, query).await;
        assert_eq!(numbers, expected, "{query}");
        assert!(
            totals.iter().all(|total| *total == json!(expected.len())),
            "{query}: {totals:?}"
        );
    }
}

#[tokio::test]
async fn a_prefix_is_hex_digits_with_or_without_hyphens() {
    let town = fleet().await;
    for (prefix, expected) in [
        ("0", &[1, 2, 3, 4, 5, 6][..]),
        ("04", &[4]),
        ("04040404-04", &[4]),
        ("0404040404", &[4]),
        ("04040404-0404-0404-0404-040404040404", &[4]),
        ("0405", &[]),
        ("f", &[]),
    ] {
        let query = format!("pageLimit=2&prefix={prefix}");
        let (numbers, totals) = pages(&town, &town.key, &query).await;
        assert_eq!(numbers, expected, "{prefix}");
        assert!(totals.iter().all(Value::is_null), "nobody has counted them");
    }
    let upper = pages(&town, &town.key, "prefix=04&tag=even&status=BLOCKED").await;
    assert_eq!(upper.0, [4]);
    for wrong in [
        "prefix=zz",
        "prefix=%20",
        "prefix=040404040404040404040404040404040",
        "status=SLEEPY",
        "pageLimit=0",
        "pageNextToken=x",
    ] {
        let reply = town.owner("GET", &format!("{CLAIMED}?{wrong}"), None).await;
        assert_eq!(reply.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_key_with_several_tags_gets_their_devices_once_each() {
    let town = fleet().await;
    let make = async |tags: Value| {
        let body =
            json!({"name": format!("k{}", tags.to_string().len()), "role": "admin", "tags": tags});
        let made = town.owner("POST", "/v1/keys", Some(&body)).await;
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let (both, one) = (
        make(json!(["even", "third"])).await,
        make(json!(["third"])).await,
    );
    let (numbers, totals) = pages(&town, &both, "pageLimit=3").await;
    assert_eq!((numbers, totals.len()), (vec![2, 3, 4, 6], 2));
    assert!(totals.iter().all(Value::is_null));
    let (numbers, totals) = pages(&town, &one, "").await;
    assert_eq!((numbers, totals), (vec![3, 6], vec![json!(2)]));
    // A tag beside its own: those that have both.
    let (numbers, _) = pages(&town, &one, "tag=even&pageLimit=1").await;
    assert_eq!(numbers, [6]);
    let (numbers, totals) = pages(&town, &both, "tag=even").await;
    assert_eq!((numbers, totals), (vec![2, 4, 6], vec![json!(3)]));
    let status = async |key: &str| {
        let headers = format!("Authorization: Bearer {key}\r\n");
        town.owner_raw("GET", "/v1/status", &headers, "")
            .await
            .json()["devices"]
            .clone()
    };
    assert_eq!(status(&one).await, json!({"claimed": 2, "blocked": 0}));
    assert_eq!(status(&both).await, json!({}));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_at_once_and_says_so() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let path = format!("{CLAIMED}/{}", device.id);
    for wrong in [
        json!({}),
        json!({"tags": null}),
        json!({"name": "x"}),
        json!({"tags": "x"}),
        json!({"blocked": "yes"}),
        json!([]),
    ] {
        assert_eq!(
            town.owner("PATCH", &path, Some(&wrong)).await.status,
            422,
            "{wrong}"
        );
    }
    let body = json!({"tags": ["a, b", "a"], "blocked": true});
    let changed = town.owner("PATCH", &path, Some(&body)).await;
    assert_eq!(changed.status, 200);
    let changed = changed.json();
    assert_eq!(
        (&changed["tags"], &changed["status"]),
        (&json!(["a", "b"]), &json!("BLOCKED"))
    );
    let trail = town.owner("GET", "/v1/audit", None).await.json();
    let told = |n: usize| {
        let entry = &trail["items"][n];
        (
            entry["action"].clone(),
            entry["before"].clone(),
            entry["after"].clone(),
        )
    };
    assert_eq!(
        told(0),
        (
            json!("block"),
            json!({"blocked": false}),
            json!({"blocked": true})
        )
    );
    assert_eq!(
        told(1),
        (
            json!("tags"),
            json!({"tags": []}),
            json!({"tags": ["a", "b"]})
        )
    );
    // One change, one version.
    let (known, _) = town.remembers(device.id).await;
    assert_eq!(known.unwrap().version, 2);
    let none = format!("{CLAIMED}/{}", FakeDevice::new(2).id);
    assert_eq!(
        town.owner("PATCH", &none, Some(&json!({"blocked": true})))
            .await
            .status,
        404
    );
}
