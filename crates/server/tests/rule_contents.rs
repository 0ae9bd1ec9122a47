//! What stands in rules: variables, secrets, the prefix of a team; and the tags that they are for.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::Town;
use support::device::FakeDevice;
use support::rules::{RULES, claimed, made, refused, session, setting};

#[tokio::test]
async fn variables_are_filled_in_and_a_missing_value_is_an_alarm_and_nothing_half() {
    let town = Town::start().await;
    let (status, message) = refused(&town, setting("bad", "a", "k", "{{device.serial}}")).await;
    assert_eq!(status, 422);
    assert!(
        message.contains("commands[0].request.config: `{{device.serial}}`"),
        "{message}"
    );
    assert!(message.contains("tag.NAME"), "{message}");
    let (status, message) = refused(&town, setting("bad", "a", "k", "{{team.prefix}}")).await;
    assert_eq!(status, 422);
    assert!(message.contains("no topic prefix"), "{message}");

    let rule = json!({"name": "located", "active": true, "tags": ["a"], "commands": [
        {"request": {"config": {"id": "{{device.id}}"}}},
        {"request": {"atCommand": {"command": "%XFOO", "parameters": "1,\"{{tag.location}}\""}}}]});
    let rule = made(&town, rule).await;
    made(&town, setting("plain", "a", "k", "1")).await;
    let mut device = claimed(&town, 1, &["a"]).await;
    let lines = session(&town, &mut device, |_| false).await;
    assert_eq!(
        lines,
        ["config [(\"k\", \"1\")]"],
        "nothing of that rule, and not finished"
    );
    assert_eq!(town.fetch(&device, "").await.status, 204);
    let id = device.id;
    let alarms = || async {
        let audit = town.audit(id).await;
        audit
            .into_iter()
            .filter(|(a, _)| a == "rule-alarm")
            .map(|(_, d)| d)
            .collect::<Vec<_>>()
    };
    let raised = alarms().await;
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert!(
        raised[0].starts_with(&format!("located ({})", rule["id"].as_str().unwrap())),
        "{raised:?}"
    );
    assert!(
        raised[0].contains("carries no tag `location=…`"),
        "{raised:?}"
    );

    let path = format!("/v1/claimed-devices/{}", device.id);
    let tags = json!({"tags": ["a", "location=Mo i Rana"]});
    assert_eq!(town.owner("PATCH", &path, Some(&tags)).await.status, 200);
    let lines = session(&town, &mut device, |_| false).await;
    assert_eq!(
        lines,
        [
            format!("config [(\"id\", \"{}\")]", device.id),
            "AT%XFOO=1,\"Mo i Rana\"".to_owned(),
            "finished".to_owned()
        ]
    );
    assert_eq!(alarms().await.len(), 1);
    // A value that would break out of its quotes is refused, too.
    let tags = json!({"tags": ["a", "location=x\"y"]});
    assert_eq!(town.owner("PATCH", &path, Some(&tags)).await.status, 200);
    town.owner("POST", &format!("{path}/reset"), None).await;
    let lines = session(&town, &mut device, |_| false).await;
    assert_eq!(lines, ["config [(\"k\", \"1\")]"]);
    assert!(alarms().await[1].contains("`\"`"));
}

#[tokio::test]
async fn an_array_in_the_place_of_an_object_is_refused() {
    let town = Town::start().await;
    let rule = made(&town, setting("plain", "a", "k", "1")).await;
    let one = format!("{RULES}/{}", rule["id"].as_str().unwrap());
    for part in [
        json!({"renewal": []}),
        json!({"onError": {"retry": [3]}}),
        json!([]),
    ] {
        let reply = town.owner("PATCH", &one, Some(&part)).await;
        assert_eq!(reply.status, 422, "{part}");
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains("invalid type: sequence, expected struct"),
            "{message}"
        );
    }
    assert_eq!(town.owner("GET", &one, None).await.json(), rule);
}

#[tokio::test]
async fn a_rules_secret_is_never_shown_and_reaches_the_device() {
    let town = Town::start().await;
    let secret = "0123456789abcdef0123456789abcdef";
    town.log.forbid(secret);
    let rule = made(
        &town,
        json!({"name": "psk", "active": true, "tags": ["a"], "commands": [
            {"request": {"preSharedKey": {"secTag": 7, "identity": "{{device.id}}", "secret": secret}}}]}),
    )
    .await;
    assert!(!rule.to_string().contains(secret));
    let mut device = claimed(&town, 1, &["a"]).await;
    session(&town, &mut device, |_| false).await;
    let list = town.owner("GET", RULES, None).await;
    assert!(!String::from_utf8_lossy(&list.body).contains(secret));
    let mut database = Vec::new();
    for file in ["sectag.db", "sectag.db-wal"] {
        database.extend(std::fs::read(town.dir.path().join("home").join(file)).unwrap());
    }
    let holds = |words: &str| {
        database
            .windows(words.len())
            .any(|piece| piece == words.as_bytes())
    };
    assert!(holds("preSharedKey"), "the rule is there");
    assert!(!holds(secret));
    let mut device = claimed(&town, 2, &["a"]).await;
    let ran = session(&town, &mut device, |_| false).await;
    assert!(
        ran.contains(&format!("AT%CMNG=0,7,3,\"{secret}\"")),
        "{ran:?}"
    );
    assert!(ran.contains(&format!("AT%CMNG=0,7,4,\"{}\"", device.id)));
    town.log.assert_clean();
}

#[tokio::test]
async fn a_teams_rules_are_for_its_own_devices_and_know_its_prefix() {
    let town = Town::start().await;
    let team = json!({"name": "acme", "topicPrefix": "acme-north"});
    let made = town.owner("POST", "/v1/teams", Some(&team)).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let key = json!({"name": "ci", "role": "owner", "team": "acme"});
    let key = town.owner("POST", "/v1/keys", Some(&key)).await.json()["key"].clone();
    let key = key.as_str().unwrap().to_owned();
    town.log.forbid(&key);
    let theirs = async |method: &str, path: &str, body: Value| {
        let headers = format!("Authorization: Bearer {key}\r\n");
        town.owner_raw(method, path, &headers, &body.to_string())
            .await
    };
    let rule = setting("topics", "a", "topic", "{{team.prefix}}/{{device.id}}");
    let reply = theirs("POST", RULES, rule).await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let ours = town.owner("GET", &format!("{RULES}/{id}"), None).await;
    assert_eq!(ours.status, 404, "of another team");

    let device = FakeDevice::new(1);
    let claim = json!({"claimToken": device.claim_token(), "tags": ["a"]});
    assert_eq!(
        theirs("POST", "/v1/claimed-devices", claim).await.status,
        201
    );
    let elsewhere = claimed(&town, 2, &["a"]).await;
    assert_eq!(town.fetch(&elsewhere, "").await.status, 204);
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    let queue = theirs("GET", &path, Value::Null).await.json();
    let topic = &queue["items"][0]["request"]["config"]["topic"];
    assert_eq!(topic, &json!(format!("acme-north/{}", device.id)));
}

#[tokio::test]
async fn tags_are_listed_page_by_page_and_taken_off() {
    let town = Town::start().await;
    let path = "/v1/provisioning/tags";
    for tag in ["b", "a", "c"] {
        assert_eq!(
            town.owner("POST", path, Some(&json!({ "tag": tag })))
                .await
                .status,
            201
        );
    }
    let page = town
        .owner("GET", "/v1/provisioning/tags?pageLimit=2", None)
        .await
        .json();
    assert_eq!(page["total"], 3);
    let token = page["pageNextToken"].as_str().unwrap();
    let rest = town
        .owner("GET", &format!("{path}?pageNextToken={token}"), None)
        .await
        .json();
    assert_eq!(rest["items"][0]["tag"], "c");
    assert_eq!(
        town.owner("DELETE", &format!("{path}/a"), None)
            .await
            .status,
        204
    );
    assert_eq!(
        town.owner("DELETE", &format!("{path}/a"), None)
            .await
            .status,
        404
    );
    assert_eq!(
        town.owner("POST", path, Some(&json!({"tag": "x,y"})))
            .await
            .status,
        422
    );
    assert_eq!(
        town.owner("POST", path, Some(&json!({"tag": " "})))
            .await
            .status,
        422
    );
}
