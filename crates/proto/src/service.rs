//! The service's half of the conversation: one device's command queue as a pure value.
//!
//! It owns the rules of spec/device-protocol §10 and the expansion of spec/owner-api §4. It never reads a clock, a
//! database or a socket: the caller loads it, asks one question, and commits the [`Changes`] (compare-and-swap).
//!
//! ```text
//!   PENDING ──delivered──► IN_PROGRESS ──report──────────────────────► SUCCEEDED | FAILED
//!      │                     │    ▲ │
//!      │                     │    └─┘ fetched again with an `after` before it: delivered again
//!      │                     └── `after` covers it, no report for 10 minutes ──► FAILED, outcome unknown
//!      └── an earlier command failed, or it fits no buffer ──► FAILED, not executed   (closed-loop CSR: PENDING, once)
//! ```
//!
//! That is the vendor's way; [`ErrorPolicy`](crate::rules::ErrorPolicy) names the others, and `service/failing.rs` decides.
//!
//! * [`Queue::add`] checks and numbers (`service/adding.rs`); all commands or none.
//! * [`Queue::next_batch`] decides what the device has done and what it gets (`service/fetch.rs`).
//! * [`Queue::settle`] decides a report (`service/settle.rs`), whose closed-loop CSRs are then answered with
//!   [`Queue::follow_with_certificate`] or [`Queue::refuse_certificate`] (`service/follow.rs`).
//! * [`Queue::expire`] ends commands whose report will not come, for owners who look while no device fetches.
//!
//! **`finished` waits**, wherever it stands: it ends a session, so it leaves with the last of the other commands, one in a
//! batch, and never while the certificate of a closed-loop CSR is still to come.

mod adding;
mod changes;
mod check;
mod command;
mod correlation;
mod draft;
mod expansion;
mod failing;
mod fetch;
mod follow;
pub mod grants;
mod operator;
mod planned;
mod settle;
#[cfg(test)]
mod tests;

pub use adding::{AddError, NewCommand, checked};
pub use changes::{Alarm, Changes, NeedsCertificate};
pub use command::{Command, Failure, Response, Status, Verdict};
pub use correlation::SEQUENCE_END;
pub use expansion::AT_CHARS_MAX_DEFAULT;
pub use fetch::{FetchLimits, Fetched};
pub use operator::OperatorError;
pub use planned::{Planned, planned};

use crate::command::CommandRequest;
use crate::wire::WireResponse;
use crate::{CommandId, DeviceId, Timestamp};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use correlation::Named;

/// How long a command that the device has executed may stay without a report (spec/owner-api §9).
pub const REPORT_WAIT: Duration = Duration::from_secs(600);

/// Commands of one device that are not terminal; one more is refused (409).
pub const OPEN_COMMANDS_MAX: usize = 100;

/// The queue of one device: every open command, and those terminal ones that the question names.
#[derive(Debug, Clone)]
pub struct Queue {
    device: DeviceId,
    commands: Vec<Command>,
    next_sequence: u32,
}

impl Queue {
    /// From what the store holds; sorts by position.
    pub fn new(device: DeviceId, mut commands: Vec<Command>, next_sequence: u32) -> Self {
        commands.sort_by_key(|command| command.position);
        Self {
            device,
            commands,
            next_sequence,
        }
    }

    /// In queue order.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Whose queue this is.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// First sequence number not used yet.
    pub const fn next_sequence(&self) -> u32 {
        self.next_sequence
    }

    /// Puts a change into this value as well, so that a further question sees it.
    pub fn apply(&mut self, changes: &Changes) {
        for changed in &changes.commands {
            match self.commands.iter_mut().find(|c| c.id == changed.id) {
                Some(command) => command.clone_from(changed),
                None => self.commands.push(changed.clone()),
            }
        }
        self.commands.sort_by_key(|command| command.position);
        self.next_sequence = self.next_sequence.max(changes.next_sequence);
    }

    /// Adds commands at the end, all or none. Their texts are normalised (line feeds of PEM).
    ///
    /// # Errors
    /// The index of the first refused one, and why.
    pub fn add(
        &self,
        new: Vec<NewCommand>,
        open_max: usize,
        now: Timestamp,
    ) -> Result<Changes, (usize, AddError)> {
        adding::add(self, new, open_max, now)
    }

    /// What the device gets for this fetch. `after` is the text of the query; empty or unknown = from the start.
    ///
    /// Delivers the longest run of open commands that fits all limits. Commands that `after` covers are not delivered
    /// again; one that can never fit these limits fails, and with it what waits behind it.
    pub fn next_batch(&self, after: &str, limits: FetchLimits, now: Timestamp) -> Fetched {
        fetch::next_batch(self, after, limits, now)
    }

    /// What the `after` of a fetch says about deliveries, before anything is added for it: [`Queue::next_batch`] notes the same.
    pub fn progress(&self, after: &str, now: Timestamp) -> Changes {
        fetch::progress(self, after, now)
    }

    /// Takes a report. Settled twice gives the same.
    ///
    /// The report may be partial, in any order, and hold ids that nobody knows: those change nothing and raise an
    /// [`Alarm`]; the device is answered with success all the same.
    pub fn settle(&self, report: &[WireResponse], now: Timestamp) -> Changes {
        settle::settle(self, report, now)
    }

    /// Ends commands that were executed [`REPORT_WAIT`] ago and never reported; a closed-loop CSR is queued again, once.
    /// [`Queue::next_batch`] does this too; a service calls it when an owner looks, since the device may not come for days.
    pub fn expire(&self, now: Timestamp) -> Changes {
        fetch::expire(self, now)
    }

    /// The certificate as a command directly behind its CSR. Extends `changes` (made by [`Queue::settle`]) and takes the
    /// CSR off `changes.needs_certificate`. A certificate for an earlier key that still waits is dropped.
    ///
    /// # Errors
    /// The certificate does not fit a device, or the sequence numbers are used up; `changes` is untouched then and
    /// [`Queue::refuse_certificate`] is what remains.
    pub fn follow_with_certificate(
        &self,
        changes: &mut Changes,
        csr: CommandId,
        certificate: CommandId,
        pem: String,
        now: Timestamp,
    ) -> Result<(), AddError> {
        follow::follow_with_certificate(self, changes, csr, certificate, pem, now)
    }

    /// The CSR command fails with `reason`, and what waits behind it is dropped. A CSR that was settled before keeps its
    /// first result: only the alarm stays.
    pub fn refuse_certificate(
        &self,
        changes: &mut Changes,
        csr: CommandId,
        reason: &str,
        now: Timestamp,
    ) {
        follow::refuse_certificate(self, changes, csr, reason, now);
    }

    /// Replaces the words or the request of a command that the device has not fetched, or that is parked. A new request
    /// gets a new number and keeps its place.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub fn change(
        &self,
        id: CommandId,
        description: Option<String>,
        request: Option<CommandRequest>,
        now: Timestamp,
    ) -> Result<Changes, OperatorError> {
        operator::change(self, id, description, request, now)
    }

    /// Lets a parked command be delivered again, and then what waits behind it.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub fn resume(&self, id: CommandId, now: Timestamp) -> Result<Changes, OperatorError> {
        operator::resume(self, id, now)
    }

    /// Lets a parked command fail, and what waits behind it go on.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub fn skip(&self, id: CommandId, now: Timestamp) -> Result<Changes, OperatorError> {
        operator::skip(self, id, now)
    }

    /// Lets a parked command fail, and drops what waits behind it: the vendor's way.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub fn discard(&self, id: CommandId, now: Timestamp) -> Result<Changes, OperatorError> {
        operator::discard(self, id, now)
    }

    /// Ends open commands that were made by rules, before the rules are applied anew (spec/owner-api §2.4, reset).
    pub fn discard_rules(&self, reason: &str, now: Timestamp) -> Changes {
        operator::discard_rules(self, reason, now)
    }

    /// The command ids that an `after` text or a report names, for loading terminal rows beside the open ones.
    pub fn ids_named(after: &str, report: &[WireResponse]) -> Vec<CommandId> {
        let texts = core::iter::once(after).chain(report.iter().map(|r| r.correlation.as_str()));
        let mut ids: Vec<CommandId> = texts.filter_map(Named::parse).map(|n| n.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether the device will be told that it is complete: a `finished` is still to be delivered, or delivered again.
    pub fn will_finish(&self) -> bool {
        self.open()
            .any(|c| c.is_finished() && c.covered_at.is_none())
    }

    /// Commands that are not terminal, in queue order.
    fn open(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(|c| !c.status.is_terminal())
    }

    fn find(&self, id: CommandId) -> Option<&Command> {
        self.commands.iter().find(|command| command.id == id)
    }

    fn unchanged(&self) -> Changes {
        Changes {
            next_sequence: self.next_sequence,
            ..Changes::default()
        }
    }
}
