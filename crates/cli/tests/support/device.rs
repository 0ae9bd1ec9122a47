//! A device driven one request at a time: the real session and the virtual modem, on a clock that jumps from wait to wait.
//!
//! What a device may demand of its service is checked as it goes: a report that was acknowledged is never followed by one of
//! its commands again, and an unacknowledged one is repeated to the byte.

use sectag_device::hosted::HostedModem;
use sectag_device::https::Https;
use sectag_device::settings::{Settings as _, VolatileSettings};
use sectag_device::verbs;
use sectag_modem::{SharedModem, VirtualModem};
use sectag_proto::device::{
    Config, Ending, Errno, FunctionalMode, Input, Output, RadioState, RadioWish, Session,
    TransportError,
};
use sectag_proto::wire::{DecodeLimits, decode_commands, decode_responses};
use sectag_proto::{DeviceId, Uptime};
use std::collections::BTreeSet;
use std::time::Duration;

/// Steps of one session between two requests; more is a machine that runs in circles.
const STEPS_MAX: usize = 1000;

pub(crate) struct Device {
    pub(crate) modem: HostedModem,
    pub(crate) id: DeviceId,
    /// Correlation ids of each batch that arrived.
    pub(crate) batches: Vec<Vec<String>>,
    /// AT lines that were run for commands.
    pub(crate) lines: Vec<String>,
    session: Session,
    settings: VolatileSettings,
    now: Uptime,
    /// The request that comes next; `None` while no session runs.
    next: Option<Output>,
    unacknowledged: Option<Vec<u8>>,
    acknowledged: BTreeSet<String>,
    runtime: tokio::runtime::Runtime,
}

/// What came of a request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchanged {
    Fetched,
    Reported,
    NothingToDo,
}

impl Device {
    pub(crate) fn new(seed: u64) -> Self {
        let mut modem = HostedModem::new(SharedModem::new(VirtualModem::from_seed(seed)));
        modem.line("AT+CFUN=1");
        let id = verbs::uuid(&mut modem).unwrap();
        let settings = VolatileSettings::default();
        let session = session(&mut modem, &settings);
        Self {
            modem,
            id,
            batches: Vec::new(),
            lines: Vec::new(),
            session,
            settings,
            now: Uptime(0),
            next: None,
            unacknowledged: None,
            acknowledged: BTreeSet::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    pub(crate) fn claim_token(&mut self) -> String {
        verbs::token(&mut self.modem).unwrap()
    }

    /// Places in the queue (`1.s`, `1`, `2`) of each batch's commands; the ids in front of them are made by chance.
    pub(crate) fn batches(&self) -> Vec<Vec<String>> {
        let places = |ids: &Vec<String>| ids.iter().map(|id| place(id).to_owned()).collect();
        self.batches.iter().map(places).collect()
    }

    /// The battery is taken out: what the session knew is gone; modem and settings stay.
    pub(crate) fn dies(&mut self) {
        self.session = session(&mut self.modem, &self.settings);
        self.next = None;
        self.unacknowledged = None;
    }

    /// Whether the next request is a report.
    pub(crate) fn is_about_to_report(&self) -> bool {
        matches!(self.next, Some(Output::Report { .. }))
    }

    /// How the last session ended; `None` while one runs.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.next.is_none().then(|| self.session.ending()).flatten()
    }

    /// Sends the next request and does all that follows its answer, up to the request after it. Without an answer the session
    /// goes on as it does in the field: a report is kept and sent again, a fetch ends the session and the next one begins.
    pub(crate) fn exchange(&mut self, https: &Https) -> Result<Exchanged, TransportError> {
        let (outcome, input) = self.request(https);
        self.handle(input);
        outcome
    }

    /// As [`Device::exchange`], but the device dies before it hears the answer.
    pub(crate) fn exchange_unheard(&mut self, https: &Https) -> Result<Exchanged, TransportError> {
        let (outcome, _) = self.request(https);
        self.dies();
        outcome
    }

    /// The status of a fetch, whatever it is.
    pub(crate) fn knock(&mut self, https: &Https) -> u16 {
        self.handle(Input::Triggered);
        match self.next.take().expect("a session begins with a request") {
            Output::Fetch { jwt, query } => {
                let answer = self.runtime.block_on(https.fetch(jwt.expose(), &query));
                answer.unwrap().status
            }
            other => panic!("not a fetch: {other:?}"),
        }
    }

    /// Runs something of the network beside the device.
    pub(crate) fn wait_for(&self, work: impl Future<Output = ()>) {
        self.runtime.block_on(work);
    }

    fn request(&mut self, https: &Https) -> (Result<Exchanged, TransportError>, Input) {
        if self.next.is_none() {
            self.handle(Input::Triggered);
        }
        match self.next.take().expect("a session begins with a request") {
            Output::Fetch { jwt, query } => {
                match self.runtime.block_on(https.fetch(jwt.expose(), &query)) {
                    Ok(answer) => {
                        let (status, body) = (answer.status, answer.body);
                        let exchanged = match status {
                            200 => {
                                self.batch(&body);
                                Exchanged::Fetched
                            }
                            204 => Exchanged::NothingToDo,
                            other => panic!("a fetch was answered with {other}"),
                        };
                        (Ok(exchanged), Input::Fetched { status, body })
                    }
                    Err(error) => (Err(error.kind), Input::Failed(error.kind)),
                }
            }
            Output::Report { jwt, body } => {
                if let Some(before) = &self.unacknowledged {
                    assert!(*before == body, "a report is repeated with other bytes");
                }
                self.unacknowledged = Some(body.clone());
                match self.runtime.block_on(https.report(jwt.expose(), &body)) {
                    Ok(answer) => {
                        let status = answer.status;
                        assert_eq!(status, 200, "answer to a report");
                        self.unacknowledged = None;
                        for response in decode_responses(&body, LIMITS).unwrap() {
                            self.acknowledged.insert(response.correlation.to_string());
                        }
                        (Ok(Exchanged::Reported), Input::Reported { status })
                    }
                    Err(error) => (Err(error.kind), Input::Failed(error.kind)),
                }
            }
            other => panic!("not a request: {other:?}"),
        }
    }

    fn batch(&mut self, body: &[u8]) {
        let ids: Vec<String> = decode_commands(body, LIMITS)
            .unwrap()
            .iter()
            .map(|command| command.correlation.to_string())
            .collect();
        for id in &ids {
            assert!(
                !self.acknowledged.contains(id),
                "`{id}` came again after its report was acknowledged; the batch is {ids:?}"
            );
        }
        for earlier in self.batches.iter().flatten() {
            for id in &ids {
                assert!(
                    place(id) != place(earlier) || id == earlier,
                    "`{earlier}` came again as `{id}`"
                );
            }
        }
        self.batches.push(ids);
    }

    /// Gives the session an input and carries what it asks for, until it wants to send or is at rest.
    fn handle(&mut self, input: Input) {
        self.session.handle(input, self.now);
        for _ in 0..STEPS_MAX {
            let input = match self.session.poll() {
                Output::Event(_) => continue,
                Output::Wait(until) => match (self.session.ending(), until) {
                    (Some(_), _) => return,
                    (None, Some(until)) => {
                        self.now = until;
                        Input::Tick
                    }
                    (None, None) => panic!("the session waits for nothing"),
                },
                Output::Sign { sec_tag, validity } => {
                    Input::Signed(verbs::jwt(&mut self.modem, sec_tag, validity).unwrap())
                }
                request @ (Output::Fetch { .. } | Output::Report { .. }) => {
                    self.next = Some(request);
                    return;
                }
                Output::Line(line) => {
                    self.lines.push(line.expose().to_owned());
                    Input::ModemSaid(self.modem.line(line.expose()))
                }
                Output::Radio(wish) => {
                    match wish {
                        RadioWish::Query => {}
                        RadioWish::Offline => drop(self.modem.line("AT+CFUN=4")),
                        RadioWish::Online => drop(self.modem.line("AT+CFUN=1")),
                    }
                    let offline = self.modem.line("AT+CFUN?").contains("+CFUN: 4");
                    Input::RadioIs(RadioState {
                        mode: if offline {
                            FunctionalMode::OFFLINE
                        } else {
                            FunctionalMode::FULL
                        },
                        pdn_active: !offline,
                    })
                }
                Output::Load { .. } => Input::Loaded(None),
                Output::Save { key, value } => {
                    self.settings.save(&key, &value).unwrap();
                    Input::Stored
                }
            };
            self.session.handle(input, self.now);
        }
        panic!("a session of more than {STEPS_MAX} steps");
    }
}

/// `1.s` of `<id>.1.s`.
fn place(correlation: &str) -> &str {
    correlation.split_once('.').map_or("", |(_, place)| place)
}

/// Whether a session with this end has nothing left to do.
pub(crate) fn is_content(ending: Option<Ending>) -> bool {
    matches!(ending, Some(Ending::Done | Ending::Failed(Errno::NoData)))
}

const LIMITS: DecodeLimits = DecodeLimits {
    records_max: 10,
    config_pairs_max: 10,
    bytes_max: 4096,
};

fn session(modem: &mut HostedModem, settings: &VolatileSettings) -> Session {
    let config = Config {
        modem_version: verbs::firmware(modem).unwrap(),
        radio_rest: Duration::ZERO,
        save_command_id: true,
        ..Config::default()
    };
    Session::new(Config {
        after: settings.load(&config.after_key()),
        ..config
    })
}
