//! What an owner does is felt at the broker at once: block, unclaim, revoke end live sessions and keep the device out, and
//! nobody else notices.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_mqtt::client::tls_config;
use sectag_mqtt::{
    Client, ClientCertificate, ClientError, ConnectOptions, Gate as _, Incoming, Qos, Transport,
    Verdict, Version,
};
use sectag_pki::RevocationList;
use sectag_proto::DeviceId;
use serde_json::json;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::Town;
use support::device::FakeDevice;
use tokio::sync::mpsc::Receiver;

const TAG: u32 = 42;
/// Longest wait for anything that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

type Session = (Client, Receiver<Incoming>);

/// A claimed device with key and certificate at [`TAG`].
async fn provisioned(town: &Town, n: u8) -> FakeDevice {
    let mut device = FakeDevice::new(n);
    assert_eq!(town.claim(&device).await.status, 201);
    let csr = json!({"certificateSigningRequest": {"secTag": TAG, "attributes": "", "keyUsage": "101010000", "issue": true}});
    town.queue(&device, csr).await;
    town.queue(&device, json!({"finished": {}})).await;
    town.provision(&mut device).await;
    device
}

async fn connect(town: &Town, device: &FakeDevice) -> Result<Session, ClientError> {
    connect_as(town, device, "c").await
}

async fn connect_as(town: &Town, device: &FakeDevice, id: &str) -> Result<Session, ClientError> {
    let papers = (
        device.stored[&(TAG, 1)].as_str(),
        device.keys[&TAG].as_str(),
    );
    dial(town, papers, id).await
}

async fn dial(town: &Town, papers: (&str, &str), id: &str) -> Result<Session, ClientError> {
    let tls = tls_config(&town.root, Some(papers)).unwrap();
    let port = town.service().addresses().mqtt.port();
    let options = ConnectOptions {
        version: Version::V5,
        timeout: PATIENCE,
        ..ConnectOptions::new(id)
    };
    Client::connect("127.0.0.1", port, Transport::tls("localhost", tls), options).await
}

async fn talks(session: &mut Session, device: DeviceId) {
    let topic = format!("{device}/x");
    let (client, messages) = session;
    client.subscribe(&topic, Qos::AtLeastOnce).await.unwrap();
    client
        .publish(&topic, "here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    let heard = tokio::time::timeout(PATIENCE, messages.recv()).await;
    assert_eq!(heard.unwrap().unwrap().topic, topic);
}

async fn ended(session: Session) -> String {
    let ended = tokio::time::timeout(PATIENCE, session.0.closed()).await;
    ended.expect("the session ends").to_string()
}

fn refused(answer: Result<Session, ClientError>) -> String {
    match answer {
        Err(e @ ClientError::CertificateRefused { .. }) => e.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("let in"),
    }
}

async fn block(town: &Town, device: &FakeDevice, blocked: bool) {
    let path = format!("/v1/claimed-devices/{}", device.id);
    let reply = town
        .owner("PATCH", &path, Some(&json!({ "blocked": blocked })))
        .await;
    assert_eq!(reply.status, 200);
}

/// Serial numbers in a revocation list of the home, as soon as `wanted` are in it.
async fn listed(path: &Path, wanted: usize) -> Vec<String> {
    let read = || {
        let text = std::fs::read_to_string(path).ok()?;
        let der = sectag_pki::pem::decode("X509 CRL", &text)?;
        let list = RevocationList::from_der(&der).unwrap();
        Some(
            list.revoked
                .into_iter()
                .map(|(serial, _)| serial)
                .collect::<Vec<_>>(),
        )
    };
    let looks = async {
        loop {
            match read() {
                Some(found) if found.len() == wanted => return found,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.expect("a list")
}

#[tokio::test]
async fn a_blocked_device_is_out_until_it_is_unblocked_and_others_stay() {
    let mut town = Town::start().await;
    let (bad, good) = (provisioned(&town, 1).await, provisioned(&town, 2).await);
    let goes = connect(&town, &bad).await.unwrap();
    let mut stays = connect(&town, &good).await.unwrap();
    block(&town, &bad, true).await;
    assert!(ended(goes).await.contains("not authorized"));
    let said = refused(connect(&town, &bad).await);
    assert!(said.contains("denied"), "{said}");
    talks(&mut stays, good.id).await;
    // After a restart the same holds.
    drop(stays);
    town.down().await;
    town.up().await;
    refused(connect(&town, &bad).await);
    talks(&mut connect(&town, &good).await.unwrap(), good.id).await;
    block(&town, &bad, false).await;
    talks(&mut connect(&town, &bad).await.unwrap(), bad.id).await;
}

#[tokio::test]
async fn an_unclaimed_devices_certificates_never_work_again() {
    let mut town = Town::start().await;
    let mut device = provisioned(&town, 1).await;
    let session = connect(&town, &device).await.unwrap();
    let (old, key) = (device.stored[&(TAG, 1)].clone(), device.keys[&TAG].clone());
    let path = format!("/v1/claimed-devices/{}", device.id);
    assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
    assert!(ended(session).await.contains("not authorized"));
    let said = refused(dial(&town, (&old, &key), "c").await);
    assert!(said.contains("revoked"), "{said}");
    // Claimed again, it needs a new one.
    town.claim(&device).await;
    refused(dial(&town, (&old, &key), "c").await);
    let csr = json!({"certificateSigningRequest": {"secTag": TAG, "attributes": "", "keyUsage": "101010000", "issue": true}});
    town.queue(&device, csr).await;
    town.provision(&mut device).await;
    talks(&mut connect(&town, &device).await.unwrap(), device.id).await;
    // Other brokers read it from a file.
    let list = town.dir.path().join("home/ca/devices.crl");
    let serial = sectag_pki::Certificate::from_pem(&old).unwrap().serial_hex;
    assert_eq!(listed(&list, 1).await, [serial]);
    town.down().await;
    town.up().await;
    refused(dial(&town, (&old, &key), "c").await);
    talks(&mut connect(&town, &device).await.unwrap(), device.id).await;
}

#[tokio::test]
async fn one_certificate_of_a_device_is_revoked() {
    let town = Town::start().await;
    let device = provisioned(&town, 1).await;
    let session = connect(&town, &device).await.unwrap();
    let found = sectag_pki::Certificate::from_pem(&device.stored[&(TAG, 1)]).unwrap();
    let path = |serial: &str| {
        format!(
            "/v1/claimed-devices/{}/certificates/{serial}/revoke",
            device.id
        )
    };
    let revoke = async |serial: &str| town.owner("POST", &path(serial), None).await.status;
    assert_eq!(revoke("0badcafe").await, 404);
    assert_eq!(revoke("nonsense").await, 404);
    assert_eq!(revoke(&found.serial_hex.to_uppercase()).await, 204);
    assert_eq!(revoke(&found.serial_hex).await, 204, "twice is once");
    assert!(ended(session).await.contains("not authorized"));
    assert!(refused(connect(&town, &device).await).contains("revoked"));
    let told = town.audit(device.id).await;
    let revoked = told
        .iter()
        .filter(|(action, _)| action == "certificate-revoked");
    assert_eq!(revoked.count(), 1, "{told:?}");
}

#[tokio::test]
async fn whoever_asked_for_a_block_and_went_away_blocked_all_the_same() {
    let town = Town::start().await;
    let device = provisioned(&town, 1).await;
    let session = connect(&town, &device).await.unwrap();
    let patch = sectag_store::DevicePatch {
        blocked: Some(true),
        ..Default::default()
    };
    let store = town.service().app().store().clone();
    let known = store.device(device.id).await.unwrap().unwrap();
    // Straight into the store: nobody waits for the broker, nobody tells it.
    store
        .change_device(device.id, known.version, patch, "owner", town.now())
        .await
        .unwrap();
    ended(session).await;
    refused(connect(&town, &device).await);
}

#[tokio::test]
async fn a_certificate_in_two_places_is_an_alarm() {
    let town = Town::start().await;
    let device = provisioned(&town, 1).await;
    let mut here = connect(&town, &device).await.unwrap();
    for _ in 0..4 {
        let there = connect(&town, &device).await.unwrap();
        let said = ended(std::mem::replace(&mut here, there)).await;
        assert!(said.contains("taken over"), "{said}");
    }
    let alarms = async {
        loop {
            let told = town.audit(device.id).await;
            let alarms: Vec<_> = told
                .into_iter()
                .filter(|(action, _)| action == "clone-alarm")
                .collect();
            if !alarms.is_empty() {
                return alarms;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let alarms = tokio::time::timeout(PATIENCE, alarms).await.unwrap();
    assert!(alarms[0].1.contains("in two places"), "{alarms:?}");
    talks(&mut here, device.id).await;
}

#[tokio::test]
async fn all_sessions_of_a_device_end() {
    let town = Town::start().await;
    let (bad, good) = (provisioned(&town, 1).await, provisioned(&town, 2).await);
    let mut gone = Vec::new();
    for n in 0..8 {
        gone.push(connect_as(&town, &bad, &format!("c{n}")).await.unwrap());
    }
    let mut stays = connect(&town, &good).await.unwrap();
    block(&town, &bad, true).await;
    for session in gone {
        ended(session).await;
    }
    talks(&mut stays, good.id).await;
}

#[tokio::test]
async fn openssl_takes_the_revocation_list() {
    let found = std::process::Command::new("openssl")
        .arg("version")
        .output();
    if found.is_err() {
        assert!(
            std::env::var("SECTAG_PEERS").as_deref() != Ok("require"),
            "openssl is not installed and SECTAG_PEERS=require"
        );
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let town = Town::start().await;
    let device = provisioned(&town, 1).await;
    let ca = town.dir.path().join("home/ca");
    listed(&ca.join("devices.crl"), 0).await;
    let papers = town.dir.path().join("device.crt");
    std::fs::write(&papers, &device.stored[&(TAG, 1)]).unwrap();
    let verify = || {
        let output = std::process::Command::new("openssl")
            .args(["verify", "-crl_check", "-partial_chain", "-CAfile"])
            .arg(ca.join("devices.crt"))
            .arg("-CRLfile")
            .arg(ca.join("devices.crl"))
            .arg(&papers)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (good, said) = verify();
    assert!(good, "{said}");
    let path = format!("/v1/claimed-devices/{}", device.id);
    town.owner("DELETE", &path, None).await;
    listed(&ca.join("devices.crl"), 1).await;
    let (good, said) = verify();
    assert!(!good && said.contains("certificate revoked"), "{said}");
}

#[tokio::test]
async fn a_calendar_that_was_ahead_at_the_start_lets_no_revoked_certificate_in() {
    let mut town = Town::start().await;
    let device = provisioned(&town, 1).await;
    let ders = sectag_pki::pem::certificates(&device.stored[&(TAG, 1)]).unwrap();
    let certificate = ClientCertificate::read(&ders[0]).unwrap();
    let path = format!(
        "/v1/claimed-devices/{}/certificates/{}/revoke",
        device.id, certificate.serial
    );
    assert_eq!(town.owner("POST", &path, None).await.status, 204);
    town.down().await;
    let ahead = Duration::from_secs(5 * 365 * 86_400);
    let right = town.now();
    town.wait(ahead);
    town.up().await;
    let keeper = town.service().app().doorkeeper().clone();
    assert_eq!(keeper.counts().1, 0, "by that calendar it has ended");
    town.clock.store(right.0, Ordering::Relaxed);
    let refused = async {
        while keeper.admit(&certificate) != Verdict::Revoked {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
}

#[tokio::test]
async fn a_start_has_written_its_lists_before_it_listens() {
    let mut town = Town::start().await;
    let list = town.dir.path().join("home/ca/devices.crl");
    assert!(list.exists());
    let made = town
        .owner("POST", "/v1/teams", Some(&json!({"name": "north"})))
        .await;
    let team = made.json()["id"].as_str().unwrap().to_owned();
    let other = town.dir.path().join(format!("home/ca/teams/{team}.crl"));
    town.down().await;
    for path in [&list, &other] {
        let _ = std::fs::remove_file(path);
    }
    town.up().await;
    assert!(list.exists() && other.exists());
}

#[tokio::test]
async fn the_list_of_certificates_says_which_are_revoked() {
    let town = Town::start().await;
    let mut device = provisioned(&town, 1).await;
    let csr = json!({"certificateSigningRequest": {"secTag": TAG, "attributes": "", "keyUsage": "101010000", "issue": true}});
    town.queue(&device, csr).await;
    town.provision(&mut device).await;
    let path = format!("/v1/claimed-devices/{}/certificates", device.id);
    let before = town.owner("GET", &path, None).await.json();
    let states = |page: &serde_json::Value| -> Vec<(String, bool)> {
        let items = page["items"].as_array().unwrap().iter();
        let state = |one: &serde_json::Value| one["state"].as_str().unwrap().to_owned();
        let said = items.map(|one| (state(one), one["revokedAt"].is_string()));
        said.collect()
    };
    let word = |state: &str, revoked| (state.to_owned(), revoked);
    assert_eq!(
        states(&before),
        [word("superseded", false), word("written", false)]
    );
    for one in before["items"].as_array().unwrap() {
        let revoke = format!("{path}/{}/revoke", one["serial"].as_str().unwrap());
        assert_eq!(town.owner("POST", &revoke, None).await.status, 204);
    }
    let after = town.owner("GET", &path, None).await.json();
    assert_eq!(
        states(&after),
        [word("superseded", true), word("revoked", true)]
    );
}

#[tokio::test]
async fn a_list_that_could_not_be_written_is_tried_again() {
    let town = Town::start().await;
    let device = provisioned(&town, 1).await;
    let found = sectag_pki::Certificate::from_pem(&device.stored[&(TAG, 1)]).unwrap();
    let ca = town.dir.path().join("home/ca");
    // In the way of the new list.
    let obstacle = ca.join(".devices.crl.tmp");
    std::fs::create_dir(&obstacle).unwrap();
    let path = format!(
        "/v1/claimed-devices/{}/certificates/{}/revoke",
        device.id, found.serial_hex
    );
    assert_eq!(town.owner("POST", &path, None).await.status, 204);
    let failed = async {
        let says = |line: &String| line.contains("a revocation list cannot be written");
        while !town.log.lines().iter().any(says) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.unwrap();
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(
        listed(&ca.join("devices.crl"), 1).await,
        [found.serial_hex.as_str()]
    );
}
