//! From options and sec tags to a TLS configuration, and the sessions that may be continued with it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::ServerName;
use sectag_modem::TagSigner;

use super::papers::Papers;
use super::witness::{ClientWitness, Notes, Seen, ServerWitness};
use super::{CipherSuite, LinkError, PeerVerify, TlsOptions};
use crate::https::provider;

/// Sessions remembered for one set of credentials at a time.
const SESSIONS_MAX: usize = 8;

/// A TLS client that is ready, and what is known about it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: String,
    pub(crate) common_name: Option<String>,
    pub(crate) papers: Papers,
    pub(crate) options: TlsOptions,
    pub(crate) notes: Notes,
}

/// Reads the tags, checks what lies there, and sets TLS up.
pub(crate) fn prepare(
    signer: Arc<dyn TagSigner>,
    options: &TlsOptions,
    host: &str,
    port: u16,
) -> Result<Prepared, LinkError> {
    let server_name = options.server_name.as_deref().unwrap_or(host).to_owned();
    if ServerName::try_from(server_name.as_str()).is_err() {
        return Err(LinkError::ServerName(server_name));
    }
    let required = options.peer_verify == PeerVerify::Required;
    if required && options.tags.is_empty() && options.files.is_none() {
        return Err(LinkError::NoTags);
    }
    let papers = Papers::read(&signer, &options.tags, options.files.as_ref())?;
    if required && papers.anchors.is_empty() {
        return Err(LinkError::NoRootCa {
            tags: options.tags.clone(),
            target: target(host, port),
        });
    }
    let remembered = options.session_cache.then(|| fingerprint(options, &papers));
    let (config, notes) = match remembered
        .as_deref()
        .and_then(|key| options.sessions.get(key))
    {
        Some((config, notes)) => {
            let mut seen = notes.lock();
            // A continued session is as good as the one it continues.
            *seen = Seen {
                presented: seen.presented,
                ..Seen::default()
            };
            drop(seen);
            (config, notes)
        }
        None => {
            let notes = Notes::default();
            let config = Arc::new(config(options, &papers, &notes)?);
            if let Some(key) = remembered {
                options.sessions.put(key, config.clone(), notes.clone());
            }
            (config, notes)
        }
    };
    Ok(Prepared {
        config,
        server_name,
        common_name: papers
            .pair
            .as_ref()
            .and_then(|pair| pair.common_name.clone()),
        papers,
        options: options.clone(),
        notes,
    })
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn target(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn config(options: &TlsOptions, papers: &Papers, notes: &Notes) -> Result<ClientConfig, LinkError> {
    let mut provider = rustls::crypto::CryptoProvider::clone(&provider());
    if !options.cipher_suites.is_empty() {
        let suites = options.cipher_suites.iter().copied();
        provider.cipher_suites = suites.map(CipherSuite::supported).collect();
    }
    let provider = Arc::new(provider);
    let webpki = match papers.anchors.is_empty() {
        true => None,
        false => {
            let roots = Arc::new(papers.roots()?);
            let built =
                WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            Some(built.map_err(|error| LinkError::Tls(rustls::Error::General(error.to_string())))?)
        }
    };
    let verifier = ServerWitness {
        webpki,
        algorithms: provider.signature_verification_algorithms,
        verify: options.peer_verify,
        notes: notes.clone(),
    };
    let resolver = ClientWitness {
        identity: papers.pair.as_ref().map(|pair| pair.key.clone()),
        notes: notes.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(LinkError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(resolver));
    config.resumption = match options.session_cache {
        true => Resumption::in_memory_sessions(SESSIONS_MAX),
        false => Resumption::disabled(),
    };
    Ok(config)
}

/// Equal for equal credentials and settings.
fn fingerprint(options: &TlsOptions, papers: &Papers) -> Vec<String> {
    let suites = options.cipher_suites.iter().map(ToString::to_string);
    let verify = std::iter::once(options.peer_verify.number().to_string());
    papers
        .fingerprint()
        .into_iter()
        .chain(suites)
        .chain(verify)
        .collect()
}

/// TLS sessions that may be continued, in memory. Clones share them. They belong to the credentials they were made with: others
/// under the tags, or other settings, begin anew.
#[derive(Clone, Default)]
pub struct SessionStore(Arc<Mutex<Option<Remembered>>>);

struct Remembered {
    key: Vec<String>,
    config: Arc<ClientConfig>,
    notes: Notes,
}

impl SessionStore {
    /// Forgets all sessions.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn get(&self, key: &[String]) -> Option<(Arc<ClientConfig>, Notes)> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered
            .as_ref()
            .filter(|remembered| remembered.key == key)
            .map(|remembered| (remembered.config.clone(), remembered.notes.clone()))
    }

    fn put(&self, key: Vec<String>, config: Arc<ClientConfig>, notes: Notes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Remembered { key, config, notes });
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionStore")
    }
}
