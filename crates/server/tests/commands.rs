//! Hand-made commands: checked before they are queued, changed while they wait, judged when they are answered, for
//! the devices of whoever asks.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::CommandRequest;
use sectag_server::OwnerError;
use sectag_server::app::Caller;
use sectag_store::Role;
use serde_json::json;
use support::Town;
use support::device::FakeDevice;
use support::rules::{claimed, command, refused, session};

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
