//! Why a session failed: the cause, the two values that disagree, and what to do, in one sentence each.
//!
//! ```text
//!   LinkError / ClientError ─┐
//!   what the tags held ──────┼──► explain ──► Explanation { cause, sentence, fix }
//!   what the server showed ──┘
//! ```
//!
//! Where the keys `mqtt.client.*` said how to connect, `keys` says it in keys: which one, its value, the command.
//!
//! Nothing here looks at the text of an error: causes follow from TLS alerts, from errors of the TLS library, from
//! the certificates of both sides, and from MQTT codes. `docs/reference/tls-failures.md` lists all of them.

mod client;
mod facts;
mod keys;
mod material;
mod mqtt;
mod server;
mod transport;
mod words;

use std::fmt;

use sectag_mqtt::client::HandshakeFailure;
use sectag_mqtt::{ClientError, Traffic};

pub use facts::Facts;

use crate::link::LinkError;

/// Why a session failed, for the person who has to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Which of [`Cause::ALL`].
    pub cause: Cause,
    /// What is wrong, with the values that disagree; no full stop.
    pub sentence: String,
    /// What to do; no full stop.
    pub fix: String,
    /// The configuration key to change, when keys `mqtt.…` said how to connect.
    pub key: Option<&'static str>,
}

impl Explanation {
    fn new(cause: Cause, sentence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            cause,
            sentence: sentence.into(),
            fix: fix.into(),
            key: None,
        }
    }

    fn with_key(self, key: &'static str) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }
}

/// The sentence, and how the same shows on an nRF91.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        match self.cause.on_nrf91() {
            Some(shown) => write!(f, " (on an nRF91: {shown})"),
            None => Ok(()),
        }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $shown:expr;)*) => {
        /// Causes of a failed session. Their ids are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            /// All of them, in the order in which a session meets them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its stable id.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// How the same shows in the SDK's sample on an nRF91 \[inferred\], where it can happen at all.
            pub const fn on_nrf91(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => $shown,)*
                }
            }
        }
    };
}

/// What the modem's TLS answers to every refusal in the handshake.
const REFUSED: Option<&str> = Some("error code -111");
/// CONNACK with a refusal: the sample goes on, and its subscription fails.
const NOT_CONNECTED: Option<&str> = Some("`Topic subscription failed, error: -95`");
const LOST: Option<&str> = Some("`Disconnected from MQTT broker`");

causes! {
    /// The list of sec tags is empty.
    NoSecTag = "no-sec-tag", Some("error code -22");
    /// No tag has a root CA.
    CaMissing = "ca-missing", REFUSED;
    /// The root CA under the tag is no PEM certificate, or was cut short.
    CaUnreadable = "ca-unreadable", REFUSED;
    /// The client certificate under the tag is no PEM certificate.
    ClientCertificateUnreadable = "client-certificate-unreadable", REFUSED;
    /// A client certificate without its private key.
    CertificateWithoutKey = "certificate-without-key", REFUSED;
    /// A private key without its client certificate.
    KeyWithoutCertificate = "key-without-certificate", REFUSED;
    /// The certificate is for another key than the one beside it.
    ClientKeyMismatch = "client-key-mismatch", REFUSED;
    /// A key that cannot sign: RSA, encrypted, another curve.
    KeyCannotSign = "key-cannot-sign", REFUSED;
    /// The store or the modem does not give the credential out.
    CredentialUnreadable = "credential-unreadable", None;
    /// The server name is neither a host name nor an IP address.
    ServerNameInvalid = "server-name-invalid", Some("error code -22");
    /// The host name has no address.
    NameNotResolved = "name-not-resolved", Some("error code -118");
    /// Nothing listens at the address.
    ConnectionRefused = "connection-refused", REFUSED;
    /// No answer from the address, or no way to it.
    HostUnreachable = "host-unreachable", Some("error code -116 or -118");
    /// The port speaks something else than TLS.
    NoTlsOnPort = "no-tls-on-port", REFUSED;
    /// The port speaks TLS, and we plain MQTT.
    TlsExpected = "tls-expected", LOST;
    /// The port speaks neither TLS nor MQTT, and we plain MQTT.
    NotMqtt = "not-mqtt", LOST;
    /// The server does not finish the handshake.
    HandshakeTimeout = "handshake-timeout", Some("error code -116");
    /// The connection ended within the handshake.
    HandshakeCut = "handshake-cut", REFUSED;
    /// No TLS version that both sides speak.
    NoCommonVersion = "no-common-version", REFUSED;
    /// No cipher suite that both sides take.
    NoCommonCipherSuite = "no-common-cipher-suite", REFUSED;
    /// The server has no certificate for the name asked.
    ServerNameUnknown = "server-name-unknown", REFUSED;
    /// The server's chain ends at another authority than the one under the tag.
    WrongCa = "wrong-ca", REFUSED;
    /// An authority of the same name with another key.
    CaReplaced = "ca-replaced", REFUSED;
    /// What lies under the tag as root CA is no authority.
    CaIsNoAuthority = "ca-is-no-authority", REFUSED;
    /// The server does not send the authority between its certificate and the root CA.
    MissingIntermediate = "missing-intermediate", REFUSED;
    /// A certificate of the server's chain has expired.
    ServerCertificateExpired = "server-certificate-expired", REFUSED;
    /// A certificate of the server's chain is not valid yet.
    ServerCertificateNotYetValid = "server-certificate-not-yet-valid", REFUSED;
    /// The server's certificate is for other names.
    ServerNameMismatch = "server-name-mismatch", REFUSED;
    /// X.509 version 1.
    ServerCertificateVersion = "server-certificate-version", REFUSED;
    /// The server's certificate is not for servers.
    ServerCertificatePurpose = "server-certificate-purpose", REFUSED;
    /// The server uses an authority's certificate as its own.
    ServerCertificateIsAuthority = "server-certificate-is-authority", REFUSED;
    /// Signed with something that is not taken (SHA-1).
    ServerCertificateSignature = "server-certificate-signature", REFUSED;
    /// The server's certificate cannot be read.
    ServerCertificateMalformed = "server-certificate-malformed", REFUSED;
    /// The server demands a client certificate and the tags have none.
    ClientCertificateMissing = "client-certificate-missing", REFUSED;
    /// The server refuses our certificate as expired.
    ClientCertificateExpired = "client-certificate-expired", REFUSED;
    /// The server does not know the authority of our certificate.
    ClientCertificateUnknownCa = "client-certificate-unknown-ca", REFUSED;
    /// The server's revocation list has our certificate.
    ClientCertificateRevoked = "client-certificate-revoked", REFUSED;
    /// Our certificate is not for clients.
    ClientCertificatePurpose = "client-certificate-purpose", REFUSED;
    /// The server refuses our certificate and does not say why.
    ClientCertificateRefused = "client-certificate-refused", REFUSED;
    /// A record was altered on the way, or is not TLS.
    RecordDamaged = "record-damaged", LOST;
    /// A record longer than TLS allows.
    RecordTooLarge = "record-too-large", LOST;
    /// No answer to CONNECT.
    ConnackTimeout = "connack-timeout", LOST;
    /// The server closes at CONNECT without a word.
    ClosedAfterConnect = "closed-after-connect", LOST;
    /// CONNACK: protocol version.
    MqttVersionRefused = "mqtt-version-refused", NOT_CONNECTED;
    /// CONNACK: client id.
    ClientIdRejected = "client-id-rejected", NOT_CONNECTED;
    /// CONNACK: user name or password.
    BadUserNameOrPassword = "bad-user-name-or-password", NOT_CONNECTED;
    /// CONNACK: not authorised.
    NotAuthorised = "not-authorised", NOT_CONNECTED;
    /// CONNACK or DISCONNECT: the server is busy or going down.
    ServerUnavailable = "server-unavailable", NOT_CONNECTED;
    /// CONNACK with another code.
    ConnectRefused = "connect-refused", NOT_CONNECTED;
    /// The server does not answer pings.
    KeepAliveTimeout = "keep-alive-timeout", LOST;
    /// The client id connected elsewhere.
    SessionTakenOver = "session-taken-over", LOST;
    /// The connection ended without a reason.
    ConnectionLost = "connection-lost", LOST;
    /// A subscription was refused.
    SubscriptionRefused = "subscription-refused", None;
    /// A message was refused.
    PublishRefused = "publish-refused", None;
    /// A message or subscription was not acknowledged.
    AcknowledgementTimeout = "acknowledgement-timeout", None;
    /// Warning: the server's chain is larger than the modem takes.
    ChainTooLarge = "chain-too-large", REFUSED;
    /// Warning: the server was not verified.
    ServerNotVerified = "server-not-verified", None;
    /// Warning: the server did not ask for the client certificate that is configured.
    ClientCertificateUnasked = "client-certificate-unasked", None;
}

impl Cause {
    /// May the next attempt succeed without anybody's doing? What is wrong with files, names, trust and rights stays.
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::NameNotResolved
                | Self::ConnectionRefused
                | Self::HostUnreachable
                | Self::HandshakeTimeout
                | Self::HandshakeCut
                | Self::ConnackTimeout
                | Self::ServerUnavailable
                | Self::KeepAliveTimeout
                | Self::ConnectionLost
                | Self::AcknowledgementTimeout
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Explains an error of the MQTT client by what is known about the connection; `None` for what speaks for itself (an argument that
/// cannot be sent, our own goodbye).
pub fn explain(error: &ClientError, facts: &Facts) -> Option<Explanation> {
    let explanation = seen(error, facts)?;
    Some(match &facts.keys {
        Some(client) => keys::by_keys(explanation, facts, client),
        None => explanation,
    })
}

fn seen(error: &ClientError, facts: &Facts) -> Option<Explanation> {
    match error {
        ClientError::Resolve { source, .. } => Some(transport::not_resolved(source, facts)),
        ClientError::Tcp { address, source } => {
            Some(transport::not_connected(*address, source, facts))
        }
        ClientError::Timeout {
            stage,
            address,
            after,
        } => transport::too_late(*stage, *address, *after, facts),
        ClientError::ServerCertificate { error, .. } => server::refused(error, facts),
        ClientError::CertificateRefused { alert, heard, .. } => {
            client::refused(*alert, heard, facts)
        }
        ClientError::Tls { failure, heard, .. } => match failure {
            HandshakeFailure::Alert(alert) => client::refused(*alert, heard, facts),
            HandshakeFailure::Refused(error) => transport::broken(error, heard, facts),
            HandshakeFailure::Closed(kind) => Some(transport::cut(*kind, heard, facts)),
            _ => None,
        },
        ClientError::Connack { code, reason } => Some(mqtt::connack(*code, reason, facts)),
        ClientError::Closed {
            ending,
            heard: Some(heard),
            ..
        } => mqtt::ended_before_connack(ending, heard, facts),
        ClientError::Closed { ending, .. } => mqtt::ended(ending, facts),
        ClientError::PublishRefused {
            topic,
            code,
            reason,
        } => Some(mqtt::publish_refused(topic, *code, reason, facts)),
        ClientError::SubscribeRefused {
            filter,
            code,
            reason,
        } => Some(mqtt::subscribe_refused(filter, *code, reason, facts)),
        ClientError::Disconnected | ClientError::Invalid(_) => None,
    }
}

/// Explains why there is no link; see [`LinkError::explain`].
pub(crate) fn explain_link(error: &LinkError) -> Option<Explanation> {
    match error {
        LinkError::Session { error, facts } => explain(error, facts),
        LinkError::Gateway(unready) => Some(keys::found(unready)),
        LinkError::Tls(_) => None,
        other => material::explain(other),
    }
}

/// What the user should know about a link although it is open.
pub(crate) fn warnings(facts: &Facts, traffic: &Traffic) -> Vec<Explanation> {
    if traffic.resumed {
        return Vec::new();
    }
    let mut warnings = server::warnings(facts);
    warnings.extend(
        facts
            .keys
            .as_ref()
            .and_then(|client| keys::unasked(facts, client)),
    );
    warnings
}
