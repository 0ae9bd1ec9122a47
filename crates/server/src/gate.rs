//! Whom the broker lets in beside what chains say: the store's answer, kept in memory.
//!
//! ```text
//!   store: blocked devices · certificates taken back · registered ones · teams
//!      │ start: page by page              events (block, unclaim, register, revoke, teams)
//!      ▼                                        │ the subject is read anew, its sessions are judged again
//!   View ◄──────────────────────────────────────┘
//!      ▲ asked inside each handshake, at each CONNECT
//!   broker ──► which certificate connected (App::certificate_used), two clients that take each other's session (clone-alarm)
//! ```
//!
//! Only what is exceptional and has not ended is in memory, so a start does not read the fleet; when the calendar is put back, it
//! is read again. Nothing is polled: events are numbered in the
//! transaction of what they tell, so a change that was committed arrives here even when whoever asked for it is gone, and
//! after a crash the start reads the same from the store. Whoever needs the broker to know waits for [`Doorkeeper::settled`].

mod lists;
mod view;

pub(crate) use lists::Lists;
use view::View;
pub(crate) use view::all_teams;

use crate::app::{App, Clock};
use sectag_mqtt::{Broker, ClientCertificate, Gate, Verdict};
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{AuditEvent, Event, Store, StoreError, Subject};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Events read at once.
const EVENTS: usize = 256;
/// After a read that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the calendar is looked at.
const CALENDAR_LOOK: Duration = Duration::from_secs(1);
/// How long [`Doorkeeper::settled`] waits at most: live sessions of a device that was blocked have to end within two seconds.
const SETTLED_MAX: Duration = Duration::from_secs(2);

/// So often, within [`CLONE_WINDOW`], a client that was alive must lose its session to another one with the same certificate.
/// A client that comes back over a new network while its old connection lingers does that once; two clients that are told
/// to stay connected do it several times a minute.
const CLONE_TURNS: usize = 3;
/// See [`CLONE_TURNS`].
const CLONE_WINDOW: Duration = Duration::from_secs(600);
/// One alarm per certificate in this time.
const CLONE_ALARM_STEP: Duration = Duration::from_secs(3600);
/// Certificates watched for clones at a time.
const CLONES_MAX: usize = 10_000;

/// Knows whom the broker lets in. One per service.
#[derive(Debug)]
pub struct Doorkeeper {
    store: Arc<dyn Store>,
    clock: Clocked,
    view: RwLock<View>,
    broker: OnceLock<Weak<Broker>>,
    /// Number of the last event that the view knows.
    seen: watch::Sender<u64>,
    /// A certificate was taken back, or a team came.
    lists: Notify,
    /// Hears which certificates are used.
    app: OnceLock<Weak<App>>,
    clones: Mutex<HashMap<[u8; 32], Turns>>,
    alarms: mpsc::Sender<AuditEvent>,
}

struct Clocked(Clock);

impl std::fmt::Debug for Clocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

#[derive(Debug, Default)]
struct Turns {
    at: Vec<Timestamp>,
    alarmed_at: Option<Timestamp>,
}

/// What runs beside the doorkeeper; see [`Doorkeeper::run`].
#[derive(Debug)]
pub(crate) struct Errands {
    alarms: mpsc::Receiver<AuditEvent>,
    behind: u64,
}

impl Doorkeeper {
    /// Reads what the store has. Nobody is asked to wait for a fleet: blocked devices, certificates taken back and registered
    /// ones that are valid by their dates, and teams.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        clock: Clock,
        home_team: &str,
    ) -> Result<(Arc<Self>, Errands), StoreError> {
        // Events from here on are read again: what they tell may be in the view already, and that is no harm.
        let behind = *store.newest_event().borrow();
        let view = View::read(store.as_ref(), home_team, clock()).await?;
        let (alarms, told) = mpsc::channel(64);
        let keeper = Self {
            store,
            clock: Clocked(clock),
            view: RwLock::new(view),
            broker: OnceLock::new(),
            seen: watch::Sender::new(behind),
            lists: Notify::new(),
            app: OnceLock::new(),
            clones: Mutex::default(),
            alarms,
        };
        let errands = Errands {
            alarms: told,
            behind,
        };
        Ok((Arc::new(keeper), errands))
    }

    /// Whose sessions to judge again when something changes, and who hears which certificates are used.
    pub(crate) fn watches(&self, broker: &Arc<Broker>, app: &Arc<App>) {
        let _ = self.broker.set(Arc::downgrade(broker));
        let _ = self.app.set(Arc::downgrade(app));
    }

    /// Follows the store's events and does errands until the service ends.
    pub(crate) async fn run(self: Arc<Self>, errands: Errands, mut stopped: watch::Receiver<bool>) {
        let Errands { mut alarms, behind } = errands;
        let mut told = self.store.newest_event();
        let mut seen = behind;
        let follow = async {
            loop {
                while seen < *told.borrow_and_update() {
                    match self.catch_up(seen).await {
                        Ok(last) => seen = last,
                        Err(reason) => {
                            tracing::warn!(%reason, "the broker's view of trust cannot be read");
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
                self.follow_calendar().await;
                tokio::select! {
                    changed = told.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(CALENDAR_LOOK) => {}
                }
            }
        };
        let write_alarms = async {
            while let Some(alarm) = alarms.recv().await {
                if let Err(reason) = self.store.record(vec![alarm]).await {
                    tracing::warn!(%reason, "an alarm cannot be written down");
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = write_alarms => {}
            _ = stopped.wait_for(|asked| *asked) => {}
        }
    }

    /// Waits until the broker knows what is durable at this moment: at most two seconds, then it hears of it later.
    pub async fn settled(&self) {
        let newest = *self.store.newest_event().borrow();
        let mut seen = self.seen.subscribe();
        let known = seen.wait_for(|seen| *seen >= newest);
        if tokio::time::timeout(SETTLED_MAX, known).await.is_err() {
            tracing::warn!("the broker learns of a change late");
        }
    }

    /// Whether there are more teams than the home's own.
    pub fn has_several_teams(&self) -> bool {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.has_several_teams
    }

    /// Certificates that count in the view: registered, taken back, and devices blocked.
    pub fn counts(&self) -> (usize, usize, usize) {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        (view.pins.len(), view.revoked.len(), view.blocked.len())
    }

    /// Ready when a revocation list may have to be made.
    pub(crate) async fn lists_changed(&self) {
        self.lists.notified().await;
    }

    async fn catch_up(&self, seen: u64) -> Result<u64, StoreError> {
        let page = self.store.events(seen, EVENTS).await?;
        let Some(last) = page.last().map(|event| event.number) else {
            return Ok(seen);
        };
        if page.first().is_some_and(|first| first.number > seen + 1) {
            self.read_all().await?;
        }
        for event in &page {
            match Concern::of(event) {
                Some(Concern::Subject(subject)) => self.read_again(subject).await?,
                Some(Concern::Teams) => self.read_teams().await?,
                None => {}
            }
        }
        self.seen.send_replace(last);
        Ok(last)
    }

    /// What had ended by a calendar that was ahead is not in the view; with the calendar put back it counts.
    async fn follow_calendar(&self) {
        let read_at = {
            let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
            view.read_at
        };
        if read_at.is_some_and(|read_at| (self.clock.0)() < read_at) {
            tracing::info!("the calendar was put back: the broker's view of trust is read anew");
            if let Err(reason) = self.read_all().await {
                tracing::warn!(%reason, "the broker's view of trust cannot be read");
            }
        }
    }

    /// Reads what concerns one subject, and judges its sessions by it.
    async fn read_again(&self, subject: Subject) -> Result<(), StoreError> {
        let trust = self.store.trust_of(subject.clone()).await?;
        let mut is_news = false;
        {
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(device) = subject.device() {
                match trust.blocked {
                    true => view.blocked.insert(device),
                    false => view.blocked.remove(&device),
                };
            }
            for mark in trust.revoked {
                view.pins.remove(&mark);
                is_news |= view.revoked.insert(mark);
            }
            for pin in trust.pins {
                let team = view.team(&pin.team);
                view.pins.insert(pin.der_sha256, team);
            }
        }
        // Lists are made of everything that was taken back; a block is in none.
        if is_news {
            self.lists.notify_one();
        }
        if let Some(broker) = self.broker() {
            broker.judge_again_named([subject.to_string().as_str()]);
        }
        Ok(())
    }

    async fn read_teams(&self) -> Result<(), StoreError> {
        let teams = all_teams(self.store.as_ref()).await?;
        {
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            view.know_teams(&teams);
        }
        self.lists.notify_one();
        if let Some(broker) = self.broker() {
            broker.judge_again();
        }
        Ok(())
    }

    /// Events were dropped before they were read, or the calendar went back: the view is built anew. Only where events are
    /// followed, or what one of them has just changed would be lost.
    async fn read_all(&self) -> Result<(), StoreError> {
        let home = {
            let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
            let mut homes = view.by_id.iter().filter(|(_, team)| **team == 0);
            homes.next().map(|(id, _)| id.clone()).unwrap_or_default()
        };
        let fresh = View::read(self.store.as_ref(), &home, (self.clock.0)()).await?;
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.lists.notify_one();
        if let Some(broker) = self.broker() {
            broker.judge_again();
        }
        Ok(())
    }

    fn broker(&self) -> Option<Arc<Broker>> {
        self.broker.get().and_then(Weak::upgrade)
    }

    /// An alarm, if this certificate changes hands too often.
    fn turn(&self, certificate: &ClientCertificate) -> Option<AuditEvent> {
        let now = (self.clock.0)();
        let mut clones = lock(&self.clones);
        if clones.len() >= CLONES_MAX && !clones.contains_key(&certificate.der_sha256) {
            let stale = |turns: &Turns| turns.at.iter().all(|at| now.since(*at) > CLONE_WINDOW);
            clones.retain(|_, turns| !stale(turns));
            if clones.len() >= CLONES_MAX {
                return None;
            }
        }
        let turns = clones.entry(certificate.der_sha256).or_default();
        turns.at.retain(|at| now.since(*at) <= CLONE_WINDOW);
        turns.at.push(now);
        let quiet = |at| now.since(at) >= CLONE_ALARM_STEP;
        if turns.at.len() < CLONE_TURNS || !turns.alarmed_at.is_none_or(quiet) {
            return None;
        }
        turns.alarmed_at = Some(now);
        let times = turns.at.len();
        drop(clones);
        let (cn, serial) = (&certificate.cn, &certificate.serial);
        let detail = format!(
            "certificate {serial} (CN={cn}) is in two places: {times} times in {} minutes a client with it took the MQTT session of another one that was alive",
            CLONE_WINDOW.as_secs() / 60
        );
        tracing::warn!(identity = %cn, %serial, "clone alarm");
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let alarm = AuditEvent::new(now, "broker", "clone-alarm")
            .device(Subject::of(cn).device())
            .detail(detail);
        Some(match view.id_of(view.team_of(certificate)) {
            Some(team) => alarm.team(team),
            None => alarm,
        })
    }
}

impl Gate for Doorkeeper {
    fn pins(&self, der_sha256: &[u8; 32]) -> bool {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.pins.contains_key(der_sha256)
    }

    fn admit(&self, certificate: &ClientCertificate) -> Verdict {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.admit(certificate)
    }

    fn connected(&self, certificate: &ClientCertificate) {
        if let Some(app) = self.app.get().and_then(Weak::upgrade) {
            app.certificate_used(certificate.spki_sha256, app.now());
        }
    }

    fn displaced(&self, certificate: &ClientCertificate) {
        if let Some(alarm) = self.turn(certificate) {
            // When many wait, the log has it.
            let _ = self.alarms.try_send(alarm);
        }
    }
}

/// What an event changes here.
enum Concern {
    Subject(Subject),
    Teams,
}

impl Concern {
    fn of(event: &Event) -> Option<Self> {
        let action = event.data.get("action").and_then(Value::as_str)?;
        match action {
            "block" | "unblock" | "unclaim" => event.device.map(Self::subject),
            "certificate-registered" | "certificate-revoked" => {
                let named = ["after", "before"]
                    .iter()
                    .find_map(|state| event.data.get(state)?.get("id")?.as_str());
                event
                    .device
                    .map(Self::subject)
                    .or_else(|| named.map(|id| Self::Subject(Subject::of(id))))
            }
            _ if action.starts_with("team-") => Some(Self::Teams),
            _ => None,
        }
    }

    fn subject(device: DeviceId) -> Self {
        Self::Subject(device.into())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
