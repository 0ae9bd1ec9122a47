//! What happened, for whoever follows: read once from the store, remembered for a while, told to all.
//!
//! ```text
//!   store ── "event n is durable" ──► Hub: reads each event once ──► the newest few in memory ──► streams, webhooks
//!                                          └─► counts (metrics)              └─ behind them: the store
//! ```
//! Nobody polls a disk: who has read everything waits for a number. Who reads slowly reads from the store, page by page, and
//! holds no more than a page.

use crate::evidence::ended;
use crate::metrics::Metrics;
use sectag_proto::service::{Changes, Command, Failure, Status};
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{Event, NewEvent, Store, StoreError};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Events in memory: what a burst of a few hundred devices makes, at most a few megabytes.
const RING_EVENTS: usize = 1024;
/// Events read at once.
pub(crate) const PAGE: usize = 128;
/// After a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Streams at the same time. Each is a connection and a page of events in memory.
pub(crate) const STREAMS_MAX: usize = 64;
/// Of them, those of one team: the others shall have a place.
pub(crate) const STREAMS_OF_TEAM_MAX: usize = 32;
/// Followers that read old events from the store at the same time: many that begin at 0 take turns, a page each, and leave
/// the other readers to everybody else.
const READ_BEHIND_MAX: usize = 2;

/// Reads events once and hands them out.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Arc<dyn Store>,
    ring: Mutex<VecDeque<Arc<Event>>>,
    newest: watch::Sender<u64>,
    metrics: Arc<Metrics>,
    streams: Mutex<HashMap<String, usize>>,
    reading_behind: Semaphore,
}

/// Why there is no place for one more stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// See [`STREAMS_OF_TEAM_MAX`].
    #[error("this team has {STREAMS_OF_TEAM_MAX} event streams open, and may have no more")]
    OfTeam,
    /// See [`STREAMS_MAX`].
    #[error("all {STREAMS_MAX} event streams of this service are open")]
    OfService,
}

impl Hub {
    /// Begins with what comes from this moment on.
    pub(crate) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        let newest = *store.newest_event().borrow();
        Self {
            store,
            ring: Mutex::default(),
            newest: watch::Sender::new(newest),
            metrics,
            streams: Mutex::default(),
            reading_behind: Semaphore::new(READ_BEHIND_MAX),
        }
    }

    /// Reads what is new until the service ends.
    pub(crate) async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut told = self.store.newest_event();
        loop {
            loop {
                let upto = *told.borrow_and_update();
                if *self.newest.borrow() >= upto {
                    break;
                }
                let Err(reason) = self.read().await else {
                    continue;
                };
                tracing::warn!(%reason, "events cannot be read");
                // Then again, whether or not another one comes.
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = ended(&mut stopped) => return,
                }
            }
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = ended(&mut stopped) => return,
            }
        }
    }

    async fn read(&self) -> Result<(), StoreError> {
        let after = *self.newest.borrow();
        let page = self.store.events(after, PAGE).await?;
        let Some(last) = page.last().map(|event| event.number) else {
            return Ok(());
        };
        for event in &page {
            self.metrics.event(event);
        }
        {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            ring.extend(page.into_iter().map(Arc::new));
            let over = ring.len().saturating_sub(RING_EVENTS);
            ring.drain(..over);
        }
        self.newest.send_replace(last);
        Ok(())
    }

    /// Tells the number of the newest event.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Events behind `after`, oldest first; empty when there are none yet. A first one that is not `after` + 1 means that
    /// those between were dropped.
    pub(crate) async fn behind(&self, after: u64) -> Result<Vec<Arc<Event>>, StoreError> {
        if after >= *self.newest.borrow() {
            return Ok(Vec::new());
        }
        {
            let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(oldest) = ring.front().map(|event| event.number)
                && oldest <= after + 1
            {
                let from = ring.partition_point(|event| event.number <= after);
                let numbers = ring.get(from).map_or(0, |first| first.number)..;
                let run = ring.iter().skip(from).take(PAGE).zip(numbers);
                // What was dropped before it was read here is missing in between: the next page begins behind it.
                let run = run.take_while(|(event, number)| event.number == *number);
                return Ok(run.map(|(event, _)| event.clone()).collect());
            }
        }
        // Never closed.
        let _turn = self.reading_behind.acquire().await;
        let page = self.store.events(after, PAGE).await?;
        Ok(page.into_iter().map(Arc::new).collect())
    }

    /// A place for a stream of this team.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub(crate) fn place(self: &Arc<Self>, team: &str) -> Result<Place, NoPlace> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = streams.values().sum();
        let of_team = streams.get(team).copied().unwrap_or(0);
        if of_team >= STREAMS_OF_TEAM_MAX {
            return Err(NoPlace::OfTeam);
        }
        if all >= STREAMS_MAX {
            return Err(NoPlace::OfService);
        }
        *streams.entry(team.to_owned()).or_default() += 1;
        self.metrics.streams.inc();
        Ok(Place {
            hub: self.clone(),
            team: team.to_owned(),
        })
    }
}

/// A stream's place among [`STREAMS_MAX`]; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    hub: Arc<Hub>,
    team: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self
            .hub
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(of_team) = streams.get_mut(&self.team) {
            *of_team -= 1;
            if *of_team == 0 {
                streams.remove(&self.team);
            }
        }
        self.hub.metrics.streams.dec();
    }
}

/// What a device's question changed, as events: one for what it was given, one for each result.
pub(crate) fn of_changes(
    team: &str,
    device: DeviceId,
    changes: &Changes,
    now: Timestamp,
) -> Vec<NewEvent> {
    let event = |kind: &'static str, command: Option<&Command>, data: Value| NewEvent {
        at: now,
        kind,
        team: Some(team.to_owned()),
        device: Some(device),
        command: command.map(|command| command.id),
        data,
    };
    let is_given = |command: &&Command| {
        command.status == Status::InProgress
            && command.covered_at.is_none()
            && command.requested_at.is_some_and(|at| at >= now)
    };
    let given: Vec<Value> = changes
        .commands
        .iter()
        .filter(is_given)
        .map(|command| json!({ "id": command.id.to_string(), "kind": command.request.kind().member() }))
        .collect();
    let mut events = Vec::new();
    if !given.is_empty() {
        events.push(event("fetch", None, json!({ "commands": given })));
    }
    let is_result = |command: &&Command| {
        command.status.is_terminal() && command.responded_at.is_some_and(|at| at >= now)
    };
    for command in changes.commands.iter().filter(is_result) {
        let mut data = json!({
            "kind": command.request.kind().member(),
            "status": command.status.as_str(),
        });
        if let Some(response) = &command.response {
            // What a device said may be anything; how it ended is ours.
            if let Some(failure) = response.failure {
                data["failure"] = failure_word(failure).into();
            }
            if let Some(cme_error) = response.cme_error {
                data["cmeError"] = cme_error.into();
            }
        }
        if let Some(rule) = &command.rule_id {
            data["ruleId"] = rule.as_str().into();
        }
        events.push(event("result", Some(command), data));
    }
    events
}

/// A failure as a word with hyphens.
pub(crate) fn failure_word(failure: Failure) -> String {
    let mut word = String::new();
    for c in format!("{failure:?}").chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

/// An event as it leaves: in streams, webhooks and on the terminal.
pub(crate) fn shown(event: &Event) -> Value {
    json!({
        "number": event.number,
        "at": crate::owner_api::moment(event.at),
        "kind": event.kind,
        "teamId": event.team,
        "deviceId": event.device.map(|id| id.to_string()),
        "commandId": event.command.map(|id| id.to_string()),
        "data": event.data,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_store::{AuditEvent, SealKey, SqliteStore};
    use std::task::Poll;

    async fn hub(home: &std::path::Path, events: u64) -> Arc<Hub> {
        let store = SqliteStore::open(&home.join("db"), SealKey::new(&[7; 32])).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let event = |n| AuditEvent::new(Timestamp(n), "ada", "rule-created");
        store
            .record((1..=events).map(event).collect())
            .await
            .unwrap();
        Arc::new(Hub::new(store, Arc::default()))
    }

    #[tokio::test]
    async fn those_who_are_far_behind_take_turns_page_by_page() {
        let home = tempfile::tempdir().unwrap();
        let hub = hub(home.path(), 3 * PAGE as u64).await;
        let taken = hub
            .reading_behind
            .acquire_many(READ_BEHIND_MAX as u32)
            .await
            .unwrap();
        let mut reading = std::pin::pin!(hub.behind(0));
        let polled = std::future::poll_fn(|context| Poll::Ready(reading.as_mut().poll(context)));
        assert!(polled.await.is_pending());
        // Who has read everything waits for nobody.
        assert!(hub.behind(3 * PAGE as u64).await.unwrap().is_empty());
        drop(taken);
        let page = reading.await.unwrap();
        assert_eq!((page.len(), page[0].number), (PAGE, 1));
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_read_again_before_anything_else_happens() {
        let home = tempfile::tempdir().unwrap();
        let hub = hub(home.path(), 3).await;
        hub.newest.send_replace(0);
        let db = rusqlite::Connection::open(home.path().join("db")).unwrap();
        db.execute_batch("ALTER TABLE events RENAME TO elsewhere")
            .unwrap();
        let (_stop, stopped) = watch::channel(false);
        let mut newest = hub.newest();
        tokio::spawn(hub.clone().run(stopped));
        assert!(hub.store.events(0, 1).await.is_err());
        db.execute_batch("ALTER TABLE elsewhere RENAME TO events")
            .unwrap();
        let read = newest.wait_for(|newest| *newest == 3);
        let read = tokio::time::timeout(Duration::from_secs(30), read).await;
        assert!(read.is_ok());
    }

    #[tokio::test]
    async fn a_page_ends_where_events_are_missing_so_that_they_are_told_as_lost() {
        let home = tempfile::tempdir().unwrap();
        let hub = hub(home.path(), 10).await;
        hub.newest.send_replace(0);
        hub.read().await.unwrap();
        let missing = 4..=6;
        hub.ring
            .lock()
            .unwrap()
            .retain(|event| !missing.contains(&event.number));
        let numbers = async |after| -> Vec<u64> {
            let page = hub.behind(after).await.unwrap();
            page.iter().map(|event| event.number).collect()
        };
        assert_eq!(numbers(0).await, [1, 2, 3]);
        assert_eq!(numbers(3).await, [7, 8, 9, 10]);
        assert_eq!(numbers(8).await, [9, 10]);
    }

    #[tokio::test]
    async fn whose_limit_of_streams_is_reached_is_said() {
        let home = tempfile::tempdir().unwrap();
        let hub = hub(home.path(), 1).await;
        let places =
            |team: &str| -> Vec<Place> { std::iter::from_fn(|| hub.place(team).ok()).collect() };
        let red = places("red");
        assert_eq!(red.len(), STREAMS_OF_TEAM_MAX);
        assert_eq!(hub.place("red").unwrap_err(), NoPlace::OfTeam);
        let (blue, green) = (places("blue"), places("green"));
        assert_eq!(red.len() + blue.len() + green.len(), STREAMS_MAX);
        assert_eq!(hub.place("green").unwrap_err(), NoPlace::OfService);
        drop((red, blue));
        assert!(hub.place("green").is_ok());
    }
}
