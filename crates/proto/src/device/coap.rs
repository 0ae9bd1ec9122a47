//! What a fetch and a report become over CoAP (spec/device-protocol §6.3): when to connect, authenticate, suspend and
//! close, and what to do when a kept session does not answer.
//!
//! ```text
//!   Session                      CoapLink                                          driver (DTLS, CoAP, UDP)
//!     Fetch ────────────────────► Connect ────────────────────────────────────────► handshake
//!                                 Request POST p/auth-jwt   ◄── no grant, or its Max-Age is over
//!                                 Request GET  p/cmd
//!                                 Request NON POST .dtls/suspend  (firmware with keep-open, before going offline)
//!     ◄──────────── Fetched ───── Answer
//!     Report ───────────────────► (Connect, POST p/auth-jwt)  POST p/rsp
//!     ◄─────────── Reported ───── Answer
//!     Stop ─────────────────────► Close, unless the session is kept
//! ```
//!
//! | | ours | firmware, keep-open (nRF91x1) | firmware, without (nRF9160) |
//! |---|---|---|---|
//! | after `p/cmd` | the session stays | stays; `.dtls/suspend` when there are commands | closes |
//! | `p/rsp` | on the same session | on the same session | connects, authenticates with the same token |
//! | next `p/cmd` | on the same session | authenticates again | authenticates again, on the session of the report |
//! | authenticates | when nothing is granted: first, after Max-Age, after a 4.01 | before each `p/cmd` | before each request |
//! | a kept session does not answer | a fresh one, and the request once more | the same for `p/rsp`, whatever it failed by; without keep-open from then on | – |
//! | at the end | the session stays for the next run | closes | closes |
//!
//! The law is the session's: one [`LinkInput`], then [`CoapLink::poll`] until [`LinkOutput::Wait`]. [`LinkOutput::Connect`]
//! and [`LinkOutput::Request`] ask for exactly one answer; everything else for none. An input that nobody waits for is
//! ignored. Retransmission, blocks and timeouts are the CoAP endpoint's business, not this machine's.

#[cfg(test)]
mod tests;
mod words;

pub use words::{CoapMethod, CoapRequest, Grant, LinkConduct, LinkInput, LinkOutput};

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::config::Config;
use super::words::{Input, TransportError};
use crate::Uptime;
use crate::query::FetchQuery;
use crate::secret::{Secret, SecretText};
use words::Code;

/// Carries fetches and reports of one device's [`Session`](super::Session) over CoAP. Keep it between sessions, together
/// with the connection.
#[derive(Debug)]
pub struct CoapLink {
    conduct: LinkConduct,
    modem_version: String,
    client_version: String,
    outputs: VecDeque<LinkOutput>,
    connection: Connection,
    state: State,
    /// Keep-open was given up for the rest of this session (firmware).
    keep_open_lost: bool,
}

/// What is done for the session.
#[derive(Debug)]
enum Work {
    Fetch { jwt: SecretText, query: FetchQuery },
    Report { jwt: SecretText, body: Vec<u8> },
}

#[derive(Debug)]
enum State {
    Idle,
    Busy(Exchange),
}

#[derive(Debug)]
struct Exchange {
    work: Work,
    step: Step,
    /// The connection was made for this exchange: there is no second try.
    fresh: bool,
    /// Authenticated for this exchange.
    admitted: bool,
}

#[derive(Debug)]
enum Step {
    Connecting,
    Authenticating,
    Asking,
    /// The batch waits for the session until suspending is answered.
    Suspending {
        batch: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Connection {
    None,
    Open { cid: bool, granted: Option<Until> },
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Time(Uptime),
    Refused,
}

impl CoapLink {
    /// Not connected. `config` names the versions that authentication tells.
    pub fn new(conduct: LinkConduct, config: &Config) -> Self {
        Self {
            conduct,
            modem_version: config.modem_version.clone(),
            client_version: config.client_version.clone(),
            outputs: VecDeque::new(),
            connection: Connection::None,
            state: State::Idle,
            keep_open_lost: false,
        }
    }

    /// The next thing to do. Call it until it returns [`LinkOutput::Wait`].
    pub fn poll(&mut self) -> LinkOutput {
        self.outputs.pop_front().unwrap_or(LinkOutput::Wait)
    }

    /// Whether there is a DTLS session, as far as this machine knows.
    pub const fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Open { .. })
    }

    /// How long the session is still authorised; `None` when it is not. For [`LinkInput::Restored`] in a next life.
    pub fn granted(&self, now: Uptime) -> Option<Grant> {
        match self.connection {
            Connection::Open {
                granted: Some(Until::Refused),
                ..
            } => Some(Grant::UntilRefused),
            Connection::Open {
                granted: Some(Until::Time(until)),
                ..
            } if now < until => Some(Grant::For(until.since(now))),
            _ => None,
        }
    }

    /// Takes one input. Inputs that do not answer what was asked are ignored.
    pub fn handle(&mut self, input: LinkInput, now: Uptime) {
        let state = mem::replace(&mut self.state, State::Idle);
        self.state = match (state, input) {
            (State::Idle, LinkInput::Fetch { jwt, query }) => {
                self.begin(Work::Fetch { jwt, query }, now)
            }
            (State::Idle, LinkInput::Report { jwt, body }) => {
                self.begin(Work::Report { jwt, body }, now)
            }
            (state, LinkInput::Stopped) => self.stopped(&state),
            (state, LinkInput::Moved) => self.moved(state),
            (State::Idle, LinkInput::Lost) => {
                self.connection = Connection::None;
                State::Idle
            }
            (State::Idle, LinkInput::Restored { cid, granted }) if !self.is_connected() => {
                self.connection = Connection::Open {
                    cid,
                    granted: granted.map(|granted| Until::after(granted, now)),
                };
                State::Idle
            }
            (State::Busy(exchange), input) => self.go_on(exchange, input, now),
            (same, _) => same,
        };
    }

    fn begin(&mut self, work: Work, now: Uptime) -> State {
        let exchange = Exchange {
            work,
            step: Step::Connecting,
            fresh: false,
            admitted: false,
        };
        match self.connection {
            Connection::None => self.connect(exchange),
            Connection::Open { .. } => self.authenticate_or_ask(exchange, now),
        }
    }

    fn go_on(&mut self, exchange: Exchange, input: LinkInput, now: Uptime) -> State {
        match (&exchange.step, input) {
            (Step::Connecting, LinkInput::Connected { cid }) => {
                self.connection = Connection::Open { cid, granted: None };
                self.authenticate_or_ask(exchange, now)
            }
            (Step::Connecting, LinkInput::NotConnected(error)) => self.answer(Input::Failed(error)),
            (Step::Connecting, _) => State::Busy(exchange),
            (_, LinkInput::Lost) => self.not_answered(exchange, TransportError::Closed),
            (_, LinkInput::NotAnswered(error)) => self.not_answered(exchange, error),
            (
                _,
                LinkInput::Answered {
                    code,
                    max_age_s,
                    payload,
                },
            ) => self.answered(exchange, Code(code), max_age_s, payload, now),
            _ => State::Busy(exchange),
        }
    }

    fn connect(&mut self, exchange: Exchange) -> State {
        self.connection = Connection::None;
        self.outputs.push_back(LinkOutput::Connect);
        State::Busy(Exchange {
            step: Step::Connecting,
            fresh: true,
            admitted: false,
            ..exchange
        })
    }

    fn authenticate_or_ask(&mut self, exchange: Exchange, now: Uptime) -> State {
        let admitted = match (self.conduct, &exchange.work) {
            (LinkConduct::Ours, _) => self.granted(now).is_some(),
            // Each loop authenticates, and each new session.
            (LinkConduct::Firmware { .. }, Work::Fetch { .. }) => false,
            (LinkConduct::Firmware { .. }, Work::Report { .. }) => !exchange.fresh,
        };
        if admitted {
            self.ask(exchange)
        } else {
            self.authenticate(exchange)
        }
    }

    fn authenticate(&mut self, exchange: Exchange) -> State {
        let (Work::Fetch { jwt, .. } | Work::Report { jwt, .. }) = &exchange.work;
        let query = vec![
            alloc::format!("mver={}", self.modem_version),
            alloc::format!("cver={}", self.client_version),
        ];
        self.outputs
            .push_back(LinkOutput::Request(CoapRequest::post(
                &["p", "auth-jwt"],
                query,
                jwt.expose().as_bytes().to_vec(),
            )));
        State::Busy(Exchange {
            step: Step::Authenticating,
            ..exchange
        })
    }

    fn ask(&mut self, exchange: Exchange) -> State {
        let request = match &exchange.work {
            Work::Fetch { query, .. } => CoapRequest {
                method: CoapMethod::Get,
                path: vec!["p", "cmd"],
                query: fetch_options(query),
                content_format: None,
                payload: Secret::new(Vec::new()),
                confirmable: true,
                block2: true,
            },
            Work::Report { body, .. } => CoapRequest::post(&["p", "rsp"], Vec::new(), body.clone()),
        };
        self.outputs.push_back(LinkOutput::Request(request));
        State::Busy(Exchange {
            step: Step::Asking,
            ..exchange
        })
    }

    fn answered(
        &mut self,
        exchange: Exchange,
        code: Code,
        max_age_s: Option<u32>,
        payload: Vec<u8>,
        now: Uptime,
    ) -> State {
        match exchange.step {
            Step::Connecting => State::Busy(exchange),
            Step::Suspending { batch } => self.answer(Input::Fetched {
                status: 200,
                body: batch,
            }),
            Step::Authenticating if code == Code::CREATED => {
                if let Connection::Open { granted, .. } = &mut self.connection {
                    let grant = max_age_s.map_or(Grant::UntilRefused, |seconds| {
                        Grant::For(Duration::from_secs(seconds.into()))
                    });
                    *granted = Some(Until::after(grant, now));
                }
                self.ask(Exchange {
                    admitted: true,
                    ..exchange
                })
            }
            Step::Authenticating if self.has_second_try(&exchange) => self.try_again(exchange),
            Step::Authenticating => {
                self.forget_grant();
                self.hint(code, max_age_s);
                self.answer(Input::NotAdmitted {
                    status: code.as_status(),
                })
            }
            // What was granted counts no more: Max-Age is a promise that a restart can break.
            Step::Asking
                if code == Code::UNAUTHORIZED
                    && self.conduct == LinkConduct::Ours
                    && !exchange.admitted =>
            {
                self.forget_grant();
                self.authenticate(exchange)
            }
            Step::Asking => match exchange.work {
                Work::Fetch { .. } => self.fetched(exchange, code, max_age_s, payload),
                Work::Report { .. } if code == Code::CHANGED => {
                    self.answer(Input::Reported { status: 200 })
                }
                Work::Report { .. } if self.has_second_try(&exchange) => self.try_again(exchange),
                Work::Report { .. } => {
                    self.hint(code, max_age_s);
                    self.answer(Input::Reported {
                        status: code.as_status(),
                    })
                }
            },
        }
    }

    fn fetched(
        &mut self,
        exchange: Exchange,
        code: Code,
        max_age_s: Option<u32>,
        payload: Vec<u8>,
    ) -> State {
        let status = match code {
            Code::CONTENT if payload.is_empty() => 204,
            Code::CONTENT => 200,
            other => other.as_status(),
        };
        if let LinkConduct::Firmware { .. } = self.conduct {
            if !self.keeps_open() {
                self.close();
            } else if status == 200 {
                self.outputs
                    .push_back(LinkOutput::Request(CoapRequest::suspend()));
                return State::Busy(Exchange {
                    step: Step::Suspending { batch: payload },
                    ..exchange
                });
            }
        }
        self.hint(code, max_age_s);
        self.answer(Input::Fetched {
            status,
            body: payload,
        })
    }

    fn not_answered(&mut self, exchange: Exchange, error: TransportError) -> State {
        if let Step::Suspending { batch } = exchange.step {
            self.keep_open_lost = true;
            self.close();
            return self.answer(Input::Fetched {
                status: 200,
                body: batch,
            });
        }
        // An answer that does not fit will not fit the second time either; ours is not proud of finding out twice.
        let in_vain = self.conduct == LinkConduct::Ours && error == TransportError::TooLarge;
        if in_vain {
            return self.answer(Input::Failed(error));
        }
        if self.has_second_try(&exchange) || self.is_stale(&exchange) {
            return self.try_again(exchange);
        }
        self.close();
        self.answer(Input::Failed(error))
    }

    /// The firmware's: a report on a session that was kept open, whatever it failed by.
    fn has_second_try(&self, exchange: &Exchange) -> bool {
        matches!(self.conduct, LinkConduct::Firmware { .. })
            && self.keeps_open()
            && !exchange.fresh
            && matches!(exchange.work, Work::Report { .. })
    }

    /// Ours: the session was there before, so the peer may have lost it.
    fn is_stale(&self, exchange: &Exchange) -> bool {
        self.conduct == LinkConduct::Ours && !exchange.fresh
    }

    fn try_again(&mut self, exchange: Exchange) -> State {
        self.keep_open_lost = true;
        self.close();
        self.connect(exchange)
    }

    fn stopped(&mut self, state: &State) -> State {
        if matches!(state, State::Busy(_)) {
            // Cut off: what was wanted is void, and nobody knows how far the last of it came.
            self.outputs.clear();
            self.connection = Connection::None;
            self.outputs.push_back(LinkOutput::Close);
        } else if self.conduct != LinkConduct::Ours {
            self.close();
        }
        self.keep_open_lost = false;
        State::Idle
    }

    fn moved(&mut self, state: State) -> State {
        if let Connection::Open { cid, .. } = self.connection {
            match (cid, &state, self.conduct) {
                // The firmware's socket is what it is; the service will not know it again.
                (true, ..) | (false, State::Idle, LinkConduct::Firmware { .. }) => {
                    // A network that comes and goes while nobody polls is one new address.
                    if !self.outputs.contains(&LinkOutput::Rebind) {
                        self.outputs.push_back(LinkOutput::Rebind);
                    }
                }
                (false, State::Idle, LinkConduct::Ours) => self.close(),
                (false, State::Busy(_), _) => {}
            }
        }
        state
    }

    fn keeps_open(&self) -> bool {
        match self.conduct {
            LinkConduct::Ours => true,
            LinkConduct::Firmware { keep_open } => keep_open && !self.keep_open_lost,
        }
    }

    fn close(&mut self) {
        if self.is_connected() {
            self.connection = Connection::None;
            self.outputs.push_back(LinkOutput::Close);
        }
    }

    const fn forget_grant(&mut self) {
        if let Connection::Open { granted, .. } = &mut self.connection {
            *granted = None;
        }
    }

    /// Max-Age of a refusal says when to come back.
    fn hint(&mut self, code: Code, max_age_s: Option<u32>) {
        if let (true, Some(seconds)) = (code.is_error(), max_age_s) {
            let hint = Input::Hint(Duration::from_secs(seconds.into()));
            self.outputs.push_back(LinkOutput::Answer(hint));
        }
    }

    fn answer(&mut self, input: Input) -> State {
        self.outputs.push_back(LinkOutput::Answer(input));
        State::Idle
    }
}

impl Until {
    fn after(grant: Grant, now: Uptime) -> Self {
        match grant {
            Grant::For(lasts) => Self::Time(now.plus(lasts)),
            Grant::UntilRefused => Self::Refused,
        }
    }
}

/// One option for each pair; the versions travel with the authentication.
fn fetch_options(query: &FetchQuery) -> Vec<String> {
    let mut options = vec![
        alloc::format!("after={}", query.after),
        alloc::format!("rxMaxSize={}", query.rx_bytes_max),
        alloc::format!("txMaxSize={}", query.tx_bytes_max),
    ];
    if let Some(limit) = query.limit {
        options.push(alloc::format!("limit={limit}"));
    }
    options
}
