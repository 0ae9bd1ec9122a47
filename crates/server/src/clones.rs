//! One identity in two places, told by what its own requests contradict (docs/reference/audit.md, "Alarms").
//!
//! ```text
//!   over any road:   after = c2 ─► after = c1 ─► after = c2, not delivered again in between      a swing
//!   over CoAP:       session 7  ─► session 5                                                     a swing
//!                                                                two swings within a week: an alarm
//! ```
//! A device is one machine: it goes on from what it did last, or begins anew with an empty `after`; a session that it gave up
//! it never takes up again. So nothing of this moves with its address, and neither a reboot, a lost answer nor a restored
//! backup is a swing: each goes back, and forward only by what is delivered again. One request that the network held for
//! longer than the device waited makes one swing, so one is forgiven.
//!
//! Twins that never show an `after`, or take turns so that one only goes on where the other stopped, look like one device.

use crate::app::App;
use sectag_proto::service::{Changes, Command, Status};
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{AuditEvent, Loaded};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Devices remembered; when full, all are forgotten, and what was seen begins anew.
const DEVICES_MAX: usize = 100_000;
/// Swings that belong together: twins that ask once a day show two within it.
const WINDOW: Duration = Duration::from_secs(7 * 86_400);
/// Deliveries remembered while a device is back: more than one answer carries.
const GIVEN_MAX: usize = 64;
/// An alarm that was raised is not raised again for so long.
const QUIET: Duration = Duration::from_secs(86_400);

impl App {
    /// Looks at the progress that a fetch shows. Whatever it finds, the fetch was answered.
    pub(crate) async fn look_for_a_twin(
        &self,
        loaded: &Loaded,
        after: &str,
        changes: &Changes,
        now: Timestamp,
    ) {
        let device = loaded.device.id;
        let named = |command: &&Command| {
            after
                .strip_prefix(&command.id.to_string())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|digits| digits == format!("{:x}", command.sequence))
        };
        let before = loaded.queue.commands();
        let step = match after.is_empty() {
            true => None,
            false => before.iter().find(named).and_then(step_of),
        };
        let alarm = step.is_some_and(|step| self.clones.fetched(device, step, now));
        let given = before
            .iter()
            .chain(&changes.commands)
            .filter(|command| command.status == Status::InProgress);
        self.clones.given(device, given.filter_map(step_of));
        if alarm {
            let words = "it asked for what follows a command, then for what follows an earlier one, then again as at first, twice";
            self.clone_alarm(device, words, now).await;
        }
    }

    /// Looks at the DTLS session that a request came in.
    #[cfg_attr(
        not(feature = "coap"),
        expect(dead_code, reason = "there are no sessions without CoAP")
    )]
    pub(crate) async fn look_for_a_twin_in(&self, device: DeviceId, session: u64) {
        let now = self.now();
        if self.clones.used(device, session, now) {
            let words = "it went on with a DTLS session that it had left for a newer one, twice";
            self.clone_alarm(device, words, now).await;
        }
    }

    async fn clone_alarm(&self, device: DeviceId, words: &str, now: Timestamp) {
        let detail = format!("two devices seem to share this identity: {words}");
        tracing::warn!(%device, %detail, "clone alarm");
        let event = AuditEvent::new(now, "device", "clone-alarm")
            .device(device)
            .detail(detail);
        if let Err(e) = self.store.record(vec![event]).await {
            tracing::warn!(%device, reason = %e, "cannot write a clone alarm into the audit trail");
        }
    }
}

/// Where in the order of deliveries a command stands: when it was delivered first, then its place in the queue.
pub(crate) type Step = (Timestamp, (u32, u32));

/// The step that a command is; `None` while it was not delivered.
pub(crate) fn step_of(command: &Command) -> Option<Step> {
    command.requested_at.map(|at| (at, command.position))
}

/// What was seen of each device's progress.
#[derive(Debug, Default)]
pub(crate) struct Clones(Mutex<HashMap<DeviceId, Seen>>);

#[derive(Debug, Default)]
struct Seen {
    progress: Course<Step>,
    /// What was delivered since the device showed an earlier step.
    given: Vec<Step>,
    session: Course<u64>,
    swings: Vec<Timestamp>,
    told: Option<Timestamp>,
}

/// Something that only goes forward, unless two of them are told as one.
#[derive(Debug)]
struct Course<T> {
    /// The furthest.
    ahead: Option<T>,
    /// Shown after something further was.
    is_back: bool,
}

impl<T> Default for Course<T> {
    fn default() -> Self {
        Self {
            ahead: None,
            is_back: false,
        }
    }
}

impl<T: Ord + Copy> Course<T> {
    /// Whether this returns to what was left behind, without a way there.
    fn shows(&mut self, now: T, has_a_way: impl FnOnce() -> bool) -> bool {
        match self.ahead {
            Some(ahead) if now < ahead => {
                self.is_back = true;
                false
            }
            ahead => {
                let swings = self.is_back && ahead.is_some() && !has_a_way();
                self.is_back = false;
                self.ahead = Some(now);
                swings
            }
        }
    }
}

impl Clones {
    /// A fetch that names `after` as the last thing done. Whether an alarm is due.
    pub(crate) fn fetched(&self, device: DeviceId, after: Step, now: Timestamp) -> bool {
        self.with(device, |seen| {
            let given = std::mem::take(&mut seen.given);
            let swings = seen.progress.shows(after, || given.contains(&after));
            if seen.progress.is_back {
                // What was on its way when it was heard to be back is a way as well.
                seen.given = given;
            }
            swings && seen.swung(now)
        })
    }

    /// What a fetch delivered, also what had been delivered before.
    pub(crate) fn given(&self, device: DeviceId, steps: impl IntoIterator<Item = Step>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a device that goes forward nobody asks.
        if let Some(seen) = all.get_mut(&device) {
            for step in steps {
                if seen.given.len() < GIVEN_MAX && !seen.given.contains(&step) {
                    seen.given.push(step);
                }
            }
        }
    }

    /// A request in a DTLS session; later sessions have greater numbers. Whether an alarm is due.
    pub(crate) fn used(&self, device: DeviceId, session: u64, now: Timestamp) -> bool {
        self.with(device, |seen| {
            let was_back = seen.session.is_back;
            seen.session.shows(session, || true);
            let swings = seen.session.is_back && !was_back;
            swings && seen.swung(now)
        })
    }

    fn with<R>(&self, device: DeviceId, see: impl FnOnce(&mut Seen) -> R) -> R {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= DEVICES_MAX && !all.contains_key(&device) {
            all.clear();
        }
        see(all.entry(device).or_default())
    }
}

impl Seen {
    /// Notes a swing; whether it is the second one.
    fn swung(&mut self, now: Timestamp) -> bool {
        self.swings.retain(|at| now.since(*at) < WINDOW);
        // Two are enough, however many there are while nothing is told.
        if self.swings.len() >= 2 {
            self.swings.remove(0);
        }
        self.swings.push(now);
        // Told in the future: the calendar was put back since.
        let is_quiet = self
            .told
            .is_some_and(|at| at <= now && now.since(at) < QUIET);
        let due = self.swings.len() >= 2 && !is_quiet;
        if due {
            self.told = Some(now);
            self.swings.clear();
        }
        due
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + 60 * minute)
    }

    fn step(n: u32) -> Step {
        (at(u64::from(n)), (n, 0))
    }

    /// The fetches of a story: what each names and what it is given. How many alarms.
    fn alarms(story: &[(u32, &[u32])]) -> usize {
        let clones = Clones::default();
        let mut alarms = 0;
        for (minute, (after, given)) in (1000..).zip(story) {
            if *after > 0 {
                alarms += usize::from(clones.fetched(DEVICE, step(*after), at(minute)));
            }
            clones.given(DEVICE, given.iter().map(|n| step(*n)));
        }
        alarms
    }

    #[test]
    fn a_device_that_goes_on_raises_nothing() {
        assert_eq!(
            alarms(&[(0, &[1]), (1, &[2, 3]), (3, &[]), (3, &[4]), (4, &[])]),
            0
        );
    }

    #[test]
    fn a_reboot_again_and_again_raises_nothing() {
        let story: &[(u32, &[u32])] = &[
            (0, &[1, 2]),
            (2, &[3]),
            (0, &[3]),
            (3, &[4]),
            (0, &[4]),
            (0, &[4]),
            (4, &[]),
            (0, &[]),
            (0, &[5]),
            (5, &[]),
        ];
        assert_eq!(alarms(story), 0);
    }

    #[test]
    fn a_restored_backup_raises_nothing_however_often() {
        let story: &[(u32, &[u32])] = &[
            (3, &[]),
            (1, &[4]),
            (4, &[]),
            (2, &[5]),
            (5, &[]),
            (1, &[6]),
            (6, &[]),
        ];
        assert_eq!(alarms(story), 0);
    }

    #[test]
    fn one_request_that_the_network_held_is_forgiven() {
        assert_eq!(
            alarms(&[(2, &[]), (1, &[]), (2, &[]), (2, &[3]), (3, &[])]),
            0
        );
    }

    #[test]
    fn twins_that_go_on_from_different_places_are_told() {
        assert_eq!(
            alarms(&[(1, &[]), (2, &[]), (1, &[]), (2, &[]), (1, &[]), (2, &[])]),
            1
        );
        // Also while there is work for both.
        let story: &[(u32, &[u32])] = &[
            (2, &[3]),
            (1, &[]),
            (3, &[]),
            (1, &[]),
            (3, &[4]),
            (1, &[]),
            (4, &[]),
            (1, &[]),
            (4, &[]),
        ];
        assert_eq!(alarms(story), 1);
    }

    #[test]
    fn an_alarm_is_raised_once_a_day() {
        let clones = Clones::default();
        let raised = |from: u64| {
            (0..20)
                .filter(|n| clones.fetched(DEVICE, step(1 + (*n as u32) % 2), at(from + n)))
                .count()
        };
        assert_eq!(raised(0), 1);
        assert_eq!(raised(600), 0);
        assert_eq!(raised(1600), 1);
    }

    #[test]
    fn a_session_that_was_given_up_is_not_taken_up_again() {
        let clones = Clones::default();
        let used = |sessions: &[u64], day: u64| {
            sessions
                .iter()
                .filter(|session| clones.used(DEVICE, **session, at(day * 1440)))
                .count()
        };
        assert_eq!(used(&[1, 1, 2, 3, 3, 4], 0), 0, "a new one for each reboot");
        assert_eq!(used(&[3, 5, 5], 0), 0, "one datagram that was late");
        assert_eq!(used(&[3, 5], 8), 0, "and another one, a week later");
        assert_eq!(used(&[3], 9), 1);
        assert_eq!(used(&[6, 3, 7, 3], 9), 0, "told already");
    }

    #[test]
    fn a_calendar_put_back_silences_no_alarm() {
        let clones = Clones::default();
        let raised = |from: u64| {
            (0..20)
                .filter(|n| clones.fetched(DEVICE, step(1 + (*n as u32) % 2), at(from + n)))
                .count()
        };
        assert_eq!(raised(1_000_000), 1);
        assert_eq!(raised(0), 1);
    }

    #[test]
    fn what_a_swinging_device_costs_has_an_end() {
        let clones = Clones::default();
        for n in 0..1000_u64 {
            clones.fetched(DEVICE, step(1 + (n as u32) % 2), at(n));
        }
        assert!(clones.0.lock().unwrap()[&DEVICE].swings.len() <= 2);
    }

    mod property {
        use super::*;
        use proptest::prelude::*;

        /// What befalls an honest device between two fetches.
        #[derive(Debug, Clone, Copy)]
        enum Fate {
            Works,
            AnswerLost,
            ReportLost,
            Reboots,
            BackedUp,
            Restored,
        }

        fn fate() -> impl Strategy<Value = Fate> {
            prop_oneof![
                4 => Just(Fate::Works),
                1 => Just(Fate::AnswerLost),
                1 => Just(Fate::ReportLost),
                1 => Just(Fate::Reboots),
                1 => Just(Fate::BackedUp),
                1 => Just(Fate::Restored),
            ]
        }

        proptest! {
            /// One device whose commands are settled when it reports; what it has not reported is delivered again.
            #[test]
            fn one_device_never_looks_like_two(fates in proptest::collection::vec((fate(), 0..3_u32), 1..60)) {
                let clones = Clones::default();
                let (mut last, mut queued, mut settled) = (0, 0, 0);
                let mut backup = 0;
                for (minute, (fate, new)) in (2000..).zip(fates) {
                    queued += new;
                    if last > 0 {
                        prop_assert!(!clones.fetched(DEVICE, step(last), at(minute)));
                    }
                    let batch: Vec<u32> = (settled + 1..=queued).collect();
                    clones.given(DEVICE, batch.iter().map(|n| step(*n)));
                    match fate {
                        Fate::Works => {
                            last = batch.last().copied().unwrap_or(last);
                            settled = queued;
                        }
                        Fate::AnswerLost => {}
                        // The service has it and the device does not know: it stays where it was.
                        Fate::ReportLost => settled = queued,
                        Fate::Reboots => last = 0,
                        Fate::BackedUp => backup = last,
                        Fate::Restored => last = backup,
                    }
                }
            }
        }
    }
}
