//! What keys for certain devices learn of the others: nothing, not even how many there are.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_store::AuditEvent;
use serde_json::{Value, json};
use std::time::Duration;
use support::Town;
use support::device::FakeDevice;

async fn key(town: &Town, role: &str, tags: &[&str]) -> String {
    let body = json!({"name": format!("{role}{}", tags.len()), "role": role, "tags": tags});
    let made = town.owner("POST", "/v1/keys", Some(&body)).await;
    assert_eq!(made.status, 201);
    made.json()["key"].as_str().unwrap().to_owned()
}

async fn claimed(town: &Town, n: u8, tags: &[&str]) -> FakeDevice {
    let device = FakeDevice::new(n);
    let body = json!({"claimToken": device.claim_token(), "tags": tags});
    let reply = town.owner("POST", "/v1/claimed-devices", Some(&body)).await;
    assert_eq!(reply.status, 201);
    device
}

async fn ask(town: &Town, key: &str, method: &str, path: &str, body: &str) -> Value {
    let headers = format!("Authorization: Bearer {key}\r\n");
    let reply = town.owner_raw(method, path, &headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.json()
}

/// Every page of a list: its members but for the token, which the next one is asked for with.
async fn pages(town: &Town, key: &str, method: &str, path: &str, body: &str) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("{path}&pageNextToken={token}");
        let mut page = ask(town, key, method, &path, body).await;
        let next = page.as_object_mut().unwrap().remove("pageNextToken");
        pages.push(page);
        match next {
            Some(next) => token = next.as_str().unwrap().to_owned(),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn the_list_of_alarms_is_as_long_as_if_there_were_no_others() {
    let town = Town::start().await;
    let mine = claimed(&town, 1, &["mine"]).await;
    let other = claimed(&town, 2, &["other"]).await;
    let store = town.service().app().store();
    for (n, device) in [&other, &mine, &other, &mine, &mine, &other, &other]
        .into_iter()
        .enumerate()
    {
        let alarm = AuditEvent::new(town.now(), "test", "test-alarm")
            .device(device.id)
            .detail(n.to_string());
        store.record(vec![alarm]).await.unwrap();
    }
    let scoped = key(&town, "admin", &["mine"]).await;
    let list = |limit: u32| format!("/v1/alarms?pageLimit={limit}");
    let details = |pages: &[Value]| -> Vec<Vec<String>> {
        let items = pages.iter().map(|page| page["items"].as_array().unwrap());
        let of = |alarm: &Value| alarm["detail"].as_str().unwrap().to_owned();
        items.map(|items| items.iter().map(of).collect()).collect()
    };
    for (limit, expected) in [
        (1, vec![vec!["4"], vec!["3"], vec!["1"]]),
        (2, vec![vec!["4", "3"], vec!["1"]]),
        (3, vec![vec!["4", "3", "1"]]),
        (9, vec![vec!["4", "3", "1"]]),
    ] {
        let told = pages(&town, &scoped, "GET", &list(limit), "").await;
        assert_eq!(details(&told), expected, "{limit}");
        assert!(told.iter().all(|page| page.get("total").is_none()));
    }
    // Devices that an owner claimed do not exist for viewers; who sees all is told how many.
    let viewer = key(&town, "viewer", &[]).await;
    let told = ask(&town, &viewer, "GET", &list(9), "").await;
    assert_eq!(told, json!({"items": []}));
    let told = ask(&town, &town.key, "GET", &list(2), "").await;
    assert_eq!(told["total"], 7);
}

#[tokio::test]
async fn the_plan_of_a_fleet_is_as_long_as_if_there_were_no_others() {
    // More than one page looks at.
    const OTHERS: u32 = 600;
    let town = Town::start().await;
    let mine = claimed(&town, 0xee, &["mine", "farm"]).await;
    let elsewhere = claimed(&town, 0xef, &["mine"]).await;
    let rows: Vec<String> = (0..OTHERS)
        .map(|n| {
            let mut device = FakeDevice::new(0);
            let mut id = [1; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            device.id = sectag_proto::DeviceId::from_bytes(id);
            format!("\"{}\",\"farm\"\n", device.claim_token())
        })
        .collect();
    let claimed = ask(
        &town,
        &town.key,
        "POST",
        "/v1/claimed-devices",
        &rows.concat(),
    )
    .await;
    assert_eq!(claimed["failed"], json!([]));
    let scoped = key(&town, "admin", &["mine"]).await;
    let rule =
        json!({"name": "farm", "tags": ["farm"], "commands": [{"request": {"finished": {}}}]});
    for (path, body) in [
        ("/v1/plan?pageLimit=10", json!({"tag": "farm"})),
        ("/v1/provisioning-rules/plan?pageLimit=10", rule),
    ] {
        let told = pages(&town, &scoped, "POST", path, &body.to_string()).await;
        assert_eq!(told.len(), 1, "{path}: {told:?}");
        assert_eq!(told[0]["lookedAt"], 1);
        assert_eq!(told[0]["items"][0]["deviceId"], mine.id.to_string());
        assert!(told[0].get("total").is_none());
        assert!(!told[0].to_string().contains(&elsewhere.id.to_string()));
        let all = pages(&town, &town.key, "POST", path, &body.to_string()).await;
        assert_eq!(all.len(), 2);
        assert_eq!(all[0]["total"], OTHERS + 1);
    }
}

#[tokio::test]
async fn the_list_of_renewals_is_as_long_as_if_there_were_no_others() {
    let town = Town::start().await;
    let rule = json!({
        "name": "field", "active": true, "tags": ["field"], "renewal": {"into": "inPlace"},
        "commands": [{"request": {"certificateSigningRequest": {"secTag": 7, "issue": {"validityDays": 90}}}}],
    });
    let made = town
        .owner("POST", "/v1/provisioning-rules", Some(&rule))
        .await;
    assert_eq!(made.status, 201, "{}", made.json());
    let mut devices = Vec::new();
    for n in 1..=6 {
        let tags = match n {
            2 | 4 => &["field", "mine"][..],
            _ => &["field"],
        };
        let mut device = claimed(&town, n, tags).await;
        town.provision(&mut device).await;
        devices.push(device);
    }
    town.wait(Duration::from_secs(61 * 86_400));
    for device in &devices {
        // Each begins a renewal, in this order.
        assert_eq!(town.fetch(device, "").await.status, 200);
        town.wait(Duration::from_secs(1));
    }
    let scoped = key(&town, "viewer", &["mine"]).await;
    let admin = key(&town, "admin", &["mine"]).await;
    assert_eq!(
        pages(&town, &scoped, "GET", "/v1/renewals?pageLimit=1", "").await,
        [json!({"items": []})],
        "an owner claimed them"
    );
    let ids = |pages: &[Value]| -> Vec<Vec<String>> {
        let items = pages.iter().map(|page| page["items"].as_array().unwrap());
        let of = |run: &Value| run["deviceId"].as_str().unwrap().to_owned();
        items.map(|items| items.iter().map(of).collect()).collect()
    };
    let id = |n: usize| devices[n - 1].id.to_string();
    for (who, limit, expected) in [
        (&admin, 1, vec![vec![id(2)], vec![id(4)]]),
        (&admin, 2, vec![vec![id(2), id(4)]]),
        (
            &town.key,
            4,
            vec![(1..=4).map(id).collect(), vec![id(5), id(6)]],
        ),
        (&town.key, 6, vec![(1..=6).map(id).collect()]),
    ] {
        let path = format!("/v1/renewals?pageLimit={limit}");
        let told = pages(&town, who, "GET", &path, "").await;
        assert_eq!(ids(&told), expected, "{limit}");
    }
}
