//! Coming back after a failure: how much later, and what makes it sooner.

use super::*;

#[test]
fn busy_is_retried_ever_later_and_success_ends_the_back_off() {
    let busy = |config| {
        let mut world = World::new(scheduled(config));
        for _ in 0..14 {
            world = world.status(500);
        }
        world.until(6 * 86_400).fetched
    };
    let firmware = busy(ClientConfig::faithful());
    let waits: Vec<u64> = firmware.windows(2).map(|w| (w[1] - w[0]) / 1000).collect();
    let doubled = (0..11).map(|n| 60 << n).chain([86_400; 3]);
    assert_eq!(waits[..14], doubled.collect::<Vec<u64>>());
    let careful = busy(ClientConfig::default());
    let waits: Vec<u64> = careful.windows(2).map(|w| (w[1] - w[0]) / 1000).collect();
    for (nth, wait) in waits.iter().enumerate().take(12) {
        let base = (60 << nth).min(86_400);
        assert!((base..=base * 3 / 2).contains(wait), "{nth}: {wait}");
    }
}

#[test]
fn a_hint_of_the_service_is_a_lower_bound_for_us_and_nothing_to_the_firmware() {
    for (hint, least, most) in [(600, 600, 900), (5, 60, 90), (1_000_000, 86_400, 129_600)] {
        let mut world = World::new(scheduled(ClientConfig::default())).status(500);
        world.hint = Some(Duration::from_secs(hint));
        let world = world.until(10);
        let next = world.client.next_session().unwrap().0 / 1000 - 1;
        assert!((least..=most).contains(&next), "{hint}: {next}");
    }
    let mut world = World::new(scheduled(ClientConfig::faithful())).status(500);
    world.hint = Some(Duration::from_secs(600));
    let world = world.until(10);
    assert_eq!(world.client.next_session(), Some(Uptime(61_000)));
}

#[test]
fn an_old_hint_does_not_outlive_its_answer() {
    let mut world = World::new(scheduled(ClientConfig::default()));
    world.hint = Some(Duration::from_secs(90_000));
    let mut world = world.status(500).until(10);
    world.hint = None;
    world.client.trigger(world.now).unwrap();
    world.go_on_until(20);
    assert_eq!(world.client.next_session(), Some(Uptime(86_410_000)));
}

#[test]
fn a_hint_delays_a_report_within_the_session_or_keeps_it_for_the_next() {
    let report = |hint| {
        let mut world = World::new(ClientConfig::default()).batch(&[finished("u.1")]);
        world.reports.push_back(Ok(500));
        world.hint = Some(Duration::from_secs(hint));
        world.triggered()
    };
    let world = report(20);
    let again = Event::ReportAgain {
        result: Errno::Busy,
        pause: Duration::from_secs(20),
    };
    assert!(world.events.contains(&(0, again)));
    assert_eq!(world.story().last().unwrap(), "STOP");
    assert_eq!(world.client.ending(), Some(Ending::Done));
    let world = report(100);
    assert_eq!(world.client.ending(), Some(Ending::Failed(Errno::Busy)));
    assert!(world.client.has_unacknowledged_report());
}

#[test]
fn without_a_network_a_due_run_backs_off_and_the_network_ends_that() {
    for config_of in [ClientConfig::default, ClientConfig::faithful] {
        let config = ClientConfig {
            initial_backoff: Duration::from_secs(1000),
            ..scheduled(config_of())
        };
        let mut world = World::new(config);
        world.client.init(world.now).unwrap();
        world.client.handle(Input::Network(false), world.now);
        world.go_on_until(500);
        assert!(world.fetched.is_empty());
        assert!(world.client.next_session() >= Some(Uptime(1_001_000)));
        world.client.handle(Input::Network(true), world.now);
        world.go_on_until(501);
        assert_eq!(world.fetched, [500_000]);
        let careful = world.client.conduct() == Conduct::Careful;
        assert_eq!(
            world
                .story()
                .iter()
                .filter(|told| told.starts_with("SCH"))
                .count(),
            if careful { 4 } else { 2 },
            "the firmware tells its schedule and not its back-off: {:?}",
            world.story()
        );
    }
}

#[test]
fn a_network_that_comes_back_brings_our_devices_in_their_slots() {
    let mut seconds: Vec<u64> = (0..200)
        .map(|seed| {
            let config = ClientConfig {
                spread: Duration::from_secs(100),
                initial_backoff: Duration::from_secs(3600),
                seed,
                ..scheduled(ClientConfig::default())
            };
            let mut world = World::new(config);
            world.client.init(world.now).unwrap();
            world.client.handle(Input::Network(false), world.now);
            world.go_on_until(500);
            world.client.handle(Input::Network(true), world.now);
            world.go_on_until(700);
            world.fetched[0] / 1000
        })
        .collect();
    seconds.sort_unstable();
    assert!(seconds[0] >= 500 && seconds[199] <= 600);
    assert!(seconds[50] < 540 && seconds[150] > 560);
}

#[test]
fn a_network_change_without_a_back_off_changes_nothing() {
    let mut world = World::new(scheduled(ClientConfig::default())).until(100);
    let before = world.client.next_session();
    for up in [true, false, true] {
        world.client.handle(Input::Network(up), world.now);
    }
    assert_eq!(world.client.next_session(), before);
}

#[test]
fn a_kept_report_goes_first_when_the_client_comes_back() {
    let mut world = World::new(scheduled(ClientConfig::default())).batch(&[finished("u.1")]);
    world.reports.extend([Err(TransportError::Closed); 5]);
    let world = world.until(1000);
    assert_eq!(world.fetched.len(), 1, "{:?}", world.asked);
    assert_eq!(world.asked_for("report").len(), 6);
    assert_eq!(world.client.ending(), Some(Ending::Done));
}
