//! Which rule renews which certificate, when, and what that means for a device, in words. Values in, values out.

use sectag_proto::rules::{RenewInto, Renewal, Rule, RuleCommand};
use sectag_proto::{SecTag, Timestamp};
use sectag_store::{Life, RenewalRun};
use std::time::Duration;

/// The setting that tells a device which tag to use for MQTT: its value is the tag's number. Applications that read it take
/// the certificate from there, and from the tag they had before when that does not work.
pub const SWITCH_KEY: &str = "mqtt/sec-tag";

/// A device has this long to connect with its new certificate, or half of what the old one has left, whichever is less. Then an
/// alarm is raised, and nothing else changes: the renewal goes on waiting. No setting, since an alarm that comes too early for a
/// fleet of rare visitors is acknowledged once, and one that comes too late is a device without a certificate.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// A certificate whose validity begins later than this from now was made by a clock that was ahead. (Issuing dates back; this
/// is for clocks that differ by a little.)
const AHEAD: Duration = Duration::from_secs(86_400);

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

/// Whether a certificate is to be renewed; one that cannot be used yet because a clock was ahead is of no use to anybody.
pub(super) fn is_due(life: &Life, at_percent: u8, now: Timestamp) -> bool {
    now >= due_at(life, at_percent) || life.not_before.since(now) > AHEAD
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

/// Whether the rule that asked for a renewal still does, of a device with these tags.
pub(crate) fn is_asked_for(rules: &[Rule], run: &RenewalRun, tags: &[String]) -> bool {
    rules.iter().any(|rule| {
        rule.renewal.is_some() && rule.is_for(tags) && rule.id.to_string() == run.rule_id
    })
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
pub(super) fn issued_to(rule: &Rule) -> impl Iterator<Item = SecTag> {
    rule.commands
        .iter()
        .filter_map(|command| command.closed_loop().map(|(tag, _)| tag))
}

/// Why certificates of these commands cannot be renewed like this; `None` when they can.
pub fn problem_of(commands: &[RuleCommand], renewal: &Renewal) -> Option<String> {
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
