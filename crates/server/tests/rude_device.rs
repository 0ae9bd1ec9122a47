//! Bad input, each with the documented status (docs/reference/http-status.md), one clear log line, and nothing changed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectag_proto::es256::SignEs256;
use sectag_proto::wire::{WireResponse, WireResult, encode_responses};
use sectag_server::device_api::REPORT_BYTES_MAX;
use serde_json::{Value, json};
use std::time::Duration;
use support::device::{FakeDevice, Key, keygen_answer, keygen_correlation};
use support::{Road, Town, on_every_road};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

on_every_road! {
    an_unknown_device_is_not_claimed,
    an_expired_token_is_refused,
    a_token_of_the_future_is_refused,
    a_token_without_end_is_refused,
    a_token_that_lives_too_long_is_refused,
    a_wrong_kid_for_a_pinned_device_is_an_alarm_audited_once,
    an_altered_signature_is_refused,
    alg_none_is_refused,
    a_token_cannot_write_log_lines_of_its_own,
    garbage_where_a_token_belongs_is_refused,
    garbage_cbor_is_refused,
    over_long_and_indefinite_forms_are_refused,
    a_report_for_an_unknown_id_is_acknowledged_and_alarms,
    another_key_in_a_second_report_alarms_and_issues_anew,
    a_body_that_is_not_cbor_by_its_header_is_refused,
    a_command_too_long_for_this_device_fails_with_the_reason_and_drops_the_rest,
}

/// A claimed device with one command that waits.
async fn town_with_device(road: Road) -> (Town, FakeDevice) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    assert_eq!(town.claim(&device).await.status, 201);
    assert_eq!(town.fetch(&device, "").await.status, 204);
    town.queue(
        &device,
        json!({"clientPrivateKeyGeneration": {"secTag": 1}}),
    )
    .await;
    (town, device)
}

/// One line at INFO or above since `from`, with these words.
fn one_line(town: &Town, from: usize, words: &str) {
    let lines = town.log.since(from);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(words), "expected `{words}` in {lines:#?}");
}

async fn fetch_refused(road: Road, jwt: impl FnOnce(&Town, &FakeDevice) -> String, words: &str) {
    let (town, device) = town_with_device(road).await;
    let remembered = town.remembers(device.id).await;
    let from = town.log.len();
    let reply = town.fetch_as(&jwt(&town, &device), "after=").await;
    assert_eq!((reply.status, reply.body.len()), (401, 0), "{}", reply.head);
    if road == Road::Https {
        assert_eq!(reply.header("content-length"), Some("0"));
    }
    one_line(&town, from, words);
    assert_eq!(town.remembers(device.id).await, remembered);
}

async fn report_refused(road: Road, body: &[u8], words: &str) {
    let (town, device) = town_with_device(road).await;
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let remembered = town.remembers(device.id).await;
    let from = town.log.len();
    let reply = town.report(&device, body).await;
    assert_eq!((reply.status, reply.body.len()), (400, 0));
    one_line(&town, from, words);
    assert_eq!(town.remembers(device.id).await, remembered);
}

async fn an_unknown_device_is_not_claimed(road: Road) {
    fetch_refused(
        road,
        |town, _| FakeDevice::new(77).jwt(town.now()),
        "the device is not claimed",
    )
    .await;
}

#[tokio::test]
async fn no_token_or_an_attestation_token_is_no_authorization() {
    let (town, device) = town_with_device(Road::Https).await;
    for (header, words) in [
        (String::new(), "no bearer token"),
        (
            "Authorization: Basic eA==\r\n".to_owned(),
            "no bearer token",
        ),
        (
            format!("Authorization: Bearer att.{}\r\n", device.claim_token()),
            "attestation token",
        ),
    ] {
        let from = town.log.len();
        let request =
            format!("GET /v1/provisioning/commands?after= HTTP/1.1\r\nHost: x\r\n{header}\r\n");
        assert_eq!(
            town.device_raw(request.as_bytes()).await.unwrap().status,
            401
        );
        one_line(&town, from, words);
    }
}

async fn an_expired_token_is_refused(road: Road) {
    fetch_refused(
        road,
        |town, device| {
            let at = sectag_proto::Timestamp(town.now().0 - 1_000_000);
            device.jwt_with(&device.identity, Some((at, Duration::from_secs(300))))
        },
        "expired 700 s ago",
    )
    .await;
}

async fn a_token_of_the_future_is_refused(road: Road) {
    fetch_refused(
        road,
        |town, device| device.jwt(town.now().plus(Duration::from_secs(1000))),
        "not valid for another",
    )
    .await;
}

async fn a_token_without_end_is_refused(road: Road) {
    fetch_refused(
        road,
        |_, device| device.jwt_with(&device.identity, None),
        "no exp",
    )
    .await;
    fetch_refused(
        road,
        |town, device| {
            let claims = json!({"iss": format!("nRF9151.{}", device.id), "iat": town.now().as_secs()});
            forged(&device.identity, &json!({"typ": "JWT", "alg": "ES256", "kid": device.identity.public_key().kid().to_string()}), &claims)
        },
        "no exp",
    )
    .await;
}

async fn a_token_that_lives_too_long_is_refused(road: Road) {
    fetch_refused(
        road,
        |town, device| {
            device.jwt_with(
                &device.identity,
                Some((town.now(), Duration::from_secs(3600))),
            )
        },
        "lifetime of 3600 s",
    )
    .await;
}

async fn a_wrong_kid_for_a_pinned_device_is_an_alarm_audited_once(road: Road) {
    let (town, device) = town_with_device(road).await;
    let remembered = town.remembers(device.id).await;
    for _ in 0..3 {
        let from = town.log.len();
        let jwt = device.jwt_with(&Key::new(), Some((town.now(), Duration::from_secs(300))));
        assert_eq!(town.fetch_as(&jwt, "after=").await.status, 401);
        one_line(&town, from, "key alarm");
        assert!(town.log.since(from)[0].starts_with("WARN"));
    }
    assert_eq!(town.remembers(device.id).await, remembered);
    let alarms = town
        .audit(device.id)
        .await
        .into_iter()
        .filter(|(a, _)| a == "key-alarm");
    assert_eq!(alarms.count(), 1);
}

async fn an_altered_signature_is_refused(road: Road) {
    fetch_refused(
        road,
        |town, device| {
            let jwt = device.jwt(town.now());
            let (rest, signature) = jwt.rsplit_once('.').unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[40] ^= 1;
            format!("{rest}.{}", URL_SAFE_NO_PAD.encode(bytes))
        },
        "the signature does not hold",
    )
    .await;
}

async fn alg_none_is_refused(road: Road) {
    fetch_refused(
        road,
        |town, device| {
            let kid = device.identity.public_key().kid().to_string();
            let now = town.now().as_secs();
            let claims =
                json!({"iss": format!("nRF9151.{}", device.id), "iat": now, "exp": now + 300});
            let jwt = forged(
                &device.identity,
                &json!({"typ": "JWT", "alg": "none", "kid": kid}),
                &claims,
            );
            format!("{}.", jwt.rsplit_once('.').unwrap().0)
        },
        "JWT refused",
    )
    .await;
}

async fn a_token_cannot_write_log_lines_of_its_own(road: Road) {
    for (alg, iss) in [
        ("x\nINFO all is well", "y"),
        ("ES256", "\r\nINFO all is well\u{1b}[2J"),
    ] {
        let (town, device) = town_with_device(road).await;
        let from = town.log.len();
        let kid = device.identity.public_key().kid().to_string();
        let header = json!({"alg": alg, "kid": kid});
        let jwt = forged(&device.identity, &header, &json!({ "iss": iss }));
        assert_eq!(town.fetch_as(&jwt, "after=").await.status, 401);
        one_line(&town, from, "JWT refused");
        let lines = town.log.since(from);
        assert!(!lines[0].contains(char::is_control), "{lines:?}");
    }
}

async fn garbage_where_a_token_belongs_is_refused(road: Road) {
    fetch_refused(road, |_, _| "garbage".to_owned(), "not a JWT").await;
    fetch_refused(road, |_, _| "a".repeat(2000), "not a JWT").await;
}

async fn garbage_cbor_is_refused(road: Road) {
    report_refused(road, b"\xff\x00garbage", "report refused").await;
    report_refused(road, b"", "report refused: empty input").await;
    report_refused(road, b"\x80", "empty array").await;
}

async fn over_long_and_indefinite_forms_are_refused(road: Road) {
    // 98 01: a length of one in two bytes; 9f … ff: an array of indefinite length.
    report_refused(road, b"\x98\x01\x82\x61a\x18\x65", "not the shortest form").await;
    report_refused(
        road,
        b"\x9f\x82\x61a\x18\x65\xff",
        "indefinite length at byte 0",
    )
    .await;
    report_refused(road, b"\x81\x82\x61a\x18\x65\x00", "after the end").await;
    report_refused(road, b"\xc0\x81\x82\x61a\x18\x65", "tag at byte 0").await;
}

async fn a_report_for_an_unknown_id_is_acknowledged_and_alarms(road: Road) {
    let (town, device) = town_with_device(road).await;
    let (_, commands) = town.remembers(device.id).await;
    let from = town.log.len();
    let correlation = "00000000-0000-4000-8000-000000000000.1".parse().unwrap();
    let body = encode_responses(&[WireResponse {
        correlation,
        result: WireResult::ConfigStored,
    }]);
    assert_eq!(town.report(&device, &body).await.status, 200);
    assert_eq!(
        town.remembers(device.id).await.1,
        commands,
        "no command changed"
    );
    let alarms: Vec<_> = town
        .log
        .since(from)
        .into_iter()
        .filter(|l| l.starts_with("WARN"))
        .collect();
    assert_eq!(alarms.len(), 1);
    assert!(alarms[0].contains("never delivered"), "{alarms:?}");
}

async fn another_key_in_a_second_report_alarms_and_issues_anew(road: Road) {
    let town = Town::on(road).await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(
        &device,
        json!({"certificateSigningRequest": {"secTag": 1, "issue": true}}),
    )
    .await;
    let batch = town.fetch(&device, "").await;
    let (_, report, _) = device.run(&batch.body);
    assert_eq!(town.report(&device, &report).await.status, 200);
    let from = town.log.len();
    let other = device.csr_output(1, &format!("CN={}", device.id), &Key::new());
    let again = encode_responses(&[WireResponse {
        correlation: keygen_correlation(&batch.body),
        result: WireResult::AtDone {
            message: keygen_answer(&other),
        },
    }]);
    assert_eq!(town.report(&device, &again).await.status, 200);
    let alarms: Vec<_> = town
        .log
        .since(from)
        .into_iter()
        .filter(|l| l.starts_with("WARN"))
        .collect();
    assert!(
        alarms.len() == 1 && alarms[0].contains("the key on the device changed"),
        "{alarms:?}"
    );
    assert_eq!(
        town.service()
            .app()
            .store()
            .certificates(device.id)
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    report_refused(Road::Https, &vec![0x61; REPORT_BYTES_MAX + 1], "limit").await;
    report_refused(
        Road::Https,
        &vec![0x61; REPORT_BYTES_MAX + 100_000],
        "limit",
    )
    .await;
}

async fn a_body_that_is_not_cbor_by_its_header_is_refused(road: Road) {
    let (town, device) = town_with_device(road).await;
    let from = town.log.len();
    let reply = town
        .report_typed(
            &device.jwt(town.now()),
            "application/json",
            b"\x81\x82\x61a\x18\x65",
        )
        .await;
    assert_eq!(reply.status, 415);
    let format = match road {
        Road::Https => "`application/json`",
        Road::Coap => "`50`",
    };
    one_line(&town, from, format);
}

#[tokio::test]
async fn unknown_paths_methods_and_queries_are_refused() {
    let (town, device) = town_with_device(Road::Https).await;
    let jwt = device.jwt(town.now());
    let remembered = town.remembers(device.id).await;
    for (line, status, words) in [
        ("GET /", 404, "no such path"),
        ("DELETE /v1/provisioning/commands", 400, "method DELETE"),
        ("GET /v1/provisioning/response", 400, "method GET"),
        (
            "GET /v1/provisioning/commands?after=&rxMaxSize=abc",
            400,
            "rxMaxSize",
        ),
    ] {
        let from = town.log.len();
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {jwt}\r\n\r\n");
        assert_eq!(
            town.device_raw(request.as_bytes()).await.unwrap().status,
            status,
            "{line}"
        );
        one_line(&town, from, words);
    }
    assert_eq!(town.remembers(device.id).await, remembered);
}

#[tokio::test]
async fn what_is_no_request_is_refused_before_it_becomes_one() {
    let (town, device) = town_with_device(Road::Https).await;
    let remembered = town.remembers(device.id).await;
    let many = "X-A: b\r\n".repeat(40);
    let long = format!("X-A: {}\r\n", "b".repeat(20_000));
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{long}\r\n"), 431),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
        ("POST /v1/provisioning/response HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), 400),
    ] {
        let from = town.log.len();
        let reply = town.device_raw(head.as_bytes()).await.unwrap();
        assert_eq!(reply.status, status, "{}", reply.head);
        for _ in 0..100 {
            if !town.log.since(from).is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        one_line(&town, from, "not HTTP/1.1");
    }
    assert_eq!(town.remembers(device.id).await, remembered);
}

#[tokio::test]
async fn half_a_request_is_closed_and_changes_nothing() {
    let (town, device) = town_with_device(Road::Https).await;
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let remembered = town.remembers(device.id).await;
    let jwt = device.jwt(town.now());
    town.log.forbid(&jwt);
    let half = format!(
        "POST /v1/provisioning/response HTTP/1.1\r\nHost: x\r\nContent-Type: application/cbor\r\nAuthorization: Bearer {jwt}\r\nContent-Length: 100\r\n\r\n\u{1}"
    );
    for request in [&half[..60], &half[..]] {
        let from = town.log.len();
        let mut stream = town.device_stream(rustls::DEFAULT_VERSIONS).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{answer:?}"
        );
        drop(stream);
        for _ in 0..100 {
            if !town.log.since(from).is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        one_line(&town, from, "half a request");
    }
    assert_eq!(town.remembers(device.id).await, remembered);
}

#[tokio::test]
async fn commands_no_modem_would_take_are_refused_when_they_are_created() {
    let (town, device) = town_with_device(Road::Https).await;
    let remembered = town.remembers(device.id).await;
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    for (request, status, words) in [
        (
            json!({"serverCertificate": {"secTag": 1, "content": "-----BEGIN CERTIFICATE-----\n\"\n-----END CERTIFICATE-----\n"}}),
            422,
            "content",
        ),
        (
            json!({"serverCertificate": {"secTag": 2_147_483_648_u64, "content": "x"}}),
            422,
            "sec tag",
        ),
        (
            json!({"serverCertificate": {"secTag": -1, "content": "x"}}),
            422,
            "",
        ),
        (
            json!({"serverCertificate": {"secTag": 1, "content": "no PEM"}}),
            422,
            "content",
        ),
        (
            json!({"atCommand": {"command": "%X", "parameters": "x".repeat(2100)}}),
            422,
            "2047",
        ),
        (
            json!({"certificateSigningRequest": {"secTag": 1, "attributes": "", "keyUsage": "12"}}),
            422,
            "keyUsage",
        ),
        (json!({"noSuchCommand": {}}), 422, "noSuchCommand"),
        (json!({}), 422, ""),
    ] {
        let from = town.log.len();
        let reply = town
            .owner("POST", &path, Some(&json!({"request": request})))
            .await;
        let shown = reply.json();
        assert_eq!(reply.status, status, "{shown:#}");
        assert!(
            shown["message"].as_str().unwrap().contains(words),
            "{shown:#}"
        );
        one_line(&town, from, "owner request refused");
    }
    assert_eq!(town.remembers(device.id).await, remembered);
}

async fn a_command_too_long_for_this_device_fails_with_the_reason_and_drops_the_rest(road: Road) {
    let town = Town::on(road).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let request = json!({"config": {"large": "A".repeat(1500)}});
    town.queue(&device, request).await;
    town.queue(&device, json!({"finished": {}})).await;
    let from = town.log.len();
    let query = "after=&rxMaxSize=1024&txMaxSize=2048";
    let reply = town.fetch_as(&device.jwt(town.now()), query).await;
    assert_eq!(reply.status, 204);
    let commands = town.commands(&device).await;
    let failure = |n: usize, kind: &str| commands[n]["response"][kind]["failure"].clone();
    assert_eq!(failure(0, "config"), "doesNotFit");
    assert_eq!(failure(1, "finished"), "notExecuted");
    let lines = town.log.since(from);
    let told = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert_eq!(
        (told("DoesNotFit"), told("NotExecuted")),
        (1, 1),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn foreign_host_and_origin_headers_are_refused() {
    let (town, device) = town_with_device(Road::Https).await;
    let port = town.service().addresses().loopback.port();
    for headers in [
        format!("Host: evil.example:{port}\r\n"),
        "Host: 127.0.0.1\r\n".to_owned(),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
    ] {
        let from = town.log.len();
        let headers = format!("{headers}Authorization: Bearer {}\r\n", town.key);
        let path = format!("/v1/claimed-devices/{}", device.id);
        let reply = town.owner_raw("DELETE", &path, &headers, "").await;
        assert_eq!(reply.status, 403);
        one_line(&town, from, "is not a name of this service");
    }
    assert_eq!(town.device_count().await, 1);
}

/// A JWT with any header and claims, signed properly.
fn forged(key: &Key, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.0))
}
