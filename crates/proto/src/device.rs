//! The device's half of the conversation: one provisioning session (spec/device-protocol §7, §8), and the [`Client`] around
//! it that knows when to have one (§12). This page is the [`Session`].
//!
//! ```text
//!   SendClock ─► AwaitTime         AT%CCLK? each second, at most 60 s
//!   SendSign  ─► AwaitSignature    a fresh JWT for each request; over CoAP one for the whole session
//!   SendFetch ─► AwaitCommands     `after` = last command executed           ◄─────────────────┐
//!     SendCmee    ─► AwaitCmee, AwaitCmeeOn                                                    │
//!     SendCommand ─► AwaitOffline (before the first AT command), AwaitAnswer, AwaitDeleted,    │
//!                    AwaitStored            … one by one, until the first failure              │
//!     SendCmeeBack ─► AwaitCmeeBack                                                            │
//!     SendOnline  ─► AwaitOnline, AwaitRest                                                    │
//!   SendSign ─► AwaitSignature                                                                 │
//!   SendReport ─► AwaitAcknowledged (AwaitReportAgain) ─── not finished ───────────────────────┘
//!                                                       └─ finished ─► DONE, STOP ─► Rest
//! ```
//!
//! One law: hand it one [`Input`], then call [`Session::poll`] until it says [`Output::Wait`], which is always last and
//! names the time of the next [`Input::Tick`]. Every other output except [`Output::Event`] asks for exactly one answer
//! and the session asks for one thing at a time. An input that nobody waits for is ignored.
//!
//! Two things differ from the firmware library on purpose, and [`Conduct::Firmware`] switches both off. A report is kept
//! until it is acknowledged, because the service cannot know what a lost one said; and after a timeout everything that
//! was changed on the modem is put back, the radio by asking again while it is in flight mode. Everything that a service can notice in the requests themselves is the same.
//!
//! Over CoAP ([`Transport::Coap`]) fetch and report pass through a [`coap::CoapLink`], which knows when to connect, to
//! authenticate and to close; the session stays what it is.
//!
//! The firmware notices a too small answer buffer while it reads from the modem. Here the answer arrives whole, so its
//! length is compared with the size the buffer would have at that moment, and the same retries follow.

mod answer;
mod batch;
mod client;
pub mod coap;
mod config;
mod interval;
mod run;
mod schedule;
#[cfg(test)]
mod tests;
mod words;

pub use client::{CallError, Client, ClientConfig, ConfigRefusal};
pub use config::{Conduct, Config, Transport};
pub use schedule::BACKOFF_MAX;
pub use words::{
    AtLine, Ending, Errno, Event, FunctionalMode, Input, Output, RadioState, RadioWish,
    StoreFailure, TransportError,
};

use alloc::collections::VecDeque;
use alloc::string::String;
use core::mem;
use core::time::Duration;

use crate::Uptime;
use crate::query::FetchQuery;
use crate::secret::{Secret, SecretText};
use crate::wire::{CborRefusal, DecodeLimits, decode_commands};
use batch::{Batch, Results};

/// Largest buffer for one modem answer, its terminating NUL included (spec/device-protocol §8.1).
pub const ANSWER_BYTES_MAX: usize = 4096;
/// How often one report is sent within a session before it is kept for the next one: with the pauses below about half
/// a minute, one request timeout.
pub const REPORT_TRIES_MAX: u32 = 5;
/// Pause before a report is sent a second time; it doubles each time.
pub const REPORT_PAUSE_FIRST: Duration = Duration::from_secs(2);
/// A service that wants the report later than this gets it in the next session: one request timeout.
pub const REPORT_HINT_MAX: Duration = Duration::from_secs(30);
/// Between two looks at the clock or the radio.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One device's session. It can be triggered again after it ended, and remembers `after` and an unacknowledged report.
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    outputs: VecDeque<Output>,
    wake: Option<Uptime>,
    /// The token of this session, and when it was made; over CoAP only.
    token: Option<(SecretText, Uptime)>,
    after: String,
    unsent: Option<Results>,
    tries: u32,
    hint: Option<Duration>,
    ending: Option<Ending>,
}

/// What the session waits for.
#[derive(Debug)]
enum State {
    Rest,
    AwaitTime { deadline: Uptime },
    AwaitSignature(Purpose),
    AwaitCommands,
    AwaitCmee(Batch),
    AwaitCmeeOn(Batch),
    AwaitOffline { batch: Batch, deadline: Uptime },
    AwaitAnswer { batch: Batch, buffer: usize },
    AwaitDeleted { batch: Batch, buffer: usize },
    AwaitStored { batch: Batch, pair: usize },
    AwaitCmeeBack(Batch),
    AwaitOnline { batch: Batch, deadline: Uptime },
    AwaitRest(Batch),
    AwaitAcknowledged,
    AwaitReportAgain,
    AwaitToken,
    AwaitSaved,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Fetch,
    Report,
}

impl Session {
    /// A session at rest.
    pub fn new(config: Config) -> Self {
        Self {
            after: config.after.clone().unwrap_or_default(),
            config,
            state: State::Rest,
            outputs: VecDeque::new(),
            wake: None,
            token: None,
            unsent: None,
            tries: 0,
            hint: None,
            ending: None,
        }
    }

    /// The next thing to do. Call it until it returns [`Output::Wait`].
    pub fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Wait(self.wake))
    }

    /// How the last session ended; `None` while one runs and before the first.
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Whether no session runs.
    pub const fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Rest)
    }

    /// Correlation id of the last command executed; empty before the first.
    pub fn after(&self) -> &str {
        &self.after
    }

    /// Whether results wait for the next session because nobody acknowledged them.
    pub const fn has_unacknowledged_report(&self) -> bool {
        self.unsent.is_some()
    }

    /// When the session wants its next [`Input::Tick`].
    const fn wake(&self) -> Option<Uptime> {
        self.wake
    }

    /// The saved `after` of an earlier life; counts only while there is none.
    fn remember_after(&mut self, saved: String) {
        if self.after.is_empty() {
            self.after = saved;
        }
    }

    /// Takes one input. Inputs that do not answer what was asked are ignored.
    pub fn handle(&mut self, input: Input, now: Uptime) {
        if let Input::Hint(hint) = input {
            self.hint = Some(hint);
            return;
        }
        let wake = self.wake.take();
        let due = wake.is_some_and(|wake| now >= wake);
        let state = mem::replace(&mut self.state, State::Rest);
        self.state = match (state, input) {
            (State::Rest, Input::Triggered) => self.start(now),

            (State::AwaitTime { deadline }, Input::ModemSaid(text)) if wake.is_none() => {
                if answer::names_a_time(&text) {
                    self.send_next(now)
                } else {
                    self.look_at_clock_later(deadline, now)
                }
            }
            (State::AwaitTime { deadline }, Input::ModemFailed(_)) if wake.is_none() => {
                self.look_at_clock_later(deadline, now)
            }
            (State::AwaitTime { .. }, Input::TimeKnown) if wake.is_some() => self.send_next(now),
            (State::AwaitTime { deadline }, Input::Tick) if due => {
                self.line(String::from("AT%CCLK?"));
                State::AwaitTime { deadline }
            }

            (State::AwaitSignature(purpose), Input::Signed(jwt)) => self.signed(purpose, jwt, now),
            (State::AwaitSignature(purpose), Input::SignFailed(_)) => match purpose {
                Purpose::Fetch => self.end(Ending::Failed(Errno::NoExec)),
                Purpose::Report => self.report_failed(Errno::NoExec, false, now),
            },

            (State::AwaitCommands, Input::Fetched { status, body }) => {
                // It may hold a private key.
                let body = Secret::new(body);
                match Errno::of_answer(self.config.transport, status) {
                    None => self.take_batch(body.expose()),
                    Some(errno) => self.end(Ending::Failed(errno)),
                }
            }
            (State::AwaitCommands, Input::NotAdmitted { status }) => {
                self.end(Ending::Failed(self.not_admitted(status)))
            }
            (State::AwaitCommands, Input::Failed(error)) => {
                self.end(Ending::Failed(Errno::of_transport(error)))
            }

            (State::AwaitCmee(batch), Input::ModemSaid(text)) => {
                self.cmee_state(batch, answer::cmee_state(&text), now)
            }
            (State::AwaitCmee(batch), Input::ModemFailed(_)) => self.cmee_state(batch, None, now),
            (State::AwaitCmeeOn(batch), Input::ModemSaid(_) | Input::ModemFailed(_)) => {
                self.send_command(batch, now)
            }
            (State::AwaitOffline { batch, deadline }, Input::RadioIs(radio)) if wake.is_none() => {
                self.radio_is(batch, deadline, Some(radio), now)
            }
            (State::AwaitOffline { batch, deadline }, Input::ModemFailed(_)) if wake.is_none() => {
                self.radio_is(batch, deadline, None, now)
            }
            (State::AwaitOffline { batch, deadline }, Input::Tick) if due => {
                self.push(Output::Radio(RadioWish::Query));
                State::AwaitOffline { batch, deadline }
            }
            (State::AwaitAnswer { batch, buffer }, Input::ModemSaid(text)) => {
                self.modem_said(batch, buffer, text, now)
            }
            (State::AwaitAnswer { batch, .. }, Input::ModemFailed(text)) => {
                self.settle(batch, answer::failed(text), now)
            }
            (
                State::AwaitDeleted { batch, buffer },
                Input::ModemSaid(_) | Input::ModemFailed(_),
            ) => self.run_at(batch, buffer),
            (State::AwaitStored { batch, pair }, Input::Stored) => {
                self.store_pair(batch, pair + 1, now)
            }
            (State::AwaitStored { batch, pair }, Input::StoreFailed(failure)) => {
                self.pair_failed(batch, pair, failure, now)
            }
            (State::AwaitCmeeBack(batch), Input::ModemSaid(_) | Input::ModemFailed(_)) => {
                self.send_online(batch, now)
            }
            (State::AwaitOnline { batch, deadline }, Input::RadioIs(radio)) if wake.is_none() => {
                self.network_is(batch, deadline, Some(radio), now)
            }
            (State::AwaitOnline { batch, deadline }, Input::ModemFailed(_)) if wake.is_none() => {
                self.network_is(batch, deadline, None, now)
            }
            (State::AwaitOnline { batch, deadline }, Input::Tick) if due => {
                self.push(Output::Radio(match batch.offline {
                    true => RadioWish::Online,
                    false => RadioWish::Query,
                }));
                State::AwaitOnline { batch, deadline }
            }
            (State::AwaitRest(batch), Input::Tick) if due => self.close_batch(&batch, now),

            (State::AwaitAcknowledged, Input::Reported { status }) => {
                match Errno::of_answer(self.config.transport, status) {
                    None => self.acknowledged(now),
                    Some(errno) => self.report_failed(errno, is_for_good(status), now),
                }
            }
            (State::AwaitAcknowledged, Input::NotAdmitted { status }) => {
                self.report_failed(self.not_admitted(status), false, now)
            }
            (State::AwaitAcknowledged, Input::Failed(error)) => {
                self.report_failed(Errno::of_transport(error), false, now)
            }
            (State::AwaitReportAgain, Input::Tick) if due => self.prepare(Purpose::Report, now),

            (State::AwaitToken, Input::ModemSaid(text)) => {
                let token = answer::attestation_token(&text);
                self.stop(
                    Ending::Failed(Errno::Access),
                    Event::FailedDeviceNotClaimed { token },
                )
            }
            (State::AwaitToken, Input::ModemFailed(_)) => self.stop(
                Ending::Failed(Errno::Access),
                Event::FailedDeviceNotClaimed { token: None },
            ),
            (State::AwaitSaved, Input::Stored) => self.stop(Ending::Done, Event::Done),
            (State::AwaitSaved, Input::StoreFailed(failure)) => {
                self.event(Event::SaveFailed(failure));
                self.stop(Ending::Done, Event::Done)
            }

            (same, _) => {
                self.wake = wake;
                same
            }
        };
    }

    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    fn line(&mut self, line: String) {
        self.push(Output::Line(AtLine::new(line)));
    }

    fn start(&mut self, now: Uptime) -> State {
        self.ending = None;
        self.tries = 0;
        self.token = None;
        self.event(Event::Start);
        self.line(String::from("AT%CCLK?"));
        State::AwaitTime {
            deadline: now.plus(self.config.time_wait),
        }
    }

    fn look_at_clock_later(&mut self, deadline: Uptime, now: Uptime) -> State {
        if now >= deadline {
            return self.stop(Ending::Failed(Errno::NoTime), Event::FailedNoValidDatetime);
        }
        self.wake = Some(now.plus(LOOK_AGAIN).min(deadline));
        State::AwaitTime { deadline }
    }

    /// An unacknowledged report goes first: a fetch would tell the service that its commands were executed (§10.4).
    fn send_next(&mut self, now: Uptime) -> State {
        let purpose = match self.unsent {
            Some(_) => Purpose::Report,
            None => Purpose::Fetch,
        };
        self.prepare(purpose, now)
    }

    /// A token for the next request: over HTTPS a fresh one each time, over CoAP the session's, which our conduct makes
    /// anew when it would be refused as expired (spec/device-protocol §6.3).
    fn prepare(&mut self, purpose: Purpose, now: Uptime) -> State {
        if let Some((token, made)) = &self.token {
            let is_fresh = now.since(*made) < self.config.jwt_validity;
            if is_fresh || self.config.conduct == Conduct::Firmware {
                let token = token.clone();
                return self.send_request(purpose, token);
            }
        }
        self.push(Output::Sign {
            sec_tag: self.config.jwt_sec_tag,
            validity: self.config.jwt_validity,
        });
        State::AwaitSignature(purpose)
    }

    fn signed(&mut self, purpose: Purpose, jwt: SecretText, now: Uptime) -> State {
        if self.config.transport == Transport::Coap {
            self.token = Some((jwt.clone(), now));
        }
        self.send_request(purpose, jwt)
    }

    fn send_request(&mut self, purpose: Purpose, jwt: SecretText) -> State {
        self.hint = None;
        if let (Purpose::Report, Some(results)) = (purpose, &self.unsent) {
            let body = results.bytes.clone();
            self.push(Output::Report { jwt, body });
            return State::AwaitAcknowledged;
        }
        let query = FetchQuery {
            after: self.after.clone(),
            rx_bytes_max: self.config.rx_bytes_max,
            tx_bytes_max: self.config.tx_bytes_max,
            modem_version: Some(self.config.modem_version.clone()),
            client_version: Some(self.config.client_version.clone()),
            limit: Some(self.config.records_max),
        };
        self.push(Output::Fetch { jwt, query });
        State::AwaitCommands
    }

    fn take_batch(&mut self, body: &[u8]) -> State {
        let limits = DecodeLimits {
            records_max: usize::try_from(self.config.records_max).unwrap_or(usize::MAX),
            config_pairs_max: self.config.config_pairs_max,
            bytes_max: usize::try_from(self.config.rx_bytes_max).unwrap_or(usize::MAX),
        };
        match decode_commands(body, limits) {
            Ok(commands) => {
                self.event(Event::BatchReceived {
                    commands: commands.len(),
                });
                self.line(String::from("AT+CMEE?"));
                State::AwaitCmee(Batch::new(commands, self.after.clone()))
            }
            Err(refusal) => {
                let errno = match refusal {
                    CborRefusal::TooManyRecords { .. } | CborRefusal::TooLong { .. } => {
                        Errno::NoMemory
                    }
                    _ => Errno::Invalid,
                };
                self.event(Event::BatchRefused(refusal));
                self.end(Ending::Failed(errno))
            }
        }
    }

    /// A success where a refusal should be is none of this protocol.
    fn not_admitted(&self, status: u16) -> Errno {
        Errno::of_answer(self.config.transport, status).unwrap_or(Errno::NotSupported)
    }

    fn acknowledged(&mut self, now: Uptime) -> State {
        self.tries = 0;
        let Some(results) = self.unsent.take() else {
            return self.prepare(Purpose::Fetch, now);
        };
        self.event(Event::Reported {
            bytes: results.bytes.len(),
        });
        if results.finished {
            self.end(Ending::Done)
        } else {
            self.prepare(Purpose::Fetch, now)
        }
    }

    /// `for_good`: the service judged the report and would judge the same bytes the same way again.
    fn report_failed(&mut self, errno: Errno, for_good: bool, now: Uptime) -> State {
        if for_good || self.config.conduct == Conduct::Firmware {
            self.unsent = None;
            self.event(Event::ReportLost(errno));
            let gives_up = self.config.conduct == Conduct::Firmware
                && self.config.transport == Transport::Coap;
            if gives_up {
                return self.end(Ending::Failed(errno));
            }
            return self.prepare(Purpose::Fetch, now);
        }
        self.tries += 1;
        let hint = self.hint.unwrap_or_default();
        if errno == Errno::Access || self.tries >= REPORT_TRIES_MAX || hint > REPORT_HINT_MAX {
            self.event(Event::ReportKept(errno));
            return self.end(Ending::Failed(errno));
        }
        let pause = REPORT_PAUSE_FIRST
            .saturating_mul(1 << (self.tries - 1))
            .max(hint);
        self.event(Event::ReportAgain {
            result: errno,
            pause,
        });
        self.wake = Some(now.plus(pause));
        State::AwaitReportAgain
    }

    /// Maps a result to its event (spec/device-protocol §11); some need the modem or the settings store first.
    fn end(&mut self, ending: Ending) -> State {
        let event = match ending {
            Ending::Done if self.config.save_command_id => {
                self.push(Output::Save {
                    key: self.config.after_key(),
                    value: self.after.clone(),
                });
                return State::AwaitSaved;
            }
            Ending::Failed(Errno::Access) if self.config.provide_attestation_token => {
                self.line(String::from("AT%ATTESTTOKEN"));
                return State::AwaitToken;
            }
            Ending::Done => Event::Done,
            Ending::Failed(Errno::Access) => Event::FailedDeviceNotClaimed { token: None },
            Ending::Failed(Errno::NoData) => Event::NoCommands,
            Ending::Failed(Errno::NoMemory) => Event::FailedTooManyCommands,
            Ending::Failed(Errno::ConnectionRefused) => Event::FailedWrongRootCa,
            Ending::Failed(other) => Event::Failed(other),
        };
        self.stop(ending, event)
    }

    fn stop(&mut self, ending: Ending, event: Event) -> State {
        self.token = None;
        self.event(event);
        self.event(Event::Stop);
        self.ending = Some(ending);
        State::Rest
    }
}

/// Statuses that judge the report itself, so that the same bytes would meet them again. Everything that may change
/// without the report is not among them: 401 (the owner may claim the device yet), 403, and a 404 from a proxy that has
/// lost its service for a moment.
const fn is_for_good(status: u16) -> bool {
    matches!(status, 200..=400 | 413 | 415 | 422)
}
