//! A DTLS client none of us wrote (`purecrypto`), on a UDP socket of its own: Connection ID, tickets, a change of address.
//!
//! It keeps the head of every protected record that crossed its sockets, so that a test can say that no key was used twice
//! with one number, whatever happened to the server in between.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]
#![allow(missing_docs, unreachable_pub)]

use purecrypto::tls::{Config, Connection, ProtocolVersion, ResumptionSession, RootCertStore};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long anybody waits for a datagram.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Content type of a record with a connection ID, RFC 9146 §4.
const WITH_CID: u8 = 25;
/// Length of the CID a client wants to be called by. It is new for each handshake, so it names the server's key.
const OWN_CID_BYTES: usize = 8;

/// Who must show what.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    pub root_pem: String,
    pub name: String,
}

/// Head of a protected record: what makes its nonce.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    pub from_server: bool,
    /// The connection ID in it; empty without one.
    pub cid: Vec<u8>,
    pub epoch: u16,
    pub sequence: u64,
    /// The eight bytes of the nonce that travel with an AEAD record (RFC 5288 §3).
    pub explicit: [u8; 8],
}

pub struct Foreign {
    connection: Connection,
    socket: UdpSocket,
    server: SocketAddr,
    own_cid: Vec<u8>,
    started: Instant,
    /// Every protected record, in the order of this end.
    pub heads: Vec<Head>,
    pub datagrams_sent: usize,
}

impl Foreign {
    /// A handshake; by ticket if one is given.
    pub fn connect(server: &Server, ticket: Option<ResumptionSession>) -> Result<Self, String> {
        Self::connect_as(server, ticket, true)
    }

    pub fn connect_as(
        server: &Server,
        ticket: Option<ResumptionSession>,
        with_cid: bool,
    ) -> Result<Self, String> {
        let socket = bind();
        let mut own_cid = vec![0; OWN_CID_BYTES];
        getrandom::fill(&mut own_cid).unwrap();
        let mut roots = RootCertStore::new();
        roots
            .add_pem(&server.root_pem)
            .map_err(|e| format!("the root: {e:?}"))?;
        let mut config = Config::builder()
            .versions(ProtocolVersion::DTLSv1_2, ProtocolVersion::DTLSv1_2)
            .roots(roots)
            .server_name(&*server.name)
            .os_rng();
        if with_cid {
            config = config.connection_id(own_cid.clone());
        } else {
            own_cid.clear();
        }
        if let Some(ticket) = ticket {
            config = config.resumption_session(ticket);
        }
        let connection = Connection::client(&config.build()).map_err(|e| format!("{e:?}"))?;
        let mut this = Self {
            connection,
            socket,
            server: server.address,
            own_cid,
            started: Instant::now(),
            heads: Vec::new(),
            datagrams_sent: 0,
        };
        this.handshake()?;
        Ok(this)
    }

    fn handshake(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        self.flush();
        let mut buffer = [0; 4096];
        while !self.connection.is_handshake_complete() {
            if Instant::now() > end {
                return Err("the handshake took too long".into());
            }
            let wait = self.wait_for_timer();
            self.socket.set_read_timeout(Some(wait)).unwrap();
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    self.note(true, &buffer[..length]);
                    self.connection.set_now(self.started.elapsed());
                    // Record by record: it knows where a CID ends only after the ServerHello, which may be in the same datagram.
                    for record in records(&buffer[..length], self.own_cid.len()) {
                        let fed = self.connection.feed(record);
                        fed.map_err(|e| format!("{e:?}"))?;
                    }
                    self.connection.handshake().map_err(|e| format!("{e:?}"))?;
                }
                Err(_) => self.connection.on_timeout(self.started.elapsed()),
            }
            self.flush();
        }
        Ok(())
    }

    fn wait_for_timer(&self) -> Duration {
        let until = self.connection.next_timeout().unwrap_or(PATIENCE);
        until
            .saturating_sub(self.started.elapsed())
            .clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// Sends one record.
    pub fn send(&mut self, plaintext: &[u8]) {
        self.connection.send(plaintext).unwrap();
        self.flush();
    }

    /// Makes one record and keeps it: what a network may deliver late, twice, or changed.
    pub fn record(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.connection.send(plaintext).unwrap();
        let datagram = self.connection.pop().unwrap();
        self.note(false, &datagram);
        datagram
    }

    /// Puts bytes on the wire as they are.
    pub fn send_raw(&mut self, datagram: &[u8]) {
        self.datagrams_sent += 1;
        self.socket.send_to(datagram, self.server).unwrap();
    }

    /// The next record's plaintext, or nothing when nothing came in time.
    pub fn receive(&mut self, wait: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + wait;
        let mut buffer = [0; 4096];
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .unwrap();
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            self.note(true, &buffer[..length]);
            // `recv` joins what several records of one datagram hold, so they are fed one by one.
            for record in records(&buffer[..length], self.own_cid.len()) {
                self.connection.set_now(self.started.elapsed());
                let _ = self.connection.feed(record);
                let plaintext = self.connection.recv().unwrap_or_default();
                if !plaintext.is_empty() {
                    return Some(plaintext);
                }
            }
            self.flush();
        }
    }

    /// Whether a datagram came within this time. It is noted, not read.
    pub fn hears(&mut self, wait: Duration) -> bool {
        self.socket.set_nonblocking(wait.is_zero()).unwrap();
        if !wait.is_zero() {
            self.socket.set_read_timeout(Some(wait)).unwrap();
        }
        let mut buffer = [0; 4096];
        let heard = self.socket.recv(&mut buffer);
        self.socket.set_nonblocking(false).unwrap();
        if let Ok(length) = heard {
            self.note(true, &buffer[..length]);
        }
        heard.is_ok()
    }

    /// Asks until answered, as a CoAP client does: the same bytes again after 2 s, 4 s, …
    pub fn ask(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let end = Instant::now() + PATIENCE;
        let mut wait = Duration::from_secs(2);
        while Instant::now() < end {
            self.send(plaintext);
            if let Some(answer) = self.receive(wait) {
                return Some(answer);
            }
            wait *= 2;
        }
        None
    }

    /// From here on from another port: what a NAT does to a device.
    pub fn rebind(&mut self) {
        let old = self.socket.local_addr().unwrap();
        self.socket = bind();
        assert_ne!(self.socket.local_addr().unwrap(), old);
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn resumed(&self) -> bool {
        self.connection.resumed()
    }

    pub fn ticket(&mut self) -> Option<ResumptionSession> {
        self.connection.take_session()
    }

    /// The IANA number of the suite.
    pub fn suite(&self) -> u16 {
        self.connection.negotiated_cipher_suite().unwrap()
    }

    /// The CID the server wants to be called by.
    pub fn server_cid(&self) -> Option<Vec<u8>> {
        self.connection.peer_connection_id().map(<[u8]>::to_vec)
    }

    pub fn server_closed(&self) -> bool {
        self.connection.received_close_notify()
    }

    pub fn close(&mut self) {
        if self.connection.close().is_ok() {
            self.flush();
        }
    }

    /// Highest record number of the server's so far under the present key.
    pub fn last_from_server(&self) -> Option<(u16, u64)> {
        self.heads
            .iter()
            .filter(|head| head.from_server)
            .map(|head| (head.epoch, head.sequence))
            .max()
    }

    fn flush(&mut self) {
        loop {
            let datagram = self.connection.pop().unwrap();
            if datagram.is_empty() {
                return;
            }
            self.note(false, &datagram);
            self.datagrams_sent += 1;
            // A server that is away answers with ICMP, which comes back as an error: a device would not notice.
            let _ = self.socket.send_to(&datagram, self.server);
        }
    }

    fn note(&mut self, from_server: bool, datagram: &[u8]) {
        let cid_bytes = if from_server {
            self.own_cid.len()
        } else {
            self.server_cid().map_or(0, |cid| cid.len())
        };
        for record in records(datagram, cid_bytes) {
            let epoch = u16::from_be_bytes([record[3], record[4]]);
            if epoch == 0 {
                continue;
            }
            let mut sequence = [0; 8];
            sequence[2..].copy_from_slice(&record[5..11]);
            let cid_bytes = if record[0] == WITH_CID { cid_bytes } else { 0 };
            let body = 13 + cid_bytes;
            let mut explicit = [0; 8];
            if let Some(bytes) = record.get(body..body + 8) {
                explicit.copy_from_slice(bytes);
            }
            self.heads.push(Head {
                from_server,
                cid: record[11..11 + cid_bytes].to_vec(),
                epoch,
                sequence: u64::from_be_bytes(sequence),
                explicit,
            });
        }
    }
}

fn bind() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// The records of a datagram; `cid_bytes` is the length of the CID its receiver chose.
pub fn records(datagram: &[u8], cid_bytes: usize) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let head = 13 + if rest[0] == WITH_CID { cid_bytes } else { 0 };
        if rest.len() < head {
            break;
        }
        let body = usize::from(u16::from_be_bytes([rest[head - 2], rest[head - 1]]));
        let Some(record) = rest.get(..head + body) else {
            break;
        };
        records.push(record);
        rest = &rest[head + body..];
    }
    records
}

/// No two records under one key with one number, nor with one nonce. `key` names the session; each direction has its own.
#[derive(Default)]
pub struct Nonces {
    seen: HashMap<(u64, bool, u16, u64), usize>,
    explicit: HashMap<(u64, bool, u16, [u8; 8]), usize>,
}

impl Nonces {
    /// Takes what one client saw under one handshake; its own records and the server's.
    pub fn add(&mut self, key: u64, heads: &[Head]) {
        for head in heads {
            *self
                .seen
                .entry((key, head.from_server, head.epoch, head.sequence))
                .or_default() += 1;
            *self
                .explicit
                .entry((key, head.from_server, head.epoch, head.explicit))
                .or_default() += 1;
        }
    }

    pub fn records(&self) -> usize {
        self.seen.len()
    }

    pub fn assert_never_twice(&self) {
        for (number, times) in &self.seen {
            assert_eq!(
                *times, 1,
                "session, from server, epoch, sequence: {number:?}"
            );
        }
        for (nonce, times) in &self.explicit {
            assert_eq!(*times, 1, "session, from server, epoch, nonce: {nonce:?}");
        }
    }
}
