//! Server-side TLS from the home's certificates.

use crate::device_api::{RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES};
use crate::error::StartError;
use crate::home::Pair;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// The provider, passed around and never installed: libraries must not decide for the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// For devices: TLS 1.2 and 1.3, records a modem can take, no ALPN (modems offer none).
pub(crate) fn for_devices(pair: &Pair) -> Result<ServerConfig, StartError> {
    let mut config = server(pair)?;
    config.max_fragment_size = Some(RECORD_BYTES_MAX - RECORD_OVERHEAD_BYTES);
    Ok(config)
}

/// For owners: as above, with `http/1.1` by ALPN.
pub(crate) fn for_owners(pair: &Pair) -> Result<ServerConfig, StartError> {
    let mut config = server(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A pair as rustls takes it.
pub(crate) fn chain_and_key(
    pair: &Pair,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), StartError> {
    let chain = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| StartError::Tls(format!("certificate chain: {e}")))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.expose().as_bytes())
        .map_err(|e| StartError::Tls(format!("key: {e}")))?;
    Ok((chain, key))
}

fn server(pair: &Pair) -> Result<ServerConfig, StartError> {
    let (chain, key) = chain_and_key(pair)?;
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| StartError::Tls(e.to_string()))
}
