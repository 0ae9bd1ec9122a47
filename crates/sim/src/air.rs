//! The air between one device and the service: datagrams, and what happens to them on their way, by chance from a seed.
//!
//! ```text
//!   device, port 40001 ──► MTU? ─► NAT (changes its port) ─► lost? late? twice? ─► 203.0.113.7:1024 ──► service
//!   device, port 40001 ◄── lost? late? twice? ◄─ NAT (knows its newest port only) ◄─ MTU? ◄─────────── service
//! ```
//!
//! One device, so one NAT. A port that was given up is dead: what is on its way there is lost. Everything that was ever
//! sent goes into one hash, so that two runs can be compared.

use crate::cuts::Rng;
use sectag_proto::Uptime;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Bytes of an IPv4 and a UDP header; each datagram has both.
pub const HEADER_BYTES: u64 = 28;
/// What LTE networks carry unfragmented everywhere: the least MTU of IPv6.
pub const MTU_BYTES: u64 = 1280;
/// DTLS record type of a record with a Connection ID (RFC 9146 §4).
const TLS12_CID: u8 = 25;

/// What the air does to datagrams. Out of a thousand each.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Lost.
    pub lost: u64,
    /// Arriving twice.
    pub twice: u64,
    /// Held back by up to `late_by`, so that others overtake them; nobody else is overtaken.
    pub late: u64,
    /// How long the late ones are late at most.
    pub late_by: Duration,
    /// One way, at least.
    pub way: Duration,
    /// One way takes up to this much more, by chance.
    pub jitter: Duration,
    /// When the device's address changes.
    pub rebinding: Rebinding,
}

/// When the NAT gives the device another port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebinding {
    /// A port stays.
    Never,
    /// With every n-th record that has a Connection ID; without one a change is the end of any session.
    EveryRecord(u32),
    /// After this time without a datagram either way.
    AfterSilence(Duration),
}

impl Weather {
    /// Nothing is lost; 50 to 90 ms one way, and a NAT that forgets after two minutes, as mobile networks do.
    pub const FAIR: Self = Self {
        lost: 0,
        twice: 0,
        late: 0,
        late_by: Duration::from_millis(400),
        way: Duration::from_millis(50),
        jitter: Duration::from_millis(40),
        rebinding: Rebinding::AfterSilence(Duration::from_secs(120)),
    };
}

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From this port of the device.
    Up(u16),
    /// To this address, which is the NAT's.
    Down(SocketAddr),
}

/// A datagram that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// At the service.
    AtService {
        /// Where it seems to come from.
        from: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// At the device.
    AtDevice {
        /// The device's port.
        port: u16,
        /// The datagram.
        bytes: Vec<u8>,
    },
}

/// Datagrams that somebody sent in one direction, lost ones too, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent.
    pub datagrams: u64,
    /// Their bytes, without headers.
    pub bytes: u64,
    /// Of the datagrams: lost, to a dead port too.
    pub lost: u64,
    /// Bytes of these, without headers.
    pub lost_bytes: u64,
    /// Of the datagrams: arrived twice.
    pub twice: u64,
    /// Of the datagrams: larger than the MTU, and so lost.
    pub too_large: u64,
}

impl Traffic {
    /// On the air: with IP and UDP headers.
    pub const fn on_air(&self) -> u64 {
        self.bytes + HEADER_BYTES * self.datagrams
    }

    const fn lose(&mut self, bytes: usize) {
        self.lost += 1;
        self.lost_bytes += bytes as u64;
    }
}

/// The air.
#[derive(Debug)]
pub struct Air {
    weather: Weather,
    chance: Rng,
    /// Everything is lost.
    outage: bool,
    /// The device's radio is on.
    attached: bool,
    /// By time of arrival and by order of sending.
    under_way: BTreeMap<(Uptime, u64), Arrival>,
    sent: u64,
    /// When the newest one arrives that keeps its turn: upwards, downwards.
    in_turn: [Uptime; 2],
    nat: Nat,
    /// Device to service.
    pub up: Traffic,
    /// Service to device.
    pub down: Traffic,
    hash: u64,
}

#[derive(Debug)]
struct Nat {
    /// The outside of each of the device's ports.
    outside: BTreeMap<u16, u16>,
    /// Which of the device's ports an outside port was for.
    ever: BTreeMap<u16, u16>,
    next: u16,
    records: u32,
    last_used: Uptime,
    moves: u64,
}

impl Air {
    /// The same for the same seed.
    pub const fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            chance: Rng(seed),
            outage: false,
            attached: true,
            under_way: BTreeMap::new(),
            sent: 0,
            in_turn: [Uptime(0); 2],
            nat: Nat {
                outside: BTreeMap::new(),
                ever: BTreeMap::new(),
                next: 1024,
                records: 0,
                last_used: Uptime(0),
                moves: 0,
            },
            up: NOTHING,
            down: NOTHING,
            hash: FNV_OFFSET,
        }
    }

    /// Nothing gets through until somebody says otherwise; what is under way is lost.
    pub fn set_outage(&mut self, outage: bool) {
        self.outage = outage;
        if outage {
            self.under_way.clear();
        }
    }

    /// The device is on the network, or not: then nothing reaches it, and when it comes back it has another address.
    /// Returns whether this changes anything.
    pub fn set_attached(&mut self, attached: bool) -> bool {
        let changes = attached != self.attached;
        self.attached = attached;
        if changes {
            self.nat.forget();
            let upwards = |a: &Arrival| matches!(a, Arrival::AtService { .. });
            self.under_way.retain(|_, arrival| upwards(arrival));
        }
        changes
    }

    /// The device sends from another address from now on.
    pub fn rebind(&mut self) {
        self.nat.forget();
    }

    /// Which of the device's ports had this address, dead ones included.
    pub fn port_behind(&self, address: SocketAddr) -> Option<u16> {
        self.nat.ever.get(&address.port()).copied()
    }

    /// How often the device got another address.
    pub const fn moves(&self) -> u64 {
        self.nat.moves
    }

    /// Over every datagram that was sent, when, and by whom.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Somebody sends.
    pub fn send(&mut self, way: Way, bytes: Vec<u8>, now: Uptime) {
        self.hash_in(way, &bytes, now);
        let arrival = match way {
            Way::Up(_) if !self.attached => None,
            Way::Up(port) => {
                let from = self.nat.outside(port, &bytes, self.weather.rebinding, now);
                Some(Arrival::AtService { from, bytes })
            }
            Way::Down(to) => {
                let port = self.nat.inside(to, self.weather.rebinding, now);
                count(&mut self.down, bytes.len());
                if port.is_none() {
                    self.down.lose(bytes.len());
                }
                port.map(|port| Arrival::AtDevice { port, bytes })
            }
        };
        let Some(arrival) = arrival else { return };
        let (traffic, bytes) = match &arrival {
            Arrival::AtService { bytes, .. } => {
                count(&mut self.up, bytes.len());
                (&mut self.up, bytes.len())
            }
            Arrival::AtDevice { bytes, .. } => (&mut self.down, bytes.len()),
        };
        let (weather, chance) = (&self.weather, &mut self.chance);
        if bytes as u64 + HEADER_BYTES > MTU_BYTES {
            traffic.too_large += 1;
            traffic.lose(bytes);
            return;
        }
        if self.outage || chance.below(1000) < weather.lost {
            traffic.lose(bytes);
            return;
        }
        let again = chance.below(1000) < weather.twice;
        traffic.twice += u64::from(again);
        for _ in 0..1 + u32::from(again) {
            let mut at = now.plus(weather.way + up_to(weather.jitter, chance));
            if chance.below(1000) < weather.late {
                at = at.plus(up_to(weather.late_by, chance));
            } else {
                let turn = &mut self.in_turn[usize::from(matches!(way, Way::Down(_)))];
                at = at.max(*turn);
                *turn = at;
            }
            self.sent += 1;
            self.under_way.insert((at, self.sent), arrival.clone());
        }
    }

    /// When the next datagram arrives.
    pub fn next(&self) -> Option<Uptime> {
        let ((at, _), _) = self.under_way.first_key_value()?;
        Some(*at)
    }

    /// The next datagram that has arrived by now.
    pub fn arrived(&mut self, now: Uptime) -> Option<Arrival> {
        if self.next()? > now {
            return None;
        }
        let (_, arrival) = self.under_way.pop_first()?;
        Some(arrival)
    }

    /// FNV-1a: enough to tell two runs apart.
    fn hash_in(&mut self, way: Way, bytes: &[u8], now: Uptime) {
        let (up, port) = match way {
            Way::Up(port) => (1, port),
            Way::Down(to) => (0, to.port()),
        };
        let head = [now.0, up, u64::from(port), bytes.len() as u64];
        let head = head.into_iter().flat_map(u64::to_be_bytes);
        for byte in head.chain(bytes.iter().copied()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

impl Nat {
    /// The address that the service sees.
    fn outside(&mut self, port: u16, bytes: &[u8], rule: Rebinding, now: Uptime) -> SocketAddr {
        self.forget_after_silence(rule, now);
        if let (Rebinding::EveryRecord(nth), Some(&TLS12_CID)) = (rule, bytes.first()) {
            self.records += 1;
            if self.records.is_multiple_of(nth) {
                self.forget();
            }
        }
        let next = &mut self.next;
        let outside = *self.outside.entry(port).or_insert_with(|| {
            *next = next.checked_add(1).unwrap_or(1024);
            *next
        });
        self.ever.insert(outside, port);
        SocketAddr::from((PUBLIC, outside))
    }

    /// The device's port behind this address, if it is still alive.
    fn inside(&mut self, to: SocketAddr, rule: Rebinding, now: Uptime) -> Option<u16> {
        self.forget_after_silence(rule, now);
        let alive = |(inside, outside): (&u16, &u16)| {
            (SocketAddr::from((PUBLIC, *outside)) == to).then_some(*inside)
        };
        self.outside.iter().find_map(alive)
    }

    fn forget_after_silence(&mut self, rule: Rebinding, now: Uptime) {
        if let Rebinding::AfterSilence(time) = rule
            && now > self.last_used.plus(time)
        {
            self.forget();
        }
        self.last_used = now;
    }

    fn forget(&mut self) {
        self.moves += u64::from(!self.outside.is_empty());
        self.outside.clear();
    }
}

const fn count(traffic: &mut Traffic, bytes: usize) {
    traffic.datagrams += 1;
    traffic.bytes += bytes as u64;
}

fn up_to(time: Duration, chance: &mut Rng) -> Duration {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1);
    Duration::from_millis(chance.below(millis + 1))
}

/// RFC 5737: an address for examples.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const NOTHING: Traffic = Traffic {
    datagrams: 0,
    bytes: 0,
    lost: 0,
    lost_bytes: 0,
    twice: 0,
    too_large: 0,
};
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
