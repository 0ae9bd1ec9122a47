//! Strangers judge the CoAP door of the service: a C program on libcoap with either of its TLS libraries, Debian's CoAP client,
//! `openssl`, GnuTLS, and a client with Connection ID whose port changes.
//!
//! Without the programs these tests say so in one line and pass; with `SECTAG_PEERS=require` they fail.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../../../tests/peers/dtls/foreign.rs"]
mod foreign;
mod support;
#[path = "../../../tests/peers/dtls/tools.rs"]
mod tools;
#[path = "../../../tests/peers/coap/words.rs"]
mod words;

use foreign::{Foreign, Nonces, Server};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::Town;
use support::device::FakeDevice;
use tools::{Desk, Tool, have};
use words::{GET, POST, answer, request};

const FETCH: [&str; 4] = ["after=", "rxMaxSize=4096", "txMaxSize=4096", "limit=10"];
const VERSIONS: [&str; 2] = ["mver=mfw_nrf91x1_2.0.2", "cver=3.1.0"];
const LIBCOAP: &str = "/usr/include/coap3/coap.h";

fn door(town: &Town) -> Server {
    Server {
        address: town.service().addresses().coap.unwrap(),
        root_pem: town.root.clone(),
        name: "localhost".to_owned(),
    }
}

/// A claimed device with a queue whose batch and report do not fit one block of 256 bytes.
async fn device_with_a_long_queue(town: &Town) -> FakeDevice {
    let device = FakeDevice::new(1);
    assert_eq!(town.claim(&device).await.status, 201);
    for n in 0..7 {
        let value = format!("{n}").repeat(80);
        town.queue(&device, json!({"config": {format!("app/{n}"): value}}))
            .await;
    }
    town.queue(
        &device,
        json!({"clientPrivateKeyGeneration": {"secTag": 42}}),
    )
    .await;
    device
}

async fn statuses(town: &Town, device: &FakeDevice) -> Vec<Value> {
    let items = town.commands(device).await;
    items.iter().map(|item| item["status"].clone()).collect()
}

/// The C program, linked with one of libcoap's builds.
fn program(library: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/coap/device.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("coap-device-{library}"));
    let output = Command::new("cc")
        .args([
            "-std=c11",
            "-D_DEFAULT_SOURCE",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-o",
        ])
        .args([&program, &source])
        .arg(format!("-lcoap-3-{library}"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    program
}

/// Blocking work beside the service, which runs on this test's thread.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn a_c_device_provisions_itself(library: &'static str) {
    if !have(&["cc", LIBCOAP]) {
        return;
    }
    let town = Town::start().await;
    let mut device = device_with_a_long_queue(&town).await;
    let desk = Desk::new(&door(&town));
    let jwt = device.jwt(town.now());
    assert!(jwt.len() > 256);
    town.log.forbid(&jwt);
    std::fs::write(desk.path("jwt"), &jwt).unwrap();
    let port = door(&town).address.port().to_string();

    let (device, said) = beside(move || {
        let mut command = Command::new(program(library));
        command
            .arg(port)
            .arg(desk.path("root.pem"))
            .arg("localhost")
            .arg(desk.path("jwt"));
        let mut tool = Tool::start(command);
        let mut batches = 0;
        while let Some(line) = tool.line() {
            if let Some(batch) = line.strip_prefix("batch ") {
                batches += 1;
                let (after, report, _) = device.run(&of_hex(batch));
                tool.write(&format!("{after}\n{}\n", hex(&report)));
            }
        }
        assert!(batches > 0);
        let (code, said) = tool.finish();
        assert_eq!(code, Some(0), "{said}");
        (device, said)
    })
    .await;

    let count = |line: &str| said.lines().filter(|said| *said == line).count();
    assert_eq!(
        count("server localhost verified"),
        1,
        "one handshake, with the name checked: {said}"
    );
    assert_eq!(
        count("p/cmd 4.01 0 bytes"),
        1,
        "before it was admitted: {said}"
    );
    assert_eq!(count("p/auth-jwt 2.01 0 bytes"), 1, "{said}");
    assert!(
        said.contains("\nadmitted for ") && !said.contains("\nadmitted for 0 s"),
        "{said}"
    );
    assert!(
        count("2.31 Block1:0/M/256") > 1,
        "the token and the report came in blocks: {said}"
    );
    assert!(
        count("2.05 Block2:1/M/256") > 0,
        "the batch left in blocks: {said}"
    );
    assert!(count("p/rsp 2.04 0 bytes") > 0, "{said}");
    let statuses = statuses(&town, &device).await;
    assert!(
        statuses.iter().all(|status| status == "SUCCEEDED"),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn a_c_device_on_libcoap_with_openssl_provisions_itself_in_one_session() {
    a_c_device_provisions_itself("openssl").await;
}

#[tokio::test]
async fn a_c_device_on_libcoap_with_gnutls_provisions_itself_in_one_session() {
    a_c_device_provisions_itself("gnutls").await;
}

async fn debians_client_is_admitted_and_a_new_session_is_not(program: &'static str) {
    if !have(&[program]) {
        return;
    }
    let town = Town::start().await;
    let device = device_with_a_long_queue(&town).await;
    let desk = Desk::new(&door(&town));
    let jwt = device.jwt(town.now());
    town.log.forbid(&jwt);
    std::fs::write(desk.path("jwt"), &jwt).unwrap();
    let address = door(&town).address;
    let ask = move |arguments: &[&str], path: &str| {
        let mut command = Command::new(program);
        command
            .args(["-v", "7", "-B", "10", "-b", "256", "-R"])
            .arg(desk.path("root.pem"));
        command
            .args(arguments)
            .arg(format!("coaps://{address}/{path}"))
            .current_dir(desk.path(""));
        Tool::start(command).finish()
    };
    let (auth, fetch) = beside(move || {
        let auth = ask(
            &["-m", "post", "-t", "60", "-f", "jwt"],
            &format!("p/auth-jwt?{}&{}", VERSIONS[0], VERSIONS[1]),
        );
        (
            auth,
            ask(&["-m", "get"], &format!("p/cmd?{}", FETCH.join("&"))),
        )
    })
    .await;
    assert!(auth.1.contains("Block1:1/"), "{}", auth.1);
    assert!(auth.1.contains("c:2.01"), "{}", auth.1);
    assert!(auth.1.contains("Max-Age:"), "{}", auth.1);
    assert!(
        fetch.1.contains("c:4.01"),
        "a grant belongs to the session that earned it: {}",
        fetch.1
    );
    assert!(!fetch.1.contains("c:2.05"), "{}", fetch.1);
    let statuses = statuses(&town, &device).await;
    assert!(
        statuses.iter().all(|status| status == "PENDING"),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn debians_openssl_client_is_admitted_and_its_next_session_is_not() {
    debians_client_is_admitted_and_a_new_session_is_not("coap-client-openssl").await;
}

#[tokio::test]
async fn debians_gnutls_client_is_admitted_and_its_next_session_is_not() {
    debians_client_is_admitted_and_a_new_session_is_not("coap-client-gnutls").await;
}

/// A CoAP ping, an empty confirmable message, is answered by a reset (RFC 7252 §4.3).
const PING: &str = "\x40\x00\x00\x07";
const PONG: &str = "p\0\0\x07";

fn ping(command: Command) -> String {
    let mut tool = Tool::start(command);
    tool.until_any(&["Simple Client Mode", "Verify return code: 0", "Reused, "]);
    tool.write(PING);
    tool.until(PONG);
    let (code, text) = tool.finish();
    assert_eq!(code, Some(0), "{text}");
    text
}

#[tokio::test]
async fn openssl_and_gnutls_find_the_right_server_and_resume() {
    if !have(&["openssl", "gnutls-cli"]) {
        return;
    }
    let town = Town::start().await;
    let desk = Desk::new(&door(&town));
    beside(move || {
        for flags in [
            &[][..],
            &["-no_ticket"],
            &["-cipher", "ECDHE-ECDSA-AES128-CCM8"],
            &["-cipher", "ECDHE-ECDSA-AES128-SHA256"],
        ] {
            let text = ping(desk.s_client(&[flags, &["-sess_out", "session"]].concat()));
            assert!(
                text.contains("Verification: OK") && text.contains("New, "),
                "{text}"
            );
            let text = ping(desk.s_client(&[flags, &["-sess_in", "session"]].concat()));
            assert!(text.contains("Reused, "), "{text}");
        }
        for flag in ["", ":%NO_TICKETS"] {
            let text = ping(desk.gnutls_cli(flag, &["--resume"]));
            assert!(
                text.contains("Status: The certificate is trusted."),
                "{text}"
            );
            assert!(text.contains("*** This is a resumed session"), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_stays_admitted_while_its_port_changes() {
    let town = Town::start().await;
    let mut device = device_with_a_long_queue(&town).await;
    let server = door(&town);
    let jwt = device.jwt(town.now());
    town.log.forbid(&jwt);
    let (device, client) = beside(move || {
        let mut client = Foreign::connect(&server, None).unwrap();
        assert_eq!(client.server_cid().map(|cid| cid.len()), Some(8));
        let mut id = 100;
        let mut ask =
            |client: &mut Foreign, code, path: &str, queries: &[&str], payload: Option<&[u8]>| {
                id += 1;
                client.rebind();
                let heard = client
                    .ask(&request(code, id, path, queries, payload))
                    .expect("an answer");
                answer(&heard)
            };
        assert_eq!(ask(&mut client, GET, "cmd", &FETCH, None).code, "4.01");
        let admitted = ask(
            &mut client,
            POST,
            "auth-jwt",
            &VERSIONS,
            Some(jwt.as_bytes()),
        );
        assert_eq!(admitted.code, "2.01");
        assert!(admitted.max_age.is_some_and(|seconds| seconds > 0));
        // Two batches, since the certificate is made from the first one's results; the first message of a long answer is enough.
        let first = ask(
            &mut client,
            GET,
            "cmd",
            &["after=", "rxMaxSize=900", "txMaxSize=4096", "limit=3"],
            None,
        );
        assert_eq!(first.code, "2.05");
        let (_, report, _) = device.run(&first.payload);
        assert_eq!(
            ask(&mut client, POST, "rsp", &[], Some(&report)).code,
            "2.04"
        );
        (device, client)
    })
    .await;
    let done = statuses(&town, &device).await;
    assert_eq!(
        done.iter().filter(|status| *status == "SUCCEEDED").count(),
        3,
        "{done:?}"
    );
    let mut nonces = Nonces::default();
    nonces.add(0, &client.heads);
    nonces.assert_never_twice();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
