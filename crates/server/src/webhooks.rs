//! Events sent to where owners want them: at least once, in order, each webhook at its own pace (docs/reference/webhooks.md).
//!
//! ```text
//!   Hub ─► behind the cursor ─► one POST per event, signed ─► 2xx ─► cursor, durable
//!               ▲                                   └─ else: again, later and later, for ever; after three days an alarm
//!               └── a crash in between: sent again under the same delivery id
//! ```
//! Nothing is kept for a webhook but its cursor: the events stand in the store once, whoever is late reads them there. What
//! the store drops before it was sent is told as `lost`.

mod address;
mod client;
mod sender;
mod sign;

use crate::app::Clock;
use crate::events::Hub;
use crate::evidence::ended;
use crate::metrics::Metrics;
use crate::settings::Webhooks as Settings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{Delivery, Line, Manners, Target};
use sectag_proto::Timestamp;
use sectag_proto::secret::SecretText;
use sectag_store::{Store, StoreError, Webhook};
use sender::Sender;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// After the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Characters of a secret.
pub(crate) const SECRET_CHARS: std::ops::RangeInclusive<usize> = 16..=256;

/// All webhooks of a service.
pub(crate) struct Webhooks {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    clock: Clock,
    settings: Settings,
    home: String,
    /// Raised by each change of any of them.
    changed: watch::Sender<u64>,
    /// Those that are sending; raised by a change of this one, so that nobody's change hurries another's pause.
    sending: Mutex<HashMap<String, watch::Sender<u64>>>,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// How a test delivery went.
#[derive(Debug)]
pub(crate) struct Tried {
    /// The answer's status, or why there was none that counts.
    pub(crate) outcome: Result<u16, String>,
    /// From the question to the answer.
    pub(crate) took: Duration,
}

impl Webhooks {
    /// `home`: the team whose webhooks may lead into the own network.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        metrics: Arc<Metrics>,
        clock: Clock,
        settings: Settings,
        home: String,
    ) -> Self {
        Self {
            store,
            hub,
            metrics,
            clock,
            settings,
            home,
            changed: watch::Sender::new(0),
            sending: Mutex::default(),
        }
    }

    /// Does what changes this webhook, and tells its sender, also when whoever asked for it does not wait for the end.
    ///
    /// # Errors
    /// Of `work`.
    pub(crate) async fn changing<T, E>(
        self: &Arc<Self>,
        id: &str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (all, id) = (self.clone(), id.to_owned());
        let done = tokio::spawn(async move {
            let done = work.await;
            all.changed(&id);
            done
        });
        done.await
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// This one was added, changed or removed.
    fn changed(&self, id: &str) {
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = sending.get(id) {
            one.send_modify(|count| *count += 1);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Those of a team were removed with it.
    pub(crate) fn all_changed(&self) {
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        for one in sending.values() {
            one.send_modify(|count| *count += 1);
        }
    }

    /// Whether a webhook of this team may lead there, as far as its URL says.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn check(&self, url: &str, team: &str) -> Result<(), String> {
        let target = Target::parse(url)?;
        let Ok(address) = target.host.parse() else {
            return Ok(());
        };
        let is_home = team == self.home;
        address::judge(address, target.tls, self.settings.private, is_home)
            .map_err(|e| e.to_string())
    }

    /// A secret of 256 random bits.
    ///
    /// # Errors
    /// When the operating system has none.
    pub(crate) fn secret() -> Result<SecretText, getrandom::Error> {
        let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(bytes.as_mut())?;
        let text = URL_SAFE_NO_PAD.encode(bytes.as_ref());
        Ok(SecretText::new(format!("whsec_{text}")))
    }

    /// Sends an event of the kind `test`, at once and once.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn test(&self, webhook: &Webhook) -> Result<Tried, StoreError> {
        let secret = self.store.webhook_secret(&webhook.id).await?;
        let begun = tokio::time::Instant::now();
        let outcome = match (Target::parse(&webhook.url), secret) {
            (Ok(target), Some(secret)) => {
                let now = (self.clock)();
                let body = json!({
                    "number": null, "at": crate::owner_api::moment(now), "kind": "test", "teamId": webhook.team,
                    "deviceId": null, "commandId": null, "data": { "webhookId": webhook.id },
                });
                let id = format!("test-{}", uuid::Uuid::new_v4());
                let delivery = delivery(id, "test", &body.to_string(), &secret, now);
                let mut line = Line::default();
                line.deliver(&target, &delivery, self.manners(webhook))
                    .await
            }
            (Err(reason), _) => Err(reason),
            (_, None) => Err("it was removed".to_owned()),
        };
        if outcome.is_ok() {
            // Whatever waits for the end of a pause need not wait.
            self.changed(&webhook.id);
        }
        Ok(Tried {
            outcome,
            took: begun.elapsed(),
        })
    }

    fn manners<'a>(&'a self, webhook: &Webhook) -> Manners<'a> {
        Manners {
            settings: &self.settings,
            is_home: webhook.team == self.home,
        }
    }

    /// Sends until the service ends: a task for each webhook.
    pub(crate) async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut changed = self.changed.subscribe();
        let mut tasks: JoinSet<String> = JoinSet::new();
        loop {
            changed.borrow_and_update();
            let pause = match self.store.webhooks().await {
                Ok(all) => {
                    for webhook in all {
                        let mut sending =
                            self.sending.lock().unwrap_or_else(PoisonError::into_inner);
                        if !sending.contains_key(&webhook.id) {
                            let (one, changed) = watch::channel(0);
                            sending.insert(webhook.id.clone(), one);
                            let all = self.clone();
                            let sender = Sender::new(all, webhook.id, stopped.clone(), changed);
                            tasks.spawn(sender.run());
                        }
                    }
                    None
                }
                Err(reason) => {
                    tracing::warn!(%reason, "webhooks cannot be read");
                    Some(STORE_PAUSE)
                }
            };
            let again = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changed.changed() => {}
                Some(ended) = tasks.join_next() => {
                    // Removed; or it panicked, and a restart of the service begins it again.
                    if let Ok(id) = ended {
                        let mut sending =
                            self.sending.lock().unwrap_or_else(PoisonError::into_inner);
                        sending.remove(&id);
                    }
                }
                () = again => {}
                () = ended(&mut stopped) => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    }
}

fn delivery(id: String, kind: &str, body: &str, secret: &SecretText, now: Timestamp) -> Delivery {
    Delivery {
        id,
        kind: kind.to_owned(),
        signature: sign::signature(secret, now, body.as_bytes()),
        body: body.to_owned().into(),
    }
}

/// Where a URL leads, without what may be a secret in it.
pub(crate) fn origin(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url[after..].find(['/', '?', '#']);
    &url[..end.map_or(url.len(), |at| after + at)]
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
            assert_eq!(origin(url), told);
        }
    }
}
