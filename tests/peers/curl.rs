//! curl as a device: the statuses of spec/device-protocol §5.1 and §5.2 to the letter, in HTTP/1.1 with a length, never
//! chunked, never a redirect. And curl as a browser that was led astray: the loopback listener answers to its own name.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use sectag_pki::PrivateKey;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::jwt::{self, Claims};
use sectag_proto::wire::{self, Action, DecodeLimits, WireCommand, WireResponse, WireResult};
use sectag_proto::{FirmwareId, Timestamp};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stranger::{Device, HOUR_MS, ask, at, have, text};
use support::{Home, Up};

/// As the firmware sends it the first time.
const QUERY: &str =
    "after=&rxMaxSize=1024&txMaxSize=2048&mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10";
const CBOR: &str = "application/cbor";
/// spec/device-protocol §5.1: what a client with the default buffer can spare for the head.
const HEAD_BYTES_BUDGET: usize = 250;

#[test]
fn a_device_is_served_with_200_and_204_over_tls_1_2_and_1_3() {
    if !have(&["curl"]) {
        return;
    }
    let desk = Desk::new();
    let mut device = Device::new(1).claimed(
        &desk.home,
        desk.up.listeners.loopback,
        &[
            json!({ "config": { "provisioning/interval-sec": "3600" } }),
            json!({ "atCommand": { "command": "%CMNG", "parameters": "1" } }),
            json!({ "finished": {} }),
        ],
    );
    for tls in [["--tls-max", "1.2"], ["--tlsv1.3", "-4"]] {
        let answer = desk.get(&device.good_jwt(), QUERY, &tls);
        assert_eq!(answer.status, 200, "the same again until it is reported");
        assert_eq!(answer.header("content-type"), Some(CBOR));
        assert!(answer.head_bytes <= HEAD_BYTES_BUDGET, "{answer:?}");
        assert_eq!(commands(&answer.body).len(), 3);
    }
    // Parameters by name, in any order; unknown and missing ones are no matter (G1 and G2 send no limit).
    let lenient = desk.get(
        &device.good_jwt(),
        "cver=1&mver=1.3.2&x=y&rxMaxSize=1024",
        &[],
    );
    assert_eq!(lenient.status, 200);
    let one = desk.get(
        &device.good_jwt(),
        &QUERY.replace("limit=10", "limit=1"),
        &[],
    );
    assert_eq!(commands(&one.body).len(), 1);

    // The whole answer fits the buffer that the device named.
    let batch = desk.get(&device.good_jwt(), QUERY, &[]);
    assert!(batch.head_bytes + batch.body.len() <= 1024);
    let report = wire::encode_responses(&answers(&commands(&batch.body)));
    for _ in 0..2 {
        let answer = desk.post(&device.good_jwt(), CBOR, &report, &[]);
        assert_eq!(
            answer.status, 200,
            "200, never 201 or 204, also the second time"
        );
        assert_eq!(answer.body, b"");
        assert_eq!(answer.header("content-length"), Some("0"));
    }
    let empty = desk.get(&device.good_jwt(), QUERY, &["--tls-max", "1.2"]);
    assert_eq!((empty.status, empty.body.len()), (204, 0));
    let queue = desk.home.json(&["commands", "list", &device.id]);
    for item in queue["items"].as_array().unwrap() {
        assert_eq!(item["status"], "SUCCEEDED", "{item}");
    }
}

#[test]
fn who_is_not_claimed_or_cannot_prove_it_gets_401() {
    if !have(&["curl"]) {
        return;
    }
    let desk = Desk::new();
    let finished = [json!({ "finished": {} })];
    let mut device = Device::new(2).claimed(&desk.home, desk.up.listeners.loopback, &finished);
    let mut unknown = Device::new(3);
    let minutes = Duration::from_secs(300);
    let good = device.good_jwt();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("{good}")
    };
    // {"typ":"JWT","alg":"none"}
    let none = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0";
    let swapped = |text: &str, at: usize| {
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    };
    let later = device.jwt(1000, minutes);
    let other_payload = later.split('.').nth(1).unwrap();
    assert_ne!(other_payload, payload);
    let cases = [
        ("unknown device", unknown.good_jwt()),
        ("expired", device.jwt(-HOUR_MS, minutes)),
        ("not yet valid", device.jwt(HOUR_MS, minutes)),
        ("no iat and exp", device.jwt(0, Duration::ZERO)),
        ("another key in its name", in_the_name_of(&device)),
        (
            "altered signature",
            format!("{header}.{payload}.{}", swapped(signature, 20)),
        ),
        (
            "another payload",
            format!("{header}.{other_payload}.{signature}"),
        ),
        (
            "altered header",
            format!("{}.{payload}.{signature}", swapped(header, 60)),
        ),
        ("alg none", format!("{none}.{payload}.")),
        (
            "alg none with a signature",
            format!("{none}.{payload}.{signature}"),
        ),
        ("no signature", format!("{header}.{payload}")),
        ("no JWT at all", "garbage".to_owned()),
        ("nothing", String::new()),
        (
            "attestation token of old clients",
            format!("att.{}", device.token()),
        ),
    ];
    for (what, token) in &cases {
        let fetched = desk.get(token, QUERY, &[]);
        assert_eq!(
            (fetched.status, fetched.body.len()),
            (401, 0),
            "fetch: {what}"
        );
        let reported = desk.post(token, CBOR, b"\x81\x82\x61a\x18\x66", &[]);
        assert_eq!(
            (reported.status, reported.body.len()),
            (401, 0),
            "report: {what}"
        );
    }
    let bare = desk.curl(&format!("/v1/provisioning/commands?{QUERY}"), &[]);
    assert_eq!(bare.status, 401, "no Authorization");
    let basic = desk.curl(
        &format!("/v1/provisioning/commands?{QUERY}"),
        &["-u", "owner:secret"],
    );
    assert_eq!(basic.status, 401, "not a bearer");

    // None of it changed anything: the device itself is served, and its command was not delivered before.
    let queue = desk.home.json(&["commands", "list", &device.id]);
    assert_eq!(queue["items"][0]["status"], "PENDING", "{queue}");
    assert_eq!(desk.get(&device.good_jwt(), QUERY, &[]).status, 200);
    // Blocked by its owner it hears that there is nothing (§10 rule 9).
    desk.home
        .sectag(&["devices", "block", &device.id])
        .expect_code(0);
    assert_eq!(desk.get(&device.good_jwt(), QUERY, &[]).status, 204);
}

#[test]
fn what_cannot_be_read_gets_400_or_415_and_changes_nothing() {
    if !have(&["curl"]) {
        return;
    }
    let desk = Desk::new();
    let finished = [json!({ "finished": {} })];
    let mut device = Device::new(4).claimed(&desk.home, desk.up.listeners.loopback, &finished);
    for query in [
        "rxMaxSize=many",
        "rxMaxSize=-1",
        "txMaxSize=99999999999",
        "limit=0",
        "limit=x",
        &format!("after={}", "a".repeat(46)),
    ] {
        assert_eq!(
            desk.get(&device.good_jwt(), query, &[]).status,
            400,
            "{query}"
        );
    }
    let before = desk.home.json(&["commands", "list", &device.id]);
    assert_eq!(before["items"][0]["status"], "PENDING");
    let batch = commands(&desk.get(&device.good_jwt(), QUERY, &[]).body);
    let good = wire::encode_responses(&answers(&batch));

    let mut indefinite = vec![0x9f];
    indefinite.extend_from_slice(&good[1..]);
    indefinite.push(0xff);
    let mut tagged = vec![0xc1];
    tagged.extend_from_slice(&good);
    let mut twice = good.clone();
    twice.extend_from_slice(&good);
    for (what, body) in [
        ("nothing", vec![]),
        ("garbage", b"\xff\xfe\xfd not cbor".to_vec()),
        ("an empty list", vec![0x80]),
        ("indefinite length", indefinite),
        ("a tag", tagged),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("something behind", twice),
        ("JSON", br#"[{"finished":{}}]"#.to_vec()),
        ("over 48 kB", vec![0x80; 64 * 1024]),
    ] {
        let answer = desk.post(&device.good_jwt(), CBOR, &body, &[]);
        assert_eq!((answer.status, answer.body.len()), (400, 0), "{what}");
    }
    for kind in [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "",
    ] {
        let answer = desk.post(&device.good_jwt(), kind, &good, &[]);
        assert_eq!((answer.status, answer.body.len()), (415, 0), "`{kind}`");
    }
    let still = desk.home.json(&["commands", "list", &device.id]);
    assert_eq!(still["items"][0]["status"], "IN_PROGRESS", "{still}");

    // On a GET the content type says nothing (§5.1 sends */*); a report without a length is read all the same.
    let any = desk.get(&device.good_jwt(), QUERY, &["-H", "Content-Type: */*"]);
    assert_eq!(any.status, 200);
    let chunked = desk.post(
        &device.good_jwt(),
        "Application/CBOR; q=1",
        &good,
        &["-H", "Transfer-Encoding: chunked"],
    );
    assert_eq!(chunked.status, 200);
    assert_eq!(desk.get(&device.good_jwt(), QUERY, &[]).status, 204);
}

#[test]
fn no_path_or_method_is_answered_with_a_redirect() {
    if !have(&["curl"]) {
        return;
    }
    let desk = Desk::new();
    for (path, args, status) in [
        ("/", &[][..], 404),
        ("/v1/provisioning/commands/", &[], 404),
        ("//v1/provisioning/commands", &["--path-as-is"], 404),
        ("/v1/provisioning", &[], 404),
        ("/v1/status", &[], 404),
        ("/v1/provisioning/commands", &["-X", "DELETE"], 400),
        ("/v1/provisioning/commands", &["-d", "x"], 400),
        ("/v1/provisioning/response", &[], 400),
    ] {
        let answer = desk.curl(path, args);
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, 0),
            "{path} {args:?}"
        );
    }
}

#[test]
fn the_loopback_listener_answers_to_its_own_name_only() {
    if !have(&["curl"]) {
        return;
    }
    let desk = Desk::new();
    let loopback = desk.up.listeners.loopback;
    let key = desk.home.read("owner.key");
    let bearer = format!("Authorization: Bearer {}", key.trim());
    let url = format!("http://{loopback}/v1/keys");
    let ask = |more: &[&str]| {
        let args = [&["-H", &bearer, &url][..], more].concat();
        desk.answer(&args)
    };
    let port = loopback.port();
    for own in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("LocalHost:{port}"),
    ] {
        assert_eq!(ask(&["-H", &format!("Host: {own}")]).status, 200, "{own}");
    }
    let foreign = [
        format!("Host: attacker.example:{port}"),
        "Host: attacker.example".to_owned(),
        "Host: localhost".to_owned(),
        format!("Host: localhost.attacker.example:{port}"),
        format!("Host: [::ffff:127.0.0.1]:{port}"),
        "Host;".to_owned(),
        format!("Origin: http://attacker.example:{port}"),
        format!("Origin: https://127.0.0.1:{port}"),
        "Origin: null".to_owned(),
    ];
    for header in &foreign {
        for body in [&[][..], &["-d", r#"{"name":"mine","role":"owner"}"#]] {
            let refused = ask(&[&["-H", header][..], body].concat());
            assert_eq!(refused.status, 403, "{header} {body:?}");
            let told: Value = serde_json::from_slice(&refused.body).unwrap();
            assert_eq!(told["code"], 40301, "{told}");
            assert_eq!(refused.header("access-control-allow-origin"), None);
        }
    }
    assert_eq!(
        ask(&["-H", &format!("Origin: http://127.0.0.1:{port}")]).status,
        200
    );
    let keys: Value = serde_json::from_slice(&ask(&[]).body).unwrap();
    assert_eq!(
        keys["items"].as_array().unwrap().len(),
        1,
        "none was made: {keys}"
    );
}

#[test]
fn the_owner_api_speaks_tls_1_2_and_1_3_on_its_own_listener() {
    if !have(&["curl"]) {
        return;
    }
    let desk = Desk::new();
    let root = at(&desk.home, "ca/root.crt");
    let bearer = format!(
        "Authorization: Bearer {}",
        desk.home.read("owner.key").trim()
    );
    let url = format!(
        "https://localhost:{}/v1/status",
        desk.up.listeners.owner.port()
    );
    for tls in [["--tls-max", "1.2"], ["--tlsv1.3", "-4"]] {
        let args = ["--cacert", &root, "-H", &bearer, &url];
        let answer = desk.answer(&[&args[..], &tls].concat());
        assert_eq!(answer.status, 200);
        let facts: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(facts["devices"]["claimed"], 0, "{facts}");
    }
    let anonymous = desk.answer(&["--cacert", &root, &url]);
    assert_eq!(anonymous.status, 401);
    assert_eq!(anonymous.header("www-authenticate"), Some("Bearer"));
}

struct Desk {
    home: Home,
    up: Up,
}

/// One answer, already checked for what holds for every one: HTTP/1.1, a length, no chunks, no redirect.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    head_bytes: usize,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        Self { home, up }
    }

    fn get(&self, token: &str, query: &str, more: &[&str]) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        let args = ["-H", &bearer, "-H", "Accept: application/cbor"];
        self.curl(
            &format!("/v1/provisioning/commands?{query}"),
            &[&args[..], more].concat(),
        )
    }

    /// An empty `kind` sends no content type.
    fn post(&self, token: &str, kind: &str, body: &[u8], more: &[&str]) -> Answer {
        let file = self.home.beside("report.cbor");
        std::fs::write(&file, body).unwrap();
        let (data, bearer) = (
            format!("@{}", text(file)),
            format!("Authorization: Bearer {token}"),
        );
        let kind = format!("Content-Type: {kind}");
        let args = ["--data-binary", &data, "-H", &kind, "-H", &bearer];
        self.curl("/v1/provisioning/response", &[&args[..], more].concat())
    }

    /// The device listener, by name and with our root as the only one trusted.
    fn curl(&self, path: &str, more: &[&str]) -> Answer {
        let root = at(&self.home, "ca/root.crt");
        let url = format!(
            "https://localhost:{}{path}",
            self.up.listeners.device.port()
        );
        let args = [
            "--cacert",
            &root,
            "-A",
            "Zephyr/4.1 (test)",
            "-H",
            "Connection: close",
            &url,
        ];
        let answer = self.answer(&[&args[..], more].concat());
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        answer
    }

    fn answer(&self, args: &[&str]) -> Answer {
        let (head, body) = (self.home.beside("head"), self.home.beside("body"));
        let _ = std::fs::remove_file(&body);
        let (head_file, body_file) = (text(head.clone()), text(body.clone()));
        let fixed = [
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ];
        let out = [
            "-D",
            &head_file,
            "-o",
            &body_file,
            "-w",
            "%{http_code} %{http_version} %{num_redirects}",
        ];
        let said = ask("curl", &[&fixed[..], &out, args].concat()).expect_code(0);
        let status: u16 = said.stdout[..3].parse().unwrap();
        assert_eq!(said.stdout, format!("{status} 1.1 0"), "{args:?}");
        // A 100 before the answer to a large report has a head of its own.
        let head = std::fs::read_to_string(&head).unwrap();
        let head = head
            .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
            .unwrap_or(&head);
        let answer = Answer {
            status,
            head: head.to_owned(),
            head_bytes: head.len(),
            body: std::fs::read(&body).unwrap_or_default(),
        };
        assert!(!(300..400).contains(&status), "{answer:?}");
        assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
        assert_eq!(answer.header("location"), None, "{answer:?}");
        let length = answer.header("content-length");
        if status == 204 {
            assert_eq!(length, None, "RFC 9110 §8.6: {answer:?}");
        } else {
            let length: usize = length.expect("a length").parse().unwrap();
            assert_eq!(length, answer.body.len(), "{answer:?}");
        }
        answer
    }
}

fn commands(body: &[u8]) -> Vec<WireCommand> {
    let limits = DecodeLimits {
        records_max: 10,
        config_pairs_max: 10,
        bytes_max: 1024,
    };
    wire::decode_commands(body, limits).unwrap()
}

/// All of them went well.
fn answers(batch: &[WireCommand]) -> Vec<WireResponse> {
    batch
        .iter()
        .map(|command| WireResponse {
            correlation: command.correlation.clone(),
            result: match command.action {
                Action::At { .. } => WireResult::AtDone {
                    message: "OK\r\n".to_owned(),
                },
                Action::Config(_) => WireResult::ConfigStored,
                Action::Finished => WireResult::Finished,
            },
        })
        .collect()
}

/// A JWT that is good in all but the key.
fn in_the_name_of(device: &Device) -> String {
    struct Foreign(PrivateKey);
    impl SignEs256 for Foreign {
        fn sign(&self, message: &[u8]) -> Signature {
            Signature(self.0.sign(message).unwrap())
        }

        fn public_key(&self) -> PublicKey {
            PublicKey::from_spki_der(&self.0.spki_der()).unwrap()
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = Claims {
        chip: "nRF9151",
        device: device.id.parse().unwrap(),
        firmware: FirmwareId::from_bytes([7; 16]),
        nonce: [1; 16],
        validity: Some((
            Timestamp::from_secs(now.as_secs()),
            Duration::from_secs(300),
        )),
        subject: "",
        audience: "",
    };
    jwt::sign(&claims, &Foreign(PrivateKey::generate().unwrap()))
}
