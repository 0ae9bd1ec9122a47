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
//! That is the vendor's way; [`ErrorPolicy`] names the others, and `service/failing.rs` decides.
//!
//! * [`Queue::add`] checks and numbers (`service/check.rs`); all commands or none.
//! * [`Queue::next_batch`] decides what the device has done and what it gets (`service/fetch.rs`).
//! * [`Queue::settle`] decides a report (`service/settle.rs`), whose closed-loop CSRs are then answered with
//!   [`Queue::follow_with_certificate`] or [`Queue::refuse_certificate`] (`service/follow.rs`).
//! * [`Queue::expire`] ends commands whose report will not come, for owners who look while no device fetches.
//!
//! **`finished` waits**, wherever it stands: it ends a session, so it leaves with the last of the other commands, one in a
//! batch, and never while the certificate of a closed-loop CSR is still to come.

mod check;
mod draft;
mod expansion;
mod failing;
mod fetch;
mod follow;
pub mod grants;
mod operator;
mod planned;
mod settle;

pub use expansion::{AT_CHARS_MAX_DEFAULT, SEQUENCE_END};
pub use operator::OperatorError;
pub use planned::{Planned, planned};

use crate::command::CommandRequest;
use crate::rules::{ClosedLoop, ErrorPolicy};
use crate::token::KeygenOutput;
use crate::wire::WireResponse;
use crate::{CommandId, DeviceId, Timestamp};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use expansion::Named;
use serde::{Deserialize, Serialize};

/// How long a command that the device has executed may stay without a report (spec/owner-api §9).
pub const REPORT_WAIT: Duration = Duration::from_secs(600);

/// Commands of one device that are not terminal; one more is refused (409).
pub const OPEN_COMMANDS_MAX: usize = 100;

/// One command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The service's id.
    pub id: CommandId,
    /// Number of its correlation ids, hexadecimal on the wire; unique per device, rising by creation, < 2^24.
    /// A closed-loop CSR that is queued again gets a new one and keeps its position.
    pub sequence: u32,
    /// Order in the queue: (own first sequence, 0), or (first sequence of the CSR, own sequence) for a certificate
    /// placed behind it. Unique, never changes.
    pub position: (u32, u32),
    /// The rule that made it, `None` for hand-made ones. (UUID text.)
    pub rule_id: Option<String>,
    /// The owner's words.
    pub description: Option<String>,
    /// What to do.
    pub request: CommandRequest,
    /// Where it stands.
    pub status: Status,
    /// When the owner created it.
    pub created_at: Timestamp,
    /// Last change of any field.
    pub updated_at: Option<Timestamp>,
    /// When the device first fetched it.
    pub requested_at: Option<Timestamp>,
    /// When its result was recorded.
    pub responded_at: Option<Timestamp>,
    /// When a fetch's `after` first covered it although no report had come (outcome unknown 10 minutes later).
    pub covered_at: Option<Timestamp>,
    /// The result, once terminal; of a command that is repeated or parked, its last failure.
    pub response: Option<Response>,
    /// What happens when it fails; the same for all commands of a set.
    #[serde(default)]
    pub on_error: ErrorPolicy,
    /// How often it was queued again.
    #[serde(default)]
    pub tries: u32,
    /// It failed under [`ErrorPolicy::Park`] and waits for an operator; nothing behind it is delivered.
    #[serde(default)]
    pub parked: bool,
}

/// Where a command stands (spec/owner-api §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Not fetched.
    Pending,
    /// Fetched, not reported.
    InProgress,
    /// Terminal.
    Succeeded,
    /// Terminal: refused by the device, dropped, outcome unknown, or impossible.
    Failed,
}

impl Status {
    /// Whether nothing more can happen to it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// As the owner sees it: `IN_PROGRESS`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }
}

/// The result of a command as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The modem's words; for key generation only the base64url body (spec/owner-api §3.2).
    pub message: String,
    /// CME number of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cme_error: Option<u32>,
    /// The COSE part of a KEYGEN answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<String>,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// SHA-256 (hex) over the raw report of this command: tells "the same report again" from another one.
    pub report_digest: String,
    /// What a KEYGEN answer was checked for; filled in by whoever knows the device's key, and changes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verdict>,
}

/// What was checked of a KEYGEN answer (spec/device-protocol §2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// All that was looked at holds.
    pub holds: bool,
    /// The COSE signature holds under the device's pinned key.
    pub signature: bool,
    /// In which of the two signing conventions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convention: Option<String>,
    /// The signed payload names this device.
    pub device: bool,
    /// It names the tag that was asked for.
    pub sec_tag: bool,
    /// Its digest is the SHA-256 of the body.
    pub digest: bool,
    /// For a CSR: its subject is the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<bool>,
    /// For a CSR: its key usage is the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_usage: Option<bool>,
    /// In words, what does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Why a command is `FAILED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// The device answered 99, or a 100 that hides an error text.
    RefusedByDevice,
    /// Dropped because an earlier command failed (or, after a loss of the sealing key, because its secret is gone).
    NotExecuted,
    /// A later fetch covered it, and no report came within 10 minutes.
    OutcomeUnknown,
    /// It cannot fit this device's buffers.
    DoesNotFit,
    /// The closed loop refused the CSR.
    CertificateRefused,
}

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
    /// [`OPEN_COMMANDS_MAX`] (or the configured limit) reached.
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

/// The device's side of a fetch, as the query says (absent: limit 10, rx 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Commands in one batch.
    pub records_max: usize,
    /// Bytes of CBOR that fit: for HTTP already less the header budget.
    pub cbor_bytes_max: usize,
    /// Bytes the device can send back (`txMaxSize`).
    pub report_bytes_max: usize,
    /// Characters of one `AT…=…`: max(TX_BUF_SZ, CODEC_AT_CMD_LEN) − 1, 2047 by default.
    pub at_chars_max: usize,
}

/// The queue of one device: every open command, and those terminal ones that the question names.
#[derive(Debug, Clone)]
pub struct Queue {
    device: DeviceId,
    commands: Vec<Command>,
    next_sequence: u32,
}

/// Answer to a fetch. `Debug` shows how many bytes, not which: they hold keys and passwords.
#[derive(Clone)]
pub enum Fetched {
    /// Send these bytes after committing the changes.
    Batch {
        /// CBOR commands.
        bytes: Vec<u8>,
        /// Commands in it.
        count: usize,
        /// To be committed before the bytes leave.
        changes: Changes,
    },
    /// 204, after committing the changes (if any).
    Nothing {
        /// May hold outcomes that became unknown, or commands that can never fit.
        changes: Changes,
    },
}

/// What a question changed: complete rows, in queue order.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// New state of changed or added commands.
    pub commands: Vec<Command>,
    /// Closed-loop CSRs to sign: answer each with [`Queue::follow_with_certificate`] or
    /// [`Queue::refuse_certificate`] before committing.
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
    pub sec_tag: crate::SecTag,
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
        /// [`Response::report_digest`] of the report that was settled first, when there is one.
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
        let mut changes = self.unchanged();
        let open = self.open().count();
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

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch {
                bytes,
                count,
                changes,
            } => f
                .debug_struct("Batch")
                .field("bytes", &bytes.len())
                .field("count", count)
                .field("changes", changes)
                .finish(),
            Self::Nothing { changes } => {
                f.debug_struct("Nothing").field("changes", changes).finish()
            }
        }
    }
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
    fn into_command(
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

impl Command {
    /// Whether the service signs its CSR: then `finished` waits for it.
    const fn is_closed_loop(&self) -> bool {
        matches!(
            self.request,
            CommandRequest::CertificateSigningRequest { issue: Some(_), .. }
        )
    }

    /// Whether it says that provisioning is complete.
    const fn is_finished(&self) -> bool {
        matches!(self.request, CommandRequest::Finished {})
    }

    /// Whether it had this number before it was queued again.
    const fn had_number(&self, number: u32) -> bool {
        let first = if self.position.1 == 0 {
            self.position.0
        } else {
            self.position.1
        };
        first <= number && number < self.sequence
    }
}

fn take_sequence(next: &mut u32) -> Result<u32, AddError> {
    if *next >= SEQUENCE_END {
        return Err(AddError::SequenceExhausted);
    }
    let sequence = *next;
    *next += 1;
    Ok(sequence)
}

#[cfg(test)]
mod tests;
