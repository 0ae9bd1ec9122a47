//! Plans: what is shown before anything runs is what the device then gets, line by line.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::wire::Action;
use serde_json::{Value, json};
use support::Town;
use support::device::FakeDevice;

const RULES: &str = "/v1/provisioning-rules";

async fn claimed(town: &Town, n: u8, tags: &[&str]) -> FakeDevice {
    let device = FakeDevice::new(n);
    let body = json!({ "claimToken": device.claim_token(), "tags": tags });
    let reply = town.owner("POST", "/v1/claimed-devices", Some(&body)).await;
    assert_eq!(reply.status, 201);
    device
}

async fn post(town: &Town, path: &str, body: &Value) -> Value {
    let reply = town.owner("POST", path, Some(body)).await;
    assert!(reply.status < 300, "{}: {}", reply.status, reply.json());
    reply.json()
}

/// AT lines, settings and `finished` of a plan.
fn lines(plan: &Value) -> Vec<String> {
    let commands = plan["commands"].as_array().unwrap();
    let wires = commands.iter().flat_map(|c| c["wire"].as_array().unwrap());
    wires
        .map(|wire| match wire {
            wire if wire["at"].is_string() => wire["at"].as_str().unwrap().to_owned(),
            wire if wire["config"].is_object() => format!("config {}", wire["config"]),
            _ => "finished".to_owned(),
        })
        .collect()
}

/// The same of a batch that the device fetched.
fn fetched(bytes: &[u8]) -> Vec<String> {
    FakeDevice::decode(bytes)
        .into_iter()
        .map(|command| match command.action {
            Action::At {
                set_command,
                parameters,
                ..
            } => format!("AT{set_command}={parameters}"),
            Action::Config(pairs) => {
                let pairs: serde_json::Map<String, Value> =
                    pairs.into_iter().map(|(k, v)| (k, json!(v))).collect();
                format!("config {}", Value::Object(pairs))
            }
            Action::Finished => "finished".to_owned(),
        })
        .collect()
}

fn rule(name: &str) -> Value {
    json!({"name": name, "active": true, "tags": ["farm"], "onError": "park", "commands": [
        {"request": {"certificateSigningRequest": {"secTag": 7, "attributes": "CN={{device.id}},L={{tag.place}}", "issue": {"validityDays": 90}}}},
        {"request": {"config": {"id": "{{device.id}}"}}}]})
}

#[tokio::test]
async fn what_a_plan_shows_is_what_the_device_gets() {
    let town = Town::start().await;
    post(&town, RULES, &rule("farm")).await;
    let device = claimed(&town, 1, &["farm", "place=Moss"]).await;
    town.queue(&device, json!({"config": {"by": "hand"}})).await;
    let before = town.remembers(device.id).await;
    let path = format!("/v1/claimed-devices/{}/plan", device.id);
    let plan = town.owner("GET", &path, None).await.json();
    assert_eq!(
        before,
        town.remembers(device.id).await,
        "nothing is written"
    );
    assert_eq!(
        lines(&plan),
        [
            "config {\"by\":\"hand\"}".to_owned(),
            "AT%CMNG=3,7,2".to_owned(),
            format!("AT%KEYGEN=7,2,0,\"CN={},L=Moss\"", device.id),
            format!("config {{\"id\":\"{}\"}}", device.id),
            "finished".to_owned(),
        ]
    );
    let commands = plan["commands"].as_array().unwrap();
    assert_eq!(commands[0]["source"]["status"], "PENDING");
    assert_eq!(commands[1]["source"]["ruleName"], "farm");
    assert_eq!(commands[1]["onError"], "park");
    let note = commands[1]["notes"][0].as_str().unwrap();
    assert!(
        note.contains("90 days") && note.contains("sec tag 7"),
        "{note}"
    );
    assert_eq!(plan["problems"], json!([]));

    let reply = town.fetch(&device, "").await;
    // `finished` waits for the certificate; all else is as planned.
    let planned = lines(&plan);
    assert_eq!(fetched(&reply.body), planned[..4]);
    let then = town.owner("GET", &path, None).await.json();
    assert_eq!(
        lines(&then),
        planned,
        "until it reports, the same comes again"
    );
    assert_eq!(then["commands"][1]["source"]["status"], "IN_PROGRESS");
}

#[tokio::test]
async fn secrets_stand_in_plans_as_digests() {
    let town = Town::start().await;
    let secret = "00112233445566778899aabbccddeeff";
    town.log.forbid(secret);
    let device = claimed(&town, 1, &[]).await;
    town.queue(
        &device,
        json!({"preSharedKey": {"secTag": 7, "identity": "me", "secret": secret}}),
    )
    .await;
    let path = format!("/v1/claimed-devices/{}/plan", device.id);
    let plan = town.owner("GET", &path, None).await.json();
    assert!(!plan.to_string().contains(secret));
    let last = lines(&plan).pop().unwrap();
    assert!(last.starts_with("AT%CMNG=0,7,3,\"<sha256 "), "{last}");
    town.log.assert_clean();
}

#[tokio::test]
async fn a_draft_is_planned_over_a_fleet_in_groups_with_a_cursor() {
    let town = Town::start().await;
    for n in 1..=6 {
        let place = format!("place=P{n}");
        let tags = match n {
            1..=4 => vec!["farm", place.as_str()],
            5 => vec!["farm"],
            _ => vec!["other"],
        };
        claimed(&town, n, &tags).await;
    }
    let path = format!("{RULES}/plan");
    let plan = post(&town, &format!("{path}?pageLimit=2"), &rule("farm")).await;
    assert_eq!((&plan["total"], &plan["lookedAt"]), (&json!(5), &json!(5)));
    let groups = plan["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2, "{groups:?}");
    assert_eq!(groups[0]["devices"], 4);
    assert_eq!(
        groups[0]["commands"],
        json!([
            "rule `farm`: certificateSigningRequest 7",
            "rule `farm`: config",
            "rule `farm`: finished"
        ])
    );
    assert_eq!(groups[1]["devices"], 1);
    let problem = groups[1]["problems"][0].as_str().unwrap();
    assert!(problem.contains("no tag `place=…`"), "{problem}");
    let items = plan["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "as many as asked for");
    assert!(lines(&items[0])[1].contains("L=P1"), "{items:?}");
    assert!(
        plan.get("pageNextToken").is_none(),
        "500 are looked at at once"
    );
    let rules = town.owner("GET", RULES, None).await.json();
    assert_eq!(rules["items"], json!([]), "a plan makes no rule");
    let bad = json!({"name": "x", "tags": ["farm"], "commands": [{"request": {"config": {"k": "{{nope}}"}}}]});
    assert_eq!(town.owner("POST", &path, Some(&bad)).await.status, 422);
}

#[tokio::test]
async fn a_tags_devices_and_one_device_with_a_draft_are_planned() {
    let town = Town::start().await;
    let one = claimed(&town, 1, &["farm", "place=A"]).await;
    claimed(&town, 2, &["farm"]).await;
    town.queue(&one, json!({"config": {"by": "hand"}})).await;
    let plan = post(&town, "/v1/plan", &json!({"tag": "farm"})).await;
    assert_eq!(plan["lookedAt"], 2);
    assert_eq!(plan["groups"].as_array().unwrap().len(), 2);
    let path = format!("/v1/claimed-devices/{}/plan", one.id);
    let with = post(&town, &path, &rule("draft")).await;
    assert_eq!(lines(&with).len(), 1 + 4);
    assert_eq!(with["commands"][1]["source"]["ruleState"], "DRAFT");
    let mut elsewhere = rule("draft");
    elsewhere["tags"] = json!(["sea"]);
    let with = post(&town, &path, &elsewhere).await;
    assert_eq!(lines(&with).len(), 1);
    assert!(
        with["problems"][0]
            .as_str()
            .unwrap()
            .contains("not for this device")
    );
}

#[tokio::test]
async fn a_plan_says_what_stands_in_the_way() {
    let town = Town::start().await;
    let device = claimed(&town, 1, &[]).await;
    let large = json!({"config": {"k": "x".repeat(1500)}});
    town.queue(&device, large).await;
    let path = format!("/v1/claimed-devices/{}", device.id);
    town.owner("PATCH", &path, Some(&json!({"blocked": true})))
        .await;
    let plan = town
        .owner("GET", &format!("{path}/plan"), None)
        .await
        .json();
    assert!(plan["problems"][0].as_str().unwrap().contains("blocked"));
    let note = plan["commands"][0]["notes"][0].as_str().unwrap();
    assert!(
        note.contains("default options over HTTPS") && note.contains("rxMaxSize"),
        "{note}"
    );
    let unknown = "/v1/claimed-devices/50363154-3931-44f0-8022-121b6401627d/plan";
    assert_eq!(town.owner("GET", unknown, None).await.status, 404);
}
