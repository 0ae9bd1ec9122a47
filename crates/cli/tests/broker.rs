//! `sectag mqtt broker`, and `sectag up` with the same keys: the binary with a configuration file, and clients that use what
//! it prints.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sectag_keep as keep;
use sectag_mqtt::client::tls_config;
use sectag_mqtt::{Client, ClientError, ConnectOptions, Qos, Transport, Version};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use serde_json::Value;
use support::{DEADLINE, Home};

/// A configuration directory with the papers of a gateway, beside a home that stays empty.
struct Gateway {
    home: Home,
    root: Authority,
    clients: Authority,
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

impl Gateway {
    fn new() -> Self {
        let now = now_s();
        let home = Home::new();
        let root = Authority::root("Gateway", now).unwrap();
        let servers = root.issuing(Purpose::Servers, now).unwrap();
        let clients = root.issuing(Purpose::Devices, now).unwrap();
        let gateway = Self {
            home,
            root,
            clients,
        };
        let key = PrivateKey::generate().unwrap();
        let names = [
            ServerName::Dns("localhost".into()),
            ServerName::Ip("127.0.0.1".parse().unwrap()),
        ];
        let server = servers.issue_server(&key.spki_der(), &names, now).unwrap();
        let chain = server.pem() + &servers.certificate_pem();
        gateway.write("server.crt", &chain);
        gateway.private("server.key", &key.to_pem());
        gateway.write("ca.crt", &gateway.root.certificate_pem());
        gateway.write("clients.crt", &gateway.clients.certificate_pem());
        gateway.client("child-1");
        gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.beside(name)
    }

    fn write(&self, name: &str, text: &str) {
        keep::write_public(&self.path(name), text.as_bytes()).unwrap();
    }

    fn private(&self, name: &str, text: &str) {
        keep::write_private(&self.path(name), text.as_bytes()).unwrap();
    }

    /// Issues a client certificate; returns its serial number.
    fn client(&self, cn: &str) -> String {
        let key = PrivateKey::generate().unwrap();
        let made = self
            .clients
            .issue_device(&key.spki_der(), cn, now_s())
            .unwrap();
        let chain = made.pem() + &self.clients.certificate_pem();
        self.write(&format!("{cn}.crt"), &chain);
        self.private(&format!("{cn}.key"), &key.to_pem());
        made.serial_hex
    }

    /// `tedge.toml` with `mqtt.` before each key; `@x` stands for the path of `x`.
    fn keys(&self, keys: &[(&str, &str)]) {
        let mut text = "[config]\nversion = \"2\"\n[mqtt]\n".to_owned();
        for (key, value) in keys {
            let value = match value.strip_prefix('@') {
                Some(name) => format!("\"{}\"", self.path(name).display()),
                None => (*value).to_owned(),
            };
            text += &format!("{key} = {value}\n");
        }
        self.write("tedge.toml", &text);
    }

    fn dir(&self) -> String {
        self.path("").display().to_string()
    }

    fn broker(&self, args: &[&str]) -> Broker {
        let log = self.path("broker.log");
        let mut child = support::sectag(&self.home.path())
            .args(["mqtt", "broker", "--json", "--config-dir", &self.dir()])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            text += &line.unwrap();
            if let Ok(data) = serde_json::from_str(&text) {
                return Broker { child, data, log };
            }
        }
        let _ = child.wait();
        panic!(
            "no broker\n{}",
            std::fs::read_to_string(&log).unwrap_or_default()
        );
    }

    /// The same, refused: what it said.
    fn refused(&self, args: &[&str]) -> String {
        let dir = self.dir();
        let base = ["mqtt", "broker", "--config-dir", &dir];
        self.home
            .sectag(&[&base, args].concat())
            .expect_code(2)
            .stderr
    }
}

/// A running `sectag mqtt broker`. Dropped, it is killed.
struct Broker {
    child: Child,
    data: Value,
    log: PathBuf,
}

impl Broker {
    fn listener(&self, name: &str) -> &Value {
        let all = self.data["listeners"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log once its last line before the end is there.
fn all_said(log: &dyn Fn() -> String) -> String {
    let begun = std::time::Instant::now();
    loop {
        let said = log();
        if said.contains("stop it with") {
            return said;
        }
        assert!(begun.elapsed() < DEADLINE, "{said}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn port(listener: &Value) -> u16 {
    let address: std::net::SocketAddr = listener["address"].as_str().unwrap().parse().unwrap();
    address.port()
}

fn file(listener: &Value, key: &str) -> Option<String> {
    let path = listener[key].as_str()?;
    Some(std::fs::read_to_string(path).unwrap())
}

/// Connects with what was printed about a listener, and nothing else.
async fn connect(listener: &Value, client_id: &str) -> Result<Client, ClientError> {
    let host = listener["hosts"][0].as_str().unwrap();
    let transport = match file(listener, "caFile") {
        None => Transport::Plain,
        Some(ca) => {
            let papers = file(listener, "certFile").zip(file(listener, "keyFile"));
            let papers = papers.as_ref().map(|(chain, key)| (&**chain, &**key));
            Transport::tls(host, tls_config(&ca, papers).unwrap())
        }
    };
    let options = ConnectOptions {
        version: Version::V5,
        timeout: DEADLINE,
        ..ConnectOptions::new(client_id)
    };
    let connected = Client::connect("127.0.0.1", port(listener), transport, options).await;
    connected.map(|(client, _messages)| client)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_enough_to_connect_at_every_level() {
    let gateway = Gateway::new();
    let server = [
        ("external.cert_file", "@server.crt"),
        ("external.key_file", "@server.key"),
        ("client.auth.ca_file", "@ca.crt"),
    ];
    let client = [
        ("external.ca_path", "@clients.crt"),
        ("client.auth.cert_file", "@child-1.crt"),
        ("client.auth.key_file", "@child-1.key"),
    ];
    let (internal, external) = (free_port().to_string(), free_port().to_string());
    let base = [
        ("bind.port", internal.as_str()),
        ("external.bind.port", &external),
        ("external.bind.address", "\"localhost\""),
    ];
    for (level, keys) in [
        ("none", base.to_vec()),
        ("server", [&base[..], &server].concat()),
        ("mutual", [&base[..], &server, &client].concat()),
    ] {
        gateway.keys(&keys);
        let broker = gateway.broker(&[]);
        let listener = broker.listener("external");
        assert_eq!(listener["level"], level, "{listener}");
        assert_eq!(port(listener).to_string(), external);
        let child = connect(listener, "child").await.unwrap();
        child
            .publish("child-1/m", "21", Qos::AtLeastOnce, false)
            .await
            .unwrap();
        let local = connect(broker.listener("internal"), "local").await.unwrap();
        local.subscribe("#", Qos::AtLeastOnce).await.unwrap();
        // Less than what was printed is not enough.
        for key in ["caFile", "certFile"] {
            if listener[key].is_string() {
                let mut less = listener.clone();
                less[key] = Value::Null;
                assert!(
                    connect(&less, "less").await.is_err(),
                    "{level} without {key}"
                );
            }
        }
        let said = all_said(&|| broker.log());
        assert!(said.contains("MQTT, external"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_and_topic_rules_reach_the_running_broker() {
    let gateway = Gateway::new();
    let (internal, external) = (free_port().to_string(), free_port().to_string());
    gateway.write("rules", "# one topic for all\nallow both shared/{cn}\n");
    let crl = |serials: &[&str]| {
        let revoked: Vec<_> = serials.iter().map(|serial| (*serial, now_s())).collect();
        let made = gateway
            .clients
            .crl(&revoked, now_s(), now_s() + 86_400)
            .unwrap();
        gateway.write("clients.crl", &pem_crl(&made));
    };
    crl(&[]);
    let serial = gateway.client("child-2");
    gateway.keys(&[
        ("bind.port", &internal),
        ("external.bind.port", &external),
        ("external.bind.address", "\"127.0.0.1\""),
        ("external.cert_file", "@server.crt"),
        ("external.key_file", "@server.key"),
        ("external.ca_path", "@clients.crt"),
        ("external.crl_file", "@clients.crl"),
        ("client.auth.ca_file", "@ca.crt"),
        ("client.auth.cert_file", "@child-2.crt"),
        ("client.auth.key_file", "@child-2.key"),
    ]);
    let rules = gateway.path("rules").display().to_string();
    let broker = gateway.broker(&["--topic-rules", &rules]);
    let listener = broker.listener("external");
    let child = connect(listener, "child").await.unwrap();
    let say = |topic: &'static str| child.publish(topic, "x", Qos::AtLeastOnce, false);
    say("shared/child-2").await.unwrap();
    for topic in ["child-2/x", "shared/child-1"] {
        let said = say(topic).await;
        assert!(
            matches!(said, Err(ClientError::PublishRefused { .. })),
            "{said:?}"
        );
    }
    crl(&[&serial]);
    let closed = tokio::time::timeout(Duration::from_secs(2), child.closed()).await;
    closed.expect("within the promised time");
    let again = connect(listener, "child").await;
    assert!(
        matches!(again, Err(ClientError::CertificateRefused { .. })),
        "{again:?}"
    );
}

fn pem_crl(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
}

#[test]
fn what_would_not_work_does_not_start_and_names_the_fix() {
    let gateway = Gateway::new();
    let port = free_port().to_string();
    gateway.private("other.key", &PrivateKey::generate().unwrap().to_pem());
    gateway.write("rules", "allow both a\ndeny both b\n");
    let half = [("external.cert_file", "@server.crt")];
    let lost = [
        ("external.cert_file", "@server.crt"),
        ("external.key_file", "@lost.key"),
    ];
    let wrong = [
        ("external.cert_file", "@server.crt"),
        ("external.key_file", "@other.key"),
    ];
    let only_ca = [("external.ca_path", "@clients.crt")];
    let only_crl = [("external.crl_file", "@clients.crl")];
    let same = [("external.bind.port", port.as_str())];
    let nowhere = [("external.bind.interface", "\"no-such-interface\"")];
    let unnamed = [("external.bind.address", "\"nowhere.invalid\"")];
    let off = [("bind.enabled", "false")];
    for (keys, parts) in [
        (
            &half[..],
            &["mqtt.external.key_file is not set", "config set"][..],
        ),
        (&lost, &["lost.key", "mqtt.external.key_file"]),
        (&wrong, &["other.key"]),
        (&only_ca, &["mqtt.external.ca_path", "cert_file"]),
        (&only_crl, &["mqtt.external"]),
        (&same, &["both listeners want port"]),
        (&nowhere, &["no-such-interface", "lo"]),
        (&unnamed, &["nowhere.invalid"]),
        (&off, &["nothing to listen on", "mqtt.bind.enabled"]),
    ] {
        let all = [&[("bind.port", port.as_str())], keys].concat();
        gateway.keys(&all);
        let said = gateway.refused(&[]);
        for part in parts {
            assert!(said.contains(part), "{keys:?}\n{said}");
        }
        assert!(said.contains("\nhint: "), "{keys:?}\n{said}");
        // A command that is given is about this directory.
        assert_eq!(said.matches("sectag config set").count(), 0, "{said}");
    }
    gateway.keys(&[("bind.port", &port)]);
    let rules = gateway.path("rules").display().to_string();
    let said = gateway.refused(&["--topic-rules", &rules]);
    assert!(
        said.contains("line 2") && said.contains("there is no `deny`"),
        "{said}"
    );
    let taken = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    let said = gateway.refused(&[]);
    assert!(
        said.contains(&port) && said.contains("hint: another program"),
        "{said}"
    );
    drop(taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_opens_the_listeners_beside_its_own_only_when_a_key_asks() {
    let home = Home::new();
    let up = home.up(&[]);
    let run: Value = serde_json::from_str(&home.read("run.json")).unwrap();
    assert!(run.get("gateway").is_none(), "{run}");
    assert!(up.stop().success());
    let (internal, external) = (free_port(), free_port());
    // The home's own papers serve as the listener's as well.
    let set = |keys: &[&str]| {
        home.sectag(&[&["config", "set"], keys].concat())
            .expect_code(0)
    };
    let at = |name: &str| home.path().join(name).display().to_string();
    set(&[
        "mqtt.bind.port",
        &internal.to_string(),
        "mqtt.external.bind.port",
        &external.to_string(),
        "mqtt.external.bind.address",
        "127.0.0.1",
        "mqtt.external.cert_file",
        &at("tls/server.crt"),
        "mqtt.external.key_file",
        &at("tls/server.key"),
    ]);
    let up = home.up(&[]);
    let run: Value = serde_json::from_str(&home.read("run.json")).unwrap();
    let levels: Vec<_> = run["gateway"].as_array().unwrap().iter().collect();
    assert_eq!(levels[0]["level"], "none");
    assert_eq!(levels[1]["level"], "server");
    assert_eq!(levels[1]["address"], format!("127.0.0.1:{external}"));
    assert_eq!(home.json(&["status"])["gateway"], run["gateway"]);
    let log = all_said(&|| up.log());
    for part in [
        format!("host localhost or 127.0.0.1 or ::1, port {external}"),
        at("ca/root.crt"),
        "none is asked for".to_owned(),
        format!("port {internal} (127.0.0.1:{internal}), plaintext"),
    ] {
        assert!(log.contains(&part), "{part}\n{log}");
    }
    let listener = serde_json::json!({
        "address": format!("127.0.0.1:{external}"), "hosts": ["localhost"], "caFile": at("ca/root.crt"),
    });
    let child = connect(&listener, "child").await.unwrap();
    child
        .publish("te/child/m", "1", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert!(up.stop().success());
    // Two listeners of one process cannot share a port.
    let own = format!("127.0.0.1:{external}");
    let said = home
        .sectag(&["up", "--listen-mqtt", &own])
        .expect_code(2)
        .stderr;
    assert!(
        said.contains("external MQTT listener wants") && said.contains("--listen-mqtt"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_home_revokes_is_gone_and_others_stay() {
    let home = Home::new();
    let up = home.up(&[]);
    for name in ["child-1", "child-2"] {
        home.sectag(&["cert", "issue", "client", name])
            .expect_code(0);
    }
    let at = |name: &str| home.path().join(name).display().to_string();
    let listener = |name: &str| {
        serde_json::json!({
            "address": up.listeners.mqtt.to_string(), "hosts": ["localhost"], "caFile": at("ca/root.crt"),
            "certFile": at(&format!("pki/{name}.crt")), "keyFile": at(&format!("pki/{name}.key")),
        })
    };
    let stays = connect(&listener("child-1"), "a").await.unwrap();
    let goes = connect(&listener("child-2"), "a").await.unwrap();
    home.sectag(&["cert", "revoke", "child-2"]).expect_code(0);
    let closed = tokio::time::timeout(Duration::from_secs(2), goes.closed()).await;
    closed.expect("within the promised time");
    let again = connect(&listener("child-2"), "a").await;
    assert!(
        matches!(again, Err(ClientError::CertificateRefused { .. })),
        "{again:?}"
    );
    stays
        .publish("child-1/x", "here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert!(up.stop().success());
}

#[test]
fn mosquitto_tools_use_what_is_printed() {
    let have = |program: &str| Command::new(program).arg("--help").output().is_ok();
    if !have("mosquitto_pub") {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "mosquitto_pub is not installed and SECTAG_PEERS=require"
        );
        let _ = writeln!(std::io::stderr(), "skipped: mosquitto_pub is not installed");
        return;
    }
    let gateway = Gateway::new();
    let (internal, external) = (free_port().to_string(), free_port().to_string());
    for mutual in [false, true] {
        let mut keys = vec![
            ("bind.port", internal.as_str()),
            ("external.bind.port", &external),
            ("external.bind.address", "\"127.0.0.1\""),
            ("external.cert_file", "@server.crt"),
            ("external.key_file", "@server.key"),
            ("client.auth.ca_file", "@ca.crt"),
        ];
        if mutual {
            keys.extend([
                ("external.ca_path", "@clients.crt"),
                ("client.auth.cert_file", "@child-1.crt"),
                ("client.auth.key_file", "@child-1.key"),
            ]);
        }
        gateway.keys(&keys);
        let broker = gateway.broker(&[]);
        let listener = broker.listener("external");
        let publish = |papers: &[&str]| {
            let mut command = Command::new("mosquitto_pub");
            command
                .args(["-h", listener["hosts"][0].as_str().unwrap()])
                .args(["-p", &external, "-V", "5", "-q", "1"])
                .args(["-t", "child-1/m", "-m", "21"])
                .stderr(Stdio::null());
            for (flag, key) in [
                ("--cafile", "caFile"),
                ("--cert", "certFile"),
                ("--key", "keyFile"),
            ] {
                if papers.contains(&key) {
                    command.args([flag, listener[key].as_str().unwrap()]);
                }
            }
            command.status().unwrap().success()
        };
        assert_eq!(publish(&["caFile"]), !mutual);
        if mutual {
            assert!(publish(&["caFile", "certFile", "keyFile"]));
        }
        assert!(!publish(&[]), "plaintext is refused");
    }
}
