//! Each way a scheduled session can go, and the order of its events: ours and the firmware's side by side.

use super::*;

const SCHEDULED_1: &str = "SCHEDULED_PROVISIONING 1";

/// What both tell, in order, until the next run is known; `later` is when it comes.
struct Order {
    name: &'static str,
    arrange: fn(World) -> World,
    careful: &'static [&'static str],
    firmware: &'static [&'static str],
}

const ORDERS: &[Order] = &[
    Order {
        name: "success",
        arrange: |world| world.batch(&[at("u.1", "%X", "1"), finished("u.2")]),
        careful: &[
            "START",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "DONE",
            "STOP",
            "SCHEDULED_PROVISIONING 86398", // counts from the beginning
        ],
        firmware: &[
            "START",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "DONE",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "commands, but no `finished`",
        arrange: |world| world.batch(&[config("u.1", "a", "1")]),
        careful: &[
            "START",
            "NO_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
        firmware: &[
            "START",
            "NEED_LTE_ACTIVATED",
            "NO_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "no commands",
        arrange: |world| world.status(204),
        careful: &[
            "START",
            "NO_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
        firmware: &[
            "START",
            "NO_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "not claimed, with token",
        arrange: |world| world.status(401),
        careful: &[
            "START",
            "FAILED_DEVICE_NOT_CLAIMED with token",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &[
            "START",
            "FAILED_DEVICE_NOT_CLAIMED with token",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "not claimed, no token to be had",
        arrange: |mut world| {
            world.answers.push(("AT%ATTESTTOKEN", "ERROR\r\n".into()));
            world.status(401)
        },
        careful: &[
            "START",
            "FAILED_DEVICE_NOT_CLAIMED",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &[
            "START",
            "FAILED_DEVICE_NOT_CLAIMED",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "wrong root CA",
        arrange: |world| world.fails(TransportError::Tls),
        careful: &[
            "START",
            "FAILED_WRONG_ROOT_CA",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &[
            "START",
            "FAILED_WRONG_ROOT_CA",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "too many commands",
        arrange: |world| {
            let commands: Vec<_> = (0..11).map(|n| finished(&format!("u.{n}"))).collect();
            world.batch(&commands)
        },
        careful: &[
            "START",
            "FAILED_TOO_MANY_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &[
            "START",
            "FAILED_TOO_MANY_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "no time",
        arrange: |mut world| {
            world.no_time = true;
            world
        },
        careful: &[
            "START",
            "FAILED_NO_VALID_DATETIME",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &["START", "FAILED_NO_VALID_DATETIME", "STOP"],
    },
    Order {
        name: "busy",
        arrange: |world| world.status(500),
        careful: &[
            "START",
            "FAILED -EBUSY",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &["START", "FAILED -EBUSY", "STOP"],
    },
    Order {
        name: "timeout",
        arrange: |world| world.fails(TransportError::Timeout),
        careful: &[
            "START",
            "FAILED -ETIMEDOUT",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &["START", "FAILED -ETIMEDOUT", "STOP"],
    },
    Order {
        name: "bad request",
        arrange: |world| world.status(400),
        careful: &[
            "START",
            "FAILED -EINVAL",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        firmware: &[
            "START",
            "FAILED -EINVAL",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "a command fails",
        arrange: |mut world| {
            world.answers.push(("AT%X", "+CME ERROR: 513\r\n".into()));
            world.batch(&[at("u.1", "%X", "1"), finished("u.2")])
        },
        careful: &[
            "START",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "NO_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86398",
        ],
        firmware: &[
            "START",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "NO_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
    Order {
        name: "the report is lost",
        arrange: |mut world| {
            world.reports.extend([Err(TransportError::Timeout); 5]);
            world.batch(&[finished("u.1")])
        },
        careful: &[
            "START",
            "FAILED -ETIMEDOUT",
            "STOP",
            "SCHEDULED_PROVISIONING 60+",
        ],
        // `finished` was executed, and nobody will ever know: the next fetch says that it is done.
        firmware: &[
            "START",
            "NEED_LTE_ACTIVATED",
            "NO_COMMANDS",
            "STOP",
            "SCHEDULED_PROVISIONING 86400",
        ],
    },
];

#[test]
fn each_order_of_events() {
    for order in ORDERS {
        for (config, expected) in [
            (ClientConfig::default(), order.careful),
            (ClientConfig::faithful(), order.firmware),
        ] {
            // Long enough for one session, and too short for its back-off to end.
            let mut world = (order.arrange)(World::new(scheduled(config))).until(0);
            let mut seconds = 1;
            while world.story().last().is_none_or(|last| last != "STOP")
                && !world.story().contains(&"STOP".to_string())
            {
                world.go_on_until(seconds);
                seconds += 1;
            }
            let story = world.story();
            assert_eq!(story[0], SCHEDULED_1, "{}", order.name);
            let told: Vec<String> = story[1..]
                .iter()
                .zip(expected.iter().map(Some).chain(core::iter::repeat(None)))
                .map(|(told, expected)| about(told, expected.copied()))
                .collect();
            assert_eq!(
                told,
                expected,
                "{}: {:?}",
                order.name,
                world.client.conduct()
            );
        }
    }
}

/// A back-off of ours has chance in it: 60 to 90 s.
fn about(told: &str, expected: Option<&str>) -> String {
    let wait = told.strip_prefix("SCHEDULED_PROVISIONING ");
    match (wait.map(str::parse::<u64>), expected) {
        (Some(Ok(60..=90)), Some("SCHEDULED_PROVISIONING 60+")) => {
            "SCHEDULED_PROVISIONING 60+".to_string()
        }
        _ => told.to_string(),
    }
}

#[test]
fn the_failed_command_is_named_with_its_number_and_the_modems_words() {
    let mut world = World::new(ClientConfig::default())
        .batch(&[at("u.1", "%CMNG", "0,42,0,\"secret\""), finished("u.2")]);
    world
        .answers
        .push(("AT%CMNG", "+CME ERROR: 514\r\n".to_string()));
    let world = world.triggered();
    let failed = Event::CommandFailed {
        index: 0,
        correlation: CorrelationId::new("u.1").unwrap(),
        command: "AT%CMNG=0,42,0,…".to_string(),
        number: 514,
        answer: "+CME ERROR: 514".to_string(),
    };
    assert!(world.events.iter().any(|(_, event)| *event == failed));
}

#[test]
fn a_power_cut_at_any_step_ends_in_the_same_place() {
    let config = || ClientConfig {
        session: Config {
            save_command_id: true,
            ..Config::default()
        },
        ..scheduled(ClientConfig::default())
    };
    let batch = [at("u.1", "%X", "1"), config_interval(), finished("u.3")];
    let mut cuts = 0;
    for cut_after in 0.. {
        let mut world = World::new(config());
        world.client.init(world.now).unwrap();
        // The service gives the batch until it has its report.
        let mut acknowledged = false;
        let mut steps = 0;
        let mut was_cut = false;
        let mut after_acknowledgement = false;
        while !acknowledged || world.client.is_running() {
            let input = match world.client.poll() {
                Output::Wait(Some(until)) => {
                    world.now = world.now.max(until);
                    Input::Tick
                }
                Output::Wait(None) => panic!("stuck"),
                Output::Event(event) => {
                    world.events.push((0, event));
                    continue;
                }
                ask => {
                    steps += 1;
                    if steps == cut_after {
                        was_cut = true;
                        after_acknowledgement = acknowledged;
                        world.client = Client::new(config()).unwrap();
                        world.client.init(world.now).unwrap();
                        world.offline = false;
                        continue;
                    }
                    if matches!(ask, Output::Fetch { .. }) && !acknowledged {
                        world.fetches = VecDeque::from([Ok((200, encode_commands(&batch)))]);
                    }
                    acknowledged |= matches!(ask, Output::Report { .. });
                    world.answer_to(ask)
                }
            };
            world.client.handle(input, world.now);
        }
        world.go_on_until(world.now.0 / 1000 + 1);
        assert_eq!(world.settings["provisioning/interval-sec"], "900");
        assert_eq!(world.client.interval(), Duration::from_secs(900));
        // The service knows already; a device that did not live to say so finds nothing more to do.
        let end = if after_acknowledgement {
            "NO_COMMANDS"
        } else {
            "DONE"
        };
        assert!(
            world.story().contains(&end.to_string()),
            "cut {cut_after}: {:?}",
            world.story()
        );
        if !was_cut && cut_after > 0 {
            break;
        }
        cuts = cut_after;
    }
    assert!(cuts > 15, "{cuts}");
}

fn config_interval() -> WireCommand {
    config("u.2", "provisioning/interval-sec", "900")
}
