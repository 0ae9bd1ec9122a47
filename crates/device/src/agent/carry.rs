//! One output in, its answer out.

use std::time::{Duration, Instant};

use sectag_modem::{LineError, Modem};
use sectag_proto::SecTag;
use sectag_proto::device::{Config, FunctionalMode, Input, Output, RadioState, RadioWish};

use super::told::{Exchange, Happening, Observer};
use crate::budget::Budget;
use crate::settings::Settings;
use crate::verbs::{self, AskError};
use crate::way::{Clock, Way};

/// What the firmware subscribes to each time the radio is switched on (spec/device-protocol §14): the packet data network
/// coming and going, and the network's time.
const SUBSCRIPTIONS: [&str; 2] = ["AT+CGEREP=1", "AT%XTIME=1"];

/// A way to the modem.
pub(super) trait Reach: Send {
    /// Does `work` with the modem. An error means that nobody is there to do it.
    fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Modem) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, LineError>> + Send;
}

/// A modem that answers at once; the thread waits with it.
pub(super) struct Here<'a>(pub(super) &'a mut (dyn Modem + Send));

impl Reach for Here<'_> {
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Modem) -> T + Send + 'static,
    ) -> Result<T, LineError> {
        Ok(work(self.0))
    }
}

/// Carries between machine, modem and service.
#[derive(Debug)]
pub(super) struct Carrier {
    way: Way,
    /// What it had cost when the last session ended.
    spent: Budget,
    /// Time since this driver was made.
    pub(super) clock: Clock,
    pdn_active: bool,
    undo: Undo,
    /// The way to the modem failed for good.
    lost: Option<String>,
}

/// What a session has changed on the modem and will change back, should it not come to that.
#[derive(Debug, Default)]
struct Undo {
    /// Functional mode that was seen last.
    seen: Option<FunctionalMode>,
    /// The mode to return to.
    radio: Option<FunctionalMode>,
    /// CMEE is on and was off.
    cmee: bool,
}

/// What the modem said to a line, and on its own meanwhile.
struct Said {
    answer: Result<String, LineError>,
    took: Duration,
    notifications: Vec<String>,
}

impl Carrier {
    /// `config` is told which way its requests go.
    pub(super) fn new(mut way: Way, config: &mut Config) -> Self {
        way.agree(config);
        Self {
            spent: way.spent(),
            way,
            clock: Clock::start(),
            // As the firmware assumes until it hears otherwise (spec/device-protocol §12).
            pdn_active: true,
            undo: Undo::default(),
            lost: None,
        }
    }

    /// The board was rebooted: what was agreed with a peer or changed on the modem is gone.
    pub(super) fn begin_anew(&mut self, config: &mut Config) {
        self.way.agree(config);
        self.spent = self.way.spent();
        self.pdn_active = true;
        self.undo = Undo::default();
    }

    /// Carries out what the machine asks for; `Event` and `Wait` are the caller's. The inputs are in order, the answer
    /// is last.
    pub(super) async fn carry(
        &mut self,
        output: Output,
        modem: &mut impl Reach,
        settings: &mut (dyn Settings + Send),
        observe: &mut Observer<'_>,
    ) -> Vec<Input> {
        let was_active = self.pdn_active;
        let mut inputs = match output {
            Output::Event(_) | Output::Wait(_) => Vec::new(),
            Output::Sign { sec_tag, validity } => {
                let signed = modem
                    .with(move |modem| verbs::jwt(modem, sec_tag, validity))
                    .await
                    .unwrap_or_else(|source| Err(AskError::no_answer("AT%JWT", source)));
                vec![match signed {
                    Ok(jwt) => Input::Signed(jwt),
                    Err(error) => {
                        observe(Happening::NotSigned(&error));
                        Input::SignFailed(error.to_string())
                    }
                }]
            }
            Output::Fetch { jwt, query } => {
                let exchange = Exchange::fetch(query.after.clone());
                let outcome = self.way.fetch(jwt, query, self.clock).await;
                exchange.ended(outcome, observe)
            }
            Output::Report { jwt, body } => {
                let exchange = Exchange::report(body.len());
                let outcome = self.way.report(jwt, body, self.clock).await;
                exchange.ended(outcome, observe)
            }
            Output::Line(line) => {
                let head = line.head();
                let work = move |modem: &mut dyn Modem| said(modem, line.expose());
                vec![match self.line(modem, &head, work, observe).await {
                    Ok(text) => Input::ModemSaid(text),
                    Err(error) => Input::ModemFailed(error.said().to_string()),
                }]
            }
            Output::Radio(wish) => vec![self.radio(modem, wish, observe).await],
            Output::Load { key } => vec![Input::Loaded(settings.load(&key))],
            Output::Save { key, value } => vec![match settings.save(&key, &value) {
                Ok(()) => Input::Stored,
                Err(failure) => Input::StoreFailed(failure),
            }],
        };
        if self.pdn_active != was_active {
            inputs.insert(0, self.network_changed());
        }
        inputs
    }

    fn network_changed(&mut self) -> Input {
        if self.pdn_active {
            self.way.moved(self.clock);
        }
        Input::Network(self.pdn_active)
    }

    /// The session ended: what it cost.
    pub(super) async fn stopped(&mut self, observe: &mut Observer<'_>) -> Budget {
        self.way.stopped(self.clock).await;
        let spent = self.way.spent();
        let run = spent.since(std::mem::replace(&mut self.spent, spent));
        observe(Happening::Spent(&run));
        run
    }

    /// The driver ends.
    pub(super) async fn finish(&mut self) {
        self.way.finish(self.clock).await;
    }

    /// What the modem said on its own: whether the network came or went.
    pub(super) async fn listen(&mut self, modem: &mut impl Reach) -> Option<Input> {
        let was_active = self.pdn_active;
        let (notifications, registered) = modem
            .with(move |modem| {
                let notifications = modem.notifications();
                let asks = !was_active && notifications.is_empty();
                (
                    notifications,
                    asks && verbs::registered(modem) == Some(true),
                )
            })
            .await
            .ok()?;
        self.heard(&notifications);
        self.pdn_active |= registered;
        (self.pdn_active != was_active).then(|| self.network_changed())
    }

    /// Trusts what lies under `tag` at this moment, `known` being what was there the last time. When the modem does not
    /// say, nothing changes.
    pub(super) async fn refresh_trust(
        &mut self,
        modem: &mut impl Reach,
        tag: SecTag,
        known: &mut Option<String>,
    ) {
        let asked = modem.with(move |modem| verbs::root_ca(modem, tag)).await;
        let Ok(Ok(pem)) = asked else {
            return;
        };
        if *known == pem {
            return;
        }
        if let Err(error) = self.way.trust(pem.as_deref()) {
            tracing::warn!(%tag, error = &error as &dyn std::error::Error, "no root CA to trust");
        }
        *known = pem;
    }

    /// See [`Agent::put_back`](super::Agent::put_back).
    pub(super) async fn put_back(&mut self, modem: &mut impl Reach, observe: &mut Observer<'_>) {
        let undo = std::mem::take(&mut self.undo);
        if undo.cmee {
            let _ = self.plain(modem, "AT+CMEE=0", observe).await;
        }
        if let Some(mode) = undo.radio {
            if matches!(mode.0, 1 | 21) {
                for line in SUBSCRIPTIONS {
                    let _ = self.plain(modem, line, observe).await;
                }
            }
            let _ = self
                .plain(modem, &format!("AT+CFUN={}", mode.0), observe)
                .await;
        }
    }

    async fn plain(
        &mut self,
        modem: &mut impl Reach,
        line: &str,
        observe: &mut Observer<'_>,
    ) -> Result<String, LineError> {
        let at = line.to_owned();
        self.line(modem, line, move |modem| said(modem, &at), observe)
            .await
    }

    async fn line(
        &mut self,
        modem: &mut impl Reach,
        head: &str,
        work: impl FnOnce(&mut dyn Modem) -> Said + Send + 'static,
        observe: &mut Observer<'_>,
    ) -> Result<String, LineError> {
        let said = match modem.with(work).await {
            Ok(said) => said,
            Err(error) => {
                self.note(&error);
                return Err(error);
            }
        };
        match &said.answer {
            Ok(text) => {
                let verdict = text.trim_end().lines().last().unwrap_or_default();
                observe(Happening::Line {
                    head,
                    verdict,
                    took: said.took,
                });
            }
            Err(error) => {
                self.note(error);
                observe(Happening::LineFailed { head, error });
            }
        }
        match head {
            "AT+CMEE=1" => self.undo.cmee = true,
            "AT+CMEE=0" => self.undo.cmee = false,
            _ => {}
        }
        self.heard(&said.notifications);
        said.answer
    }

    /// A line that took too long may go better the next time; a port that is gone stays gone.
    fn note(&mut self, error: &LineError) {
        self.lost = match error {
            LineError::Port(source) => Some(source.to_string()),
            LineError::PowerCut => Some(error.to_string()),
            _ => return,
        };
    }

    /// Why the modem will not answer any more, once that is known.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    fn heard(&mut self, notifications: &[String]) {
        for notification in notifications {
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

    async fn radio(
        &mut self,
        modem: &mut impl Reach,
        wish: RadioWish,
        observe: &mut Observer<'_>,
    ) -> Input {
        let lines: &[&str] = match wish {
            RadioWish::Query => &[],
            RadioWish::Offline => &["AT+CFUN=4"],
            RadioWish::Online => &[SUBSCRIPTIONS[0], SUBSCRIPTIONS[1], "AT+CFUN=1"],
        };
        if wish == RadioWish::Offline {
            self.undo.radio = self.undo.seen;
        }
        let mut last = Ok(());
        for line in lines {
            // A subscription that fails costs notifications; the mode behind it is tried all the same.
            last = self.plain(modem, line, observe).await.map(|_| ());
        }
        if let Err(error) = last {
            return Input::ModemFailed(error.said().to_string());
        }
        let was_active = self.pdn_active;
        let answer = modem
            .with(move |modem| {
                let mode = verbs::functional_mode(modem);
                // Behind the firmware's shell a modem says nothing on its own, so it is asked.
                let asks = !was_active && matches!(mode, Ok(1 | 21));
                let registered = asks && verbs::registered(modem) == Some(true);
                (mode, modem.notifications(), registered)
            })
            .await;
        match answer {
            Ok((Ok(mode), notifications, registered)) => {
                self.heard(&notifications);
                self.pdn_active |= registered;
                let mode = FunctionalMode(mode);
                self.undo.seen = Some(mode);
                if wish == RadioWish::Online {
                    self.undo.radio = None;
                }
                self.pdn_active &= mode != FunctionalMode::OFFLINE;
                Input::RadioIs(RadioState {
                    mode,
                    pdn_active: self.pdn_active,
                })
            }
            Ok((Err(error), ..)) => Input::ModemFailed(error.to_string()),
            Err(error) => Input::ModemFailed(error.to_string()),
        }
    }
}

fn said(modem: &mut dyn Modem, line: &str) -> Said {
    let begun = Instant::now();
    let answer = modem.line(line);
    Said {
        answer,
        took: begun.elapsed(),
        notifications: modem.notifications(),
    }
}
