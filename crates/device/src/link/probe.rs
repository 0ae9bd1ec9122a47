//! Does a port that answered plain MQTT with silence speak TLS? Most TLS servers close without a word when no ClientHello comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::https::provider;

/// Somebody waits for the explanation.
const PATIENCE_MAX: Duration = Duration::from_secs(3);

/// The first bytes that the server answers a ClientHello with; `None` if it does not.
pub(super) async fn answer_to_client_hello(
    address: SocketAddr,
    server_name: &str,
    patience: Duration,
) -> Option<Vec<u8>> {
    let hello = client_hello(server_name)?;
    let asked = async {
        let mut tcp = TcpStream::connect(address).await.ok()?;
        tcp.write_all(&hello).await.ok()?;
        let mut first = vec![0; 8];
        let count = tcp.read(&mut first).await.ok()?;
        first.truncate(count);
        Some(first).filter(|first| !first.is_empty())
    };
    tokio::time::timeout(patience.min(PATIENCE_MAX), asked)
        .await
        .ok()?
}

fn client_hello(server_name: &str) -> Option<Vec<u8>> {
    let name = ServerName::try_from(server_name.to_owned()).ok()?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}
