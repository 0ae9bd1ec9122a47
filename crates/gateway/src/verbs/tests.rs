use super::*;
use crate::findings::FindingId;
use std::fs;
use std::path::{Path, PathBuf};

/// A gateway's configuration directory, and somebody at its terminal.
struct Desk {
    home: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
    profile: Option<&'static str>,
}

struct Told;

impl Judge for Told {
    fn findings(&self, settings: &Settings, _: &Asked) -> Vec<Finding> {
        let half = settings.client.cert_file.is_some() && settings.client.key_file.is_none();
        let finding = Finding {
            id: FindingId::E1,
            severity: Severity::Error,
            sentence: "half a pair".into(),
            values: Vec::new(),
            fix: "config set the other".into(),
        };
        if half { vec![finding] } else { Vec::new() }
    }
}

impl Desk {
    fn new(file: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        if !file.is_empty() {
            fs::write(home.path().join("tedge.toml"), file).unwrap();
        }
        Self {
            home,
            variables: Vec::new(),
            profile: None,
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("tedge.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn at<T>(&self, act: impl FnOnce(&Scene<'_>) -> T) -> T {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::new(variables);
        let locations = Locations::choose(None, &environment, self.home.path(), Path::new("/cwd"));
        act(&Scene {
            locations: &locations,
            environment: &environment,
            profile: self.profile,
            program: "sectag",
            judge: &Told,
        })
    }

    fn get(&self, key: &str) -> Said {
        self.at(|scene| get(scene, &key_of(key), &GetOptions::default()))
    }

    fn value(&self, key: &str) -> String {
        let said = self.get(key);
        assert_eq!(said.exit, 0, "{}", said.stderr);
        said.stdout.trim_end().to_owned()
    }

    fn change(&self, operations: &[Operation]) -> Said {
        self.at(|scene| change(scene, operations, false))
    }

    fn set(&self, key: &str, value: &str) -> Said {
        self.change(&[Operation::Set(key_of(key), value.into())])
    }

    fn unset(&self, key: &str) -> Said {
        self.change(&[Operation::Unset(key_of(key))])
    }

    fn list(&self, filter: &str, options: ListOptions) -> String {
        self.at(|scene| list(scene, Some(filter), &options)).stdout
    }
}

fn key_of(name: &str) -> TypedKey {
    TypedKey::parse(name).unwrap()
}

#[test]
fn a_bad_value_hides_no_other_and_is_repaired_by_setting_it() {
    let desk = Desk::new("# mine\n[mqtt]\nbind.port = 1884\nexternal.bind.port = 70000 # oops\n");
    let said = desk.get("mqtt.external.bind.port");
    assert_eq!((said.exit, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains(
        "invalid value: integer `70000`, expected u16\n    in `mqtt.external.bind.port`"
    ));
    assert!(
        said.stderr
            .contains("config unset mqtt.external.bind.port` repairs it")
    );
    let other = desk.get("mqtt.bind.port");
    assert_eq!((other.exit, other.stdout.as_str()), (0, "1884\n"));
    assert!(other.stderr.contains("warning"), "{}", other.stderr);
    assert_eq!(desk.set("mqtt.external.bind.port", "8883").exit, 0);
    assert_eq!(
        desk.text(),
        "# mine\n[mqtt]\nbind.port = 1884\nexternal.bind.port = 8883 # oops\n"
    );
}

#[test]
fn an_old_name_is_honoured_where_it_stands_and_reading_never_writes() {
    let file =
        "[mqtt.external]\ncapath = \"/ca\"\ncertfile = \"/c\"\nkeyfile = \"/k\"\nport = 8884\n";
    let desk = Desk::new(file);
    assert_eq!(desk.value("mqtt.external.ca_path"), "/ca");
    assert_eq!(desk.value("mqtt.external.bind.port"), "8884");
    assert!(desk.get("mqtt.bind.port").stderr.contains(
        "The key 'mqtt.external.capath' is deprecated. Use 'mqtt.external.ca_path' instead."
    ));
    assert_eq!(desk.text(), file);
}

#[test]
fn two_names_of_a_key_stop_everything_except_removing_the_old_one() {
    let file = "[mqtt]\nport = 1\nbind.port = 2\n";
    let desk = Desk::new(file);
    for said in [
        desk.get("http.bind.port"),
        desk.set("mqtt.bind.port", "3"),
        desk.set("http.bind.port", "3"),
    ] {
        assert_eq!(said.exit, 1);
        assert!(
            said.stderr
                .contains("Cannot migrate 'mqtt.port' to 'mqtt.bind.port'"),
            "{}",
            said.stderr
        );
    }
    assert_eq!(desk.text(), file);
    assert_eq!(desk.unset("mqtt.port").exit, 0);
    assert_eq!(desk.value("mqtt.bind.port"), "2");
}

#[test]
fn setting_a_key_replaces_its_old_name() {
    let desk = Desk::new("[mqtt]\n# why\nport = 1 # so\ntopic_root = \"te\"\n");
    assert_eq!(desk.set("mqtt.bind.port", "2").exit, 0);
    assert_eq!(
        desk.text(),
        "[mqtt]\ntopic_root = \"te\"\n\n[mqtt.bind]\n# why\n# so\nport = 2\n"
    );
}

#[test]
fn the_environment_wins_and_an_empty_variable_unsets() {
    let file = "[mqtt.external.bind]\nport = 8883\n";
    let desk = Desk::new(file).with("TEDGE_MQTT_EXTERNAL_BIND_PORT", "9999");
    assert_eq!(desk.value("mqtt.external.bind.port"), "9999");
    assert_eq!(desk.set("mqtt.external.bind.address", "::").exit, 0);
    assert!(!desk.text().contains("9999"));
    let desk = Desk::new(file).with("TEDGE_MQTT_EXTERNAL_BIND_PORT", "");
    assert_eq!(desk.get("mqtt.external.bind.port").exit, 1);
    let desk = Desk::new(file).with("TEDGE_MQTT_EXTERNAL_PORT", "7777");
    let said = desk.get("mqtt.external.bind.port");
    assert_eq!(said.stdout, "7777\n");
    assert!(
        said.stderr
            .contains("Use 'TEDGE_MQTT_EXTERNAL_BIND_PORT' instead")
    );
    let desk = Desk::new("").with("TEDGE_C8Y_SMARTREST_TEMPLATES", "[\"a,b\", \"c\"]");
    assert_eq!(desk.value("c8y.smartrest.templates"), "[\"a,b\", \"c\"]");
}

#[test]
fn an_unreadable_variable_fails_every_reading_and_no_writing() {
    let desk = Desk::new("").with("TEDGE_MQTT_BIND_PORT", "abc");
    let said = desk.get("http.bind.port");
    assert_eq!(said.exit, 1);
    assert!(said.stderr.starts_with(
        "Error: Failed to set value for mqtt.bind.port to \"abc\" from environment variable TEDGE_MQTT_BIND_PORT\n"
    ));
    assert_eq!(desk.set("mqtt.bind.port", "1885").exit, 0);
}

#[test]
fn several_changes_are_one_transaction() {
    let desk = Desk::new("");
    let pair = |value: &str| {
        [
            Operation::Set(key_of("mqtt.bind.port"), "1884".into()),
            Operation::Set(key_of("mqtt.topic_root"), value.into()),
        ]
    };
    let said = desk.change(&pair("a/#"));
    assert_eq!(said.exit, 1);
    assert!(said.stderr.contains("`#` is a wildcard"));
    assert!(said.stderr.ends_with("nothing was written\n"));
    assert!(!desk.file().exists());
    assert_eq!(desk.at(|scene| change(scene, &pair("a/#"), true)).exit, 0);
    assert_eq!(desk.value("mqtt.topic_root"), "a/#");
    assert_eq!(desk.change(&pair("te")).exit, 0);
    let twice = [Operation::Unset(key_of("mqtt.port")), pair("te")[0].clone()];
    assert_eq!(desk.change(&twice).exit, 2);
}

#[test]
fn what_follows_is_said_on_stderr() {
    let desk = Desk::new("");
    let said = desk.set("mqtt.bind.port", "1884");
    let line = "note: run `sectag gateway apply`: restart mosquitto, then restart every service\n";
    assert!(said.stderr.contains(line), "{}", said.stderr);
    assert!(
        !desk
            .set("mqtt.bind.port", "1884")
            .stderr
            .contains("restart")
    );
    let said = desk.set("mqtt.client.auth.cert_file", "/nowhere/client.crt");
    assert!(
        said.stderr
            .contains("error E1: half a pair; fix: config set the other")
    );
    assert!(
        said.stderr
            .contains("warning: /nowhere/client.crt does not exist")
    );
    assert_eq!((said.stdout.as_str(), said.exit), ("", 0));
    assert_eq!(desk.at(|scene| check(scene, false)).exit, 1);
    assert_eq!(desk.unset("mqtt.client.auth.cert_file").exit, 0);
    assert_eq!(desk.at(|scene| check(scene, false)).exit, 0);
}

#[test]
fn who_must_restart_is_one_line_for_all_keys_of_a_command() {
    let desk = Desk::new("");
    let said = desk.change(&[
        Operation::Set(key_of("mqtt.external.bind.port"), "8884".into()),
        Operation::Set(key_of("mqtt.bind.port"), "1884".into()),
        Operation::Set(key_of("mqtt.client.host"), "localhost".into()),
    ]);
    let line = "note: run `sectag gateway apply`: restart mosquitto, then restart every service\n";
    assert_eq!(said.stderr, line);
}

#[test]
fn lists_grow_sorted_and_shrink_by_items() {
    let desk = Desk::new("");
    let key = || key_of("c8y.smartrest.templates");
    let _ = desk.change(&[Operation::Add(key(), "y,x".into())]);
    let _ = desk.change(&[Operation::Add(key(), "y,z".into())]);
    assert_eq!(
        desk.value("c8y.smartrest.templates"),
        "[\"x\", \"y\", \"z\"]"
    );
    let _ = desk.change(&[Operation::Remove(key(), "y,nothing".into())]);
    assert_eq!(desk.value("c8y.smartrest.templates"), "[\"x\", \"z\"]");
    let port = || key_of("mqtt.bind.port");
    let _ = desk.change(&[Operation::Add(port(), "1884".into())]);
    let _ = desk.change(&[Operation::Remove(port(), "1".into())]);
    assert_eq!(desk.value("mqtt.bind.port"), "1884");
    let _ = desk.change(&[Operation::Remove(port(), "1884".into())]);
    assert_eq!(desk.value("mqtt.bind.port"), "1883");
}

#[test]
fn a_listener_gets_a_port_that_only_source_shows() {
    let desk = Desk::new("[mqtt.external]\nca_path = \"/z\"\ncert_file = \"/c\"\n");
    assert_eq!(desk.get("mqtt.external.bind.port").exit, 1);
    let sources = ListOptions {
        source: true,
        ..ListOptions::default()
    };
    assert!(
        desk.list("external.bind", sources)
            .contains("mqtt.external.bind.port=1883\tinferred\n")
    );
    assert_eq!(desk.set("mqtt.external.key_file", "/k").exit, 0);
    assert!(
        desk.list("external.bind", sources)
            .contains("mqtt.external.bind.port=8883\tinferred\n")
    );
    assert_eq!(desk.set("mqtt.client.cafile", "/ca").exit, 0);
    assert!(
        desk.list("client.port", sources)
            .contains("mqtt.client.port=8883\tinferred\n")
    );
    assert_eq!(
        desk.list(
            "mqtt.external",
            ListOptions {
                all: true,
                ..ListOptions::default()
            }
        ),
        "mqtt.external.ca_path=/z\nmqtt.external.cert_file=/c\nmqtt.external.key_file=/k\n\nmqtt.external.bind.port=\nmqtt.external.bind.address=\nmqtt.external.bind.interface=\n"
    );
}

#[test]
fn secrets_are_masked_everywhere() {
    let desk = Desk::new("");
    let said = desk.set("proxy.password", "hunter2\u{7}");
    assert_eq!(said.exit, 1);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    let said = desk.set("proxy.password", "hunter2");
    assert_eq!(said.exit, 0);
    assert!(said.stderr.contains("others may read"), "{}", said.stderr);
    assert_eq!(desk.value("proxy.password"), MASK);
    assert!(!desk.list("", ListOptions::default()).contains("hunter2"));
    let json = desk.list(
        "",
        ListOptions {
            json: true,
            ..ListOptions::default()
        },
    );
    assert!(!json.contains("hunter2"));
    let open = ListOptions {
        show_secrets: true,
        ..ListOptions::default()
    };
    assert!(
        desk.list("proxy", open)
            .contains("proxy.password=hunter2\n")
    );
    assert_eq!(desk.set("proxy.password", MASK).exit, 1);
    let desk = Desk::new("[proxy]\npassword = 17\n");
    assert!(!desk.get("proxy.password").stderr.contains("17"));
    let desk = Desk::new("").with("TEDGE_PROXY_PASSWORD", "hunter2\n");
    assert!(!desk.get("proxy.password").stderr.contains("hunter2"));
}

#[test]
fn a_profile_is_a_configuration_of_its_own() {
    let mut desk = Desk::new("");
    desk.profile = Some("p1");
    let said = desk.get("c8y.url");
    assert_eq!(said.exit, 1);
    assert!(
        said.stderr
            .contains("Unknown profile `p1` for the multi-profile property c8y")
    );
    assert_eq!(desk.get("mqtt.bind.port").exit, 1);
    assert_eq!(desk.set("c8y.url", "tenant.example.com").exit, 0);
    assert_eq!(desk.value("c8y.url"), "tenant.example.com");
    desk.profile = None;
    assert_eq!(desk.get("c8y.url").exit, 1);
    let listed = desk.list("c8y.profiles.p1.url", ListOptions::default());
    assert_eq!(listed, "c8y.profiles.p1.url=tenant.example.com\n");
}

#[test]
fn an_empty_table_in_the_place_of_a_value_is_an_error_and_is_repaired() {
    for file in [
        "[mqtt.client.auth.ca_file]\n",
        "[mqtt.client]\nauth = { ca_file = {} }\n",
    ] {
        let key = "mqtt.client.auth.ca_file";
        let desk = Desk::new(file);
        assert_eq!(desk.at(|scene| check(scene, false)).exit, 1);
        let said = desk.get(key);
        assert!(
            said.stderr.contains("map, expected a value"),
            "{}",
            said.stderr
        );
        assert_eq!(desk.set(key, "/ca").exit, 0);
        assert_eq!(desk.value(key), "/ca");
        let desk = Desk::new(file);
        assert_eq!(desk.unset(key).exit, 0);
        assert_eq!(desk.at(|scene| check(scene, false)).exit, 0);
    }
}

#[test]
fn a_profile_beside_the_key_does_not_replace_the_one_in_it() {
    let file = "[c8y.profiles]\np1.url = \"a.example\"\np2.url = \"b.example\"\n";
    let mut desk = Desk::new(file);
    desk.profile = Some("p1");
    let key = "c8y.profiles.p2.url";
    for said in [desk.get(key), desk.unset(key), desk.set(key, "c.example")] {
        assert_eq!((said.exit, said.stdout.as_str()), (1, ""));
        assert!(
            said.stderr.contains("of another profile than `p1`"),
            "{}",
            said.stderr
        );
    }
    assert_eq!(desk.text(), file);
    assert_eq!(desk.value("c8y.profiles.p1.url"), "a.example");
}

#[test]
fn the_device_certificate_knows_the_name_better_than_the_file() {
    let desk = Desk::new("[device]\nid = \"configured\"\n");
    assert_eq!(desk.value("device.id"), "configured");
    assert_eq!(desk.value("c8y.device.id"), "configured");
    let dir = desk.home.path().join("device-certs");
    fs::create_dir(&dir).unwrap();
    let root = sectag_pki::Authority::root("gw, number 7", 1_767_225_600).unwrap();
    fs::write(dir.join("tedge-certificate.pem"), root.certificate_pem()).unwrap();
    let name = desk.value("device.id");
    assert!(name.contains("gw, number 7"), "{name}");
    assert_eq!(desk.value("c8y.device.id"), name);
}

#[test]
fn files_of_clouds_that_are_not_read_are_named() {
    let desk = Desk::new("");
    fs::create_dir(desk.home.path().join("mappers")).unwrap();
    assert!(desk.get("c8y.url").stderr.contains("mappers is not read"));
    assert!(!desk.get("mqtt.bind.port").stderr.contains("mappers"));
}

#[test]
fn an_upgrade_renames_with_comments_and_keeps_the_file_as_it_was() {
    let file =
        "# head\n[mqtt]\n# the port\nport = 1884\nplugin = 1\n\n[my_plugin]\nfoo = 1 # theirs\n";
    let desk = Desk::new(file);
    let said = desk.at(upgrade);
    assert_eq!(said.exit, 0, "{}", said.stderr);
    assert_eq!(
        desk.text(),
        "# head\n[mqtt]\nplugin = 1\n\n[mqtt.bind]\n# the port\nport = 1884\n\n[my_plugin]\nfoo = 1 # theirs\n\n[config]\nversion = \"2\"\n"
    );
    let backup = desk.home.path().join("tedge.toml.bak");
    assert_eq!(fs::read_to_string(backup).unwrap(), file);
    assert!(desk.at(upgrade).stderr.contains("of schema 2 already"));
}

#[test]
fn an_unknown_schema_or_an_unreadable_file_is_not_touched() {
    let desk = Desk::new("[config]\nversion = \"3\"\n");
    for said in [desk.get("mqtt.bind.port"), desk.set("mqtt.bind.port", "1")] {
        assert_eq!(said.exit, 1);
        assert!(
            said.stderr
                .contains("Unknown tedge.toml version: 3\n    in `config.version`"),
            "{}",
            said.stderr
        );
    }
    let desk = Desk::new("");
    fs::create_dir(desk.file()).unwrap();
    for said in [desk.get("mqtt.bind.port"), desk.set("mqtt.bind.port", "1")] {
        assert_eq!((said.exit, said.stdout.as_str()), (1, ""));
        assert!(
            said.stderr.contains("is not a regular file"),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn a_relative_path_in_the_file_counts_from_the_file() {
    let desk = Desk::new("[mqtt.client.auth]\nca_file = \"relative/ca.crt\"\n");
    let expected = desk.home.path().join("relative/ca.crt");
    assert_eq!(
        desk.value("mqtt.client.auth.ca_file"),
        expected.display().to_string()
    );
}

#[test]
fn only_changed_values_are_listed_when_asked() {
    let desk = Desk::new("[mqtt]\nbind.port = 1883\ntopic_root = \"x\"\n");
    let changed = ListOptions {
        changed: true,
        ..ListOptions::default()
    };
    assert_eq!(desk.list("", changed), "mqtt.topic_root=x\n");
}

#[test]
fn half_a_pair_of_a_service_beside_the_broker_fails_the_check() {
    for (cert, key) in [
        ("http.cert_path", "http.key_path"),
        ("http.client.auth.cert_file", "http.client.auth.key_file"),
        ("c8y.proxy.cert_path", "c8y.proxy.key_path"),
        (
            "c8y.profiles.p1.proxy.cert_path",
            "c8y.profiles.p1.proxy.key_path",
        ),
    ] {
        for (present, missing) in [(cert, key), (key, cert)] {
            let desk = Desk::new("");
            let sentence = format!("error E1: {missing} is not set, but {present} is");
            let said = desk.set(present, "/x/a.pem");
            assert_eq!(said.exit, 0, "one half is stored: {}", said.stderr);
            assert!(said.stderr.contains(&sentence), "{}", said.stderr);
            let said = desk.at(|scene| check(scene, false));
            assert_eq!((said.exit, said.stdout.as_str()), (1, ""));
            assert!(said.stderr.contains(&sentence), "{}", said.stderr);
            assert!(said.stderr.contains(&format!(
                "fix: sectag config set {missing} <path>    or    sectag config unset {present}"
            )));
            let _ = desk.set(missing, "/x/b.pem");
            assert_eq!(desk.at(|scene| check(scene, false)).exit, 0);
        }
    }
}

#[test]
fn a_ca_for_clients_of_a_plaintext_service_fails_the_check() {
    let desk = Desk::new("[http]\nca_path = \"/ca\"\n");
    let said = desk.at(|scene| check(scene, false));
    assert_eq!(said.exit, 1);
    assert!(
        said.stderr.contains(
            "error E3: http.ca_path is set, but neither http.cert_path nor http.key_path is"
        ),
        "{}",
        said.stderr
    );
    assert_eq!(desk.unset("http.ca_path").exit, 0);
    assert_eq!(desk.at(|scene| check(scene, false)).exit, 0);
}

#[test]
fn keys_that_would_be_ignored_because_their_table_is_none_are_an_error() {
    for (file, name) in [
        ("mqtt = 5\n", "mqtt"),
        (
            "[[mqtt.client.auth]]\nca_file = \"/ca\"\n",
            "mqtt.client.auth",
        ),
        (
            "[mqtt]\nexternal = [{ ca_path = \"/ca\" }]\n",
            "mqtt.external",
        ),
        ("[mqtt]\nclient_auth = \"/ca\"\n", "mqtt.client_auth"),
        ("config = \"2\"\n", "config"),
    ] {
        let desk = Desk::new(file);
        for said in [
            desk.at(|scene| check(scene, false)),
            desk.get("mqtt.bind.port"),
            desk.set("mqtt.bind.port", "1884"),
        ] {
            assert_eq!((said.exit, said.stdout.as_str()), (1, ""), "{file}");
        }
        let said = desk.at(|scene| check(scene, false)).stderr;
        assert!(
            said.contains(&format!("expected a table\n    in `{name}`")),
            "{said}"
        );
        assert_eq!(desk.text(), file);
    }
}
