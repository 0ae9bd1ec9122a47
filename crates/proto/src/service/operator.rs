//! What an operator does to commands that are queued: change, resume, skip, discard.

use super::adding::take_sequence;
use super::draft::Draft;
use super::{AddError, Changes, Command, Failure, Queue, Response, Status, checked};
use crate::command::CommandRequest;
use crate::{CommandId, Timestamp};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Why an operator's wish was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// No such command in the queue that was loaded.
    #[error("no command {0}")]
    Unknown(CommandId),
    /// The device has fetched it, or it is over.
    #[error("command {id} is {}: only a PENDING or parked one can be changed", status.as_str())]
    NotPending {
        /// Which.
        id: CommandId,
        /// Where it stands.
        status: Status,
    },
    /// Only parked commands are resumed, skipped and discarded.
    #[error("command {id} is not parked: it is {}", status.as_str())]
    NotParked {
        /// Which.
        id: CommandId,
        /// Where it stands.
        status: Status,
    },
    /// The new request cannot be queued.
    #[error(transparent)]
    Refused(#[from] AddError),
}

pub(super) fn change(
    queue: &Queue,
    id: CommandId,
    description: Option<String>,
    request: Option<CommandRequest>,
    now: Timestamp,
) -> Result<Changes, OperatorError> {
    let command = find(queue, id)?;
    if command.status != Status::Pending && !command.parked {
        return Err(OperatorError::NotPending {
            id,
            status: command.status,
        });
    }
    let mut draft = Draft::new(queue, now);
    if let Some(request) = request {
        let request = checked(request)?;
        let sequence = take_sequence(&mut draft.changes.next_sequence)?;
        if let Some(row) = draft.change(id) {
            row.request = request;
            row.sequence = sequence;
        }
    }
    if let (Some(description), Some(row)) = (description, draft.change(id)) {
        row.description = (!description.is_empty()).then_some(description);
    }
    Ok(draft.finish())
}

pub(super) fn resume(
    queue: &Queue,
    id: CommandId,
    now: Timestamp,
) -> Result<Changes, OperatorError> {
    parked(queue, id)?;
    let mut draft = Draft::new(queue, now);
    if !draft.number_anew(id) {
        return Err(AddError::SequenceExhausted.into());
    }
    Ok(draft.finish())
}

pub(super) fn skip(queue: &Queue, id: CommandId, now: Timestamp) -> Result<Changes, OperatorError> {
    let response = last_failure(parked(queue, id)?);
    let mut draft = Draft::new(queue, now);
    draft.end(id, Status::Failed, response);
    Ok(draft.finish())
}

pub(super) fn discard(
    queue: &Queue,
    id: CommandId,
    now: Timestamp,
) -> Result<Changes, OperatorError> {
    let response = last_failure(parked(queue, id)?);
    let mut draft = Draft::new(queue, now);
    draft.end(id, Status::Failed, response);
    draft.drop_remaining(id);
    Ok(draft.finish())
}

pub(super) fn discard_rules(queue: &Queue, reason: &str, now: Timestamp) -> Changes {
    let mut draft = Draft::new(queue, now);
    let open: Vec<CommandId> = queue
        .open()
        .filter(|command| command.rule_id.is_some())
        .map(|command| command.id)
        .collect();
    for id in open {
        draft.fail(id, Failure::NotExecuted, reason.to_string());
    }
    draft.finish()
}

fn find(queue: &Queue, id: CommandId) -> Result<&Command, OperatorError> {
    queue.find(id).ok_or(OperatorError::Unknown(id))
}

fn parked(queue: &Queue, id: CommandId) -> Result<&Command, OperatorError> {
    let command = find(queue, id)?;
    if command.parked {
        return Ok(command);
    }
    Err(OperatorError::NotParked {
        id,
        status: command.status,
    })
}

/// What stopped the queue; a parked command has it.
fn last_failure(command: &Command) -> Response {
    let unknown = || Response::failed(Failure::RefusedByDevice, String::new());
    command.response.clone().unwrap_or_else(unknown)
}
