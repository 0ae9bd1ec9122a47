//! Levels and the properties of the external listener: G1 to G7.

use crate::gateway_desk::{Broker, Gateway, text};
use serde_json::json;

#[test]
fn g1_three_levels_are_derived_and_shown_on_both_sides() {
    let gateway = Gateway::new();
    for level in ["none", "server", "mutual"] {
        gateway.level(level);
        let listed = gateway.home.json(&["config", "list", "mqtt."]);
        assert_eq!(
            listed["levels"],
            json!({ "listener": level, "client": level, "mismatch": null })
        );
        let broker = Broker::start(&gateway);
        assert_eq!(broker.listener("external").unwrap()["level"], level);
        gateway.publish().expect_code(0);
    }
    // None is the default, of a listener and of a client.
    let fresh = Gateway::new();
    let listed = fresh.home.json(&["config", "list", "mqtt."]);
    assert_eq!(listed["levels"]["client"], "none");
}

/// The page's lines as they stand.
#[test]
fn g2_each_property_is_typed_as_printed() {
    let gateway = Gateway::untouched();
    let file = |name: &str| gateway.papers.text(name);
    for (key, value) in [
        ("mqtt.external.bind.port", "8883".to_owned()),
        ("mqtt.external.bind.address", "0.0.0.0".to_owned()),
        ("mqtt.external.bind.interface", "lo".to_owned()),
        ("mqtt.external.ca_path", file("clients-ca.crt")),
        ("mqtt.external.cert_file", file("server.crt")),
        ("mqtt.external.key_file", file("server.key")),
    ] {
        let said = gateway.tedge(&format!("sudo tedge config set {key} {value}"));
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (Some(0), ""),
            "{said:#?}"
        );
        let said = gateway.tedge(&format!("tedge config get {key}"));
        assert_eq!(said.expect_code(0).stdout, format!("{value}\n"));
        // Both names of the program mean the same file.
        assert_eq!(gateway.get(key), Some(value));
    }
    let text = gateway.home.read("tedge.toml");
    assert!(text.contains("[mqtt.external.bind]"), "{text}");
    for (key, _) in [
        ("mqtt.external.bind.port", ()),
        ("mqtt.external.key_file", ()),
    ] {
        let line = format!("sudo tedge config unset {key}");
        gateway.tedge(&line).expect_code(0);
        assert_eq!(gateway.get(key), None);
    }
}

#[test]
fn g3_the_address_may_be_a_host_name() {
    let gateway = Gateway::new();
    gateway.level("server");
    gateway.set(&[("mqtt.external.bind.address", "localhost")]);
    assert_eq!(
        gateway.get("mqtt.external.bind.address").as_deref(),
        Some("localhost")
    );
    // Our broker listens where the name leads.
    let broker = Broker::start(&gateway);
    let address = broker.listener("external").unwrap()["address"].clone();
    let address: std::net::SocketAddr = address.as_str().unwrap().parse().unwrap();
    assert!(address.ip().is_loopback(), "{address}");
    gateway.publish().expect_code(0);
    drop(broker);

    // The plan resolves it and says so; a name that leads nowhere is refused with the name.
    let plan = gateway.plan();
    assert!(
        plan.stdout.contains("localhost") && plan.stdout.contains(&address.ip().to_string()),
        "{plan:#?}"
    );
    gateway.set(&[("mqtt.external.bind.address", "nowhere.invalid")]);
    let plan = gateway.plan();
    assert_ne!(plan.code, Some(0), "{plan:#?}");
    assert!(plan.stderr.contains("nowhere.invalid"), "{plan:#?}");
    // What is neither an address nor a name is no value.
    let said = gateway.sectag(&["config", "set", "mqtt.external.bind.address", "a b"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
}

/// The page's example has both, and mosquitto does not start with both.
#[test]
fn g4_an_interface_wins_over_a_wildcard_address() {
    let gateway = Gateway::new();
    gateway.level("server");
    gateway.set(&[
        ("mqtt.external.bind.address", "0.0.0.0"),
        ("mqtt.external.bind.interface", "lo"),
    ]);
    let finding = gateway.finding("E5");
    assert_eq!(finding["severity"], "note", "{finding:#}");
    // Our broker and mosquitto's file do the same: the interface's address alone.
    let broker = Broker::start(&gateway);
    let address = broker.listener("external").unwrap()["address"].clone();
    assert!(
        address.as_str().unwrap().starts_with("127.0.0.1:"),
        "{address}"
    );
    let file = gateway.listener_file();
    assert!(file.contains("bind_interface lo\n"), "{file}");
    assert!(
        file.contains(&format!("listener {}\n", gateway.external)),
        "{file}"
    );
    // An interface that is nowhere is said.
    gateway.set(&[("mqtt.external.bind.interface", "wlan77")]);
    assert_eq!(gateway.finding("E6")["severity"], "warning");
}

#[test]
fn g5_without_a_property_there_is_no_external_listener() {
    let gateway = Gateway::new();
    let listed = gateway.home.json(&["config", "list", "mqtt."]);
    assert_eq!(listed["levels"]["listener"], json!(null));
    let broker = Broker::start(&gateway);
    assert!(
        broker.listener("external").is_none(),
        "{:#}",
        broker.printed
    );
    assert!(
        broker.listener("internal").is_some(),
        "{:#}",
        broker.printed
    );
    let file = gateway.listener_file();
    assert_eq!(file.matches("\nlistener ").count(), 1, "{file}");
}

#[test]
fn g6_any_property_means_a_listener_and_its_port_is_inferred() {
    let port = |gateway: &Gateway| {
        let said = gateway.sectag(&["config", "get", "mqtt.external.bind.port", "--source"]);
        said.expect_code(0).stdout
    };
    // With certificate and key.
    let gateway = Gateway::new();
    let papers = &gateway.papers;
    gateway.set(&[
        ("mqtt.external.cert_file", &papers.text("server.crt")),
        ("mqtt.external.key_file", &papers.text("server.key")),
    ]);
    assert_eq!(port(&gateway), "8883\tinferred\n");
    let file = gateway.listener_file();
    assert!(file.contains("\nlistener 8883\n"), "{file}");

    // Without: the port for plaintext, loudly, and not on top of the internal listener.
    let gateway = Gateway::new();
    gateway.set(&[("mqtt.external.bind.address", "0.0.0.0")]);
    assert_eq!(port(&gateway), "1883\tinferred\n");
    let loud = gateway.finding("E16");
    assert!(
        loud["sentence"].as_str().unwrap().contains("EVERYONE")
            || loud["values"].as_object().is_some(),
        "{loud:#}"
    );
    gateway.unset("mqtt.bind.port");
    assert_eq!(gateway.finding("E4")["severity"], "error");
    let plan = gateway.plan();
    assert_ne!(plan.code, Some(0), "{plan:#?}");
}

#[test]
fn g7_the_systems_store_as_ca_path_works_with_a_warning() {
    if !std::path::Path::new("/etc/ssl/certs").is_dir() {
        return;
    }
    let gateway = Gateway::new();
    gateway.level("mutual");
    let said = gateway.tedge("sudo tedge config set mqtt.external.ca_path /etc/ssl/certs");
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert_eq!(gateway.finding("E19")["severity"], "warning");
    // It is what it says: whoever has a certificate of a public CA gets in, and our own client does not (E11).
    assert_eq!(gateway.finding("E11")["severity"], "error");
    gateway.unset("mqtt.client.auth.cert_file");
    gateway.unset("mqtt.client.auth.key_file");
    let file = gateway.listener_file();
    assert!(
        file.contains("capath /etc/ssl/certs") || file.contains(&text("/etc/ssl/certs".as_ref())),
        "{file}"
    );
}
