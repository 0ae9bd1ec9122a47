//! Kill −9 at every numbered crash point, at every pass of it.
//!
//! ```text
//!   one life without a kill:  state 0 ─step 1─► state 1 ─step 2─► state 2 … state n         (the reference)
//!   each other life:          state 0 ─step 1─► … ─step k─► ✂ ─restart─► state k-1 or k ─► … state n
//! ```
//! A step is a call of an owner or a request of a device. What was acknowledged counts: after the restart the service is in
//! the state before or after the step that was cut, as a whole, and never before an acknowledged one. Then owner and device
//! repeat themselves as they do in the field, and all lives end alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/device.rs"]
mod device;
#[path = "support/life.rs"]
mod life;
#[path = "support/state.rs"]
mod state;
mod support;

use device::{Device, Exchanged, is_content};
use life::{Life, Mortals, Reference, SIGKILL, connect};
use sectag_device::https::Https;
use sectag_keep::crash::POINTS;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::token::{AttestationToken, DeviceType};
use sectag_proto::{DeviceId, FirmwareId};
use serde_json::{Value, json};
use state::{State, look, statuses};
use std::sync::Mutex;
use support::Home;
use support::owner::call;

/// Points that no service passes: `cert_kill.rs` and `gateway_kill.rs` end the programs that do. Those of saved DTLS sessions
/// are passed between two lives: `server/tests/coap_restart.rs`; those of webhooks and of the audit trail's signatures have
/// receivers and judges: `evidence_kill.rs`. Those of teams that are made and deleted have tests of their own below.
const ELSEWHERE: [&str; 7] = [
    "pki.",
    "gateway.",
    "coap.",
    "store.outbox.",
    "webhooks.",
    "audit.",
    "teams.",
];
/// Sec tags that get key and certificate, in this order.
const TAGS: [u32; 2] = [42, 43];
const PSK: &str = "00112233445566778899aabbccddeeff";
/// Lives at the same time: a life waits for the disk and for its child most of the time.
const THREADS: usize = 3;
/// Fails when somebody adds a step that never ends; the longest list of passes has about twenty.
const PASSES_MAX: u64 = 200;
/// A service that is to die has died within this, or the test has failed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[test]
fn whatever_was_acknowledged_survives_a_kill_at_every_point() {
    let elsewhere = |name: &str| ELSEWHERE.iter().any(|group| name.starts_with(group));
    let names = POINTS.iter().map(|(name, _)| *name);
    let points: Vec<&str> = names.filter(|name| !elsewhere(name)).collect();
    at_every_pass_of(&points, Mortals::Service);
}

#[test]
fn a_device_that_dies_with_its_service_ends_right_as_well() {
    let points = [
        "http.fetch.before-response",
        "http.fetch.after-response",
        "http.report.before-response",
        "http.report.after-response",
    ];
    at_every_pass_of(&points, Mortals::ServiceAndDevice);
}

#[test]
fn a_device_that_dies_between_executing_and_reporting_gets_the_same_commands_again() {
    each_report_once(|device, https| {
        let batch = device.batches.last().unwrap().clone();
        device.dies();
        device.exchange(https).unwrap();
        assert_eq!(*device.batches.last().unwrap(), batch);
    });
}

#[test]
fn a_device_that_dies_before_it_hears_the_acknowledgement_gets_nothing_again() {
    each_report_once(|device, https| {
        // The device itself refuses a command whose report was answered.
        assert_eq!(device.exchange_unheard(https), Ok(Exchanged::Reported));
    });
}

#[test]
fn a_device_process_killed_at_each_write_of_its_state_ends_right() {
    let home = Home::new();
    let up = home.up(&[]);
    let key = home.read("owner.key");
    let tag = TAGS[0].to_string();
    for point in ["keep.file.before-rename", "keep.file.after-rename"] {
        let killed = |pass: &u64| {
            let name = format!("{point}-{pass}");
            let made = home.json(&["device", "token", "--name", &name]);
            let text = |member: &str| made[member].as_str().unwrap().to_owned();
            home.json(&["claim", &text("claimToken"), "--onboard", &tag]);
            let run = ["device", "run", "--name", &name];
            let armed = format!("{point}:{pass}");
            let cut = home.sectag_with(&run, &[("SECTAG_CRASH_AT", &armed)]);
            let ended = (cut.code, cut.signal);
            assert!(
                matches!(ended, (None, Some(SIGKILL)) | (Some(0), None)),
                "{armed}: {cut:#?}"
            );
            home.sectag(&run).expect_code(0);

            let state = look(up.listeners.loopback, &key, &[text("id")]);
            let statuses = statuses(&state, &text("id"));
            assert_eq!(statuses, ["SUCCEEDED"; 4], "{armed}");
            assert_eq!(state.certificates.len(), 1, "{armed}");
            let publish = ["mqtt", "pub", "--name", &name, "--sec-tag", &tag];
            let message = ["--topic", "~/alive", "--message", &armed];
            home.sectag(&[&publish[..], &message].concat())
                .expect_code(0);
            cut.code.is_none()
        };
        let passes = (1..PASSES_MAX).take_while(killed).count();
        assert!(passes > 0, "{point} was never reached");
        println!("{point}: device killed at each of {passes} passes");
    }
}

#[test]
fn a_kill_while_the_server_certificate_is_replaced_leaves_a_whole_pair() {
    let named = ["--name", "sectag.example"];
    let points = POINTS.iter().map(|(name, _)| *name);
    for point in points.filter(|name| name.starts_with("keep.pair.")) {
        let home = Home::new();
        drop(home.up(&[]));
        let (root, operator) = (home.read("ca/root.crt"), home.read("operator/operator.crt"));
        let armed = home.try_up(&[("SECTAG_CRASH_AT", point)], &named);
        let (end, log) = armed.expect_err(point);
        assert_eq!(life::signal(end), Some(SIGKILL), "{point}: {log}");
        // As it was, and as it was to be: a key that is not the certificate's would refuse to start or to shake hands.
        for args in [&[][..], &named] {
            let up = home.try_up(&[], args).expect(point);
            let at = up.listeners.device;
            let https = Https::new("localhost", at.port(), &root).unwrap().at(at);
            let mut device = Device::new(1);
            assert_eq!(device.knock(&https), 401, "{point}: no handshake");
        }
        assert_eq!(home.read("operator/operator.crt"), operator, "{point}");
    }
}

#[test]
fn a_team_deleted_by_a_service_that_dies_leaves_no_authority_in_the_home() {
    let points = POINTS.iter().map(|(name, _)| *name);
    for point in points.filter(|name| name.starts_with("teams.delete.")) {
        let home = Home::new();
        let mut up = home.up(&[("SECTAG_CRASH_AT", point)]);
        let create = |name: &str| {
            let made = home.sectag(&["teams", "create", name]).expect_code(0);
            made.stdout.trim().to_owned()
        };
        let (stays, goes) = (create("stays"), create("goes"));
        home.sectag(&["teams", "delete", "goes"]);
        let end = up.wait(PATIENCE).expect(point);
        assert_eq!(life::signal(end), Some(SIGKILL), "{point}");
        let files_of = |team: &str| {
            let files = ["ca/teams/ID.crt", "ca/teams/ID.key", "ca/teams/ID.crl"];
            let files = files.iter().chain(&["operator/ID.crt", "operator/ID.key"]);
            let exists = |file: &&&str| home.path().join(file.replace("ID", team)).exists();
            files.filter(exists).count()
        };
        assert!(files_of(&goes) > 0, "{point}");
        let _again = home.up(&[]);
        assert_eq!((files_of(&goes), files_of(&stays)), (0, 5), "{point}");
    }
}

#[test]
fn a_team_that_was_never_made_leaves_its_authority_aside() {
    for point in [
        "keep.pair.between-renames",
        "keep.pair.after-renames",
        "teams.create.made",
    ] {
        let home = Home::new();
        drop(home.up(&[]));
        let mut up = home.up(&[("SECTAG_CRASH_AT", point)]);
        home.sectag(&["teams", "create", "lost"]);
        let end = up.wait(PATIENCE).expect(point);
        assert_eq!(life::signal(end), Some(SIGKILL), "{point}");
        let files_in = |folder: &str| -> Vec<std::path::PathBuf> {
            let found = std::fs::read_dir(home.path().join(folder)).into_iter();
            let entries = found.flatten().map(|entry| entry.unwrap().path());
            entries.collect()
        };
        let is_key = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "key");
        let made = files_in("ca/teams");
        let key = std::fs::read(made.iter().find(is_key).expect(point)).unwrap();
        let armed = home.try_up(&[("SECTAG_CRASH_AT", "teams.aside.copied")], &[]);
        let (end, log) = armed.expect_err(point);
        assert_eq!(life::signal(end), Some(SIGKILL), "{point}: {log}");
        for told in [1, 0] {
            let up = home.up(&[]);
            let log = up.log();
            assert_eq!(log.matches("is set aside").count(), told, "{point}: {log}");
            assert_eq!(files_in("ca/teams").len(), 0, "{point}");
            assert_eq!(files_in("operator").len(), 2, "{point}: the home's own");
            let aside = files_in("ca/aside");
            let is_it = |path: &std::path::PathBuf| std::fs::read(path).unwrap() == key;
            assert!(aside.iter().any(is_it), "{point}: {aside:?}");
        }
        let _up = home.up(&[]);
        home.sectag(&["teams", "create", "lost"]).expect_code(0);
    }
}

/// One life for each pass of each point.
fn at_every_pass_of(points: &[&str], mortals: Mortals) {
    let mut unharmed = Life::begin("nowhere", None, mortals);
    story(&mut unharmed);
    let reference = unharmed.reference();
    let waiting = Mutex::new(points.iter());
    let next = || waiting.lock().unwrap().next();
    let worker = || {
        while let Some(point) = next() {
            let killed = |pass: &u64| {
                let mut life = Life::begin(&format!("{point}:{pass}"), Some(&reference), mortals);
                story(&mut life);
                end(&mut life, &reference);
                life.was_killed()
            };
            let passes = (1..PASSES_MAX).take_while(killed).count();
            assert!(passes > 0, "{point} was never reached");
            println!("{point}: killed at each of {passes} passes");
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(worker))));
}

/// Every kind of write, some of them more than once.
fn story(life: &mut Life<'_>) {
    let (a, b) = (life.a.id.to_string(), life.b.id.to_string());
    let claim = json!({ "claimToken": life.a.claim_token(), "tags": ["first"] });
    life.claim(&claim);
    let foreign = json!({ "claimToken": token_by_another_key(life.a.id) });
    life.refused_claim(&foreign);

    let allowed = format!("/v1/allow-list/{b}");
    life.call("PUT", &allowed, &json!({ "keyId": "ab".repeat(32) }), 204);
    life.call("DELETE", &allowed, &Value::Null, 204);
    life.create_second_key();

    let psk = |identity: &str| json!({ "preSharedKey": { "secTag": 50, "identity": identity, "secret": PSK } });
    for request in onboarding(life.root(), TAGS[0]) {
        life.create(&a, request);
    }
    life.create(&a, psk("wanted"));
    life.create(&a, psk("doomed"));
    life.create(&a, json!({ "finished": {} }));
    life.take_back(&a, "doomed");
    life.converse(|life| &mut life.a);
    life.revoke_second_key();

    let token = life.b.claim_token();
    life.repeatable_verb(&["claim", &token, "--tag", "lent"]);
    let blue = json!({ "config": { "properties": { "colour": "blue" } } });
    life.create(&b, blue);
    life.exchange(|life| &mut life.b);
    life.verb(&["devices", "block", &b]);
    life.verb(&["devices", "unblock", &b]);
    life.unclaim(&b);
    let again = json!({ "claimToken": life.b.claim_token() });
    life.claim(&again);

    for request in onboarding(life.root(), TAGS[1]) {
        life.create(&a, request);
    }
    life.create(&a, json!({ "finished": {} }));
    life.converse(|life| &mut life.a);
    let tags = json!({ "tags": ["last"] });
    life.call("PATCH", &format!("/v1/claimed-devices/{a}"), &tags, 200);
}

/// All lives end here.
fn end(life: &mut Life<'_>, reference: &Reference) {
    life.rest();
    let state = life.check();
    all_is_well(&state, &life.a, &TAGS, life.listeners().mqtt.port());
    assert!(life.a.lines.iter().any(|line| line.contains(PSK)));
    assert!(!life.a.lines.iter().any(|line| line.contains("doomed")));
    if life.mortals() == Mortals::Service {
        assert_eq!(life.a.batches(), reference.batches[0], "first device");
        assert_eq!(life.b.batches(), reference.batches[1], "second device");
    }
}

/// All commands succeeded, one certificate per key is on record, and the device can use each with its key.
fn all_is_well(state: &State, device: &Device, tags: &[u32], mqtt_port: u16) {
    let statuses = statuses(state, &device.id.to_string());
    assert!(
        !statuses.is_empty() && statuses.iter().all(|status| status == "SUCCEEDED"),
        "{statuses:?}"
    );
    let keys: std::collections::BTreeSet<_> = state.certified_keys.iter().collect();
    assert_eq!(keys.len(), state.certified_keys.len(), "a key has two");
    assert_eq!(state.certificates.len(), tags.len(), "one per closed loop");
    for (tag, certificate) in tags.iter().zip(&state.certificates) {
        connect(device, *tag, certificate, mqtt_port);
    }
}

/// A service that stays up, and for each report of an onboarding a device of its own to which `accident` happens when that
/// report is due.
fn each_report_once(accident: impl Fn(&mut Device, &Https)) {
    let home = Home::new();
    let up = home.up(&[]);
    let (key, root) = (home.read("owner.key"), home.read("ca/root.crt"));
    let at = up.listeners.device;
    let https = Https::new("localhost", at.port(), &root).unwrap().at(at);
    let post = |path: &str, body: Value| {
        let answer = call(up.listeners.loopback, &key, "POST", path, Some(&body)).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    for accident_at in 1.. {
        let mut device = Device::new(100 + accident_at);
        let id = device.id.to_string();
        let token = device.claim_token();
        post("/v1/claimed-devices", json!({ "claimToken": token }));
        for request in onboarding(&root, TAGS[0]) {
            let path = format!("/v1/claimed-devices/{id}/provisioning");
            post(&path, json!({ "request": request }));
        }
        let path = format!("/v1/claimed-devices/{id}/provisioning");
        post(&path, json!({ "request": { "finished": {} } }));

        let mut reports = 0;
        while !is_content(device.ending()) {
            if device.is_about_to_report() {
                reports += 1;
                if reports == accident_at {
                    accident(&mut device, &https);
                    continue;
                }
            }
            device.exchange(&https).unwrap();
        }
        let state = look(up.listeners.loopback, &key, &[id]);
        all_is_well(&state, &device, &TAGS[..1], up.listeners.mqtt.port());
        if reports < accident_at {
            assert!(reports > 1, "onboarding takes two reports at least");
            return;
        }
    }
}

/// Root CA, and key with certificate, under `tag`.
fn onboarding(root: &str, tag: u32) -> [Value; 2] {
    [
        json!({ "serverCertificate": { "secTag": tag, "content": root.trim_end() } }),
        json!({ "certificateSigningRequest":
            { "secTag": tag, "attributes": "", "keyUsage": "101010000", "issue": true } }),
    ]
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
