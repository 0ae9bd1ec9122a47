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
//!   slot. A hint counts for at most a day.
//! - The slots are narrower where waiting for them would be out of proportion: the spread counts at most as the interval,
//!   or as twice the back-off.
//! - Every failure is retried by back-off, a missing time included. For other results than busy, timeout and missing time
//!   the interval ends the waiting if it is shorter.
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
    hint: Option<Duration>,
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
            interval_default: interval,
            spread,
            backoff_first: backoff_first.max(BACKOFF_MIN),
            chance,
            slot,
            origin: Uptime(0),
            stored: 0,
            backoff: Duration::ZERO,
            hint: None,
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

    /// When the client wakes by itself.
    pub(super) const fn wake(&self) -> Option<Uptime> {
        self.wake
    }

    pub(super) fn is_due(&self, now: Uptime) -> bool {
        self.wake.is_some_and(|wake| now >= wake)
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
    }

    /// Nothing comes by itself.
    pub(super) const fn stop(&mut self) {
        self.wake = None;
    }

    /// A request leaves: an older answer's hint is void.
    pub(super) const fn forget_hint(&mut self) {
        self.hint = None;
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
        // The first run and a retry do not wait for a longer interval.
        let sooner = self
            .wake
            .filter(|_| self.began.is_none() || !self.backoff.is_zero());
        let at = self.by_interval(now, now);
        let at = sooner.map_or(at, |wake| wake.min(at));
        self.wake = Some(at);
        at.since(now)
    }

    /// A back-off. `patient`: the interval does not cut it short. Returns how long from now.
    pub(super) fn back_off(&mut self, patient: bool, now: Uptime) -> Duration {
        self.first = false;
        self.backoff = if self.backoff.is_zero() {
            self.backoff_first
        } else {
            self.backoff.saturating_mul(2)
        }
        .min(BACKOFF_MAX);
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
        let wake = self.wake.filter(|_| came_up && !self.backoff.is_zero())?;
        let at = match self.conduct {
            Conduct::Firmware => now,
            Conduct::Careful if self.hint.is_some() => return None,
            Conduct::Careful => self.to_slot(now, self.spread),
        };
        if at >= wake {
            return None;
        }
        self.wake = Some(at);
        Some(at.since(now))
    }

    /// An interval after the last beginning, in the slot, and not before `earliest`.
    fn by_interval(&self, now: Uptime, earliest: Uptime) -> Uptime {
        let interval = self.interval();
        let due = self.began.unwrap_or(now).plus(interval);
        self.to_slot(due.max(now).max(earliest), self.spread.min(interval))
    }

    /// Until when the hint asks us to stay away, with its jitter; now without one.
    fn hinted(&mut self, now: Uptime) -> Uptime {
        match self.hint {
            Some(hint) => now.plus(hint.plus_chance(&mut self.chance)),
            None => now,
        }
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
