//! The Academy's exercise, in both editions.

use super::*;

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
