//! The daily look: what has expired, what will, which renewals fail; each alarm once.

use super::outlook::{alarming_from, days_left};
use super::{App, DAY, STEP, expected, foreign_from};
use crate::app::renewal::{connect_by, is_asked_for};
use crate::owner_api::moment;
use sectag_proto::Timestamp;
use sectag_proto::rules::Rule;
use sectag_store::{
    AuditEvent, EndingCursor, ForeignEndingQuery, LifeNotes, RenewalQuery, RenewalSeen,
    RenewalStep, StoreError,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Days before an end at which an alarm is raised, each once per certificate; 0 is the end itself.
pub const ALARM_DAYS: [u32; 6] = [0, 1, 3, 7, 14, 30];
/// Between two looks.
pub(super) const LOOK_EVERY: Duration = DAY;
/// A renewal that fails for so long is told. One bad day is none: the next fetch may repair it.
const FAILING_FOR: Duration = DAY;

/// What a look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Certificates that are over.
    pub expired: usize,
    /// Alarms about an end.
    pub expiry_alarms: usize,
    /// Alarms about renewals.
    pub renewal_alarms: usize,
    /// Renewals that no rule asks for any more.
    pub abandoned: usize,
}

impl App {
    /// Looks at the calendar: writes down what has expired, and raises `expiry-alarm` and `renewal-alarm` for what an owner has to
    /// do something about. To be called once a day; a second call at the same time finds nothing new.
    ///
    /// # Errors
    /// The store's; what was found before is written, the next look finds the rest.
    pub async fn look_at_lives(&self, now: Timestamp) -> Result<Looked, StoreError> {
        let mut looked = Looked::default();
        let mut rules = RulesOfTeams::default();
        self.look_at_endings(now, &mut rules, &mut looked).await?;
        self.look_at_renewals(now, &mut rules, &mut looked).await?;
        self.look_at_foreign(now, &mut looked).await?;
        self.look_at_own(now, &mut looked).await?;
        if looked != Looked::default() {
            tracing::info!(
                expired = looked.expired,
                expiry_alarms = looked.expiry_alarms,
                renewal_alarms = looked.renewal_alarms,
                "looked at the certificates' ends"
            );
        }
        Ok(looked)
    }

    async fn look_at_endings(
        &self,
        now: Timestamp,
        rules: &mut RulesOfTeams,
        looked: &mut Looked,
    ) -> Result<(), StoreError> {
        let until = now.plus(DAY * longest_alarm());
        let mut after: Option<EndingCursor> = None;
        loop {
            let page = self.ending(None, until, after, STEP).await?;
            let mut notes = LifeNotes::default();
            for ending in page.items {
                let team = ending.life.team.clone();
                let rules = rules.of(self, &team).await?;
                let life = ending.life.clone();
                let left = days_left(life.not_after, now);
                let from = alarming_from(&ending, &rules);
                let expected = expected(ending, &rules, now);
                if life.not_after <= now {
                    notes.expired.push(life.spki_sha256);
                }
                let Some(threshold) = threshold(left, life.alarm_days) else {
                    continue;
                };
                if expected.outlook.is_well() || (now < from && left > 0) {
                    continue;
                }
                let tag = life.sec_tag.map_or_else(
                    || "an unknown sec tag".to_owned(),
                    |tag| format!("sec tag {tag}"),
                );
                let ends = match left {
                    0 => "ended",
                    _ => "ends",
                };
                let detail = format!(
                    "certificate {} under {tag} {ends} at {}: {}",
                    life.serial,
                    moment(life.not_after),
                    expected.outlook.words(moment)
                );
                notes.alarmed.push((life.spki_sha256, threshold));
                notes.audit.push(
                    AuditEvent::new(now, "service", "expiry-alarm")
                        .team(&team)
                        .device(life.device)
                        .detail(detail),
                );
            }
            looked.expired += notes.expired.len();
            looked.expiry_alarms += notes.audit.len();
            self.note(notes).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn look_at_renewals(
        &self,
        now: Timestamp,
        rules: &mut RulesOfTeams,
        looked: &mut Looked,
    ) -> Result<(), StoreError> {
        let mut after: Option<EndingCursor> = None;
        loop {
            let query = RenewalQuery {
                view: None,
                after,
                limit: STEP,
            };
            let page = self.store.renewals(query).await?;
            let mut notes = LifeNotes::default();
            for seen in page.items {
                let rules = rules.of(self, &seen.run.team).await?;
                let device = self.store.device(seen.run.device).await?;
                let tags = device.map_or_else(Vec::new, |device| device.tags);
                if !is_asked_for(&rules, &seen.run, &tags) {
                    notes.abandoned.push((seen.run.old, now));
                    continue;
                }
                if let Some(detail) = renewal_alarm(&seen, now) {
                    notes.renewals_alarmed.push((seen.run.old, now));
                    notes.audit.push(
                        AuditEvent::new(now, "service", "renewal-alarm")
                            .team(&seen.run.team)
                            .device(seen.run.device)
                            .command(seen.run.command)
                            .detail(detail),
                    );
                }
            }
            looked.renewal_alarms += notes.audit.len();
            looked.abandoned += notes.abandoned.len();
            self.note(notes).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Certificates of other CAs: nobody here can renew them.
    async fn look_at_foreign(&self, now: Timestamp, looked: &mut Looked) -> Result<(), StoreError> {
        let mut after = foreign_from(now);
        loop {
            let query = ForeignEndingQuery {
                view: None,
                until: now.plus(DAY * longest_alarm()),
                after,
                limit: STEP,
            };
            let page = self.store.foreign_endings(query).await?;
            let mut notes = LifeNotes::default();
            for ending in page.items {
                let known = self.store.certificate_alarm(ending.der_sha256).await?;
                let left = days_left(ending.ends_at, now);
                let Some(threshold) = threshold(left, known) else {
                    continue;
                };
                let detail = format!(
                    "registered certificate {} of {} ends at {}: another CA signed it, and has to renew it",
                    ending.serial,
                    ending.id,
                    moment(ending.ends_at)
                );
                notes.others_alarmed.push((ending.der_sha256, threshold));
                notes.audit.push(
                    AuditEvent::new(now, "service", "expiry-alarm")
                        .team(&ending.team)
                        .device(ending.id.parse().ok())
                        .detail(detail),
                );
            }
            looked.expiry_alarms += notes.audit.len();
            self.note(notes).await?;
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    /// The home's own certificates: nobody renews a CA by itself, and a server certificate is renewed at a start.
    async fn look_at_own(&self, now: Timestamp, looked: &mut Looked) -> Result<(), StoreError> {
        let mut notes = LifeNotes::default();
        for own in (self.own_certificates)() {
            let left = days_left(own.not_after, now);
            let known = match left > longest_alarm() {
                true => continue,
                false => self.store.certificate_alarm(own.der_sha256).await?,
            };
            let Some(threshold) = threshold(left, known) else {
                continue;
            };
            let detail = format!(
                "{} ends at {}; without it {}",
                own.name,
                moment(own.not_after),
                own.without_it
            );
            notes.others_alarmed.push((own.der_sha256, threshold));
            notes
                .audit
                .push(AuditEvent::new(now, "service", "expiry-alarm").detail(detail));
        }
        looked.expiry_alarms += notes.audit.len();
        self.note(notes).await
    }

    async fn note(&self, notes: LifeNotes) -> Result<(), StoreError> {
        if notes == LifeNotes::default() {
            return Ok(());
        }
        for event in &notes.audit {
            let device = event.device.map(|id| id.to_string()).unwrap_or_default();
            tracing::warn!(%device, action = event.action, detail = %event.detail, "certificate alarm");
        }
        self.store.note_lives(notes).await
    }
}

/// Renewing rules of the teams that a look meets, read once per look.
#[derive(Default)]
struct RulesOfTeams(HashMap<String, Arc<[Rule]>>);

impl RulesOfTeams {
    async fn of(&mut self, app: &App, team: &str) -> Result<Arc<[Rule]>, StoreError> {
        if let Some(known) = self.0.get(team) {
            return Ok(known.clone());
        }
        let rules: Arc<[Rule]> = app.renewing_rules(team).await?.into();
        self.0.insert(team.to_owned(), rules.clone());
        Ok(rules)
    }
}

const fn longest_alarm() -> u32 {
    ALARM_DAYS[ALARM_DAYS.len() - 1]
}

/// The threshold that was passed, unless an alarm was raised for it, or for a later one, before.
fn threshold(days_left: u32, known: Option<u32>) -> Option<u32> {
    let passed = ALARM_DAYS.into_iter().find(|days| days_left <= *days)?;
    known.is_none_or(|known| known > passed).then_some(passed)
}

/// What is wrong with a renewal that has not been told yet.
fn renewal_alarm(seen: &RenewalSeen, now: Timestamp) -> Option<String> {
    let run = &seen.run;
    if run.alarmed_at.is_some() {
        return None;
    }
    let until = seen.old.as_ref().map_or_else(String::new, |old| {
        format!("; the old certificate ends at {}", moment(old.not_after))
    });
    if let Some(since) = run.failing_since
        && now.since(since) >= FAILING_FOR
    {
        let reason = run.reason.as_deref().unwrap_or("no reason");
        return Some(format!(
            "renewals failing since {}, {} attempts, last: {reason}{until}",
            moment(since),
            run.attempts
        ));
    }
    let old = seen.old.as_ref()?;
    (run.step == RenewalStep::Connect && now >= connect_by(run, old)).then(|| {
        format!(
            "the device has its new certificate under sec tag {} since {} and has not connected with it{until}",
            run.sec_tag,
            moment(run.step_at)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_threshold_is_told_once() {
        assert_eq!(threshold(31, None), None);
        assert_eq!(threshold(30, None), Some(30));
        assert_eq!(threshold(29, Some(30)), None);
        assert_eq!(threshold(10, Some(30)), Some(14));
        assert_eq!(threshold(10, Some(7)), None, "the clock went back");
        assert_eq!(threshold(0, Some(1)), Some(0));
        assert_eq!(threshold(0, Some(0)), None);
    }
}
