//! Annex A of spec/gateway-config: each observed command, under both names of the program.
//!
//! Exit code and stdout are thin-edge.io's where the annex has ✔, and ours where it has ✘ with a rule. Amendment A10 takes the
//! stdout of rows 38, 39, 41, 42 and 63 out of the contract.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "config_annex_a/desk.rs"]
mod desk;

use desk::{Desk, Ended, PROGRAMS};

/// A command, and what must come of it.
struct Row {
    /// Its number in the annex.
    number: u32,
    /// `tedge.toml` before; empty: there is none.
    file: &'static str,
    /// Variables, `NAME=value`.
    variables: &'static [&'static str],
    command: &'static [&'static str],
    exit: i32,
    stdout: Stdout,
    /// Parts of stderr, in order.
    stderr: &'static [&'static str],
    /// Parts of the file afterwards.
    after: &'static [&'static str],
}

enum Stdout {
    Is(&'static str),
    Has(&'static [&'static str]),
}

const fn row(number: u32, command: &'static [&'static str]) -> Row {
    Row {
        number,
        file: "",
        variables: &[],
        command,
        exit: 0,
        stdout: Stdout::Is(""),
        stderr: &[],
        after: &[],
    }
}

impl Row {
    const fn with(mut self, file: &'static str) -> Self {
        self.file = file;
        self
    }

    const fn variables(mut self, variables: &'static [&'static str]) -> Self {
        self.variables = variables;
        self
    }

    const fn prints(mut self, stdout: &'static str) -> Self {
        self.stdout = Stdout::Is(stdout);
        self
    }

    const fn prints_among(mut self, parts: &'static [&'static str]) -> Self {
        self.stdout = Stdout::Has(parts);
        self
    }

    const fn fails(mut self, exit: i32, stderr: &'static [&'static str]) -> Self {
        self.exit = exit;
        self.stderr = stderr;
        self
    }

    const fn says(mut self, stderr: &'static [&'static str]) -> Self {
        self.stderr = stderr;
        self
    }

    const fn leaves(mut self, after: &'static [&'static str]) -> Self {
        self.after = after;
        self
    }
}

const PORT: &str = "[mqtt.external.bind]\nport = 8883\n";
const PORT_AND_ADDRESS: &str = "[mqtt.external.bind]\nport = 8883\naddress = \"0.0.0.0\"\n";
const VARIOUS: &str = "[mqtt.external]\nca_path = \"/z\"\ncert_file = \"/x/server.crt\"\nbind.address = \"0.0.0.0\"\n";
const STRANGE: &str =
    "# mine\n[mqtt]\nbind.port = 1884 # why\ntypo_key = 1\n\n[my_plugin]\n# theirs\nfoo = 1\n";
const MOVED: &str = "[config]\nversion = \"2\"\n[mqtt.external]\ncapath = \"/ca\"\ncertfile = \"/c\"\nkeyfile = \"/k\"\nport = 8884\n\
    [mqtt.client]\ncafile = \"/f\"\n[mqtt.client.auth]\ncadir = \"/d\"\ncertfile = \"/cc\"\nkeyfile = \"/kk\"\n";

const ROWS: &[Row] = &[
    row(1, &["get", "mqtt.bind.port"]).prints("1883\n"),
    row(2, &["get", "mqtt.client.port"]).prints("1883\n"),
    row(3, &["get", "mqtt.external.bind.port"])
        .fails(1, &["The provided config key: 'mqtt.external.bind.port' is not set"]),
    row(4, &["set", "mqtt.external.bind.port", "8883"]).leaves(&[PORT]),
    // ✘ RULE 6: reading leaves the file alone
    row(5, &["get", "mqtt.external.bind.port"]).with(PORT).prints("8883\n").leaves(&[PORT]),
    row(6, &["set", "mqtt.external.bind.address", "0.0.0.0"]).with(PORT).leaves(&[PORT_AND_ADDRESS]),
    row(7, &["set", "mqtt.external.bind.port", "99999"]).fails(
        1,
        &[
            "Error: failed to set the configuration key: 'mqtt.external.bind.port' with value: 99999.\n",
            "Caused by:\n    0: Failed to parse input\n    1: number too large to fit in target type\n",
        ],
    ),
    // ✘ RULE 4
    row(8, &["set", "mqtt.external.bind.port", "0"])
        .fails(1, &["1: number would be zero for non-zero type"]),
    row(9, &["set", "mqtt.bind.port", "0"]).fails(
        1,
        &["'mqtt.bind.port' with value: 0.", "1: number would be zero for non-zero type"],
    ),
    row(10, &["set", "mqtt.bind.port", "\"1234\""])
        .fails(1, &["with value: \"1234\".", "1: invalid digit found in string"]),
    row(11, &["set", "mqtt.external.bind.port", "+8883"]).leaves(&[PORT]),
    row(12, &["set", "mqtt.external.bind.port", " 8883"])
        .fails(1, &["with value:  8883.", "1: invalid digit found in string"]),
    row(13, &["set", "mqtt.external.bind.port", "0x22B3"])
        .fails(1, &["with value: 0x22B3.", "1: invalid digit found in string"]),
    // amendment A1: a host name is fine here
    row(14, &["set", "mqtt.external.bind.address", "gateway.local"])
        .leaves(&["[mqtt.external.bind]\naddress = \"gateway.local\"\n"]),
    row(15, &["set", "mqtt.bind.address", "localhost"])
        .fails(1, &["with value: localhost.", "1: invalid IP address syntax"]),
    row(16, &["set", "mqtt.bind.enabled", "yes"])
        .fails(1, &["1: provided string was not `true` or `false`"]),
    // ✘ RULE 4
    row(17, &["set", "mqtt.client.host", ""])
        .fails(1, &["neither an IP address nor a host name"]),
    row(18, &["set", "mqtt.external.cert_file", "certs/server.crt"])
        .says(&["$CWD/certs/server.crt"])
        .leaves(&["cert_file = \"$CWD/certs/server.crt\"\n"]),
    row(19, &["get", "mqtt.external.cert_file"])
        .with("[mqtt.external]\ncert_file = \"/somewhere/certs/server.crt\"\n")
        .prints("/somewhere/certs/server.crt\n"),
    // ✘ RULE 4
    row(20, &["set", "mqtt.external.cert_file", ""]).fails(1, &["an empty path leads nowhere"]),
    row(21, &["set", "mqtt.external.cert_file", "/nope/../x//server.crt"])
        .leaves(&["cert_file = \"/x/server.crt\"\n"]),
    // ✘ RULE 2: the seed page's own commands
    row(22, &["set", "mqtt.client.cafile", "/x/ca.crt"])
        .says(&["The key 'mqtt.client.cafile' is deprecated. Use 'mqtt.client.auth.ca_file' instead."])
        .leaves(&["[mqtt.client.auth]\nca_file = \"/x/ca.crt\"\n"]),
    row(23, &["set", "mqtt.client.cadir", "/x"])
        .says(&["The key 'mqtt.client.cadir' is deprecated. Use 'mqtt.client.auth.ca_dir' instead."])
        .leaves(&["[mqtt.client.auth]\nca_dir = \"/x\"\n"]),
    row(24, &["set", "mqtt.client.auth.cafile", "/x/ca.crt"])
        .says(&["The key 'mqtt.client.auth.cafile' is deprecated. Use 'mqtt.client.auth.ca_file' instead."])
        .leaves(&["ca_file = \"/x/ca.crt\"\n"]),
    row(25, &["get", "mqtt.client.auth.cafile"])
        .with("[mqtt.client.auth]\nca_file = \"/x/ca.crt\"\n")
        .prints("/x/ca.crt\n")
        .says(&["The key 'mqtt.client.auth.cafile' is deprecated. Use 'mqtt.client.auth.ca_file' instead."]),
    row(26, &["set", "mqtt_client_auth_ca_file", "/y/ca.crt"])
        .says(&["The key 'mqtt_client_auth_ca_file' is deprecated. Use 'mqtt.client.auth.ca_file' instead."])
        .leaves(&["[mqtt.client.auth]\nca_file = \"/y/ca.crt\"\n"]),
    row(27, &["set", "mqtt.external.capath", "/z"])
        .says(&["The key 'mqtt.external.capath' is deprecated. Use 'mqtt.external.ca_path' instead."])
        .leaves(&["ca_path = \"/z\"\n"]),
    row(28, &["get", "mqtt.extrenal.bind.port"]).fails(
        2,
        &[
            "error: invalid value 'mqtt.extrenal.bind.port' for '<KEY>': Unknown tedge config key: 'mqtt.extrenal.bind.port'",
            "'mqtt.external.bind.port'",
            "For more information, try '--help'.",
        ],
    ),
    row(29, &["get", "mqtt.external"])
        .fails(2, &["Unknown tedge config key: 'mqtt.external'", "did you mean 'mqtt.external."]),
    row(30, &["set", "MQTT.bind.port", "1"])
        .fails(2, &["Unknown tedge config key: 'MQTT.bind.port'", "'mqtt.bind.port'"]),
    row(31, &["get"]).fails(2, &["the following required arguments were not provided:\n  <KEY>"]),
    row(32, &["set", "mqtt.bind.port"])
        .fails(2, &[
            "the following required arguments were not provided:\n  <VALUE>",
            "Usage: $PROGRAM config set [OPTIONS] <KEY> <VALUE>",
        ]),
    row(33, &["set", "mqtt.client.auth.cert_file", "/x/c.pem", "extra"])
        .fails(2, &["error: unexpected argument 'extra' found"]),
    row(34, &["unset", "mqtt.external.bind.port"]).with(PORT).leaves(&["[mqtt.external.bind]\n"]),
    row(35, &["unset", "mqtt.external.bind.port"]),
    row(36, &["unset", "no.such.key"]).fails(2, &["Unknown tedge config key: 'no.such.key'"]),
    // ✘ RULE 11
    row(37, &["set", "mqtt.client.auth.cert_file", "/x/client.crt"])
        .says(&["mqtt.client.auth.key_file"])
        .leaves(&["cert_file = \"/x/client.crt\"\n"]),
    row(38, &["list", "mqtt.client"])
        .with("[mqtt.client.auth]\nca_file = \"/y/ca.crt\"\n")
        .prints_among(&["mqtt.client.host=127.0.0.1\n", "mqtt.client.auth.ca_file=/y/ca.crt\n"]),
    row(39, &["list", "mqtt"]).prints_among(&[
        "c8y.mapper.mqtt.max_payload_size=16184\nc8y.mqtt_service.enabled=false\nc8y.mqtt_service.topics=[]\naz.mapper.mqtt.max_payload_size=262144\naws.mapper.mqtt.max_payload_size=131072\nmqtt.topic_root=te\nmqtt.device_topic_id=device/main//\nmqtt.bind.enabled=true\nmqtt.bind.address=127.0.0.1\nmqtt.bind.port=1883\nmqtt.client.host=127.0.0.1\nmqtt.client.port=1883\n",
        "mqtt.bridge.built_in=true\nmqtt.bridge.reconnect_policy.initial_interval=5s\nmqtt.bridge.reconnect_policy.maximum_interval=10m\nmqtt.bridge.reconnect_policy.reset_window=5m\n",
    ]),
    row(40, &["list", "--all", "mqtt.external"]).with(VARIOUS).prints(
        "mqtt.external.ca_path=/z\nmqtt.external.cert_file=/x/server.crt\nmqtt.external.bind.address=0.0.0.0\n\nmqtt.external.key_file=\nmqtt.external.bind.port=\nmqtt.external.bind.interface=\n",
    ),
    row(41, &["list", "--doc", "mqtt.external"])
        .prints_among(&["mqtt.external.bind.port  ", "Example: 8883", "mqtt.external.key_file"]),
    row(42, &["list", "--doc", "--all", "mqtt.client.port"]).prints_among(&["mqtt.client.port  "]),
    row(43, &["list", "nothingmatches"]),
    row(44, &["add", "mqtt.bind.port", "1884"]).leaves(&["port = 1884\n"]),
    row(45, &["remove", "mqtt.bind.port", "1"])
        .with("[mqtt.bind]\nport = 1884\n")
        .leaves(&["[mqtt.bind]\nport = 1884\n"]),
    row(46, &["remove", "mqtt.bind.port", "1884"])
        .with("[mqtt.bind]\nport = 1884\n")
        .leaves(&["[mqtt.bind]\n"]),
    row(47, &["get", "device.id"]).fails(
        1,
        &[
            "The provided config key: 'device.id' is not configured: The device id is read from the device certificate.\n",
            "To set 'device.id' to some <id>, you can use `$PROGRAM cert create --device-id <id>`.",
        ],
    ),
    row(48, &["get", "device.id"]).with("[device]\nid = \"gw-1\"\n").prints("gw-1\n"),
    row(49, &["get", "c8y.url", "--profile", "p1"]).fails(
        1,
        &[
            "Error: failed to get the configuration value for key: 'c8y.profiles.p1.url'\n",
            "Caused by:\n    Unknown profile `p1` for the multi-profile property c8y\n",
        ],
    ),
    row(50, &["get", "mqtt.bind.port", "--profile", "p1"]).fails(
        1,
        &[
            "Error: missing configuration parameter\n",
            "    You've supplied a profile, but mqtt.bind.port is not a profiled configuration\n",
        ],
    ),
    row(51, &["get", "mqtt.external.bind.port"])
        .with(PORT)
        .variables(&["TEDGE_MQTT_EXTERNAL_BIND_PORT=9999"])
        .prints("9999\n"),
    row(52, &["set", "mqtt.external.bind.address", "0.0.0.0"])
        .with(PORT)
        .variables(&["TEDGE_MQTT_EXTERNAL_BIND_PORT=9999"])
        .leaves(&[PORT_AND_ADDRESS]),
    row(53, &["get", "mqtt.external.bind.port"])
        .with(PORT_AND_ADDRESS)
        .variables(&["TEDGE_MQTT_EXTERNAL_BIND_PORT="])
        .fails(1, &["The provided config key: 'mqtt.external.bind.port' is not set"]),
    row(54, &["get", "mqtt.external.bind.port"])
        .with(PORT)
        .variables(&["TEDGE_MQTT_EXTERNAL_BIND_PORT=abc"])
        .fails(
            1,
            &[
                "Error: Failed to set value for mqtt.external.bind.port to \"abc\" from environment variable TEDGE_MQTT_EXTERNAL_BIND_PORT\n",
                "    0: Failed to parse input\n    1: invalid digit found in string\n",
            ],
        ),
    row(55, &["list", "mqtt.external"])
        .with(PORT_AND_ADDRESS)
        .variables(&["TEDGE_MQTT_EXTERNAL_BIND_PORTX=1"])
        .prints("mqtt.external.bind.port=8883\nmqtt.external.bind.address=0.0.0.0\n")
        .says(&["Unknown configuration field \"mqtt_external_bind_portx\" from environment variable TEDGE_MQTT_EXTERNAL_BIND_PORTX"]),
    // ✘ RULE 2: an alias counts in the environment as well
    row(56, &["get", "mqtt.external.bind.port"])
        .with(PORT)
        .variables(&["TEDGE_MQTT_EXTERNAL_PORT=7777"])
        .prints("7777\n")
        .says(&["'TEDGE_MQTT_EXTERNAL_PORT' is deprecated. Use 'TEDGE_MQTT_EXTERNAL_BIND_PORT' instead."]),
    row(57, &["get", "mqtt.client.auth.ca_file"])
        .variables(&["TEDGE_MQTT_CLIENT_AUTH_CA_FILE=rel/ca.crt"])
        .prints("$CWD/rel/ca.crt\n"),
    row(58, &["get", "mqtt.bind.port"]).with("[mqtt.external.bind\n").fails(
        1,
        &[
            "Error: TOML parse error\n",
            "TOML parse error at line 1, column 20\n",
            "1 | [mqtt.external.bind\n",
            "unclosed table, expected `]`\n",
        ],
    ),
    row(59, &["get", "mqtt.external.bind.port"])
        .with("[mqtt.external.bind]\nport = \"8883\"\n")
        .fails(
            1,
            &[
                "Error: TOML parse error\n",
                "    invalid type: string \"8883\", expected u16\n    in `mqtt.external.bind.port`\n",
            ],
        ),
    // ✘ §4.5: the command that repairs a value works
    row(60, &["set", "mqtt.external.bind.port", "8883"])
        .with("[mqtt.external.bind]\nport = 70000\n")
        .leaves(&[PORT]),
    row(61, &["get", "mqtt.bind.port"]).with(STRANGE).prints("1884\n").says(&[
        "Unknown configuration field \"mqtt.typo_key\" from toml file $CFG/tedge.toml",
        "Unknown configuration field \"my_plugin.foo\" from toml file $CFG/tedge.toml",
    ]),
    // ✘ §4.5: comments and unknown tables stay
    row(62, &["set", "mqtt.bind.port", "1885"])
        .with(STRANGE)
        .says(&["Unknown configuration field \"mqtt.typo_key\""])
        .leaves(&["# mine\n[mqtt]\nbind.port = 1885 # why\ntypo_key = 1\n\n[my_plugin]\n# theirs\nfoo = 1\n"]),
    row(63, &["list", "mqtt.external"])
        .with("[mqtt]\nport = 1884\nexternal_capath = \"/ca\"\nexternal_certfile = \"/c\"\nexternal_keyfile = \"/k\"\nexternal_port = 8765\n")
        .prints("mqtt.external.ca_path=/ca\nmqtt.external.cert_file=/c\nmqtt.external.key_file=/k\nmqtt.external.bind.port=8765\n")
        .says(&["The key 'mqtt.port' is deprecated. Use 'mqtt.bind.port' instead."])
        .leaves(&["external_port = 8765\n"]),
    row(64, &["get", "mqtt.bind.port"])
        .with("[mqtt]\nport = 1884\nbind.port = 1885\n")
        .fails(
            1,
            &["Error: Cannot migrate 'mqtt.port' to 'mqtt.bind.port': target key already exists. Please manually remove one of them from tedge.toml."],
        ),
    // ✘ RULE 6: what is called deprecated is honoured
    row(65, &["list", "mqtt"])
        .with(MOVED)
        .prints_among(&[
            "mqtt.client.auth.ca_file=/f\nmqtt.client.auth.ca_dir=/d\nmqtt.client.auth.cert_file=/cc\nmqtt.client.auth.key_file=/kk\n",
            "mqtt.external.ca_path=/ca\nmqtt.external.cert_file=/c\nmqtt.external.key_file=/k\nmqtt.external.bind.port=8884\n",
        ])
        .says(&[
            "The key 'mqtt.external.capath' is deprecated. Use 'mqtt.external.ca_path' instead.",
            "The key 'mqtt.client.cafile' is deprecated. Use 'mqtt.client.auth.ca_file' instead.",
        ])
        .leaves(&[MOVED]),
    row(66, &["get", "mqtt.bind.port"])
        .with("[config]\nversion = \"3\"\n")
        .fails(1, &["Error: TOML parse error\n", "    Unknown tedge.toml version: 3\n    in `config.version`\n"]),
    // ✘ §3: a relative path counts from the file
    row(67, &["get", "mqtt.client.auth.ca_file"])
        .with("[mqtt.client.auth]\nca_file = \"relative/ca.crt\"\n")
        .prints("$CFG/relative/ca.crt\n"),
    row(68, &["add", "c8y.smartrest.templates", "y,z"])
        .with("[c8y.smartrest]\ntemplates = [\"x\", \"y\"]\n")
        .leaves(&["templates = [\"x\", \"y\", \"z\"]\n"]),
    // ✘ RULE 9: secrets are masked
    row(69, &["get", "device.cryptoki.pin"]).prints("********\n"),
    row(70, &["set", "certificate.validity.requested_duration", "1 fortnight"]).fails(
        1,
        &["1: unknown time unit \"fortnight\", supported units: ns, us, ms, sec, min, hours, days, weeks, months, years (and few variations)"],
    ),
    row(71, &["set", "device.cryptoki.mode", "tpm"]).fails(
        1,
        &["1: Failed to parse flag: tpm. Supported values are: off, module, socket"],
    ),
    // ✘ RULE 4
    row(72, &["set", "mqtt.topic_root", "a/#"]).fails(1, &["`#` is a wildcard"]),
    row(73, &["set", "mqtt.external.bind.interface", " "]).fails(1, &["begins or ends with a blank"]),
    row(74, &["set", "config.version", "2"])
        .fails(2, &["Unknown tedge config key: 'config.version'"]),
    // ✘ RULE 3: no other service follows the broker's address
    row(75, &["get", "http.bind.address"]).with(PORT_AND_ADDRESS).prints("127.0.0.1\n"),
    row(78, &[]).fails(2, &["Usage: $PROGRAM config [OPTIONS] <COMMAND>", "Commands:\n", "get ", "set "]),
    row(79, &["lst"]).fails(
        2,
        &[
            "error: unrecognized subcommand 'lst'",
            "tip: a similar subcommand exists: 'list'",
            "Usage: $PROGRAM config [OPTIONS] <COMMAND>",
        ],
    ),
];

#[test]
fn every_row_of_the_annex_ends_as_it_should() {
    let mut wrong = Vec::new();
    for program in PROGRAMS {
        for row in ROWS {
            let desk = Desk::new(program, row.file);
            let ended = desk.run(row.command, row.variables);
            if let Err(what) = compare(row, &desk, &ended) {
                wrong.push(format!(
                    "row {} as {program}: {what}\n{ended:#?}",
                    row.number
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_table_has_every_row_that_is_not_a_story_of_its_own() {
    let numbers: Vec<u32> = ROWS.iter().map(|row| row.number).collect();
    let expected: Vec<u32> = (1..=79)
        .filter(|number| ![76, 77].contains(number))
        .collect();
    assert_eq!(numbers, expected);
}

#[test]
fn row_76_a_read_only_file_system_is_named_and_nothing_else_breaks() {
    for program in PROGRAMS {
        let desk = Desk::new(program, "[mqtt.bind]\nport = 1884\n");
        let Some(ended) = desk.run_read_only(&["set", "mqtt.bind.port", "1999"]) else {
            eprintln!("skipped: no mount namespace may be made here");
            return;
        };
        assert_eq!((ended.exit, ended.stdout.as_str()), (1, ""), "{ended:#?}");
        let head =
            "Error: failed to set the configuration key: 'mqtt.bind.port' with value: 1999.\n";
        assert!(ended.stderr.starts_with(head), "{ended:#?}");
        assert!(
            ended.stderr.contains("Read-only file system (os error 30)"),
            "{ended:#?}"
        );
        let ended = desk.run_read_only(&["get", "mqtt.bind.port"]);
        assert!(ended.is_some_and(|ended| ended.exit == 0));
    }
}

#[test]
fn row_77_a_relative_link_is_followed_from_where_it_stands() {
    for program in PROGRAMS {
        let desk = Desk::new(program, "");
        std::fs::create_dir(desk.config().join("real")).unwrap();
        std::os::unix::fs::symlink("real/tedge.toml", desk.file()).unwrap();
        assert_eq!(desk.run(&["set", "mqtt.bind.port", "1887"], &[]).exit, 0);
        assert_eq!(desk.run(&["get", "mqtt.bind.port"], &[]).stdout, "1887\n");
        assert!(std::fs::symlink_metadata(desk.file()).unwrap().is_symlink());
        assert!(desk.config().join("real/tedge.toml").exists());
    }
}

#[test]
fn eight_parallel_sets_lose_nothing_in_fifty_rounds() {
    const KEYS: [&str; 8] = [
        "mqtt.bind.port",
        "mqtt.client.port",
        "mqtt.external.bind.port",
        "http.bind.port",
        "http.client.port",
        "c8y.proxy.bind.port",
        "c8y.mapper.mqtt.max_payload_size",
        "az.mapper.mqtt.max_payload_size",
    ];
    let desk = Desk::new("sectag", "# kept\n");
    for round in 0..50 {
        let value = (10_000 + round).to_string();
        let children: Vec<_> = KEYS
            .iter()
            .map(|key| desk.command(&["set", key, &value], &[]).spawn().unwrap())
            .collect();
        for child in children {
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
        }
        let text = desk.text();
        assert_eq!(
            text.matches(&value).count(),
            KEYS.len(),
            "round {round}\n{text}"
        );
        assert!(text.starts_with("# kept\n"), "{text}");
    }
}

#[test]
fn mode_and_owner_stay_and_an_unreadable_file_is_not_an_empty_one() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let desk = Desk::new("tedge", "[proxy]\npassword = \"x\"\n");
    std::fs::set_permissions(desk.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let owned = chown(desk.file(), Some(65534), Some(65534)).is_ok();
    assert_eq!(desk.run(&["set", "mqtt.bind.port", "1887"], &[]).exit, 0);
    let found = std::fs::metadata(desk.file()).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o600);
    assert!(!owned || (found.uid(), found.gid()) == (65534, 65534));

    std::fs::remove_file(desk.file()).unwrap();
    std::fs::create_dir(desk.file()).unwrap();
    for command in [
        &["get", "mqtt.bind.port"][..],
        &["set", "mqtt.bind.port", "1"],
    ] {
        let ended = desk.run(command, &[]);
        assert_eq!((ended.exit, ended.stdout.as_str()), (1, ""), "{ended:#?}");
        assert!(ended.stderr.contains("tedge.toml"), "{ended:#?}");
    }
    assert!(desk.file().is_dir());
}

fn compare(row: &Row, desk: &Desk, ended: &Ended) -> Result<(), String> {
    if ended.exit != row.exit {
        return Err(format!("exit {} and not {}", ended.exit, row.exit));
    }
    match &row.stdout {
        Stdout::Is(expected) => {
            let expected = desk.fill(expected);
            if ended.stdout != expected {
                return Err(format!("stdout is not {expected:?}"));
            }
        }
        Stdout::Has(parts) => {
            in_order(&ended.stdout, parts, desk).map_err(|part| format!("no {part:?} on stdout"))?
        }
    }
    in_order(&ended.stderr, row.stderr, desk).map_err(|part| format!("no {part:?} on stderr"))?;
    let after = std::fs::read_to_string(desk.file()).unwrap_or_default();
    if row.exit != 0 && after != row.file {
        return Err(format!("the file changed: {after}"));
    }
    in_order(&after, row.after, desk).map_err(|part| format!("no {part:?} in the file: {after}"))
}

fn in_order(text: &str, parts: &[&str], desk: &Desk) -> Result<(), String> {
    let mut from = 0;
    for part in parts {
        let part = desk.fill(part);
        match text[from..].find(&part) {
            Some(at) => from += at + part.len(),
            None => return Err(part),
        }
    }
    Ok(())
}
