//! CoAP over DTLS between one device and the service: the real endpoints of both, datagrams between them.
//!
//! ```text
//!   town ─ Fetch, Report ─► DeviceEnd                      Air                     ServiceEnd ─► Desk
//!                             CoapLink                                               Grants
//!                             coap::Client                                           coap::Server
//!                             dtls::Client ─────────── datagrams ──────────────────► dtls::Endpoint
//! ```
//!
//! Time goes from one datagram or timer to the next. Each record that leaves an end is looked at: no key may protect two
//! records under one number.

mod device_end;
mod records;
mod service_end;

pub use device_end::Tally;
pub use records::Records;

use crate::air::{Air, Arrival, Weather};
use crate::cuts::{Cut, Rng};
use crate::desk::Desk;
use crate::town::BEGIN;
use device_end::DeviceEnd;
use sectag_dtls::{Now, Random};
use sectag_proto::device::coap::LinkInput;
use sectag_proto::device::{Config, Input};
use sectag_proto::{Timestamp, Uptime};
use service_end::ServiceEnd;
use std::fmt;
use std::time::Duration;

/// What a town over CoAP is like.
#[derive(Debug, Clone, Copy)]
pub struct CoapRoad {
    /// Whether a device of the firmware's conduct keeps its socket in flight mode. Ours always does.
    pub keep_open: bool,
    /// What becomes of datagrams.
    pub weather: Weather,
    /// Whether the service gives out session tickets; without them sessions are resumed by their ids.
    pub tickets: bool,
    /// How long a session can be resumed.
    pub resumable: Duration,
    /// Out of a thousand requests, how many the service takes up to five seconds to answer.
    pub slow: u64,
}

impl CoapRoad {
    /// Fair weather, keep-open, tickets, a service that answers at once.
    pub const FAIR: Self = Self {
        keep_open: true,
        weather: Weather::FAIR,
        tickets: true,
        resumable: Duration::from_secs(7 * 86_400),
        slow: 0,
    };
}

/// Steps of one request; more means that it runs in a circle.
const STEPS_MAX: u32 = 100_000;

/// Both ends and what is between them.
pub struct CoapStreet {
    /// What is between them.
    pub air: Air,
    device: DeviceEnd,
    service: ServiceEnd,
    records: Records,
    now: Uptime,
}

impl CoapStreet {
    /// The same for the same seed.
    pub fn new(session: &Config, road: CoapRoad, seed: u64) -> Self {
        let mut chance = Rng(seed ^ 0xc0a9);
        Self {
            air: Air::new(road.weather, chance.next()),
            device: DeviceEnd::new(session, road.keep_open, chance.next()),
            service: ServiceEnd::new(road, chance.next()),
            records: Records::default(),
            now: Uptime(0),
        }
    }

    /// What the device's connections have cost until now.
    pub fn tally(&self) -> Tally {
        self.device.tally()
    }

    /// What the service's endpoint has counted.
    pub fn service_counters(&self) -> sectag_dtls::Counters {
        self.service.counters()
    }

    /// Every protected record that was sent.
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// Carries a fetch or a report, until the device has its answer.
    pub fn carry(
        &mut self,
        input: LinkInput,
        cut: Option<Cut>,
        desk: &mut Desk,
        now: &mut Uptime,
    ) -> Input {
        self.live(desk, *now);
        self.air.set_outage(cut == Some(Cut::There));
        self.service.falls_silent = cut == Some(Cut::Back);
        self.device.link.handle(input, self.now);
        let answer = self.run(desk, None);
        self.air.set_outage(false);
        self.service.falls_silent = false;
        *now = self.now;
        answer.expect("every request has its answer")
    }

    /// Time goes by, until now.
    pub fn live(&mut self, desk: &mut Desk, now: Uptime) {
        let answer = self.run(desk, Some(now));
        assert!(answer.is_none(), "an answer that nobody waits for");
    }

    /// The device's session ended.
    pub fn stopped(&mut self, desk: &mut Desk, now: Uptime) {
        self.live(desk, now);
        self.device.link.handle(LinkInput::Stopped, now);
        self.live(desk, now);
    }

    /// The device is on the network, or in flight mode.
    pub fn set_attached(&mut self, attached: bool) {
        if self.air.set_attached(attached) && attached {
            self.device.link.handle(LinkInput::Moved, self.now);
        }
    }

    /// The device loses power, and with it all that it knew of its connections.
    pub fn lose_power(&mut self) {
        self.device.lose_power();
    }

    /// From one datagram or timer to the next, until the device has an answer, or until `end`.
    fn run(&mut self, desk: &mut Desk, end: Option<Uptime>) -> Option<Input> {
        for _ in 0..STEPS_MAX {
            while let Some(arrival) = self.air.arrived(self.now) {
                match arrival {
                    Arrival::AtService { from, bytes } => {
                        self.service.feed(&bytes, from, self.now);
                        self.service_works(desk);
                    }
                    Arrival::AtDevice { port, bytes } => {
                        self.records.arrived(port, &bytes);
                        self.device.feed(port, &bytes, self.now);
                        self.device_works();
                    }
                }
            }
            self.service_works(desk);
            self.device_works();
            if let Some(answer) = self.device.answer.take() {
                return Some(answer);
            }
            let due = [self.air.next(), self.service.wake(), self.device.wake()];
            let due = due.into_iter().flatten().min();
            let later = self.now.plus(Duration::from_millis(1));
            self.now = match (due.map(|due| due.max(later)), end) {
                (Some(due), Some(end)) if due <= end => due,
                (_, Some(end)) => {
                    self.now = self.now.max(end);
                    return None;
                }
                (Some(due), None) => due,
                (None, None) => panic!("a request waits for nothing: {self:?}"),
            };
        }
        panic!("a request without end: {self:?}");
    }

    fn service_works(&mut self, desk: &mut Desk) {
        self.service
            .work(desk, &mut self.air, &mut self.records, self.now);
    }

    fn device_works(&mut self) {
        self.device.work(&mut self.air, &mut self.records, self.now);
    }
}

impl fmt::Debug for CoapStreet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoapStreet")
            .field("now", &self.now)
            .field("up", &self.air.up)
            .field("down", &self.air.down)
            .field("link", &self.device.link)
            .field("tally", &self.tally())
            .finish_non_exhaustive()
    }
}

/// Both clocks.
fn clock(now: Uptime) -> Now {
    Now {
        uptime: uptime(now),
        unix_s: calendar(now).as_secs(),
    }
}

fn uptime(now: Uptime) -> Duration {
    Duration::from_millis(now.0)
}

fn calendar(now: Uptime) -> Timestamp {
    BEGIN.plus(uptime(now))
}

/// Rounded up, so that what is due is due.
fn wake_up(at: Duration) -> Uptime {
    Uptime(u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// A town's randomness: predictable, and so for towns only.
struct Dice(Rng);

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.0.next().to_be_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}
