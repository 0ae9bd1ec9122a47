//! TLS with a server that is known by its certificate alone: the one in its file.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_mqtt::client::{DangerousJudge, dangerous_verifier};

use crate::probe::Papers;

/// TLS with the server that has exactly this certificate.
pub(crate) fn pinned(leaf: &[u8], papers: Option<Papers>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = dangerous_verifier(Arc::new(Pinned(leaf.to_vec())), &provider);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match papers {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| format!("the client certificate is not PEM: {e}"))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|e| format!("the client key is not PEM: {e}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| e.to_string())?
        }
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes one certificate; that its key is there is checked as everywhere.
#[derive(Debug)]
struct Pinned(Vec<u8>);

impl DangerousJudge for Pinned {
    fn certificates(&self, chain: &[&[u8]]) -> Result<(), rustls::Error> {
        if chain.first() == Some(&self.0.as_slice()) {
            return Ok(());
        }
        let changed = rustls::CertificateError::ApplicationVerificationFailure;
        Err(rustls::Error::InvalidCertificate(changed))
    }
}
