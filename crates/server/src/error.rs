//! Why the service did not start: one sentence with the facts, causes below it, and a hint.

use crate::listeners::ListenerError;
use crate::settings::SettingsError;
use sectag_keep::KeepError;
use sectag_pki::PkiError;
use sectag_store::StoreError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a home could not be opened, or the service not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another process serves this home.
    #[error("the home `{}` is in use by process {}", home.display(), pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    InUse {
        /// The home.
        home: PathBuf,
        /// Who holds it, when it says so.
        pid: Option<u32>,
    },
    /// A file of the home.
    #[error("cannot use the home `{}`", home.display())]
    Home {
        /// The home.
        home: PathBuf,
        /// Which file, and why.
        source: KeepError,
    },
    /// `sectag.toml`, or an environment variable.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A certificate or key of the home.
    #[error("cannot use `{what}`")]
    Pki {
        /// Which file, or what was to be made.
        what: String,
        /// Why.
        source: PkiError,
    },
    /// A file of the home that has something else in it.
    #[error("`{}` does not hold {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// `device`, `owner`, `loopback`, `mqtt`, `coap`.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A plain listener that others could reach.
    #[error("{address} is not a loopback address, and this listener speaks plain HTTP")]
    NotLoopback {
        /// Where.
        address: SocketAddr,
    },
    /// An MQTT listener: its files, or its address.
    #[error(transparent)]
    Mqtt(#[from] ListenerError),
    /// TLS cannot be set up from the home's certificates.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// DTLS cannot be set up from the home's certificates.
    #[error("cannot set up DTLS: {0}")]
    Dtls(String),
    /// The database file.
    #[error(transparent)]
    Open(#[from] sectag_store::OpenError),
    /// The database.
    #[error("cannot use the database `{}`", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random(#[source] getrandom::Error),
}

impl StartError {
    /// What the user can do, when it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { pid: Some(pid), .. } => Some(format!(
                "`sectag status` shows it; stop process {pid} first, or choose another home with `--home`"
            )),
            Self::InUse { pid: None, .. } => Some(
                "stop the other process first, or choose another home with `--home`".to_owned(),
            ),
            Self::Home { source, .. } => source.hint().or_else(|| {
                Some("choose a directory that you may write with `--home DIR`".to_owned())
            }),
            Self::Pki {
                source: PkiError::Encrypted,
                ..
            } => Some(
                "the service issues by itself and asks nobody; its two issuing CAs have no passphrase, the root's key may have one or be elsewhere"
                    .to_owned(),
            ),
            Self::Settings(e) => e
                .suggestion
                .as_ref()
                .map(|key| format!("did you mean `{key}`?")),
            Self::Content { path, .. } => Some(format!(
                "restore `{}` from a backup, or choose an empty home with `--home`",
                path.display()
            )),
            Self::Listen {
                source,
                address,
                what,
            } => Some(match source.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "another program has port {}; is a service running already (`sectag status`)? Else set `listen.{what}` in sectag.toml, or `--listen-{what} 127.0.0.1:0` for any free port",
                    address.port()
                ),
                io::ErrorKind::PermissionDenied => format!(
                    "ports below 1024 need more rights; set `listen.{what}` to a higher one"
                ),
                io::ErrorKind::AddrNotAvailable => {
                    format!("{} is not an address of this machine", address.ip())
                }
                _ => return None,
            }),
            Self::NotLoopback { .. } => {
                Some("use the owner listener (TLS) for other machines".to_owned())
            }
            Self::Store { path, .. } => Some(format!(
                "check free space and rights of `{}`; it is an SQLite database",
                path.display()
            )),
            Self::Mqtt(e) => e.hint(),
            Self::Open(e) => e.hint(),
            _ => None,
        }
    }
}
