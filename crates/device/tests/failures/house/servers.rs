//! Servers of this process, and a proxy that meddles.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateRevocationListDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{Authority, Papers};

/// What a server does once TLS stands (or at once, without TLS).
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Takes what comes and says nothing.
    Listen,
    /// Reads CONNECT and closes.
    Close,
    /// Reads CONNECT, says this, then listens.
    Say(&'static [u8]),
    /// Reads CONNECT, says this, then closes at the next packet.
    SayAndClose(&'static [u8]),
}

/// CONNACK of MQTT 3.1.1: accepted.
pub(crate) const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];

/// A server in this process; ends with the value.
pub(crate) struct Server {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Speaks TLS.
    pub(crate) async fn tls(config: ServerConfig, act: Act) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(move |tcp| {
            let acceptor = acceptor.clone();
            async move {
                match acceptor.accept(tcp).into_fallible().await {
                    Ok(stream) => play(stream, act).await,
                    // The alert is sent; what is still to come has to be read, or it is lost with a reset.
                    Err((_, tcp)) => play(tcp, Act::Listen).await,
                }
            }
        })
        .await
    }

    /// Speaks no TLS.
    pub(crate) async fn plain(act: Act) -> Self {
        Self::start(move |tcp| play(tcp, act)).await
    }

    pub(crate) async fn start<F, T>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp));
            }
        });
        Self { port, task }
    }
}

async fn play<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, act: Act) {
    let mut buffer = vec![0; 4096];
    let mut more = async |stream: &mut S| matches!(stream.read(&mut buffer).await, Ok(1..));
    if !matches!(act, Act::Listen) && !more(&mut stream).await {
        return;
    }
    match act {
        Act::Listen => {}
        Act::Close => {
            let _ = stream.shutdown().await;
            return;
        }
        Act::Say(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
        }
        Act::SayAndClose(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            more(&mut stream).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
    while more(&mut stream).await {}
}

/// TLS with these papers, whatever they are worth, and no client certificates.
pub(crate) fn server_config(papers: &Papers) -> ServerConfig {
    server_config_with(papers, None, rustls::ALL_VERSIONS)
}

pub(crate) fn server_config_with(
    papers: &Papers,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(papers.certified())))
}

/// Takes clients of these authorities, but for those on the lists.
pub(crate) fn clients_of(
    authorities: &[&Authority],
    crls: Vec<CertificateRevocationListDer<'static>>,
) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der().clone()).unwrap();
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(crls)
        .build()
        .unwrap()
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A proxy that carries bytes to `to`, and may change or cut what the server sends.
pub(crate) async fn proxy(to: u16, meddle: Meddle) -> Server {
    Server::start(move |client| async move {
        let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async {
            let mut seen = 0;
            let mut buffer = vec![0; 4096];
            while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                match meddle {
                    Meddle::FlipSent(at) if (seen..seen + count).contains(&at) => {
                        buffer[at - seen] ^= 1;
                    }
                    _ => {}
                }
                seen += count;
                if to_server.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown().await;
            std::future::pending::<()>().await
        };
        let down = async {
            let mut seen = 0;
            let mut buffer = vec![0; 4096];
            while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                let mut bytes = buffer[..count].to_vec();
                match meddle {
                    Meddle::Flip(at) if (seen..seen + count).contains(&at) => {
                        bytes[at - seen] ^= 1;
                    }
                    Meddle::Cut(at) if seen + count > at => {
                        let _ = to_client.write_all(&bytes[..at - seen]).await;
                        break;
                    }
                    _ => {}
                }
                seen += count;
                if to_client.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            let _ = to_client.shutdown().await;
        };
        tokio::select! {
            () = down => {}
            () = up => {}
        }
    })
    .await
}

/// What a [`proxy`] does to the bytes, counted from 0 in their direction.
#[derive(Clone, Copy)]
pub(crate) enum Meddle {
    /// Changes one bit of this byte of the server's.
    Flip(usize),
    /// Changes one bit of this byte of the device's.
    FlipSent(usize),
    /// Ends the connection before this byte.
    Cut(usize),
}
