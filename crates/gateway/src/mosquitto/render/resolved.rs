//! What the generator must know beside the keys.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::facts::{Facts, What};
use crate::{Host, Settings};

/// What the keys mean on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The address of `mqtt.external.bind.address` when that is a name (amendment A1).
    pub address: Option<IpAddr>,
    /// What `mqtt.external.ca_path` is.
    pub authorities: Option<Authorities>,
    /// Where the broker finds the files, when not where the keys say (amendment A5).
    pub paths: Paths,
}

impl Resolved {
    /// What the facts say: the first address of a name, what the path of CAs is. Files are where the keys say.
    pub fn of(settings: &Settings, facts: &Facts) -> Self {
        let Some(external) = &settings.external else {
            return Self::default();
        };
        let address = match &external.address {
            Some(host @ Host::Name(_)) => facts.machine.addresses(host).first().copied(),
            _ => None,
        };
        let authorities =
            external
                .ca_path
                .as_deref()
                .map(|path| match facts.at(path).map(|at| &at.what) {
                    Some(What::File(_)) => Authorities::File,
                    Some(What::Directory(directory)) if directory.hashed.is_empty() => {
                        Authorities::Directory
                    }
                    Some(What::Directory(_)) => Authorities::HashedDirectory,
                    Some(What::Missing | What::Unreadable(_)) | None => Authorities::Missing,
                });
        Self {
            address,
            authorities,
            paths: Paths::default(),
        }
    }
}

/// What is behind a path of CAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorities {
    /// A PEM file: `cafile`.
    File,
    /// A directory with OpenSSL's hash links: `capath`.
    HashedDirectory,
    /// A directory without them: mosquitto starts, and refuses every client.
    Directory,
    /// Nothing: mosquitto does not start, or refuses every client.
    Missing,
}

/// Where the broker finds its files; `None`: where the key says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// For `mqtt.external.cert_file`.
    pub cert_file: Option<PathBuf>,
    /// For `mqtt.external.key_file`.
    pub key_file: Option<PathBuf>,
    /// For `mqtt.external.ca_path`.
    pub ca_path: Option<PathBuf>,
    /// For `mqtt.external.crl_file`.
    pub crl_file: Option<PathBuf>,
}

/// What no key of thin-edge.io says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Passwords of the external listener, made by `mosquitto_passwd`. Not used in mutual mode, where the certificate
    /// is the name.
    pub password_file: Option<PathBuf>,
    /// Rules of [`crate::acl`] for the external listener.
    pub acl_file: Option<PathBuf>,
    /// Where 2.1's plugins are, `mosquitto_acl_file.so` and `mosquitto_password_file.so`. `None`: the older words,
    /// which in 2.1 apply to the whole broker.
    pub plugin_dir: Option<PathBuf>,
    /// TLS 1.3 and nothing below. Default: 1.2 and 1.3.
    pub tls_1_3_only: bool,
}
