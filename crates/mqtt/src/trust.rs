//! Whom the broker trusts and how it proves itself: one immutable value, swapped as a whole.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};

use sectag_pki::{RevocationList, sha256};

use crate::gate::{Gate, Gated};

/// Largest TLS record toward a client in bytes, header included. The nRF91 modem takes no more than 2048.
pub const TLS_RECORD_BYTES_MAX: usize = 2048;

/// Bytes encryption adds to a record that rustls does not count in `max_fragment_size`: explicit nonce and tag of TLS 1.2
/// AES-GCM (RFC 5288 §3); TLS 1.3 adds less.
const TLS_RECORD_OVERHEAD_BYTES: usize = 8 + 16;

/// What [`Trust::new`] needs.
#[derive(Debug)]
pub struct TrustMaterial {
    /// The server's certificate first, then its issuers up to (not including) what clients anchor.
    pub server_chain: Vec<CertificateDer<'static>>,
    /// The server certificate's private key.
    pub server_key: PrivateKeyDer<'static>,
    /// Authorities whose client certificates are accepted; an issuing CA may stand here without its root.
    pub client_roots: Vec<CertificateDer<'static>>,
    /// Revocation lists of those authorities. Only end entities are checked; an authority without a list is not.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

impl TrustMaterial {
    /// Reads PEM texts: the server's chain, its private key, the authorities of clients (all certificates in the text). `crls` are DER.
    ///
    /// # Errors
    /// [`TrustError::Pem`] says which text is unusable.
    pub fn from_pem(
        server_chain: &str,
        server_key: &str,
        client_roots: &str,
        crls: &[Vec<u8>],
    ) -> Result<Self, TrustError> {
        let pem = |what| move |source| TrustError::Pem { what, source };
        let certificates = |text: &str, what| -> Result<Vec<_>, TrustError> {
            CertificateDer::pem_slice_iter(text.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(pem(what))
        };
        Ok(Self {
            server_chain: certificates(server_chain, "server certificate chain")?,
            server_key: PrivateKeyDer::from_pem_slice(server_key.as_bytes())
                .map_err(pem("server key"))?,
            client_roots: certificates(client_roots, "client authorities")?,
            crls: crls.iter().map(|crl| crl.clone().into()).collect(),
        })
    }
}

/// Server certificate, accepted authorities and revocation lists, checked once and ready for handshakes.
#[derive(Debug)]
pub struct Trust {
    pub(crate) config: Arc<ServerConfig>,
    /// `None`: clients are not asked for a certificate.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(crate) gate: Option<Arc<dyn Gate>>,
    /// Digest of the authorities for clients; zero without.
    pub(crate) anchors: [u8; 32],
    /// What the lists revoke, as (issuer, serial number); `None` when one of them is of a kind that only the verifier reads.
    revoked: Option<HashSet<(String, String)>>,
}

/// What of a verified client certificate decides whether a change of lists concerns it.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) not_after_s: u64,
}

/// Why a [`TrustMaterial`] is unusable.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A text is not PEM of the right kind.
    #[error("the {what} is not usable PEM")]
    Pem {
        /// Which text.
        what: &'static str,
        /// The reason.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// No authority for clients: nobody could ever connect.
    #[error("no certificate authority for MQTT clients is given")]
    NoClientRoots,
    /// A client authority is not a certificate that can anchor a chain.
    #[error("client authority number {number} is unusable")]
    ClientRoot {
        /// Position in [`TrustMaterial::client_roots`], from 1.
        number: usize,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
    /// A revocation list is malformed or of an unknown kind.
    #[error("a certificate revocation list is unusable: {reason}")]
    RevocationList {
        /// The reason.
        reason: String,
    },
    /// Server chain and key do not fit or are malformed.
    #[error("the broker's certificate and key are unusable")]
    ServerCertificate(#[source] rustls::Error),
    /// The TLS provider offers no version; a build problem.
    #[error("TLS 1.2 and 1.3 are not available")]
    Versions(#[source] rustls::Error),
}

impl Trust {
    /// Checks the material and prepares TLS 1.2 and 1.3 with a required client certificate.
    ///
    /// # Errors
    /// [`TrustError`] says which piece is unusable.
    pub fn new(material: TrustMaterial) -> Result<Self, TrustError> {
        Self::mutual(material, None)
    }

    /// As [`Trust::new`], with a gate that has the last word, and pins certificates whoever signed them.
    ///
    /// # Errors
    /// As [`Trust::new`].
    pub fn gated(material: TrustMaterial, gate: Arc<dyn Gate>) -> Result<Self, TrustError> {
        Self::mutual(material, Some(gate))
    }

    fn mutual(material: TrustMaterial, gate: Option<Arc<dyn Gate>>) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        if material.client_roots.is_empty() {
            return Err(TrustError::NoClientRoots);
        }
        let anchors: Vec<[u8; 32]> = material.client_roots.iter().map(|r| sha256(r)).collect();
        let revoked = revoked(&material.crls);
        let mut roots = RootCertStore::empty();
        for (index, root) in material.client_roots.into_iter().enumerate() {
            roots.add(root).map_err(|source| TrustError::ClientRoot {
                number: index + 1,
                source,
            })?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .with_crls(material.crls)
                .only_check_end_entity_revocation()
                .allow_unknown_revocation_status()
                .build()
                .map_err(|error| TrustError::RevocationList {
                    reason: error.to_string(),
                })?;
        let verifier: Arc<dyn ClientCertVerifier> = match &gate {
            None => verifier,
            Some(gate) => Arc::new(Gated {
                chains: verifier,
                gate: gate.clone(),
            }),
        };
        let mut trust = Self::with(
            Some(verifier),
            gate,
            material.server_chain,
            material.server_key,
            provider,
        )?;
        trust.anchors = sha256(anchors.as_flattened());
        trust.revoked = revoked;
        Ok(trust)
    }

    /// Prepares TLS 1.2 and 1.3 that proves the server and asks clients for no certificate.
    ///
    /// # Errors
    /// [`TrustError`] when chain and key do not fit.
    pub fn server_only(
        server_chain: Vec<CertificateDer<'static>>,
        server_key: PrivateKeyDer<'static>,
    ) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self::with(None, None, server_chain, server_key, provider)
    }

    /// Are clients asked for a certificate, and refused without?
    pub fn is_mutual(&self) -> bool {
        self.verifier.is_some()
    }

    fn with(
        verifier: Option<Arc<dyn ClientCertVerifier>>,
        gate: Option<Arc<dyn Gate>>,
        server_chain: Vec<CertificateDer<'static>>,
        server_key: PrivateKeyDer<'static>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TrustError> {
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TrustError::Versions)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(server_chain, server_key)
            .map_err(TrustError::ServerCertificate)?;
        config.max_fragment_size = Some(TLS_RECORD_BYTES_MAX - TLS_RECORD_OVERHEAD_BYTES);
        Ok(Self {
            config: Arc::new(config),
            verifier,
            gate,
            anchors: [0; 32],
            revoked: None,
        })
    }

    /// As [`Trust::accepts`] for a live client whose chain held under the same authorities: what can have changed is asked without
    /// its signatures, which cost a thousand times as much. `None`: that cannot be told, look at the whole chain.
    pub(crate) fn still_accepts(
        &self,
        anchors: &[u8; 32],
        leaf: &Leaf,
        now: UnixTime,
    ) -> Option<bool> {
        let revoked = self.revoked.as_ref().filter(|_| self.anchors == *anchors)?;
        let is_revoked = revoked.contains(&(leaf.issuer.clone(), leaf.serial.clone()));
        Some(!is_revoked && now.as_secs() <= leaf.not_after_s)
    }

    /// Would a client with this chain be accepted at this moment? Used for sessions that outlive a change of trust and
    /// for resumed TLS sessions.
    pub(crate) fn accepts(
        &self,
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let Some(verifier) = &self.verifier else {
            return Ok(());
        };
        let (leaf, issuers) = chain
            .split_first()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        verifier.verify_client_cert(leaf, issuers, now).map(|_| ())
    }
}

/// All that these lists revoke.
fn revoked(lists: &[CertificateRevocationListDer<'static>]) -> Option<HashSet<(String, String)>> {
    let mut all = HashSet::new();
    for list in lists {
        let RevocationList {
            issuer, revoked, ..
        } = RevocationList::from_der(list).ok()?;
        all.extend(
            revoked
                .into_iter()
                .map(|(serial, _)| (issuer.clone(), serial)),
        );
    }
    Some(all)
}
