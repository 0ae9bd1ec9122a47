//! What somebody should look at: each story raises its alarm, over every road, and changes nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::wire::{self, WireResponse, WireResult};
use serde_json::{Value, json};
use std::time::Duration;
use support::device::{FakeDevice, Key};
use support::{Road, Town, on_every_road};

on_every_road!(
    two_identities_with_one_uuid,
    a_claim_with_another_key,
    a_report_for_what_was_never_delivered,
    a_key_made_twice,
    twins_that_answer_from_two_places,
    a_device_that_moves_reboots_and_loses_answers_is_no_twin,
);

async fn open_alarms(town: &Town) -> Vec<Value> {
    let reply = town.owner("GET", "/v1/alarms", None).await;
    assert_eq!(reply.status, 200);
    reply.json()["items"].as_array().unwrap().clone()
}

/// Exactly this alarm is open, about this device; acknowledging it is on record.
async fn raised(town: &Town, device: &FakeDevice, alarm: &str, words: &str) {
    let open = open_alarms(town).await;
    assert_eq!(open.len(), 1, "{open:#?}");
    assert_eq!(open[0]["alarm"], alarm);
    assert_eq!(open[0]["deviceId"], device.id.to_string());
    let detail = open[0]["detail"].as_str().unwrap();
    assert!(detail.contains(words), "{detail}");
    let path = format!("/v1/alarms/{}/ack", open[0]["number"]);
    assert_eq!(town.owner("POST", &path, None).await.status, 204);
    assert_eq!(town.owner("POST", &path, None).await.status, 409);
    assert_eq!(open_alarms(town).await.len(), 0);
    let all = town.owner("GET", "/v1/alarms?all=true", None).await.json();
    assert_eq!(all["items"][0]["acknowledgedBy"], "owner");
    let audited = town.audit(device.id).await;
    let (last, detail) = audited.last().unwrap();
    assert_eq!(last, "alarm-acknowledged");
    assert!(detail.starts_with(alarm), "{detail}");
}

async fn two_identities_with_one_uuid(road: Road) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(&device, json!({"finished": {}})).await;
    // Its first request pins its key.
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let before = town.remembers(device.id).await;
    let twin = FakeDevice::new(1);
    assert_eq!(town.fetch(&twin, "").await.status, 401);
    let report = wire::encode_responses(&[]);
    assert_eq!(town.report(&twin, &report).await.status, 401);
    assert_eq!(town.remembers(device.id).await, before);
    raised(&town, &device, "key-alarm", "is not this device's key").await;
}

async fn a_claim_with_another_key(road: Road) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(&device, json!({"finished": {}})).await;
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let before = town.remembers(device.id).await;
    let twin = FakeDevice::new(1);
    assert_eq!(town.claim(&twin).await.status, 409);
    assert_eq!(town.remembers(device.id).await, before);
    raised(&town, &device, "key-alarm", "claim with another key").await;
    // The device itself goes on.
    assert_eq!(town.fetch(&device, "").await.status, 200);
}

async fn a_report_for_what_was_never_delivered(road: Road) {
    let town = Town::on(road).await;
    let (device, other) = (FakeDevice::new(1), FakeDevice::new(2));
    town.claim(&device).await;
    town.claim(&other).await;
    town.queue(&other, json!({"finished": {}})).await;
    town.queue(&device, json!({"finished": {}})).await;
    let batch = town.fetch(&other, "").await;
    let foreign = FakeDevice::decode(&batch.body)[0].correlation.clone();
    let before = (
        town.remembers(device.id).await.1,
        town.remembers(other.id).await,
    );
    let report = wire::encode_responses(&[WireResponse {
        correlation: foreign,
        result: WireResult::Finished,
    }]);
    assert_eq!(town.report(&device, &report).await.status, 200);
    let after = (
        town.remembers(device.id).await.1,
        town.remembers(other.id).await,
    );
    assert_eq!(after, before);
    raised(
        &town,
        &device,
        "report-alarm",
        "never delivered to this device",
    )
    .await;
}

async fn a_key_made_twice(road: Road) {
    let town = Town::on(road).await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(
        &device,
        json!({"clientPrivateKeyGeneration": {"secTag": 1}}),
    )
    .await;
    let batch = town.fetch(&device, "").await.body;
    // Two devices run the same batch, and each makes a key of its own.
    let (_, first, _) = device.run(&batch);
    let (_, second, _) = device.run(&batch);
    assert_eq!(town.report(&device, &first).await.status, 200);
    let again = town.report(&device, &first).await;
    assert_eq!(again.status, 200, "the same again is none");
    assert_eq!(open_alarms(&town).await.len(), 0);
    assert_eq!(town.report(&device, &second).await.status, 200);
    raised(
        &town,
        &device,
        "report-alarm",
        "the key on the device changed",
    )
    .await;
}

/// Commands that write nothing but an answer of their own.
async fn work(town: &Town, device: &FakeDevice, n: u32) {
    let request = json!({"config": {"properties": {"step": n.to_string()}}});
    town.queue(device, request).await;
}

async fn works(town: &Town, device: &mut FakeDevice, after: &mut String) -> bool {
    let reply = town.fetch(device, after).await;
    if reply.status != 200 {
        assert_eq!(reply.status, 204);
        return false;
    }
    let (last, report, _) = device.run(&reply.body);
    assert_eq!(town.report(device, &report).await.status, 200);
    *after = last;
    true
}

async fn twins_that_answer_from_two_places(road: Road) {
    let town = Town::on(road).await;
    let mut device = FakeDevice::new(1);
    let identity = device.identity.0.to_pem();
    let mut twin = FakeDevice {
        identity: Key(sectag_pki::PrivateKey::from_pem(&identity).unwrap()),
        ..FakeDevice::new(1)
    };
    town.claim(&device).await;
    let (mut here, mut there) = (String::new(), String::new());
    work(&town, &device, 1).await;
    assert!(works(&town, &mut device, &mut here).await);
    work(&town, &device, 2).await;
    // The copy is as far as a device that was just switched on.
    assert!(works(&town, &mut twin, &mut there).await);
    assert_eq!(open_alarms(&town).await.len(), 0);
    let before = town.remembers(device.id).await.1;
    for _ in 0..3 {
        town.wait(Duration::from_secs(3600));
        assert!(!works(&town, &mut device, &mut here).await);
        assert!(!works(&town, &mut twin, &mut there).await);
    }
    assert_eq!(town.remembers(device.id).await.1, before);
    raised(
        &town,
        &device,
        "clone-alarm",
        "two devices seem to share this identity",
    )
    .await;
    // Both are answered as before: who is the right one is for people to say.
    work(&town, &device, 3).await;
    assert!(works(&town, &mut device, &mut here).await);
}

async fn a_device_that_moves_reboots_and_loses_answers_is_no_twin(road: Road) {
    let town = Town::on(road).await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    let mut after = String::new();
    // Each request comes from another port, as behind a carrier's translator.
    for n in 0..12 {
        work(&town, &device, n).await;
        match n % 4 {
            // The answer is lost on its way.
            0 => assert_eq!(town.fetch(&device, &after).await.status, 200),
            // The report arrives, and its acknowledgement does not.
            1 => {
                let batch = town.fetch(&device, &after).await.body;
                let (_, report, _) = device.run(&batch);
                assert_eq!(town.report(&device, &report).await.status, 200);
            }
            2 => after.clear(),
            _ => {}
        }
        town.wait(Duration::from_secs(600));
        works(&town, &mut device, &mut after).await;
    }
    assert_eq!(open_alarms(&town).await, Vec::<Value>::new());
}

/// A session that was left for a newer one is taken up again: only two machines do that.
#[cfg(feature = "coap")]
mod sessions {
    use super::*;
    use sectag_coap::Code;
    use support::coap::CoapSession;

    #[tokio::test]
    async fn two_machines_in_two_sessions_are_told_whatever_their_address() {
        let town = Town::on(Road::Coap).await;
        let device = FakeDevice::new(1);
        town.claim(&device).await;
        let jwt = device.jwt(town.now());
        town.log.forbid(&jwt);
        let mut first = CoapSession::open(&town).await;
        assert_eq!(first.authenticate(&jwt).await.code, Code::CREATED);
        let mut second = CoapSession::open(&town).await;
        assert_eq!(second.authenticate(&jwt).await.code, Code::CREATED);
        for turn in 0..4 {
            assert_eq!(
                open_alarms(&town).await.len(),
                usize::from(turn > 2),
                "{turn}"
            );
            first.moves().await;
            assert_eq!(first.fetch("after=").await.code, Code::CONTENT);
            assert_eq!(second.fetch("after=").await.code, Code::CONTENT);
        }
        raised(
            &town,
            &device,
            "clone-alarm",
            "a DTLS session that it had left",
        )
        .await;
    }

    #[tokio::test]
    async fn one_machine_in_one_session_moves_as_it_likes() {
        let town = Town::on(Road::Coap).await;
        let device = FakeDevice::new(1);
        town.claim(&device).await;
        for _ in 0..3 {
            let mut session = CoapSession::open(&town).await;
            session.authenticate(&device.jwt(town.now())).await;
            for _ in 0..4 {
                session.moves().await;
                assert_eq!(session.fetch("after=").await.code, Code::CONTENT);
            }
            // Switched off without a goodbye.
        }
        assert_eq!(open_alarms(&town).await.len(), 0);
    }
}
