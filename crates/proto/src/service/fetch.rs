//! A fetch: what has the device done, and what does it get.

use super::correlation::Named;
use super::draft::Draft;
use super::expansion::{Expansion, at_chars, expand};
use super::failing::Repeat;
use super::{Changes, Command, Failure, Queue, REPORT_WAIT, Response, Status};
use crate::rules::ErrorPolicy;
use crate::wire::{WireCommand, command_len, encode_commands};
use crate::{CommandId, Timestamp};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

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

pub(super) fn next_batch(
    queue: &Queue,
    after: &str,
    limits: FetchLimits,
    now: Timestamp,
) -> Fetched {
    let mut draft = Draft::new(queue, now);
    note_progress(&mut draft, &Progress::of(queue, after), now);
    if limits.records_max == 0 {
        // A device that takes nothing is not a reason to fail its commands.
        return Fetched::Nothing {
            changes: draft.finish(),
        };
    }
    let (batch, delivered) = loop {
        let (batch, delivered, never) = fill(&draft, limits);
        let Some((id, response)) = never else {
            break (batch, delivered);
        };
        draft.fails(id, response, Repeat::No);
        let goes_on = |c: &Command| c.status.is_terminal() && c.on_error == ErrorPolicy::KeepRest;
        if !draft.find(id).is_some_and(goes_on) {
            break (batch, delivered);
        }
    };
    if delivered.is_empty() {
        return Fetched::Nothing {
            changes: draft.finish(),
        };
    }
    deliver(&mut draft, &delivered, now);
    Fetched::Batch {
        bytes: encode_commands(&batch.commands),
        count: batch.commands.len(),
        changes: draft.finish(),
    }
}

/// The longest run of due commands that fits, and a first one that never will. `finished` ends a session, so one goes along
/// at the end of a batch behind which nothing is left.
fn fill(
    draft: &Draft<'_>,
    limits: FetchLimits,
) -> (Batch, Vec<CommandId>, Option<(CommandId, Response)>) {
    let mut batch = Batch::new(limits);
    let mut delivered = Vec::new();
    let due = || draft.commands().filter(|c| is_due(c));
    let rest = due().filter(|c| c.parked || !c.is_finished());
    let last = due().find(|c| c.is_finished() && !draft.commands().any(awaits_certificate));
    for command in rest.chain(last) {
        if command.parked {
            break;
        }
        match batch.offer(command) {
            Offer::Taken => delivered.push(command.id),
            Offer::Later => break,
            // What is before it goes first; the next fetch meets it again at the head.
            Offer::Never(..) if !delivered.is_empty() => break,
            Offer::Never(failure, reason) => {
                let response = Response::failed(failure, reason);
                return (batch, delivered, Some((command.id, response)));
            }
        }
    }
    (batch, delivered, None)
}

pub(super) fn progress(queue: &Queue, after: &str, now: Timestamp) -> Changes {
    let mut draft = Draft::new(queue, now);
    note_progress(&mut draft, &Progress::of(queue, after), now);
    draft.finish()
}

pub(super) fn expire(queue: &Queue, now: Timestamp) -> Changes {
    let mut draft = Draft::new(queue, now);
    expire_covered(&mut draft, now);
    draft.finish()
}

/// What an `after` text says (spec/device-protocol §9).
enum Progress<'a> {
    /// Empty or unknown: the device knows nothing, so nothing counts as executed.
    FromTheStart,
    /// Everything delivered up to and including this command is executed.
    UpTo(&'a Command),
    /// The same, without the command itself: a step in front of it was the last thing done.
    Before(&'a Command),
    /// An earlier number of a command that was queued again: nothing new is known.
    NothingNew,
}

impl<'a> Progress<'a> {
    fn of(queue: &'a Queue, after: &str) -> Self {
        let Some(named) = Named::parse(after) else {
            return Self::FromTheStart;
        };
        match queue.find(named.id) {
            Some(command)
                if command.sequence == named.sequence && command.requested_at.is_some() =>
            {
                match named.step {
                    None => Self::UpTo(command),
                    Some(_) => Self::Before(command),
                }
            }
            Some(command) if command.had_number(named.sequence) => Self::NothingNew,
            _ => Self::FromTheStart,
        }
    }

    fn covers(&self, command: &Command) -> bool {
        match self {
            Self::FromTheStart => false,
            Self::UpTo(last) => command.was_executed_by(last),
            Self::Before(next) => command.id != next.id && command.was_executed_by(next),
            Self::NothingNew => command.covered_at.is_some(),
        }
    }
}

/// Notes which delivered commands are executed, and ends those whose report is overdue. A device that fell back behind
/// a command gets it again, so that command's outcome is open once more.
fn note_progress(draft: &mut Draft<'_>, progress: &Progress<'_>, now: Timestamp) {
    let in_progress: Vec<(CommandId, bool, bool)> = draft
        .commands()
        .filter(|command| command.status == Status::InProgress && !command.parked)
        .map(|c| (c.id, progress.covers(c), c.covered_at.is_some()))
        .collect();
    for (id, covered, was_covered) in in_progress {
        if covered {
            draft.cover(id);
        } else if was_covered && let Some(row) = draft.change(id) {
            row.covered_at = None;
        }
    }
    expire_covered(draft, now);
}

fn expire_covered(draft: &mut Draft<'_>, now: Timestamp) {
    let overdue: Vec<CommandId> = draft
        .commands()
        .filter(|command| command.status == Status::InProgress && !command.parked)
        .filter(|c| c.covered_at.is_some_and(|at| now.since(at) >= REPORT_WAIT))
        .map(|command| command.id)
        .collect();
    for id in overdue {
        draft.outcome_unknown(id);
    }
}

fn is_due(command: &Command) -> bool {
    !command.status.is_terminal() && command.covered_at.is_none()
}

/// Whether a certificate will follow it: a closed-loop CSR that is open.
const fn awaits_certificate(command: &Command) -> bool {
    command.is_closed_loop() && !command.status.is_terminal()
}

fn deliver(draft: &mut Draft<'_>, delivered: &[CommandId], now: Timestamp) {
    // Later than every earlier delivery even within a millisecond or after a step back of the clock: the order of
    // deliveries is what tells an inserted certificate from what ran before it.
    let earliest = draft.commands().filter_map(|c| c.requested_at).max();
    let requested_at = match earliest {
        Some(last) if last >= now => last.plus(Duration::from_millis(1)),
        _ => now,
    };
    for &id in delivered {
        if draft.find(id).is_some_and(|c| c.status == Status::Pending)
            && let Some(row) = draft.change(id)
        {
            row.status = Status::InProgress;
            row.requested_at = Some(requested_at);
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

struct Batch {
    limits: FetchLimits,
    commands: Vec<WireCommand>,
    cbor_bytes: usize,
    report_bytes: usize,
}

enum Offer {
    Taken,
    /// Not beside what is in the batch.
    Later,
    /// Not even alone, and why.
    Never(Failure, String),
}

impl Batch {
    const fn new(limits: FetchLimits) -> Self {
        Self {
            limits,
            commands: Vec::new(),
            cbor_bytes: 0,
            report_bytes: 0,
        }
    }

    fn offer(&mut self, command: &Command) -> Offer {
        let Some(expansion) = expand(command) else {
            let reason = "not executed: its secret cannot be restored; create the command again";
            return Offer::Never(Failure::NotExecuted, reason.to_string());
        };
        let cbor_bytes: usize = expansion.commands.iter().map(command_len).sum();
        if let Some(reason) = self.refusal(&expansion, cbor_bytes) {
            return Offer::Never(Failure::DoesNotFit, reason);
        }
        let count = self.commands.len() + expansion.commands.len();
        let all = array_head_len(count) + self.cbor_bytes + cbor_bytes;
        let report = self.report_bytes + expansion.report_bytes;
        let fits = count <= self.limits.records_max
            && all <= self.limits.cbor_bytes_max
            && array_head_len(count) + report <= self.limits.report_bytes_max;
        if !fits && !self.commands.is_empty() {
            return Offer::Later;
        }
        self.commands.extend(expansion.commands);
        self.cbor_bytes += cbor_bytes;
        self.report_bytes = report;
        Offer::Taken
    }

    /// Why this command fits this device not even alone.
    fn refusal(&self, expansion: &Expansion, cbor_bytes: usize) -> Option<String> {
        let limits = &self.limits;
        let count = expansion.commands.len();
        if let Some(chars) = expansion
            .commands
            .iter()
            .map(at_chars)
            .find(|chars| *chars > limits.at_chars_max)
        {
            return Some(format!(
                "does not fit: an AT command of {chars} characters; the device takes {}",
                limits.at_chars_max
            ));
        }
        if count > limits.records_max {
            return Some(format!(
                "does not fit: {count} wire commands that belong together; the device takes {} in one batch (`limit`)",
                limits.records_max
            ));
        }
        let bytes = array_head_len(count) + cbor_bytes;
        if bytes > limits.cbor_bytes_max {
            return Some(format!(
                "does not fit: {bytes} bytes; the device takes {} in one answer (`rxMaxSize`, over HTTP less the headers)",
                limits.cbor_bytes_max
            ));
        }
        let report = array_head_len(count) + expansion.report_bytes_min;
        if report > limits.report_bytes_max {
            return Some(format!(
                "does not fit: its report needs about {report} bytes; the device can send {} (`txMaxSize`)",
                limits.report_bytes_max
            ));
        }
        None
    }
}

/// Bytes of the head of a CBOR array (RFC 8949 §3).
const fn array_head_len(items: usize) -> usize {
    match items {
        0..24 => 1,
        24..256 => 2,
        _ => 3,
    }
}
