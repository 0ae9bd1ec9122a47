//! Each option of spec/device-protocol §15 that the core has, and what it changes. The others are the drivers'.

use super::*;

/// One option: how to change it, what to look at, and what is seen with the default and with the change.
struct Row {
    name: &'static str,
    change: fn(&mut ClientConfig),
    look: fn(ClientConfig) -> String,
    default: &'static str,
    changed: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        name: "AUTO_START_ON_INIT",
        change: |config| config.auto_start = true,
        look: |config| World::new(config).until(500).story().join(", "),
        default: "",
        changed: "START, NO_COMMANDS, STOP",
    },
    Row {
        name: "SCHEDULED",
        change: |config| {
            config.auto_start = true;
            config.scheduled = true;
        },
        look: |config| {
            let auto_start = true;
            let config = ClientConfig {
                auto_start,
                spread: Duration::ZERO,
                ..config
            };
            World::new(config).until(500).story().join(", ")
        },
        default: "START, NO_COMMANDS, STOP",
        changed: "SCHEDULED_PROVISIONING 1, START, NO_COMMANDS, STOP, SCHEDULED_PROVISIONING 86400",
    },
    Row {
        name: "VALID_DATE_TIME_TIMEOUT_SECONDS",
        change: |config| config.session.time_wait = Duration::from_secs(5),
        look: |config| {
            let mut world = World::new(config);
            world.no_time = true;
            at_seconds(&world.triggered(), &Event::FailedNoValidDatetime)
        },
        default: "60 s",
        changed: "5 s",
    },
    Row {
        name: "MODEM_STATE_WAIT_TIMEOUT_SECONDS",
        change: |config| config.session.radio_wait = Duration::from_secs(7),
        look: |mut config| {
            config.session.conduct = Conduct::Firmware;
            let mut world = World::new(config).batch(&[at("u.1", "%X", "1")]);
            world.radio_stuck = true;
            at_seconds(&world.triggered(), &Event::Failed(Errno::TimedOut))
        },
        default: "120 s",
        changed: "7 s",
    },
    Row {
        name: "INTERVAL_S",
        change: |config| config.interval = Duration::from_secs(600),
        look: |config| {
            let world = World::new(scheduled(config)).until(100);
            format!("{:?}", world.client.next_session())
        },
        default: "Some(Uptime(86401000))",
        changed: "Some(Uptime(601000))",
    },
    Row {
        name: "SPREAD_S",
        change: |config| config.spread = Duration::ZERO,
        look: |config| {
            let firsts = (0..50_u64).map(|seed| {
                let config = ClientConfig {
                    spread: config.spread,
                    seed,
                    ..scheduled(ClientConfig::default())
                };
                let world = World::new(config).until(0);
                world.client.next_session().unwrap().0
            });
            let late = firsts.filter(|first| *first > 50_000).count();
            let half = if late > 15 && late < 35 {
                "half"
            } else {
                "none"
            };
            format!("{half} of the first runs in the second 50 s")
        },
        default: "half of the first runs in the second 50 s",
        changed: "none of the first runs in the second 50 s",
    },
    Row {
        name: "INITIAL_BACKOFF",
        change: |config| config.initial_backoff = Duration::from_secs(10),
        look: |config| {
            let conduct = Conduct::Firmware;
            let session = Config {
                conduct,
                ..config.session.clone()
            };
            let config = ClientConfig {
                session,
                ..scheduled(config)
            };
            let world = World::new(config).status(500).status(500).until(1000);
            format!("{:?}", world.fetched)
        },
        default: "[1000, 61000, 181000]",
        changed: "[1000, 11000, 31000]",
    },
    Row {
        name: "SAVE_CMD_ID",
        change: |config| config.session.save_command_id = true,
        look: |config| {
            let world = World::new(config).batch(&[finished("u.1")]).triggered();
            world.asked_for("save").join(", ")
        },
        default: "",
        changed: "save provisioning/after-correlation-id=u.1",
    },
    Row {
        name: "SETTINGS_STORAGE_PATH",
        change: |config| config.session.settings_path = "prov".into(),
        look: |mut config| {
            config.session.save_command_id = true;
            let world = World::new(scheduled(config));
            let world = world.batch(&[finished("u.1")]).until(10);
            let mut keys = world.asked_for("load");
            keys.extend(world.asked_for("save"));
            keys.sort_unstable();
            keys.dedup();
            keys.join(", ")
        },
        default: "load provisioning/after-correlation-id, load provisioning/interval-sec, \
                  save provisioning/after-correlation-id=u.1",
        changed: "load prov/after-correlation-id, load prov/interval-sec, \
                  save prov/after-correlation-id=u.1",
    },
    Row {
        name: "RX_BUF_SZ",
        change: |config| config.session.rx_bytes_max = 100,
        look: |config| {
            let world = World::new(config).batch(&[config_of(120), finished("u.2")]);
            let world = world.triggered();
            format!("{} {}", query(&world, "rxMaxSize"), world.story()[1])
        },
        default: "1024 DONE",
        changed: "100 FAILED_TOO_MANY_COMMANDS",
    },
    Row {
        name: "TX_BUF_SZ",
        change: |config| config.session.tx_bytes_max = 20,
        look: |config| {
            let long_id = "u.12345678901234567890";
            let world = World::new(config).batch(&[finished(long_id)]).triggered();
            format!("{} {}", query(&world, "txMaxSize"), world.story()[1])
        },
        default: "2048 DONE",
        changed: "20 NO_COMMANDS",
    },
    Row {
        name: "JWT_SEC_TAG",
        change: |config| config.session.jwt_sec_tag = 16,
        look: |config| World::new(config).triggered().asked_for("sign")[0].into(),
        default: "sign 0 300",
        changed: "sign 16 300",
    },
    Row {
        name: "JWT_MAX_VALID_TIME_S",
        change: |config| config.session.jwt_validity = Duration::from_secs(60),
        look: |config| World::new(config).triggered().asked_for("sign")[0].into(),
        default: "sign 0 300",
        changed: "sign 0 60",
    },
    Row {
        name: "PROVIDE_ATTESTATION_TOKEN",
        change: |config| config.session.provide_attestation_token = false,
        look: |config| World::new(config).status(401).triggered().story()[1].clone(),
        default: "FAILED_DEVICE_NOT_CLAIMED with token",
        changed: "FAILED_DEVICE_NOT_CLAIMED",
    },
    Row {
        name: "CODEC_AT_CMD_LEN",
        change: |config| config.session.at_bytes = 2100,
        look: |mut config| {
            // The larger of the two counts.
            config.session.rx_bytes_max = 4096;
            let world = World::new(config).batch(&[at("u.1", "%X", &"1".repeat(2050))]);
            let world = world.triggered();
            world.asked_for("AT%X=").len().to_string()
        },
        default: "0",
        changed: "1",
    },
    Row {
        name: "CODEC_RX_SZ_START",
        change: |config| config.session.answer_bytes_start = 64,
        look: |config| {
            let mut world = World::new(config).batch(&[at("u.1", "%X", "1")]);
            world
                .answers
                .push(("AT%X=", format!("{}\r\nOK\r\n", "x".repeat(200))));
            let world = world.triggered();
            world.asked_for("AT%X=").len().to_string()
        },
        default: "1",
        changed: "3",
    },
    Row {
        name: "CBOR_RECORDS",
        change: |config| config.session.records_max = 1,
        look: |config| {
            let world = World::new(config).batch(&[config_of(1), finished("u.2")]);
            let world = world.triggered();
            format!("{} {}", query(&world, "limit"), world.story()[1])
        },
        default: "10 DONE",
        changed: "1 FAILED_TOO_MANY_COMMANDS",
    },
];

#[test]
fn each_option_changes_what_it_says() {
    for row in ROWS {
        let default = ClientConfig::default();
        let mut changed = default.clone();
        (row.change)(&mut changed);
        assert_eq!((row.look)(default), row.default, "{} by default", row.name);
        assert_eq!((row.look)(changed), row.changed, "{} changed", row.name);
    }
}

#[test]
fn the_firmware_differs_in_spread_and_conduct_only() {
    let (ours, firmware) = (ClientConfig::default(), ClientConfig::faithful());
    assert_eq!((ours.spread.as_secs(), firmware.spread.as_secs()), (100, 0));
    let brought_over = ClientConfig {
        session: Config {
            conduct: Conduct::Firmware,
            ..ours.session.clone()
        },
        spread: firmware.spread,
        ..ours
    };
    assert_eq!(format!("{brought_over:?}"), format!("{firmware:?}"));
}

#[test]
fn a_seed_comes_from_the_whole_identity() {
    let id = |text: &str| text.parse::<crate::DeviceId>().unwrap();
    let one = id("50363154-3931-44f0-8022-121b6401627d");
    for other in [
        "50363154-3931-44f0-8022-121b6401627e",
        "51363154-3931-44f0-8022-121b6401627d",
    ] {
        assert_ne!(
            ClientConfig::seed_of(&one),
            ClientConfig::seed_of(&id(other))
        );
    }
}

fn config_of(bytes: usize) -> WireCommand {
    config("u.1", "a", &"x".repeat(bytes))
}

fn at_seconds(world: &World, event: &Event) -> String {
    let (seconds, _) = world.events.iter().find(|(_, e)| e == event).unwrap();
    format!("{seconds} s")
}

fn query<'a>(world: &'a World, name: &str) -> &'a str {
    let fetch = world.asked_for("fetch ")[0];
    let fields = fetch.trim_start_matches("fetch ").split('&');
    fields
        .filter_map(|field| field.split_once('='))
        .find(|(key, _)| *key == name)
        .unwrap()
        .1
}
