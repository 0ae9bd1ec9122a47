//! Kill −9 at every numbered crash point, at every pass of it.
//!
//! ```text
//!   one life without a kill:  state 0 ─step 1─► state 1 ─step 2─► state 2 … state n         (the reference)
//!   each other life:          state 0 ─step 1─► … ─step k─► ✂ ─restart─► state k-1 or k ─► … state n
//! ```
//! A step is a call of an owner or a request of a device. What was acknowledged counts: after the restart the service is in the
//! state before or after the step that was cut, as a whole, and never before an acknowledged one. Then owner and device repeat
//! themselves as they do in the field, and all lives end alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/device.rs"]
mod device;
#[path = "support/state.rs"]
mod state;
mod support;

use device::{Device, Exchanged, is_content};
use sectag_device::https::Https;
use sectag_device::link::{LinkOptions, MqttLink, TagCredentials};
use sectag_keep::crash::POINTS;
use sectag_modem::TagSigner as _;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::token::{AttestationToken, DeviceType};
use sectag_proto::{DeviceId, FirmwareId, SecTag};
use serde_json::{Value, json};
use state::{State, difference, look, statuses};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::owner::call;
use support::{Home, Up};

const SIGKILL: i32 = 9;
/// The service that kills itself is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// A service that is killed while it writes run.json is gone this much later.
const GONE_AFTER_START: Duration = Duration::from_millis(200);
/// Sec tags that get key and certificate, in this order.
const TAGS: [u32; 2] = [42, 43];
const PSK: &str = "00112233445566778899aabbccddeeff";
/// Lives at the same time: a life waits for the disk and for its child most of the time.
const THREADS: usize = 3;

#[test]
fn whatever_was_acknowledged_survives_a_kill_at_every_point() {
    let reference = Life::begin("none", None, false).live().reference();
    let points = Mutex::new(POINTS.iter());
    let next = || points.lock().unwrap().next();
    let worker = || {
        while let Some((point, _)) = next() {
            let mut passes = 0;
            while Life::begin(&format!("{point}:{}", passes + 1), Some(&reference), false)
                .live()
                .was_killed
            {
                passes += 1;
            }
            assert!(passes > 0, "{point} was never reached");
            eprintln!("{point}: killed at each of {passes} passes");
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(worker))));
}

#[test]
fn a_device_that_dies_with_its_service_ends_right_as_well() {
    let reference = Life::begin("none", None, false).live().reference();
    for point in [
        "http.fetch.before-response",
        "http.fetch.after-response",
        "http.report.before-response",
        "http.report.after-response",
    ] {
        for pass in 1..=2 {
            let life = Life::begin(&format!("{point}:{pass}"), Some(&reference), true).live();
            assert!(life.was_killed, "{point} was not reached {pass} times");
        }
    }
}

/// A service and its two devices, from an empty home on.
struct Life<'a> {
    armed: String,
    home: Home,
    up: Option<Up>,
    owner_key: String,
    root: String,
    a: Device,
    b: Device,
    /// `None` writes one.
    reference: Option<&'a Reference>,
    states: Vec<Value>,
    /// Steps that were acknowledged.
    done: usize,
    was_killed: bool,
    device_dies_too: bool,
    /// Compare the state after the next step with the reference's.
    look_closely: bool,
    /// Certificates seen so far; the record only grows.
    certificates: Vec<String>,
    /// Device and id of commands whose creation was acknowledged and which nobody deleted.
    commands: Vec<(String, String)>,
    /// Text of the second API key, once acknowledged, and whether it must work.
    second_key: Option<(String, bool)>,
}

/// What a life without a kill looks like.
struct Reference {
    states: Vec<Value>,
    batches: [Vec<Vec<String>>; 2],
}

/// The service did not answer.
struct Gone;

/// Where a cut step was found after the restart.
#[derive(PartialEq)]
enum Found {
    Before,
    After,
}

impl<'a> Life<'a> {
    /// A first start, armed with `point:pass`, and a second one if that killed it.
    fn begin(armed: &str, reference: Option<&'a Reference>, device_dies_too: bool) -> Self {
        let home = Home::new();
        let started = match reference {
            Some(_) => home.try_up(&[("SECTAG_CRASH_AT", armed)], &[]),
            None => home.try_up(&[], &[]),
        };
        let mut life = Self {
            armed: armed.to_owned(),
            home,
            up: None,
            owner_key: String::new(),
            root: String::new(),
            a: Device::new(1),
            b: Device::new(2),
            reference,
            states: Vec::new(),
            done: 0,
            was_killed: false,
            device_dies_too,
            look_closely: false,
            certificates: Vec::new(),
            commands: Vec::new(),
            second_key: None,
        };
        let started = started.and_then(|mut up| {
            // The last file is run.json, by which the start is recognised.
            let last = armed.starts_with("keep.").then_some(GONE_AFTER_START);
            match last.and_then(|within| up.wait(within)) {
                Some(end) => Err((end, up.log())),
                None => Ok(up),
            }
        });
        match started {
            Ok(up) => life.up = Some(up),
            Err((end, log)) => {
                assert_eq!(end.signal(), Some(SIGKILL), "{armed}: {log}");
                life.was_killed = true;
                life.look_closely = true;
                let files = files_in_place(&life.home.path());
                life.up = Some(life.home.up(&[]));
                for (path, content) in files {
                    let there = std::fs::read(&path).unwrap();
                    assert!(there == content, "`{}` has changed", path.display());
                }
            }
        }
        life.owner_key = life.home.read("owner.key");
        life.root = life.home.read("ca/root.crt");
        life.check();
        life
    }

    fn live(mut self) -> Self {
        let (a, b) = (self.a.id.to_string(), self.b.id.to_string());
        let token = self.a.claim_token();
        let claim = json!({ "claimToken": token, "tags": ["first"] });
        self.call("POST", "/v1/claimed-devices", &claim, 201);
        let foreign = json!({ "claimToken": token_by_another_key(self.a.id) });
        self.call("POST", "/v1/claimed-devices", &foreign, 409);

        let allowed = format!("/v1/allow-list/{b}");
        self.call("PUT", &allowed, &json!({ "keyId": "ab".repeat(32) }), 204);
        self.call("DELETE", &allowed, &Value::Null, 204);

        self.step(|life| {
            let key = life.ask(
                "POST",
                "/v1/keys",
                &json!({ "name": "second", "role": "viewer" }),
                201,
            )?;
            life.second_key = Some((key["key"].as_str().unwrap().to_owned(), true));
            Ok(())
        });

        let root = self.root.trim_end().to_owned();
        let server_certificate =
            |tag: u32| json!({ "serverCertificate": { "secTag": tag, "content": root } });
        let closed_loop = |tag: u32| {
            json!({ "certificateSigningRequest":
                { "secTag": tag, "attributes": "", "keyUsage": "101010000", "issue": true } })
        };
        self.create(&a, server_certificate(TAGS[0]));
        self.create(&a, closed_loop(TAGS[0]));
        let psk = |identity: &str| json!({ "preSharedKey": { "secTag": 50, "identity": identity, "secret": PSK } });
        self.create(&a, psk("wanted"));
        self.create(&a, psk("doomed"));
        self.create(&a, json!({ "finished": {} }));
        self.take_back(&a, "doomed");
        self.converse(|life| &mut life.a);

        let revoked = ["keys", "revoke", "second"];
        let key = self.second_key.take();
        self.verb(&revoked);
        self.second_key = key.map(|(text, _)| (text, false));

        let token = self.b.claim_token();
        self.verb(&["claim", &token, "--tag", "lent"]);
        self.create(
            &b,
            json!({ "config": { "properties": { "colour": "blue" } } }),
        );
        self.exchange(|life| &mut life.b);
        self.verb(&["devices", "block", &b]);
        self.verb(&["devices", "unblock", &b]);
        self.commands.retain(|(device, _)| *device != b);
        self.verb(&["devices", "unclaim", &b]);
        let token = self.b.claim_token();
        self.call(
            "POST",
            "/v1/claimed-devices",
            &json!({ "claimToken": token }),
            201,
        );

        self.create(&a, server_certificate(TAGS[1]));
        self.create(&a, closed_loop(TAGS[1]));
        self.create(&a, json!({ "finished": {} }));
        self.converse(|life| &mut life.a);
        let tags = json!({ "tags": ["last"] });
        self.call("PATCH", &format!("/v1/claimed-devices/{a}"), &tags, 200);
        self.end();
        self
    }

    fn reference(mut self) -> Reference {
        Reference {
            states: std::mem::take(&mut self.states),
            batches: [self.a.batches(), self.b.batches()],
        }
    }

    /// All lives end here.
    fn end(&mut self) {
        let a = self.a.id.to_string();
        self.look_closely = true;
        let state = self.check();
        let statuses = statuses(&state, &a);
        assert!(
            !statuses.is_empty() && statuses.iter().all(|status| status == "SUCCEEDED"),
            "{statuses:?}"
        );
        let mut keys = state.certified_keys.clone();
        keys.sort();
        keys.dedup();
        assert_eq!(
            keys.len(),
            state.certified_keys.len(),
            "one certificate per key"
        );
        assert_eq!(
            state.certificates.len(),
            TAGS.len(),
            "one key per closed loop"
        );
        assert!(
            self.a.lines.iter().any(|line| line.contains(PSK)),
            "the secret arrived"
        );
        assert!(!self.a.lines.iter().any(|line| line.contains("doomed")));
        if let Some(reference) = self.reference.filter(|_| !self.device_dies_too) {
            assert_eq!(
                self.a.batches(),
                reference.batches[0],
                "batches of the first device"
            );
            assert_eq!(
                self.b.batches(),
                reference.batches[1],
                "batches of the second device"
            );
        }
        for (tag, certificate) in TAGS.iter().zip(&state.certificates) {
            self.connect(SecTag::new(u64::from(*tag)).unwrap(), certificate);
        }
    }

    /// The certificate under the tag is the one on record, it belongs to the key there, and the broker takes both.
    fn connect(&self, tag: SecTag, on_record: &str) {
        let modem = self.a.modem.shared().clone();
        assert_eq!(
            modem.certificate_chain(tag).unwrap().trim(),
            on_record.trim()
        );
        let credentials = TagCredentials::read(Arc::new(modem), tag).unwrap();
        let mut options = LinkOptions::new("127.0.0.1");
        options.port = self.up().listeners.mqtt.port();
        options.server_name = Some("localhost".to_owned());
        self.a.mqtt(async {
            let link = MqttLink::connect(&credentials, options).await.unwrap();
            link.disconnect().await.unwrap();
        });
    }

    fn up(&self) -> &Up {
        self.up.as_ref().unwrap()
    }

    fn create(&mut self, device: &str, request: Value) {
        let path = format!("/v1/claimed-devices/{device}/provisioning");
        self.step(|life| {
            let made = life.ask("POST", &path, &json!({ "request": request }), 201)?;
            let id = made["id"].as_str().unwrap();
            life.commands.push((device.to_owned(), id.to_owned()));
            Ok(())
        });
    }

    /// Takes back the command with that text in its request.
    fn take_back(&mut self, device: &str, text: &str) {
        let path = format!("/v1/claimed-devices/{device}/provisioning");
        self.step(|life| {
            let list = life.ask("GET", &path, &Value::Null, 200)?;
            let items = list["items"].as_array().unwrap();
            let found = items
                .iter()
                .find(|item| item["request"].to_string().contains(text));
            let id = found.unwrap()["id"].as_str().unwrap();
            life.commands.retain(|(_, known)| known != id);
            life.run(&["commands", "delete", device, id])
        });
    }

    /// A verb of the command line; exit code 0 acknowledges it.
    fn verb(&mut self, args: &[&str]) {
        self.step(|life| life.run(args));
    }

    fn run(&self, args: &[&str]) -> Result<(), Gone> {
        let output = self.home.sectag(args);
        match output.code {
            Some(0) => Ok(()),
            Some(2) => Err(Gone),
            _ => panic!("{args:?}: {output:#?}"),
        }
    }

    /// A call of the owner API; its whole answer acknowledges it.
    fn call(&mut self, method: &str, path: &str, body: &Value, status: u16) {
        self.step(|life| life.ask(method, path, body, status).map(drop));
    }

    fn ask(&self, method: &str, path: &str, body: &Value, status: u16) -> Result<Value, Gone> {
        let body = (!body.is_null()).then_some(body);
        match call(
            self.up().listeners.loopback,
            &self.owner_key,
            method,
            path,
            body,
        ) {
            Ok(answer) if answer.status == status => Ok(answer.body),
            Ok(answer) => panic!("{method} {path}: {answer:?}"),
            Err(_) => Err(Gone),
        }
    }

    /// A step of an owner, who looks before doing it again.
    fn step(&mut self, attempt: impl Fn(&mut Self) -> Result<(), Gone>) {
        if attempt(self).is_err() && self.restart() == Found::Before && attempt(self).is_err() {
            panic!("killed twice");
        }
        self.acknowledged();
    }

    /// Sessions of a device until it has nothing left to do.
    fn converse(&mut self, device: impl Fn(&mut Self) -> &mut Device) {
        while self.exchange(&device) != Exchanged::NothingToDo && !is_content(device(self).ending())
        {
        }
    }

    /// One request of a device, which repeats it because it cannot look.
    fn exchange(&mut self, device: impl Fn(&mut Self) -> &mut Device) -> Exchanged {
        let https = self.https();
        let exchanged = match device(self).exchange(&https) {
            Ok(exchanged) => exchanged,
            Err(_) => {
                self.restart();
                if self.device_dies_too {
                    device(self).dies();
                }
                let https = self.https();
                device(self).exchange(&https).expect("killed twice")
            }
        };
        self.acknowledged();
        exchanged
    }

    fn https(&self) -> Https {
        let at = self.up().listeners.device;
        Https::new("localhost", at.port(), &self.root)
            .unwrap()
            .at(at)
    }

    fn acknowledged(&mut self) {
        self.done += 1;
        if self.reference.is_none() || std::mem::take(&mut self.look_closely) {
            self.check();
        }
    }

    /// The service is gone, by its own hand, for the first time; start it and see where it stands.
    fn restart(&mut self) -> Found {
        let end = self.up.as_mut().unwrap().wait(GONE_WITHIN);
        let end = end.expect("the service did not answer, but it is alive");
        assert_eq!(end.signal(), Some(SIGKILL), "{}", self.up().log());
        assert!(!self.was_killed, "killed twice");
        self.was_killed = true;
        self.up = Some(self.home.up(&[]));
        assert_eq!(self.owner_key, self.home.read("owner.key"));
        assert_eq!(self.root, self.home.read("ca/root.crt"));
        let state = self.look();
        self.look_closely = true;
        let reference = self.reference.expect("only an armed service dies");
        let before = difference(&state.seen, &reference.states[self.done]);
        let after = reference
            .states
            .get(self.done + 1)
            .map(|after| difference(&state.seen, after));
        match (before, after) {
            (_, Some(None)) => Found::After,
            (None, _) => Found::Before,
            (Some(before), after) => panic!(
                "after the kill the state is neither that before the step (differs at {before}) nor that after it ({after:?})"
            ),
        }
    }

    /// What an owner sees, which must hold everything that was acknowledged.
    fn look(&mut self) -> State {
        let ids = [self.a.id.to_string(), self.b.id.to_string()];
        let at = self.up().listeners.loopback;
        let state = look(at, &self.owner_key, &ids);
        for command in &self.commands {
            assert!(state.commands.contains(command), "{command:?} is lost");
        }
        assert!(
            state.certificates.starts_with(&self.certificates),
            "a certificate on record has changed"
        );
        self.certificates.clone_from(&state.certificates);
        if let Some((text, works)) = &self.second_key {
            let answer = call(at, text, "GET", "/v1/claimed-devices", None).unwrap();
            assert_eq!(answer.status, if *works { 200 } else { 401 }, "second key");
        }
        state
    }

    /// Writes the reference, or compares with it.
    fn check(&mut self) -> State {
        let state = self.look();
        match self.reference {
            None => self.states.push(state.seen.clone()),
            Some(reference) if !self.device_dies_too => {
                if let Some(found) = difference(&state.seen, &reference.states[self.done]) {
                    panic!(
                        "after {} steps the state differs from that of a life without a kill at {found}",
                        self.done
                    );
                }
            }
            Some(_) => {}
        }
        state
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.up.as_ref().map(Up::log).unwrap_or_default();
            let words = log.lines().rev().take(12).collect::<Vec<_>>();
            let log = words.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!(
                "— crash point {}, {} steps acknowledged, killed: {}; the service's last words:\n{log}—",
                self.armed, self.done, self.was_killed
            );
        }
    }
}

/// Every file of the home under its final name that no later start may change.
fn files_in_place(home: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["", "ca", "tls", "operator"] {
        for entry in std::fs::read_dir(home.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let kept = [".key", ".crt", ".toml"]
                .iter()
                .any(|end| name.ends_with(end));
            if kept && !name.starts_with('.') {
                let content = std::fs::read(&path).unwrap();
                files.push((path, content));
            }
        }
    }
    files
}

/// A claim token for `device` that its owner never saw.
fn token_by_another_key(device: DeviceId) -> String {
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
    AttestationToken::sign(
        device,
        DeviceType::NRF9151_LACA,
        FirmwareId::from_bytes([7; 16]),
        [9; 16],
        Convention::BodyIsAad,
        &key,
    )
    .text()
}
