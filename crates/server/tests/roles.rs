//! Every row of the table of access, against a live service: each role × own and foreign team × keys with tags × no key.
//!
//! What exists for nobody who asks must look, to the letter, like what does not exist at all.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::es256::Kid;
use sectag_server::owner_api::access::{Row, Scoped, TABLE, What};
use sectag_store::{AuditEvent, Role};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;
use support::device::FakeDevice;
use support::{Reply, Town, reply_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the scoped keys are limited to.
const TAG: &str = "tagged";
/// In the name of everything that the home's own team makes.
const OURS: &str = "ours-";
const UNKNOWN: &str = "99999999-9999-4999-8999-999999999999";

/// Keys by role, weakest first.
struct Keys([String; 4]);

impl Keys {
    fn of(&self, role: Role) -> &str {
        &self.0[role as usize]
    }
}

/// Two teams with keys, and devices of the home's own team: with the tag, without, and one that an admin claimed.
struct Scene {
    town: Town,
    home: Keys,
    north: Keys,
    /// Viewer, editor, admin; an owner's key cannot be limited.
    scoped: Keys,
    tagged: FakeDevice,
    untagged: FakeDevice,
    reserved: FakeDevice,
    counter: Cell<u32>,
}

impl Scene {
    async fn open() -> Self {
        let town = Town::start().await;
        let mut scene = Self {
            home: Keys(std::array::from_fn(|_| String::new())),
            north: Keys(std::array::from_fn(|_| String::new())),
            scoped: Keys(std::array::from_fn(|_| String::new())),
            tagged: FakeDevice::new(1),
            untagged: FakeDevice::new(2),
            reserved: FakeDevice::new(3),
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
        for device in [&scene.tagged, &scene.untagged, &scene.reserved] {
            let at = scene.town.now();
            let alarm = AuditEvent::new(at, "ours", "test-alarm").device(device.id);
            let store = scene.town.service().app().store();
            store.record(vec![alarm]).await.unwrap();
        }
        scene
    }

    async fn key(&self, body: &Value) -> String {
        let made = self.town.owner("POST", "/v1/keys", Some(body)).await;
        assert_eq!(made.status, 201, "{}", text(&made));
        made.json()["key"].as_str().unwrap().to_owned()
    }

    /// Claims what was unclaimed in between.
    async fn devices(&self) {
        for (device, role, tags) in [
            (&self.tagged, Role::Editor, &[TAG][..]),
            (&self.untagged, Role::Editor, &[]),
            (&self.reserved, Role::Admin, &[TAG]),
        ] {
            let path = format!("/v1/claimed-devices/{}", device.id);
            let there = self.ask(self.home.of(Role::Owner), "GET", &path, "").await;
            if there.status == 404 {
                let body = json!({"claimToken": device.claim_token(), "tags": tags}).to_string();
                let key = self.home.of(role);
                let claimed = self.ask(key, "POST", "/v1/claimed-devices", &body).await;
                assert_eq!(claimed.status, 201, "{}", text(&claimed));
            }
        }
    }

    fn next(&self) -> u32 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    async fn ask(&self, key: &str, method: &str, path: &str, body: &str) -> Reply {
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
        let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
        loop {
            let read = tokio::time::timeout(Duration::from_secs(30), socket.read(&mut some));
            let read = read.await.expect("an answer ends").unwrap();
            bytes.extend_from_slice(&some[..read]);
            // A stream of events goes on; its head has said enough.
            let endless = bytes.windows(17).any(|part| part == b"text/event-stream");
            let headed = bytes.windows(4).any(|part| part == b"\r\n\r\n");
            if read == 0 || (endless && headed) {
                return reply_of(&bytes).unwrap_or_else(|| panic!("{method} {path}: no answer"));
            }
        }
    }

    /// A new thing of the home's own team for the parameters of a path, in order; `None` where none can be made here.
    async fn things(&self, row: &Row) -> Option<Vec<String>> {
        let n = self.next();
        let owner = self.home.of(Role::Owner);
        let made = async |path: &str, body: Value, member: &str| {
            let made = self.ask(owner, "POST", path, &body.to_string()).await;
            assert!((200..300).contains(&made.status), "{path}: {}", text(&made));
            made.json()[member].as_str().unwrap().to_owned()
        };
        let path = row.path.strip_prefix("/v1/").unwrap_or(row.path);
        let parameters = path.matches('{').count();
        if parameters == 0 {
            return Some(Vec::new());
        }
        Some(match path.split('{').next().unwrap() {
            "claimed-devices/" => {
                self.devices().await;
                let id = self.tagged.id.to_string();
                if parameters == 1 {
                    vec![id]
                } else if path.contains("{command}") {
                    let queue = format!("/v1/claimed-devices/{id}/provisioning");
                    let command = json!({"request": {"clientPrivateKeyGeneration": {"secTag": n}}});
                    let command = made(&queue, command, "id").await;
                    vec![id, command]
                } else {
                    return None;
                }
            }
            "keys/" => vec![
                made(
                    "/v1/keys",
                    json!({"name": format!("{OURS}{n}"), "role": "viewer"}),
                    "name",
                )
                .await,
            ],
            "teams/" if row.method == "GET" => vec![self.home_id().await],
            "teams/" => vec![made("/v1/teams", json!({"name": format!("{OURS}{n}")}), "id").await],
            "allow-list/" => {
                let id = format!("{n:08x}-0000-4000-8000-000000000000");
                let kid = json!({"keyId": Kid::from_bytes([7; 32]).to_string()}).to_string();
                let put = self
                    .ask(owner, "PUT", &format!("/v1/allow-list/{id}"), &kid)
                    .await;
                assert_eq!(put.status, 204, "{}", text(&put));
                vec![id]
            }
            "provisioning/tags/" => vec![
                made(
                    "/v1/provisioning/tags",
                    json!({"tag": format!("{OURS}{n}")}),
                    "tag",
                )
                .await,
            ],
            "provisioning-rules/" => {
                vec![made("/v1/provisioning-rules", self.rule(OURS), "id").await]
            }
            "webhooks/" => {
                vec![made("/v1/webhooks", json!({"url": "http://127.0.0.1:9/"}), "id").await]
            }
            "bulk-ops-requests/" if parameters == 1 => {
                let rows = format!("\"{}\"\n", self.tagged.claim_token());
                let key = self.home.of(Role::Editor);
                let made = self
                    .ask(key, "POST", "/v1/claimed-devices/bulk", &rows)
                    .await;
                assert_eq!(made.status, 202, "{}", text(&made));
                vec![made.json()["bulkOpsRequestId"].as_str().unwrap().to_owned()]
            }
            "alarms/" => {
                self.devices().await;
                let store = self.town.service().app().store();
                let alarm =
                    AuditEvent::new(self.town.now(), "ours", "test-alarm").device(self.tagged.id);
                store.record(vec![alarm]).await.unwrap();
                vec![store.audit_head().await.unwrap().number.to_string()]
            }
            _ => return None,
        })
    }

    fn rule(&self, prefix: &str) -> Value {
        let n = self.next();
        json!({"name": format!("{prefix}{n}"), "tags": ["rules"], "commands": [{"request": {"finished": {}}}]})
    }

    async fn home_id(&self) -> String {
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
    fn body(&self, row: &Row) -> String {
        let n = self.next();
        let kid = Kid::from_bytes([9; 32]).to_string();
        let command = json!({"finished": {}});
        let body = match (
            row.method,
            row.path.strip_prefix("/v1/").unwrap_or(row.path),
        ) {
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
            ("POST", "provisioning-rules" | "provisioning-rules/plan") => self.rule("made-"),
            ("PATCH", "provisioning-rules/{id}") => json!({"description": "changed"}),
            ("POST", "plan") => json!({"tag": TAG}),
            ("POST", "webhooks") => json!({"url": "http://127.0.0.1:9/"}),
            ("PATCH", "webhooks/{id}") => json!({"paused": true}),
            ("PUT", "devices/{id}/name") => json!([format!("made-{n}")]),
            _ => json!({}),
        };
        body.to_string()
    }

    /// The same request about something that does not exist, and about this: the answers must be the same.
    async fn looks_unknown(&self, who: &str, key: &str, row: &Row, things: &[String]) {
        let body = self.body(row);
        let theirs = self.ask(key, row.method, &filled(row, things), &body).await;
        let mut nothing = things.to_vec();
        nothing[0] = match things[0].parse::<u64>() {
            Ok(_) => "9999999".to_owned(),
            Err(_) => UNKNOWN.to_owned(),
        };
        let unknown = self
            .ask(key, row.method, &filled(row, &nothing), &body)
            .await;
        let neutral = |reply: &Reply, thing: &str| text(reply).replace(thing, "IT");
        assert_eq!(
            (theirs.status, neutral(&theirs, &things[0])),
            (unknown.status, neutral(&unknown, &nothing[0])),
            "{who}: {} {}",
            row.method,
            row.path
        );
        assert!(
            (400..500).contains(&theirs.status) || theirs.status == 501,
            "{who}: {}",
            text(&theirs)
        );
    }

    /// Nothing of the home's own team is in this answer.
    async fn tells_nothing(&self, who: &str, row: &Row, reply: &Reply) {
        let said = text(reply);
        let ids =
            [&self.tagged, &self.untagged, &self.reserved].map(|device| device.id.to_string());
        for ours in ids
            .iter()
            .map(String::as_str)
            .chain([OURS, &self.home_id().await])
        {
            // What was sent may come back.
            let told = said.contains(ours) && row.method == "GET" && reply.status < 400;
            assert!(
                !told,
                "{who}: {} {} tells `{ours}`: {said}",
                row.method, row.path
            );
        }
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

fn code(reply: &Reply) -> u64 {
    reply.json()["code"].as_u64().unwrap()
}

/// The path with its parameters; what is missing is something unknown.
fn filled(row: &Row, things: &[String]) -> String {
    let mut things = things.iter().map(String::as_str);
    let segments = row
        .path
        .split('/')
        .map(|segment| match segment.starts_with('{') {
            true => things.next().unwrap_or(UNKNOWN),
            false => segment,
        });
    segments.collect::<Vec<_>>().join("/")
}

fn is_let_in(who: &str, row: &Row, reply: &Reply, exists: bool) {
    let (status, what) = (reply.status, format!("{who}: {} {}", row.method, row.path));
    assert!(status != 401 && status != 403, "{what}: {}", text(reply));
    assert!(status < 500 || status == 501, "{what}: {}", text(reply));
    assert!(!exists || status != 404, "{what}: {}", text(reply));
}

#[tokio::test]
async fn each_row_holds_for_the_own_team() {
    let scene = Scene::open().await;
    for row in TABLE {
        for role in Role::ALL {
            let things = scene.things(row).await;
            let path = filled(row, things.as_deref().unwrap_or_default());
            let key = scene.home.of(role);
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            let who = role.as_str();
            if row.role.is_none_or(|needed| role >= needed) {
                is_let_in(
                    who,
                    row,
                    &reply,
                    things.is_some() && row.what != What::Secret,
                );
            } else {
                let said = (reply.status, code(&reply));
                assert_eq!(said, (403, 40300), "{who}: {} {}", row.method, row.path);
            }
        }
        // Without a key, or with none that is known.
        let path = filled(row, &[]);
        for key in ["", "sectag_wrong"] {
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            match row.role {
                None => is_let_in("nobody", row, &reply, false),
                Some(_) => assert_eq!((reply.status, code(&reply)), (401, 40100), "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn each_row_holds_for_a_foreign_team() {
    let scene = Scene::open().await;
    for row in TABLE.iter().filter(|row| row.role.is_some()) {
        for role in Role::ALL {
            let who = format!("{} of another team", role.as_str());
            let things = scene.things(row).await;
            let path = filled(row, things.as_deref().unwrap_or_default());
            let key = scene.north.of(role);
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            scene.tells_nothing(&who, row, &reply).await;
            if row.role > Some(role) {
                let said = (reply.status, code(&reply));
                assert_eq!(said, (403, 40300), "{who}: {} {}", row.method, row.path);
                continue;
            }
            match row.what {
                What::Home => {
                    let said = (reply.status, code(&reply));
                    assert_eq!(said, (403, 40303), "{who}: {} {}", row.method, row.path);
                }
                What::Thing => {
                    if let Some(things) = things {
                        scene.looks_unknown(&who, key, row, &things).await;
                    }
                }
                What::Service | What::OwnTeam | What::Secret => is_let_in(&who, row, &reply, false),
            }
        }
    }
    // And the other way round: the home's owners make teams and keys, and see no devices of others.
    let device = FakeDevice::new(9);
    let body = json!({"claimToken": device.claim_token()}).to_string();
    let claimed = scene
        .ask(
            scene.north.of(Role::Editor),
            "POST",
            "/v1/claimed-devices",
            &body,
        )
        .await;
    assert_eq!(claimed.status, 201);
    for row in TABLE
        .iter()
        .filter(|row| row.path.starts_with("/v1/claimed-devices/{id}"))
    {
        let things = [device.id.to_string(), UNKNOWN.to_owned()];
        let things = &things[..row.path.matches('{').count()];
        scene
            .looks_unknown("the home's owner", scene.home.of(Role::Owner), row, things)
            .await;
    }
}

#[tokio::test]
async fn each_row_holds_for_keys_with_tags() {
    let scene = Scene::open().await;
    for row in TABLE.iter() {
        let Some(needed) = row.role else { continue };
        for role in [Role::Viewer, Role::Editor, Role::Admin] {
            let who = format!("{} with a tag", role.as_str());
            let things = scene.things(row).await;
            let path = filled(row, things.as_deref().unwrap_or_default());
            let key = scene.scoped.of(role);
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            let said = reply.status;
            if needed > role {
                assert_eq!((said, code(&reply)), (403, 40300), "{who}: {path}");
                continue;
            }
            match row.scoped {
                Scoped::Refused => assert_eq!((said, code(&reply)), (403, 40302), "{who}: {path}"),
                Scoped::Whole => is_let_in(&who, row, &reply, things.is_some()),
                Scoped::Narrowed => {
                    // The upload of a key without tags may concern any device.
                    let exists = things.is_some() && !row.path.contains("bulk-ops");
                    is_let_in(&who, row, &reply, exists);
                    scene.devices().await;
                    if row.path.starts_with("/v1/claimed-devices/{id}") {
                        let untagged = [scene.untagged.id.to_string(), UNKNOWN.to_owned()];
                        let untagged = &untagged[..row.path.matches('{').count()];
                        scene.looks_unknown(&who, key, row, untagged).await;
                    } else {
                        let told = text(&reply).contains(&scene.untagged.id.to_string());
                        assert!(!told, "{who}: {path}: {}", text(&reply));
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_an_admin_claimed_does_not_exist_for_editors_and_viewers() {
    let scene = Scene::open().await;
    let id = scene.reserved.id.to_string();
    for row in TABLE.iter() {
        let Some(needed) = row.role else { continue };
        for role in [Role::Viewer, Role::Editor]
            .into_iter()
            .filter(|role| *role >= needed)
        {
            for (who, keys) in [("", &scene.home), ("scoped ", &scene.scoped)] {
                let who = format!("{who}{} and a reserved device", role.as_str());
                let key = keys.of(role);
                if row.path.starts_with("/v1/claimed-devices/{id}") {
                    let things = [id.clone(), UNKNOWN.to_owned()];
                    let things = &things[..row.path.matches('{').count()];
                    scene.looks_unknown(&who, key, row, things).await;
                } else if row.method == "GET" {
                    let reply = scene.ask(key, "GET", &filled(row, &[]), "").await;
                    assert!(
                        !text(&reply).contains(&id),
                        "{who}: {}: {}",
                        row.path,
                        text(&reply)
                    );
                }
            }
        }
    }
    let path = format!("/v1/claimed-devices/{id}");
    for role in [Role::Admin, Role::Owner] {
        assert_eq!(
            scene
                .ask(scene.home.of(role), "GET", &path, "")
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn every_route_has_a_row_and_every_row_a_route() {
    let town = Town::start().await;
    let document = town.owner("GET", "/v1/openapi.json", None).await.json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "patch", "delete"] {
            if item.get(method).is_some() {
                let path = path.replace("/v1/identities/", "/v1/");
                routes.push((method.to_uppercase(), path));
            }
        }
    }
    for (method, path) in &routes {
        let has_row = TABLE
            .iter()
            .any(|row| row.method == method && row.path == path);
        assert!(has_row, "no row for {method} {path}: it is refused");
    }
    for row in TABLE.iter().filter(|row| row.path != "/docs") {
        let has_route = routes
            .iter()
            .any(|(method, path)| row.method == method && row.path == path);
        assert!(has_route, "no route for {} {}", row.method, row.path);
    }
}

#[tokio::test]
async fn a_route_without_a_row_and_a_method_without_one_are_refused() {
    let town = Town::start().await;
    let reply = town.owner("PUT", "/v1/status", None).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET")));
    let reply = town.owner("GET", "/v1/nothing", None).await;
    assert_eq!((reply.status, code(&reply)), (404, 40401));
    // Which paths there are is told to keys only.
    for path in ["/v1/nothing", "/v1/status"] {
        assert_eq!(town.owner_raw("PUT", path, "", "").await.status, 401);
    }
}

#[test]
fn the_reference_has_the_table() {
    let page = include_str!("../../../docs/reference/roles.md");
    let told: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let rows: Vec<String> = TABLE.iter().map(line_of).collect();
    assert_eq!(
        told,
        rows,
        "docs/reference/roles.md should say:\n{}",
        rows.join("\n")
    );
}

fn line_of(row: &Row) -> String {
    let role = row.role.map_or("nobody's key", Role::as_str);
    let others = match row.what {
        What::Service => "the same",
        What::OwnTeam => "their own",
        What::Thing => "404",
        What::Home => "403",
        What::Secret => "what they were told the path of",
    };
    let scoped = match row.scoped {
        Scoped::Narrowed => "devices with their tags",
        Scoped::Whole => "all",
        Scoped::Refused => "403",
    };
    format!(
        "| `{} {}` | {role} | {others} | {scoped} |",
        row.method, row.path
    )
}
