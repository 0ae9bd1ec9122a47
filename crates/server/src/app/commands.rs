//! An owner's commands: queued, looked at, taken back.
//!
//! A command that was executed and not reported in time ends when its owner looks, too: the device may not come for days,
//! and whoever polls stops at a terminal status only (spec/owner-api §9).

use super::claim::not_claimed;
use super::{App, COMMIT_ATTEMPTS, DESCRIPTION_CHARS_MAX, OwnerError};
use sectag_pki::csr;
use sectag_proto::command::CommandRequest;
use sectag_proto::rules::ErrorPolicy;
use sectag_proto::service::{AddError, Command, NewCommand, REPORT_WAIT, Status};
use sectag_proto::{CommandId, DeviceId};
use sectag_store::{AuditEvent, CommitError, DeviceChange};

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
        by: &str,
    ) -> Result<Command, OwnerError> {
        if description
            .as_ref()
            .is_some_and(|text| text.chars().count() > DESCRIPTION_CHARS_MAX)
        {
            return Err(OwnerError::Invalid {
                field: "description",
                reason: format!("more than {DESCRIPTION_CHARS_MAX} characters"),
            });
        }
        signable(&request)?;
        let id = Self::command_id();
        let kind = request.kind();
        let now = self.now();
        for _ in 0..COMMIT_ATTEMPTS {
            let loaded = self
                .store
                .queue(device, &[])
                .await?
                .ok_or_else(|| not_claimed(device))?;
            if self.is_overdue(loaded.queue.commands()) {
                self.expire(device).await?;
                continue;
            }
            let new = NewCommand {
                id,
                rule_id: None,
                description: description.clone(),
                request: request.clone(),
                on_error: ErrorPolicy::VendorDefault,
            };
            let changes = loaded
                .queue
                .add(vec![new], self.open_commands_max, now)
                .map_err(|(_, e)| refused(e))?;
            let mut change = DeviceChange::from_owner(&changes);
            change.audit.push(
                AuditEvent::new(now, by, "command-created")
                    .device(device)
                    .command(id)
                    .detail(kind.member()),
            );
            match self
                .store
                .commit(device, loaded.device.version, change)
                .await
            {
                Ok(_) => {
                    tracing::info!(%device, command = %id, kind = kind.member(), by, "command queued");
                    return self.command(device, id).await;
                }
                Err(e) => retry(e, device)?,
            }
        }
        Err(OwnerError::Contention)
    }

    /// One command, its secrets erased.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn command(
        &self,
        device: DeviceId,
        command: CommandId,
    ) -> Result<Command, OwnerError> {
        let mut found = self.store.command(device, command).await?;
        if self.is_overdue(found.as_slice()) {
            self.expire(device).await?;
            found = self.store.command(device, command).await?;
        }
        found.ok_or_else(|| OwnerError::NotFound {
            what: "command",
            id: command.to_string(),
        })
    }

    /// All commands in queue order, terminal ones as well.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn commands(&self, device: DeviceId) -> Result<Vec<Command>, OwnerError> {
        self.device(device).await?;
        let commands = self.store.commands(device).await?;
        if !self.is_overdue(&commands) {
            return Ok(commands);
        }
        self.expire(device).await?;
        Ok(self.store.commands(device).await?)
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
        by: &str,
    ) -> Result<(), OwnerError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let loaded = self
                .store
                .queue(device, &[command])
                .await?
                .ok_or_else(|| not_claimed(device))?;
            if self.is_overdue(loaded.queue.commands()) {
                self.expire(device).await?;
                continue;
            }
            let found = loaded.queue.commands().iter().find(|c| c.id == command);
            let Some(found) = found else {
                return Err(OwnerError::NotFound {
                    what: "command",
                    id: command.to_string(),
                });
            };
            if found.status == Status::InProgress && !force {
                return Err(OwnerError::InProgress(command.to_string()));
            }
            let detail = format!(
                "{} while {}",
                found.request.kind().member(),
                found.status.as_str()
            );
            if self
                .remove(device, loaded.device.version, vec![(command, detail)], by)
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
        by: &str,
    ) -> Result<(), OwnerError> {
        for _ in 0..COMMIT_ATTEMPTS {
            // The version first: commands that come between the two reads then make the commit fail, not vanish.
            let known = self.device(device).await?;
            let commands = self.store.commands(device).await?;
            if self.is_overdue(&commands) {
                self.expire(device).await?;
                continue;
            }
            if let Some(busy) = commands
                .iter()
                .find(|c| c.status == Status::InProgress && !force)
            {
                return Err(OwnerError::InProgress(busy.id.to_string()));
            }
            if commands.is_empty() {
                return Ok(());
            }
            let removed = commands
                .iter()
                .map(|c| {
                    let detail =
                        format!("{} while {}", c.request.kind().member(), c.status.as_str());
                    (c.id, detail)
                })
                .collect();
            if self.remove(device, known.version, removed, by).await? {
                return Ok(());
            }
        }
        Err(OwnerError::Contention)
    }

    async fn remove(
        &self,
        device: DeviceId,
        version: u64,
        removed: Vec<(CommandId, String)>,
        by: &str,
    ) -> Result<bool, OwnerError> {
        let now = self.now();
        let change = DeviceChange {
            removed: removed.iter().map(|(id, _)| *id).collect(),
            audit: removed
                .into_iter()
                .map(|(id, detail)| {
                    AuditEvent::new(now, by, "command-deleted")
                        .device(device)
                        .command(id)
                        .detail(detail)
                })
                .collect(),
            ..DeviceChange::default()
        };
        match self.store.commit(device, version, change).await {
            Ok(_) => Ok(true),
            Err(e) => retry(e, device).map(|()| false),
        }
    }
}

fn retry(e: CommitError, device: DeviceId) -> Result<(), OwnerError> {
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

/// The closed loop compares the subject of the CSR with these attributes: what it cannot read it would never sign.
fn signable(request: &CommandRequest) -> Result<(), OwnerError> {
    match request {
        CommandRequest::CertificateSigningRequest {
            attributes,
            issue: Some(_),
            ..
        } if !attributes.trim().is_empty() => match csr::attributes(attributes) {
            Ok(_) => Ok(()),
            Err(e) => Err(OwnerError::Invalid {
                field: "attributes",
                reason: e.to_string(),
            }),
        },
        _ => Ok(()),
    }
}
