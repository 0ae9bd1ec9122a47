//! What opens what over CoAP, and every code of spec/device-protocol §6.2 (docs/reference/http-status.md).
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_coap::{ClientRequest, Code, Failure, Method};
use sectag_proto::Timestamp;
use sectag_proto::es256::SignEs256;
use sectag_proto::service::grants::GRACE;
use sectag_proto::wire::{WireResponse, WireResult, encode_responses};
use sectag_server::device_api::REPORT_BYTES_MAX;
use serde_json::json;
use std::time::Duration;
use support::coap::CoapSession;
use support::device::{FakeDevice, Key};
use support::{Road, Town};

/// How long a token of the tests is taken: its life and the skew.
const TOKEN_TAKEN: Duration = Duration::from_secs(300 + 300);

async fn claimed() -> (Town, FakeDevice) {
    let town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(1);
    assert_eq!(town.claim(&device).await.status, 201);
    (town, device)
}

async fn authorised(town: &Town, device: &FakeDevice) -> CoapSession {
    let mut session = CoapSession::open(town).await;
    let jwt = device.jwt(town.now());
    assert_eq!(session.authenticate(&jwt).await.code, Code::CREATED);
    session
}

/// A well-formed report that names nothing.
fn some_report() -> Vec<u8> {
    encode_responses(&[WireResponse {
        correlation: "00000000-0000-4000-8000-000000000000.1".parse().unwrap(),
        result: WireResult::ConfigStored,
    }])
}

fn post(path: &[&str], payload: &[u8]) -> ClientRequest {
    ClientRequest::new(Method::POST, path).payload(60, payload.to_vec())
}

#[tokio::test]
async fn a_session_that_has_shown_no_token_gets_nothing() {
    let (town, device) = claimed().await;
    town.queue(&device, json!({"finished": {}})).await;
    let mut session = CoapSession::open(&town).await;
    for _ in 0..2 {
        assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
        assert_eq!(
            session.report(&some_report()).await.code,
            Code::UNAUTHORIZED
        );
    }
    assert_eq!(town.commands(&device).await[0]["status"], "PENDING");
}

#[tokio::test]
async fn what_is_no_token_opens_nothing() {
    let (town, device) = claimed().await;
    let mut session = CoapSession::open(&town).await;
    let claim = format!("att.{}", device.claim_token());
    town.log.forbid(&claim[4..]);
    for text in ["", "garbage", &"a".repeat(2000), &claim, "\u{fffd}"] {
        assert_eq!(
            session.authenticate(text).await.code,
            Code::UNAUTHORIZED,
            "{text}"
        );
    }
    let long = session.authenticate(&"a".repeat(5000)).await;
    assert_eq!(long.code, Code::REQUEST_ENTITY_TOO_LARGE);
    let not_text = session.ask(post(&["p", "auth-jwt"], &[0xff, 0xfe])).await;
    assert_eq!(not_text.code, Code::UNAUTHORIZED);
    assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
}

#[tokio::test]
async fn paths_methods_formats_and_queries_that_are_not_ours_have_their_codes() {
    let (town, device) = claimed().await;
    let mut session = authorised(&town, &device).await;
    let remembered = town.remembers(device.id).await;
    let get = |path: &[&str]| ClientRequest::new(Method::GET, path);
    for (request, code) in [
        (get(&["p"]), Code::NOT_FOUND),
        (get(&["p", "cmd", ""]), Code::NOT_FOUND),
        (get(&[".well-known", "core"]), Code::NOT_FOUND),
        (post(&["p", "cmd"], b""), Code::METHOD_NOT_ALLOWED),
        (get(&["p", "rsp"]), Code::METHOD_NOT_ALLOWED),
        (get(&["p", "auth-jwt"]), Code::METHOD_NOT_ALLOWED),
        (get(&["p", "auth"]), Code::METHOD_NOT_ALLOWED),
        (get(&[".dtls", "suspend"]), Code::METHOD_NOT_ALLOWED),
        (get(&["p", "cmd"]).query("rxMaxSize=abc"), Code::BAD_REQUEST),
        (post(&["p", "rsp"], b"\xff\x00"), Code::BAD_REQUEST),
        (post(&["p", "rsp"], b""), Code::BAD_REQUEST),
        (
            ClientRequest::new(Method::POST, &["p", "rsp"]).payload(50, b"{}".to_vec()),
            Code::UNSUPPORTED_CONTENT_FORMAT,
        ),
    ] {
        let said = format!("{request:?}");
        let answer = session.ask(request).await;
        assert_eq!((answer.code, answer.payload.len()), (code, 0), "{said}");
    }
    assert_eq!(town.remembers(device.id).await, remembered);
}

#[tokio::test]
async fn a_report_over_the_limit_is_refused_before_it_is_whole() {
    let (town, device) = claimed().await;
    let mut session = authorised(&town, &device).await;
    let body = vec![0x61; REPORT_BYTES_MAX + 1];
    let refused = session.try_ask(post(&["p", "rsp"], &body)).await;
    match refused {
        Ok(answer) => assert_eq!(answer.code, Code::REQUEST_ENTITY_TOO_LARGE),
        Err(failure) => assert_eq!(failure, Failure::TooLarge),
    }
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);
}

#[tokio::test]
async fn suspend_is_answered_to_anybody_at_once() {
    let (town, _) = claimed().await;
    let mut session = CoapSession::open(&town).await;
    assert_eq!(session.suspend().await.code, Code::CHANGED);
    let confirmable = post(&[".dtls", "suspend"], b"");
    assert_eq!(session.ask(confirmable).await.code, Code::CHANGED);
}

#[tokio::test]
async fn a_foreign_key_is_an_alarm_and_opens_nothing() {
    let (town, device) = claimed().await;
    let mut session = authorised(&town, &device).await;
    let validity = Some((town.now(), Duration::from_secs(300)));
    let foreign = device.jwt_with(&Key::new(), validity);
    let mut other = CoapSession::open(&town).await;
    assert_eq!(other.authenticate(&foreign).await.code, Code::UNAUTHORIZED);
    assert_eq!(other.fetch("after=").await.code, Code::UNAUTHORIZED);
    let alarms = town.audit(device.id).await;
    let alarms = alarms.iter().filter(|(action, _)| action == "key-alarm");
    assert_eq!(alarms.count(), 1);
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);
}

#[tokio::test]
async fn a_block_holds_from_the_next_request_on_and_ends_as_well() {
    let (town, mut device) = claimed().await;
    let tag = json!({"clientPrivateKeyGeneration": {"secTag": 1}});
    town.queue(&device, tag).await;
    let mut session = authorised(&town, &device).await;
    let batch = session.fetch("after=").await;
    let (_, report, _) = device.run(&batch.payload);
    let path = format!("/v1/claimed-devices/{}", device.id);
    let blocked = |yes: bool| json!({ "blocked": yes });
    town.owner("PATCH", &path, Some(&blocked(true))).await;
    let nothing = session.fetch("after=").await;
    assert_eq!((nothing.code, nothing.payload.len()), (Code::CONTENT, 0));
    assert_eq!(session.report(&report).await.code, Code::UNAUTHORIZED);
    let again = CoapSession::open(&town)
        .await
        .authenticate(&device.jwt(town.now()))
        .await;
    assert_eq!(
        again.code,
        Code::CREATED,
        "it hears `nothing`, not `unclaimed`"
    );
    town.owner("PATCH", &path, Some(&blocked(false))).await;
    assert_eq!(session.report(&report).await.code, Code::CHANGED);
}

#[tokio::test]
async fn an_unclaimed_device_is_out_in_mid_session_and_a_new_claim_wants_a_token() {
    let (town, device) = claimed().await;
    let mut session = authorised(&town, &device).await;
    let path = format!("/v1/claimed-devices/{}", device.id);
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
    assert_eq!(town.claim(&device).await.status, 201);
    assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
    let jwt = device.jwt(town.now());
    assert_eq!(session.authenticate(&jwt).await.code, Code::CREATED);
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);

    // Unclaimed and claimed again between two requests: the same device, by the key that stayed on record.
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    assert_eq!(town.claim(&device).await.status, 201);
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);
}

#[tokio::test]
async fn a_device_with_a_new_key_is_another_device() {
    let (town, device) = claimed().await;
    let mut session = authorised(&town, &device).await;
    let mut other = FakeDevice::new(1);
    other.identity = Key::new();
    let claim = json!({"claimToken": other.claim_token(), "acceptNewKey": true});
    town.log.forbid(claim["claimToken"].as_str().unwrap());
    let claimed = town
        .owner("POST", "/v1/claimed-devices", Some(&claim))
        .await;
    assert_eq!(claimed.status / 100, 2);
    let mut theirs = authorised(&town, &other).await;
    assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
    assert_eq!(theirs.fetch("after=").await.code, Code::CONTENT);
}

#[tokio::test]
async fn two_sessions_of_one_device_both_hold() {
    let (town, mut device) = claimed().await;
    town.queue(&device, json!({"config": {"k": "v"}})).await;
    let (mut a, mut b) = (
        authorised(&town, &device).await,
        authorised(&town, &device).await,
    );
    let batch = a.fetch("after=").await.payload;
    assert_eq!(b.fetch("after=").await.payload, batch);
    let (_, report, _) = device.run(&batch);
    let reported = (a.report(&report).await.code, b.report(&report).await.code);
    assert_eq!(reported, (Code::CHANGED, Code::CHANGED));
    assert_eq!(town.commands(&device).await[0]["status"], "SUCCEEDED");
}

#[tokio::test]
async fn another_devices_token_makes_it_that_devices_session() {
    let (town, device) = claimed().await;
    let other = FakeDevice::new(2);
    town.claim(&other).await;
    town.queue(&other, json!({"finished": {}})).await;
    let mut session = authorised(&town, &device).await;
    assert_eq!(session.fetch("after=").await.payload.len(), 0);
    let jwt = other.jwt(town.now());
    assert_eq!(session.authenticate(&jwt).await.code, Code::CREATED);
    assert!(!session.fetch("after=").await.payload.is_empty());
    // A refused token takes nothing back.
    let garbage = session.authenticate("garbage").await;
    assert_eq!(garbage.code, Code::UNAUTHORIZED);
    assert!(!session.fetch("after=").await.payload.is_empty());
}

#[tokio::test]
async fn an_authorisation_ends_when_the_setting_says() {
    let mut town = Town::on(Road::Coap).await;
    town.down().await;
    town.coap_settings.authorised_s = 3600;
    town.up().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let mut session = CoapSession::open(&town).await;
    let admitted = session.authenticate(&device.jwt(town.now())).await;
    assert_eq!(
        (admitted.code, admitted.max_age),
        (Code::CREATED, Some(3600))
    );
    // The token has expired long ago; the authorisation has not.
    town.wait(Duration::from_secs(3599));
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);
    town.wait(Duration::from_secs(1));
    assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
    let admitted = session.authenticate(&device.jwt(town.now())).await;
    assert_eq!(admitted.code, Code::CREATED);
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);
}

#[tokio::test]
async fn a_token_that_expired_offline_still_brings_its_report_and_nothing_else() {
    let (town, mut device) = claimed().await;
    town.queue(&device, json!({"config": {"k": "v"}})).await;
    town.queue(&device, json!({"finished": {}})).await;
    let jwt = device.jwt(town.now());
    let batch = {
        let mut session = CoapSession::open(&town).await;
        session.authenticate(&jwt).await;
        session.fetch("after=").await.payload
    };
    let (_, report, _) = device.run(&batch);
    town.wait(TOKEN_TAKEN + Duration::from_secs(100));
    let mut session = CoapSession::open(&town).await;
    let admitted = session.authenticate(&jwt).await;
    assert_eq!(admitted.code, Code::CREATED);
    let left = admitted.max_age.unwrap();
    assert!(left > 0 && u64::from(left) <= GRACE.as_secs(), "{left}");
    assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
    assert_eq!(session.report(&report).await.code, Code::CHANGED);
    let commands = town.commands(&device).await;
    assert!(commands.iter().all(|c| c["status"] == "SUCCEEDED"));
    // The grace ends for the session as for the token.
    town.wait(GRACE);
    assert_eq!(session.report(&report).await.code, Code::UNAUTHORIZED);
    assert_eq!(session.authenticate(&jwt).await.code, Code::UNAUTHORIZED);
}

#[tokio::test]
async fn only_the_very_token_that_was_accepted_has_a_grace() {
    let (town, device) = claimed().await;
    let accepted = device.jwt(town.now());
    let never_shown = device.jwt(Timestamp(town.now().0 + 1000));
    assert_ne!(accepted, never_shown);
    let mut session = CoapSession::open(&town).await;
    assert_eq!(session.authenticate(&accepted).await.code, Code::CREATED);
    town.wait(TOKEN_TAKEN + Duration::from_secs(10));
    let mut late = CoapSession::open(&town).await;
    assert_eq!(
        late.authenticate(&never_shown).await.code,
        Code::UNAUTHORIZED
    );
    // The same claims, signed again: other bytes.
    let at = Timestamp(town.now().0 - 610_000);
    let signed_again = device.jwt(at);
    if signed_again != accepted {
        assert_eq!(
            late.authenticate(&signed_again).await.code,
            Code::UNAUTHORIZED
        );
    }
    assert_eq!(late.authenticate(&accepted).await.code, Code::CREATED);
}

#[tokio::test]
async fn a_grace_opens_nothing_for_a_device_that_is_unclaimed_or_blocked() {
    let (town, device) = claimed().await;
    let jwt = device.jwt(town.now());
    let mut session = CoapSession::open(&town).await;
    session.authenticate(&jwt).await;
    town.wait(TOKEN_TAKEN + Duration::from_secs(10));
    let path = format!("/v1/claimed-devices/{}", device.id);
    let blocked = json!({ "blocked": true });
    town.owner("PATCH", &path, Some(&blocked)).await;
    let mut late = CoapSession::open(&town).await;
    assert_eq!(late.authenticate(&jwt).await.code, Code::CREATED);
    assert_eq!(late.report(&some_report()).await.code, Code::UNAUTHORIZED);
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    assert_eq!(late.authenticate(&jwt).await.code, Code::UNAUTHORIZED);
    assert_eq!(late.report(&some_report()).await.code, Code::UNAUTHORIZED);
}

#[tokio::test]
async fn attestation_tokens_open_something_only_where_a_setting_says_so() {
    let mut town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let attest = |token: &str| post(&["p", "auth"], token.as_bytes());
    let token = device.claim_token();
    let mut session = CoapSession::open(&town).await;
    let off = session.ask(attest(&token)).await;
    assert_eq!(off.code, Code::UNAUTHORIZED);

    town.down().await;
    town.coap_settings.attestation_auth = true;
    town.up().await;
    let mut session = CoapSession::open(&town).await;
    let uncertain = session.ask(attest(&token)).await;
    assert_eq!(uncertain.code, Code::UNAUTHORIZED, "two keys could be it");
    let jwt = device.jwt(town.now());
    let mut once = CoapSession::open(&town).await;
    assert_eq!(once.authenticate(&jwt).await.code, Code::CREATED);
    let admitted = session.ask(attest(&token)).await;
    assert_eq!(
        (admitted.code, admitted.max_age),
        (Code::CREATED, Some(2_592_000))
    );
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);

    let mut foreign = FakeDevice::new(1);
    foreign.identity = Key::new();
    let mut theirs = CoapSession::open(&town).await;
    for text in [foreign.claim_token(), jwt, "garbage".to_owned()] {
        town.log.forbid(&text);
        let refused = theirs.ask(attest(&text)).await;
        assert_eq!(refused.code, Code::UNAUTHORIZED);
    }
    assert_eq!(theirs.fetch("after=").await.code, Code::UNAUTHORIZED);
    assert!(device.identity.public_key() != foreign.identity.public_key());
}
