//! Rules over a device's life: written, activated, applied when the device shows up, once, and again after a reset.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::CommandRequest;
use sectag_proto::wire::{Action, WireResponse, WireResult, encode_responses};
use sectag_server::OwnerError;
use sectag_server::app::Caller;
use sectag_store::Role;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::Town;
use support::device::FakeDevice;

const TAG: u32 = 16_842_753;
const RULES: &str = "/v1/provisioning-rules";

/// A device claimed with these tags.
async fn claimed(town: &Town, n: u8, tags: &[&str]) -> FakeDevice {
    let device = FakeDevice::new(n);
    let token = device.claim_token();
    town.log.forbid(&token);
    let body = json!({ "claimToken": token, "tags": tags });
    let reply = town.owner("POST", "/v1/claimed-devices", Some(&body)).await;
    assert_eq!(reply.status, 201, "{:?}", reply.json());
    device
}

async fn made(town: &Town, rule: Value) -> Value {
    let reply = town.owner("POST", RULES, Some(&rule)).await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    reply.json()
}

async fn refused(town: &Town, rule: Value) -> (u16, String) {
    let reply = town.owner("POST", RULES, Some(&rule)).await;
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    (reply.status, message)
}

fn setting(name: &str, tag: &str, key: &str, value: &str) -> Value {
    json!({"name": name, "active": true, "tags": [tag],
           "commands": [{"request": {"config": {key: value}}}]})
}

/// `kind` or `kind key=value` of each command, with its rule and status.
async fn queue_of(town: &Town, device: &FakeDevice) -> Vec<(String, Option<String>, String)> {
    let shown = |command: &Value| {
        let request = command["request"].as_object().unwrap();
        let (kind, inner) = request.iter().find(|(k, _)| *k != "requestedAt").unwrap();
        let mut words = kind.clone();
        if kind == "config" {
            words = inner
                .as_object()
                .unwrap()
                .iter()
                .fold(words, |text, (k, v)| {
                    format!("{text} {k}={}", v.as_str().unwrap())
                });
        }
        (
            words,
            command["ruleId"].as_str().map(str::to_owned),
            command["status"].as_str().unwrap().to_owned(),
        )
    };
    town.commands(device).await.iter().map(shown).collect()
}

async fn words_of(town: &Town, device: &FakeDevice) -> Vec<String> {
    let queue = queue_of(town, device).await;
    queue.into_iter().map(|(words, ..)| words).collect()
}

/// One session of a device whose commands fail as `fails` says: the n-th AT command of a batch that matches.
async fn session(
    town: &Town,
    device: &mut FakeDevice,
    mut fails: impl FnMut(&str) -> bool,
) -> Vec<String> {
    let mut after = String::new();
    let mut ran = Vec::new();
    for _ in 0..20 {
        let reply = town.fetch(device, &after).await;
        if reply.status == 204 {
            return ran;
        }
        assert_eq!(reply.status, 200, "{}", reply.head);
        let mut report = Vec::new();
        let (mut finished, mut failed) = (None, false);
        for command in FakeDevice::decode(&reply.body) {
            after = command.correlation.to_string();
            let result = match &command.action {
                Action::At {
                    set_command,
                    parameters,
                    ..
                } => {
                    let line = format!("AT{set_command}={parameters}");
                    failed = fails(&line);
                    ran.push(line);
                    match failed {
                        true => WireResult::Failed {
                            cme_error: 514,
                            message: "+CME ERROR: 514\r\n".into(),
                        },
                        false => WireResult::AtDone {
                            message: "OK\r\n".into(),
                        },
                    }
                }
                Action::Config(pairs) => {
                    ran.push(format!("config {pairs:?}"));
                    WireResult::ConfigStored
                }
                Action::Finished => {
                    ran.push("finished".into());
                    finished = Some(command.correlation.clone());
                    continue;
                }
            };
            report.push(WireResponse {
                correlation: command.correlation.clone(),
                result,
            });
            if failed {
                break;
            }
        }
        if let (Some(correlation), false) = (finished.clone(), failed) {
            report.push(WireResponse {
                correlation,
                result: WireResult::Finished,
            });
        }
        assert_eq!(
            town.report(device, &encode_responses(&report)).await.status,
            200
        );
        if finished.is_some() && !failed {
            return ran;
        }
    }
    panic!("the device is kept looping: {ran:?}");
}

async fn command(town: &Town, device: &FakeDevice, id: &str) -> Value {
    let path = format!("/v1/claimed-devices/{}/provisioning/{id}", device.id);
    town.owner("GET", &path, None).await.json()
}

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
    assert!(reset.1.contains("3 rules apply again"), "{reset:?}");
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
async fn variables_are_filled_in_and_a_missing_value_is_an_alarm_and_nothing_half() {
    let town = Town::start().await;
    let (status, message) = refused(&town, setting("bad", "a", "k", "{{device.serial}}")).await;
    assert_eq!(status, 422);
    assert!(
        message.contains("commands[0].request.config: `{{device.serial}}`"),
        "{message}"
    );
    assert!(message.contains("tag.NAME"), "{message}");
    let (status, message) = refused(&town, setting("bad", "a", "k", "{{team.prefix}}")).await;
    assert_eq!(status, 422);
    assert!(message.contains("no topic prefix"), "{message}");

    let rule = json!({"name": "located", "active": true, "tags": ["a"], "commands": [
        {"request": {"config": {"id": "{{device.id}}"}}},
        {"request": {"atCommand": {"command": "%XFOO", "parameters": "1,\"{{tag.location}}\""}}}]});
    let rule = made(&town, rule).await;
    made(&town, setting("plain", "a", "k", "1")).await;
    let mut device = claimed(&town, 1, &["a"]).await;
    let lines = session(&town, &mut device, |_| false).await;
    assert_eq!(
        lines,
        ["config [(\"k\", \"1\")]"],
        "nothing of that rule, and not finished"
    );
    assert_eq!(town.fetch(&device, "").await.status, 204);
    let id = device.id;
    let alarms = || async {
        let audit = town.audit(id).await;
        audit
            .into_iter()
            .filter(|(a, _)| a == "rule-alarm")
            .map(|(_, d)| d)
            .collect::<Vec<_>>()
    };
    let raised = alarms().await;
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert!(
        raised[0].starts_with(&format!("located ({})", rule["id"].as_str().unwrap())),
        "{raised:?}"
    );
    assert!(
        raised[0].contains("carries no tag `location=…`"),
        "{raised:?}"
    );

    let path = format!("/v1/claimed-devices/{}", device.id);
    let tags = json!({"tags": ["a", "location=Mo i Rana"]});
    assert_eq!(town.owner("PATCH", &path, Some(&tags)).await.status, 200);
    let lines = session(&town, &mut device, |_| false).await;
    assert_eq!(
        lines,
        [
            format!("config [(\"id\", \"{}\")]", device.id),
            "AT%XFOO=1,\"Mo i Rana\"".to_owned(),
            "finished".to_owned()
        ]
    );
    assert_eq!(alarms().await.len(), 1);
    // A value that would break out of its quotes is refused, too.
    let tags = json!({"tags": ["a", "location=x\"y"]});
    assert_eq!(town.owner("PATCH", &path, Some(&tags)).await.status, 200);
    town.owner("POST", &format!("{path}/reset"), None).await;
    let lines = session(&town, &mut device, |_| false).await;
    assert_eq!(lines, ["config [(\"k\", \"1\")]"]);
    assert!(alarms().await[1].contains("`\"`"));
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
    let last = plan["steps"].as_array().unwrap().last().unwrap().clone();
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

#[tokio::test]
async fn each_error_policy_does_what_it_says() {
    let town = Town::start().await;
    let at = |name: &str| json!({"request": {"atCommand": {"command": "%X", "parameters": name}}});
    let rule = |name: &str, policy: Value| {
        json!({"name": name, "active": true, "tags": [name], "onError": policy,
               "commands": [at("1"), at("2"), at("3")]})
    };
    for (name, policy) in [
        ("vendor", json!("vendorDefault")),
        ("keep", json!("keepRest")),
        ("retry", json!({"retry": {"times": 2}})),
    ] {
        made(&town, rule(name, policy)).await;
    }
    let statuses = |queue: Vec<(String, Option<String>, String)>| -> Vec<String> {
        queue.into_iter().map(|(.., status)| status).collect()
    };
    let (ok, failed) = ("SUCCEEDED", "FAILED");

    let mut device = claimed(&town, 1, &["vendor"]).await;
    let ran = session(&town, &mut device, |line| line.ends_with("=2")).await;
    assert_eq!(ran, ["AT%X=1", "AT%X=2"]);
    assert_eq!(
        statuses(queue_of(&town, &device).await),
        [ok, failed, failed, failed]
    );

    let mut device = claimed(&town, 2, &["keep"]).await;
    let ran = session(&town, &mut device, |line| line.ends_with("=2")).await;
    assert_eq!(ran, ["AT%X=1", "AT%X=2", "AT%X=3", "finished"]);
    assert_eq!(
        statuses(queue_of(&town, &device).await),
        [ok, failed, ok, ok]
    );

    let mut device = claimed(&town, 3, &["retry"]).await;
    let mut left = 2;
    let ran = session(&town, &mut device, |line| {
        line.ends_with("=2") && left > 0 && {
            left -= 1;
            true
        }
    })
    .await;
    assert_eq!(
        ran,
        ["AT%X=1", "AT%X=2", "AT%X=2", "AT%X=2", "AT%X=3", "finished"]
    );
    assert_eq!(statuses(queue_of(&town, &device).await), [ok, ok, ok, ok]);

    let mut device = claimed(&town, 4, &["retry"]).await;
    let ran = session(&town, &mut device, |line| line.ends_with("=2")).await;
    assert_eq!(ran, ["AT%X=1", "AT%X=2", "AT%X=2", "AT%X=2"]);
    assert_eq!(
        statuses(queue_of(&town, &device).await),
        [ok, failed, failed, failed]
    );
}

#[tokio::test]
async fn a_parked_command_waits_for_an_operator() {
    let town = Town::start().await;
    let at = |name: &str| json!({"request": {"atCommand": {"command": "%X", "parameters": name}}});
    for (n, action, expected) in [
        (1, "resume", &["SUCCEEDED", "SUCCEEDED", "SUCCEEDED"][..]),
        (2, "skip", &["SUCCEEDED", "FAILED", "SUCCEEDED"]),
        (3, "discard", &["SUCCEEDED", "FAILED", "FAILED"]),
    ] {
        let mut device = claimed(&town, n, &[]).await;
        let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
        let set = json!({"onError": "park", "commands": [at("1"), at("2"), at("3")]});
        let queued = town.owner("POST", &path, Some(&set)).await;
        assert_eq!(queued.status, 201, "{}", queued.json());
        let id = queued.json()["items"][1]["id"].as_str().unwrap().to_owned();
        let ran = session(&town, &mut device, |line| line.ends_with("=2")).await;
        assert_eq!(ran, ["AT%X=1", "AT%X=2"]);
        let parked = command(&town, &device, &id).await;
        assert_eq!(parked["status"], "IN_PROGRESS", "the vendor's status");
        assert_eq!(parked["parked"], true);
        assert_eq!(parked["response"]["atCommand"]["cmeError"], 514);
        assert_eq!(
            town.fetch(&device, "").await.status,
            204,
            "nothing behind it"
        );
        town.wait(std::time::Duration::from_secs(3600));
        assert_eq!(
            town.fetch(&device, "").await.status,
            204,
            "for as long as it takes"
        );

        let one = format!("{path}/{id}");
        let done = town
            .owner("PATCH", &one, Some(&json!({ "action": action })))
            .await;
        assert_eq!(done.status, 200, "{}", done.json());
        let again = town
            .owner("PATCH", &one, Some(&json!({ "action": action })))
            .await;
        assert_eq!(again.status, 409);
        session(&town, &mut device, |_| false).await;
        let queue = queue_of(&town, &device).await;
        let statuses: Vec<&str> = queue.iter().map(|(.., status)| status.as_str()).collect();
        assert_eq!(statuses, expected, "{action}");
    }
}

#[tokio::test]
async fn a_waiting_command_can_be_changed_and_a_fetched_one_cannot() {
    let town = Town::start().await;
    let mut device = claimed(&town, 1, &[]).await;
    town.queue(&device, json!({"config": {"first": "1"}})).await;
    let id = town
        .queue(
            &device,
            json!({"preSharedKey": {"secTag": 7, "identity": "me", "secret": "00112233"}}),
        )
        .await;
    town.queue(&device, json!({"config": {"last": "1"}})).await;
    town.log.forbid("00112233");
    town.log.forbid("aabbccdd");
    let path = format!("/v1/claimed-devices/{}/provisioning/{id}", device.id);
    let patch = json!({"description": "better", "request":
        {"preSharedKey": {"secTag": 7, "identity": "you", "secret": "aabbccdd"}}});
    let changed = town.owner("PATCH", &path, Some(&patch)).await;
    assert_eq!(changed.status, 200, "{}", changed.json());
    assert_eq!(changed.json()["description"], "better");
    assert!(!String::from_utf8_lossy(&changed.body).contains("aabbccdd"));
    let bad = json!({"request": {"preSharedKey": {"secTag": 7, "identity": "", "secret": "00"}}});
    assert_eq!(town.owner("PATCH", &path, Some(&bad)).await.status, 422);
    let lines = session(&town, &mut device, |_| false).await;
    assert_eq!(lines[0], "config [(\"first\", \"1\")]");
    assert!(
        lines.contains(&"AT%CMNG=0,7,3,\"aabbccdd\"".to_owned()),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap(), "config [(\"last\", \"1\")]");
    let late = town
        .owner("PATCH", &path, Some(&json!({"description": "x"})))
        .await;
    assert_eq!(late.status, 409);

    let trail = town
        .owner("GET", "/v1/audit?pageLimit=100", None)
        .await
        .json();
    let entries = trail["items"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry["action"] == "command-changed")
        .unwrap();
    let (before, after) = (&entry["before"], &entry["after"]);
    assert_eq!(before["request"]["preSharedKey"]["identity"], "me");
    assert_eq!(after["request"]["preSharedKey"]["identity"], "you");
    assert!(after["request"]["preSharedKey"]["secret"]["sha256"].is_string());
    town.log.assert_clean();
}

#[tokio::test]
async fn a_rules_secret_is_never_shown_and_reaches_the_device() {
    let town = Town::start().await;
    let secret = "0123456789abcdef0123456789abcdef";
    town.log.forbid(secret);
    let rule = made(
        &town,
        json!({"name": "psk", "active": true, "tags": ["a"], "commands": [
            {"request": {"preSharedKey": {"secTag": 7, "identity": "{{device.id}}", "secret": secret}}}]}),
    )
    .await;
    assert!(!rule.to_string().contains(secret));
    let mut device = claimed(&town, 1, &["a"]).await;
    session(&town, &mut device, |_| false).await;
    let list = town.owner("GET", RULES, None).await;
    assert!(!String::from_utf8_lossy(&list.body).contains(secret));
    let database =
        std::fs::read(town.dir.path().join("home").join("sectag.db")).unwrap_or_default();
    assert!(
        !database
            .windows(secret.len())
            .any(|w| w == secret.as_bytes())
    );
    let mut device = claimed(&town, 2, &["a"]).await;
    let ran = session(&town, &mut device, |_| false).await;
    assert!(
        ran.contains(&format!("AT%CMNG=0,7,3,\"{secret}\"")),
        "{ran:?}"
    );
    assert!(ran.contains(&format!("AT%CMNG=0,7,4,\"{}\"", device.id)));
    town.log.assert_clean();
}

#[tokio::test]
async fn a_keygen_answer_is_judged_beside_its_message() {
    let town = Town::start().await;
    let mut device = claimed(&town, 1, &[]).await;
    let good = town
        .queue(
            &device,
            json!({"certificateSigningRequest": {"secTag": 1, "attributes": "CN=x,O=y"}}),
        )
        .await;
    let usage = town
        .queue(
            &device,
            json!({"certificateSigningRequest": {"secTag": 2, "keyUsage": "100000000"}}),
        )
        .await;
    town.provision(&mut device).await;
    let verified =
        command(&town, &device, &good).await["response"]["certificateSigningRequest"]["verified"]
            .clone();
    for member in [
        "holds",
        "signature",
        "device",
        "secTag",
        "digest",
        "subject",
        "keyUsage",
    ] {
        assert_eq!(verified[member], true, "{member}: {verified}");
    }
    let shown = command(&town, &device, &usage).await;
    let verified = &shown["response"]["certificateSigningRequest"]["verified"];
    assert_eq!(
        (&verified["holds"], &verified["keyUsage"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(verified["signature"], true);
    assert!(
        verified["problem"]
            .as_str()
            .unwrap()
            .contains("key usage is 111010000"),
        "{verified}"
    );
    assert_eq!(shown["status"], "SUCCEEDED", "the verdict changes nothing");
}

#[tokio::test]
async fn material_is_read_before_it_is_queued() {
    let town = Town::start().await;
    let device = claimed(&town, 1, &[]).await;
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let body = json!({"request": {"serverCertificate": {"secTag": 1, "content": broken}}});
    let reply = town.owner("POST", &path, Some(&body)).await;
    assert_eq!(reply.status, 422, "{}", reply.json());
    let rule = json!({"name": "r", "tags": ["a"], "commands": [{"request": {"clientCertificate": {"secTag": 1, "content": broken}}}]});
    let (status, message) = refused(&town, rule).await;
    assert_eq!(status, 422);
    assert!(
        message.starts_with("commands[0].request.content: "),
        "{message}"
    );
    // The two characters backslash and n, as a published script sends them.
    let scripted = town.root.replace('\n', "\\n");
    let body = json!({"request": {"serverCertificate": {"secTag": 1, "content": scripted}}});
    assert_eq!(town.owner("POST", &path, Some(&body)).await.status, 201);
}

#[tokio::test]
async fn tags_are_listed_page_by_page_and_taken_off() {
    let town = Town::start().await;
    let path = "/v1/provisioning/tags";
    for tag in ["b", "a", "c"] {
        assert_eq!(
            town.owner("POST", path, Some(&json!({ "tag": tag })))
                .await
                .status,
            201
        );
    }
    let page = town
        .owner("GET", "/v1/provisioning/tags?pageLimit=2", None)
        .await
        .json();
    assert_eq!(page["total"], 3);
    let token = page["pageNextToken"].as_str().unwrap();
    let rest = town
        .owner("GET", &format!("{path}?pageNextToken={token}"), None)
        .await
        .json();
    assert_eq!(rest["items"][0]["tag"], "c");
    assert_eq!(
        town.owner("DELETE", &format!("{path}/a"), None)
            .await
            .status,
        204
    );
    assert_eq!(
        town.owner("DELETE", &format!("{path}/a"), None)
            .await
            .status,
        404
    );
    assert_eq!(
        town.owner("POST", path, Some(&json!({"tag": "x,y"})))
            .await
            .status,
        422
    );
    assert_eq!(
        town.owner("POST", path, Some(&json!({"tag": " "})))
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn a_teams_rules_are_for_its_own_devices_and_know_its_prefix() {
    let town = Town::start().await;
    let team = json!({"name": "acme", "topicPrefix": "acme-north"});
    let made = town.owner("POST", "/v1/teams", Some(&team)).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let key = json!({"name": "ci", "role": "owner", "team": "acme"});
    let key = town.owner("POST", "/v1/keys", Some(&key)).await.json()["key"].clone();
    let key = key.as_str().unwrap().to_owned();
    town.log.forbid(&key);
    let theirs = async |method: &str, path: &str, body: Value| {
        let headers = format!("Authorization: Bearer {key}\r\n");
        town.owner_raw(method, path, &headers, &body.to_string())
            .await
    };
    let rule = setting("topics", "a", "topic", "{{team.prefix}}/{{device.id}}");
    let reply = theirs("POST", RULES, rule).await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let ours = town.owner("GET", &format!("{RULES}/{id}"), None).await;
    assert_eq!(ours.status, 404, "of another team");

    let device = FakeDevice::new(1);
    let claim = json!({"claimToken": device.claim_token(), "tags": ["a"]});
    assert_eq!(
        theirs("POST", "/v1/claimed-devices", claim).await.status,
        201
    );
    let elsewhere = claimed(&town, 2, &["a"]).await;
    assert_eq!(town.fetch(&elsewhere, "").await.status, 204);
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    let queue = theirs("GET", &path, Value::Null).await.json();
    let topic = &queue["items"][0]["request"]["config"]["topic"];
    assert_eq!(topic, &json!(format!("acme-north/{}", device.id)));
}

#[tokio::test]
async fn a_command_reaches_no_device_that_became_anothers_meanwhile() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let command = town.queue(&device, json!({"finished": {}})).await;
    // Whoever asks has been let in before; what counts is whose the device is when it is written.
    let stranger = Caller {
        name: "stranger".to_owned(),
        role: Role::Owner,
        team: "another".to_owned(),
        scope: Vec::new(),
        sees_reserved: true,
    };
    let app = town.service().app();
    let one = CommandRequest::Finished {};
    let refused = [
        app.command(&stranger, device.id, command.parse().unwrap())
            .await
            .map(drop),
        app.commands(&stranger, device.id).await.map(drop),
        app.create_command(device.id, None, one, &stranger)
            .await
            .map(drop),
        app.delete_command(device.id, command.parse().unwrap(), true, &stranger)
            .await,
        app.delete_commands(device.id, true, &stranger).await,
    ];
    for refused in refused {
        assert!(
            matches!(refused, Err(OwnerError::NotFound { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(town.commands(&device).await.len(), 1);
}
