//! One DTLS session on one socket, and the CoAP client in it: bytes in, bytes out, and waiting for whichever comes first.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sectag_coap::{ClientOutput as CoapOutput, ClientRequest, ClientResponse, Method, RequestId};
use sectag_dtls::{
    ClientConfig, ClientEvent, ClientFailure, ClientOutput as DtlsOutput, ConfigError, LoadError,
    Now, Resumption, SavedSession, Traffic,
};
use sectag_proto::device::Transport;
use sectag_proto::device::coap::{CoapMethod, CoapRequest};
use tokio::net::UdpSocket;

use super::Failure;
use crate::budget::{Budget, Layers};
use crate::way::{Clock, Handshake};

/// Larger than any datagram of a record of 2 kB.
const DATAGRAM_BYTES_MAX: usize = 4096;

pub(super) struct Session {
    socket: UdpSocket,
    server: SocketAddr,
    dtls: sectag_dtls::Client,
    coap: sectag_coap::Client,
    clock: Clock,
    happened: VecDeque<Happened>,
    /// Handshakes are over: from here on a `port unreachable` is a hint that anybody can forge, and a server that starts
    /// anew is worth waiting for.
    established: bool,
    cid: bool,
    refused: bool,
    /// A new socket was tried since the last exchange began.
    rebound: bool,
    /// Bytes of tokens in `coap`'s payload.
    token_bytes: u64,
}

enum Happened {
    Connected(Handshake),
    Ended(Failure),
    Answered(ClientResponse),
    NotAnswered(RequestId, sectag_coap::Failure),
}

impl Session {
    /// A socket to `server`, and a handshake that has not begun. A session to resume that cannot be read is dropped from
    /// `config`.
    pub(super) async fn start(
        server: SocketAddr,
        config: &mut ClientConfig,
        coap: sectag_coap::ClientConfig,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let socket = socket(server).await.map_err(Failure::Socket)?;
        let mut made = sectag_dtls::Client::new(config, Box::new(System));
        if let Err(ConfigError::Resumption(why)) = &made {
            tracing::debug!(why, "a full handshake instead of a short one");
            config.resume = None;
            made = sectag_dtls::Client::new(config, Box::new(System));
        }
        let mut dtls = made.map_err(Failure::Setup)?;
        dtls.connect(now(clock));
        Ok(Self::around(socket, server, dtls, coap, clock))
    }

    /// A session of an earlier life.
    pub(super) fn take_up(
        server: SocketAddr,
        saved: SavedSession,
        cid: bool,
        config: &ClientConfig,
        coap: sectag_coap::ClientConfig,
        clock: Clock,
    ) -> io::Result<Result<Self, LoadError>> {
        let socket = std::net::UdpSocket::bind(any(server))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(
            sectag_dtls::Client::load(config, Box::new(System), saved, now(clock)).map(|dtls| {
                Self {
                    established: true,
                    cid,
                    ..Self::around(socket, server, dtls, coap, clock)
                }
            }),
        )
    }

    fn around(
        socket: UdpSocket,
        server: SocketAddr,
        dtls: sectag_dtls::Client,
        coap: sectag_coap::ClientConfig,
        clock: Clock,
    ) -> Self {
        let mut seed = [0; 8];
        sectag_dtls::Random::fill(&mut System, &mut seed);
        Self {
            socket,
            server,
            dtls,
            coap: sectag_coap::Client::new(coap, u64::from_le_bytes(seed)),
            clock,
            happened: VecDeque::new(),
            established: false,
            cid: false,
            refused: false,
            rebound: false,
            token_bytes: 0,
        }
    }

    /// Where the server is.
    pub(super) const fn server(&self) -> SocketAddr {
        self.server
    }

    /// It survives a change of address.
    pub(super) const fn has_cid(&self) -> bool {
        self.cid
    }

    pub(super) async fn handshake(&mut self) -> Result<Handshake, Failure> {
        loop {
            match self.next().await {
                Happened::Connected(handshake) => {
                    self.established = true;
                    self.cid = handshake.cid;
                    return Ok(handshake);
                }
                Happened::Ended(why) => return Err(why),
                Happened::Answered(_) | Happened::NotAnswered(..) => {}
            }
        }
    }

    pub(super) async fn exchange(
        &mut self,
        request: &CoapRequest,
    ) -> Result<ClientResponse, Failure> {
        (self.refused, self.rebound) = (false, false);
        let before = self.coap.counters().payload_bytes_sent;
        let id = self.coap.request(carried(request), now(self.clock).uptime);
        let outcome = self.answer(id, request).await;
        if request.path.last() == Some(&"auth-jwt") {
            self.token_bytes += self.coap.counters().payload_bytes_sent - before;
        }
        outcome
    }

    async fn answer(
        &mut self,
        asked: RequestId,
        request: &CoapRequest,
    ) -> Result<ClientResponse, Failure> {
        loop {
            match self.next().await {
                Happened::Answered(response) if response.id == asked => return Ok(response),
                Happened::NotAnswered(id, sectag_coap::Failure::Timeout)
                    if id == asked && self.refused =>
                {
                    return Err(Failure::Refused);
                }
                Happened::NotAnswered(id, why) if id == asked => {
                    return Err(Failure::Exchange {
                        request: request.to_string(),
                        why,
                    });
                }
                Happened::Ended(why) => {
                    self.coap.cancel(asked);
                    return Err(why);
                }
                Happened::Connected(_) | Happened::Answered(_) | Happened::NotAnswered(..) => {}
            }
        }
    }

    /// Takes in what has arrived meanwhile; the error says that the session is over.
    pub(super) async fn look(&mut self) -> Result<(), Failure> {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        // As many as a socket buffer of ordinary size holds; a flood does not keep us here.
        for _ in 0..256 {
            match self.socket.try_recv(&mut datagram) {
                Ok(count) => self.dtls.feed(&datagram[..count], now(self.clock)),
                Err(_) => break,
            }
        }
        self.settle().await;
        while let Some(happened) = self.happened.pop_front() {
            if let Happened::Ended(why) = happened {
                return Err(why);
            }
        }
        Ok(())
    }

    /// Says goodbye, if it can be said.
    pub(super) async fn close(&mut self) {
        self.dtls.close(now(self.clock));
        self.settle().await;
    }

    /// Another local address and port; the server knows the session by its Connection ID.
    pub(super) async fn rebind(&mut self) -> io::Result<()> {
        self.socket = socket(self.server).await?;
        Ok(())
    }

    /// How to resume it by a short handshake.
    pub(super) fn resumption(&self) -> Option<Resumption> {
        self.dtls.resumption()
    }

    /// Ends it here, so that it can go on in another life.
    pub(super) fn save(self) -> Option<SavedSession> {
        let now = now(self.clock);
        self.dtls.save(now)
    }

    pub(super) fn spent(&self) -> Budget {
        let (dtls, coap) = (self.dtls.counters(), self.coap.counters());
        let token = self.token_bytes.min(coap.payload_bytes_sent);
        let mut sent = layers(
            &dtls.sent,
            coap.bytes_sent,
            coap.payload_bytes_sent,
            coap.retransmitted_bytes,
        );
        sent.token = token;
        sent.cbor -= token;
        Budget {
            transport: Transport::Coap,
            handshakes_full: dtls.handshakes.saturating_sub(dtls.resumed),
            handshakes_resumed: dtls.resumed,
            round_trips: coap.round_trips,
            sent,
            received: layers(
                &dtls.received,
                coap.bytes_received,
                coap.payload_bytes_received,
                coap.duplicate_bytes,
            ),
        }
    }

    /// What happens next.
    async fn next(&mut self) -> Happened {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        loop {
            let wait = self.settle().await;
            if let Some(happened) = self.happened.pop_front() {
                return happened;
            }
            let due = async {
                match wait {
                    Some(wake) => {
                        let wait = wake.saturating_sub(now(self.clock).uptime);
                        tokio::time::sleep(wait).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                received = self.socket.recv(&mut datagram) => match received {
                    Ok(count) => self.dtls.feed(&datagram[..count], now(self.clock)),
                    Err(error) => self.not_carried(error).await,
                },
                () = due => {}
            }
        }
    }

    /// Lets both machines do what they can at once; when to come back.
    async fn settle(&mut self) -> Option<Duration> {
        loop {
            let mut at_rest = true;
            let dtls_wake = loop {
                match self.dtls.poll(now(self.clock)) {
                    DtlsOutput::Datagram(bytes) => self.send(&bytes).await,
                    DtlsOutput::Record(bytes) => {
                        self.coap.feed(&bytes, now(self.clock).uptime);
                        at_rest = false;
                    }
                    DtlsOutput::Event(event) => self.happened.push_back(match event {
                        ClientEvent::Connected {
                            resumed,
                            cid,
                            suite,
                            ..
                        } => Happened::Connected(Handshake {
                            resumed: resumed.is_some(),
                            cid,
                            suite: sectag_dtls::suite_name(suite).unwrap_or("unknown"),
                        }),
                        ClientEvent::Failed(why) => Happened::Ended(self.ended(why)),
                        ClientEvent::Closed => Happened::Ended(Failure::Closed),
                    }),
                    DtlsOutput::Wait(wake) => break wake,
                }
            };
            let coap_wake = loop {
                match self.coap.poll(now(self.clock).uptime) {
                    CoapOutput::Send(bytes) => {
                        at_rest = false;
                        if let Err(why) = self.dtls.send(&bytes, now(self.clock)) {
                            self.happened
                                .push_back(Happened::Ended(Failure::Record(why)));
                        }
                    }
                    CoapOutput::Response(response) => {
                        self.happened.push_back(Happened::Answered(response));
                    }
                    CoapOutput::Failed { id, why } => {
                        self.happened.push_back(Happened::NotAnswered(id, why));
                    }
                    CoapOutput::Wait(wake) => break wake,
                }
            };
            if at_rest {
                return match (dtls_wake, coap_wake) {
                    (Some(dtls), Some(coap)) => Some(dtls.min(coap)),
                    (dtls, coap) => dtls.or(coap),
                };
            }
        }
    }

    fn ended(&self, why: ClientFailure) -> Failure {
        match why {
            ClientFailure::Timeout if self.refused => Failure::Refused,
            why => Failure::Dtls(why),
        }
    }

    async fn send(&mut self, datagram: &[u8]) {
        if let Err(error) = self.socket.send(datagram).await {
            self.not_carried(error).await;
            // Whatever is lost here is sent again by whoever waits for its answer.
        }
    }

    async fn not_carried(&mut self, error: io::Error) {
        tracing::debug!(%error, "a datagram was not carried");
        match error.kind() {
            ErrorKind::ConnectionRefused if !self.established => {
                self.happened.push_back(Happened::Ended(Failure::Refused));
            }
            ErrorKind::ConnectionRefused => self.refused = true,
            _ if self.established && !self.rebound => {
                self.rebound = true;
                if let Err(error) = self.rebind().await {
                    self.happened
                        .push_back(Happened::Ended(Failure::Socket(error)));
                }
            }
            _ => self
                .happened
                .push_back(Happened::Ended(Failure::Socket(error))),
        }
    }
}

/// What CoAP's bytes are, and what DTLS makes of them.
const fn layers(traffic: &Traffic, coap_bytes: u64, payload: u64, again: u64) -> Layers {
    Layers {
        handshake: traffic.handshake_bytes,
        record: traffic.record_bytes.saturating_sub(traffic.payload_bytes),
        head: coap_bytes.saturating_sub(payload + again),
        token: 0,
        cbor: payload,
        again,
    }
}

fn carried(request: &CoapRequest) -> ClientRequest {
    let method = match request.method {
        CoapMethod::Get => Method::GET,
        CoapMethod::Post => Method::POST,
    };
    ClientRequest {
        query: request.query.clone(),
        content_format: request.content_format,
        payload: request.payload.expose().clone(),
        confirmable: request.confirmable,
        block2: request.block2,
        ..ClientRequest::new(method, &request.path)
    }
}

async fn socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any(server)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

fn any(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

pub(super) fn now(clock: Clock) -> Now {
    Now {
        uptime: clock.elapsed(),
        unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    }
}

/// The operating system's random bytes.
pub(super) struct System;

impl sectag_dtls::Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has random bytes once it has started");
    }
}
