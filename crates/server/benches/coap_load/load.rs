//! The load: devices by the dozen on one thread, and a flood of strangers.

use crate::process::Child;
use crate::servers::{SystemRandom, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sectag_coap::{ClientOutput, ClientRequest, Method};
use sectag_dtls::{ClientConfig, ClientEvent};
use sectag_pki::{Authority, PrivateKey, Purpose};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Handshakes that a crowd has under way at once.
const ARRIVING: usize = 32;
/// A visit that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A CA, and a server's certificate and key for `localhost` in a folder.
pub struct Papers {
    folder: PathBuf,
    root_pem: String,
}

impl Papers {
    pub fn new(folder: &Path) -> Self {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let root = Authority::root("bench", now_s).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s).unwrap();
        let key = PrivateKey::generate().unwrap();
        let leaf = servers
            .issue_server(&key.spki_der(), &["localhost".parse().unwrap()], now_s)
            .unwrap();
        std::fs::write(
            folder.join("chain.pem"),
            leaf.pem() + &servers.certificate_pem(),
        )
        .unwrap();
        std::fs::write(folder.join("server.key"), key.to_pem().as_bytes()).unwrap();
        Self {
            folder: folder.to_owned(),
            root_pem: root.certificate_pem(),
        }
    }

    pub fn folder(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    /// The service makes its own CA.
    pub fn of_service(&self, service: &Child) -> Self {
        let root_pem = std::fs::read_to_string(&service.words[0]).unwrap();
        Self {
            folder: self.folder.clone(),
            root_pem,
        }
    }

    /// Of the devices that the service has claimed.
    pub fn tokens(service: &Child) -> Vec<String> {
        let tokens = std::fs::read_to_string(&service.words[1]).unwrap();
        tokens.lines().map(str::to_owned).collect()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new(&self.root_pem, "localhost");
        config.session_cache = false;
        config
    }
}

/// One device: a socket, a DTLS session, a CoAP client.
struct Visitor {
    socket: UdpSocket,
    dtls: sectag_dtls::Client,
    coap: sectag_coap::Client,
    since: Instant,
    connected: bool,
    failed: bool,
    answers: usize,
}

impl Visitor {
    fn arrive(config: &ClientConfig, address: SocketAddr, at_once: usize, watch: &Watch) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut dtls = sectag_dtls::Client::new(config, Box::new(SystemRandom)).unwrap();
        dtls.connect(watch.now());
        let coap = sectag_coap::ClientConfig {
            nstart: at_once,
            ..Default::default()
        };
        let mut visitor = Self {
            socket,
            dtls,
            coap: sectag_coap::Client::new(coap, 1),
            since: Instant::now(),
            connected: false,
            failed: false,
            answers: 0,
        };
        visitor.step(watch);
        visitor
    }

    fn ask(&mut self, watch: &Watch) {
        let request = ClientRequest::new(Method::GET, &["p", "cmd"]).query("after=");
        self.coap.request(request, watch.now().uptime);
    }

    /// Says which device it is, so that its session stays.
    fn show(&mut self, token: &str, watch: &Watch) {
        let request = ClientRequest::new(Method::POST, &["p", "auth-jwt"])
            .payload(60, token.as_bytes().to_vec());
        self.coap.request(request, watch.now().uptime);
    }

    /// Everything that can be done now.
    fn step(&mut self, watch: &Watch) {
        let mut buffer = [0; 2048];
        let now = watch.now();
        // A closed port answers by ICMP, which is an error here; the retransmission will find out.
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.dtls.feed(&buffer[..length], now);
        }
        loop {
            match self.dtls.poll(now) {
                sectag_dtls::ClientOutput::Datagram(bytes) => {
                    let _ = self.socket.send(&bytes);
                }
                sectag_dtls::ClientOutput::Record(bytes) => self.coap.feed(&bytes, now.uptime),
                sectag_dtls::ClientOutput::Event(ClientEvent::Connected { .. }) => {
                    self.connected = true
                }
                sectag_dtls::ClientOutput::Event(_) => self.failed = true,
                sectag_dtls::ClientOutput::Wait(_) if self.connected && self.say(now) => {}
                sectag_dtls::ClientOutput::Wait(_) => break,
            }
        }
    }

    /// Carries what CoAP wants; false when it wants nothing.
    fn say(&mut self, now: sectag_dtls::Now) -> bool {
        let mut said = false;
        loop {
            match self.coap.poll(now.uptime) {
                ClientOutput::Send(bytes) => {
                    said = true;
                    let _ = self.dtls.send(&bytes, now);
                }
                ClientOutput::Response(_) => self.answers += 1,
                ClientOutput::Failed { .. } => self.failed = true,
                ClientOutput::Wait(_) => return said,
            }
        }
    }

    fn leave(mut self, watch: &Watch) {
        self.dtls.close(watch.now());
        self.step(watch);
    }
}

/// Waits until one of them can read, or a moment for their timers.
fn wait(visitors: &[Visitor]) {
    let mut fds: Vec<PollFd<'_>> = visitors
        .iter()
        .map(|visitor| PollFd::new(&visitor.socket, PollFlags::IN))
        .collect();
    let _ = poll(
        &mut fds,
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        }),
    );
}

/// Sessions that stay; each has shown a token, or asked once where nobody knows tokens.
pub struct Load {
    visitors: Vec<Visitor>,
    watch: Watch,
}

impl Load {
    pub fn connect(
        papers: &Papers,
        address: SocketAddr,
        sessions: usize,
        tokens: &[String],
    ) -> Self {
        let (watch, config) = (Watch::new(), papers.client());
        let (mut arriving, mut there) = (Vec::new(), Vec::with_capacity(sessions));
        let mut sent = 0;
        while there.len() < sessions {
            while arriving.len() < ARRIVING && sent < sessions {
                let mut visitor = Visitor::arrive(&config, address, 1, &watch);
                match tokens {
                    [] => visitor.ask(&watch),
                    tokens => visitor.show(&tokens[sent % tokens.len()], &watch),
                }
                arriving.push(visitor);
                sent += 1;
            }
            wait(&arriving);
            arriving.iter_mut().for_each(|visitor| visitor.step(&watch));
            assert!(
                arriving.iter().all(|visitor| !visitor.failed),
                "a handshake failed"
            );
            let (done, more): (Vec<_>, Vec<_>) = arriving
                .into_iter()
                .partition(|visitor| visitor.answers > 0);
            there.extend(done);
            arriving = more;
        }
        Self {
            visitors: there,
            watch,
        }
    }

    /// Requests answered in that time, `window` of them always out.
    pub fn requests(&mut self, window: usize, time: Duration) -> usize {
        let began = Instant::now();
        let each = window / self.visitors.len();
        for visitor in &mut self.visitors {
            visitor.coap = sectag_coap::Client::new(
                sectag_coap::ClientConfig {
                    nstart: each,
                    ..Default::default()
                },
                7,
            );
            (0..each).for_each(|_| visitor.ask(&self.watch));
            visitor.step(&self.watch);
        }
        let mut answered = 0;
        self.visitors
            .iter_mut()
            .for_each(|visitor| visitor.answers = 0);
        while began.elapsed() < time {
            wait(&self.visitors);
            for visitor in &mut self.visitors {
                visitor.step(&self.watch);
                answered += visitor.answers;
                (0..std::mem::take(&mut visitor.answers)).for_each(|_| visitor.ask(&self.watch));
                visitor.step(&self.watch);
            }
        }
        answered
    }
}

/// Full handshakes completed in that time, one after the other, each from a new port.
pub fn handshakes(papers: &Papers, address: SocketAddr, time: Duration) -> usize {
    let (watch, config, began) = (Watch::new(), papers.client(), Instant::now());
    let mut done = 0;
    while began.elapsed() < time {
        let mut visitor = [Visitor::arrive(&config, address, 1, &watch)];
        while !visitor[0].connected && !visitor[0].failed && visitor[0].since.elapsed() < PATIENCE {
            wait(&visitor);
            visitor[0].step(&watch);
        }
        let [visitor] = visitor;
        assert!(visitor.connected, "a handshake failed");
        visitor.leave(&watch);
        done += 1;
    }
    done
}

/// Full handshakes per second when so many are always under way.
pub fn handshakes_at_once(
    papers: &Papers,
    address: SocketAddr,
    at_once: usize,
    time: Duration,
) -> f64 {
    let (watch, config, began) = (Watch::new(), papers.client(), Instant::now());
    let (mut arriving, mut done) = (Vec::new(), 0_usize);
    while began.elapsed() < time {
        while arriving.len() < at_once {
            arriving.push(Visitor::arrive(&config, address, 1, &watch));
        }
        wait(&arriving);
        arriving.iter_mut().for_each(|visitor| visitor.step(&watch));
        let (there, more): (Vec<_>, Vec<_>) =
            arriving.into_iter().partition(|visitor| visitor.connected);
        done += there.len();
        there.into_iter().for_each(|visitor| visitor.leave(&watch));
        arriving = more;
    }
    done as f64 / began.elapsed().as_secs_f64()
}

/// Good clients: each makes a full handshake, asks once, and leaves.
pub struct Device {
    config: ClientConfig,
    address: SocketAddr,
    watch: Watch,
}

impl Device {
    pub fn new(papers: &Papers, address: SocketAddr) -> Self {
        Self {
            config: papers.client(),
            address,
            watch: Watch::new(),
        }
    }

    /// Visits completed per second, when so many are begun per second.
    pub fn work(&mut self, offered: f64, time: Duration) -> f64 {
        let began = Instant::now();
        let (mut visits, mut begun, mut done): (Vec<Visitor>, f64, usize) = (Vec::new(), 0.0, 0);
        loop {
            let elapsed = began.elapsed();
            if elapsed >= time && visits.is_empty() {
                break;
            }
            while elapsed < time && begun < offered * elapsed.as_secs_f64() {
                visits.push(Visitor::arrive(&self.config, self.address, 1, &self.watch));
                visits.last_mut().unwrap().ask(&self.watch);
                begun += 1.0;
            }
            wait(&visits);
            visits.iter_mut().for_each(|visit| visit.step(&self.watch));
            let mut open = Vec::with_capacity(visits.len());
            for visit in visits {
                if visit.answers > 0 {
                    done += 1;
                    visit.leave(&self.watch);
                } else if !visit.failed && visit.since.elapsed() < PATIENCE {
                    open.push(visit);
                }
            }
            visits = open;
        }
        done as f64 / time.as_secs_f64()
    }
}

/// Options of a request for the root, which has none.
pub const ROOT: &[u8] = b"";
/// Options of what devices ask over DTLS: Uri-Path `p`, `cmd`, Uri-Query `after=`.
pub const COMMANDS: &[u8] = b"\xb1p\x03cmd\x46after=";

/// Requests answered in that time over plain UDP, one out per socket: message ids of one address must not return within an
/// exchange's life.
pub fn plain(address: SocketAddr, options: &[u8], window: usize, time: Duration) -> usize {
    let sockets: Vec<UdpSocket> = (0..window)
        .map(|_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let mut ids = vec![0_u16; window];
    let mut buffer = [0; 2048];
    let ask = |socket: &UdpSocket, id: u16| {
        let [high, low] = id.to_be_bytes();
        // Version 1, CON, token of two bytes; 0.01 GET.
        let head = [0x42, 0x01, high, low, high, low];
        socket.send(&[&head[..], options].concat()).unwrap();
    };
    sockets
        .iter()
        .zip(&ids)
        .for_each(|(socket, id)| ask(socket, *id));
    let (mut answered, began) = (0, Instant::now());
    while began.elapsed() < time {
        let mut fds: Vec<PollFd<'_>> = sockets
            .iter()
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        let _ = poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            }),
        );
        let ready: Vec<usize> = fds
            .iter()
            .enumerate()
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(at, _)| at)
            .collect();
        for at in ready {
            if sockets[at].recv(&mut buffer).is_ok() {
                // 2.05 with our token.
                assert_eq!(buffer[1], 0x45, "an answer of another kind");
                answered += 1;
                ids[at] = ids[at].wrapping_add(1);
                ask(&sockets[at], ids[at]);
            }
        }
    }
    answered
}

/// Until a CoAP server answers a ping (an empty confirmable message, which is reset).
pub fn wait_for_coap(address: SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    for id in 0..100 {
        let _ = socket.send(&[0x40, 0, 0, id]);
        if socket.recv(&mut [0; 64]).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no CoAP server at {address}");
}

/// ClientHellos without cookies, each with another random, from many addresses that never answer.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    began: Instant,
    thread: JoinHandle<()>,
}

impl Flood {
    pub fn start(address: SocketAddr, rate: f64) -> Self {
        let mut hello = first_hello();
        let sockets: Vec<UdpSocket> = (0..=255_u8)
            .map(|n| UdpSocket::bind((Ipv4Addr::new(127, 66, n, 1 + n % 250), 0)).unwrap())
            .collect();
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let began = Instant::now();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                while (number as f64) < rate * began.elapsed().as_secs_f64() {
                    // The client's random follows the record's and the handshake's header and the version.
                    hello[27..35].copy_from_slice(&number.to_be_bytes());
                    let _ = sockets[number as usize % sockets.len()].send_to(&hello, address);
                    number += 1;
                }
                counted.store(number, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self {
            stop,
            sent,
            began,
            thread,
        }
    }

    /// Sent per second.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let rate = self.sent.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64();
        self.thread.join().unwrap();
        rate
    }
}

fn first_hello() -> Vec<u8> {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let root = Authority::root("flood", now_s).unwrap().certificate_pem();
    let watch = Watch::new();
    let mut client = sectag_dtls::Client::new(
        &ClientConfig::new(root, "localhost"),
        Box::new(SystemRandom),
    )
    .unwrap();
    client.connect(watch.now());
    match client.poll(watch.now()) {
        sectag_dtls::ClientOutput::Datagram(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}
