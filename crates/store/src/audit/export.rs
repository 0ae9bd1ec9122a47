//! The export, line by line: JSON objects, one per line; a header first, then checkpoints, entries, and an end.

use super::{AuditEntry, AuditHead, Checkpoint, hex, unhex};
use serde_json::{Map, Value, json};

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The first one.
    Header(Header),
    /// What was signed.
    Checkpoint(Checkpoint),
    /// An entry.
    Entry(Box<AuditEntry>),
    /// The last one: up to which entry this was to go.
    End(AuditHead),
}

/// What an export says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Entries begin behind this number; 0 for a whole export.
    pub after: u64,
    /// When it was made, milliseconds since 1970.
    pub at: u64,
    /// Who signs, as PEM. Whoever can change the export can change this too.
    pub public_key: String,
}

/// A line that is none of an export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExportError(String);

impl Line {
    /// Without the line's end.
    pub fn text(&self) -> String {
        match self {
            Self::Header(header) => json!({
                "kind": "sectag-audit-1", "after": header.after, "at": header.at, "publicKey": header.public_key,
            })
            .to_string(),
            Self::Checkpoint(c) => json!({
                "kind": "checkpoint", "number": c.number, "hash": hex(&c.hash), "at": c.at,
                "signature": hex(&c.signature),
            })
            .to_string(),
            Self::Entry(entry) => entry_line(entry),
            Self::End(head) => {
                json!({ "kind": "end", "number": head.number, "hash": hex(&head.hash) }).to_string()
            }
        }
    }

    /// # Errors
    /// [`ExportError`]: not JSON, another kind, a member missing, wrong or unknown (it would be covered by no hash).
    pub fn parse(line: &str) -> Result<Self, ExportError> {
        let value =
            serde_json::from_str(line).map_err(|e| ExportError(format!("not JSON: {e}")))?;
        let Value::Object(members) = value else {
            return Err(ExportError("not a JSON object".to_owned()));
        };
        let mut members = Members(members);
        let line = match members.text("kind")?.as_str() {
            "sectag-audit-1" => Self::Header(Header {
                after: members.number("after")?,
                at: members.number("at")?,
                public_key: members.text("publicKey")?,
            }),
            "checkpoint" => Self::Checkpoint(Checkpoint {
                number: members.number("number")?,
                hash: members.hash()?,
                at: members.number("at")?,
                signature: unhex(&members.text("signature")?).ok_or_else(|| wrong("signature"))?,
            }),
            "entry" => Self::Entry(Box::new(AuditEntry {
                number: members.number("number")?,
                at: members.number("at")?,
                by: members.text("by")?,
                action: members.text("action")?,
                // Exports of before there were teams do not have it.
                team: match members.0.contains_key("team") {
                    true => members.text_or_null("team")?,
                    false => None,
                },
                device: members.id("deviceId")?,
                command: members.id("commandId")?,
                detail: members.text("detail")?,
                before: members.text_or_null("before")?,
                after: members.text_or_null("after")?,
                hash: members.hash()?,
            })),
            "end" => Self::End(AuditHead {
                number: members.number("number")?,
                hash: members.hash()?,
            }),
            _ => return Err(wrong("kind")),
        };
        match members.0.keys().next() {
            None => Ok(line),
            Some(unknown) => Err(ExportError(format!(
                "unknown member `{}`",
                unknown.escape_debug()
            ))),
        }
    }
}

/// The line of an entry, without its end.
pub fn entry_line(entry: &AuditEntry) -> String {
    json!({
        "kind": "entry",
        "number": entry.number,
        "at": entry.at,
        "by": entry.by,
        "action": entry.action,
        "team": entry.team,
        "deviceId": entry.device.map(|id| id.to_string()),
        "commandId": entry.command.map(|id| id.to_string()),
        "detail": entry.detail,
        "before": entry.before,
        "after": entry.after,
        "hash": hex(&entry.hash),
    })
    .to_string()
}

fn wrong(member: &str) -> ExportError {
    ExportError(format!("member `{member}` is missing or wrong"))
}

struct Members(Map<String, Value>);

impl Members {
    fn number(&mut self, name: &str) -> Result<u64, ExportError> {
        self.0
            .remove(name)
            .and_then(|v| v.as_u64())
            .ok_or_else(|| wrong(name))
    }

    fn text(&mut self, name: &str) -> Result<String, ExportError> {
        self.text_or_null(name)?.ok_or_else(|| wrong(name))
    }

    fn text_or_null(&mut self, name: &str) -> Result<Option<String>, ExportError> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(wrong(name)),
        }
    }

    fn id<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, ExportError> {
        let parse = |text: String| text.parse().map_err(|_| wrong(name));
        self.text_or_null(name)?.map(parse).transpose()
    }

    fn hash(&mut self) -> Result<[u8; 32], ExportError> {
        let bytes = unhex(&self.text("hash")?);
        bytes
            .and_then(|b| b.try_into().ok())
            .ok_or_else(|| wrong("hash"))
    }
}
