//! What leaves the store to be told: events, alarms, and the webhooks that events are sent to.
//!
//! ```text
//!   audit entries ─┐                                  ┌──► followers: behind a number, oldest first
//!                  ├─► events, numbered, in the same ─┤
//!   fetch, result ─┘   transaction as what they tell  └──► webhooks: each with a cursor of its own
//! ```

use super::StoreError;
use crate::record::{AuditEvent, AuditRecord, Page};
use async_trait::async_trait;
use sectag_proto::secret::SecretText;
use sectag_proto::{CommandId, DeviceId, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

/// Events kept at most (about 60 MB of the shortest and 200 MB of the longest ones): a follower may be away for a weekend of a
/// home with a few events a second. Older ones are dropped; the audit trail keeps what it has.
pub const EVENTS_MAX: u64 = 500_000;

/// Webhooks of one team: each one asks for every event.
pub const WEBHOOKS_OF_TEAM_MAX: u64 = 16;

/// An event that no entry of the audit trail stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// `fetch` or `result`.
    pub kind: &'static str,
    /// Whose.
    pub team: Option<String>,
    /// The device it concerns.
    pub device: Option<DeviceId>,
    /// The command it concerns.
    pub command: Option<CommandId>,
    /// Facts, an object; no secrets.
    pub data: Value,
}

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Rises with each event; never given twice.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What kind of thing, see [`kind_of`]; also `fetch` and `result`.
    pub kind: String,
    /// Whose; `None` for the service itself.
    pub team: Option<String>,
    /// The device it concerns.
    pub device: Option<DeviceId>,
    /// The command it concerns.
    pub command: Option<CommandId>,
    /// Facts, an object. Of an entry of the audit trail: its `action`, `by`, `detail`, `before`, `after`, and `audit`, its number.
    pub data: Value,
}

/// Which kind of event an entry of the audit trail is, by its action.
pub fn kind_of(action: &str) -> &'static str {
    match action {
        action if action.ends_with("-alarm") => "alarm",
        "alarm-acknowledged" => "alarm",
        "claim" | "unclaim" | "accept-new-key" => "claim",
        "block" | "unblock" | "tags" | "pin" | "device-reset" | "device-named" => "device",
        action if action.starts_with("command-") => "command",
        action if action.starts_with("certificate-") || action.starts_with("renewal-") => {
            "certificate"
        }
        action if action.starts_with("rule-") || action.starts_with("tag-") => "rule",
        _ => "access",
    }
}

/// All kinds of events.
pub const EVENT_KINDS: [&str; 9] = [
    "claim",
    "device",
    "command",
    "fetch",
    "result",
    "certificate",
    "alarm",
    "rule",
    "access",
];

/// Whose entries of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditScope {
    /// Of this team.
    pub team: String,
    /// Also those that belong to no team.
    pub service: bool,
}

/// An entry of the audit trail that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRecord {
    /// The entry.
    pub record: AuditRecord,
    /// When somebody said that he looked at it, and who.
    pub acknowledged: Option<(Timestamp, String)>,
}

/// Where events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// A UUID.
    pub id: String,
    /// Whose events.
    pub team: String,
    /// `https://…`, or `http://…` within the own network.
    pub url: String,
    /// Only these kinds; empty for all.
    pub kinds: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Nothing is sent until somebody says so.
    pub paused: bool,
    /// The last event that was answered with success, or passed over.
    pub cursor: u64,
    /// How it goes.
    pub health: WebhookHealth,
    /// The last success.
    pub last_delivered_at: Option<Timestamp>,
}

impl Webhook {
    /// Where it leads, for logs and the audit trail: without what follows in its URL, which is a secret with some receivers.
    pub fn place(&self) -> &str {
        let after = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[after..].find(['/', '?', '#']);
        &self.url[..end.map_or(self.url.len(), |at| after + at)]
    }
}

/// What keeps a webhook from being delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookHealth {
    /// Attempts in vain since the last success.
    pub attempts: u32,
    /// When the first of them was.
    pub failing_since: Option<Timestamp>,
    /// When it was parked: it had failed for so long that it is tried rarely from then on.
    pub parked_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// What of a webhook is to change; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange {
    /// See [`Webhook::url`].
    pub url: Option<String>,
    /// See [`Webhook::kinds`].
    pub kinds: Option<Vec<String>>,
    /// See [`Webhook::paused`].
    pub paused: Option<bool>,
    /// What deliveries are signed with.
    pub secret: Option<SecretText>,
}

/// How far a webhook's deliveries came, and what became of it.
#[derive(Debug, Clone, Default)]
pub struct WebhookProgress {
    /// See [`Webhook::cursor`]; it never goes back.
    pub cursor: u64,
    /// See [`Webhook::last_delivered_at`]; `None` leaves it as it is.
    pub delivered_at: Option<Timestamp>,
    /// The health that `health` goes on from, as it was read or written last.
    pub was: WebhookHealth,
    /// How it goes.
    pub health: WebhookHealth,
    /// The alarm that came of it.
    pub alarm: Option<AuditEvent>,
}

/// Why a webhook was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddWebhookError {
    /// Its team was deleted.
    #[error("there is no such team")]
    NoTeam,
    /// See [`WEBHOOKS_OF_TEAM_MAX`].
    #[error("this team has {WEBHOOKS_OF_TEAM_MAX} webhooks, and no more are possible")]
    TooMany,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How busy the writer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Writes that wait for their turn.
    pub waiting: u64,
    /// Transactions since the start.
    pub commits: u64,
    /// Writes in them.
    pub writes: u64,
}

/// Events, alarms and webhooks.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Events behind number `after`, oldest first, at most `limit`. Where the first one is not `after` + 1, those between were
    /// dropped.
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// The numbers of the oldest and the newest event; `None` before the first one.
    async fn events_kept(&self) -> Result<Option<(u64, u64)>, StoreError>;

    /// Tells the number of the newest event, each time that one is durable.
    fn newest_event(&self) -> watch::Receiver<u64>;

    /// How busy the writer is.
    fn pressure(&self) -> Pressure;

    /// A page of one team's audit trail, newest first; as [`Store::audit`](super::Store::audit).
    async fn audit_of(
        &self,
        scope: AuditScope,
        device: Option<DeviceId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AuditRecord, u64>, StoreError>;

    /// A page of alarms, newest first. `before` is the [`Page::next`] of the page before.
    async fn alarms(
        &self,
        scope: AuditScope,
        open_only: bool,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AlarmRecord, u64>, StoreError>;

    /// One alarm.
    async fn alarm(&self, number: u64) -> Result<Option<AlarmRecord>, StoreError>;

    /// Says that somebody looked at an alarm. `false`: there is none with this number, or it was acknowledged before.
    async fn acknowledge_alarm(
        &self,
        number: u64,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Adds a webhook with the secret its deliveries are signed with, sealed.
    ///
    /// # Errors
    /// [`AddWebhookError`]; nothing was changed.
    async fn add_webhook(
        &self,
        webhook: Webhook,
        secret: SecretText,
    ) -> Result<(), AddWebhookError>;

    /// All webhooks of all teams, in the order of their ids.
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError>;

    /// One of them.
    async fn webhook(&self, id: &str) -> Result<Option<Webhook>, StoreError>;

    /// What its deliveries are signed with.
    async fn webhook_secret(&self, id: &str) -> Result<Option<SecretText>, StoreError>;

    /// Changes what `change` names and nothing else, whoever changes the rest at the same time. Where that makes a difference
    /// it is healthy from then on. How it is afterwards; `None`: there is none.
    async fn change_webhook(
        &self,
        id: &str,
        change: WebhookChange,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Removes it. `false`: there is none.
    async fn remove_webhook(&self, id: &str, by: &str, at: Timestamp) -> Result<bool, StoreError>;

    /// Writes down how far deliveries came. Health and alarm only together, and only if the health is still what it was:
    /// `false` means that somebody changed or removed the webhook meanwhile.
    async fn webhook_progress(
        &self,
        id: &str,
        progress: WebhookProgress,
    ) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_its_place_is_told() {
        for (url, told) in [
            (
                "https://hooks.example/services/T0/B0/secret",
                "https://hooks.example",
            ),
            (
                "https://hooks.example?token=secret",
                "https://hooks.example",
            ),
            ("http://[::1]:8080/x", "http://[::1]:8080"),
            ("https://hooks.example", "https://hooks.example"),
        ] {
            let webhook = Webhook {
                id: String::new(),
                team: String::new(),
                url: url.to_owned(),
                kinds: Vec::new(),
                created_at: Timestamp(0),
                created_by: String::new(),
                paused: false,
                cursor: 0,
                health: WebhookHealth::default(),
                last_delivered_at: None,
            };
            assert_eq!(webhook.place(), told);
        }
    }
}
