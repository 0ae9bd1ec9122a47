//! Where the renewals of one device stand: what became of the last step, and which one is next. Values in, values out.

use super::begin::{Asked, target};
use super::cover::{covering, is_asked_for, is_due};
use sectag_proto::rules::Rule;
use sectag_proto::service::{Command, Status};
use sectag_proto::{CommandId, SecTag, Timestamp};
use sectag_store::{
    Device, DeviceLives, Life, LifeChange, LifeState, RenewalRun, RenewalStep, Spki,
};
use std::time::Duration;

/// After the first failure; doubled after each further one. A session that asks again and again shall not become a loop.
const RETRY_AFTER: Duration = Duration::from_secs(600);
/// Between two attempts at most, so that a device that comes daily is tried daily.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// Of what is left of a life, an attempt waits at most this part: short lives have short patience.
const RETRY_PART: u64 = 8;
/// Characters of a reason on record.
const REASON_CHARS_MAX: usize = 256;

/// A device at this moment, as its renewals see it.
#[derive(Debug)]
pub(crate) struct At<'a> {
    pub(super) device: &'a Device,
    /// Those that renew, and are for it.
    rules: &'a [Rule],
    lives: DeviceLives,
    /// Nothing waits in its queue.
    idle: bool,
    pub(super) now: Timestamp,
    changed: Vec<Spki>,
    new: Vec<LifeChange>,
}

impl<'a> At<'a> {
    pub(crate) const fn new(
        device: &'a Device,
        rules: &'a [Rule],
        lives: DeviceLives,
        idle: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            device,
            rules,
            lives,
            idle,
            now,
            changed: Vec::new(),
            new: Vec::new(),
        }
    }

    /// The open runs.
    pub(crate) fn runs(&self) -> Vec<RenewalRun> {
        self.lives.renewals.clone()
    }

    /// What became of a command: `None` when it is not there any more.
    pub(crate) fn heard(&mut self, id: CommandId, command: Option<&Command>) {
        let Some(run) = self
            .lives
            .renewals
            .iter()
            .find(|run| run.command == Some(id))
        else {
            return;
        };
        let mut run = run.clone();
        match command {
            Some(command) if !command.status.is_terminal() => return,
            Some(command) if command.status == Status::Succeeded => self.succeeded(&mut run),
            Some(command) => {
                let words = command.response.as_ref().map(|r| r.message.trim());
                let words = words.filter(|words| !words.is_empty());
                let kind = command.request.kind().member();
                let reason = format!("{kind}: {}", words.unwrap_or("failed"));
                self.fail(&mut run, &reason);
            }
            None => {
                let step = run.step.as_str();
                self.fail(
                    &mut run,
                    &format!("the command of step `{step}` was deleted"),
                );
            }
        }
        self.put(run);
    }

    fn succeeded(&mut self, run: &mut RenewalRun) {
        let next = match run.step {
            RenewalStep::Certificate => {
                if let Some(new) = run.new {
                    self.new.push(LifeChange::Written {
                        spki_sha256: new,
                        at: self.now,
                    });
                    for life in &mut self.lives.lives {
                        if life.spki_sha256 == new && life.state == LifeState::Issued {
                            life.state = LifeState::Written;
                        }
                    }
                }
                if run.in_place {
                    RenewalStep::Connect
                } else {
                    RenewalStep::Waiting
                }
            }
            RenewalStep::Switch => RenewalStep::Connect,
            // Without a certificate beside it the success of a CSR leads nowhere.
            RenewalStep::Key => {
                self.fail(run, "the CSR brought no certificate");
                return;
            }
            step => step,
        };
        run.step = next;
        run.step_at = self.now;
        run.command = None;
        run.retry_at = self.now;
        run.failing_since = None;
        run.reason = None;
        run.alarmed_at = None;
    }

    fn fail(&self, run: &mut RenewalRun, reason: &str) {
        let old = self.lives.lives.iter().find(|l| l.spki_sha256 == run.old);
        let left = old.map_or(0, |life| life.not_after.0.saturating_sub(self.now.0));
        run.step = RenewalStep::Waiting;
        run.step_at = self.now;
        run.command = None;
        run.retry_at = self.now.plus(retry_after(run.attempts, left));
        run.failing_since.get_or_insert(self.now);
        run.reason = Some(reason.chars().take(REASON_CHARS_MAX).collect());
    }

    /// Runs that no rule of this device asks for any more, and of which nothing is under way: other rules can begin theirs.
    pub(crate) fn drop_unasked(&mut self) {
        let waiting = self.lives.renewals.clone().into_iter();
        for mut run in waiting.filter(|run| run.step == RenewalStep::Waiting) {
            if !is_asked_for(self.rules, &run, &self.device.tags) {
                self.abandon(&mut run);
                self.put(run);
            }
        }
    }

    fn abandon(&self, run: &mut RenewalRun) {
        run.step = RenewalStep::Abandoned;
        run.step_at = self.now;
        run.ended_at = Some(self.now);
    }

    /// Runs whose connection nobody has seen by the time that their own new certificate is due: it is renewed like any other
    /// (such devices connect to another broker, or stick to the old tag), unless the old one still works.
    pub(crate) fn give_up_waiting(&mut self) {
        let waiting = self.lives.renewals.clone().into_iter();
        for mut run in waiting.filter(|run| run.step == RenewalStep::Connect) {
            let of = |spki: Spki| self.lives.lives.iter().find(move |l| l.spki_sha256 == spki);
            let old_works = of(run.old).is_some_and(|old| old.not_after > self.now);
            let is_due = run.new.and_then(of).is_some_and(|new| {
                covering(self.rules, new)
                    .is_some_and(|(_, renewal)| is_due(new, renewal.at_percent, self.now))
            });
            if is_due && (run.in_place || !old_works) {
                self.abandon(&mut run);
                // What is renewed from here on is the new one.
                let old = run.old;
                self.lives.lives.retain(|life| life.spki_sha256 != old);
                self.new.push(LifeChange::Superseded {
                    spki_sha256: old,
                    at: self.now,
                });
                self.put(run);
            }
        }
    }

    /// What is to be begun at this fetch: at most one thing, and nothing while something else is under way.
    pub(crate) fn next_step(&self) -> Option<Asked> {
        if !self.idle {
            return None;
        }
        let under_way = |run: &RenewalRun| {
            matches!(
                run.step,
                RenewalStep::Key | RenewalStep::Certificate | RenewalStep::Switch
            )
        };
        if self.lives.renewals.iter().any(under_way) {
            return None;
        }
        let goes_on = self
            .lives
            .renewals
            .iter()
            .filter_map(|run| self.goes_on(run));
        let begins = self.lives.lives.iter().filter_map(|life| self.begins(life));
        goes_on.chain(begins).next()
    }

    fn goes_on(&self, run: &RenewalRun) -> Option<Asked> {
        // A time further off than any attempt waits was written by a clock that was ahead.
        let waits = run.retry_at > self.now && run.retry_at.since(self.now) <= RETRY_AFTER_MAX;
        if run.step != RenewalStep::Waiting || waits {
            return None;
        }
        let rule = self
            .rules
            .iter()
            .find(|r| r.id.to_string() == run.rule_id)?;
        let renewal = rule.renewal?;
        let of = |spki: Spki| self.lives.lives.iter().find(move |l| l.spki_sha256 == spki);
        let new = run.new.and_then(of);
        let is_written = |life: &Life| matches!(life.state, LifeState::Written | LifeState::Used);
        let switches = !run.in_place && new.is_some_and(is_written);
        if !switches && self.is_taken(run.sec_tag, run.old, run.new) {
            return None;
        }
        Some(Asked {
            // In place the old certificate is superseded by then; what is known of it is in the run.
            life: of(run.old).or(new)?.clone(),
            switches,
            run: Some(run.clone()),
            rule: rule.clone(),
            renewal,
        })
    }

    fn begins(&self, life: &Life) -> Option<Asked> {
        let runs = &self.lives.renewals;
        let is_in_a_run = |run: &RenewalRun| {
            run.step.is_open() && (run.old == life.spki_sha256 || run.new == Some(life.spki_sha256))
        };
        if life.team != self.device.owner || runs.iter().any(is_in_a_run) {
            return None;
        }
        let (rule, renewal) = covering(self.rules, life)?;
        let target = target(rule, &renewal, life)?;
        if !is_due(life, renewal.at_percent, self.now)
            || self.is_taken(target, life.spki_sha256, None)
        {
            return None;
        }
        Some(Asked {
            life: life.clone(),
            run: None,
            rule: rule.clone(),
            renewal,
            switches: false,
        })
    }

    /// Whether the renewal of `old` must leave this tag alone: what the device works with, or is about to by another renewal,
    /// is never overwritten.
    fn is_taken(&self, tag: SecTag, old: Spki, own: Option<Spki>) -> bool {
        let awaited = |spki: Spki| {
            let mut others = self.lives.renewals.iter().filter(|run| run.old != old);
            others.any(|run| run.step.is_open() && run.new == Some(spki))
        };
        self.lives.lives.iter().any(|life| {
            let spki = life.spki_sha256;
            life.sec_tag == Some(tag)
                && spki != old
                && Some(spki) != own
                && life.not_after > self.now
                && (life.state == LifeState::Used || awaited(spki))
        })
    }

    /// What was asked could not be begun.
    pub(crate) fn failed(&mut self, asked: &Asked, reason: &str) {
        if let Ok(mut run) = self.run_of(asked) {
            run.attempts = run.attempts.saturating_add(1);
            self.fail(&mut run, reason);
            self.put(run);
        }
    }

    /// How a run stands from now on.
    pub(crate) fn put(&mut self, run: RenewalRun) {
        self.changed.push(run.old);
        match self.lives.renewals.iter_mut().find(|r| r.old == run.old) {
            Some(known) => *known = run,
            None => self.lives.renewals.push(run),
        }
    }

    /// What is to be committed.
    pub(crate) fn changes(self) -> Vec<LifeChange> {
        let changed = self.changed;
        let runs = self.lives.renewals.into_iter();
        let runs = runs.filter(|run| changed.contains(&run.old));
        let runs = runs.map(|run| LifeChange::Renewal(Box::new(run)));
        self.new.into_iter().chain(runs).collect()
    }
}

/// Longer with each attempt, and never so long that a good part of what is left goes by.
fn retry_after(attempts: u32, left_ms: u64) -> Duration {
    let doubled = RETRY_AFTER.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    doubled
        .min(RETRY_AFTER_MAX)
        .min(Duration::from_millis(left_ms / RETRY_PART))
        .max(RETRY_AFTER)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
