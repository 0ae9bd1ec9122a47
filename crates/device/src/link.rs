//! MQTT over mutual TLS with exactly one sec tag: its root CA, its client certificate, and signatures by its key.
//!
//! ```text
//!   sec tag 42   type 0 root CA ───────────► whom we trust
//!                type 1 certificate ───────► what we present; its CN is the user name and the first topic level
//!                type 2 private key ──sign─► stays in the modem, each handshake borrows one signature
//! ```
//!
//! There is no fallback: what is not under the tag is missing, and the error says which type.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use sectag_modem::{SignerError, TagSigner};
use sectag_mqtt::{Client, ClientError, ConnectOptions, Incoming, Qos, Version, Will};
use sectag_pki::PkiError;
use sectag_proto::{CredentialType, SecTag};
use tokio::sync::mpsc;

use crate::https::{RootsError, provider, roots};
use crate::signer::TagIdentity;

/// What one sec tag gives to a TLS client, read and checked once.
#[derive(Debug, Clone)]
pub struct TagCredentials {
    tag: SecTag,
    common_name: String,
    tls: Arc<ClientConfig>,
}

/// Where the broker is, and how we introduce ourselves.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Host name or address to connect to.
    pub host: String,
    /// Default 8883.
    pub port: u16,
    /// Name that must be in the broker's certificate; default `host`.
    pub server_name: Option<String>,
    /// Default: the CN of the certificate.
    pub client_id: Option<String>,
    /// Default 3.1.1, as the SDK's library.
    pub version: Version,
    /// Default 60 s; zero switches it off.
    pub keep_alive: Duration,
    /// Start without an earlier session. Default true.
    pub clean: bool,
    /// Default none.
    pub will: Option<Will>,
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
            server_name: None,
            client_id: None,
            version: defaults.version,
            keep_alive: defaults.keep_alive,
            clean: defaults.clean,
            will: None,
            timeout: defaults.timeout,
        }
    }
}

/// A connected link.
#[derive(Debug)]
pub struct MqttLink {
    client: Client,
    incoming: mpsc::Receiver<Incoming>,
    common_name: String,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A credential is missing, or the key cannot sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The root CA under the tag is unusable.
    #[error("the root CA (type 0) under sec tag {tag} is unusable")]
    Roots {
        /// The tag.
        tag: SecTag,
        /// Why.
        #[source]
        source: RootsError,
    },
    /// The client certificate under the tag is unusable.
    #[error("the client certificate (type 1) under sec tag {tag} is unusable")]
    Certificate {
        /// The tag.
        tag: SecTag,
        /// Why.
        #[source]
        source: PkiError,
    },
    /// Certificate and key belong to different devices, or the key was generated again.
    #[error(
        "the client certificate (type 1) under sec tag {tag} is not for the private key (type 2) there"
    )]
    KeyMismatch {
        /// The tag.
        tag: SecTag,
    },
    /// The TLS library refuses its own defaults; a broken build.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    /// Connecting failed; it names the stage.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl LinkError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Signer(SignerError::Missing { tag, credential }) => Some(match *credential {
                CredentialType::ROOT_CA => {
                    format!(
                        "write the broker's root CA to sec tag {tag}, or provision the device first"
                    )
                }
                _ => format!("provision the device for sec tag {tag} first: key, CSR, certificate"),
            }),
            Self::KeyMismatch { tag } => Some(format!(
                "generate the key and have its certificate issued again for sec tag {tag}"
            )),
            Self::Client(error) => error.hint().map(str::to_string),
            _ => None,
        }
    }
}

impl TagCredentials {
    /// Reads root CA and certificate from `tag` and checks that the certificate is for the key there.
    ///
    /// # Errors
    /// [`LinkError`], everything but [`LinkError::Client`].
    pub fn read(signer: Arc<dyn TagSigner>, tag: SecTag) -> Result<Self, LinkError> {
        let unusable = |source| LinkError::Certificate { tag, source };
        let roots =
            roots(&signer.root_ca(tag)?).map_err(|source| LinkError::Roots { tag, source })?;
        let chain =
            sectag_pki::pem::certificates(&signer.certificate_chain(tag)?).map_err(unusable)?;
        let leaf = chain
            .first()
            .ok_or(LinkError::Signer(SignerError::Missing {
                tag,
                credential: CredentialType::CLIENT_CERTIFICATE,
            }))?;
        let common_name = sectag_pki::identity(leaf).map_err(unusable)?.cn;
        let facts = sectag_pki::show(leaf).map_err(unusable)?;
        if facts.spki_sha256 != signer.public_key(tag)?.kid().to_string() {
            return Err(LinkError::KeyMismatch { tag });
        }
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(LinkError::Tls)?
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(TagIdentity::new(chain, signer, tag)));
        Ok(Self {
            tag,
            common_name,
            tls: Arc::new(tls),
        })
    }

    /// The tag.
    pub const fn tag(&self) -> SecTag {
        self.tag
    }

    /// CN of the client certificate: user name and first topic level.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// For other TLS clients that shall use this tag.
    pub fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }
}

impl MqttLink {
    /// Connects with `credentials`.
    ///
    /// # Errors
    /// [`LinkError::Client`] names the stage that failed.
    pub async fn connect(
        credentials: &TagCredentials,
        options: LinkOptions,
    ) -> Result<Self, LinkError> {
        let server_name = options.server_name.as_deref().unwrap_or(&options.host);
        let client_id = options.client_id.as_deref();
        let connect = ConnectOptions {
            version: options.version,
            clean: options.clean,
            keep_alive: options.keep_alive,
            will: options.will.clone(),
            timeout: options.timeout,
            ..ConnectOptions::new(client_id.unwrap_or(&credentials.common_name))
        };
        let (client, incoming) = Client::connect(
            &options.host,
            options.port,
            server_name,
            credentials.tls(),
            connect,
        )
        .await?;
        tracing::info!(
            host = options.host,
            port = options.port,
            tag = credentials.tag.get(),
            identity = credentials.common_name,
            "MQTT connected"
        );
        Ok(Self {
            client,
            incoming,
            common_name: credentials.common_name.clone(),
        })
    }

    /// `<CN>/<rest>`: a topic this identity may use.
    pub fn own_topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.common_name)
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
