//! Certificates of the operator's own CA, registered and pinned; uploads in the background; teams with their own CA and topics.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_mqtt::client::tls_config;
use sectag_mqtt::{Client, ClientError, ConnectOptions, Incoming, Qos, Transport, Version};
use sectag_pki::{Authority, PrivateKey};
use sectag_server::Policy;
use serde_json::{Value, json};
use std::time::Duration;
use support::device::FakeDevice;
use support::{Reply, Town};
use tokio::sync::mpsc::Receiver;

const PATIENCE: Duration = Duration::from_secs(20);

/// An authority that the service has never heard of.
struct Elsewhere(Authority);

/// Certificate and key, PEM.
#[derive(Clone)]
struct Papers {
    certificate: String,
    key: String,
}

impl Papers {
    fn serial(&self) -> String {
        sectag_pki::Certificate::from_pem(&self.certificate)
            .unwrap()
            .serial_hex
    }
}

impl Elsewhere {
    fn new(town: &Town) -> Self {
        Self(Authority::root("Operator's own CA", town.now().as_secs()).unwrap())
    }

    fn sign(&self, town: &Town, cn: &str) -> Papers {
        let key = PrivateKey::generate().unwrap();
        let made = self
            .0
            .issue_device(&key.spki_der(), cn, town.now().as_secs())
            .unwrap();
        Papers {
            certificate: made.pem(),
            key: key.to_pem().to_string(),
        }
    }
}

/// A row as the vendor's tool writes it.
fn row(id: &str, papers: &Papers) -> String {
    format!("{id},tracker,a|b,APP|MODEM,\"{}\"\n", papers.certificate)
}

async fn post(town: &Town, key: &str, path: &str, csv: &str) -> Reply {
    let headers = format!("Authorization: Bearer {key}\r\nContent-Type: text/plain\r\n");
    town.owner_raw("POST", path, &headers, csv).await
}

/// The status object of an upload at its end.
async fn finished(town: &Town, key: &str, taken: &Reply) -> Value {
    assert_eq!(taken.status, 202, "{:?}", taken.json());
    let id = taken.json()["bulkOpsRequestId"]
        .as_str()
        .unwrap()
        .to_owned();
    let headers = format!("Authorization: Bearer {key}\r\n");
    let path = format!("/v1/bulk-ops-requests/{id}");
    let asks = async {
        loop {
            let reply = town.owner_raw("GET", &path, &headers, "").await;
            assert_eq!(reply.status, 200);
            let found = reply.json();
            let values = found.as_object().unwrap();
            assert!(values.values().all(Value::is_string), "{found}");
            match found["status"].as_str().unwrap() {
                "PENDING" | "IN_PROGRESS" => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => return found,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asks).await.unwrap()
}

/// What `errorSummaryUrl` points to, asked for without a key.
async fn errors(town: &Town, upload: &Value) -> Reply {
    let url = upload["errorSummaryUrl"].as_str().unwrap();
    let path = url.strip_prefix("http://").unwrap();
    let path = &path[path.find('/').unwrap()..];
    town.owner_raw("GET", path, "", "").await
}

async fn connect(
    town: &Town,
    papers: &Papers,
) -> Result<(Client, Receiver<Incoming>), ClientError> {
    let identity = (papers.certificate.as_str(), papers.key.as_str());
    let tls = tls_config(&town.root, Some(identity)).unwrap();
    let port = town.service().addresses().mqtt.port();
    let options = ConnectOptions {
        version: Version::V5,
        timeout: PATIENCE,
        ..ConnectOptions::new("c")
    };
    Client::connect("127.0.0.1", port, Transport::tls("localhost", tls), options).await
}

async fn may_use(client: &Client, topic: &str) -> bool {
    client.subscribe(topic, Qos::AtLeastOnce).await.is_ok()
        && client
            .publish(topic, "x", Qos::AtLeastOnce, false)
            .await
            .is_ok()
}

#[tokio::test]
async fn a_registered_certificate_opens_the_broker_whoever_signed_it() {
    let mut town = Town::start().await;
    let ca = Elsewhere::new(&town);
    let device = FakeDevice::new(1);
    let id = device.id.to_string();
    let papers = ca.sign(&town, &id);
    let older = ca.sign(&town, "nrf-351358811124484");
    let refused = connect(&town, &papers).await;
    assert!(
        matches!(refused, Err(ClientError::CertificateRefused { .. })),
        "nobody registered it"
    );
    town.claim(&device).await;
    assert_eq!(get(&town, &id).await.status, 404);

    let csv = row(&id, &papers) + &row("nrf-351358811124484", &older);
    let taken = post(&town, &town.key, "/v1/devices", &csv).await;
    let upload = finished(&town, &town.key, &taken).await;
    assert_eq!(upload["status"], "SUCCEEDED", "{upload}");
    assert!(upload.get("errorSummaryUrl").is_none());
    let found = get(&town, &id).await;
    assert_eq!(found.status, 200);
    assert_eq!(found.json()["certificates"][0]["serial"], papers.serial());
    assert_eq!(found.json()["firmwareTypes"], json!(["APP", "MODEM"]));

    for (papers, id) in [(&papers, id.as_str()), (&older, "nrf-351358811124484")] {
        let (client, _messages) = connect(&town, papers).await.unwrap();
        assert!(may_use(&client, &format!("{id}/x")).await);
        assert!(!may_use(&client, "somebody/x").await);
    }
    // It survives a restart.
    town.down().await;
    town.up().await;
    let (session, _messages) = connect(&town, &papers).await.unwrap();
    // Blocked like any other.
    let path = format!("/v1/claimed-devices/{id}");
    town.owner("PATCH", &path, Some(&json!({"blocked": true})))
        .await;
    tokio::time::timeout(PATIENCE, session.closed())
        .await
        .unwrap();
    assert!(connect(&town, &papers).await.is_err());
    town.owner("PATCH", &path, Some(&json!({"blocked": false})))
        .await;
    let (session, _messages) = connect(&town, &papers).await.unwrap();
    // Named, and taken back with the claim, for good.
    let named = town
        .owner(
            "PUT",
            &format!("/v1/devices/{id}/name"),
            Some(&json!(["Tor 7"])),
        )
        .await;
    assert_eq!(
        (named.status, &named.json()["name"]),
        (200, &json!("Tor 7"))
    );
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    tokio::time::timeout(PATIENCE, session.closed())
        .await
        .unwrap();
    assert!(connect(&town, &papers).await.is_err());
    assert_eq!(get(&town, &id).await.status, 404);
    town.claim(&device).await;
    let taken = post(&town, &town.key, "/v1/devices", &row(&id, &papers)).await;
    let upload = finished(&town, &town.key, &taken).await;
    let said = errors(&town, &upload).await.json();
    assert!(
        said["errors"][0].as_str().unwrap().contains("revoked"),
        "{said}"
    );
    // The other one is removed by its own id.
    let (session, _messages) = connect(&town, &older).await.unwrap();
    let path = "/v1/devices/nrf-351358811124484";
    assert_eq!(town.owner("DELETE", path, None).await.status, 204);
    tokio::time::timeout(PATIENCE, session.closed())
        .await
        .unwrap();
    assert!(connect(&town, &older).await.is_err());
}

async fn get(town: &Town, id: &str) -> Reply {
    town.owner("GET", &format!("/v1/devices/{id}"), None).await
}

#[tokio::test]
async fn a_row_that_is_wrong_spoils_no_other() {
    let town = Town::start().await;
    let ca = Elsewhere::new(&town);
    let mut csv = String::new();
    let mut last = None;
    for n in 0..100 {
        let id = format!("dev-{n}");
        let papers = ca.sign(&town, &id);
        match n {
            3 => csv += "dev-3,tracker,,APP,\"-----BEGIN NOTHING\n\"\n",
            50 => csv += &row("50505050-5050-5050-5050-505050505050", &papers),
            70 => csv += &row("dev-71", &papers),
            _ => csv += &row(&id, &papers),
        }
        last = Some(papers);
    }
    let taken = post(&town, &town.key, "/v1/devices", &csv).await;
    let upload = finished(&town, &town.key, &taken).await;
    assert_eq!(upload["status"], "FAILED");
    assert_eq!(
        (&upload["totalRows"], &upload["failedRows"]),
        (&json!("100"), &json!("3"))
    );
    let reply = errors(&town, &upload).await;
    assert_eq!(reply.status, 200);
    let said = reply.json();
    let said: Vec<&str> = said["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_str().unwrap())
        .collect();
    for (said, begins) in said.iter().zip(["[3]: ", "[50]: ", "[70]: "]) {
        assert!(said.starts_with(begins), "{said}");
    }
    connect(&town, &last.unwrap()).await.unwrap();
    // The path of the errors is not guessed, and does not stay.
    let url = upload["errorSummaryUrl"].as_str().unwrap();
    let wrong = url.replace(&url[url.len() - 4..], "0000");
    let wrong = json!({ "errorSummaryUrl": wrong });
    assert_eq!(errors(&town, &wrong).await.status, 404);
    town.wait(Duration::from_secs(3601));
    assert_eq!(errors(&town, &upload).await.status, 404);
}

#[tokio::test]
async fn what_is_no_upload_is_refused_at_once() {
    let town = Town::start().await;
    let many = "x,y\n".repeat(1001);
    for (csv, status) in [("", 400), ("\n\n", 400), ("\"a", 400), (many.as_str(), 422)] {
        let reply = post(&town, &town.key, "/v1/devices", csv).await;
        assert_eq!(reply.status, status, "{csv:.20}");
        assert!(reply.json()["message"].is_string());
    }
    let state = town
        .owner("PATCH", "/v1/devices/x/state", Some(&json!({})))
        .await;
    assert_eq!(state.status, 501);
    assert!(state.json()["message"].as_str().unwrap().contains("shadow"));
    let path = "/v1/bulk-ops-requests/01JT0KCYN20000000000000000";
    assert_eq!(town.owner("GET", path, None).await.status, 404);
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let mut town = Town::start().await;
    let ca = Elsewhere::new(&town);
    let mut csv = String::new();
    for n in 0..600 {
        // Keys cost time, and the rows need different ones.
        let id = format!("dev-{n}");
        csv += &row(&id, &ca.sign(&town, &id));
    }
    let taken = post(&town, &town.key, "/v1/devices", &csv).await;
    town.down().await;
    town.up().await;
    let upload = finished(&town, &town.key, &taken).await;
    assert_eq!(upload["status"], "SUCCEEDED", "{upload}");
    assert_eq!(upload["completedRows"], "600");
    assert_eq!(
        get(&town, "dev-599").await.json()["certificates"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn the_older_bulk_claim_is_worked_off_in_the_background() {
    let town = Town::start().await;
    let devices: Vec<FakeDevice> = (1..=40).map(FakeDevice::new).collect();
    let mut csv: String = devices
        .iter()
        .map(|device| format!("\"{}\",\"a,b\"\n", device.claim_token()))
        .collect();
    csv += "\"nonsense\"\n";
    let taken = post(&town, &town.key, "/v1/claimed-devices/bulk", &csv).await;
    let upload = finished(&town, &town.key, &taken).await;
    assert_eq!(
        (&upload["status"], &upload["failedRows"]),
        (&json!("FAILED"), &json!("1"))
    );
    assert_eq!(town.device_count().await, 40);
    let said = errors(&town, &upload).await.json();
    assert!(
        said["errors"][0]
            .as_str()
            .unwrap()
            .starts_with("[40]: not a claim token"),
        "{said}"
    );
}

/// A second team with a key of its owner.
async fn team(town: &Town, name: &str) -> (String, String) {
    let made = town
        .owner("POST", "/v1/teams", Some(&json!({ "name": name })))
        .await;
    assert_eq!(made.status, 201, "{}", made.json());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let key = json!({ "name": "first", "role": "owner", "team": name });
    let key = town.owner("POST", "/v1/keys", Some(&key)).await;
    assert_eq!(key.status, 201, "{}", key.json());
    let key = key.json()["key"].as_str().unwrap().to_owned();
    town.log.forbid(&key);
    (id, key)
}

#[tokio::test]
async fn a_team_made_while_the_broker_runs_has_its_own_ca_and_topics() {
    let mut town = Town::with_policy(Policy::FirstClaim).await;
    let (id, key) = team(&town, "acme").await;
    let mut device = FakeDevice::new(1);
    let headers = format!("Authorization: Bearer {key}\r\n");
    let claim = json!({ "claimToken": device.claim_token() }).to_string();
    let claimed = town
        .owner_raw("POST", "/v1/claimed-devices", &headers, &claim)
        .await;
    assert_eq!(claimed.status, 201, "{}", claimed.json());
    let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
    for request in [
        json!({"certificateSigningRequest": {"secTag": 42, "attributes": "", "keyUsage": "101010000", "issue": true}}),
        json!({"finished": {}}),
    ] {
        let body = json!({ "request": request }).to_string();
        let made = town.owner_raw("POST", &path, &headers, &body).await;
        assert_eq!(made.status, 201, "{}", made.json());
    }
    town.provision(&mut device).await;
    let papers = Papers {
        certificate: device.stored[&(42, 1)].clone(),
        key: device.keys[&42].clone(),
    };
    let der = &sectag_pki::pem::certificates(&papers.certificate).unwrap()[0];
    let issuer = sectag_pki::show(der).unwrap().issuer;
    assert!(issuer.ends_with(&id), "{issuer}");
    for _ in 0..2 {
        // The listener looks at its files twice a second.
        let session = async {
            loop {
                match connect(&town, &papers).await {
                    Ok(session) => return session,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let (client, _messages) = tokio::time::timeout(PATIENCE, session).await.unwrap();
        assert!(may_use(&client, &format!("acme/{}/x", device.id)).await);
        assert!(!may_use(&client, &format!("{}/x", device.id)).await);
        assert!(!may_use(&client, "acme/x").await);
        town.down().await;
        town.up().await;
    }
    // Its operator reads its topics, and nothing else; the home's reads everything.
    let operator = |name: &str| {
        let file = |end: &str| {
            let path = format!("home/operator/{name}.{end}");
            std::fs::read_to_string(town.dir.path().join(path)).unwrap()
        };
        Papers {
            certificate: file("crt"),
            key: file("key"),
        }
    };
    let (client, _messages) = connect(&town, &operator(&id)).await.unwrap();
    assert!(client.subscribe("acme/#", Qos::AtLeastOnce).await.is_ok());
    assert!(client.subscribe("#", Qos::AtLeastOnce).await.is_err());
    let (client, _messages) = connect(&town, &operator("operator")).await.unwrap();
    assert!(client.subscribe("#", Qos::AtLeastOnce).await.is_ok());
    // A registered id of the home may not be the first level of the team's topics.
    let ca = Elsewhere::new(&town);
    let csv = row("acme", &ca.sign(&town, "acme"));
    let taken = post(&town, &town.key, "/v1/devices", &csv).await;
    assert_eq!(finished(&town, &town.key, &taken).await["status"], "FAILED");
    // Nor can the team register what the home has.
    let papers = ca.sign(&town, "dev-1");
    let taken = post(&town, &town.key, "/v1/devices", &row("dev-1", &papers)).await;
    assert_eq!(
        finished(&town, &town.key, &taken).await["status"],
        "SUCCEEDED"
    );
    let taken = post(&town, &key, "/v1/devices", &row("dev-1", &papers)).await;
    let upload = finished(&town, &key, &taken).await;
    assert_eq!(upload["status"], "FAILED");
    assert_eq!(get(&town, "dev-1").await.status, 200);
    let other = town
        .owner_raw("GET", "/v1/devices/dev-1", &headers, "")
        .await;
    assert_eq!(other.status, 404);
    let theirs = format!(
        "/v1/bulk-ops-requests/{}",
        upload["bulkOpsRequestId"].as_str().unwrap()
    );
    assert_eq!(town.owner("GET", &theirs, None).await.status, 404);
    // Its own registered devices are below its prefix.
    let papers = ca.sign(&town, "dev-2");
    let taken = post(&town, &key, "/v1/devices", &row("dev-2", &papers)).await;
    assert_eq!(finished(&town, &key, &taken).await["status"], "SUCCEEDED");
    let (client, _messages) = connect(&town, &papers).await.unwrap();
    assert!(may_use(&client, "acme/dev-2/x").await);
    assert!(!may_use(&client, "dev-2/x").await);
}

#[tokio::test]
async fn a_team_cannot_register_what_the_home_s_own_ca_signed() {
    let town = Town::with_policy(Policy::FirstClaim).await;
    let (_, key) = team(&town, "acme").await;
    // As `sectag cert issue` makes it: signed here, and known to no database.
    let read = |name: &str| {
        let path = town.dir.path().join("home/ca").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let ca = Elsewhere(Authority::from_pem(&read("devices.crt"), &read("devices.key")).unwrap());
    let id = FakeDevice::new(1).id.to_string();
    for name in ["panel", id.as_str()] {
        let papers = ca.sign(&town, name);
        let taken = post(&town, &key, "/v1/devices", &row(name, &papers)).await;
        let upload = finished(&town, &key, &taken).await;
        let said = errors(&town, &upload).await.json();
        let said = said["errors"][0].as_str().unwrap();
        assert!(said.contains("belongs to another device"), "{said}");
        let (client, _messages) = connect(&town, &papers).await.unwrap();
        assert!(may_use(&client, &format!("{name}/x")).await);
    }
}

#[tokio::test]
async fn a_device_is_registered_without_a_claim_until_another_team_claims_it() {
    let town = Town::with_policy(Policy::FirstClaim).await;
    let (_, key) = team(&town, "acme").await;
    let ca = Elsewhere::new(&town);
    let device = FakeDevice::new(1);
    let id = device.id.to_string();
    let (ours, theirs) = (ca.sign(&town, &id), ca.sign(&town, &id));
    // As the vendor's older tool does it: a row, and nothing before.
    for (key, papers) in [(&town.key, &ours), (&key, &theirs)] {
        let taken = post(&town, key, "/v1/devices", &row(&id, papers)).await;
        assert_eq!(finished(&town, key, &taken).await["status"], "SUCCEEDED");
    }
    assert_eq!(get(&town, &id).await.json()["id"], id.as_str());
    let (session, _messages) = connect(&town, &ours).await.unwrap();
    assert!(may_use(&session, &format!("{id}/x")).await);
    let (client, _messages) = connect(&town, &theirs).await.unwrap();
    assert!(may_use(&client, &format!("acme/{id}/x")).await);
    assert!(!may_use(&client, &format!("{id}/x")).await);
    // A claim is proof.
    let headers = format!("Authorization: Bearer {key}\r\n");
    let claim = json!({ "claimToken": device.claim_token() }).to_string();
    let claimed = town
        .owner_raw("POST", "/v1/claimed-devices", &headers, &claim)
        .await;
    assert_eq!(claimed.status, 201, "{}", claimed.json());
    tokio::time::timeout(PATIENCE, session.closed())
        .await
        .unwrap();
    assert!(connect(&town, &ours).await.is_err());
    assert_eq!(get(&town, &id).await.status, 404);
    assert!(may_use(&client, &format!("acme/{id}/x")).await);
    let again = row(&id, &ca.sign(&town, &id));
    let taken = post(&town, &town.key, "/v1/devices", &again).await;
    let upload = finished(&town, &town.key, &taken).await;
    let said = errors(&town, &upload).await.json();
    let said = said["errors"][0].as_str().unwrap();
    assert!(said.starts_with("[0]: this id cannot"), "{said}");
}

#[tokio::test]
async fn an_upload_stops_when_its_key_is_revoked() {
    let town = Town::start().await;
    let ca = Elsewhere::new(&town);
    let made = json!({ "name": "script", "role": "editor" });
    let made = town.owner("POST", "/v1/keys", Some(&made)).await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    town.log.forbid(&key);
    let csv = row("dev-1", &ca.sign(&town, "dev-1")).repeat(1000);
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(post(&town, &key, "/v1/devices", &csv).await);
    }
    let revoked = town.owner("DELETE", "/v1/keys/script", None).await;
    assert_eq!(revoked.status, 204);
    let last = finished(&town, &town.key, &taken[3]).await;
    assert_eq!(last["status"], "FAILED", "{last}");
    let said = errors(&town, &last).await.json();
    let said = said["errors"].as_array().unwrap();
    let of_last = said.last().unwrap().as_str().unwrap();
    assert!(
        of_last.starts_with("[999]: not worked on: the API key `script`"),
        "{of_last}"
    );
    assert_eq!(last["failedRows"], said.len().to_string());
}

#[tokio::test]
async fn a_row_that_cannot_be_worked_on_is_in_nobody_s_way() {
    let mut town = Town::start().await;
    let ca = Elsewhere::new(&town);
    let device = FakeDevice::new(1);
    let id = device.id.to_string();
    town.claim(&device).await;
    town.down().await;
    let database = town.dir.path().join("home/sectag.db");
    let db = rusqlite::Connection::open(&database).unwrap();
    let damaged = db.execute("UPDATE devices SET tags = '['", []).unwrap();
    assert_eq!(damaged, 1);
    drop(db);
    town.up().await;
    let mut csv = String::new();
    for id in ["dev-0", &id, "dev-2"] {
        csv += &row(id, &ca.sign(&town, id));
    }
    let tokens = format!("\"{}\"\n\"nonsense\"\n", device.claim_token());
    let claimed = post(&town, &town.key, "/v1/claimed-devices", &tokens).await;
    assert_eq!(claimed.status, 200, "{}", claimed.json());
    assert_eq!(claimed.json()["failed"].as_array().unwrap().len(), 2);
    for (path, csv, failed) in [
        ("/v1/devices", csv, 1),
        ("/v1/claimed-devices/bulk", tokens, 2),
    ] {
        let taken = post(&town, &town.key, path, &csv).await;
        let upload = finished(&town, &town.key, &taken).await;
        let said = errors(&town, &upload).await.json();
        let said = said["errors"].as_array().unwrap();
        assert_eq!(said.len(), failed, "{said:?}");
        assert!(
            said.iter()
                .any(|said| said.as_str().unwrap().contains("cannot work on it")),
            "{said:?}"
        );
    }
    assert_eq!(get(&town, "dev-2").await.status, 200);
}
