//! An owner's commands: queued, looked at, taken back.
//!
//! A command that was executed and not reported in time ends when its owner looks, too: the device may not come for days,
//! and whoever polls stops at a terminal status only (spec/owner-api §9).

use super::claim::not_claimed;
use super::material::{MaterialError, check_material};
use super::{App, COMMIT_ATTEMPTS, Caller, DESCRIPTION_CHARS_MAX, OwnerError};
use sectag_proto::command::CommandRequest;
use sectag_proto::rules::{ErrorPolicy, RETRIES_MAX};
use sectag_proto::service::{
    AddError, Changes, Command, NewCommand, OperatorError, Queue, REPORT_WAIT, Status,
};
use sectag_proto::{CommandId, DeviceId};
use sectag_store::{AuditEvent, CommitError, DeviceChange, Loaded};
use serde_json::{Value, json};

impl App {
    /// Queues a command.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Invalid`], [`OwnerError::QueueFull`], [`OwnerError::Store`].
    pub async fn create_command(
        &self,
        device: DeviceId,
        description: Option<String>,
        request: CommandRequest,
        caller: &Caller,
    ) -> Result<Command, OwnerError> {
        let new = vec![(description, request)];
        let policy = ErrorPolicy::VendorDefault;
        let mut made = self.create_commands(device, new, policy, caller).await?;
        made.pop().ok_or(OwnerError::Contention)
    }

    /// Queues a set of commands with an error policy of its own: all or none.
    ///
    /// # Errors
    /// As [`App::create_command`].
    pub async fn create_commands(
        &self,
        device: DeviceId,
        set: Vec<(Option<String>, CommandRequest)>,
        on_error: ErrorPolicy,
        caller: &Caller,
    ) -> Result<Vec<Command>, OwnerError> {
        let by = &caller.name;
        check_set(&set, on_error)?;
        let set: Vec<NewCommand> = set
            .into_iter()
            .map(|(description, request)| NewCommand {
                id: Self::command_id(),
                rule_id: None,
                description,
                request,
                on_error,
            })
            .collect();
        let now = self.now();
        for _ in 0..COMMIT_ATTEMPTS {
            let loaded = self.queue_of(caller, device, &[]).await?;
            let changes = loaded
                .queue
                .add(set.clone(), self.open_commands_max, now)
                .map_err(|(_, e)| refused(e))?;
            let mut before = open_requests(loaded.queue.commands(), None);
            for command in &changes.commands {
                check_material(&command.request, &before).map_err(unusable)?;
                before.push(&command.request);
            }
            let mut change = DeviceChange::from_owner(&changes);
            for command in &changes.commands {
                let event = AuditEvent::new(now, by, "command-created")
                    .team(&loaded.device.owner)
                    .device(device)
                    .command(command.id)
                    .detail(command.request.kind().member());
                change.audit.push(event.changed(Value::Null, said(command)));
            }
            match self
                .store
                .commit(device, loaded.device.version, change)
                .await
            {
                Ok(_) => {
                    for command in &changes.commands {
                        let kind = command.request.kind().member();
                        tracing::info!(%device, command = %command.id, kind, by, "command queued");
                    }
                    let mut made = changes.commands;
                    made.iter_mut().for_each(|c| c.request.erase_secrets());
                    return Ok(made);
                }
                Err(e) => retry(e, device)?,
            }
        }
        Err(OwnerError::Contention)
    }

    /// Changes a command that the device has not fetched, or one that is parked; then resumes, skips or discards it.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::CommandState`], [`OwnerError::Invalid`], [`OwnerError::Store`].
    pub async fn change_command(
        &self,
        caller: &Caller,
        device: DeviceId,
        id: CommandId,
        patch: CommandPatch,
    ) -> Result<Command, OwnerError> {
        if let Some(text) = &patch.description {
            check_description(text)?;
        }
        let now = self.now();
        for _ in 0..COMMIT_ATTEMPTS {
            let mut loaded = self.queue_of(caller, device, &[id]).await?;
            let find = |queue: &Queue| queue.commands().iter().find(|c| c.id == id).cloned();
            let before = find(&loaded.queue).ok_or_else(|| no_command(id))?;
            let mut changes = Changes::default();
            if patch.description.is_some() || patch.request.is_some() {
                changes = loaded
                    .queue
                    .change(id, patch.description.clone(), patch.request.clone(), now)
                    .map_err(not_now)?;
                loaded.queue.apply(&changes);
            }
            if let (Some(_), Some(new)) = (&patch.request, find(&loaded.queue)) {
                let others = open_requests(loaded.queue.commands(), Some(id));
                check_material(&new.request, &others).map_err(unusable)?;
            }
            if let Some(wish) = patch.action {
                let done = match wish {
                    Wish::Resume => loaded.queue.resume(id, now),
                    Wish::Skip => loaded.queue.skip(id, now),
                    Wish::Discard => loaded.queue.discard(id, now),
                }
                .map_err(not_now)?;
                loaded.queue.apply(&done);
                changes.extend(done);
            }
            let after = find(&loaded.queue).ok_or_else(|| no_command(id))?;
            if !changes.is_empty() {
                let mut change = DeviceChange::from_owner(&changes);
                let action = patch.action.map_or("changed", Wish::as_str);
                let event = AuditEvent::new(now, &caller.name, "command-changed")
                    .team(&loaded.device.owner)
                    .device(device)
                    .command(id)
                    .detail(format!("{}: {action}", after.request.kind().member()));
                change
                    .audit
                    .push(event.changed(said(&before), said(&after)));
                let version = loaded.device.version;
                if let Err(e) = self.store.commit(device, version, change).await {
                    retry(e, device)?;
                    continue;
                }
                tracing::info!(%device, command = %id, action, by = %caller.name, "command changed");
            }
            return self.command(caller, device, id).await;
        }
        Err(OwnerError::Contention)
    }

    /// One command, its secrets erased.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn command(
        &self,
        caller: &Caller,
        device: DeviceId,
        command: CommandId,
    ) -> Result<Command, OwnerError> {
        let mut found = self.seen(caller, device, Some(command)).await?;
        found.pop().ok_or_else(|| no_command(command))
    }

    /// All commands in queue order, terminal ones as well.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn commands(
        &self,
        caller: &Caller,
        device: DeviceId,
    ) -> Result<Vec<Command>, OwnerError> {
        self.seen(caller, device, None).await
    }

    async fn seen(
        &self,
        caller: &Caller,
        device: DeviceId,
        only: Option<CommandId>,
    ) -> Result<Vec<Command>, OwnerError> {
        let read = async || -> Result<Vec<Command>, OwnerError> {
            let seen = self
                .store
                .commands_seen(caller.view(), device, only)
                .await?;
            seen.ok_or_else(|| not_claimed(device))
        };
        let commands = read().await?;
        if !self.is_overdue(&commands) {
            return Ok(commands);
        }
        self.expire(device).await?;
        read().await
    }

    /// A device that the caller may see, its queue, and the terminal commands that are `named`; what is overdue has ended.
    async fn queue_of(
        &self,
        caller: &Caller,
        device: DeviceId,
        named: &[CommandId],
    ) -> Result<Loaded, OwnerError> {
        let loaded = self.loaded_of(caller, device, named).await?;
        if !self.is_overdue(loaded.queue.commands()) {
            return Ok(loaded);
        }
        self.expire(device).await?;
        self.loaded_of(caller, device, named).await
    }

    /// A device that the caller may see, its queue as it is, and the terminal commands that are `named`.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub(super) async fn loaded_of(
        &self,
        caller: &Caller,
        device: DeviceId,
        named: &[CommandId],
    ) -> Result<Loaded, OwnerError> {
        let loaded = self.store.queue(device, named).await?;
        loaded
            .filter(|loaded| caller.sees(&loaded.device))
            .ok_or_else(|| not_claimed(device))
    }

    fn is_overdue(&self, commands: &[Command]) -> bool {
        let now = self.now();
        commands.iter().any(|command| {
            let since = |at| now.since(at) >= REPORT_WAIT;
            command.status == Status::InProgress && command.covered_at.is_some_and(since)
        })
    }

    /// Ends what is overdue. When the device changes all the time, somebody else does it.
    async fn expire(&self, device: DeviceId) -> Result<(), OwnerError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let loaded = self
                .store
                .queue(device, &[])
                .await?
                .ok_or_else(|| not_claimed(device))?;
            let changes = loaded.queue.expire(self.now());
            if changes.is_empty() {
                return Ok(());
            }
            let change = DeviceChange::from_owner(&changes);
            let version = loaded.device.version;
            match self.store.commit(device, version, change).await {
                Ok(_) => {
                    tracing::info!(%device, commands = changes.commands.len(), "reports overdue: outcome unknown");
                    return Ok(());
                }
                Err(e) => retry(e, device)?,
            }
        }
        Ok(())
    }

    /// Removes a command. One that the device has fetched needs `force`.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::InProgress`], [`OwnerError::Contention`], [`OwnerError::Store`].
    pub async fn delete_command(
        &self,
        device: DeviceId,
        command: CommandId,
        force: bool,
        caller: &Caller,
    ) -> Result<(), OwnerError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let loaded = self.queue_of(caller, device, &[command]).await?;
            let found = loaded.queue.commands().iter().find(|c| c.id == command);
            let found = found.ok_or_else(|| no_command(command))?;
            let version = loaded.device.version;
            if self
                .remove(caller, device, version, &[found], force)
                .await?
            {
                return Ok(());
            }
        }
        Err(OwnerError::Contention)
    }

    /// Removes all commands of a device. If one is IN_PROGRESS, nothing is removed without `force`.
    ///
    /// # Errors
    /// As [`App::delete_command`].
    pub async fn delete_commands(
        &self,
        device: DeviceId,
        force: bool,
        caller: &Caller,
    ) -> Result<(), OwnerError> {
        for _ in 0..COMMIT_ATTEMPTS {
            // The version first: commands that come between the two reads then make the commit fail, not vanish.
            let version = self.device_of(caller, device).await?.version;
            let commands = self.seen(caller, device, None).await?;
            let all: Vec<&Command> = commands.iter().collect();
            if all.is_empty() || self.remove(caller, device, version, &all, force).await? {
                return Ok(());
            }
        }
        Err(OwnerError::Contention)
    }

    /// `false`: the device changed; decide again.
    async fn remove(
        &self,
        caller: &Caller,
        device: DeviceId,
        version: u64,
        commands: &[&Command],
        force: bool,
    ) -> Result<bool, OwnerError> {
        let is_busy = |c: &&&Command| c.status == Status::InProgress && !c.parked;
        if !force && let Some(busy) = commands.iter().find(is_busy) {
            return Err(OwnerError::InProgress(busy.id.to_string()));
        }
        let now = self.now();
        let deleted = |command: &&Command| {
            let (kind, status) = (command.request.kind().member(), command.status.as_str());
            AuditEvent::new(now, &caller.name, "command-deleted")
                .device(device)
                .command(command.id)
                .detail(format!("{kind} while {status}"))
                .changed(said(command), Value::Null)
        };
        let change = DeviceChange {
            removed: commands.iter().map(|command| command.id).collect(),
            audit: commands.iter().map(deleted).collect(),
            ..DeviceChange::default()
        };
        match self.store.commit(device, version, change).await {
            Ok(_) => Ok(true),
            Err(e) => retry(e, device).map(|()| false),
        }
    }
}

pub(super) fn retry(e: CommitError, device: DeviceId) -> Result<(), OwnerError> {
    match e {
        CommitError::Conflict { .. } | CommitError::KeyAlreadyIssued { .. } => Ok(()),
        CommitError::Gone => Err(not_claimed(device)),
        CommitError::Store(e) => Err(e.into()),
    }
}

fn refused(e: AddError) -> OwnerError {
    match e {
        e @ (AddError::QueueFull { .. } | AddError::SequenceExhausted) => {
            OwnerError::QueueFull(e.to_string())
        }
        AddError::Field { field, reason } => OwnerError::Invalid { field, reason },
        e => OwnerError::Invalid {
            field: "request",
            reason: e.to_string(),
        },
    }
}

/// What an owner changes of a command.
#[derive(Debug, Clone, Default)]
pub struct CommandPatch {
    /// Other words; empty: none.
    pub description: Option<String>,
    /// Another request, in the same place.
    pub request: Option<CommandRequest>,
    /// What becomes of a parked command.
    pub action: Option<Wish>,
}

/// What an operator wants with a parked command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Deliver it again.
    Resume,
    /// Let it fail, and go on behind it.
    Skip,
    /// Let it fail, and drop what is behind it.
    Discard,
}

impl Wish {
    /// As it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Skip => "skip",
            Self::Discard => "discard",
        }
    }
}

fn check_set(
    set: &[(Option<String>, CommandRequest)],
    on_error: ErrorPolicy,
) -> Result<(), OwnerError> {
    if set.is_empty() {
        return Err(OwnerError::Invalid {
            field: "commands",
            reason: "there are none".to_owned(),
        });
    }
    if let ErrorPolicy::Retry { times } = on_error
        && (times == 0 || times > RETRIES_MAX)
    {
        return Err(OwnerError::Invalid {
            field: "onError",
            reason: format!("retry: {times} times; 1 to {RETRIES_MAX} are possible"),
        });
    }
    set.iter()
        .flat_map(|(description, _)| description)
        .try_for_each(|text| check_description(text))
}

fn check_description(text: &str) -> Result<(), OwnerError> {
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(OwnerError::Invalid {
            field: "description",
            reason: format!("more than {DESCRIPTION_CHARS_MAX} characters"),
        });
    }
    Ok(())
}

/// What waits for the device, but for one command.
fn open_requests(commands: &[Command], without: Option<CommandId>) -> Vec<&CommandRequest> {
    commands
        .iter()
        .filter(|c| !c.status.is_terminal() && Some(c.id) != without)
        .map(|command| &command.request)
        .collect()
}

fn unusable(e: MaterialError) -> OwnerError {
    OwnerError::Invalid {
        field: e.field,
        reason: e.reason,
    }
}

fn no_command(id: CommandId) -> OwnerError {
    OwnerError::NotFound {
        what: "command",
        id: id.to_string(),
    }
}

fn not_now(e: OperatorError) -> OwnerError {
    match e {
        OperatorError::Unknown(id) => no_command(id),
        OperatorError::Refused(e) => refused(e),
        e => OwnerError::CommandState(e.to_string()),
    }
}

/// A command for the audit trail.
fn said(command: &Command) -> Value {
    json!({
        "request": command.request.outline(),
        "description": command.description,
        "ruleId": command.rule_id,
        "status": command.status.as_str(),
        "onError": command.on_error,
        "parked": command.parked,
    })
}
