//! Which stage failed, and why, in words.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::wire::Heard;
use crate::tls_words;

/// Why a client call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The host name has no address.
    #[error("cannot resolve {host:?}")]
    Resolve {
        /// The name.
        host: String,
        /// The reason.
        #[source]
        source: Arc<io::Error>,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}")]
    Tcp {
        /// The address tried last.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: Arc<io::Error>,
    },
    /// We refused the server's certificate.
    #[error("the certificate of {server_name:?} is refused: {reason}")]
    ServerCertificate {
        /// The name that was expected.
        server_name: String,
        /// The reason in words.
        reason: String,
        /// The reason.
        error: Arc<CertificateError>,
    },
    /// The server refused our certificate, or that we have none.
    #[error("the server refused our certificate: {reason}")]
    CertificateRefused {
        /// What the server's alert says.
        reason: String,
        /// The alert. `HandshakeFailure` is ambiguous: without a look at our certificate it means that nothing we offer suits.
        alert: AlertDescription,
        /// What was received.
        heard: Arc<Heard>,
    },
    /// The TLS handshake failed for another reason.
    #[error("TLS handshake with {server_name:?} failed: {reason}")]
    Tls {
        /// The name that was expected.
        server_name: String,
        /// The reason in words.
        reason: String,
        /// The reason.
        failure: HandshakeFailure,
        /// What was received.
        heard: Arc<Heard>,
    },
    /// CONNACK said no.
    #[error("the server refused the MQTT connection: {reason} (code {code})")]
    Connack {
        /// MQTT 3.1.1 return code or MQTT 5 reason code.
        code: u8,
        /// The code in words.
        reason: String,
    },
    /// The server refused a message (MQTT 5 only).
    #[error("the server refused the message to {topic:?}: {reason} (code {code})")]
    PublishRefused {
        /// The topic.
        topic: String,
        /// MQTT 5 reason code.
        code: u8,
        /// The code in words.
        reason: String,
    },
    /// The server refused a subscription.
    #[error("the server refused the subscription to {filter:?}: {reason} (code {code})")]
    SubscribeRefused {
        /// The filter.
        filter: String,
        /// MQTT 3.1.1 return code (128) or MQTT 5 reason code.
        code: u8,
        /// The code in words.
        reason: String,
    },
    /// No answer in time.
    #[error("no {stage} within {after:?}")]
    Timeout {
        /// What was awaited.
        stage: Stage,
        /// From where; `None` while the host name is being resolved.
        address: Option<SocketAddr>,
        /// How long.
        after: Duration,
    },
    /// The connection was lost.
    #[error("the MQTT connection is lost: {reason}")]
    Closed {
        /// The reason in words.
        reason: String,
        /// How it ended.
        ending: Ending,
        /// If it ended before CONNACK: what was received until then.
        heard: Option<Arc<Heard>>,
    },
    /// The connection was ended by [`crate::Client::disconnect`].
    #[error("the MQTT connection was closed by this side")]
    Disconnected,
    /// An argument that cannot be sent.
    #[error("cannot be sent: {0}")]
    Invalid(String),
}

/// What was awaited when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Name resolution and TCP.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The answer to CONNECT.
    Connack,
    /// The acknowledgement of a message.
    Publish,
    /// The acknowledgement of a subscription.
    Subscribe,
    /// The acknowledgement of taking a subscription back.
    Unsubscribe,
    /// The end of the connection.
    Closing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP connection",
            Self::Tls => "TLS handshake",
            Self::Connack => "CONNACK",
            Self::Publish => "acknowledgement of PUBLISH",
            Self::Subscribe => "SUBACK",
            Self::Unsubscribe => "UNSUBACK",
            Self::Closing => "closing",
        })
    }
}

/// Why a TLS handshake failed, certificates aside.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The server sent this alert.
    Alert(AlertDescription),
    /// We ended it.
    Refused(Arc<TlsError>),
    /// The connection ended.
    Closed(io::ErrorKind),
}

/// How a connection ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Ending {
    /// The server closed it without a word.
    Closed,
    /// The network did.
    Io(io::ErrorKind),
    /// The server sent this TLS alert.
    Alert(AlertDescription),
    /// A record does not fit into the TLS session.
    Tls(Arc<TlsError>),
    /// No answer to a ping in this time.
    PingUnanswered {
        /// Time waited.
        after: Duration,
    },
    /// DISCONNECT from the server (MQTT 5 only).
    Disconnect {
        /// Reason code (MQTT 5 §3.14.2.1).
        code: u8,
    },
    /// Bytes that are not MQTT, or not at this time.
    Protocol,
}

impl ClientError {
    pub(super) fn closed(reason: impl Into<String>, ending: Ending) -> Self {
        Self::Closed {
            reason: reason.into(),
            ending,
            heard: None,
        }
    }

    /// Adds what was received, to an end before CONNACK.
    pub(super) fn with_heard(mut self, received: Arc<Heard>) -> Self {
        if let Self::Closed { heard, .. } = &mut self {
            *heard = Some(received);
        }
        self
    }

    /// An I/O error of the TLS handshake.
    pub(super) fn from_tls(error: &io::Error, server_name: &str, heard: Arc<Heard>) -> Self {
        let server_name = server_name.to_owned();
        let failed = |reason: String, failure| Self::Tls {
            server_name: server_name.clone(),
            reason,
            failure,
            heard: heard.clone(),
        };
        match tls_words::tls_error(error) {
            Some(TlsError::InvalidCertificate(reason)) => Self::ServerCertificate {
                server_name,
                reason: tls_words::certificate(reason),
                error: Arc::new(reason.clone()),
            },
            Some(TlsError::AlertReceived(alert)) if tls_words::is_about_our_certificate(*alert) => {
                Self::CertificateRefused {
                    reason: tls_words::refused_by_peer(*alert),
                    alert: *alert,
                    heard,
                }
            }
            Some(TlsError::AlertReceived(alert)) => failed(
                tls_words::refused_by_peer(*alert),
                HandshakeFailure::Alert(*alert),
            ),
            Some(error @ TlsError::InvalidMessage(_)) if !speaks_tls(&heard) => failed(
                "the server does not speak TLS on this port".into(),
                HandshakeFailure::Refused(Arc::new(error.clone())),
            ),
            Some(other) => failed(
                other.to_string(),
                HandshakeFailure::Refused(Arc::new(other.clone())),
            ),
            None => failed(
                format!("the server closed the connection ({error})"),
                HandshakeFailure::Closed(error.kind()),
            ),
        }
    }

    /// An I/O error between the handshake and CONNACK: in TLS 1.3 the place where our certificate is refused.
    pub(super) fn before_connack(error: &io::Error, heard: Arc<Heard>) -> Self {
        let (reason, ending) = match tls_words::tls_error(error) {
            Some(TlsError::AlertReceived(alert)) if tls_words::is_about_our_certificate(*alert) => {
                return Self::CertificateRefused {
                    reason: tls_words::refused_by_peer(*alert),
                    alert: *alert,
                    heard,
                };
            }
            Some(TlsError::AlertReceived(alert)) => {
                (tls_words::refused_by_peer(*alert), Ending::Alert(*alert))
            }
            Some(other) => (other.to_string(), Ending::Tls(Arc::new(other.clone()))),
            None => {
                let ending = match error.kind() {
                    io::ErrorKind::UnexpectedEof => Ending::Closed,
                    kind => Ending::Io(kind),
                };
                (
                    format!(
                        "the server closed the connection instead of answering CONNECT ({error}); it may have refused our certificate"
                    ),
                    ending,
                )
            }
        };
        Self::closed(reason, ending).with_heard(heard)
    }

    /// An I/O error on an established connection.
    pub(super) fn lost(error: &io::Error) -> Self {
        let ending = match tls_words::tls_error(error) {
            Some(TlsError::AlertReceived(alert)) => Ending::Alert(*alert),
            Some(other) => Ending::Tls(Arc::new(other.clone())),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Ending::Closed,
            None => Ending::Io(error.kind()),
        };
        Self::closed(error.to_string(), ending)
    }
}

/// A TLS record begins with its type and the major version 3 (RFC 8446 §5.1).
fn speaks_tls(heard: &Heard) -> bool {
    matches!(heard.first[..], [20..=24, 3, ..])
}
