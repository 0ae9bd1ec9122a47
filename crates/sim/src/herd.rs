//! Many clients that are powered up together, and a service that only counts when they come.
//!
//! No modem and no service behind it: each ask is answered at once, except that a request takes its way (a second or two
//! for handshake and network, by chance). What is looked at is the schedule of [`Client`], whole.

use crate::cuts::Rng;
use sectag_proto::Uptime;
use sectag_proto::device::{Client, ClientConfig, FunctionalMode, Input, Output, RadioState};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A request is on its way at least this long, and by chance up to twice as long again.
const WAY: Duration = Duration::from_millis(700);

/// One fetch as the service sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Since power-up.
    pub at: Uptime,
    /// Whether this client was turned away before.
    pub again: bool,
    /// Whether it is turned away now.
    pub turned_away: bool,
}

/// Powers up `clients` at once and lets them live for `time`. The service answers 500 while `is_busy`, with `hint` as its
/// `Retry-After`, and 204 otherwise.
pub fn arrivals(
    clients: u64,
    config: &ClientConfig,
    time: Duration,
    hint: Option<Duration>,
    is_busy: impl Fn(Uptime) -> bool,
) -> Vec<Arrival> {
    let end = Uptime(0).plus(time);
    let mut chance = Rng(7);
    let mut arrivals = Vec::new();
    let mut agenda = BinaryHeap::new();
    let mut herd: Vec<Animal> = (0..clients)
        .map(|number| Animal::new(number, config))
        .collect();
    let powered_up = herd.iter_mut().zip(0_usize..);
    agenda.extend(powered_up.filter_map(|(animal, place)| {
        let due = animal.rest(Uptime(0), &mut chance)?;
        Some(Reverse((due, place)))
    }));
    while let Some(Reverse((now, place))) = agenda.pop() {
        if now > end {
            break;
        }
        let animal = &mut herd[place];
        let mut input = Input::Tick;
        if animal.on_its_way {
            let turned_away = is_busy(now);
            arrivals.push(Arrival {
                at: now,
                again: animal.turned_away,
                turned_away,
            });
            animal.turned_away = turned_away;
            animal.on_its_way = false;
            if let (true, Some(hint)) = (turned_away, hint) {
                animal.client.handle(Input::Hint(hint), now);
            }
            input = Input::Fetched {
                status: if turned_away { 500 } else { 204 },
                body: Vec::new(),
            };
        }
        animal.client.handle(input, now);
        if let Some(due) = animal.rest(now, &mut chance) {
            agenda.push(Reverse((due, place)));
        }
    }
    arrivals
}

/// The busiest second of these arrivals over the mean of the `window` in which a flat wave would come.
pub fn peak_over_mean(arrivals: &[Arrival], window: Duration) -> f64 {
    f64::from(peak(arrivals)) / (arrivals.len() as f64 / window.as_secs_f64())
}

/// Arrivals in the busiest second.
pub fn peak(arrivals: &[Arrival]) -> u32 {
    let mut seconds: Vec<u64> = arrivals.iter().map(|a| a.at.0 / 1000).collect();
    seconds.sort_unstable();
    let runs = seconds.chunk_by(|a, b| a == b);
    let longest = runs.map(<[u64]>::len).max().unwrap_or(0);
    u32::try_from(longest).unwrap_or(u32::MAX)
}

struct Animal {
    client: Client,
    on_its_way: bool,
    turned_away: bool,
}

impl Animal {
    fn new(number: u64, config: &ClientConfig) -> Self {
        let config = ClientConfig {
            seed: number,
            ..config.clone()
        };
        let mut client = Client::new(config).expect("options that fit each other");
        client.init(Uptime(0)).expect("it is new");
        Self {
            client,
            on_its_way: false,
            turned_away: false,
        }
    }

    /// Answers what can be answered at once; returns when something happens next.
    fn rest(&mut self, now: Uptime, chance: &mut Rng) -> Option<Uptime> {
        loop {
            let answer = match self.client.poll() {
                Output::Event(_) => continue,
                Output::Wait(until) => return until,
                Output::Fetch { .. } => {
                    let way = u64::try_from(WAY.as_millis()).expect("it is short");
                    self.on_its_way = true;
                    return Some(Uptime(now.0 + way + chance.below(2 * way)));
                }
                Output::Sign { .. } => Input::Signed(String::from("a.b.c").into()),
                Output::Report { .. } => Input::Reported { status: 200 },
                Output::Line(_) => {
                    Input::ModemSaid("%CCLK: \"26/11/20,22:00:00+00\"\r\nOK\r\n".into())
                }
                Output::Radio(_) => Input::RadioIs(RadioState {
                    mode: FunctionalMode::FULL,
                    pdn_active: true,
                }),
                Output::Load { .. } => Input::Loaded(None),
                Output::Save { .. } => Input::Stored,
            };
            self.client.handle(answer, now);
        }
    }
}
