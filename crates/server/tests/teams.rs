//! Teams live beside each other: a second team, its keys, its allow-list, and what it learns of the first: nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::token::AttestationToken;
use sectag_server::Policy;
use serde_json::{Value, json};
use std::time::Duration;
use support::device::FakeDevice;
use support::{Reply, Town};

const CLAIMED: &str = "/v1/claimed-devices";

async fn ask(town: &Town, key: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let headers = format!("Authorization: Bearer {key}\r\n");
    let body = body.map(Value::to_string).unwrap_or_default();
    town.owner_raw(method, path, &headers, &body).await
}

async fn team(town: &Town, name: &str) -> String {
    let made = town
        .owner("POST", "/v1/teams", Some(&json!({"name": name})))
        .await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn key(town: &Town, body: Value) -> String {
    let made = town.owner("POST", "/v1/keys", Some(&body)).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let key = made.json()["key"].as_str().unwrap().to_owned();
    town.log.forbid(&key);
    key
}

fn claim_of(device: &FakeDevice, tags: &[&str]) -> Value {
    json!({"claimToken": device.claim_token(), "tags": tags})
}

/// A refusal without what differs by nature.
fn words(reply: &Reply) -> (u16, Value) {
    (reply.status, reply.json())
}

async fn allow(town: &Town, key: &str, device: &FakeDevice) -> Reply {
    let token = AttestationToken::parse(&device.claim_token()).unwrap();
    let candidates = token.candidates().unwrap();
    let path = format!("/v1/allow-list/{}", device.id);
    let mut last = None;
    for candidate in candidates {
        let body = json!({"keyId": candidate.kid.to_string()});
        last = Some(ask(town, key, "PUT", &path, Some(&body)).await);
        let claimed = ask(
            town,
            key,
            "POST",
            &format!("{CLAIMED}?dryrun=true"),
            Some(&claim_of(device, &[])),
        )
        .await;
        if claimed.status == 202 {
            break;
        }
    }
    last.unwrap()
}

#[tokio::test]
async fn a_second_team_is_made_and_works_alone() {
    let town = Town::start().await;
    let north = team(&town, "north").await;
    let owner = key(
        &town,
        json!({"name": "boss", "role": "owner", "team": "north"}),
    )
    .await;
    let shown = ask(&town, &owner, "GET", "/v1/teams", None).await.json();
    assert_eq!(
        (&shown["items"][0]["id"], &shown["total"]),
        (&json!(north), &json!(1))
    );
    assert_eq!(shown["items"][0]["topicPrefix"], "north");
    // Its owner manages its own keys, and nobody else's.
    let editor = json!({"name": "hands", "role": "editor"});
    let made = ask(&town, &owner, "POST", "/v1/keys", Some(&editor)).await;
    assert_eq!((made.status, &made.json()["teamId"]), (201, &json!(north)));
    let hands = made.json()["key"].as_str().unwrap().to_owned();
    town.log.forbid(&hands);
    for team in ["home", "nowhere"] {
        let body = json!({"name": "x", "role": "viewer", "team": team});
        let refused = ask(&town, &owner, "POST", "/v1/keys", Some(&body)).await;
        let said = refused.json()["message"]
            .as_str()
            .unwrap()
            .replace(team, "T");
        assert_eq!((refused.status, said.as_str()), (404, "no team `T`"));
    }
    // The home's owner sees its keys by name of the team, and both `boss`es do not disturb each other.
    key(&town, json!({"name": "boss", "role": "owner"})).await;
    let keys = town.owner("GET", "/v1/keys?team=north", None).await.json();
    let names: Vec<_> = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].clone())
        .collect();
    assert_eq!(names, ["boss", "hands"]);

    let device = FakeDevice::new(1);
    let claimed = ask(
        &town,
        &hands,
        "POST",
        CLAIMED,
        Some(&claim_of(&device, &["x"])),
    )
    .await;
    assert_eq!(
        (claimed.status, &claimed.json()["ownerId"]),
        (201, &json!(north))
    );
    let path = format!("{CLAIMED}/{}", device.id);
    assert_eq!(town.owner("GET", &path, None).await.status, 404);
    assert_eq!(town.owner("GET", CLAIMED, None).await.json()["total"], 0);
    assert_eq!(ask(&town, &hands, "GET", &path, None).await.status, 200);
    // The audit trail of each: what the home did for the other is there under its full name.
    let trail = ask(&town, &owner, "GET", "/v1/audit", None).await.json();
    let said: Vec<_> = trail["items"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| {
            format!(
                "{} {}",
                entry["by"].as_str().unwrap(),
                entry["action"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            "owner team-created",
            "home/owner key-add",
            "boss key-add",
            "hands claim"
        ]
    );
    let own = String::from_utf8(
        town.owner("GET", "/v1/audit?pageLimit=100", None)
            .await
            .body,
    )
    .unwrap();
    assert!(!own.contains("hands"), "{own}");
    let all = String::from_utf8(
        town.owner("GET", "/v1/audit?all=true&pageLimit=100", None)
            .await
            .body,
    )
    .unwrap();
    assert!(all.contains("hands"), "{all}");
    assert_eq!(
        ask(&town, &owner, "GET", "/v1/audit?all=true", None)
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn a_device_of_another_team_is_refused_like_any_other_token() {
    let town = Town::start().await;
    team(&town, "north").await;
    let north = key(
        &town,
        json!({"name": "n", "role": "owner", "team": "north"}),
    )
    .await;
    let (owned, unknown) = (FakeDevice::new(1), FakeDevice::new(2));
    town.claim(&owned).await;
    town.owner(
        "POST",
        "/v1/keys",
        Some(&json!({"name": "ed", "role": "editor"})),
    )
    .await;
    let dry = format!("{CLAIMED}?dryrun=true");
    let first_claim = ask(&town, &north, "POST", CLAIMED, Some(&claim_of(&owned, &[]))).await;
    let dry_run = ask(&town, &north, "POST", &dry, Some(&claim_of(&owned, &[]))).await;
    let mut with_key = claim_of(&owned, &[]);
    with_key["acceptNewKey"] = json!(true);
    let taken = ask(&town, &north, "POST", CLAIMED, Some(&with_key)).await;
    assert_eq!(words(&first_claim), words(&dry_run));
    assert_eq!(words(&first_claim), words(&taken));
    assert_eq!(first_claim.status, 409);
    // In bulk as well.
    let rows = format!("\"{}\"\n", owned.claim_token());
    let headers = format!("Authorization: Bearer {north}\r\n");
    let bulk = town
        .owner_raw("POST", CLAIMED, &headers, &rows)
        .await
        .json();
    assert_eq!(bulk["failed"][0]["message"], first_claim.json()["message"]);
    // What the allow-list refuses sounds the same.
    let mut town = town;
    town.down().await;
    town.policy = Policy::AllowList;
    town.up().await;
    let refused = ask(
        &town,
        &north,
        "POST",
        CLAIMED,
        Some(&claim_of(&unknown, &[])),
    )
    .await;
    assert_eq!(words(&refused), words(&first_claim));
    let refused = ask(&town, &north, "POST", CLAIMED, Some(&claim_of(&owned, &[]))).await;
    assert_eq!(words(&refused), words(&first_claim));
}

#[tokio::test]
async fn with_a_second_team_the_allow_list_decides_for_each() {
    let town = Town::with_policy(Policy::Auto).await;
    let policy = async || town.owner("GET", "/v1/status", None).await.json()["policy"].clone();
    assert_eq!(policy().await, "first-claim");
    assert_eq!(town.claim(&FakeDevice::new(1)).await.status, 201);
    let north = team(&town, "north").await;
    assert_eq!(policy().await, "allow-list");
    let theirs = key(&town, json!({"name": "n", "role": "owner", "team": north})).await;
    let device = FakeDevice::new(2);
    assert_eq!(town.claim(&device).await.status, 409);
    assert_eq!(allow(&town, &theirs, &device).await.status, 204);
    // Allowed for one team is not allowed for another.
    assert_eq!(town.claim(&device).await.status, 409);
    assert_eq!(
        town.owner("GET", "/v1/allow-list", None).await.json()["total"],
        0
    );
    let list = ask(&town, &theirs, "GET", "/v1/allow-list", None)
        .await
        .json();
    assert_eq!(list["items"][0]["id"], device.id.to_string());
    let claimed = ask(
        &town,
        &theirs,
        "POST",
        CLAIMED,
        Some(&claim_of(&device, &[])),
    )
    .await;
    assert_eq!(claimed.status, 201);
    // Gone is the team, gone is the reason.
    let path = format!("/v1/teams/{north}");
    let busy = town.owner("DELETE", &path, None).await;
    assert_eq!((busy.status, &busy.json()["code"]), (409, &json!(40906)));
    let unclaim = format!("{CLAIMED}/{}", device.id);
    assert_eq!(
        ask(&town, &theirs, "DELETE", &unclaim, None).await.status,
        204
    );
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    assert_eq!(
        ask(&town, &theirs, "GET", "/v1/status", None).await.status,
        401
    );
    assert_eq!(policy().await, "first-claim");
    assert_eq!(
        town.owner("DELETE", "/v1/teams/home", None).await.status,
        409
    );
}

#[tokio::test]
async fn whoever_made_a_second_team_and_went_away_ended_first_claims_all_the_same() {
    let town = Town::with_policy(Policy::Auto).await;
    let north = sectag_store::Team {
        id: "north-id".to_owned(),
        name: "north".to_owned(),
        topic_prefix: Some("north".to_owned()),
        created_at: town.now(),
    };
    // Straight into the store: nobody waits for what follows from it.
    let app = town.service().app();
    app.store().add_team(north, "owner").await.unwrap();
    app.doorkeeper().settled().await;
    let status = town.owner("GET", "/v1/status", None).await.json();
    assert_eq!(status["policy"], "allow-list");
    assert_eq!(town.claim(&FakeDevice::new(1)).await.status, 409);
}

#[tokio::test]
async fn the_last_owner_key_of_each_team_stays() {
    let town = Town::start().await;
    team(&town, "north").await;
    key(
        &town,
        json!({"name": "one", "role": "owner", "team": "north"}),
    )
    .await;
    let soon = town.now().0 + 60_000;
    let end = moment(soon);
    key(
        &town,
        json!({"name": "two", "role": "owner", "team": "north", "expiresAt": end}),
    )
    .await;
    let revoke = async |name: &str| {
        let path = format!("/v1/keys/{name}?team=north");
        town.owner("DELETE", &path, None).await.status
    };
    town.wait(Duration::from_secs(61));
    // The other one has expired, and would help nobody.
    assert_eq!(revoke("one").await, 409);
    assert_eq!(revoke("two").await, 204);
    key(
        &town,
        json!({"name": "three", "role": "owner", "team": "north"}),
    )
    .await;
    assert_eq!(revoke("one").await, 204);
    assert_eq!(revoke("three").await, 409);
    assert_eq!(
        town.owner("DELETE", "/v1/keys/owner", None).await.status,
        409
    );
}

#[tokio::test]
async fn an_expired_key_is_like_one_that_never_was() {
    let town = Town::start().await;
    let end = moment(town.now().0 + 60_000);
    let text = key(
        &town,
        json!({"name": "guest", "role": "viewer", "expiresAt": end}),
    )
    .await;
    let before = ask(&town, &text, "GET", CLAIMED, None).await;
    assert_eq!(before.status, 200);
    town.wait(Duration::from_secs(60));
    let after = ask(&town, &text, "GET", CLAIMED, None).await;
    let never = ask(&town, "sectag_never", "GET", CLAIMED, None).await;
    assert_eq!(
        (words(&after), after.head.len()),
        (words(&never), never.head.len())
    );
    assert_eq!(after.status, 401);
    let keys = town.owner("GET", "/v1/keys", None).await.json();
    assert_eq!(keys["items"][0]["expiresAt"], end.as_str());
    for (body, field) in [
        (
            json!({"name": "p", "role": "viewer", "expiresAt": "2020-01-01T00:00:00Z"}),
            "expiresAt",
        ),
        (
            json!({"name": "p", "role": "viewer", "expiresAt": "tomorrow"}),
            "expiresAt",
        ),
        (json!({"name": "p", "role": "owner", "tags": ["x"]}), "tags"),
        (json!({"name": "p", "role": "king"}), "role"),
        (json!({"name": "..", "role": "viewer"}), "name"),
    ] {
        let refused = town.owner("POST", "/v1/keys", Some(&body)).await;
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(
            refused.status == 422 && message.starts_with(field),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_key_with_tags_stays_within_them() {
    let town = Town::start().await;
    let text = key(
        &town,
        json!({"name": "bay", "role": "admin", "tags": ["bay-1,bay-2"]}),
    )
    .await;
    let device = FakeDevice::new(1);
    for (tags, status) in [
        (&[][..], 422),
        (&["other"], 422),
        (&["bay-1", "other"], 422),
        (&["bay-1"], 201),
    ] {
        let reply = ask(
            &town,
            &text,
            "POST",
            CLAIMED,
            Some(&claim_of(&device, tags)),
        )
        .await;
        assert_eq!(reply.status, status, "{tags:?}");
    }
    let path = format!("{CLAIMED}/{}", device.id);
    let patch = async |key: &str, tags: &[&str]| {
        ask(&town, key, "PATCH", &path, Some(&json!({"tags": tags})))
            .await
            .status
    };
    assert_eq!(patch(&text, &["bay-2"]).await, 200);
    assert_eq!(patch(&text, &[]).await, 422);
    assert_eq!(patch(&text, &["bay-2", "secrets"]).await, 422);
    assert_eq!(patch(&town.key, &["bay-2", "secrets"]).await, 200);
    assert_eq!(patch(&text, &["bay-1"]).await, 422);
    assert_eq!(patch(&text, &["bay-1", "secrets"]).await, 200);
    // Taken out of the scope by somebody else, it is gone; and cannot be claimed back.
    assert_eq!(patch(&town.key, &["secrets"]).await, 200);
    assert_eq!(patch(&text, &["bay-1", "secrets"]).await, 404);
    let again = ask(
        &town,
        &text,
        "POST",
        CLAIMED,
        Some(&claim_of(&device, &["bay-1"])),
    )
    .await;
    assert_eq!((again.status, &again.json()["code"]), (409, &json!(40900)));
}

#[tokio::test]
async fn what_an_admin_claimed_can_be_shown_to_all_by_a_setting() {
    let mut town = Town::start().await;
    let editor = key(&town, json!({"name": "ed", "role": "editor"})).await;
    let device = FakeDevice::new(1);
    assert_eq!(town.claim(&device).await.status, 201);
    let path = format!("{CLAIMED}/{}", device.id);
    assert_eq!(ask(&town, &editor, "GET", &path, None).await.status, 404);
    assert_eq!(
        ask(&town, &editor, "GET", CLAIMED, None).await.json()["total"],
        0
    );
    let claim = ask(
        &town,
        &editor,
        "POST",
        CLAIMED,
        Some(&claim_of(&device, &[])),
    )
    .await;
    assert_eq!((claim.status, &claim.json()["code"]), (409, &json!(40900)));
    town.down().await;
    town.admin_claims_hidden = false;
    town.up().await;
    assert_eq!(ask(&town, &editor, "GET", &path, None).await.status, 200);
    assert_eq!(
        ask(&town, &editor, "GET", CLAIMED, None).await.json()["total"],
        1
    );
}

#[tokio::test]
async fn a_device_brings_nothing_of_its_last_team_along() {
    let town = Town::start().await;
    team(&town, "north").await;
    let north = key(
        &town,
        json!({"name": "n", "role": "owner", "team": "north"}),
    )
    .await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    let csr = json!({"certificateSigningRequest": {"secTag": 1, "attributes": "", "keyUsage": "101010000", "issue": true}});
    town.queue(&device, csr).await;
    town.queue(&device, json!({"finished": {}})).await;
    town.provision(&mut device).await;
    let path = format!("{CLAIMED}/{}", device.id);
    let certificates = format!("{path}/certificates");
    assert_eq!(
        town.owner("GET", &certificates, None).await.json()["total"],
        1
    );
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    let claimed = ask(
        &town,
        &north,
        "POST",
        CLAIMED,
        Some(&claim_of(&device, &[])),
    )
    .await;
    assert_eq!(claimed.status, 201);
    for (what, total) in [("certificates", 0), ("provisioning", 0)] {
        let list = ask(&town, &north, "GET", &format!("{path}/{what}"), None)
            .await
            .json();
        assert_eq!(list["total"], total, "{what}");
    }
    let trail = ask(
        &town,
        &north,
        "GET",
        &format!("/v1/audit?device={}", device.id),
        None,
    )
    .await
    .json();
    assert_eq!(
        (trail["total"].clone(), trail["items"][0]["action"].clone()),
        (json!(1), json!("claim"))
    );
    // It comes back, and with it what was its own.
    assert_eq!(ask(&town, &north, "DELETE", &path, None).await.status, 204);
    assert_eq!(town.claim(&device).await.status, 201);
    assert_eq!(
        town.owner("GET", &certificates, None).await.json()["total"],
        1
    );
}

#[tokio::test]
async fn names_of_teams_are_unique_and_their_topics_nobodys() {
    let town = Town::start().await;
    let north = team(&town, "north").await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    for (body, status) in [
        (json!({"name": "north"}), 409),
        (json!({"name": "home"}), 409),
        (json!({"name": "south", "topicPrefix": "north"}), 409),
        (json!({"name": "a/b"}), 422),
        (json!({"name": "south", "topicPrefix": "#"}), 422),
        (json!({"name": device.id.to_string()}), 422),
        (json!({"name": "south", "colour": "red"}), 422),
        (json!({}), 422),
    ] {
        let reply = town.owner("POST", "/v1/teams", Some(&body)).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.json());
    }
    let path = format!("/v1/teams/{north}");
    let renamed = town
        .owner("PATCH", &path, Some(&json!({"name": "polar"})))
        .await
        .json();
    assert_eq!(
        (&renamed["name"], &renamed["topicPrefix"]),
        (&json!("polar"), &json!("north"))
    );
    assert_eq!(
        town.owner("GET", "/v1/teams/polar", None).await.json()["id"],
        north.as_str()
    );
    assert_eq!(
        town.owner("PATCH", "/v1/teams/home", Some(&json!({"name": "x"})))
            .await
            .status,
        422
    );
}

/// As the API writes times.
fn moment(ms: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap();
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    at.format(format).unwrap()
}
