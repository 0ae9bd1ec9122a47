//! What an endpoint and a client are told: who they are, whom they trust, what they offer, and how much they may hold.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

/// Time as two numbers, since clocks are the caller's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// Never goes back; timers count in it. Its zero is the caller's choice.
    pub uptime: Duration,
    /// The calendar, seconds since 1970-01-01 UTC: validity of certificates, age of tickets.
    pub unix_s: u64,
}

/// Fills with unpredictable bytes. The caller's generator: the system's in a program, a seeded one in tests.
pub trait Random: Send {
    /// Overwrites all of `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Who a server is: a certificate chain, leaf first, and the private key of the leaf (P-256 or P-384).
///
/// The key has no printable form and is erased with the value.
#[derive(Clone)]
pub struct Identity {
    pub(crate) chain_pem: String,
    pub(crate) key_pem: Zeroizing<String>,
}

impl Identity {
    /// A certificate chain, leaf first, and its private key (PKCS #8 or SEC 1), both PEM.
    ///
    /// # Errors
    /// When either cannot be read, they do not belong together, the key is not on P-256 or P-384, or the chain does not fit a
    /// handshake message of 2,048 bytes (spec/device-protocol §6.1 wants it small, too).
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, ConfigError> {
        let identity = Self {
            chain_pem: chain_pem.to_owned(),
            key_pem: Zeroizing::new(key_pem.to_owned()),
        };
        crate::ffi::check_identity(&identity)?;
        Ok(identity)
    }
}

/// What a server is configured with.
pub struct ServerConfig {
    /// Certificate chain and key shown to new peers.
    pub identity: Identity,
    /// The cipher suites that are accepted, in our order of preference. Default: [`Suites::all`].
    pub suites: Suites,
    /// Bytes of the Connection ID that peers put into their records to us: 1 to 16. Default 8. One length for all sessions of an
    /// endpoint, since a record does not say how long its CID is (RFC 9146 §3).
    pub cid_bytes: u8,
    /// From this secret the keys of cookies and tickets are derived, period by period, so that tickets outlive a crash.
    pub secret: MasterSecret,
    /// How much may be held, and for how long.
    pub limits: Limits,
    /// Refuse clients without extended master secret (RFC 7627). Default false: whether every modem firmware sends it is not known.
    pub require_extended_master_secret: bool,
    /// Bytes of the largest UDP payload that is sent. Default 1232 (the least IPv6 path, 1280, less IPv6 and UDP headers).
    pub datagram_bytes_max: u16,
    /// Offer session tickets (RFC 5077). Default true.
    pub tickets: bool,
    /// Resume by session ID from the cache of the last full handshakes. Default true.
    pub session_ids: bool,
}

impl ServerConfig {
    /// The defaults around an identity and the secret of the home.
    pub fn new(identity: Identity, secret: MasterSecret) -> Self {
        Self {
            identity,
            suites: Suites::all(),
            cid_bytes: 8,
            secret,
            limits: Limits::default(),
            require_extended_master_secret: false,
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
            tickets: true,
            session_ids: true,
        }
    }
}

/// How much an endpoint holds, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Sessions, handshakes included. Default 20,000 (at most 10 kB each: 200 MB). One more, and the session idle for the longest
    /// time is ended.
    pub sessions_max: usize,
    /// Handshakes under way. Default 1,000, each of which may hold up to 45 kB while fragments of its messages wait for one another
    /// (Mbed TLS buffers 32 kB). Each has proven its address by a cookie; one more is not answered, unless one of the
    /// others is older than [`HANDSHAKE_YOUNG`](crate::HANDSHAKE_YOUNG), which is then ended.
    pub handshakes_max: usize,
    /// The longest handshake. Default 60 s: four retransmissions of a modem on a slow link.
    pub handshake: Duration,
    /// The longest silence of a session. Default 30 days, as long as the authorisation of a device lasts (spec/device-protocol §6.2).
    pub idle: Duration,
    /// How long a ticket and a cached session can be resumed. Default 7 days.
    pub ticket_lifetime: Duration,
    /// Sessions kept for resumption by session ID, the oldest first out. Default 20,000 (about 300 bytes each).
    pub cached_sessions_max: usize,
    /// Bytes of outputs that wait for [`Endpoint::poll`](crate::Endpoint::poll); what comes on top is dropped, as a network would.
    /// Default 4 MiB.
    pub queued_bytes_max: usize,
    /// Bytes that may be sent to a moved peer's new address beyond what was received from there, before it has answered.
    /// Default 1,200: one CoAP block of 1,024 with its headers, so that the answer to the record that moved can leave. Such an
    /// answer costs an attacker one fresh, authenticated record that the server has not seen, so it multiplies nothing.
    pub unproven_path_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 20_000,
            handshakes_max: 1_000,
            handshake: Duration::from_secs(60),
            idle: Duration::from_secs(30 * 86_400),
            ticket_lifetime: Duration::from_secs(7 * 86_400),
            cached_sessions_max: 20_000,
            queued_bytes_max: 4 << 20,
            unproven_path_bytes: 1_200,
        }
    }
}

/// What a client is configured with.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The authorities that are trusted, PEM, one or more.
    pub roots_pem: String,
    /// The name the server must prove: a DNS name, or an IP address (then no SNI is sent).
    pub server_name: String,
    /// What is offered, in this order. Default: [`Suites::all`].
    pub suites: Suites,
    /// Connection ID: `None` does not offer it; `Some(n)` asks the server to put `n` bytes into its records to us, 0 meaning that
    /// only the server's own CID is used. Default `Some(0)`: a client has one server, and each byte costs.
    pub cid: Option<u8>,
    /// A session to resume, from [`Client::resumption`](crate::Client::resumption). A server that does not know it answers with a
    /// full handshake.
    pub resume: Option<Resumption>,
    /// Take tickets and session IDs for later resumption. Default true.
    pub session_cache: bool,
    /// First and longest wait for an answer in the handshake. Default 1 s (RFC 6347 §4.2.4.1) and 16 s; the sum of all waits bounds it.
    pub handshake_timeout_min: Duration,
    /// See above.
    pub handshake_timeout_max: Duration,
    /// Bytes of the largest UDP payload that is sent. Default 1232.
    pub datagram_bytes_max: u16,
    /// Offer extended master secret (RFC 7627). Default true.
    pub extended_master_secret: bool,
}

impl ClientConfig {
    /// The defaults around a trusted authority and a name.
    pub fn new(roots_pem: impl Into<String>, server_name: impl Into<String>) -> Self {
        Self {
            roots_pem: roots_pem.into(),
            server_name: server_name.into(),
            suites: Suites::all(),
            cid: Some(0),
            resume: None,
            session_cache: true,
            handshake_timeout_min: Duration::from_secs(1),
            handshake_timeout_max: Duration::from_secs(16),
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
            extended_master_secret: true,
        }
    }
}

/// An ordered list of cipher suites, by IANA number, out of those this crate has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Suites(pub(crate) Vec<u16>);

impl Suites {
    /// All, in the order we prefer: GCM, CCM_8, CCM, then the CBC suites of old modem firmware (spec/device-protocol §6.1).
    pub fn all() -> Self {
        Self(SUITES.iter().map(|suite| suite.0).collect())
    }

    /// The AEAD suites only. Sessions of other suites cannot be saved.
    pub fn aead() -> Self {
        Self(
            SUITES
                .iter()
                .filter(|suite| suite.2)
                .map(|suite| suite.0)
                .collect(),
        )
    }

    /// These, in this order.
    ///
    /// # Errors
    /// [`ConfigError::Suites`] when the list is empty or names a suite that is not built in.
    pub fn these(numbers: &[u16]) -> Result<Self, ConfigError> {
        let unknown = numbers.iter().find(|number| suite_name(**number).is_none());
        match unknown {
            Some(number) => Err(ConfigError::Suites(format!(
                "suite {number:04X} is not built in"
            ))),
            None if numbers.is_empty() => Err(ConfigError::Suites(
                "the list of cipher suites is empty".to_owned(),
            )),
            None => Ok(Self(numbers.to_vec())),
        }
    }

    /// The numbers, in order.
    pub fn numbers(&self) -> &[u16] {
        &self.0
    }
}

/// The IANA name of a suite this crate has.
pub fn suite_name(number: u16) -> Option<&'static str> {
    SUITES
        .iter()
        .find(|suite| suite.0 == number)
        .map(|suite| suite.1)
}

/// Whether a suite this crate has authenticates and encrypts in one (GCM, CCM): only such sessions can be saved.
pub fn suite_is_aead(number: u16) -> bool {
    SUITES.iter().any(|suite| suite.0 == number && suite.2)
}

/// Number, name, AEAD.
pub(crate) const SUITES: [(u16, &str, bool); 7] = [
    (0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", true),
    (0xC0AE, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", true),
    (0xC0AC, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", true),
    (0xC023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", false),
    (0xC024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", false),
    (0xC009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", false),
    (0xC00A, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", false),
];

const DATAGRAM_BYTES_MAX: u16 = 1232;

/// 32 secret bytes of the home. No printable form; erased with the value.
#[derive(Clone)]
pub struct MasterSecret(pub(crate) Zeroizing<[u8; 32]>);

impl MasterSecret {
    /// From the bytes that the home keeps.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

/// What a client needs to resume a session by a short handshake: secret, so without printable form, and erased with the value.
#[derive(Clone)]
pub struct Resumption(pub(crate) Zeroizing<Vec<u8>>);

impl Resumption {
    /// The bytes to keep; they contain the session's secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.0.clone()
    }

    /// Back from [`Resumption::to_bytes`]. Bytes that are not such a session are noticed by [`Client::new`](crate::Client::new).
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

/// A session that a client may resume by its session ID: secret, so without printable form, and erased with the value.
#[derive(Clone)]
pub struct CachedSession(pub(crate) Zeroizing<Vec<u8>>);

impl CachedSession {
    /// The bytes to keep; they contain the session's secret: encrypt them.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.0.clone()
    }

    /// Back from [`CachedSession::to_bytes`]. Other bytes make a session that resumes nothing.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The certificate chain cannot be read.
    #[error("the certificate chain cannot be read: {0}")]
    Chain(String),
    /// The private key cannot be read, or is not on P-256 or P-384.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// The private key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyOfAnother,
    /// The trusted authorities cannot be read.
    #[error("the trusted authorities cannot be read: {0}")]
    Roots(String),
    /// A list of cipher suites that cannot be offered.
    #[error("{0}")]
    Suites(String),
    /// A number out of its range, or a name that cannot be a server's.
    #[error("{0}")]
    Value(String),
    /// The session to resume cannot be read.
    #[error("the session to resume cannot be read: {0}")]
    Resumption(String),
    /// The library refused for a reason of its own (memory).
    #[error("Mbed TLS: {0}")]
    Library(String),
}

macro_rules! unprintable {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(****)"))
            }
        }
    )*};
}
unprintable!(Identity, MasterSecret, Resumption, CachedSession);
