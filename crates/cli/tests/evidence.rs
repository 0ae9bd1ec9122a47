//! Events, alarms and webhooks from the command line.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use support::Home;

/// Answers every request with this status, for ever.
fn receiver(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 65536];
            let _ = stream.read(&mut bytes);
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

fn token(home: &Home, name: &str) -> String {
    let made = home.json(&["device", "token", "--name", name]);
    made["claimToken"].as_str().unwrap().to_owned()
}

#[test]
fn events_are_followed_and_end_where_asked() {
    let home = Home::new();
    let _up = home.up(&[]);
    home.sectag(&["claim", &token(&home, "one")]).expect_code(0);
    let said = home
        .sectag(&["events", "--after", "0", "--kind", "claim", "--count", "1"])
        .expect_code(0);
    let line = said.stdout.lines().next().unwrap();
    assert!(
        line.contains("  claim        ") && line.ends_with("claim by owner"),
        "{line}"
    );
    let data = home
        .sectag(&["events", "--after", "0", "--count", "2", "--json"])
        .expect_code(0);
    let events: Vec<Value> = data
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(
        events[1]["number"].as_u64(),
        events[0]["number"].as_u64().map(|n| n + 1)
    );
    let wrong = home.sectag(&["events", "--kind", "zebra"]).expect_code(2);
    assert!(
        wrong
            .stderr
            .contains("[possible values: claim, device, command,"),
        "{wrong:?}"
    );
    let unknown = home
        .sectag(&["events", "--device", "nobody"])
        .expect_code(1);
    assert!(
        unknown.stderr.contains("no claimed device `nobody`"),
        "{unknown:?}"
    );
}

#[test]
fn an_alarm_is_listed_until_somebody_looked() {
    let home = Home::new();
    let _up = home.up(&[]);
    let none = home.sectag(&["alarms"]).expect_code(0);
    assert!(none.stderr.starts_with("no alarm is open"), "{none:?}");
    home.sectag(&["claim", &token(&home, "one")]).expect_code(0);
    // The same device with another key: its modem was replaced, or somebody pretends.
    let uuid = home.json(&["device", "uuid", "--name", "one"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = twin(&uuid);
    home.sectag(&["claim", &other]).expect_code(1);
    let listed = home.sectag(&["alarms"]).expect_code(0);
    assert!(
        listed.stdout.contains("key-alarm") && listed.stdout.contains(&uuid),
        "{listed:?}"
    );
    let number = home.json(&["alarms"])["items"][0]["number"].to_string();
    let acknowledged = home.sectag(&["alarms", "ack", &number]).expect_code(0);
    assert_eq!(
        acknowledged.stderr,
        format!("alarm {number} acknowledged\n")
    );
    let again = home.sectag(&["alarms", "ack", &number]).expect_code(1);
    assert!(
        again.stderr.contains("was acknowledged before, by `owner`"),
        "{again:?}"
    );
    home.sectag(&["alarms"]).expect_code(0);
    assert_eq!(home.json(&["alarms"])["items"].as_array().unwrap().len(), 0);
    assert_eq!(
        home.json(&["alarms", "--all"])["items"][0]["acknowledgedBy"],
        "owner"
    );
    let unknown = home.sectag(&["alarms", "ack", "9999"]).expect_code(1);
    assert!(unknown.stderr.contains("no alarm `9999`"), "{unknown:?}");
}

/// A claim token of another identity under the same UUID.
fn twin(uuid: &str) -> String {
    use sectag_proto::cose::Convention;
    use sectag_proto::es256::{PublicKey, SignEs256, Signature};
    use sectag_proto::token::{AttestationToken, DeviceType};
    struct Key(sectag_pki::PrivateKey);
    impl SignEs256 for Key {
        fn sign(&self, message: &[u8]) -> Signature {
            Signature(self.0.sign(message).unwrap())
        }
        fn public_key(&self) -> PublicKey {
            PublicKey::from_spki_der(&self.0.spki_der()).unwrap()
        }
    }
    let key = Key(sectag_pki::PrivateKey::generate().unwrap());
    let firmware = sectag_proto::FirmwareId::from_bytes([7; 16]);
    let device = uuid.parse().unwrap();
    AttestationToken::sign(
        device,
        DeviceType::NRF9151_LACA,
        firmware,
        [9; 16],
        Convention::BodyIsAad,
        &key,
    )
    .text()
}

#[test]
fn a_webhook_is_made_tried_paused_and_removed() {
    let home = Home::new();
    let _up = home.up(&[]);
    let none = home.sectag(&["webhooks"]).expect_code(0);
    assert!(none.stderr.contains("`sectag webhooks add"), "{none:?}");
    let made = home
        .sectag(&[
            "webhooks",
            "add",
            &receiver("204 No Content"),
            "--kind",
            "alarm",
        ])
        .expect_code(0);
    let field = |name: &str| {
        let line = made.stdout.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let id = field("id");
    assert!(field("secret").starts_with("whsec_"));
    assert!(made.stderr.contains("shown this once"), "{made:?}");
    let tried = home.sectag(&["webhooks", "test", &id]).expect_code(0);
    assert!(
        tried.stderr.starts_with("taken with status 204"),
        "{tried:?}"
    );
    let paused = home.sectag(&["webhooks", "pause", &id]).expect_code(0);
    assert_eq!(paused.stderr, "it is paused\n");
    assert_eq!(
        home.json(&["webhooks", "list"])["items"][0]["state"],
        "paused"
    );
    home.sectag(&["webhooks", "resume", &id]).expect_code(0);
    let listed = home.sectag(&["webhooks"]).expect_code(0);
    assert!(
        !listed.stdout.contains("whsec_") && listed.stdout.contains("healthy"),
        "{listed:?}"
    );
    home.sectag(&["webhooks", "remove", &id]).expect_code(0);
    let gone = home.sectag(&["webhooks", "test", &id]).expect_code(1);
    assert!(gone.stderr.contains("no webhook"), "{gone:?}");
    // A secret of the receiver's own, and one that says no.
    let file = home.beside("secret");
    std::fs::write(&file, "a-secret-of-their-own\n").unwrap();
    let made = home
        .sectag(&[
            "webhooks",
            "add",
            &receiver("500 X"),
            "--secret-file",
            file.to_str().unwrap(),
        ])
        .expect_code(0);
    assert!(!made.stdout.contains("secret"), "{made:?}");
    let id = made
        .stdout
        .trim()
        .strip_prefix("id")
        .unwrap()
        .trim()
        .to_owned();
    let tried = home.sectag(&["webhooks", "test", &id]).expect_code(1);
    assert!(
        tried.stderr.contains("not taken: answered 500"),
        "{tried:?}"
    );
    let never = home
        .sectag(&["webhooks", "add", "http://169.254.169.254/"])
        .expect_code(1);
    assert!(
        never.stderr.contains("which no webhook is sent to"),
        "{never:?}"
    );
}
