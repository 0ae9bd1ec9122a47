//! A report is lost, and nobody stands beside the device: it comes back by its own schedule. What the owner sees in the
//! end tells the firmware's conduct from ours.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_modem::Options;
use sectag_proto::command::CommandRequest;
use sectag_proto::device::{ClientConfig, Errno, Event};
use sectag_proto::service::{Failure, Status};
use sectag_sim::cuts::{Arrow, Cuts};
use sectag_sim::job::{finished, key, setting};
use sectag_sim::over_every_road;
use sectag_sim::road::Road;
use sectag_sim::town::Town;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A device that comes back by itself, every six hours.
fn town(road: Road, seed: u64, config: ClientConfig, cuts: Cuts) -> Town {
    let config = ClientConfig {
        auto_start: true,
        scheduled: true,
        interval: HOUR * 6,
        ..config
    };
    Town::with_client(road, seed, config, Options::default(), cuts)
}

fn add(town: &mut Town, requests: Vec<CommandRequest>) {
    let now = town.now();
    town.desk.add(requests, now);
}

/// The owner's view after this time.
fn seen_after(town: &mut Town, time: Duration) -> Vec<(Status, Option<Failure>)> {
    town.live(time);
    let now = town.now();
    town.desk.look(now);
    let failure = |response: &sectag_proto::service::Response| response.failure;
    town.desk
        .commands()
        .iter()
        .map(|c| (c.status, c.response.as_ref().and_then(failure)))
        .collect()
}

const SUCCEEDED: (Status, Option<Failure>) = (Status::Succeeded, None);
const UNKNOWN: (Status, Option<Failure>) = (Status::Failed, Some(Failure::OutcomeUnknown));

over_every_road! {
    the_firmware_forgets_the_report_and_the_service_says_that_it_does_not_know,
    we_keep_the_report_and_lose_nothing,
    a_network_that_is_away_for_a_while_costs_time_and_nothing_else,
    an_interval_from_the_service_is_in_effect_after_its_session_and_after_a_reboot,
    left_alone_ours_loses_nothing,
    left_alone_the_firmware_ends_every_command,
}

fn the_firmware_forgets_the_report_and_the_service_says_that_it_does_not_know(road: Road) {
    let config = ClientConfig::faithful();
    let mut town = town(road, 1, config, Cuts::one(Arrow::Report, 1));
    add(&mut town, vec![key(7), finished()]);
    assert_eq!(seen_after(&mut town, HOUR), [UNKNOWN; 2]);
    assert!(!town.told_done);
    let lost = Event::ReportLost(Errno::TimedOut);
    assert!(town.events.contains(&lost) && town.events.contains(&Event::NoCommands));
    // The device is well: what is queued next works.
    add(&mut town, vec![key(8), finished()]);
    assert_eq!(
        seen_after(&mut town, DAY),
        [UNKNOWN, UNKNOWN, SUCCEEDED, SUCCEEDED]
    );
}

fn we_keep_the_report_and_lose_nothing(road: Road) {
    for arrow in [Arrow::Report, Arrow::Acknowledgement] {
        let mut town = town(road, 2, ClientConfig::default(), Cuts::one(arrow, 1));
        add(&mut town, vec![key(7), finished()]);
        assert_eq!(seen_after(&mut town, HOUR), [SUCCEEDED; 2], "{arrow:?}");
        assert!(town.told_done && town.desk.alarms.is_empty());
        let runs = |event: &&Event| matches!(event, Event::Start);
        assert_eq!(town.events.iter().filter(runs).count(), 1, "in one session");
    }
}

fn a_network_that_is_away_for_a_while_costs_time_and_nothing_else(road: Road) {
    let config = ClientConfig::default();
    let mut town = town(road, 3, config, Cuts::chance(3, 30));
    add(&mut town, vec![key(7), key(8), finished()]);
    assert_eq!(seen_after(&mut town, DAY), [SUCCEEDED; 3]);
}

fn an_interval_from_the_service_is_in_effect_after_its_session_and_after_a_reboot(road: Road) {
    for config in [ClientConfig::default(), ClientConfig::faithful()] {
        let mut town = town(road, 4, config, Cuts::none());
        let interval = setting("provisioning/interval-sec", "1800");
        add(&mut town, vec![interval, finished()]);
        assert_eq!(seen_after(&mut town, HOUR / 4), [SUCCEEDED; 2]);
        assert_eq!(town.device.client.interval(), HOUR / 2);
        add(&mut town, vec![key(7)]);
        assert_eq!(seen_after(&mut town, HOUR / 2)[2], SUCCEEDED);
        town.lose_power();
        town.live(HOUR / 4);
        assert_eq!(town.device.client.interval(), HOUR / 2);
    }
}

/// Ours, left alone: whatever is lost, each command succeeds within a few days, none twice.
fn left_alone_ours_loses_nothing(road: Road) {
    proptest!(cases(24), |(seed in any::<u64>(), most in 0_u32..20)| {
        let mut town = town(road, seed, ClientConfig::default(), Cuts::chance(seed, most));
        add(&mut town, vec![key(7), setting("a", "1"), key(8), finished()]);
        prop_assert_eq!(seen_after(&mut town, DAY * 3), [SUCCEEDED; 4]);
        prop_assert!(town.desk.alarms.is_empty());
    });
}

/// The firmware, left alone: each command ends, and one that is unknown was in a report that was lost.
fn left_alone_the_firmware_ends_every_command(road: Road) {
    proptest!(cases(24), |(seed in any::<u64>(), most in 0_u32..20)| {
        let mut town = town(road, seed, ClientConfig::faithful(), Cuts::chance(seed, most));
        add(&mut town, vec![key(7), setting("a", "1"), key(8), finished()]);
        let seen = seen_after(&mut town, DAY * 3);
        prop_assert!(seen.iter().all(|s| *s == SUCCEEDED || *s == UNKNOWN), "{:?}", seen);
        let lost = town.events.iter().any(|e| matches!(e, Event::ReportLost(_)));
        prop_assert!(lost || most > 0 || !seen.contains(&UNKNOWN));
    });
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
