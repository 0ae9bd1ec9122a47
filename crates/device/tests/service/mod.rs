//! A scripted HTTPS service: one connection per answer, everything it was sent is kept.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sectag_device::https::Https;
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What one connection gets.
pub(crate) enum Answer {
    /// Status and body with minimal headers.
    Status(u16, Vec<u8>),
    /// These bytes, then a proper end.
    Raw(Vec<u8>),
    /// The request is read, then the connection breaks.
    Break,
    /// The request is read, and nothing comes.
    Silence,
}

pub(crate) struct Service {
    pub(crate) port: u16,
    pub(crate) root_pem: String,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    versions: Arc<Mutex<Vec<rustls::ProtocolVersion>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        Self::start_with(answers, rustls::ALL_VERSIONS, "localhost").await
    }

    pub(crate) async fn start_with(
        answers: Vec<Answer>,
        versions: &[&'static rustls::SupportedProtocolVersion],
        name: &str,
    ) -> Self {
        let root = Authority::root("test root", now_s()).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns(name.to_string())];
        let certificate = servers
            .issue_server(&key.spki_der(), &names, now_s())
            .unwrap();
        let chain = vec![
            CertificateDer::from(certificate.der().to_vec()),
            CertificateDer::from(servers.certificate_der().to_vec()),
        ];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(
            listener,
            acceptor,
            answers.into(),
            Arc::clone(&requests),
            Arc::clone(&seen),
        ));
        Self {
            port,
            root_pem: root.certificate_pem(),
            requests,
            versions: seen,
            task,
        }
    }

    pub(crate) fn https(&self) -> Https {
        Https::new("localhost", self.port, &self.root_pem)
            .unwrap()
            .at(([127, 0, 0, 1], self.port).into())
            .timeout(Duration::from_secs(5))
    }

    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }

    /// TLS version of each connection that finished its handshake.
    pub(crate) fn versions(&self) -> Vec<rustls::ProtocolVersion> {
        self.versions.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    mut answers: VecDeque<Answer>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    versions: Arc<Mutex<Vec<rustls::ProtocolVersion>>>,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        let Ok(mut tls) = acceptor.accept(tcp).await else {
            continue;
        };
        versions
            .lock()
            .unwrap()
            .push(tls.get_ref().1.protocol_version().unwrap());
        let request = read_request(&mut tls).await;
        requests.lock().unwrap().push(request);
        let answer = answers.pop_front().unwrap_or(Answer::Status(204, vec![]));
        let bytes = match answer {
            Answer::Status(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                [head.into_bytes(), body].concat()
            }
            Answer::Raw(bytes) => bytes,
            Answer::Break => continue,
            Answer::Silence => {
                std::mem::forget(tls);
                continue;
            }
        };
        let _ = tls.write_all(&bytes).await;
        let _ = tls.shutdown().await;
    }
}

async fn read_request(tls: &mut tokio_rustls::server::TlsStream<TcpStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = tls.read(&mut chunk).await.unwrap_or(0);
        bytes.extend_from_slice(&chunk[..count]);
        if count == 0 {
            return bytes;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_string();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |text| text.parse::<usize>().unwrap());
        if bytes.len() >= end + 4 + length {
            return bytes;
        }
    }
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
