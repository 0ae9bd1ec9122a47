//! One command as it is stored and shown: what was asked, where it stands, and how it ended.

use crate::command::CommandRequest;
use crate::rules::ErrorPolicy;
use crate::{CommandId, Timestamp};
use alloc::string::String;
use serde::{Deserialize, Serialize};

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

impl Command {
    /// Whether the service signs its CSR: then `finished` waits for it.
    pub(super) const fn is_closed_loop(&self) -> bool {
        matches!(
            self.request,
            CommandRequest::CertificateSigningRequest { issue: Some(_), .. }
        )
    }

    /// Whether it says that provisioning is complete.
    pub(super) const fn is_finished(&self) -> bool {
        matches!(self.request, CommandRequest::Finished {})
    }

    /// Whether it had this number before it was queued again.
    pub(super) const fn had_number(&self, number: u32) -> bool {
        let first = if self.position.1 == 0 {
            self.position.0
        } else {
            self.position.1
        };
        first <= number && number < self.sequence
    }
}
