//! A gateway where everything is right, to be spoiled in one place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sectag_gateway::facts::{Facts, Interface, Machine};
use sectag_gateway::findings::{self, Finding, FindingId, Severity};
use sectag_gateway::{Client, External, Internal, Settings, Source, Sourced};
use sectag_pki::{Authority, Certificate, PrivateKey, Purpose};

/// When these stories happen: January 2027.
pub(crate) const NOW_S: u64 = 1_800_000_000;
pub(crate) const DAY_S: u64 = 86_400;

/// A gateway with mutual TLS: two issuing authorities under one root, files, settings and machine.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    pub(crate) root: Authority,
    pub(crate) servers: Authority,
    pub(crate) devices: Authority,
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
}

impl Scene {
    /// Mutual TLS on 8883 of all addresses; our client goes there over 127.0.0.1.
    pub(crate) fn mutual() -> Self {
        let root = Authority::root("Gateway CA", NOW_S).unwrap();
        let servers = root.issuing(Purpose::Servers, NOW_S).unwrap();
        let devices = root.issuing(Purpose::Devices, NOW_S).unwrap();
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
            settings: none(),
            machine: Machine {
                now_s: NOW_S,
                interfaces: Some(vec![
                    interface("lo", &["127.0.0.1", "::1"]),
                    interface("eth0", &["192.0.2.7"]),
                ]),
                ..Machine::default()
            },
            root,
            servers,
            devices,
        };
        mode(scene.dir.path(), 0o700);
        let root = scene.root.certificate_pem();
        let ca_file = scene.write("ca.crt", &root);
        let ca_path = scene.write(
            "clients-ca.crt",
            &format!("{}{root}", scene.devices.certificate_pem()),
        );
        let (cert_file, key_file) =
            scene.server("server", &["localhost", "127.0.0.1", "192.0.2.7"]);
        let (client_cert, client_key) = scene.client("client", "tedge-agent");
        let mut scene = scene;
        scene.settings.external = Some(External {
            port: port(8883, Source::Inferred),
            address: None,
            interface: None,
            ca_path: Some(ca_path),
            cert_file: Some(cert_file),
            key_file: Some(key_file),
            crl_file: None,
        });
        scene.settings.client.port = port(8883, Source::Inferred);
        scene.settings.client.ca_file = Some(ca_file);
        scene.settings.client.cert_file = Some(client_cert);
        scene.settings.client.key_file = Some(client_key);
        scene
    }

    /// No key is set.
    pub(crate) fn empty() -> Self {
        let mut scene = Self::mutual();
        scene.settings = none();
        scene
    }

    /// A plaintext listener on this port, and our client on the internal one.
    pub(crate) fn plain(port_: u16) -> Self {
        let mut scene = Self::empty();
        scene.settings.external = Some(External {
            port: port(port_, Source::File),
            address: Some("127.0.0.1".parse().unwrap()),
            interface: None,
            ca_path: None,
            cert_file: None,
            key_file: None,
            crl_file: None,
        });
        scene
    }

    pub(crate) fn external(&mut self) -> &mut External {
        self.settings.external.as_mut().unwrap()
    }

    pub(crate) fn client_side(&mut self) -> &mut Client {
        &mut self.settings.client
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that its owner alone may read.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        mode(&path, 0o600);
        path
    }

    /// Makes an empty directory.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Opens the way to the files for everyone, as below `/etc`.
    pub(crate) fn open_the_way(&self) {
        mode(self.dir.path(), 0o755);
    }

    /// A server's chain and key.
    pub(crate) fn server(&self, name: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let key = PrivateKey::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let leaf = self
            .servers
            .issue_server(&key.spki_der(), &names, NOW_S)
            .unwrap();
        self.pair(name, &leaf, &self.servers, &key)
    }

    /// A client's chain and key.
    pub(crate) fn client(&self, name: &str, cn: &str) -> (PathBuf, PathBuf) {
        let key = PrivateKey::generate().unwrap();
        let leaf = self
            .devices
            .issue_device(&key.spki_der(), cn, NOW_S)
            .unwrap();
        self.pair(name, &leaf, &self.devices, &key)
    }

    pub(crate) fn pair(
        &self,
        name: &str,
        leaf: &Certificate,
        issuer: &Authority,
        key: &PrivateKey,
    ) -> (PathBuf, PathBuf) {
        let chain = format!("{}{}", leaf.pem(), issuer.certificate_pem());
        (
            self.write(&format!("{name}.crt"), &chain),
            self.write(&format!("{name}.key"), &key.to_pem()),
        )
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts::gather(&self.settings, &self.machine)
    }

    pub(crate) fn found(&self) -> Vec<Finding> {
        findings::find(&self.settings, &self.facts())
    }

    /// The one finding with this id.
    #[track_caller]
    pub(crate) fn only(&self, id: FindingId) -> Finding {
        let found = self.found();
        let (here, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.id == id);
        assert_eq!((here.len(), others.len()), (1, 0), "{here:#?} {others:#?}");
        complete(&here[0]);
        here.into_iter().next().unwrap()
    }

    /// The first finding with this id, perhaps among others.
    #[track_caller]
    pub(crate) fn one(&self, id: FindingId) -> Finding {
        let found = self.found();
        let here = found.iter().find(|one| one.id == id);
        let here = here.unwrap_or_else(|| panic!("no {id} in {found:#?}"));
        complete(here);
        here.clone()
    }

    /// There is nothing to say.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        assert_eq!(self.found(), Vec::<Finding>::new());
    }
}

/// No empty sentence, a command, and no sentence that ends like prose.
#[track_caller]
fn complete(finding: &Finding) {
    assert!(
        !finding.sentence.is_empty() && !finding.sentence.ends_with('.'),
        "{finding}"
    );
    assert!(
        !finding.fix.is_empty() && !finding.values.is_empty(),
        "{finding}"
    );
}

#[track_caller]
pub(crate) fn says(finding: &Finding, severity: Severity, words: &str) {
    assert!(finding.sentence.contains(words), "{finding}");
    assert_eq!(finding.severity, severity, "{finding}");
}

pub(crate) fn none() -> Settings {
    Settings {
        internal: Internal {
            enabled: true,
            address: "127.0.0.1".parse().unwrap(),
            port: 1883.try_into().unwrap(),
        },
        external: None,
        client: Client {
            host: "127.0.0.1".parse().unwrap(),
            port: port(1883, Source::Default),
            server_name: None,
            ca_file: None,
            ca_dir: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
        },
        topic_root: "te".to_owned(),
        minimum_validity_s: 30 * DAY_S,
    }
}

pub(crate) fn port(number: u16, source: Source) -> Sourced<std::num::NonZeroU16> {
    Sourced {
        value: number.try_into().unwrap(),
        source,
    }
}

pub(crate) fn interface(name: &str, addresses: &[&str]) -> Interface {
    Interface {
        name: name.to_owned(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

pub(crate) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn material(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings/material");
    fs::read_to_string(path.join(name)).unwrap()
}

#[test]
fn the_scene_itself_is_clean() {
    Scene::mutual().is_clean();
    Scene::empty().is_clean();
    Scene::plain(1884).is_clean();
}
