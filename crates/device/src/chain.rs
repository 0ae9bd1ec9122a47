//! Fetches the certificates that a server sends, without trusting it.
//!
//! ```text
//!   TCP ──► ClientHello (name, ALPN) ──► Certificate ──► recorded ──► close
//!                                            │
//!                              sectag_pki::lint::chain::judge
//! ```
//!
//! Nothing is sent over the connection and nothing is read from it, so that a server which nobody trusts yet may be
//! asked. Every chain is recorded, RSA, expired or version 1; who judges it is `pki`. Whether the server holds the
//! key of its certificate is noted as well ([`Fetched::proved`]).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, SignatureScheme};
use rustls_pki_types::ServerName;
use sectag_mqtt::client::{DangerousJudge, dangerous_verifier};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Limit for the name, for each connection, and for the handshake.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Where to ask, and under which name.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host name or IP address to connect to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Name sent as SNI, and checked later; `None`: the host. An IP address is never sent.
    pub server_name: Option<String>,
    /// Protocols offered by ALPN (RFC 7301); empty offers none.
    pub alpn: Vec<String>,
    /// Limit for each step; default [`TIMEOUT_DEFAULT`].
    pub timeout: Duration,
}

/// What a server sent.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its certificates as DER, in its order.
    pub chain: Vec<Vec<u8>>,
    /// Where it was reached.
    pub address: SocketAddr,
    /// `TLSv1.3`; `None` when the handshake went no further than its certificate.
    pub version: Option<String>,
    /// As rustls calls it: `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: Option<String>,
    /// The protocol it chose by ALPN.
    pub alpn: Option<String>,
    /// It holds the key of its certificate: its signature was checked. `None` when it could not be checked, as for
    /// version 1 and for keys that rustls does not take.
    pub proved: Option<bool>,
    /// It asked for a client certificate.
    pub wants_client_certificate: bool,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Neither a DNS name nor an IP address.
    #[error("`{0}` is neither a host name nor an IP address")]
    Name(String),
    /// The resolver knows no address.
    #[error("no address is known for `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// In the resolver's words.
        #[source]
        source: Option<io::Error>,
    },
    /// Nobody listens there, or the way is blocked.
    #[error("no connection to {address}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
    /// Something answered, and it is not TLS.
    #[error("{address} does not speak TLS: it answered `{first}`")]
    NotTls {
        /// Who.
        address: SocketAddr,
        /// Its first bytes, what is not printable as `\x..`.
        first: String,
    },
    /// The connection was closed before any answer.
    #[error("{address} closed the connection without an answer to TLS")]
    Closed {
        /// Who.
        address: SocketAddr,
    },
    /// No answer in time.
    #[error("{address} {what} within {} s", timeout.as_secs())]
    Timeout {
        /// Who.
        address: SocketAddr,
        /// What did not happen.
        what: &'static str,
        /// The limit.
        timeout: Duration,
    },
    /// It speaks TLS and sent no certificate: nothing in common, or it wants another name.
    #[error("{address} ended the TLS handshake before its certificate")]
    Handshake {
        /// Who.
        address: SocketAddr,
        /// In the library's words.
        #[source]
        source: rustls::Error,
    },
    /// TLS could not be set up; a broken build.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
}

/// Asks the server for its chain. Addresses of a name are tried in turn until one takes the connection.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch(server: &Server) -> Result<Fetched, FetchError> {
    let name = server.server_name.as_ref().unwrap_or(&server.host);
    let name = ServerName::try_from(name.clone())
        .map_err(|_| FetchError::Name(name.chars().take(255).collect()))?;
    let resolve = |source| FetchError::Resolve {
        host: server.host.clone(),
        source,
    };
    let looking = tokio::net::lookup_host((server.host.as_str(), server.port));
    let addresses: Vec<SocketAddr> = match tokio::time::timeout(server.timeout, looking).await {
        Ok(found) => found.map_err(|e| resolve(Some(e)))?.collect(),
        Err(_) => return Err(resolve(Some(io::ErrorKind::TimedOut.into()))),
    };
    let mut last = resolve(None);
    for address in addresses {
        let connected = tokio::time::timeout(server.timeout, TcpStream::connect(address)).await;
        match connected {
            Ok(Ok(stream)) => return handshake(server, name, address, stream).await,
            Ok(Err(source)) => last = FetchError::Connect { address, source },
            Err(_) => {
                last = FetchError::Timeout {
                    address,
                    what: "did not take the connection",
                    timeout: server.timeout,
                };
            }
        }
    }
    Err(last)
}

async fn handshake(
    server: &Server,
    name: ServerName<'static>,
    address: SocketAddr,
    stream: TcpStream,
) -> Result<Fetched, FetchError> {
    let provider = crate::https::provider();
    let recorder = Arc::new(Recorder::default());
    let verifier = dangerous_verifier(Arc::clone(&recorder), &provider);
    let asked = Arc::new(Asked(Mutex::new(false)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(FetchError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(asked.clone());
    config.resumption = Resumption::disabled();
    config.alpn_protocols = server.alpn.iter().map(|p| p.clone().into_bytes()).collect();
    let mut stream = FirstBytes {
        stream,
        first: Vec::new(),
    };
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, &mut stream);
    let done = tokio::time::timeout(server.timeout, connecting).await;
    let mut fetched = Fetched {
        chain: Vec::new(),
        address,
        version: None,
        cipher_suite: None,
        alpn: None,
        proved: None,
        wants_client_certificate: false,
    };
    // The certificate is what counts: a server that ends the handshake after it has answered all the same.
    let failure = match done {
        Ok(Ok(tls)) => {
            let (_, session) = tls.get_ref();
            fetched.version = session
                .protocol_version()
                .and_then(|version| version.as_str())
                .map(|version| version.replace("v1_", "v1."));
            let suite = session.negotiated_cipher_suite();
            fetched.cipher_suite = suite.map(|suite| format!("{:?}", suite.suite()));
            let alpn = session.alpn_protocol();
            fetched.alpn = alpn.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            None
        }
        Ok(Err(error)) => Some(Some(error)),
        Err(_) => Some(None),
    };
    let seen = std::mem::take(&mut *recorder.seen());
    if seen.chain.is_empty() {
        return Err(match failure {
            Some(Some(error)) => why(address, &stream.first, error),
            _ => FetchError::Timeout {
                address,
                what: "did not answer to TLS",
                timeout: server.timeout,
            },
        });
    }
    fetched.chain = seen.chain;
    fetched.proved = seen.proved;
    fetched.wants_client_certificate = *asked.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(fetched)
}

/// The reason by what came first: TLS records begin with 20 to 23 (RFC 8446 §5.1).
fn why(address: SocketAddr, first: &[u8], error: io::Error) -> FetchError {
    match first.first() {
        None => FetchError::Closed { address },
        Some(20..=23) => match error.downcast::<rustls::Error>() {
            Ok(source) => FetchError::Handshake { address, source },
            Err(_) => FetchError::Closed { address },
        },
        Some(_) => FetchError::NotTls {
            address,
            first: first.escape_ascii().to_string(),
        },
    }
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<Vec<u8>>,
    proved: Option<bool>,
}

/// Takes every certificate and writes it down; notes whether the server signed the handshake with its key.
#[derive(Debug, Default)]
struct Recorder(Mutex<Seen>);

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DangerousJudge for Recorder {
    fn certificates(&self, chain: &[&[u8]]) -> Result<(), rustls::Error> {
        self.seen().chain = chain.iter().map(|der| der.to_vec()).collect();
        Ok(())
    }

    /// A wrong signature is told from one that cannot be checked: a certificate of version 1, a key rustls does not know.
    fn signature(&self, checked: Result<(), rustls::Error>) -> Result<(), rustls::Error> {
        self.seen().proved = match checked {
            Ok(()) => Some(true),
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature)) => {
                Some(false)
            }
            Err(_) => None,
        };
        Ok(())
    }
}

/// Has no client certificate, and remembers that one was asked for.
#[derive(Debug)]
struct Asked(Mutex<bool>);

impl rustls::client::ResolvesClientCert for Asked {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Keeps the first bytes that arrive, to tell another protocol from broken TLS.
struct FirstBytes {
    stream: TcpStream,
    first: Vec<u8>,
}

/// Enough to show a greeting's first word.
const FIRST_BYTES: usize = 24;

impl AsyncRead for FirstBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let ready = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let room = FIRST_BYTES - self.first.len();
        let fresh = &buffer.filled()[before..];
        let fresh = fresh[..fresh.len().min(room)].to_vec();
        self.first.extend(fresh);
        ready
    }
}

impl AsyncWrite for FirstBytes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
