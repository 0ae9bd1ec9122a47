//! Events, alarms and webhooks: written by other operations' transactions, read by those who follow.

use super::writer::Kind;
use super::{SqliteStore, audit, execute, read_error, teams};
use crate::contract::{
    AddWebhookError, AlarmRecord, AuditScope, Event, NewEvent, Outbox, PAGE_ROWS_MAX, Pressure,
    StoreError, WEBHOOKS_OF_TEAM_MAX, Webhook, WebhookChange, WebhookHealth, WebhookProgress,
};
use crate::record::{AuditEvent, AuditRecord, Page};
use crate::sqlite::devices::{count, cut, limits};
use crate::sqlite::rows::{self, all, damaged, first, get, int, sql, time};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sectag_proto::secret::SecretText;
use sectag_proto::{CommandId, DeviceId, Timestamp};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// Events dropped in one transaction at most: as many as a full batch of writes makes, some milliseconds.
const TRIM_ROWS: u64 = 4096;
/// Events too many before any is dropped: so the price of it is paid rarely.
const TRIM_SLACK: u64 = 64;

/// The event that an entry of the audit trail is.
pub(crate) fn tell(db: &Connection, kind: &str, entry: u64) -> Result<(), StoreError> {
    execute(db, sql!("event_of_audit"), params![kind, int(entry)]).map(drop)
}

pub(crate) fn insert(db: &Connection, event: &NewEvent) -> Result<(), StoreError> {
    let row = params![
        event.kind,
        time(event.at),
        event.team,
        event.device.as_ref().map(DeviceId::as_bytes),
        event.command.as_ref().map(|command| command.as_bytes()),
        event.data.to_string(),
    ];
    execute(db, sql!("event_insert"), row).map(drop)
}

/// Enters an alarm that stands in the audit trail as `entry`.
pub(crate) fn raise(db: &Connection, entry: u64, team: Option<&str>) -> Result<(), StoreError> {
    let row = params![int(entry), team.unwrap_or_default()];
    execute(db, sql!("alarm_insert"), row).map(drop)
}

/// What the writer knows about the events: how many there are, and who wants to hear of new ones.
#[derive(Debug)]
pub(crate) struct Events {
    max: u64,
    oldest: u64,
    newest: watch::Sender<u64>,
}

impl Events {
    pub(crate) fn new(db: &Connection, max: u64) -> Result<Self, StoreError> {
        let kept = kept(db)?.unwrap_or((1, 0));
        Ok(Self {
            // The newest row stays, or its number would be given again.
            max: max.max(1),
            oldest: kept.0,
            newest: watch::Sender::new(kept.1),
        })
    }

    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Drops the oldest where there are too many; part of the transaction that is beginning.
    pub(crate) fn trim(&mut self, db: &Connection) -> Result<(), StoreError> {
        let newest = *self.newest.borrow();
        let first_kept = (newest + 1).saturating_sub(self.max);
        if first_kept < self.oldest + TRIM_SLACK {
            return Ok(());
        }
        let bound = first_kept.min(self.oldest + TRIM_ROWS);
        execute(db, sql!("events_trim"), [int(bound)]).map(drop)
    }

    /// Looks after a commit, or after one that failed, and tells.
    pub(crate) fn look(&mut self, db: &Connection) {
        let Ok(Some((oldest, newest))) = kept(db) else {
            return;
        };
        self.oldest = oldest;
        self.newest
            .send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }
}

fn kept(db: &Connection) -> Result<Option<(u64, u64)>, StoreError> {
    let number = |row: &Row<'_>| rows::number(row, 0);
    let oldest = first(db, sql!("events_oldest"), [], number)?;
    let newest = first(db, sql!("events_newest"), [], number)?;
    Ok(oldest.zip(newest))
}

fn page(db: &Connection, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
    let rows = i64::try_from(limit.clamp(1, PAGE_ROWS_MAX)).unwrap_or(i64::MAX);
    all(db, sql!("events_page"), params![int(after), rows], event)
}

fn event(row: &Row<'_>) -> Result<Event, StoreError> {
    let ids = |device: usize, command: usize| -> Result<_, StoreError> {
        let device = get::<Option<[u8; 16]>>(row, device)?.map(DeviceId::from_bytes);
        let command = get::<Option<[u8; 16]>>(row, command)?.map(CommandId::from_bytes);
        Ok((device, command))
    };
    let (number, kind) = (rows::number(row, 0)?, get(row, 1)?);
    let Some(entry) = get::<Option<i64>>(row, 7)? else {
        let (device, command) = ids(4, 5)?;
        let data: Option<String> = get(row, 6)?;
        return Ok(Event {
            number,
            at: rows::at(row, 2)?,
            kind,
            team: get(row, 3)?,
            device,
            command,
            data: data
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
        });
    };
    let (device, command) = ids(10, 11)?;
    let mut data = Map::new();
    for (name, column) in [("action", 12), ("by", 13), ("detail", 14)] {
        // An entry that somebody took out of the trail leaves nulls.
        data.insert(name.to_owned(), json!(get::<Option<String>>(row, column)?));
    }
    for (name, column) in [("before", 15), ("after", 16)] {
        if let Some(value) = rows::json(get(row, column)?) {
            data.insert(name.to_owned(), value);
        }
    }
    data.insert("audit".to_owned(), entry.into());
    Ok(Event {
        number,
        at: rows::at_or_none(row, 8)?.unwrap_or(Timestamp(0)),
        kind,
        team: get(row, 9)?,
        device,
        command,
        data: data.into(),
    })
}

fn audit_of(
    db: &Connection,
    scope: &AuditScope,
    device: Option<DeviceId>,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<AuditRecord, u64>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let before = before.map_or(i64::MAX, int);
    let (limit, rows) = limits(limit);
    if let Some(device) = device {
        let device = device.as_bytes();
        let filter = params![before, rows, device, scope.team, scope.service];
        let mut items = all(db, sql!("audit_page_device_of"), filter, rows::audit)?;
        let filter = params![device, scope.team, scope.service];
        let number = |row: &Row<'_>| rows::number(row, 0);
        let total = first(db, sql!("audit_count_device_of"), filter, number)?.unwrap_or(0);
        let next = cut(&mut items, limit).map(|last| last.number);
        return Ok(Page { items, next, total });
    }
    let of_team = params![before, rows, scope.team];
    let mut items = all(db, sql!("audit_page_team"), of_team, rows::audit)?;
    let mut total = count(db, &format!("audit:{}", scope.team))?;
    if scope.service {
        let of_none = params![before, rows];
        items.extend(all(db, sql!("audit_page_service"), of_none, rows::audit)?);
        items.sort_unstable_by_key(|record| std::cmp::Reverse(record.number));
        total += count(db, "audit:")?;
    }
    let next = cut(&mut items, limit).map(|last| last.number);
    Ok(Page { items, next, total })
}

fn alarms(
    db: &Connection,
    scope: &AuditScope,
    open_only: bool,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<AlarmRecord, u64>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let before = before.map_or(i64::MAX, int);
    let (limit, rows) = limits(limit);
    let (sql, counted) = match open_only {
        true => (sql!("alarms_page_open"), "alarms-open"),
        false => (sql!("alarms_page"), "alarms"),
    };
    let (mut items, mut total) = (Vec::new(), 0);
    let of_service = scope.service.then_some("");
    for team in [scope.team.as_str()].into_iter().chain(of_service) {
        items.extend(all(db, sql, params![team, before, rows], alarm)?);
        total += count(db, &format!("{counted}:{team}"))?;
    }
    items.sort_unstable_by_key(|alarm| std::cmp::Reverse(alarm.record.number));
    let next = cut(&mut items, limit).map(|last| last.record.number);
    Ok(Page { items, next, total })
}

fn alarm(row: &Row<'_>) -> Result<AlarmRecord, StoreError> {
    let at = rows::at_or_none(row, 10)?;
    let by: Option<String> = get(row, 11)?;
    Ok(AlarmRecord {
        record: rows::audit(row)?,
        acknowledged: at.zip(by),
    })
}

fn alarm_by_number(db: &Connection, number: u64) -> Result<Option<AlarmRecord>, StoreError> {
    first(db, sql!("alarm_by_number"), [int(number)], alarm)
}

fn acknowledge(db: &Connection, number: u64, by: &str, at: Timestamp) -> Result<bool, StoreError> {
    let row = params![int(number), time(at), by];
    if execute(db, sql!("alarm_acknowledge"), row)? == 0 {
        return Ok(false);
    }
    let Some(AlarmRecord { record, .. }) = alarm_by_number(db, number)? else {
        return Ok(false);
    };
    let mut event = AuditEvent::new(at, by, "alarm-acknowledged")
        .device(record.event.device)
        .command(record.event.command)
        .detail(format!("{} of entry {number}", record.event.action));
    event.team = record.event.team;
    audit::insert(db, &event).map(|()| true)
}

fn webhook(row: &Row<'_>) -> Result<Webhook, StoreError> {
    let id: String = get(row, 0)?;
    let kinds: String = get(row, 3)?;
    Ok(Webhook {
        team: get(row, 1)?,
        url: get(row, 2)?,
        kinds: serde_json::from_str(&kinds).map_err(|e| damaged(format!("webhook {id}"), e))?,
        created_at: rows::at(row, 4)?,
        created_by: get(row, 5)?,
        paused: get(row, 6)?,
        cursor: rows::number(row, 7)?,
        health: WebhookHealth {
            attempts: get(row, 8)?,
            failing_since: rows::at_or_none(row, 9)?,
            parked_at: rows::at_or_none(row, 10)?,
            last_error: get(row, 11)?,
        },
        last_delivered_at: rows::at_or_none(row, 12)?,
        id,
    })
}

/// A webhook, for the audit trail.
fn said(webhook: &Webhook) -> Value {
    json!({ "id": webhook.id, "place": webhook.place(), "kinds": webhook.kinds, "paused": webhook.paused })
}

fn kinds_text(webhook: &Webhook) -> String {
    json!(webhook.kinds).to_string()
}

fn add_webhook(db: &Connection, webhook: &Webhook, secret: &[u8]) -> Result<(), AddWebhookError> {
    if teams::is_gone(db, &webhook.team)? {
        return Err(AddWebhookError::NoTeam);
    }
    let number = |row: &Row<'_>| rows::number(row, 0);
    let there = first(db, sql!("webhooks_of_team"), [&webhook.team], number)?;
    if there.unwrap_or(0) >= WEBHOOKS_OF_TEAM_MAX {
        return Err(AddWebhookError::TooMany);
    }
    let row = params![
        webhook.id,
        webhook.team,
        webhook.url,
        kinds_text(webhook),
        secret,
        time(webhook.created_at),
        webhook.created_by,
        webhook.paused,
        int(webhook.cursor),
    ];
    execute(db, sql!("webhook_insert"), row)?;
    let event = AuditEvent::new(webhook.created_at, &webhook.created_by, "webhook-added")
        .team(&webhook.team)
        .changed(Value::Null, said(webhook));
    Ok(audit::insert(db, &event)?)
}

fn webhook_by_id(db: &Connection, id: &str) -> Result<Option<Webhook>, StoreError> {
    first(db, sql!("webhook_by_id"), [id], webhook)
}

fn change_webhook(
    db: &Connection,
    id: &str,
    change: &WebhookChange,
    secret: Option<&[u8]>,
    by: &str,
    at: Timestamp,
) -> Result<Option<Webhook>, StoreError> {
    let Some(old) = webhook_by_id(db, id)? else {
        return Ok(None);
    };
    let mut new = Webhook {
        url: change.url.clone().unwrap_or_else(|| old.url.clone()),
        kinds: change.kinds.clone().unwrap_or_else(|| old.kinds.clone()),
        paused: change.paused.unwrap_or(old.paused),
        ..old.clone()
    };
    if new == old && secret.is_none() {
        return Ok(Some(old));
    }
    new.health = WebhookHealth::default();
    let row = params![id, new.url, kinds_text(&new), new.paused, secret];
    execute(db, sql!("webhook_change"), row)?;
    let mut after = said(&new);
    if secret.is_some() {
        after["secret"] = "changed".into();
    }
    let event = AuditEvent::new(at, by, "webhook-changed")
        .team(&old.team)
        .changed(said(&old), after);
    audit::insert(db, &event)?;
    Ok(Some(new))
}

fn progress(db: &Connection, id: &str, progress: &WebhookProgress) -> Result<bool, StoreError> {
    let delivered_at = progress.delivered_at.map(time);
    let row = params![id, int(progress.cursor), delivered_at];
    execute(db, sql!("webhook_progress"), row)?;
    let (was, health) = (&progress.was, &progress.health);
    let row = params![
        id,
        health.attempts,
        health.failing_since.map(time),
        health.parked_at.map(time),
        health.last_error,
        was.attempts,
        was.failing_since.map(time),
    ];
    let written = execute(db, sql!("webhook_health"), row)? > 0;
    if let Some(alarm) = progress.alarm.as_ref().filter(|_| written) {
        audit::insert(db, alarm)?;
    }
    Ok(written)
}

fn remove_webhook(db: &Connection, id: &str, by: &str, at: Timestamp) -> Result<bool, StoreError> {
    let Some(old) = webhook_by_id(db, id)? else {
        return Ok(false);
    };
    execute(db, sql!("webhook_delete"), [id])?;
    let event = AuditEvent::new(at, by, "webhook-removed")
        .team(&old.team)
        .changed(said(&old), Value::Null);
    audit::insert(db, &event).map(|()| true)
}

/// What a webhook's sealed secret is bound to.
fn purpose(id: &str) -> Vec<u8> {
    format!("webhook {id}").into_bytes()
}

impl SqliteStore {
    fn sealed(&self, id: &str, secret: &SecretText) -> Result<Vec<u8>, StoreError> {
        let sealed = self
            .seal
            .seal_bytes(&purpose(id), secret.expose().as_bytes());
        sealed.map_err(|_| StoreError::Unavailable {
            action: "seal a secret",
            reason: format!("no random numbers for webhook {id}"),
        })
    }
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(move |db| page(db, after, limit)).await
    }

    async fn events_kept(&self) -> Result<Option<(u64, u64)>, StoreError> {
        self.read(kept).await
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest_event.clone()
    }

    fn pressure(&self) -> Pressure {
        let handles = self.handles.as_ref();
        handles.map_or_else(Pressure::default, |(writer, _)| writer.pressure())
    }

    async fn audit_of(
        &self,
        scope: AuditScope,
        device: Option<DeviceId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AuditRecord, u64>, StoreError> {
        self.read(move |db| audit_of(db, &scope, device, before, limit))
            .await
    }

    async fn alarms(
        &self,
        scope: AuditScope,
        open_only: bool,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AlarmRecord, u64>, StoreError> {
        self.read(move |db| alarms(db, &scope, open_only, before, limit))
            .await
    }

    async fn alarm(&self, number: u64) -> Result<Option<AlarmRecord>, StoreError> {
        self.read(move |db| alarm_by_number(db, number)).await
    }

    async fn acknowledge_alarm(
        &self,
        number: u64,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let by = by.to_owned();
        let job = move |db: &Connection| acknowledge(db, number, &by, at);
        self.write(Kind::OUTBOX, job).await
    }

    async fn add_webhook(
        &self,
        webhook: Webhook,
        secret: SecretText,
    ) -> Result<(), AddWebhookError> {
        let sealed = self.sealed(&webhook.id, &secret)?;
        let job = move |db: &Connection| add_webhook(db, &webhook, &sealed);
        self.write(Kind::OUTBOX, job).await
    }

    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        self.read(|db| all(db, sql!("webhooks_all"), [], webhook))
            .await
    }

    async fn webhook(&self, id: &str) -> Result<Option<Webhook>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| webhook_by_id(db, &id)).await
    }

    async fn webhook_secret(&self, id: &str) -> Result<Option<SecretText>, StoreError> {
        let (id, seal) = (id.to_owned(), Arc::clone(&self.seal));
        self.read(move |db| {
            let sealed = first(db, sql!("webhook_secret"), [&id], |row| {
                get::<Vec<u8>>(row, 0)
            })?;
            let Some(sealed) = sealed else {
                return Ok(None);
            };
            let unsealable = || StoreError::Unsealable {
                what: format!("webhook {id}"),
            };
            let plain = seal
                .open_bytes(&purpose(&id), &sealed)
                .map_err(|_| unsealable())?;
            let text = std::str::from_utf8(&plain).map_err(|_| unsealable())?;
            Ok(Some(SecretText::new(text.to_owned())))
        })
        .await
    }

    async fn change_webhook(
        &self,
        id: &str,
        change: WebhookChange,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<Webhook>, StoreError> {
        let (id, by) = (id.to_owned(), by.to_owned());
        let secret = change.secret.as_ref();
        let sealed = secret.map(|text| self.sealed(&id, text)).transpose()?;
        let job =
            move |db: &Connection| change_webhook(db, &id, &change, sealed.as_deref(), &by, at);
        self.write(Kind::OUTBOX, job).await
    }

    async fn remove_webhook(&self, id: &str, by: &str, at: Timestamp) -> Result<bool, StoreError> {
        let (id, by) = (id.to_owned(), by.to_owned());
        let job = move |db: &Connection| remove_webhook(db, &id, &by, at);
        self.write(Kind::OUTBOX, job).await
    }

    async fn webhook_progress(&self, id: &str, came: WebhookProgress) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let job = move |db: &Connection| progress(db, &id, &came);
        self.write(Kind::OUTBOX, job).await
    }
}
