//! A small town for the stories: authorities, certificates, a broker, clients.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod foreign;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_mqtt::client::tls_config;
use sectag_mqtt::{
    Broker, BrokerConfig, Client, ClientError, ConnectOptions, Incoming, Listener, Qos, Snapshot,
    Transport, Trust, TrustMaterial, Version,
};
use sectag_pki::{Authority, Certificate, PrivateKey, Purpose, ServerName, chain};
use tokio::sync::mpsc::Receiver;

/// Longest wait for anything that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A certificate chain and key as PEM.
#[derive(Clone)]
pub struct Papers {
    pub chain: String,
    pub key: String,
    pub serial: String,
}

impl Papers {
    pub fn new(certificate: &Certificate, issuer: &Authority, key: &PrivateKey) -> Self {
        Self {
            chain: chain::pem(&[certificate, issuer.certificate()]),
            key: key.to_pem().to_string(),
            serial: sectag_pki::show(certificate.der()).unwrap().serial_hex,
        }
    }
}

pub struct Town {
    pub root: Authority,
    pub servers: Authority,
    pub devices: Authority,
}

impl Town {
    pub fn new(name: &str) -> Self {
        let now = now_s();
        let root = Authority::root(name, now).unwrap();
        let servers = root.issuing(Purpose::Servers, now).unwrap();
        let devices = root.issuing(Purpose::Devices, now).unwrap();
        Self {
            root,
            servers,
            devices,
        }
    }

    pub fn server(&self) -> Papers {
        let key = PrivateKey::generate().unwrap();
        let names = [
            ServerName::Dns("localhost".into()),
            ServerName::Ip(Ipv4Addr::LOCALHOST.into()),
        ];
        let certificate = self
            .servers
            .issue_server(&key.spki_der(), &names, now_s())
            .unwrap();
        Papers::new(&certificate, &self.servers, &key)
    }

    pub fn device(&self, cn: &str) -> Papers {
        let key = PrivateKey::generate().unwrap();
        let certificate = self
            .devices
            .issue_device(&key.spki_der(), cn, now_s())
            .unwrap();
        Papers::new(&certificate, &self.devices, &key)
    }

    pub fn operator(&self) -> Papers {
        let key = PrivateKey::generate().unwrap();
        let certificate = self
            .devices
            .issue_operator(&key.spki_der(), "operator", now_s())
            .unwrap();
        Papers::new(&certificate, &self.devices, &key)
    }

    /// Server certificate of this town, its device authority as the only one for clients.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust_with(&self.devices.certificate_pem(), &[])
    }

    pub fn trust_with(&self, client_roots: &str, crls: &[Vec<u8>]) -> Arc<Trust> {
        let server = self.server();
        let material =
            TrustMaterial::from_pem(&server.chain, &server.key, client_roots, crls).unwrap();
        Arc::new(Trust::new(material).unwrap())
    }

    pub fn crl(&self, serials: &[&str]) -> Vec<u8> {
        let revoked: Vec<_> = serials.iter().map(|serial| (*serial, now_s())).collect();
        self.devices.crl(&revoked, now_s(), now_s() + 3600).unwrap()
    }

    pub async fn broker(&self) -> Broker {
        start(self.trust()).await
    }

    pub fn tls(&self, papers: Option<&Papers>) -> Arc<rustls::ClientConfig> {
        let identity = papers.map(|papers| (papers.chain.as_str(), papers.key.as_str()));
        tls_config(&self.root.certificate_pem(), identity).unwrap()
    }

    /// A client configuration with one TLS version only.
    pub fn tls_version(
        &self,
        papers: &Papers,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(self.root.certificate_der().to_vec().into())
            .unwrap();
        let chain = CertificateDer::pem_slice_iter(papers.chain.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).unwrap();
        rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap()
    }

    pub async fn connect(
        &self,
        broker: &Broker,
        papers: &Papers,
        options: ConnectOptions,
    ) -> (Client, Receiver<Incoming>) {
        self.try_connect(broker, Some(papers), options)
            .await
            .unwrap()
    }

    pub async fn try_connect(
        &self,
        broker: &Broker,
        papers: Option<&Papers>,
        options: ConnectOptions,
    ) -> Result<(Client, Receiver<Incoming>), ClientError> {
        let port = broker.local_addr().port();
        let transport = Transport::tls("localhost", self.tls(papers));
        Client::connect("127.0.0.1", port, transport, options).await
    }

    /// An operator who listens to everything: the witness.
    pub async fn witness(&self, broker: &Broker) -> Witness {
        let options = options(Version::V5, "witness");
        let (client, messages) = self.connect(broker, &self.operator(), options).await;
        client.subscribe("#", Qos::AtLeastOnce).await.unwrap();
        Witness { client, messages }
    }
}

/// Sees what really went through. A fence is a message of its own that travels the same way after the others.
pub struct Witness {
    client: Client,
    pub messages: Receiver<Incoming>,
}

impl Witness {
    /// Everything that arrived before a fence sent at this moment, as (topic, payload).
    pub async fn seen(&mut self) -> Vec<(String, String)> {
        self.client
            .publish("operator/fence", "fence", Qos::AtLeastOnce, false)
            .await
            .unwrap();
        let mut seen = Vec::new();
        loop {
            let message = next(&mut self.messages).await;
            if message.topic == "operator/fence" {
                return seen;
            }
            seen.push((message.topic.clone(), text(&message)));
        }
    }
}

pub fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// One listener with mutual TLS on any port.
pub fn mutual(trust: Arc<Trust>) -> BrokerConfig {
    BrokerConfig::new([Listener::tls(any_port(), trust)])
}

/// TLS that asks clients for no certificate.
pub fn server_only(papers: &Papers) -> Arc<Trust> {
    let chain = CertificateDer::pem_slice_iter(papers.chain.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).unwrap();
    Arc::new(Trust::server_only(chain, key).unwrap())
}

pub async fn start(trust: Arc<Trust>) -> Broker {
    Broker::start(mutual(trust)).await.unwrap()
}

pub fn options(version: Version, client_id: &str) -> ConnectOptions {
    ConnectOptions {
        version,
        timeout: PATIENCE,
        ..ConnectOptions::new(client_id)
    }
}

pub async fn next(messages: &mut Receiver<Incoming>) -> Incoming {
    tokio::time::timeout(PATIENCE, messages.recv())
        .await
        .expect("a message in time")
        .expect("the connection stands")
}

pub fn text(message: &Incoming) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

/// Waits until the broker's counters say so: for effects that have no message of their own.
pub async fn until(broker: &Broker, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let started = std::time::Instant::now();
    loop {
        let counters = broker.counters();
        if condition(&counters) {
            return counters;
        }
        assert!(started.elapsed() < PATIENCE, "never so: {counters:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client in a runtime of its own, so that `abort` kills it without a goodbye, as a power cut does.
pub async fn doomed(port: u16, tls: Arc<rustls::ClientConfig>, options: ConnectOptions) -> Doomed {
    let (connected, wait) = tokio::sync::oneshot::channel();
    let (kill, killed) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let kept = runtime.block_on(async {
            let kept =
                Client::connect("127.0.0.1", port, Transport::tls("localhost", tls), options)
                    .await
                    .unwrap();
            connected.send(()).unwrap();
            let _ = killed.await;
            kept
        });
        // Dropping the runtime first drops the socket unflushed; the client handle still stands and says nothing.
        drop(runtime);
        drop(kept);
    });
    wait.await.unwrap();
    Doomed { kill, thread }
}

pub struct Doomed {
    kill: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Doomed {
    pub fn abort(self) {
        drop(self.kill);
        self.thread.join().unwrap();
    }
}
