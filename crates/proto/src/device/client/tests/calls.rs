//! init, trigger, set_interval and their results.

use super::*;

#[test]
fn each_call_has_the_results_of_the_library() {
    let mut client = Client::new(ClientConfig::default()).unwrap();
    let now = Uptime(0);
    assert_eq!(client.trigger(now), Err(CallError::NotInitialised));
    assert_eq!(client.set_interval(1, now), Err(CallError::NotInitialised));
    assert_eq!(client.init(now), Ok(()));
    assert_eq!(client.init(now), Err(CallError::Already));
    assert_eq!(client.set_interval(-1, now), Err(CallError::Invalid));
    assert_eq!(client.set_interval(i64::MAX, now), Err(CallError::Invalid));
    assert_eq!(client.set_interval(1, now), Err(CallError::NotScheduled));
    assert_eq!(client.trigger(now), Ok(()));
    let refused = Client::new(ClientConfig {
        scheduled: true,
        ..ClientConfig::default()
    });
    assert_eq!(
        refused.map(|_| ()),
        Err(ConfigRefusal::ScheduledWithoutAutoStart)
    );
}

#[test]
fn a_client_that_is_not_initialised_hears_nothing() {
    let mut client = Client::new(ClientConfig::default()).unwrap();
    client.handle(Input::Triggered, Uptime(0));
    assert_eq!(client.poll(), Output::Wait(None));
    assert!(!client.is_running());
}

#[test]
fn without_auto_start_nothing_happens_before_the_trigger() {
    let mut world = World::new(ClientConfig::default()).until(1000);
    assert!(world.asked.is_empty() && world.events.is_empty());
    world.client.trigger(world.now).unwrap();
    assert!(world.client.is_running() && world.client.ending().is_none());
    world.go_on_until(2000);
    assert_eq!(world.story(), ["START", "NO_COMMANDS", "STOP"]);
    assert_eq!(world.client.ending(), Some(Ending::Failed(Errno::NoData)));
    assert_eq!(world.client.next_session(), None);
}

#[test]
fn a_trigger_between_two_runs_counts_at_once_and_the_schedule_goes_on_from_there() {
    for config in [ClientConfig::default(), ClientConfig::faithful()] {
        let mut world = World::new(scheduled(config)).until(100);
        world.client.trigger(world.now).unwrap();
        world.go_on_until(100 + 86_400);
        assert_eq!(world.fetched, [1_000, 100_000, 86_500_000]);
    }
}

/// One session is under way, and somebody triggers.
fn triggered_within(config: ClientConfig) -> World {
    let mut world = World::new(config);
    world.client.init(world.now).unwrap();
    if !world.client.is_running() {
        if world.client.next_session().is_none() {
            // Reads its interval, then waits for its first run.
            assert_eq!(
                world.client.poll(),
                Output::Load {
                    key: "provisioning/interval-sec".into()
                }
            );
            world.client.handle(Input::Loaded(None), world.now);
        }
        world.go_on_until(0);
        world.now = Uptime(1000);
        world.client.handle(Input::Tick, world.now);
    }
    while !world.client.is_running() || world.events.iter().all(|(_, e)| *e != Event::Start) {
        match world.client.poll() {
            Output::Event(event) => world.events.push((world.now.0 / 1000, event)),
            Output::Wait(_) => panic!("waits"),
            ask => {
                let answer = world.answer_to(ask);
                world.client.handle(answer, world.now);
            }
        }
    }
    world.client.trigger(world.now).unwrap();
    world.go_on_until(2000);
    world
}

#[test]
fn a_trigger_within_a_session_means_one_more_and_the_scheduled_firmware_swallows_it() {
    let manual = |config| ClientConfig {
        auto_start: true,
        ..config
    };
    let table = [
        (manual(ClientConfig::default()), 2),
        (manual(ClientConfig::faithful()), 2),
        (scheduled(ClientConfig::default()), 2),
        (scheduled(ClientConfig::faithful()), 1),
    ];
    for (config, sessions) in table {
        let words = format!("{config:?}");
        let world = triggered_within(config);
        assert_eq!(world.fetched.len(), sessions, "{words}");
    }
}

#[test]
fn a_changed_interval_is_stored_in_decimal_told_and_in_effect_at_once() {
    for config in [ClientConfig::default(), ClientConfig::faithful()] {
        let mut world = World::new(scheduled(config)).until(100);
        world.client.set_interval(300, world.now).unwrap();
        world.go_on_until(101);
        assert_eq!(
            world.asked_for("save"),
            ["save provisioning/interval-sec=300"]
        );
        assert_eq!(world.client.interval(), Duration::from_secs(300));
        let changed = Event::IntervalChanged(Duration::from_secs(300));
        assert!(world.events.contains(&(100, changed)));
        world.go_on_until(1000);
        let first = match world.client.conduct() {
            // From the beginning of the last session, or from the call.
            Conduct::Careful => 301_000,
            Conduct::Firmware => 400_000,
        };
        assert_eq!(
            world.fetched,
            [1_000, first, first + 300_000, first + 600_000][..world.fetched.len()]
        );
        assert!(world.fetched.len() >= 3);
    }
}

#[test]
fn the_same_interval_again_writes_nothing() {
    let mut world = World::new(scheduled(ClientConfig::default()))
        .setting("provisioning/interval-sec", "300")
        .until(100);
    world.client.set_interval(300, world.now).unwrap();
    world.go_on_until(101);
    assert!(world.asked_for("save").is_empty());
}

#[test]
fn a_program_that_sets_its_interval_at_every_boot_writes_it_once() {
    for config_of in [ClientConfig::default, ClientConfig::faithful] {
        let mut settings = BTreeMap::new();
        let mut saves = 0;
        for boot in 0..5 {
            let mut world = World::new(scheduled(config_of()));
            world.settings = settings;
            world.client.init(world.now).unwrap();
            // The settings are not read yet.
            world.client.set_interval(300, world.now).unwrap();
            world.go_on_until(10);
            assert_eq!(world.fetched.len(), 1, "boot {boot}");
            assert_eq!(world.client.interval(), Duration::from_secs(300));
            saves += world.asked_for("save").len();
            settings = world.settings;
        }
        assert_eq!(saves, 1);
    }
}

#[test]
fn each_interval_that_is_accepted_has_its_answer() {
    let answers = |stored: Option<&str>, before_init_is_over: bool, seconds: i64| {
        let mut world = World::new(scheduled(ClientConfig::default()));
        if let Some(text) = stored {
            world = world.setting("provisioning/interval-sec", text);
        }
        world.client.init(world.now).unwrap();
        if !before_init_is_over {
            world.go_on_until(100);
        }
        world.client.set_interval(seconds, world.now).unwrap();
        world.go_on_until(101);
        let told = world.events.iter().filter_map(|(_, event)| match event {
            Event::IntervalChanged(interval) => Some(interval.as_secs()),
            _ => None,
        });
        told.collect::<Vec<u64>>()
    };
    for early in [true, false] {
        assert_eq!(answers(None, early, 0), [86_400]);
        assert_eq!(answers(None, early, 86_400), [86_400]);
        assert_eq!(answers(Some("300"), early, 300), [300]);
        assert_eq!(answers(Some("300"), early, 0), [86_400]);
        assert_eq!(answers(Some("300"), early, 400), [400]);
    }
}

#[test]
fn an_interval_set_in_a_busy_session_replaces_the_firmwares_retry_and_not_ours() {
    for (config, fetches) in [(ClientConfig::default(), 2), (ClientConfig::faithful(), 1)] {
        let mut world = World::new(scheduled(config)).status(500).until(0);
        world.now = Uptime(1000);
        world.client.handle(Input::Tick, world.now);
        let load = world.client.poll();
        let answer = world.answer_to(load);
        world.client.handle(answer, world.now);
        world.client.set_interval(3600, world.now).unwrap();
        world.go_on_until(1000);
        assert_eq!(world.fetched.len(), fetches, "{:?}", world.story());
    }
}

#[test]
fn an_interval_that_cannot_be_stored_is_told_and_the_old_one_stays() {
    let mut world = World::new(scheduled(ClientConfig::default())).until(100);
    world.store_fails = Some(StoreFailure::Io);
    world.client.set_interval(300, world.now).unwrap();
    world.go_on_until(101);
    let told = Event::IntervalNotStored(StoreFailure::Io);
    assert_eq!(world.events.last(), Some(&(100, told)));
    assert_eq!(world.client.interval(), Duration::from_secs(86_400));
    assert_eq!(world.client.next_session(), Some(Uptime(86_401_000)));
}

#[test]
fn of_two_intervals_at_once_the_last_one_stays() {
    let mut world = World::new(scheduled(ClientConfig::default())).until(100);
    world.client.set_interval(300, world.now).unwrap();
    let ask = world.client.poll();
    world.client.set_interval(400, world.now).unwrap();
    world.client.set_interval(500, world.now).unwrap();
    let answer = world.answer_to(ask);
    world.client.handle(answer, world.now);
    world.go_on_until(101);
    assert_eq!(
        world.asked_for("save"),
        [
            "save provisioning/interval-sec=300",
            "save provisioning/interval-sec=500"
        ]
    );
    assert_eq!(world.client.interval(), Duration::from_secs(500));
    assert_eq!(world.client.next_session(), Some(Uptime(501_000)));
}

#[test]
fn an_interval_set_within_a_session_waits_for_the_answer_that_is_out() {
    let mut world = World::new(scheduled(ClientConfig::default())).until(0);
    world.now = Uptime(1000);
    world.client.handle(Input::Tick, world.now);
    let load = world.client.poll();
    let answer = world.answer_to(load);
    world.client.handle(answer, world.now);
    assert_eq!(world.client.poll(), Output::Event(Event::Start));
    let line = world.client.poll();
    assert!(matches!(line, Output::Line(_)));
    world.client.set_interval(300, world.now).unwrap();
    assert_eq!(world.client.poll(), Output::Wait(None), "one at a time");
    let answer = world.answer_to(line);
    world.client.handle(answer, world.now);
    assert!(matches!(world.client.poll(), Output::Save { .. }));
    assert_eq!(world.client.poll(), Output::Wait(None), "the session waits");
    world.client.handle(Input::Stored, world.now);
    world.go_on_until(2);
    assert_eq!(world.client.ending(), Some(Ending::Failed(Errno::NoData)));
}

#[test]
fn the_first_run_does_not_wait_for_a_longer_interval_here_and_does_so_in_the_firmware() {
    let with_spread = |config| ClientConfig {
        spread: Duration::from_secs(100),
        seed: 7,
        ..scheduled(config)
    };
    let mut careful = World::new(with_spread(ClientConfig::default())).until(0);
    let first = careful.client.next_session();
    careful.client.set_interval(3600, careful.now).unwrap();
    careful.go_on_until(0);
    assert_eq!(careful.client.next_session(), first);
    let mut firmware = World::new(with_spread(ClientConfig::faithful())).until(0);
    firmware.client.set_interval(3600, firmware.now).unwrap();
    firmware.go_on_until(0);
    assert!(firmware.client.next_session() >= Some(Uptime(3_600_000)));
}
