//! The keys as one typed value: what findings, generator, planner, our client and our broker read.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

/// Everything that concerns the broker and its clients (spec/gateway-config §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `mqtt.bind.*`
    pub internal: Internal,
    /// `mqtt.external.*`; `None` when none of its keys is set.
    pub external: Option<External>,
    /// `mqtt.client.*`
    pub client: Client,
    /// `mqtt.topic_root`. Default `te`.
    pub topic_root: String,
    /// `certificate.validity.minimum_duration`, in seconds: what expires sooner is due. Default 30 days.
    pub minimum_validity_s: u64,
}

/// The listener of this machine's own services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Internal {
    /// Default `true`.
    pub enabled: bool,
    /// Default `127.0.0.1`.
    pub address: IpAddr,
    /// Default 1883.
    pub port: NonZeroU16,
}

/// The listener for other devices. Some key of it is set, so it is meant to exist (amendment A2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Inferred when unset: 8883 when certificate and key are set, else 1883.
    pub port: Sourced<NonZeroU16>,
    /// An address, or a name that is resolved when the plan is made (amendment A1). `None`: all of them.
    pub address: Option<Host>,
    /// Network interface.
    pub interface: Option<String>,
    /// Who signs clients: a file, or a directory with hash links.
    pub ca_path: Option<PathBuf>,
    /// Certificate of the listener, leaf first.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// `mqtt.external.crl_file` (ours): revocations of client certificates.
    pub crl_file: Option<PathBuf>,
}

/// How our own MQTT clients reach the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Default `127.0.0.1`.
    pub host: Host,
    /// Inferred when unset (RULE 17).
    pub port: Sourced<NonZeroU16>,
    /// `mqtt.client.server_name` (ours): the name that must be in the broker's certificate; default `host`.
    pub server_name: Option<Host>,
    /// Trusted CAs in one file.
    pub ca_file: Option<PathBuf>,
    /// Trusted CAs in the `.pem`, `.crt` and `.cer` files of one directory.
    pub ca_dir: Option<PathBuf>,
    /// Client certificate.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// User name.
    pub username: Option<String>,
    /// Its first line is the password.
    pub password_file: Option<PathBuf>,
}

/// A value and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value in effect.
    pub value: T,
    /// Who said it.
    pub source: Source,
}

/// Who set a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody.
    Default,
    /// Other keys.
    Inferred,
    /// The file.
    File,
    /// The environment.
    Environment,
}

/// An IP address or a host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A DNS name, in lower case.
    Name(String),
}

/// The level of security that a set of keys asks for; never a key of its own (spec/gateway-config §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plaintext.
    None,
    /// TLS; the server proves who it is.
    Server,
    /// TLS; both do.
    Mutual,
}

impl External {
    /// What the keys ask for, complete or not: any TLS key means TLS, and findings say what is missing.
    pub const fn level(&self) -> Level {
        if self.ca_path.is_some() || self.crl_file.is_some() {
            Level::Mutual
        } else if self.cert_file.is_some() || self.key_file.is_some() {
            Level::Server
        } else {
            Level::None
        }
    }
}

impl Client {
    /// What the keys ask for, complete or not: any TLS key means TLS, and findings say what is missing.
    pub const fn level(&self) -> Level {
        if self.cert_file.is_some() || self.key_file.is_some() {
            Level::Mutual
        } else if self.ca_file.is_some() || self.ca_dir.is_some() || self.server_name.is_some() {
            Level::Server
        } else {
            Level::None
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Server => "server",
            Self::Mutual => "mutual",
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Inferred => "inferred",
            Self::File => "file",
            Self::Environment => "environment",
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Neither an address nor a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor a host name")]
pub struct NoHost(String);

impl FromStr for Host {
    type Err = NoHost;

    /// RFC 1123 §2.1: labels of letters, digits and inner hyphens, 63 characters each, 253 in all.
    fn from_str(text: &str) -> Result<Self, NoHost> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        let digits_only = name
            .split('.')
            .all(|label| label.bytes().all(|b| b.is_ascii_digit()));
        if name.len() <= 253 && name.split('.').all(label) && !digits_only {
            Ok(Self::Name(name.to_ascii_lowercase()))
        } else {
            Err(NoHost(text.chars().take(80).collect()))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name() {
        assert_eq!("::1".parse(), Ok(Host::Ip("::1".parse().unwrap())));
        assert_eq!(
            "Gateway.Local".parse(),
            Ok(Host::Name("gateway.local".into()))
        );
        for text in [
            "",
            "a b",
            "-a",
            "a..b",
            "1.2.3",
            "10.0.0.256",
            "a/b",
            "a\nb",
            &"x".repeat(64),
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }
}
