//! The streets between device and service, and the clock over both.

use crate::cuts::{Arrow, Cut, Cuts};
use crate::desk::{Desk, LIMITS, is_step};
use crate::device::Device;
use crate::road::{Road, Street};
use sectag_modem::Options;
use sectag_proto::device::{ClientConfig, Config, Ending, Event, Input, Output};
use sectag_proto::query::FetchQuery;
use sectag_proto::secret::SecretText;
use sectag_proto::wire::decode_responses;
use sectag_proto::{Timestamp, Uptime};
use std::time::Duration;

/// 2026-01-01T00:00:00Z: when every town's clock begins.
pub const BEGIN: Timestamp = Timestamp::from_secs(1_767_225_600);
/// Steps of one session; more means that it runs in a circle.
const STEPS_MAX: u32 = 20_000;

/// One device, one service, one clock.
#[derive(Debug)]
pub struct Town {
    /// The device.
    pub device: Device,
    /// The service.
    pub desk: Desk,
    /// What lies between them.
    pub street: Street,
    /// What happened on the device, in order, over all sessions.
    pub events: Vec<Event>,
    /// Whether the device has taken `finished` as done.
    pub told_done: bool,
    seed: u64,
    cuts: Cuts,
    now: Uptime,
    /// `Debug` of everything that crossed the device, as a careless log would hold it.
    heard: Vec<String>,
    tokens: Vec<String>,
}

impl Town {
    /// A claimed device beside its service, with sessions on demand. The same seed is the same town, except for the CA's keys.
    pub fn new(seed: u64, session: Config, options: Options, cuts: Cuts) -> Self {
        let config = ClientConfig {
            session,
            ..ClientConfig::default()
        };
        Self::with_client(Road::Https, seed, config, options, cuts)
    }

    /// The same with all options of the client library, and the road between them.
    pub fn with_client(
        road: Road,
        seed: u64,
        mut config: ClientConfig,
        options: Options,
        cuts: Cuts,
    ) -> Self {
        config.session.transport = road.transport();
        let street = Street::new(road, &config.session, seed);
        let mut device = Device::new(seed, config, options);
        let desk = Desk::claim(&device.claim_token());
        Self {
            device,
            desk,
            street,
            events: Vec::new(),
            told_done: false,
            seed,
            cuts,
            now: Uptime(0),
            heard: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// The calendar.
    pub fn now(&self) -> Timestamp {
        BEGIN.plus(Duration::from_millis(self.now.0))
    }

    /// Time goes by with nobody doing anything.
    pub fn pass(&mut self, time: Duration) {
        self.move_to(self.now.plus(time));
    }

    /// Power is lost and comes back at once.
    pub fn lose_power(&mut self) {
        self.device.reboot(self.now);
        self.street.lose_power();
    }

    /// Sessions, a quarter of an hour apart, until nothing is open; returns how many. Panics after `most`.
    pub fn settle(&mut self, most: u32) -> u32 {
        for session in 0..most {
            if self.desk.is_settled() {
                return session;
            }
            self.session();
            self.pass(Duration::from_secs(900));
        }
        assert!(
            self.desk.is_settled(),
            "seed {}: open after {most} sessions: {:#?}",
            self.seed,
            self.desk.commands()
        );
        most
    }

    /// One session, from its trigger to its end; `None` when the device lost power in it.
    pub fn session(&mut self) -> Option<Ending> {
        self.device.time_is(self.now(), self.now);
        self.hand(Input::Triggered);
        for _ in 0..STEPS_MAX {
            match self.step(None) {
                Step::PowerLost => return None,
                Step::Rests => return self.device.client.ending(),
                Step::Went => {}
            }
        }
        panic!("seed {}: a session without end", self.seed);
    }

    /// A scheduled device lives by itself for this long, whatever it loses.
    pub fn live(&mut self, time: Duration) {
        let end = self.now.plus(time);
        self.device.time_is(self.now(), self.now);
        for _ in 0..STEPS_MAX * 10 {
            if matches!(self.step(Some(end)), Step::Rests) {
                self.move_to(end);
                return;
            }
        }
        panic!("seed {}: it does not rest", self.seed);
    }

    /// One output and its answer. Rests when nothing is to be done, or not before `end`.
    fn step(&mut self, end: Option<Uptime>) -> Step {
        let output = self.device.client.poll();
        self.heard.push(format!("{output:?}"));
        if let Output::Event(event) = output {
            self.told_done |= event == Event::Done;
            if event == Event::Stop {
                self.street.stopped(&mut self.desk, self.now);
            }
            self.events.push(event);
            return Step::Went;
        }
        let rests = match (&output, end) {
            (Output::Wait(None), _) => true,
            (Output::Wait(Some(until)), Some(end)) => *until > end,
            _ => false,
        };
        if rests {
            return Step::Rests;
        }
        if self.cuts.cuts(Arrow::Power) {
            self.lose_power();
            return Step::PowerLost;
        }
        let input = match &output {
            Output::Wait(until) => {
                self.move_to(until.unwrap_or(self.now));
                Input::Tick
            }
            Output::Fetch { jwt, query } => self.fetch(jwt, query),
            Output::Report { jwt, body } => self.report(jwt, body),
            other => self
                .device
                .answer(other)
                .expect("the device answers what the town does not"),
        };
        self.device.modem.advance(self.now);
        let attached = self.device.modem.is_attached();
        self.street.set_attached(attached);
        self.hand(input);
        Step::Went
    }

    /// Which of these texts somebody could have printed: the secrets given, and every JWT.
    pub fn leaks(&self, secrets: &[&str]) -> Vec<String> {
        let tokens = self.tokens.iter().map(String::as_str);
        secrets
            .iter()
            .copied()
            .chain(tokens)
            .filter(|secret| {
                let said = self.heard.iter().chain(&self.desk.said);
                said.into_iter().any(|line| line.contains(*secret))
            })
            .map(str::to_owned)
            .collect()
    }

    fn hand(&mut self, input: Input) {
        self.heard.push(format!("{input:?}"));
        self.device.client.handle(input, self.now);
    }

    fn fetch(&mut self, jwt: &SecretText, query: &FetchQuery) -> Input {
        self.tokens.push(jwt.expose().clone());
        let cut = self.cut(Arrow::Fetch, Arrow::Batch);
        let (street, desk) = (&mut self.street, &mut self.desk);
        street.fetch(jwt, query, cut, desk, &mut self.now)
    }

    fn report(&mut self, jwt: &SecretText, body: &[u8]) -> Input {
        self.tokens.push(jwt.expose().clone());
        let cut = self.cut(Arrow::Report, Arrow::Acknowledgement);
        let (street, desk) = (&mut self.street, &mut self.desk);
        let answer = street.report(jwt, body, cut, desk, &mut self.now);
        if matches!(answer, Input::Reported { status: 200 }) {
            let report = decode_responses(body, LIMITS).expect("the service took it");
            let ids = report.iter().map(|r| r.correlation.to_string());
            let ids = ids.filter(|id| !is_step(id));
            self.desk.acknowledged.extend(ids);
        }
        answer
    }

    /// Which way of an exchange is cut, if any.
    fn cut(&mut self, there: Arrow, back: Arrow) -> Option<Cut> {
        if self.cuts.cuts(there) {
            return Some(Cut::There);
        }
        self.cuts.cuts(back).then_some(Cut::Back)
    }

    fn move_to(&mut self, now: Uptime) {
        self.now = now.max(self.now);
        self.street.live(&mut self.desk, self.now);
    }
}

/// What came of one step.
enum Step {
    Went,
    PowerLost,
    Rests,
}
