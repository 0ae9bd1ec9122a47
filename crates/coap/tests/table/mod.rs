//! Both ends on one table: a network that loses, doubles and reorders by a seed, and a clock of its own.
#![allow(dead_code)]

use sectag_coap::*;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const SESSION: u64 = 7;

/// SplitMix64.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll() as u8).collect()
    }
}

/// What happens to datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    pub(crate) delay: Duration,
    /// Up to this much more, so that datagrams overtake each other.
    pub(crate) jitter: Duration,
    /// Datagrams lost between two answers at the client, both ways together, at most. With four, retransmission wins.
    pub(crate) losses_in_a_round: u32,
}

pub(crate) const FAIR: Weather = Weather {
    loss_percent: 0,
    duplicate_percent: 0,
    delay: Duration::from_millis(50),
    jitter: Duration::ZERO,
    losses_in_a_round: 0,
};

pub(crate) type App = Box<dyn FnMut(&Request) -> (Response, Duration)>;

pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) now: Duration,
    pub(crate) weather: Weather,
    pub(crate) dice: Dice,
    /// Losses, and the round trip they belong to.
    lost: (u32, u64),
    flying: BTreeMap<(Duration, u64), Thing>,
    next: u64,
    app: App,
    /// Every request the application saw: what, and the body.
    pub(crate) delivered: Vec<(String, Vec<u8>)>,
    /// Every datagram sent: by the client?, bytes.
    pub(crate) wire: Vec<(bool, Vec<u8>)>,
    pub(crate) answers: Vec<Result<ClientResponse, (RequestId, Failure)>>,
}

enum Thing {
    ToServer(Vec<u8>),
    ToClient(Vec<u8>),
    Answer(Exchange, Response),
}

impl Table {
    /// The application answers after the time it says; zero is at once.
    pub(crate) fn new(
        config: ClientConfig,
        limits: Limits,
        weather: Weather,
        seed: u64,
        app: impl FnMut(&Request) -> (Response, Duration) + 'static,
    ) -> Table {
        Table {
            client: Client::new(config, seed),
            server: Server::new(limits, seed ^ 1),
            now: Duration::from_secs(1000),
            weather,
            dice: Dice(seed),
            lost: (0, 0),
            flying: BTreeMap::new(),
            next: 0,
            app: Box::new(app),
            delivered: Vec::new(),
            wire: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Asks, and drives until the answer.
    pub(crate) fn ask(&mut self, request: ClientRequest) -> Result<ClientResponse, Failure> {
        let id = self.client.request(request, self.now);
        let before = self.answers.len();
        self.drive(|table| table.answers.len() > before);
        match self.answers.last().expect("one answer") {
            Ok(response) => {
                assert_eq!(response.id, id);
                Ok(response.clone())
            }
            Err((failed, why)) => {
                assert_eq!(*failed, id);
                Err(*why)
            }
        }
    }

    /// Until it is quiet: nothing flies and nobody has a timer.
    pub(crate) fn drive_until_quiet(&mut self) {
        self.drive(|_| false);
    }

    pub(crate) fn drive(&mut self, done: impl Fn(&Table) -> bool) {
        for _ in 0..200_000 {
            let server_wakes = self.carry_server();
            let client_wakes = self.carry_client();
            if done(self) {
                return;
            }
            let lands = self.flying.keys().next().map(|(when, _)| *when);
            let Some(next) = [lands, server_wakes, client_wakes]
                .into_iter()
                .flatten()
                .min()
            else {
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                match entry.remove() {
                    Thing::ToServer(bytes) => self.server.feed(SESSION, &bytes, self.now),
                    Thing::ToClient(bytes) => self.client.feed(&bytes, self.now),
                    Thing::Answer(exchange, response) => {
                        self.server.respond(exchange, response, self.now)
                    }
                }
                assert!(self.server.session_bytes_held(SESSION) <= server::SESSION_BYTES_MAX);
            }
        }
        panic!("it never ends");
    }

    fn carry_server(&mut self) -> Option<Duration> {
        loop {
            match self.server.poll(self.now) {
                Output::Send { session, bytes } => {
                    assert_eq!(session, SESSION);
                    self.wire.push((false, bytes.clone()));
                    self.fly(bytes, false);
                }
                Output::Request(request) => {
                    let query = if request.query.is_empty() { "" } else { "?" };
                    let line = format!(
                        "{} {}{query}{}",
                        request.method,
                        request.path.join("/"),
                        request.query.join("&")
                    );
                    self.delivered.push((line, request.payload.clone()));
                    let (response, after) = (self.app)(&request);
                    if after.is_zero() {
                        self.server.respond(request.exchange, response, self.now);
                    } else {
                        self.put(self.now + after, Thing::Answer(request.exchange, response));
                    }
                }
                Output::Wait(when) => return when,
            }
        }
    }

    fn carry_client(&mut self) -> Option<Duration> {
        loop {
            match self.client.poll(self.now) {
                ClientOutput::Send(bytes) => {
                    self.wire.push((true, bytes.clone()));
                    self.fly(bytes, true);
                }
                ClientOutput::Response(response) => self.answers.push(Ok(response)),
                ClientOutput::Failed { id, why } => self.answers.push(Err((id, why))),
                ClientOutput::Wait(when) => return when,
            }
        }
    }

    fn fly(&mut self, bytes: Vec<u8>, to_server: bool) {
        let round = self.client.counters().round_trips;
        if self.lost.1 != round {
            self.lost = (0, round);
        }
        if self.lost.0 < self.weather.losses_in_a_round
            && self.dice.percent(self.weather.loss_percent)
        {
            self.lost.0 += 1;
            return;
        }
        let copies = 1 + u32::from(self.dice.percent(self.weather.duplicate_percent));
        for _ in 0..copies {
            let jitter = self
                .weather
                .jitter
                .mul_f64((self.dice.roll() % 1000) as f64 / 1000.0);
            let thing = if to_server {
                Thing::ToServer(bytes.clone())
            } else {
                Thing::ToClient(bytes.clone())
            };
            self.put(self.now + self.weather.delay + jitter, thing);
        }
    }

    fn put(&mut self, when: Duration, thing: Thing) {
        self.next += 1;
        self.flying.insert((when, self.next), thing);
    }
}

/// Everything a server says to these datagrams, in order.
pub(crate) fn replies(server: &mut Server, now: Duration) -> (Vec<Vec<u8>>, Vec<Request>) {
    let (mut sent, mut requests) = (Vec::new(), Vec::new());
    loop {
        match server.poll(now) {
            Output::Send { bytes, .. } => sent.push(bytes),
            Output::Request(request) => requests.push(request),
            Output::Wait(_) => return (sent, requests),
        }
    }
}
