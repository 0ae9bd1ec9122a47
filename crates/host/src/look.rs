//! What answers at a port, asked without trusting it: the certificate that is served, or a word of MQTT.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use sectag_mqtt::client::{DangerousJudge, dangerous_verifier, suite_name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::probe::version_name;

/// What a TLS server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its certificates as DER, in its order.
    pub chain: Vec<Vec<u8>>,
    /// `TLSv1.3`
    pub version: String,
    /// The cipher suite by its IANA name.
    pub cipher_suite: String,
}

/// What a plaintext port answered to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// CONNACK with this code (MQTT 3.1.1 §3.2.2.3); 0 lets us in.
    Connack(u8),
    /// It closed the connection, or answered what is not MQTT.
    Closed,
    /// It said nothing in time.
    Silent,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Nobody listens, or the way is blocked.
    #[error("no connection to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    /// TLS did not come about.
    #[error("{0} does not complete a TLS handshake")]
    Tls(SocketAddr, #[source] io::Error),
    /// No answer in time.
    #[error("{0} did not answer within {1:?}")]
    Timeout(SocketAddr, Duration),
    /// A broken build.
    #[error("TLS could not be set up")]
    Setup(#[source] rustls::Error),
}

/// Completes a handshake without a certificate of our own, and closes. A server that wants one says so after our side is
/// done (RFC 8446 §4.4.2.4), or ends the handshake in TLS 1.2: both count as seen once its certificate was.
///
/// # Errors
/// [`LookError`].
pub async fn look(address: SocketAddr, patience: Duration) -> Result<Served, LookError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let recorder = Arc::new(Recorder::default());
    let verifier = dangerous_verifier(Arc::clone(&recorder), &provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(LookError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let tcp = tcp(address, patience).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let done = tokio::time::timeout(patience, connecting)
        .await
        .map_err(|_| LookError::Timeout(address, patience))?;
    let seen = recorder.0.lock();
    let chain = seen.unwrap_or_else(PoisonError::into_inner).clone();
    match done {
        Ok(stream) => {
            let session = stream.get_ref().1;
            let version = session.protocol_version();
            let suite = session.negotiated_cipher_suite();
            Ok(Served {
                chain,
                version: version
                    .and_then(|version| version.as_str())
                    .map_or_else(String::new, version_name),
                cipher_suite: suite
                    .and_then(|suite| suite_name(suite.suite()))
                    .unwrap_or_default()
                    .to_owned(),
            })
        }
        Err(_) if !chain.is_empty() => Ok(Served {
            chain,
            version: String::new(),
            cipher_suite: String::new(),
        }),
        Err(error) => Err(LookError::Tls(address, error)),
    }
}

/// Says CONNECT in plaintext and hears what comes.
///
/// # Errors
/// [`LookError::Connect`] and [`LookError::Timeout`] when there is no TCP connection.
pub async fn greet(address: SocketAddr, patience: Duration) -> Result<Greeting, LookError> {
    /// MQTT 3.1.1, clean session, keep-alive 10 s, client identifier of no length (MQTT 3.1.1 §3.1).
    const CONNECT: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 10, 0, 0];
    let mut tcp = tcp(address, patience).await?;
    let mut answer = [0; 4];
    let heard = async {
        tcp.write_all(&CONNECT).await?;
        tcp.read_exact(&mut answer).await
    };
    Ok(match tokio::time::timeout(patience, heard).await {
        Ok(Ok(_)) if answer[..2] == [0x20, 2] => {
            let _ = tcp.write_all(&[0xe0, 0]).await; // DISCONNECT; we have what we wanted
            Greeting::Connack(answer[3])
        }
        Ok(_) => Greeting::Closed,
        Err(_) => Greeting::Silent,
    })
}

async fn tcp(address: SocketAddr, patience: Duration) -> Result<TcpStream, LookError> {
    match tokio::time::timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(LookError::Connect(address, error)),
        Err(_) => Err(LookError::Timeout(address, patience)),
    }
}

/// Takes every certificate and remembers it. Nothing is sent over such a connection.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Vec<u8>>>);

impl DangerousJudge for Recorder {
    fn certificates(&self, chain: &[&[u8]]) -> Result<(), rustls::Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            chain.iter().map(|der| der.to_vec()).collect();
        Ok(())
    }
}
