//! Which stage failed, and why, in words.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::Error as TlsError;

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
    },
    /// The server refused our certificate, or that we have none.
    #[error("the server refused our certificate: {reason}")]
    CertificateRefused {
        /// What the server's alert says.
        reason: String,
    },
    /// The TLS handshake failed for another reason.
    #[error("TLS handshake with {server_name:?} failed: {reason}")]
    Tls {
        /// The name that was expected.
        server_name: String,
        /// The reason in words.
        reason: String,
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
        stage: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection was lost.
    #[error("the MQTT connection is lost: {reason}")]
    Closed {
        /// The reason in words.
        reason: String,
    },
    /// The connection was ended by [`crate::Client::disconnect`].
    #[error("the MQTT connection was closed by this side")]
    Disconnected,
    /// An argument that cannot be sent.
    #[error("cannot be sent: {0}")]
    Invalid(String),
}

impl ClientError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Resolve { .. } => "check the broker's host name",
            Self::Tcp { .. } => "is the broker running, and is it this port?",
            Self::ServerCertificate { .. } => {
                "the device's CA certificate must be the one that issued the broker's certificate, and the host name must be in that certificate"
            }
            Self::CertificateRefused { .. } => {
                "the broker must trust the CA that issued this device's certificate"
            }
            Self::PublishRefused { .. } | Self::SubscribeRefused { .. } => {
                "a device may use topics below its own name only, `<CN>/…`"
            }
            _ => return None,
        })
    }

    /// An I/O error of the TLS handshake.
    pub(super) fn from_tls(error: &io::Error, server_name: &str) -> Self {
        let server_name = server_name.to_owned();
        match tls_words::tls_error(error) {
            Some(TlsError::InvalidCertificate(reason)) => Self::ServerCertificate {
                server_name,
                reason: tls_words::certificate(reason),
            },
            Some(TlsError::AlertReceived(alert)) if tls_words::is_about_our_certificate(*alert) => {
                Self::CertificateRefused {
                    reason: tls_words::refused_by_peer(*alert),
                }
            }
            Some(TlsError::AlertReceived(alert)) => Self::Tls {
                server_name,
                reason: tls_words::refused_by_peer(*alert),
            },
            Some(TlsError::InvalidMessage(_)) => Self::Tls {
                server_name,
                reason: "the server does not speak TLS on this port".into(),
            },
            Some(other) => Self::Tls {
                server_name,
                reason: other.to_string(),
            },
            None => Self::Tls {
                server_name,
                reason: format!("the server closed the connection ({error})"),
            },
        }
    }

    /// An I/O error between the handshake and CONNACK: in TLS 1.3 the place where our certificate is refused.
    pub(super) fn before_connack(error: &io::Error) -> Self {
        match tls_words::tls_error(error) {
            Some(TlsError::AlertReceived(alert)) => Self::CertificateRefused {
                reason: tls_words::refused_by_peer(*alert),
            },
            _ => Self::Closed {
                reason: format!(
                    "the server closed the connection instead of answering CONNECT ({error}); it may have refused our certificate"
                ),
            },
        }
    }

    /// An I/O error on an established connection.
    pub(super) fn lost(error: &io::Error) -> Self {
        Self::Closed {
            reason: error.to_string(),
        }
    }
}
