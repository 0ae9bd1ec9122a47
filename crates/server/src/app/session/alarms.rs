//! What a report says that somebody should look at: `report-alarm` in the audit trail, with what the service had delivered or
//! knew (`before`) and what the device reported (`after`): ids, types and digests, never a device's words.

use crate::app::verified::Unproven;
use sectag_proto::service::{Alarm, Changes, Command, Status};
use sectag_proto::wire::{WireResponse, WireResult};
use sectag_proto::{CommandId, Timestamp};
use sectag_store::{AuditEvent, Loaded};
use serde_json::{Value, json};

/// Ids in one entry; of more only the number is told.
const IDS_MAX: usize = 10;

/// One event per alarm, and one for all ids that were never delivered: a device that lies shall not fill the audit trail.
pub(super) fn of_report(
    loaded: &Loaded,
    changes: &Changes,
    report: &[WireResponse],
    now: Timestamp,
) -> Vec<AuditEvent> {
    let mut told: Vec<(CommandId, &str)> = Vec::new();
    let mut strange: Vec<&str> = Vec::new();
    let mut events = Vec::new();
    for alarm in &changes.alarms {
        let (command, known, reported, detail) = match alarm {
            Alarm::NeverDelivered { correlation } => {
                strange.push(correlation);
                continue;
            }
            Alarm::KeyChanged {
                command,
                known,
                reported,
            } => (
                *command,
                known,
                reported,
                "a second, different report for a settled key generation: the key on the device changed",
            ),
            Alarm::ReportDiffers {
                command,
                known,
                reported,
            } => (
                *command,
                known,
                reported,
                "a second, different report for a settled command",
            ),
        };
        if told.contains(&(command, detail)) {
            continue;
        }
        told.push((command, detail));
        let mut before = delivered(loaded, command);
        before["reportDigest"] = json!(known);
        let event = about(loaded, Some(command), now).detail(detail);
        events.push(event.changed(before, json!({ "reportDigest": reported })));
    }
    if let Some(first) = strange.first() {
        let more = match strange.len() {
            1 => String::new(),
            count => format!("; nor were {} more", count - 1),
        };
        let detail =
            format!("report for `{first}`, which was never delivered to this device{more}");
        let event = about(loaded, None, now).detail(detail);
        events.push(event.changed(awaited(loaded), answered(&strange, report)));
    }
    events
}

/// A KEYGEN answer that nobody has proven to be this device's.
pub(super) fn unproven(loaded: &Loaded, answer: &Unproven, now: Timestamp) -> AuditEvent {
    let mut before = delivered(loaded, answer.command);
    before["keyIds"] = loaded
        .device
        .candidates
        .iter()
        .map(|known| known.kid.to_string())
        .collect();
    let problem = answer.verdict.problem.as_deref().unwrap_or_default();
    about(loaded, Some(answer.command), now)
        .detail(format!(
            "the KEYGEN answer is not proven to be this device's: {problem}"
        ))
        .changed(before, json!({ "verified": answer.verdict }))
}

/// The details of what somebody should look at.
pub(super) fn words(audit: &[AuditEvent]) -> Vec<String> {
    audit
        .iter()
        .filter(|event| event.action.ends_with("-alarm"))
        .map(|event| event.detail.clone())
        .collect()
}

fn about(loaded: &Loaded, command: Option<CommandId>, now: Timestamp) -> AuditEvent {
    AuditEvent::new(now, "device", "report-alarm")
        .team(&loaded.device.owner)
        .device(loaded.device.id)
        .command(command)
}

fn delivered(loaded: &Loaded, id: CommandId) -> Value {
    let mut commands = loaded.queue.commands().iter();
    let found = commands.find(|command| command.id == id);
    found.map_or_else(|| json!({}), one)
}

fn one(command: &Command) -> Value {
    json!({
        "id": super::correlation_of(command),
        "kind": command.request.kind().member(),
        "secTag": command.request.sec_tag(),
        "status": command.status.as_str(),
    })
}

/// What the device was given and has not reported: what an honest report would be about.
fn awaited(loaded: &Loaded) -> Value {
    let open = || {
        let commands = loaded.queue.commands().iter();
        commands.filter(|command| command.status == Status::InProgress)
    };
    let first: Vec<Value> = open().take(IDS_MAX).map(one).collect();
    json!({ "count": open().count(), "awaited": first })
}

fn answered(strange: &[&str], report: &[WireResponse]) -> Value {
    let kind_of = |id: &str| {
        let mut responses = report.iter();
        let found = responses.find(|response| response.correlation.as_str() == id);
        found.map(|response| match response.result {
            WireResult::AtDone { .. } => "atCommand",
            WireResult::ConfigStored => "config",
            WireResult::Finished => "finished",
            WireResult::Failed { .. } => "failure",
        })
    };
    let first = strange.iter().take(IDS_MAX);
    let first: Vec<Value> = first
        .map(|id| json!({ "id": id, "kind": kind_of(id) }))
        .collect();
    json!({ "count": strange.len(), "reported": first })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
