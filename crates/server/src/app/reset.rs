//! Reset (spec/owner-api §2.4): the rules of a device are applied again at its next fetch.
//!
//! Open commands of rules end, so that whoever polls one hears of it; those that had ended are removed. Hand-made commands
//! stay. Nothing is undone on the device: the rules' commands replace what they wrote.

use super::commands::retry;
use super::{App, COMMIT_ATTEMPTS, Caller, OwnerError};
use sectag_proto::service::Command;
use sectag_proto::{CommandId, DeviceId, RuleId};
use sectag_store::{AuditEvent, DeviceChange, RulesChange};
use serde_json::{Value, json};

/// What a reset did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reset {
    /// Rules that the device had got; they apply again.
    pub rules: Vec<RuleId>,
    /// Open commands of rules: FAILED.
    pub discarded: Vec<CommandId>,
    /// Commands of rules that had ended: removed.
    pub removed: Vec<CommandId>,
}

impl App {
    /// Lets the rules of a device apply again.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Contention`], [`OwnerError::Store`].
    pub async fn reset_device(
        &self,
        caller: &Caller,
        device: DeviceId,
    ) -> Result<Reset, OwnerError> {
        let by = &caller.name;
        for _ in 0..COMMIT_ATTEMPTS {
            let loaded = self.loaded_of(caller, device, &[]).await?;
            let now = self.now();
            let reason = format!("not executed: the device was reset by {by}");
            let changes = loaded.queue.discard_rules(&reason, now);
            let known = self.store.commands(device).await?;
            let of_rules: Vec<&Command> = known.iter().filter(|c| c.rule_id.is_some()).collect();
            let reset = Reset {
                rules: self.store.applied_rules(device).await?,
                discarded: changes.commands.iter().map(|c| c.id).collect(),
                removed: of_rules
                    .iter()
                    .filter(|c| c.status.is_terminal())
                    .map(|c| c.id)
                    .collect(),
            };
            let event = AuditEvent::new(now, by, "device-reset")
                .team(&loaded.device.owner)
                .device(device)
                .detail(format!(
                    "rules that apply again: {}, open commands discarded: {}, ended ones removed: {}",
                    reset.rules.len(),
                    reset.discarded.len(),
                    reset.removed.len()
                ))
                .changed(
                    before(&reset, &of_rules),
                    json!({ "rules": [], "commands": [] }),
                );
            let mut change = DeviceChange::from_owner(&changes);
            change.removed.clone_from(&reset.removed);
            change.rules = Some(RulesChange::Forgotten);
            change.audit.push(event);
            let version = loaded.device.version;
            match self.store.commit(device, version, change).await {
                Ok(_) => {
                    tracing::info!(%device, by, rules = reset.rules.len(), "device reset");
                    return Ok(reset);
                }
                Err(e) => retry(e, device)?,
            }
        }
        Err(OwnerError::Contention)
    }
}

fn before(reset: &Reset, commands: &[&Command]) -> Value {
    let rules: Vec<String> = reset.rules.iter().map(ToString::to_string).collect();
    let commands: Vec<Value> = commands
        .iter()
        .map(|c| {
            json!({
                "id": c.id.to_string(),
                "ruleId": c.rule_id,
                "kind": c.request.kind().member(),
                "status": c.status.as_str(),
            })
        })
        .collect();
    json!({ "rules": rules, "commands": commands })
}
