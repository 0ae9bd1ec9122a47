//! A certificate from issue to its successor, as an owner sees it over REST.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_pki::{Certificate, pem};
use serde_json::{Value, json};
use std::time::Duration;
use support::Town;
use support::device::FakeDevice;

const DAY: Duration = Duration::from_secs(86_400);
const TAG: u32 = 42;
const OTHER: u32 = 43;

/// A town with a rule that renews into another tag, and a device that was provisioned by it.
async fn provisioned() -> (Town, FakeDevice) {
    let town = Town::start().await;
    let rule = json!({
        "name": "field", "active": true, "tags": ["field"],
        "commands": [
            {"request": {"serverCertificate": {"secTag": TAG, "content": town.root}}},
            {"request": {"certificateSigningRequest": {"secTag": TAG, "attributes": "CN={{device.id}}", "issue": {"validityDays": 90, "profile": "clientWithKeyAgreement"}}}},
        ],
        "renewal": {"into": {"alternate": {"secTag": OTHER}}},
    });
    let made = town
        .owner("POST", "/v1/provisioning-rules", Some(&rule))
        .await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let mut device = FakeDevice::new(1);
    let claim = json!({"claimToken": device.claim_token(), "tags": ["field"]});
    let claimed = town
        .owner("POST", "/v1/claimed-devices", Some(&claim))
        .await;
    assert_eq!(claimed.status, 201);
    town.provision(&mut device).await;
    (town, device)
}

async fn get(town: &Town, path: &str) -> Value {
    let reply = town.owner("GET", path, None).await;
    assert_eq!(
        reply.status,
        200,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    reply.json()
}

fn certificate(device: &FakeDevice, tag: u32) -> Certificate {
    let ders = pem::certificates(&device.stored[&(tag, 1)]).unwrap();
    Certificate::from_der(&ders[0]).unwrap()
}

/// The broker let the device in with what lies under this tag.
async fn connects(town: &Town, device: &FakeDevice, tag: u32) {
    let app = town.service().app();
    app.certificate_used(certificate(device, tag).spki_sha256, town.now());
    app.write_uses().await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_into_the_other_tag_and_the_owner_sees_each_step() {
    let (town, mut device) = provisioned().await;
    let first = certificate(&device, TAG);
    assert_eq!(first.not_after_s, town.now().as_secs() + 90 * 86_400);
    connects(&town, &device, TAG).await;
    let soon = get(&town, "/v1/forecast?days=30,60").await;
    assert_eq!(soon["windows"][1]["certificates"], 0, "{soon}");
    let all = get(&town, "/v1/forecast?days=90&all=true").await;
    assert_eq!(all["items"][0]["outlook"], "renews");
    assert_eq!(all["items"][0]["serial"], first.serial_hex);
    assert_eq!(all["items"][0]["state"], "used");
    assert_eq!(all["windows"][0]["atRisk"], 0);
    assert_eq!(all["byTag"]["field"]["certificates"], 1);
    town.wait(DAY * 61);
    let silent = get(&town, "/v1/forecast").await;
    assert_eq!(silent["items"][0]["outlook"], "not-seen");
    assert_eq!(silent["windows"][0]["reasons"]["not-seen"], 1);
    assert_eq!(silent["items"][0]["daysLeft"], 29);

    let reply = town.fetch(&device, "").await;
    assert_eq!(reply.status, 200);
    let under_way = get(&town, "/v1/renewals").await;
    assert_eq!(under_way["items"][0]["step"], "key");
    assert_eq!(under_way["items"][0]["secTag"], OTHER);
    assert_eq!(under_way["items"][0]["oldSerial"], first.serial_hex);
    let (after, report, finished) = device.run(&reply.body);
    assert!(!finished, "not before it is told to switch");
    assert_eq!(town.report(&device, &report).await.status, 200);
    assert_eq!(
        get(&town, "/v1/renewals").await["items"][0]["step"],
        "certificate"
    );
    let _ = after;
    town.provision(&mut device).await;
    let second = certificate(&device, OTHER);
    assert_eq!(device.stored[&(OTHER, 0)], town.root, "the rule's root CA");
    assert_eq!(
        certificate(&device, TAG),
        first,
        "the old pair is untouched"
    );
    assert_eq!(
        get(&town, "/v1/renewals").await["items"][0]["step"],
        "connect"
    );
    let config = town.commands(&device).await.into_iter().rev();
    let config = config.filter(|c| c["request"].get("config").is_some());
    let settings: Vec<Value> = config.map(|c| c["request"]["config"].clone()).collect();
    assert_eq!(settings, [json!({"mqtt/sec-tag": "43"})]);

    connects(&town, &device, OTHER).await;
    assert_eq!(get(&town, "/v1/renewals").await["items"], json!([]));
    let path = format!("/v1/claimed-devices/{}/renewals", device.id);
    let history = get(&town, &path).await;
    let states: Vec<&str> = history["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|life| life["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["superseded", "used"]);
    assert_eq!(history["certificates"][1]["serial"], second.serial_hex);
    assert_eq!(history["renewals"][0]["step"], "done");
    let actions = town.audit(device.id).await;
    let actions: Vec<&str> = actions.iter().map(|(action, _)| action.as_str()).collect();
    let of_renewal: Vec<&&str> = actions
        .iter()
        .filter(|a| a.starts_with("renewal"))
        .collect();
    assert_eq!(of_renewal, [&"renewal-started", &"renewal-done"]);
    town.log.assert_clean();
}

/// How far a renewal is when its certificate is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    /// Its commands wait.
    Queued,
    /// The device has them.
    Asked,
    /// The new certificate waits.
    Issued,
    /// The device stored it.
    Stored,
}

#[tokio::test]
async fn a_revoked_certificate_takes_its_renewal_along_as_far_as_the_device_has_nothing_of_it() {
    for until in [Until::Queued, Until::Asked, Until::Issued, Until::Stored] {
        let (town, mut device) = provisioned().await;
        connects(&town, &device, TAG).await;
        let old = certificate(&device, TAG).serial_hex;
        town.wait(DAY * 61);
        let batch = match until {
            Until::Queued => {
                let query = "after=&rxMaxSize=1&txMaxSize=2048&limit=1";
                let _ = town.fetch_as(&device.jwt(town.now()), query).await;
                Vec::new()
            }
            _ => town.fetch(&device, "").await.body,
        };
        if until >= Until::Issued {
            let (_, report, _) = device.run(&batch);
            assert_eq!(town.report(&device, &report).await.status, 200);
        }
        if until == Until::Stored {
            let batch = town.fetch(&device, "").await.body;
            let (_, report, _) = device.run(&batch);
            assert_eq!(town.report(&device, &report).await.status, 200);
        }
        let path = format!(
            "/v1/claimed-devices/{}/certificates/{old}/revoke",
            device.id
        );
        assert_eq!(town.owner("POST", &path, None).await.status, 204);
        if until == Until::Asked {
            let (_, report, _) = device.run(&batch);
            assert_eq!(town.report(&device, &report).await.status, 200);
            let refused = town.audit(device.id).await;
            let words = format!("certificate {old} was revoked");
            let is_refused = |(action, detail): &(String, String)| {
                action == "certificate-refused" && detail.contains(&words)
            };
            assert!(refused.iter().any(is_refused), "{refused:?}");
        }
        town.wait(DAY);
        town.provision(&mut device).await;
        let path = format!("/v1/claimed-devices/{}/renewals", device.id);
        let history = get(&town, &path).await;
        let states: Vec<&str> = history["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|life| life["state"].as_str().unwrap())
            .collect();
        let expected: &[&str] = match until {
            Until::Queued | Until::Asked => &["revoked"],
            Until::Issued => &["revoked", "revoked"],
            Until::Stored => &["revoked", "written"],
        };
        assert_eq!(states, expected, "{until:?}");
        assert_eq!(history["renewals"][0]["step"], "abandoned", "{until:?}");
        assert_eq!(
            device.stored.contains_key(&(OTHER, 1)),
            until == Until::Stored,
            "{until:?}"
        );
        // What an operator asks for is an operator's word.
        let csr =
            json!({"certificateSigningRequest": {"secTag": 7, "attributes": "", "issue": true}});
        town.queue(&device, csr).await;
        town.provision(&mut device).await;
        assert!(device.stored.contains_key(&(7, 1)), "{until:?}");
    }
}

#[tokio::test]
async fn a_csr_that_an_operator_asked_for_outlives_the_certificate_beside_it() {
    let (town, mut device) = provisioned().await;
    let csr =
        json!({"certificateSigningRequest": {"secTag": TAG, "attributes": "", "issue": true}});
    town.queue(&device, csr).await;
    let old = certificate(&device, TAG);
    let path = format!(
        "/v1/claimed-devices/{}/certificates/{}/revoke",
        device.id, old.serial_hex
    );
    assert_eq!(town.owner("POST", &path, None).await.status, 204);
    town.provision(&mut device).await;
    assert_ne!(certificate(&device, TAG), old);
}

#[tokio::test]
async fn a_blocked_device_gets_no_certificate_for_what_it_was_asked_before() {
    let (town, mut device) = provisioned().await;
    town.wait(DAY * 61);
    let batch = town.fetch(&device, "").await.body;
    let (_, report, _) = device.run(&batch);
    let path = format!("/v1/claimed-devices/{}", device.id);
    let blocked = town
        .owner("PATCH", &path, Some(&json!({"blocked": true})))
        .await;
    assert_eq!(blocked.status, 200);
    let issued = format!("{path}/certificates");
    assert_ne!(town.report(&device, &report).await.status, 200);
    assert_eq!(get(&town, &issued).await["total"], 1);
    let gone = town.owner("DELETE", &path, None).await;
    assert_eq!(gone.status, 204);
    assert_ne!(town.report(&device, &report).await.status, 200);
}

#[tokio::test]
async fn a_plan_says_how_a_certificate_is_renewed_before_anything_runs() {
    let (town, device) = provisioned().await;
    town.wait(DAY * 61);
    let path = format!("/v1/claimed-devices/{}/plan", device.id);
    let plan = get(&town, &path).await.to_string();
    assert!(
        plan.contains("renewal") && plan.contains("mqtt/sec-tag"),
        "{plan}"
    );
    assert_eq!(
        get(&town, "/v1/renewals").await["items"],
        json!([]),
        "nothing was begun"
    );
    let draft = json!({
        "name": "x", "tags": ["x"],
        "commands": [{"request": {"certificateSigningRequest": {"secTag": OTHER, "issue": true}}}],
        "renewal": {"into": {"alternate": {"secTag": OTHER}}},
    });
    let refused = town
        .owner("POST", "/v1/provisioning-rules", Some(&draft))
        .await;
    assert_eq!(refused.status, 422);
    let message = refused.json()["message"].to_string();
    assert!(message.contains("sec tag 43"), "{message}");
}

#[tokio::test]
async fn whoever_sees_one_of_very_many_gets_a_short_page_and_then_the_next() {
    let (mut town, device) = provisioned().await;
    town.wait(DAY * 61);
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let key = json!({"name": "field", "role": "admin", "tags": ["field"]});
    let key = town.owner("POST", "/v1/keys", Some(&key)).await.json();
    let key = key["key"].as_str().unwrap().to_owned();
    town.log.forbid(&key);
    town.down().await;
    let db = rusqlite::Connection::open(town.dir.path().join("home/sectag.db")).unwrap();
    // Ten thousand of devices that nobody sees, each before the one that is seen.
    for (table, copy) in [
        (
            "lives",
            "(spki_sha256, device, team, serial, csr, not_before, not_after, issued_at, state)
             SELECT randomblob(32), randomblob(16), team, 'aa', randomblob(16), not_before, not_after - 1, issued_at, state",
        ),
        (
            "renewals",
            "(old, device, team, rule_id, sec_tag, in_place, started_at, step, step_at, attempts, retry_at)
             SELECT randomblob(32), randomblob(16), team, rule_id, sec_tag, in_place, started_at - 1, step, step_at, attempts, retry_at",
        ),
    ] {
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)";
        let sql = format!("{many} INSERT INTO {table} {copy} FROM {table}, n");
        assert_eq!(db.execute(&sql, []).unwrap(), 10_000);
    }
    drop(db);
    town.up().await;
    for path in ["/v1/forecast?days=90&all=true", "/v1/renewals?pageLimit=5"] {
        let page = async |token: &str| {
            let headers = format!("Authorization: Bearer {key}\r\n");
            let path = format!("{path}{token}");
            let reply = town.owner_raw("GET", &path, &headers, "").await;
            assert_eq!(reply.status, 200, "{}", reply.json());
            reply.json()
        };
        let first = page("").await;
        assert_eq!(first["items"], json!([]), "{path}");
        let token = first["pageNextToken"].as_str().unwrap();
        let last = page(&format!("&pageNextToken={token}")).await;
        assert_eq!(last["items"][0]["deviceId"], device.id.to_string());
        assert_eq!(last["items"].as_array().unwrap().len(), 1);
        assert_eq!(last["pageNextToken"], Value::Null);
    }
}

#[tokio::test]
async fn what_no_forecast_has_is_told_as_a_mistake() {
    let town = Town::start().await;
    for query in [
        "days=",
        "days=x",
        "days=60,30",
        "days=0",
        "days=1,2,3,4,5,6,7,8,9",
        "days=99999",
        "all=perhaps",
        "pageNextToken=1",
        "pageLimit=0",
    ] {
        let path = format!("/v1/forecast?{query}");
        let reply = town.owner("GET", &path, None).await;
        assert_eq!(reply.status, 400, "{query}");
    }
    let own = get(&town, "/v1/forecast?days=3650").await;
    let names: Vec<&str> = own["own"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"server certificate"), "{names:?}");
    assert!(names.contains(&"operator certificate"), "{names:?}");
    let unknown = "/v1/claimed-devices/50363154-3931-44f0-8022-121b6401627d/renewals";
    assert_eq!(town.owner("GET", unknown, None).await.status, 404);
}
