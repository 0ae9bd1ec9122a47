//! What becomes of a set of commands when one of them fails, and what an operator does about it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::Town;
use support::rules::{claimed, command, made, queue_of, session};

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
