//! Two teams with keys and devices, and a maker of real things for whatever a path names.
#![allow(unreachable_pub)]

use crate::support::device::{FakeDevice, Key};
use crate::support::{Reply, Town, reply_of};
use sectag_pki::{Authority, Certificate, PrivateKey};
use sectag_proto::es256::Kid;
use sectag_server::owner_api::access::Row;
use sectag_store::{AuditEvent, Role};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the scoped keys are limited to.
pub const TAG: &str = "tagged";
/// In the name of everything that the home's own team makes.
pub const OURS: &str = "ours-";
const UNKNOWN: &str = "99999999-9999-4999-8999-999999999999";

/// Keys by role, weakest first.
pub struct Keys([String; 4]);

impl Keys {
    fn none() -> Self {
        Self(std::array::from_fn(|_| String::new()))
    }

    pub fn of(&self, role: Role) -> &str {
        &self.0[role as usize]
    }
}

/// Two teams with keys; devices of the home's own team: with the tag, without, and one that an admin claimed; and one of the
/// other team, with the tag.
pub struct Scene {
    pub town: Town,
    pub home: Keys,
    pub north: Keys,
    /// Viewer, editor, admin; an owner's key cannot be limited.
    pub scoped: Keys,
    pub tagged: FakeDevice,
    pub untagged: FakeDevice,
    pub reserved: FakeDevice,
    pub theirs: FakeDevice,
    /// Signs what is registered.
    ca: Authority,
    counter: Cell<u32>,
}

impl Scene {
    pub async fn open() -> Self {
        let town = Town::start().await;
        let mut scene = Self {
            home: Keys::none(),
            north: Keys::none(),
            scoped: Keys::none(),
            tagged: FakeDevice::new(1),
            untagged: FakeDevice::new(2),
            reserved: FakeDevice::new(3),
            theirs: FakeDevice::new(9),
            ca: Authority::root("Operator's own CA", town.now().as_secs()).unwrap(),
            counter: Cell::new(0),
            town,
        };
        let north = json!({"name": "north"});
        let made = scene.town.owner("POST", "/v1/teams", Some(&north)).await;
        assert_eq!(made.status, 201);
        for (n, role) in Role::ALL.into_iter().enumerate() {
            let key = |name: &str| json!({"name": format!("{name}-{}", role.as_str()), "role": role.as_str()});
            scene.home.0[n] = scene.key(&key("ours")).await;
            let mut of_north = key("theirs");
            of_north["team"] = json!("north");
            scene.north.0[n] = scene.key(&of_north).await;
            if role < Role::Owner {
                let mut scoped = key("ours-scoped");
                scoped["tags"] = json!([TAG]);
                scene.scoped.0[n] = scene.key(&scoped).await;
            }
        }
        scene.devices().await;
        // Something to tell of each: an alarm, an event, a line in the trail.
        for device in scene.all_devices() {
            scene.alarm(device, "").await;
        }
        scene
    }

    async fn key(&self, body: &Value) -> String {
        let made = self.town.owner("POST", "/v1/keys", Some(body)).await;
        assert_eq!(made.status, 201, "{}", text(&made));
        made.json()["key"].as_str().unwrap().to_owned()
    }

    pub const fn all_devices(&self) -> [&FakeDevice; 4] {
        [&self.tagged, &self.untagged, &self.reserved, &self.theirs]
    }

    /// Claims what is not claimed, or was unclaimed in between.
    pub async fn devices(&self) {
        let of_home = |role| (self.home.of(role), self.home.of(Role::Owner));
        let of_north = (self.north.of(Role::Editor), self.north.of(Role::Owner));
        for (device, (key, owner), tags) in [
            (&self.tagged, of_home(Role::Editor), &[TAG][..]),
            (&self.untagged, of_home(Role::Editor), &[]),
            (&self.reserved, of_home(Role::Admin), &[TAG]),
            (&self.theirs, of_north, &[TAG]),
        ] {
            let path = format!("/v1/claimed-devices/{}", device.id);
            if self.ask(owner, "GET", &path, "").await.status == 404 {
                let body = json!({"claimToken": device.claim_token(), "tags": tags}).to_string();
                let claimed = self.ask(key, "POST", "/v1/claimed-devices", &body).await;
                assert_eq!(claimed.status, 201, "{}", text(&claimed));
            }
        }
    }

    fn next(&self) -> u32 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    async fn send(&self, key: &str, method: &str, path: &str, body: &str) -> TcpStream {
        let address = self.town.service().addresses().loopback;
        let authorization = match key {
            "" => String::new(),
            key => format!("Authorization: Bearer {key}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    pub async fn ask(&self, key: &str, method: &str, path: &str, body: &str) -> Reply {
        let mut socket = self.send(key, method, path, body).await;
        let mut bytes = Vec::new();
        loop {
            let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut bytes));
            let read = read.await.expect("an answer ends").unwrap();
            // A stream of events goes on; what it tells is for `Stream`.
            let endless = bytes.windows(17).any(|part| part == b"text/event-stream");
            let headed = bytes.windows(4).any(|part| part == b"\r\n\r\n");
            if read == 0 || (endless && headed) {
                return reply_of(&bytes).unwrap_or_else(|| panic!("{method} {path}: no answer"));
            }
        }
    }

    /// All events there are, and those that come.
    pub async fn stream(&self, key: &str) -> Stream {
        Stream(self.send(key, "GET", "/v1/events?after=0", "").await)
    }

    /// A real thing of the home's own team for each parameter of a path, in order; of devices, what the tagged one has.
    pub async fn things(&self, row: &Row) -> Vec<String> {
        self.things_of(row, &self.tagged, self.home.of(Role::Owner))
            .await
    }

    /// The same, made by `owner`; where it is about a device, about this one.
    pub async fn things_of(&self, row: &Row, device: &FakeDevice, owner: &str) -> Vec<String> {
        self.devices().await;
        let n = self.next();
        let id = device.id.to_string();
        let made = async |path: &str, body: Value, member: &str| {
            let made = self.ask(owner, "POST", path, &body.to_string()).await;
            assert!((200..300).contains(&made.status), "{path}: {}", text(&made));
            made.json()[member].as_str().unwrap().to_owned()
        };
        let path = row.path.strip_prefix("/v1/").unwrap_or(row.path);
        let (first, rest) = path.split_once('{').unwrap_or((path, ""));
        match (first, path.matches('{').count()) {
            (_, 0) => Vec::new(),
            ("claimed-devices/", 1) => vec![id],
            ("claimed-devices/", 2) if rest.contains("{command}") => {
                let queue = format!("/v1/claimed-devices/{id}/provisioning");
                let command = json!({"request": {"clientPrivateKeyGeneration": {"secTag": n}}});
                let command = made(&queue, command, "id").await;
                vec![id, command]
            }
            ("claimed-devices/", 2) if rest.contains("{serial}") => {
                let serial = self.issued(device, owner, n).await;
                vec![id, serial]
            }
            ("devices/", 1) => {
                self.register(&id, owner).await;
                vec![id]
            }
            ("keys/", 1) => {
                let key = json!({"name": format!("{OURS}{n}"), "role": "viewer"});
                vec![made("/v1/keys", key, "name").await]
            }
            ("teams/", 1) if row.method == "GET" => vec![self.home_id().await],
            ("teams/", 1) => {
                let team = json!({"name": format!("{OURS}{n}")});
                vec![made("/v1/teams", team, "id").await]
            }
            ("allow-list/", 1) => {
                let id = format!("{n:08x}-0000-4000-8000-000000000000");
                let kid = json!({"keyId": Kid::from_bytes([7; 32]).to_string()}).to_string();
                let path = format!("/v1/allow-list/{id}");
                let put = self.ask(owner, "PUT", &path, &kid).await;
                assert_eq!(put.status, 204, "{}", text(&put));
                vec![id]
            }
            ("provisioning/tags/", 1) => {
                let tag = json!({"tag": format!("{OURS}{n}")});
                vec![made("/v1/provisioning/tags", tag, "tag").await]
            }
            ("provisioning-rules/", 1) => {
                vec![made("/v1/provisioning-rules", self.rule(OURS), "id").await]
            }
            ("webhooks/", 1) => {
                // A team has sixteen at most.
                let all = self.ask(owner, "GET", "/v1/webhooks", "").await.json();
                let hook = json!({"url": "http://127.0.0.1:9/"});
                vec![match all["items"][0]["id"].as_str() {
                    Some(id) => id.to_owned(),
                    None => made("/v1/webhooks", hook, "id").await,
                }]
            }
            ("bulk-ops-requests/", parameters) => {
                // No token at all, so that there are errors to be asked for.
                let upload = self
                    .upload(owner, "/v1/claimed-devices/bulk", "\"no token\"\n")
                    .await;
                assert_eq!(upload["status"], "FAILED", "{upload}");
                let told = |member: &str| upload[member].as_str().unwrap();
                let secret = told("errorSummaryUrl").rsplit('/').next().unwrap();
                let mut things = vec![told("bulkOpsRequestId").to_owned(), secret.to_owned()];
                things.truncate(parameters);
                things
            }
            ("alarms/", 1) => vec![self.alarm(device, "").await],
            _ => panic!("nobody makes a thing for {}: do it here", row.path),
        }
    }

    /// Raises an alarm about a device; its number.
    pub async fn alarm(&self, device: &FakeDevice, words: &str) -> String {
        let store = self.town.service().app().store();
        let alarm = AuditEvent::new(self.town.now(), "ours", "test-alarm")
            .device(device.id)
            .detail(words);
        store.record(vec![alarm]).await.unwrap();
        store.audit_head().await.unwrap().number.to_string()
    }

    /// Lets the closed loop issue a certificate under this tag; its serial number.
    async fn issued(&self, device: &FakeDevice, owner: &str, tag: u32) -> String {
        let queue = format!("/v1/claimed-devices/{}/provisioning", device.id);
        let all = format!("{queue}?force=true");
        assert_eq!(self.ask(owner, "DELETE", &all, "").await.status, 204);
        let csr = json!({"request": {"certificateSigningRequest": {"secTag": tag, "issue": true}}});
        let queued = self.ask(owner, "POST", &queue, &csr.to_string()).await;
        assert_eq!(queued.status, 201, "{}", text(&queued));
        let pem = device.identity.0.to_pem();
        let mut device = FakeDevice {
            id: device.id,
            identity: Key(PrivateKey::from_pem(&pem).unwrap()),
            ..FakeDevice::new(0)
        };
        self.town.provision(&mut device).await;
        serial(&device.stored[&(tag, 1)])
    }

    /// Registers a certificate that another CA signed for this id, unless the team has one.
    pub async fn register(&self, id: &str, owner: &str) {
        let path = format!("/v1/devices/{id}");
        if self.ask(owner, "GET", &path, "").await.status == 200 {
            return;
        }
        let key = PrivateKey::generate().unwrap();
        let now = self.town.now().as_secs();
        let made = self.ca.issue_device(&key.spki_der(), id, now).unwrap();
        let row = format!("{id},tracker,a,APP,\"{}\"\n", made.pem());
        let upload = self.upload(owner, "/v1/devices", &row).await;
        assert_eq!(upload["status"], "SUCCEEDED", "{upload}");
    }

    /// How an upload stood when it was worked off.
    async fn upload(&self, key: &str, path: &str, csv: &str) -> Value {
        let taken = self.ask(key, "POST", path, csv).await;
        assert_eq!(taken.status, 202, "{}", text(&taken));
        let id = taken.json()["bulkOpsRequestId"].clone();
        let path = format!("/v1/bulk-ops-requests/{}", id.as_str().unwrap());
        let ended = async {
            loop {
                let upload = self.ask(key, "GET", &path, "").await.json();
                if upload["status"] != "PENDING" && upload["status"] != "IN_PROGRESS" {
                    return upload;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        ended.expect("an upload is worked off")
    }

    fn rule(&self, prefix: &str) -> Value {
        let n = self.next();
        json!({"name": format!("{prefix}{n}"), "tags": ["rules"], "commands": [{"request": {"finished": {}}}]})
    }

    pub async fn home_id(&self) -> String {
        let teams = self
            .town
            .owner("GET", "/v1/teams?pageLimit=100", None)
            .await
            .json();
        let home = teams["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|team| team["name"] == "home");
        home.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// What a caller with the right would send.
    pub fn body(&self, row: &Row) -> String {
        let n = self.next();
        let kid = Kid::from_bytes([9; 32]).to_string();
        let command = json!({"finished": {}});
        let path = row.path.strip_prefix("/v1/").unwrap_or(row.path);
        let body = match (row.method, path) {
            ("GET" | "DELETE", _) => return String::new(),
            ("POST", "claimed-devices") => {
                json!({"claimToken": FakeDevice::new(4).claim_token(), "tags": [TAG]})
            }
            ("PATCH", "claimed-devices/{id}") => json!({"blocked": false}),
            ("POST", "claimed-devices/{id}/provisioning") => json!({"request": command}),
            ("PATCH", "claimed-devices/{id}/provisioning/{command}") => {
                json!({"description": "changed"})
            }
            ("PUT", "allow-list/{id}") => json!({"keyId": kid}),
            ("POST", "keys") => json!({"name": format!("made-{n}"), "role": "viewer"}),
            ("POST", "teams") | ("PATCH", "teams/{id}") => json!({"name": format!("made-{n}")}),
            ("POST", "provisioning/tags") => json!({"tag": format!("made-{n}")}),
            (
                "POST",
                "provisioning-rules" | "provisioning-rules/plan" | "claimed-devices/{id}/plan",
            ) => self.rule("made-"),
            ("PATCH", "provisioning-rules/{id}") => json!({"description": "changed"}),
            ("POST", "plan") => json!({"tag": TAG}),
            ("POST", "webhooks") => json!({"url": "http://127.0.0.1:9/"}),
            ("PATCH", "webhooks/{id}") => json!({"paused": true}),
            ("PUT", "devices/{id}/name") => json!([format!("made-{n}")]),
            _ => json!({}),
        };
        body.to_string()
    }

    /// These things and things that do not exist get the same answer; and then they are there for who owns them.
    pub async fn hides(&self, who: &str, key: &str, row: &Row, things: &[String], owner: &str) {
        let body = self.body(row);
        let path = filled(row, things);
        let hidden = self.ask(key, row.method, &path, &body).await;
        let mut nothing = things.to_vec();
        nothing[0] = match things[0].parse::<u64>() {
            Ok(_) => "9999999".to_owned(),
            Err(_) => UNKNOWN.to_owned(),
        };
        let unknown = filled(row, &nothing);
        let unknown = self.ask(key, row.method, &unknown, &body).await;
        let neutral = |reply: &Reply, thing: &str| text(reply).replace(thing, "IT");
        assert_eq!(
            (hidden.status, neutral(&hidden, &things[0])),
            (unknown.status, neutral(&unknown, &nothing[0])),
            "{who}: {} {}",
            row.method,
            row.path
        );
        let refused = (400..500).contains(&hidden.status) || hidden.status == 501;
        assert!(refused, "{who}: {}", text(&hidden));
        let reply = self.ask(owner, row.method, &path, &self.body(row)).await;
        is_let_in(&format!("the owner, after {who}"), row, &reply);
    }

    /// Nothing of the home's own team is in this answer.
    pub async fn tells_nothing(&self, who: &str, row: &Row, reply: &Reply) {
        // What was sent may come back.
        if row.method != "GET" || reply.status >= 400 {
            return;
        }
        let said = text(reply);
        for ours in self.names_of_home().await {
            let what = format!("{who}: {} {}", row.method, row.path);
            assert!(!said.contains(&ours), "{what} tells `{ours}`: {said}");
        }
    }

    /// What must not be seen elsewhere.
    pub async fn names_of_home(&self) -> Vec<String> {
        let devices = [&self.tagged, &self.untagged, &self.reserved];
        let mut names: Vec<String> = devices.map(|device| device.id.to_string()).into();
        names.extend([OURS.to_owned(), self.home_id().await]);
        names
    }
}

/// A stream of events that is being read.
pub struct Stream(TcpStream);

impl Stream {
    /// What comes up to this mark.
    pub async fn until(&mut self, mark: &str) -> String {
        let mut bytes = Vec::new();
        loop {
            let said = String::from_utf8_lossy(&bytes);
            if said.contains(mark) {
                return said.into_owned();
            }
            let read = tokio::time::timeout(PATIENCE, self.0.read_buf(&mut bytes)).await;
            let read = read.expect("the mark comes").unwrap();
            assert!(read > 0, "ended: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

/// Whether it names something that a device has, or the device.
pub fn is_of_a_device(row: &Row) -> bool {
    let paths = [
        "/v1/claimed-devices/{id}",
        "/v1/devices/{id}",
        "/v1/alarms/{number}",
    ];
    paths.iter().any(|path| row.path.starts_with(path))
}

/// The path with its parameters.
pub fn filled(row: &Row, things: &[String]) -> String {
    let mut things = things.iter().map(String::as_str);
    let segments = row
        .path
        .split('/')
        .map(|segment| match segment.starts_with('{') {
            true => things.next().expect("a thing for each parameter"),
            false => segment,
        });
    segments.collect::<Vec<_>>().join("/")
}

pub fn is_let_in(who: &str, row: &Row, reply: &Reply) {
    let (status, what) = (reply.status, format!("{who}: {} {}", row.method, row.path));
    assert!(
        ![401, 403, 404].contains(&status),
        "{what}: {}",
        text(reply)
    );
    assert!(status < 500 || status == 501, "{what}: {}", text(reply));
}

pub fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

pub fn code(reply: &Reply) -> u64 {
    reply.json()["code"].as_u64().unwrap()
}

fn serial(pem: &str) -> String {
    Certificate::from_pem(pem).unwrap().serial_hex
}
