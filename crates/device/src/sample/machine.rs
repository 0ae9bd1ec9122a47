//! The sample and the exercise without hands: boot, trigger, sampler, network, transport, LED and error modules as one
//! machine. One [`Input`], then [`Sample::poll`] until [`Output::Wait`], which is always last.
//!
//! ```text
//!   Boot ─► Provision ─► Online ─► Network(up) ──5 s──► Connect ─► Connected ─► Subscribe
//!                                     ▲                    │ ▲         │  ▲ Publish ◄── trigger: each 60 s, a button
//!                                     │          failed: ──┘ └─60 s    │
//!                                     └──────────────── at once ◄── Disconnected
//! ```
//!
//! The firmware's flaws are behind [`Config::faithful`]: it takes a refusal for a connection, it reconnects at once
//! however often it is thrown out, it carries on when credentials could not be written, and says a message is published
//! before anybody has acknowledged it.

mod connection;
mod messages;

use std::collections::VecDeque;

use sectag_proto::Uptime;

use super::config::{Config, Edition, Names, Program};
use super::errno::ENOTCONN;
use super::events::{Ending, Input, Output, Step};
use super::helper::{Helper, HelperCall, HelperState};
use super::words::{self, Line};

/// Return code of SUBACK that says no.
const SUBACK_FAILURE: i32 = 0x80;

/// One device that runs the sample or the exercise.
#[derive(Debug)]
pub struct Sample {
    config: Config,
    helper: Helper,
    state: Transport,
    network: bool,
    names: Names,
    client_id: String,
    attempting: bool,
    attempts: u64,
    connect_at: Option<Uptime>,
    trigger_at: Option<Uptime>,
    connected_since: Uptime,
    published: u64,
    stopping: Option<Ending>,
    ended: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Disconnected,
    Connected,
}

impl Sample {
    /// A device without power.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            helper: Helper::new(),
            state: Transport::Disconnected,
            network: false,
            names: Names {
                hardware: Err(-ENOTCONN),
                certificate: None,
            },
            client_id: String::new(),
            attempting: false,
            attempts: 0,
            connect_at: None,
            trigger_at: None,
            connected_since: Uptime(0),
            published: 0,
            stopping: None,
            ended: false,
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do. Call it until it returns [`Output::Wait`].
    pub fn poll(&mut self) -> Output {
        let wake = match (self.connect_at, self.trigger_at) {
            (Some(connect), Some(trigger)) => Some(connect.min(trigger)),
            (connect, trigger) => connect.or(trigger),
        };
        let wake = if self.ended { None } else { wake };
        self.outputs.pop_front().unwrap_or(Output::Wait(wake))
    }

    /// State of the `mqtt_helper` library.
    pub const fn helper(&self) -> Helper {
        self.helper
    }

    /// Messages that were acknowledged.
    pub const fn published(&self) -> u64 {
        self.published
    }

    /// Takes what happened. Nothing happens after the end.
    pub fn handle(&mut self, input: Input, now: Uptime) {
        if self.ended {
            return;
        }
        match input {
            Input::Boot => self.boot(now),
            Input::HardwareId(id) => self.names.hardware = id,
            Input::CommonName(name) => self.names.certificate = name,
            Input::Provisioning(step) => self.step(step),
            Input::Provisioned(outcome) => self.provisioned(outcome),
            Input::Network(up) => self.network(up, now),
            Input::Pressed(button) => self.pressed(button, now),
            Input::Connected => self.connected(now),
            Input::Refused { code } => self.refused(code, now),
            Input::ConnectFailed { errno } => self.connect_failed(errno, now),
            Input::Subscribed { code } => self.subscribed(code),
            Input::SubscribeFailed { errno } => {
                self.log(words::not_subscribed(self.module(), errno));
            }
            Input::Published { message, outcome } => self.published_was(&message, outcome),
            Input::Received { topic, payload } => self.received(&topic, &payload),
            Input::Disconnected { errno } => self.disconnected(errno, now),
            Input::Fatal => self.fatal(),
            Input::Stop => self.stop(Ending::Stopped),
            Input::Tick => self.tick(now),
        }
    }

    fn boot(&mut self, now: Uptime) {
        match self.config.program {
            Program::Sample => self.info(
                "network",
                "Bringing network interface up and connecting to the network",
            ),
            Program::Academy(_) => self.info(self.module(), "Initializing modem library"),
        }
        if self.helper.permits(HelperCall::Init).is_ok() {
            self.become_state(HelperState::Disconnected);
        }
        if self.config.interval.is_some() {
            // The firmware's trigger thread begins with a trigger; it is dropped, since nothing is connected.
            self.trigger(now);
        }
        self.outputs.push_back(Output::Provision);
    }

    fn step(&mut self, step: Step) {
        let Program::Academy(edition) = self.config.program else {
            return;
        };
        let module = self.module();
        match step {
            Step::Compared { same } => {
                let (old, new) = if same {
                    ("match", "Match")
                } else {
                    ("mismatch", "Mismatch")
                };
                match edition {
                    Edition::V2_2 => self.info(module, old),
                    Edition::Current => {
                        self.info(module, format!("Comparing credentials: {new}"));
                    }
                }
            }
            Step::Writing if edition == Edition::V2_2 => {
                self.info(module, "Provisioning certificates");
            }
            Step::Writing => {}
            Step::CheckFailed { errno } => self.log(words::error(
                module,
                format!("Failed to check for certificates err {errno}"),
            )),
            Step::WriteFailed { errno } => self.log(words::error(
                module,
                format!("Failed to provision CA certificate: {errno}"),
            )),
        }
    }

    fn provisioned(&mut self, outcome: Result<(), i32>) {
        match (self.config.program, outcome) {
            (Program::Academy(_), Err(_)) => {
                self.log(words::error(
                    self.module(),
                    "Failed to provision certificates",
                ));
                return self.end(Ending::NotProvisioned);
            }
            (Program::Sample, Err(_)) if !self.config.faithful => {
                return self.end(Ending::NotProvisioned);
            }
            (Program::Academy(_), Ok(())) => self.info(self.module(), "Connecting to LTE network"),
            (Program::Sample, _) => {}
        }
        self.outputs.push_back(Output::Online);
    }

    fn network(&mut self, up: bool, now: Uptime) {
        if self.network == up {
            return;
        }
        self.network = up;
        let first = self.attempts == 0;
        match self.config.program {
            Program::Sample => {
                let text = if up {
                    "Network connectivity established"
                } else {
                    "Network connectivity lost"
                };
                self.info("network", text);
                self.led(1, up);
            }
            Program::Academy(edition) => {
                self.led(2, up);
                if up && first {
                    self.info(self.module(), "Connected to LTE network");
                    if edition == Edition::V2_2 && self.config.tls {
                        self.info(self.module(), "TLS enabled");
                    }
                }
                if self.config.faithful && !(up && first) {
                    return;
                }
            }
        }
        match (self.state, up) {
            (Transport::Disconnected, true) if !self.attempting => {
                self.connect_at = Some(now.plus(self.config.connect_delay));
            }
            (Transport::Disconnected, false) => {
                self.connect_at = None;
                if std::mem::take(&mut self.attempting) {
                    // It would come up with what was true before.
                    self.become_state(HelperState::Disconnected);
                    self.outputs.push_back(Output::Abandon);
                }
            }
            (Transport::Connected, false) => self.disconnect(),
            _ => {}
        }
    }

    fn pressed(&mut self, button: u8, now: Uptime) {
        match self.config.program {
            Program::Sample => self.sample(now),
            Program::Academy(_) if button == 1 => {
                let payload = self.config.button_message.clone();
                self.publish(payload);
            }
            Program::Academy(_) => {}
        }
    }

    fn tick(&mut self, now: Uptime) {
        if self.connect_at.is_some_and(|at| at <= now) {
            self.connect_at = None;
            self.connect();
        }
        if self.trigger_at.is_some_and(|at| at <= now) {
            self.trigger(now);
        }
    }

    fn trigger(&mut self, now: Uptime) {
        self.trigger_at = self.config.interval.map(|interval| now.plus(interval));
        self.sample(now);
    }

    /// The sampler's text, to whoever wants it: dropped while disconnected.
    fn sample(&mut self, now: Uptime) {
        let text = format!("Hello MQTT! Current uptime is: {}", now.0);
        if text.len() > self.config.payload_bytes_max {
            self.log(words::error(
                "sampler",
                format!("Failed to construct message, error: {}", text.len()),
            ));
            return self.fatal();
        }
        if self.state == Transport::Connected {
            self.publish(text);
        }
    }

    fn stop(&mut self, ending: Ending) {
        if self.state == Transport::Connected && self.stopping.is_none() {
            self.stopping = Some(ending);
            if self.helper.state() != HelperState::Disconnecting {
                self.disconnect();
            }
        } else {
            self.end(self.stopping.unwrap_or(ending));
        }
    }

    fn fatal(&mut self) {
        if self.config.reboot_on_fatal {
            self.log(words::error("error", "FATAL error, rebooting"));
            self.ended = true;
            self.outputs.push_back(Output::Reboot);
        } else {
            self.end(Ending::Fatal);
        }
    }

    fn end(&mut self, ending: Ending) {
        self.ended = true;
        self.outputs.push_back(Output::End(ending));
    }

    /// Whether the library takes the call; its complaint is logged.
    fn may(&mut self, call: HelperCall) -> bool {
        match self.helper.permits(call) {
            Ok(()) => true,
            Err(wrong) => {
                self.log(words::error("mqtt_helper", wrong.to_string()));
                false
            }
        }
    }

    fn become_state(&mut self, state: HelperState) {
        if let Err(illegal) = self.helper.become_state(state) {
            self.log(words::error("mqtt_helper", illegal.to_string()));
        }
    }

    fn led(&mut self, number: u8, on: bool) {
        self.outputs.push_back(Output::Led { number, on });
    }

    fn info(&mut self, module: &'static str, text: impl Into<String>) {
        self.log(words::info(module, text));
    }

    fn log(&mut self, line: Line) {
        self.outputs.push_back(Output::Log(line));
    }

    /// Who speaks about connections.
    const fn module(&self) -> &'static str {
        match self.config.program {
            Program::Sample => "transport",
            Program::Academy(_) => "Lesson4_Exercise2",
        }
    }
}
