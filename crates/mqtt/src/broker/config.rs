//! What a broker is started with: listeners, their level and rules, bounds; and why it did not start.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sectag_pki::topics::Rules;

use crate::link::LinkLimits;
use crate::router::RouterLimits;
use crate::trust::Trust;

/// How long a client has from TCP accept to a complete CONNECT. A modem on a poor NB-IoT link needs several seconds for a
/// handshake; a peer that says nothing must not hold a slot for long.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);

/// Bounds of the broker. Every one is reached with an error or a counted drop, never with a crash.
#[derive(Debug, Clone, Copy)]
pub struct BrokerLimits {
    /// Most TCP connections at a time.
    pub connections_max: usize,
    /// Most connections that are in their handshake at a time: bounds CPU and memory spent on strangers.
    pub handshakes_max: usize,
    /// Time from accept to CONNECT; default [`HANDSHAKE_DEADLINE`].
    pub handshake_deadline: Duration,
    /// Bounds of each connection.
    pub link: LinkLimits,
    /// Bounds of what is remembered.
    pub router: RouterLimits,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            handshakes_max: 512,
            handshake_deadline: HANDSHAKE_DEADLINE,
            link: LinkLimits::default(),
            router: RouterLimits::default(),
        }
    }
}

/// What [`Broker::start`](super::Broker::start) needs.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where to listen, and how; at least one.
    pub listeners: Vec<Listener>,
    /// Bounds, common to all listeners.
    pub limits: BrokerLimits,
    /// Bind, and take nobody in before [`Broker::open`](super::Broker::open): who comes meanwhile waits. Default false.
    pub closed: bool,
}

/// Addresses with one level of security and one set of topic rules.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where to listen, at least one; port 0 takes any free one, see [`Broker::local_addrs`](super::Broker::local_addrs).
    pub addresses: Vec<SocketAddr>,
    /// How it is secured.
    pub security: Security,
    /// Who may use which topics.
    pub rules: Arc<Rules>,
}

/// How a listener is secured. Plaintext has to be asked for by name.
#[derive(Debug, Clone)]
pub enum Security {
    /// MQTT over TCP.
    Plain,
    /// MQTT over TLS, with or without client certificates as [`Trust::is_mutual`] says.
    Tls(Arc<Trust>),
}

/// The level of security of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plaintext; clients are anonymous.
    Plain,
    /// TLS, the broker proves who it is; clients are anonymous.
    Server,
    /// TLS, both prove who they are.
    Mutual,
}

/// One address that was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Position in [`BrokerConfig::listeners`].
    pub listener: usize,
    /// With the port that was taken.
    pub address: SocketAddr,
}

impl BrokerConfig {
    /// These listeners with the default limits.
    pub fn new(listeners: impl IntoIterator<Item = Listener>) -> Self {
        Self {
            listeners: listeners.into_iter().collect(),
            limits: BrokerLimits::default(),
            closed: false,
        }
    }
}

impl Listener {
    /// MQTT over TLS on `address`. With mutual trust the default rules hold, `<CN>/#`; without client certificates
    /// everything is open except topics that begin with `$`.
    pub fn tls(address: SocketAddr, trust: Arc<Trust>) -> Self {
        let rules = match trust.is_mutual() {
            true => Rules::default(),
            false => Rules::open(),
        };
        Self {
            addresses: vec![address],
            security: Security::Tls(trust),
            rules: Arc::new(rules),
        }
    }

    /// MQTT over plain TCP on `address`, open to everybody who reaches it, except topics that begin with `$`.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
            security: Security::Plain,
            rules: Arc::new(Rules::open()),
        }
    }

    /// Its level of security.
    pub fn level(&self) -> Level {
        match &self.security {
            Security::Plain => Level::Plain,
            Security::Tls(trust) => trust.level(),
        }
    }
}

impl Trust {
    /// [`Level::Server`] or [`Level::Mutual`].
    pub fn level(&self) -> Level {
        match self.is_mutual() {
            true => Level::Mutual,
            false => Level::Server,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plaintext",
            Self::Server => "server TLS",
            Self::Mutual => "mutual TLS",
        })
    }
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address could not be bound.
    #[error("cannot listen for MQTT on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// No listener, or one without an address.
    #[error("the MQTT broker has nowhere to listen")]
    Nowhere,
}

impl BrokerError {
    /// What the reader can do about it.
    pub fn hint(&self) -> String {
        let Self::Listen { address, source } = self else {
            return "give at least one listener with an address".into();
        };
        match source.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "another program (mosquitto, or this service) listens on port {}; stop it or choose another port, 0 takes any free one",
                address.port()
            ),
            std::io::ErrorKind::PermissionDenied => {
                format!(
                    "port {} needs more rights; choose one above 1023",
                    address.port()
                )
            }
            std::io::ErrorKind::AddrNotAvailable => {
                format!("{} is not an address of this machine", address.ip())
            }
            _ => "choose another address or port".into(),
        }
    }
}
