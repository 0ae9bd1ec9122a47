//! A service on a fleet's home, its owner, and its devices.

use super::fleet::{Fleet, PAGE};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use sectag_server::{Config, Home, Policy, Service, system_clock};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) struct Live {
    service: Service,
    tls: TlsConnector,
    key: String,
}

impl Live {
    pub(crate) async fn start(fleet: &Fleet) -> Self {
        let home = Home::open(&fleet.home, system_clock()()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let root = home.root_pem();
        roots
            .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = home.owner_key().expose().clone();
        let mut config = Config::new(home);
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        (config.owner, config.loopback, config.device) = (free, free, free);
        (config.mqtt, config.coap) = (free, free);
        config.policy = Policy::FirstClaim;
        Self {
            service: Service::start(config).await.unwrap(),
            tls: TlsConnector::from(Arc::new(tls)),
            key,
        }
    }

    /// Over TLS, kept alive.
    pub(crate) async fn owner(&self) -> OwnerLink<'_> {
        let mut link = OwnerLink {
            live: self,
            sender: self.connect(self.service.addresses().owner).await,
        };
        let _ = link.get("/v1/status").await;
        link
    }

    async fn connect(&self, address: SocketAddr) -> SendRequest<Full<Bytes>> {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.tls.connect(name, socket).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// As a device does it: a connection of its own.
    pub(crate) async fn fetch(&self, jwt: &str) {
        let mut sender = self.connect(self.service.addresses().device).await;
        let request =
            Request::get("/v1/provisioning/commands?after=&rxMaxSize=2048&txMaxSize=2048&limit=10")
                .header("Host", "localhost")
                .header("Accept", "application/cbor")
                .header("Authorization", format!("Bearer {jwt}"))
                .body(Full::default())
                .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(
            !answer
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }

    pub(crate) async fn end(self) {
        self.service.shutdown().await;
    }
}

pub(crate) struct OwnerLink<'a> {
    live: &'a Live,
    sender: SendRequest<Full<Bytes>>,
}

impl OwnerLink<'_> {
    /// A page behind some device.
    pub(crate) async fn page(&mut self, fleet: &Fleet, round: usize) {
        let last = fleet.devices[fleet.devices.len() - 200];
        let after = fleet.device(round).min(last);
        let path = format!("/v1/claimed-devices?pageLimit={PAGE}&pageNextToken={after}");
        let page = self.get(&path).await;
        assert_eq!(page["items"].as_array().unwrap().len(), PAGE);
    }

    async fn get(&mut self, path: &str) -> serde_json::Value {
        if self.sender.ready().await.is_err() {
            // A connection lives two minutes.
            self.sender = self.live.connect(self.live.service.addresses().owner).await;
        }
        let request = Request::get(path)
            .header("Host", "localhost")
            .header("Authorization", format!("Bearer {}", self.live.key))
            .body(Full::default())
            .unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }
}
