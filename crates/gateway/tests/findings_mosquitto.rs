//! What findings say about the broker's side, asked of Debian's mosquitto itself: the same files, spoiled in one place.
#![allow(clippy::unwrap_used)]

mod debian;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use debian::{Answer, Broker, Town, free_ports, have, run_briefly};
use sectag_gateway::facts::{Facts, Machine, User};
use sectag_gateway::findings::{FindingId, Severity, find};
use sectag_gateway::mosquitto::BrokerVersion;
use sectag_gateway::{Client, External, Internal, Settings, Source, Sourced};
use sectag_pki::{Authority, PrivateKey, Purpose};

/// What the broker does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The good client comes in.
    Works,
    /// It starts, and the good client is refused.
    Refuses,
    /// It does not start.
    Ends,
}

/// A listener with mutual TLS, and our client.
struct Desk {
    town: Town,
    port: u16,
    client: String,
    listener: External,
    machine: Machine,
}

impl Desk {
    fn new() -> Self {
        let town = Town::new();
        let [port, _] = free_ports();
        let listener = External {
            port: sourced(port),
            address: Some("127.0.0.1".parse().unwrap()),
            interface: None,
            ca_path: Some(town.path("clients-ca.crt")),
            cert_file: Some(town.path("server.crt")),
            key_file: Some(town.path("server.key")),
            crl_file: None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            port,
            client: "good".to_owned(),
            listener,
            machine: Machine {
                now_s: now.as_secs(),
                broker: Some(BrokerVersion::V2_0_11),
                ..Machine::default()
            },
            town,
        }
    }

    /// Writes a file that the broker can read.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.town.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// The errors about it.
    fn errors(&self) -> Vec<FindingId> {
        let settings = Settings {
            internal: Internal {
                enabled: false,
                address: "127.0.0.1".parse().unwrap(),
                port: 1883.try_into().unwrap(),
            },
            external: Some(self.listener.clone()),
            client: Client {
                host: "127.0.0.1".parse().unwrap(),
                port: sourced(self.port),
                server_name: None,
                ca_file: Some(self.town.path("server-ca.crt")),
                ca_dir: None,
                cert_file: Some(self.town.path(&format!("{}.crt", self.client))),
                key_file: Some(self.town.path(&format!("{}.key", self.client))),
                username: None,
                password_file: None,
            },
            topic_root: "te".to_owned(),
            // The papers of the town live for a day.
            minimum_validity_s: 0,
        };
        let found = find(&settings, &Facts::gather(&settings, &self.machine));
        let errors = found.iter().filter(|one| one.severity == Severity::Error);
        errors.map(|one| one.id).collect()
    }

    fn text(&self) -> String {
        let word = |word: &str, path: &Option<PathBuf>| match path {
            Some(path) => format!("{word} {}\n", path.display()),
            None => String::new(),
        };
        let listener = &self.listener;
        let ca = match listener.ca_path.as_deref().is_some_and(Path::is_dir) {
            true => "capath",
            false => "cafile",
        };
        format!(
            "listener {} 127.0.0.1\nallow_anonymous false\n{}{}{}{}require_certificate true\nuse_identity_as_username true\n",
            self.port,
            word("certfile", &listener.cert_file),
            word("keyfile", &listener.key_file),
            word(ca, &listener.ca_path),
            word("crlfile", &listener.crl_file),
        )
    }

    fn fate(&self) -> Fate {
        let directory = self.town.path("");
        if !run_briefly(&directory, &self.text()).0 {
            return Fate::Ends;
        }
        let broker = Broker::start(&self.town, &self.text(), &[self.port]);
        let ca = Some("server-ca.crt");
        let answer = self.town.publish(self.port, ca, Some(&self.client), "x");
        broker.stop();
        match answer {
            Answer::Done => Fate::Works,
            Answer::Refused => Fate::Refuses,
        }
    }

    #[track_caller]
    fn is(&self, errors: &[FindingId], fate: Fate) {
        assert_eq!(self.errors(), errors);
        assert_eq!(self.fate(), fate, "{}", self.text());
    }
}

fn sourced(port: u16) -> Sourced<std::num::NonZeroU16> {
    Sourced {
        value: port.try_into().unwrap(),
        source: Source::File,
    }
}

fn can() -> bool {
    have("mosquitto") && have("mosquitto_pub") && have("openssl")
}

#[test]
fn what_is_clean_works() {
    if !can() {
        return;
    }
    let mut desk = Desk::new();
    desk.is(&[], Fate::Works);
    desk.listener.ca_path = Some(desk.town.path("clients"));
    desk.is(&[], Fate::Works);
    desk.listener.crl_file = Some(desk.town.path("clients.crl"));
    desk.is(&[], Fate::Works);
}

#[test]
fn e8_e13_the_broker_does_not_start() {
    if !can() {
        return;
    }
    let mut desk = Desk::new();
    desk.listener.key_file = Some(desk.town.path("good.key"));
    desk.is(&[FindingId::E13], Fate::Ends);
    desk.listener.key_file = Some(desk.town.path("missing.key"));
    desk.is(&[FindingId::E13], Fate::Ends);
    let mut desk = Desk::new();
    desk.listener.ca_path = Some(desk.town.path("server.key"));
    desk.is(&[FindingId::E8], Fate::Ends);
    let mut desk = Desk::new();
    desk.listener.crl_file = Some(desk.town.path("missing.crl"));
    desk.is(&[FindingId::E8], Fate::Ends);
}

#[test]
fn e18_without_hash_links_everyone_is_refused() {
    if !can() {
        return;
    }
    let mut desk = Desk::new();
    let directory = desk.town.path("unhashed");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(desk.town.path("clients-ca.crt"), directory.join("ca.crt")).unwrap();
    desk.listener.ca_path = Some(directory);
    desk.is(&[FindingId::E18], Fate::Refuses);
}

#[test]
fn e11_who_the_listener_does_not_trust() {
    if !can() {
        return;
    }
    let mut desk = Desk::new();
    desk.client = "second".to_owned();
    desk.is(&[FindingId::E11], Fate::Refuses);
    desk.listener.ca_path = Some(desk.town.path("two-cas.pem"));
    desk.is(&[], Fate::Works);
    let mut desk = Desk::new();
    desk.client = "revoked".to_owned();
    desk.is(&[], Fate::Works);
    desk.listener.crl_file = Some(desk.town.path("clients.crl"));
    desk.is(&[FindingId::E11], Fate::Refuses);
}

#[test]
fn e11_an_issuing_ca_without_its_root_is_not_enough() {
    if !can() {
        return;
    }
    let mut desk = Desk::new();
    let now_s = desk.machine.now_s;
    let root = Authority::root("Devices' root", now_s).unwrap();
    let issuing = root.issuing(Purpose::Devices, now_s).unwrap();
    let key = PrivateKey::generate().unwrap();
    let leaf = issuing
        .issue_device_for(&key.spki_der(), "deep", now_s, 86_400)
        .unwrap();
    desk.write(
        "deep.crt",
        &format!("{}{}", leaf.pem(), issuing.certificate_pem()),
    );
    desk.write("deep.key", &key.to_pem());
    desk.client = "deep".to_owned();
    desk.listener.ca_path = Some(desk.write("issuing.crt", &issuing.certificate_pem()));
    desk.is(&[FindingId::E11], Fate::Refuses);
    desk.listener.ca_path = Some(desk.write("root.crt", &root.certificate_pem()));
    desk.is(&[], Fate::Works);
}

#[test]
fn e20_an_expired_certificate_starts_without_a_word() {
    if !can() {
        return;
    }
    let mut desk = Desk::new();
    desk.client = "late".to_owned();
    desk.is(&[FindingId::E20], Fate::Refuses);
}

#[test]
fn e21_a_key_of_root_alone_stops_a_broker_that_is_not_root() {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let Some(user) = User::find("mosquitto", &passwd, "") else {
        eprintln!("skipped: there is no user mosquitto");
        return;
    };
    let mut desk = Desk::new();
    let key = desk.town.path("server.key");
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    if !can() || std::fs::metadata(&key).unwrap().uid() != 0 {
        return; // only root becomes somebody else
    }
    desk.machine.broker_user = Some(user);
    desk.is(&[], Fate::Works);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    desk.is(&[FindingId::E21], Fate::Ends);
}
