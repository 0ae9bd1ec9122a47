//! One session, carried: the machine's outputs go to the modem, the service and the settings, the answers go back.
//!
//! ```text
//!   Session ──Sign, Line, Radio──► modem         Session ──Fetch, Report──► https
//!           ──Save──────────────► settings               ──Wait──────────► the clock
//! ```
//!
//! Nothing is decided here. Whoever finds an `if` about provisioning in this file has found a bug.

use std::time::{Duration, Instant};

use sectag_modem::{LineError, Modem};
use sectag_proto::Uptime;
use sectag_proto::device::{
    Config, Ending, Event, FunctionalMode, Input, Output, RadioState, RadioWish, Session,
};

use crate::https::Https;
use crate::settings::Settings;
use crate::verbs;

/// Drives one device's session. Keep it between sessions: it remembers `after` and an unacknowledged report.
#[derive(Debug)]
pub struct Agent {
    session: Session,
    https: Https,
    started: Instant,
    pdn_active: bool,
}

/// What can be watched while a session runs. Nothing here holds a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// The session says so.
    Event(&'a Event),
    /// A line went to the modem.
    Line {
        /// Without quoted parameters.
        head: &'a str,
        /// The final result line.
        verdict: &'a str,
        /// How long the modem took.
        took: Duration,
    },
    /// A line brought no whole answer.
    LineFailed {
        /// Without quoted parameters.
        head: &'a str,
        /// Why.
        error: &'a LineError,
    },
    /// A request was answered.
    Answered {
        /// `GET` or `POST`.
        method: &'static str,
        /// `after` of a fetch.
        after: Option<&'a str>,
        /// HTTP status.
        status: u16,
        /// Bytes of CBOR sent.
        sent_bytes: usize,
        /// Bytes of CBOR received.
        received_bytes: usize,
        /// With TCP and TLS handshake.
        took: Duration,
    },
    /// A request was not answered.
    Unanswered {
        /// `GET` or `POST`.
        method: &'static str,
        /// Why; its sources say more.
        error: &'a crate::https::ExchangeError,
        /// Until then.
        took: Duration,
    },
    /// The modem would not sign.
    NotSigned(&'a verbs::AskError),
}

/// Watches a session.
pub type Observer<'a> = dyn FnMut(Happening<'_>) + Send + 'a;

impl Agent {
    /// `config.modem_version` is usually [`verbs::firmware`]; `config.after` comes from the settings
    /// ([`Config::after_key`]). The driver takes its receive limit from `config`.
    pub fn new(config: Config, https: Https) -> Self {
        let https = https.rx_bytes_max(usize::try_from(config.rx_bytes_max).unwrap_or(usize::MAX));
        Self {
            session: Session::new(config),
            https,
            started: Instant::now(),
            // As the firmware assumes until it hears otherwise (spec/device-protocol §12).
            pdn_active: true,
        }
    }

    /// The machine, for looking at it.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Runs one session to its end. Dropping the future in between leaves the session where it was; a batch that was
    /// begun is then fetched again by a new [`Agent`].
    pub async fn run_once(
        &mut self,
        modem: &mut (dyn Modem + Send),
        settings: &mut (dyn Settings + Send),
        observe: &mut Observer<'_>,
    ) -> Ending {
        self.session.handle(Input::Triggered, self.now());
        loop {
            let input = match self.session.poll() {
                Output::Event(event) => {
                    tell(&event);
                    observe(Happening::Event(&event));
                    continue;
                }
                Output::Wait(until) => match (self.session.ending(), until) {
                    (Some(ending), _) => return ending,
                    (None, Some(until)) => {
                        tokio::time::sleep(until.since(self.now())).await;
                        Input::Tick
                    }
                    // The machine asks for an answer before each wait without end, and got one.
                    (None, None) => {
                        return Ending::Failed(sectag_proto::device::Errno::Invalid);
                    }
                },
                Output::Sign { sec_tag, validity } => match verbs::jwt(modem, sec_tag, validity) {
                    Ok(jwt) => Input::Signed(jwt),
                    Err(error) => {
                        observe(Happening::NotSigned(&error));
                        Input::SignFailed(error.to_string())
                    }
                },
                Output::Fetch { jwt, query } => {
                    let begun = Instant::now();
                    let outcome = self.https.fetch(jwt.expose(), &query).await;
                    let told = Told::new("GET", Some(&query.after), 0, begun);
                    match told.outcome(outcome, observe) {
                        Ok(response) => Input::Fetched {
                            status: response.status,
                            body: response.body,
                        },
                        Err(input) => input,
                    }
                }
                Output::Report { jwt, body } => {
                    let begun = Instant::now();
                    let outcome = self.https.report(jwt.expose(), &body).await;
                    let told = Told::new("POST", None, body.len(), begun);
                    match told.outcome(outcome, observe) {
                        Ok(response) => Input::Reported {
                            status: response.status,
                        },
                        Err(input) => input,
                    }
                }
                Output::Line(line) => {
                    match self.line(modem, line.expose(), &line.head(), observe) {
                        Ok(text) => Input::ModemSaid(text),
                        Err(error) => Input::ModemFailed(error.said().to_string()),
                    }
                }
                Output::Radio(wish) => self.radio(modem, wish, observe),
                Output::Load { key } => Input::Loaded(settings.load(&key)),
                Output::Save { key, value } => match settings.save(&key, &value) {
                    Ok(()) => Input::Stored,
                    Err(failure) => Input::StoreFailed(failure),
                },
            };
            self.session.handle(input, self.now());
        }
    }

    fn now(&self) -> Uptime {
        Uptime(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn line(
        &mut self,
        modem: &mut (dyn Modem + Send),
        line: &str,
        head: &str,
        observe: &mut Observer<'_>,
    ) -> Result<String, LineError> {
        let begun = Instant::now();
        let answer = modem.line(line);
        let took = begun.elapsed();
        match &answer {
            Ok(text) => {
                let verdict = text.trim_end().lines().last().unwrap_or_default();
                observe(Happening::Line {
                    head,
                    verdict,
                    took,
                });
            }
            Err(error) => observe(Happening::LineFailed { head, error }),
        }
        self.listen(modem);
        answer
    }

    fn listen(&mut self, modem: &mut (dyn Modem + Send)) {
        for notification in modem.notifications() {
            if notification.starts_with("+CGEV: ME PDN ACT 0") {
                self.pdn_active = true;
            } else if notification.starts_with("+CGEV: ME DETACH")
                || notification.starts_with("+CGEV: NW DETACH")
                || notification.starts_with("+CGEV: ME PDN DEACT 0")
                || notification.starts_with("+CGEV: NW PDN DEACT 0")
            {
                self.pdn_active = false;
            }
        }
    }

    fn radio(
        &mut self,
        modem: &mut (dyn Modem + Send),
        wish: RadioWish,
        observe: &mut Observer<'_>,
    ) -> Input {
        let lines: &[&str] = match wish {
            RadioWish::Query => &[],
            RadioWish::Offline => &["AT+CFUN=4"],
            RadioWish::Online => &["AT+CGEREP=1", "AT+CFUN=1"],
        };
        for line in lines {
            if let Err(error) = self.line(modem, line, line, observe) {
                return Input::ModemFailed(error.said().to_string());
            }
        }
        match verbs::functional_mode(modem) {
            Ok(mode) => {
                self.listen(modem);
                let mode = FunctionalMode(mode);
                self.pdn_active &= mode != FunctionalMode::OFFLINE;
                Input::RadioIs(RadioState {
                    mode,
                    pdn_active: self.pdn_active,
                })
            }
            Err(error) => Input::ModemFailed(error.to_string()),
        }
    }
}

/// The facts of one exchange, until it is known how it ended.
struct Told<'a> {
    method: &'static str,
    after: Option<&'a str>,
    sent_bytes: usize,
    took: Duration,
}

impl<'a> Told<'a> {
    fn new(
        method: &'static str,
        after: Option<&'a str>,
        sent_bytes: usize,
        begun: Instant,
    ) -> Self {
        Self {
            method,
            after,
            sent_bytes,
            took: begun.elapsed(),
        }
    }

    fn outcome(
        self,
        outcome: Result<crate::https::Response, crate::https::ExchangeError>,
        observe: &mut Observer<'_>,
    ) -> Result<crate::https::Response, Input> {
        match outcome {
            Ok(response) => {
                observe(Happening::Answered {
                    method: self.method,
                    after: self.after,
                    status: response.status,
                    sent_bytes: self.sent_bytes,
                    received_bytes: response.body.len(),
                    took: self.took,
                });
                Ok(response)
            }
            Err(error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "request not answered"
                );
                observe(Happening::Unanswered {
                    method: self.method,
                    error: &error,
                    took: self.took,
                });
                Err(Input::Failed(error.kind))
            }
        }
    }
}

/// The device's log: its life in about ten lines at INFO.
fn tell(event: &Event) {
    match event {
        Event::CommandFailed {
            index,
            correlation,
            command,
            number,
            answer,
        } => tracing::warn!(index, %correlation, command, number, answer, "command failed"),
        Event::CommandDone {
            index,
            correlation,
            command,
            ..
        } => tracing::info!(index, %correlation, command, "command done"),
        other => tracing::info!(event = ?other, "session"),
    }
}
