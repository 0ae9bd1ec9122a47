//! A TLS configuration from PEM texts, for clients whose key is a file. A key in a modem needs its own resolver.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why [`tls_config`] failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// A text is not PEM of the right kind.
    #[error("the {what} is not usable PEM")]
    Pem {
        /// Which text.
        what: &'static str,
        /// The reason.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// There is no authority to check the server with.
    #[error("no certificate authority for the server is given")]
    NoRoots,
    /// TLS refuses the certificates or the key.
    #[error("the {what} is refused")]
    Refused {
        /// Which text.
        what: &'static str,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
}

/// TLS 1.2 and 1.3 with these server authorities and, if given, this client certificate chain and key.
///
/// # Errors
/// [`TlsConfigError`] says which text is unusable.
pub fn tls_config(
    roots: &str,
    identity: Option<(&str, &str)>,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let certificates = |text: &str, what| -> Result<Vec<_>, TlsConfigError> {
        CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TlsConfigError::Pem { what, source })
    };
    let refused = |what| move |source| TlsConfigError::Refused { what, source };
    let mut store = RootCertStore::empty();
    for root in certificates(roots, "server authority")? {
        store.add(root).map_err(refused("server authority"))?;
    }
    if store.is_empty() {
        return Err(TlsConfigError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(refused("TLS version list"))?
        .with_root_certificates(store);
    let Some((chain, key)) = identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let key =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|source| TlsConfigError::Pem {
            what: "client key",
            source,
        })?;
    builder
        .with_client_auth_cert(certificates(chain, "client certificate")?, key)
        .map(Arc::new)
        .map_err(refused("client certificate or key"))
}
