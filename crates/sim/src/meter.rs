//! What a request over HTTPS costs on the air: TLS and HTTP by real bytes, TCP by a model.
//!
//! TLS 1.2 runs in memory between rustls and rustls, with the town's certificates and the record limit of the service,
//! without resumption, since the firmware's HTTPS transport has none. HTTP is written as the firmware and the service write
//! it. TCP is modelled as cheap as it can be: no loss, segments as large as the MTU allows, an acknowledgement for each
//! second segment of a flight and none for the last (the answer carries it), three segments to open and three to close.

use crate::ca::{SERVICE, ca};
use crate::town::BEGIN;
use rustls::client::Resumption;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an IPv4 and a TCP header, without options.
pub const HEADER_BYTES: u64 = 40;
/// What LTE networks carry unfragmented everywhere, less the headers.
const SEGMENT_BYTES: u64 = 1280 - HEADER_BYTES;
/// Bytes of the one option without which nobody opens a connection: its largest segment.
const OPTION_BYTES: u64 = 4;
/// Plaintext of the service's records: a modem takes records of 2 kB.
const FRAGMENT_BYTES: usize = 2048 - 24;

/// The sum of some requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Https {
    /// Connections, each with a full handshake.
    pub connections: u64,
    /// TCP segments.
    pub segments: u64,
    /// Bytes of IP and TCP headers.
    pub header_bytes: u64,
    /// Bytes of TLS until both ends have finished.
    pub handshake_bytes: u64,
    /// Bytes that TLS adds afterwards.
    pub record_bytes: u64,
    /// Bytes of HTTP, without token and body.
    pub http_bytes: u64,
    /// Bytes of tokens and of CBOR.
    pub payload_bytes: u64,
}

impl Https {
    /// All of it.
    pub const fn on_air(&self) -> u64 {
        self.header_bytes
            + self.handshake_bytes
            + self.record_bytes
            + self.http_bytes
            + self.payload_bytes
    }

    /// A fetch and its answer.
    pub fn fetch(&mut self, jwt: &str, query: &str, status: u16, answer: &[u8]) {
        let line = format!("GET /v1/provisioning/commands?{query}");
        let format = "Accept: application/cbor\r\n";
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {SERVICE}\r\n{format}Authorization: Bearer {jwt}\r\nContent-Type: */*\r\n{AGENT}\r\n"
        );
        self.exchange(jwt, &head, &[], status, answer);
    }

    /// A report and its acknowledgement.
    pub fn report(&mut self, jwt: &str, body: &[u8], status: u16) {
        let line = "POST /v1/provisioning/response HTTP/1.1";
        let format = "Content-Type: application/cbor\r\nAccept: */*\r\n";
        let length = body.len();
        let head = format!(
            "{line}\r\nHost: {SERVICE}\r\n{format}Authorization: Bearer {jwt}\r\n{AGENT}Content-Length: {length}\r\n\r\n"
        );
        self.exchange(jwt, &head, body, status, &[]);
    }

    fn exchange(&mut self, jwt: &str, head: &str, body: &[u8], status: u16, answer: &[u8]) {
        let answer_head = match answer.len() {
            0 if status == 204 => "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".into(),
            0 => format!("HTTP/1.1 {status} OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
            bytes => format!(
                "HTTP/1.1 {status} OK\r\ncontent-type: application/cbor\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n"
            ),
        };
        let plain = [head.as_bytes(), body].concat();
        let plain_answer = [answer_head.as_bytes(), answer].concat();
        let payload = (jwt.len() + body.len() + answer.len()) as u64;
        self.connections += 1;
        self.payload_bytes += payload;
        self.http_bytes += (plain.len() + plain_answer.len()) as u64 - payload;
        // SYN and its answer have an option; the last three are FIN, FIN with acknowledgement, acknowledgement.
        self.segments += 6;
        self.header_bytes += 6 * HEADER_BYTES + 2 * OPTION_BYTES;
        self.connection(&plain, &plain_answer);
    }

    /// Both ends of one connection, flight by flight.
    fn connection(&mut self, plain: &[u8], plain_answer: &[u8]) {
        let (mut client, mut server) = ends();
        let mut asked = None;
        let mut answered = None;
        while answered.is_none() {
            if !client.is_handshaking() && asked.is_none() {
                client.writer().write_all(plain).expect("in memory");
                asked = Some(plain.len() as u64);
            }
            let up = flight(|out| client.write_tls(out));
            let mut rest = &up[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).expect("in memory");
                server.process_new_packets().expect("the town's TLS");
            }
            if asked.is_some() {
                let mut heard = vec![0; plain.len()];
                server.reader().read_exact(&mut heard).expect("one flight");
                server.writer().write_all(plain_answer).expect("in memory");
                server.send_close_notify();
                answered = Some(plain_answer.len() as u64);
            }
            let down = flight(|out| server.write_tls(out));
            let mut rest = &down[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("in memory");
                client.process_new_packets().expect("the town's TLS");
            }
            self.flight(&up, asked);
            self.flight(&down, answered);
        }
        client.send_close_notify();
        let bye = flight(|out| client.write_tls(out));
        self.flight(&bye, Some(0));
    }

    /// Bytes in one direction without an answer in between; `plain` of them are the request's or the answer's own.
    fn flight(&mut self, bytes: &[u8], plain: Option<u64>) {
        let bytes = bytes.len() as u64;
        let segments = bytes.div_ceil(SEGMENT_BYTES);
        let acknowledgements = segments.saturating_sub(1) / 2;
        self.segments += segments + acknowledgements;
        self.header_bytes += (segments + acknowledgements) * HEADER_BYTES;
        match plain {
            None => self.handshake_bytes += bytes,
            Some(plain) => self.record_bytes += bytes - plain,
        }
    }
}

/// Everything that an end wants to write.
fn flight(mut write: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>) -> Vec<u8> {
    let mut out = Vec::new();
    while write(&mut out).expect("in memory") > 0 {}
    out
}

fn ends() -> (ClientConnection, ServerConnection) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from(ca().root.certificate_der().to_vec());
    roots.add(root).expect("the town's root");
    let mut client = ClientConfig::builder_with_details(provider.clone(), Arc::new(TownClock))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("TLS 1.2")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let chain = CertificateDer::pem_slice_iter(ca().service_chain_pem.as_bytes());
    let chain: Result<Vec<_>, _> = chain.collect();
    let key = PrivateKeyDer::from_pem_slice(ca().service_key_pem.as_bytes());
    let mut server = ServerConfig::builder_with_details(provider, Arc::new(TownClock))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("TLS 1.2")
        .with_no_client_auth()
        .with_single_cert(
            chain.expect("the town's chain"),
            key.expect("the town's key"),
        )
        .expect("they belong together");
    server.max_fragment_size = Some(FRAGMENT_BYTES);
    let name = ServerName::try_from(SERVICE).expect("a name");
    (
        ClientConnection::new(Arc::new(client), name).expect("a client"),
        ServerConnection::new(Arc::new(server)).expect("a server"),
    )
}

/// Certificates of the town are judged by the town's calendar.
#[derive(Debug)]
struct TownClock;

impl TimeProvider for TownClock {
    fn current_time(&self) -> Option<UnixTime> {
        let noon = BEGIN.as_secs() + 43_200;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(noon)))
    }
}

const AGENT: &str = "User-Agent: Zephyr/4.1 (sectag-0.1.0 virtual)\r\nConnection: close\r\n";
