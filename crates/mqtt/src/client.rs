//! A thin MQTT client over TLS or plain TCP: one task drives the protocol core, calls wait for their acknowledgement.
//!
//! ```text
//!   connect: resolve → TCP → TLS → CONNECT/CONNACK        each stage has its own error
//!   Client ── publish, subscribe, disconnect ──► task ◄──► socket ── counted: Traffic
//!   Receiver<Incoming> ◄── messages ────────────┘
//! ```
//!
//! [`Transport`] says which: nothing falls back from TLS to plain TCP.
//!
//! There is no reconnection here: when the link is lost, [`Client::closed`] says why and the caller decides. In TLS 1.3 a server judges
//! our certificate after our side of the handshake is complete; its refusal then arrives in place of CONNACK and is
//! reported as [`ClientError::CertificateRefused`], as in TLS 1.2.

mod core;
mod dangerous;
mod driver;
mod error;
mod packets;
mod suites;
mod tls;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Qos;
use rustls_pki_types::ServerName;
use sectag_proto::Secret;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::TlsConnector;

pub use dangerous::{DangerousJudge, dangerous_verifier};
pub use error::{ClientError, Ending, HandshakeFailure, Stage};
pub use suites::suite_name;
pub use tls::{TlsConfigError, tls_config};
pub use wire::{Heard, Traffic};

use driver::Driver;
use wire::{Meter, Socket, Wire};

/// Messages that wait for the reader of the receiver; when full, reading from the socket pauses.
pub const INCOMING_MAX: usize = 256;

/// Calls that wait for the task.
const CALLS_MAX: usize = 64;

/// Largest packet taken from a server, in bytes.
pub const PACKET_BYTES_MAX: u32 = 1024 * 1024;

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// MQTT 3.1.1, what the SDK's MQTT library speaks.
    #[default]
    V311,
    /// MQTT 5.
    V5,
}

/// The message the server publishes when this client vanishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Quality of service.
    pub qos: Qos,
    /// Retain it.
    pub retain: bool,
}

/// What carries MQTT.
#[derive(Debug, Clone)]
pub enum Transport {
    /// TCP without TLS: everybody on the way reads and writes along.
    Plain,
    /// TLS, or no connection.
    Tls {
        /// Sent as SNI and checked against the server's certificate; a DNS name or an IP address, and it may differ from the
        /// host that is connected to.
        server_name: String,
        /// Whom to trust and who we are.
        config: Arc<rustls::ClientConfig>,
    },
}

impl Transport {
    /// TLS with a server of this name.
    pub fn tls(server_name: impl Into<String>, config: Arc<rustls::ClientConfig>) -> Self {
        Self::Tls {
            server_name: server_name.into(),
            config,
        }
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// MQTT version; default 3.1.1.
    pub version: Version,
    /// Client identifier; empty lets the server assign one (with `clean` only).
    pub client_id: String,
    /// Start without an earlier session and leave none behind; default true.
    pub clean: bool,
    /// Keep-alive; default 60 s as in the SDK, zero switches it off.
    pub keep_alive: Duration,
    /// Last will; default none.
    pub will: Option<Will>,
    /// User name; the Sectag broker ignores it. Default none.
    pub user_name: Option<String>,
    /// Password; MQTT 3.1.1 takes one only beside a user name. Default none.
    pub password: Option<Secret<Vec<u8>>>,
    /// Time for each stage of connecting and for each acknowledgement, a ping's included; default 30 s.
    pub timeout: Duration,
}

impl ConnectOptions {
    /// The defaults with this client identifier.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            version: Version::default(),
            client_id: client_id.into(),
            clean: true,
            keep_alive: Duration::from_secs(60),
            will: None,
            user_name: None,
            password: None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// QoS of this delivery.
    pub qos: Qos,
    /// It was retained by the server.
    pub retain: bool,
    /// It may have been delivered before.
    pub dup: bool,
}

/// A connected client. Clones share the connection; it ends when the last clone is dropped or any calls `disconnect`.
#[derive(Debug, Clone)]
pub struct Client {
    calls: mpsc::Sender<Call>,
    closed: watch::Receiver<Option<Arc<ClientError>>>,
    timeout: Duration,
    session_present: bool,
    meter: Arc<Meter>,
}

#[derive(Debug)]
enum Call {
    Publish {
        topic: String,
        payload: Vec<u8>,
        qos: Qos,
        retain: bool,
        answer: oneshot::Sender<Result<(), ClientError>>,
    },
    Subscribe {
        filter: String,
        qos: Qos,
        answer: oneshot::Sender<Result<Qos, ClientError>>,
    },
    Unsubscribe {
        filter: String,
        answer: oneshot::Sender<Result<(), ClientError>>,
    },
    Disconnect {
        answer: oneshot::Sender<Result<(), ClientError>>,
    },
}

impl Client {
    /// Connects to `host`:`port` and sends CONNECT. With [`Transport::Tls`] the server's certificate is checked first.
    ///
    /// Take messages from the receiver while waiting for acknowledgements: when [`INCOMING_MAX`] messages wait, nothing
    /// more is read, acknowledgements included. Dropping the receiver discards messages.
    ///
    /// # Errors
    /// [`ClientError`] names the stage that failed: resolve, TCP, TLS, refused certificate, CONNACK.
    pub async fn connect(
        host: &str,
        port: u16,
        transport: Transport,
        options: ConnectOptions,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), ClientError> {
        let late = |stage, address| ClientError::Timeout {
            stage,
            address,
            after: options.timeout,
        };
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls {
                server_name,
                config,
            } => {
                let name = ServerName::try_from(server_name.clone()).map_err(|_| {
                    ClientError::Invalid(format!(
                        "{server_name:?} is neither a DNS name nor an address"
                    ))
                })?;
                Some((server_name, name, config))
            }
        };
        let mut tried = None;
        let tcp = tokio::time::timeout(options.timeout, open_tcp(host, port, &mut tried))
            .await
            .map_err(|_| late(Stage::Tcp, tried))??;
        let (tcp, address) = tcp;
        let _ = tcp.set_nodelay(true);
        let meter = Meter::new(address, tls.is_some());
        let wire = Wire::new(tcp, meter.clone());
        let socket = match tls {
            None => Socket::Plain(wire),
            Some((server_name, name, config)) => {
                let handshake = TlsConnector::from(config).connect(name, wire);
                let stream = tokio::time::timeout(options.timeout, handshake)
                    .await
                    .map_err(|_| late(Stage::Tls, Some(address)))?
                    .map_err(|error| ClientError::from_tls(&error, &server_name, meter.heard()))?;
                meter.handshake_is_over(stream.get_ref().1);
                Socket::Tls(Box::new(stream))
            }
        };
        let (incoming, receiver) = mpsc::channel(INCOMING_MAX);
        let mut driver = Driver::new(socket, meter.clone(), incoming, &options)?;
        let session_present = tokio::time::timeout(options.timeout, driver.greet())
            .await
            .map_err(|_| late(Stage::Connack, Some(address)))??;
        let (calls, call_receiver) = mpsc::channel(CALLS_MAX);
        let (closed_sender, closed) = watch::channel(None);
        tokio::spawn(driver.run(call_receiver, closed_sender));
        let client = Self {
            calls,
            closed,
            timeout: options.timeout,
            session_present,
            meter,
        };
        Ok((client, receiver))
    }

    /// What the connection has cost until this moment; also after its end.
    pub fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    /// The address that TCP reached.
    pub fn peer(&self) -> SocketAddr {
        self.meter.address()
    }

    /// The server resumed an earlier session: subscriptions still stand.
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    /// Publishes; with QoS 1 and 2 returns after the server's acknowledgement, with QoS 0 once it is queued for sending
    /// ([`Client::disconnect`] sends what is queued).
    ///
    /// # Errors
    /// [`ClientError::PublishRefused`] with the reason a MQTT 5 server gave (a 3.1.1 server cannot say no);
    /// [`ClientError::Timeout`], [`ClientError::Closed`], [`ClientError::Invalid`].
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Vec<u8>>,
        qos: Qos,
        retain: bool,
    ) -> Result<(), ClientError> {
        let (topic, payload) = (topic.to_owned(), payload.into());
        self.call(Stage::Publish, |answer| Call::Publish {
            topic,
            payload,
            qos,
            retain,
            answer,
        })
        .await
    }

    /// Subscribes and returns the granted QoS.
    ///
    /// # Errors
    /// [`ClientError::SubscribeRefused`]; [`ClientError::Timeout`], [`ClientError::Closed`], [`ClientError::Invalid`].
    pub async fn subscribe(&self, filter: &str, qos: Qos) -> Result<Qos, ClientError> {
        let filter = filter.to_owned();
        self.call(Stage::Subscribe, |answer| Call::Subscribe {
            filter,
            qos,
            answer,
        })
        .await
    }

    /// Takes a subscription back.
    ///
    /// # Errors
    /// [`ClientError::Timeout`], [`ClientError::Closed`], [`ClientError::Invalid`].
    pub async fn unsubscribe(&self, filter: &str) -> Result<(), ClientError> {
        let filter = filter.to_owned();
        self.call(Stage::Unsubscribe, |answer| Call::Unsubscribe {
            filter,
            answer,
        })
        .await
    }

    /// Says DISCONNECT, so that the will is not published, and closes.
    ///
    /// # Errors
    /// [`ClientError::Closed`] if the connection was lost before.
    pub async fn disconnect(&self) -> Result<(), ClientError> {
        self.call(Stage::Closing, |answer| Call::Disconnect { answer })
            .await
    }

    /// Waits until the connection is over and says why; [`ClientError::Disconnected`] after [`Client::disconnect`].
    pub async fn closed(&self) -> ClientError {
        let mut closed = self.closed.clone();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason
                .as_deref()
                .cloned()
                .unwrap_or(ClientError::Disconnected),
            Err(_) => ClientError::Disconnected,
        }
    }

    async fn call<T>(
        &self,
        stage: Stage,
        make: impl FnOnce(oneshot::Sender<Result<T, ClientError>>) -> Call,
    ) -> Result<T, ClientError> {
        let (answer, receiver) = oneshot::channel();
        let asked = async {
            if self.calls.send(make(answer)).await.is_err() {
                return Err(self.closed().await);
            }
            match receiver.await {
                Ok(result) => result,
                Err(_) => Err(self.closed().await),
            }
        };
        tokio::time::timeout(self.timeout, asked)
            .await
            .unwrap_or(Err(ClientError::Timeout {
                stage,
                address: Some(self.meter.address()),
                after: self.timeout,
            }))
    }
}

/// `tried` holds the address being tried, for whoever loses patience.
async fn open_tcp(
    host: &str,
    port: u16,
    tried: &mut Option<SocketAddr>,
) -> Result<(TcpStream, SocketAddr), ClientError> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| ClientError::Resolve {
            host: host.to_owned(),
            source: Arc::new(error),
        })?
        .collect();
    let mut last = None;
    for address in addresses {
        *tried = Some(address);
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok((tcp, address)),
            Err(error) => last = Some((address, error)),
        }
    }
    Err(match last {
        Some((address, error)) => ClientError::Tcp {
            address,
            source: Arc::new(error),
        },
        None => ClientError::Resolve {
            host: host.to_owned(),
            source: Arc::new(io::Error::other("the name has no address")),
        },
    })
}
