//! Executing one batch (spec/device-protocol §8): CMEE, radio, commands one by one, and everything back as it was.

use alloc::format;
use alloc::string::{String, ToString};

use super::answer;
use super::batch::Batch;
use super::words::{
    AtLine, Ending, Errno, Event, FunctionalMode, Output, RadioState, RadioWish, StoreFailure,
};
use super::{ANSWER_BYTES_MAX, Conduct, LOOK_AGAIN, Purpose, Session, State};
use crate::Uptime;
use crate::wire::{Action, WireResult};

impl Session {
    pub(super) fn cmee_state(&mut self, mut batch: Batch, state: Option<u8>, now: Uptime) -> State {
        if state == Some(1) {
            return self.send_command(batch, now);
        }
        batch.cmee_before = state;
        self.line(String::from("AT+CMEE=1"));
        State::AwaitCmeeOn(batch)
    }

    /// The next command, or what follows the last one.
    pub(super) fn send_command(&mut self, mut batch: Batch, now: Uptime) -> State {
        loop {
            let Some((_, command)) = batch.current() else {
                return self.send_cmee_back(batch, now);
            };
            match &command.action {
                Action::Finished => self.note(&mut batch, WireResult::Finished),
                Action::Config(_) => return self.store_pair(batch, 0, now),
                Action::At { .. } => {
                    let bytes = line_of(&batch).expose().len();
                    let max = self.config.at_bytes_max();
                    if bytes > max {
                        let words = format!("AT command of {bytes} bytes, {max} fit");
                        self.note(&mut batch, answer::failed(words));
                    } else if batch.offline {
                        return self.run_at(batch, self.config.answer_bytes_start);
                    } else {
                        self.push(Output::Radio(RadioWish::Query));
                        return State::AwaitOffline {
                            batch,
                            deadline: now.plus(self.config.radio_wait),
                        };
                    }
                }
            }
        }
    }

    pub(super) fn radio_is(
        &mut self,
        mut batch: Batch,
        deadline: Uptime,
        radio: Option<RadioState>,
        now: Uptime,
    ) -> State {
        if radio.is_some_and(|radio| radio.mode == FunctionalMode::OFFLINE) {
            batch.offline = true;
            return self.run_at(batch, self.config.answer_bytes_start);
        }
        if !batch.took_radio {
            batch.took_radio = true;
            self.event(Event::NeedLteDeactivated);
            self.push(Output::Radio(RadioWish::Offline));
            return State::AwaitOffline { batch, deadline };
        }
        if now < deadline {
            self.wake = Some(now.plus(LOOK_AGAIN).min(deadline));
            return State::AwaitOffline { batch, deadline };
        }
        if self.config.conduct == Conduct::Firmware {
            return self.end(Ending::Failed(Errno::TimedOut));
        }
        // Nothing of this batch will be reported, so `after` must not say that it was executed.
        self.after.clone_from(&batch.after_before);
        batch.abort = Some(Errno::TimedOut);
        self.send_cmee_back(batch, now)
    }

    pub(super) fn run_at(&mut self, batch: Batch, buffer: usize) -> State {
        self.push(Output::Line(line_of(&batch)));
        State::AwaitAnswer { batch, buffer }
    }

    /// `buffer` is the size the firmware's buffer would have, its NUL included.
    pub(super) fn modem_said(
        &mut self,
        mut batch: Batch,
        buffer: usize,
        text: String,
        now: Uptime,
    ) -> State {
        let Some((set_command, parameters, ignore)) = batch.current_at() else {
            return self.send_command(batch, now);
        };
        if text.len() < buffer {
            // A command may switch the radio itself; look again before the next one.
            let touches_radio = set_command.eq_ignore_ascii_case("+CFUN");
            let result = answer::filter(text, ignore);
            batch.offline &= !touches_radio;
            return self.settle(batch, result, now);
        }
        let bytes = text.len();
        let next_bytes = buffer.saturating_mul(2);
        if next_bytes > ANSWER_BYTES_MAX {
            let words = format!("answer of {bytes} bytes, {buffer} fit");
            return self.settle(batch, answer::failed(words), now);
        }
        let delete = answer::delete_before_again(set_command, parameters);
        self.event(Event::AnswerTooLarge { bytes, next_bytes });
        if let Some(line) = delete {
            self.push(Output::Line(line));
            return State::AwaitDeleted {
                batch,
                buffer: next_bytes,
            };
        }
        self.run_at(batch, next_bytes)
    }

    pub(super) fn settle(&mut self, mut batch: Batch, result: WireResult, now: Uptime) -> State {
        self.note(&mut batch, result);
        self.send_command(batch, now)
    }

    pub(super) fn store_pair(&mut self, batch: Batch, pair: usize, now: Uptime) -> State {
        match batch.current_pair(pair) {
            Some((key, value)) => {
                self.push(Output::Save {
                    key: key.clone(),
                    value: value.clone(),
                });
                State::AwaitStored { batch, pair }
            }
            None => self.settle(batch, WireResult::ConfigStored, now),
        }
    }

    pub(super) fn pair_failed(
        &mut self,
        batch: Batch,
        pair: usize,
        failure: StoreFailure,
        now: Uptime,
    ) -> State {
        let message = match failure {
            StoreFailure::KeyTooBig => format!("Key [{pair}](0-indexed) too big"),
            _ => format!("Unable to store [{pair}](0-indexed) key-value-pair"),
        };
        let cme_error = failure.as_cme_error();
        self.settle(batch, WireResult::Failed { cme_error, message }, now)
    }

    fn send_cmee_back(&mut self, batch: Batch, now: Uptime) -> State {
        match batch.cmee_before {
            Some(state) => {
                self.line(format!("AT+CMEE={state}"));
                State::AwaitCmeeBack(batch)
            }
            None => self.send_online(batch, now),
        }
    }

    pub(super) fn send_online(&mut self, batch: Batch, now: Uptime) -> State {
        if !batch.took_radio && self.config.conduct == Conduct::Careful {
            return self.close_batch(&batch, now);
        }
        self.event(Event::NeedLteActivated);
        self.push(Output::Radio(RadioWish::Online));
        State::AwaitOnline {
            batch,
            deadline: now.plus(self.config.radio_wait),
        }
    }

    pub(super) fn network_is(
        &mut self,
        mut batch: Batch,
        deadline: Uptime,
        radio: Option<RadioState>,
        now: Uptime,
    ) -> State {
        let active = radio.is_some_and(|radio| radio.pdn_active);
        // A wish whose answer was lost is wished again: nobody else brings the radio back.
        batch.offline = self.config.conduct == Conduct::Careful
            && radio.is_none_or(|radio| radio.mode == FunctionalMode::OFFLINE);
        if active && self.config.radio_rest.is_zero() {
            return self.close_batch(&batch, now);
        }
        if active {
            self.wake = Some(now.plus(self.config.radio_rest));
            return State::AwaitRest(batch);
        }
        if now < deadline {
            self.wake = Some(now.plus(LOOK_AGAIN).min(deadline));
            return State::AwaitOnline { batch, deadline };
        }
        if self.config.conduct == Conduct::Careful && batch.abort.is_none() {
            let results = batch.results();
            if results.bytes.len() <= self.report_bytes_max() {
                self.unsent = Some(results);
                self.event(Event::ReportKept(Errno::TimedOut));
            }
        }
        self.end(Ending::Failed(Errno::TimedOut))
    }

    /// The batch is over and everything is back as it was: report it.
    pub(super) fn close_batch(&mut self, batch: &Batch, now: Uptime) -> State {
        if let Some(errno) = batch.abort {
            return self.end(Ending::Failed(errno));
        }
        let results = batch.results();
        let (bytes, max) = (results.bytes.len(), self.report_bytes_max());
        if bytes > max {
            self.event(Event::ReportTooLarge { bytes, max });
            return self.end(Ending::Failed(Errno::NoData));
        }
        self.unsent = Some(results);
        self.prepare(Purpose::Report, now)
    }

    fn report_bytes_max(&self) -> usize {
        usize::try_from(self.config.tx_bytes_max).unwrap_or(usize::MAX)
    }

    fn note(&mut self, batch: &mut Batch, result: WireResult) {
        let Some((index, command)) = batch.current() else {
            return;
        };
        let correlation = command.correlation.clone();
        let command = match &command.action {
            Action::At { .. } => line_of(batch).head(),
            Action::Config(_) => "config".to_string(),
            Action::Finished => "finished".to_string(),
        };
        let event = match &result {
            WireResult::Failed { cme_error, message } => Event::CommandFailed {
                index,
                correlation,
                command,
                number: *cme_error,
                answer: message.trim_end().to_string(),
            },
            WireResult::AtDone { message } => Event::CommandDone {
                index,
                correlation,
                command,
                answer: message.trim_end().to_string(),
            },
            WireResult::ConfigStored | WireResult::Finished => Event::CommandDone {
                index,
                correlation,
                command,
                answer: String::new(),
            },
        };
        self.event(event);
        if let Some(correlation) = batch.settle(result) {
            self.after = correlation.to_string();
        }
    }
}

/// The line of the AT command whose turn it is.
fn line_of(batch: &Batch) -> AtLine {
    let (set_command, parameters, _) = batch.current_at().unwrap_or_default();
    AtLine::new(format!("AT{set_command}={parameters}"))
}
