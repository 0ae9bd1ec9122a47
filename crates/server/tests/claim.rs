//! Claiming: the first key binds, the same owner may ask twice, and another key is an alarm.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::cose::Convention;
use sectag_proto::es256::SignEs256;
use sectag_server::Policy;
use serde_json::json;
use support::Town;
use support::device::{FakeDevice, Key};

#[tokio::test]
async fn a_claim_is_made_once_and_said_again() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    let body = json!({"claimToken": device.claim_token(), "tags": ["a,b", "location=Trondheim"]});
    let reply = town.owner("POST", "/v1/claimed-devices", Some(&body)).await;
    assert_eq!(reply.status, 201);
    let shown = reply.json();
    assert_eq!(shown["id"], device.id.to_string());
    assert_eq!(shown["deviceType"], "nrf9151_LACA");
    assert_eq!(shown["ownershipStatus"], "IDENTIFIED");
    assert_eq!(shown["status"], "READY");
    assert_eq!(shown["imei"], json!(null));
    assert_eq!(shown["tags"], json!(["a", "b", "location=Trondheim"]));
    let at = shown["claimedAt"].as_str().unwrap();
    assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
    let again = town
        .owner("POST", "/v1/identities/claimed-devices", Some(&body))
        .await;
    assert_eq!((again.status, again.json()), (200, shown));
}

#[tokio::test]
async fn a_dry_run_says_yes_and_changes_nothing() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    let body = json!({"claimToken": device.claim_token()});
    let reply = town
        .owner("POST", "/v1/claimed-devices?dryrun=true", Some(&body))
        .await;
    assert_eq!(reply.status, 202);
    reply.json();
    assert_eq!(town.device_count().await, 0);
    let bad = json!({"claimToken": "abc.def"});
    let reply = town
        .owner("POST", "/v1/claimed-devices?dryrun=true", Some(&bad))
        .await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.json()["message"]
            .as_str()
            .unwrap()
            .contains("claim token")
    );
}

#[tokio::test]
async fn tokens_that_are_cut_short_altered_or_of_another_kind_are_refused_with_the_reason() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    let token = device.claim_token();
    let keygen = device.csr_output(1, "CN=x", &Key::new()).text();
    for (given, status) in [
        (token[..100].to_owned(), 400),
        (String::new(), 400),
        (keygen, 400),
        (device.jwt(town.now()), 400),
    ] {
        let reply = town
            .owner(
                "POST",
                "/v1/claimed-devices",
                Some(&json!({"claimToken": given})),
            )
            .await;
        assert_eq!(reply.status, status, "{given}");
        assert!(reply.json()["message"].as_str().unwrap().len() > 20);
    }
    assert_eq!(town.device_count().await, 0);
}

#[tokio::test]
async fn both_signing_conventions_can_be_claimed_and_the_kid_picks_the_key() {
    let town = Town::start().await;
    for (n, convention) in [(1, Convention::BodyIsAad), (2, Convention::EmptyAad)] {
        let mut device = FakeDevice::new(n);
        device.convention = convention;
        assert_eq!(town.claim(&device).await.status, 201);
        let (known, _) = town.remembers(device.id).await;
        assert_eq!(known.unwrap().candidates.len(), 4);
        assert_eq!(town.fetch(&device, "").await.status, 204);
        let (known, _) = town.remembers(device.id).await;
        assert_eq!(
            known.unwrap().pin.unwrap().kid(),
            device.identity.public_key().kid()
        );
    }
}

#[tokio::test]
async fn another_key_for_a_known_device_is_an_alarm_also_after_an_unclaim() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    town.fetch(&device, "").await;
    let path = format!("/v1/claimed-devices/{}", device.id);
    let other = FakeDevice::new(1);
    for claimed in [true, false] {
        if !claimed {
            assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
            assert_eq!(town.owner("GET", &path, None).await.status, 404);
            assert_eq!(town.owner("DELETE", &path, None).await.status, 404);
            assert_eq!(town.fetch(&device, "").await.status, 401);
        }
        let from = town.log.len();
        let reply = town.claim(&other).await;
        assert_eq!(reply.status, 409);
        assert!(
            reply.json()["message"]
                .as_str()
                .unwrap()
                .contains("acceptNewKey")
        );
        assert!(
            town.log
                .since(from)
                .iter()
                .any(|l| l.starts_with("WARN") && l.contains("key alarm"))
        );
    }
    let audit = town.audit(device.id).await;
    assert_eq!(
        audit
            .iter()
            .filter(|(action, _)| action == "key-alarm")
            .count(),
        2,
        "{audit:#?}"
    );
    assert_eq!(
        town.claim(&device).await.status,
        201,
        "the same key is welcome"
    );
    let body = json!({"claimToken": other.claim_token(), "acceptNewKey": true});
    assert_eq!(
        town.owner("POST", "/v1/claimed-devices", Some(&body))
            .await
            .status
            / 100,
        2
    );
    assert_eq!(
        town.fetch(&device, "").await.status,
        401,
        "the old key is out"
    );
    assert_eq!(town.fetch(&other, "").await.status, 204);
}

#[tokio::test]
async fn the_allow_list_policy_takes_only_devices_whose_key_is_known() {
    let town = Town::with_policy(Policy::AllowList).await;
    let device = FakeDevice::new(1);
    assert_eq!(town.claim(&device).await.status, 409);
    let path = format!("/v1/allow-list/{}", device.id);
    let wrong = json!({"keyId": Key::new().public_key().kid().to_string()});
    assert_eq!(town.owner("PUT", &path, Some(&wrong)).await.status, 204);
    assert_eq!(town.claim(&device).await.status, 409);
    let right = json!({"keyId": device.identity.public_key().kid().to_string()});
    assert_eq!(town.owner("PUT", &path, Some(&right)).await.status, 204);
    assert_eq!(town.claim(&device).await.status, 201);
    let listed = town.owner("GET", "/v1/allow-list", None).await.json();
    assert_eq!(listed["items"][0]["keyId"], right["keyId"]);
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    assert_eq!(town.owner("DELETE", &path, None).await.status, 404);
    // Claimed is claimed: the same token says so again, and another key's does not get in beside it.
    assert_eq!(town.claim(&device).await.status, 200);
    let dry = json!({"claimToken": device.claim_token()});
    let dry_run = "/v1/claimed-devices?dryrun=true";
    assert_eq!(town.owner("POST", dry_run, Some(&dry)).await.status, 202);
    let impostor = FakeDevice::new(1);
    assert_eq!(town.claim(&impostor).await.status, 409);
    let unclaim = format!("/v1/claimed-devices/{}", device.id);
    assert_eq!(town.owner("DELETE", &unclaim, None).await.status, 204);
    assert_eq!(town.claim(&device).await.status, 409, "a new claim");
}

#[tokio::test]
async fn a_bulk_claim_takes_csv_by_its_looks_and_names_the_rows_that_failed() {
    let town = Town::start().await;
    let (a, b) = (FakeDevice::new(1), FakeDevice::new(2));
    let csv = format!(
        "\"{}\",\"x,y\"\n\"not a token\"\n\"{}\"\n",
        a.claim_token(),
        b.claim_token()
    );
    let headers = format!(
        "Authorization: Bearer {}\r\ncontentType: text/csv\r\n",
        town.key
    );
    let reply = town
        .owner_raw("POST", "/v1/claimed-devices", &headers, &csv)
        .await;
    assert_eq!(reply.status, 200);
    let shown = reply.json();
    assert_eq!(
        shown["claimedIds"],
        json!([a.id.to_string(), b.id.to_string()])
    );
    assert_eq!(shown["failed"][0]["row"], 2);
    assert_eq!(shown["failed"][0]["claimToken"], "not a token");
    let (known, _) = town.remembers(a.id).await;
    assert_eq!(known.unwrap().tags, ["x", "y"]);
}

#[tokio::test]
async fn a_blocked_device_hears_nothing_and_its_report_is_refused() {
    let town = Town::start().await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(
        &device,
        json!({"clientPrivateKeyGeneration": {"secTag": 1}}),
    )
    .await;
    let batch = town.fetch(&device, "").await;
    let (_, report, _) = device.run(&batch.body);
    let path = format!("/v1/claimed-devices/{}", device.id);
    let reply = town
        .owner(
            "PATCH",
            &path,
            Some(&json!({"blocked": true, "tags": ["t"]})),
        )
        .await;
    assert_eq!(
        (reply.status, reply.json()["status"].as_str()),
        (200, Some("BLOCKED"))
    );
    let remembered = town.remembers(device.id).await;
    assert_eq!(town.fetch(&device, "").await.status, 204);
    assert_eq!(town.report(&device, &report).await.status, 401);
    assert_eq!(town.remembers(device.id).await, remembered);
    let listed = town
        .owner("GET", "/v1/claimed-devices?status=BLOCKED&tag=t", None)
        .await
        .json();
    assert_eq!(listed["total"], 1);
    town.owner("PATCH", &path, Some(&json!({"blocked": false})))
        .await;
    assert_eq!(town.report(&device, &report).await.status, 200);
}

#[tokio::test]
async fn a_dry_run_of_a_list_claims_nothing() {
    let town = Town::start().await;
    let csv = format!("\"{}\"\n", FakeDevice::new(1).claim_token());
    let headers = format!("Authorization: Bearer {}\r\n", town.key);
    let path = "/v1/claimed-devices?dryrun=true";
    let reply = town.owner_raw("POST", path, &headers, &csv).await;
    assert_eq!(reply.status, 400, "{}", reply.json());
    assert_eq!(town.device_count().await, 0);
}
