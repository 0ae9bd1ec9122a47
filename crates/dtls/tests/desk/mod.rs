//! Both ends on one table: an endpoint, clients, a clock, and a network that loses, doubles, delays and reorders by a seed.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sectag_dtls::{
    Client, ClientConfig, ClientEvent, ClientOutput, Endpoint, Event, Identity, MasterSecret, Now,
    Output, Random, ServerConfig, SessionKey,
};

/// 2026-11-21.
pub const TODAY_S: u64 = 1_795_219_200;
pub const NAME: &str = "coap.example";

/// Seeded bytes (xorshift64*).
#[derive(Clone)]
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// An authority and what it signs.
pub struct Pki {
    pub root_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Desk CA");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2060, 1, 1);
        let key = KeyPair::generate().unwrap();
        let root_pem = params.self_signed(&key).unwrap().pem();
        Self {
            root_pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's identity for these names, valid in these years.
    pub fn identity_in(&self, names: &[&str], years: (i32, i32)) -> Identity {
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, names[0]);
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(&certificate.pem(), &key.serialize_pem()).unwrap()
    }

    pub fn identity(&self) -> Identity {
        self.identity_in(&[NAME, "127.0.0.1"], (2024, 2040))
    }

    pub fn server(&self) -> ServerConfig {
        ServerConfig::new(self.identity(), MasterSecret::new([42; 32]))
    }

    pub fn client(&self) -> ClientConfig {
        ClientConfig::new(&self.root_pem, NAME)
    }
}

/// How a network treats its datagrams.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    pub loss_percent: u64,
    pub double_percent: u64,
    /// Changed on the way: bits, length, or what comes behind.
    pub change_percent: u64,
    /// Each datagram takes 20 ms and up to this much more.
    pub jitter_ms: u64,
}

enum Hop {
    ToServer { from: SocketAddr, bytes: Vec<u8> },
    ToClient { client: usize, bytes: Vec<u8> },
}

/// A client at an address.
pub struct Guest {
    pub client: Client,
    pub address: SocketAddr,
    pub events: Vec<ClientEvent>,
    pub records: Vec<Vec<u8>>,
}

/// The table.
pub struct Table {
    pub pki: Pki,
    pub endpoint: Option<Endpoint>,
    pub guests: Vec<Guest>,
    pub events: Vec<Event>,
    pub records: Vec<(SessionKey, Vec<u8>)>,
    pub weather: Weather,
    /// The server answers each record with the same bytes.
    pub echo: bool,
    pub uptime: Duration,
    pub unix_s: u64,
    pub seed: u64,
    /// Every datagram that any side sent: whether by the server, to or from which address, what.
    pub wire: Vec<(bool, SocketAddr, Vec<u8>)>,
    dice: Seeded,
    flying: BTreeMap<(Duration, u64), Hop>,
    sent: u64,
    made: u64,
}

impl Table {
    pub fn new(seed: u64) -> Self {
        let pki = Pki::new();
        let server = pki.server();
        Self::with(seed, pki, server)
    }

    pub fn with(seed: u64, pki: Pki, server: ServerConfig) -> Self {
        Self {
            pki,
            endpoint: Some(Endpoint::new(server, Box::new(Seeded::new(seed))).unwrap()),
            guests: Vec::new(),
            events: Vec::new(),
            records: Vec::new(),
            weather: Weather::default(),
            echo: true,
            uptime: Duration::from_secs(1),
            unix_s: TODAY_S,
            seed,
            wire: Vec::new(),
            dice: Seeded::new(seed ^ 0x5eed),
            flying: BTreeMap::new(),
            sent: 0,
            made: 0,
        }
    }

    pub fn now(&self) -> Now {
        Now {
            uptime: self.uptime,
            unix_s: self.unix_s + self.uptime.as_secs(),
        }
    }

    pub fn endpoint(&mut self) -> &mut Endpoint {
        self.endpoint.as_mut().unwrap()
    }

    /// Another client, not connected.
    pub fn guest(&mut self, config: &ClientConfig) -> usize {
        self.made += 1;
        let random = Box::new(Seeded::new(self.seed + 1000 + self.made));
        let client = Client::new(config, random).unwrap();
        self.seat(client)
    }

    pub fn seat(&mut self, client: Client) -> usize {
        let number = self.guests.len();
        let address = address(number as u64);
        self.guests.push(Guest {
            client,
            address,
            events: Vec::new(),
            records: Vec::new(),
        });
        number
    }

    /// Another client, connected.
    pub fn connected(&mut self, config: &ClientConfig) -> usize {
        let guest = self.guest(config);
        self.connect(guest);
        assert!(
            self.guests[guest].client.is_connected(),
            "{:?}",
            self.guests[guest].events
        );
        guest
    }

    pub fn connect(&mut self, guest: usize) {
        let now = self.now();
        self.guests[guest].client.connect(now);
        self.run();
    }

    /// The client says something; the network is run until all is quiet.
    pub fn say(&mut self, guest: usize, bytes: &[u8]) {
        let now = self.now();
        self.guests[guest].client.send(bytes, now).unwrap();
        self.run();
    }

    /// Says something and expects it back.
    pub fn exchange(&mut self, guest: usize, bytes: &[u8]) {
        let before = self.guests[guest].records.len();
        self.say(guest, bytes);
        assert_eq!(
            self.guests[guest].records[before..],
            [bytes.to_vec()],
            "client {guest}"
        );
    }

    /// Runs until nothing flies and nobody wants to be woken within a minute.
    pub fn run(&mut self) {
        loop {
            let wake = self.collect();
            let next = self.flying.first_key_value().map(|(at, _)| at.0);
            let horizon = self.uptime + Duration::from_secs(59);
            match [next, wake.filter(|wake| *wake <= horizon)]
                .into_iter()
                .flatten()
                .min()
            {
                Some(at) => self.uptime = self.uptime.max(at),
                None => return,
            }
            self.deliver();
        }
    }

    /// Lets time pass, timers included.
    pub fn pass(&mut self, time: Duration) {
        let until = self.uptime + time;
        loop {
            let wake = self.collect();
            let next = self.flying.first_key_value().map(|(at, _)| at.0);
            match [next, wake]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= until)
            {
                Some(at) => self.uptime = self.uptime.max(at),
                None => break,
            }
            self.deliver();
        }
        self.uptime = until;
        self.collect();
    }

    /// Something arrives at the server from anywhere.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        self.endpoint().feed(bytes, from, now);
        self.run();
    }

    /// The datagrams of one side since `mark`.
    pub fn sent_since(&self, mark: usize, by_server: bool) -> Vec<Vec<u8>> {
        self.wire[mark..]
            .iter()
            .filter(|(server, ..)| *server == by_server)
            .map(|(_, _, bytes)| bytes.clone())
            .collect()
    }

    pub fn session(&self) -> SessionKey {
        self.events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Connected { session, .. } => Some(*session),
                _ => None,
            })
            .unwrap()
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.uptime {
                return;
            }
            let now = self.now();
            match self.flying.pop_first().unwrap().1 {
                Hop::ToServer { from, bytes } => {
                    if let Some(endpoint) = &mut self.endpoint {
                        endpoint.feed(&bytes, from, now);
                    }
                }
                Hop::ToClient { client, bytes } => self.guests[client].client.feed(&bytes, now),
            }
            self.collect();
        }
    }

    /// Polls all; when the first wants to be woken.
    fn collect(&mut self) -> Option<Duration> {
        let mut wake: Option<Duration> = None;
        let earliest =
            |wake: Option<Duration>, at: Option<Duration>| [wake, at].into_iter().flatten().min();
        for number in 0..self.guests.len() {
            loop {
                let now = self.now();
                match self.guests[number].client.poll(now) {
                    ClientOutput::Datagram(bytes) => {
                        let from = self.guests[number].address;
                        self.wire.push((false, from, bytes.clone()));
                        self.fly(&bytes, |bytes| Hop::ToServer { from, bytes });
                    }
                    ClientOutput::Record(bytes) => self.guests[number].records.push(bytes),
                    ClientOutput::Event(event) => self.guests[number].events.push(event),
                    ClientOutput::Wait(at) => {
                        wake = earliest(wake, at);
                        break;
                    }
                }
            }
        }
        loop {
            let now = self.now();
            let Some(endpoint) = &mut self.endpoint else {
                return wake;
            };
            match endpoint.poll(now) {
                Output::Datagram { to, bytes } => {
                    self.wire.push((true, to, bytes.clone()));
                    if let Some(client) = self.guests.iter().position(|guest| guest.address == to) {
                        self.fly(&bytes, |bytes| Hop::ToClient { client, bytes });
                    }
                }
                Output::Record { session, bytes } => {
                    if self.echo {
                        let _ = endpoint.send(session, &bytes, now);
                    }
                    self.records.push((session, bytes));
                }
                Output::Event(event) => self.events.push(event),
                Output::Wait(at) => return earliest(wake, at),
            }
        }
    }

    fn fly(&mut self, bytes: &[u8], hop: impl Fn(Vec<u8>) -> Hop) {
        let copies = if self.dice.percent(self.weather.loss_percent) {
            0
        } else {
            1 + u64::from(self.dice.percent(self.weather.double_percent))
        };
        for _ in 0..copies {
            let delay = 20
                + if self.weather.jitter_ms > 0 {
                    self.dice.below(self.weather.jitter_ms)
                } else {
                    0
                };
            let mut bytes = bytes.to_vec();
            if self.dice.percent(self.weather.change_percent) {
                self.change(&mut bytes);
            }
            self.sent += 1;
            self.flying.insert(
                (self.uptime + Duration::from_millis(delay), self.sent),
                hop(bytes),
            );
        }
    }
}

impl Table {
    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = usize::try_from(self.dice.below(bytes.len() as u64)).unwrap();
        match self.dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(..at),
            2 => bytes[at] = 0xff,
            3 => bytes[at] = 0,
            // Lengths and types sit in front.
            4 => bytes[at % 40 % at.max(1)] ^= 1 << self.dice.below(8),
            _ => bytes[at] ^= 1 << self.dice.below(8),
        }
    }
}

/// The `n`th address of the clients' network.
pub fn address(n: u64) -> SocketAddr {
    SocketAddr::from((
        [192, 0, 2, u8::try_from(1 + n / 60_000).unwrap()],
        u16::try_from(1024 + n % 60_000).unwrap(),
    ))
}
