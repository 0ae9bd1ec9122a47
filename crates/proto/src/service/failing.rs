//! What becomes of a command that failed, and of those behind it: the error policy of its set.
//!
//! ```text
//!   failed ──┬── vendor's way ─────────────► FAILED, all that the device did not execute is dropped
//!            ├── keep the rest ────────────► FAILED, the rest is delivered by the next fetch
//!            ├── retry, tries left ────────► PENDING under a new number, in its place; then as the vendor's way
//!            └── park ─────────────────────► stays open, `parked`; nothing behind it is delivered
//! ```
//!
//! A device stops its batch at the first failure, so what it fetched behind the failed command was not executed and goes
//! back to PENDING when it has to run after the repetition.

use super::draft::Draft;
use super::{Command, Failure, Response, Status};
use crate::CommandId;
use crate::rules::ErrorPolicy;
use alloc::string::String;
use alloc::vec::Vec;

/// Whether the same command could succeed on the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Yes,
    /// It fits no buffer, or was repeated already.
    No,
}

impl Draft<'_> {
    /// Fails a command as its policy says.
    pub(super) fn fails(&mut self, id: CommandId, response: Response, repeat: Repeat) {
        let Some(command) = self.find(id).cloned() else {
            return;
        };
        match command.on_error {
            ErrorPolicy::Retry { times }
                if repeat == Repeat::Yes
                    && command.tries < u32::from(times)
                    && self.number_anew(id) =>
            {
                self.give_back(&command);
                self.note_failure(id, response);
            }
            ErrorPolicy::Park => {
                self.give_back(&command);
                self.note_failure(id, response);
                if let Some(row) = self.change(id) {
                    row.parked = true;
                    row.covered_at = None;
                }
            }
            ErrorPolicy::KeepRest => {
                self.end(id, Status::Failed, response);
                for (executed, _) in self.delivered_beside(&command).0 {
                    self.cover(executed);
                }
            }
            ErrorPolicy::VendorDefault | ErrorPolicy::Retry { .. } => {
                self.end(id, Status::Failed, response);
                self.drop_remaining(id);
            }
        }
    }

    /// Takes back that a command ended in this very question: what it ended with is being decided anew.
    pub(super) fn reopen(&mut self, id: CommandId) {
        self.forget(id);
    }

    fn note_failure(&mut self, id: CommandId, response: Response) {
        let now = self.now();
        if let Some(row) = self.change(id) {
            row.response = Some(response);
            row.responded_at = Some(now);
        }
    }

    /// What was delivered and executed before the failed command counts as executed; what was delivered behind it was not.
    fn give_back(&mut self, failed: &Command) {
        let (executed, waiting) = self.delivered_beside(failed);
        for (id, _) in executed {
            self.cover(id);
        }
        for (id, position) in waiting {
            if position > failed.position
                && let Some(row) = self.change(id)
            {
                row.status = Status::Pending;
                row.requested_at = None;
                row.covered_at = None;
            }
        }
    }

    /// Other commands in progress: those executed when `failed` had been, and those not.
    fn delivered_beside(&self, failed: &Command) -> (Vec<Placed>, Vec<Placed>) {
        self.commands()
            .filter(|c| c.status == Status::InProgress && c.id != failed.id && !c.parked)
            .map(|c| (self.is_executed(c, failed), (c.id, c.position)))
            .fold((Vec::new(), Vec::new()), |mut split, (executed, placed)| {
                if executed {
                    split.0.push(placed);
                } else {
                    split.1.push(placed);
                }
                split
            })
    }
}

/// A command and its place.
type Placed = (CommandId, (u32, u32));

impl Response {
    /// Of a command that failed for this reason.
    pub(super) const fn failed(failure: Failure, message: String) -> Self {
        Self {
            message,
            cme_error: None,
            attestation: None,
            failure: Some(failure),
            report_digest: String::new(),
            verified: None,
        }
    }
}
