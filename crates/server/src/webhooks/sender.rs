//! One webhook at work: reads behind its cursor, sends, waits longer and longer, and writes down how far it came.

use super::client::{Line, Target};
use super::{PAUSE, Webhooks, delivery};
use crate::events::shown;
use crate::evidence::ended;
use crate::listen::SHUTDOWN_MAX;
use sectag_keep::crash;
use sectag_proto::Timestamp;
use sectag_proto::secret::SecretText;
use sectag_store::{AuditEvent, Event, StoreError, Webhook, WebhookHealth, WebhookProgress};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause: a receiver that is back hears within this time.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Failing for so long is an alarm: a long weekend.
const PARK_AFTER: Duration = Duration::from_secs(3 * 86_400);
/// How often a parked webhook is tried: nothing is ever given up.
const PARKED_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Deliveries between two writes of the cursor at most: so many come twice after a crash.
const SAVE_EVERY: usize = 32;
/// An event that was passed over moves the written cursor within this time: reading it again is cheap, and a busy fleet shall
/// not cost a write per event and webhook.
const SAVE_PASSED_WITHIN: Duration = Duration::from_secs(2);

/// Why an attempt failed that ended in a panic.
const PANICKED: &str = "an error of this service, whose log says more";

/// What a webhook sends.
pub(super) struct Sender {
    all: Arc<Webhooks>,
    id: String,
    stopped: watch::Receiver<bool>,
    changed: watch::Receiver<u64>,
    line: Line,
    /// Sent or passed over.
    cursor: u64,
    health: WebhookHealth,
    /// The health as it was read or written last.
    written: WebhookHealth,
    /// Somebody changed the webhook since it was read.
    outdated: bool,
    delivered_at: Option<Timestamp>,
    /// Since the cursor was written.
    delivered: usize,
    /// When the first event was passed over since the cursor was written.
    passed_since: Option<Instant>,
    /// The sender before this one panicked, which counts as an attempt in vain.
    after_panic: bool,
}

/// Why sending stops for a moment.
enum Pause {
    /// Somebody changed something: look again.
    Changed,
    /// The service ends.
    Stopped,
}

impl Sender {
    pub(super) fn new(
        all: Arc<Webhooks>,
        id: String,
        stopped: watch::Receiver<bool>,
        changed: watch::Receiver<u64>,
        after_panic: bool,
    ) -> Self {
        Self {
            all,
            id,
            stopped,
            changed,
            line: Line::default(),
            cursor: 0,
            health: WebhookHealth::default(),
            written: WebhookHealth::default(),
            outdated: false,
            delivered_at: None,
            delivered: 0,
            passed_since: None,
            after_panic,
        }
    }

    /// Until it is removed, or the service ends.
    pub(super) async fn run(mut self) {
        loop {
            self.changed.borrow_and_update();
            self.outdated = false;
            let known = self.all.store.webhook(&self.id).await;
            let done = match known {
                Ok(None) => {
                    self.all.metrics.forget_webhook(&self.id);
                    return;
                }
                Ok(Some(webhook)) => self.send(webhook).await,
                Err(e) => Err(e),
            };
            match done {
                Ok(Pause::Changed) => {}
                Ok(Pause::Stopped) => return,
                Err(reason) => {
                    tracing::warn!(webhook = %self.id, %reason, "a webhook cannot go on");
                    if let Some(Pause::Stopped) = self.pause(PAUSE).await {
                        return;
                    }
                }
            }
        }
    }

    async fn send(&mut self, webhook: Webhook) -> Result<Pause, StoreError> {
        let secret = self.all.store.webhook_secret(&self.id).await?;
        let (Some(secret), false) = (secret, webhook.paused) else {
            return Ok(self.until_changed().await);
        };
        self.cursor = self.cursor.max(webhook.cursor);
        self.health = webhook.health.clone();
        self.written = webhook.health.clone();
        if std::mem::take(&mut self.after_panic) {
            self.all.metrics.delivery(&self.id, false);
            let (reason, now) = (PANICKED.to_owned(), (self.all.clock)());
            let pause = self.failed(reason, &webhook, now).await?;
            if let Some(pause) = self.pause(pause).await {
                return Ok(pause);
            }
        }
        let target = match Target::parse(&webhook.url) {
            Ok(target) => target,
            Err(reason) => {
                tracing::warn!(webhook = %self.id, %reason, "a webhook's URL cannot be used");
                return Ok(self.until_changed().await);
            }
        };
        let mut newest = self.all.hub.newest();
        loop {
            newest.borrow_and_update();
            let page = self.all.hub.behind(self.cursor).await?;
            if page.is_empty() {
                self.save().await?;
                let due = self.passed_since.map(|since| since + SAVE_PASSED_WITHIN);
                let due = async {
                    match due {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    told = newest.changed() => if told.is_err() { return Ok(Pause::Stopped) },
                    () = due => {}
                    pause = self.until_changed() => {
                        self.save().await?;
                        return Ok(pause);
                    }
                }
                continue;
            }
            let told = self.all_of(&page, &webhook, &target, &secret).await?;
            if let Some(pause) = told {
                self.save().await?;
                return Ok(pause);
            }
        }
    }

    async fn all_of(
        &mut self,
        page: &[Arc<Event>],
        webhook: &Webhook,
        target: &Target,
        secret: &SecretText,
    ) -> Result<Option<Pause>, StoreError> {
        let Some(first) = page.first().map(|event| event.number) else {
            return Ok(None);
        };
        if first > self.cursor + 1 {
            let lost = lost(self.cursor + 1, first - 1, (self.all.clock)(), webhook);
            if let Some(pause) = self.deliver(&lost, webhook, target, secret).await? {
                return Ok(Some(pause));
            }
        }
        for event in page {
            if !self.is_for(event, webhook) {
                self.cursor = event.number;
                self.passed_since.get_or_insert_with(Instant::now);
                continue;
            }
            if let Some(pause) = self.deliver(event, webhook, target, secret).await? {
                return Ok(Some(pause));
            }
        }
        self.save().await?;
        Ok(self.outdated.then_some(Pause::Changed))
    }

    fn is_for(&self, event: &Event, webhook: &Webhook) -> bool {
        let ours = match &event.team {
            Some(team) => *team == webhook.team,
            None => webhook.team == self.all.home,
        };
        ours && (webhook.kinds.is_empty() || webhook.kinds.contains(&event.kind))
    }

    /// Sends until it is taken, or something else comes first.
    async fn deliver(
        &mut self,
        event: &Event,
        webhook: &Webhook,
        target: &Target,
        secret: &SecretText,
    ) -> Result<Option<Pause>, StoreError> {
        let all = self.all.clone();
        let body = shown(event).to_string();
        loop {
            let now = (all.clock)();
            let id = format!("{}-{}", self.id, event.number);
            let delivery = delivery(id, &event.kind, &body, secret, now);
            let sent = {
                let mut stopped = self.stopped.clone();
                let late = async {
                    ended(&mut stopped).await;
                    tokio::time::sleep(SHUTDOWN_MAX).await;
                };
                tokio::select! {
                    sent = self.line.deliver(target, &delivery, all.manners(webhook)) => sent,
                    () = late => return Ok(Some(Pause::Stopped)),
                }
            };
            all.metrics.delivery(&self.id, sent.is_ok());
            match sent {
                Ok(status) => {
                    crash::point("webhooks.answered");
                    if self.health.failing_since.is_some() {
                        tracing::info!(webhook = %self.id, attempts = self.health.attempts, "a webhook is taken again");
                    }
                    tracing::debug!(webhook = %self.id, event = event.number, kind = %event.kind, status, "event delivered");
                    self.health = WebhookHealth::default();
                    self.delivered_at = Some(now);
                    self.cursor = event.number;
                    self.delivered += 1;
                    if self.delivered >= SAVE_EVERY {
                        self.save().await?;
                    }
                    // However much waits: paused, removed or led elsewhere counts from the next one on.
                    let changed = self.outdated || self.changed.has_changed().unwrap_or(true);
                    return Ok(match *self.stopped.borrow() {
                        true => Some(Pause::Stopped),
                        false => changed.then_some(Pause::Changed),
                    });
                }
                Err(reason) => {
                    let pause = self.failed(reason, webhook, now).await?;
                    if let Some(pause) = self.pause(pause).await {
                        return Ok(Some(pause));
                    }
                }
            }
        }
    }

    /// Writes a failure down. How long to wait.
    async fn failed(
        &mut self,
        reason: String,
        webhook: &Webhook,
        now: Timestamp,
    ) -> Result<Duration, StoreError> {
        // What a receiver's certificate or name says is not ours.
        let reason: String = crate::listen::one_line(&reason).chars().take(300).collect();
        let parks = fails(&mut self.health, &reason, now);
        let (place, attempts) = (webhook.place(), self.health.attempts);
        if attempts == 1 {
            tracing::warn!(webhook = %self.id, place, %reason, "a webhook is not taken");
        } else {
            tracing::debug!(webhook = %self.id, place, %reason, attempts, "a webhook is not taken");
        }
        let alarm = parks.then(|| {
            let since = crate::owner_api::moment(self.health.failing_since.unwrap_or(now));
            let detail = format!(
                "webhook {} to {place} has failed {attempts} times since {since}: {reason}",
                self.id
            );
            tracing::warn!(webhook = %self.id, %detail, "webhook alarm");
            AuditEvent::new(now, "service", "webhook-alarm")
                .team(&webhook.team)
                .detail(detail)
        });
        self.write(alarm).await?;
        Ok(match self.health.parked_at {
            Some(_) => jittered(PARKED_PAUSE),
            None => jittered(pause_after(attempts)),
        })
    }

    /// Writes the cursor, if it moved.
    async fn save(&mut self) -> Result<(), StoreError> {
        let passed = self
            .passed_since
            .is_some_and(|since| since.elapsed() >= SAVE_PASSED_WITHIN || *self.stopped.borrow());
        if self.delivered > 0 || passed {
            self.write(None).await?;
        }
        Ok(())
    }

    async fn write(&mut self, alarm: Option<AuditEvent>) -> Result<(), StoreError> {
        let progress = WebhookProgress {
            cursor: self.cursor,
            delivered_at: self.delivered_at,
            was: self.written.clone(),
            health: self.health.clone(),
            alarm,
        };
        let store = &self.all.store;
        self.outdated |= !store.webhook_progress(&self.id, progress).await?;
        self.written = self.health.clone();
        (self.delivered, self.passed_since) = (0, None);
        Ok(())
    }

    async fn until_changed(&mut self) -> Pause {
        if self.outdated {
            return Pause::Changed;
        }
        tokio::select! {
            _ = self.changed.changed() => Pause::Changed,
            () = ended(&mut self.stopped) => Pause::Stopped,
        }
    }

    /// Waits; `Some` when something else came first.
    async fn pause(&mut self, pause: Duration) -> Option<Pause> {
        tokio::select! {
            () = tokio::time::sleep(pause) => None,
            pause = self.until_changed() => Some(pause),
        }
    }
}

/// Notes an attempt in vain; whether the webhook is parked by it.
fn fails(health: &mut WebhookHealth, reason: &str, now: Timestamp) -> bool {
    // What lies ahead was written before the calendar was put back.
    let since = health.failing_since.filter(|since| *since <= now);
    let since = since.unwrap_or(now);
    health.failing_since = Some(since);
    health.attempts = health.attempts.saturating_add(1);
    health.last_error = Some(reason.to_owned());
    let parks = health.parked_at.is_none() && now.since(since) >= PARK_AFTER;
    if parks {
        health.parked_at = Some(now);
    }
    parks
}

fn lost(from: u64, to: u64, now: Timestamp, webhook: &Webhook) -> Event {
    Event {
        number: to,
        at: now,
        kind: "lost".to_owned(),
        team: Some(webhook.team.clone()),
        device: None,
        command: None,
        data: json!({ "from": from, "to": to }),
    }
}

fn pause_after(attempts: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1).min(16));
    PAUSE_MIN.saturating_mul(doubled).min(PAUSE_MAX)
}

/// Half to one and a half of it: receivers that come back shall not be met by all at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [128];
    // Without random numbers there is no jitter, which hurts nobody alone.
    let _ = getrandom::fill(&mut byte);
    pause.mul_f64(0.5 + f64::from(byte[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour() {
        assert_eq!(pause_after(1), Duration::from_secs(1));
        assert_eq!(pause_after(4), Duration::from_secs(8));
        assert_eq!(pause_after(1000), PAUSE_MAX);
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(10));
            assert!((5..=15).contains(&pause.as_secs()));
        }
    }

    #[test]
    fn a_webhook_is_parked_once_and_not_for_a_calendar_that_was_put_back() {
        let day = |n: u64| Timestamp::from_secs(1_800_000_000 + n * 86_400);
        let mut health = WebhookHealth::default();
        assert!(!fails(&mut health, "no", day(100)));
        assert!(!fails(&mut health, "no", day(10)), "put back");
        assert_eq!(health.failing_since, Some(day(10)));
        assert!(!fails(&mut health, "no", day(12)));
        assert!(fails(&mut health, "no", day(13)));
        assert!(!fails(&mut health, "still no", day(14)));
        assert_eq!((health.attempts, health.parked_at), (5, Some(day(13))));
    }
}
