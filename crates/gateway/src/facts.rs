//! What the machine looks like: everything that findings, generator and planner ask for, as one value.
//!
//! ```text
//!   Machine (given: clock, interfaces, names, users, broker) ─┐
//!                                                             ├──► Facts ──► findings, plan, the client's explanations
//!   paths that the settings name ── sectag_keep ──► files  ───┘
//! ```
//!
//! [`Facts::gather`] reads those paths and nothing else, and cannot fail: what is missing or closed is a fact. Nothing
//! secret is kept: of a private key its public half, of a password file whether it has a first line.

mod file;
mod user;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use sectag_pki::material::{Held, KeyFacts, RevocationFacts};

use crate::findings::Asked;
use crate::mosquitto::BrokerVersion;
use crate::settings::{Client, External, Host, Settings};

pub use file::{
    DIRECTORY_ENTRIES_MAX, DirectoryFacts, FileFacts, Inside, Password, PathFacts, What,
};
pub use user::{Access, User, Want};

/// A machine, and the files that its settings name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the caller knows.
    pub machine: Machine,
    /// By the path in the settings.
    pub files: BTreeMap<PathBuf, PathFacts>,
}

/// What is known beside files. `host` and `cli` ask the system for it; tests write it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Unix seconds.
    pub now_s: u64,
    /// Network interfaces; `None` when they are not known.
    pub interfaces: Option<Vec<Interface>>,
    /// Names of this host, besides `localhost`.
    pub host_names: Vec<String>,
    /// Names of the settings that were resolved; a name without addresses could not be.
    pub resolved: BTreeMap<String, Vec<IpAddr>>,
    /// mosquitto's version; `None` when it is not there, or the broker is our own.
    pub broker: Option<BrokerVersion>,
    /// Who the broker becomes before it reads certificates and keys.
    pub broker_user: Option<User>,
    /// As whom our own services run.
    pub service_user: Option<User>,
    /// Listeners of the broker's configuration besides the two of the settings; `None` when it is not known.
    pub listeners: Option<Vec<Listening>>,
    /// Where public CAs are kept.
    pub system_stores: Vec<PathBuf>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// Its addresses, perhaps none.
    pub addresses: Vec<IpAddr>,
}

/// A listener that somebody else configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Its port.
    pub port: u16,
    /// Its address; `None`: all.
    pub address: Option<IpAddr>,
    /// Does it speak TLS?
    pub is_tls: bool,
}

/// A certificate that is trusted, and the file that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted<'a> {
    /// The file.
    pub from: &'a Path,
    /// The certificate.
    pub held: &'a Held,
}

/// Where distributions keep the public CAs.
pub const SYSTEM_STORES: [&str; 9] = [
    "/etc/ssl/certs",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/usr/share/ca-certificates",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

impl Default for Machine {
    fn default() -> Self {
        Self {
            now_s: 0,
            interfaces: None,
            host_names: Vec::new(),
            resolved: BTreeMap::new(),
            broker: None,
            broker_user: None,
            service_user: None,
            listeners: None,
            system_stores: SYSTEM_STORES.iter().map(PathBuf::from).collect(),
        }
    }
}

impl Machine {
    /// Is it this machine? `None` when a name could not be resolved, or the own addresses are not known.
    pub fn is_own(&self, host: &Host) -> Option<bool> {
        match host {
            Host::Ip(address) => self.is_own_address(*address),
            Host::Name(name) => {
                let own = |own: &String| own.eq_ignore_ascii_case(name);
                if name == "localhost" || self.host_names.iter().any(own) {
                    return Some(true);
                }
                let addresses = self.resolved.get(name).filter(|found| !found.is_empty())?;
                let mut answers = addresses
                    .iter()
                    .map(|address| self.is_own_address(*address));
                answers.try_fold(true, |all, answer| Some(all && answer?))
            }
        }
    }

    /// The addresses of a host as far as they are known.
    pub fn addresses(&self, host: &Host) -> Vec<IpAddr> {
        match host {
            Host::Ip(address) => vec![*address],
            Host::Name(name) => self.resolved.get(name).cloned().unwrap_or_default(),
        }
    }

    /// The interface with this name; `None` when there is none, or they are not known.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        let all = self.interfaces.as_ref()?;
        all.iter().find(|interface| interface.name == name)
    }

    fn is_own_address(&self, address: IpAddr) -> Option<bool> {
        if address.is_loopback() || address.is_unspecified() {
            return Some(true);
        }
        let all = self.interfaces.as_ref()?;
        Some(
            all.iter()
                .any(|interface| interface.addresses.contains(&address)),
        )
    }
}

impl Facts {
    /// Looks at every path that the settings name.
    pub fn gather(settings: &Settings, machine: &Machine) -> Self {
        let stores = file::system_stores(machine);
        Self::of(paths(settings), &stores, machine)
    }

    /// As [`Facts::gather`], for [`find_asked`](crate::findings::find_asked): paths that its findings do not look into are
    /// left out, as if nothing was known about them.
    pub fn gather_asked(settings: &Settings, machine: &Machine, asked: &Asked) -> Self {
        let stores = match asked.system_stores() {
            true => file::system_stores(machine),
            false => Vec::new(),
        };
        let paths = paths(settings).filter(|(key, _)| asked.opens(key));
        Self::of(paths, &stores, machine)
    }

    /// As [`Facts::gather`], only for our clients: what a client rereads before it connects.
    pub fn gather_client(client: &Client, machine: &Machine) -> Self {
        let stores = file::system_stores(machine);
        Self::of(paths_of_client(client), &stores, machine)
    }

    fn of<'a>(
        paths: impl Iterator<Item = Named<'a>>,
        stores: &[PathBuf],
        machine: &Machine,
    ) -> Self {
        let files = paths.map(|(_, path)| (path.clone(), PathFacts::read_beside(path, stores)));
        Self {
            files: files.collect(),
            machine: machine.clone(),
        }
    }

    /// What is known about a path; `None` for one that was not gathered.
    pub fn at(&self, path: &Path) -> Option<&PathFacts> {
        self.files.get(path)
    }

    /// The certificates of a file in their order, perhaps none.
    pub fn chain(&self, path: Option<&PathBuf>) -> &[Held] {
        self.file(path)
            .map_or(&[], |file| &file.material.certificates)
    }

    /// The private key of a file: the first, as TLS libraries take it.
    pub fn key(&self, path: Option<&PathBuf>) -> Option<&KeyFacts> {
        self.file(path)?.material.keys.first()
    }

    /// The revocation lists of a file, perhaps none.
    pub fn revocations(&self, path: Option<&PathBuf>) -> &[RevocationFacts] {
        self.file(path)
            .map_or(&[], |file| &file.material.revocations)
    }

    /// Which authorities our clients trust: the union of file and directory (spec/gateway-config §8).
    pub fn trusted_by_client<'a>(&'a self, client: &'a Client) -> Vec<Trusted<'a>> {
        let mut trusted = Vec::new();
        for path in [&client.ca_file, &client.ca_dir].into_iter().flatten() {
            match self.at(path).map(|facts| &facts.what) {
                Some(What::File(file)) if Some(path) == client.ca_file.as_ref() => {
                    let held = file.material.certificates.iter();
                    trusted.extend(held.map(|held| Trusted { from: path, held }));
                }
                Some(What::Directory(directory)) if Some(path) == client.ca_dir.as_ref() => {
                    trusted.extend(directory.by_extension.iter().flat_map(Inside::trusted));
                }
                _ => {}
            }
        }
        trusted
    }

    /// Which authorities the broker trusts for clients: all of a file; of a directory those with a hash link.
    pub fn trusted_by_broker<'a>(&'a self, external: &'a External) -> Vec<Trusted<'a>> {
        let Some(path) = &external.ca_path else {
            return Vec::new();
        };
        match self.at(path).map(|facts| &facts.what) {
            Some(What::File(file)) => {
                let held = file.material.certificates.iter();
                held.map(|held| Trusted { from: path, held }).collect()
            }
            Some(What::Directory(directory)) => {
                directory.hashed.iter().flat_map(Inside::trusted).collect()
            }
            _ => Vec::new(),
        }
    }

    fn file(&self, path: Option<&PathBuf>) -> Option<&FileFacts> {
        match &self.at(path?)?.what {
            What::File(file) => Some(file),
            _ => None,
        }
    }
}

/// A key, and the path that it names.
type Named<'a> = (&'static str, &'a PathBuf);

fn paths(settings: &Settings) -> impl Iterator<Item = Named<'_>> {
    let external = settings.external.iter().flat_map(paths_of_listener);
    external.chain(paths_of_client(&settings.client))
}

fn paths_of_listener(external: &External) -> impl Iterator<Item = Named<'_>> {
    let paths = [
        ("mqtt.external.cert_file", &external.cert_file),
        ("mqtt.external.key_file", &external.key_file),
        ("mqtt.external.ca_path", &external.ca_path),
        ("mqtt.external.crl_file", &external.crl_file),
    ];
    paths
        .into_iter()
        .filter_map(|(key, path)| Some((key, path.as_ref()?)))
}

fn paths_of_client(client: &Client) -> impl Iterator<Item = Named<'_>> {
    let paths = [
        ("mqtt.client.auth.ca_file", &client.ca_file),
        ("mqtt.client.auth.ca_dir", &client.ca_dir),
        ("mqtt.client.auth.cert_file", &client.cert_file),
        ("mqtt.client.auth.key_file", &client.key_file),
        ("mqtt.client.auth.password_file", &client.password_file),
    ];
    paths
        .into_iter()
        .filter_map(|(key, path)| Some((key, path.as_ref()?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_own_by_address_by_name_or_not_known() {
        let mut machine = Machine::default();
        let own = |machine: &Machine, host: &str| machine.is_own(&host.parse().unwrap());
        for host in ["127.0.0.1", "::1", "localhost", "127.9.9.9"] {
            assert_eq!(own(&machine, host), Some(true), "{host}");
        }
        assert_eq!(own(&machine, "10.0.0.1"), None);
        assert_eq!(own(&machine, "gw"), None);
        machine.interfaces = Some(vec![Interface {
            name: "eth0".to_owned(),
            addresses: vec!["10.0.0.1".parse().unwrap()],
        }]);
        machine.host_names.push("GW".to_owned());
        for (name, address) in [("far", "10.0.0.2"), ("near", "10.0.0.1")] {
            let addresses = vec![address.parse().unwrap()];
            machine.resolved.insert(name.to_owned(), addresses);
        }
        assert_eq!(own(&machine, "10.0.0.1"), Some(true));
        assert_eq!(own(&machine, "10.0.0.2"), Some(false));
        assert_eq!(own(&machine, "gw"), Some(true));
        assert_eq!(own(&machine, "near"), Some(true));
        assert_eq!(own(&machine, "far"), Some(false));
        assert_eq!(own(&machine, "unknown"), None);
    }
}
