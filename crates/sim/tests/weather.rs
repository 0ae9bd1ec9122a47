//! A thousand devices in each kind of weather, each provisioned from blank over CoAP: none is lost, nothing happens twice.
//!
//! In every one of these runs the town also watches that no key protects two records under one number, that no command
//! comes again after its report was acknowledged, and that no report is settled twice.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used)]

use sectag_modem::Options;
use sectag_proto::device::{ClientConfig, Conduct, Config, Event};
use sectag_proto::service::Status;
use sectag_sim::air::{Rebinding, Traffic, Weather};
use sectag_sim::coap::{CoapRoad, CoapStreet};
use sectag_sim::cuts::Cuts;
use sectag_sim::job;
use sectag_sim::road::{Road, Street};
use sectag_sim::town::Town;
use std::collections::BTreeSet;

/// Complete provisioning runs in each kind of weather.
const RUNS: u64 = 1000;
/// Sessions, a quarter of an hour apart, within which everything is done. One is enough, except for some where a fifth is lost.
const SESSIONS_MAX: u32 = 12;

const WILD: CoapRoad = CoapRoad {
    weather: Weather {
        lost: 100,
        twice: 100,
        late: 200,
        rebinding: Rebinding::EveryRecord(2),
        ..Weather::FAIR
    },
    slow: 100,
    ..CoapRoad::FAIR
};

/// What the weather did to all of them together.
#[derive(Debug, Default)]
struct Sum {
    lost: u64,
    twice: u64,
    moves: u64,
    /// Moves that the service has followed.
    followed: u64,
    sessions: u32,
    records: usize,
}

#[test]
fn nothing_is_lost() {
    let sum = provision(RUNS, road(Weather::FAIR));
    assert_eq!((u64::from(sum.sessions), sum.lost), (RUNS, 0), "{sum:?}");
}

#[test]
fn one_in_twenty_is_lost() {
    let sum = provision(
        RUNS,
        road(Weather {
            lost: 50,
            ..Weather::FAIR
        }),
    );
    assert!(sum.lost > RUNS, "{sum:?}");
}

#[test]
fn one_in_five_is_lost() {
    let sum = provision(
        RUNS,
        road(Weather {
            lost: 200,
            ..Weather::FAIR
        }),
    );
    assert!(sum.lost > 5 * RUNS, "{sum:?}");
}

#[test]
fn many_are_overtaken() {
    let sum = provision(
        RUNS,
        road(Weather {
            late: 300,
            ..Weather::FAIR
        }),
    );
    assert_eq!(sum.lost, 0, "{sum:?}");
}

#[test]
fn many_arrive_twice() {
    let sum = provision(
        RUNS,
        road(Weather {
            twice: 300,
            ..Weather::FAIR
        }),
    );
    assert!(sum.twice > 5 * RUNS, "{sum:?}");
}

#[test]
fn every_second_record_comes_from_another_address() {
    let rebinding = Rebinding::EveryRecord(2);
    let sum = provision(
        RUNS,
        road(Weather {
            rebinding,
            ..Weather::FAIR
        }),
    );
    assert!(sum.followed > 5 * RUNS, "{sum:?}");
    assert_eq!(sum.lost, 0, "{sum:?}");
}

#[test]
fn everything_at_once_and_a_service_that_takes_its_time() {
    provision(RUNS / 4, WILD);
}

/// The firmware forgets a report that was not acknowledged, so a command may end as unknown; but each ends, and once.
#[test]
fn the_firmware_ends_every_command_once() {
    for keep_open in [true, false] {
        for seed in 0..RUNS / 10 {
            let mut town = town(CoapRoad { keep_open, ..WILD }, Conduct::Firmware, seed);
            town.settle(SESSIONS_MAX);
            none_twice(&town, seed);
        }
    }
}

/// Not the closed loop: its signatures are random.
#[test]
fn the_same_seed_is_the_same_traffic_to_the_last_byte() {
    let hash = |seed| {
        let mut town = blank(WILD, Conduct::Careful, seed);
        let requests = vec![job::ca(&town), job::key(7), job::finished()];
        let now = town.now();
        town.desk.add(requests, now);
        town.settle(SESSIONS_MAX);
        street(&town).air.hash()
    };
    let hashes: BTreeSet<u64> = (0..20).map(hash).collect();
    assert_eq!(hashes.len(), 20);
    assert_eq!((0..20).map(hash).collect::<BTreeSet<_>>(), hashes);
}

fn provision(runs: u64, road: CoapRoad) -> Sum {
    let mut sum = Sum::default();
    for seed in 0..runs {
        let mut town = town(road, Conduct::Careful, seed);
        sum.sessions += town.settle(SESSIONS_MAX);
        let commands = town.desk.commands();
        assert_eq!(commands.len(), 8, "seed {seed}: seven and a certificate");
        assert!(
            commands.iter().all(|c| c.status == Status::Succeeded),
            "seed {seed}: {commands:#?}"
        );
        none_twice(&town, seed);
        let street = street(&town);
        let Traffic { lost, twice, .. } = street.air.up;
        sum.lost += lost + street.air.down.lost;
        sum.twice += twice + street.air.down.twice;
        sum.moves += street.air.moves();
        sum.followed += street.service_counters().moved;
        sum.records += street.records().len();
        assert!(job::tag_is_usable(town), "seed {seed}");
    }
    println!("{runs} runs: {sum:?}");
    sum
}

/// What the device did, it did once, and nobody was alarmed.
fn none_twice(town: &Town, seed: u64) {
    let mut done = BTreeSet::new();
    for event in &town.events {
        if let Event::CommandDone { correlation, .. } = event {
            let id = correlation.to_string();
            assert!(done.insert(id.clone()), "seed {seed}: {id} ran twice");
        }
    }
    assert!(
        town.desk.alarms.is_empty(),
        "seed {seed}: {:?}",
        town.desk.alarms
    );
    let street = street(town);
    if street.air.up.lost + street.air.down.lost == 0 {
        let reported = |event: &&Event| matches!(event, Event::Reported { .. });
        let reported = town.events.iter().filter(reported).count();
        assert_eq!(town.desk.reports as usize, reported, "seed {seed}: reports");
    }
    let air = &street.air;
    assert_eq!(
        (air.up.too_large, air.down.too_large),
        (0, 0),
        "seed {seed}"
    );
}

fn road(weather: Weather) -> CoapRoad {
    CoapRoad {
        weather,
        ..CoapRoad::FAIR
    }
}

fn blank(road: CoapRoad, conduct: Conduct, seed: u64) -> Town {
    let config = ClientConfig {
        session: Config {
            conduct,
            ..Config::default()
        },
        ..ClientConfig::default()
    };
    let options = Options::default();
    Town::with_client(Road::Coap(road), seed, config, options, Cuts::none())
}

/// With the whole job before it.
fn town(road: CoapRoad, conduct: Conduct, seed: u64) -> Town {
    let mut town = blank(road, conduct, seed);
    let (requests, now) = (job::whole(&town), town.now());
    town.desk.add(requests, now);
    town
}

fn street(town: &Town) -> &CoapStreet {
    match &town.street {
        Street::Coap(street) => street,
        Street::Https(_) => panic!("a town over CoAP"),
    }
}
