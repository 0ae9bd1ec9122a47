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

mod chance;
#[cfg(test)]
mod tests;

use core::time::Duration;

use super::config::Conduct;
use crate::Uptime;
use chance::{PlusChance, SplitMix64};

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
