//! The machine alone, on a clock that jumps.
#![allow(clippy::unwrap_used)]

mod any_order;
mod exercise;
mod sdk_sample;

use std::time::Duration;

use sectag_mqtt::Qos;
use sectag_proto::Uptime;

use super::*;

const IMEI: &str = "352656100367872";

/// A sample and the time on its desk.
struct Desk {
    sample: Sample,
    now: Uptime,
}

impl Desk {
    fn new(config: Config) -> Self {
        let sample = Sample::new(config);
        let now = Uptime(0);
        let mut desk = Self { sample, now };
        let id = desk.says(Input::HardwareId(Ok(IMEI.to_owned())));
        assert_eq!(id, [] as [&str; 0]);
        desk
    }

    /// Gives one input and collects what comes of it, in words.
    fn says(&mut self, input: Input) -> Vec<String> {
        self.sample.handle(input, self.now);
        let mut words = Vec::new();
        loop {
            words.push(match self.sample.poll() {
                Output::Wait(_) => return words,
                Output::Log(line) => line.text,
                Output::Provision => "→ provision".to_owned(),
                Output::Online => "→ online".to_owned(),
                Output::Connect { client_id } => format!("→ connect {client_id}"),
                Output::Subscribe {
                    topic,
                    qos,
                    message_id,
                } => format!("→ subscribe {topic} {qos:?} {message_id}"),
                Output::Publish(message) => {
                    format!("→ publish {} {}", message.topic, message.payload)
                }
                Output::Abandon => "→ abandon".to_owned(),
                Output::Disconnect => "→ disconnect".to_owned(),
                Output::Led { number, on } => format!("→ led {number} {on}"),
                Output::Reboot => "→ reboot".to_owned(),
                Output::End(ending) => format!("→ end {ending:?}"),
            });
        }
    }

    /// Waits as long as the machine wants; how long that was.
    fn wait(&mut self) -> (u64, Vec<String>) {
        let Output::Wait(Some(until)) = self.sample.poll() else {
            panic!("nothing to wait for");
        };
        let ms = until.since(self.now).as_millis();
        self.now = until.max(self.now);
        (u64::try_from(ms).unwrap(), self.says(Input::Tick))
    }

    fn rests(&mut self) -> bool {
        self.sample.poll() == Output::Wait(None)
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// Powered, provisioned and on the network.
    fn online(config: Config) -> Self {
        let mut desk = Self::new(config);
        desk.says(Input::Boot);
        desk.says(Input::Provisioned(Ok(())));
        desk.says(Input::Network(true));
        desk
    }

    /// Connected and subscribed.
    fn connected(config: Config) -> Self {
        let mut desk = Self::online(config);
        desk.wait();
        desk.says(Input::Connected);
        desk.says(Input::Subscribed { code: 0 });
        desk
    }

    fn message(&self, payload: &str) -> Message {
        Message {
            topic: self.sample_topic(),
            payload: payload.to_owned(),
        }
    }

    fn sample_topic(&self) -> String {
        format!("{IMEI}/my/publish/topic")
    }
}

fn sample() -> Config {
    Config::sample("test.mosquitto.org", 8883, true)
}

fn quiet() -> Config {
    Config {
        interval: None,
        ..sample()
    }
}

fn academy(edition: Edition) -> Config {
    Config::academy(edition, "mqtt.nordicsemi.academy", 8883, true)
}

fn faithful(config: Config) -> Config {
    config.to_the_letter()
}

#[test]
fn a_subscription_uses_the_quality_of_its_program() {
    for (config, qos) in [
        (quiet(), Qos::AtMostOnce),
        (academy(Edition::Current), Qos::AtLeastOnce),
    ] {
        let mut desk = Desk::online(config);
        desk.wait();
        let words = desk.says(Input::Connected);
        assert!(words.last().unwrap().contains(&format!("{qos:?}")));
    }
}

#[test]
fn the_name_in_the_certificate_is_the_client_id_and_the_firmware_does_not_look_at_it() {
    let name = || Input::CommonName(Some("dev-17".to_owned()));
    for (config, connect) in [
        (quiet(), "→ connect dev-17".to_owned()),
        (faithful(quiet()), format!("→ connect {IMEI}")),
        (academy(Edition::Current), format!("→ connect nrf-{IMEI}")),
    ] {
        let mut desk = Desk::new(config);
        desk.says(Input::Boot);
        desk.says(Input::Provisioned(Ok(())));
        desk.says(name());
        desk.says(Input::Network(true));
        assert_eq!(desk.wait().1, [connect]);
    }
}
