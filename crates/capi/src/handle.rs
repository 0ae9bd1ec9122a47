//! One machine, its carrier, and the loop between them. Decides nothing: an `if` about provisioning belongs in `proto`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::ffi::c_int;
use core::time::Duration;

use sectag_proto::Uptime;
use sectag_proto::device::{
    Client, Event, FunctionalMode, Input, Output, RadioState, RadioWish, Session,
};

use crate::ask;
use crate::config::Options;
use crate::errno::Code;
use crate::ffi::carrier::Carrier;
use crate::ffi::event::Listener;
use crate::lock::{Broken, Lock};
use crate::log;

/// What is behind `struct sectag_client` and `struct sectag_session`.
#[derive(Debug)]
pub struct Handle {
    carrier: Carrier,
    options: Options,
    state: Lock<State>,
}

#[derive(Debug)]
struct State {
    machine: Option<Machine>,
    listener: Option<Listener>,
    /// Somebody is between `Handle::drive` and its end.
    driving: bool,
    /// Counts what came from outside, so that a wait does not miss it.
    calls: u64,
    /// What the program told about the network.
    network: Option<bool>,
    /// Result of the session that runs, once its event came.
    result: c_int,
    /// Result of a session that ended and was not given back yet.
    ended: Option<c_int>,
    interval_not_stored: bool,
}

#[derive(Debug)]
enum Machine {
    Client(Box<Client>),
    Session(Box<Session>),
}

impl Machine {
    fn handle(&mut self, input: Input, now: Uptime) {
        match self {
            Self::Client(client) => client.handle(input, now),
            Self::Session(session) => session.handle(input, now),
        }
    }

    fn poll(&mut self) -> Output {
        match self {
            Self::Client(client) => client.poll(),
            Self::Session(session) => session.poll(),
        }
    }
}

impl Handle {
    /// Not initialised.
    pub(crate) const fn new(carrier: Carrier, options: Options) -> Self {
        Self {
            carrier,
            options,
            state: Lock::new(State {
                machine: None,
                listener: None,
                driving: false,
                calls: 0,
                network: None,
                result: 0,
                ended: None,
                interval_not_stored: false,
            }),
        }
    }

    pub(crate) fn init_client(&self, listener: Listener) -> Result<(), Code> {
        let driving = self.drive();
        // Looked at while nobody else can initialise.
        if self.is_initialised()? {
            return Err(Code::ALREADY);
        }
        let _driving = driving?;
        let mut client = self.options.client(&self.carrier)?;
        client.init(self.carrier.uptime()).map_err(Code::of_call)?;
        self.begin(Machine::Client(Box::new(client)), Some(listener))
    }

    pub(crate) fn init_session(&self, listener: Option<Listener>) -> Result<(), Code> {
        let _driving = self.drive()?;
        let session = Session::new(self.options.session(&self.carrier)?);
        self.begin(Machine::Session(Box::new(session)), listener)
    }

    pub(crate) fn is_initialised(&self) -> Result<bool, Code> {
        Ok(self.state.with(|state| state.machine.is_some())?)
    }

    /// Whether nobody drives, so that it may be freed.
    pub(crate) fn is_idle(&self) -> Result<bool, Code> {
        Ok(self.state.with(|state| !state.driving)?)
    }

    /// A client's next session, or a session itself.
    pub(crate) fn trigger(&self) -> Result<(), Code> {
        let now = self.carrier.uptime();
        self.call(|machine| match machine {
            Machine::Client(client) => client.trigger(now).map_err(Code::of_call),
            Machine::Session(session) if session.is_at_rest() => {
                session.handle(Input::Triggered, now);
                Ok(())
            }
            Machine::Session(_) => Err(Code::ALREADY),
        })
    }

    pub(crate) fn set_interval(&self, seconds: c_int) -> Result<(), Code> {
        let now = self.carrier.uptime();
        self.call(|machine| match machine {
            Machine::Client(client) => client
                .set_interval(i64::from(seconds), now)
                .map_err(Code::of_call),
            Machine::Session(_) => Err(Code::NOTSUP),
        })?;
        // Whoever drives stores it; else this call does, so that its result is known.
        let Ok(_driving) = self.drive() else {
            return Ok(());
        };
        self.state.with(|state| state.interval_not_stored = false)?;
        while let Step::Again { settled: false } = self.step_once(false)? {}
        if self.state.with(|state| state.interval_not_stored)? {
            return Err(Code::NOSTR);
        }
        Ok(())
    }

    pub(crate) fn network(&self, active: bool) -> Result<(), Code> {
        let now = self.carrier.uptime();
        self.state.with(|state| {
            state.network = Some(active);
            state.calls = state.calls.wrapping_add(1);
            if let Some(machine) = &mut state.machine {
                machine.handle(Input::Network(active), now);
            }
        })?;
        self.state.wake();
        Ok(())
    }

    /// `after` of a session.
    pub(crate) fn after(&self) -> Result<String, Code> {
        self.state
            .with(|state| match &state.machine {
                Some(Machine::Session(session)) => Some(session.after().into()),
                Some(Machine::Client(client)) => Some(client.after()),
                None => None,
            })?
            .ok_or(Code::FAULT)
    }

    /// Drives until a session has ended; its result. A bare session that rests begins.
    pub(crate) fn run(&self, limit: Option<Duration>) -> Result<c_int, Code> {
        if !self.is_initialised()? {
            return Err(Code::FAULT);
        }
        if !self.carrier.can_wait() {
            return Err(Code::NOTSUP);
        }
        let _driving = self.drive()?;
        let begun = self.carrier.uptime();
        let deadline = limit.map(|limit| begun.plus(limit));
        self.state.with(|state| {
            state.ended = None;
            if let Some(Machine::Session(session)) = &mut state.machine {
                // Ignored while one runs.
                session.handle(Input::Triggered, begun);
            }
        })?;
        loop {
            let (wake, calls) = self.work_off(deadline)?;
            if let Some(result) = self.state.with(|state| state.ended.take())? {
                return Ok(result);
            }
            let now = self.carrier.uptime();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Code::AGAIN);
            }
            let until = [wake, deadline].into_iter().flatten().min();
            self.rest(until.map(|until| until.since(now)), calls)?;
        }
    }

    /// Drives as far as it goes without waiting; how long it may rest then.
    pub(crate) fn step(&self) -> Result<Option<Duration>, Code> {
        if !self.is_initialised()? {
            return Err(Code::FAULT);
        }
        let _driving = self.drive()?;
        let (wake, _) = self.work_off(None)?;
        let now = self.carrier.uptime();
        Ok(wake.map(|wake| wake.since(now)))
    }

    fn begin(&self, machine: Machine, listener: Option<Listener>) -> Result<(), Code> {
        let now = self.carrier.uptime();
        Ok(self.state.with(|state| {
            let machine = state.machine.insert(machine);
            if let Some(active) = state.network {
                machine.handle(Input::Network(active), now);
            }
            state.listener = listener;
        })?)
    }

    /// One call from outside into the machine.
    fn call(&self, call: impl FnOnce(&mut Machine) -> Result<(), Code>) -> Result<(), Code> {
        self.state.with(|state| {
            let machine = state.machine.as_mut().ok_or(Code::FAULT)?;
            call(machine)?;
            state.calls = state.calls.wrapping_add(1);
            Ok::<(), Code>(())
        })??;
        self.state.wake();
        Ok(())
    }

    fn drive(&self) -> Result<Driving<'_>, Code> {
        let mine = self
            .state
            .with(|state| !core::mem::replace(&mut state.driving, true))?;
        mine.then(|| Driving(self)).ok_or(Code::BUSY)
    }

    /// Until the machine waits, or the deadline is over: until when it waits, and how many calls it knew of.
    fn work_off(&self, deadline: Option<Uptime>) -> Result<(Option<Uptime>, u64), Code> {
        loop {
            if let Step::Wait { until, calls } = self.step_once(true)? {
                return Ok((until, calls));
            }
            if deadline.is_some_and(|deadline| deadline < self.carrier.uptime()) {
                let calls = self.state.with(|state| state.calls)?;
                return Ok((deadline, calls));
            }
        }
    }

    /// Takes one output and carries it. A wait that is over is carried too, when `tick` says so.
    fn step_once(&self, tick: bool) -> Result<Step, Code> {
        let (output, calls) = self.state.with(|state| {
            let output = match &mut state.machine {
                Some(machine) => machine.poll(),
                None => Output::Wait(None),
            };
            (output, state.calls)
        })?;
        let input = match output {
            Output::Event(event) => {
                let settled = matches!(
                    event,
                    Event::IntervalChanged(_) | Event::IntervalNotStored(_)
                );
                self.tell(&event)?;
                return Ok(Step::Again { settled });
            }
            Output::Wait(until) => {
                let now = self.carrier.uptime();
                if !tick || until.is_none_or(|until| now < until) {
                    return Ok(Step::Wait { until, calls });
                }
                Input::Tick
            }
            other => self.carry(other)?,
        };
        self.hand_in(input)?;
        Ok(Step::Again { settled: false })
    }

    fn hand_in(&self, input: Input) -> Result<(), Code> {
        let now = self.carrier.uptime();
        Ok(self.state.with(|state| {
            if let Some(machine) = &mut state.machine {
                machine.handle(input, now);
            }
        })?)
    }

    fn carry(&self, output: Output) -> Result<Input, Code> {
        Ok(match output {
            Output::Sign { sec_tag, validity } => {
                match ask::jwt(&self.carrier, sec_tag, validity) {
                    Ok(jwt) => Input::Signed(jwt),
                    Err(words) => {
                        self.carrier.log(&words);
                        Input::SignFailed(words)
                    }
                }
            }
            Output::Fetch { jwt, query } => {
                let room = usize::try_from(self.options.client.session.rx_bytes_max);
                match self.carrier.fetch(&jwt, &query, room.unwrap_or(usize::MAX)) {
                    Ok(answer) => {
                        self.hint(answer.retry_after)?;
                        Input::Fetched {
                            status: answer.status,
                            body: answer.body,
                        }
                    }
                    Err(error) => Input::Failed(error),
                }
            }
            Output::Report { jwt, body } => match self.carrier.report(&jwt, &body) {
                Ok(answer) => {
                    self.hint(answer.retry_after)?;
                    Input::Reported {
                        status: answer.status,
                    }
                }
                Err(error) => Input::Failed(error),
            },
            Output::Line(line) => match self.carrier.line(line.expose()) {
                Ok(text) => Input::ModemSaid(text),
                Err(code) => Input::ModemFailed(format!("at_line returned {}", code.get())),
            },
            Output::Radio(wish) => self.radio(wish)?,
            Output::Load { key } => match self.carrier.load(&key) {
                Ok(value) => Input::Loaded(value),
                Err(failure) => Input::StoreFailed(failure),
            },
            Output::Save { key, value } => match self.carrier.save(&key, &value) {
                Ok(()) => Input::Stored,
                Err(failure) => Input::StoreFailed(failure),
            },
            // Dealt with by the caller.
            Output::Event(_) | Output::Wait(_) => Input::Tick,
        })
    }

    fn hint(&self, retry_after: Option<Duration>) -> Result<(), Code> {
        match retry_after {
            Some(hint) => self.hand_in(Input::Hint(hint)),
            None => Ok(()),
        }
    }

    fn radio(&self, wish: RadioWish) -> Result<Input, Code> {
        let mode = match ask::radio(&self.carrier, wish, self.options.lte_by_program) {
            Ok(mode) => mode,
            Err(words) => {
                self.carrier.log(&words);
                return Ok(Input::ModemFailed(words));
            }
        };
        let pdn_active = match (
            self.carrier.network(),
            self.state.with(|state| state.network)?,
        ) {
            (Some(active), _) => active,
            (None, Some(told)) => told && !matches!(mode.0, 0 | 4 | 20 | 44),
            (None, None) => matches!(mode, FunctionalMode::FULL | FunctionalMode(21)),
        };
        Ok(Input::RadioIs(RadioState { mode, pdn_active }))
    }

    fn tell(&self, event: &Event) -> Result<(), Code> {
        if let Some(line) = log::line(event) {
            self.carrier.log(&line);
        }
        let (listener, result) = self.state.with(|state| {
            match event {
                Event::Start => state.result = 0,
                Event::Stop => state.ended = Some(state.result),
                Event::IntervalNotStored(_) => state.interval_not_stored = true,
                event => state.result = result_of(event).unwrap_or(state.result),
            }
            if matches!(event, Event::FatalError(_)) {
                // No session ends any more, and whoever waits for one has to know.
                state.ended = Some(state.result);
            }
            (state.listener, state.result)
        })?;
        if let Some(listener) = listener {
            listener.tell(event, result);
        }
        Ok(())
    }

    /// Waits, unless a call came since the machine was asked.
    fn rest(&self, limit: Option<Duration>, calls: u64) -> Result<(), Code> {
        if self.carrier.has_wait() {
            if self.state.with(|state| state.calls == calls)? {
                self.carrier.wait(limit);
            }
            return Ok(());
        }
        #[cfg(feature = "std")]
        self.state.wait(limit, |state| state.calls == calls)?;
        Ok(())
    }
}

enum Step {
    Wait {
        until: Option<Uptime>,
        calls: u64,
    },
    /// `settled`: whether a new interval was stored is known.
    Again {
        settled: bool,
    },
}

/// While it lives, nobody else drives.
struct Driving<'a>(&'a Handle);

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        // A broken lock stays broken.
        let _ = self.0.state.with(|state| state.driving = false);
    }
}

impl From<Broken> for Code {
    fn from(_: Broken) -> Self {
        Self::IO
    }
}

/// The session's result, for the events that say it (spec/device-protocol §11).
pub(crate) const fn result_of(event: &Event) -> Option<c_int> {
    Some(match event {
        Event::Done => 1,
        Event::Failed(errno) | Event::FatalError(errno) => Code::of(*errno).get(),
        Event::NoCommands => Code::NODATA.get(),
        Event::FailedTooManyCommands => Code::NOMEM.get(),
        Event::FailedDeviceNotClaimed { .. } => Code::ACCES.get(),
        Event::FailedWrongRootCa => Code::CONNREFUSED.get(),
        Event::FailedNoValidDatetime => Code::TIME.get(),
        _ => return None,
    })
}
