//! What a renewal does next: values in, values out.

use super::command;
use sectag_proto::command::{CommandRequest, ConfigPairs};
use sectag_proto::rules::template::Binding;
use sectag_proto::rules::{ClosedLoop, RenewInto, Renewal, Rule};
use sectag_proto::service::{Command, NewCommand, Status};
use sectag_proto::{CommandId, SecTag, Timestamp};
use sectag_store::{
    Device, DeviceLives, Life, LifeChange, LifeState, RenewalRun, RenewalStep, Spki,
};
use std::time::Duration;

/// The setting that tells a device which tag to use for MQTT: its value is the tag's number. Applications that read it take
/// the certificate from there, and from the tag they had before when that does not work.
pub const SWITCH_KEY: &str = "mqtt/sec-tag";

/// After the first failure; doubled after each further one. A session that asks again and again shall not become a loop.
const RETRY_AFTER: Duration = Duration::from_secs(600);
/// Between two attempts at most, so that a device that comes daily is tried daily.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// Of what is left of a life, an attempt waits at most this part: short lives have short patience.
const RETRY_PART: u64 = 8;
/// A device has this long to connect with its new certificate, or half of what the old one has left, whichever is less.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// Characters of a reason on record.
const REASON_CHARS_MAX: usize = 256;

/// When a certificate is to be renewed.
pub(crate) fn due_at(life: &Life, at_percent: u8) -> Timestamp {
    let length = u128::from(life.not_after.0.saturating_sub(life.not_before.0));
    let share = length * u128::from(at_percent.min(100)) / 100;
    Timestamp(
        life.not_before
            .0
            .saturating_add(u64::try_from(share).unwrap_or(u64::MAX)),
    )
}

/// The rule that renews this certificate: the one that made it, else the first that has it made under its tag.
pub(crate) fn covering<'r>(rules: &'r [Rule], life: &Life) -> Option<(&'r Rule, Renewal)> {
    let renewing = || {
        rules
            .iter()
            .filter_map(|rule| rule.renewal.map(|renewal| (rule, renewal)))
    };
    let made = |(rule, _): &(&Rule, Renewal)| {
        let id = rule.id.to_string();
        life.rule_id.as_ref() == Some(&id)
    };
    let has_its_tag = |(rule, renewal): &(&Rule, Renewal)| {
        tags_of(rule, renewal).any(|tag| life.sec_tag == Some(tag))
    };
    renewing()
        .find(made)
        .or_else(|| renewing().find(has_its_tag))
}

/// Until when a device that has everything must have connected with its new certificate.
pub(crate) fn connect_by(run: &RenewalRun, old: &Life) -> Timestamp {
    let left = old.not_after.since(run.step_at) / 2;
    let within = match run.in_place {
        // The old one is of no use any more.
        true => CONNECT_WITHIN,
        false => left.min(CONNECT_WITHIN),
    };
    run.step_at.plus(within)
}

/// Whether the rule that asked for a renewal still does.
pub(crate) fn covering_rule_is_there(rules: &[Rule], run: &RenewalRun) -> bool {
    let mut renewing = rules.iter().filter(|rule| rule.renewal.is_some());
    renewing.any(|rule| rule.id.to_string() == run.rule_id)
}

/// How a certificate under this tag is renewed, by the first of these rules that renews it.
pub(crate) fn renewal_of(rules: &[&Rule], sec_tag: SecTag) -> Option<Renewal> {
    let mut renewing = rules
        .iter()
        .filter_map(|rule| rule.renewal.map(|renewal| (rule, renewal)));
    let found = renewing.find(|(rule, renewal)| tags_of(rule, renewal).any(|tag| tag == sec_tag));
    found.map(|(_, renewal)| renewal)
}

/// The tags under which a rule keeps certificates.
fn tags_of(rule: &Rule, renewal: &Renewal) -> impl Iterator<Item = SecTag> {
    let alternate = match renewal.into {
        RenewInto::InPlace => None,
        RenewInto::Alternate { sec_tag } => Some(sec_tag),
    };
    issued_to(rule).chain(alternate)
}

/// The tags for which a rule has certificates issued.
fn issued_to(rule: &Rule) -> impl Iterator<Item = SecTag> {
    rule.commands
        .iter()
        .filter_map(|command| command.closed_loop().map(|(tag, _)| tag))
}

/// Why certificates of these commands cannot be renewed like this; `None` when they can.
pub fn problem_of(
    commands: &[sectag_proto::rules::RuleCommand],
    renewal: &Renewal,
) -> Option<String> {
    let mut tags = commands
        .iter()
        .filter_map(|command| command.closed_loop().map(|(tag, _)| tag));
    let (first, second) = (tags.next(), tags.next());
    let RenewInto::Alternate { sec_tag } = renewal.into else {
        return None;
    };
    if second.is_some() {
        return Some(
            "into.alternate: the rule has certificates issued for several tags, and one tag cannot be the other of all of them; make a rule for each"
                .to_owned(),
        );
    }
    (first == Some(sec_tag)).then(|| {
        format!("into.alternate: sec tag {sec_tag} is the rule's own; name another one, or renew in place")
    })
}

/// What a renewal will do to a device, a line each; for plans.
pub fn words_of(renewal: &Renewal) -> Vec<String> {
    let percent = renewal.at_percent;
    match renewal.into {
        RenewInto::InPlace => vec![
            format!("at {percent} % of its life, at the next fetch: the key under the tag is replaced, then the certificate"),
            "from the new key until the new certificate the device cannot connect; when it loses power or network in between, until its next fetch".to_owned(),
            "done when the device has connected with the new certificate".to_owned(),
        ],
        RenewInto::Alternate { sec_tag } => vec![
            format!("at {percent} % of its life, at the next fetch: root CA, new key and new certificate into sec tag {sec_tag}; the next renewal goes back"),
            format!("then the setting `{SWITCH_KEY}` tells the device to use it; the old certificate stays and works"),
            "done when the device has connected with the new certificate".to_owned(),
        ],
    }
}

/// A device at this moment, as its renewals see it.
#[derive(Debug)]
pub(crate) struct At<'a> {
    device: &'a Device,
    rules: &'a [Rule],
    lives: DeviceLives,
    /// Nothing waits in its queue.
    idle: bool,
    now: Timestamp,
    changed: Vec<Spki>,
    new: Vec<LifeChange>,
}

/// What is to be begun: a new key for a certificate, or the word to use another tag.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    life: Life,
    run: Option<RenewalRun>,
    rule: Rule,
    renewal: Renewal,
    switches: bool,
}

/// What was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) commands: Vec<NewCommand>,
    pub(crate) run: RenewalRun,
    /// Of the certificate that is renewed.
    pub(crate) serial: String,
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

    /// Runs whose connection nobody has seen by the time that their own new certificate is due: it is renewed like any other
    /// (such devices connect to another broker, or stick to the old tag), unless the old one still works.
    pub(crate) fn give_up_waiting(&mut self) {
        let waiting = self.lives.renewals.clone().into_iter();
        for mut run in waiting.filter(|run| run.step == RenewalStep::Connect) {
            let of = |spki: Spki| self.lives.lives.iter().find(move |l| l.spki_sha256 == spki);
            let old_works = of(run.old).is_some_and(|old| old.not_after > self.now);
            let is_due = run.new.and_then(of).is_some_and(|new| {
                covering(self.rules, new)
                    .is_some_and(|(_, renewal)| self.now >= due_at(new, renewal.at_percent))
            });
            if is_due && (run.in_place || !old_works) {
                run.step = RenewalStep::Abandoned;
                run.step_at = self.now;
                run.ended_at = Some(self.now);
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
        Some(Asked {
            // In place the old certificate is superseded by then; what is known of it is in the run.
            life: of(run.old).or(new)?.clone(),
            switches: !run.in_place && new.is_some_and(is_written),
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
        if self.now < due_at(life, renewal.at_percent) {
            return None;
        }
        let target = target(rule, &renewal, life)?;
        // What the device works with is never overwritten for the sake of another certificate.
        let in_the_way = |other: &Life| {
            other.spki_sha256 != life.spki_sha256
                && other.sec_tag == Some(target)
                && other.state == LifeState::Used
                && other.not_after > self.now
        };
        if self.lives.lives.iter().any(in_the_way) {
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

    /// The commands of what is asked, and the run as it stands then.
    ///
    /// # Errors
    /// Why there are none: the rule cannot be applied to this device.
    pub(crate) fn begin(
        &self,
        asked: &Asked,
        root_pem: &str,
        team_prefix: Option<&str>,
        mut id: impl FnMut() -> CommandId,
    ) -> Result<Begun, String> {
        let mut run = self.run_of(asked)?;
        let rule = asked.rule.id.to_string();
        let mut commands = Vec::new();
        let mut add = |description: &str, request| {
            let id = id();
            commands.push(command(id, &rule, description, request));
            id
        };
        if asked.switches {
            let pair = (SWITCH_KEY.to_owned(), run.sec_tag.to_string());
            let config = CommandRequest::Config(ConfigPairs(vec![pair]));
            run.command = Some(add("Renewal: the sec tag to use", config));
            run.step = RenewalStep::Switch;
            add("Renewal: done", CommandRequest::Finished {});
        } else {
            let binding = Binding {
                device: self.device.id,
                device_type: self.device.device_type,
                tags: &self.device.tags,
                team_prefix,
            };
            if !run.in_place {
                let root = root_of(asked, &binding, root_pem)?;
                let request = CommandRequest::ServerCertificate {
                    sec_tag: run.sec_tag,
                    content: root,
                };
                add("Renewal: root CA", request);
            }
            let csr = csr_of(asked, &binding, run.sec_tag)?;
            run.command = Some(add("Renewal: new key", csr));
            run.step = RenewalStep::Key;
            // In place the old certificate is superseded: the one of the last attempt is all that is known of the tag.
            run.new = run.new.filter(|_| run.in_place);
            run.attempts = run.attempts.saturating_add(1);
            if run.in_place {
                add("Renewal: done", CommandRequest::Finished {});
            }
        }
        run.step_at = self.now;
        Ok(Begun {
            commands,
            run,
            serial: asked.life.serial.clone(),
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

    fn run_of(&self, asked: &Asked) -> Result<RenewalRun, String> {
        if let Some(run) = &asked.run {
            return Ok(run.clone());
        }
        let life = &asked.life;
        let sec_tag = target(&asked.rule, &asked.renewal, life)
            .ok_or("the sec tag of the certificate is not known")?;
        Ok(RenewalRun {
            old: life.spki_sha256,
            device: self.device.id,
            team: self.device.owner.clone(),
            rule_id: asked.rule.id.to_string(),
            sec_tag,
            in_place: life.sec_tag == Some(sec_tag),
            started_at: self.now,
            step: RenewalStep::Waiting,
            step_at: self.now,
            command: None,
            new: None,
            attempts: 0,
            retry_at: self.now,
            failing_since: None,
            reason: None,
            alarmed_at: None,
            ended_at: None,
        })
    }
}

/// Where the next certificate goes; `None` when it is not known where this one is.
fn target(rule: &Rule, renewal: &Renewal, life: &Life) -> Option<SecTag> {
    let at = life.sec_tag?;
    match renewal.into {
        RenewInto::Alternate { sec_tag } if sec_tag != at => Some(sec_tag),
        // Back to where it came from.
        RenewInto::Alternate { sec_tag } => issued_to(rule).find(|tag| *tag != sec_tag),
        RenewInto::InPlace => Some(at),
    }
}

/// The tag that the rule itself names for this certificate.
fn home_tag(asked: &Asked) -> Option<SecTag> {
    let at = asked.life.sec_tag;
    let named = issued_to(&asked.rule).find(|tag| Some(*tag) == at);
    named.or_else(|| issued_to(&asked.rule).next())
}

/// The rule's own CSR for another tag. A certificate that the rule did not have made is renewed as it was.
fn csr_of(asked: &Asked, binding: &Binding<'_>, target: SecTag) -> Result<CommandRequest, String> {
    let home = home_tag(asked);
    let of_rule = asked.rule.commands.iter().find(|command| {
        command
            .closed_loop()
            .is_some_and(|(tag, _)| Some(tag) == home)
    });
    let Some(of_rule) = of_rule else {
        let issued_s = asked.life.issued_at.as_secs();
        let days = asked.life.not_after.as_secs().saturating_sub(issued_s) / 86_400;
        return Ok(CommandRequest::CertificateSigningRequest {
            sec_tag: target,
            attributes: String::new(),
            key_usage: Some("101010000".to_owned()),
            issue: Some(ClosedLoop {
                validity_days: u32::try_from(days).unwrap_or(u32::MAX).max(1),
                ..ClosedLoop::default()
            }),
        });
    };
    let mut bound = of_rule.bind(binding).map_err(|e| e.to_string())?;
    if let CommandRequest::CertificateSigningRequest { sec_tag, .. } = &mut bound.request {
        *sec_tag = target;
    }
    Ok(bound.request)
}

/// The root CA that the rule writes under its own tag, else ours.
fn root_of(asked: &Asked, binding: &Binding<'_>, root_pem: &str) -> Result<String, String> {
    let home = home_tag(asked);
    for command in &asked.rule.commands {
        if let CommandRequest::ServerCertificate { sec_tag, .. } = &command.request
            && Some(*sec_tag) == home
        {
            let bound = command.bind(binding).map_err(|e| e.to_string())?;
            if let CommandRequest::ServerCertificate { content, .. } = bound.request {
                return Ok(content);
            }
        }
    }
    Ok(root_pem.trim_end().to_owned())
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
