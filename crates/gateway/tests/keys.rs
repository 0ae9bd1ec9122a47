//! The tables of spec/gateway-config §2, written down once more: every key with its default and its other names.
#![allow(clippy::unwrap_used)]

use sectag_gateway::config::{Config, Environment, Locations};
use sectag_gateway::keys::{KeyName, Slot};
use std::fs;
use std::path::Path;

/// Key, default as it is printed, other names.
type Row = (&'static str, Option<&'static str>, &'static [&'static str]);

const ROWS: &[Row] = &[
    // §2.1
    ("mqtt.bind.enabled", Some("true"), &[]),
    (
        "mqtt.bind.address",
        Some("127.0.0.1"),
        &["mqtt.bind_address"],
    ),
    ("mqtt.bind.port", Some("1883"), &["mqtt.port"]),
    // §2.2
    (
        "mqtt.external.bind.port",
        None,
        &["mqtt.external.port", "mqtt.external_port"],
    ),
    (
        "mqtt.external.bind.address",
        None,
        &["mqtt.external.bind_address", "mqtt.external_bind_address"],
    ),
    (
        "mqtt.external.bind.interface",
        None,
        &[
            "mqtt.external.bind_interface",
            "mqtt.external_bind_interface",
        ],
    ),
    (
        "mqtt.external.ca_path",
        None,
        &["mqtt.external.capath", "mqtt.external_capath"],
    ),
    (
        "mqtt.external.cert_file",
        None,
        &["mqtt.external.certfile", "mqtt.external_certfile"],
    ),
    (
        "mqtt.external.key_file",
        None,
        &["mqtt.external.keyfile", "mqtt.external_keyfile"],
    ),
    // §2.3
    ("mqtt.client.host", Some("127.0.0.1"), &["mqtt.client_host"]),
    ("mqtt.client.port", Some("1883"), &["mqtt.client_port"]),
    (
        "mqtt.client.auth.ca_file",
        None,
        &[
            "mqtt.client.auth.cafile",
            "mqtt.client_ca_file",
            "mqtt.client.cafile",
        ],
    ),
    (
        "mqtt.client.auth.ca_dir",
        None,
        &[
            "mqtt.client.auth.cadir",
            "mqtt.client_ca_path",
            "mqtt.client.cadir",
        ],
    ),
    (
        "mqtt.client.auth.cert_file",
        None,
        &["mqtt.client.auth.certfile", "mqtt.client_auth.cert_file"],
    ),
    (
        "mqtt.client.auth.key_file",
        None,
        &["mqtt.client.auth.keyfile", "mqtt.client_auth.key_file"],
    ),
    ("mqtt.client.auth.username", None, &[]),
    ("mqtt.client.auth.password_file", None, &[]),
    // §2.4
    ("mqtt.topic_root", Some("te"), &[]),
    ("mqtt.device_topic_id", Some("device/main//"), &[]),
    ("mqtt.bridge.built_in", Some("true"), &[]),
    (
        "mqtt.bridge.reconnect_policy.initial_interval",
        Some("5s"),
        &[],
    ),
    (
        "mqtt.bridge.reconnect_policy.maximum_interval",
        Some("10m"),
        &[],
    ),
    ("mqtt.bridge.reconnect_policy.reset_window", Some("5m"), &[]),
    // §2.5
    ("device.id", None, &[]),
    (
        "device.cert_path",
        Some("/cfg/device-certs/tedge-certificate.pem"),
        &[],
    ),
    (
        "device.key_path",
        Some("/cfg/device-certs/tedge-private-key.pem"),
        &[],
    ),
    ("device.csr_path", Some("/cfg/device-certs/tedge.csr"), &[]),
    (
        "c8y.device.cert_path",
        Some("/cfg/device-certs/tedge-certificate.pem"),
        &[],
    ),
    (
        "az.device.key_path",
        Some("/cfg/device-certs/tedge-private-key.pem"),
        &[],
    ),
    (
        "aws.device.csr_path",
        Some("/cfg/device-certs/tedge.csr"),
        &[],
    ),
    ("device.key_uri", None, &[]),
    ("device.key_pin", None, &[]),
    ("device.cryptoki.mode", Some("off"), &[]),
    ("device.cryptoki.module_path", None, &[]),
    ("device.cryptoki.pin", Some("123456"), &[]),
    ("device.cryptoki.uri", None, &[]),
    (
        "device.cryptoki.socket_path",
        Some("/run/tedge-p11-server/tedge-p11-server.sock"),
        &[],
    ),
    ("certificate.validity.requested_duration", Some("365d"), &[]),
    ("certificate.validity.minimum_duration", Some("30d"), &[]),
    ("certificate.organization", Some("Thin Edge"), &[]),
    ("certificate.organization_unit", Some("Device"), &[]),
    // §2.6; RULE 3 for the first
    ("http.bind.address", Some("127.0.0.1"), &[]),
    ("http.bind.port", Some("8000"), &["http.port"]),
    ("http.client.port", Some("8000"), &[]),
    ("http.client.host", Some("127.0.0.1"), &[]),
    ("http.cert_path", None, &[]),
    ("http.key_path", None, &[]),
    ("http.ca_path", None, &[]),
    ("http.client.auth.cert_file", None, &[]),
    ("http.client.auth.key_file", None, &[]),
    ("c8y.proxy.bind.address", Some("127.0.0.1"), &[]),
    ("c8y.proxy.bind.port", Some("8001"), &[]),
    ("c8y.proxy.cert_path", None, &[]),
    ("c8y.proxy.key_path", None, &[]),
    ("c8y.proxy.ca_path", None, &[]),
    ("c8y.root_cert_path", Some("/etc/ssl/certs"), &[]),
    ("az.root_cert_path", Some("/etc/ssl/certs"), &[]),
    ("aws.root_cert_path", Some("/etc/ssl/certs"), &[]),
    ("proxy.address", None, &[]),
    ("proxy.username", None, &[]),
    ("proxy.password", None, &[]),
    ("proxy.no_proxy", None, &[]),
];

#[test]
fn every_key_has_its_default() {
    let home = tempfile::tempdir().unwrap();
    let config = load(home.path(), &[]).unwrap();
    for (name, default, _) in ROWS {
        let key = KeyName::exact(name).unwrap_or_else(|| panic!("{name} is no key"));
        let value = config.get(key).map(|(value, _)| value.to_string());
        let value = value.map(|value| value.replace(&home.path().display().to_string(), "/cfg"));
        assert_eq!(value.as_deref(), *default, "{name}");
    }
}

#[test]
fn every_other_name_is_honoured_in_commands_files_and_environment() {
    for (name, _, aliases) in ROWS {
        let key = KeyName::exact(name).unwrap();
        let (text, shown) = match name {
            name if name.ends_with("port") => ("4711", "4711"),
            name if name.ends_with("address") => ("\"10.0.0.7\"", "10.0.0.7"),
            _ => ("\"/some/where\"", "/some/where"),
        };
        let (text, shown) = if name.ends_with("host") || name.ends_with("interface") {
            ("\"somewhere\"", "somewhere")
        } else {
            (text, shown)
        };
        for alias in *aliases {
            let found = KeyName::find(alias).unwrap_or_else(|| panic!("{alias} is no key"));
            assert_eq!(found.slot, Slot::of(key), "{alias}");

            let home = tempfile::tempdir().unwrap();
            let file = format!("{alias} = {text}\n");
            fs::write(home.path().join("tedge.toml"), &file).unwrap();
            let config = load(home.path(), &[]).unwrap();
            let (value, _) = config.get(key).unwrap_or_else(|| panic!("{file}"));
            assert_eq!(value.to_string(), shown, "{file}");
            assert!(
                config.notices()[0]
                    .to_string()
                    .contains(&format!("Use '{name}' instead"))
            );
            assert_eq!(
                fs::read_to_string(home.path().join("tedge.toml")).unwrap(),
                file
            );

            let home = tempfile::tempdir().unwrap();
            let variable = format!("TEDGE_{}", alias.replace('.', "_").to_uppercase());
            let config = load(home.path(), &[(&variable, shown)]).unwrap();
            let (value, _) = config.get(key).unwrap_or_else(|| panic!("{variable}"));
            assert_eq!(value.to_string(), shown, "{variable}");
        }
    }
}

#[test]
fn every_key_has_a_variable() {
    for key in KeyName::all() {
        let variable = Slot::of(key).variable();
        let rest = variable.strip_prefix("TEDGE_").unwrap();
        let found = KeyName::of_variable(rest).unwrap_or_else(|| panic!("{variable}"));
        assert_eq!(found.slot, Slot::of(key), "{variable}");
    }
}

fn load(
    dir: &Path,
    variables: &[(&str, &str)],
) -> Result<Config, sectag_gateway::config::LoadError> {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::new(variables);
    Config::load(
        &Locations::choose(None, &environment, dir, dir),
        &environment,
    )
}
