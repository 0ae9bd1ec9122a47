//! The session at a table with a scripted modem and a scripted service; time is a number.
#![allow(clippy::unwrap_used)]

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
            Output::Event(_) | Output::Wait(_) => unreachable!(),
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

#[test]
fn a_session_that_succeeds_runs_reports_and_is_done() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1.s", "%CMNG", "3,42,2", &[513]),
            at("u.1", "%KEYGEN", "42,2,0", &[]),
            config("u.2", &[("provisioning/interval-sec", "60")]),
            finished("u.3"),
        ])
        .answer("AT%KEYGEN", "%KEYGEN: \"MIH.0oR\"\r\nOK\r\n");
    table.run();
    assert_eq!(
        table.lines,
        [
            "AT%CCLK?",
            "AT+CMEE?",
            "AT+CMEE=1",
            "AT%CMNG=3,42,2",
            "AT%KEYGEN=42,2,0",
            "AT+CMEE=0"
        ]
    );
    assert_eq!(
        table.reported(0),
        [
            ("u.1.s".to_string(), done("OK\r\n")),
            ("u.1".to_string(), done("%KEYGEN: \"MIH.0oR\"\r\nOK\r\n")),
            ("u.2".to_string(), WireResult::ConfigStored),
            ("u.3".to_string(), WireResult::Finished),
        ]
    );
    assert_eq!(
        table.saved,
        [("provisioning/interval-sec".to_string(), "60".to_string())]
    );
    assert_eq!(
        table.story(),
        [
            Event::Start,
            Event::NeedLteDeactivated,
            Event::NeedLteActivated,
            Event::Done,
            Event::Stop
        ]
    );
    assert_eq!(table.session.ending(), Some(Ending::Done));
    assert_eq!((table.signatures, table.mode), (2, 1));
    assert_eq!(
        table.now,
        Uptime(2000),
        "two seconds of rest after the radio"
    );
}

#[test]
fn a_failure_stops_the_batch_and_finished_is_never_acknowledged() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1", "%CMNG", "0,1,0,\"a\"", &[]),
            at("u.2", "%CMNG", "0,1,1,\"secret\"", &[]),
            at("u.3", "%CMNG", "0,1,2,\"c\"", &[]),
            finished("u.4"),
        ])
        .answer("AT%CMNG=0,1,1", "+CME ERROR: 527\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.1".to_string(), done("OK\r\n")),
            ("u.2".to_string(), failed(527, "+CME ERROR: 527\r\n")),
        ]
    );
    assert_eq!(table.commands_run().len(), 2);
    assert_eq!(table.afters, ["", "u.2"], "after covers the failed command");
    assert_eq!(
        table.story(),
        [
            Event::Start,
            Event::NeedLteDeactivated,
            Event::NeedLteActivated,
            Event::NoCommands,
            Event::Stop
        ]
    );
    assert!(table.events.contains(&Event::CommandFailed {
        index: 1,
        correlation: CorrelationId::new("u.2").unwrap(),
        command: "AT%CMNG=0,1,1,…".to_string(),
        number: 527,
        answer: "+CME ERROR: 527".to_string(),
    }));
    assert!(!format!("{:?}", table.events).contains("secret"));
}

#[test]
fn finished_before_a_failure_is_not_acknowledged_either() {
    let mut table = Table::careful()
        .batch(&[finished("u.1"), at("u.2", "%X", "1", &[])])
        .answer("AT%X", "+CME ERROR: 50\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [("u.2".to_string(), failed(50, "+CME ERROR: 50\r\n"))]
    );
}

#[test]
fn finished_is_acknowledged_last_whatever_its_position() {
    let mut table = Table::careful().batch(&[finished("u.1"), at("u.2", "%X", "1", &[])]);
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.2".to_string(), done("OK\r\n")),
            ("u.1".to_string(), WireResult::Finished)
        ]
    );
}

#[test]
fn an_ignored_cme_code_is_reported_as_done_with_the_error_text() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1", "%CMNG", "3,42,2", &[50, 513]),
            at("u.2", "%X", "1", &[]),
        ])
        .answer("AT%CMNG", "+CME ERROR: 513\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.1".to_string(), done("+CME ERROR: 513\r\n")),
            ("u.2".to_string(), done("OK\r\n"))
        ]
    );
}

#[test]
fn a_bare_error_counts_as_success() {
    let mut table = Table::careful()
        .batch(&[at("u.1", "%X", "1", &[]), finished("u.2")])
        .answer("AT%X", "ERROR\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.1".to_string(), done("ERROR\r\n")),
            ("u.2".to_string(), WireResult::Finished)
        ]
    );
}

#[test]
fn a_modem_that_is_cut_off_fails_the_command_without_a_number() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.answers.push((
        "AT%X",
        VecDeque::from([Input::ModemFailed("%X: half".to_string())]),
    ));
    table.run();
    assert_eq!(
        table.reported(0),
        [("u.1".to_string(), failed(0, "%X: half"))]
    );
}

fn long_answer(bytes: usize) -> String {
    let frame = "%KEYGEN: \"\"\r\nOK\r\n".len();
    format!("%KEYGEN: \"{}\"\r\nOK\r\n", "k".repeat(bytes - frame))
}

#[test]
fn a_key_generation_that_outgrows_the_buffer_deletes_the_key_before_it_runs_again() {
    let mut table = Table::careful()
        .batch(&[at("u.1", "%KEYGEN", "42,2,0,\"CN=a\"", &[])])
        .answer("AT%KEYGEN", &long_answer(1024))
        .answer("AT%KEYGEN", &long_answer(1025));
    table.run();
    assert_eq!(
        table.commands_run(),
        [
            "AT%KEYGEN=42,2,0,\"CN=a\"",
            "AT%CMNG=3,42,2",
            "AT%KEYGEN=42,2,0,\"CN=a\""
        ]
    );
    assert_eq!(
        table.reported(0),
        [("u.1".to_string(), done(&long_answer(1025)))]
    );
}

#[test]
fn an_answer_of_1023_bytes_fits_the_first_buffer() {
    let mut table = Table::careful()
        .batch(&[at("u.1", "%KEYGEN", "42,2,0", &[])])
        .answer("AT%KEYGEN", &long_answer(1023));
    table.run();
    assert_eq!(table.commands_run(), ["AT%KEYGEN=42,2,0"]);
}

#[test]
fn an_answer_beyond_the_largest_buffer_fails_without_a_number() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[]), finished("u.2")]);
    for _ in 0..3 {
        table = table.answer("AT%X", &long_answer(5000));
    }
    table.run();
    assert_eq!(table.commands_run().len(), 3, "1024, 2048, 4096");
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(0, "answer of 5000 bytes, 4096 fit")
        )]
    );
}

#[test]
fn a_command_longer_than_the_at_buffer_fails_and_is_not_run() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", &"1".repeat(2047), &[])]);
    table.session = Session::new(Config {
        rx_bytes_max: 4096,
        ..Config::default()
    });
    table.run();
    assert!(table.commands_run().is_empty());
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(0, "AT command of 2052 bytes, 2047 fit")
        )]
    );
}

#[test]
fn a_setting_that_is_not_stored_fails_with_the_firmware_text_and_a_negative_errno() {
    let mut table = Table::careful().batch(&[
        config("u.1", &[("a", "1"), ("b", "2"), ("c", "3")]),
        finished("u.2"),
    ]);
    table.store_fails_at = Some((1, StoreFailure::NoMemory));
    table.run();
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(
                4_294_967_284,
                "Unable to store [1](0-indexed) key-value-pair"
            )
        )]
    );
    assert_eq!(table.saved.len(), 2);
}

#[test]
fn a_key_that_is_too_big_is_named_by_its_index() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")])]);
    table.store_fails_at = Some((0, StoreFailure::KeyTooBig));
    table.run();
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(4_294_967_284, "Key [0](0-indexed) too big")
        )]
    );
}

#[test]
fn too_many_commands_execute_nothing_and_report_nothing() {
    let commands: Vec<_> = (0..11)
        .map(|i| at(&format!("u.{i}"), "%X", "1", &[]))
        .collect();
    let mut table = Table::careful().batch(&commands);
    table.run();
    assert!(table.commands_run().is_empty());
    assert!(table.sent.is_empty());
    assert_eq!(table.session.after(), "");
    assert_eq!(
        table.story(),
        [Event::Start, Event::FailedTooManyCommands, Event::Stop]
    );
}

#[test]
fn an_empty_batch_and_an_empty_body_are_invalid() {
    for body in [vec![0x80], Vec::new()] {
        let mut table = Table::careful();
        table.fetches.push_back(Ok((200, body)));
        table.run();
        assert_eq!(
            table.story(),
            [Event::Start, Event::Failed(Errno::Invalid), Event::Stop]
        );
    }
}

#[test]
fn each_status_of_a_fetch_has_its_event() {
    let told = |status| {
        let mut table = Table::careful().fetch_status(status);
        table.run();
        table.story()[1].clone()
    };
    assert_eq!(told(204), Event::NoCommands);
    assert_eq!(told(400), Event::Failed(Errno::Invalid));
    assert_eq!(
        told(401),
        Event::FailedDeviceNotClaimed {
            token: Some("2dn3.0oRD".to_string())
        }
    );
    assert_eq!(told(403), Event::Failed(Errno::Permission));
    assert_eq!(told(404), Event::Failed(Errno::NotSupported));
    assert_eq!(told(415), Event::Failed(Errno::NoMessage));
    assert_eq!(told(500), Event::Failed(Errno::Busy));
    assert_eq!(told(503), Event::Failed(Errno::NotSupported));
}

#[test]
fn each_transport_failure_of_a_fetch_has_its_event() {
    let told = |error| {
        let mut table = Table::careful();
        table.fetches.push_back(Err(error));
        table.run();
        table.story()[1].clone()
    };
    assert_eq!(told(TransportError::Refused), Event::FailedWrongRootCa);
    assert_eq!(told(TransportError::Tls), Event::FailedWrongRootCa);
    assert_eq!(
        told(TransportError::Timeout),
        Event::Failed(Errno::TimedOut)
    );
    assert_eq!(told(TransportError::Closed), Event::Failed(Errno::Shutdown));
    assert_eq!(told(TransportError::TooLarge), Event::FailedTooManyCommands);
}

#[test]
fn a_device_that_is_not_claimed_says_so_without_a_token_when_none_can_be_made() {
    let mut table = Table::careful()
        .fetch_status(401)
        .answer("AT%ATTESTTOKEN", "ERROR\r\n");
    table.run();
    assert_eq!(
        table.story()[1],
        Event::FailedDeviceNotClaimed { token: None }
    );
}

#[test]
fn a_lost_report_is_sent_again_before_the_next_fetch() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports = VecDeque::from([Err(TransportError::Closed), Ok(500), Ok(200)]);
    table.run();
    assert_eq!(table.sent.len(), 3);
    assert!(table.sent.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(table.afters, [""], "no fetch in between");
    assert_eq!(table.now, Uptime(6000), "2 s, then 4 s");
    assert_eq!(table.session.ending(), Some(Ending::Done));
}

#[test]
fn a_report_that_nobody_acknowledges_waits_for_the_next_session() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports = (0..REPORT_TRIES_MAX)
        .map(|_| Err(TransportError::Timeout))
        .collect();
    table.run();
    assert_eq!(
        table.session.ending(),
        Some(Ending::Failed(Errno::TimedOut))
    );
    assert!(table.session.has_unacknowledged_report());
    table.run();
    assert_eq!(table.sent.len() as u32, REPORT_TRIES_MAX + 1);
    assert_eq!(table.afters.len(), 1, "the second session did not fetch");
    assert_eq!(table.session.ending(), Some(Ending::Done));
}

#[test]
fn a_report_that_is_refused_for_good_is_not_sent_again() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports.push_back(Ok(400));
    table.run();
    assert_eq!(table.sent.len(), 1);
    assert_eq!(table.afters, ["", "u.2"]);
    assert_eq!(
        table.session.ending(),
        Some(Ending::Failed(Errno::NoData)),
        "finished is forgotten with it"
    );
}

#[test]
fn the_firmware_forgets_a_lost_report_and_fetches_on() {
    let mut table = Table::firmware().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports.push_back(Err(TransportError::Closed));
    table.run();
    assert_eq!(table.sent.len(), 1);
    assert_eq!(table.afters, ["", "u.2"]);
    assert_eq!(table.story().last(), Some(&Event::Stop));
    assert_eq!(table.session.ending(), Some(Ending::Failed(Errno::NoData)));
}

#[test]
fn the_firmware_asks_for_the_radio_after_every_batch_and_we_only_when_we_took_it() {
    let batch = [config("u.1", &[("a", "1")])];
    let mut firmware = Table::firmware().batch(&batch);
    firmware.run();
    assert!(firmware.events.contains(&Event::NeedLteActivated));
    let mut careful = Table::careful().batch(&batch);
    careful.run();
    assert!(!careful.events.contains(&Event::NeedLteActivated));
}

#[test]
fn a_radio_that_stays_on_ends_the_session_and_everything_is_put_back() {
    let mut table =
        Table::careful().batch(&[config("u.1", &[("a", "1")]), at("u.2", "%X", "1", &[])]);
    table.radio_stuck = true;
    table.run();
    assert!(table.commands_run().is_empty());
    assert!(table.sent.is_empty());
    assert_eq!(table.lines.last().unwrap(), "AT+CMEE=0");
    assert_eq!(table.session.after(), "", "the batch will be fetched again");
    assert_eq!(
        table.story(),
        [
            Event::Start,
            Event::NeedLteDeactivated,
            Event::NeedLteActivated,
            Event::Failed(Errno::TimedOut),
            Event::Stop
        ]
    );
    assert_eq!(table.now, Uptime(122_000));
}

#[test]
fn the_firmware_leaves_cmee_alone_after_a_radio_timeout() {
    let mut table = Table::firmware().batch(&[at("u.2", "%X", "1", &[])]);
    table.radio_stuck = true;
    table.run();
    assert_eq!(table.lines.last().unwrap(), "AT+CMEE=1");
    assert_eq!(
        table.session.ending(),
        Some(Ending::Failed(Errno::TimedOut))
    );
}

#[test]
fn a_network_that_does_not_come_back_keeps_the_report_for_the_next_session() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.mode = 30; // neither offline nor connected
    table.radio_stuck = false;
    table.session.handle(Input::Triggered, table.now);
    let mut dead = true;
    for _ in 0..2000 {
        let answer = match table.session.poll() {
            Output::Wait(None) => break,
            Output::Wait(Some(until)) => {
                table.now = until;
                Input::Tick
            }
            Output::Event(event) => {
                table.events.push(event);
                continue;
            }
            Output::Radio(RadioWish::Online) if dead => {
                dead = false;
                table.radio_stuck = true;
                Input::ModemFailed(String::new())
            }
            other => table.answer_to(other),
        };
        table.session.handle(answer, table.now);
    }
    assert!(table.session.has_unacknowledged_report());
    assert!(table.events.contains(&Event::ReportKept(Errno::TimedOut)));
    table.mode = 1;
    table.run();
    assert_eq!(table.reported(0), [("u.1".to_string(), done("OK\r\n"))]);
}

#[test]
fn a_radio_that_is_offline_already_is_left_alone() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.mode = 4;
    table.run();
    assert_eq!(
        table.story(),
        [Event::Start, Event::NoCommands, Event::Stop]
    );
    assert_eq!(table.mode, 4);
}

#[test]
fn without_a_valid_time_nothing_is_requested() {
    let mut table = Table::careful();
    for _ in 0..100 {
        table = table.answer("AT%CCLK?", "+CME ERROR: 60\r\n");
    }
    table.run();
    assert_eq!((table.signatures, table.now), (0, Uptime(60_000)));
    assert_eq!(
        table.story(),
        [Event::Start, Event::FailedNoValidDatetime, Event::Stop]
    );
}

#[test]
fn a_clock_that_becomes_valid_in_the_third_second_is_enough() {
    let mut table = Table::careful()
        .answer("AT%CCLK?", "ERROR\r\n")
        .answer("AT%CCLK?", "ERROR\r\n")
        .answer("AT%CCLK?", "ERROR\r\n");
    table.run();
    assert_eq!((table.signatures, table.now), (1, Uptime(3000)));
}

#[test]
fn a_modem_that_will_not_sign_fails_the_session() {
    let mut session = Session::new(Config::default());
    session.handle(Input::Triggered, Uptime(0));
    while !matches!(session.poll(), Output::Wait(_)) {}
    session.handle(
        Input::ModemSaid("%CCLK: \"26/11/20\"\r\nOK\r\n".to_string()),
        Uptime(0),
    );
    while !matches!(session.poll(), Output::Wait(_)) {}
    session.handle(Input::SignFailed("+CME ERROR: 525".to_string()), Uptime(0));
    assert_eq!(session.ending(), Some(Ending::Failed(Errno::NoExec)));
}

#[test]
fn pem_text_reaches_the_modem_with_its_line_feeds_and_no_log() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n";
    let line = format!("AT%CMNG=0,42,2,\"{pem}\"");
    let mut table =
        Table::careful().batch(&[at("u.1", "%CMNG", &format!("0,42,2,\"{pem}\""), &[])]);
    table.run();
    assert_eq!(table.commands_run(), [line.as_str()]);
    assert_eq!(
        format!("{:?}", Output::Line(AtLine::new(line))),
        "Line(\"AT%CMNG=0,42,2,…\")"
    );
    assert!(!format!("{:?}", table.events).contains("MIGH"));
}

#[test]
fn results_that_do_not_fit_the_report_buffer_end_as_no_commands() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1", "%KEYGEN", "1,2,0", &[]),
            at("u.2", "%KEYGEN", "2,2,0", &[]),
            at("u.3", "%KEYGEN", "3,2,0", &[]),
        ])
        .answer("AT%KEYGEN=1", &long_answer(900))
        .answer("AT%KEYGEN=2", &long_answer(900))
        .answer("AT%KEYGEN=3", &long_answer(900));
    table.run();
    assert!(table.sent.is_empty());
    assert_eq!(table.story().iter().rev().nth(1), Some(&Event::NoCommands));
}

#[test]
fn cmee_that_is_on_stays_on() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.cmee = 1;
    table.run();
    assert_eq!(table.lines, ["AT%CCLK?", "AT+CMEE?", "AT%X=1"]);
}

#[test]
fn a_command_that_changes_the_radio_is_followed_by_another_look() {
    let mut table =
        Table::careful().batch(&[at("u.1", "+CFUN", "1", &[]), at("u.2", "%X", "1", &[])]);
    table.mode = 4;
    table.run();
    assert_eq!(table.commands_run(), ["AT+CFUN=1", "AT%X=1"]);
}

#[test]
fn the_last_id_is_saved_after_finished_when_asked_and_used_by_the_next_life() {
    let config = Config {
        save_command_id: true,
        after: Some("u.0".to_string()),
        ..Config::default()
    };
    let mut table = Table::new(config).batch(&[finished("u.7")]);
    table.run();
    assert_eq!(table.afters, ["u.0"]);
    assert_eq!(
        table.saved,
        [(
            "provisioning/after-correlation-id".to_string(),
            "u.7".to_string()
        )]
    );
}

#[test]
fn a_second_trigger_starts_a_second_session_with_the_same_after() {
    let mut table = Table::careful().batch(&[finished("u.7")]);
    table.run().run();
    assert_eq!(table.afters, ["", "u.7"]);
}

#[test]
fn a_trigger_inside_a_session_changes_nothing() {
    let mut session = Session::new(Config::default());
    session.handle(Input::Triggered, Uptime(0));
    while !matches!(session.poll(), Output::Wait(_)) {}
    session.handle(Input::Triggered, Uptime(1));
    assert_eq!(session.poll(), Output::Wait(None));
}

#[test]
fn each_request_of_the_report_has_its_own_token_and_the_radio_rest_is_an_option() {
    let mut table = Table::new(Config {
        radio_rest: Duration::ZERO,
        ..Config::default()
    })
    .batch(&[at("u.1", "%X", "1", &[]), finished("u.2")]);
    table.run();
    assert_eq!((table.signatures, table.now), (2, Uptime(0)));
}

mod any_order {
    use super::*;
    use proptest::prelude::*;

    fn any_input() -> impl Strategy<Value = Input> {
        let text = prop_oneof![
            Just("OK\r\n".to_string()),
            Just("ERROR\r\n".to_string()),
            Just("+CME ERROR: 513\r\n".to_string()),
            Just("%CCLK: \"26/11/20\"\r\nOK\r\n".to_string()),
            Just("+CMEE: 0\r\nOK\r\n".to_string()),
            Just("k".repeat(5000)),
            any::<String>(),
        ];
        let batch = encode_commands(&[
            config("u.1", &[("a", "1"), ("b", "2")]),
            at("u.2", "%KEYGEN", "42,2,0", &[513]),
            finished("u.3"),
        ]);
        let body = prop_oneof![
            4 => Just(batch),
            1 => proptest::collection::vec(any::<u8>(), 0..40),
        ];
        let status =
            prop_oneof![3 => Just(200_u16), 1 => any::<u16>(), 1 => Just(401), 1 => Just(500)];
        prop_oneof![
            2 => Just(Input::Triggered),
            3 => Just(Input::Signed(String::from("a.b.c").into())),
            1 => Just(Input::SignFailed(String::new())),
            3 => (status.clone(), body).prop_map(|(status, body)| Input::Fetched { status, body }),
            3 => status.prop_map(|status| Input::Reported { status }),
            1 => Just(Input::Failed(TransportError::Closed)),
            6 => text.clone().prop_map(Input::ModemSaid),
            1 => text.prop_map(Input::ModemFailed),
            3 => (any::<bool>(), any::<bool>()).prop_map(|(offline, pdn_active)| {
                Input::RadioIs(RadioState {
                    mode: FunctionalMode(if offline { 4 } else { 1 }),
                    pdn_active,
                })
            }),
            1 => Just(Input::TimeKnown),
            3 => Just(Input::Stored),
            1 => Just(Input::StoreFailed(StoreFailure::Io)),
            4 => Just(Input::Tick),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn no_sequence_of_inputs_panics_and_every_poll_ends_with_a_wait(
            inputs in proptest::collection::vec((any_input(), 0_u64..200_000), 0..120),
            firmware in any::<bool>(),
        ) {
            let conduct = if firmware { Conduct::Firmware } else { Conduct::Careful };
            let mut session = Session::new(Config { conduct, save_command_id: true, ..Config::default() });
            let mut now = Uptime(0);
            let mut running = false;
            for (input, later) in inputs {
                now = now.plus(Duration::from_millis(later));
                session.handle(input, now);
                let mut asked = 0;
                let mut polls = 0;
                loop {
                    polls += 1;
                    prop_assert!(polls < 64);
                    match session.poll() {
                        Output::Wait(_) => break,
                        Output::Event(Event::Start) => { prop_assert!(!running); running = true; }
                        Output::Event(Event::Stop) => { prop_assert!(running); running = false; }
                        Output::Event(_) => {}
                        _ => asked += 1,
                    }
                }
                prop_assert!(asked <= 1, "one question at a time");
                prop_assert_eq!(running, !session.is_at_rest());
            }
        }
    }
}
