//! MQTT listeners whose certificates are files: read at the start, watched, and taken anew when they change.
//!
//! ```text
//!   certificate, key, CA, CRL ──► Trust ──► Broker ──► new handshakes, and every live session is judged again
//!        ▲                          │
//!        └── looked at each [`WATCH_INTERVAL`]; what cannot be used (a renewal half done) is said once, the earlier stays
//! ```
//!
//! A file that vanishes takes nothing back: above all, a lost CRL does not let revoked clients in again while the broker
//! runs. Only in a directory of CAs is a file that goes a CA that is trusted no more.

mod files;

use files::Found;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sectag_keep::KeepError;
use sectag_mqtt::{
    Broker, BrokerConfig, BrokerError, BrokerLimits, Gate, Level, Listener, Security, Trust,
    TrustError,
};
use sectag_pki::topics::Rules;
use tokio::task::JoinHandle;

/// How often the files are looked at. Trust that was removed has to end live sessions within two seconds; four files of a few
/// kilobytes cost nothing at this pace.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// One MQTT listener.
#[derive(Debug, Clone)]
pub struct MqttListener {
    /// What it is called in messages: `internal`, `external`, `service`.
    pub name: String,
    /// Where it listens; port 0 takes any free one.
    pub addresses: Vec<SocketAddr>,
    /// `None`: plaintext.
    pub tls: Option<TlsFiles>,
    /// Topic rules; `None`: by level, `<CN>/#` for certificates, everything but `$` topics for others.
    pub rules: Option<Arc<Rules>>,
}

/// The files of a TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Server certificate, PEM, leaf first.
    pub certificate: PathBuf,
    /// Its private key, PEM, not encrypted.
    pub key: PathBuf,
    /// Who signs clients; `None`: clients are asked for no certificate.
    pub clients: Option<ClientFiles>,
}

/// Whose client certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// CA certificates: a PEM file, or a directory of them (`.pem`, `.crt`, `.cer`, and OpenSSL's hash links).
    pub authorities: PathBuf,
    /// Revocation lists, PEM.
    pub revocations: Option<PathBuf>,
    /// A missing revocation list is an error, not an empty one.
    pub revocations_required: bool,
    /// A directory with further CAs (`*.crt`) and their revocation lists (`*.crl`) that come and go while the broker runs.
    /// It may be missing.
    pub teams: Option<PathBuf>,
}

/// Why MQTT listeners did not start, or did not take their files anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// A file cannot be read.
    #[error("the {listener} MQTT listener cannot read its {what}")]
    Read {
        /// [`MqttListener::name`].
        listener: String,
        /// Which file it is.
        what: &'static str,
        /// The path, and why.
        source: KeepError,
    },
    /// A file holds something else.
    #[error("`{}`, the {what} of the {listener} MQTT listener, {reason}", path.display())]
    Content {
        /// [`MqttListener::name`].
        listener: String,
        /// Which file it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Files that are each well-formed and do not fit together.
    #[error("the {listener} MQTT listener cannot use its certificates")]
    Trust {
        /// [`MqttListener::name`].
        listener: String,
        /// Which, and why.
        source: TrustError,
    },
    /// An address.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl ListenerError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } => source.hint(),
            Self::Broker(error) => Some(error.hint()),
            _ => None,
        }
    }
}

/// An address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// [`MqttListener::name`].
    pub name: String,
    /// With the port that was taken.
    pub address: SocketAddr,
    /// How it is secured.
    pub level: Level,
}

/// A broker with a watch over its files. Dropped, both end without ceremony.
#[derive(Debug)]
pub struct LiveBroker {
    broker: Arc<Broker>,
    open: Vec<Open>,
    watch: JoinHandle<()>,
}

/// A broker that holds its addresses and takes nobody in: whoever connects waits until [`ClosedBroker::open_to`].
#[derive(Debug)]
pub struct ClosedBroker {
    broker: Arc<Broker>,
    open: Vec<Open>,
    watched: Vec<Watched>,
}

impl ClosedBroker {
    /// Reads all files, binds all addresses, or does nothing. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ListenerError`].
    pub async fn start(
        listeners: Vec<MqttListener>,
        limits: BrokerLimits,
    ) -> Result<Self, ListenerError> {
        let mut config = BrokerConfig::new([]);
        config.limits = limits;
        config.closed = true;
        let mut watched = Vec::new();
        for (at, asked) in listeners.iter().enumerate() {
            let security = match &asked.tls {
                None => Security::Plain,
                Some(files) => {
                    let found = files.read(&asked.name)?;
                    let mut listener = Watched {
                        at,
                        name: asked.name.clone(),
                        files: files.clone(),
                        gate: None,
                        last: Ok(found.digest),
                    };
                    listener.keep_revocations(&found);
                    watched.push(listener);
                    let trust = found.trust(&asked.name, None)?;
                    Security::Tls(Arc::new(trust))
                }
            };
            let by_level = || match &security {
                Security::Tls(trust) if trust.is_mutual() => Arc::new(Rules::default()),
                _ => Arc::new(Rules::open()),
            };
            let rules = asked.rules.clone().unwrap_or_else(by_level);
            config.listeners.push(Listener {
                addresses: asked.addresses.clone(),
                security,
                rules,
            });
        }
        let levels: Vec<Level> = config.listeners.iter().map(Listener::level).collect();
        let broker = Arc::new(Broker::start(config).await?);
        let open = broker.local_addrs().iter().map(|bound| Open {
            name: listeners[bound.listener].name.clone(),
            address: bound.address,
            level: levels[bound.listener],
        });
        Ok(Self {
            open: open.collect(),
            broker,
            watched,
        })
    }

    /// The broker.
    pub const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Takes clients in. With a gate, the first listener asks it about every certificate; the others go by chains and lists.
    ///
    /// # Errors
    /// [`ListenerError`] when the files of the first listener cannot be used any more.
    pub fn open_to(mut self, gate: Option<Arc<dyn Gate>>) -> Result<LiveBroker, ListenerError> {
        if let Some(first) = self.watched.iter_mut().find(|listener| listener.at == 0)
            && let Some(gate) = gate
        {
            first.gate = Some(gate);
            let found = first.files.read(&first.name)?;
            first.last = Ok(found.digest);
            first.keep_revocations(&found);
            let trust = found.trust(&first.name, first.gate.as_ref())?;
            self.broker.set_trust(first.at, Arc::new(trust));
        }
        self.broker.open();
        Ok(LiveBroker {
            open: self.open,
            watch: tokio::spawn(watch(self.watched, Arc::downgrade(&self.broker))),
            broker: self.broker,
        })
    }
}

impl LiveBroker {
    /// Reads all files, binds all addresses, or does nothing. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ListenerError`].
    pub async fn start(
        listeners: Vec<MqttListener>,
        limits: BrokerLimits,
    ) -> Result<Self, ListenerError> {
        ClosedBroker::start(listeners, limits).await?.open_to(None)
    }

    /// The broker.
    pub const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// What is bound, in the order of the listeners.
    pub fn open(&self) -> &[Open] {
        &self.open
    }

    /// Completes with a name when a part of it has ended by an error of its own; never otherwise.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            () = self.broker.failed() => "the MQTT broker",
            // It ends with the broker only.
            _ = &mut self.watch => "the watch over certificates of MQTT listeners",
        }
    }

    /// Ends the watch, then the broker, with goodbyes.
    pub async fn shutdown(mut self) {
        self.watch.abort();
        if !self.watch.is_finished() {
            let _ = (&mut self.watch).await;
        }
        let broker = self.broker.clone();
        drop(self);
        if let Some(broker) = Arc::into_inner(broker) {
            broker.shutdown().await;
        }
    }
}

impl Drop for LiveBroker {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

type Digest = [u8; 32];

/// One TLS listener under watch.
#[derive(Debug)]
struct Watched {
    /// Its position in the broker.
    at: usize,
    name: String,
    files: TlsFiles,
    gate: Option<Arc<dyn Gate>>,
    /// What was found when it was looked at last: the content, or what was wrong.
    last: Result<Digest, String>,
}

async fn watch(mut watched: Vec<Watched>, broker: Weak<Broker>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        // Files and signatures, so not on a thread that carries connections.
        let looked = tokio::task::spawn_blocking(move || {
            let look = |listener: &mut Watched| Some((listener.at, listener.look()?));
            let changed: Vec<(usize, Trust)> = watched.iter_mut().filter_map(look).collect();
            (watched, changed)
        });
        let changed;
        (watched, changed) = match looked.await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "certificates of MQTT listeners are watched no more");
                return;
            }
        };
        // Not held while waiting: whoever shuts the broker down must be its last owner.
        let Some(broker) = broker.upgrade() else {
            return;
        };
        for (at, trust) in changed {
            broker.set_trust(at, Arc::new(trust));
        }
    }
}

impl Watched {
    /// What to trust from here on, if that has changed and can be used.
    fn look(&mut self) -> Option<Trust> {
        let found = self.files.read(&self.name);
        let seen = match &found {
            Ok(found) => Ok(found.digest),
            Err(error) => Err(chain_of(error)),
        };
        if seen == self.last {
            return None;
        }
        self.last = seen;
        if let Ok(found) = &found {
            self.keep_revocations(found);
        }
        let listener = self.name.as_str();
        match found.and_then(|found| found.trust(listener, self.gate.as_ref())) {
            Ok(trust) => {
                tracing::info!(listener, "MQTT listener takes its certificates anew");
                Some(trust)
            }
            Err(error) => {
                let reason = chain_of(&error);
                tracing::warn!(
                    listener,
                    reason,
                    "MQTT listener keeps its earlier certificates"
                );
                None
            }
        }
    }
}

impl Watched {
    /// A revocation list that was there once must not be missing later.
    fn keep_revocations(&mut self, found: &Found) {
        if let (Some(files), Some((_, crls))) = (&mut self.files.clients, &found.clients) {
            files.revocations_required |= !crls.is_empty();
        }
    }
}

fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
