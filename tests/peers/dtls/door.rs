//! A server in a thread: our endpoint on a real UDP socket. It says back what it hears.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    unreachable_pub
)]

use super::foreign::{PATIENCE, Server};
use sectag_dtls::{
    CachedSession, Counters, Endpoint, Event, Identity, MasterSecret, Now, Output, Random,
    SavedSession, ServerConfig,
};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Certificates of the server and of who vouches for it.
pub struct Papers {
    pub root_pem: String,
    pub chain: String,
    pub key: String,
}

pub const NAME: &str = "localhost";

impl Papers {
    pub fn new() -> Self {
        let root_key = rcgen::KeyPair::generate().unwrap();
        let mut root = rcgen::CertificateParams::new([]).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.distinguished_name
            .push(rcgen::DnType::CommonName, "Root");
        let root_certificate = root.self_signed(&root_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
        leaf.distinguished_name
            .push(rcgen::DnType::CommonName, NAME);
        let issuer = rcgen::Issuer::new(root, root_key);
        let certificate = leaf.signed_by(&key, &issuer).unwrap();
        Self {
            root_pem: root_certificate.pem(),
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn config(&self) -> ServerConfig {
        let identity = Identity::from_pem(&self.chain, &self.key).unwrap();
        ServerConfig::new(identity, MasterSecret::new([7; 32]))
    }
}

/// The system's generator.
pub struct System;

impl Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

/// One uptime for all doors of a test, as a machine has one.
pub fn now() -> Now {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Now {
        uptime: START.elapsed(),
        unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    }
}

pub struct Door {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Endpoint>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    events: Mutex<Vec<Event>>,
    counters: Mutex<Counters>,
}

impl Door {
    pub fn open(config: ServerConfig) -> Self {
        Self::open_at(config, "127.0.0.1:0".parse().unwrap(), Vec::new(), &[])
    }

    /// A door that goes on with what another one left.
    pub fn open_at(
        config: ServerConfig,
        address: SocketAddr,
        saved: Vec<SavedSession>,
        cached: &[(Vec<u8>, CachedSession)],
    ) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        let mut endpoint = Endpoint::new(config, Box::new(System)).unwrap();
        for (id, session) in cached {
            endpoint.remember(id, session);
        }
        for session in saved {
            endpoint.load(session, now()).unwrap();
        }
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        let thread = std::thread::spawn(move || carry(endpoint, &socket, &ours));
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub fn server(&self, papers: &Papers) -> Server {
        Server {
            address: self.address,
            root_pem: papers.root_pem.clone(),
            name: NAME.to_owned(),
        }
    }

    /// Events so far, in order, as `look` makes them.
    pub fn events<T>(&self, look: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
        self.shared
            .events
            .lock()
            .unwrap()
            .iter()
            .filter_map(look)
            .collect()
    }

    pub fn counters(&self) -> Counters {
        *self.shared.counters.lock().unwrap()
    }

    /// Waits until the endpoint has counted so.
    pub fn until(&self, what: &str, enough: impl Fn(&Counters) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !enough(&self.counters()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.counters());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Orderly: what can be saved is.
    pub fn shut(mut self) -> Vec<SavedSession> {
        self.end().into_saved(now())
    }

    /// As a crash: nothing is saved. What was kept for session IDs all along is given back.
    pub fn crash(mut self) -> Vec<(Vec<u8>, CachedSession)> {
        drop(self.end());
        self.events(|event| match event {
            Event::Cache { id, session } => Some((id.clone(), session.clone())),
            _ => None,
        })
    }

    fn end(&mut self) -> Endpoint {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn carry(mut endpoint: Endpoint, socket: &UdpSocket, shared: &Shared) -> Endpoint {
    let mut buffer = [0; 4096];
    loop {
        let wake = loop {
            match endpoint.poll(now()) {
                Output::Datagram { to, bytes } => drop(socket.send_to(&bytes, to)),
                Output::Record { session, bytes } => {
                    endpoint.send(session, &bytes, now()).unwrap();
                }
                Output::Event(event) => shared.events.lock().unwrap().push(event),
                Output::Wait(when) => break when,
            }
        };
        *shared.counters.lock().unwrap() = endpoint.counters();
        if shared.stop.load(Ordering::Relaxed) {
            return endpoint;
        }
        let wait = wake
            .map_or(Duration::MAX, |wake| wake.saturating_sub(now().uptime))
            .clamp(Duration::from_millis(1), Duration::from_millis(20));
        socket.set_read_timeout(Some(wait)).unwrap();
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            endpoint.feed(&buffer[..length], from, now());
        }
    }
}
