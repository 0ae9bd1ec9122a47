//! The home: one directory with everything a service is (design: one process, one home).
//!
//! ```text
//!  sectag.toml          settings                    owner.key        first API key (0600)
//!  ca/{root,servers,devices}.{crt,key}              seal.key         32 bytes that seal secrets (0600)
//!  tls/server.{crt,key}       operator/operator.{crt,key}            sectag.db, run.json, lock
//!  audit.key            signs the audit trail      audit.checkpoints        what it signed
//!  coap-sessions              DTLS sessions between two runs; not for backups
//!  coap-resumptions           sessions that devices may resume by their ID
//! ```
//! What is missing is made; what is there is never overwritten, except the server certificate when its names change
//! or its end comes near. Only one process at a time has a home open.

use crate::app::KeyText;
use crate::error::StartError;
use crate::listeners::{ClientFiles, TlsFiles};
use crate::settings::Settings;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use sectag_keep as keep;
use sectag_keep::KeepError;
use sectag_pki::{Authority, Certificate, PkiError, PrivateKey, Purpose, ServerName, pem, show};
use sectag_proto::Timestamp;
use sectag_proto::secret::SecretText;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A server certificate with less life than this is replaced when the service starts.
const SERVER_RENEW_BEFORE_S: u64 = 30 * 86_400;
/// As above, for the operator's client certificate.
const OPERATOR_RENEW_BEFORE_S: u64 = 60 * 86_400;
/// Names that every server certificate has.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const SETTINGS_TEXT: &str = "# Settings of this Sectag home; every key with its default is in docs/reference/sectag-toml.md.\n# An unknown key is an error.\n";

/// A home that is open and locked.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    settings: Settings,
    owner_key: SecretText,
    seal_key: Zeroizing<[u8; 32]>,
    root: Certificate,
    servers: Authority,
    devices: Authority,
    now_s: u64,
    _lock: keep::Lock,
}

/// A certificate chain (end entity first, without the root) and its key, both PEM.
#[derive(Debug)]
pub struct Pair {
    /// End entity, then the issuing CA.
    pub chain_pem: String,
    /// PKCS#8.
    pub key_pem: SecretText,
}

impl Home {
    /// Opens a home, or makes it. `now` dates new certificates.
    ///
    /// # Errors
    /// [`StartError`]: in use, not writable, open to others, damaged, settings refused.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, StartError> {
        let wrong = |source| StartError::Home {
            home: path.to_owned(),
            source,
        };
        keep::private_dir(path).map_err(wrong)?;
        let lock = keep::lock(&path.join("lock")).map_err(|e| match e {
            KeepError::Busy { pid, .. } => StartError::InUse {
                home: path.to_owned(),
                pid,
            },
            e => wrong(e),
        })?;
        let settings = read_settings(path)?;
        let owner_key = match keep::read_private(&path.join("owner.key")).map_err(wrong)? {
            Some(text) => std::str::from_utf8(&text)
                .ok()
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(|text| SecretText::new(text.to_owned()))
                .ok_or_else(|| StartError::Content {
                    path: path.join("owner.key"),
                    expected: "an API key",
                })?,
            None => {
                let key = KeyText::random().map_err(StartError::Random)?.0;
                let line = Zeroizing::new(format!("{}\n", key.expose()));
                keep::write_private(&path.join("owner.key"), line.as_bytes()).map_err(wrong)?;
                key
            }
        };
        let seal_key = seal_key(path)?;
        for folder in ["ca", "tls", "operator"] {
            keep::private_dir(&path.join(folder)).map_err(wrong)?;
        }
        let now_s = now.as_secs();
        let (root, servers, devices) = authorities(path, now_s)?;
        Ok(Self {
            path: path.to_owned(),
            settings,
            owner_key,
            seal_key,
            root,
            servers,
            devices,
            now_s,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From `sectag.toml`.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Text of the first API key.
    pub const fn owner_key(&self) -> &SecretText {
        &self.owner_key
    }

    /// Seals secrets of commands in the database.
    pub const fn seal_key(&self) -> &Zeroizing<[u8; 32]> {
        &self.seal_key
    }

    /// A key for one purpose, derived from the seal key (HKDF-SHA256, RFC 5869): as long as the home keeps that file, it is the
    /// same at each start, and no key is used for two things.
    pub fn derived_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        const PROOF: &str = "32 bytes of HKDF-SHA256 are one block, and any purpose is taken";
        let salt = Salt::new(HKDF_SHA256, &[]);
        let secret = salt.extract(self.seal_key.as_ref());
        let mut key = Zeroizing::new([0; 32]);
        secret
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|derived| derived.fill(key.as_mut()))
            .expect(PROOF);
        key
    }

    /// The root certificate as PEM: what clients and devices trust.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.path.join("sectag.db")
    }

    /// Where root, server CA and device CA certificates are, for `ca` and for other brokers.
    pub fn ca_file(&self, which: &str) -> PathBuf {
        self.path.join("ca").join(format!("{which}.crt"))
    }

    /// `ownerId` of all devices: one home, one owner, so its id is made from the root certificate.
    pub fn owner_id(&self) -> String {
        let digest = sectag_pki::sha256(self.root.der());
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    /// Another handle of the issuing CA for devices.
    ///
    /// # Errors
    /// [`StartError::Pki`].
    pub fn devices(&self) -> Result<Authority, StartError> {
        Authority::from_pem(
            &self.devices.certificate_pem(),
            &self.devices.key().to_pem(),
        )
        .map_err(|source| StartError::Pki {
            what: "ca/devices.key".to_owned(),
            source,
        })
    }

    /// The server certificate for `localhost`, `127.0.0.1`, `::1` and `names`; made anew when names are missing or
    /// superfluous, or when its end comes near.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn server_pair(&self, names: &[String]) -> Result<Pair, StartError> {
        let mut wanted: Vec<ServerName> = Vec::new();
        for name in OWN_NAMES
            .iter()
            .copied()
            .chain(names.iter().map(String::as_str))
        {
            let name: ServerName = name.parse().map_err(|source| StartError::Pki {
                what: format!("names: {name}"),
                source,
            })?;
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
        let fits = |chain: &str| -> Result<bool, PkiError> {
            let ders = pem::certificates(chain)?;
            let facts = show(&ders[0])?; // `certificates` gives at least one
            let mut found = facts.names.clone();
            let mut named: Vec<String> = wanted
                .iter()
                .map(|name| match name {
                    ServerName::Dns(dns) => format!("DNS:{dns}"),
                    ServerName::Ip(ip) => format!("IP:{ip}"),
                })
                .collect();
            found.sort();
            named.sort();
            let ours = ders.get(1).map(Vec::as_slice) == Some(self.servers.certificate_der());
            Ok(found == named && ours && facts.not_after_s >= self.now_s + SERVER_RENEW_BEFORE_S)
        };
        self.pair(
            "tls/server",
            fits,
            |spki| self.servers.issue_server(spki, &wanted, self.now_s),
            self.servers.certificate_pem(),
        )
    }

    /// The operator's client certificate, which may read all topics.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn operator_pair(&self) -> Result<Pair, StartError> {
        let fits = |chain: &str| -> Result<bool, PkiError> {
            let ders = pem::certificates(chain)?;
            let facts = show(&ders[0])?; // `certificates` gives at least one
            let ours = ders.get(1).map(Vec::as_slice) == Some(self.devices.certificate_der());
            Ok(ours && facts.not_after_s >= self.now_s + OPERATOR_RENEW_BEFORE_S)
        };
        self.pair(
            "operator/operator",
            fits,
            |spki| self.devices.issue_operator(spki, "operator", self.now_s),
            self.devices.certificate_pem(),
        )
    }

    /// The files that the broker reads: the server certificate of [`Home::server_pair`], the CA for devices, and its
    /// revocation list `ca/devices.crl` when there is one.
    pub fn broker_files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path.join("tls/server.crt"),
            key: self.path.join("tls/server.key"),
            clients: Some(ClientFiles {
                authorities: self.ca_file("devices"),
                revocations: Some(self.path.join("ca/devices.crl")),
                revocations_required: false,
                teams: Some(self.path.join("ca/teams")),
            }),
        }
    }

    fn pair(
        &self,
        stem: &str,
        fits: impl Fn(&str) -> Result<bool, PkiError>,
        issue: impl Fn(&[u8]) -> Result<Certificate, PkiError>,
        issuer_pem: String,
    ) -> Result<Pair, StartError> {
        let wrong = |source| StartError::Home {
            home: self.path.clone(),
            source,
        };
        let broken = |source| StartError::Pki {
            what: stem.to_owned(),
            source,
        };
        let (cert, key) = (
            self.path.join(format!("{stem}.crt")),
            self.path.join(format!("{stem}.key")),
        );
        if let Some((chain, key_pem)) = keep::load_pair(&cert, &key).map_err(wrong)? {
            let chain = text(chain, &cert, "PEM certificates")?;
            let key_pem = SecretText::new(text(key_pem.to_vec(), &key, "a PEM key")?);
            if fits(&chain).map_err(broken)? {
                return Ok(Pair {
                    chain_pem: chain,
                    key_pem,
                });
            }
        }
        let fresh = PrivateKey::generate().map_err(broken)?;
        let certificate = issue(&fresh.spki_der()).map_err(broken)?;
        let chain_pem = certificate.pem() + &issuer_pem;
        let key_pem = fresh.to_pem();
        keep::write_pair(&cert, chain_pem.as_bytes(), &key, key_pem.as_bytes()).map_err(wrong)?;
        tracing::info!(certificate = stem, serial = %certificate.serial_hex, "certificate issued");
        Ok(Pair {
            chain_pem,
            key_pem: SecretText::new(key_pem.as_str().to_owned()),
        })
    }
}

fn read_settings(home: &Path) -> Result<Settings, StartError> {
    let path = home.join("sectag.toml");
    let wrong = |source| StartError::Home {
        home: home.to_owned(),
        source,
    };
    match keep::read_public(&path).map_err(wrong)? {
        Some(bytes) => {
            let text = text(bytes, &path, "settings in TOML")?;
            Ok(Settings::parse(&text, &path.display().to_string())?)
        }
        None => {
            keep::write_public(&path, SETTINGS_TEXT.as_bytes()).map_err(wrong)?;
            Ok(Settings::default())
        }
    }
}

fn seal_key(home: &Path) -> Result<Zeroizing<[u8; 32]>, StartError> {
    let path = home.join("seal.key");
    let wrong = |source| StartError::Home {
        home: home.to_owned(),
        source,
    };
    let mut key = Zeroizing::new([0_u8; 32]);
    match keep::read_private(&path).map_err(wrong)? {
        Some(bytes) if bytes.len() == 32 => key.copy_from_slice(&bytes),
        Some(_) => {
            return Err(StartError::Content {
                path,
                expected: "the 32 bytes of a seal key",
            });
        }
        None if home.join("sectag.db").exists() => {
            // A new key beside an old database would make its secrets unreadable without a word.
            return Err(StartError::Content {
                path,
                expected: "the seal key of the database beside it (the file is missing)",
            });
        }
        None => {
            getrandom::fill(key.as_mut()).map_err(StartError::Random)?;
            keep::write_private(&path, key.as_ref()).map_err(wrong)?;
        }
    }
    Ok(key)
}

fn authorities(home: &Path, now_s: u64) -> Result<(Certificate, Authority, Authority), StartError> {
    let load = |name: &str| -> Result<Option<Authority>, StartError> {
        let (cert, key) = ca_paths(home, name);
        let found = keep::load_pair(&cert, &key).map_err(|source| StartError::Home {
            home: home.to_owned(),
            source,
        })?;
        let Some((certificate, secret)) = found else {
            return Ok(None);
        };
        let certificate = text(certificate, &cert, "a PEM certificate")?;
        let secret = Zeroizing::new(text(secret.to_vec(), &key, "a PEM key")?);
        Authority::from_pem(&certificate, &secret)
            .map(Some)
            .map_err(|source| StartError::Pki {
                what: cert.display().to_string(),
                source,
            })
    };
    let store = |name: &str, made: Result<Authority, PkiError>| -> Result<Authority, StartError> {
        let (cert, key) = ca_paths(home, name);
        let made = made.map_err(|source| StartError::Pki {
            what: cert.display().to_string(),
            source,
        })?;
        let secret = made.key().to_pem();
        keep::write_pair(
            &cert,
            made.certificate_pem().as_bytes(),
            &key,
            secret.as_bytes(),
        )
        .map_err(|source| StartError::Home {
            home: home.to_owned(),
            source,
        })?;
        Ok(made)
    };
    let root_path = ca_paths(home, "root").0;
    let root_pem = keep::read_public(&root_path).map_err(|source| StartError::Home {
        home: home.to_owned(),
        source,
    })?;
    if let Some(root) = root_pem
        && let (Some(servers), Some(devices)) = (load("servers")?, load("devices")?)
    {
        // Nothing is issued with the root here: its key may be elsewhere, or behind a passphrase.
        let root = Certificate::from_pem(&text(root, &root_path, "a PEM certificate")?);
        let root = root.map_err(|source| StartError::Pki {
            what: root_path.display().to_string(),
            source,
        })?;
        return Ok((root, servers, devices));
    }
    let root = match load("root")? {
        Some(root) => root,
        None => store("root", Authority::root("Sectag root", now_s))?,
    };
    let servers = match load("servers")? {
        Some(servers) => servers,
        None => store("servers", root.issuing(Purpose::Servers, now_s))?,
    };
    let devices = match load("devices")? {
        Some(devices) => devices,
        None => store("devices", root.issuing(Purpose::Devices, now_s))?,
    };
    Ok((root.certificate().clone(), servers, devices))
}

fn ca_paths(home: &Path, name: &str) -> (PathBuf, PathBuf) {
    let folder = home.join("ca");
    (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    )
}

fn text(bytes: Vec<u8>, path: &Path, expected: &'static str) -> Result<String, StartError> {
    String::from_utf8(bytes).map_err(|_| StartError::Content {
        path: path.to_owned(),
        expected,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        (dir, home)
    }

    #[test]
    fn a_home_is_made_once_and_found_again() {
        let (_dir, path) = folder();
        let home = Home::open(&path, NOW).unwrap();
        let (key, root, owner) = (home.owner_key().clone(), home.root_pem(), home.owner_id());
        assert!(key.expose().starts_with("sectag_"));
        let server = home.server_pair(&[]).unwrap();
        drop(home);
        let home = Home::open(&path, NOW).unwrap();
        assert!(*home.owner_key() == key && home.root_pem() == root && home.owner_id() == owner);
        assert_eq!(home.server_pair(&[]).unwrap().chain_pem, server.chain_pem);
    }

    #[test]
    fn what_is_secret_is_for_our_eyes_only() {
        let (_dir, path) = folder();
        let home = Home::open(&path, NOW).unwrap();
        home.server_pair(&[]).unwrap();
        home.operator_pair().unwrap();
        let mode = |name: &str| {
            std::fs::metadata(path.join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(""), 0o700);
        for file in [
            "owner.key",
            "seal.key",
            "ca/root.key",
            "ca/servers.key",
            "ca/devices.key",
            "tls/server.key",
            "operator/operator.key",
        ] {
            assert_eq!(mode(file), 0o600, "{file}");
        }
        assert!(!format!("{home:?}").contains("sectag_"));
    }

    #[test]
    fn a_second_opening_is_refused_with_the_holder() {
        let (_dir, path) = folder();
        let _home = Home::open(&path, NOW).unwrap();
        let e = Home::open(&path, NOW).unwrap_err();
        assert!(
            e.to_string().contains(&std::process::id().to_string()),
            "{e}"
        );
        assert!(e.hint().is_some());
    }

    #[test]
    fn other_names_and_a_near_end_make_a_new_server_certificate() {
        let (_dir, path) = folder();
        let home = Home::open(&path, NOW).unwrap();
        let first = home.server_pair(&[]).unwrap().chain_pem;
        let named = home
            .server_pair(&["api.example.org".to_owned(), "localhost".to_owned()])
            .unwrap()
            .chain_pem;
        assert_ne!(first, named);
        let facts = show(&pem::certificates(&named).unwrap()[0]).unwrap();
        assert!(
            facts.names.contains(&"DNS:api.example.org".to_owned()),
            "{:?}",
            facts.names
        );
        drop(home);
        let later = Timestamp::from_secs(NOW.as_secs() + 370 * 86_400);
        let home = Home::open(&path, later).unwrap();
        let renewed = home
            .server_pair(&["api.example.org".to_owned()])
            .unwrap()
            .chain_pem;
        assert_ne!(renewed, named);
    }

    #[test]
    fn a_widened_key_file_is_refused_with_the_command_that_helps() {
        let (_dir, path) = folder();
        drop(Home::open(&path, NOW).unwrap());
        let key = path.join("owner.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let e = Home::open(&path, NOW).unwrap_err();
        assert!(
            e.hint().unwrap().contains("chmod 600"),
            "{e} {:?}",
            e.hint()
        );
    }

    #[test]
    fn a_typo_in_the_settings_is_refused_with_a_suggestion() {
        let (_dir, path) = folder();
        drop(Home::open(&path, NOW).unwrap());
        std::fs::write(path.join("sectag.toml"), "plicy = \"allow-list\"\n").unwrap();
        let e = Home::open(&path, NOW).unwrap_err();
        assert_eq!(e.hint().as_deref(), Some("did you mean `policy`?"));
    }

    #[test]
    fn a_root_whose_key_is_elsewhere_is_enough() {
        let (_dir, path) = folder();
        let root = Home::open(&path, NOW).unwrap().root_pem();
        std::fs::remove_file(path.join("ca/root.key")).unwrap();
        let home = Home::open(&path, NOW).unwrap();
        assert_eq!(home.root_pem(), root);
        home.server_pair(&["later.example".to_owned()]).unwrap();
        drop(home);
        std::fs::remove_file(path.join("ca/devices.crt")).unwrap();
        std::fs::remove_file(path.join("ca/devices.key")).unwrap();
        assert!(
            Home::open(&path, NOW).is_err(),
            "only the root could make it"
        );
    }

    #[test]
    fn a_lost_seal_key_is_not_replaced_beside_a_database() {
        let (_dir, path) = folder();
        drop(Home::open(&path, NOW).unwrap());
        std::fs::write(path.join("sectag.db"), b"").unwrap();
        std::fs::remove_file(path.join("seal.key")).unwrap();
        let e = Home::open(&path, NOW).unwrap_err();
        assert!(e.to_string().contains("seal.key"), "{e}");
    }
}
