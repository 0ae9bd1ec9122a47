//! §17, 1 to 4.

use crate::gateway_desk::Gateway;
use crate::stranger::have;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// Key, default as it is printed, an older name, a value that is none (spec/gateway-config §2).
type Row = (
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
);

const KEYS: &[Row] = &[
    ("mqtt.bind.enabled", Some("true"), "", "yes"),
    (
        "mqtt.bind.address",
        Some("127.0.0.1"),
        "mqtt.bind_address",
        "localhost",
    ),
    ("mqtt.bind.port", Some("1883"), "mqtt.port", "0"),
    (
        "mqtt.external.bind.port",
        None,
        "mqtt.external.port",
        "99999",
    ),
    (
        "mqtt.external.bind.address",
        None,
        "mqtt.external.bind_address",
        "a b",
    ),
    (
        "mqtt.external.bind.interface",
        None,
        "mqtt.external.bind_interface",
        " ",
    ),
    ("mqtt.external.ca_path", None, "mqtt.external.capath", ""),
    (
        "mqtt.external.cert_file",
        None,
        "mqtt.external.certfile",
        "",
    ),
    ("mqtt.external.key_file", None, "mqtt.external.keyfile", ""),
    (
        "mqtt.client.host",
        Some("127.0.0.1"),
        "mqtt.client_host",
        "a b",
    ),
    (
        "mqtt.client.port",
        Some("1883"),
        "mqtt.client_port",
        "0x22B3",
    ),
    ("mqtt.client.auth.ca_file", None, "mqtt.client.cafile", ""),
    ("mqtt.client.auth.ca_dir", None, "mqtt.client.cadir", ""),
    (
        "mqtt.client.auth.cert_file",
        None,
        "mqtt.client.auth.certfile",
        "",
    ),
    (
        "mqtt.client.auth.key_file",
        None,
        "mqtt.client.auth.keyfile",
        "",
    ),
    ("mqtt.client.auth.username", None, "", "a\nb"),
    ("mqtt.client.auth.password_file", None, "", ""),
    ("mqtt.topic_root", Some("te"), "", "a/#"),
    ("mqtt.device_topic_id", Some("device/main//"), "", "a\nb"),
    ("mqtt.bridge.built_in", Some("true"), "", "1"),
    (
        "mqtt.bridge.reconnect_policy.initial_interval",
        Some("5s"),
        "",
        "1 fortnight",
    ),
    (
        "mqtt.bridge.reconnect_policy.maximum_interval",
        Some("10m"),
        "",
        "1 fortnight",
    ),
    (
        "mqtt.bridge.reconnect_policy.reset_window",
        Some("5m"),
        "",
        "1 fortnight",
    ),
    ("device.id", None, "", "a\nb"),
    (
        "device.cert_path",
        Some("$CFG/device-certs/tedge-certificate.pem"),
        "",
        "",
    ),
    (
        "device.key_path",
        Some("$CFG/device-certs/tedge-private-key.pem"),
        "",
        "",
    ),
    (
        "device.csr_path",
        Some("$CFG/device-certs/tedge.csr"),
        "",
        "",
    ),
    ("device.key_uri", None, "", "a\nb"),
    ("device.key_pin", None, "", "a\nb"),
    ("device.cryptoki.mode", Some("off"), "", "tpm"),
    ("device.cryptoki.module_path", None, "", ""),
    ("device.cryptoki.pin", Some("********"), "", "a\nb"),
    ("device.cryptoki.uri", None, "", "a\nb"),
    (
        "device.cryptoki.socket_path",
        Some("/run/tedge-p11-server/tedge-p11-server.sock"),
        "",
        "",
    ),
    (
        "certificate.validity.requested_duration",
        Some("365d"),
        "",
        "1 fortnight",
    ),
    (
        "certificate.validity.minimum_duration",
        Some("30d"),
        "",
        "1 fortnight",
    ),
    ("certificate.organization", Some("Thin Edge"), "", "a\nb"),
    ("certificate.organization_unit", Some("Device"), "", "a\nb"),
];

/// In depth: `crates/gateway/tests/keys.rs`.
#[test]
fn a1_every_key_has_its_default_its_other_name_and_its_type() {
    let gateway = Gateway::untouched();
    let home = gateway.home.path();
    let listed = gateway.sectag(&["config", "list", "--all"]).expect_code(0);
    let listed: BTreeMap<&str, &str> = listed
        .stdout
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    for (key, default, alias, bad) in KEYS {
        let shown = listed.get(key).unwrap_or_else(|| panic!("no {key}"));
        let default = default.unwrap_or_default();
        assert_eq!(
            *shown,
            default.replace("$CFG", home.to_str().unwrap()),
            "{key}"
        );
        let refused = gateway.sectag(&["config", "set", key, bad]);
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (Some(1), ""),
            "{key}: {refused:#?}"
        );
        if !alias.is_empty() {
            let said = gateway.sectag(&["config", "get", alias]);
            assert!(
                said.stderr.contains(&format!("'{key}'")),
                "{alias}: {said:#?}"
            );
        }
    }
}

/// In depth: `crates/cli/tests/config_annex_a.rs`, every row and both names of the program.
#[test]
fn a2_exit_codes_and_streams_are_upstreams() {
    let gateway = Gateway::untouched();
    for (words, code, stdout) in [
        (&["get", "mqtt.bind.port"][..], 0, "1883\n"),
        (&["get", "mqtt.external.bind.port"], 1, ""),
        (&["get", "no.such.key"], 2, ""),
        (&["set", "mqtt.external.bind.port", "8883"], 0, ""),
        (&["get", "mqtt.external.bind.port"], 0, "8883\n"),
        (&["set", "mqtt.external.bind.port", "99999"], 1, ""),
        (&["set", "mqtt.external.bind.port"], 2, ""),
        (&["set", "no.such.key", "1"], 2, ""),
        (&["add", "mqtt.bind.port", "1884"], 0, ""),
        (&["remove", "mqtt.bind.port", "1"], 0, ""),
        (&["get", "mqtt.bind.port"], 0, "1884\n"),
        (&["remove", "mqtt.bind.port", "1884"], 0, ""),
        (&["unset", "mqtt.external.bind.port"], 0, ""),
        (&["unset", "mqtt.external.bind.port"], 0, ""),
        (&["list", "nothingmatches"], 0, ""),
        (
            &["list", "mqtt.bind"],
            0,
            "mqtt.bind.enabled=true\nmqtt.bind.address=127.0.0.1\nmqtt.bind.port=1883\n",
        ),
        (&["lst"], 2, ""),
    ] {
        let said = gateway.tedge(&format!("tedge config {}", words.join(" ")));
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (Some(code), stdout),
            "{words:?}: {said:#?}"
        );
    }
}

/// In depth: `crates/cli/tests/config_annex_a.rs` (50 rounds) and `crates/gateway/src/document`.
#[test]
fn a3_a_set_keeps_what_it_does_not_change_and_eight_at_once_lose_nothing() {
    let gateway = Gateway::new();
    let (link, real) = (
        gateway.home.path().join("tedge.toml"),
        gateway.home.beside("real.toml"),
    );
    let text = "# by hand\n[mqtt.bind]\nport = 1884 # not 1883\n\n[my_plugin]\nfoo = [1, 2]\n";
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&real, text).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../real.toml", &link).unwrap();
    gateway.set(&[("mqtt.bind.port", "1885")]);
    let kept = std::fs::read_to_string(&real).unwrap();
    for part in [
        "# by hand\n",
        "1885 # not 1883\n",
        "[my_plugin]\nfoo = [1, 2]\n",
    ] {
        assert!(kept.contains(part), "{part}: {kept}");
    }
    let mode = std::fs::metadata(&real).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());

    let eight = [
        ("mqtt.bind.port", "1886"),
        ("mqtt.topic_root", "t"),
        ("mqtt.client.host", "gw.example"),
        ("mqtt.external.bind.interface", "lo"),
        ("mqtt.client.auth.username", "amy"),
        ("certificate.organization", "Us"),
        ("device.cryptoki.mode", "module"),
        ("mqtt.bridge.built_in", "false"),
    ];
    std::thread::scope(|all| {
        for pair in eight {
            let gateway = &gateway;
            all.spawn(move || gateway.set(&[pair]));
        }
    });
    for (key, value) in eight {
        assert_eq!(gateway.get(key).as_deref(), Some(value), "{key}");
    }
}

/// In depth: `crates/gateway/tests/findings`. E2 does not exist: a port that is not set is inferred.
#[test]
fn a4_every_finding_is_found_by_config_check() {
    if !have(&["openssl"]) {
        return;
    }
    let desk = Gateway::new();
    let papers = &desk.papers;
    papers.server("elsewhere", &["elsewhere.example"]);
    papers.version_1("v1");
    let empty = desk.home.beside("empty");
    let links = desk.home.beside("links");
    for folder in [&empty, &links] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::copy(papers.path("clients-ca.crt"), links.join("ca.pem")).unwrap();
    let open_key = papers.write("open.key", &papers.read("client.key"));
    std::fs::set_permissions(&open_key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let password = papers.write("password", "secret\n");

    let path = |name: &str| papers.text(name);
    let ca = "mqtt.client.auth.ca_file";
    let (cert, key) = ("mqtt.client.auth.cert_file", "mqtt.client.auth.key_file");
    let (server, server_key) = ("mqtt.external.cert_file", "mqtt.external.key_file");
    let clients = "mqtt.external.ca_path";
    let (address, interface) = ("mqtt.external.bind.address", "mqtt.external.bind.interface");
    // What is set on top of which level; an empty value unsets.
    type Fixture = (&'static str, &'static str, Vec<(&'static str, String)>);
    let fixtures: Vec<Fixture> = vec![
        ("E1", "mutual", vec![(key, String::new())]),
        ("E3", "none", vec![(clients, path("clients-ca.crt"))]),
        (
            "E4",
            "none",
            vec![("mqtt.external.bind.port", desk.internal.to_string())],
        ),
        (
            "E5",
            "server",
            vec![(address, "0.0.0.0".into()), (interface, "lo".into())],
        ),
        ("E6", "server", vec![(interface, "wlan77".into())]),
        ("E7", "mutual", vec![(ca, String::new())]),
        (
            "E8",
            "server",
            vec![
                ("mqtt.client.auth.ca_dir", crate::gateway_desk::text(&empty)),
                (ca, String::new()),
            ],
        ),
        (
            "E9",
            "server",
            vec![
                (server, path("elsewhere.crt")),
                (server_key, path("elsewhere.key")),
            ],
        ),
        ("E10", "server", vec![(ca, path("other-ca.crt"))]),
        (
            "E11",
            "mutual",
            vec![(cert, path("other.crt")), (key, path("other.key"))],
        ),
        ("E12", "mutual", vec![(cert, path("v1.crt"))]),
        ("E13", "mutual", vec![(key, path("other.key"))]),
        ("E14", "server", vec![("mqtt.client.port", "1999".into())]),
        ("E15", "none", vec![("mqtt.client.port", "8883".into())]),
        ("E16", "none", vec![(address, "0.0.0.0".into())]),
        (
            "E17",
            "none",
            vec![("mqtt.client.auth.password_file", password)],
        ),
        (
            "E18",
            "mutual",
            vec![(clients, crate::gateway_desk::text(&links))],
        ),
        ("E19", "mutual", vec![(clients, "/etc/ssl/certs".into())]),
        (
            "E20",
            "mutual",
            vec![("certificate.validity.minimum_duration", "400d".into())],
        ),
        ("E21", "mutual", vec![(key, open_key)]),
    ];
    let numbers: Vec<&str> = fixtures.iter().map(|(id, ..)| *id).collect();
    let all: Vec<String> = (1..=21)
        .filter(|n| *n != 2)
        .map(|n| format!("E{n}"))
        .collect();
    assert_eq!(numbers, all);
    for (id, level, changes) in &fixtures {
        std::fs::remove_file(desk.home.path().join("tedge.toml")).unwrap();
        desk.set(&[("mqtt.bind.port", &desk.internal.to_string())]);
        desk.level(level);
        for (key, value) in changes {
            match value.as_str() {
                "" => desk.unset(key),
                value => drop(desk.set(&[(key, value)])),
            }
        }
        let finding = desk.finding(id);
        for part in ["sentence", "fix"] {
            assert!(
                finding[part].as_str().is_some_and(|it| !it.is_empty()),
                "{finding:#}"
            );
        }
        let check = desk.sectag(&["config", "check"]);
        let errors = desk
            .findings()
            .iter()
            .any(|(_, severity)| severity == "error");
        assert_eq!(check.code, Some(i32::from(errors)), "{id}: {check:#?}");
        assert_eq!(check.stdout, "", "{id}: talk goes to stderr");
    }
}
