//! MQTT over TLS with what lies under sec tags or in files, as the keys `mqtt.client.*` say, or over plain TCP when that is asked for.
//!
//! ```text
//!   sec tag 42   type 0 root CA ───────────► whom we trust: the authorities of all tags together
//!                type 1 certificate ───────► what we present; its CN is the user name and the first topic level
//!                type 2 private key ──sign─► stays in the modem, each handshake borrows one signature
//! ```
//!
//! The tags are read at each [`MqttLink::open`], so what was written since is used at the next connection. There is no
//! fallback: with [`Security::Tls`] it is TLS or no link, and what is not under the tags is missing.
//!
//! - **Authorities**: the union over the tags, in their order (primary, secondary).
//! - **Client certificate**: the first tag that holds one, as the modem chooses \[inferred\]. A tag with only a root CA means that the
//!   server is authenticated and we are not. One half of a pair is an error that names the other half.
//! - **Peer verification**: chain, validity, name and purpose by rustls' webpki. Weaker kinds have long names.
//!
//! A failed session is explained by [`crate::failures`]: [`LinkError::explain`] before the link is open,
//! [`MqttLink::explain`] after.

mod error;
pub(crate) mod papers;
mod probe;
mod suites;
pub(crate) mod tls;
mod witness;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use sectag_gateway::Level;
use sectag_modem::TagSigner;
use sectag_mqtt::client::Will;
use sectag_mqtt::{
    Client, ClientError, ConnectOptions, Incoming, Qos, Traffic, Transport, Version,
};
use sectag_proto::{SecTag, Secret};
use tokio::sync::mpsc;

pub use error::LinkError;
pub(crate) use error::{located, tag_list};
pub use papers::Place;
pub use suites::{CipherSuite, UnknownCipherSuite};
pub use tls::SessionStore;

pub use crate::signer::NoTags;

use crate::failures::{self, Explanation, Facts};
use crate::gateway_client::GatewayClient;

/// What protects the connection.
#[derive(Debug, Clone)]
pub enum Security {
    /// Nothing: plain TCP.
    Plain,
    /// TLS 1.2 or 1.3, or no connection.
    Tls(TlsOptions),
    /// What the keys `mqtt.client.*` say, whose files are read at each [`MqttLink::open`]; user name and password are theirs as well.
    Gateway(GatewayClient),
}

impl Security {
    /// TLS with these tags and the defaults.
    pub fn tags(tags: impl Into<Vec<SecTag>>) -> Self {
        Self::Tls(TlsOptions::new(tags))
    }

    /// Is it TLS?
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Tls(_) => true,
            Self::Gateway(gateway) => gateway.level() != Level::None,
        }
    }

    /// 8883 with TLS, else 1883; by the keys, `mqtt.client.port`.
    pub fn default_port(&self) -> u16 {
        match self {
            Self::Plain => 1883,
            Self::Tls(_) => LinkOptions::PORT_DEFAULT,
            Self::Gateway(gateway) => gateway.settings().client.port.value.get(),
        }
    }
}

/// The TLS options of a modem socket.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Security tag list: primary, secondary.
    pub tags: Vec<SecTag>,
    /// Default: required.
    pub peer_verify: PeerVerify,
    /// Credentials of files, beside those of tags or without tags. Default none.
    pub files: Option<FileCredentials>,
    /// Sent as SNI and checked against the server's certificate; a DNS name or an IP address. Default: the host.
    pub server_name: Option<String>,
    /// Cipher suites that may be used; empty: all.
    pub cipher_suites: Vec<CipherSuite>,
    /// Continue earlier TLS sessions when the server allows; default off, as in the SDK. [`Traffic::resumed`] says whether it happened.
    pub session_cache: bool,
    /// Where those sessions are kept while the process lives; clones share it. Sessions made with other credentials are never continued.
    pub sessions: SessionStore,
}

impl TlsOptions {
    /// These tags, peer verification required, all cipher suites, no session cache.
    pub fn new(tags: impl Into<Vec<SecTag>>) -> Self {
        Self {
            tags: tags.into(),
            files: None,
            peer_verify: PeerVerify::Required,
            server_name: None,
            cipher_suites: Vec::new(),
            session_cache: false,
            sessions: SessionStore::default(),
        }
    }
}

/// Credentials that lie in files; read by the caller.
#[derive(Debug, Clone)]
pub struct FileCredentials {
    /// Whom to trust, each with its file.
    pub authorities: Vec<(PathBuf, CertificateDer<'static>)>,
    /// Who we are, with the path of the certificate; `None`: no client authentication.
    pub identity: Option<(PathBuf, Arc<CertifiedKey>)>,
}

/// `TLS_PEER_VERIFY` of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeerVerify {
    /// 2: the server's certificate must be good, or there is no connection.
    #[default]
    Required,
    /// 1: it is checked, and a connection to whoever answers is made all the same, with a warning
    /// ([`MqttLink::warnings`]). Whoever is on the way can read and write along.
    DangerouslyOptional,
    /// 0: it is not looked at. Whoever is on the way can read and write along.
    DangerouslyNone,
}

impl PeerVerify {
    /// The SDK's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Required => 2,
            Self::DangerouslyOptional => 1,
            Self::DangerouslyNone => 0,
        }
    }
}

/// Where the broker is, and how we introduce ourselves.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Host name or address to connect to.
    pub host: String,
    /// Default 8883; see [`Security::default_port`].
    pub port: u16,
    /// Default: the CN of the client certificate, else [`LinkOptions::hardware_id`].
    pub client_id: Option<String>,
    /// What the device calls itself (the IMEI, `nrf-<IMEI>`), for a client id without a certificate. Without either the client id is empty
    /// and the server assigns one.
    pub hardware_id: Option<String>,
    /// Default 3.1.1, as the SDK's library.
    pub version: Version,
    /// Default 60 s; zero switches it off.
    pub keep_alive: Duration,
    /// Start without an earlier session. Default true.
    pub clean: bool,
    /// Default none.
    pub will: Option<Will>,
    /// Default none.
    pub user_name: Option<String>,
    /// Default none. MQTT 3.1.1 takes one only beside a user name.
    pub password: Option<Secret<Vec<u8>>>,
    /// For each stage of connecting and each acknowledgement. Default 30 s.
    pub timeout: Duration,
}

impl LinkOptions {
    /// Port for MQTT over TLS.
    pub const PORT_DEFAULT: u16 = 8883;

    /// The defaults for this host.
    pub fn new(host: &str) -> Self {
        let defaults = ConnectOptions::new("");
        Self {
            host: host.to_string(),
            port: Self::PORT_DEFAULT,
            client_id: None,
            hardware_id: None,
            version: defaults.version,
            keep_alive: defaults.keep_alive,
            clean: defaults.clean,
            will: None,
            user_name: None,
            password: None,
            timeout: defaults.timeout,
        }
    }
}

/// A connected link.
#[derive(Debug)]
pub struct MqttLink {
    client: Client,
    incoming: mpsc::Receiver<Incoming>,
    common_name: Option<String>,
    client_id: String,
    facts: Arc<Facts>,
    warnings: Vec<Explanation>,
}

impl MqttLink {
    /// Reads the tags through `signer`, connects, and waits for CONNACK. With [`Security::Plain`] the signer is not asked.
    ///
    /// # Errors
    /// [`LinkError`]; [`LinkError::explain`] has cause, sentence and fix.
    pub async fn open(
        signer: Arc<dyn TagSigner>,
        security: &Security,
        options: &LinkOptions,
    ) -> Result<Self, LinkError> {
        let ready = match security {
            Security::Gateway(gateway) => Some(gateway.ready()?),
            _ => None,
        };
        let login = ready.as_ref().map(|ready| ready.login(options));
        let options = login.as_ref().unwrap_or(options);
        let tls = match (security, &ready) {
            (Security::Tls(tls), _) => Some(tls),
            (_, Some(ready)) => ready.tls.as_ref(),
            _ => None,
        };
        let tls = match tls {
            Some(tls) => Some(tls::prepare(signer, tls, &options.host, options.port)?),
            None => None,
        };
        let common_name = tls.as_ref().and_then(|tls| tls.common_name.clone());
        let client_id = [&options.client_id, &common_name, &options.hardware_id]
            .into_iter()
            .find_map(Clone::clone)
            .unwrap_or_default();
        let connect = ConnectOptions {
            version: options.version,
            clean: options.clean,
            keep_alive: options.keep_alive,
            will: options.will.clone(),
            user_name: options.user_name.clone(),
            password: options.password.clone(),
            timeout: options.timeout,
            ..ConnectOptions::new(client_id.clone())
        };
        let transport = tls.as_ref().map_or(Transport::Plain, |tls| {
            Transport::tls(tls.server_name.clone(), tls.config.clone())
        });
        let connected = Client::connect(&options.host, options.port, transport, connect).await;
        let mut facts = Facts::gather(options, client_id.clone(), tls.as_ref());
        if let Security::Gateway(gateway) = security {
            facts.note_keys(gateway.clone());
        }
        let (client, incoming) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                if let (
                    None,
                    ClientError::Closed {
                        heard: Some(heard), ..
                    },
                ) = (&tls, &error)
                    && heard.received == 0
                {
                    let asked = probe::answer_to_client_hello(
                        heard.address,
                        &options.host,
                        options.timeout,
                    );
                    facts.note_answer_to_client_hello(asked.await);
                }
                return Err(LinkError::Session {
                    error,
                    facts: Box::new(facts),
                });
            }
        };
        let warnings = failures::warnings(&facts, &client.traffic());
        for warning in &warnings {
            tracing::warn!(cause = %warning.cause, fix = warning.fix, "{}", warning.sentence);
        }
        tracing::info!(
            host = options.host,
            port = options.port,
            level = %facts.level(),
            client_id,
            "MQTT connected"
        );
        Ok(Self {
            client,
            incoming,
            common_name,
            client_id,
            facts: Arc::new(facts),
            warnings,
        })
    }

    /// CN of the client certificate, if one was presented and it can be a topic level.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The client id that CONNECT carried.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// `<CN>/<rest>`, or `<client id>/<rest>` without a client certificate.
    pub fn own_topic(&self, rest: &str) -> String {
        let name = self.common_name.as_deref().unwrap_or(&self.client_id);
        format!("{name}/{rest}")
    }

    /// For calls beside [`MqttLink::next`]; clones share the connection.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// What protects this connection: nothing, a server that proved who it is, or both sides that did.
    pub fn level(&self) -> Level {
        self.facts.level()
    }

    /// What the connection has cost in bytes.
    pub fn traffic(&self) -> Traffic {
        self.client.traffic()
    }

    /// What the user should know although the link is open: an unverified server, a chain that a modem would not take.
    pub fn warnings(&self) -> &[Explanation] {
        &self.warnings
    }

    /// Cause, sentence and fix for an error of this link.
    pub fn explain(&self, error: &ClientError) -> Option<Explanation> {
        failures::explain(error, &self.facts)
    }

    /// Publishes; QoS 1 and 2 wait for the acknowledgement.
    ///
    /// # Errors
    /// [`ClientError`]. With MQTT 3.1.1 a broker cannot say that it refused a message.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Vec<u8>>,
        qos: Qos,
        retain: bool,
    ) -> Result<(), ClientError> {
        self.client.publish(topic, payload, qos, retain).await
    }

    /// Subscribes; the granted QoS.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn subscribe(&self, filter: &str, qos: Qos) -> Result<Qos, ClientError> {
        self.client.subscribe(filter, qos).await
    }

    /// The next message; `None` when the connection is over, [`MqttLink::closed`] says why.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Waits until the connection is over and says why.
    pub async fn closed(&self) -> ClientError {
        self.client.closed().await
    }

    /// Says goodbye, so that the will is not published.
    ///
    /// # Errors
    /// [`ClientError::Closed`] if the connection was lost before.
    pub async fn disconnect(self) -> Result<(), ClientError> {
        self.client.disconnect().await
    }
}
