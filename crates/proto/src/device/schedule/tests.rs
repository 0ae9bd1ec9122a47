//! When a device comes back, in sentences.

use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(86_400);
const SPREAD: Duration = Duration::from_secs(100);
const MINUTE: Duration = Duration::from_secs(60);

fn careful(seed: u64) -> Schedule {
    let mut schedule = Schedule::new(Conduct::Careful, DAY, SPREAD, MINUTE, seed);
    schedule.init(Uptime(5000));
    schedule.schedule(Uptime(5000));
    schedule
}

fn firmware(spread: Duration) -> Schedule {
    let mut schedule = Schedule::new(Conduct::Firmware, DAY, spread, MINUTE, 1);
    schedule.init(Uptime(0));
    schedule.schedule(Uptime(0));
    schedule
}

/// Runs at its time and takes `millis`.
fn run(schedule: &mut Schedule, millis: u64) -> Uptime {
    let wake = schedule.wake().expect("it is scheduled");
    schedule.begin(wake);
    wake.plus(Duration::from_millis(millis))
}

#[test]
fn the_first_run_is_in_the_slot_within_the_spread() {
    let firsts: Vec<u64> = (0..1000)
        .map(|seed| careful(seed).wake().expect("scheduled").0)
        .collect();
    assert!(firsts.iter().all(|at| (6000..106_000).contains(at)));
    let early = firsts.iter().filter(|at| **at < 56_000).count();
    assert!((440..560).contains(&early), "{early}");
}

#[test]
fn a_day_later_it_is_the_same_slot_however_long_the_session_took() {
    let mut schedule = careful(3);
    let first = schedule.wake().expect("scheduled");
    for day in 1..10 {
        let ended = run(&mut schedule, 40_000);
        schedule.schedule(ended);
        // A day has 864 spreads.
        assert_eq!(schedule.wake(), Some(first.plus(DAY * day)));
    }
}

#[test]
fn a_driver_that_is_late_does_not_lose_its_slot() {
    let mut schedule = careful(3);
    let first = schedule.wake().expect("scheduled");
    let late = first.plus(Duration::from_millis(30));
    schedule.begin(late);
    schedule.schedule(late);
    assert_eq!(schedule.wake(), Some(first.plus(DAY)));
}

#[test]
fn a_machine_that_slept_for_days_counts_from_waking_up() {
    let mut schedule = careful(3);
    let woke = Uptime(0).plus(DAY * 5);
    schedule.begin(woke);
    schedule.schedule(woke);
    let next = schedule.wake().expect("scheduled").since(woke);
    assert!(next >= DAY && next <= DAY + SPREAD);
}

#[test]
fn a_retry_takes_the_next_slot_behind_the_back_off() {
    for seed in 0..100 {
        let mut schedule = careful(seed);
        let first = schedule.wake().expect("scheduled");
        let ended = run(&mut schedule, 3000);
        schedule.back_off(true, ended);
        assert_eq!(schedule.wake(), Some(first.plus(SPREAD)));
    }
}

#[test]
fn a_session_that_took_longer_than_the_interval_is_followed_by_the_next_slot() {
    let mut schedule = careful(3);
    schedule.set_interval(10);
    let ended = run(&mut schedule, 45_000);
    let wait = schedule.schedule(ended);
    assert!(wait < Duration::from_secs(10), "{wait:?}");
}

#[test]
fn a_short_interval_narrows_the_slots() {
    let mut schedule = careful(3);
    schedule.set_interval(10);
    let first = run(&mut schedule, 0);
    schedule.schedule(first);
    let second = run(&mut schedule, 0);
    assert!(second.since(first) < Duration::from_secs(20));
    schedule.schedule(second);
    let third = run(&mut schedule, 0);
    assert_eq!(third.since(second), Duration::from_secs(10));
}

#[test]
fn a_short_back_off_narrows_the_slots_too() {
    let mut schedule = Schedule::new(Conduct::Careful, DAY, SPREAD, Duration::ZERO, 4);
    schedule.init(Uptime(0));
    schedule.schedule(Uptime(0));
    let ended = run(&mut schedule, 0);
    let wait = schedule.back_off(true, ended);
    assert!((1000..=3500).contains(&wait.as_millis()), "{wait:?}");
}

#[test]
fn the_firmware_counts_from_the_end_and_adds_whole_seconds_by_chance() {
    let mut schedule = firmware(Duration::ZERO);
    assert_eq!(schedule.wake(), Some(Uptime(1000)));
    let ended = run(&mut schedule, 40_000);
    schedule.schedule(ended);
    assert_eq!(schedule.wake(), Some(Uptime(41_000).plus(DAY)));
    let spread = firmware(SPREAD).wake().expect("scheduled").0;
    assert!((1000..101_000).contains(&spread) && spread.is_multiple_of(1000));
}

#[test]
fn a_back_off_doubles_up_to_a_day_and_starts_anew_after_success() {
    let mut schedule = firmware(Duration::ZERO);
    let mut waits = Vec::new();
    for _ in 0..13 {
        let ended = run(&mut schedule, 0);
        waits.push(schedule.back_off(true, ended).as_secs());
    }
    assert_eq!(waits[..3], [60, 120, 240]);
    assert_eq!(waits[10..], [61_440, 86_400, 86_400]);
    let ended = run(&mut schedule, 0);
    schedule.schedule(ended);
    let ended = run(&mut schedule, 0);
    assert_eq!(schedule.back_off(true, ended).as_secs(), 60);
}

#[test]
fn a_shorter_interval_ends_the_waiting_unless_the_service_was_busy() {
    let waits = |patient| {
        let mut schedule = Schedule::new(
            Conduct::Careful,
            Duration::from_secs(30),
            Duration::ZERO,
            MINUTE,
            1,
        );
        schedule.init(Uptime(0));
        schedule.schedule(Uptime(0));
        let ended = run(&mut schedule, 0);
        schedule.back_off(patient, ended).as_secs()
    };
    assert_eq!(waits(false), 30);
    assert!((60..=90).contains(&waits(true)));
}

#[test]
fn a_hint_also_delays_the_next_regular_run() {
    let mut schedule = careful(1);
    schedule.set_interval(60);
    let ended = run(&mut schedule, 0);
    schedule.take_hint(Duration::from_secs(1000));
    let wait = schedule.schedule(ended);
    assert!((1000..=1560).contains(&wait.as_secs()), "{wait:?}");
}

#[test]
fn the_network_does_not_overrule_a_hint() {
    let mut schedule = careful(1);
    let ended = run(&mut schedule, 0);
    schedule.network(false, ended);
    schedule.take_hint(Duration::from_secs(1000));
    schedule.back_off(true, ended);
    assert_eq!(schedule.network(true, ended), None);
}

#[test]
fn a_hint_counts_once_however_often_the_network_is_missed() {
    let mut schedule = careful(1);
    let ended = run(&mut schedule, 0);
    schedule.take_hint(DAY);
    schedule.back_off(true, ended);
    schedule.network(false, ended);
    // A day later it is due, and there is no network.
    let due = schedule.wake().expect("scheduled");
    assert!(due.since(ended) >= DAY);
    let wait = schedule.back_off(true, due);
    assert!(wait <= MINUTE * 3 + SPREAD, "{wait:?}");
    let wait = schedule.back_off(true, due.plus(wait));
    assert!(wait <= MINUTE * 6 + SPREAD, "{wait:?}");
    let due = schedule.wake().expect("scheduled");
    schedule.back_off(true, due);
    let wait = schedule.network(true, due).expect("it comes sooner");
    assert!(wait <= SPREAD, "{wait:?}");
}

#[test]
fn a_new_interval_shortens_neither_a_hint_nor_a_back_off_from_a_busy_service() {
    let mut schedule = careful(1);
    let ended = run(&mut schedule, 0);
    schedule.take_hint(Duration::from_secs(3600));
    schedule.schedule(ended);
    schedule.set_interval(60);
    let wait = schedule.reschedule(ended);
    assert!(wait >= Duration::from_secs(3600), "{wait:?}");

    let mut schedule = careful(1);
    let ended = run(&mut schedule, 0);
    schedule.back_off(true, ended);
    let wake = schedule.wake();
    schedule.set_interval(1);
    schedule.reschedule(ended);
    assert_eq!(schedule.wake(), wake);
}

#[test]
fn a_long_time_without_a_network_does_not_lengthen_the_back_off_from_a_busy_service() {
    let mut schedule = careful(1);
    schedule.network(false, Uptime(5000));
    let mut now = Uptime(0);
    for _ in 0..12 {
        now = schedule.wake().expect("scheduled");
        schedule.miss_network(now);
    }
    assert!(schedule.wake() >= Some(now.plus(DAY)));
    schedule.network(true, now);
    let ended = run(&mut schedule, 1000);
    let wait = schedule.back_off(true, ended);
    assert!(wait <= MINUTE * 3 / 2 + SPREAD, "{wait:?}");
    // The next outage goes on from there, and so does the next busy answer.
    let due = schedule.wake().expect("scheduled");
    schedule.miss_network(due);
    let ended = run(&mut schedule, 1000);
    let wait = schedule.back_off(true, ended);
    assert!(
        wait >= MINUTE * 2 && wait <= MINUTE * 3 + SPREAD,
        "{wait:?}"
    );
}

#[test]
fn an_interval_of_zero_is_no_busy_loop() {
    for conduct in [Conduct::Careful, Conduct::Firmware] {
        let zero = Duration::ZERO;
        let mut schedule = Schedule::new(conduct, zero, zero, zero, 1);
        schedule.init(Uptime(0));
        schedule.schedule(Uptime(0));
        let ended = run(&mut schedule, 0);
        assert_eq!(schedule.schedule(ended), Duration::from_secs(1));
    }
}

#[test]
fn the_network_wakes_the_firmware_while_its_back_off_is_not_over_even_from_no_plan_at_all() {
    let mut schedule = firmware(Duration::ZERO);
    let ended = run(&mut schedule, 0);
    schedule.back_off(true, ended);
    let ended = run(&mut schedule, 0);
    // No valid time: nothing is planned.
    assert_eq!(schedule.wake(), None);
    schedule.network(false, ended);
    schedule.network(true, ended);
    assert_eq!(schedule.wake(), Some(ended));
}

#[test]
fn neighbouring_seeds_have_nothing_in_common() {
    // First numbers of the published reference implementation for seed 1234567.
    let mut chance = SplitMix64(1_234_567);
    assert_eq!(chance.next(), 6_457_827_717_110_365_317);
    assert_eq!(chance.next(), 3_203_168_211_198_807_973);
    let slots: Vec<u32> = (0..3).map(|seed| careful(seed).slot >> 24).collect();
    assert!(slots[0] != slots[1] && slots[1] != slots[2]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The slot is never before the time asked for, less than a window later, and always at the same place.
    #[test]
    fn a_slot_is_soon_and_always_the_same(
        seed in any::<u64>(),
        earliest in any::<u64>(),
        window in 1_u64..1_000_000,
    ) {
        let schedule = careful(seed);
        let window = Duration::from_millis(window);
        let at = schedule.to_slot(Uptime(earliest), window);
        prop_assert!(at.0 >= earliest);
        prop_assert!(at.since(Uptime(earliest)) < window);
        if at.0 < u64::MAX {
            prop_assert_eq!(schedule.to_slot(at, window), at);
        }
        if let Some(next) = at.0.checked_add(1) {
            let later = schedule.to_slot(Uptime(next), window);
            prop_assert!(later == at.plus(window) || later.0 == u64::MAX);
        }
    }

    /// No time, spread or interval overflows.
    #[test]
    fn extremes_do_not_panic(
        seed in any::<u64>(),
        now in prop_oneof![any::<u64>(), Just(u64::MAX)],
        seconds in prop_oneof![0_u64..10, any::<u64>()],
        spread in prop_oneof![0_u64..10, any::<u64>()],
        firmware in any::<bool>(),
    ) {
        let conduct = if firmware { Conduct::Firmware } else { Conduct::Careful };
        let secs = Duration::from_secs;
        let mut schedule = Schedule::new(conduct, secs(seconds), secs(spread), secs(seconds), seed);
        let now = Uptime(now);
        schedule.init(now);
        schedule.schedule(now);
        schedule.begin(now);
        schedule.take_hint(secs(seconds));
        schedule.back_off(false, now);
        schedule.set_interval(seconds);
        schedule.reschedule(now);
        schedule.network(false, now);
        schedule.network(true, now);
        schedule.begin(now);
        schedule.schedule(now);
        prop_assert!(schedule.wake().is_none_or(|wake| wake >= now));
        prop_assert!(now < Uptime(u64::MAX) || !schedule.is_due(now));
    }
}
