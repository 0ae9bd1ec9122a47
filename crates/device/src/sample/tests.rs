//! The machine alone, on a clock that jumps.
#![allow(clippy::unwrap_used)]

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
fn the_sample_prints_the_documented_lines_in_their_order() {
    let mut desk = Desk::new(sample());
    assert_eq!(
        desk.says(Input::Boot),
        [
            "Bringing network interface up and connecting to the network",
            "→ provision"
        ]
    );
    assert_eq!(desk.says(Input::Provisioned(Ok(()))), ["→ online"]);
    assert_eq!(
        desk.says(Input::Network(true)),
        ["Network connectivity established", "→ led 1 true"]
    );
    assert_eq!(desk.wait(), (5000, vec![format!("→ connect {IMEI}")]));
    assert_eq!(
        desk.says(Input::Connected),
        [
            "Connected to MQTT broker",
            "Hostname: test.mosquitto.org",
            &format!("Client ID: {IMEI}"),
            "Port: 8883",
            "TLS: Yes",
            &format!("Subscribing to: {IMEI}/my/subscribe/topic"),
            &format!("→ subscribe {IMEI}/my/subscribe/topic AtMostOnce 2469"),
        ]
    );
    assert_eq!(
        desk.says(Input::Subscribed { code: 0 }),
        [format!("Subscribed to topic {IMEI}/my/subscribe/topic")]
    );
    desk.passes(Duration::from_millis(327));
    let text = "Hello MQTT! Current uptime is: 5327";
    assert_eq!(
        desk.says(Input::Pressed(1)),
        [format!("→ publish {IMEI}/my/publish/topic {text}")]
    );
    let message = desk.message(text);
    assert_eq!(
        desk.says(Input::Published {
            message,
            outcome: Ok(())
        }),
        [format!(
            "Published message: \"{text}\" on topic: \"{IMEI}/my/publish/topic\""
        )]
    );
    assert_eq!(
        desk.says(Input::Received {
            topic: format!("{IMEI}/my/subscribe/topic"),
            payload: b"hi".to_vec()
        }),
        [format!(
            "Received payload: hi on topic: {IMEI}/my/subscribe/topic"
        )]
    );
    assert_eq!(
        desk.says(Input::Network(false)),
        ["Network connectivity lost", "→ led 1 false", "→ disconnect"]
    );
    assert_eq!(
        desk.says(Input::Disconnected { errno: 0 }),
        ["Disconnected from MQTT broker"]
    );
}

#[test]
fn a_trigger_comes_every_minute_and_what_comes_while_disconnected_is_dropped() {
    let mut desk = Desk::new(sample());
    let boot = desk.says(Input::Boot);
    assert!(!boot.iter().any(|word| word.starts_with("→ publish")));
    assert_eq!(desk.wait(), (60_000, vec![]));
    assert_eq!(desk.says(Input::Pressed(2)), [] as [&str; 0]);
    desk.says(Input::Provisioned(Ok(())));
    desk.says(Input::Network(true));
    desk.wait();
    desk.says(Input::Connected);
    let (waited, words) = desk.wait();
    assert_eq!(waited, 55_000);
    assert_eq!(
        words,
        [format!(
            "→ publish {IMEI}/my/publish/topic Hello MQTT! Current uptime is: 120000"
        )]
    );
    assert_eq!(desk.wait().0, 60_000);
}

#[test]
fn failed_attempts_repeat_every_minute_until_the_network_is_gone() {
    let mut desk = Desk::online(quiet());
    desk.wait();
    for _ in 0..3 {
        assert_eq!(
            desk.says(Input::ConnectFailed { errno: -111 }),
            ["Failed connecting to MQTT, error code: -111"]
        );
        assert_eq!(desk.wait(), (60_000, vec![format!("→ connect {IMEI}")]));
    }
    desk.says(Input::ConnectFailed { errno: -111 });
    desk.says(Input::Network(false));
    assert!(desk.rests(), "the connect timer is cancelled");
    desk.says(Input::Network(true));
    assert_eq!(desk.wait().0, 5000);
}

#[test]
fn a_network_lost_during_an_attempt_ends_the_attempt() {
    let mut desk = Desk::online(quiet());
    desk.wait();
    assert_eq!(
        desk.says(Input::Network(false)),
        ["Network connectivity lost", "→ led 1 false", "→ abandon"]
    );
    assert!(desk.rests());
    desk.says(Input::Network(true));
    assert_eq!(desk.wait(), (5000, vec![format!("→ connect {IMEI}")]));
}

#[test]
fn after_a_loss_with_network_it_connects_at_once() {
    let mut desk = Desk::connected(quiet());
    desk.passes(Duration::from_secs(30));
    assert_eq!(
        desk.says(Input::Disconnected { errno: -104 }),
        ["Disconnected from MQTT broker"]
    );
    assert_eq!(desk.wait(), (0, vec![format!("→ connect {IMEI}")]));
}

#[test]
fn whoever_is_thrown_out_at_once_does_not_hammer_the_broker() {
    let mut desk = Desk::connected(quiet());
    desk.says(Input::Disconnected { errno: -104 });
    assert_eq!(desk.wait().0, 60_000);
    let mut desk = Desk::connected(faithful(quiet()));
    desk.says(Input::Disconnected { errno: -104 });
    assert_eq!(desk.wait().0, 0, "the firmware does");
}

#[test]
fn a_refusal_is_a_failed_attempt_and_the_firmware_takes_it_for_a_connection() {
    let mut desk = Desk::online(quiet());
    desk.wait();
    assert_eq!(
        desk.says(Input::Refused { code: 5 }),
        ["Failed connecting to MQTT, error code: -111"]
    );
    assert_eq!(desk.wait().0, 60_000);

    let mut desk = Desk::online(faithful(quiet()));
    desk.wait();
    let words = desk.says(Input::Refused { code: 5 });
    assert_eq!(words[0], "Connected to MQTT broker");
    assert_eq!(
        words[5..],
        [
            format!("Subscribing to: {IMEI}/my/subscribe/topic"),
            "Library is in the wrong state (MQTT_STATE_DISCONNECTED), MQTT_STATE_CONNECTED required"
                .to_owned(),
            "Failed to subscribe to topics, error: -95".to_owned(),
            "Disconnected from MQTT broker".to_owned(),
        ]
    );
}

#[test]
fn failures_have_the_documented_words() {
    let mut desk = Desk::connected(faithful(quiet()));
    let message = desk.message("x");
    assert_eq!(
        desk.says(Input::Published {
            message,
            outcome: Err(-128)
        }),
        ["Failed to send payload, err: -128"]
    );
    assert_eq!(
        desk.says(Input::Subscribed { code: 0x80 }),
        ["Topic subscription failed, error: 128"]
    );
    assert_eq!(
        desk.says(Input::SubscribeFailed { errno: -116 }),
        ["Failed to subscribe to topics, error: -116"]
    );
    assert_eq!(
        desk.says(Input::Received {
            topic: "t".to_owned(),
            payload: vec![b'x'; 2049]
        }),
        ["Incoming MQTT message too large for payload buffer"]
    );
}

#[test]
fn what_the_sample_cannot_live_with_is_fatal() {
    let mut long = faithful(quiet());
    long.client_id = Some("x".repeat(50));
    let mut none = Desk::online(quiet());
    none.says(Input::HardwareId(Err(-5)));
    for (mut desk, errno) in [(Desk::online(long), -122), (none, -5)] {
        assert_eq!(
            desk.wait().1,
            [
                format!("client_id_get, error: {errno}"),
                "FATAL error, rebooting".to_owned(),
                "→ reboot".to_owned()
            ]
        );
        assert!(desk.rests());
    }
    let mut silent = quiet();
    silent.reboot_on_fatal = false;
    assert_eq!(Desk::online(silent).says(Input::Fatal), ["→ end Fatal"]);
    let mut tight = quiet();
    tight.payload_bytes_max = 10;
    let mut desk = Desk::connected(tight);
    assert_eq!(desk.says(Input::Pressed(1)).last().unwrap(), "→ reboot");
}

#[test]
fn a_client_id_of_49_characters_fits_and_prefixes_the_topics() {
    let id = "x".repeat(49);
    let mut config = faithful(quiet());
    config.client_id = Some(id.clone());
    let mut desk = Desk::online(config);
    assert_eq!(desk.wait().1, [format!("→ connect {id}")]);
    let words = desk.says(Input::Connected);
    assert!(words.contains(&format!("Subscribing to: {id}/my/subscribe/topic")));
}

#[test]
fn credentials_that_could_not_be_written_stop_it_and_the_firmware_goes_on() {
    let mut desk = Desk::new(quiet());
    desk.says(Input::Boot);
    assert_eq!(
        desk.says(Input::Provisioned(Err(-1))),
        ["→ end NotProvisioned"]
    );
    let mut desk = Desk::new(faithful(quiet()));
    desk.says(Input::Boot);
    assert_eq!(desk.says(Input::Provisioned(Err(-1))), ["→ online"]);
}

#[test]
fn it_ends_after_as_many_messages_as_asked_for() {
    let mut config = quiet();
    config.count = Some(2);
    let mut desk = Desk::connected(config);
    for round in 1..=2 {
        desk.says(Input::Pressed(1));
        let message = desk.message("x");
        let words = desk.says(Input::Published {
            message,
            outcome: Ok(()),
        });
        assert_eq!(words.len(), round, "{words:?}");
    }
    assert_eq!(
        desk.says(Input::Disconnected { errno: 0 }),
        ["Disconnected from MQTT broker", "→ end Counted"]
    );
    assert!(desk.rests());
}

#[test]
fn the_user_can_stop_it_anywhere() {
    let mut desk = Desk::online(quiet());
    assert_eq!(desk.says(Input::Stop), ["→ end Stopped"]);
    let mut desk = Desk::connected(quiet());
    assert_eq!(desk.says(Input::Stop), ["→ disconnect"]);
    assert_eq!(desk.says(Input::Stop), ["→ end Stopped"], "twice: at once");
    let mut desk = Desk::connected(quiet());
    desk.says(Input::Network(false));
    assert_eq!(desk.says(Input::Stop), [] as [&str; 0]);
    assert_eq!(
        desk.says(Input::Disconnected { errno: 0 }),
        ["Disconnected from MQTT broker", "→ end Stopped"]
    );
}

#[test]
fn the_exercise_of_today_prints_its_lines() {
    let mut desk = Desk::new(academy(Edition::Current));
    assert_eq!(
        desk.says(Input::Boot),
        ["Initializing modem library", "→ provision"]
    );
    assert_eq!(
        desk.says(Input::Provisioning(Step::Compared { same: false })),
        ["Comparing credentials: Mismatch"]
    );
    assert_eq!(
        desk.says(Input::Provisioning(Step::Compared { same: true })),
        ["Comparing credentials: Match"]
    );
    assert_eq!(
        desk.says(Input::Provisioned(Ok(()))),
        ["Connecting to LTE network", "→ online"]
    );
    assert_eq!(
        desk.says(Input::Network(true)),
        ["→ led 2 true", "Connected to LTE network"]
    );
    assert_eq!(desk.wait(), (0, vec![format!("→ connect nrf-{IMEI}")]));
    assert_eq!(
        desk.says(Input::Connected),
        [
            "Connected to MQTT broker",
            "Hostname: mqtt.nordicsemi.academy",
            &format!("Client ID: nrf-{IMEI}"),
            "Port: 8883",
            "TLS: Yes",
            "Subscribing to devacademy/subscribe/topic",
            "→ subscribe devacademy/subscribe/topic AtLeastOnce 1234",
        ]
    );
    assert_eq!(
        desk.says(Input::Subscribed { code: 1 }),
        ["Subscribed to devacademy/subscribe/topic with QoS 1"]
    );
    assert_eq!(
        desk.says(Input::Pressed(1)),
        ["→ publish devacademy/publish/topic Hi from nRF9151 SiP"]
    );
    assert_eq!(desk.says(Input::Pressed(2)), [] as [&str; 0]);
    assert!(desk.rests(), "nothing is published without the button");
}

#[test]
fn payloads_switch_the_lights_of_the_exercise() {
    for edition in [Edition::Current, Edition::V2_2] {
        let mut desk = Desk::connected(academy(edition));
        for (payload, led) in [
            ("LED1ON", "→ led 1 true"),
            ("LED1OFF please", "→ led 1 false"),
            ("LED2ON", "→ led 2 true"),
            ("LED2OFF", "→ led 2 false"),
        ] {
            let topic = "devacademy/subscribe/topic".to_owned();
            let said = format!("Received payload: {payload} on topic: {topic}");
            let payload = payload.as_bytes().to_vec();
            assert_eq!(
                desk.says(Input::Received { topic, payload }),
                [said, led.to_owned()]
            );
        }
    }
}

#[test]
fn the_older_exercise_has_its_own_words() {
    let mut desk = Desk::new(academy(Edition::V2_2));
    desk.says(Input::Boot);
    for (step, word) in [
        (Step::Compared { same: true }, "match"),
        (Step::Compared { same: false }, "mismatch"),
        (Step::Writing, "Provisioning certificates"),
        (
            Step::CheckFailed { errno: -2 },
            "Failed to check for certificates err -2",
        ),
        (
            Step::WriteFailed { errno: -1 },
            "Failed to provision CA certificate: -1",
        ),
    ] {
        assert_eq!(desk.says(Input::Provisioning(step)), [word]);
    }
    desk.says(Input::Provisioned(Ok(())));
    assert!(
        desk.says(Input::Network(true))
            .contains(&"TLS enabled".to_owned())
    );
    desk.wait();
    let words = desk.says(Input::Connected);
    assert_eq!(
        words[..2],
        ["MQTT client connected", "Connected to MQTT broker"]
    );
    assert_eq!(
        desk.says(Input::Pressed(1)),
        ["→ publish devacademy/publish/topic Hi from nRF91 Series device"]
    );
    desk.passes(Duration::from_secs(10));
    assert_eq!(
        desk.says(Input::Disconnected { errno: -104 }),
        [
            "MQTT client disconnected: -104",
            "Reconnecting in 60 seconds..."
        ]
    );
    assert_eq!(desk.wait().0, 60_000);
    assert_eq!(
        desk.says(Input::ConnectFailed { errno: -111 }),
        [
            "Error in mqtt_connect: -111",
            "Reconnecting in 60 seconds..."
        ]
    );
}

#[test]
fn to_the_letter_the_older_exercise_says_less_about_the_broker() {
    let mut desk = Desk::online(faithful(academy(Edition::V2_2)));
    desk.wait();
    assert_eq!(
        desk.says(Input::Connected)[..2],
        [
            "MQTT client connected",
            "Subscribing to: devacademy/subscribe/topic len 26"
        ]
    );
    assert_eq!(
        desk.says(Input::Subscribed { code: 1 }),
        ["SUBACK packet id: 1234"]
    );
    assert_eq!(
        desk.says(Input::Pressed(1))[..2],
        [
            "Publishing: Hi from nRF91 Series device",
            "to topic: devacademy/publish/topic len: 24"
        ]
    );
}

#[test]
fn the_exercise_that_could_not_write_its_certificate_stops() {
    for edition in [Edition::Current, Edition::V2_2] {
        for config in [academy(edition), faithful(academy(edition))] {
            let mut desk = Desk::new(config);
            desk.says(Input::Boot);
            assert_eq!(
                desk.says(Input::Provisioned(Err(-1))),
                ["Failed to provision certificates", "→ end NotProvisioned"]
            );
        }
    }
}

#[test]
fn the_exercise_of_today_gives_up_after_one_connection_and_ours_does_not() {
    let lost = Input::Disconnected { errno: -104 };
    let mut desk = Desk::connected(faithful(academy(Edition::Current)));
    assert_eq!(desk.says(lost.clone()), ["MQTT client disconnected: -104"]);
    assert!(desk.rests());
    let mut desk = Desk::connected(academy(Edition::Current));
    desk.passes(Duration::from_secs(10));
    desk.says(lost);
    assert_eq!(desk.wait(), (0, vec![format!("→ connect nrf-{IMEI}")]));
    assert_eq!(
        desk.says(Input::Refused { code: 5 }),
        ["Connection to broker not established, return_code: 5"]
    );
    assert_eq!(desk.wait().0, 60_000);
}

#[test]
fn a_button_without_a_connection_says_so_in_the_exercise() {
    let mut desk = Desk::online(academy(Edition::Current));
    assert_eq!(
        desk.says(Input::Pressed(1)),
        [
            "Library is in the wrong state (MQTT_STATE_DISCONNECTED), MQTT_STATE_CONNECTED required",
            "Failed to send payload, err: -95",
            "Failed to send message, -95"
        ]
    );
}

#[test]
fn the_firmware_says_published_before_anybody_has_acknowledged() {
    let mut desk = Desk::connected(faithful(quiet()));
    let words = desk.says(Input::Pressed(1));
    assert!(words[0].starts_with("Published message: "), "{words:?}");
    assert!(words[1].starts_with("→ publish "), "{words:?}");
    let message = desk.message("x");
    assert_eq!(
        desk.says(Input::Published {
            message,
            outcome: Ok(())
        }),
        [] as [&str; 0]
    );
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

#[test]
fn topics_of_the_exercise_can_be_put_below_the_certificates_name() {
    let mut config = academy(Edition::Current);
    config.below_name = true;
    let mut desk = Desk::new(config);
    desk.says(Input::CommonName(Some("dev-17".to_owned())));
    desk.says(Input::Boot);
    desk.says(Input::Network(true));
    desk.wait();
    assert!(
        desk.says(Input::Connected)
            .contains(&"Subscribing to dev-17/devacademy/subscribe/topic".to_owned())
    );
}

#[test]
fn whoever_does_not_acknowledge_is_given_up() {
    let mut desk = Desk::connected(quiet());
    desk.says(Input::Pressed(1));
    let message = desk.message("x");
    assert_eq!(
        desk.says(Input::Published {
            message,
            outcome: Err(-errno::ETIMEDOUT)
        }),
        ["Failed to send payload, err: -116", "→ disconnect"]
    );
}

mod any_order {
    use proptest::prelude::*;

    use super::*;

    /// Inputs in any order, also such as no driver would give.
    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Boot),
            Just(Input::Provisioned(Ok(()))),
            Just(Input::Network(true)),
            Just(Input::Network(false)),
            (1..4_u8).prop_map(Input::Pressed),
            Just(Input::Tick),
            Just(Input::Connected),
            Just(Input::Refused { code: 5 }),
            Just(Input::ConnectFailed { errno: -111 }),
            Just(Input::Subscribed { code: 0 }),
            Just(Input::Disconnected { errno: -104 }),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|payload| Input::Received {
                topic: "t".to_owned(),
                payload
            }),
        ]
    }

    fn config() -> impl Strategy<Value = Config> {
        let all = [sample(), academy(Edition::V2_2), academy(Edition::Current)];
        (0..all.len(), any::<bool>()).prop_map(move |(which, to_the_letter)| {
            let config = all[which].clone();
            if to_the_letter {
                config.to_the_letter()
            } else {
                config
            }
        })
    }

    proptest! {
        /// What a driver does: answers follow questions. One question of a kind is open at a time, the library goes no
        /// illegal way, and nothing comes after the end.
        #[test]
        fn the_machine_asks_for_one_connection_at_a_time(
            config in config(),
            inputs in proptest::collection::vec((input(), 0..70_000_u64), 0..60),
        ) {
            let mut machine = Sample::new(config);
            let mut now = Uptime(0);
            let (mut connecting, mut connected, mut ended) = (false, false, false);
            for (input, passes) in std::iter::once((Input::Boot, 0)).chain(inputs) {
                // An answer that nobody asked for is no answer.
                let possible = match input {
                    Input::Connected | Input::Refused { .. } | Input::ConnectFailed { .. } => connecting,
                    Input::Subscribed { .. } | Input::Disconnected { .. } | Input::Received { .. } => connected,
                    Input::Boot => now == Uptime(0),
                    _ => true,
                };
                if !possible {
                    continue;
                }
                match input {
                    Input::Connected => (connecting, connected) = (false, true),
                    Input::Refused { .. } | Input::ConnectFailed { .. } => connecting = false,
                    Input::Disconnected { .. } => connected = false,
                    _ => {}
                }
                now = now.plus(Duration::from_millis(passes + 1));
                machine.handle(input, now);
                loop {
                    let output = machine.poll();
                    prop_assert!(!ended || matches!(output, Output::Wait(None)), "{output:?} after the end");
                    match output {
                        Output::Wait(_) => break,
                        Output::Log(line) => {
                            prop_assert!(!line.text.contains("Invalid state"), "{}", line);
                            prop_assert!(!line.text.contains('\n'), "{:?}", line);
                        }
                        Output::Connect { .. } => {
                            prop_assert!(!connecting && !connected);
                            connecting = true;
                        }
                        Output::Abandon => {
                            prop_assert!(connecting);
                            connecting = false;
                        }
                        Output::Publish(_) | Output::Subscribe { .. } | Output::Disconnect => {
                            prop_assert!(connected);
                        }
                        Output::End(_) | Output::Reboot => ended = true,
                        Output::Provision | Output::Online | Output::Led { .. } => {}
                    }
                }
            }
        }
    }
}
