//! Whether a certificate is renewed before it ends. Pure.

use super::super::renewal::{connect_by, covering, due_at};
use sectag_proto::Timestamp;
use sectag_proto::rules::{RENEW_AT_PERCENT_DEFAULT, Rule};
use sectag_store::{Ending, RenewalStep};
use std::time::Duration;

/// A renewal that is due, of a device that comes, begins within this, or within a quarter of the time that it has.
const BEGINS_WITHIN: Duration = Duration::from_secs(7 * 86_400);

/// What is to be expected of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// A rule renews it from this time on, and its device comes often enough.
    Renews {
        /// When its renewal is due.
        from: Timestamp,
    },
    /// Its renewal is under way.
    Renewing {
        /// What is awaited.
        step: RenewalStep,
    },
    /// No rule renews it.
    NoRule,
    /// A rule renews it, and its device does not come.
    NotSeen {
        /// Its last fetch; `None`: there was none.
        since: Option<Timestamp>,
    },
    /// Its renewal is due, its device comes, and nothing has begun: other commands wait, or its tag is taken.
    Overdue {
        /// When it was due.
        since: Timestamp,
    },
    /// Its renewal fails.
    Failing {
        /// The first failure.
        since: Timestamp,
        /// The last one's reason.
        reason: String,
    },
    /// The new certificate is on the device, which does not connect with it.
    NotConnecting {
        /// Since when it could.
        since: Timestamp,
    },
    /// Its device is blocked, and so gets nothing.
    Blocked,
    /// Its time is over.
    Expired,
}

impl Outlook {
    /// The word that programs compare.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Renews { .. } => "renews",
            Self::Renewing { .. } => "renewing",
            Self::NoRule => "no-rule",
            Self::NotSeen { .. } => "not-seen",
            Self::Overdue { .. } => "overdue",
            Self::Failing { .. } => "failing",
            Self::NotConnecting { .. } => "not-connecting",
            Self::Blocked => "blocked",
            Self::Expired => "expired",
        }
    }

    /// Whether nobody has to do anything.
    pub const fn is_well(&self) -> bool {
        matches!(self, Self::Renews { .. } | Self::Renewing { .. })
    }

    /// Since when it is as it is, or from when on.
    pub const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Renews { from: at }
            | Self::Overdue { since: at }
            | Self::Failing { since: at, .. }
            | Self::NotConnecting { since: at } => Some(*at),
            Self::NotSeen { since } => *since,
            _ => None,
        }
    }

    /// In words, for tables and alarms.
    pub fn words(&self, day: impl Fn(Timestamp) -> String) -> String {
        match self {
            Self::Renews { from } => format!("is renewed from {} on", day(*from)),
            Self::Renewing { step } => format!("is being renewed (step {})", step.as_str()),
            Self::NoRule => "no rule renews it".to_owned(),
            Self::NotSeen { since: Some(at) } => {
                format!("its device was not seen since {}", day(*at))
            }
            Self::NotSeen { since: None } => "its device was never seen".to_owned(),
            Self::Overdue { since } => format!(
                "its renewal is due since {} and cannot begin: other commands wait, or the other sec tag is in use",
                day(*since)
            ),
            Self::Failing { since, reason } => {
                format!("renewals failing since {}: {reason}", day(*since))
            }
            Self::NotConnecting { since } => format!(
                "the device has its successor since {} and has not connected with it",
                day(*since)
            ),
            Self::Blocked => "its device is blocked".to_owned(),
            Self::Expired => "it has expired".to_owned(),
        }
    }
}

/// What is to be expected, and the rule that renews the certificate.
///
/// "Does not come" is measured by the time that a renewal has, from when it is due to the end: a device that is silent for
/// half of that would come once more, at best.
pub(super) fn outlook(
    ending: &Ending,
    rules: &[Rule],
    now: Timestamp,
) -> (Outlook, Option<String>) {
    let life = &ending.life;
    let mine: Vec<Rule> = rules
        .iter()
        .filter(|rule| rule.is_for(&ending.tags))
        .cloned()
        .collect();
    let covered = covering(&mine, life);
    let rule = covered.map(|(rule, _)| rule.id.to_string());
    let percent = covered.map_or(RENEW_AT_PERCENT_DEFAULT, |(_, renewal)| renewal.at_percent);
    let due = due_at(life, percent);
    let window = life.not_after.since(due);
    let last = ending.last_seen_at;
    let silent = now.since(last.unwrap_or(life.issued_at)) > window / 2;
    let outlook = if life.not_after <= now {
        Outlook::Expired
    } else if ending.blocked {
        Outlook::Blocked
    } else if let Some(run) = &ending.renewal {
        match (&run.failing_since, run.step) {
            (Some(since), _) => Outlook::Failing {
                since: *since,
                reason: run.reason.clone().unwrap_or_default(),
            },
            (None, RenewalStep::Connect) if now >= connect_by(run, life) => {
                Outlook::NotConnecting { since: run.step_at }
            }
            (None, step) if step != RenewalStep::Connect && silent => {
                Outlook::NotSeen { since: last }
            }
            (None, step) => Outlook::Renewing { step },
        }
    } else if let Some((rule, _)) = covered {
        let possible = rule.activated_at.map_or(due, |at| at.max(due));
        let came = last.is_some_and(|seen| seen > possible);
        if silent {
            Outlook::NotSeen { since: last }
        } else if came && now.since(possible) > (window / 4).min(BEGINS_WITHIN) && now > possible {
            Outlook::Overdue { since: possible }
        } else {
            Outlook::Renews { from: due }
        }
    } else {
        Outlook::NoRule
    };
    (outlook, rule)
}

/// When an alarm about an end may be raised at the earliest: a life of thirty days is not alarming on its first.
pub(super) fn alarming_from(ending: &Ending, rules: &[Rule]) -> Timestamp {
    let mine: Vec<Rule> = rules
        .iter()
        .filter(|rule| rule.is_for(&ending.tags))
        .cloned()
        .collect();
    let covered = covering(&mine, &ending.life);
    let percent = covered.map_or(RENEW_AT_PERCENT_DEFAULT, |(_, renewal)| renewal.at_percent);
    due_at(&ending.life, percent)
}

/// Days until then, begun ones as whole; 0 when it is over.
pub(super) fn days_left(end: Timestamp, now: Timestamp) -> u32 {
    const DAY: Duration = Duration::from_secs(86_400);
    let left = end.since(now).as_millis();
    u32::try_from(left.div_ceil(DAY.as_millis())).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
