//! What a mosquitto does with its configuration: listeners with their directives, the rest, and what goes wrong.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::BrokerVersion;
use crate::Level;

/// A configuration as one version of mosquitto understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// For which version it was read.
    pub version: BrokerVersion,
    /// `per_listener_settings true` was in time.
    pub per_listener: bool,
    /// Directives of the broker, security ones among them when they are not per listener.
    pub globals: Vec<Directive>,
    /// Listeners in the order in which they are opened; the default listener is last.
    pub listeners: Vec<Listener>,
    /// `connection` blocks and what belongs to them.
    pub bridges: Vec<Directive>,
    /// The main file and the included ones, in the order of reading.
    pub files: Vec<PathBuf>,
    /// `include_dir` lines of the main file; the value is the directory.
    pub include_dirs: Vec<Directive>,
    /// In the order of lines, then those of whole listeners.
    pub problems: Vec<Problem>,
}

/// A line of a file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Which file.
    pub file: PathBuf,
    /// 1 is the first.
    pub line: usize,
}

/// One directive as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// What mosquitto takes as its value: a trimmed rest, or the first word of booleans and numbers.
    pub value: String,
    /// Where it is.
    pub at: At,
}

/// A port that the broker opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Why it exists.
    pub origin: Origin,
    /// 0 for a Unix socket.
    pub port: u16,
    /// Address, host name, or the path of a Unix socket; `None`: IPv4 and IPv6 on all interfaces.
    pub address: Option<String>,
    /// The `listener` line, or the first directive that opened the default listener.
    pub at: Option<At>,
    /// What applies to it alone, in the order of lines.
    pub directives: Vec<Directive>,
}

/// Why a listener exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A `listener` line.
    Line,
    /// A directive of listeners where there was none (the order trap, spec/gateway-config §14), or `port`.
    Default,
    /// There is nothing in the configuration: loopback only, anonymous.
    LocalOnly,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind.
    pub kind: ProblemKind,
    /// Where; the listener's line when it is about a whole listener.
    pub at: Option<At>,
    /// The broker does not start.
    pub stops: bool,
    /// What is wrong, one sentence.
    pub sentence: String,
}

/// Kinds of [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// A name that this version does not know.
    Unknown,
    /// A value that it refuses.
    BadValue,
    /// The same directive twice in one place.
    Duplicate,
    /// `per_listener_settings` after a security directive.
    PerListenerTooLate,
    /// A directive of listeners before the first `listener` of its file.
    OrderTrap,
    /// A directive for a listener from before an `include_dir` that opened another: it is lost.
    Lost,
    /// A file or directory that cannot be read.
    Unreadable,
    /// More files or bytes than are read.
    TooMuch,
    /// `include_dir` in an included file.
    NestedInclude,
    /// A bridge's or a plugin's directive without its beginning.
    Orphan,
    /// One of `certfile` and `keyfile` alone.
    HalfPair,
    /// A CA without certificate and key.
    CaWithoutTls,
    /// `require_certificate true` on a plaintext listener.
    RequireWithoutTls,
    /// `require_certificate true` and no CA.
    NobodyTrusted,
    /// An identity as user name, and no certificate required.
    IdentityWithoutRequire,
    /// No client can get a user name, and anonymous ones are refused.
    NobodyNamed,
    /// Certificate and pre-shared keys on one listener.
    TwoKindsOfKeys,
    /// Interface and wildcard address.
    InterfaceAndWildcard,
    /// Two listeners want one port.
    SamePort,
    /// Plaintext for the network, without a user name.
    Open,
}

impl Effective {
    /// True if nothing in the files stops the broker.
    pub fn starts(&self) -> bool {
        !self.problems.iter().any(|problem| problem.stops)
    }

    /// The value of a directive of the broker; the last one, as in 2.1.
    pub fn global(&self, name: &str) -> Option<&str> {
        last(&self.globals, name)
    }

    /// May a client without a user name come in through this listener?
    pub fn allows_anonymous(&self, listener: &Listener) -> bool {
        let own = |name| listener.text(name).map(is_true);
        match own("listener_allow_anonymous") {
            Some(answer) if self.version.is_2_1() => answer,
            _ if self.per_listener => own("allow_anonymous").unwrap_or(false),
            _ => self
                .global("allow_anonymous")
                .map_or(listener.origin == Origin::LocalOnly, is_true),
        }
    }

    /// What a security directive is for this listener: its own value, or the broker's when they are not per listener.
    pub fn security<'a>(&'a self, listener: &'a Listener, name: &str) -> Option<&'a str> {
        if self.per_listener {
            listener.text(name)
        } else {
            self.global(name)
        }
    }

    /// Can a password, or a plugin, give clients of this listener a user name?
    pub fn knows_users(&self, listener: &Listener) -> bool {
        ["password_file", "plugin", "auth_plugin", "psk_file"]
            .iter()
            .any(|name| self.security(listener, name).is_some())
            || listener.text("plugin_use").is_some()
            || self.global("global_plugin").is_some()
    }

    /// What a client meets at this listener.
    pub fn level(&self, listener: &Listener) -> Level {
        match (listener.is_tls(), listener.flag("require_certificate")) {
            (false, _) => Level::None,
            (true, false) => Level::Server,
            (true, true) => Level::Mutual,
        }
    }

    /// The listener on this port of these addresses; the first of them.
    pub fn listener(&self, port: u16) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.port == port)
    }
}

impl Listener {
    /// The value of one of its own directives; the last one, as in 2.1.
    pub fn text(&self, name: &str) -> Option<&str> {
        last(&self.directives, name)
    }

    /// True if its own boolean directive says so.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(is_true)
    }

    /// Does it speak TLS? With half a pair it does not.
    pub fn is_tls(&self) -> bool {
        let has = |name| self.text(name).is_some();
        (has("certfile") && has("keyfile")) || has("psk_hint")
    }

    /// The address as one, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.as_deref()?.parse().ok()
    }

    /// True if it is reachable from this machine only, as far as the file says.
    pub fn is_loopback(&self) -> bool {
        match (&self.address, self.text("bind_interface")) {
            _ if self.port == 0 || self.origin == Origin::LocalOnly => true,
            (Some(name), _) if name == "localhost" => true,
            (Some(_), _) => self.ip().is_some_and(|ip| ip.is_loopback()),
            (None, Some(interface)) => interface == "lo",
            (None, None) => false,
        }
    }

    /// True if it listens on every address of this machine.
    pub fn is_wide(&self) -> bool {
        self.address.is_none() && self.text("bind_interface").is_none()
    }

    /// Would the system refuse one of the two? The same port, and addresses that are equal or contain each other.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.port == 0 || other.port == 0 || self.port != other.port {
            return false;
        }
        match (&self.address, &other.address) {
            _ if self.is_wide() || other.is_wide() => true,
            (None, None) => self.text("bind_interface") == other.text("bind_interface"),
            (None, Some(_)) => overlaps_interface(self, other),
            (Some(_), None) => overlaps_interface(other, self),
            (Some(a), Some(b)) => match (self.ip(), other.ip()) {
                (Some(a), Some(b)) => {
                    a == b
                        || (a.is_ipv4() == b.is_ipv4()
                            && (a.is_unspecified() || b.is_unspecified()))
                }
                // A name may resolve to any of this host's addresses.
                (None, Some(ip)) | (Some(ip), None) => {
                    ip.is_unspecified() || self.is_loopback() == other.is_loopback()
                }
                (None, None) => a == b,
            },
        }
    }
}

/// A listener on an interface against one on an address. Which addresses the interface has is not in the file.
fn overlaps_interface(interface: &Listener, address: &Listener) -> bool {
    address.ip().is_some_and(|ip| ip.is_unspecified())
        || (interface.is_loopback() && address.is_loopback())
}

fn last<'a>(directives: &'a [Directive], name: &str) -> Option<&'a str> {
    directives
        .iter()
        .rev()
        .find(|directive| directive.name == name)
        .map(|directive| directive.value.as_str())
}

pub(super) fn is_true(value: &str) -> bool {
    matches!(value, "true" | "1")
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.sentence),
            None => f.write_str(&self.sentence),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.text("bind_interface"), self.port) {
            (Some(path), _, 0) => write!(f, "listener 0 {path}"),
            (Some(address), _, port) => write!(f, "listener {port} {address}"),
            (None, Some(interface), port) => write!(f, "listener {port} on {interface}"),
            (None, None, port) => write!(f, "listener {port}"),
        }
    }
}
