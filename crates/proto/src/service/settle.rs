//! A report: what became of each command.
//!
//! A report is decided command by command in queue order, whatever order its answers have. What decides a command is
//! the first failed step in front of it, else its own answer; without either it stays open (a partial report). What a report
//! answers was executed, whatever failed before it: a device takes a bare `ERROR` for a success and goes on
//! (spec/device-protocol §8.1).

use super::correlation::Named;
use super::draft::Draft;
use super::expansion::{ignored, steps_in_front};
use super::failing::Repeat;
use super::{Alarm, Changes, Command, Failure, NeedsCertificate, Queue, Response, Status};
use crate::at::{Answer, Verdict};
use crate::command::{CommandKind, CommandRequest};
use crate::token::KeygenOutput;
use crate::wire::{WireResponse, WireResult};
use crate::{CommandId, Timestamp};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub(super) fn settle(queue: &Queue, report: &[WireResponse], now: Timestamp) -> Changes {
    let mut draft = Draft::new(queue, now);
    let mut answers: BTreeMap<(u32, u32), Vec<Part<'_>>> = BTreeMap::new();
    for response in report {
        match whose(queue, response) {
            Whose::Of(command, step) => answers
                .entry(command.position)
                .or_default()
                .push((step, response)),
            Whose::EarlierNumber => {}
            Whose::Nobody => draft.changes.alarms.push(Alarm::NeverDelivered {
                correlation: response.correlation.to_string(),
            }),
        }
    }
    let answered: Vec<_> = queue
        .commands
        .iter()
        .filter_map(|command| Some((command, answers.get(&command.position)?)))
        .collect();
    for (command, _) in &answered {
        draft.note_answered(command.id);
    }
    for (command, answers) in answered {
        for decided in decide(&command.request, answers) {
            record(&mut draft, command.id, decided);
        }
    }
    draft.finish()
}

/// An answer and the step that it answers, `None` for the command itself.
type Part<'a> = (Option<char>, &'a WireResponse);

enum Whose<'a> {
    Of(&'a Command, Option<char>),
    /// Delivered under a number that was given up when the command was queued again: an answer about a key that is
    /// being replaced.
    EarlierNumber,
    /// Unknown, or never delivered.
    Nobody,
}

fn whose<'a>(queue: &'a Queue, response: &WireResponse) -> Whose<'a> {
    let Some(named) = Named::parse(response.correlation.as_str()) else {
        return Whose::Nobody;
    };
    let Some(command) = queue.find(named.id) else {
        return Whose::Nobody;
    };
    if command.had_number(named.sequence) {
        return Whose::EarlierNumber;
    }
    let known_step = named
        .step
        .is_none_or(|step| steps_in_front(&command.request).contains(&step));
    if named.sequence != command.sequence || command.requested_at.is_none() || !known_step {
        return Whose::Nobody;
    }
    Whose::Of(command, named.step)
}

/// One answer that settles its command.
struct Decided {
    outcome: Outcome,
    digest: String,
}

enum Outcome {
    /// The text, as the modem printed it.
    Done(String),
    Refused {
        cme_error: Option<u32>,
        message: String,
    },
}

/// What settles a command: mostly one answer; more when a report answers the same command twice and differently.
fn decide(request: &CommandRequest, answers: &[Part<'_>]) -> Vec<Decided> {
    let outcome_of = |step: Option<char>, response: &WireResponse| Decided {
        outcome: judge(request, step, &response.result),
        digest: digest(response),
    };
    let failed_step = steps_in_front(request).iter().find_map(|step| {
        answers
            .iter()
            .filter(|(of, _)| *of == Some(*step))
            .map(|(of, response)| outcome_of(*of, response))
            .find(|decided| matches!(decided.outcome, Outcome::Refused { .. }))
    });
    if let Some(failed) = failed_step {
        return alloc::vec![failed];
    }
    answers
        .iter()
        .filter(|(step, _)| step.is_none())
        .map(|(step, response)| outcome_of(*step, response))
        .collect()
}

/// Success or not (spec/device-protocol §8.1: a 100 may hide an error text, and bare `ERROR` always does).
fn judge(request: &CommandRequest, step: Option<char>, result: &WireResult) -> Outcome {
    let refused = |cme_error, message: &str| Outcome::Refused {
        cme_error,
        message: message.into(),
    };
    match (request.kind(), result) {
        (CommandKind::Config, WireResult::Failed { cme_error, message }) => {
            // A negative errno as unsigned 32 bits (spec/device-protocol §8).
            #[expect(
                clippy::cast_possible_wrap,
                reason = "that is how the library sends it"
            )]
            let errno = *cme_error as i32;
            let text = if errno < 0 {
                format!("{} (errno {})", message.trim(), errno.unsigned_abs())
            } else {
                message.trim().into()
            };
            refused((*cme_error != 0).then_some(*cme_error), &text)
        }
        (_, WireResult::Failed { cme_error, message }) => {
            let text = match message.trim() {
                "" if *cme_error == 0 => "the device failed to run it and gave no text",
                "" => "the device answered without a text",
                text => text,
            };
            refused((*cme_error != 0).then_some(*cme_error), text)
        }
        (CommandKind::Config, WireResult::ConfigStored)
        | (CommandKind::Finished, WireResult::Finished) => Outcome::Done(String::new()),
        (CommandKind::Config | CommandKind::Finished, _)
        | (_, WireResult::ConfigStored | WireResult::Finished) => refused(
            None,
            "the device answered with the acknowledgement of another kind of command",
        ),
        (_, WireResult::AtDone { message }) => {
            let is_ignored = |code: u32| ignored(request, step).contains(&code);
            match Answer::parse(message).map(|answer| answer.verdict) {
                Ok(Verdict::Ok) => Outcome::Done(message.clone()),
                Ok(Verdict::Error) if is_ignored(0) => Outcome::Done(message.clone()),
                Ok(Verdict::Cme(Some(code)) | Verdict::Cms(Some(code))) if is_ignored(code) => {
                    Outcome::Done(message.clone())
                }
                Ok(Verdict::Cme(code) | Verdict::Cms(code)) => refused(code, message.trim()),
                Ok(Verdict::Error) => refused(None, message.trim()),
                Err(_) => {
                    let text = format!(
                        "the modem's answer has no final result line: `{}`",
                        message.trim()
                    );
                    refused(None, &text)
                }
            }
        }
    }
}

/// Writes a decision down; the first one counts.
fn record(draft: &mut Draft<'_>, id: CommandId, decided: Decided) {
    let Some(command) = draft.find(id).cloned() else {
        return;
    };
    match decided.outcome {
        _ if command.status.is_terminal() => record_again(draft, &command, decided),
        _ if command.parked => record_parked(draft, &command, &decided),
        Outcome::Done(text) => succeed(draft, &command, &text, decided.digest),
        Outcome::Refused { cme_error, message } => {
            let response = Response {
                cme_error,
                report_digest: decided.digest,
                ..Response::failed(Failure::RefusedByDevice, message)
            };
            draft.fails(id, response, Repeat::Yes);
        }
    }
}

/// What stopped the queue is the report that counts; another one for it is an alarm.
fn record_parked(draft: &mut Draft<'_>, command: &Command, decided: &Decided) {
    let known = command.response.as_ref();
    if known.is_none_or(|response| response.report_digest != decided.digest) {
        draft.changes.alarms.push(Alarm::ReportDiffers {
            command: command.id,
            known: known.map(|response| response.report_digest.clone()),
            reported: decided.digest.clone(),
        });
    }
}

fn succeed(draft: &mut Draft<'_>, command: &Command, text: &str, report_digest: String) {
    let mut response = Response {
        message: text.into(),
        cme_error: None,
        attestation: None,
        failure: None,
        report_digest,
        verified: None,
    };
    if is_keygen(command.request.kind()) {
        match KeygenOutput::parse(text) {
            Ok(output) => {
                response.message = output.body_text();
                response.attestation = Some(output.cose_text());
                draft.changes.needs_certificate.extend(ask(command, output));
            }
            Err(reason) if command.is_closed_loop() => {
                response.failure = Some(Failure::CertificateRefused);
                response.message = format!("no certificate: {reason}");
                draft.fails(command.id, response, Repeat::Yes);
                return;
            }
            Err(_) => {}
        }
    }
    draft.changes.finished |= command.request.kind() == CommandKind::Finished;
    draft.end(command.id, Status::Succeeded, response);
}

/// A report for a settled command: the same changes nothing; another one is an alarm, and for a key generation it
/// means that the key on the device is another one (spec/owner-api §9).
fn record_again(draft: &mut Draft<'_>, command: &Command, decided: Decided) {
    let known = command.response.as_ref();
    if known.is_some_and(|response| response.report_digest == decided.digest) {
        return;
    }
    let id = command.id;
    let digest = known.map(|response| response.report_digest.clone());
    if !is_keygen(command.request.kind()) || command.status != Status::Succeeded {
        draft.changes.alarms.push(Alarm::ReportDiffers {
            command: id,
            known: digest,
            reported: decided.digest,
        });
        return;
    }
    let output = match &decided.outcome {
        Outcome::Done(text) => KeygenOutput::parse(text).ok(),
        Outcome::Refused { .. } => None,
    };
    let same_key = |output: &KeygenOutput| known.is_some_and(|k| k.message == output.body_text());
    if output.as_ref().is_some_and(same_key) {
        return;
    }
    draft.changes.alarms.push(Alarm::KeyChanged {
        command: id,
        known: digest,
        reported: decided.digest.clone(),
    });
    let Some(output) = output else {
        return;
    };
    let response = Response {
        message: output.body_text(),
        cme_error: None,
        attestation: Some(output.cose_text()),
        failure: None,
        report_digest: decided.digest,
        verified: None,
    };
    draft.changes.needs_certificate.retain(|n| n.command != id);
    draft.changes.needs_certificate.extend(ask(command, output));
    draft.end(id, Status::Succeeded, response);
}

/// The question to the service, for a closed-loop CSR.
fn ask(command: &Command, output: KeygenOutput) -> Option<NeedsCertificate> {
    match &command.request {
        CommandRequest::CertificateSigningRequest {
            sec_tag,
            attributes,
            issue: Some(closed_loop),
            ..
        } => Some(NeedsCertificate {
            command: command.id,
            sec_tag: *sec_tag,
            attributes: attributes.clone(),
            closed_loop: *closed_loop,
            output,
        }),
        _ => None,
    }
}

const fn is_keygen(kind: CommandKind) -> bool {
    matches!(
        kind,
        CommandKind::ClientPrivateKeyGeneration
            | CommandKind::CloudAccessKeyGeneration
            | CommandKind::CertificateSigningRequest
            | CommandKind::EndorsementKeyGeneration
    )
}

/// A response as a few bytes that differ when the response differs.
fn digest(response: &WireResponse) -> String {
    use sha2::{Digest, Sha256};
    let (number, code, message) = match &response.result {
        WireResult::Failed { cme_error, message } => (99u8, *cme_error, message.as_str()),
        WireResult::AtDone { message } => (100, 0, message.as_str()),
        WireResult::ConfigStored => (101, 0, ""),
        WireResult::Finished => (102, 0, ""),
    };
    let mut hash = Sha256::new();
    hash.update(response.correlation.as_str());
    hash.update([0, number]);
    hash.update(code.to_be_bytes());
    hash.update(message);
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
