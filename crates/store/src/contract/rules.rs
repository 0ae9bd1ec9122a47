//! Rules and tags of a team, and which device got which.
//!
//! ```text
//!   add_rule ──► DRAFT ──replace_rule──► DRAFT | ACTIVE ──delete_rule
//!                                            │ raises the team's generation
//!   queue() ──► Loaded::rules_seen ──► active_rules · applied_rules ──decide──► commit(RulesChange::Applied{generation})
//!                                                                                 │ others by then: Conflict
//! ```

use crate::contract::StoreError;
use crate::record::Page;
use crate::record::rules::{ActiveRules, Tag};
use async_trait::async_trait;
use sectag_proto::rules::Rule;
use sectag_proto::{DeviceId, RuleId, Timestamp};

/// Rules of one team: all active ones are read when a device is due.
pub const RULES_MAX: u64 = 200;
/// Registered tags of one team.
pub const TAGS_OF_TEAM_MAX: u64 = 10_000;

/// Rules and tags. What is written is audited in the same transaction, with what it was before; secrets as digests.
#[async_trait]
pub trait Rules: Send + Sync {
    /// Records a rule, a draft or an active one.
    ///
    /// # Errors
    /// [`RuleStoreError::NameTaken`], [`RuleStoreError::TooMany`].
    async fn add_rule(&self, team: &str, rule: Rule, by: &str) -> Result<(), RuleStoreError>;

    /// Puts `rule` in the place of the draft with its id; it may be active from here on.
    ///
    /// # Errors
    /// [`RuleStoreError::Unknown`], [`RuleStoreError::Active`], [`RuleStoreError::NameTaken`],
    /// [`RuleStoreError::Changed`] when the draft is not `known` any more.
    async fn replace_rule(
        &self,
        team: &str,
        known: Rule,
        rule: Rule,
        by: &str,
        at: Timestamp,
    ) -> Result<(), RuleStoreError>;

    /// Forgets a rule. Commands that it made stay. `false`: there is none.
    async fn delete_rule(
        &self,
        team: &str,
        id: RuleId,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// A rule with its secrets.
    async fn rule(&self, team: &str, id: RuleId) -> Result<Option<Rule>, StoreError>;

    /// A page of a team's rules in the order of their creation, secrets as digests.
    async fn rules(
        &self,
        team: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Rule, u64>, StoreError>;

    /// What applies to devices at this moment.
    async fn active_rules(&self, team: &str) -> Result<ActiveRules, StoreError>;

    /// Which rules a device got since its claim or its last reset.
    async fn applied_rules(&self, device: DeviceId) -> Result<Vec<RuleId>, StoreError>;

    /// Registers a tag.
    ///
    /// # Errors
    /// [`RuleStoreError::NameTaken`], [`RuleStoreError::TooMany`].
    async fn add_tag(&self, team: &str, tag: Tag, by: &str) -> Result<(), RuleStoreError>;

    /// Takes a tag off the registry; devices and rules keep it. `false`: it is not there.
    async fn delete_tag(
        &self,
        team: &str,
        tag: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// A registered tag.
    async fn tag(&self, team: &str, tag: &str) -> Result<Option<Tag>, StoreError>;

    /// A page of the registered tags, in their order.
    async fn tags(
        &self,
        team: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<Tag, String>, StoreError>;
}

/// Why a rule or a tag was not recorded. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleStoreError {
    /// Choose another name.
    #[error("there is a {what} named `{name}` already")]
    NameTaken {
        /// "rule", "tag".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A limit of the team.
    #[error("the team has {max} {what}; delete some")]
    TooMany {
        /// "rules", "tags".
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// No such rule.
    #[error("no rule {0}")]
    Unknown(RuleId),
    /// Devices have it, or may have it at any moment.
    #[error(
        "rule `{name}` is ACTIVE; an active rule is not edited: delete it and create another one"
    )]
    Active {
        /// Its name.
        name: String,
    },
    /// Someone else changed the draft in between.
    #[error("rule `{name}` was changed meanwhile")]
    Changed {
        /// Its name.
        name: String,
    },
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}
