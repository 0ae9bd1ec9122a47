//! The sample against Debian's mosquitto: server authentication and mutual, plain and TLS, both editions of the exercise;
//! the broker restarted, the certificate rotated, the network cut. It comes back by itself, with the new certificate.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "sample/mosquitto.rs"]
mod mosquitto;
#[path = "sample/running.rs"]
mod running;
#[path = "sample/served.rs"]
mod served;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;
#[path = "sample/wire.rs"]
mod wire;

use mosquitto::{House, Mosquitto, have};
use running::Running;
use serde_json::Value;
use served::Served;
use support::Home;
use wire::Wire;

/// As a user types it, without the firmware's long pauses.
const QUICK: [&str; 6] = ["--connect-delay", "0", "--reconnect", "1", "--timeout", "2"];

/// The hardware's id of the home's device.
fn imei(home: &Home) -> String {
    let said = home.sectag(&["creds", "imei"]).expect_code(0);
    said.stdout.trim().to_owned()
}

/// The lines with each uptime as `MS`.
fn without_uptimes(lines: &[String]) -> Vec<String> {
    const BEFORE: &str = "Hello MQTT! Current uptime is: ";
    let masked = |line: &String| match line.split_once(BEFORE) {
        Some((start, rest)) => {
            let end = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{start}{BEFORE}MS{end}")
        }
        None => line.clone(),
    };
    lines.iter().map(masked).collect()
}

#[test]
fn with_server_authentication_the_sample_prints_the_documented_lines() {
    if !have(&["mosquitto"]) {
        return;
    }
    let home = Home::new();
    let house = House::new("house");
    let broker = Mosquitto::server_only(&house);
    let certs = house.folder(&[house.ca()]);
    let sample = Running::start(
        &home,
        &[
            &[
                "--host",
                "localhost",
                "--port",
                broker.port(),
                "--certs",
                &certs,
            ][..],
            &QUICK,
            &["--interval", "1", "--count", "2"],
        ]
        .concat(),
    );
    let (code, lines, talk) = sample.end();
    assert_eq!(code, Some(0), "{talk}");
    let id = imei(&home);
    let published = format!(
        "Published message: \"Hello MQTT! Current uptime is: MS\" on topic: \"{id}/my/publish/topic\""
    );
    assert_eq!(
        without_uptimes(&lines),
        [
            "Bringing network interface up and connecting to the network",
            "Network connectivity established",
            "Connected to MQTT broker",
            "Hostname: localhost",
            &format!("Client ID: {id}"),
            &format!("Port: {}", broker.port()),
            "TLS: Yes",
            &format!("Subscribing to: {id}/my/subscribe/topic"),
            &format!("Subscribed to topic {id}/my/subscribe/topic"),
            &published,
            &published,
            "Disconnected from MQTT broker",
        ]
    );
    assert!(talk.contains("sec tag 955: root CA"), "{talk}");
    assert!(
        !talk.contains("for tests only"),
        "no key was taken from a file: {talk}"
    );
}

#[test]
fn with_mutual_authentication_the_certificate_is_the_name_and_the_key_is_warned_about() {
    if !have(&["mosquitto"]) {
        return;
    }
    let home = Home::new();
    let house = House::new("house");
    let broker = Mosquitto::mutual(&house);
    let certs = house.folder(&[house.ca()]);
    let args = [
        &[
            "--host",
            "localhost",
            "--port",
            broker.port(),
            "--certs",
            &certs,
        ][..],
        &QUICK,
        &["--interval", "1", "--count", "1"],
    ]
    .concat();

    // Without a certificate the broker says no, and the sample says why and tries again.
    let mut blank = Running::start(&home, &args);
    blank.until("Failed connecting to MQTT, error code: -111");
    blank.until("Failed connecting to MQTT, error code: -111");
    let talk = blank.stop();
    assert!(talk.contains("hint: "), "{talk}");

    house.device("dev-17", &certs);
    let (code, lines, talk) = Running::start(&home, &args).end();
    assert_eq!(code, Some(0), "{talk}");
    assert_eq!(
        without_uptimes(&lines)[2..],
        [
            "Connected to MQTT broker",
            "Hostname: localhost",
            "Client ID: dev-17",
            &format!("Port: {}", broker.port()),
            "TLS: Yes",
            "Subscribing to: dev-17/my/subscribe/topic",
            "Subscribed to topic dev-17/my/subscribe/topic",
            "Published message: \"Hello MQTT! Current uptime is: MS\" on topic: \"dev-17/my/publish/topic\"",
            "Disconnected from MQTT broker",
        ]
    );
    assert!(
        talk.contains("private-key.pem` is for tests only"),
        "{talk}"
    );
    assert!(talk.contains("session 1: "), "{talk}");
}

#[test]
fn without_tls_the_sample_speaks_plain_mqtt() {
    if !have(&["mosquitto", "mosquitto_pub"]) {
        return;
    }
    let home = Home::new();
    let house = House::new("house");
    let broker = Mosquitto::plain(&house);
    let mut sample = Running::start(
        &home,
        &[
            &["--host", "127.0.0.1", "--port", broker.port(), "--plain"][..],
            &["--client-id", "me"],
            &QUICK,
        ]
        .concat(),
    );
    sample.until("TLS: No");
    sample.until("Subscribed to topic me/my/subscribe/topic");
    broker.publish("me/my/subscribe/topic", "good morning");
    sample.until("Received payload: good morning on topic: me/my/subscribe/topic");
    // A button from another terminal.
    home.sectag(&["mqtt", "sample", "--press", "1"])
        .expect_code(0);
    sample.until_start("Published message: \"Hello MQTT! Current uptime is: ");
    // And as a signal.
    sample.signal("USR1");
    sample.until_start("Published message: \"Hello MQTT! Current uptime is: ");
    let talk = sample.stop();
    assert!(!talk.contains("handshake"), "{talk}");
}

#[test]
fn keys_on_a_terminal_are_buttons_and_switches() {
    if !have(&["mosquitto", "script"]) {
        return;
    }
    let home = Home::new();
    let house = House::new("house");
    let broker = Mosquitto::plain(&house);
    let mut sample = Running::on_a_terminal(
        &home,
        &[
            &["--host", "127.0.0.1", "--port", broker.port(), "--plain"][..],
            &["--client-id", "me"],
            &QUICK,
        ]
        .concat(),
    );
    sample.until_start("keys: ");
    sample.until("Subscribed to topic me/my/subscribe/topic");
    for key in ["b", "1", "2"] {
        sample.key(key);
        sample.until_start("Published message: ");
    }
    sample.key("n");
    sample.until("Network connectivity lost");
    sample.until("Disconnected from MQTT broker");
    sample.key("n");
    sample.until("Network connectivity established");
    sample.until("Subscribed to topic me/my/subscribe/topic");
    sample.key("q");
    assert_eq!(sample.end().0, Some(0));
}

#[test]
fn the_exercise_works_as_printed_in_both_editions() {
    if !have(&["mosquitto", "mosquitto_pub"]) {
        return;
    }
    for (edition, button) in [
        ("current", "Hi from nRF9151 SiP"),
        ("2.2", "Hi from nRF91 Series device"),
    ] {
        let home = Home::new();
        let house = House::new("house");
        let broker = Mosquitto::server_only(&house);
        // The exercise's own file name.
        let certs = house.folder(&[("server_certificate.crt", house.ca().1)]);
        let args = [
            &["--academy", "--edition", edition, "--host", "localhost"][..],
            &["--port", broker.port(), "--certs", &certs],
            &QUICK,
        ]
        .concat();
        for boot in 0..2 {
            let mut sample = Running::start(&home, &args);
            sample.until("Initializing modem library");
            match (edition, boot) {
                ("current", 1) => sample.until("Comparing credentials: Match"),
                ("2.2", 0) => sample.until("Provisioning certificates"),
                ("2.2", 1) => sample.until("match"),
                _ => {}
            }
            for line in [
                "Connecting to LTE network",
                "Connected to LTE network",
                "Connected to MQTT broker",
                "Hostname: localhost",
            ] {
                sample.until(line);
            }
            let id = imei_of(&sample.until_start("Client ID: nrf-"));
            assert_eq!(id.len(), 15, "{id}");
            for line in [
                &format!("Port: {}", broker.port()),
                "TLS: Yes",
                "Subscribing to devacademy/subscribe/topic",
                "Subscribed to devacademy/subscribe/topic with QoS 1",
            ] {
                sample.until(line);
            }
            broker.publish("devacademy/subscribe/topic", "LED1ON");
            sample.until("Received payload: LED1ON on topic: devacademy/subscribe/topic");
            sample.until_talk("LED1 on");
            sample.signal("USR1");
            sample.until(&format!(
                "Published message: \"{button}\" on topic: \"devacademy/publish/topic\""
            ));
            sample.stop();
        }
    }
}

fn imei_of(line: &str) -> String {
    line.rsplit('-').next().unwrap().to_owned()
}

/// Broker restarted with papers of another house; a device whose credentials are files gets new ones meanwhile.
#[test]
fn a_broker_that_moved_house_gets_its_device_back_with_the_new_certificate() {
    if !have(&["mosquitto"]) {
        return;
    }
    let home = Home::new();
    let (old, new) = (House::new("old"), House::new("new"));
    let broker = Mosquitto::mutual(&old);
    let store = home.beside("credentials");
    let files = format!("files:{}", store.display());
    let write = |house: &House, name: &str| {
        let folder = house.folder(&[house.ca()]);
        house.device(name, &folder);
        for (kind, file) in [
            ("0", "ca-cert.pem"),
            ("1", "client-cert.pem"),
            ("2", "private-key.pem"),
        ] {
            let file = format!("{folder}/{file}");
            home.sectag(&["creds", "write", "--modem", &files, "955", kind, &file])
                .expect_code(0);
        }
    };
    write(&old, "dev-17");
    let mut sample = Running::start(
        &home,
        &[
            &[
                "--host",
                "localhost",
                "--port",
                broker.port(),
                "--modem",
                &files,
            ][..],
            &QUICK,
        ]
        .concat(),
    );
    sample.until("Client ID: dev-17");
    sample.until("Subscribed to topic dev-17/my/subscribe/topic");
    let broker = broker.restart(&new);
    sample.until("Disconnected from MQTT broker");
    // The old papers do not open the new door.
    sample.until("Failed connecting to MQTT, error code: -111");
    write(&new, "dev-18");
    sample.until("Client ID: dev-18");
    sample.until("Subscribed to topic dev-18/my/subscribe/topic");
    drop(broker);
    sample.until("Disconnected from MQTT broker");
    sample.stop();
}

/// No packet comes through: noticed by what stays unanswered, whether the device speaks or listens.
#[test]
fn a_cut_network_is_noticed_and_the_sample_comes_back_with_the_new_certificate() {
    if !have(&["mosquitto"]) {
        return;
    }
    for talks in [true, false] {
        let home = Home::new();
        let house = House::new("house");
        let broker = Mosquitto::mutual(&house);
        let wire = Wire::to(broker.port());
        let certs = house.folder(&[house.ca()]);
        house.device("dev-17", &certs);
        let interval: &[&str] = if talks { &["--interval", "1"] } else { &[] };
        let mut sample = Running::start(
            &home,
            &[
                &[
                    "--host",
                    "localhost",
                    "--port",
                    wire.port(),
                    "--certs",
                    &certs,
                ][..],
                &["--keep-alive", "1"],
                &QUICK,
                interval,
            ]
            .concat(),
        );
        sample.until("Subscribed to topic dev-17/my/subscribe/topic");
        wire.cut();
        sample.until("Disconnected from MQTT broker");
        house.device("dev-18", &certs);
        sample.signal("USR2");
        wire.mend();
        sample.until("Client ID: dev-18");
        sample.until("Subscribed to topic dev-18/my/subscribe/topic");
        sample.stop();
    }
}

/// What is on the wire shows nothing of what is said; without TLS it shows all.
#[test]
fn a_capture_holds_the_payload_only_without_tls() {
    if !have(&["mosquitto"]) {
        return;
    }
    let house = House::new("house");
    let certs = house.folder(&[house.ca()]);
    for tls in [true, false] {
        let home = Home::new();
        let broker = if tls {
            Mosquitto::server_only(&house)
        } else {
            Mosquitto::plain(&house)
        };
        let wire = Wire::to(broker.port());
        let port = wire.port();
        let how: &[&str] = if tls {
            &["--certs", &certs]
        } else {
            &["--plain"]
        };
        let (code, _, talk) = Running::start(
            &home,
            &[
                &[
                    "--host",
                    "localhost",
                    "--port",
                    port,
                    "--interval",
                    "1",
                    "--count",
                    "1",
                ][..],
                &QUICK,
                how,
            ]
            .concat(),
        )
        .end();
        assert_eq!(code, Some(0), "{talk}");
        let seen = wire.seen();
        let said = b"Hello MQTT!";
        let shown = seen.windows(said.len()).any(|bytes| bytes == said);
        assert_eq!(shown, !tls, "{} bytes", seen.len());
    }
}

/// What TLS costs, and what a continued session saves.
#[test]
fn a_session_that_is_continued_costs_less_than_a_whole_handshake() {
    if !have(&["mosquitto"]) {
        return;
    }
    let home = Home::new();
    let house = House::new("house");
    let broker = Mosquitto::mutual(&house);
    let wire = Wire::to(broker.port());
    let certs = house.folder(&[house.ca()]);
    house.device("dev-17", &certs);
    let mut sample = Running::start(
        &home,
        &[
            &[
                "--host",
                "localhost",
                "--port",
                wire.port(),
                "--certs",
                &certs,
            ][..],
            &["--session-cache", "--keep-alive", "3", "--json"],
            &QUICK,
        ]
        .concat(),
    );
    for _ in 0..2 {
        sample.until_part("Subscribed to topic dev-17/my/subscribe/topic");
        wire.cut();
        sample.until_part("Disconnected from MQTT broker");
        wire.mend();
    }
    let (log, _) = sample.stop_with_log();
    let sessions: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|value| value["session"].is_u64())
        .collect();
    let handshake = |session: &Value| {
        session["handshakeSent"].as_u64().unwrap() + session["handshakeReceived"].as_u64().unwrap()
    };
    assert_eq!(sessions[0]["resumed"], false, "{sessions:#?}");
    assert_eq!(sessions[1]["resumed"], true, "{sessions:#?}");
    assert!(
        handshake(&sessions[1]) < handshake(&sessions[0]),
        "{sessions:#?}"
    );
}

/// A modem behind a line: its CA can be read, its key only borrowed from a virtual one that lends.
#[test]
fn a_modem_behind_a_line_needs_no_key_for_server_authentication_and_says_so_for_mutual() {
    if !have(&["mosquitto"]) {
        return;
    }
    let house = House::new("house");
    let certs = house.folder(&[house.ca()]);
    let mutual = house.folder(&[house.ca()]);
    house.device("dev-17", &mutual);
    let (open, closed) = (Mosquitto::server_only(&house), Mosquitto::mutual(&house));
    let end = ["--interval", "1", "--count", "1"];
    for served in [&["--mode", "at"][..], &["--mode", "shell"]] {
        let home = Home::new();
        let modem = Served::start(&home, served);
        let args = |port| {
            let place = [
                "--host",
                "localhost",
                "--port",
                port,
                "--modem",
                modem.pty(),
            ];
            [&place[..], &QUICK, &end].concat()
        };
        let wanted = [&args(open.port())[..], &["--certs", &certs]].concat();
        let (code, lines, talk) = Running::start(&home, &wanted).end();
        assert_eq!(code, Some(0), "{served:?} {lines:#?} {talk}");
        assert!(
            lines[4].starts_with("Client ID: 35"),
            "the IMEI: {lines:#?}"
        );

        let wanted = [&args(closed.port())[..], &["--certs", &mutual]].concat();
        let (code, lines, talk) = Running::start(&home, &wanted).end();
        assert_eq!(
            (code, lines.len()),
            (Some(1), 0),
            "{served:?} {lines:#?} {talk}"
        );
        assert!(
            talk.contains("cannot sign for TLS on this machine"),
            "{talk}"
        );
    }
    let home = Home::new();
    let modem = Served::start(&home, &["--allow-remote-signing"]);
    let (code, lines, talk) = Running::start(
        &home,
        &[
            &[
                "--host",
                "localhost",
                "--port",
                closed.port(),
                "--modem",
                modem.pty(),
            ][..],
            &QUICK,
            &end,
            &["--certs", &mutual],
        ]
        .concat(),
    )
    .end();
    assert_eq!(code, Some(0), "{lines:#?} {talk}");
    assert_eq!(lines[4], "Client ID: dev-17");
}
