//! The device's end: what a driver does, with the air for a socket.

use super::records::Records;
use super::service_end::CID_BYTES;
use super::{Dice, clock, uptime, wake_up};
use crate::air::{Air, Way};
use crate::ca::{SERVICE, ca};
use crate::cuts::Rng;
use sectag_coap as coap;
use sectag_dtls::{
    Client, ClientConfig, ClientCounters, ClientEvent, ClientFailure, ClientOutput, Resumption,
    Traffic,
};
use sectag_proto::Uptime;
use sectag_proto::device::coap::{
    CoapLink, CoapMethod, CoapRequest, LinkConduct, LinkInput, LinkOutput,
};
use sectag_proto::device::{Conduct, Config, Input, TransportError};
use std::time::Duration;

/// One device's connections, one at a time.
pub(super) struct DeviceEnd {
    pub(super) link: CoapLink,
    /// For the session, as soon as it is there.
    pub(super) answer: Option<Input>,
    conduct: LinkConduct,
    session: Config,
    connection: Option<Connection>,
    resumption: Option<Resumption>,
    /// The newest port.
    port: u16,
    chance: Rng,
    past: Tally,
}

struct Connection {
    port: u16,
    dtls: Client,
    coap: coap::Client,
    dtls_wake: Option<Duration>,
    coap_wake: Option<Duration>,
    connecting: bool,
}

/// What connections have cost, as the device's endpoints count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections, unsuccessful ones included.
    pub connections: u64,
    /// DTLS.
    pub dtls: ClientCounters,
    /// CoAP.
    pub coap: coap::Counters,
    /// Bytes of datagrams for ports that were closed: what the service says to a session's end.
    pub stray_bytes: u64,
}

impl DeviceEnd {
    pub(super) fn new(session: &Config, keep_open: bool, seed: u64) -> Self {
        let conduct = match session.conduct {
            Conduct::Careful => LinkConduct::Ours,
            Conduct::Firmware => LinkConduct::Firmware { keep_open },
        };
        Self {
            link: CoapLink::new(conduct, session),
            answer: None,
            conduct,
            session: session.clone(),
            connection: None,
            resumption: None,
            port: 40_000,
            chance: Rng(seed),
            past: Tally::default(),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let now = self.connection.as_ref().map(Connection::tally);
        now.map_or(self.past, |now| self.past.plus(now))
    }

    pub(super) fn wake(&self) -> Option<Uptime> {
        let connection = self.connection.as_ref()?;
        let wakes = [connection.dtls_wake, connection.coap_wake];
        wakes.into_iter().flatten().min().map(wake_up)
    }

    /// A datagram arrived; for a port that is closed, at nobody.
    pub(super) fn feed(&mut self, port: u16, bytes: &[u8], now: Uptime) {
        match self.connection.as_mut().filter(|c| c.port == port) {
            Some(connection) => connection.dtls.feed(bytes, clock(now)),
            None => self.past.stray_bytes += bytes.len() as u64,
        }
    }

    pub(super) fn lose_power(&mut self) {
        self.drop_connection();
        self.resumption = None;
        self.link = CoapLink::new(self.conduct, &self.session);
    }

    /// Until everybody waits.
    pub(super) fn work(&mut self, air: &mut Air, records: &mut Records, now: Uptime) {
        loop {
            let linked = self.ask_link(air, records, now);
            let spoken = self.ask_coap(now);
            let carried = self.ask_dtls(air, records, now);
            if !linked && !spoken && !carried {
                return;
            }
        }
    }

    fn ask_link(&mut self, air: &mut Air, records: &mut Records, now: Uptime) -> bool {
        let mut busy = false;
        loop {
            match self.link.poll() {
                LinkOutput::Connect => {
                    self.close(air, records, now);
                    self.connect(now);
                }
                LinkOutput::Close => self.close(air, records, now),
                LinkOutput::Rebind => air.rebind(),
                LinkOutput::Request(request) => {
                    let connection = self.connection.as_mut().expect("it asks when connected");
                    connection.coap.request(in_coap(request), uptime(now));
                }
                LinkOutput::Answer(input) => {
                    assert!(self.answer.is_none(), "one answer for one request");
                    self.answer = Some(input);
                }
                LinkOutput::Wait => return busy,
            }
            busy = true;
        }
    }

    fn ask_coap(&mut self, now: Uptime) -> bool {
        let mut busy = false;
        while let Some(connection) = &mut self.connection {
            let input = match connection.coap.poll(uptime(now)) {
                coap::ClientOutput::Send(bytes) => {
                    // A session that has ended says so itself.
                    let _ = connection.dtls.send(&bytes, clock(now));
                    None
                }
                coap::ClientOutput::Response(response) => Some(LinkInput::Answered {
                    code: response.code.0,
                    max_age_s: response.max_age,
                    payload: response.payload,
                }),
                coap::ClientOutput::Failed { why, .. } => {
                    Some(LinkInput::NotAnswered(because(why)))
                }
                coap::ClientOutput::Wait(wake) => {
                    connection.coap_wake = wake;
                    break;
                }
            };
            if let Some(input) = input {
                self.link.handle(input, now);
            }
            busy = true;
        }
        busy
    }

    fn ask_dtls(&mut self, air: &mut Air, records: &mut Records, now: Uptime) -> bool {
        let mut busy = false;
        while let Some(connection) = &mut self.connection {
            match connection.dtls.poll(clock(now)) {
                ClientOutput::Datagram(bytes) => connection.send(bytes, air, records, now),
                ClientOutput::Record(bytes) => connection.coap.feed(&bytes, uptime(now)),
                ClientOutput::Event(ClientEvent::Connected { cid, .. }) => {
                    connection.connecting = false;
                    self.resumption = connection.dtls.resumption();
                    self.link.handle(LinkInput::Connected { cid }, now);
                }
                ClientOutput::Event(ClientEvent::Failed(why)) if connection.connecting => {
                    self.drop_connection();
                    let error = match why {
                        ClientFailure::Timeout => TransportError::Timeout,
                        _ => TransportError::Tls,
                    };
                    self.link.handle(LinkInput::NotConnected(error), now);
                }
                ClientOutput::Event(ClientEvent::Failed(_) | ClientEvent::Closed) => {
                    let connecting = connection.connecting;
                    self.drop_connection();
                    let input = match connecting {
                        true => LinkInput::NotConnected(TransportError::Closed),
                        false => LinkInput::Lost,
                    };
                    self.link.handle(input, now);
                }
                ClientOutput::Wait(wake) => {
                    connection.dtls_wake = wake;
                    break;
                }
            }
            busy = true;
        }
        busy
    }

    fn connect(&mut self, now: Uptime) {
        self.port += 1;
        let config = ClientConfig {
            resume: self.resumption.clone(),
            ..ClientConfig::new(ca().root.certificate_pem(), SERVICE)
        };
        let dice = Box::new(Dice(Rng(self.chance.next())));
        let mut dtls = Client::new(&config, dice).expect("a town's client");
        dtls.connect(clock(now));
        self.connection = Some(Connection {
            port: self.port,
            dtls,
            coap: coap::Client::new(self.coap_config(), self.chance.next()),
            dtls_wake: None,
            coap_wake: None,
            connecting: true,
        });
    }

    /// The firmware's tokens have eight bytes.
    fn coap_config(&self) -> coap::ClientConfig {
        let ours = coap::ClientConfig::default();
        coap::ClientConfig {
            body_bytes_max: usize::try_from(self.session.rx_bytes_max).expect("32 bits"),
            token_bytes: match self.conduct {
                LinkConduct::Ours => ours.token_bytes,
                LinkConduct::Firmware { .. } => 8,
            },
            ..ours
        }
    }

    fn close(&mut self, air: &mut Air, records: &mut Records, now: Uptime) {
        if let Some(connection) = &mut self.connection {
            connection.dtls.close(clock(now));
            while let ClientOutput::Datagram(bytes) = connection.dtls.poll(clock(now)) {
                connection.send(bytes, air, records, now);
            }
        }
        self.drop_connection();
    }

    fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.past = self.past.plus(connection.tally());
        }
    }
}

impl Connection {
    fn send(&self, bytes: Vec<u8>, air: &mut Air, records: &mut Records, now: Uptime) {
        records.up(self.port, &bytes, CID_BYTES);
        air.send(Way::Up(self.port), bytes, now);
    }

    fn tally(&self) -> Tally {
        Tally {
            connections: 1,
            dtls: self.dtls.counters(),
            coap: self.coap.counters(),
            stray_bytes: 0,
        }
    }
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            dtls: ClientCounters {
                sent: both(self.dtls.sent, other.dtls.sent),
                received: both(self.dtls.received, other.dtls.received),
                handshakes: self.dtls.handshakes + other.dtls.handshakes,
                resumed: self.dtls.resumed + other.dtls.resumed,
                dropped_records: self.dtls.dropped_records + other.dtls.dropped_records,
            },
            coap: self.coap + other.coap,
            stray_bytes: self.stray_bytes + other.stray_bytes,
        }
    }
}

fn both(a: Traffic, b: Traffic) -> Traffic {
    Traffic {
        datagrams: a.datagrams + b.datagrams,
        handshake_bytes: a.handshake_bytes + b.handshake_bytes,
        record_bytes: a.record_bytes + b.record_bytes,
        payload_bytes: a.payload_bytes + b.payload_bytes,
        retransmissions: a.retransmissions + b.retransmissions,
    }
}

fn in_coap(request: CoapRequest) -> coap::ClientRequest {
    coap::ClientRequest {
        method: match request.method {
            CoapMethod::Get => coap::Method::GET,
            CoapMethod::Post => coap::Method::POST,
        },
        path: request.path.into_iter().map(String::from).collect(),
        query: request.query,
        content_format: request.content_format,
        payload: request.payload.expose().clone(),
        confirmable: request.confirmable,
        block2: request.block2,
    }
}

fn because(why: coap::Failure) -> TransportError {
    match why {
        coap::Failure::Timeout => TransportError::Timeout,
        coap::Failure::Reset => TransportError::Closed,
        coap::Failure::TooLarge => TransportError::TooLarge,
        coap::Failure::Garbage => TransportError::Garbage,
    }
}
