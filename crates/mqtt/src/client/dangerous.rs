//! For whoever asks a server without trusting it, or knows it by its certificate alone.
//!
//! rustls asks two things of a verifier: is the certificate good, and did its key sign this handshake? A [`DangerousJudge`]
//! answers the first; the second is answered here, the same for all of them.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Says whether a server is the one that is meant, without authorities, names and dates.
pub trait DangerousJudge: fmt::Debug + Send + Sync {
    /// What the server sent, its own certificate first; never empty.
    ///
    /// # Errors
    /// Ends the handshake.
    fn certificates(&self, chain: &[&[u8]]) -> Result<(), Error>;

    /// Whether the key of that certificate signed the handshake. By default that has to be so.
    ///
    /// # Errors
    /// Ends the handshake.
    fn signature(&self, checked: Result<(), Error>) -> Result<(), Error> {
        checked
    }
}

/// A verifier for [`rustls::ClientConfig`] that lets `judge` decide. Whoever takes every certificate must send nothing
/// over such a connection.
pub fn dangerous_verifier<J: DangerousJudge + 'static>(
    judge: Arc<J>,
    provider: &CryptoProvider,
) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Judged {
        judge,
        algorithms: provider.signature_verification_algorithms,
    })
}

#[derive(Debug)]
struct Judged<J> {
    judge: Arc<J>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J: DangerousJudge> Judged<J> {
    fn signature(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.signature(checked.map(drop))?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl<J: DangerousJudge> ServerCertVerifier for Judged<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        let chain: Vec<&[u8]> = all.map(AsRef::as_ref).collect();
        self.judge.certificates(&chain)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
