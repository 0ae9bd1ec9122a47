//! The main job: from a blank device to a certificate under its tag, over real TLS.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_pki::{identity, pem, show};
use sectag_server::device_api::HEAD_BYTES_MAX;
use serde_json::json;
use support::Town;
use support::device::FakeDevice;

const TAG: u32 = 16_842_753;

#[tokio::test]
async fn a_blank_device_gets_key_certificate_and_root_and_is_finished() {
    let town = Town::start().await;
    let mut device = FakeDevice::new(1);
    assert_eq!(town.fetch(&device, "").await.status, 401, "not claimed yet");
    assert_eq!(town.claim(&device).await.status, 201);
    assert_eq!(
        town.fetch(&device, "").await.status,
        204,
        "nothing queued yet"
    );
    let csr = town
        .queue(&device, json!({"certificateSigningRequest": {"secTag": TAG, "attributes": format!("CN={},O=Farm", device.id), "keyUsage": "101010000", "issue": true}}))
        .await;
    town.queue(
        &device,
        json!({"serverCertificate": {"secTag": TAG, "content": town.root}}),
    )
    .await;
    town.queue(&device, json!({"finished": {}})).await;
    town.provision(&mut device).await;

    let commands = town.commands(&device).await;
    let kinds: Vec<(String, &str)> = commands
        .iter()
        .map(|c| {
            let kind = c["request"]
                .as_object()
                .unwrap()
                .keys()
                .find(|k| *k != "requestedAt");
            (kind.unwrap().clone(), c["status"].as_str().unwrap())
        })
        .collect();
    let ok = |kind: &str| (kind.to_owned(), "SUCCEEDED");
    assert_eq!(
        kinds,
        [
            ok("certificateSigningRequest"),
            ok("clientCertificate"),
            ok("serverCertificate"),
            ok("finished")
        ],
        "the certificate takes its place directly behind its CSR"
    );
    assert_eq!(device.stored[&(TAG, 0)], town.root);
    let certificate = &pem::certificates(&device.stored[&(TAG, 1)]).unwrap()[0];
    assert_eq!(identity(certificate).unwrap().cn, device.id.to_string());
    let facts = show(certificate).unwrap();
    assert_eq!(
        facts.subject,
        format!("CN={}", device.id),
        "from the CSR only the public key is taken"
    );
    assert_eq!(facts.extended_key_usages, ["clientAuth"]);

    let shown = town
        .owner(
            "GET",
            &format!("/v1/claimed-devices/{}/provisioning/{csr}", device.id),
            None,
        )
        .await
        .json();
    let answer = &shown["response"]["certificateSigningRequest"];
    assert!(
        !answer["message"].as_str().unwrap().contains('.'),
        "only the body, as recorded"
    );
    assert!(answer["attestation"].is_string());
    assert!(
        shown["request"]["requestedAt"].is_string() && shown["response"]["respondedAt"].is_string()
    );
    let seen = town
        .owner("GET", &format!("/v1/claimed-devices/{}", device.id), None)
        .await
        .json();
    assert!(seen["finishedAt"].is_string() && seen["keyId"].is_string());
    let actions: Vec<String> = town
        .audit(device.id)
        .await
        .into_iter()
        .map(|(a, _)| a)
        .collect();
    assert!(
        actions.contains(&"certificate-issued".to_owned()) && actions.contains(&"pin".to_owned()),
        "{actions:?}"
    );
    town.log.assert_clean();
}

#[tokio::test]
async fn the_head_of_an_answer_is_as_long_as_the_budget_says() {
    let town = Town::start().await;
    let device = FakeDevice::new(2);
    town.claim(&device).await;
    town.queue(
        &device,
        json!({"serverCertificate": {"secTag": 1, "content": town.root}}),
    )
    .await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let request = format!(
            "GET /v1/provisioning/commands?after=&rxMaxSize=2048 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            device.jwt(town.now())
        );
        let reply = town.device_tls(request.as_bytes(), versions).await.unwrap();
        assert_eq!(reply.status, 200);
        let digits = reply.body.len().to_string().len();
        assert_eq!(
            reply.head.len() + 5 - digits,
            HEAD_BYTES_MAX,
            "{}",
            reply.head
        );
        assert_eq!(
            reply.header("content-length"),
            Some(reply.body.len().to_string().as_str())
        );
        assert_eq!(reply.header("content-type"), Some("application/cbor"));
        assert_eq!(reply.header("transfer-encoding"), None);
    }
}

#[tokio::test]
async fn a_batch_and_its_head_fit_the_receive_buffer_exactly() {
    let town = Town::start().await;
    let mut device = FakeDevice::new(3);
    town.claim(&device).await;
    for _ in 0..8 {
        town.queue(
            &device,
            json!({"serverCertificate": {"secTag": 1, "content": town.root}}),
        )
        .await;
    }
    let mut after = String::new();
    for size in [1024, 1100, 1500, 2048] {
        let query = format!("after={after}&rxMaxSize={size}&txMaxSize=2048");
        let reply = town.fetch_as(&device.jwt(town.now()), &query).await;
        assert_eq!(reply.status, 200);
        assert!(reply.head.len() + reply.body.len() <= size, "{size}");
        let (last, report, _) = device.run(&reply.body);
        after = last;
        assert_eq!(town.report(&device, &report).await.status, 200);
    }
}

#[tokio::test]
async fn a_failure_drops_the_rest_and_the_owner_sees_number_and_text() {
    let town = Town::start().await;
    let device = FakeDevice::new(4);
    town.claim(&device).await;
    for command in ["%A", "%B", "%C"] {
        town.queue(
            &device,
            json!({"atCommand": {"command": command, "parameters": "1"}}),
        )
        .await;
    }
    town.queue(&device, json!({"finished": {}})).await;
    let batch = town.fetch(&device, "").await.body;
    let commands = FakeDevice::decode(&batch);
    use sectag_proto::wire::{WireResponse, WireResult, encode_responses};
    let report = encode_responses(&[
        WireResponse {
            correlation: commands[0].correlation.clone(),
            result: WireResult::AtDone {
                message: "OK\r\n".into(),
            },
        },
        WireResponse {
            correlation: commands[1].correlation.clone(),
            result: WireResult::Failed {
                cme_error: 514,
                message: "+CME ERROR: 514\r\n".into(),
            },
        },
    ]);
    assert_eq!(town.report(&device, &report).await.status, 200);
    let shown = town.commands(&device).await;
    let status: Vec<_> = shown
        .iter()
        .map(|c| c["status"].as_str().unwrap())
        .collect();
    assert_eq!(status, ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]);
    let failed = &shown[1]["response"]["atCommand"];
    assert_eq!(failed["cmeError"], 514);
    assert!(failed["message"].as_str().unwrap().contains("514"));
    let dropped = shown[3]["response"]["finished"]["message"]
        .as_str()
        .unwrap();
    assert!(dropped.starts_with("not executed"), "{dropped}");
    assert_eq!(
        town.fetch(&device, &commands[1].correlation.to_string())
            .await
            .status,
        204
    );
}
