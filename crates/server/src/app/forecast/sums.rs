//! A forecast in numbers: by window, rule, tag and outlook.

use super::{DAY, Expected};
use sectag_proto::Timestamp;
use std::collections::BTreeMap;

/// Windows of one forecast at most.
pub const WINDOWS_MAX: usize = 8;
/// Rules, or tags, that are told apart; the rest is summed up under the empty name.
const GROUPS_MAX: usize = 1000;

/// How many certificates end, and how many of them are not renewed in time as things stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// That end.
    pub certificates: u64,
    /// Of them: with an outlook that is not well, by its word.
    pub at_risk: BTreeMap<&'static str, u64>,
}

impl Sum {
    /// All that are at risk.
    pub fn risks(&self) -> u64 {
        self.at_risk.values().sum()
    }

    fn count(&mut self, expected: &Expected) {
        self.certificates += 1;
        if !expected.outlook.is_well() {
            *self.at_risk.entry(expected.outlook.as_str()).or_default() += 1;
        }
    }
}

/// What ends within so many days, expired certificates included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// From the time of the forecast.
    pub days: u32,
    /// When it ends.
    pub until: Timestamp,
    /// What is in it.
    pub sum: Sum,
    /// Certificates of other CAs that end in it.
    pub foreign: u64,
}

/// The numbers of a forecast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Rising; each includes the one before.
    pub windows: Vec<Window>,
    /// In the longest window, by the rule that renews; the empty name: none does.
    pub by_rule: BTreeMap<String, Sum>,
    /// In the longest window, by tag of the device; one with several counts under each.
    pub by_tag: BTreeMap<String, Sum>,
    /// There is more than was counted ([`super::COUNTED_MAX`]).
    pub incomplete: bool,
}

impl Sums {
    pub(super) fn new(windows: &[u32], now: Timestamp) -> Self {
        let windows = windows.iter().map(|days| Window {
            days: *days,
            until: now.plus(DAY * *days),
            sum: Sum::default(),
            foreign: 0,
        });
        Self {
            windows: windows.collect(),
            by_rule: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            incomplete: false,
        }
    }

    pub(super) fn count_foreign(&mut self, end: Timestamp) {
        for window in self.windows.iter_mut().filter(|window| end <= window.until) {
            window.foreign += 1;
        }
    }

    pub(super) fn count(&mut self, expected: &Expected) {
        let end = expected.ending.life.not_after;
        for window in self.windows.iter_mut().filter(|window| end <= window.until) {
            window.sum.count(expected);
        }
        let rule = expected.rule.as_deref().unwrap_or_default();
        group(&mut self.by_rule, rule).count(expected);
        for tag in &expected.ending.tags {
            group(&mut self.by_tag, tag).count(expected);
        }
    }
}

fn group<'a>(groups: &'a mut BTreeMap<String, Sum>, name: &str) -> &'a mut Sum {
    let name = match groups.len() < GROUPS_MAX || groups.contains_key(name) {
        true => name,
        false => "",
    };
    groups.entry(name.to_owned()).or_default()
}
