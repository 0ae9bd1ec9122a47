//! The vendor's own host tools against the virtual modem on a pty, unmodified but for how they find a serial port:
//! nrfcredstore with every subcommand, nrfcloud-utils from CA to verified credentials. And `sectag creds` beside them.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "nrf_tools/bench.rs"]
mod bench;
#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use bench::{Bench, Listed, have_tools};
use serde_json::Value;
use std::path::Path;
use stranger::mosquitto::{Clients, Mosquitto};
use stranger::{ask, have, text};

const SEC_TAG: u32 = 16_842_753;
const TAG: &str = "77";

/// spec/modem-at §4: what a factory-fresh list shows above the users' tags.
const OWN_ENTRIES: usize = 3;

#[test]
fn nrfcredstore_and_sectag_creds_see_the_same_behind_an_at_host() {
    nrfcredstore_passes_every_subcommand("at");
}

#[test]
fn nrfcredstore_and_sectag_creds_see_the_same_behind_a_shell() {
    nrfcredstore_passes_every_subcommand("shell");
}

#[test]
fn credentials_installed_through_an_at_host_open_an_mqtt_session() {
    nrfcloud_utils_complete("at");
}

#[test]
fn credentials_installed_through_a_shell_open_an_mqtt_session() {
    nrfcloud_utils_complete("shell");
}

fn nrfcredstore_passes_every_subcommand(mode: &'static str) {
    if !have_tools() || !have(&["openssl"]) {
        return;
    }
    let bench = Bench::new(mode);
    let tool = |args: &[&str]| bench.tool("nrfcredstore", &[&[bench.port()], args].concat());

    let imei = tool(&["imei"]).expect_code(0).stdout;
    let ours = bench.creds(&["imei"]).expect_code(0).stdout;
    assert_eq!(imei.trim(), format!("IMEI: {}", ours.trim()), "{mode}");

    let token = tool(&["attoken"]).expect_code(0).stdout;
    let token = token.trim().strip_prefix("Attestation token: ").unwrap();
    assert_eq!(
        device_of(token),
        device_of(bench.creds(&["attest"]).expect_code(0).stdout.trim())
    );

    assert_eq!(
        listed(&tool(&["list"]).expect_code(0).stdout).len(),
        OWN_ENTRIES,
        "{mode}"
    );

    let pem = bench.certificate();
    tool(&["write", TAG, "ROOT_CA_CERT", &pem]).expect_code(0);
    let theirs = listed(
        &tool(&["list", "--tag", TAG, "--type", "ROOT_CA_CERT"])
            .expect_code(0)
            .stdout,
    );
    let [written] = theirs.as_slice() else {
        panic!("{mode}: {theirs:?}")
    };
    // The shell's firmware makes CR LF of the line feeds, which the digest shows (spec/modem-at §9).
    assert_eq!(written.digest, bench.digest_in_modem(&pem), "{mode}");
    assert_eq!(bench.listed(&[TAG]), theirs, "{mode}");

    // Ours on the other's work: equal, so nothing is written; a stranger's tag stays as it is.
    let again = bench
        .creds(&["write", TAG, "ROOT_CA_CERT", &pem])
        .expect_code(0);
    assert!(
        format!("{}{}", again.stdout, again.stderr).contains("nothing written"),
        "{mode}: {again:#?}"
    );

    let csr = bench.path("csr.der");
    let made = tool(&["generate", "78", &csr, "--attributes", "O=Sectag,CN=bench"]).expect_code(0);
    assert!(
        made.stdout
            .contains("New private key generated in secure tag 78"),
        "{mode}: {made:#?}"
    );
    let shown = ask(
        "openssl",
        &[
            "req", "-inform", "der", "-in", &csr, "-noout", "-subject", "-nameopt", "RFC2253",
        ],
    );
    assert_eq!(
        shown.stdout.trim(),
        "subject=CN=bench,O=Sectag",
        "{mode}: {shown:#?}"
    );
    assert_eq!(
        listed(&tool(&["list", "--tag", "78"]).expect_code(0).stdout),
        bench.listed(&["78"]),
        "{mode}"
    );
    // The key is there: firmware answers 519, and ours says the same in words.
    tool(&["generate", "78", &bench.path("again.der")]).expect_code(1);
    let refused = bench.creds(&["keygen", "78"]).expect_code(1);
    assert!(refused.stderr.contains("519"), "{mode}: {refused:#?}");

    tool(&["delete", TAG, "ROOT_CA_CERT"]).expect_code(0);
    assert_eq!(bench.listed(&[TAG]), [], "{mode}");
    tool(&["delete", TAG, "ROOT_CA_CERT"]).expect_code(1);
    bench.creds(&["delete", TAG, "ROOT_CA_CERT"]).expect_code(1);

    bench
        .creds(&["write", TAG, "ROOT_CA_CERT", &pem])
        .expect_code(0);
    assert_eq!(
        listed(&tool(&["list", "--tag", TAG]).expect_code(0).stdout)[0].digest,
        bench.digest_in_modem(&pem),
        "{mode}: what ours wrote, read by theirs"
    );
    tool(&["deleteall"]).expect_code(0);
    assert_eq!(bench.listed(&[]).len(), OWN_ENTRIES, "{mode}");
}

fn nrfcloud_utils_complete(mode: &'static str) {
    if !have_tools() || !have(&["openssl", "mosquitto"]) {
        return;
    }
    let mut bench = Bench::new(mode);
    bench
        .tool(
            "create_ca_cert",
            &[
                "--cn",
                "bench CA",
                "-o",
                "Sectag",
                "-p",
                &bench.path(""),
                "-f",
                "bench_",
            ],
        )
        .expect_code(0);
    let (ca, ca_key) = (bench.one_file("_ca.pem"), bench.one_file("_prv.pem"));

    let tag = SEC_TAG.to_string();
    let csv = bench.path("onboard.csv");
    let installed = bench.tool(
        "device_credentials_installer",
        &[
            "--port",
            bench.port(),
            "--ca",
            &ca,
            "--ca-key",
            &ca_key,
            "-S",
            &tag,
            "-d",
            "--verify",
            "--csv",
            &csv,
            "-P",
        ],
    );
    assert_eq!(installed.code, Some(0), "{mode}: {installed:#?}");
    assert!(
        format!("{}{}", installed.stdout, installed.stderr)
            .contains("Credential verification: PASS"),
        "{mode}: {installed:#?}"
    );
    let id = device_of(bench.creds(&["attest"]).expect_code(0).stdout.trim());
    assert!(
        std::fs::read_to_string(&csv).unwrap().contains(&id),
        "{mode}"
    );

    let tokens = bench.path("tokens.csv");
    bench
        .tool(
            "gather_attestation_tokens",
            &["--port", bench.port(), "--csv", &tokens, "-o", "-P"],
        )
        .expect_code(0);
    let row = std::fs::read_to_string(&tokens).unwrap();
    let columns: Vec<&str> = row.trim().split(',').collect();
    assert_eq!(columns[1], id, "{mode}: {row}");
    assert_eq!(device_of(columns[2]), id, "{mode}: {row}");

    // The tool installs the vendor's cloud roots; a broker of our own has its own.
    let broker = Mosquitto::start(&Clients::SignedBy(Path::new(&ca)));
    let server_ca = text(broker.ca_file());
    bench
        .creds(&["write", &tag, "ROOT_CA_CERT", &server_ca])
        .expect_code(0);
    bench.off_the_pty();
    let port = broker.port().to_string();
    let link = ["--name", "device-1", "--sec-tag", &tag, "--port", &port];
    let said = bench.sectag(
        &[
            &["mqtt", "pub"],
            &link[..],
            &[
                "-t",
                "~/hello",
                "-m",
                "installed by the vendor's tool",
                "-r",
            ],
        ]
        .concat(),
    );
    assert_eq!(said.code, Some(0), "{mode}: {said:#?}");
    let heard = bench.sectag(&[&["mqtt", "sub"], &link[..], &["-t", "~/#", "-C", "1"]].concat());
    assert_eq!(
        heard.stdout.trim(),
        format!("{id}/hello installed by the vendor's tool"),
        "{mode}: {heard:#?}"
    );
}

/// The device UUID in a claim token, read by our own parser.
fn device_of(token: &str) -> String {
    sectag_proto::token::AttestationToken::parse(token)
        .unwrap()
        .device
        .to_string()
}

/// nrfcredstore's table.
fn listed(table: &str) -> Vec<Listed> {
    table
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            Listed {
                tag: columns[0].parse().unwrap(),
                kind: columns[1].to_owned(),
                digest: columns[2].to_owned(),
            }
        })
        .collect()
}

/// `sectag creds list --json`
impl From<&Value> for Listed {
    fn from(item: &Value) -> Self {
        Self {
            tag: u32::try_from(item["tag"].as_u64().unwrap()).unwrap(),
            kind: item["typeName"].as_str().unwrap().to_owned(),
            digest: item["sha256"].as_str().unwrap().to_uppercase(),
        }
    }
}
