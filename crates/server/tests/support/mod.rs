//! A service on free ports with a clock of ours, an owner at its door, and a device made from `proto` and a key.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

#[cfg(feature = "coap")]
pub mod coap;
pub mod device;
pub mod log;
pub mod receiver;
pub mod rules;

/// The table of stories that hold whichever way a device comes: each `async fn(road: Road)` becomes a test per road.
#[allow(unused_macros)]
macro_rules! on_every_road {
    ($($story:ident),+ $(,)?) => {
        mod over_https {
            $(#[tokio::test]
            async fn $story() {
                super::$story(super::support::Road::Https).await;
            })+
        }
        #[cfg(feature = "coap")]
        mod over_coap {
            $(#[tokio::test]
            async fn $story() {
                super::$story(super::support::Road::Coap).await;
            })+
        }
    };
}
#[allow(unused_imports)]
pub(crate) use on_every_road;

use device::FakeDevice;
use log::Log;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sectag_proto::service::Command;
use sectag_proto::{DeviceId, Timestamp};
use sectag_server::{Coap, Config, Home, Policy, Service};
use sectag_store::Device;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a device comes to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    Https,
    Coap,
}

/// One service and everything around it.
pub struct Town {
    pub service: Option<Service>,
    pub clock: Arc<AtomicU64>,
    pub key: String,
    pub log: Log,
    pub dir: tempfile::TempDir,
    pub root: String,
    pub road: Road,
    /// Where the service listens for CoAP; kept over a restart.
    pub coap: SocketAddr,
    /// What a test sets before [`Town::up`].
    pub coap_settings: Coap,
    pub policy: Policy,
    pub admin_claims_hidden: bool,
}

/// An HTTP answer as it came, or what a CoAP answer means in HTTP.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Town {
    pub async fn start() -> Self {
        Self::on(Road::Https).await
    }

    pub async fn on(road: Road) -> Self {
        Self::new(road, Policy::FirstClaim).await
    }

    pub async fn with_policy(policy: Policy) -> Self {
        Self::new(Road::Https, policy).await
    }

    async fn new(road: Road, policy: Policy) -> Self {
        let log = Log::start();
        let dir = tempfile::tempdir().unwrap();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let clock = Arc::new(AtomicU64::new(now.as_millis() as u64));
        let mut town = Self {
            service: None,
            clock,
            key: String::new(),
            log,
            dir,
            root: String::new(),
            road,
            coap: "127.0.0.1:0".parse().unwrap(),
            coap_settings: Coap::default(),
            policy,
            admin_claims_hidden: true,
        };
        town.up().await;
        town
    }

    /// Starts the service on the home; also after [`Town::down`].
    pub async fn up(&mut self) {
        let home = Home::open(&self.dir.path().join("home"), self.now()).unwrap();
        self.key = home.owner_key().expose().clone();
        self.log.forbid(&self.key);
        self.root = home.root_pem();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(home);
        (config.owner, config.loopback, config.device, config.mqtt) = (free, free, free, free);
        config.coap = self.coap;
        config.coap_settings = self.coap_settings.clone();
        config.policy = self.policy;
        config.admin_claims_hidden = self.admin_claims_hidden;
        let clock = self.clock.clone();
        config.clock = Arc::new(move || Timestamp(clock.load(Ordering::Relaxed)));
        let service = Service::start(config).await.unwrap();
        self.coap = service.addresses().coap.unwrap_or(free);
        self.service = Some(service);
    }

    pub async fn down(&mut self) {
        self.service.take().unwrap().shutdown().await;
    }

    /// As after a long time: between two lives of the service all events are dropped but for the newest one, whose number this is.
    pub async fn drop_events(&mut self) -> u64 {
        let newest = *self.service().app().store().newest_event().borrow();
        self.down().await;
        let database = self.dir.path().join("home/sectag.db");
        let db = rusqlite::Connection::open(database).unwrap();
        let dropped = db.execute("DELETE FROM events WHERE number < ?1", [newest as i64]);
        assert!(dropped.unwrap() > 0);
        drop(db);
        self.up().await;
        newest
    }

    pub fn service(&self) -> &Service {
        self.service.as_ref().unwrap()
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Relaxed))
    }

    pub fn wait(&self, time: Duration) {
        self.clock
            .fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// What the store holds of a device, to be compared before and after.
    pub async fn remembers(&self, device: DeviceId) -> (Option<Device>, Vec<Command>) {
        let store = self.service().app().store();
        (
            store.device(device).await.unwrap(),
            store.commands(device).await.unwrap(),
        )
    }

    pub async fn device_count(&self) -> u64 {
        let store = self.service().app().store();
        store.device_totals().await.unwrap().0
    }

    /// Actions of the audit trail for a device, oldest first, with their details.
    pub async fn audit(&self, device: DeviceId) -> Vec<(String, String)> {
        let store = self.service().app().store();
        let page = store.audit(Some(device), None, 100).await.unwrap();
        page.items
            .into_iter()
            .rev()
            .map(|record| (record.event.action, record.event.detail))
            .collect()
    }

    // --- the owner ---

    pub async fn owner(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let headers = format!("Authorization: Bearer {}\r\n", self.key);
        self.owner_raw(
            method,
            path,
            &headers,
            &body.map(Value::to_string).unwrap_or_default(),
        )
        .await
    }

    pub async fn owner_raw(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let address = self.service().addresses().loopback;
        let host = if headers.to_ascii_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: 127.0.0.1:{}\r\n", address.port())
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let socket = TcpStream::connect(address).await.unwrap();
        exchange(socket, request.as_bytes()).await.unwrap()
    }

    pub async fn claim(&self, device: &FakeDevice) -> Reply {
        let token = device.claim_token();
        self.log.forbid(&token);
        self.owner(
            "POST",
            "/v1/claimed-devices",
            Some(&json!({ "claimToken": token })),
        )
        .await
    }

    /// Queues a command and gives its id.
    pub async fn queue(&self, device: &FakeDevice, request: Value) -> String {
        let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
        let reply = self
            .owner("POST", &path, Some(&json!({ "request": request })))
            .await;
        assert_eq!(
            reply.status,
            201,
            "{}",
            String::from_utf8_lossy(&reply.body)
        );
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn commands(&self, device: &FakeDevice) -> Vec<Value> {
        let path = format!("/v1/claimed-devices/{}/provisioning", device.id);
        let reply = self.owner("GET", &path, None).await;
        assert_eq!(reply.status, 200);
        reply.json()["items"].as_array().unwrap().clone()
    }

    // --- the device ---

    /// One TLS connection to the device door, as the firmware makes it.
    pub async fn device_raw(&self, request: &[u8]) -> std::io::Result<Reply> {
        self.device_tls(request, rustls::DEFAULT_VERSIONS).await
    }

    pub async fn device_tls(
        &self,
        request: &[u8],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<Reply> {
        exchange(self.device_stream(versions).await, request).await
    }

    pub async fn device_stream(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let door = self.service().addresses().device;
        self.device_stream_at(door, versions).await
    }

    pub async fn device_stream_at(
        &self,
        door: SocketAddr,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let socket = TcpStream::connect(door).await.unwrap();
        self.device_stream_over(socket, versions).await
    }

    pub async fn device_stream_over(
        &self,
        socket: TcpStream,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost").unwrap(), socket)
            .await
            .unwrap()
    }

    pub async fn fetch_as(&self, jwt: &str, query: &str) -> Reply {
        self.log.forbid(jwt);
        #[cfg(feature = "coap")]
        if self.road == Road::Coap {
            return self.coap_fetch_as(jwt, query).await;
        }
        let request = format!(
            "GET /v1/provisioning/commands?{query} HTTP/1.1\r\nHost: localhost\r\nAccept: application/cbor\r\nAuthorization: Bearer {jwt}\r\nContent-Type: */*\r\nUser-Agent: Zephyr/4.0 (test)\r\nConnection: close\r\n\r\n"
        );
        self.device_raw(request.as_bytes()).await.unwrap()
    }

    pub async fn fetch(&self, device: &FakeDevice, after: &str) -> Reply {
        let query = format!(
            "after={after}&rxMaxSize=2048&txMaxSize=2048&mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10"
        );
        self.fetch_as(&device.jwt(self.now()), &query).await
    }

    pub async fn report_as(&self, jwt: &str, body: &[u8]) -> Reply {
        self.report_typed(jwt, "application/cbor", body).await
    }

    pub async fn report_typed(&self, jwt: &str, content_type: &str, body: &[u8]) -> Reply {
        self.log.forbid(jwt);
        #[cfg(feature = "coap")]
        if self.road == Road::Coap {
            let format = match content_type {
                "application/cbor" => 60,
                _ => 50, // application/json
            };
            return self.coap_report_as(jwt, format, body).await;
        }
        let mut request = format!(
            "POST /v1/provisioning/response HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nAccept: */*\r\nAuthorization: Bearer {jwt}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.device_raw(&request).await.unwrap()
    }

    pub async fn report(&self, device: &FakeDevice, body: &[u8]) -> Reply {
        self.report_as(&device.jwt(self.now()), body).await
    }

    /// Sessions until the device hears "nothing" or acknowledged `finished`: fetch, run, report.
    pub async fn provision(&self, device: &mut FakeDevice) {
        let mut after = String::new();
        for _ in 0..10 {
            let reply = self.fetch(device, &after).await;
            if reply.status == 204 {
                return;
            }
            assert_eq!(reply.status, 200, "{}", reply.head);
            let (last, report, finished) = device.run(&reply.body);
            after = last;
            assert_eq!(self.report(device, &report).await.status, 200);
            if finished {
                return;
            }
        }
        panic!("the device is kept looping");
    }
}

async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(
    mut io: IO,
    request: &[u8],
) -> std::io::Result<Reply> {
    io.write_all(request).await?;
    io.flush().await?;
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await?;
    reply_of(&bytes).ok_or_else(|| std::io::Error::other("closed without an answer"))
}

pub fn reply_of(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply {
        status,
        head,
        body: bytes[end..].to_vec(),
    })
}
