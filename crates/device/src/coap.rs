//! Carries fetches and reports over CoAP and DTLS 1.2 with Connection ID (spec/device-protocol §6).
//!
//! ```text
//!   agent ── Fetch, Report ──► proto::device::coap::CoapLink ── Connect, Request, Rebind, Close ──► session
//!                              (every rule of §6.3)                                                  │
//!                                                   UDP socket ◄── sectag_dtls::Client ◄── sectag_coap::Client
//! ```
//!
//! Nothing about provisioning is decided here. The server is always verified: chain, validity and name, against the root
//! CA that lies under the device's tag. There is no switch for that.
//!
//! In our own conduct the DTLS session outlives the program ([`Coap::kept_in`]): at an orderly end it is written down, and
//! taken up again by the next run, which then needs no handshake. The file is deleted before its content is used, so that
//! no session goes on twice: two records under one key and number would break AES-GCM. Whoever ends without a goodbye
//! handshakes anew.

mod kept;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sectag_coap::BlockSize;
use sectag_dtls::{ClientFailure, Resumption};
use sectag_proto::device::coap::{CoapLink, CoapRequest, LinkConduct, LinkInput, LinkOutput};
use sectag_proto::device::{Config, Input, Transport, TransportError};
use sectag_proto::query::FetchQuery;
use sectag_proto::secret::SecretText;
use tokio::net::lookup_host;

use crate::budget::Budget;
use crate::https::{self, ExchangeError, RootsError};
use crate::way::{Clock, Handshake, Outcome, usize_of};
use session::Session;

/// Port of CoAP over DTLS (RFC 7252 §12.8), COAP_PORT.
pub const PORT_DEFAULT: u16 = 5684;
/// COAP_TIMEOUT_SECONDS: one exchange, and one handshake.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Largest block in either direction: a token or a batch of ordinary size is one round trip, and a record of it fits the
/// smallest path of IPv6. The firmware's is 256 (COAP_CLIENT_BLOCK_SIZE).
pub const BLOCK_BYTES_DEFAULT: u16 = 1024;

/// Where the service is, how to know that it is the one, and the session with it.
pub struct Coap {
    host: String,
    port: u16,
    address: Option<SocketAddr>,
    roots_pem: Option<String>,
    timeout: Duration,
    session_cache: bool,
    block: BlockSize,
    rx_bytes_max: usize,
    kept_in: Option<PathBuf>,
    /// The file was looked at.
    taken_up: bool,
    conduct: LinkConduct,
    link: CoapLink,
    session: Option<Session>,
    resumption: Option<Resumption>,
    /// What sessions that are over have cost.
    past: Budget,
}

/// Why there is no [`Coap`] for these values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoapError {
    /// Neither a DNS name nor an IP address.
    #[error("`{0}` is neither a host name nor an IP address")]
    Host(String),
    /// See [`RootsError`].
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// Why there was no session, or no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The name was not resolved.
    #[error("the host name was not resolved")]
    Name(#[source] std::io::Error),
    /// The name has no address.
    #[error("the host name has no address")]
    NoAddress,
    /// ICMP port unreachable.
    #[error("nothing listens on that UDP port: the host sent `port unreachable`")]
    Refused,
    /// The socket's own failure: no route, no network.
    #[error("the datagram did not leave")]
    Socket(#[source] std::io::Error),
    /// Nothing is trusted: no root CA under the tag, or one that cannot be read.
    #[error("no root CA is trusted, so no server can be verified")]
    NoRoots,
    /// The handshake, or the session afterwards.
    #[error("no DTLS session")]
    Dtls(#[source] ClientFailure),
    /// The handshake did not end in time.
    #[error("no answer to the DTLS handshake within {} s; is the UDP port open on the way?", .0.as_secs())]
    HandshakeTimeout(Duration),
    /// DTLS could not be set up with these values.
    #[error("DTLS could not be set up")]
    Setup(#[source] sectag_dtls::ConfigError),
    /// The server ended the session.
    #[error("the server ended the DTLS session")]
    Closed,
    /// The record was not taken.
    #[error("the record was not sent")]
    Record(#[source] sectag_dtls::SendError),
    /// The exchange.
    #[error("`{request}`")]
    Exchange {
        /// `POST p/rsp`
        request: String,
        /// Why.
        #[source]
        why: sectag_coap::Failure,
    },
}

impl Failure {
    /// What the session is told.
    pub const fn kind(&self) -> TransportError {
        match self {
            Self::Name(_) | Self::NoAddress => TransportError::Name,
            Self::Refused | Self::Socket(_) => TransportError::Refused,
            Self::NoRoots | Self::Setup(_) => TransportError::Tls,
            Self::Dtls(ClientFailure::Timeout) | Self::HandshakeTimeout(_) => {
                TransportError::Timeout
            }
            Self::Dtls(_) => TransportError::Tls,
            Self::Closed | Self::Record(_) => TransportError::Closed,
            Self::Exchange { why, .. } => match why {
                sectag_coap::Failure::Timeout => TransportError::Timeout,
                sectag_coap::Failure::Reset => TransportError::Closed,
                sectag_coap::Failure::TooLarge => TransportError::TooLarge,
                sectag_coap::Failure::Garbage => TransportError::Garbage,
            },
        }
    }
}

impl Coap {
    /// `host` is resolved, sent as SNI, and must be in the server's certificate.
    ///
    /// # Errors
    /// [`CoapError`].
    pub fn new(host: &str, port: u16, root_ca_pem: &str) -> Result<Self, CoapError> {
        if rustls_pki_types::ServerName::try_from(host).is_err() {
            return Err(CoapError::Host(host.chars().take(255).collect()));
        }
        https::roots(root_ca_pem)?;
        let config = Config::default();
        let conduct = LinkConduct::of(&config);
        Ok(Self {
            host: host.to_owned(),
            port,
            address: None,
            roots_pem: Some(root_ca_pem.to_owned()),
            timeout: TIMEOUT_DEFAULT,
            session_cache: true,
            block: block(BLOCK_BYTES_DEFAULT),
            rx_bytes_max: usize_of(config.rx_bytes_max),
            kept_in: None,
            taken_up: false,
            conduct,
            link: CoapLink::new(conduct, &config),
            session: None,
            resumption: None,
            past: Budget::of(Transport::Coap),
        })
    }

    /// Connects there without resolving the host name; the name is still verified.
    #[must_use]
    pub const fn at(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Limit for one exchange, and for one handshake; default [`TIMEOUT_DEFAULT`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// COAP_DTLS_SESSION_CACHE: resume by a short handshake where a full one is not needed. Default true.
    #[must_use]
    pub const fn session_cache(mut self, on: bool) -> Self {
        self.session_cache = on;
        self
    }

    /// Largest block, 16 to 1024 bytes, rounded down to a power of two; default [`BLOCK_BYTES_DEFAULT`].
    #[must_use]
    pub fn block_bytes(mut self, bytes: u16) -> Self {
        self.block = block(bytes);
        self
    }

    /// In our own conduct: where the session is kept from one program to the next. The file holds keys, is readable by its
    /// owner only, and gone while the session is used. The default is nowhere.
    #[must_use]
    pub fn kept_in(mut self, file: PathBuf) -> Self {
        self.kept_in = Some(file);
        self
    }

    /// `host:port`, for people.
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn agree(&mut self, config: &Config) {
        self.rx_bytes_max = usize_of(config.rx_bytes_max);
        self.conduct = LinkConduct::of(config);
        self.link = CoapLink::new(self.conduct, config);
        self.retire();
    }

    /// See [`Https::trust`](crate::Https::trust). What was agreed with a server under other roots is forgotten.
    ///
    /// # Errors
    /// [`RootsError`]: why nobody is trusted.
    pub fn trust(&mut self, root_ca_pem: Option<&str>) -> Result<(), RootsError> {
        let roots = root_ca_pem.map_or(Err(RootsError::Empty), |pem| {
            https::roots(pem).map(|_| pem.to_owned())
        });
        let (roots, outcome) = match roots {
            Ok(pem) => (Some(pem), Ok(())),
            Err(error) => (None, Err(error)),
        };
        if roots != self.roots_pem {
            self.roots_pem = roots;
            if self.retire() {
                self.link.handle(LinkInput::Lost, sectag_proto::Uptime(0));
            }
            // After the session, which leaves one behind: a short handshake shows no certificate.
            self.resumption = None;
        }
        outcome
    }

    pub(crate) async fn fetch(
        &mut self,
        jwt: SecretText,
        query: FetchQuery,
        clock: Clock,
    ) -> Outcome {
        let ask = LinkInput::Fetch { jwt, query };
        self.carry("fetching commands from", ask, clock).await
    }

    pub(crate) async fn report(&mut self, jwt: SecretText, body: Vec<u8>, clock: Clock) -> Outcome {
        let ask = LinkInput::Report { jwt, body };
        self.carry("reporting results to", ask, clock).await
    }

    pub(crate) async fn stopped(&mut self, clock: Clock) {
        self.tell(LinkInput::Stopped, clock).await;
    }

    pub(crate) fn moved(&mut self, clock: Clock) {
        // Acted upon before the next request: until then nobody sends.
        self.link.handle(LinkInput::Moved, clock.now());
    }

    pub(crate) async fn finish(&mut self, clock: Clock) {
        self.stopped(clock).await;
        self.look(clock).await;
        self.keep(clock);
    }

    pub(crate) fn spent(&self) -> Budget {
        match &self.session {
            Some(session) => self.past.plus(session.spent()),
            None => self.past,
        }
    }

    async fn carry(&mut self, what: &'static str, ask: LinkInput, clock: Clock) -> Outcome {
        self.take_up(clock);
        self.look(clock).await;
        let mut outcome = self.tell(ask, clock).await;
        if let Some(Input::Failed(kind)) = outcome.outcome.inputs.last() {
            let why = outcome.why.take();
            let source = why.map(|why| Box::new(why) as Box<dyn std::error::Error + Send + Sync>);
            outcome.outcome.error = Some(ExchangeError::new(
                *kind, what, &self.host, self.port, source,
            ));
        }
        outcome.outcome
    }

    /// Does what the link wants until it wants nothing more.
    async fn tell(&mut self, input: LinkInput, clock: Clock) -> Told {
        let mut told = Told::default();
        self.link.handle(input, clock.now());
        loop {
            let input = match self.link.poll() {
                LinkOutput::Wait => return told,
                LinkOutput::Answer(input) => {
                    told.outcome.inputs.push(input);
                    continue;
                }
                LinkOutput::Close => {
                    self.close().await;
                    continue;
                }
                LinkOutput::Rebind => {
                    if let Some(session) = &mut self.session
                        && let Err(error) = session.rebind().await
                    {
                        tracing::debug!(%error, "no socket on the new address");
                    }
                    continue;
                }
                LinkOutput::Connect => match self.connect(clock).await {
                    Ok(handshake) => {
                        told.outcome.handshakes.push(handshake);
                        LinkInput::Connected { cid: handshake.cid }
                    }
                    Err(why) => {
                        let kind = why.kind();
                        told.why = Some(why);
                        LinkInput::NotConnected(kind)
                    }
                },
                LinkOutput::Request(request) => match self.exchange(&request).await {
                    Ok(answer) => LinkInput::Answered {
                        code: answer.code.0,
                        max_age_s: answer.max_age,
                        payload: answer.payload,
                    },
                    Err(why) => {
                        tracing::debug!(error = &why as &dyn std::error::Error, "no answer");
                        let kind = why.kind();
                        told.why = Some(why);
                        LinkInput::NotAnswered(kind)
                    }
                },
            };
            self.link.handle(input, clock.now());
        }
    }

    /// What the peer has said since the last exchange: perhaps goodbye.
    async fn look(&mut self, clock: Clock) {
        if let Some(session) = &mut self.session
            && session.look().await.is_err()
        {
            self.retire();
            self.link.handle(LinkInput::Lost, clock.now());
        }
    }

    async fn connect(&mut self, clock: Clock) -> Result<Handshake, Failure> {
        self.retire();
        let roots = self.roots_pem.clone().ok_or(Failure::NoRoots)?;
        let mut config = sectag_dtls::ClientConfig::new(roots, self.host.clone());
        config.session_cache = self.session_cache;
        let addresses: Vec<SocketAddr> = match (self.address, self.host.parse::<IpAddr>()) {
            (Some(address), _) => vec![address],
            (None, Ok(ip)) => vec![SocketAddr::new(ip, self.port)],
            (None, Err(_)) => lookup_host((self.host.as_str(), self.port))
                .await
                .map_err(Failure::Name)?
                .collect(),
        };
        config.resume = self.resumption.take().filter(|_| self.session_cache);
        let mut last = Failure::NoAddress;
        for address in addresses {
            match self.connect_to(address, &mut config, clock).await {
                Ok(handshake) => return Ok(handshake),
                Err(why) => last = why,
            }
        }
        // A server that was not reached has not refused it either.
        if !matches!(last.kind(), TransportError::Tls) {
            self.remember(config.resume);
        }
        Err(last)
    }

    async fn connect_to(
        &mut self,
        address: SocketAddr,
        config: &mut sectag_dtls::ClientConfig,
        clock: Clock,
    ) -> Result<Handshake, Failure> {
        let mut session = Session::start(address, config, self.coap_config(), clock).await?;
        let outcome = tokio::time::timeout(self.timeout, session.handshake()).await;
        let outcome = outcome.unwrap_or(Err(Failure::HandshakeTimeout(self.timeout)));
        match outcome {
            Ok(handshake) => {
                tracing::info!(
                    host = self.host,
                    port = self.port,
                    cid = handshake.cid,
                    resumed = handshake.resumed,
                    suite = handshake.suite,
                    "Connected"
                );
                self.session = Some(session);
                Ok(handshake)
            }
            Err(why) => {
                self.past = self.past.plus(session.spent());
                Err(why)
            }
        }
    }

    async fn exchange(
        &mut self,
        request: &CoapRequest,
    ) -> Result<sectag_coap::ClientResponse, Failure> {
        let session = self.session.as_mut().ok_or(Failure::Closed)?;
        let outcome = session.exchange(request).await;
        if outcome.as_ref().is_err_and(Failure::ends_the_session) {
            self.retire();
        }
        outcome
    }

    async fn close(&mut self) {
        if let Some(session) = &mut self.session {
            session.close().await;
        }
        self.retire();
    }

    /// The session is over; how to resume it is remembered. Whether there was one.
    fn retire(&mut self) -> bool {
        let Some(session) = self.session.take() else {
            return false;
        };
        self.past = self.past.plus(session.spent());
        if self.session_cache {
            self.remember(session.resumption());
        }
        true
    }

    /// How to resume. A session taken up from an earlier life does not know; then what was kept beside it still holds.
    fn remember(&mut self, newer: Option<Resumption>) {
        if newer.is_some() {
            self.resumption = newer;
        }
    }

    fn coap_config(&self) -> sectag_coap::ClientConfig {
        sectag_coap::ClientConfig {
            block_size: self.block,
            exchange_timeout: self.timeout,
            body_bytes_max: self.rx_bytes_max,
            token_bytes: self.conduct.token_bytes(),
            ..sectag_coap::ClientConfig::default()
        }
    }
}

#[derive(Default)]
struct Told {
    outcome: Outcome,
    why: Option<Failure>,
}

impl Failure {
    const fn ends_the_session(&self) -> bool {
        matches!(self, Self::Closed | Self::Dtls(_) | Self::Record(_))
    }
}

impl std::fmt::Debug for Coap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coap")
            .field("peer", &self.peer())
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

fn block(bytes: u16) -> BlockSize {
    match bytes {
        ..32 => BlockSize::B16,
        32..64 => BlockSize::B32,
        64..128 => BlockSize::B64,
        128..256 => BlockSize::B128,
        256..512 => BlockSize::B256,
        512..1024 => BlockSize::B512,
        1024.. => BlockSize::B1024,
    }
}
