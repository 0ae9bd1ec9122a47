//! When a client comes back: the second small machine beside the session (spec/device-protocol §12).
//!
//! Pure: the time is an argument, chance is a seed. It knows nothing of settings, requests or events; the
//! [`Client`](super::Client) tells it what happened and asks it when to wake.
//!
//! **Firmware conduct** (generation G3). The first run comes after 1 s, later ones an interval after the last one
//! ended, each plus `rand() % max(SPREAD_S, 1)` whole seconds. Busy and timeout are retried after INITIAL_BACKOFF, doubled
//! each time up to a day, without any chance in it: those that were turned away together come back together. Without a
//! valid time nothing is scheduled again.
//!
//! **Our conduct.** The device has one *slot* in the spread, drawn from its seed, and comes only then:
//!
//! ```text
//!   init + 1 s                                  + 100 s                           + 200 s
//!   |─────────x───────────────────────────────────|─────────x───────────────────────|─────────x──── …
//!             slot: first run                       retry after 60 s (+ jitter): the next slot
//! ```
//!
//! - A due time is moved forward to the next slot. So a herd that was powered up together stays as flat as the spread made
//!   it, whoever was turned away and how often: in each second at most those come whose slot it is.
//! - The interval counts from the *beginning* of a session, so that a device keeps its slot from day to day.
//! - A back-off is its base (60 s, doubled up to a day) plus up to half of it by chance, then the slot.
//! - The service's hint (`Retry-After`) is a lower bound for whatever comes next, plus up to half of it by chance, then the
//!   slot. A hint counts for at most a day from its answer on, and no new interval and no network makes it shorter.
//! - The slots are narrower where waiting for them would be out of proportion: the spread counts at most as the interval,
//!   or as twice the back-off.
//! - Every failure is retried by back-off, a missing time included. For other results than busy, timeout and missing time
//!   the interval ends the waiting if it is shorter.
//! - Without a network the back-off grows for itself: a service that is busy when it is back is not made to pay for it.
//! - When the network comes up during a back-off, the next slot is taken (the firmware runs at once, and so does everybody
//!   who lost the same cell).
//! - A spread of zero means no slots: then only the jitter keeps a herd apart.

use core::time::Duration;

use super::config::Conduct;
use crate::Uptime;

/// Longest back-off, and the longest time that a hint counts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(86_400);
/// The first run comes at least this long after the start.
const FIRST_RUN: Duration = Duration::from_secs(1);
/// A back-off of zero would be a busy loop.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// An interval of zero would be another.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    conduct: Conduct,
    interval_default: Duration,
    spread: Duration,
    backoff_first: Duration,
    chance: SplitMix64,
    /// Place of the slot in the spread, as a fraction of 2³².
    slot: u32,
    /// Where the first spread begins.
    origin: Uptime,
    /// Stored interval in seconds; 0 is none.
    stored: u64,
    /// The last back-off; zero when there is none.
    backoff: Duration,
    /// What it was when a session ended; without a network it grows for itself.
    backoff_of_session: Duration,
    /// The interval does not cut the back-off short.
    patient: bool,
    /// The service's, until the waiting that follows its answer is decided.
    hint: Option<Duration>,
    /// Until when the service asked us to stay away.
    not_before: Uptime,
    network: bool,
    /// Beginning of the last session; `None` before the first.
    began: Option<Uptime>,
    first: bool,
    wake: Option<Uptime>,
}

impl Schedule {
    pub(super) fn new(
        conduct: Conduct,
        interval: Duration,
        spread: Duration,
        backoff_first: Duration,
        seed: u64,
    ) -> Self {
        let mut chance = SplitMix64(seed);
        let slot = u32::try_from(chance.below(1 << 32)).unwrap_or(0);
        Self {
            conduct,
            interval_default: interval.max(INTERVAL_MIN),
            spread,
            backoff_first: backoff_first.max(BACKOFF_MIN),
            chance,
            slot,
            origin: Uptime(0),
            stored: 0,
            backoff: Duration::ZERO,
            backoff_of_session: Duration::ZERO,
            patient: false,
            hint: None,
            not_before: Uptime(0),
            network: true,
            began: None,
            first: true,
            wake: None,
        }
    }

    /// The client was initialised.
    pub(super) fn init(&mut self, now: Uptime) {
        self.origin = now.plus(FIRST_RUN);
    }

    /// Interval in effect.
    pub(super) fn interval(&self) -> Duration {
        match self.stored {
            0 => self.interval_default,
            seconds => Duration::from_secs(seconds),
        }
    }

    /// Whether this interval is in effect already.
    pub(super) fn is_interval(&self, seconds: u64) -> bool {
        let asked = match seconds {
            0 => self.interval_default,
            seconds => Duration::from_secs(seconds),
        };
        asked == self.interval()
    }

    /// A stored interval in seconds, 0 for the default; whether that changes anything.
    pub(super) fn set_interval(&mut self, seconds: u64) -> bool {
        let before = self.interval();
        self.stored = seconds;
        self.interval() != before
    }

    /// When the client wakes by itself. The clock's last moment is what it cannot count, and never comes: a clock that
    /// stands there would make every wait a busy loop.
    pub(super) const fn wake(&self) -> Option<Uptime> {
        match self.wake {
            Some(Uptime(u64::MAX)) => None,
            wake => wake,
        }
    }

    pub(super) fn is_due(&self, now: Uptime) -> bool {
        self.wake().is_some_and(|wake| now >= wake)
    }

    pub(super) const fn has_network(&self) -> bool {
        self.network
    }

    /// A session begins: because it was due, or because somebody asked.
    pub(super) fn begin(&mut self, now: Uptime) {
        let interval = self.interval();
        // The planned time, so that a driver's lateness does not add up; unless the machine slept over it.
        let due = self
            .wake
            .take()
            .filter(|wake| now >= *wake && now.since(*wake) < interval);
        self.began = Some(due.unwrap_or(now));
        self.first = false;
        self.hint = None;
        self.not_before = Uptime(0);
        if self.conduct == Conduct::Careful {
            self.backoff = self.backoff_of_session;
        }
    }

    /// Nothing comes by itself.
    pub(super) const fn stop(&mut self) {
        self.wake = None;
    }

    /// A request leaves: an older answer's hint is void.
    pub(super) const fn forget_hint(&mut self) {
        self.hint = None;
        self.not_before = Uptime(0);
    }

    /// The service says when to return. The firmware does not listen.
    pub(super) fn take_hint(&mut self, hint: Duration) {
        if self.conduct == Conduct::Careful {
            self.hint = Some(hint.min(BACKOFF_MAX));
        }
    }

    /// The first run after the start, or the next one after a session that needs no back-off. Returns how long from now.
    pub(super) fn schedule(&mut self, now: Uptime) -> Duration {
        self.backoff = Duration::ZERO;
        self.backoff_of_session = Duration::ZERO;
        self.patient = false;
        let at = match (self.conduct, self.first) {
            (Conduct::Firmware, first) => {
                let wait = if first { FIRST_RUN } else { self.interval() };
                now.plus(wait).plus(self.firmware_spread())
            }
            (Conduct::Careful, true) => self.to_slot(self.origin.max(now), self.spread),
            (Conduct::Careful, false) => {
                let hinted = self.hinted(now);
                self.by_interval(now, hinted)
            }
        };
        self.first = false;
        self.wake = Some(at);
        at.since(now)
    }

    /// The interval was changed while nothing ran. Returns how long from now.
    pub(super) fn reschedule(&mut self, now: Uptime) -> Duration {
        if self.conduct == Conduct::Firmware || self.first {
            return self.schedule(now);
        }
        let earliest = self.hinted(now);
        let at = self.by_interval(now, earliest);
        let at = match self.wake {
            Some(wake) if self.patient => wake,
            // The first run and a retry do not wait for a longer interval.
            Some(wake) if self.began.is_none() || !self.backoff.is_zero() => wake.min(at),
            _ => at,
        };
        self.wake = Some(at);
        at.since(now)
    }

    /// A back-off, since there is no network to run on. Returns how long from now.
    pub(super) fn miss_network(&mut self, now: Uptime) -> Duration {
        let of_session = self.backoff_of_session;
        let wait = self.back_off(true, now);
        self.backoff_of_session = of_session;
        wait
    }

    /// A back-off after a session. `patient`: the interval does not cut it short. Returns how long from now.
    pub(super) fn back_off(&mut self, patient: bool, now: Uptime) -> Duration {
        self.first = false;
        self.patient = patient;
        self.backoff = if self.backoff.is_zero() {
            self.backoff_first
        } else {
            self.backoff.saturating_mul(2)
        }
        .min(BACKOFF_MAX);
        self.backoff_of_session = self.backoff;
        let at = match self.conduct {
            Conduct::Firmware => now.plus(self.backoff),
            Conduct::Careful => {
                let hinted = self.hinted(now);
                let wait = self.backoff.plus_chance(&mut self.chance);
                let at = now.plus(wait).max(hinted);
                let at = self.to_slot(at, self.spread.min(self.backoff.saturating_mul(2)));
                if patient {
                    at
                } else {
                    at.min(self.by_interval(now, hinted))
                }
            }
        };
        self.wake = Some(at);
        at.since(now)
    }

    /// The network came up or went down. Returns how long from now when that changes the wake-up.
    pub(super) fn network(&mut self, up: bool, now: Uptime) -> Option<Duration> {
        let came_up = up && !self.network;
        self.network = up;
        if !came_up || self.backoff.is_zero() {
            return None;
        }
        let at = match self.conduct {
            // Also where nothing is planned any more.
            Conduct::Firmware => now,
            Conduct::Careful => {
                let earliest = self.hinted(now);
                let at = self.to_slot(earliest, self.spread);
                self.wake.filter(|wake| at < *wake)?;
                at
            }
        };
        self.wake = Some(at);
        Some(at.since(now))
    }

    /// An interval after the last beginning, in the slot, and not before `earliest`.
    fn by_interval(&self, now: Uptime, earliest: Uptime) -> Uptime {
        let interval = self.interval();
        let due = self.began.unwrap_or(now).plus(interval);
        self.to_slot(due.max(now).max(earliest), self.spread.min(interval))
    }

    /// Until when the hint asks us to stay away, with its jitter; now without one. A hint counts from its answer on, so
    /// it is turned into a time once.
    fn hinted(&mut self, now: Uptime) -> Uptime {
        if let Some(hint) = self.hint.take() {
            self.not_before = now.plus(hint.plus_chance(&mut self.chance));
        }
        self.not_before.max(now)
    }

    /// The first time from `earliest` on that is in this device's slot of a repeating window.
    fn to_slot(&self, earliest: Uptime, window: Duration) -> Uptime {
        let window = window.as_millis();
        if window == 0 {
            return earliest;
        }
        let phase = (u128::from(self.slot) * window) >> 32;
        let slot = (u128::from(self.origin.0) + phase) % window;
        let behind = (u128::from(earliest.0) % window + window - slot) % window;
        let wait = if behind == 0 { 0 } else { window - behind };
        earliest.plus(Duration::from_millis(
            u64::try_from(wait).unwrap_or(u64::MAX),
        ))
    }

    fn firmware_spread(&mut self) -> Duration {
        Duration::from_secs(self.chance.below(self.spread.as_secs().max(1)))
    }
}

trait PlusChance {
    fn plus_chance(self, chance: &mut SplitMix64) -> Duration;
}

impl PlusChance for Duration {
    /// This time and up to half of it more.
    fn plus_chance(self, chance: &mut SplitMix64) -> Duration {
        let half = u64::try_from(self.as_millis() / 2).unwrap_or(u64::MAX - 1);
        self.saturating_add(Self::from_millis(chance.below(half.saturating_add(1))))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, every seed is good, neighbouring seeds give unrelated
/// sequences. For waiting times only, never for keys.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[cfg(test)]
mod tests {
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
}
