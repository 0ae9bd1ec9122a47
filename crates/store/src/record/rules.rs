//! Records of rules and tags.

use sectag_proto::rules::Rule;
use sectag_proto::{RuleId, Timestamp};

/// A registered tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// As devices carry it.
    pub tag: String,
    /// The owner's words.
    pub description: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// The active rules of a team at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActiveRules {
    /// Raised whenever they change; 0 when there never was one.
    pub generation: u64,
    /// In the order of their creation, with their secrets.
    pub rules: Vec<Rule>,
}

/// What a decision about a device says about rules; part of a [`crate::DeviceChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesChange {
    /// These rules were applied.
    Applied {
        /// Whose commands are in the same change, in order.
        rules: Vec<RuleId>,
        /// Of the rules that were looked at. When the team's are others by the time of the commit, nothing is committed.
        generation: u64,
        /// Nothing is left to look for until the rules or the device's tags change.
        done: bool,
    },
    /// All rules may be applied again.
    Forgotten,
}
