//! Rules and sessions in few words: what is made by an owner, and what a device runs of it.

use super::Town;
use super::device::FakeDevice;
use sectag_proto::wire::{Action, WireResponse, WireResult, encode_responses};
use serde_json::{Value, json};

pub const TAG: u32 = 16_842_753;
pub const RULES: &str = "/v1/provisioning-rules";

/// A device claimed with these tags.
pub async fn claimed(town: &Town, n: u8, tags: &[&str]) -> FakeDevice {
    let device = FakeDevice::new(n);
    let token = device.claim_token();
    town.log.forbid(&token);
    let body = json!({ "claimToken": token, "tags": tags });
    let reply = town.owner("POST", "/v1/claimed-devices", Some(&body)).await;
    assert_eq!(reply.status, 201, "{:?}", reply.json());
    device
}

pub async fn made(town: &Town, rule: Value) -> Value {
    let reply = town.owner("POST", RULES, Some(&rule)).await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    reply.json()
}

pub async fn refused(town: &Town, rule: Value) -> (u16, String) {
    let reply = town.owner("POST", RULES, Some(&rule)).await;
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    (reply.status, message)
}

pub fn setting(name: &str, tag: &str, key: &str, value: &str) -> Value {
    json!({"name": name, "active": true, "tags": [tag],
           "commands": [{"request": {"config": {key: value}}}]})
}

/// `kind` or `kind key=value` of each command, with its rule and status.
pub async fn queue_of(town: &Town, device: &FakeDevice) -> Vec<(String, Option<String>, String)> {
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

pub async fn words_of(town: &Town, device: &FakeDevice) -> Vec<String> {
    let queue = queue_of(town, device).await;
    queue.into_iter().map(|(words, ..)| words).collect()
}

/// One session of a device whose commands fail as `fails` says: the n-th AT command of a batch that matches.
pub async fn session(
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

pub async fn command(town: &Town, device: &FakeDevice, id: &str) -> Value {
    let path = format!("/v1/claimed-devices/{}/provisioning/{id}", device.id);
    town.owner("GET", &path, None).await.json()
}
