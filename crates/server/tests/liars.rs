//! The closed loop against liars: each lie is refused with its own reason, and none is signed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::wire::{WireResponse, WireResult, encode_responses};
use serde_json::{Value, json};
use support::device::{FakeDevice, Key, csr_of, keygen_answer, keygen_correlation};
use support::{Road, Town, on_every_road};

on_every_road! {
    a_csr_for_another_name_is_not_signed,
    an_answer_of_another_tag_is_not_signed,
    an_answer_of_another_device_is_not_signed,
    another_key_signing_for_this_device_is_not_believed,
    a_csr_that_was_exchanged_behind_the_signature_is_not_signed,
    a_csr_without_proof_of_its_key_is_not_signed,
    a_replayed_answer_is_not_signed,
    an_answer_given_to_two_commands_of_one_report_is_not_signed,
    a_key_is_certified_once_for_whatever_device,
    two_devices_that_bring_the_same_key_at_once_get_one_certificate,
}

const TAG: u32 = 42;

fn closed_loop() -> Value {
    json!({"certificateSigningRequest": {"secTag": TAG, "attributes": "", "issue": true}})
}

/// Claims, queues, fetches, and answers the KEYGEN with `lie`.
async fn tell(town: &Town, device: &FakeDevice, lie: &str) -> Value {
    let csr = town.queue(device, closed_loop()).await;
    let batch = town.fetch(device, "").await;
    assert_eq!(batch.status, 200);
    let report = encode_responses(&[WireResponse {
        correlation: keygen_correlation(&batch.body),
        result: WireResult::AtDone {
            message: lie.to_owned(),
        },
    }]);
    assert_eq!(
        town.report(device, &report).await.status,
        200,
        "a report is acknowledged"
    );
    let path = format!("/v1/claimed-devices/{}/provisioning/{csr}", device.id);
    town.owner("GET", &path, None).await.json()
}

async fn refused(road: Road, lie: impl FnOnce(&FakeDevice) -> String, words: &str) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let before = town.log.len();
    let shown = tell(&town, &device, &lie(&device)).await;
    not_signed(&town, &device, &shown, words).await;
    let store = town.service().app().store();
    assert!(store.certificates(device.id).await.unwrap().is_empty());
    let lines = town.log.since(before);
    assert!(
        lines.iter().any(|line| line.starts_with("WARN")
            && line.contains("certificate refused")
            && line.contains(words)),
        "{lines:#?}"
    );
}

async fn not_signed(town: &Town, device: &FakeDevice, shown: &Value, words: &str) {
    assert_eq!(shown["status"], "FAILED", "{shown:#}");
    let answer = &shown["response"]["certificateSigningRequest"];
    assert_eq!(answer["failure"], "certificateRefused", "{shown:#}");
    assert!(
        answer["message"].as_str().unwrap().contains(words),
        "{answer:#}"
    );
    assert!(
        town.commands(device)
            .await
            .iter()
            .all(|c| c["request"]["clientCertificate"].is_null() || c["status"] == "SUCCEEDED")
    );
    let audit = town.audit(device.id).await;
    assert!(
        audit
            .iter()
            .any(|(action, detail)| action == "certificate-refused" && detail.contains(words)),
        "{audit:#?}"
    );
}

async fn a_csr_for_another_name_is_not_signed(road: Road) {
    refused(
        road,
        |device| keygen_answer(&device.csr_output(TAG, "CN=somebody-else", &Key::new())),
        "the CSR is for subject `CN=somebody-else`",
    )
    .await;
}

async fn an_answer_of_another_tag_is_not_signed(road: Road) {
    refused(
        road,
        |device| {
            keygen_answer(&device.csr_output(TAG + 1, &format!("CN={}", device.id), &Key::new()))
        },
        "is of sec tag 43, the command asked for 42",
    )
    .await;
}

async fn an_answer_of_another_device_is_not_signed(road: Road) {
    refused(
        road,
        |device| {
            let other = FakeDevice::new(99);
            keygen_answer(&other.csr_output(TAG, &format!("CN={}", device.id), &Key::new()))
        },
        "is of device 63636363-",
    )
    .await;
}

async fn another_key_signing_for_this_device_is_not_believed(road: Road) {
    refused(
        road,
        |device| {
            let body = csr_of(&format!("CN={}", device.id), &Key::new());
            keygen_answer(&device.attested(device.id, TAG, body, &Key::new()))
        },
        "not signed by this device's identity key",
    )
    .await;
}

async fn a_csr_that_was_exchanged_behind_the_signature_is_not_signed(road: Road) {
    refused(
        road,
        |device| {
            let subject = format!("CN={}", device.id);
            let mut output = device.csr_output(TAG, &subject, &Key::new());
            output.body = csr_of(&subject, &Key::new());
            keygen_answer(&output)
        },
        "SHA-256 differs from the signed digest",
    )
    .await;
}

async fn a_csr_without_proof_of_its_key_is_not_signed(road: Road) {
    refused(
        road,
        |device| {
            let mut body = csr_of(&format!("CN={}", device.id), &Key::new());
            let last = body.len() - 1;
            body[last] ^= 1;
            keygen_answer(&device.attested(device.id, TAG, body, &device.identity))
        },
        "the CSR is refused",
    )
    .await;
}

async fn a_replayed_answer_is_not_signed(road: Road) {
    let town = Town::on(road).await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    // A CSR for the owner's own CA: reported, never signed here.
    let plain = json!({"certificateSigningRequest": {"secTag": TAG, "attributes": ""}});
    let first = town.queue(&device, plain).await;
    town.provision(&mut device).await;
    let path = format!("/v1/claimed-devices/{}/provisioning/{first}", device.id);
    let answer =
        town.owner("GET", &path, None).await.json()["response"]["certificateSigningRequest"]
            .clone();
    let text = format!(
        "%KEYGEN: \"{}.{}\"\r\nOK\r\n",
        answer["message"].as_str().unwrap(),
        answer["attestation"].as_str().unwrap()
    );
    let shown = tell(&town, &device, &text).await;
    not_signed(
        &town,
        &device,
        &shown,
        "is a replay: it was reported for command",
    )
    .await;
    assert!(
        town.service()
            .app()
            .store()
            .certificates(device.id)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn an_answer_given_to_two_commands_of_one_report_is_not_signed(road: Road) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let plain = json!({"certificateSigningRequest": {"secTag": TAG, "attributes": ""}});
    town.queue(&device, plain).await;
    let csr = town.queue(&device, closed_loop()).await;
    let batch = town.fetch(&device, "").await;
    let message = keygen_answer(&device.csr_output(TAG, &format!("CN={}", device.id), &Key::new()));
    let report: Vec<WireResponse> = FakeDevice::decode(&batch.body)
        .into_iter()
        .map(|command| WireResponse {
            result: WireResult::AtDone {
                message: if command.correlation.as_str().ends_with(".s") {
                    "OK\r\n".to_owned()
                } else {
                    message.clone()
                },
            },
            correlation: command.correlation,
        })
        .collect();
    assert_eq!(report.len(), 4);
    let reply = town.report(&device, &encode_responses(&report)).await;
    assert_eq!(reply.status, 200);
    let path = format!("/v1/claimed-devices/{}/provisioning/{csr}", device.id);
    let shown = town.owner("GET", &path, None).await.json();
    not_signed(&town, &device, &shown, "is a replay").await;
    let store = town.service().app().store();
    assert!(store.certificates(device.id).await.unwrap().is_empty());
}

async fn a_key_is_certified_once_for_whatever_device(road: Road) {
    let town = Town::on(road).await;
    let (a, b) = (FakeDevice::new(1), FakeDevice::new(2));
    let key = Key::new();
    for device in [&a, &b] {
        town.claim(device).await;
    }
    let answer = keygen_answer(&a.csr_output(TAG, &format!("CN={}", a.id), &key));
    let shown = tell(&town, &a, &answer).await;
    assert_eq!(shown["status"], "SUCCEEDED");
    // The same key again: a fresh attestation by the same device, then by another one.
    let commands = format!("/v1/claimed-devices/{}/provisioning?force=true", a.id);
    assert_eq!(town.owner("DELETE", &commands, None).await.status, 204);
    let words = format!("was issued before, to device {}", a.id);
    for device in [&a, &b] {
        let answer = keygen_answer(&device.csr_output(TAG, &format!("CN={}", device.id), &key));
        let shown = tell(&town, device, &answer).await;
        not_signed(&town, device, &shown, &words).await;
    }
    let store = town.service().app().store();
    assert_eq!(store.certificates(a.id).await.unwrap().len(), 1);
    assert!(store.certificates(b.id).await.unwrap().is_empty());
}

async fn two_devices_that_bring_the_same_key_at_once_get_one_certificate(road: Road) {
    let town = Town::on(road).await;
    let (a, b) = (FakeDevice::new(1), FakeDevice::new(2));
    let key = Key::new();
    for device in [&a, &b] {
        town.claim(device).await;
    }
    let lies = [&a, &b]
        .map(|device| keygen_answer(&device.csr_output(TAG, &format!("CN={}", device.id), &key)));
    let (ours, theirs) = tokio::join!(tell(&town, &a, &lies[0]), tell(&town, &b, &lies[1]));
    let store = town.service().app().store();
    let issued = store.certificates(a.id).await.unwrap().len()
        + store.certificates(b.id).await.unwrap().len();
    assert_eq!(issued, 1);
    let (refused, loser) = if ours["status"] == "FAILED" {
        (&ours, &a)
    } else {
        (&theirs, &b)
    };
    not_signed(&town, loser, refused, "was issued before, to device").await;
}
