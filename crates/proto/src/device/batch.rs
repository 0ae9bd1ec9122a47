//! One batch while it is executed: what was asked, what came of it.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::words::Errno;
use crate::CorrelationId;
use crate::secret::SecretText;
use crate::wire::{Action, WireCommand, WireResponse, WireResult, encode_responses};

/// A decoded batch and its results so far.
#[derive(Debug)]
pub(super) struct Batch {
    commands: Vec<WireCommand>,
    next: usize,
    responses: Vec<WireResponse>,
    finished: Option<CorrelationId>,
    failed: bool,
    /// `after` as it was before this batch, for a batch that is given up without a report.
    pub(super) after_before: String,
    /// CMEE state to restore, when it had to be changed.
    pub(super) cmee_before: Option<u8>,
    /// The radio is known to be offline.
    pub(super) offline: bool,
    /// This batch asked for the radio to be taken down.
    pub(super) took_radio: bool,
    /// Ends the session without a report once everything is restored.
    pub(super) abort: Option<Errno>,
}

impl Drop for Batch {
    /// Parameters may hold a private key.
    fn drop(&mut self) {
        for command in &mut self.commands {
            if let Action::At { parameters, .. } = &mut command.action {
                drop(SecretText::new(mem::take(parameters)));
            }
        }
    }
}

/// What a batch leaves behind.
#[derive(Debug, Clone)]
pub(super) struct Results {
    /// CBOR responses.
    pub(super) bytes: Vec<u8>,
    /// 102 is among them.
    pub(super) finished: bool,
}

impl Batch {
    pub(super) const fn new(commands: Vec<WireCommand>, after_before: String) -> Self {
        Self {
            commands,
            next: 0,
            responses: Vec::new(),
            finished: None,
            failed: false,
            after_before,
            cmee_before: None,
            offline: false,
            took_radio: false,
            abort: None,
        }
    }

    /// The command whose turn it is; `None` after the last one, after a failed one, and when given up.
    pub(super) fn current(&self) -> Option<(usize, &WireCommand)> {
        if self.failed || self.abort.is_some() {
            return None;
        }
        self.commands
            .get(self.next)
            .map(|command| (self.next, command))
    }

    /// The AT command whose turn it is.
    pub(super) fn current_at(&self) -> Option<(&str, &str, &[u32])> {
        match self.current() {
            Some((
                _,
                WireCommand {
                    action:
                        Action::At {
                            set_command,
                            parameters,
                            ignore,
                        },
                    ..
                },
            )) => Some((set_command, parameters, ignore)),
            _ => None,
        }
    }

    /// The pair of the config command whose turn it is.
    pub(super) fn current_pair(&self, pair: usize) -> Option<&(String, String)> {
        match self.current() {
            Some((
                _,
                WireCommand {
                    action: Action::Config(pairs),
                    ..
                },
            )) => pairs.get(pair),
            _ => None,
        }
    }

    /// Notes the result of the current command and moves on; its id becomes `after`, failed or not (trap 5).
    pub(super) fn settle(&mut self, result: WireResult) -> Option<CorrelationId> {
        let correlation = self.commands.get(self.next)?.correlation.clone();
        self.next += 1;
        match result {
            WireResult::Finished => self.finished = Some(correlation.clone()),
            result => {
                self.failed |= matches!(result, WireResult::Failed { .. });
                self.responses.push(WireResponse {
                    correlation: correlation.clone(),
                    result,
                });
            }
        }
        Some(correlation)
    }

    /// All results as CBOR: the acknowledgement of `finished` last, and only if nothing failed.
    pub(super) fn results(&self) -> Results {
        let mut responses = self.responses.clone();
        let acknowledged = self.finished.as_ref().filter(|_| !self.failed);
        if let Some(correlation) = acknowledged {
            responses.push(WireResponse {
                correlation: correlation.clone(),
                result: WireResult::Finished,
            });
        }
        Results {
            finished: acknowledged.is_some(),
            bytes: encode_responses(&responses),
        }
    }
}
