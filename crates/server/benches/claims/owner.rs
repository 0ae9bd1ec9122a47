//! An owner who queues commands over connections that are kept alive.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use sectag_proto::DeviceId;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONNECTIONS: usize = 16;

/// Where the owner's API is, and what opens it.
#[derive(Clone)]
pub(super) struct Door {
    address: SocketAddr,
    key: String,
    tls: TlsConnector,
}

/// Devices, each of which takes its share of the commands.
pub(super) struct Writes {
    door: Door,
    devices: Vec<DeviceId>,
    next: AtomicUsize,
}

impl Door {
    /// Of the service that runs in this home.
    pub(super) fn of(home: &Path) -> Self {
        let run = std::fs::read(home.join("run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_file(home.join("ca/root.crt")).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address: run["listeners"]["owner"].as_str().unwrap().parse().unwrap(),
            key: std::fs::read_to_string(home.join("owner.key")).unwrap(),
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn open(&self) -> SendRequest<Full<Bytes>> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.tls.connect(name, socket).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

impl Writes {
    pub(super) fn new(door: Door, devices: Vec<DeviceId>) -> Self {
        Self {
            door,
            devices,
            next: AtomicUsize::new(0),
        }
    }

    /// The same at another door.
    pub(super) fn at(self, door: Door) -> Self {
        Self { door, ..self }
    }

    /// Writes per second, and over how many connections.
    pub(super) async fn for_a_while(&self, time: Duration) -> (f64, usize) {
        let begun = Instant::now();
        let written = self.write(|| begun.elapsed() < time).await;
        (written as f64 / begun.elapsed().as_secs_f64(), CONNECTIONS)
    }

    /// So many writes.
    pub(super) async fn so_many(&self, count: usize) {
        let left = AtomicUsize::new(count);
        let more = || {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        };
        self.write(more).await;
    }

    async fn write(&self, more: impl Fn() -> bool) -> usize {
        let written = AtomicUsize::new(0);
        let connections = (0..CONNECTIONS).map(|_| async {
            let mut sender = self.door.open().await;
            while more() {
                let at = self.next.fetch_add(1, Ordering::Relaxed) % self.devices.len();
                self.one(&mut sender, self.devices[at]).await;
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut connections: Vec<_> = connections.map(Box::pin).collect();
        std::future::poll_fn(|context| {
            connections.retain_mut(|connection| connection.as_mut().poll(context).is_pending());
            match connections.is_empty() {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
        drop(connections);
        written.load(Ordering::Relaxed)
    }

    async fn one(&self, sender: &mut SendRequest<Full<Bytes>>, device: DeviceId) {
        let request = Request::post(format!("/v1/claimed-devices/{device}/provisioning"))
            .header("Host", "localhost")
            .header("Authorization", format!("Bearer {}", self.door.key.trim()))
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from_static(
                br#"{"request":{"finished":{}}}"#,
            )))
            .unwrap();
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, StatusCode::CREATED, "{body:?}");
    }
}
