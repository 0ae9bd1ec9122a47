//! The servers under load: the bare endpoints, and the whole service.

use sectag_coap::{Code, Limits, Output, Response, Server};
use sectag_dtls::{Endpoint, Identity, MasterSecret, Now, Random, ServerConfig, SessionKey};
use sectag_pki::PrivateKey;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::jwt::{self, Claims};
use sectag_proto::token::{AttestationToken, DeviceType};
use sectag_proto::{DeviceId, FirmwareId};
use sectag_server::app::{Caller, ClaimRequest};
use sectag_server::{Config, Home, Service, system_clock};
use sectag_store::Role;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is answered: about as long as what libcoap's example server says on `/`.
pub const TEXT: &str = "This is a test server of about the size that libcoap's example answers\nwith, so that both \
                        carry the same\nload, about 140 bytes\n";

/// The largest datagram that is read.
const DATAGRAM_BYTES: usize = 2048;
/// Datagrams read before answers are sent.
const BATCH: usize = 64;

pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

pub struct Watch(Instant);

impl Watch {
    pub fn new() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Now {
            uptime: self.0.elapsed(),
            unix_s: unix.as_secs(),
        }
    }
}

/// Until this process is killed, or its parent is gone.
pub fn serve(role: &str, words: &[String]) {
    match role {
        "plain" => plain(words.first().is_none_or(|word| word == "text")),
        "dtls" => dtls(
            Path::new(&words[0]),
            words.get(1).is_none_or(|word| word == "text"),
        ),
        "service" => service(Path::new(&words[0])),
        role => panic!("no server is called {role}"),
    }
}

fn listen() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    say(&socket.local_addr().unwrap().to_string());
    socket
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// Takes what is there, at most a batch, waiting for the first.
fn receive(socket: &UdpSocket, buffer: &mut [u8], mut take: impl FnMut(&[u8], SocketAddr)) {
    for turn in 0..BATCH {
        if turn == 1 {
            socket.set_nonblocking(true).unwrap();
        }
        match socket.recv_from(buffer) {
            Ok((length, from)) => take(&buffer[..length], from),
            Err(_) => break,
        }
    }
    socket.set_nonblocking(false).unwrap();
}

/// Addresses are sessions here: what a plain CoAP server does.
fn number_of(address: SocketAddr) -> u64 {
    let SocketAddr::V4(address) = address else {
        panic!("IPv4 only")
    };
    u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port())
}

fn address_of(number: u64) -> SocketAddr {
    let [.., a, b, c, d, high, low] = number.to_be_bytes();
    SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
}

fn answer(text: bool) -> Response {
    let answer = Response::new(Code::CONTENT);
    if text {
        answer.payload(0, TEXT.as_bytes().to_vec())
    } else {
        answer
    }
}

fn plain(text: bool) {
    let socket = listen();
    let watch = Watch::new();
    let mut coap = Server::new(Limits::default(), 1);
    let mut buffer = [0; DATAGRAM_BYTES];
    loop {
        let now = watch.now().uptime;
        receive(&socket, &mut buffer, |datagram, from| {
            coap.feed(number_of(from), datagram, now)
        });
        let now = watch.now().uptime;
        loop {
            match coap.poll(now) {
                Output::Send { session, bytes } => {
                    let _ = socket.send_to(&bytes, address_of(session));
                }
                Output::Request(request) => coap.respond(request.exchange, answer(text), now),
                Output::Wait(_) => break,
            }
        }
    }
}

fn dtls(folder: &Path, text: bool) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let identity = Identity::from_pem(&read("chain.pem"), &read("server.key")).unwrap();
    let config = ServerConfig::new(identity, MasterSecret::new([7; 32]));
    let mut endpoint = Endpoint::new(config, Box::new(SystemRandom)).unwrap();
    let mut coap = Server::new(Limits::default(), 1);
    let socket = listen();
    let watch = Watch::new();
    let mut buffer = [0; DATAGRAM_BYTES];
    loop {
        let now = watch.now();
        receive(&socket, &mut buffer, |datagram, from| {
            endpoint.feed(datagram, from, now)
        });
        let now = watch.now();
        loop {
            match endpoint.poll(now) {
                sectag_dtls::Output::Datagram { to, bytes } => {
                    let _ = socket.send_to(&bytes, to);
                }
                sectag_dtls::Output::Record { session, bytes } => {
                    coap.feed(session.0, &bytes, now.uptime);
                    loop {
                        match coap.poll(now.uptime) {
                            Output::Send { session, bytes } => {
                                let _ = endpoint.send(SessionKey(session), &bytes, now);
                            }
                            Output::Request(request) => {
                                coap.respond(request.exchange, answer(text), now.uptime)
                            }
                            Output::Wait(_) => break,
                        }
                    }
                }
                sectag_dtls::Output::Event(sectag_dtls::Event::Closed { session, .. }) => {
                    coap.forget(session.0)
                }
                sectag_dtls::Output::Event(_) => {}
                sectag_dtls::Output::Wait(_) => break,
            }
        }
    }
}

/// Tokens of devices that are claimed, for five minutes; each opens as many sessions as one device may in a minute.
async fn claimed(service: &Service) -> Vec<String> {
    const DEVICES: u8 = 64;
    let caller = Caller {
        name: "owner".to_owned(),
        role: Role::Owner,
        team: service.home().owner_id(),
        scope: Vec::new(),
        sees_reserved: true,
    };
    let key = Key(PrivateKey::generate().unwrap());
    let mut tokens = Vec::new();
    for n in 1..=DEVICES {
        let (device, firmware) = (
            DeviceId::from_bytes([n; 16]),
            FirmwareId::from_bytes([7; 16]),
        );
        let convention = Convention::BodyIsAad;
        let kind = DeviceType::NRF9151_LACA;
        let claim = AttestationToken::sign(device, kind, firmware, [9; 16], convention, &key);
        let request = ClaimRequest {
            token: claim.text(),
            tags: Vec::new(),
            accept_new_key: false,
        };
        service.app().claim(&request, &caller).await.unwrap();
        let claims = Claims {
            chip: "nRF9151",
            device,
            firmware,
            nonce: [1; 16],
            validity: Some((system_clock()(), Duration::from_secs(300))),
            subject: "",
            audience: "",
        };
        tokens.push(jwt::sign(&claims, &key));
    }
    tokens
}

struct Key(PrivateKey);

impl SignEs256 for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).unwrap())
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::from_spki_der(&self.0.spki_der()).unwrap()
    }
}

fn service(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let home = folder.join(format!("home-{}", std::process::id()));
        let mut config = Config::new(Home::open(&home, system_clock()()).unwrap());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (config.owner, config.loopback, config.device, config.mqtt) = (any, any, any, any);
        config.coap = any;
        let service = Service::start(config).await.unwrap();
        let address = service.addresses().coap.unwrap();
        let tokens = home.join("tokens");
        std::fs::write(&tokens, claimed(&service).await.join("\n")).unwrap();
        let root = home.join("ca/root.crt");
        say(&format!(
            "{address} {} {}",
            root.display(),
            tokens.display()
        ));
        // Ends with the parent, which holds the other end.
        tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]))
            .await
            .unwrap()
            .unwrap();
        service.shutdown().await;
    });
}
