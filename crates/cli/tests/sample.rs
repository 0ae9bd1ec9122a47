//! `sectag mqtt sample` with the home's own broker, and what is typed wrong.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use sectag_pki::{Authority, PrivateKey, Purpose};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use support::{Home, Output, Up, run, sectag};

/// The default sec tag of `commands onboard`.
const SEC_TAG: &str = "16842753";

/// A home whose service runs and whose device has everything.
fn onboarded() -> (Home, Up, String) {
    let home = Home::new();
    let up = home.up(&[]);
    let id = home.json(&["device", "uuid"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = home.json(&["device", "token"])["claimToken"]
        .as_str()
        .unwrap()
        .to_owned();
    home.sectag(&["claim", &token]).expect_code(0);
    home.sectag(&["commands", "onboard", &id]).expect_code(0);
    home.sectag(&["device", "run"]).expect_code(0);
    (home, up, id)
}

fn sample(home: &Home, args: &[&str]) -> Output {
    home.sectag(&[&["mqtt", "sample"], args].concat())
}

/// As a user types it, without the firmware's long pauses.
const QUICK: [&str; 6] = [
    "--connect-delay",
    "0",
    "--reconnect",
    "1",
    "--timeout",
    "10",
];

#[test]
fn a_device_that_was_onboarded_needs_its_tag_and_nothing_else() {
    let (home, up, id) = onboarded();
    let port = up.listeners.mqtt.port();
    let args = [
        &["--sec-tag", SEC_TAG, "--interval", "1", "--count", "1"][..],
        &QUICK,
    ]
    .concat();
    let done = sample(&home, &args).expect_code(0);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(
        lines[..9],
        [
            "Bringing network interface up and connecting to the network",
            "Network connectivity established",
            "Connected to MQTT broker",
            "Hostname: localhost",
            &format!("Client ID: {id}"),
            &format!("Port: {port}"),
            "TLS: Yes",
            &format!("Subscribing to: {id}/my/subscribe/topic"),
            &format!("Subscribed to topic {id}/my/subscribe/topic"),
        ]
    );
    assert!(
        lines[9].starts_with("Published message: \"Hello MQTT! Current uptime is: "),
        "{lines:?}"
    );
    assert_eq!(lines[10..], ["Disconnected from MQTT broker"]);
    assert!(done.stderr.contains("session 1: "), "{done:#?}");

    // The exercise's topics are put where this broker allows them.
    let academy = sample(
        &home,
        &[
            &[
                "--academy",
                "--sec-tag",
                SEC_TAG,
                "--interval",
                "1",
                "--count",
                "1",
            ][..],
            &QUICK,
        ]
        .concat(),
    )
    .expect_code(0);
    let granted = format!("Subscribed to {id}/devacademy/subscribe/topic with QoS 1\n");
    assert!(academy.stdout.contains(&granted), "{academy:#?}");
    assert!(
        academy.stderr.starts_with("note: the broker of this home"),
        "{academy:#?}"
    );

    // As JSON: one object per line, the bytes among them.
    let json = sample(
        &home,
        &[
            &[
                "--json",
                "--sec-tag",
                SEC_TAG,
                "--interval",
                "1",
                "--count",
                "1",
            ][..],
            &QUICK,
        ]
        .concat(),
    )
    .expect_code(0);
    let values: Vec<Value> = json
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let session = values.iter().find(|value| value["session"] == 1).unwrap();
    assert!(session["handshakeSent"].as_u64().unwrap() > 0, "{session}");
    assert!(session["payloadSent"].as_u64().unwrap() > 30, "{session}");
    assert!(
        values
            .iter()
            .any(|value| value["text"] == "TLS: Yes" && value["level"] == "inf")
    );
}

#[test]
fn a_tag_without_a_ca_is_named_and_the_one_with_it_too() {
    let (home, _up, _) = onboarded();
    let refused = sample(&home, &[]).expect_code(2);
    assert_eq!(
        refused.stderr,
        format!(
            "error: there is no root CA under sec tag 955\n\nhint: sec tag {SEC_TAG} has one: --sec-tag {SEC_TAG}\n"
        )
    );
    assert_eq!(refused.stdout, "");
    let blank = sample(
        &home,
        &[
            "--name",
            "blank",
            "--sec-tag",
            "1",
            "--secondary-sec-tag",
            "2",
        ],
    )
    .expect_code(2);
    assert!(
        blank
            .stderr
            .starts_with("error: there is no root CA under sec tag 1 nor 2\n\nhint: write one"),
        "{blank:#?}"
    );
}

#[test]
fn a_button_can_be_pressed_from_another_terminal() {
    let (home, mut up, _) = onboarded();
    let none = sample(&home, &["--press", "1"]).expect_code(1);
    assert!(
        none.stderr
            .starts_with("error: no sample runs for device `device-1`"),
        "{none:#?}"
    );
    let log = home.beside("sample.log");
    let mut child = sectag(&home.path())
        .args(["mqtt", "sample", "--sec-tag", SEC_TAG, "--count", "1"])
        .args(QUICK)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    loop {
        assert!(begun.elapsed() < support::DEADLINE);
        // Pressed too early it is dropped, as in the firmware.
        let _ = sample(&home, &["--press", "1"]);
        if let Some(end) = child.try_wait().unwrap() {
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(end.success(), "{said}");
            break;
        }
    }
    assert!(up.ended().is_none());
}

#[test]
fn two_samples_for_one_device_are_one_too_many() {
    let (home, _up, _) = onboarded();
    let mut first = sectag(&home.path())
        .args(["mqtt", "sample", "--sec-tag", SEC_TAG])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let socket = home.path().join("devices/device-1.sample.sock");
    let begun = std::time::Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < support::DEADLINE);
    }
    let second = sample(&home, &["--sec-tag", SEC_TAG]);
    let pid = first.id().to_string();
    let _ = Command::new("sh")
        .args(["-c", "kill \"$0\"", &pid])
        .status();
    let _ = first.wait();
    assert_eq!(second.code, Some(2), "{second:#?}");
    assert!(
        second
            .stderr
            .starts_with("error: device `device-1` is in use by process "),
        "{second:#?}"
    );
    assert!(!socket.exists(), "its own is taken away at the end");
}

/// A folder of credential files: which of the three there are.
fn folder(home: &Home, files: &[&str]) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let root = Authority::root("files", now).unwrap();
    let devices = root.issuing(Purpose::Devices, now).unwrap();
    let key = PrivateKey::generate().unwrap();
    let certificate = devices.issue_device(&key.spki_der(), "dev-1", now).unwrap();
    let dir: PathBuf = home.beside("certs");
    std::fs::create_dir_all(&dir).unwrap();
    for file in files {
        let text = match *file {
            "ca-cert.pem" => root.certificate_pem(),
            "client-cert.pem" => certificate.pem(),
            _ => key.to_pem().to_string(),
        };
        std::fs::write(dir.join(file), text).unwrap();
    }
    dir.into_os_string().into_string().unwrap()
}

/// Nobody listens there.
fn nowhere() -> [&'static str; 6] {
    ["--host", "127.0.0.1", "--port", "1", "--for", "1"]
}

#[test]
fn a_private_key_from_a_file_is_warned_about_and_can_be_forbidden() {
    let home = Home::new();
    let certs = folder(
        &home,
        &["ca-cert.pem", "client-cert.pem", "private-key.pem"],
    );
    let args = [&["--certs", &certs][..], &nowhere(), &QUICK].concat();
    let warned = sample(&home, &args).expect_code(1);
    let warning = format!(
        "warning: the private key in `{certs}/private-key.pem` is for tests only: whoever can read the file, or the flash it is compiled into, can be this device\n"
    );
    assert!(warned.stderr.starts_with(&warning), "{warned:#?}");
    assert!(
        warned
            .stdout
            .contains("Failed connecting to MQTT, error code: -111\n"),
        "{warned:#?}"
    );
    assert!(
        warned
            .stderr
            .contains("error: there was no connection\n\nhint: the lines above say why\n"),
        "{warned:#?}"
    );
    let forbidden = sample(&home, &[&args[..], &["--no-test-keys"]].concat()).expect_code(1);
    assert_eq!(forbidden.stdout, "");
    assert!(
        forbidden
            .stderr
            .contains("hint: a key that is made in the modem cannot leave it"),
        "{forbidden:#?}"
    );
}

#[test]
fn time_that_was_over_before_an_attempt_is_said_to_be() {
    let home = Home::new();
    let args = ["--plain", "--host", "127.0.0.1", "--for", "0"];
    let output = sample(&home, &args).expect_code(1);
    assert!(
        output.stderr.ends_with(
            "error: there was no connection\n\nhint: time was over before an attempt: the network comes first, then --connect-delay; give --for more seconds\n"
        ),
        "{output:#?}"
    );
}

#[test]
fn one_half_of_a_pair_of_files_names_the_other() {
    for (there, missing) in [
        ("client-cert.pem", "private-key.pem"),
        ("private-key.pem", "client-cert.pem"),
    ] {
        let home = Home::new();
        let certs = folder(&home, &["ca-cert.pem", there]);
        let refused = sample(&home, &["--certs", &certs]).expect_code(2);
        assert_eq!(
            refused.stderr,
            format!(
                "error: `{certs}/{there}` is there, and `{certs}/{missing}` is missing beside it\n\n\
                 hint: for client authentication put `{certs}/{missing}` there; without it, take `{certs}/{there}` away\n"
            )
        );
    }
}

#[test]
fn provisioning_can_be_switched_off_by_a_flag_and_by_both_names_of_the_option() {
    let home = Home::new();
    let certs = folder(&home, &["ca-cert.pem"]);
    let conf = home.beside("prj.conf");
    let off = |args: &[&str]| {
        let all = [&["--certs", &certs, "--host", "localhost"][..], args].concat();
        let refused = sample(&home, &all).expect_code(2);
        assert!(
            refused
                .stderr
                .contains("there is no root CA under sec tag "),
            "{refused:#?}"
        );
    };
    off(&["--no-provision"]);
    for name in ["MODEM_KEY_MGMT", "MQTT_HELPER_PROVISION_CERTIFICATES"] {
        std::fs::write(&conf, format!("CONFIG_{name}=n\n")).unwrap();
        off(&["--kconfig", conf.to_str().unwrap()]);
    }
}

#[test]
fn a_prj_conf_chooses_and_says_what_it_cannot() {
    let home = Home::new();
    let conf = home.beside("prj.conf");
    let path = conf.to_str().unwrap();
    let write = |text: &str| std::fs::write(&conf, text).unwrap();
    write(
        "CONFIG_LOG=y\nCONFIG_MQTT_LIB_TLS=y\nCONFIG_MQTT_BROKER_HOSTNAME=\"127.0.0.1\"\nCONFIG_MQTT_BROKER_PORT=1\nCONFIG_MODEM_KEY_MGMT=y\nCONFIG_MQTT_TLS_SEC_TAG=24\n",
    );
    let refused = sample(&home, &["--kconfig", path]).expect_code(2);
    assert_eq!(
        refused.stderr.lines().take(2).collect::<Vec<_>>(),
        [
            "note: the names in --kconfig are those of the exercise: --academy --edition 2.2",
            "error: there is no root CA under sec tag 24",
        ]
    );
    // Its credentials are in `certs` beside it.
    folder(&home, &["ca-cert.pem"]);
    let tried = sample(
        &home,
        &[&["--kconfig", path, "--for", "1"][..], &QUICK].concat(),
    )
    .expect_code(1);
    assert!(tried.stdout.starts_with("Initializing modem library\nProvisioning certificates\nConnecting to LTE network\nConnected to LTE network\nTLS enabled\nError in mqtt_connect: -111\nReconnecting in 1 seconds...\n"), "{tried:#?}");

    write("CONFIG_MQTT_HELPER_SEC_TAGS=24\n");
    let slip = sample(&home, &["--kconfig", path, "--no-provision"]).expect_code(2);
    assert!(
        slip.stderr.starts_with(&format!(
            "note: {path}:1: CONFIG_MQTT_HELPER_SEC_TAGS has no effect here; did you mean CONFIG_MQTT_HELPER_SEC_TAG?\n"
        )),
        "{slip:#?}"
    );

    write("CONFIG_MQTT_TLS_PEER_VERIFY=0\n");
    let weak = sample(&home, &["--kconfig", path]).expect_code(2);
    assert_eq!(
        weak.stderr,
        "error: CONFIG_MQTT_TLS_PEER_VERIFY=0 would take a broker whose certificate is wrong\n\n\
         hint: 2 is what protects you; if you mean it, add --dangerously-accept-any-broker\n"
    );
}

#[test]
fn what_cannot_be_meant_together_is_refused() {
    let home = Home::new();
    let long = "a".repeat(65_536);
    for args in [
        &["--plain", "--certs", "x"][..],
        &["--plain", "--publish-topic", &long],
        &["--plain", "--subscribe-topic", &long],
        &["--plain", "--will-message", &long],
        &["--plain", "--tls"],
        &["--edition", "2.2"],
        &["--address", "127.0.0.1"],
        &["--press", "9"],
        &["--press", "1", "--name", "../x"],
        &["--publish-topic", "a/#", "--no-provision", "--plain"],
        &["--cipher", "TLS_NULL"],
        &["--modem", "ttyACM0"],
        &[
            "--dangerously-accept-any-broker",
            "--dangerously-accept-with-warning",
        ],
    ] {
        let refused = sample(&home, args).expect_code(2);
        assert!(
            refused.stderr.starts_with("error: "),
            "{args:?}: {refused:#?}"
        );
        assert_eq!(refused.stdout, "");
    }
}

#[test]
fn help_fits_the_verb() {
    let home = Home::new();
    let mut command = sectag(&home.path());
    command.args(["mqtt", "sample", "-h"]).env("COLUMNS", "100");
    let help = run(command).expect_code(0);
    for heading in ["Broker:", "TLS and credentials:", "MQTT session:", "Run:"] {
        assert!(help.stdout.contains(heading), "{}", help.stdout);
    }
}
