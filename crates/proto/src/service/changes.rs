//! What the answer to a question changes, asks and tells.

use super::Command;
use crate::rules::ClosedLoop;
use crate::token::KeygenOutput;
use crate::{CommandId, SecTag};
use alloc::string::String;
use alloc::vec::Vec;

/// What a question changed: complete rows, in queue order.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// New state of changed or added commands.
    pub commands: Vec<Command>,
    /// Closed-loop CSRs to sign: answer each with
    /// [`Queue::follow_with_certificate`](super::Queue::follow_with_certificate) or
    /// [`Queue::refuse_certificate`](super::Queue::refuse_certificate) before committing.
    pub needs_certificate: Vec<NeedsCertificate>,
    /// Things an operator should see.
    pub alarms: Vec<Alarm>,
    /// First number not used yet, after these changes.
    pub next_sequence: u32,
    /// The device acknowledged `finished`.
    pub finished: bool,
}

/// A CSR that came back for a closed-loop command.
#[derive(Debug, Clone)]
pub struct NeedsCertificate {
    /// The CSR command.
    pub command: CommandId,
    /// The tag that was asked for.
    pub sec_tag: SecTag,
    /// The subject attributes that were asked for; empty means `CN=<device uuid>`.
    pub attributes: String,
    /// Which certificate is wanted.
    pub closed_loop: ClosedLoop,
    /// Parsed, not proven: verify under the pinned key.
    pub output: KeygenOutput,
}

/// What an operator should see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// A second, different report for a settled key generation: the key on the device changed.
    KeyChanged {
        /// The command.
        command: CommandId,
        /// [`Response::report_digest`](super::Response::report_digest) of the report that was settled first, when there is one.
        known: Option<String>,
        /// The digest of this one.
        reported: String,
    },
    /// A report for something never delivered to this device.
    NeverDelivered {
        /// The id reported.
        correlation: String,
    },
    /// A second, different report for another settled command.
    ReportDiffers {
        /// The command.
        command: CommandId,
        /// As for [`Alarm::KeyChanged`].
        known: Option<String>,
        /// The digest of this one.
        reported: String,
    },
}

impl Changes {
    /// Adds what a later question changed: its rows take the place of earlier states of the same commands.
    pub fn extend(&mut self, later: Self) {
        for row in later.commands {
            match self.commands.iter_mut().find(|known| known.id == row.id) {
                Some(known) => *known = row,
                None => self.commands.push(row),
            }
        }
        self.commands.sort_by_key(|command| command.position);
        self.needs_certificate.extend(later.needs_certificate);
        self.alarms.extend(later.alarms);
        self.next_sequence = self.next_sequence.max(later.next_sequence);
        self.finished |= later.finished;
    }

    /// Whether there is nothing to commit (alarms are not committed, they are raised).
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}
