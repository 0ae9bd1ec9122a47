//! Strangers judge the client: GnuTLS's and OpenSSL's servers, and `purecrypto`'s, which has Connection ID.
//!
//! Without the programs these tests say so in one line and pass; with `SECTAG_PEERS=require` they fail.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub
)]

#[path = "../../../tests/peers/dtls/door.rs"]
mod door;
#[path = "../../../tests/peers/dtls/foreign.rs"]
mod foreign;
#[path = "../../../tests/peers/dtls/tools.rs"]
mod tools;

use door::{NAME, Papers, System, now};
use foreign::{PATIENCE, records};
use purecrypto::ec::BoxedEcdsaPrivateKey;
use purecrypto::tls::{Config, Connection, ProtocolVersion, SigningKey};
use sectag_dtls::{
    CertificateFault, Client, ClientConfig, ClientEvent, ClientFailure, ClientOutput, Resumption,
    Suites,
};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tools::{Tool, have};

/// Our client on a socket.
struct Ours {
    client: Client,
    socket: UdpSocket,
    server: SocketAddr,
    heard: Vec<Vec<u8>>,
    events: Vec<ClientEvent>,
}

impl Ours {
    fn new(config: &ClientConfig, server: SocketAddr) -> Self {
        let mut client = Client::new(config, Box::new(System)).unwrap();
        client.connect(now());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self {
            client,
            socket,
            server,
            heard: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Carries until something is so.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while !done(self) {
            assert!(
                Instant::now() < end,
                "{what}: {:?}, heard {:?}",
                self.events,
                self.heard
            );
            let wake = loop {
                match self.client.poll(now()) {
                    ClientOutput::Datagram(bytes) => drop(self.socket.send_to(&bytes, self.server)),
                    ClientOutput::Record(bytes) => self.heard.push(bytes),
                    ClientOutput::Event(event) => self.events.push(event),
                    ClientOutput::Wait(when) => break when,
                }
            };
            let wait = wake.map_or(PATIENCE, |wake| wake.saturating_sub(now().uptime));
            let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(50));
            self.socket.set_read_timeout(Some(wait)).unwrap();
            if let Ok(length) = self.socket.recv(&mut buffer) {
                self.client.feed(&buffer[..length], now());
            }
        }
    }

    /// The handshake: suite, with a Connection ID, resumed.
    fn connected(&mut self) -> (u16, bool, bool) {
        self.until("an end of the handshake", |ours| !ours.events.is_empty());
        match &self.events[0] {
            ClientEvent::Connected {
                suite,
                cid,
                resumed,
                ..
            } => (*suite, *cid, resumed.is_some()),
            other => panic!("{other:?}"),
        }
    }

    fn echo(&mut self, text: &str) {
        self.client.send(text.as_bytes(), now()).unwrap();
        let before = self.heard.len();
        self.until(text, |ours| ours.heard.len() > before);
        assert_eq!(self.heard[before], text.as_bytes());
    }

    fn close(&mut self) {
        self.client.close(now());
        while let ClientOutput::Datagram(bytes) = self.client.poll(now()) {
            self.socket.send_to(&bytes, self.server).unwrap();
        }
    }
}

fn config(papers: &Papers, suite: u16, resume: Option<Resumption>) -> ClientConfig {
    let mut config = ClientConfig::new(&*papers.root_pem, NAME);
    config.suites = Suites::these(&[suite]).unwrap();
    config.resume = resume;
    config
}

fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// `gnutls-serv`, which asks for a cookie and says back what it hears.
struct GnutlsServer {
    address: SocketAddr,
    _tool: Tool,
    _directory: tempfile::TempDir,
}

impl GnutlsServer {
    fn start(papers: &Papers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_string_lossy().into_owned()
        };
        let address = free_port();
        let mut command = Command::new("gnutls-serv");
        command
            .args(["--udp", "--echo", "--port", &address.port().to_string()])
            .arg(format!("--x509certfile={}", file("chain.pem", &papers.chain)))
            .arg(format!("--x509keyfile={}", file("key.pem", &papers.key)))
            .arg("--priority=NORMAL:-VERS-ALL:+VERS-DTLS1.2:+AES-128-CCM-8:+AES-128-CCM:+AES-128-CBC:+SHA256");
        let mut tool = Tool::start(command);
        tool.until("done");
        Self {
            address,
            _tool: tool,
            _directory: directory,
        }
    }
}

#[test]
fn our_client_speaks_with_gnutls_and_resumes() {
    if !have(&["gnutls-serv"]) {
        return;
    }
    let papers = Papers::new();
    let server = GnutlsServer::start(&papers);
    for suite in [0xC02B, 0xC0AE, 0xC0AC, 0xC023, 0xC009] {
        let mut ours = Ours::new(&config(&papers, suite, None), server.address);
        assert_eq!(ours.connected(), (suite, false, false));
        ours.echo("first");
        let resumption = ours.client.resumption();
        assert!(resumption.is_some());
        ours.close();
        let mut ours = Ours::new(&config(&papers, suite, resumption), server.address);
        assert_eq!(ours.connected(), (suite, false, true));
        ours.echo("second");
        ours.close();
    }
}

#[test]
fn our_client_tells_what_is_wrong_with_a_certificate() {
    if !have(&["gnutls-serv"]) {
        return;
    }
    let papers = Papers::new();
    let server = GnutlsServer::start(&papers);
    let fault = |config: &ClientConfig| {
        let mut ours = Ours::new(config, server.address);
        ours.until("an end", |ours| !ours.events.is_empty());
        match ours.events.remove(0) {
            ClientEvent::Failed(ClientFailure::Certificate(fault)) => fault,
            other => panic!("{other:?}"),
        }
    };
    let mut elsewhere = config(&papers, 0xC02B, None);
    elsewhere.server_name = "elsewhere.example".to_owned();
    assert!(matches!(fault(&elsewhere), CertificateFault::Name { .. }));
    let stranger = config(&Papers::new(), 0xC02B, None);
    assert!(matches!(
        fault(&stranger),
        CertificateFault::UnknownAuthority { .. }
    ));
}

/// A server of the other library: one peer, whose address may move by its Connection ID.
struct ForeignServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

/// Length of the Connection ID that the foreign server asks for.
const CID_BYTES: usize = 6;

impl ForeignServer {
    fn start(papers: &Papers) -> Self {
        let chain = der(&papers.chain);
        let key = BoxedEcdsaPrivateKey::from_pkcs8_pem(&papers.key).unwrap();
        let config = Config::builder()
            .versions(ProtocolVersion::DTLSv1_2, ProtocolVersion::DTLSv1_2)
            .os_rng()
            .identity(vec![chain], SigningKey::Ecdsa(key))
            .cookie_secret([3; 32])
            .peer_address(b"one peer".to_vec())
            .connection_id(vec![5; CID_BYTES])
            .build();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut connection = Connection::server(&config).unwrap();
            let (mut peer, mut moves, mut buffer) = (None, 0, [0; 4096]);
            socket
                .set_read_timeout(Some(Duration::from_millis(20)))
                .unwrap();
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                for record in records(&buffer[..length], CID_BYTES) {
                    connection.set_now(now().uptime);
                    connection.feed(record).unwrap();
                    connection.handshake().unwrap();
                    let heard = connection.recv().unwrap();
                    if !heard.is_empty() {
                        connection.send(&heard).unwrap();
                    }
                }
                if peer.is_none() {
                    peer = Some(from);
                } else if peer != Some(from) && connection.datagram_allows_peer_address_update() {
                    peer = Some(from);
                    moves += 1;
                }
                loop {
                    let datagram = connection.pop().unwrap();
                    if datagram.is_empty() {
                        break;
                    }
                    socket.send_to(&datagram, peer.unwrap()).unwrap();
                }
            }
            moves
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// Ends it; how often its peer moved.
    fn end(&mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn der(pem: &str) -> Vec<u8> {
    purecrypto::der::pem_decode(pem, "CERTIFICATE").unwrap()
}

#[test]
fn our_client_keeps_a_foreign_session_on_new_ports() {
    let papers = Papers::new();
    for own_cid in [0, 4] {
        let mut server = ForeignServer::start(&papers);
        let mut config = config(&papers, 0xC02B, None);
        config.cid = Some(own_cid);
        let mut ours = Ours::new(&config, server.address);
        assert_eq!(ours.connected(), (0xC02B, true, false));
        ours.echo("here");
        for round in 0..3 {
            ours.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            ours.echo(&format!("there {round}"));
        }
        assert_eq!(server.end(), 3);
    }
}

#[test]
fn a_saved_session_of_our_client_goes_on_with_a_foreign_server() {
    let papers = Papers::new();
    let mut server = ForeignServer::start(&papers);
    let config = config(&papers, 0xC02B, None);
    let mut ours = Ours::new(&config, server.address);
    assert_eq!(ours.connected(), (0xC02B, true, false));
    ours.echo("before");
    let saved = ours
        .client
        .save(now())
        .expect("an AEAD session with a Connection ID");
    let client = Client::load(&config, Box::new(System), saved, now()).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut ours = Ours {
        client,
        socket,
        server: server.address,
        heard: Vec::new(),
        events: Vec::new(),
    };
    ours.echo("after");
    assert_eq!(server.end(), 1);
}
