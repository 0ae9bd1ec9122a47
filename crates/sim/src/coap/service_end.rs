//! The service's end: one endpoint, grants, and the [`Desk`] behind them.

use super::records::Records;
use super::{CoapRoad, Dice, calendar, clock, uptime, wake_up};
use crate::air::{Air, Way};
use crate::ca::ca;
use crate::cuts::Rng;
use crate::desk::Desk;
use sectag_coap::{self as coap, Code, Exchange, Method, Request, Response};
use sectag_dtls::{
    Counters, Endpoint, Event, Identity, Limits, MasterSecret, Output, ServerConfig, SessionKey,
};
use sectag_proto::jwt::UnverifiedJwt;
use sectag_proto::service::grants::{GRANT_LASTS, GrantLimits, Granted, Grants};
use sectag_proto::{Timestamp, Uptime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of a Connection ID in records to the service.
pub(super) const CID_BYTES: usize = 8;
/// application/cbor
const CBOR: u16 = 60;
/// What a slow answer takes at most: longer than a device waits for its acknowledgement.
const SLOW_MAX: Duration = Duration::from_secs(5);

pub(super) struct ServiceEnd {
    endpoint: Endpoint,
    coap: coap::Server,
    grants: Grants,
    /// Answers that take their time.
    late: BTreeMap<(Uptime, u64), (Exchange, Response)>,
    answered: u64,
    slow: u64,
    chance: Rng,
    endpoint_wake: Option<Duration>,
    coap_wake: Option<Duration>,
    /// The network goes away as soon as a fetch or a report was served.
    pub(super) falls_silent: bool,
}

impl ServiceEnd {
    pub(super) fn new(road: CoapRoad, seed: u64) -> Self {
        let mut chance = Rng(seed);
        let identity = Identity::from_pem(&ca().service_chain_pem, &ca().service_key_pem);
        let identity = identity.expect("the town's certificate");
        let mut secret = [0; 32];
        sectag_dtls::Random::fill(&mut Dice(Rng(chance.next())), &mut secret);
        let config = ServerConfig {
            cid_bytes: u8::try_from(CID_BYTES).expect("8"),
            tickets: road.tickets,
            limits: Limits {
                ticket_lifetime: road.resumable,
                ..Limits::default()
            },
            ..ServerConfig::new(identity, MasterSecret::new(secret))
        };
        let dice = Box::new(Dice(Rng(chance.next())));
        Self {
            endpoint: Endpoint::new(config, dice).expect("a town's endpoint"),
            coap: coap::Server::new(coap::Limits::default(), chance.next()),
            grants: Grants::new(GrantLimits::default()),
            late: BTreeMap::new(),
            answered: 0,
            slow: road.slow,
            chance,
            endpoint_wake: None,
            coap_wake: None,
            falls_silent: false,
        }
    }

    pub(super) fn counters(&self) -> Counters {
        self.endpoint.counters()
    }

    pub(super) fn feed(&mut self, bytes: &[u8], from: SocketAddr, now: Uptime) {
        self.endpoint.feed(bytes, from, clock(now));
    }

    pub(super) fn wake(&self) -> Option<Uptime> {
        let wakes = [self.endpoint_wake, self.coap_wake];
        let wakes = wakes.into_iter().flatten().map(wake_up);
        let late = self.late.first_key_value().map(|((due, _), _)| *due);
        wakes.chain(late).min()
    }

    /// Until everybody waits.
    pub(super) fn work(
        &mut self,
        desk: &mut Desk,
        air: &mut Air,
        records: &mut Records,
        now: Uptime,
    ) {
        while let Some(entry) = self.late.first_entry().filter(|e| e.key().0 <= now) {
            let (exchange, response) = entry.remove();
            self.coap.respond(exchange, response, uptime(now));
        }
        loop {
            let carried = self.ask_endpoint(air, records, now);
            let spoken = self.ask_coap(desk, air, now);
            if !carried && !spoken {
                return;
            }
        }
    }

    fn ask_endpoint(&mut self, air: &mut Air, records: &mut Records, now: Uptime) -> bool {
        let mut busy = false;
        loop {
            match self.endpoint.poll(clock(now)) {
                Output::Datagram { to, bytes } => {
                    if let Some(port) = air.port_behind(to) {
                        records.down(port, to, &bytes);
                    }
                    air.send(Way::Down(to), bytes, now);
                }
                Output::Record { session, bytes } => {
                    self.coap.feed(session.0, &bytes, uptime(now));
                }
                Output::Event(Event::Closed { session, .. }) => {
                    self.coap.forget(session.0);
                    self.grants.forget(session.0);
                }
                Output::Event(_) => {}
                Output::Wait(wake) => {
                    self.endpoint_wake = wake;
                    return busy;
                }
            }
            busy = true;
        }
    }

    fn ask_coap(&mut self, desk: &mut Desk, air: &mut Air, now: Uptime) -> bool {
        let mut busy = false;
        loop {
            match self.coap.poll(uptime(now)) {
                coap::Output::Send { session, bytes } => {
                    // A session that has ended is forgotten by its event.
                    let _ = self.endpoint.send(SessionKey(session), &bytes, clock(now));
                }
                coap::Output::Request(request) => {
                    let response = self.serve(&request, desk, air, calendar(now));
                    self.answer(request.exchange, response, now);
                }
                coap::Output::Wait(wake) => {
                    self.coap_wake = wake;
                    return busy;
                }
            }
            busy = true;
        }
    }

    /// At once, or late.
    fn answer(&mut self, exchange: Exchange, response: Response, now: Uptime) {
        self.answered += 1;
        if self.slow > 0 && self.chance.below(1000) < self.slow {
            let millis = self.chance.below(SLOW_MAX.as_millis() as u64);
            let due = now.plus(Duration::from_millis(millis));
            self.late.insert((due, self.answered), (exchange, response));
        } else {
            self.coap.respond(exchange, response, uptime(now));
        }
    }

    fn serve(
        &mut self,
        request: &Request,
        desk: &mut Desk,
        air: &mut Air,
        now: Timestamp,
    ) -> Response {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        match (request.method, &path[..]) {
            (Method::POST, ["p", "auth-jwt"]) => self.authenticate(request, desk, now),
            (Method::GET, ["p", "cmd"]) => self.fetch(request, desk, air, now),
            (Method::POST, ["p", "rsp"]) => self.report(request, desk, air, now),
            (Method::POST, [".dtls", "suspend"]) => Response::new(Code::CHANGED),
            (_, ["p", "auth-jwt" | "cmd" | "rsp"] | [".dtls", "suspend"]) => {
                Response::new(Code::METHOD_NOT_ALLOWED)
            }
            _ => Response::new(Code::NOT_FOUND),
        }
    }

    fn authenticate(&mut self, request: &Request, desk: &mut Desk, now: Timestamp) -> Response {
        let text = std::str::from_utf8(&request.payload).unwrap_or_default();
        let granted = match (UnverifiedJwt::parse(text), desk.check(text, now)) {
            (Ok(token), Ok(device)) => {
                let grants = &mut self.grants;
                Some(grants.grant(request.session, &token, device, GRANT_LASTS, now))
            }
            (Ok(token), Err(_)) => self.grants.readmit(request.session, &token, now),
            (Err(_), _) => None,
        };
        match granted.filter(|granted| knows(desk, granted)) {
            Some(granted) => Response::new(Code::CREATED).max_age(granted.max_age_s(now)),
            None => {
                self.grants.forget(request.session);
                Response::new(Code::UNAUTHORIZED)
            }
        }
    }

    fn fetch(
        &mut self,
        request: &Request,
        desk: &mut Desk,
        air: &mut Air,
        now: Timestamp,
    ) -> Response {
        let granted = self.granted(request, desk, now);
        if !granted.is_some_and(|granted| granted.opens_fetch()) {
            return Response::new(Code::UNAUTHORIZED);
        }
        let (status, body) = desk.next_batch(&request.query.join("&"), 0, now);
        air.set_outage(self.falls_silent);
        match status {
            200 => Response::new(Code::CONTENT).payload(CBOR, body),
            204 => Response::new(Code::CONTENT),
            other => Response::new(code_of(other)),
        }
    }

    fn report(
        &mut self,
        request: &Request,
        desk: &mut Desk,
        air: &mut Air,
        now: Timestamp,
    ) -> Response {
        if self.granted(request, desk, now).is_none() {
            return Response::new(Code::UNAUTHORIZED);
        }
        let status = desk.settle(&request.payload, now);
        air.set_outage(self.falls_silent);
        Response::new(code_of(status))
    }

    fn granted(&self, request: &Request, desk: &Desk, now: Timestamp) -> Option<Granted> {
        let granted = self.grants.lookup(request.session, now)?;
        knows(desk, &granted).then_some(granted)
    }
}

fn knows(desk: &Desk, granted: &Granted) -> bool {
    desk.knows(granted.device.get(), granted.kid)
}

/// The desk speaks HTTP.
fn code_of(status: u16) -> Code {
    match status {
        200 => Code::CHANGED,
        400 => Code::BAD_REQUEST,
        401 => Code::UNAUTHORIZED,
        _ => Code::INTERNAL,
    }
}
