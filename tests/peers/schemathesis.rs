//! schemathesis against a running service, with a key of each role and with none: what the service answers is what its
//! OpenAPI document says, in status, type and shape, and nothing it is sent makes it fail.
//!
//! Bounded here; `make soak` gives it longer by `SECTAG_JUDGE_S`, the seconds of one run.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use stranger::{Device, text};
use support::{Home, Up, owner};

/// Seconds of one run, if nothing else is asked for. There are seven, as many at a time as there are cores.
const RUN_S: u64 = 35;
/// Devices that are claimed before a run, and as many that are not.
const DEVICES: u64 = 12;

#[test]
fn without_a_key() {
    judge(|_| None);
}

#[test]
fn as_a_viewer() {
    judge(|desk| Some(desk.key(&json!({ "name": "judge", "role": "viewer" }))));
}

#[test]
fn as_an_editor() {
    judge(|desk| Some(desk.key(&json!({ "name": "judge", "role": "editor" }))));
}

#[test]
fn as_an_editor_of_some_devices() {
    let key = json!({ "name": "judge", "role": "editor", "tags": ["lot-1", "lot-2"] });
    judge(|desk| Some(desk.key(&key)));
}

#[test]
fn as_an_admin() {
    judge(|desk| Some(desk.key(&json!({ "name": "judge", "role": "admin" }))));
}

#[test]
fn as_an_owner() {
    judge(|desk| Some(desk.key(&json!({ "name": "judge", "role": "owner" }))));
}

#[test]
fn as_an_owner_of_another_team() {
    judge(|desk| {
        let team = json!({ "name": "others" });
        let team = desk.call(&desk.key, "POST", "/v1/teams", Some(&team));
        let key = json!({ "name": "judge", "role": "owner", "team": team["id"] });
        Some(desk.key(&key))
    });
}

/// With what key the desk gives.
fn judge(key: impl FnOnce(&Desk) -> Option<String>) {
    let Some(program) = schemathesis() else {
        return;
    };
    let desk = Desk::new();
    desk.lay_out();
    let key = key(&desk);
    let mut command = Command::new(program);
    command
        .args([
            "--config-file",
            &desk.file("judge.toml"),
            "--no-color",
            "run",
        ])
        .arg(desk.file("openapi.json"))
        .args(["--url", &format!("http://{}", desk.up.listeners.loopback)])
        .args(["--max-time", &seconds().to_string()])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--workers", "1", "--continue-on-failure", "--no-shrink"])
        .args(["--generation-database", "none", "--output-sanitize", "true"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .current_dir(desk.dir())
        .stdin(Stdio::null());
    if let Some(key) = &key {
        command.args(["--header", &format!("Authorization:Bearer {key}")]);
    }
    let run = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    // Seen with --nocapture.
    println!("{said}");
    assert!(run.status.success(), "{said}");
    // Still there, and itself.
    let log = std::fs::read_to_string(desk.home.beside("up.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
    let health = owner::call(desk.up.listeners.loopback, "", "GET", "/healthz", None).unwrap();
    assert_eq!(health.status, 200, "{said}");
    if let Some(key) = &key {
        let status = desk.call(key, "GET", "/v1/status", None);
        assert!(
            status["devices"].is_object(),
            "the key was lost on the way: {said}"
        );
    }
}

fn seconds() -> u64 {
    std::env::var("SECTAG_JUDGE_S")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(RUN_S)
}

/// Where `tools/packages` puts it.
fn schemathesis() -> Option<PathBuf> {
    let home = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/peers/schemathesis"
    );
    let program = Path::new(home).join("bin/schemathesis");
    if program.is_file() {
        return Some(program);
    }
    let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
    assert!(
        !required,
        "schemathesis is not installed and SECTAG_PEERS=require"
    );
    let _ = writeln!(std::io::stderr(), "skipped: schemathesis is not installed");
    None
}

/// A service with devices, commands and keys, and the files that schemathesis reads.
struct Desk {
    home: Home,
    up: Up,
    key: String,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        let key = home.read("owner.key").trim().to_owned();
        Self { home, up, key }
    }

    fn dir(&self) -> PathBuf {
        self.home.beside("")
    }

    fn file(&self, name: &str) -> String {
        text(self.home.beside(name))
    }

    fn call(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = owner::call(self.up.listeners.loopback, key, method, path, body).unwrap();
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.body
    }

    /// Makes an API key.
    fn key(&self, asked: &Value) -> String {
        let made = self.call(&self.key, "POST", "/v1/keys", Some(asked));
        made["key"].as_str().unwrap().to_owned()
    }

    fn lay_out(&self) {
        let write = |name: &str, lines: &[String]| {
            let quoted: Vec<String> = lines.iter().map(|line| format!("\"{line}\"")).collect();
            std::fs::write(self.home.beside(name), quoted.join("\n")).unwrap();
        };
        let (mut ids, mut tokens) = (Vec::new(), Vec::new());
        for seed in 1..=2 * DEVICES {
            let mut device = Device::new(seed);
            ids.push(device.id.clone());
            tokens.push(device.token());
            if seed > DEVICES {
                continue;
            }
            let body =
                json!({ "claimToken": device.token(), "tags": [format!("lot-{}", seed % 3)] });
            self.call(&self.key, "POST", "/v1/claimed-devices", Some(&body));
            let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
            for request in [
                json!({ "certificateSigningRequest": { "secTag": 1, "keyUsage": "101010000" } }),
                json!({ "preSharedKey": { "secTag": 2, "identity": "me", "secret": "00ff" } }),
                json!({ "finished": {} }),
            ] {
                let body = json!({ "request": request });
                self.call(&self.key, "POST", &path, Some(&body));
            }
        }
        let names: Vec<String> = (0..20).map(|n| format!("spare-{n}")).collect();
        for name in &names[..10] {
            self.key(&json!({ "name": name, "role": "viewer" }));
        }
        write("devices", &ids);
        write("tokens", &tokens);
        write("keys", &names);
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/peers/schemathesis"
        );
        std::fs::copy(
            Path::new(folder).join("judge.toml"),
            self.file("judge.toml"),
        )
        .unwrap();
        let document = self.home.sectag(&["openapi"]).expect_code(0).stdout;
        std::fs::write(self.file("openapi.json"), document).unwrap();
    }
}
