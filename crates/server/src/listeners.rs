//! MQTT listeners whose certificates are files: read at the start, watched, and taken anew when they change.
//!
//! ```text
//!   certificate, key, CA, CRL ──► Trust ──► Broker ──► new handshakes, and every live session is judged again
//!        ▲                          │
//!        └── looked at each [`WATCH_INTERVAL`]; what cannot be used (a renewal half done) is said once, the earlier stays
//! ```
//!
//! A file that vanishes takes nothing back: above all, a lost CRL does not let revoked clients in again while the broker
//! runs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sectag_keep::{self as keep, KeepError};
use sectag_mqtt::{
    Broker, BrokerConfig, BrokerError, BrokerLimits, Level, Listener, Security, Trust, TrustError,
    TrustMaterial,
};
use sectag_pki::topics::Rules;
use tokio::task::JoinHandle;

/// How often the files are looked at. Trust that was removed has to end live sessions within two seconds; four files of a few
/// kilobytes cost nothing at this pace.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Most entries of a directory of CAs: a system's store has a few hundred.
const CA_ENTRIES_MAX: usize = 4096;

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
    /// Revocation lists, PEM or DER.
    pub revocations: Option<PathBuf>,
    /// A missing revocation list is an error, not an empty one.
    pub revocations_required: bool,
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

impl LiveBroker {
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
                        last: Ok(found.digest),
                    };
                    listener.keep_revocations(&found);
                    watched.push(listener);
                    let trust = found.trust(&asked.name)?;
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
            watch: tokio::spawn(watch(watched, Arc::downgrade(&broker))),
            broker,
        })
    }

    /// The broker.
    pub const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// What is bound, in the order of the listeners.
    pub fn open(&self) -> &[Open] {
        &self.open
    }

    /// Ends the watch, then the broker, with goodbyes.
    pub async fn shutdown(mut self) {
        self.watch.abort();
        let _ = (&mut self.watch).await;
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
struct Watched {
    /// Its position in the broker.
    at: usize,
    name: String,
    files: TlsFiles,
    /// What was found when it was looked at last: the content, or what was wrong.
    last: Result<Digest, String>,
}

async fn watch(mut watched: Vec<Watched>, broker: Weak<Broker>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        let Some(broker) = broker.upgrade() else {
            return;
        };
        // Files and signatures, so not on a thread that carries connections.
        let looked = tokio::task::spawn_blocking(move || {
            for listener in &mut watched {
                listener.look(&broker);
            }
            watched
        });
        match looked.await {
            Ok(same) => watched = same,
            Err(error) => {
                tracing::error!(%error, "certificates of MQTT listeners are watched no more");
                return;
            }
        }
    }
}

impl Watched {
    fn look(&mut self, broker: &Broker) {
        let found = self.files.read(&self.name);
        let seen = match &found {
            Ok(found) => Ok(found.digest),
            Err(error) => Err(chain_of(error)),
        };
        if seen == self.last {
            return;
        }
        self.last = seen;
        if let Ok(found) = &found {
            self.keep_revocations(found);
        }
        match found.and_then(|found| found.trust(&self.name)) {
            Ok(trust) => {
                broker.set_trust(self.at, Arc::new(trust));
                tracing::info!(
                    listener = self.name,
                    "MQTT listener took its certificates anew"
                );
            }
            Err(error) => {
                let reason = chain_of(&error);
                tracing::warn!(
                    listener = self.name,
                    reason,
                    "MQTT listener keeps its earlier certificates"
                );
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

/// The content of all files, not judged yet.
struct Found {
    server_chain: Vec<CertificateDer<'static>>,
    server_key: PrivateKeyDer<'static>,
    clients: Option<(
        Vec<CertificateDer<'static>>,
        Vec<CertificateRevocationListDer<'static>>,
    )>,
    digest: Digest,
}

impl Found {
    fn trust(self, listener: &str) -> Result<Trust, ListenerError> {
        let made = match self.clients {
            None => Trust::server_only(self.server_chain, self.server_key),
            Some((client_roots, crls)) => Trust::new(TrustMaterial {
                server_chain: self.server_chain,
                server_key: self.server_key,
                client_roots,
                crls,
            }),
        };
        made.map_err(|source| ListenerError::Trust {
            listener: listener.to_owned(),
            source,
        })
    }
}

impl TlsFiles {
    fn read(&self, listener: &str) -> Result<Found, ListenerError> {
        let mut seen = Vec::new();
        let mut read = Reader {
            listener,
            seen: &mut seen,
        };
        let (path, what) = (&self.certificate, "server certificate");
        let chain = read.some(path, what)?;
        let server_chain = certificates(&chain).map_err(|e| read.holds(path, what, e))?;
        let (path, what) = (&self.key, "server key");
        let key = read.some(path, what)?;
        let server_key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|e| read.holds(path, what, format!("holds no usable private key: {e}")))?;
        let clients = match &self.clients {
            None => None,
            Some(files) => Some((read.authorities(files)?, read.revocations(files)?)),
        };
        Ok(Found {
            server_chain,
            server_key,
            clients,
            digest: sectag_pki::sha256(&seen),
        })
    }
}

/// Reads files and notes a digest of each.
struct Reader<'a> {
    listener: &'a str,
    seen: &'a mut Vec<u8>,
}

impl Reader<'_> {
    fn some(
        &mut self,
        path: &Path,
        what: &'static str,
    ) -> Result<impl std::ops::Deref<Target = Vec<u8>> + use<>, ListenerError> {
        match self.any(path, what)? {
            Some(content) => Ok(content),
            None => Err(self.holds(path, what, "does not exist".to_owned())),
        }
    }

    fn any(
        &mut self,
        path: &Path,
        what: &'static str,
    ) -> Result<Option<impl std::ops::Deref<Target = Vec<u8>> + use<>>, ListenerError> {
        let content = keep::content(path).map_err(|source| self.unread(what, source))?;
        let digest = content.as_ref().map(|bytes| sectag_pki::sha256(bytes));
        self.seen.extend(digest.unwrap_or_default());
        Ok(content)
    }

    fn authorities(
        &mut self,
        files: &ClientFiles,
    ) -> Result<Vec<CertificateDer<'static>>, ListenerError> {
        let (path, what) = (&files.authorities, "CA for clients");
        if keep::is_dir(path) != Some(true) {
            let content = self.some(path, what)?;
            return certificates(&content).map_err(|e| self.holds(path, what, e));
        }
        let names =
            keep::names(path, CA_ENTRIES_MAX).map_err(|source| self.unread(what, source))?;
        let mut all = BTreeSet::new();
        for name in names
            .iter()
            .filter(|name| is_ca_name(&name.to_string_lossy()))
        {
            // A directory may hold other things too, and links to what is gone.
            let Ok(Some(content)) = self.any(&path.join(name), what) else {
                continue;
            };
            let found = certificates(&content).unwrap_or_default();
            all.extend(found.iter().map(|certificate| certificate.to_vec()));
        }
        let usable = |certificate: &CertificateDer<'static>| {
            RootCertStore::empty().add(certificate.clone()).is_ok()
        };
        let all: Vec<_> = all.into_iter().map(Into::into).filter(usable).collect();
        match all.is_empty() {
            true => Err(self.holds(path, what, "holds no CA certificate".to_owned())),
            false => Ok(all),
        }
    }

    fn revocations(
        &mut self,
        files: &ClientFiles,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, ListenerError> {
        let what = "revocation list";
        let Some(path) = &files.revocations else {
            return Ok(Vec::new());
        };
        let Some(content) = self.any(path, what)? else {
            return match files.revocations_required {
                true => Err(self.holds(path, what, "does not exist".to_owned())),
                false => Ok(Vec::new()),
            };
        };
        if !content.windows(11).any(|bytes| bytes == b"-----BEGIN ") {
            return Ok(vec![content.to_vec().into()]);
        }
        let lists = CertificateRevocationListDer::pem_slice_iter(&content)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| self.holds(path, what, format!("is not usable PEM: {e}")))?;
        match lists.is_empty() {
            true => Err(self.holds(path, what, "holds no revocation list".to_owned())),
            false => Ok(lists),
        }
    }

    fn unread(&self, what: &'static str, source: KeepError) -> ListenerError {
        ListenerError::Read {
            listener: self.listener.to_owned(),
            what,
            source,
        }
    }

    fn holds(&self, path: &Path, what: &'static str, reason: String) -> ListenerError {
        ListenerError::Content {
            listener: self.listener.to_owned(),
            what,
            path: path.to_owned(),
            reason,
        }
    }
}

/// All certificates of a PEM text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("is not usable PEM: {e}"))?;
    match found.is_empty() {
        true => Err("holds no certificate".to_owned()),
        false => Ok(found),
    }
}

/// `x.pem`, `x.crt`, `x.cer`, or a hash link of OpenSSL such as `4bfab552.0`.
fn is_ca_name(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, "pem" | "crt" | "cer")) => true,
        Some((hash, number)) => {
            hash.len() == 8
                && hash.bytes().all(|b| b.is_ascii_hexdigit())
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        None => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_directory_is_read_by_name() {
        for name in ["a.pem", "a.b.crt", "x.cer", "4bfab552.0", "4bfab552.12"] {
            assert!(is_ca_name(name), "{name}");
        }
        for name in [
            "a",
            "a.key",
            "4bfab55.0",
            "4bfab552.",
            "4bfab552.r0",
            "README.txt",
        ] {
            assert!(!is_ca_name(name), "{name}");
        }
    }
}
