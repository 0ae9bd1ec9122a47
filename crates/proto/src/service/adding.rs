//! What an owner asks for becomes commands: checked (`service/check.rs`), numbered and placed.

use super::{
    AT_CHARS_MAX_DEFAULT, Changes, Command, Queue, SEQUENCE_END, Status, check, expansion,
};
use crate::command::CommandRequest;
use crate::rules::ErrorPolicy;
use crate::{CommandId, Timestamp};
use alloc::string::String;
use alloc::vec::Vec;

/// What the owner asks for.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Chosen by the caller (random v4).
    pub id: CommandId,
    /// See [`Command::rule_id`].
    pub rule_id: Option<String>,
    /// See [`Command::description`].
    pub description: Option<String>,
    /// What to do.
    pub request: CommandRequest,
    /// See [`Command::on_error`].
    pub on_error: ErrorPolicy,
}

/// Why a command was refused when it was created. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// [`OPEN_COMMANDS_MAX`](super::OPEN_COMMANDS_MAX) (or the configured limit) reached.
    #[error("{open} commands are waiting; the limit is {max}")]
    QueueFull {
        /// Open commands.
        open: usize,
        /// The limit.
        max: usize,
    },
    /// A field that no modem would take; `field` is the JSON member.
    #[error("{field}: {reason}")]
    Field {
        /// e.g. `content`
        field: &'static str,
        /// In words, with the limit.
        reason: String,
    },
    /// The AT text would exceed the device's buffer; the library would crash on it (§4).
    #[error("the AT command would have {chars} characters; a device takes {max}")]
    AtTooLong {
        /// Characters of `AT…=…`.
        chars: usize,
        /// The limit.
        max: usize,
    },
    /// All 2^24 sequence numbers of this device are used up.
    #[error("this device has used up its sequence numbers; unclaim and claim it again")]
    SequenceExhausted,
}

pub(super) fn add(
    queue: &Queue,
    new: Vec<NewCommand>,
    open_max: usize,
    now: Timestamp,
) -> Result<Changes, (usize, AddError)> {
    let mut changes = queue.unchanged();
    let open = queue.open().count();
    for (index, new) in new.into_iter().enumerate() {
        let refuse = |error| (index, error);
        if open + index >= open_max {
            return Err(refuse(AddError::QueueFull {
                open: open + index,
                max: open_max,
            }));
        }
        let sequence = take_sequence(&mut changes.next_sequence).map_err(refuse)?;
        let command = new
            .into_command(sequence, (sequence, 0), now)
            .map_err(refuse)?;
        changes.commands.push(command);
    }
    Ok(changes)
}

impl NewCommand {
    /// A command that no rule made, with the vendor's error policy.
    pub const fn by_hand(id: CommandId, request: CommandRequest) -> Self {
        Self {
            id,
            rule_id: None,
            description: None,
            request,
            on_error: ErrorPolicy::VendorDefault,
        }
    }

    /// Checks, numbers, places.
    pub(super) fn into_command(
        self,
        sequence: u32,
        position: (u32, u32),
        now: Timestamp,
    ) -> Result<Command, AddError> {
        Ok(Command {
            id: self.id,
            sequence,
            position,
            rule_id: self.rule_id,
            description: self.description,
            request: checked(self.request)?,
            status: Status::Pending,
            created_at: now,
            updated_at: None,
            requested_at: None,
            responded_at: None,
            covered_at: None,
            response: None,
            on_error: self.on_error,
            tries: 0,
            parked: false,
        })
    }
}

/// A request as it would be queued: its texts normalised, or the reason why no device would take it.
///
/// # Errors
/// [`AddError::Field`], [`AddError::AtTooLong`].
pub fn checked(request: CommandRequest) -> Result<CommandRequest, AddError> {
    let request = check::check(request)?;
    let wire = expansion::wire_of(CommandId::from_bytes([0; 16]), 0, &request);
    let longest = wire.iter().flatten().map(expansion::at_chars).max();
    match longest {
        Some(chars) if chars > AT_CHARS_MAX_DEFAULT => Err(AddError::AtTooLong {
            chars,
            max: AT_CHARS_MAX_DEFAULT,
        }),
        _ => Ok(request),
    }
}

/// The next number of this device.
pub(super) fn take_sequence(next: &mut u32) -> Result<u32, AddError> {
    if *next >= SEQUENCE_END {
        return Err(AddError::SequenceExhausted);
    }
    let sequence = *next;
    *next += 1;
    Ok(sequence)
}
