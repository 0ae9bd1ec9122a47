//! A device shows up: what its team's rules and renewals have for it, in the commit of its fetch.
//!
//! ```text
//!   fetch ─► Loaded{generation, seen} ─┬─ seen, no rule renews ─► nothing to look for
//!                                      └─► active rules ─► those for its tags, not applied ─► bound ─► queued whole
//!                                                                     │ a value is missing: alarm, nothing of this rule
//!                                                                     └ no room in the queue: this rule and all later ones wait
//! ```
//!
//! The commit names the generation of the rules it rests on: a rule that was activated or deleted in between makes the
//! fetch decide again, so none is lost and none applied twice.

use crate::app::App;
use sectag_proto::command::CommandKind;
use sectag_proto::rules::template::Binding;
use sectag_proto::rules::{ErrorPolicy, Rule, RuleCommand, RuleError};
use sectag_proto::service::{AddError, Changes, NewCommand, Queue};
use sectag_proto::{CommandId, CommandRequest, RuleId, Timestamp};
use sectag_store::{ActiveRules, AuditEvent, Device, LifeChange, Loaded, RulesChange, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Words of the `finished` that a rule did not have.
const FINISHED: &str = "Provisioning by rules is complete";

/// The active rules of each team, as they were last read; a fetch knows by their generation whether they still are.
#[derive(Debug, Default)]
pub(crate) struct RuleBook(Mutex<HashMap<String, Arc<ActiveRules>>>);

/// What came to a device's queue at this fetch.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Commands of rules and renewals; the queue that was loaded has them too.
    pub(crate) changes: Changes,
    /// How its renewals stand.
    pub(crate) lives: Vec<LifeChange>,
    /// Which rules it got.
    pub(crate) rules: Option<RulesChange>,
    /// What is to be told.
    pub(crate) audit: Vec<AuditEvent>,
}

impl App {
    /// What rules and renewals have for a device at `now`; its queue holds it afterwards. Committed with the fetch or not
    /// at all.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn arrive(
        &self,
        loaded: &mut Loaded,
        now: Timestamp,
    ) -> Result<Arrived, StoreError> {
        let mut arrived = Arrived::default();
        if loaded.rules_generation == 0 {
            return Ok(arrived);
        }
        let team = loaded.device.owner.clone();
        let active = self.active_rules(&team, loaded.rules_generation).await?;
        if !loaded.rules_seen {
            let had = self.store.applied_rules(loaded.device.id).await?;
            let prefix = self.topic_prefix(&team).await?;
            let outlook = outlook(
                &active.rules,
                &loaded.device,
                &loaded.queue,
                &had,
                prefix.as_deref(),
                self.open_commands_max,
                now,
            );
            arrived.audit = outlook.audit(&loaded.device, now);
            arrived.rules = Some(RulesChange::Applied {
                rules: outlook.applied.iter().map(|(rule, _)| rule.id).collect(),
                generation: active.generation,
                done: outlook.waiting.is_empty(),
            });
            loaded.queue.apply(&outlook.changes);
            arrived.changes = outlook.changes;
        }
        let renewing: Vec<Rule> = active
            .rules
            .iter()
            .filter(|rule| rule.renewal.is_some() && rule.is_for(&loaded.device.tags))
            .cloned()
            .collect();
        let renewals = self.renewals_due(loaded, &renewing, now).await?;
        arrived.lives = renewals.lives;
        match loaded
            .queue
            .add(renewals.commands, self.open_commands_max, now)
        {
            Ok(changes) => {
                loaded.queue.apply(&changes);
                arrived.changes.extend(changes);
                arrived.audit.extend(renewals.audit);
            }
            Err((_, reason)) => {
                // Nothing of it is begun; the next fetch asks again.
                tracing::warn!(device = %loaded.device.id, %reason, "a renewal cannot be queued");
                arrived.lives.clear();
            }
        }
        Ok(arrived)
    }

    /// The active rules of a team, at this generation or a later one.
    pub(crate) async fn active_rules(
        &self,
        team: &str,
        generation: u64,
    ) -> Result<Arc<ActiveRules>, StoreError> {
        let book = || self.rules.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = book().get(team)
            && known.generation == generation
        {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(self.store.active_rules(team).await?);
        book().insert(team.to_owned(), Arc::clone(&read));
        Ok(read)
    }
}

/// What the rules would do to a queue.
#[derive(Debug, Default)]
pub(crate) struct Outlook<'a> {
    /// Rules whose commands are queued, and these.
    pub(crate) applied: Vec<(&'a Rule, Vec<CommandId>)>,
    /// Rules that cannot be applied to this device, and why.
    pub(crate) refused: Vec<(&'a Rule, String)>,
    /// Rules that wait until the queue has room for them.
    pub(crate) waiting: Vec<&'a Rule>,
    /// The commands.
    pub(crate) changes: Changes,
}

/// Applies `rules` in their order to what is queued for a device that `had` some of them already.
pub(crate) fn outlook<'a>(
    rules: &'a [Rule],
    device: &Device,
    queue: &Queue,
    had: &[RuleId],
    team_prefix: Option<&str>,
    open_max: usize,
    now: Timestamp,
) -> Outlook<'a> {
    let mut outlook = Outlook::default();
    let mut queue = queue.clone();
    let binding = Binding {
        device: device.id,
        device_type: device.device_type,
        tags: &device.tags,
        team_prefix,
    };
    let mut due = rules
        .iter()
        .filter(|rule| rule.has_tag_of(&device.tags) && !had.contains(&rule.id));
    for rule in due.by_ref() {
        let commands = match rule.bind(&binding) {
            Ok(commands) => commands,
            Err(reason) => {
                outlook.refused.push((rule, reason.to_string()));
                continue;
            }
        };
        // Room for `finished` is kept, so that the last rule never ends without it.
        let room = match queue.will_finish() || ends_with_finished(&commands) {
            true => open_max,
            false => open_max.saturating_sub(1),
        };
        match queue.add(commands_of(rule, commands), room, now) {
            Ok(changes) => {
                let ids = changes.commands.iter().map(|command| command.id).collect();
                queue.apply(&changes);
                outlook.changes.extend(changes);
                outlook.applied.push((rule, ids));
            }
            Err((_, AddError::QueueFull { .. })) => {
                outlook.waiting.push(rule);
                break;
            }
            Err((index, reason)) => {
                let reason = RuleError {
                    place: format!("commands[{index}]"),
                    reason: reason.to_string(),
                };
                outlook.refused.push((rule, reason.to_string()));
            }
        }
    }
    outlook.waiting.extend(due);
    // A device that lacks a part of what its rules say is not told that it is complete.
    let complete = outlook.waiting.is_empty() && outlook.refused.is_empty();
    if complete
        && let Some((last, _)) = outlook.applied.last()
        && !queue.will_finish()
    {
        let finished = NewCommand {
            id: App::command_id(),
            rule_id: Some(last.id.to_string()),
            description: Some(FINISHED.to_owned()),
            request: CommandRequest::Finished {},
            on_error: ErrorPolicy::VendorDefault,
        };
        if let Ok(changes) = queue.add(vec![finished], open_max, now) {
            outlook.changes.extend(changes);
        }
    }
    outlook
}

impl Outlook<'_> {
    fn audit(&self, device: &Device, now: Timestamp) -> Vec<AuditEvent> {
        let about = |action: &str, detail: String| {
            AuditEvent::new(now, "service", action)
                .team(&device.owner)
                .device(device.id)
                .detail(detail)
        };
        let applied = self.applied.iter().map(|(rule, commands)| {
            let (name, id, count) = (&rule.name, rule.id, commands.len());
            let ids: Vec<String> = commands.iter().map(ToString::to_string).collect();
            about("rule-applied", format!("{name} ({id}): {count} commands")).changed(
                serde_json::Value::Null,
                serde_json::json!({ "ruleId": id.to_string(), "commands": ids }),
            )
        });
        let mut events: Vec<AuditEvent> = applied.collect();
        // While rules wait for room, every fetch comes by here; the alarm is raised by the one that ends it.
        if self.waiting.is_empty() {
            events.extend(self.refused.iter().map(|(rule, reason)| {
                let (name, id) = (&rule.name, rule.id);
                about(
                    "rule-alarm",
                    format!("{name} ({id}) is not applied: {reason}"),
                )
            }));
        }
        events
    }
}

fn commands_of(rule: &Rule, commands: Vec<RuleCommand>) -> Vec<NewCommand> {
    let named = |command: RuleCommand| NewCommand {
        id: App::command_id(),
        rule_id: Some(rule.id.to_string()),
        description: command.description,
        request: command.request,
        on_error: rule.on_error,
    };
    commands.into_iter().map(named).collect()
}

fn ends_with_finished(commands: &[RuleCommand]) -> bool {
    commands
        .last()
        .is_some_and(|command| command.request.kind() == CommandKind::Finished)
}
