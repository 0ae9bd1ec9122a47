//! A device's end of CoAP over DTLS, on a socket of its own: carries until an answer is there.

use super::{Reply, Town};
use sectag_coap::{
    Client, ClientConfig, ClientOutput, ClientRequest, ClientResponse, Code, Failure, Method,
};
use sectag_dtls::{ClientEvent, ClientFailure, ClientOutput as Dtls, Now, Random, Resumption};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(40);

/// One DTLS session with what is asked in it.
pub struct CoapSession {
    pub socket: UdpSocket,
    pub server: SocketAddr,
    pub dtls: sectag_dtls::Client,
    pub coap: Client,
    /// Everything that happened to the session.
    pub events: Vec<ClientEvent>,
    answers: Vec<Result<ClientResponse, Failure>>,
    begun: Instant,
    clock: Arc<AtomicU64>,
}

/// The operating system's random numbers.
pub struct System;

impl Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

/// As our device would ask.
pub fn config(town: &Town) -> sectag_dtls::ClientConfig {
    sectag_dtls::ClientConfig::new(town.root.clone(), "localhost")
}

impl CoapSession {
    /// A finished handshake.
    pub async fn open(town: &Town) -> Self {
        Self::try_open(town, &config(town)).await.unwrap()
    }

    /// A handshake that resumes, where the service remembers.
    pub async fn resume(town: &Town, resumption: Resumption) -> Self {
        let mut config = config(town);
        config.resume = Some(resumption);
        Self::try_open(town, &config).await.unwrap()
    }

    pub async fn try_open(
        town: &Town,
        config: &sectag_dtls::ClientConfig,
    ) -> Result<Self, ClientFailure> {
        let server = town.service().addresses().coap.unwrap();
        Self::try_open_at(server, town.clock.clone(), config).await
    }

    pub async fn try_open_at(
        server: SocketAddr,
        clock: Arc<AtomicU64>,
        config: &sectag_dtls::ClientConfig,
    ) -> Result<Self, ClientFailure> {
        let mut session = Self {
            socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            server,
            dtls: sectag_dtls::Client::new(config, Box::new(System)).unwrap(),
            coap: Client::new(ClientConfig::default(), 7),
            events: Vec::new(),
            answers: Vec::new(),
            begun: Instant::now(),
            clock,
        };
        session.dtls.connect(session.now());
        loop {
            session.step().await;
            match session.events.last() {
                Some(ClientEvent::Connected { .. }) => return Ok(session),
                Some(ClientEvent::Failed(failure)) => return Err(failure.clone()),
                _ => {}
            }
        }
    }

    /// The answer to a request, or none in the client's time.
    pub async fn try_ask(&mut self, request: ClientRequest) -> Result<ClientResponse, Failure> {
        let uptime = self.now().uptime;
        self.coap.request(request, uptime);
        while self.answers.is_empty() {
            if self.is_closed() {
                return Err(Failure::Reset);
            }
            self.step().await;
        }
        self.answers.remove(0)
    }

    pub async fn ask(&mut self, request: ClientRequest) -> ClientResponse {
        self.try_ask(request).await.unwrap()
    }

    pub async fn authenticate(&mut self, jwt: &str) -> ClientResponse {
        self.try_authenticate(jwt).await.unwrap()
    }

    /// None where the service ends the session meanwhile.
    pub async fn try_authenticate(&mut self, jwt: &str) -> Option<ClientResponse> {
        let request = ClientRequest::new(Method::POST, &["p", "auth-jwt"])
            .query("mver=mfw_nrf91x1_2.0.2")
            .query("cver=3.1.0")
            .payload(60, jwt.as_bytes().to_vec());
        self.try_ask(request).await.ok()
    }

    /// `query` as it stands in a URI.
    pub async fn fetch(&mut self, query: &str) -> ClientResponse {
        let mut request = ClientRequest::new(Method::GET, &["p", "cmd"]);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            request = request.query(pair);
        }
        request.block2 = true;
        self.ask(request).await
    }

    pub async fn report(&mut self, body: &[u8]) -> ClientResponse {
        self.report_typed(60, body).await
    }

    pub async fn report_typed(&mut self, format: u16, body: &[u8]) -> ClientResponse {
        let request =
            ClientRequest::new(Method::POST, &["p", "rsp"]).payload(format, body.to_vec());
        self.ask(request).await
    }

    /// As the firmware does before the modem goes offline: not confirmable.
    pub async fn suspend(&mut self) -> ClientResponse {
        let mut request = ClientRequest::new(Method::POST, &[".dtls", "suspend"]);
        request.confirmable = false;
        self.ask(request).await
    }

    /// The network gives the device another address.
    pub async fn moves(&mut self) {
        self.socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    }

    /// Handshakes that this session has made.
    pub fn handshakes(&self) -> usize {
        let is_one = |event: &&ClientEvent| matches!(event, ClientEvent::Connected { .. });
        self.events.iter().filter(is_one).count()
    }

    /// What was agreed in the last handshake.
    pub fn connected(&self) -> (Option<sectag_dtls::Resumed>, bool) {
        let found = self.events.iter().rev().find_map(|event| match event {
            ClientEvent::Connected { resumed, cid, .. } => Some((*resumed, *cid)),
            _ => None,
        });
        found.unwrap()
    }

    /// The service has ended it.
    pub fn is_closed(&self) -> bool {
        matches!(self.events.last(), Some(ClientEvent::Closed))
    }

    /// Takes what is still on its way, to the service's goodbye.
    pub async fn settle(&mut self) {
        let mut datagram = [0; 4096];
        while !self.is_closed() {
            let received =
                tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut datagram)).await;
            let (length, _) = received.expect("nothing came").unwrap();
            let now = self.now();
            self.dtls.feed(&datagram[..length], now);
            self.carry().await;
        }
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        self.dtls.close(self.now());
        self.carry().await;
    }

    fn now(&self) -> Now {
        Now {
            uptime: self.begun.elapsed(),
            unix_s: self.clock.load(Ordering::Relaxed) / 1000,
        }
    }

    /// Carries all there is, then waits for a datagram or the next thing to do.
    async fn step(&mut self) {
        let before = (self.events.len(), self.answers.len());
        let wait = self.carry().await;
        if before != (self.events.len(), self.answers.len()) {
            return;
        }
        let elapsed = self.begun.elapsed();
        assert!(elapsed < PATIENCE, "no answer: {:?}", self.events);
        let wait = wait.map_or(PATIENCE, |until| until.saturating_sub(elapsed));
        let mut datagram = [0; 4096];
        let received = tokio::time::timeout(wait, self.socket.recv_from(&mut datagram)).await;
        if let Ok(received) = received {
            let (length, from) = received.unwrap();
            assert_eq!(from, self.server);
            let now = self.now();
            self.dtls.feed(&datagram[..length], now);
        }
        self.carry().await;
    }

    async fn carry(&mut self) -> Option<Duration> {
        loop {
            let now = self.now();
            let dtls = loop {
                match self.dtls.poll(now) {
                    Dtls::Datagram(bytes) => {
                        self.socket.send_to(&bytes, self.server).await.unwrap();
                    }
                    Dtls::Record(bytes) => self.coap.feed(&bytes, now.uptime),
                    Dtls::Event(event) => self.events.push(event),
                    Dtls::Wait(until) => break until,
                }
            };
            match self.coap.poll(now.uptime) {
                ClientOutput::Send(bytes) => {
                    let _ = self.dtls.send(&bytes, now);
                }
                ClientOutput::Response(response) => self.answers.push(Ok(response)),
                ClientOutput::Failed { why, .. } => self.answers.push(Err(why)),
                ClientOutput::Wait(until) => return [dtls, until].into_iter().flatten().min(),
            }
        }
    }
}

impl Town {
    /// As the firmware without keep-open: a session for each request, and the token in it.
    pub(super) async fn coap_fetch_as(&self, jwt: &str, query: &str) -> Reply {
        let mut session = CoapSession::open(self).await;
        let mut response = session.authenticate(jwt).await;
        if response.code == Code::CREATED {
            response = session.fetch(query).await;
        }
        session.close().await;
        as_http(&response)
    }

    pub(super) async fn coap_report_as(&self, jwt: &str, format: u16, body: &[u8]) -> Reply {
        let mut session = CoapSession::open(self).await;
        let mut response = session.authenticate(jwt).await;
        if response.code == Code::CREATED {
            response = session.report_typed(format, body).await;
        }
        session.close().await;
        as_http(&response)
    }
}

/// What means the same over HTTPS (spec/device-protocol §5, §6.2).
fn as_http(response: &ClientResponse) -> Reply {
    let status = match response.code {
        Code::CONTENT if response.payload.is_empty() => 204,
        Code::CREATED | Code::CHANGED | Code::CONTENT => 200,
        Code::UNAUTHORIZED => 401,
        Code::NOT_FOUND => 404,
        Code::UNSUPPORTED_CONTENT_FORMAT => 415,
        code if code.class() == 4 => 400,
        _ => 500,
    };
    Reply {
        status,
        head: response.code.to_string(),
        body: response.payload.clone(),
    }
}
