//! Rules: written by owners, applied when a device shows up (spec/owner-api §5, docs/reference/rules.md).
//!
//! [`arrival`] is what happens at a fetch; here is what owners do.

mod arrival;

pub(crate) use arrival::{RuleBook, outlook};

use super::claim::tidy_tags;
use super::material::check_material;
use super::renewal::problem_of;
use super::{App, Caller, DESCRIPTION_CHARS_MAX, OwnerError, TAG_CHARS_MAX};
use sectag_proto::rules::{
    ErrorPolicy, Renewal, Rule, RuleCommand, RuleDraft, RuleError, RuleState,
};
use sectag_proto::{RuleId, Timestamp};
use sectag_store::{Page, RuleStoreError, Tag};

/// What an owner changes of a draft; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct RulePatch {
    /// See [`Rule::name`].
    pub name: Option<String>,
    /// Empty: none.
    pub description: Option<String>,
    /// See [`Rule::tags`].
    pub tags: Option<Vec<String>>,
    /// See [`Rule::commands`].
    pub commands: Option<Vec<RuleCommand>>,
    /// See [`Rule::on_error`].
    pub on_error: Option<ErrorPolicy>,
    /// `Some(None)`: no renewal any more.
    pub renewal: Option<Option<Renewal>>,
    /// Activates it.
    pub active: Option<bool>,
}

impl RulePatch {
    /// Whether it asks for nothing but the state.
    const fn is_state_only(&self) -> bool {
        self.name.is_none()
            && self.description.is_none()
            && self.tags.is_none()
            && self.commands.is_none()
            && self.on_error.is_none()
            && self.renewal.is_none()
    }
}

impl App {
    /// Makes a rule, a draft or an active one.
    ///
    /// # Errors
    /// [`OwnerError::Rule`], [`OwnerError::Invalid`], [`OwnerError::Exists`], [`OwnerError::Store`].
    pub async fn create_rule(&self, caller: &Caller, draft: RuleDraft) -> Result<Rule, OwnerError> {
        let now = self.now();
        let rule = self.rule_of(caller, draft, now).await?;
        self.store
            .add_rule(&caller.team, rule.clone(), &caller.name)
            .await
            .map_err(refused)?;
        tracing::info!(rule = %rule.id, name = %rule.name, state = rule.state.as_str(), by = %caller.name, "rule made");
        Ok(rule)
    }

    /// A rule as it would be made, checked.
    ///
    /// # Errors
    /// As [`App::create_rule`].
    pub(crate) async fn rule_of(
        &self,
        caller: &Caller,
        mut draft: RuleDraft,
        now: Timestamp,
    ) -> Result<Rule, OwnerError> {
        draft.tags = tidy_tags(&draft.tags)?;
        self.check_rule(caller, &draft).await?;
        Ok(Rule {
            id: RuleId::from_bytes(*uuid::Uuid::new_v4().as_bytes()),
            name: draft.name,
            description: draft.description.filter(|text| !text.is_empty()),
            state: if draft.active {
                RuleState::Active
            } else {
                RuleState::Draft
            },
            tags: draft.tags,
            commands: draft.commands,
            on_error: draft.on_error,
            renewal: draft.renewal,
            created_at: now,
            activated_at: draft.active.then_some(now),
        })
    }

    /// A rule that is not made: for a plan. Its name may be taken, and it need not be complete enough to be active.
    ///
    /// # Errors
    /// As [`App::create_rule`].
    pub async fn draft_of(&self, caller: &Caller, draft: RuleDraft) -> Result<Rule, OwnerError> {
        let draft = RuleDraft {
            active: false,
            ..draft
        };
        self.rule_of(caller, draft, self.now()).await
    }

    async fn check_rule(&self, caller: &Caller, draft: &RuleDraft) -> Result<(), OwnerError> {
        let long = |text: &Option<String>| {
            text.as_ref()
                .is_some_and(|text| text.chars().count() > DESCRIPTION_CHARS_MAX)
        };
        if long(&draft.description) || draft.commands.iter().any(|c| long(&c.description)) {
            return Err(OwnerError::Invalid {
                field: "description",
                reason: format!("more than {DESCRIPTION_CHARS_MAX} characters"),
            });
        }
        let prefix = self.topic_prefix(&caller.team).await?;
        draft.check(prefix.as_deref(), self.open_commands_max)?;
        if let Some(renewal) = &draft.renewal
            && let Some(reason) = problem_of(&draft.commands, renewal)
        {
            let place = "renewal".to_owned();
            return Err(RuleError { place, reason }.into());
        }
        let mut before: Vec<sectag_proto::CommandRequest> = Vec::new();
        for (index, command) in draft.commands.iter().enumerate() {
            let sample = command.sample(prefix.as_deref())?;
            check_material(&sample.request, &before.iter().collect::<Vec<_>>()).map_err(|e| {
                RuleError {
                    place: format!("commands[{index}].request.{}", e.field),
                    reason: e.reason,
                }
            })?;
            before.push(sample.request);
        }
        Ok(())
    }

    /// A rule of the caller's team; secrets as digests.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn rule(&self, caller: &Caller, id: RuleId) -> Result<Rule, OwnerError> {
        let found = self.store.rule(&caller.team, id).await?;
        found.ok_or_else(|| no_rule(id))
    }

    /// A page of the team's rules in the order of their creation.
    ///
    /// # Errors
    /// [`OwnerError::Store`].
    pub async fn rules(
        &self,
        caller: &Caller,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Rule, u64>, OwnerError> {
        Ok(self.store.rules(&caller.team, after, limit).await?)
    }

    /// Changes a draft.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::RuleActive`], and as [`App::create_rule`].
    pub async fn change_rule(
        &self,
        caller: &Caller,
        id: RuleId,
        patch: RulePatch,
    ) -> Result<Rule, OwnerError> {
        let known = self.rule(caller, id).await?;
        if known.state == RuleState::Active {
            return if patch.is_state_only() && patch.active != Some(false) {
                Ok(known)
            } else {
                Err(refused(RuleStoreError::Active { name: known.name }))
            };
        }
        let now = self.now();
        let active = patch.active == Some(true);
        let draft = RuleDraft {
            name: patch.name.unwrap_or_else(|| known.name.clone()),
            description: patch.description.or_else(|| known.description.clone()),
            active,
            tags: patch.tags.unwrap_or_else(|| known.tags.clone()),
            commands: patch.commands.unwrap_or_else(|| known.commands.clone()),
            on_error: patch.on_error.unwrap_or(known.on_error),
            renewal: patch.renewal.unwrap_or(known.renewal),
        };
        let rule = Rule {
            id,
            created_at: known.created_at,
            ..self.rule_of(caller, draft, now).await?
        };
        self.store
            .replace_rule(&caller.team, known, rule.clone(), &caller.name, now)
            .await
            .map_err(refused)?;
        tracing::info!(rule = %id, name = %rule.name, state = rule.state.as_str(), by = %caller.name, "rule changed");
        Ok(rule)
    }

    /// Activates a draft. An active one stays as it is.
    ///
    /// # Errors
    /// As [`App::change_rule`].
    pub async fn activate_rule(&self, caller: &Caller, id: RuleId) -> Result<Rule, OwnerError> {
        let patch = RulePatch {
            active: Some(true),
            ..RulePatch::default()
        };
        self.change_rule(caller, id, patch).await
    }

    /// Deletes a rule. What it queued stays queued.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn delete_rule(&self, caller: &Caller, id: RuleId) -> Result<(), OwnerError> {
        let by = &caller.name;
        if !self
            .store
            .delete_rule(&caller.team, id, by, self.now())
            .await?
        {
            return Err(no_rule(id));
        }
        tracing::info!(rule = %id, by, "rule deleted");
        Ok(())
    }

    /// Registers a tag.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`], [`OwnerError::Exists`], [`OwnerError::Store`].
    pub async fn create_tag(
        &self,
        caller: &Caller,
        tag: &str,
        description: Option<String>,
    ) -> Result<Tag, OwnerError> {
        let mut tags = tidy_tags(&[tag.to_owned()])?;
        let (Some(tag), true) = (tags.pop(), tags.is_empty()) else {
            return Err(OwnerError::Invalid {
                field: "tag",
                reason: "one tag is needed: not empty, without commas".to_owned(),
            });
        };
        let too_long = |text: &String| text.chars().count() > DESCRIPTION_CHARS_MAX;
        if description.as_ref().is_some_and(too_long) {
            return Err(OwnerError::Invalid {
                field: "description",
                reason: format!("more than {DESCRIPTION_CHARS_MAX} characters"),
            });
        }
        let tag = Tag {
            tag,
            description,
            created_at: self.now(),
        };
        self.store
            .add_tag(&caller.team, tag.clone(), &caller.name)
            .await
            .map_err(refused)?;
        Ok(tag)
    }

    /// A registered tag.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn tag(&self, caller: &Caller, tag: &str) -> Result<Tag, OwnerError> {
        let found = self.store.tag(&caller.team, tag).await?;
        found.ok_or_else(|| no_tag(tag))
    }

    /// A page of the registered tags.
    ///
    /// # Errors
    /// [`OwnerError::Store`].
    pub async fn tags(
        &self,
        caller: &Caller,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<Tag, String>, OwnerError> {
        Ok(self.store.tags(&caller.team, after, limit).await?)
    }

    /// Takes a tag off the registry; devices and rules keep it.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn delete_tag(&self, caller: &Caller, tag: &str) -> Result<(), OwnerError> {
        let was = self
            .store
            .delete_tag(&caller.team, tag, &caller.name, self.now())
            .await?;
        if was { Ok(()) } else { Err(no_tag(tag)) }
    }

    pub(crate) async fn topic_prefix(
        &self,
        team: &str,
    ) -> Result<Option<String>, sectag_store::StoreError> {
        Ok(self.store.team(team).await?.and_then(|t| t.topic_prefix))
    }
}

fn no_rule(id: RuleId) -> OwnerError {
    OwnerError::NotFound {
        what: "rule",
        id: id.to_string(),
    }
}

fn no_tag(tag: &str) -> OwnerError {
    OwnerError::NotFound {
        what: "tag",
        id: tag
            .chars()
            .filter(|c| !c.is_control())
            .take(TAG_CHARS_MAX)
            .collect(),
    }
}

fn refused(e: RuleStoreError) -> OwnerError {
    match e {
        RuleStoreError::Unknown(id) => no_rule(id),
        RuleStoreError::Active { .. } | RuleStoreError::Changed { .. } => {
            OwnerError::RuleActive(e.to_string())
        }
        RuleStoreError::Store(e) => e.into(),
        e => OwnerError::Exists(e.to_string()),
    }
}
