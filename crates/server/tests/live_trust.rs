//! Certificates, CAs and revocation lists change while clients are connected: who has to go goes, the others notice nothing.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sectag_keep as keep;
use sectag_mqtt::client::tls_config;
use sectag_mqtt::{
    BrokerLimits, Client, ClientError, ConnectOptions, Incoming, Level, Qos, Transport, Version,
};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use sectag_server::listeners::{
    ClientFiles, ListenerError, LiveBroker, MqttListener, TlsFiles, WATCH_INTERVAL,
};
use tokio::sync::mpsc::Receiver;

/// Removed trust ends live sessions within this time.
const PROMISE: Duration = Duration::from_secs(2);
/// Longest wait for anything that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A directory with the files of one listener, and the authorities that made them.
struct Desk {
    dir: tempfile::TempDir,
    root: Authority,
    servers: Authority,
    devices: Authority,
    guests: Authority,
}

/// A client certificate.
struct Papers {
    chain: String,
    key: String,
    serial: String,
}

impl Desk {
    fn new() -> Self {
        let now = now_s();
        let root = Authority::root("Root", now).unwrap();
        let elsewhere = Authority::root("Guests", now).unwrap();
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
            servers: root.issuing(Purpose::Servers, now).unwrap(),
            devices: root.issuing(Purpose::Devices, now).unwrap(),
            guests: elsewhere.issuing(Purpose::Devices, now).unwrap(),
            root,
        };
        desk.renew_server();
        desk.write("clients.crt", desk.devices.certificate_pem().as_bytes());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        keep::write_public(&self.path(name), content).unwrap();
    }

    /// A new server certificate and key; returns the serial number.
    fn renew_server(&self) -> String {
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns("localhost".into())];
        let made = self.servers.issue_server(&key.spki_der(), &names, now_s());
        let made = made.unwrap();
        keep::write_pair(
            &self.path("server.crt"),
            (made.pem() + &self.servers.certificate_pem()).as_bytes(),
            &self.path("server.key"),
            key.to_pem().as_bytes(),
        )
        .unwrap();
        made.serial_hex
    }

    fn client(&self, authority: &Authority, cn: &str) -> Papers {
        let key = PrivateKey::generate().unwrap();
        let made = authority
            .issue_device(&key.spki_der(), cn, now_s())
            .unwrap();
        Papers {
            chain: made.pem() + &authority.certificate_pem(),
            key: key.to_pem().to_string(),
            serial: made.serial_hex,
        }
    }

    fn revoke(&self, serials: &[&str]) {
        let revoked: Vec<_> = serials.iter().map(|serial| (*serial, now_s())).collect();
        let crl = self.devices.crl(&revoked, now_s(), now_s() + 3600).unwrap();
        let pem = sectag_pki::pem::encode("X509 CRL", &crl);
        self.write("clients.crl", pem.as_bytes());
    }

    fn listener(&self, authorities: &str) -> MqttListener {
        MqttListener {
            name: "external".into(),
            addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            tls: Some(TlsFiles {
                certificate: self.path("server.crt"),
                key: self.path("server.key"),
                clients: Some(ClientFiles {
                    authorities: self.path(authorities),
                    revocations: Some(self.path("clients.crl")),
                    revocations_required: false,
                    teams: None,
                }),
            }),
            rules: None,
        }
    }

    async fn broker(&self) -> LiveBroker {
        start(self.listener("clients.crt")).await.unwrap()
    }

    async fn connect(
        &self,
        broker: &LiveBroker,
        papers: &Papers,
    ) -> Result<(Client, Receiver<Incoming>), ClientError> {
        let roots = self.root.certificate_pem();
        let tls = tls_config(&roots, Some((&papers.chain, &papers.key))).unwrap();
        let options = ConnectOptions {
            version: Version::V5,
            timeout: PATIENCE,
            ..ConnectOptions::new("c")
        };
        let port = broker.open()[0].address.port();
        let transport = Transport::tls("localhost", tls);
        Client::connect("127.0.0.1", port, transport, options).await
    }

    /// Serial number of the certificate that the broker shows at this moment.
    async fn served(&self, broker: &LiveBroker) -> String {
        let address = broker.open()[0].address;
        let tls = tls_config(&self.root.certificate_pem(), None).unwrap();
        tokio::task::spawn_blocking(move || {
            let mut tls =
                rustls::ClientConnection::new(tls, "localhost".try_into().unwrap()).unwrap();
            let mut tcp = std::net::TcpStream::connect(address).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut tcp).unwrap();
            }
            let chain = tls.peer_certificates().unwrap();
            sectag_pki::show(&chain[0]).unwrap().serial_hex
        })
        .await
        .unwrap()
    }
}

async fn start(listener: MqttListener) -> Result<LiveBroker, ListenerError> {
    LiveBroker::start(vec![listener], BrokerLimits::default()).await
}

/// The client is still served: its own message comes back.
async fn lives(client: &Client, inbox: &mut Receiver<Incoming>, topic: &str) {
    client.subscribe(topic, Qos::AtLeastOnce).await.unwrap();
    client
        .publish(topic, "here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    let heard = tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap();
    assert_eq!(heard.unwrap().payload.as_ref(), b"here");
}

async fn ends(client: &Client) {
    let reason = tokio::time::timeout(PROMISE, client.closed()).await;
    let reason = reason.expect("within the promised time");
    assert!(
        matches!(&reason, ClientError::Closed { reason, .. } if reason.contains("not authorized")),
        "{reason:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_has_to_go_and_stays_out() {
    let desk = Desk::new();
    let broker = desk.broker().await;
    assert_eq!(broker.open()[0].level, Level::Mutual);
    let (good, bad) = (
        desk.client(&desk.devices, "good"),
        desk.client(&desk.devices, "bad"),
    );
    let (stays, mut inbox) = desk.connect(&broker, &good).await.unwrap();
    let (goes, _none) = desk.connect(&broker, &bad).await.unwrap();
    desk.revoke(&[&bad.serial]);
    ends(&goes).await;
    let again = desk.connect(&broker, &bad).await;
    assert!(
        matches!(&again, Err(ClientError::CertificateRefused { reason, .. }) if reason.contains("revoked")),
        "{again:?}"
    );
    lives(&stays, &mut inbox, "good/x").await;
    // Without its list the broker does not forget.
    std::fs::remove_file(desk.path("clients.crl")).unwrap();
    let serial = desk.renew_server();
    tokio::time::sleep(2 * WATCH_INTERVAL).await;
    assert_ne!(
        desk.served(&broker).await,
        serial,
        "it keeps what it has until all fits"
    );
    assert!(desk.connect(&broker, &bad).await.is_err());
    desk.revoke(&[&bad.serial]);
    until_served(&desk, &broker, &serial).await;
    assert!(desk.connect(&broker, &bad).await.is_err());
    lives(&stays, &mut inbox, "good/y").await;
    broker.shutdown().await;
}

async fn until_served(desk: &Desk, broker: &LiveBroker, serial: &str) {
    let all = async {
        while desk.served(broker).await != serial {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_is_removed_takes_its_clients_along() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("cas")).unwrap();
    desk.write("cas/devices.crt", desk.devices.certificate_pem().as_bytes());
    desk.write("cas/guests.pem", desk.guests.certificate_pem().as_bytes());
    desk.write("cas/README", b"not a certificate");
    desk.write(
        "cas/broken.pem",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let broker = start(desk.listener("cas")).await.unwrap();
    let (device, guest) = (
        desk.client(&desk.devices, "dev-1"),
        desk.client(&desk.guests, "guest"),
    );
    let (stays, mut inbox) = desk.connect(&broker, &device).await.unwrap();
    let (goes, _none) = desk.connect(&broker, &guest).await.unwrap();
    std::fs::remove_file(desk.path("cas/guests.pem")).unwrap();
    ends(&goes).await;
    assert!(desk.connect(&broker, &guest).await.is_err());
    lives(&stays, &mut inbox, "dev-1/x").await;
    // And one that is added lets them in again, without a restart.
    desk.write("cas/guests.pem", desk.guests.certificate_pem().as_bytes());
    let enters = async {
        while desk.connect(&broker, &guest).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, enters).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_loses_no_session_and_no_message() {
    const CLIENTS: usize = 4;
    let desk = Arc::new(Desk::new());
    let broker = Arc::new(desk.broker().await);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut pairs = Vec::new();
    for number in 0..CLIENTS {
        let name = format!("dev-{number}");
        let papers = desk.client(&desk.devices, &name);
        let (client, mut inbox) = desk.connect(&broker, &papers).await.unwrap();
        let topic = format!("{name}/count");
        client.subscribe(&topic, Qos::AtLeastOnce).await.unwrap();
        let stop = stop.clone();
        pairs.push(tokio::spawn(async move {
            let mut sent = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                client
                    .publish(&topic, sent.to_string(), Qos::AtLeastOnce, false)
                    .await
                    .expect("the session stands");
                let heard = tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap();
                assert_eq!(heard.unwrap().payload, sent.to_string().into_bytes());
                sent += 1;
            }
            sent
        }));
    }
    // And somebody comes new all the time, by the old certificate or the new one.
    let newcomers = {
        let (desk, broker, stop) = (desk.clone(), broker.clone(), stop.clone());
        tokio::spawn(async move {
            let papers = desk.client(&desk.devices, "newcomer");
            let mut came = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let (client, _none) = desk.connect(&broker, &papers).await.expect("let in");
                client.disconnect().await.expect("said goodbye");
                came += 1;
            }
            came
        })
    };
    for _ in 0..3 {
        let serial = desk.renew_server();
        until_served(&desk, &broker, &serial).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for pair in pairs {
        assert!(pair.await.unwrap() > 0);
    }
    let came = newcomers.await.unwrap();
    assert!(came > 0);
    let counted = broker.broker().counters();
    assert_eq!(counted.dropped, 0);
    let accepted = CLIENTS as u64 + came;
    assert_eq!(counted.accepted, accepted, "nobody had to come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_half_done_changes_nothing_until_it_is_whole() {
    let desk = Desk::new();
    let broker = desk.broker().await;
    let before = desk.served(&broker).await;
    let old_key = std::fs::read(desk.path("server.key")).unwrap();
    let serial = desk.renew_server();
    let new_key = std::fs::read(desk.path("server.key")).unwrap();
    // Key of the old, certificate of the new; then no certificate at all.
    keep::write_private(&desk.path("server.key"), &old_key).unwrap();
    let certificate = std::fs::read(desk.path("server.crt")).unwrap();
    desk.write("server.crt", b"garbage");
    assert_eq!(desk.served(&broker).await, before);
    desk.write("server.crt", &certificate);
    keep::write_private(&desk.path("server.key"), &new_key).unwrap();
    until_served(&desk, &broker, &serial).await;
}

#[tokio::test]
async fn files_that_do_not_fit_are_named_at_the_start() {
    let desk = Desk::new();
    let text = |result: Result<LiveBroker, ListenerError>| {
        let error = result.unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    };
    let missing = text(start(desk.listener("nowhere.crt")).await);
    assert!(
        missing.contains("nowhere.crt") && missing.contains("does not exist"),
        "{missing}"
    );
    std::fs::create_dir(desk.path("empty")).unwrap();
    let empty = text(start(desk.listener("empty")).await);
    assert!(empty.contains("holds no CA certificate"), "{empty}");
    let key_as_ca = text(start(desk.listener("server.key")).await);
    assert!(key_as_ca.contains("holds no certificate"), "{key_as_ca}");
    let mut required = desk.listener("clients.crt");
    if let Some(clients) = required.tls.as_mut().and_then(|tls| tls.clients.as_mut()) {
        clients.revocations_required = true;
    }
    let no_list = text(start(required).await);
    assert!(no_list.contains("clients.crl"), "{no_list}");
    let der = desk.devices.crl(&[], now_s(), now_s() + 3600).unwrap();
    desk.write("clients.crl", &der);
    let der = text(start(desk.listener("clients.crt")).await);
    assert!(
        der.contains("is DER") && der.contains("openssl crl -inform DER"),
        "{der}"
    );
    std::fs::remove_file(desk.path("clients.crl")).unwrap();
    let other = PrivateKey::generate().unwrap();
    keep::write_private(&desk.path("server.key"), other.to_pem().as_bytes()).unwrap();
    let mismatch = text(start(desk.listener("clients.crt")).await);
    assert!(mismatch.contains("certificate and key"), "{mismatch}");
}
