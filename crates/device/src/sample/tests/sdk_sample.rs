//! The SDK's sample, line by line.

use super::*;

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
