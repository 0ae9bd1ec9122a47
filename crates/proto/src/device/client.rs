//! The client library's face: init, trigger, set_interval (spec/device-protocol §12, §14), schedule and session in one
//! machine.
//!
//! ```text
//!   init, trigger, set_interval          Input                      Output
//!        │                                 │                          ▲
//!   ┌────▼─────────────────────────────────▼──────────────────────────┴────┐
//!   │ Client: work item = read the settings, then schedule or run          │
//!   │   Schedule (when to come back) ◄── ending, hint ── Session           │
//!   └──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The law is the session's: one input (or call), then [`Client::poll`] until [`Output::Wait`], which is always last. At
//! most one ask is out at a time, the client's own reads and writes of settings included; an input that answers nothing
//! that was asked is ignored. Hints, network changes, ticks and triggers are welcome at any time.

mod faces;

pub use faces::{CallError, ClientConfig, ConfigRefusal};

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use core::mem;
use core::time::Duration;

use super::config::Conduct;
use super::interval;
use super::schedule::Schedule;
use super::words::{Ending, Errno, Event, Input, Output, StoreFailure};
use super::{Config, Session};
use crate::Uptime;

/// The library: one law as [`Session`], inputs and outputs are the same words.
///
/// What the firmware leaves open, and what happens here:
/// - A trigger while a session runs: one more session follows. The firmware with SCHEDULED swallows it (its work item,
///   run again, makes the next schedule), and so does [`ClientConfig::faithful`].
/// - A trigger without a network: with SCHEDULED it backs off, as the firmware does.
/// - AUTO_START_ON_INIT without SCHEDULED: one session at once, without spread.
/// - `set_interval` while the last change is still being stored: the newest value is stored next.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    session: Session,
    schedule: Schedule,
    phase: Phase,
    /// Events of the client, and the last ones of a session that ended.
    outputs: VecDeque<Output>,
    /// Own asks that are not out yet.
    asks: VecDeque<Ask>,
    out: Option<Asked>,
    /// Somebody triggered while a session ran.
    again: bool,
    /// The read interval differs from the one in effect before.
    changed: bool,
    /// `set_interval` changed it while the work item ran: what the firmware's next work item finds.
    reschedule: bool,
    /// The settings could not be read, which stops the firmware.
    fatal: Option<Errno>,
    /// Interval to be stored next.
    wanted: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not initialised.
    Off,
    Idle,
    /// Reads settings, then decides.
    Reading(Why),
    Running,
}

/// Why the work item runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Init,
    Due,
    Trigger,
    /// A session ended, and no back-off is needed.
    Settled,
    IntervalChanged,
}

/// An ask of the client's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    LoadAfter,
    LoadInterval,
    SaveInterval(u64),
}

/// What is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Own(Ask),
    Session(Kind),
}

/// Which inputs answer an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sign,
    Fetch,
    Report,
    Radio,
    Line,
    Load,
    Save,
}

impl Client {
    /// A client that is not initialised.
    ///
    /// # Errors
    /// [`ConfigRefusal`].
    pub fn new(config: ClientConfig) -> Result<Self, ConfigRefusal> {
        if config.scheduled && !config.auto_start {
            return Err(ConfigRefusal::ScheduledWithoutAutoStart);
        }
        Ok(Self {
            session: Session::new(config.session.clone()),
            schedule: Schedule::new(
                config.session.conduct,
                config.interval,
                config.spread,
                config.initial_backoff,
                config.seed,
            ),
            config,
            phase: Phase::Off,
            outputs: VecDeque::new(),
            asks: VecDeque::new(),
            out: None,
            again: false,
            changed: false,
            reschedule: false,
            fatal: None,
            wanted: None,
        })
    }

    /// `nrf_provisioning_init`: starts when AUTO_START_ON_INIT says so.
    ///
    /// # Errors
    /// [`CallError::Already`].
    pub fn init(&mut self, now: Uptime) -> Result<(), CallError> {
        if self.phase != Phase::Off {
            return Err(CallError::Already);
        }
        self.phase = Phase::Idle;
        self.schedule.init(now);
        if self.config.auto_start {
            self.work(Why::Init, now);
        }
        Ok(())
    }

    /// `nrf_provisioning_trigger_manually`: a session begins as soon as none runs; works with and without SCHEDULED.
    ///
    /// # Errors
    /// [`CallError::NotInitialised`].
    pub fn trigger(&mut self, now: Uptime) -> Result<(), CallError> {
        match self.phase {
            Phase::Off => return Err(CallError::NotInitialised),
            Phase::Idle => self.work(Why::Trigger, now),
            Phase::Reading(_) => self.phase = Phase::Reading(Why::Trigger),
            Phase::Running => {
                self.again = !(self.config.scheduled && self.conduct() == Conduct::Firmware);
            }
        }
        Ok(())
    }

    /// `nrf_provisioning_set_interval`: a changed one is saved (decimal text) and the schedule is made anew.
    /// 0 means the default.
    ///
    /// Every call that was accepted is answered by [`Event::IntervalChanged`], also when nothing had to be written, or by
    /// [`Event::IntervalNotStored`]; one answer counts for all calls before it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set_interval(&mut self, seconds: i64, now: Uptime) -> Result<(), CallError> {
        let _ = now;
        if self.phase == Phase::Off {
            return Err(CallError::NotInitialised);
        }
        let seconds = u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds <= interval::SECONDS_MAX)
            .ok_or(CallError::Invalid)?;
        if !self.config.scheduled {
            return Err(CallError::NotScheduled);
        }
        self.wanted = Some(seconds);
        self.store_wanted();
        Ok(())
    }

    /// Takes one input, see [`Session::handle`].
    pub fn handle(&mut self, input: Input, now: Uptime) {
        match input {
            // Before init nobody listens.
            Input::Triggered => self.trigger(now).unwrap_or_default(),
            Input::Tick => match self.phase {
                Phase::Idle if self.schedule.is_due(now) => self.work(Why::Due, now),
                Phase::Running => self.session.handle(Input::Tick, now),
                _ => {}
            },
            Input::Hint(hint) => {
                self.schedule.take_hint(hint);
                self.session.handle(Input::Hint(hint), now);
            }
            Input::Network(up) => {
                let sooner = self.schedule.network(up, now);
                self.tell_own(sooner);
            }
            Input::TimeKnown => self.session.handle(Input::TimeKnown, now),
            answer => match self.out {
                Some(Asked::Session(kind)) if kind.is_answered_by(&answer) => {
                    self.out = None;
                    self.session.handle(answer, now);
                }
                Some(Asked::Own(ask)) if ask.kind().is_answered_by(&answer) => {
                    self.out = None;
                    self.own_answer(ask, answer, now);
                }
                _ => {}
            },
        }
        if self.phase == Phase::Running && self.session.is_at_rest() {
            self.session_ended(now);
        }
    }

    /// The next thing to do, see [`Session::poll`].
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        if self.out.is_none() {
            if let Some(ask) = self.asks.pop_front() {
                self.out = Some(Asked::Own(ask));
                return self.own_output(ask);
            }
            if self.phase == Phase::Running {
                let output = self.session.poll();
                self.out = Kind::of(&output).map(Asked::Session);
                if matches!(output, Output::Fetch { .. } | Output::Report { .. }) {
                    self.schedule.forget_hint();
                }
                return output;
            }
        }
        Output::Wait(match self.phase {
            Phase::Idle => self.schedule.wake(),
            Phase::Running => self.session.wake(),
            Phase::Off | Phase::Reading(_) => None,
        })
    }

    /// How the last session ended; `None` while one runs and before the first.
    pub const fn ending(&self) -> Option<Ending> {
        if self.is_running() {
            return None;
        }
        self.session.ending()
    }

    /// Whether a session runs, or is about to: somebody asked for it, or its time has come, and the settings are read.
    pub const fn is_running(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Reading(Why::Due | Why::Trigger) => true,
            Phase::Reading(Why::Init) => !self.config.scheduled,
            Phase::Off | Phase::Idle | Phase::Reading(Why::Settled | Why::IntervalChanged) => false,
        }
    }

    /// The interval in effect.
    pub fn interval(&self) -> Duration {
        self.schedule.interval()
    }

    /// When the next session begins by itself; `None` while one runs, and when none will.
    pub const fn next_session(&self) -> Option<Uptime> {
        match self.phase {
            Phase::Idle => self.schedule.wake(),
            _ => None,
        }
    }

    /// `after` of the next fetch.
    pub fn after(&self) -> String {
        self.session.after().to_string()
    }

    /// Whether results wait for the next session because nobody acknowledged them.
    pub const fn has_unacknowledged_report(&self) -> bool {
        self.session.has_unacknowledged_report()
    }

    const fn conduct(&self) -> Conduct {
        self.config.session.conduct
    }

    /// Step 1 of the work item: what the settings store holds.
    fn work(&mut self, why: Why, now: Uptime) {
        self.phase = Phase::Reading(why);
        self.changed = false;
        if self.config.session.save_command_id && self.session.after().is_empty() {
            self.asks.push_back(Ask::LoadAfter);
        }
        if self.config.scheduled {
            self.asks.push_back(Ask::LoadInterval);
        }
        self.go_on(now);
    }

    /// Steps 2 and 3, once everything is read.
    fn go_on(&mut self, now: Uptime) {
        let Phase::Reading(why) = self.phase else {
            return;
        };
        if !self.asks.is_empty() || self.out.is_some() {
            return;
        }
        if let Some(errno) = self.fatal.take() {
            self.phase = Phase::Idle;
            self.schedule.stop();
            self.tell(Event::FatalError(errno));
            return;
        }
        if !self.config.scheduled {
            return self.run(now);
        }
        self.phase = Phase::Idle;
        let reschedule = mem::take(&mut self.reschedule) || self.changed;
        let first = match (self.conduct(), why) {
            (_, Why::Init | Why::Settled) => true,
            (_, Why::IntervalChanged) => {
                let wait = self.schedule.reschedule(now);
                return self.tell(Event::ScheduledProvisioning(wait));
            }
            // The firmware makes a new schedule where a session was due or asked for.
            (Conduct::Firmware, Why::Due | Why::Trigger) => reschedule,
            (Conduct::Careful, Why::Due | Why::Trigger) => false,
        };
        if first {
            let wait = self.schedule.schedule(now);
            self.tell(Event::ScheduledProvisioning(wait));
        } else if self.schedule.has_network() {
            self.run(now);
        } else {
            let wait = self.schedule.miss_network(now);
            self.tell_own(Some(wait));
        }
    }

    /// Step 4.
    fn run(&mut self, now: Uptime) {
        self.schedule.begin(now);
        self.phase = Phase::Running;
        self.session.handle(Input::Triggered, now);
    }

    fn session_ended(&mut self, now: Uptime) {
        loop {
            match self.session.poll() {
                Output::Wait(_) => break,
                output => self.outputs.push_back(output),
            }
        }
        self.phase = Phase::Idle;
        let again = mem::take(&mut self.again);
        match self.session.ending() {
            _ if again => self.work(Why::Trigger, now),
            _ if !self.config.scheduled => {}
            Some(Ending::Failed(Errno::NoTime)) if self.conduct() == Conduct::Firmware => {}
            Some(Ending::Failed(errno)) if self.backs_off(errno) => {
                self.back_off(is_patient(errno), now);
            }
            _ => self.work(Why::Settled, now),
        }
    }

    fn backs_off(&self, errno: Errno) -> bool {
        match self.conduct() {
            Conduct::Firmware => matches!(errno, Errno::Busy | Errno::TimedOut),
            Conduct::Careful => errno != Errno::NoData,
        }
    }

    fn back_off(&mut self, patient: bool, now: Uptime) {
        let wait = self.schedule.back_off(patient, now);
        self.tell_own(Some(wait));
    }

    /// The firmware tells only what its schedule says, not its back-off.
    fn tell_own(&mut self, wait: Option<Duration>) {
        if let (Some(wait), Conduct::Careful) = (wait, self.conduct()) {
            self.tell(Event::ScheduledProvisioning(wait));
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn own_output(&self, ask: Ask) -> Output {
        let session: &Config = &self.config.session;
        match ask {
            Ask::LoadAfter => Output::Load {
                key: session.after_key(),
            },
            Ask::LoadInterval => Output::Load {
                key: session.interval_key(),
            },
            Ask::SaveInterval(seconds) => Output::Save {
                key: session.interval_key(),
                value: seconds.to_string(),
            },
        }
    }

    fn own_answer(&mut self, ask: Ask, answer: Input, now: Uptime) {
        match (ask, answer) {
            (Ask::LoadAfter, Input::Loaded(saved)) => {
                self.session.remember_after(saved.unwrap_or_default());
            }
            (Ask::LoadInterval, Input::Loaded(text)) => {
                self.read_interval(text);
                self.drop_needless_save();
            }
            (Ask::SaveInterval(seconds), Input::Stored) => {
                self.schedule.set_interval(seconds);
                self.tell(Event::IntervalChanged(self.schedule.interval()));
                self.store_wanted();
                if self.phase == Phase::Idle {
                    return self.work(Why::IntervalChanged, now);
                }
                self.reschedule = true;
            }
            (Ask::SaveInterval(_), Input::StoreFailed(failure)) => {
                self.tell(Event::IntervalNotStored(failure));
                self.store_wanted();
            }
            (Ask::LoadAfter | Ask::LoadInterval, Input::StoreFailed(failure)) => {
                self.unreadable(ask, failure);
            }
            _ => {}
        }
        self.go_on(now);
    }

    fn read_interval(&mut self, text: Option<String>) {
        let text = text.unwrap_or_default();
        let seconds = match interval::parse(&text, self.conduct()) {
            Ok(seconds) => seconds,
            Err(result) => {
                self.tell(Event::IntervalRefused { text, result });
                0
            }
        };
        self.changed = self.schedule.set_interval(seconds);
    }

    fn unreadable(&mut self, ask: Ask, failure: StoreFailure) {
        match (self.conduct(), self.own_output(ask)) {
            (Conduct::Careful, Output::Load { key }) => {
                self.tell(Event::SettingUnreadable { key, failure });
            }
            _ => self.fatal = Some(failure.errno()),
        }
    }

    /// One write at a time; an interval that is in effect already needs none.
    fn store_wanted(&mut self) {
        let saves = |ask: &Ask| matches!(ask, Ask::SaveInterval(_));
        let busy = matches!(self.out, Some(Asked::Own(ask)) if saves(&ask));
        if busy {
            return;
        }
        let Some(seconds) = self.wanted.take() else {
            return;
        };
        self.asks.retain(|ask| !saves(ask));
        let unread = matches!(self.phase, Phase::Reading(_));
        if unread || !self.schedule.is_interval(seconds) {
            self.asks.push_back(Ask::SaveInterval(seconds));
        } else {
            self.tell(Event::IntervalChanged(self.schedule.interval()));
        }
    }

    /// The settings store turned out to hold what was to be written.
    fn drop_needless_save(&mut self) {
        let asks = self.asks.len();
        let schedule = &self.schedule;
        self.asks.retain(
            |ask| !matches!(ask, Ask::SaveInterval(seconds) if schedule.is_interval(*seconds)),
        );
        if self.asks.len() < asks {
            self.tell(Event::IntervalChanged(self.schedule.interval()));
        }
    }
}

/// Results whose back-off is not cut short by the interval.
const fn is_patient(errno: Errno) -> bool {
    matches!(errno, Errno::Busy | Errno::TimedOut | Errno::NoTime)
}

impl Ask {
    const fn kind(self) -> Kind {
        match self {
            Self::LoadAfter | Self::LoadInterval => Kind::Load,
            Self::SaveInterval(_) => Kind::Save,
        }
    }
}

impl Kind {
    const fn of(output: &Output) -> Option<Self> {
        Some(match output {
            Output::Sign { .. } => Self::Sign,
            Output::Fetch { .. } => Self::Fetch,
            Output::Report { .. } => Self::Report,
            Output::Radio(_) => Self::Radio,
            Output::Line(_) => Self::Line,
            Output::Load { .. } => Self::Load,
            Output::Save { .. } => Self::Save,
            Output::Event(_) | Output::Wait(_) => return None,
        })
    }

    const fn is_answered_by(self, input: &Input) -> bool {
        match self {
            Self::Sign => matches!(input, Input::Signed(_) | Input::SignFailed(_)),
            Self::Fetch => matches!(
                input,
                Input::Fetched { .. } | Input::NotAdmitted { .. } | Input::Failed(_)
            ),
            Self::Report => matches!(
                input,
                Input::Reported { .. } | Input::NotAdmitted { .. } | Input::Failed(_)
            ),
            Self::Radio => matches!(input, Input::RadioIs(_) | Input::ModemFailed(_)),
            Self::Line => matches!(input, Input::ModemSaid(_) | Input::ModemFailed(_)),
            Self::Load => matches!(input, Input::Loaded(_) | Input::StoreFailed(_)),
            Self::Save => matches!(input, Input::Stored | Input::StoreFailed(_)),
        }
    }
}

#[cfg(test)]
mod tests;
