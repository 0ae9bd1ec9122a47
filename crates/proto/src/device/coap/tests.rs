//! Session and link together, with a scripted modem and a scripted service; time is a number. What a service would see, and
//! what the application is told, is written down in one list.
#![allow(clippy::unwrap_used)]

mod any_order;
mod firmware;
mod ours;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use super::*;
use crate::CorrelationId;
use crate::device::{
    Conduct, Ending, Event, FunctionalMode, Output, RadioState, RadioWish, Session, Transport,
};
use crate::wire::{Action, WireCommand, encode_commands};

const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const UNAUTHORIZED: u8 = 0x81;
const FORBIDDEN: u8 = 0x83;
const NOT_FOUND: u8 = 0x84;
const BUSY: u8 = 0xa0;

type Answer = Result<(u8, Option<u32>, Vec<u8>), TransportError>;

/// A driver that answers from scripts.
struct Table {
    session: Session,
    link: CoapLink,
    now: Uptime,
    connects: VecDeque<Result<bool, TransportError>>,
    /// By last path segment, in order; then the good answer.
    scripts: Vec<(&'static str, VecDeque<Answer>)>,
    /// Each radio change takes this long.
    radio_takes: Duration,
    /// The address changes when the radio comes back.
    moves: bool,
    signed: usize,
    offline: bool,
    seen: Vec<String>,
    hints: Vec<Duration>,
    payloads: Vec<(String, Vec<u8>)>,
}

impl Table {
    fn new(conduct: LinkConduct) -> Self {
        let config = Config {
            transport: Transport::Coap,
            conduct: match conduct {
                LinkConduct::Ours => Conduct::Careful,
                LinkConduct::Firmware { .. } => Conduct::Firmware,
            },
            modem_version: "mfw_nrf91x1_2.0.2".to_string(),
            provide_attestation_token: false,
            ..Config::default()
        };
        Self {
            link: CoapLink::new(conduct, &config),
            session: Session::new(config),
            now: Uptime(0),
            connects: VecDeque::new(),
            scripts: Vec::new(),
            radio_takes: Duration::ZERO,
            moves: false,
            signed: 0,
            offline: false,
            seen: Vec::new(),
            hints: Vec::new(),
            payloads: Vec::new(),
        }
    }

    fn answers(mut self, path: &'static str, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.scripts.push((path, answers.into_iter().collect()));
        self
    }

    fn batches(self, batches: impl IntoIterator<Item = Vec<WireCommand>>) -> Self {
        let batches: Vec<Answer> = batches
            .into_iter()
            .map(|batch| Ok((CONTENT, None, encode_commands(&batch))))
            .collect();
        self.answers("cmd", batches)
    }

    /// Runs one session to its end; what was seen during it.
    fn run(&mut self) -> Vec<String> {
        self.seen.clear();
        self.session.handle(Input::Triggered, self.now);
        loop {
            let output = self.session.poll();
            let input = match output {
                Output::Wait(None) => break,
                Output::Wait(Some(wake)) => {
                    self.now = wake.max(self.now);
                    Input::Tick
                }
                Output::Event(event) => {
                    self.note_event(&event);
                    if event == Event::Stop {
                        self.link.handle(LinkInput::Stopped, self.now);
                        assert_eq!(self.carry(), None, "nothing is asked after the end");
                    }
                    continue;
                }
                Output::Fetch { jwt, query } => {
                    self.link.handle(LinkInput::Fetch { jwt, query }, self.now);
                    self.carry().expect("a fetch is answered")
                }
                Output::Report { jwt, body } => {
                    self.link.handle(LinkInput::Report { jwt, body }, self.now);
                    self.carry().expect("a report is answered")
                }
                Output::Sign { .. } => {
                    self.signed += 1;
                    self.seen.push(format!("sign jwt-{}", self.signed));
                    Input::Signed(format!("jwt-{}", self.signed).into())
                }
                Output::Radio(wish) => self.radio(wish),
                Output::Line(line) => Input::ModemSaid(
                    match line.expose() {
                        "AT%CCLK?" => "%CCLK: \"26/11/20,22:00:00+00\",1\r\nOK\r\n",
                        "AT+CMEE?" => "+CMEE: 1\r\nOK\r\n",
                        "AT%ATTESTTOKEN" => "%ATTESTTOKEN: \"2dn3.0oRD\"\r\nOK\r\n",
                        _ => "OK\r\n",
                    }
                    .to_string(),
                ),
                Output::Load { .. } => Input::Loaded(None),
                Output::Save { .. } => Input::Stored,
            };
            self.session.handle(input, self.now);
        }
        self.seen.clone()
    }

    /// Carries what the link wants, until it answers the session.
    fn carry(&mut self) -> Option<Input> {
        let mut answer = None;
        loop {
            let input = match self.link.poll() {
                LinkOutput::Wait => return answer,
                LinkOutput::Answer(Input::Hint(hint)) => {
                    self.hints.push(hint);
                    self.session.handle(Input::Hint(hint), self.now);
                    continue;
                }
                LinkOutput::Answer(input) => {
                    assert_eq!(answer.replace(input), None, "one answer");
                    continue;
                }
                LinkOutput::Close => {
                    self.seen.push("close".to_string());
                    continue;
                }
                LinkOutput::Rebind => {
                    self.seen.push("rebind".to_string());
                    continue;
                }
                LinkOutput::Connect => {
                    self.seen.push("connect".to_string());
                    match self.connects.pop_front().unwrap_or(Ok(true)) {
                        Ok(cid) => LinkInput::Connected { cid },
                        Err(error) => LinkInput::NotConnected(error),
                    }
                }
                LinkOutput::Request(request) => self.exchange(&request),
            };
            assert_eq!(answer, None, "nothing is wanted after the answer");
            self.link.handle(input, self.now);
        }
    }

    fn exchange(&mut self, request: &CoapRequest) -> LinkInput {
        let last = *request.path.last().unwrap();
        self.seen.push(match last {
            "auth-jwt" => format!(
                "auth {}",
                String::from_utf8(request.payload.expose().clone()).unwrap()
            ),
            "cmd" => format!("cmd {}", request.query[0]),
            other => other.to_string(),
        });
        self.payloads
            .push((last.to_string(), request.payload.expose().clone()));
        let good = match last {
            "auth-jwt" => CREATED,
            "cmd" => CONTENT,
            _ => CHANGED,
        };
        let script = self.scripts.iter_mut().find(|(path, _)| *path == last);
        let scripted = script.and_then(|(_, answers)| answers.pop_front());
        match scripted.unwrap_or(Ok((good, None, Vec::new()))) {
            Ok((code, max_age_s, payload)) => LinkInput::Answered {
                code,
                max_age_s,
                payload,
            },
            Err(error) => LinkInput::NotAnswered(error),
        }
    }

    fn radio(&mut self, wish: RadioWish) -> Input {
        if wish != RadioWish::Query {
            self.now = self.now.plus(self.radio_takes);
        }
        match wish {
            RadioWish::Query => {}
            RadioWish::Offline => self.offline = true,
            RadioWish::Online => {
                if core::mem::take(&mut self.offline) && self.moves {
                    self.link.handle(LinkInput::Moved, self.now);
                    assert_eq!(self.carry(), None);
                }
            }
        }
        Input::RadioIs(RadioState {
            mode: FunctionalMode(if self.offline { 4 } else { 1 }),
            pdn_active: !self.offline,
        })
    }

    fn note_event(&mut self, event: &Event) {
        let name = match event {
            Event::Start => "START".to_string(),
            Event::Stop => "STOP".to_string(),
            Event::Done => "DONE".to_string(),
            Event::Failed(errno) => format!("FAILED {errno}"),
            Event::NoCommands => "NO_COMMANDS".to_string(),
            Event::FailedTooManyCommands => "FAILED_TOO_MANY_COMMANDS".to_string(),
            Event::FailedDeviceNotClaimed { .. } => "FAILED_DEVICE_NOT_CLAIMED".to_string(),
            Event::FailedWrongRootCa => "FAILED_WRONG_ROOT_CA".to_string(),
            Event::NeedLteDeactivated => "NEED_LTE_DEACTIVATED".to_string(),
            Event::NeedLteActivated => "NEED_LTE_ACTIVATED".to_string(),
            Event::ReportLost(errno) => format!("lost {errno}"),
            Event::ReportKept(errno) => format!("kept {errno}"),
            Event::ReportAgain { result, .. } => format!("again {result}"),
            _ => return,
        };
        self.seen.push(name);
    }
}

fn at(id: &str) -> WireCommand {
    command(
        id,
        Action::At {
            set_command: "+CTEST".to_string(),
            parameters: "1".to_string(),
            ignore: Vec::new(),
        },
    )
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

fn count(seen: &[String], what: &str) -> usize {
    seen.iter().filter(|seen| *seen == what).count()
}

/// A key, then a certificate and the end: two rounds.
fn two_rounds() -> [Vec<WireCommand>; 2] {
    [vec![at("u.1")], vec![at("u.2"), finished("u.3")]]
}

#[test]
fn the_modem_tells_whether_sockets_survive_flight_mode() {
    let of = |modem: &str, conduct| {
        LinkConduct::of(&Config {
            modem_version: modem.to_string(),
            conduct,
            ..Config::default()
        })
    };
    let firmware = |keep_open| LinkConduct::Firmware { keep_open };
    assert_eq!(of("mfw_nrf9160_1.3.6", Conduct::Firmware), firmware(false));
    assert_eq!(of("mfw_nrf91x1_2.0.2", Conduct::Firmware), firmware(true));
    assert_eq!(of("mfw_nrf9160_1.3.6", Conduct::Careful), LinkConduct::Ours);
}

#[test]
fn requests_are_those_of_the_firmware() {
    let mut table = Table::new(LinkConduct::Firmware { keep_open: true });
    table.link.handle(
        LinkInput::Fetch {
            jwt: "a.b.c".to_string().into(),
            query: FetchQuery {
                after: String::new(),
                rx_bytes_max: 1024,
                tx_bytes_max: 2048,
                modem_version: Some("unused".to_string()),
                client_version: None,
                limit: Some(10),
            },
        },
        table.now,
    );
    assert_eq!(table.link.poll(), LinkOutput::Connect);
    assert_eq!(table.link.poll(), LinkOutput::Wait);
    let next = |table: &mut Table, input| {
        table.link.handle(input, table.now);
        match table.link.poll() {
            LinkOutput::Request(request) => request,
            other => panic!("{other:?}"),
        }
    };
    let answered = |code, payload: &[u8]| LinkInput::Answered {
        code,
        max_age_s: None,
        payload: payload.to_vec(),
    };
    let auth = next(&mut table, LinkInput::Connected { cid: true });
    let expected = CoapRequest {
        method: CoapMethod::Post,
        path: vec!["p", "auth-jwt"],
        query: vec![
            "mver=mfw_nrf91x1_2.0.2".to_string(),
            "cver=3.1.0".to_string(),
        ],
        content_format: Some(60),
        payload: b"a.b.c".to_vec().into(),
        confirmable: true,
        block2: false,
    };
    assert_eq!(auth, expected);
    assert!(!format!("{auth:?}").contains("a.b.c"), "{auth:?}");
    assert_eq!(
        next(&mut table, answered(CREATED, b"")),
        CoapRequest {
            method: CoapMethod::Get,
            path: vec!["p", "cmd"],
            query: ["after=", "rxMaxSize=1024", "txMaxSize=2048", "limit=10"]
                .map(String::from)
                .to_vec(),
            content_format: None,
            payload: Vec::new().into(),
            confirmable: true,
            block2: true,
        }
    );
    assert_eq!(
        next(&mut table, answered(CONTENT, b"\x81")),
        CoapRequest {
            method: CoapMethod::Post,
            path: vec![".dtls", "suspend"],
            query: Vec::new(),
            content_format: None,
            payload: Vec::new().into(),
            confirmable: false,
            block2: false,
        }
    );
    table.link.handle(answered(CHANGED, b""), table.now);
    assert!(matches!(table.link.poll(), LinkOutput::Answer(_)));
    let report = next(
        &mut table,
        LinkInput::Report {
            jwt: "a.b.c".to_string().into(),
            body: b"\x80".to_vec(),
        },
    );
    assert_eq!(
        report,
        CoapRequest {
            method: CoapMethod::Post,
            path: vec!["p", "rsp"],
            query: Vec::new(),
            content_format: Some(60),
            payload: b"\x80".to_vec().into(),
            confirmable: true,
            block2: false,
        }
    );
    assert_eq!(report.to_string(), "POST p/rsp");
}

/// spec/device-protocol §6.2, at each place where a code can come.
#[test]
fn every_code_has_its_result() {
    let cases = [
        (UNAUTHORIZED, "FAILED_DEVICE_NOT_CLAIMED"),
        (FORBIDDEN, "FAILED -EPERM"),
        (0x80, "FAILED -EINVAL"),
        (0x86, "FAILED -EINVAL"),
        (NOT_FOUND, "FAILED -ENOENT"),
        (BUSY, "FAILED -EBUSY"),
        (0xa3, "FAILED -EBUSY"),
        (0x85, "FAILED -ENOTSUP"),
        (0x8f, "FAILED -ENOTSUP"),
        (0xa2, "FAILED -ENOTSUP"),
        (CHANGED, "FAILED -ENOTSUP"),
        (0x40, "FAILED -ENOTSUP"),
        (0x00, "FAILED -ENOTSUP"),
        (0xff, "FAILED -ENOTSUP"),
    ];
    for (code, event) in cases {
        for path in ["auth-jwt", "cmd"] {
            for conduct in [LinkConduct::Ours, LinkConduct::Firmware { keep_open: true }] {
                let mut table = Table::new(conduct).answers(path, [Ok((code, None, Vec::new()))]);
                let seen = table.run();
                assert!(
                    seen.contains(&event.to_string()),
                    "{code:#x} on {path}, {conduct:?}: {seen:?}"
                );
            }
        }
    }
}

#[test]
fn nothing_queued_is_a_content_without_payload() {
    let mut table = Table::new(LinkConduct::Ours);
    assert!(table.run().contains(&"NO_COMMANDS".to_string()));
    let empty_array = Ok((CONTENT, None, b"\x80".to_vec()));
    let mut table = Table::new(LinkConduct::Ours).answers("cmd", [empty_array]);
    assert!(table.run().contains(&"FAILED -EINVAL".to_string()));
}

#[test]
fn a_connection_that_fails_says_why() {
    let cases = [
        (TransportError::Tls, "FAILED_WRONG_ROOT_CA"),
        (TransportError::Refused, "FAILED_WRONG_ROOT_CA"),
        (TransportError::Timeout, "FAILED -ETIMEDOUT"),
        (TransportError::Name, "FAILED -EHOSTUNREACH"),
    ];
    for (error, event) in cases {
        for conduct in [LinkConduct::Ours, LinkConduct::Firmware { keep_open: true }] {
            let mut table = Table::new(conduct);
            table.connects.push_back(Err(error));
            assert_eq!(
                table.run(),
                ["START", "sign jwt-1", "connect", event, "STOP"],
                "{conduct:?}"
            );
        }
    }
}

#[test]
fn a_refusal_says_when_to_come_back() {
    for path in ["auth-jwt", "cmd"] {
        let busy = Ok((BUSY, Some(30), Vec::new()));
        let mut table = Table::new(LinkConduct::Ours).answers(path, [busy]);
        table.run();
        assert_eq!(table.hints, [Duration::from_secs(30)], "{path}");
    }
    let granted = Ok((CREATED, Some(3600), Vec::new()));
    let mut table = Table::new(LinkConduct::Ours).answers("auth-jwt", [granted]);
    table.run();
    assert!(table.hints.is_empty(), "a grant's Max-Age is no hint");
}

#[test]
fn a_commands_answer_larger_than_the_buffer_is_too_many() {
    for conduct in [LinkConduct::Ours, LinkConduct::Firmware { keep_open: true }] {
        let mut table = Table::new(conduct).answers("cmd", [Err(TransportError::TooLarge)]);
        let seen = table.run();
        assert!(
            seen.contains(&"FAILED_TOO_MANY_COMMANDS".to_string()),
            "{seen:?}"
        );
        assert_eq!(count(&seen, "cmd after="), 1);
    }
}
