//! With every log level on, of our own crates and of all libraries, no secret is anywhere: a whole run over HTTPS, CoAP and MQTT
//! with claims, bulk, rules, keys, PSKs, private keys with their passwords, webhooks and followers; then every stream that a
//! program wrote, every delivery, and every file of the database is searched.
#![allow(clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use sectag_pki::PrivateKey;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::Home;
use support::owner::call;

const PSK: &str = "5ec2e7c0ffee4badc0de0123456789ab";
const RULE_PSK: &str = "0ddba11c0ffee4badc0de0123456789a";
const PASSWORD: &str = "Corr3ct-H0rse-Batt3ry";
const LOUD: [(&str, &str); 2] = [("SECTAG_LOG", "trace"), ("RUST_LOG", "trace")];

/// Everything that was said, by whom.
#[derive(Default)]
struct Said(RefCell<Vec<(String, String)>>);

impl Said {
    fn add(&self, who: &str, text: &str) {
        self.0.borrow_mut().push((who.to_owned(), text.to_owned()));
    }

    fn assert_without(&self, what: &str, secret: &str) {
        assert!(secret.len() >= 3);
        for (who, text) in self.0.borrow().iter() {
            if let Some(at) = text.find(secret) {
                let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
                let line = text[start..].lines().next().unwrap_or_default();
                panic!("{what} was printed by {who}: {line}");
            }
        }
    }

    fn has(&self, who: &str, words: &str) -> bool {
        self.0
            .borrow()
            .iter()
            .any(|(by, text)| by == who && text.contains(words))
    }
}

/// A receiver that keeps every byte.
fn receiver() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let came = Arc::new(Mutex::new(String::new()));
    let taken = came.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, taken) = (stream.unwrap(), taken.clone());
            std::thread::spawn(move || {
                let mut part = [0; 65536];
                while let Ok(read @ 1..) = stream.read(&mut part) {
                    let text = String::from_utf8_lossy(&part[..read]).into_owned();
                    let whole = text.trim_end().ends_with('}');
                    taken.lock().unwrap().push_str(&text);
                    if whole {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                }
            });
        }
    });
    (url, came)
}

/// `sectag events`, ended when dropped.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(home: &Home, out: &Path) -> Follower {
    let mut command = support::sectag(&home.path());
    command
        .args(["events", "--after", "0", "--json", "-vv"])
        .envs(LOUD)
        .stdin(Stdio::null())
        .stdout(File::create(out).unwrap())
        .stderr(File::create(out.with_extension("err")).unwrap());
    Follower(command.spawn().unwrap())
}

#[test]
fn with_every_log_level_on_no_secret_is_printed_anywhere() {
    let home = Home::new();
    let up = home.up(&LOUD);
    let key = home.read("owner.key");
    let said = Said::default();
    let mut secrets = vec![("the API key", key.trim().to_owned())];

    let stream = home.beside("events.ndjson");
    let follower = follow(&home, &stream);
    let (url, came) = receiver();
    let made = home
        .sectag_with(&["webhooks", "add", &url, "-vv"], &LOUD)
        .expect_code(0);
    let secret = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("secret  "))
        .unwrap();
    secrets.push(("a webhook's secret", secret.to_owned()));
    said.add("webhooks add", &made.stderr);

    let created = home
        .sectag_with(&["keys", "create", "another", "-vv"], &LOUD)
        .expect_code(0);
    secrets.push(("another API key", created.stdout.trim().to_owned()));
    assert!(created.stdout.starts_with("sectag_"), "{created:?}");
    said.add("keys create", &created.stderr);

    // Three devices; the first shows its token as long as nobody claimed it.
    let blank = home.sectag_with(&["device", "run", "-vv"], &LOUD);
    let mut ids = Vec::new();
    for name in ["device-1", "two", "three"] {
        let made = home.json(&["device", "token", "--name", name]);
        let token = made["claimToken"].as_str().unwrap().to_owned();
        ids.push((made["id"].as_str().unwrap().to_owned(), token.clone()));
        secrets.push(("a claim token", token));
    }
    said.add("device run", &blank.stderr.replace(&ids[0].1, ""));

    let key_pem = PrivateKey::generate().unwrap().to_pem();
    let with_key = json!({ "clientPrivateKey": { "secTag": 50, "content": key_pem.trim_end(), "password": PASSWORD } });
    let with_psk = json!({ "preSharedKey": { "secTag": 51, "identity": "me", "secret": PSK } });
    let rule = json!({ "name": "secrets for the roof", "active": true, "tags": ["roof"], "commands": [
        { "request": { "preSharedKey": { "secTag": 60, "identity": "roof", "secret": RULE_PSK } } } ] });
    let at = up.listeners.loopback;
    let asked = |method: &str, path: &str, body: Option<&Value>| {
        let answer = call(at, &key, method, path, body).unwrap();
        assert!(
            answer.status < 300,
            "{method} {path}: {} {}",
            answer.status,
            answer.body
        );
        answer.body.to_string()
    };
    said.add(
        "rules",
        &asked("POST", "/v1/provisioning-rules", Some(&rule)),
    );
    said.add("rules", &asked("GET", "/v1/provisioning-rules", None));
    let wrong = json!({ "request": { "preSharedKey": { "secTag": PSK, "identity": "me", "secret": PASSWORD } } });
    // The caller hears its own mistake; nobody else does.
    let _ = call(
        at,
        &key,
        "POST",
        &format!("/v1/claimed-devices/{}/provisioning", ids[0].0),
        Some(&wrong),
    );

    let run = |args: &[&str]| {
        let output = home.sectag_with(&[args, &["-vv"]].concat(), &LOUD);
        // A device may fail at a key with a password, but everything is tried.
        let tried = output.code == Some(0) || (args[0] == "device" && output.code == Some(1));
        assert!(tried, "{args:?} {output:?}");
        said.add(
            &args[..2].join(" "),
            &format!("{}{}", output.stdout, output.stderr),
        );
    };
    run(&["claim", &ids[0].1, "--onboard", "42"]);
    run(&["claim", &ids[1].1, "--tag", "roof"]);
    run(&["device", "run"]);
    run(&[
        "mqtt",
        "pub",
        "--name",
        "device-1",
        "--sec-tag",
        "42",
        "-t",
        "~/hello",
        "-m",
        "x",
    ]);
    for request in [&with_psk, &with_key] {
        run(&[
            "commands",
            "add",
            &ids[0].0,
            &request.to_string(),
            "{\"finished\":{}}",
        ]);
        run(&["device", "run"]);
    }
    // The rule's device comes over CoAP, where that is built in.
    match cfg!(feature = "coap") {
        true => run(&["device", "run", "--name", "two", "--transport", "coap"]),
        false => run(&["device", "run", "--name", "two"]),
    }
    // The third by CSV, in a body that is refused in part.
    let csv = home.beside("bulk.csv");
    std::fs::write(&csv, format!("\"{}\",\"roof\"\n\"nonsense\"\n", ids[2].1)).unwrap();
    bulk(at, &key, &std::fs::read_to_string(&csv).unwrap());
    run(&["device", "run", "--name", "three"]);
    run(&["commands", "list", &ids[0].0]);
    run(&["commands", "list", &ids[1].0]);
    run(&["audit", "export"]);
    run(&["webhooks", "list"]);
    run(&["alarms", "--all"]);
    let commands = home.json(&["commands", "list", &ids[1].0]).to_string();
    assert!(
        commands.contains("preSharedKey") && commands.contains("SUCCEEDED"),
        "{commands}"
    );
    said.add("commands", &commands);
    said.add("metrics", &text_of(at, "/metrics"));

    // All of it was told: the last thing that happened is in the stream and at the receiver.
    run(&["keys", "create", "the-last"]);
    let begun = Instant::now();
    loop {
        let streamed = std::fs::read_to_string(&stream).unwrap();
        let delivered = came.lock().unwrap().clone();
        if streamed.contains("the-last") && delivered.contains("the-last") {
            said.add("events", &streamed);
            said.add("webhook", &delivered);
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{streamed}\n{delivered}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(follower);
    said.add(
        "events' log",
        &std::fs::read_to_string(stream.with_extension("err")).unwrap(),
    );
    said.add("up", &up.log());
    // Loud it was: ours, and libraries by both facades.
    for words in ["TRACE", "device claimed", "rustls", "commands delivered"] {
        assert!(said.has("up", words), "{words}");
    }
    assert!(said.has("audit export", "command-created"));
    // While it runs, with the log of the database beside it; and after its end.
    database(&home, &said);

    assert!(up.stop().success());
    said.add(
        "up",
        &std::fs::read_to_string(home.beside("up.log")).unwrap(),
    );
    database(&home, &said);

    secrets.extend([
        ("a PSK", PSK.to_owned()),
        ("a rule's PSK", RULE_PSK.to_owned()),
        ("a password", PASSWORD.to_owned()),
        ("a JWT", "eyJ".to_owned()),
    ]);
    for file in [
        "audit.key",
        "ca/root.key",
        "ca/servers.key",
        "ca/devices.key",
        "tls/server.key",
        "operator/operator.key",
    ] {
        secrets.extend(body(&home.read(file)).map(|line| ("a key of the home", line)));
    }
    secrets.extend(body(&key_pem).map(|line| ("a private key of a command", line)));
    for (what, secret) in secrets {
        said.assert_without(what, &secret);
    }
}

/// All files of the database, as text.
fn database(home: &Home, said: &Said) {
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("sectag.db") {
            let bytes = std::fs::read(&path).unwrap();
            said.add(&name, &String::from_utf8_lossy(&bytes));
        }
    }
}

fn bulk(at: std::net::SocketAddr, key: &str, csv: &str) {
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    let request = format!(
        "POST /v1/claimed-devices HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Content-Type: text/csv\r\nContent-Length: {}\r\n\r\n{csv}",
        key.trim(),
        csv.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("claimedIds"),
        "{answer}"
    );
}

fn text_of(at: std::net::SocketAddr, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("sectag_claims_total"), "{answer}");
    answer
}

/// The lines of a PEM text that are the secret.
fn body(pem: &str) -> impl Iterator<Item = String> {
    let lines: Vec<String> = pem
        .lines()
        .filter(|line| !line.starts_with("---") && line.len() >= 8)
        // Every P-256 key begins alike.
        .filter(|line| !line.starts_with("MIG"))
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty());
    lines.into_iter()
}
