//! The Developer Academy's exercise "MQTT over TLS", row by row (tests/sources/README.md, X).
#![allow(clippy::unwrap_used, unreachable_pub)]

mod desk;
#[path = "../peers/stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;
#[path = "exercise/wire.rs"]
mod wire;

use desk::Desk;
use sectag_modem::credentials::{AtStore, CredentialStore as _, Written};
use sectag_modem::{Options, VirtualModem, seeded};
use sectag_proto::{CredentialType, SecTag, Secret};
use std::process::{Command, Stdio};
use stranger::mosquitto::{Clients, Mosquitto};
use stranger::{ask, have, text};
use support::{Home, Output, run, sectag};
use wire::Wire;

const TAG: &str = "24";

#[test]
fn x1_nobody_on_the_way_reads_alters_or_replaces() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    desk.trust(TAG, &broker);
    // Confidential: nothing that was published is on the wire. In plain MQTT it is.
    let wire = Wire::before(broker.port());
    sample(&desk, wire.port, &["--count", "1"]).expect_code(0);
    assert!(!wire.carried("Hello MQTT!"));
    let open = Mosquitto::start(&Clients::Plain);
    let wire = Wire::before(open.port());
    sample(&desk, wire.port, &["--plain", "--count", "1"]).expect_code(0);
    assert!(wire.carried("Hello MQTT!"));
    // Unaltered: one bit after the handshake, and the session is over.
    let wire = Wire::altering(broker.port());
    let altered = sample(&desk, wire.port, &["--count", "1", "--for", "5"]);
    assert!(altered.stderr.contains("bad_record_mac"), "{altered:#?}");
    assert!(!altered.stdout.contains("Published"), "{altered:#?}");
    // Authentic: another server with the same name and another CA is refused.
    let other = Mosquitto::start(&Clients::Anybody);
    let refused = sample(&desk, other.port(), &["--count", "1", "--for", "4"]);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(
        refused
            .stdout
            .contains("Failed connecting to MQTT, error code: -111"),
        "{refused:#?}"
    );
}

#[test]
fn x2_the_overhead_of_tls_is_reported_in_bytes() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let (open, broker) = (
        Mosquitto::start(&Clients::Plain),
        Mosquitto::start(&Clients::Anybody),
    );
    desk.trust(TAG, &broker);
    let plain = sample(&desk, open.port(), &["--plain", "--count", "1"])
        .expect_code(0)
        .stderr;
    let tls = sample(&desk, broker.port(), &["--count", "1"])
        .expect_code(0)
        .stderr;
    assert!(!plain.contains("handshake"), "{plain}");
    assert!(tls.contains("records"), "{tls}");

    // A session that is continued costs less than a full handshake.
    let wire = Wire::before(broker.port());
    let args = [
        "--sec-tag",
        TAG,
        "--connect-delay",
        "0",
        "--interval",
        "1",
        "--session-cache",
    ];
    let mut running = desk.start(wire.port, &args);
    running.until("Published message");
    wire.cut();
    running.until_count("Connected to MQTT broker", 2);
    running.until_count("Published message", 2);
    running.stop();
    let told = running.told();
    let handshakes: Vec<u32> = told
        .split("handshake")
        .skip(1)
        .map(|rest| rest.split(" bytes").next().unwrap())
        .map(|bytes| {
            bytes
                .split(' ')
                .filter_map(|word| word.parse::<u32>().ok())
                .sum()
        })
        .collect();
    assert!(
        matches!(handshakes[..], [full, resumed, ..] if resumed < full),
        "{told}"
    );
    assert!(told.contains("resumed"), "{told}");
}

#[test]
fn x3_the_projects_configuration_is_understood() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    let kconfig = desk.file(
        "prj.conf",
        &format!(
            "CONFIG_MQTT_LIB=y\nCONFIG_MQTT_LIB_TLS=y\nCONFIG_MQTT_BROKER_HOSTNAME=\"localhost\"\nCONFIG_MQTT_BROKER_PORT={}\n\
             CONFIG_MODEM_KEY_MGMT=y\nCONFIG_MQTT_TLS_SEC_TAG=77\n",
            broker.port()
        ),
    );
    let certs = desk.ca_of(&broker);
    let said = desk
        .home
        .sectag(&[
            "mqtt",
            "sample",
            "--academy",
            "--kconfig",
            &kconfig,
            "--certs",
            &certs,
            "--for",
            "2",
        ])
        .expect_code(0)
        .stdout;
    for line in [
        format!("Port: {}", broker.port()),
        "TLS: Yes".to_owned(),
        "Hostname: localhost".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert_eq!(desk.listed("77"), ["ROOT_CA_CERT"]);
    let table = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/options.md"
    ))
    .unwrap();
    for name in [
        "MQTT_LIB_TLS",
        "MQTT_BROKER_PORT",
        "MODEM_KEY_MGMT",
        "MQTT_TLS_SEC_TAG",
    ] {
        assert!(
            table.contains(&format!("| `{name}` |")),
            "{name} is in no row of docs/reference/options.md"
        );
    }
}

#[test]
fn x4_a_certificate_becomes_a_header_where_the_exercise_has_it() {
    let desk = Desk::new();
    let project = desk.home.beside("project");
    std::fs::create_dir_all(project.join("src")).unwrap();
    let pem = sectag_pki::Authority::root("exercise", 1_790_000_000)
        .unwrap()
        .certificate_pem();
    std::fs::write(project.join("server_certificate.crt"), &pem).unwrap();
    let mut header = sectag(&desk.home.path());
    header.args(["cert", "header"]).current_dir(&project);
    run(header).expect_code(0);
    let header = std::fs::read_to_string(project.join("src/certificate.h")).unwrap();
    assert!(header.contains("#define CA_CERTIFICATE"), "{header}");
    assert!(
        header.contains(r#""-----BEGIN CERTIFICATE-----\n""#),
        "{header}"
    );
}

#[test]
fn x5_a_credential_is_written_only_if_it_differs() {
    let desk = Desk::new();
    let mine = desk.file("mine.pem", &certificate("mine"));
    let other = desk.file("other.pem", &certificate("other"));
    let write = |file: &str| at_traffic(&desk, &["write", TAG, "ROOT_CA_CERT", file]);
    // exists, write
    assert_eq!(write(&mine), ["AT%CMNG=1,24,0", "AT%CMNG=0,24,0"]);
    // exists, compare; the same, so that is all
    assert_eq!(write(&mine), ["AT%CMNG=1,24,0", "AT%CMNG=2,24,0"]);
    // exists, compare, write
    assert_eq!(
        write(&other),
        ["AT%CMNG=1,24,0", "AT%CMNG=2,24,0", "AT%CMNG=0,24,0"]
    );

    if !have(&["mosquitto"]) {
        return;
    }
    // The words of both editions, on a tag that holds something else, then the same.
    let broker = Mosquitto::start(&Clients::Anybody);
    let certs = desk.ca_of(&broker);
    for (edition, mismatch, same) in [
        ("2.2", "mismatch\n", "match\n"),
        (
            "current",
            "Comparing credentials: Mismatch\n",
            "Comparing credentials: Match\n",
        ),
    ] {
        desk.home
            .sectag(&["creds", "write", TAG, "ROOT_CA_CERT", &mine])
            .expect_code(0);
        let exercise = || {
            let port = broker.port().to_string();
            let args = [
                "mqtt",
                "sample",
                "--academy",
                "--edition",
                edition,
                "--host",
                "localhost",
                "--port",
                &port,
            ];
            desk.home
                .sectag(&[&args[..], &["--certs", &certs, "--for", "1"]].concat())
                .stdout
        };
        let (first, second) = (exercise(), exercise());
        assert!(first.contains(mismatch), "{edition}: {first}");
        assert!(
            second.contains(same) && !second.contains(mismatch),
            "{edition}: {second}"
        );
        assert_eq!(
            first.contains("Provisioning certificates"),
            edition == "2.2",
            "{edition}: {first}"
        );
    }
}

#[test]
fn x6_a_hundred_boots_wear_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pem = Secret::new(certificate("mine"));
    let tag = SecTag::new(24).unwrap();
    let mut wear = Vec::new();
    for boot in 0..100 {
        let mut modem =
            VirtualModem::open(&dir.path().join("modem"), Options::default(), seeded(boot))
                .unwrap();
        let written = AtStore::new(&mut modem)
            .write_if_different(tag, CredentialType::ROOT_CA, &pem)
            .unwrap();
        assert_eq!(written == Written::New, boot == 0, "{boot}: {written:?}");
        wear.push(modem.flash_writes());
    }
    assert_eq!(wear, [1; 100]);
}

#[test]
fn x7_credentials_change_only_while_the_modem_is_offline() {
    let desk = Desk::new();
    let at = |online: bool, line: &str| {
        let mut modem = sectag(&desk.home.path());
        let mut child = modem
            .args(["modem", "serve", "--pty", "--seed", "7"])
            .args(online.then_some("--online"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().unwrap()),
            &mut port,
        )
        .unwrap();
        desk.home
            .sectag(&["modem", "at", "--modem", port.trim(), "AT+CMEE=1"])
            .expect_code(0);
        let answer = desk
            .home
            .sectag(&["modem", "at", "--modem", port.trim(), line]);
        let restored = desk.home.sectag(&[
            "creds",
            "--modem",
            port.trim(),
            "write",
            TAG,
            "PSK_ID",
            &desk.file("id", "me"),
        ]);
        let mode = desk
            .home
            .sectag(&["modem", "at", "--modem", port.trim(), "AT+CFUN?"])
            .stdout;
        let _ = child.kill();
        let _ = child.wait();
        (answer, restored, mode)
    };
    let line = "AT%CMNG=0,24,4,\"me\"";
    let (refused, restored, mode) = at(true, line);
    assert!(
        refused.stdout.contains("+CME ERROR: 518") && refused.code == Some(1),
        "{refused:#?}"
    );
    assert!(
        refused.stderr.contains("AT+CFUN=4"),
        "the fix: {refused:#?}"
    );
    // `creds` goes offline for the write and back.
    restored.expect_code(0);
    assert!(mode.contains("+CFUN: 1"), "{mode}");
    let (written, _, mode) = at(false, line);
    written.expect_code(0);
    assert!(mode.contains("+CFUN: 0"), "{mode}");
    if !have(&["mosquitto"]) {
        return;
    }
    // The exercise's order: library, certificate, then LTE.
    let broker = Mosquitto::start(&Clients::Anybody);
    let said = exercise(&desk, &broker, "current").stdout;
    let line = |text: &str| {
        said.lines()
            .position(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{text}: {said}"))
    };
    assert!(line("Initializing modem library") < line("Connecting to LTE network"));
    assert_eq!(desk.listed(TAG), ["ROOT_CA_CERT"]);
}

#[test]
fn x8_tag_list_peer_verification_suites_and_host_name() {
    if !have(&["mosquitto", "openssl"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    // The CA is under the second tag of the list.
    let ca = text(broker.ca_file());
    desk.home
        .sectag(&["creds", "write", "31", "ROOT_CA_CERT", &ca])
        .expect_code(0);
    let tags = [
        "--sec-tag",
        "30",
        "--secondary-sec-tag",
        "31",
        "--count",
        "1",
    ];
    sample(&desk, broker.port(), &tags).expect_code(0);
    // Peer verification is required, the name is the host's; another name is another server.
    let wrong = sample(
        &desk,
        broker.port(),
        &[
            &tags[..],
            &["--server-name", "broker.example", "--for", "4"],
        ]
        .concat(),
    );
    assert_eq!(wrong.code, Some(1), "{wrong:#?}");
    assert!(
        wrong.stderr.contains("broker.example") && wrong.stderr.contains("localhost"),
        "{wrong:#?}"
    );
    // No list of suites is all of them; a list is a list.
    for suite in ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "0xC02B"] {
        sample(
            &desk,
            broker.port(),
            &[&tags[..], &["--cipher", suite]].concat(),
        )
        .expect_code(0);
    }
    let unknown = sample(
        &desk,
        broker.port(),
        &[&tags[..], &["--cipher", "TLS_NULL"]].concat(),
    );
    assert_eq!(unknown.code, Some(2), "{unknown:#?}");
}

#[test]
fn x9_the_log_of_success_is_the_exercises() {
    if !have(&["mosquitto", "mosquitto_pub"]) {
        return;
    }
    for (edition, lines) in [("2.2", OLD_LOG), ("current", CURRENT_LOG)] {
        let desk = Desk::new();
        let broker = Mosquitto::start(&Clients::Anybody);
        let mut running = start_exercise(&desk, &broker, edition);
        running.until("ubscribed to");
        publish(&broker, "LED1ON");
        running.until("Received payload: LED1ON");
        desk.home
            .sectag(&["mqtt", "sample", "--press", "1"])
            .expect_code(0);
        running.until("Hi from nRF9");
        let said = running.stop();
        let imei = desk.home.sectag(&["creds", "imei"]).expect_code(0).stdout;
        let mut rest = said.lines();
        for wanted in lines.trim().lines() {
            let wanted = wanted
                .trim()
                .replace("IMEI", imei.trim())
                .replace("PORT", &broker.port().to_string());
            assert!(
                rest.any(|line| line == wanted),
                "{edition}: `{wanted}` is missing, or comes too early, in\n{said}"
            );
        }
    }
}

const CURRENT_LOG: &str = "
    Initializing modem library
    Connecting to LTE network
    Connected to LTE network
    Connected to MQTT broker
    Hostname: localhost
    Client ID: nrf-IMEI
    Port: PORT
    TLS: Yes
    Subscribing to devacademy/subscribe/topic
    Subscribed to devacademy/subscribe/topic with QoS 1
    Received payload: LED1ON on topic: devacademy/subscribe/topic
    Published message: \"Hi from nRF9151 SiP\" on topic: \"devacademy/publish/topic\"
";

const OLD_LOG: &str = "
    Initializing modem library
    Provisioning certificates
    Connecting to LTE network
    Connected to LTE network
    Connected to MQTT broker
    Hostname: localhost
    Client ID: nrf-IMEI
    Port: PORT
    TLS: Yes
    Subscribing to devacademy/subscribe/topic
    Received payload: LED1ON on topic: devacademy/subscribe/topic
    Published message: \"Hi from nRF91 Series device\" on topic: \"devacademy/publish/topic\"
";

#[test]
fn x10_a_desktop_client_connects_with_what_up_prints() {
    if !have(&["mosquitto_pub", "mosquitto_sub"]) {
        return;
    }
    let home = Home::new();
    let up = home.up(&[]);
    // What it prints is in the home: host, port, CA file, a ready client certificate.
    let port = up.listeners.mqtt.port().to_string();
    let [ca, cert, key] = [
        "ca/root.crt",
        "operator/operator.crt",
        "operator/operator.key",
    ]
    .map(|file| text(home.path().join(file)));
    let seen = ask(
        "mosquitto_sub",
        &[
            "-h",
            "localhost",
            "-p",
            &port,
            "--cafile",
            &ca,
            "--cert",
            &cert,
            "--key",
            &key,
            "-t",
            "#",
            "-E",
            "-q",
            "1",
        ],
    );
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let Some(node) = stranger::node_modules() else {
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/sources/exercise/desktop.js"
    );
    let mut desktop = Command::new("node");
    desktop
        .args([script, &port, &ca, &cert, &key])
        .env("NODE_PATH", node);
    let said = run(desktop).expect_code(0).stdout;
    assert_eq!(said.trim(), "connected, subscribed to #");
}

#[test]
fn x11_leds_and_buttons() {
    if !have(&["mosquitto", "mosquitto_pub", "mosquitto_sub"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    let running = start_exercise(&desk, &broker, "current");
    running.until("Subscribed to devacademy/subscribe/topic");
    for (payload, shown) in [
        ("LED1ON", "LED1 on"),
        ("LED1OFF", "LED1 off"),
        ("LED2ON", "LED2 on"),
        ("LED2OFF", "LED2 off"),
    ] {
        publish(&broker, payload);
        running.until(&format!("Received payload: {payload}"));
        running.until_told(shown);
    }
    // A button is a verb, or a signal.
    let button = "Published message: \"Hi from nRF9151 SiP\"";
    desk.home
        .sectag(&["mqtt", "sample", "--press", "1"])
        .expect_code(0);
    running.until(button);
    let pressed = running.said().matches(button).count();
    running.signal("USR1");
    running.until_count(button, pressed + 1);
}

fn publish(broker: &Mosquitto, payload: &str) {
    let (port, ca) = (broker.port().to_string(), text(broker.ca_file()));
    let sent = ask(
        "mosquitto_pub",
        &[
            "-h",
            "localhost",
            "-p",
            &port,
            "--cafile",
            &ca,
            "-t",
            "devacademy/subscribe/topic",
            "-m",
            payload,
            "-q",
            "1",
        ],
    );
    assert_eq!(sent.code, Some(0), "{sent:#?}");
}

fn certificate(name: &str) -> String {
    sectag_pki::Authority::root(name, 1_790_000_000)
        .unwrap()
        .certificate_pem()
}

/// The SDK's sample with the exercise's tag, publishing at once.
fn sample(desk: &Desk, port: u16, args: &[&str]) -> Output {
    let tag = if args.contains(&"--sec-tag") {
        [].as_slice()
    } else {
        &["--sec-tag", TAG]
    };
    let at_once = ["--connect-delay", "0", "--interval", "1"];
    desk.sample(port, &[tag, &at_once, args].concat())
}

/// The exercise for a moment.
fn exercise(desk: &Desk, broker: &Mosquitto, edition: &str) -> Output {
    let certs = desk.ca_of(broker);
    let args = [
        "--academy",
        "--edition",
        edition,
        "--certs",
        &certs,
        "--for",
        "2",
    ];
    desk.sample(broker.port(), &args)
}

fn start_exercise(desk: &Desk, broker: &Mosquitto, edition: &str) -> desk::Running {
    let certs = desk.ca_of(broker);
    desk.start(
        broker.port(),
        &["--academy", "--edition", edition, "--certs", &certs],
    )
}

/// What `creds` said to the modem about credentials, without their content.
fn at_traffic(desk: &Desk, args: &[&str]) -> Vec<String> {
    let transcript = desk.home.beside("transcript");
    let _ = std::fs::remove_file(&transcript);
    let file = text(transcript.clone());
    desk.home
        .sectag(&[&["creds", "--transcript", &file], args].concat())
        .expect_code(0);
    let said = std::fs::read_to_string(transcript).unwrap();
    let lines = said
        .lines()
        .filter_map(|line| line.split_once("> ")?.1.strip_prefix("AT%CMNG="));
    lines
        .map(|rest| format!("AT%CMNG={}", rest.split(",\"").next().unwrap()))
        .collect()
}
