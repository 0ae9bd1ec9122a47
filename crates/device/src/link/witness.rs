//! Sees what a handshake shows, for the explanation of a failure: the server's chain, and whether it asks for ours.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::PeerVerify;

/// What one handshake showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The server's chain as it was sent, its own certificate first; empty when it never came to that, or the session was resumed.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// What was wrong with it.
    pub(crate) verdict: Option<CertificateError>,
    /// The server asked for a client certificate.
    pub(crate) asked: bool,
    /// Issuers whose client certificates it takes (DER names); empty also when it does not say.
    pub(crate) issuers: Vec<Vec<u8>>,
    /// Our certificate was offered.
    pub(crate) presented: bool,
    /// Our certificate was not offered, since the server takes no signature that its key can make.
    pub(crate) scheme_refused: bool,
}

/// Shared by the verifier, the resolver and the link.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Seen>>);

impl Notes {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Verifies the server as asked, and notes chain and verdict.
#[derive(Debug)]
pub(crate) struct ServerWitness {
    /// `None`: there is no authority to verify with; then nothing is good.
    pub(crate) webpki: Option<Arc<WebPkiServerVerifier>>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) verify: PeerVerify,
    pub(crate) notes: Notes,
}

impl ServerCertVerifier for ServerWitness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|der| der.clone().into_owned()).collect();
        let verdict = match &self.webpki {
            Some(webpki) => webpki.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let mut seen = self.notes.lock();
        seen.chain = chain;
        seen.verdict = match &verdict {
            Err(Error::InvalidCertificate(error)) => Some(error.clone()),
            _ => None,
        };
        match self.verify {
            PeerVerify::Required => verdict,
            PeerVerify::DangerouslyOptional | PeerVerify::DangerouslyNone => {
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.lenient(rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.lenient(rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerWitness {
    /// A certificate that cannot be read (version 1) proves nothing; where nothing has to be proven that is no reason to stop. A wrong
    /// signature always is.
    fn lenient(
        &self,
        verdict: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match (self.verify, verdict) {
            (PeerVerify::Required, verdict) => verdict,
            (_, Err(Error::InvalidCertificate(CertificateError::Other(_)))) => {
                Ok(HandshakeSignatureValid::assertion())
            }
            (_, verdict) => verdict,
        }
    }
}

/// Presents our certificate, if there is one, and notes what the server asks for.
#[derive(Debug)]
pub(crate) struct ClientWitness {
    pub(crate) identity: Option<Arc<CertifiedKey>>,
    pub(crate) notes: Notes,
}

impl ResolvesClientCert for ClientWitness {
    /// The server's list of issuers is a hint; a certificate it does not like is refused by the server, which says so.
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let suits = |key: &Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let mut seen = self.notes.lock();
        seen.asked = true;
        seen.issuers = root_hint_subjects.iter().map(|der| der.to_vec()).collect();
        seen.scheme_refused = self.identity.as_ref().is_some_and(|key| !suits(key));
        let offered = self.identity.clone().filter(suits);
        seen.presented = offered.is_some();
        offered
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}
