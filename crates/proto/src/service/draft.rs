//! The changes of one question while it is being answered: the queue stays as it is, changed rows are laid over it.

use super::adding::take_sequence;
use super::failing::Repeat;
use super::{Changes, Command, Failure, Queue, Response, Status};
use crate::{CommandId, Timestamp};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What a command's place in the queue is called where it serves as a key.
type Position = (u32, u32);

/// A queue under change.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    queue: &'a Queue,
    changed: BTreeMap<Position, Command>,
    /// What the report in hand answers: the device did not stop in front of it.
    answered: Vec<CommandId>,
    pub(super) changes: Changes,
    now: Timestamp,
}

impl<'a> Draft<'a> {
    pub(super) fn new(queue: &'a Queue, now: Timestamp) -> Self {
        Self {
            queue,
            changed: BTreeMap::new(),
            answered: Vec::new(),
            changes: queue.unchanged(),
            now,
        }
    }

    /// Goes on with changes that were made before.
    pub(super) fn resume(queue: &'a Queue, mut changes: Changes, now: Timestamp) -> Self {
        let rows = core::mem::take(&mut changes.commands);
        Self {
            queue,
            changed: rows.into_iter().map(|row| (row.position, row)).collect(),
            answered: Vec::new(),
            changes,
            now,
        }
    }

    pub(super) fn finish(self) -> Changes {
        Changes {
            commands: self.changed.into_values().collect(),
            ..self.changes
        }
    }

    /// All commands in queue order, as changed so far. New ones are not among them.
    pub(super) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.queue
            .commands
            .iter()
            .map(|command| self.changed.get(&command.position).unwrap_or(command))
    }

    pub(super) fn find(&self, id: CommandId) -> Option<&Command> {
        self.commands().find(|command| command.id == id)
    }

    /// The row to change; marks it as changed.
    pub(super) fn change(&mut self, id: CommandId) -> Option<&mut Command> {
        let original = self.queue.find(id)?;
        let row = self
            .changed
            .entry(original.position)
            .or_insert_with(|| original.clone());
        row.updated_at = Some(self.now);
        Some(row)
    }

    pub(super) fn note_answered(&mut self, id: CommandId) {
        self.answered.push(id);
    }

    /// Whether the device had executed `command` when it had executed `last`, as far as deliveries and the report tell.
    pub(super) fn is_executed(&self, command: &Command, last: &Command) -> bool {
        self.answered.contains(&command.id) || command.was_executed_by(last)
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn insert(&mut self, command: Command) {
        self.changed.insert(command.position, command);
    }

    /// Takes back what was changed in this row.
    pub(super) fn forget(&mut self, id: CommandId) {
        self.changed.retain(|_, row| row.id != id);
    }

    /// Makes a command terminal: from here on its secrets are gone.
    pub(super) fn end(&mut self, id: CommandId, status: Status, response: Response) {
        let now = self.now;
        if let Some(row) = self.change(id) {
            row.status = status;
            row.responded_at = Some(now);
            row.response = Some(response);
            row.parked = false;
            row.request.erase_secrets();
        }
    }

    /// Fails a command without dropping anything.
    pub(super) fn fail(&mut self, id: CommandId, failure: Failure, message: String) {
        self.end(id, Status::Failed, Response::failed(failure, message));
    }

    /// Rule 7 of spec/device-protocol §10: after a failure everything that the device has not executed is dropped.
    /// What it executed before the failed command without reporting it stays open, until its outcome counts as unknown.
    pub(super) fn drop_remaining(&mut self, failed: CommandId) {
        let Some(culprit) = self.find(failed) else {
            return;
        };
        let culprit = culprit.clone();
        let open: Vec<(CommandId, bool)> = self
            .commands()
            .filter(|command| !command.status.is_terminal())
            .map(|command| (command.id, self.is_executed(command, &culprit)))
            .collect();
        let message = format!(
            "not executed: command {} ({}) failed before it",
            culprit.id,
            culprit.request.kind().member()
        );
        for (id, executed) in open {
            if executed {
                self.cover(id);
            } else {
                self.fail(id, Failure::NotExecuted, message.clone());
            }
        }
    }

    /// Remembers when it became known that the device executed a command.
    pub(super) fn cover(&mut self, id: CommandId) {
        let now = self.now;
        if self.find(id).is_some_and(|c| c.covered_at.is_none())
            && let Some(row) = self.change(id)
        {
            row.covered_at = Some(now);
        }
    }

    /// A command that was executed and whose report will not come (spec/owner-api §9). A closed-loop CSR is queued again
    /// once, under a new number; when that is lost as well, what waits for its certificate is dropped.
    pub(super) fn outcome_unknown(&mut self, id: CommandId) {
        let Some(command) = self.find(id) else {
            return;
        };
        let closed_loop = command.is_closed_loop();
        if closed_loop && command.tries == 0 && self.number_anew(id) {
            return;
        }
        let message = "outcome unknown: executed, report lost".to_string();
        if closed_loop {
            let response = Response::failed(Failure::OutcomeUnknown, message);
            self.fails(id, response, Repeat::No);
        } else {
            self.fail(id, Failure::OutcomeUnknown, message);
        }
    }

    /// Queues a command again under a new number. `false`: there are no numbers left.
    pub(super) fn number_anew(&mut self, id: CommandId) -> bool {
        let Ok(sequence) = take_sequence(&mut self.changes.next_sequence) else {
            return false;
        };
        if let Some(row) = self.change(id) {
            row.sequence = sequence;
            row.tries = row.tries.saturating_add(1);
            row.status = Status::Pending;
            row.requested_at = None;
            row.covered_at = None;
            row.parked = false;
        }
        true
    }
}

impl Command {
    /// Whether the device had executed this command, as far as deliveries tell, when it had executed `last`.
    ///
    /// A batch runs in queue order with `finished` at its end, and batches run in the order of delivery. The two differ for
    /// a certificate, which takes a place in front of commands that were delivered earlier, and for a `finished` that was not
    /// reached and goes along again; what counts then is what is known already.
    pub(super) fn was_executed_by(&self, last: &Self) -> bool {
        if self.status != Status::InProgress {
            return false;
        }
        let is_before = match (self.is_finished(), last.is_finished()) {
            (true, false) => false,
            (false, true) => true,
            _ => self.position <= last.position,
        };
        if is_before {
            self.requested_at <= last.requested_at
        } else {
            self.covered_at.is_some() && self.requested_at < last.requested_at
        }
    }
}
