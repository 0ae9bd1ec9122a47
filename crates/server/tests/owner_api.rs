//! The owner's calls: shapes, keys and roles, limits.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::Town;
use support::device::FakeDevice;

#[tokio::test]
async fn a_command_looks_as_recorded() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    let body = json!({"description": "Generate CSR", "request": {"certificateSigningRequest": {"secTag": 16842753, "attributes": format!("CN={}", device.id), "keyUsage": "101010000"}}});
    let reply = town.owner("POST", &path, Some(&body)).await;
    assert_eq!(reply.status, 201);
    let mut shown = reply.json();
    let id = shown["id"].as_str().unwrap().to_owned();
    assert!(shown["createdAt"].as_str().unwrap().ends_with('Z'));
    shown["createdAt"] = Value::Null;
    assert_eq!(
        shown,
        json!({"id": id, "deviceId": device.id.to_string(), "ruleId": null, "description": "Generate CSR",
               "request": {"certificateSigningRequest": {"secTag": 16842753, "attributes": format!("CN={}", device.id), "keyUsage": "101010000"}, "requestedAt": null},
               "response": null, "status": "PENDING", "createdAt": null, "updatedAt": null})
    );
}

#[tokio::test]
async fn what_is_in_progress_is_deleted_only_by_force() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    let a = town
        .queue(
            &device,
            json!({"clientPrivateKeyGeneration": {"secTag": 1}}),
        )
        .await;
    assert_eq!(town.fetch(&device, "").await.status, 200);
    let b = town.queue(&device, json!({"finished": {}})).await;
    let delete = async |tail: &str| {
        town.owner("DELETE", &format!("{path}{tail}"), None)
            .await
            .status
    };
    assert_eq!(delete(&format!("/{a}")).await, 409);
    assert_eq!(delete("").await, 409, "all or nothing");
    assert_eq!(town.commands(&device).await.len(), 2);
    assert_eq!(delete(&format!("/{b}")).await, 204);
    assert_eq!(delete(&format!("/{b}")).await, 404);
    assert_eq!(delete(&format!("/{a}?force=true")).await, 204);
    assert_eq!(town.commands(&device).await.len(), 0);
    assert_eq!(town.fetch(&device, "").await.status, 204);
    assert_eq!(delete("").await, 204);
}

#[tokio::test]
async fn secrets_are_shown_as_digests_and_never_logged() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let psk = "00112233445566778899aabbccddeeff";
    town.log.forbid(psk);
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    let body = json!({"request": {"preSharedKey": {"secTag": 1, "identity": "me", "secret": psk}}});
    let reply = town.owner("POST", &path, Some(&body)).await;
    assert_eq!(reply.status, 201);
    assert_eq!(
        reply.json()["request"]["preSharedKey"]["secret"]["sha256"]
            .as_str()
            .unwrap()
            .len(),
        16
    );
    let listed = town.owner("GET", &path, None).await;
    assert!(!String::from_utf8(listed.body).unwrap().contains(psk));
    // A secret in the wrong place must not reach the log by way of an error.
    let wrong =
        json!({"request": {"preSharedKey": {"secTag": psk, "identity": "me", "secret": "x"}}});
    assert_eq!(town.owner("POST", &path, Some(&wrong)).await.status, 422);
    let batch = town.fetch(&device, "").await;
    assert!(
        batch.body.windows(psk.len()).any(|w| w == psk.as_bytes()),
        "the device gets it"
    );
}

#[tokio::test]
async fn keys_are_shown_once_have_roles_and_can_be_revoked() {
    let town = Town::start().await;
    let made = town
        .owner(
            "POST",
            "/v1/keys",
            Some(&json!({"name": "dashboard", "role": "viewer"})),
        )
        .await;
    assert_eq!(made.status, 201);
    let key = made.json()["key"].as_str().unwrap().to_owned();
    town.log.forbid(&key);
    let taken = town
        .owner(
            "POST",
            "/v1/keys",
            Some(&json!({"name": "dashboard", "role": "viewer"})),
        )
        .await;
    assert_eq!(taken.status, 409);
    let listed = String::from_utf8(town.owner("GET", "/v1/keys", None).await.body).unwrap();
    assert!(listed.contains("dashboard") && !listed.contains(&key));
    let with = |key: &str| format!("Authorization: Bearer {key}\r\n");
    let as_viewer = with(&key);
    assert_eq!(
        town.owner_raw("GET", "/v1/claimed-devices", &as_viewer, "")
            .await
            .status,
        200
    );
    assert_eq!(
        town.owner_raw("POST", "/v1/claimed-devices", &as_viewer, "{}")
            .await
            .status,
        403
    );
    assert_eq!(
        town.owner_raw("GET", "/v1/keys", &as_viewer, "")
            .await
            .status,
        403
    );
    assert_eq!(
        town.owner("DELETE", "/v1/keys/dashboard", None)
            .await
            .status,
        204
    );
    assert_eq!(
        town.owner_raw("GET", "/v1/claimed-devices", &as_viewer, "")
            .await
            .status,
        401
    );
    assert_eq!(
        town.owner("DELETE", "/v1/keys/dashboard", None)
            .await
            .status,
        404
    );
    assert_eq!(
        town.owner("DELETE", "/v1/keys/owner", None).await.status,
        409
    );
    for wrong in [
        "",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Basic x\r\n",
    ] {
        let reply = town
            .owner_raw("GET", "/v1/claimed-devices", wrong, "")
            .await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json()["status"], 401);
    }
}

#[tokio::test]
async fn devices_are_listed_in_pages() {
    let town = Town::start().await;
    for n in 1..=5 {
        town.claim(&FakeDevice::new(n)).await;
    }
    let mut token = String::new();
    let mut seen = 0;
    for expected in [2, 2, 1] {
        let page = town
            .owner(
                "GET",
                &format!("/v1/claimed-devices?pageLimit=2{token}"),
                None,
            )
            .await
            .json();
        assert_eq!(
            (
                page["total"].as_u64(),
                page["items"].as_array().unwrap().len()
            ),
            (Some(5), expected)
        );
        seen += expected;
        token = page["pageNextToken"]
            .as_str()
            .map(|t| format!("&pageNextToken={t}"))
            .unwrap_or_default();
    }
    assert!(seen == 5 && token.is_empty());
    assert_eq!(
        town.owner("GET", "/v1/claimed-devices?pageLimit=x", None)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn errors_are_json_with_code_message_title_and_status() {
    let town = Town::start().await;
    for (method, path, body, status) in [
        ("GET", "/", "", 404),
        ("GET", "/v1/nothing", "", 404),
        ("PUT", "/v1/claimed-devices", "", 405),
        ("GET", "/v1/claimed-devices/not-a-uuid", "", 404),
        ("GET", "/v1/claimed-devices/%ff", "", 404),
        ("GET", "/v1/claimed-devices/%", "", 404),
        ("DELETE", "/v1/keys/%80", "", 404),
        ("GET", "/v1/claimed-devices?pageLimit=%ff", "", 400),
        (
            "GET",
            "/v1/claimed-devices/50363154-3931-44f0-8022-121b6401627d",
            "",
            404,
        ),
        ("POST", "/v1/claimed-devices", "{", 400),
        ("POST", "/v1/claimed-devices", "{}", 422),
        (
            "POST",
            "/v1/claimed-devices",
            "{\"claimToken\": \"x\", \"tag\": 1}",
            422,
        ),
    ] {
        let headers = format!("Authorization: Bearer {}\r\n", town.key);
        let reply = town.owner_raw(method, path, &headers, body).await;
        let shown = reply.json();
        assert_eq!(reply.status, status, "{method} {path}: {shown}");
        assert_eq!(shown["status"], status);
        assert!(shown["code"].as_u64().unwrap() / 100 == u64::from(reply.status));
        assert!(shown["message"].is_string() && shown["title"].is_string());
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(shown["detail"], shown["message"]);
    }
    let headers = format!("Authorization: Bearer {}\r\n", town.key);
    let large = format!("{{\"claimToken\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(
        town.owner_raw("POST", "/v1/claimed-devices", &headers, &large)
            .await
            .status,
        413
    );
}

#[tokio::test]
async fn status_and_health_tell_what_runs() {
    let town = Town::start().await;
    town.claim(&FakeDevice::new(1)).await;
    let health = town.owner_raw("GET", "/healthz", "", "").await;
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"status": "ok"}))
    );
    let status = town.owner("GET", "/v1/status", None).await.json();
    assert_eq!(status["devices"]["claimed"], 1);
    assert_eq!(
        status["listeners"]["mqtt"],
        town.service().addresses().mqtt.to_string()
    );
    assert_eq!(status["broker"]["accepted"], 0);
    let run: Value =
        serde_json::from_slice(&std::fs::read(town.dir.path().join("home/run.json")).unwrap())
            .unwrap();
    assert_eq!(run["pid"], std::process::id());
    assert_eq!(run["listeners"], status["listeners"]);
}

#[tokio::test]
async fn a_taken_port_is_said_in_one_sentence_with_a_hint() {
    let town = Town::start().await;
    let dir = tempfile::tempdir().unwrap();
    let home = sectag_server::Home::open(&dir.path().join("h"), town.now()).unwrap();
    let mut config = sectag_server::Config::new(home);
    config.owner = town.service().addresses().owner;
    let e = sectag_server::Service::start(config).await.unwrap_err();
    assert!(
        e.to_string().starts_with("cannot listen on 127.0.0.1:"),
        "{e}"
    );
    assert!(e.hint().unwrap().contains("another program has port"));
}

#[tokio::test]
async fn pem_with_escaped_line_ends_is_stored_with_real_ones() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    for escaped in ["\\n", "\\r\\n"] {
        let content = town.root.replace('\n', escaped);
        let request = json!({"serverCertificate": {"secTag": 1, "content": content}});
        town.queue(&device, request).await;
    }
    for command in town.commands(&device).await {
        assert_eq!(
            command["request"]["serverCertificate"]["content"],
            town.root
        );
    }
}

#[tokio::test]
async fn a_subject_that_the_closed_loop_would_never_sign_is_refused_when_it_is_asked_for() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    for (attributes, issue, status) in [
        ("emailAddress=a", true, 422),
        ("C=Norway", true, 422),
        ("emailAddress=a", false, 201),
        ("O=Acme,CN=a", true, 201),
        ("", true, 201),
    ] {
        let request = json!({"certificateSigningRequest": {"secTag": 1, "attributes": attributes, "issue": issue}});
        let body = json!({"request": request});
        let reply = town.owner("POST", &path, Some(&body)).await;
        assert_eq!(reply.status, status, "{attributes} {}", reply.json());
    }
}

#[tokio::test]
async fn two_who_revoke_the_last_two_owner_keys_at_once_leave_one() {
    let town = Town::start().await;
    let body = json!({"name": "second", "role": "owner"});
    let made = town.owner("POST", "/v1/keys", Some(&body)).await;
    town.log.forbid(made.json()["key"].as_str().unwrap());
    let (a, b) = tokio::join!(
        town.owner("DELETE", "/v1/keys/owner", None),
        town.owner("DELETE", "/v1/keys/second", None),
    );
    let store = town.service().app().store();
    let home = town.service().home().owner_id();
    let keys = store.keys(&home, None, 9).await.unwrap();
    let left = keys
        .items
        .iter()
        .filter(|key| key.revoked_at.is_none())
        .count();
    assert_eq!(left, 1, "{} {}", a.status, b.status);
}

#[tokio::test]
async fn nobody_writes_log_lines_of_his_own() {
    let town = Town::start().await;
    let from = town.log.len();
    let path = "/v1/keys/x%0aINFO%20all%20is%20well";
    assert_eq!(town.owner("DELETE", path, None).await.status, 404);
    let lines = town.log.since(from);
    assert!(lines.len() == 1 && !lines[0].contains('\n'), "{lines:?}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_its_whole_body_first() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    for bytes in [1_000, 60_000] {
        let body = "x".repeat(bytes);
        let wrong = "Authorization: Bearer wrong\r\n";
        let reply = town.owner_raw("POST", &path, wrong, &body).await;
        assert_eq!(reply.status, 401, "{bytes}");
        let right = format!("Authorization: Bearer {}\r\n", town.key);
        let reply = town.owner_raw("POST", &path, &right, &body).await;
        assert_eq!(reply.status, 400, "{bytes}");
    }
}
