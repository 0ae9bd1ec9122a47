//! Who is let in beside what certificates say: a question to whoever knows more, asked of each certificate.
//!
//! ```text
//!   handshake ─► chain, dates, CRLs (webpki) ─┬─ holds ──────────────┐
//!                                             └─ fails ─► pinned? ───┴─► Gate::admit ─► session with its Admission
//!                                                                            ▲
//!                        Broker::judge_again: every live session, or some ───┘
//! ```
//!
//! A [`Gate`] belongs to a [`Trust`](crate::Trust) ([`Trust::gated`](crate::Trust::gated)); a listener whose trust has none
//! goes by chains and lists alone. It is asked inside the handshake and under load, so its answers come from memory.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use sectag_pki::{Certificate, PkiError, sha256};

/// What a gate hears of a client certificate. Its holder proved the private key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// SHA-256 of the whole certificate.
    pub der_sha256: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// The common name.
    pub cn: String,
    /// The issuer's distinguished name in the order of RFC 4514. Anybody's word for a pinned certificate.
    pub issuer: String,
    /// End of validity, Unix seconds.
    pub not_after_s: u64,
}

/// What a gate says of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let in, on these terms.
    Admit(Admission),
    /// Never again: the TLS alert is `certificate_revoked`.
    Revoked,
    /// Not at this moment: the TLS alert is `access_denied`.
    Refuse {
        /// In words, for the log.
        reason: &'static str,
    },
}

/// On which terms a certificate is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Stands with a `/` before every topic of this client: the rules judge what follows. `None`: the rules judge the topic.
    pub prefix: Option<Arc<str>>,
    /// Stands for the issuer in the keys of sessions and in topic rules. Needed where nobody vouches for the issuer's name,
    /// which is so for pinned certificates. `None`: the issuer's own name.
    pub realm: Option<Arc<str>>,
    /// An operator's certificate makes an operator; if not, it is a device's.
    pub may_operate: bool,
}

impl Default for Admission {
    /// As if there were no gate.
    fn default() -> Self {
        Self {
            prefix: None,
            realm: None,
            may_operate: true,
        }
    }
}

/// Knows which certificates are let in, and learns who came. Answers at once, from memory.
pub trait Gate: Send + Sync + fmt::Debug {
    /// Is the certificate with this SHA-256 pinned: let in whoever signed it? Its dates and its form count all the same.
    fn pins(&self, der_sha256: &[u8; 32]) -> bool;

    /// Asked after chain or pin hold: in each handshake, when CONNECT is accepted, and when live sessions are judged again.
    fn admit(&self, certificate: &ClientCertificate) -> Verdict;

    /// A client with this certificate sent a CONNECT that was accepted.
    fn connected(&self, certificate: &ClientCertificate) {
        let _ = certificate;
    }

    /// Another connection with this certificate took the session, and the client that had it was still there: it answered
    /// the goodbye. Once is a client that is in a hurry; again and again it is two clients with one key.
    fn displaced(&self, certificate: &ClientCertificate) {
        let _ = certificate;
    }
}

impl ClientCertificate {
    /// Reads a certificate (DER).
    ///
    /// # Errors
    /// [`PkiError`] when it has no single CN that can be a topic level.
    pub fn read(der: &[u8]) -> Result<Self, PkiError> {
        let identity = sectag_pki::identity(der)?;
        let certificate = Certificate::from_der(der)?;
        Ok(Self {
            der_sha256: sha256(der),
            spki_sha256: certificate.spki_sha256,
            serial: identity.serial,
            cn: identity.cn,
            issuer: identity.issuer,
            not_after_s: certificate.not_after_s,
        })
    }
}

/// The verifier of a listener with a gate.
#[derive(Debug)]
pub(crate) struct Gated {
    pub(crate) chains: Arc<dyn ClientCertVerifier>,
    pub(crate) gate: Arc<dyn Gate>,
}

impl ClientCertVerifier for Gated {
    /// None: a client that looks for a certificate of a named issuer would not send a pinned one.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match self.chains.verify_client_cert(leaf, intermediates, now) {
            Ok(verified) => verified,
            // A list revokes whatever it names.
            Err(error @ Error::InvalidCertificate(CertificateError::Revoked)) => return Err(error),
            Err(_) if self.gate.pins(&sha256(leaf)) => is_usable(leaf, now)?,
            Err(error) => return Err(error),
        };
        // Without a name it gets no further than the handshake.
        let Ok(certificate) = ClientCertificate::read(leaf) else {
            return Ok(verified);
        };
        match self.gate.admit(&certificate) {
            Verdict::Admit(_) => Ok(verified),
            Verdict::Revoked => Err(CertificateError::Revoked.into()),
            Verdict::Refuse { reason } => {
                let (identity, serial) = (&certificate.cn, &certificate.serial);
                tracing::debug!(%identity, %serial, reason, "MQTT client certificate refused");
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// A pinned certificate needs no issuer; it is of version 3 and valid at this moment like any other.
fn is_usable(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<ClientCertVerified, Error> {
    ParsedCertificate::try_from(leaf)?;
    let read = Certificate::from_der(leaf);
    let found = read.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    if now.as_secs() < found.not_before_s {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > found.not_after_s {
        return Err(CertificateError::Expired.into());
    }
    Ok(ClientCertVerified::assertion())
}
