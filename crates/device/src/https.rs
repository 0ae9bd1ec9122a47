//! Carries fetches and reports over HTTPS the way the firmware does: one TCP and TLS connection per request.
//!
//! The radio goes off between fetch and report, so a connection would not survive anyway. The server is always
//! verified: chain, validity and name, against the root CA that lies under the device's tag. There is no switch for that.

mod counted;
pub mod request;
pub mod response;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sectag_proto::device::{Transport, TransportError};
use sectag_proto::query::FetchQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use response::{Response, ResponseError};

use crate::budget::Budget;
use counted::Account;

/// Port of the service's device listener in the vendor's cloud; ours listens on 8443.
pub const PORT_DEFAULT: u16 = 443;
/// HTTP_TIMEOUT_MS: from the first packet to the last byte.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// `User-Agent`: the form of Zephyr's HTTP client; the board says what we are.
pub const USER_AGENT: &str = concat!(
    "Zephyr/4.1 (sectag-",
    env!("CARGO_PKG_VERSION"),
    " virtual)"
);

/// Where the service is, and how to know that it is the one.
#[derive(Debug, Clone)]
pub struct Https {
    host: String,
    port: u16,
    name: ServerName<'static>,
    address: Option<SocketAddr>,
    tls: Arc<ClientConfig>,
    timeout: Duration,
    rx_bytes_max: usize,
    /// Of all exchanges; clones count together.
    spent: Arc<Mutex<Budget>>,
}

/// Why there is no [`Https`] for these values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsError {
    /// Neither a DNS name nor an IP address.
    #[error("`{0}` is neither a host name nor an IP address")]
    Host(String),
    /// See [`RootsError`].
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// Why a PEM text holds no trust anchors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// Damaged PEM.
    #[error("the root CA is not PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// PEM without a certificate.
    #[error("the root CA text holds no certificate")]
    Empty,
    /// A certificate that cannot be a trust anchor.
    #[error("certificate {index} of the root CA text cannot be a trust anchor")]
    Anchor {
        /// From 1.
        index: usize,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The TLS library refuses its own defaults; a broken build.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
}

/// Why an exchange brought no answer: the kind decides, the rest is for people.
#[derive(Debug, thiserror::Error)]
#[error("{what} {host}:{port}: {kind}")]
pub struct ExchangeError {
    /// What the session is told.
    pub kind: TransportError,
    what: &'static str,
    host: String,
    port: u16,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ExchangeError {
    #[cfg(feature = "coap")]
    pub(crate) fn new(
        kind: TransportError,
        what: &'static str,
        host: &str,
        port: u16,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            what,
            host: host.to_owned(),
            port,
            source,
        }
    }
}

impl Https {
    /// `host` is resolved, sent as SNI and `Host`, and must be in the server's certificate.
    ///
    /// # Errors
    /// [`HttpsError`].
    pub fn new(host: &str, port: u16, root_ca_pem: &str) -> Result<Self, HttpsError> {
        let name = ServerName::try_from(host.to_string())
            .map_err(|_| HttpsError::Host(host.chars().take(255).collect()))?;
        Ok(Self {
            host: host.to_string(),
            port,
            name,
            address: None,
            tls: Arc::new(client_config(roots(root_ca_pem)?)?),
            timeout: TIMEOUT_DEFAULT,
            rx_bytes_max: 1024,
            spent: Arc::new(Mutex::new(Budget::of(Transport::Https))),
        })
    }

    /// Trusts these root CAs from the next request on; nobody when there are none or they cannot be read, as a modem
    /// does with what lies under its tag.
    ///
    /// # Errors
    /// [`RootsError`]: why nobody is trusted.
    pub fn trust(&mut self, root_ca_pem: Option<&str>) -> Result<(), RootsError> {
        let roots = root_ca_pem.map_or(Err(RootsError::Empty), roots);
        let (roots, outcome) = match roots {
            Ok(roots) => (roots, Ok(())),
            Err(error) => (RootCertStore::empty(), Err(error)),
        };
        self.tls = Arc::new(client_config(roots)?);
        outcome
    }

    /// Connects there without resolving the host name; the name is still verified.
    #[must_use]
    pub const fn at(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Limit for one exchange; default [`TIMEOUT_DEFAULT`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Bytes of one answer with status line and headers (`rxMaxSize`); default 1024.
    #[must_use]
    pub const fn rx_bytes_max(mut self, bytes: usize) -> Self {
        self.rx_bytes_max = bytes;
        self
    }

    pub(crate) const fn limit(&mut self, rx_bytes_max: usize) {
        self.rx_bytes_max = rx_bytes_max;
    }

    /// What all exchanges so far have cost; clones count together.
    pub fn spent(&self) -> Budget {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `host:port`, for people.
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// # Errors
    /// [`ExchangeError`] when there was no complete answer. A status of refusal is an answer.
    pub async fn fetch(&self, jwt: &str, query: &FetchQuery) -> Result<Response, ExchangeError> {
        let request = request::fetch(&self.host_header(), USER_AGENT, jwt, query);
        self.exchange("fetching commands from", &request, jwt.len(), 0)
            .await
    }

    /// # Errors
    /// [`ExchangeError`] when there was no complete answer. The report may have arrived all the same.
    pub async fn report(&self, jwt: &str, body: &[u8]) -> Result<Response, ExchangeError> {
        let request = request::report(&self.host_header(), USER_AGENT, jwt, body);
        self.exchange("reporting results to", &request, jwt.len(), body.len())
            .await
    }

    /// Without the port, as the firmware writes it, unless the port is not 443.
    fn host_header(&self) -> String {
        let host = match &self.name {
            ServerName::IpAddress(rustls_pki_types::IpAddr::V6(_)) => format!("[{}]", self.host),
            _ => self.host.clone(),
        };
        if self.port == PORT_DEFAULT {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    async fn exchange(
        &self,
        what: &'static str,
        request: &[u8],
        token_bytes: usize,
        cbor_bytes: usize,
    ) -> Result<Response, ExchangeError> {
        let mut account = Account::new(Arc::clone(&self.spent), token_bytes, cbor_bytes);
        let outcome =
            tokio::time::timeout(self.timeout, self.try_exchange(request, &mut account)).await;
        let Failure { kind, source } = match outcome {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(failure)) => failure,
            Err(elapsed) => Failure::new(TransportError::Timeout, elapsed),
        };
        Err(ExchangeError {
            kind,
            what,
            host: self.host.clone(),
            port: self.port,
            source,
        })
    }

    async fn try_exchange(
        &self,
        request: &[u8],
        account: &mut Account,
    ) -> Result<Response, Failure> {
        let tcp = account.counted(self.connect().await?);
        let mut tls = TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.name.clone(), tcp)
            .await
            .map_err(|error| Failure::new(TransportError::Tls, error))?;
        tracing::info!(host = self.host, port = self.port, "Connected");
        account.connected();
        tls.write_all(request).await.map_err(Failure::closed)?;
        tls.flush().await.map_err(Failure::closed)?;
        account.asked(request.len());

        let mut received = Vec::with_capacity(self.rx_bytes_max.min(64 * 1024));
        let mut chunk = [0; 2048];
        loop {
            let count = tls.read(&mut chunk).await.map_err(Failure::closed)?;
            received.extend_from_slice(&chunk[..count]);
            account.heard(received.len());
            if received.len() > self.rx_bytes_max {
                return Err(Failure {
                    kind: TransportError::TooLarge,
                    source: None,
                });
            }
            let ended = count == 0;
            match Response::parse(&received, ended) {
                Ok(Some(response)) => {
                    account.answered(response.body.len());
                    return Ok(response);
                }
                Ok(None) if ended => {
                    return Err(Failure {
                        kind: TransportError::Closed,
                        source: None,
                    });
                }
                Ok(None) => {}
                Err(error) => return Err(Failure::new(TransportError::Garbage, error)),
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let addresses: Vec<SocketAddr> = match self.address {
            Some(address) => vec![address],
            None => tokio::net::lookup_host((self.host.as_str(), self.port))
                .await
                .map_err(|error| Failure::new(TransportError::Name, error))?
                .collect(),
        };
        let mut failure = Failure {
            kind: TransportError::Name,
            source: None,
        };
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // One small request per connection: Nagle would only delay its last segment.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = Failure::new(TransportError::Refused, error),
            }
        }
        Err(failure)
    }
}

struct Failure {
    kind: TransportError,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    fn new(
        kind: TransportError,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    fn closed(error: io::Error) -> Self {
        // TLS 1.3 may refuse only after the handshake seemed complete to us.
        let kind = match error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>())
        {
            Some(_) => TransportError::Tls,
            None => TransportError::Closed,
        };
        Self::new(kind, error)
    }
}

/// Every certificate of a PEM text as a trust anchor.
///
/// # Errors
/// [`RootsError`].
pub fn roots(pem: &str) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        roots
            .add(certificate.map_err(RootsError::Pem)?)
            .map_err(|source| RootsError::Anchor {
                index: index + 1,
                source,
            })?;
    }
    if roots.is_empty() {
        return Err(RootsError::Empty);
    }
    Ok(roots)
}

/// TLS 1.2 and 1.3, server verified, no client certificate, every handshake a full one as on the device.
fn client_config(roots: RootCertStore) -> Result<ClientConfig, RootsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(RootsError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
