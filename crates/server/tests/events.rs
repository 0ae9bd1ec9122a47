//! Following what happens: nothing is missed, nobody sees what is not his, and nobody holds the service up.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use std::time::Duration;
use support::Town;
use support::device::FakeDevice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One stream at the loopback door.
struct Follower {
    socket: TcpStream,
    text: String,
}

#[derive(Debug, Clone)]
struct Told {
    id: u64,
    event: String,
    data: Value,
}

impl Follower {
    async fn new(town: &Town, key: &str, query: &str, headers: &str) -> Self {
        let address = town.service().addresses().loopback;
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /v1/events{query} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {key}\r\n{headers}\r\n",
            address.port()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut follower = Self {
            socket,
            text: String::new(),
        };
        follower.read_until("\r\n\r\n").await;
        follower
    }

    async fn of(town: &Town, query: &str) -> Self {
        let mut follower = Self::new(town, &town.key.clone(), query, "").await;
        assert!(
            follower.text.starts_with("HTTP/1.1 200"),
            "{}",
            follower.text
        );
        assert!(follower.text.contains("text/event-stream"));
        // The stream has begun, so what happens from here on is told.
        follower.read_until("retry: ").await;
        follower
    }

    async fn read_until(&mut self, mark: &str) {
        while !self.text.contains(mark) {
            assert!(self.read().await, "ended before {mark:?}: {}", self.text);
        }
    }

    /// `false` at the end.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut bytes))
            .await
            .unwrap_or_else(|_| panic!("nothing comes: {}", self.text));
        let read = read.unwrap_or(0);
        self.text
            .push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        read > 0
    }

    /// What was told so far; the lengths of the pieces are left out.
    fn told(&self) -> Vec<Told> {
        let mut told = Vec::new();
        for block in self.text.replace("\r\n", "\n").split("\n\n") {
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::to_owned)
            };
            if let (Some(event), Some(id), Some(data)) =
                (field("event: "), field("id: "), field("data: "))
                && let Ok(data) = serde_json::from_str(&data)
            {
                let id = id.parse().unwrap();
                told.push(Told { id, event, data });
            }
        }
        told
    }

    async fn until(&mut self, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        loop {
            let told = self.told();
            if enough(&told) {
                return told;
            }
            assert!(self.read().await, "ended: {}", self.text);
        }
    }
}

fn kinds(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| told.event.as_str()).collect()
}

#[tokio::test]
async fn a_devices_life_is_told_in_order_and_again_from_any_number() {
    let town = Town::start().await;
    let mut follower = Follower::of(&town, "").await;
    let mut device = FakeDevice::new(1);
    town.claim(&device).await;
    town.queue(&device, json!({"certificateSigningRequest": {"secTag": 1, "attributes": "", "keyUsage": "101010000", "issue": true}})).await;
    town.queue(&device, json!({"finished": {}})).await;
    town.provision(&mut device).await;
    let finished = |told: &[Told]| {
        told.iter()
            .any(|told| told.event == "result" && told.data["data"]["kind"] == "finished")
    };
    let told = follower.until(finished).await;
    for kind in [
        "claim",
        "command",
        "device",
        "fetch",
        "certificate",
        "result",
    ] {
        assert!(kinds(&told).contains(&kind), "{kind}: {told:#?}");
    }
    let numbers: Vec<u64> = told.iter().map(|told| told.id).collect();
    let first = numbers[0];
    let all: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert_eq!(numbers, all, "without gaps");
    let claim = &told[0];
    assert_eq!(
        (claim.event.as_str(), &claim.data["number"]),
        ("claim", &json!(claim.id))
    );
    assert_eq!(claim.data["deviceId"], device.id.to_string());
    assert_eq!(claim.data["data"]["action"], "claim");
    assert_eq!(claim.data["data"]["after"]["blocked"], false);
    let given = told.iter().find(|told| told.event == "fetch").unwrap();
    assert_eq!(
        given.data["data"]["commands"][0]["kind"],
        "certificateSigningRequest"
    );

    // Another one comes later, and hears the same from where it says; by the browser's header as well.
    let upto = told.last().unwrap().id;
    let mut later = Follower::of(&town, &format!("?after={first}")).await;
    let again = later
        .until(|told| told.last().is_some_and(|last| last.id == upto))
        .await;
    assert_eq!(again[0].id, first + 1);
    let last = format!("Last-Event-ID: {}\r\n", upto - 1);
    let mut browser = Follower::new(&town, &town.key.clone(), "?after=0", &last).await;
    let again = browser.until(|told| !told.is_empty()).await;
    assert_eq!(again[0].id, upto);
    // A restart changes nothing about it.
    let mut town = town;
    town.down().await;
    town.up().await;
    let mut follower = Follower::of(&town, &format!("?after={}", upto - 2)).await;
    let again = follower.until(|told| told.len() >= 2).await;
    assert_eq!(again[0].id, upto - 1);
}

#[tokio::test]
async fn a_filter_leaves_out_and_an_idle_fetch_tells_nothing() {
    let town = Town::start().await;
    let (one, two) = (FakeDevice::new(1), FakeDevice::new(2));
    town.claim(&one).await;
    let mut of_two = Follower::of(&town, "?after=0&kind=command,claim").await;
    town.claim(&two).await;
    let path = format!("?after=0&device={}", one.id);
    let mut of_one = Follower::of(&town, &path).await;
    assert_eq!(town.fetch(&one, "").await.status, 204);
    let newest = || *town.service().app().store().newest_event().borrow();
    let before = newest();
    for _ in 0..3 {
        assert_eq!(town.fetch(&one, "").await.status, 204);
    }
    assert_eq!(newest(), before, "nothing was delivered");
    town.queue(&two, json!({"finished": {}})).await;
    town.queue(&one, json!({"finished": {}})).await;
    let told = of_two.until(|told| told.len() == 4).await;
    assert_eq!(kinds(&told), ["claim", "claim", "command", "command"]);
    let told = of_one
        .until(|told| told.iter().any(|t| t.event == "command"))
        .await;
    assert!(
        told.iter()
            .all(|t| t.data["deviceId"] == one.id.to_string()),
        "{told:#?}"
    );
    for (query, header, status, words) in [
        ("?kind=zebra", "", "400", "`kind`"),
        ("?after=x", "", "400", "`after`"),
        ("", "Last-Event-ID: x\r\n", "400", "`Last-Event-ID`"),
        ("?device=x", "", "404", "claimed device"),
    ] {
        let mut follower = Follower::new(&town, &town.key.clone(), query, header).await;
        follower.read_until(words).await;
        let status = format!("HTTP/1.1 {status}");
        assert!(follower.text.starts_with(&status), "{}", follower.text);
    }
}

#[tokio::test]
async fn what_was_dropped_is_said() {
    let mut town = Town::start().await;
    // Nothing is dropped yet: a number of long ago is answered from the first event on.
    let mut follower = Follower::of(&town, "?after=0").await;
    let told = follower.until(|told| !told.is_empty()).await;
    assert_eq!(told[0].id, 1);
    town.claim(&FakeDevice::new(1)).await;
    town.claim(&FakeDevice::new(2)).await;
    let newest = town.drop_events().await;
    let mut follower = Follower::of(&town, "?after=0").await;
    let told = follower.until(|told| told.len() >= 2).await;
    assert_eq!((told[0].event.as_str(), told[0].id), ("lost", newest - 1));
    assert_eq!(told[0].data, json!({"from": 1, "to": newest - 1}));
    assert_eq!((told[1].event.as_str(), told[1].id), ("claim", newest));
}

#[tokio::test]
async fn what_has_not_happened_cannot_be_skipped() {
    let town = Town::start().await;
    let mut follower = Follower::of(&town, "?after=999999").await;
    town.claim(&FakeDevice::new(1)).await;
    let told = follower.until(|told| !told.is_empty()).await;
    assert_eq!(told[0].event, "claim");
}

#[tokio::test]
async fn a_stream_ends_with_the_service() {
    let mut town = Town::start().await;
    let mut follower = Follower::of(&town, "").await;
    town.down().await;
    while follower.read().await {}
    // The piece of length zero is the orderly end.
    assert!(follower.text.ends_with("0\r\n\r\n"), "{:?}", follower.text);
    town.up().await;
}

#[tokio::test]
async fn a_revoked_key_hears_no_more_however_much_happens() {
    let town = Town::start().await;
    let body = json!({"name": "leaver", "role": "viewer"});
    let reply = town.owner("POST", "/v1/keys", Some(&body)).await;
    let key = reply.json()["key"].as_str().unwrap().to_owned();
    town.log.forbid(&key);
    let mut follower = Follower::new(&town, &key, "", "").await;
    follower.read_until("retry: ").await;
    let revoked = town.owner("DELETE", "/v1/keys/leaver", None).await;
    assert_eq!(revoked.status, 204);
    // Something happens all the time, so the stream is never idle. A key is looked at again every 15 s.
    let ends =
        async { while !follower.text.ends_with("\r\n0\r\n\r\n") && follower.read().await {} };
    let happens = async {
        for n in 1..120 {
            town.claim(&FakeDevice::new(n)).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::select! {
        () = ends => {}
        () = happens => panic!("still told after half a minute"),
    }
}

#[tokio::test]
async fn there_are_not_more_streams_than_there_may_be() {
    let town = Town::start().await;
    let mut followers = Vec::new();
    for _ in 0..32 {
        followers.push(Follower::of(&town, "").await);
    }
    let refused = Follower::new(&town, &town.key.clone(), "", "").await;
    assert!(refused.text.starts_with("HTTP/1.1 429"), "{}", refused.text);
    let said = &refused.text;
    assert!(
        said.to_ascii_lowercase().contains("retry-after: "),
        "{said}"
    );
    drop(followers);
    // Their places are free as soon as the service notices.
    loop {
        let follower = Follower::new(&town, &town.key.clone(), "", "").await;
        if follower.text.starts_with("HTTP/1.1 200") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_key_hears_of_devices_that_it_sees() {
    let town = Town::start().await;
    let key = |body: Value| {
        let town = &town;
        async move {
            let reply = town.owner("POST", "/v1/keys", Some(&body)).await;
            assert_eq!(reply.status, 201);
            let key = reply.json()["key"].as_str().unwrap().to_owned();
            town.log.forbid(&key);
            key
        }
    };
    let limited = key(json!({"name": "limited", "role": "admin", "tags": ["roof"]})).await;
    let viewer = key(json!({"name": "viewer", "role": "viewer"})).await;
    let editor = key(json!({"name": "editor", "role": "editor"})).await;
    let claim = async |device: &FakeDevice, key: &str, tags: &[&str]| {
        let body = json!({"claimToken": device.claim_token(), "tags": tags}).to_string();
        let headers = format!("Authorization: Bearer {key}\r\n");
        let reply = town
            .owner_raw("POST", "/v1/claimed-devices", &headers, &body)
            .await;
        assert_eq!(reply.status, 201);
    };
    let mut scoped = Follower::new(&town, &limited, "?after=0", "").await;
    let mut viewing = Follower::new(&town, &viewer, "?after=0", "").await;
    let (hidden, roof, open) = (FakeDevice::new(1), FakeDevice::new(2), FakeDevice::new(3));
    claim(&hidden, &town.key, &[]).await;
    claim(&roof, &town.key, &["roof"]).await;
    claim(&open, &editor, &[]).await;
    let told = scoped.until(|told| !told.is_empty()).await;
    assert!(
        told.iter()
            .all(|t| t.data["deviceId"] == roof.id.to_string()),
        "{told:#?}"
    );
    let told = viewing.until(|told| !told.is_empty()).await;
    assert!(
        told.iter()
            .all(|t| t.data["deviceId"] == open.id.to_string()),
        "{told:#?}"
    );
}
