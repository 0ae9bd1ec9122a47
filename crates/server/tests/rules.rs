//! Rules over a device's life: written, activated, applied when the device shows up, once, and again after a reset.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::wire::Action;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::Town;
use support::device::FakeDevice;
use support::rules::{
    RULES, TAG, claimed, command, made, queue_of, refused, session, setting, words_of,
};

#[tokio::test]
async fn the_vendors_onboarding_rule_works_as_its_tool_sends_it() {
    let town = Town::start().await;
    let tag = json!({"tag": "nrf-cloud-onboarding", "description": "nRF Cloud Onboarding"});
    let path = "/v1/provisioning/tags";
    assert_eq!(town.owner("POST", path, Some(&tag)).await.status, 201);
    assert_eq!(town.owner("POST", path, Some(&tag)).await.status, 409);
    let list = town.owner("GET", RULES, None).await.json();
    assert_eq!(list["items"], json!([]));
    let rule = made(
        &town,
        json!({"name": "nRF Cloud Onboarding", "description": "…", "active": true,
               "commands": [{"request": {"clientPrivateKeyGeneration": {"secTag": TAG}}},
                            {"request": {"cloudAccessKeyGeneration": {"secTag": TAG}}},
                            {"request": {"serverCertificate": {"secTag": TAG, "content": town.root}}}],
               "tags": ["nrf-cloud-onboarding"]}),
    )
    .await;
    assert_eq!(rule["state"], "ACTIVE");
    let list = town.owner("GET", RULES, None).await.json();
    assert_eq!(list["items"][0]["tags"], json!(["nrf-cloud-onboarding"]));

    let mut device = claimed(&town, 1, &["nrf-cloud-onboarding"]).await;
    assert_eq!(
        town.commands(&device).await.len(),
        0,
        "not before it shows up"
    );
    town.provision(&mut device).await;
    let queue = queue_of(&town, &device).await;
    let kinds: Vec<&str> = queue.iter().map(|(words, ..)| words.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "clientPrivateKeyGeneration",
            "cloudAccessKeyGeneration",
            "serverCertificate",
            "finished"
        ]
    );
    for (words, rule_id, status) in &queue {
        assert_eq!(rule_id.as_deref(), rule["id"].as_str(), "{words}");
        assert_eq!(status, "SUCCEEDED", "{words}");
    }
    assert_eq!(device.stored[&(TAG, 0)], town.root);
    assert_eq!(town.fetch(&device, "").await.status, 204, "once per device");
    let audit = town.audit(device.id).await;
    assert!(
        audit
            .iter()
            .any(|(a, d)| a == "rule-applied" && d.contains("3 commands")),
        "{audit:?}"
    );
    town.log.assert_clean();
}

#[tokio::test]
async fn a_draft_can_be_edited_and_an_active_rule_cannot() {
    let town = Town::start().await;
    let mut draft = setting("first", "a", "k", "1");
    draft["active"] = json!(false);
    let rule = made(&town, draft.clone()).await;
    assert_eq!(rule["state"], "DRAFT");
    assert_eq!(refused(&town, draft).await.0, 409, "names are unique");
    let device = claimed(&town, 1, &["a"]).await;
    assert_eq!(
        town.fetch(&device, "").await.status,
        204,
        "a draft applies to nobody"
    );

    let path = format!("{RULES}/{}", rule["id"].as_str().unwrap());
    let patch = json!({"commands": [{"request": {"config": {"k": "2"}}}], "onError": "keepRest"});
    let changed = town.owner("PATCH", &path, Some(&patch)).await;
    assert_eq!(changed.status, 200, "{}", changed.json());
    assert_eq!(changed.json()["onError"], "keepRest");
    let active = town.owner("POST", &format!("{path}/activate"), None).await;
    assert_eq!(
        (active.status, &active.json()["state"]),
        (200, &json!("ACTIVE"))
    );
    let late = town
        .owner("PATCH", &path, Some(&json!({"name": "x"})))
        .await;
    assert_eq!(late.status, 409);
    assert!(late.json()["message"].as_str().unwrap().contains("ACTIVE"));
    assert_eq!(
        town.owner("POST", &format!("{path}/activate"), None)
            .await
            .status,
        200
    );

    assert_eq!(
        town.fetch(&device, "").await.status,
        200,
        "at its next fetch"
    );
    assert_eq!(words_of(&town, &device).await, ["config k=2", "finished"]);
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    assert_eq!(town.owner("GET", &path, None).await.status, 404);
    let late = claimed(&town, 2, &["a"]).await;
    assert_eq!(
        town.fetch(&late, "").await.status,
        204,
        "a deleted rule applies to nobody"
    );
    assert_eq!(
        words_of(&town, &device).await.len(),
        2,
        "what it queued stays"
    );
}

#[tokio::test]
async fn rules_apply_in_the_order_of_their_creation_and_again_after_a_reset() {
    let town = Town::start().await;
    made(&town, setting("one", "a", "k", "1")).await;
    made(&town, setting("two", "b", "k", "2")).await;
    made(&town, setting("not", "c", "k", "3")).await;
    let mut device = claimed(&town, 1, &["b", "a"]).await;
    town.provision(&mut device).await;
    assert_eq!(
        words_of(&town, &device).await,
        ["config k=1", "config k=2", "finished"]
    );
    assert_eq!(town.fetch(&device, "").await.status, 204);

    // Another tag brings what is for it, and nothing twice.
    let path = format!("/v1/claimed-devices/{}", device.id);
    let tags = json!({"tags": ["a", "c"]});
    assert_eq!(town.owner("PATCH", &path, Some(&tags)).await.status, 200);
    town.provision(&mut device).await;
    let words = words_of(&town, &device).await;
    assert_eq!(words[3..], ["config k=3", "finished"]);

    town.queue(&device, json!({"config": {"by": "hand"}})).await;
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let reset = town.owner("POST", &format!("{path}/reset"), None).await;
    assert_eq!(reset.status, 200, "{}", reset.json());
    assert_eq!(reset.json()["rules"].as_array().unwrap().len(), 3);
    assert_eq!(reset.json()["removed"].as_array().unwrap().len(), 5);
    assert_eq!(words_of(&town, &device).await, ["config by=hand"]);
    town.provision(&mut device).await;
    assert_eq!(
        words_of(&town, &device).await,
        ["config by=hand", "config k=1", "config k=3", "finished"]
    );
    let audit = town.audit(device.id).await;
    let reset = audit.iter().find(|(a, _)| a == "device-reset").unwrap();
    assert!(reset.1.contains("rules that apply again: 3,"), "{reset:?}");
}

#[tokio::test]
async fn a_reset_ends_open_commands_of_rules_so_that_pollers_hear_of_it() {
    let town = Town::start().await;
    made(&town, setting("one", "a", "k", "1")).await;
    let device = claimed(&town, 1, &["a"]).await;
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let id = town.commands(&device).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/claimed-devices/{}/reset", device.id);
    let reset = town.owner("POST", &path, None).await.json();
    assert_eq!(reset["discarded"].as_array().unwrap().len(), 2);
    let ended = command(&town, &device, &id).await;
    assert_eq!(ended["status"], "FAILED");
    assert!(
        ended["response"]["config"]["message"]
            .as_str()
            .unwrap()
            .contains("was reset by")
    );
    assert_eq!(town.fetch(&device, "").await.status, 200);
    assert_eq!(town.commands(&device).await.len(), 4);
    let unknown = town
        .owner(
            "POST",
            "/v1/claimed-devices/50363154-3931-44f0-8022-121b6401627d/reset",
            None,
        )
        .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn finished_is_appended_once_and_not_beside_another() {
    let town = Town::start().await;
    let mut own = setting("own", "own", "k", "1");
    own["commands"]
        .as_array_mut()
        .unwrap()
        .push(json!({"request": {"finished": {}}}));
    made(&town, own).await;
    made(&town, setting("other", "other", "k", "2")).await;
    let device = claimed(&town, 1, &["own"]).await;
    town.fetch(&device, "").await;
    assert_eq!(words_of(&town, &device).await, ["config k=1", "finished"]);
    let device = claimed(&town, 2, &["other"]).await;
    town.queue(&device, json!({"finished": {}})).await;
    town.fetch(&device, "").await;
    assert_eq!(words_of(&town, &device).await, ["finished", "config k=2"]);
    let plan = format!("/v1/claimed-devices/{}/plan", device.id);
    let plan = town.owner("GET", &plan, None).await.json();
    let last = plan["commands"].as_array().unwrap().last().unwrap();
    assert!(last["request"]["finished"].is_object(), "{plan:#}");
}

#[tokio::test]
async fn a_device_that_is_told_done_has_all_that_its_rules_brought() {
    let town = Town::start().await;
    let mut device = claimed(&town, 1, &["a"]).await;
    town.queue(&device, json!({"finished": {}})).await;
    let rule = json!({"name": "loop", "active": true, "tags": ["a"], "commands": [
        {"request": {"certificateSigningRequest": {"secTag": TAG, "attributes": "", "issue": true}}}]});
    made(&town, rule).await;
    town.provision(&mut device).await;
    assert!(
        device.stored.contains_key(&(TAG, 1)),
        "the certificate came in the same session"
    );
    let statuses = queue_of(&town, &device).await;
    assert_eq!(statuses.len(), 3, "{statuses:?}");
    assert!(
        statuses.iter().all(|(.., status)| status == "SUCCEEDED"),
        "{statuses:?}"
    );

    // It has run this one, as its next fetch says, and only the report is missing.
    let batch = town.fetch(&device, "").await;
    assert_eq!(batch.status, 204);
    town.queue(&device, json!({"finished": {}})).await;
    let batch = FakeDevice::decode(&town.fetch(&device, "").await.body);
    made(&town, setting("later", "a", "k", "1")).await;
    let after = batch[0].correlation.to_string();
    let batch = FakeDevice::decode(&town.fetch(&device, &after).await.body);
    let actions: Vec<bool> = batch.iter().map(|c| c.action == Action::Finished).collect();
    assert_eq!(
        actions,
        [false, true],
        "told done once more, behind what came"
    );
}

#[tokio::test]
async fn a_rule_without_room_waits_whole_and_one_that_never_fits_is_refused() {
    let town = Town::start().await;
    let many = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|n| json!({"request": {"config": {"n": n.to_string()}}}))
            .collect()
    };
    let (status, message) = refused(
        &town,
        json!({"name": "huge", "active": true, "tags": ["a"], "commands": many(100)}),
    )
    .await;
    assert_eq!(status, 422);
    assert!(
        message.contains("101 commands") && message.contains("never fit"),
        "{message}"
    );
    made(
        &town,
        json!({"name": "large", "active": true, "tags": ["a"], "commands": many(30)}),
    )
    .await;
    made(&town, setting("small", "a", "k", "1")).await;
    let mut device = claimed(&town, 1, &["a"]).await;
    let set: Vec<Value> = many(80);
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    let reply = town
        .owner("POST", &path, Some(&json!({ "commands": set })))
        .await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    assert_eq!(reply.json()["items"].as_array().unwrap().len(), 80);
    assert_eq!(town.fetch(&device, "").await.status, 200);
    assert_eq!(
        town.commands(&device).await.len(),
        80,
        "neither it nor the one behind it"
    );
    session(&town, &mut device, |_| false).await;
    let words = words_of(&town, &device).await;
    assert_eq!(words.len(), 80 + 30 + 1 + 1, "{words:?}");
    assert_eq!(words[110..], ["config k=1", "finished"]);
    assert!(
        queue_of(&town, &device)
            .await
            .iter()
            .all(|(.., status)| status == "SUCCEEDED")
    );
}

#[tokio::test]
async fn a_rule_that_appears_while_devices_fetch_is_neither_lost_nor_doubled() {
    let town = Town::start().await;
    made(&town, setting("first", "a", "k", "1")).await;
    let mut devices = Vec::new();
    for n in 1..=8 {
        devices.push(claimed(&town, n, &["a"]).await);
    }
    let fetches = async {
        for device in &devices {
            let (one, two) = tokio::join!(town.fetch(device, ""), town.fetch(device, ""));
            assert!(one.status == 200 && two.status == 200);
        }
    };
    let changes = async {
        for n in 2..6 {
            made(
                &town,
                setting(&format!("rule {n}"), "a", "k", &n.to_string()),
            )
            .await;
        }
    };
    tokio::join!(fetches, changes);
    for device in &devices {
        assert_eq!(town.fetch(device, "").await.status, 200);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for words in words_of(&town, device).await {
            *counts.entry(words).or_default() += 1;
        }
        for n in 1..6 {
            assert_eq!(counts[&format!("config k={n}")], 1, "{counts:?}");
        }
        assert_eq!(counts["finished"], 1);
    }
}
