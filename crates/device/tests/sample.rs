//! The sample on a virtual modem against our own broker: exact lines, credentials written once, networks that come and go,
//! certificates that change under way.
#![allow(clippy::unwrap_used)]

mod desk;

use std::sync::Arc;
use std::time::Duration;

use desk::{Desk, IMEI_LINE, TAG, papers};
use sectag_device::hosted::HostedModem;
use sectag_device::sample::{self, Board, Config, Edition, Ending, Folder, Happening};
use sectag_modem::{LineError, Modem};
use sectag_proto::SecTag;

fn tag() -> SecTag {
    SecTag::new(TAG).unwrap()
}

#[tokio::test]
async fn the_sample_provisions_connects_and_prints_the_documented_lines() {
    let desk = Desk::new().await;
    desk.write_all(&papers(&desk.house, "dev-17"));
    let mut options = desk.sample();
    options.config.interval = Some(Duration::from_millis(200));
    options.config.count = Some(2);
    let (ending, heard) = desk.run(&options).await;
    assert_eq!(ending, Ending::Counted);
    let port = desk.house.port();
    let lines = heard.lines();
    assert_eq!(
        lines[..9],
        [
            "Bringing network interface up and connecting to the network",
            "Network connectivity established",
            "Connected to MQTT broker",
            "Hostname: localhost",
            "Client ID: dev-17",
            &format!("Port: {port}"),
            "TLS: Yes",
            "Subscribing to: dev-17/my/subscribe/topic",
            "Subscribed to topic dev-17/my/subscribe/topic",
        ]
    );
    for line in &lines[9..11] {
        let uptime = line
            .strip_prefix("Published message: \"Hello MQTT! Current uptime is: ")
            .and_then(|rest| rest.strip_suffix("\" on topic: \"dev-17/my/publish/topic\""))
            .unwrap_or_else(|| panic!("{line}"));
        assert!(uptime.parse::<u64>().is_ok(), "{line}");
    }
    assert_eq!(lines[11..], ["Disconnected from MQTT broker"]);
    let traffic = heard.sessions[0].traffic;
    assert!(
        traffic.handshake_sent > 0 && traffic.payload_sent > 60,
        "{traffic:?}"
    );
    assert_eq!(heard.written(), ["New", "New", "New"]);
    desk.house.down().await;
}

#[tokio::test]
async fn a_hundred_boots_are_one_write_and_the_firmware_writes_each_time() {
    let desk = Desk::new().await;
    desk.write_all(&papers(&desk.house, "dev-17"));
    let writes = || desk.modem.shared().lock().flash_writes();
    desk.boot(&desk.sample()).await;
    let first = writes();
    assert_eq!(first, 3, "one for each file");
    for _ in 0..100 {
        desk.boot(&desk.sample()).await;
    }
    assert_eq!(writes(), first);
    let mut faithful = desk.sample();
    faithful.config = faithful.config.to_the_letter();
    desk.boot(&faithful).await;
    assert_eq!(writes(), first + 3);
    desk.house.down().await;
}

#[tokio::test]
async fn the_exercise_compares_before_it_writes() {
    let desk = Desk::new().await;
    desk.write_all(&papers(&desk.house, "dev-17"));
    let other = desk.house.another_root();
    for (edition, words) in [
        (
            Edition::V2_2,
            [
                vec!["Provisioning certificates"],
                vec!["match"],
                vec!["mismatch", "Provisioning certificates"],
            ],
        ),
        (
            Edition::Current,
            [
                vec![],
                vec!["Comparing credentials: Match"],
                vec!["Comparing credentials: Mismatch"],
            ],
        ),
    ] {
        desk.forget();
        let mut options = desk.sample();
        options.config = desk.config(Config::academy(edition, "localhost", 1, true));
        let boot = async |expected: &Vec<&str>| {
            let heard = desk.boot(&options).await;
            let begun = heard.lines();
            let end = begun
                .iter()
                .position(|line| line == "Connecting to LTE network")
                .unwrap();
            assert_eq!(begun[0], "Initializing modem library");
            assert_eq!(&begun[1..end], expected);
        };
        boot(&words[0]).await;
        boot(&words[1]).await;
        // Another CA has got under the tag.
        desk.write_tag(0, &other);
        boot(&words[2]).await;
    }
    desk.house.down().await;
}

#[tokio::test]
async fn credentials_are_not_written_while_lte_is_on_and_the_reason_is_said() {
    let desk = Desk::new().await;
    desk.write_all(&papers(&desk.house, "dev-17"));
    desk.modem.clone().line("AT+CFUN=1");
    let (ending, heard) = desk.run(&desk.sample()).await;
    assert_eq!(ending, Ending::NotProvisioned);
    assert_eq!(
        heard.troubles,
        [format!(
            "`{}` could not be put under sec tag {TAG}: not allowed while LTE is active (-EPERM, CME 518)",
            desk.file("ca-cert.pem").display()
        )]
    );
    assert!(heard.hints[0].contains("AT+CFUN=4"), "{:?}", heard.hints);

    let mut academy = desk.sample();
    academy.config = desk.config(Config::academy(Edition::V2_2, "localhost", 1, true));
    let (ending, heard) = desk.run(&academy).await;
    assert_eq!(ending, Ending::NotProvisioned);
    assert_eq!(
        heard.lines(),
        [
            "Initializing modem library",
            "Provisioning certificates",
            "Failed to provision CA certificate: -1",
            "Failed to provision certificates"
        ]
    );
    desk.house.down().await;
}

#[tokio::test]
async fn what_is_under_the_tag_is_used_when_nothing_is_to_be_written() {
    let desk = Desk::new().await;
    desk.provision("dev-18");
    let mut options = desk.sample();
    options.folder = None;
    let heard = desk.boot(&options).await;
    assert!(heard.lines().contains(&"Client ID: dev-18".to_owned()));
    desk.house.down().await;
}

#[tokio::test]
async fn a_network_that_goes_and_comes_is_noticed_and_a_new_certificate_is_used() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    let mut options = desk.sample();
    options.folder = None;
    let mut modem = desk.modem.clone();
    let (ending, heard) = desk
        .run_while(&options, async |watch| {
            watch
                .until("Subscribed to topic dev-17/my/subscribe/topic")
                .await;
            modem.line("AT+CFUN=4");
            watch.until("Disconnected from MQTT broker").await;
            desk.provision("dev-18");
            modem.line("AT+CFUN=1");
            watch
                .until("Subscribed to topic dev-18/my/subscribe/topic")
                .await;
        })
        .await;
    assert_eq!(ending, Ending::Stopped);
    let lines = heard.lines();
    let lost = lines
        .iter()
        .position(|line| line == "Network connectivity lost")
        .unwrap();
    assert_eq!(
        lines[lost..lost + 4],
        [
            "Network connectivity lost",
            "Disconnected from MQTT broker",
            "Network connectivity established",
            "Connected to MQTT broker"
        ]
    );
    assert_eq!(heard.leds, [(1, true), (1, false), (1, true)]);
    desk.house.down().await;
}

#[tokio::test]
async fn a_modem_that_was_online_is_online_again_at_the_end() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    let mut options = desk.sample();
    options.folder = None;
    let mut modem = desk.modem.clone();
    modem.line("AT+CFUN=1");
    let (ending, _) = desk
        .run_while(&options, async |watch| {
            watch
                .until("Subscribed to topic dev-17/my/subscribe/topic")
                .await;
            watch.handle.radio(false);
            watch.until("Disconnected from MQTT broker").await;
        })
        .await;
    assert_eq!(ending, Ending::Stopped);
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
    desk.house.down().await;
}

/// A modem whose port is pulled while it looks for a network.
struct Pulled(HostedModem);

impl Modem for Pulled {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        if at == "AT+CEREG?" {
            return Err(LineError::Port(std::io::ErrorKind::BrokenPipe.into()));
        }
        Modem::line(&mut self.0, at)
    }

    fn notifications(&mut self) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_modem_that_was_unplugged_is_not_waited_for() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    let mut options = desk.sample();
    options.folder = None;
    options.config.reboot_on_fatal = false;
    let signer = Arc::new(desk.modem.shared().clone());
    let mut board = Board::modem(Box::new(Pulled(desk.modem.clone())), signer);
    let (_handle, mut remote) = sample::remote();
    let mut said = Vec::new();
    let ending = sample::run(&mut board, &options, &mut remote, &mut |happening| {
        if let Happening::Modem(words) = happening {
            said.push(words.to_owned());
        }
    })
    .await;
    assert_eq!(ending, Ending::Fatal);
    assert_eq!(said, ["AT+CEREG?: the way to the modem failed"]);
    desk.house.down().await;
}

#[tokio::test]
async fn new_files_are_taken_on_request_without_a_restart() {
    let desk = Desk::new().await;
    desk.write_all(&papers(&desk.house, "dev-17"));
    let options = desk.sample();
    let (_, heard) = desk
        .run_while(&options, async |watch| {
            watch
                .until("Subscribed to topic dev-17/my/subscribe/topic")
                .await;
            desk.write_all(&papers(&desk.house, "dev-18"));
            watch.handle.provision();
            watch
                .until("Subscribed to topic dev-18/my/subscribe/topic")
                .await;
        })
        .await;
    assert_eq!(
        heard.written(),
        ["New", "New", "New", "Unchanged", "Replaced", "Replaced"]
    );
    desk.house.down().await;
}

#[tokio::test]
async fn a_broker_that_was_gone_finds_its_device_again() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    let mut options = desk.sample();
    options.folder = None;
    let (handle, watch) = desk.start(&options);
    watch
        .until("Subscribed to topic dev-17/my/subscribe/topic")
        .await;
    desk.house.down().await;
    watch
        .until("Failed connecting to MQTT, error code: -111")
        .await;
    desk.house.up_again().await;
    watch
        .until("Subscribed to topic dev-17/my/subscribe/topic")
        .await;
    handle.stop();
    let (ending, heard) = watch.end().await;
    assert_eq!(ending, Ending::Stopped);
    assert_eq!(heard.sessions.len(), 2);
    assert!(heard.sessions[0].lost.is_some() && heard.sessions[1].lost.is_none());
    desk.house.down().await;
}

#[tokio::test]
async fn a_wrong_broker_is_explained_and_tried_again() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    desk.write_tag(0, &desk.house.another_root());
    let mut options = desk.sample();
    options.folder = None;
    let (_, heard) = desk
        .run_while(&options, async |watch| {
            watch
                .until("Failed connecting to MQTT, error code: -111")
                .await;
            watch
                .until("Failed connecting to MQTT, error code: -111")
                .await;
        })
        .await;
    assert!(heard.troubles.len() >= 2, "{:?}", heard.troubles);
    assert!(!heard.hints.is_empty(), "{:?}", heard.troubles);
    desk.house.down().await;
}

#[tokio::test]
async fn lights_and_the_button_of_the_exercise() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    let mut options = desk.sample();
    options.folder = None;
    let mut config = desk.config(Config::academy(Edition::Current, "localhost", 1, true));
    config.below_name = true;
    // What it says is what it hears.
    config.publish_topic = "devacademy/subscribe/topic".to_owned();
    config.button_message = "LED1ON".to_owned();
    options.config = config;
    let (_, heard) = desk
        .run_while(&options, async |watch| {
            let topic = "dev-17/devacademy/subscribe/topic";
            watch
                .until(&format!("Subscribed to {topic} with QoS 1"))
                .await;
            watch.handle.press(1);
            watch
                .until(&format!(
                    "Published message: \"LED1ON\" on topic: \"{topic}\""
                ))
                .await;
            watch
                .until(&format!("Received payload: LED1ON on topic: {topic}"))
                .await;
        })
        .await;
    assert_eq!(heard.leds, [(2, true), (1, true)]);
    assert!(
        heard
            .lines()
            .iter()
            .any(|line| line.starts_with("Client ID: nrf-") && line.len() == IMEI_LINE)
    );
    desk.house.down().await;
}

#[tokio::test]
async fn half_a_pair_of_files_is_named_before_anything_is_written() {
    let desk = Desk::new().await;
    let all = papers(&desk.house, "dev-17");
    for (missing, there) in [
        ("private-key.pem", "client-cert.pem"),
        ("client-cert.pem", "private-key.pem"),
    ] {
        desk.write_all(&all);
        std::fs::remove_file(desk.file(missing)).unwrap();
        let error = folder(&desk, None).read().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`{}` is there, and `{}` is missing beside it",
                desk.file(there).display(),
                desk.file(missing).display()
            )
        );
    }
    let (ending, _) = desk.run(&desk.sample()).await;
    assert_eq!(ending, Ending::NotProvisioned);
    assert_eq!(desk.modem.shared().lock().flash_writes(), 0);
    desk.house.down().await;
}

#[tokio::test]
async fn files_with_a_number_go_to_the_secondary_tag() {
    let desk = Desk::new().await;
    let all = papers(&desk.house, "dev-17");
    desk.write_all(&all[..1]);
    for (name, text) in &all {
        let name = name.replace(".pem", "-2.pem");
        std::fs::write(desk.file(&name), text).unwrap();
    }
    let without = folder(&desk, None).read().unwrap();
    assert_eq!((without.files().len(), without.unused().len()), (1, 3));
    let second = SecTag::new(TAG + 1).unwrap();
    let both = folder(&desk, Some(second)).read().unwrap();
    let tags: Vec<SecTag> = both.files().iter().map(|file| file.tag).collect();
    assert_eq!(tags, [tag(), second, second, second]);
    assert_eq!(both.private_keys().count(), 1);

    let mut options = desk.sample();
    options.security = sectag_device::link::Security::tags([tag(), second]);
    options.folder = Some(folder(&desk, Some(second)));
    let heard = desk.boot(&options).await;
    assert!(
        heard.lines().contains(&"Client ID: dev-17".to_owned()),
        "{:?}",
        heard.lines()
    );
    desk.house.down().await;
}

#[tokio::test]
async fn something_else_in_a_file_is_refused_by_name() {
    let desk = Desk::new().await;
    let all = papers(&desk.house, "dev-17");
    for (file, text, found) in [
        (
            "ca-cert.pem",
            all[2].1.as_str(),
            "no certificate alone: it holds a private key",
        ),
        ("ca-cert.pem", "", "no certificate alone: it is empty"),
        (
            "private-key.pem",
            all[0].1.as_str(),
            "no private key alone: it holds a certificate",
        ),
    ] {
        desk.write_all(&all);
        std::fs::write(desk.file(file), text).unwrap();
        let error = folder(&desk, None).read().unwrap_err().to_string();
        let expected = format!("`{}` holds {found}", desk.file(file).display());
        assert_eq!(error, expected);
    }
    desk.house.down().await;
}

fn folder(desk: &Desk, secondary: Option<SecTag>) -> Folder {
    Folder {
        path: desk.file(""),
        primary: tag(),
        secondary,
    }
}

#[tokio::test]
async fn a_fatal_error_boots_anew_and_can_be_stopped_meanwhile() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    let mut options = desk.sample();
    options.folder = None;
    options.config = options.config.to_the_letter();
    options.config.client_id = Some("x".repeat(50));
    let (ending, heard) = desk
        .run_while(&options, async |watch| {
            watch.until("FATAL error, rebooting").await;
        })
        .await;
    assert_eq!(ending, Ending::Stopped);
    assert!(
        heard
            .lines()
            .contains(&"client_id_get, error: -122".to_owned())
    );
    desk.house.down().await;
}

#[tokio::test]
async fn a_subscription_that_the_broker_refuses_is_said_to_be() {
    let desk = Desk::new().await;
    desk.provision("dev-17");
    let mut options = desk.sample();
    options.folder = None;
    // Not below the name in its certificate.
    options.config.client_id = Some("somebody-else".to_owned());
    let (_, heard) = desk
        .run_while(&options, async |watch| {
            watch.until("Topic subscription failed, error: 128").await;
        })
        .await;
    assert!(
        heard.troubles[0].contains("somebody-else/my/subscribe/topic"),
        "{:?}",
        heard.troubles
    );
    assert!(
        heard.hints[0].contains("below `dev-17/`"),
        "{:?}",
        heard.hints
    );
    desk.house.down().await;
}
