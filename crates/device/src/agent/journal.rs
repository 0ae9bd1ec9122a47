//! What a running device has told, numbered, for those who ask later and those who follow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sectag_proto::device::Event;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use crate::budget::Budget;

/// Events that are kept. A session without commands has four, one with a full batch about twenty.
pub const ENTRIES_MAX: usize = 1000;
/// Characters of a modem's words that an entry keeps.
const ANSWER_CHARS_MAX: usize = 2048;

/// The last [`ENTRIES_MAX`] events. Clones are the same journal.
#[derive(Debug, Clone)]
pub struct Journal {
    kept: Arc<Mutex<Kept>>,
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    last: u64,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// From 1 at the start of the device; one more for each.
    pub seq: u64,
    /// When.
    pub at: SystemTime,
    /// As in spec/device-protocol §11, e.g. `NO_COMMANDS`.
    pub event: &'static str,
    /// What belongs to it.
    pub fields: Map<String, Value>,
}

impl Entry {
    /// One JSON object: `seq`, `at` (RFC 3339), `event`, and the fields.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("seq".to_owned(), json!(self.seq));
        object.insert("at".to_owned(), json!(text_of(self.at)));
        object.insert("event".to_owned(), json!(self.event));
        object.extend(self.fields.clone());
        Value::Object(object)
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            kept: Arc::default(),
            last: watch::Sender::new(0),
        }
    }
}

impl Journal {
    /// Writes an event down; STOP with what the session has cost, as `air`.
    pub fn record(&self, event: &Event, spent: Option<&Budget>, at: SystemTime) {
        let (event, mut fields) = described(event);
        if let Some(spent) = spent {
            fields.insert("air".to_owned(), spent.json());
        }
        let seq = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.last += 1;
            let seq = kept.last;
            if kept.entries.len() >= ENTRIES_MAX {
                kept.entries.pop_front();
            }
            kept.entries.push_back(Entry {
                seq,
                at,
                event,
                fields,
            });
            seq
        };
        self.last.send_replace(seq);
    }

    /// Number of the last event; 0 before the first.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// The events behind `after` that are still kept.
    pub fn after(&self, after: u64) -> Vec<Entry> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = |entry: &&Entry| entry.seq > after;
        kept.entries.iter().filter(behind).cloned().collect()
    }

    /// Waits until there is an event behind `after`.
    pub async fn beyond(&self, after: u64) {
        // This value holds a sender, so the channel stays open.
        let _ = self.last.subscribe().wait_for(|last| *last > after).await;
    }
}

fn text_of(at: SystemTime) -> String {
    OffsetDateTime::from(at)
        .replace_nanosecond(0)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Name and fields of an event.
pub fn described(event: &Event) -> (&'static str, Map<String, Value>) {
    let seconds = |duration: &Duration| json!(duration.as_secs());
    let (name, value) = match event {
        Event::Start => ("START", json!({})),
        Event::Stop => ("STOP", json!({})),
        Event::Done => ("DONE", json!({})),
        Event::Failed(errno) => ("FAILED", json!({ "errno": errno.name() })),
        Event::NoCommands => ("NO_COMMANDS", json!({})),
        Event::FailedTooManyCommands => ("FAILED_TOO_MANY_COMMANDS", json!({})),
        Event::FailedDeviceNotClaimed { token } => {
            ("FAILED_DEVICE_NOT_CLAIMED", json!({ "claimToken": token }))
        }
        Event::FailedWrongRootCa => ("FAILED_WRONG_ROOT_CA", json!({})),
        Event::FailedNoValidDatetime => ("FAILED_NO_VALID_DATETIME", json!({})),
        Event::ScheduledProvisioning(wait) => (
            "SCHEDULED_PROVISIONING",
            json!({ "seconds": seconds(wait) }),
        ),
        Event::FatalError(errno) => ("FATAL_ERROR", json!({ "errno": errno.name() })),
        Event::NeedLteDeactivated => ("NEED_LTE_DEACTIVATED", json!({})),
        Event::NeedLteActivated => ("NEED_LTE_ACTIVATED", json!({})),
        Event::BatchReceived { commands } => ("BATCH_RECEIVED", json!({ "commands": commands })),
        Event::BatchRefused(reason) => ("BATCH_REFUSED", json!({ "reason": reason.to_string() })),
        Event::CommandDone {
            index,
            correlation,
            command,
            answer,
        } => (
            "COMMAND_DONE",
            json!({ "index": index, "correlation": correlation.to_string(), "command": command,
                    "verdict": verdict(answer) }),
        ),
        Event::CommandFailed {
            index,
            correlation,
            command,
            number,
            answer,
        } => (
            "COMMAND_FAILED",
            json!({ "index": index, "correlation": correlation.to_string(), "command": command,
                    "number": number, "answer": shown(answer) }),
        ),
        Event::AnswerTooLarge { bytes, next_bytes } => (
            "ANSWER_TOO_LARGE",
            json!({ "bytes": bytes, "nextBytes": next_bytes }),
        ),
        Event::ReportTooLarge { bytes, max } => {
            ("REPORT_TOO_LARGE", json!({ "bytes": bytes, "max": max }))
        }
        Event::Reported { bytes } => ("REPORTED", json!({ "bytes": bytes })),
        Event::ReportAgain { result, pause } => (
            "REPORT_AGAIN",
            json!({ "errno": result.name(), "seconds": seconds(pause) }),
        ),
        Event::ReportKept(errno) => ("REPORT_KEPT", json!({ "errno": errno.name() })),
        Event::ReportLost(errno) => ("REPORT_LOST", json!({ "errno": errno.name() })),
        Event::IntervalChanged(interval) => {
            ("INTERVAL_CHANGED", json!({ "seconds": seconds(interval) }))
        }
        Event::IntervalNotStored(_) => ("INTERVAL_NOT_STORED", json!({ "errno": "-ENOSTR" })),
        Event::IntervalRefused { text, result } => (
            "INTERVAL_REFUSED",
            json!({ "text": shown(text), "errno": result.name() }),
        ),
        Event::SettingUnreadable { key, .. } => ("SETTING_UNREADABLE", json!({ "key": key })),
        Event::SaveFailed(_) => ("SAVE_FAILED", json!({})),
        other => ("OTHER", json!({ "text": format!("{other:?}") })),
    };
    let fields = match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    (name, fields)
}

/// The last line. What stands before it can be a JWT, and is the service's business.
fn verdict(answer: &str) -> String {
    shown(answer.trim_end().lines().last().unwrap_or_default())
}

fn shown(answer: &str) -> String {
    answer.trim().chars().take(ANSWER_CHARS_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_and_the_oldest_are_forgotten() {
        let journal = Journal::default();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for _ in 0..ENTRIES_MAX {
            journal.record(&Event::Start, None, then);
        }
        journal.record(
            &Event::ScheduledProvisioning(Duration::from_secs(60)),
            None,
            then,
        );
        assert_eq!(journal.last(), 1001);
        let all = journal.after(0);
        assert_eq!((all.len(), all[0].seq), (ENTRIES_MAX, 2));
        assert_eq!(
            journal.after(1000)[0].json().to_string(),
            r#"{"at":"2023-11-14T22:13:20Z","event":"SCHEDULED_PROVISIONING","seconds":60,"seq":1001}"#
        );
    }

    #[tokio::test]
    async fn who_waits_for_the_next_event_gets_it() {
        let journal = Journal::default();
        let told = journal.clone();
        let waiting = tokio::spawn(async move {
            told.beyond(0).await;
            told.after(0).len()
        });
        journal.record(&Event::Stop, None, SystemTime::now());
        assert_eq!(waiting.await.unwrap(), 1);
    }
}
