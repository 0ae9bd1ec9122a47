//! Arrows that get lost: answers, reports, and the service itself.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::json;
use std::time::Duration;
use support::device::FakeDevice;
use support::{Reply, Road, Town, on_every_road};

on_every_road! {
    a_batch_whose_answer_was_lost_is_fetched_again_with_the_same_bytes,
    the_same_report_again_changes_nothing_and_gives_no_second_certificate,
    the_same_report_twice_at_once_gives_one_certificate,
    a_lost_report_ends_as_outcome_unknown_and_is_never_sent_again,
    a_lost_report_ends_when_its_owner_looks_although_the_device_never_returns,
    a_closed_loop_whose_report_was_lost_is_queued_again_when_its_owner_looks,
    a_restart_in_the_middle_of_a_session_is_not_noticed_by_the_device,
}

async fn a_batch_whose_answer_was_lost_is_fetched_again_with_the_same_bytes(road: Road) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(
        &device,
        json!({"clientPrivateKeyGeneration": {"secTag": 1}}),
    )
    .await;
    let first = town.fetch(&device, "").await;
    let again = town.fetch(&device, "").await;
    assert_eq!((first.status, &first.body), (200, &again.body));
}

/// A device that was delivered the first half of a closed loop.
async fn asked_for_a_key(road: Road) -> (Town, FakeDevice, Reply) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let csr = json!({"certificateSigningRequest": {"secTag": 1, "issue": true}});
    town.queue(&device, csr).await;
    let batch = town.fetch(&device, "").await;
    (town, device, batch)
}

async fn the_same_report_again_changes_nothing_and_gives_no_second_certificate(road: Road) {
    let (town, mut device, batch) = asked_for_a_key(road).await;
    let (after, report, _) = device.run(&batch.body);
    assert_eq!(town.report(&device, &report).await.status, 200);
    let remembered = town.remembers(device.id).await;
    let certificates = town
        .service()
        .app()
        .store()
        .certificates(device.id)
        .await
        .unwrap();
    assert_eq!(certificates.len(), 1);
    assert_eq!(town.report(&device, &report).await.status, 200);
    assert_eq!(town.remembers(device.id).await, remembered);
    assert_eq!(
        town.service()
            .app()
            .store()
            .certificates(device.id)
            .await
            .unwrap(),
        certificates
    );
    // What follows is the certificate, not the CSR again.
    let next = town.fetch(&device, &after).await;
    device.run(&next.body);
    assert!(device.stored[&(1, 1)].contains("CERTIFICATE"));
}

async fn the_same_report_twice_at_once_gives_one_certificate(road: Road) {
    let (town, mut device, batch) = asked_for_a_key(road).await;
    let (_, report, _) = device.run(&batch.body);
    let (a, b, c) = tokio::join!(
        town.report(&device, &report),
        town.report(&device, &report),
        town.report(&device, &report),
    );
    assert_eq!((a.status, b.status, c.status), (200, 200, 200));
    let store = town.service().app().store();
    assert_eq!(store.certificates(device.id).await.unwrap().len(), 1);
    let (_, commands) = town.remembers(device.id).await;
    assert_eq!(commands.len(), 2, "the CSR and one certificate");
    let alarms = town.audit(device.id).await;
    assert!(alarms.iter().all(|(action, _)| !action.ends_with("-alarm")));
}

async fn a_lost_report_ends_as_outcome_unknown_and_is_never_sent_again(road: Road) {
    let town = Town::on(road).await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    let id = town
        .queue(
            &device,
            json!({"atCommand": {"command": "%X", "parameters": "1"}}),
        )
        .await;
    let batch = town.fetch(&device, "").await;
    let (after, _lost, _) = device.run(&batch.body);
    assert_eq!(
        town.fetch(&device, &after).await.status,
        204,
        "executed, so not sent again"
    );
    town.wait(Duration::from_secs(601));
    assert_eq!(town.fetch(&device, &after).await.status, 204);
    let path = format!("/v1/claimed-devices/{}/provisioning/{id}", device.id);
    let shown = town.owner("GET", &path, None).await.json();
    assert_eq!(shown["status"], "FAILED");
    assert!(
        shown["response"]["atCommand"]["message"]
            .as_str()
            .unwrap()
            .contains("outcome unknown")
    );
}

async fn a_lost_report_ends_when_its_owner_looks_although_the_device_never_returns(road: Road) {
    for look in ["one", "list", "create", "delete"] {
        let town = Town::on(road).await;
        let mut device = FakeDevice::new(1);
        town.claim(&device).await;
        let lost = town
            .queue(
                &device,
                json!({"atCommand": {"command": "%X", "parameters": "1"}}),
            )
            .await;
        let batch = town.fetch(&device, "").await;
        let (after, _lost, _) = device.run(&batch.body);
        assert_eq!(town.fetch(&device, &after).await.status, 204);
        let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
        let of = |id: &str| format!("{path}/{id}");
        let shown = town.owner("GET", &of(&lost), None).await.json();
        assert_eq!(shown["status"], "IN_PROGRESS", "the report may still come");
        town.wait(Duration::from_secs(600));
        match look {
            "one" => {
                let shown = town.owner("GET", &of(&lost), None).await.json();
                assert_eq!(shown["status"], "FAILED", "{shown:#}");
                assert_eq!(
                    shown["response"]["atCommand"]["failure"], "outcomeUnknown",
                    "{shown:#}"
                );
            }
            "list" => assert_eq!(town.commands(&device).await[0]["status"], "FAILED"),
            "create" => {
                town.queue(&device, json!({"finished": {}})).await;
                let (_, commands) = town.remembers(device.id).await;
                assert!(commands[0].status.is_terminal() && commands.len() == 2);
            }
            _ => {
                let reply = town.owner("DELETE", &of(&lost), None).await;
                assert_eq!(reply.status, 204, "nothing is in progress");
            }
        }
    }
}

async fn a_closed_loop_whose_report_was_lost_is_queued_again_when_its_owner_looks(road: Road) {
    let (town, mut device, batch) = asked_for_a_key(road).await;
    let (after, _lost, _) = device.run(&batch.body);
    assert_eq!(town.fetch(&device, &after).await.status, 204);
    town.wait(Duration::from_secs(601));
    assert_eq!(town.commands(&device).await[0]["status"], "PENDING");
    assert_eq!(town.commands(&device).await[0]["status"], "PENDING");
    town.provision(&mut device).await;
    assert!(device.stored.contains_key(&(1, 1)));
}

async fn a_restart_in_the_middle_of_a_session_is_not_noticed_by_the_device(road: Road) {
    let mut town = Town::on(road).await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(
        &device,
        json!({"certificateSigningRequest": {"secTag": 1, "issue": true}}),
    )
    .await;
    town.queue(&device, json!({"finished": {}})).await;
    let batch = town.fetch(&device, "").await;
    town.down().await;
    assert!(!town.dir.path().join("home/run.json").exists());
    town.up().await;
    let (after, report, _) = device.run(&batch.body);
    assert_eq!(town.report(&device, &report).await.status, 200);
    town.down().await;
    town.up().await;
    let rest = town.fetch(&device, &after).await;
    let (_, report, finished) = device.run(&rest.body);
    assert!(finished && device.stored.contains_key(&(1, 1)));
    assert_eq!(town.report(&device, &report).await.status, 200);
    assert!(
        town.commands(&device)
            .await
            .iter()
            .all(|c| c["status"] == "SUCCEEDED")
    );
}
