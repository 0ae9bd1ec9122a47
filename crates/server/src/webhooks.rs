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

/// After the store failed, or a sender panicked.
const PAUSE: Duration = Duration::from_secs(1);
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
                            tasks.spawn(self.clone().send(webhook.id, stopped.clone(), changed));
                        }
                    }
                    None
                }
                Err(reason) => {
                    tracing::warn!(%reason, "webhooks cannot be read");
                    Some(PAUSE)
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
                    // Removed.
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

    /// Sends for one webhook until it is removed or the service ends; a panic ends only the attempt that it came in. Whose it
    /// was.
    async fn send(
        self: Arc<Self>,
        id: String,
        mut stopped: watch::Receiver<bool>,
        changed: watch::Receiver<u64>,
    ) -> String {
        let mut after_panic = false;
        loop {
            let (all, stop, change) = (self.clone(), stopped.clone(), changed.clone());
            let sender = Sender::new(all, id.clone(), stop, change, after_panic);
            // Ends with this one, whoever ends it.
            let mut task = JoinSet::new();
            task.spawn(sender.run());
            match task.join_next().await {
                Some(Err(reason)) if reason.is_panic() => {
                    let reason = reason.to_string();
                    let reason = crate::listen::one_line(&reason);
                    tracing::error!(webhook = %id, %reason, "the sender of a webhook panicked, which is an error of this service; it begins again");
                }
                _ => return id,
            }
            after_panic = true;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = ended(&mut stopped) => return id,
            }
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_store::{SealKey, SqliteStore, WebhookHealth};
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Lines of the log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Takes one delivery. What came.
    async fn taken(listener: &TcpListener) -> String {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let length = socket.read(&mut bytes).await.unwrap();
        let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_sender_that_panics_begins_again_and_loses_nothing() {
        let lines = Lines::default();
        let log = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let home = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&home.path().join("db"), SealKey::new(&[7; 32])).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let webhook = Webhook {
            id: "hook".to_owned(),
            team: "home".to_owned(),
            url: format!("http://{}/", listener.local_addr().unwrap()),
            kinds: Vec::new(),
            created_at: Timestamp(0),
            created_by: "ada".to_owned(),
            paused: false,
            cursor: 0,
            health: WebhookHealth::default(),
            last_delivered_at: None,
        };
        let secret = Webhooks::secret().unwrap();
        store.add_webhook(webhook, secret).await.unwrap();
        let metrics: Arc<Metrics> = Arc::default();
        let hub = Arc::new(Hub::new(store.clone(), metrics.clone()));
        // The sender asks it before each attempt, and the first time it gets no answer.
        let asked = AtomicUsize::new(0);
        let clock: Clock = Arc::new(move || {
            assert_ne!(asked.fetch_add(1, Ordering::Relaxed), 0, "no time");
            Timestamp(1_800_000_000_000)
        });
        let all = Arc::new(Webhooks::new(
            store.clone(),
            hub,
            metrics.clone(),
            clock,
            Settings::default(),
            "home".to_owned(),
        ));
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(all.run(stopped));
        let came = taken(&listener).await;
        assert!(came.contains("sectag-delivery: hook-1\r\n"), "{came}");
        while store.webhook("hook").await.unwrap().unwrap().cursor == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let known = store.webhook("hook").await.unwrap().unwrap();
        assert_eq!(known.health, WebhookHealth::default());
        stop.send_replace(true);
        running.await.unwrap();
        let text = metrics.text(&crate::metrics::Now::default());
        for outcome in ["failed", "delivered"] {
            let line = format!("{{webhook=\"hook\",outcome=\"{outcome}\"}} 1");
            assert!(text.contains(&line), "{line} in {text}");
        }
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let told: Vec<&str> = lines.lines().filter(|l| l.contains("ERROR")).collect();
        assert_eq!(told.len(), 1, "{lines}");
        assert!(told[0].contains("webhook=hook") && told[0].contains("no time"));
    }
}
