//! The end of the closed loop: a certificate, or the reason why there is none.

use super::adding::take_sequence;
use super::draft::Draft;
use super::failing::Repeat;
use super::{AddError, Changes, Command, Failure, NewCommand, Queue, Response, Status};
use crate::command::{CommandKind, CommandRequest};
use crate::{CommandId, Timestamp};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub(super) fn follow_with_certificate(
    queue: &Queue,
    changes: &mut Changes,
    csr: CommandId,
    certificate: CommandId,
    pem: String,
    now: Timestamp,
) -> Result<(), AddError> {
    let Some((of, sec_tag)) = closed_loop(queue, csr) else {
        return Ok(());
    };
    let mut next = changes.next_sequence.max(queue.next_sequence);
    let sequence = take_sequence(&mut next)?;
    let new = NewCommand {
        id: certificate,
        rule_id: of.rule_id.clone(),
        description: Some(format!("Certificate for the CSR of command {csr}")),
        request: CommandRequest::ClientCertificate {
            sec_tag,
            content: pem,
        },
        on_error: of.on_error,
    };
    let command = new.into_command(sequence, (of.position.0, sequence), now)?;
    let mut draft = Draft::resume(queue, core::mem::take(changes), now);
    draft.changes.next_sequence = next;
    let replaced: Vec<CommandId> = draft
        .commands()
        .filter(|c| c.position.0 == of.position.0 && c.position.1 != 0)
        .filter(|c| c.status == Status::Pending)
        .map(|c| c.id)
        .collect();
    for id in replaced {
        let message = "not executed: the key changed, and another certificate takes its place";
        draft.fail(id, Failure::NotExecuted, message.to_string());
    }
    draft.insert(command);
    draft.changes.needs_certificate.retain(|n| n.command != csr);
    *changes = draft.finish();
    Ok(())
}

pub(super) fn refuse_certificate(
    queue: &Queue,
    changes: &mut Changes,
    csr: CommandId,
    reason: &str,
    now: Timestamp,
) {
    let mut draft = Draft::resume(queue, core::mem::take(changes), now);
    draft.changes.needs_certificate.retain(|n| n.command != csr);
    match queue.find(csr) {
        Some(before) if before.status.is_terminal() => draft.forget(csr),
        Some(_) => {
            let report_digest = draft
                .find(csr)
                .and_then(|command| command.response.as_ref())
                .map(|response| response.report_digest.clone())
                .unwrap_or_default();
            let response = Response {
                report_digest,
                ..Response::failed(Failure::CertificateRefused, reason.into())
            };
            draft.reopen(csr);
            draft.fails(csr, response, Repeat::Yes);
        }
        None => {}
    }
    *changes = draft.finish();
}

fn closed_loop(queue: &Queue, csr: CommandId) -> Option<(&Command, crate::SecTag)> {
    let command = queue.find(csr)?;
    match (command.request.kind(), &command.request) {
        (
            CommandKind::CertificateSigningRequest,
            CommandRequest::CertificateSigningRequest { sec_tag, .. },
        ) => Some((command, *sec_tag)),
        _ => None,
    }
}
