//! Every TLS key means TLS: all subsets of the listener's and the client's TLS keys, on our broker and on Debian's mosquitto
//! with the file that is generated for it (spec/gateway-config §17.9).
//!
//! ```text
//!   keys ──► broker, or a finding
//!     └────► client ──► relay (keeps what is sent) ──► broker          2⁴ × 2⁶ subsets, two brokers
//! ```
//!
//! Either the connection has exactly the level that the keys of both sides say, or somebody ends with a finding or a message that
//! names a key. In between is nothing: where any TLS key is set, no CONNECT in plaintext is ever seen on the wire, not even
//! where a listener with half its keys stays away and a plaintext broker has its port.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod gateway_bench;
mod support;

use gateway_bench::{
    Mosquitto, PATIENCE, Papers, Relay, free_port, have, is_client_hello, is_plaintext_connect,
};
use sectag_device::link::{LinkError, LinkOptions, MqttLink, NoTags, Security};
use sectag_device::{Cause, GatewayClient};
use sectag_gateway::config::{Config, Environment, Locations};
use sectag_gateway::facts::{Facts, Machine};
use sectag_gateway::findings::{self, Finding, FindingId};
use sectag_gateway::mosquitto::{Authorities, BrokerVersion, Extras, Resolved, render};
use sectag_gateway::{Level, Settings};
use sectag_mqtt::{Qos, Version};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What can be set at the listener, and the paper it names.
const LISTENER: [(&str, &str); 4] = [
    ("external.ca_path", "clients.crt"),
    ("external.cert_file", "server.crt"),
    ("external.key_file", "server.key"),
    ("external.crl_file", "clients.crl"),
];

/// What can be set at the client; a login is one thing of two keys, and the last.
const CLIENT: [(&str, &str); 6] = [
    ("client.server_name", "localhost"),
    ("client.auth.ca_file", "ca.crt"),
    ("client.auth.ca_dir", "dir-good"),
    ("client.auth.cert_file", "client.crt"),
    ("client.auth.key_file", "client.key"),
    ("client.auth.password_file", "password"),
];

/// Which of the keys are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    listener: u8,
    client: u8,
}

impl Set {
    fn has(self, key: &str) -> bool {
        let at = |keys: &[(&str, &str)]| keys.iter().position(|(name, _)| *name == key);
        match (at(&LISTENER), at(&CLIENT)) {
            (Some(bit), _) => self.listener >> bit & 1 == 1,
            (_, Some(bit)) => self.client >> bit & 1 == 1,
            _ => panic!("{key} is not varied"),
        }
    }

    /// Any key but those of the login.
    fn any_tls(self) -> bool {
        let login = 1 << (CLIENT.len() - 1);
        self.listener != 0 || self.client & !login != 0
    }

    /// What the listener's keys say, if they can be obeyed.
    fn listener_level(self) -> Result<Level, FindingId> {
        let [ca, cert, key, crl] = LISTENER.map(|(name, _)| self.has(name));
        match (cert, key) {
            (true, false) | (false, true) => Err(FindingId::E1),
            (false, false) if ca || crl => Err(FindingId::E3),
            (true, true) if crl && !ca => Err(FindingId::E3),
            (false, false) => Ok(Level::None),
            (true, true) if ca => Ok(Level::Mutual),
            (true, true) => Ok(Level::Server),
        }
    }

    /// The same for the client.
    fn client_level(self) -> Result<Level, FindingId> {
        let [name, ca_file, ca_dir, cert, key, _] = CLIENT.map(|(name, _)| self.has(name));
        let trusts = ca_file || ca_dir;
        match (cert, key) {
            (true, false) | (false, true) => Err(FindingId::E1),
            _ if !trusts && (cert || name) => Err(FindingId::E7),
            (true, true) => Ok(Level::Mutual),
            (false, false) if trusts => Ok(Level::Server),
            // It would be plaintext to a port that the same keys call TLS.
            (false, false) if self.listener != 0 => Err(FindingId::E14),
            (false, false) => Ok(Level::None),
        }
    }

    /// How a connection ends when the broker is there as its keys say.
    fn expected(self) -> Expected {
        let client = match self.client_level() {
            Err(id) => return Expected::Finding(id),
            Ok(client) => client,
        };
        match (self.listener_level(), client) {
            (Ok(Level::None), Level::None) => Expected::Level(Level::None),
            // Where the listener stays away, its port has a plaintext broker here.
            (Ok(Level::None) | Err(_), _) => Expected::Cause(Cause::NoTlsOnPort),
            (Ok(Level::Mutual), Level::Server) => Expected::Cause(Cause::ClientCertificateMissing),
            // Clients have their certificates before a listener asks for them (spec/gateway-config §10).
            (Ok(listener), client) => Expected::Level(listener.min(client)),
        }
    }

    /// `tedge.toml` with the listener and the client at that port.
    fn file(self, papers: &Papers, port: u16) -> String {
        let mut text = format!(
            "mqtt.bind.enabled = false\nmqtt.external.bind.address = '127.0.0.1'\nmqtt.external.bind.port = {port}\n\
             mqtt.client.host = 'localhost'\nmqtt.client.port = {port}\n"
        );
        for (key, paper) in LISTENER.iter().chain(&CLIENT) {
            if self.has(key) && *key == "client.server_name" {
                text += &format!("mqtt.{key} = '{paper}'\n");
            } else if self.has(key) {
                text += &format!("mqtt.{key} = '{}'\n", papers.path(paper).display());
            }
        }
        if self.has("client.auth.password_file") {
            text += "mqtt.client.auth.username = 'operator'\n";
        }
        text
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Level(Level),
    /// Before anything is sent.
    Finding(FindingId),
    /// In the handshake.
    Cause(Cause),
}

/// A broker that was started with the keys, or said why not.
trait House: Sized {
    /// The broker and the level that it reports, or what it said.
    fn start(dir: &Path, keys: &str, port: u16) -> Result<(Self, Level), String>;

    /// The user name that it gave the client, where it tells.
    fn user_of(&self, client_id: &str) -> Option<String>;
}

/// `sectag mqtt broker`
struct Ours(Child);

impl House for Ours {
    fn start(dir: &Path, keys: &str, port: u16) -> Result<(Self, Level), String> {
        std::fs::write(dir.join("tedge.toml"), keys).unwrap();
        let (out, log) = (dir.join("out"), dir.join("log"));
        let child = support::sectag(&dir.join("home"))
            .arg("--config-dir")
            .arg(dir)
            .args(["--json", "mqtt", "broker"])
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut broker = Self(child);
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&out).unwrap();
            if let Ok(said) = serde_json::from_str::<serde_json::Value>(&text) {
                let listeners = said["listeners"].as_array().unwrap();
                assert_eq!(listeners.len(), 1, "{said}");
                assert_eq!(listeners[0]["address"], format!("127.0.0.1:{port}"));
                let level = match listeners[0]["level"].as_str().unwrap() {
                    "none" => Level::None,
                    "server" => Level::Server,
                    "mutual" => Level::Mutual,
                    other => panic!("{other}"),
                };
                return Ok((broker, level));
            }
            if let Some(end) = broker.0.try_wait().unwrap() {
                assert!(!end.success());
                return Err(std::fs::read_to_string(&log).unwrap());
            }
            assert!(begun.elapsed() < PATIENCE, "{text}");
            std::thread::sleep(Duration::from_millis(4));
        }
    }

    fn user_of(&self, _: &str) -> Option<String> {
        None
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl House for Mosquitto {
    fn start(dir: &Path, keys: &str, port: u16) -> Result<(Self, Level), String> {
        let settings = settings(dir, keys);
        let facts = Facts::gather(&settings, &machine());
        let told = |found: &[Finding]| {
            let errors = found
                .iter()
                .filter(|finding| finding.severity == findings::Severity::Error);
            errors
                .map(|finding| format!("{} {finding}\n", finding.id))
                .collect::<String>()
        };
        let judged = told(&findings::for_listener(&settings, &facts));
        let external = settings.external.as_ref().unwrap();
        let resolved = Resolved {
            authorities: external.ca_path.as_ref().map(|_| Authorities::File),
            ..Resolved::default()
        };
        let rendered = render(
            &settings,
            &resolved,
            &Extras::default(),
            BrokerVersion::V2_0_11,
        );
        let rendered = match rendered {
            Ok(rendered) => rendered,
            Err(found) => {
                // Both have refused; the same keys are named.
                assert!(!judged.is_empty(), "{keys}");
                return Err(told(&found));
            }
        };
        assert_eq!(judged, "", "{keys}");
        let config = format!("user root\npersistence false\n{}", rendered.text);
        let broker = Self::start(dir, "mosquitto", &config, &[port])?;
        Ok((broker, rendered.level.unwrap()))
    }

    fn user_of(&self, client_id: &str) -> Option<String> {
        let line = self.says(&format!(" as {client_id} ("));
        let (_, name) = line.split_once("u'")?;
        Some(name.split('\'').next().unwrap_or_default().to_owned())
    }
}

fn machine() -> Machine {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Machine {
        now_s: now.unwrap().as_secs(),
        ..Machine::default()
    }
}

fn settings(dir: &Path, keys: &str) -> Settings {
    std::fs::write(dir.join("tedge.toml"), keys).unwrap();
    let locations = Locations {
        dir: dir.to_owned(),
        cwd: dir.to_owned(),
    };
    let config = Config::load(&locations, &Environment::default()).unwrap();
    config.settings().unwrap()
}

#[test]
fn every_subset_on_our_broker() {
    if have(&["openssl"]) {
        every_subset::<Ours>();
    }
}

#[test]
fn every_subset_on_mosquitto() {
    if have(&["openssl", "mosquitto"]) {
        every_subset::<Mosquitto>();
    }
}

fn every_subset<H: House>() {
    let papers = Papers::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut connected, mut refused, mut unsent) = (0, 0, 0);
    for listener in 0..1 << LISTENER.len() {
        let dir = tempfile::tempdir().unwrap();
        let set = Set {
            listener,
            client: 0,
        };
        let port = free_port();
        let started = H::start(dir.path(), &set.file(&papers, port), port);
        let (house, port) = match (started, set.listener_level()) {
            (Ok((house, level)), Ok(said)) => {
                assert_eq!(level, said, "{set:?}");
                (house, port)
            }
            (Err(said), Err(id)) => {
                let key = LISTENER.iter().find(|(name, _)| said.contains(*name));
                assert!(key.is_some(), "{set:?} {id}: {said}");
                // The worst that can stand at its port: a listener that takes everything.
                let port = free_port();
                let open = Set {
                    listener: 0,
                    client: 0,
                };
                let (house, _) = H::start(dir.path(), &open.file(&papers, port), port).unwrap();
                (house, port)
            }
            (started, said) => panic!("{set:?}: {:?}, {said:?}", started.map(|(_, level)| level)),
        };
        let relay = Relay::to(port);
        for client in 0..1 << CLIENT.len() {
            let set = Set { listener, client };
            let settings = settings(dir.path(), &set.file(&papers, relay.port));
            let ended = runtime.block_on(connect(settings, set, &house));
            let heard = relay.take();
            let context = || format!("{set:?}: {ended:?}\n{heard:?}");
            assert_eq!(ended, set.expected(), "{}", context());
            let plain = heard
                .iter()
                .filter(|bytes| is_plaintext_connect(bytes))
                .count();
            let tls = heard.iter().filter(|bytes| is_client_hello(bytes)).count();
            if set.any_tls() {
                assert_eq!(plain, 0, "{}", context());
            }
            match ended {
                Expected::Level(Level::None) => assert_eq!((plain, tls), (1, 0), "{}", context()),
                Expected::Level(_) | Expected::Cause(_) => {
                    assert_eq!((plain, tls), (0, 1), "{}", context());
                }
                Expected::Finding(_) => assert_eq!((plain, tls), (0, 0), "{}", context()),
            }
            match ended {
                Expected::Level(_) => connected += 1,
                Expected::Cause(_) => refused += 1,
                Expected::Finding(_) => unsent += 1,
            }
        }
    }
    // So that nobody passes by refusing everything.
    assert_eq!((connected, refused, unsent), (50, 336, 638));
}

async fn connect<H: House>(settings: Settings, set: Set, house: &H) -> Expected {
    let client = GatewayClient::new(settings);
    let client_id = format!("c-{}-{}", set.listener, set.client);
    let options = LinkOptions {
        client_id: Some(client_id.clone()),
        version: Version::V5,
        timeout: PATIENCE,
        ..client.link_options()
    };
    let opened = MqttLink::open(Arc::new(NoTags), &Security::Gateway(client), &options).await;
    let link = match opened {
        Ok(link) => link,
        Err(LinkError::Gateway(unready)) => return Expected::Finding(unready.finding.id),
        Err(error) => {
            let explained = error.explain().unwrap();
            assert!(
                explained
                    .key
                    .is_some_and(|key| key.starts_with("mqtt.client.")),
                "{explained:?}"
            );
            return Expected::Cause(explained.cause);
        }
    };
    let level = link.level();
    if let Some(user) = house.user_of(&client_id) {
        let login = set.has("client.auth.password_file");
        let expected = match (level, login) {
            (Level::Mutual, _) => "client",
            (_, true) => "operator",
            (_, false) => "",
        };
        assert_eq!(user, expected, "{set:?}");
    } else if level == Level::Mutual {
        // The broker knows who it is: its own topics are its own, and others' are not.
        let publish = |topic| link.publish(topic, "x", Qos::AtLeastOnce, false);
        publish("client/x").await.unwrap();
        publish("other/x").await.unwrap_err();
    }
    link.disconnect().await.unwrap();
    Expected::Level(level)
}
