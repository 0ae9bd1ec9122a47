//! What the settings store changes (spec/device-protocol §9, §13).

use super::*;

const KEY: &str = "provisioning/interval-sec";

#[test]
fn each_stored_interval_has_its_effect() {
    let day = 86_400;
    let table = [
        ("300", 300, None),
        ("0x12c", 300, None),
        ("300\0", 300, None),
        ("", day, None),
        ("0", day, None),
        ("-5", day, Some(Errno::Invalid)),
        ("daily", day, Some(Errno::Invalid)),
        ("00000000000000000300", day, Some(Errno::NoMemory)),
    ];
    for (text, seconds, refused) in table {
        let world = World::new(scheduled(ClientConfig::default()))
            .setting(KEY, text)
            .until(10);
        assert_eq!(world.client.interval().as_secs(), seconds, "{text:?}");
        let told = world.events.iter().find_map(|(_, event)| match event {
            Event::IntervalRefused { text, result } => Some((text.as_str(), *result)),
            _ => None,
        });
        assert_eq!(told, refused.map(|result| (text, result)));
    }
}

#[test]
fn a_config_command_changes_the_interval_at_the_end_of_its_session() {
    for config_of in [ClientConfig::default, ClientConfig::faithful] {
        let world = World::new(scheduled(config_of()))
            .batch(&[config("u.1", KEY, "600"), finished("u.2")])
            .until(1300);
        let (took, lte): (u64, &[&str]) = match world.client.conduct() {
            Conduct::Careful => (0, &[]),
            // It waits two seconds for the network that was never away.
            Conduct::Firmware => (2, &["NEED_LTE_ACTIVATED"]),
        };
        let mut story = vec!["SCHEDULED_PROVISIONING 1", "START"];
        story.extend(lte);
        story.extend(["DONE", "STOP", "SCHEDULED_PROVISIONING 600"]);
        assert_eq!(world.story()[..story.len()], story);
        assert_eq!(
            world.fetched,
            [1_000, 601_000 + took * 1000, 1_201_000 + took * 1000]
        );
    }
}

#[test]
fn the_saved_id_is_read_before_the_first_fetch_and_only_while_there_is_none() {
    let config = ClientConfig {
        session: Config {
            save_command_id: true,
            ..Config::default()
        },
        ..ClientConfig::default()
    };
    let mut world = World::new(config)
        .setting("provisioning/after-correlation-id", "u.7")
        .batch(&[finished("u.8")])
        .triggered();
    world.client.trigger(world.now).unwrap();
    world.go_on_until(u64::MAX / 1000);
    let after = |words: &str| words.contains("after=u.7&");
    assert!(after(world.asked_for("fetch")[0]), "{:?}", world.asked);
    assert!(world.asked_for("fetch")[1].contains("after=u.8&"));
    assert_eq!(world.asked_for("load").len(), 1);
    assert_eq!(world.settings["provisioning/after-correlation-id"], "u.8");
    assert_eq!(world.client.after(), "u.8");
}

#[test]
fn a_store_that_cannot_be_read_is_fatal_to_the_firmware_and_told_by_us() {
    let mut firmware = World::new(scheduled(ClientConfig::faithful()));
    firmware.store_fails = Some(StoreFailure::Io);
    let firmware = firmware.until(100_000);
    assert_eq!(firmware.story(), ["FATAL_ERROR -EIO"]);
    let mut careful = World::new(scheduled(ClientConfig::default()));
    careful.store_fails = Some(StoreFailure::Io);
    let careful = careful.until(10);
    assert_eq!(
        careful.events[0].1,
        Event::SettingUnreadable {
            key: KEY.into(),
            failure: StoreFailure::Io
        }
    );
    assert_eq!(careful.fetched, [1_000]);
}

#[test]
fn an_interval_changed_behind_our_back_makes_the_firmware_skip_a_run() {
    for config_of in [ClientConfig::default, ClientConfig::faithful] {
        let mut world = World::new(scheduled(config_of())).until(100);
        world.settings.insert(KEY.into(), "300".into());
        world.go_on_until(86_401);
        let runs = match world.client.conduct() {
            Conduct::Careful => 2,
            Conduct::Firmware => 1,
        };
        assert_eq!(world.fetched.len(), runs);
        assert_eq!(world.client.interval(), Duration::from_secs(300));
        assert_eq!(world.client.next_session(), Some(Uptime(86_701_000)));
    }
}
