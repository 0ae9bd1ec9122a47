//! The client at a table with a scripted modem, a scripted service and a settings store; time is a number.
#![allow(clippy::unwrap_used)]

mod any_order;
mod back_off;
mod calls;
mod options;
mod orders;
mod settings;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use super::*;
use crate::CorrelationId;
use crate::device::words::{FunctionalMode, RadioState, RadioWish, TransportError};
use crate::wire::{Action, WireCommand, encode_commands};

/// What the service says to one fetch.
type Fetched = Result<(u16, Vec<u8>), TransportError>;

/// A driver that answers from scripts and writes down what happened, and when.
struct World {
    client: Client,
    now: Uptime,
    /// None left means 204.
    fetches: VecDeque<Fetched>,
    /// None left means 200.
    reports: VecDeque<Result<u16, TransportError>>,
    /// Given with every answer of the service.
    hint: Option<Duration>,
    settings: BTreeMap<String, String>,
    store_fails: Option<StoreFailure>,
    /// Answers to lines that begin so; all others get `OK`.
    answers: Vec<(&'static str, String)>,
    no_time: bool,
    radio_stuck: bool,
    offline: bool,
    /// What was asked, in words.
    asked: Vec<String>,
    /// The times of fetches.
    fetched: Vec<u64>,
    events: Vec<(u64, Event)>,
}

impl World {
    fn new(config: ClientConfig) -> Self {
        Self {
            client: Client::new(config).unwrap(),
            now: Uptime(0),
            fetches: VecDeque::new(),
            reports: VecDeque::new(),
            hint: None,
            settings: BTreeMap::new(),
            store_fails: None,
            answers: Vec::new(),
            no_time: false,
            radio_stuck: false,
            offline: false,
            asked: Vec::new(),
            fetched: Vec::new(),
            events: Vec::new(),
        }
    }

    fn batch(mut self, commands: &[WireCommand]) -> Self {
        self.fetches.push_back(Ok((200, encode_commands(commands))));
        self
    }

    fn status(mut self, status: u16) -> Self {
        self.fetches.push_back(Ok((status, Vec::new())));
        self
    }

    fn fails(mut self, error: TransportError) -> Self {
        self.fetches.push_back(Err(error));
        self
    }

    fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_string(), value.to_string());
        self
    }

    /// Initialised, and driven until `seconds` after the start.
    fn until(mut self, seconds: u64) -> Self {
        self.client.init(self.now).unwrap();
        self.go_on_until(seconds);
        self
    }

    /// Initialised and triggered, for clients that are not scheduled.
    fn triggered(mut self) -> Self {
        self.client.init(self.now).unwrap();
        self.client.trigger(self.now).unwrap();
        self.go_on_until(u64::MAX / 1000);
        self
    }

    fn go_on_until(&mut self, seconds: u64) {
        let end = Uptime(seconds * 1000);
        for _ in 0..100_000 {
            let input = match self.client.poll() {
                Output::Wait(Some(until)) if until <= end => {
                    self.now = self.now.max(until);
                    Input::Tick
                }
                Output::Wait(_) => {
                    self.now = end;
                    return;
                }
                Output::Event(event) => {
                    self.events.push((self.now.0 / 1000, event));
                    continue;
                }
                ask => self.answer_to(ask),
            };
            self.client.handle(input, self.now);
        }
        panic!("no end: {:?}", self.events.last());
    }

    fn answer_to(&mut self, ask: Output) -> Input {
        let (words, answer) = match ask {
            Output::Sign { sec_tag, validity } => (
                format!("sign {sec_tag} {}", validity.as_secs()),
                Input::Signed(String::from("a.b.c").into()),
            ),
            Output::Fetch { query, .. } => {
                self.fetched.push(self.now.0);
                self.give_hint();
                let answer = match self.fetches.pop_front().unwrap_or(Ok((204, Vec::new()))) {
                    Ok((status, body)) => Input::Fetched { status, body },
                    Err(error) => Input::Failed(error),
                };
                (format!("fetch {}", query.print()), answer)
            }
            Output::Report { body, .. } => {
                self.give_hint();
                let answer = match self.reports.pop_front().unwrap_or(Ok(200)) {
                    Ok(status) => Input::Reported { status },
                    Err(error) => Input::Failed(error),
                };
                (format!("report {}", body.len()), answer)
            }
            Output::Radio(wish) => {
                match wish {
                    RadioWish::Query => {}
                    _ if self.radio_stuck => {}
                    wish => self.offline = wish == RadioWish::Offline,
                }
                let radio = RadioState {
                    mode: FunctionalMode(if self.offline { 4 } else { 1 }),
                    pdn_active: !self.offline,
                };
                (format!("radio {wish:?}"), Input::RadioIs(radio))
            }
            Output::Line(line) => (
                line.expose().to_string(),
                Input::ModemSaid(self.modem(line.expose())),
            ),
            Output::Load { key } => {
                let answer = match self.store_fails {
                    Some(failure) => Input::StoreFailed(failure),
                    None => Input::Loaded(self.settings.get(&key).cloned()),
                };
                (format!("load {key}"), answer)
            }
            Output::Save { key, value } => {
                let words = format!("save {key}={value}");
                let answer = match self.store_fails {
                    Some(failure) => Input::StoreFailed(failure),
                    None => {
                        self.settings.insert(key, value);
                        Input::Stored
                    }
                };
                (words, answer)
            }
            Output::Event(_) | Output::Wait(_) => unreachable!(),
        };
        self.asked.push(words);
        answer
    }

    fn give_hint(&mut self) {
        if let Some(hint) = self.hint {
            self.client.handle(Input::Hint(hint), self.now);
        }
    }

    fn modem(&self, line: &str) -> String {
        if let Some((_, text)) = self
            .answers
            .iter()
            .find(|(start, _)| line.starts_with(start))
        {
            return text.clone();
        }
        match line {
            "AT%CCLK?" if self.no_time => "+CME ERROR: 60\r\n",
            "AT%CCLK?" => "%CCLK: \"26/11/20,22:00:00+00\",1\r\nOK\r\n",
            "AT+CMEE?" => "+CMEE: 0\r\nOK\r\n",
            "AT%ATTESTTOKEN" => "%ATTESTTOKEN: \"2dn3.0oRD\"\r\nOK\r\n",
            _ => "OK\r\n",
        }
        .to_string()
    }

    /// The firmware's events, named as there, with seconds where a schedule was made.
    fn story(&self) -> Vec<String> {
        let named = |event: &Event| {
            Some(match event {
                Event::Start => "START".to_string(),
                Event::Stop => "STOP".to_string(),
                Event::Done => "DONE".to_string(),
                Event::Failed(errno) => format!("FAILED {errno}"),
                Event::NoCommands => "NO_COMMANDS".to_string(),
                Event::FailedTooManyCommands => "FAILED_TOO_MANY_COMMANDS".to_string(),
                Event::FailedDeviceNotClaimed { token: Some(_) } => {
                    "FAILED_DEVICE_NOT_CLAIMED with token".to_string()
                }
                Event::FailedDeviceNotClaimed { token: None } => {
                    "FAILED_DEVICE_NOT_CLAIMED".to_string()
                }
                Event::FailedWrongRootCa => "FAILED_WRONG_ROOT_CA".to_string(),
                Event::FailedNoValidDatetime => "FAILED_NO_VALID_DATETIME".to_string(),
                Event::NeedLteDeactivated => "NEED_LTE_DEACTIVATED".to_string(),
                Event::NeedLteActivated => "NEED_LTE_ACTIVATED".to_string(),
                Event::ScheduledProvisioning(wait) => {
                    format!("SCHEDULED_PROVISIONING {}", wait.as_secs())
                }
                Event::FatalError(errno) => format!("FATAL_ERROR {errno}"),
                _ => return None,
            })
        };
        self.events
            .iter()
            .filter_map(|(_, event)| named(event))
            .collect()
    }

    fn asked_for(&self, start: &str) -> Vec<&str> {
        let asked = self.asked.iter().map(String::as_str);
        asked.filter(|words| words.starts_with(start)).collect()
    }
}

/// Scheduled, without spread: the numbers in the stories are those of the options.
fn scheduled(config: ClientConfig) -> ClientConfig {
    ClientConfig {
        auto_start: true,
        scheduled: true,
        spread: Duration::ZERO,
        ..config
    }
}

fn at(id: &str, set_command: &str, parameters: &str) -> WireCommand {
    command(
        id,
        Action::At {
            set_command: set_command.to_string(),
            parameters: parameters.to_string(),
            ignore: Vec::new(),
        },
    )
}

fn config(id: &str, key: &str, value: &str) -> WireCommand {
    let pair = (key.to_string(), value.to_string());
    command(id, Action::Config(vec![pair]))
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
