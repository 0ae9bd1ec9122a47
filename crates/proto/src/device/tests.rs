//! The session at a table with a scripted modem and a scripted service; time is a number.
#![allow(clippy::unwrap_used)]

mod any_order;
mod commands;
mod endings;
mod radio;
mod results;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use super::*;
use crate::CorrelationId;
use crate::wire::{
    Action, WireCommand, WireResponse, WireResult, decode_responses, encode_commands,
};

/// A driver that answers from scripts and writes down what happened.
struct Table {
    session: Session,
    now: Uptime,
    /// Answers to fetches; none left means 204.
    fetches: VecDeque<Result<(u16, Vec<u8>), TransportError>>,
    /// Answers to reports; none left means 200.
    reports: VecDeque<Result<u16, TransportError>>,
    /// Answers to lines that begin so, in order of use; lines without one get `OK`.
    answers: Vec<(&'static str, VecDeque<Input>)>,
    cmee: u8,
    mode: u8,
    /// Ignores wishes.
    radio_stuck: bool,
    store_fails_at: Option<(usize, StoreFailure)>,
    lines: Vec<String>,
    saved: Vec<(String, String)>,
    afters: Vec<String>,
    sent: Vec<Vec<u8>>,
    signatures: usize,
    events: Vec<Event>,
}

impl Table {
    fn new(config: Config) -> Self {
        Self {
            session: Session::new(config),
            now: Uptime(0),
            fetches: VecDeque::new(),
            reports: VecDeque::new(),
            answers: Vec::new(),
            cmee: 0,
            mode: 1,
            radio_stuck: false,
            store_fails_at: None,
            lines: Vec::new(),
            saved: Vec::new(),
            afters: Vec::new(),
            sent: Vec::new(),
            signatures: 0,
            events: Vec::new(),
        }
    }

    fn careful() -> Self {
        Self::new(Config::default())
    }

    fn firmware() -> Self {
        Self::new(Config {
            conduct: Conduct::Firmware,
            ..Config::default()
        })
    }

    fn batch(mut self, commands: &[WireCommand]) -> Self {
        self.fetches.push_back(Ok((200, encode_commands(commands))));
        self
    }

    fn fetch_status(mut self, status: u16) -> Self {
        self.fetches.push_back(Ok((status, Vec::new())));
        self
    }

    fn answer(mut self, line: &'static str, text: &str) -> Self {
        let said = Input::ModemSaid(text.to_string());
        match self.answers.iter_mut().find(|(known, _)| *known == line) {
            Some((_, answers)) => answers.push_back(said),
            None => self.answers.push((line, VecDeque::from([said]))),
        }
        self
    }

    /// Runs one session to its end.
    fn run(&mut self) -> &mut Self {
        self.session.handle(Input::Triggered, self.now);
        for _ in 0..10_000 {
            let answer = match self.session.poll() {
                Output::Wait(None) => {
                    assert!(self.session.is_at_rest(), "waits for nothing");
                    return self;
                }
                Output::Wait(Some(until)) => {
                    self.now = self.now.max(until);
                    Input::Tick
                }
                Output::Event(event) => {
                    self.events.push(event);
                    continue;
                }
                other => self.answer_to(other),
            };
            self.session.handle(answer, self.now);
        }
        panic!("the session does not end");
    }

    fn answer_to(&mut self, output: Output) -> Input {
        match output {
            Output::Sign { .. } => {
                self.signatures += 1;
                Input::Signed(String::from("a.b.c").into())
            }
            Output::Fetch { query, .. } => {
                self.afters.push(query.after);
                match self.fetches.pop_front().unwrap_or(Ok((204, Vec::new()))) {
                    Ok((status, body)) => Input::Fetched { status, body },
                    Err(error) => Input::Failed(error),
                }
            }
            Output::Report { body, .. } => {
                self.sent.push(body);
                match self.reports.pop_front().unwrap_or(Ok(200)) {
                    Ok(status) => Input::Reported { status },
                    Err(error) => Input::Failed(error),
                }
            }
            Output::Radio(wish) => {
                match wish {
                    RadioWish::Query => {}
                    _ if self.radio_stuck => {}
                    RadioWish::Offline => self.mode = 4,
                    RadioWish::Online => self.mode = 1,
                }
                Input::RadioIs(RadioState {
                    mode: FunctionalMode(self.mode),
                    pdn_active: self.mode == 1,
                })
            }
            Output::Line(line) => self.modem(line.expose()),
            Output::Save { key, value } => {
                let index = self.saved.len();
                self.saved.push((key, value));
                match self.store_fails_at {
                    Some((at, failure)) if at == index => Input::StoreFailed(failure),
                    _ => Input::Stored,
                }
            }
            Output::Load { .. } | Output::Event(_) | Output::Wait(_) => unreachable!(),
        }
    }

    fn modem(&mut self, line: &str) -> Input {
        self.lines.push(line.to_string());
        let scripted = self
            .answers
            .iter_mut()
            .find(|(start, answers)| line.starts_with(start) && !answers.is_empty())
            .and_then(|(_, answers)| answers.pop_front());
        if let Some(scripted) = scripted {
            return scripted;
        }
        Input::ModemSaid(match line {
            "AT%CCLK?" => "%CCLK: \"26/11/20,22:00:00+00\",1\r\nOK\r\n".to_string(),
            "AT+CMEE?" => format!("+CMEE: {}\r\nOK\r\n", self.cmee),
            "AT%ATTESTTOKEN" => "%ATTESTTOKEN: \"2dn3.0oRD\"\r\nOK\r\n".to_string(),
            _ => "OK\r\n".to_string(),
        })
    }

    fn reported(&self, index: usize) -> Vec<(String, WireResult)> {
        let limits = DecodeLimits {
            records_max: 100,
            config_pairs_max: 10,
            bytes_max: 8192,
        };
        decode_responses(&self.sent[index], limits)
            .unwrap()
            .into_iter()
            .map(
                |WireResponse {
                     correlation,
                     result,
                 }| (correlation.to_string(), result),
            )
            .collect()
    }

    /// The firmware's events only.
    fn story(&self) -> Vec<Event> {
        let told = |event: &&Event| {
            !matches!(
                event,
                Event::BatchReceived { .. }
                    | Event::BatchRefused(_)
                    | Event::CommandDone { .. }
                    | Event::CommandFailed { .. }
                    | Event::AnswerTooLarge { .. }
                    | Event::ReportTooLarge { .. }
                    | Event::Reported { .. }
                    | Event::ReportAgain { .. }
                    | Event::ReportKept(_)
                    | Event::ReportLost(_)
                    | Event::SaveFailed(_)
            )
        };
        self.events.iter().filter(told).cloned().collect()
    }

    /// Lines of the commands themselves.
    fn commands_run(&self) -> Vec<&str> {
        self.lines
            .iter()
            .map(String::as_str)
            .filter(|line| {
                !matches!(*line, "AT%CCLK?" | "AT%ATTESTTOKEN") && !line.starts_with("AT+CMEE")
            })
            .collect()
    }
}

fn at(id: &str, set_command: &str, parameters: &str, ignore: &[u32]) -> WireCommand {
    command(
        id,
        Action::At {
            set_command: set_command.to_string(),
            parameters: parameters.to_string(),
            ignore: ignore.to_vec(),
        },
    )
}

fn config(id: &str, pairs: &[(&str, &str)]) -> WireCommand {
    let pairs = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    command(id, Action::Config(pairs.collect()))
}

fn finished(id: &str) -> WireCommand {
    command(id, Action::Finished)
}

fn command(id: &str, action: Action) -> WireCommand {
    WireCommand {
        correlation: CorrelationId::new(id).unwrap(),
        action,
    }
}

fn done(message: &str) -> WireResult {
    WireResult::AtDone {
        message: message.to_string(),
    }
}

fn failed(cme_error: u32, message: &str) -> WireResult {
    WireResult::Failed {
        cme_error,
        message: message.to_string(),
    }
}

fn long_answer(bytes: usize) -> String {
    let frame = "%KEYGEN: \"\"\r\nOK\r\n".len();
    format!("%KEYGEN: \"{}\"\r\nOK\r\n", "k".repeat(bytes - frame))
}
