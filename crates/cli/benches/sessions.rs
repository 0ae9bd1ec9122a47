//! Complete provisioning sessions per second against the bound that this machine sets, both in one run.
//!
//! `cargo bench -p sectag-cli --bench sessions`. A session is what a device does for one queued `finished`: a fetch and
//! a report, each over a TLS connection of its own, each answered after its commit is durable. The bound is what the
//! unavoidable parts cost here, measured with the same number of clients: two TLS handshakes, two ES256 checks, two
//! durable commits. Both ends share the machine, in the sessions and in the bound.
#![allow(clippy::unwrap_used, missing_docs)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_device::https::Https;
use sectag_modem::VirtualModem;
use sectag_proto::es256::VerifyEs256 as _;
use sectag_proto::query::FetchQuery;
use sectag_proto::wire::{
    DecodeLimits, WireResponse, WireResult, decode_commands, encode_responses,
};
use sectag_proto::{CommandRequest, DeviceId, Timestamp};
use sectag_server::app::{Caller, ClaimRequest, Claimed};
use sectag_server::{AwsLc, Config, Home, Service, system_clock};
use sectag_store::{ApiKey, Role};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const DEVICES: usize = 2000;
const CLIENTS: usize = 32;
const TARGET: f64 = 0.5;
/// How long each part of the bound is measured.
const TIME: Duration = Duration::from_secs(4);

struct Device {
    id: DeviceId,
    jwt: String,
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let home = folder.path().join("home");
    let mut config = Config::new(Home::open(&home, system_clock()()).unwrap());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (config.owner, config.loopback, config.device, config.mqtt) = (any, any, any, any);
    config.coap = any;
    let service = Service::start(config).await.unwrap();
    let devices: Arc<Vec<Device>> = Arc::new(claim(&service).await);

    let root = std::fs::read_to_string(home.join("ca/root.crt")).unwrap();
    let https = Https::new("localhost", service.addresses().device.port(), &root)
        .unwrap()
        .at(service.addresses().device);
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(client(
                https.clone(),
                Arc::clone(&devices),
                Arc::clone(&next),
            ))
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let sessions = DEVICES as f64 / began.elapsed().as_secs_f64();
    for device in devices.iter().step_by(97) {
        let commands = service.app().store().commands(device.id).await.unwrap();
        assert!(
            commands
                .iter()
                .all(|command| command.status.as_str() == "SUCCEEDED"),
            "{} is not done",
            device.id
        );
    }

    let handshakes = handshakes(&home, &root).await;
    let checks = checks(&service, &devices[0]).await;
    let commits = commits(&service).await;
    let bound = 1.0 / (2.0 / handshakes + 2.0 / checks + 2.0 / commits);
    println!("TLS handshakes, both ends here:     {handshakes:>9.0} /s");
    println!("ES256 checks (aws-lc):              {checks:>9.0} /s");
    println!("durable commits, {CLIENTS} writers:        {commits:>9.0} /s");
    println!("bound, sessions:                    {bound:>9.0} /s");
    println!("complete sessions, {CLIENTS} clients:      {sessions:>9.0} /s");
    let ratio = sessions / bound;
    let verdict = if ratio >= TARGET { "reached" } else { "missed" };
    println!("ratio: {ratio:.2} (target {TARGET}: {verdict})");
    service.shutdown().await;
}

/// Virtual devices, claimed, each with `finished` queued and a JWT in hand.
async fn claim(service: &Service) -> Vec<Device> {
    let now = system_clock()();
    let mut devices = Vec::new();
    for seed in 0..DEVICES {
        let mut modem = VirtualModem::from_seed(seed as u64);
        modem.set_time(now);
        let mut ask = |line: &str| {
            let said = modem.line(line);
            said.split('"')
                .nth(1)
                .unwrap_or_else(|| panic!("{line}: {said}"))
                .to_owned()
        };
        let caller = Caller {
            name: "bench".to_owned(),
            role: Role::Owner,
            team: service.home().owner_id(),
            scope: Vec::new(),
            sees_reserved: true,
        };
        let token = ask("AT%ATTESTTOKEN");
        let jwt = ask("AT%JWT=0,300,\"\",\"\"");
        let request = ClaimRequest {
            token,
            tags: Vec::new(),
            accept_new_key: false,
        };
        let (Claimed::Created(device) | Claimed::Existing(device)) =
            service.app().claim(&request, &caller).await.unwrap();
        service
            .app()
            .create_command(device.id, None, CommandRequest::Finished {}, &caller)
            .await
            .unwrap();
        devices.push(Device { id: device.id, jwt });
    }
    devices
}

async fn client(https: Https, devices: Arc<Vec<Device>>, next: Arc<AtomicUsize>) {
    let limits = DecodeLimits {
        records_max: 10,
        config_pairs_max: 10,
        bytes_max: 1024,
    };
    let query = FetchQuery {
        after: String::new(),
        rx_bytes_max: 1024,
        tx_bytes_max: 2048,
        modem_version: Some("mfw_nrf91x1_2.0.2".to_owned()),
        client_version: Some("3.1.0".to_owned()),
        limit: Some(10),
    };
    while let Some(device) = devices.get(next.fetch_add(1, Ordering::Relaxed)) {
        let fetched = https.fetch(&device.jwt, &query).await.unwrap();
        assert_eq!(fetched.status, 200);
        let answers: Vec<WireResponse> = decode_commands(&fetched.body, limits)
            .unwrap()
            .into_iter()
            .map(|command| WireResponse {
                correlation: command.correlation,
                result: WireResult::Finished,
            })
            .collect();
        let reported = https
            .report(&device.jwt, &encode_responses(&answers))
            .await
            .unwrap();
        assert_eq!(reported.status, 200);
    }
}

/// Full handshakes per second with the service's own certificate, no application data.
async fn handshakes(home: &Path, root: &str) -> f64 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(home.join("tls/server.crt"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(home.join("tls/server.key")).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let mut peer = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    peer.resumption = rustls::client::Resumption::disabled();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let door = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _ = acceptor.accept(stream).await;
            });
        }
    });
    let connector = TlsConnector::from(Arc::new(peer));
    let rate = rate(|| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await.unwrap();
            connector
                .connect("localhost".try_into().unwrap(), stream)
                .await
                .unwrap();
        }
    })
    .await;
    door.abort();
    rate
}

/// Signature checks per second on all cores, as the service does them.
async fn checks(service: &Service, device: &Device) -> f64 {
    let key = service.app().device(device.id).await.unwrap().pin.unwrap();
    let (message, signature) = device.jwt.rsplit_once('.').unwrap();
    let signature = sectag_proto::es256::Signature(
        URL_SAFE_NO_PAD
            .decode(signature)
            .unwrap()
            .try_into()
            .unwrap(),
    );
    let message = Arc::new(message.to_owned());
    rate(|| {
        let (key, message) = (key.clone(), Arc::clone(&message));
        async move {
            assert!(AwsLc.verify(&key, message.as_bytes(), &signature));
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Durable commits per second at the store's door: the smallest write there is.
async fn commits(service: &Service) -> f64 {
    let number = Arc::new(AtomicUsize::new(0));
    let store = Arc::clone(service.app().store());
    rate(|| {
        let (store, number) = (Arc::clone(&store), number.fetch_add(1, Ordering::Relaxed));
        let team = service.home().owner_id();
        async move {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let key = ApiKey {
                name: format!("bench {number}"),
                hash,
                role: Role::Viewer,
                team,
                tags: Vec::new(),
                created_at: Timestamp(0),
                expires_at: None,
                revoked_at: None,
            };
            store.add_key(key, "bench").await.unwrap();
        }
    })
    .await
}

/// How often `work` completes per second with [`CLIENTS`] of it under way.
async fn rate<F>(work: impl Fn() -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    let mut done = 0_u32;
    for _ in 0..CLIENTS {
        under_way.spawn(work());
    }
    while let Some(finished) = under_way.join_next().await {
        finished.unwrap();
        done += 1;
        if began.elapsed() < TIME {
            under_way.spawn(work());
        }
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}
