//! The one writer: takes what is queued into one transaction, each job behind its own savepoint.
//!
//! ```text
//!   run(job) ─┐
//!   run(job) ─┼─► channel ─► BEGIN IMMEDIATE ─► (SAVEPOINT, job, RELEASE | ROLLBACK TO)* ─► COMMIT ─► all answers
//!   run(job) ─┘                                                                            one fsync
//! ```
//!
//! A job that fails rolls back alone. Its answer waits for the commit like all others, because it may rest on what an
//! earlier job of the same batch wrote. When the commit fails, every job of the batch is told so.

use crate::contract::{Pressure, StoreError};
use crate::sqlite::outbox::Events;
use crate::sqlite::unavailable;
use rusqlite::Connection;
use sectag_keep::crash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait at most; then callers wait. Twice a batch: the next one fills while this one commits.
const QUEUE_MAX: usize = 512;

/// How often the writer gives way while fewer jobs are here than the last batch had: those who were just answered are
/// about to ask again, and a commit for half of them costs as much as one for all. A lone writer never waits.
const PATIENCE_YIELDS: u32 = 200;

/// What kind of operation a job is: the names of its crash points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $text:literal),+ $(,)?) => {
        impl Kind {
            $(pub(crate) const $name: Self = Self {
                before: concat!("store.", $text, ".before-commit"),
                after: concat!("store.", $text, ".after-commit"),
            };)+
        }

        #[cfg(test)]
        pub(crate) const KINDS: &[Kind] = &[$(Kind::$name),+];
    };
}

kinds! {
    CLAIM = "claim",
    UNCLAIM = "unclaim",
    BLOCK = "block",
    TAGS = "tags",
    COMMIT = "commit",
    ALLOW = "allow",
    KEY = "key",
    RECORD = "record",
    OUTBOX = "outbox",
}

/// An operation on its way through the writer.
trait Job: Send {
    /// Does the work and keeps the result. Whether the changes stay.
    fn work(&mut self, db: &Connection) -> bool;
    /// Tells the caller: the result, or the reason why the batch came to nothing.
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

struct Task<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    tell: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Task<F, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn work(&mut self, db: &Connection) -> bool {
        self.result = self.work.take().map(|work| work(db));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        let result = match lost {
            Some(reason) => Some(Err(reason.into())),
            None => self.result,
        };
        // No result: the job panicked; the caller sees the sender go away. A caller that went away needs no answer.
        if let Some(result) = result {
            let _ = self.tell.send(result);
        }
    }
}

struct Envelope {
    kind: Kind,
    job: Box<dyn Job>,
}

/// The callers' end of the queue. The writer ends when the last clone is gone.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Envelope>,
    done: Arc<Done>,
}

/// What the writer has done since its start.
#[derive(Debug, Default)]
struct Done {
    commits: AtomicU64,
    writes: AtomicU64,
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.before)
    }
}

impl Kind {
    /// Dies nowhere: a checkpoint says what is there, and can be signed again.
    pub(crate) const CHECKPOINT: Self = Self {
        before: "",
        after: "",
    };
}

impl Writer {
    /// Jobs that are queued and not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// How busy the writer is.
    pub(crate) fn pressure(&self) -> Pressure {
        Pressure {
            waiting: self.waiting() as u64,
            commits: self.done.commits.load(Ordering::Relaxed),
            writes: self.done.writes.load(Ordering::Relaxed),
        }
    }

    /// Runs `job` in the writer; its `Ok` comes back when it is durable.
    pub(crate) async fn run<T, E>(
        &self,
        kind: Kind,
        job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let envelope = Envelope {
            kind,
            job: Box::new(Task {
                work: Some(job),
                result: None,
                tell,
            }),
        };
        if self.queue.send(envelope).await.is_err() {
            return Err(StoreError::Closed.into());
        }
        told.await
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }
}

/// Starts the writer on its own thread. It owns `db` and closes it at the end.
pub(crate) fn start(
    db: Connection,
    batch_max: usize,
    events: Events,
) -> std::io::Result<(Writer, std::thread::JoinHandle<()>)> {
    let (queue, jobs) = mpsc::channel(QUEUE_MAX);
    let done = Arc::new(Done::default());
    let count = done.clone();
    let thread = std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || write(&db, jobs, batch_max.max(1), events, &count))?;
    Ok((Writer { queue, done }, thread))
}

fn write(
    db: &Connection,
    mut jobs: mpsc::Receiver<Envelope>,
    batch_max: usize,
    mut events: Events,
    done: &Done,
) {
    let mut batch = Vec::with_capacity(batch_max);
    let mut expected = 1;
    while let Some(first) = jobs.blocking_recv() {
        batch.push(first);
        let mut patience = PATIENCE_YIELDS;
        while batch.len() < batch_max {
            match jobs.try_recv() {
                Ok(next) => batch.push(next),
                Err(TryRecvError::Empty) if batch.len() < expected && patience > 0 => {
                    patience -= 1;
                    std::thread::yield_now();
                }
                Err(_) => break,
            }
        }
        expected = batch.len();
        done.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let mut waiting = batch.drain(..);
        // Usually once; again for the rest when a job took the whole transaction down with it.
        while !waiting.as_slice().is_empty() {
            one_transaction(db, &mut waiting, &mut events);
            done.commits.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs jobs until there are no more, or until the transaction is lost; answers those it took.
fn one_transaction(db: &Connection, jobs: &mut std::vec::Drain<'_, Envelope>, events: &mut Events) {
    let mut taken = Vec::with_capacity(jobs.as_slice().len());
    let result = transaction(db, jobs, &mut taken, events);
    if let Err(reason) = &result {
        tracing::error!(%reason, jobs = taken.len(), "a batch of writes was lost");
        if !db.is_autocommit()
            && let Err(reason) = run(db, "ROLLBACK")
        {
            tracing::error!(%reason, "the lost batch cannot be rolled back");
        }
    }
    // Before the answers: whoever was answered finds its event told.
    events.look(db);
    for (envelope, _) in taken {
        envelope.job.answer(result.as_ref().err().cloned());
    }
}

fn transaction(
    db: &Connection,
    jobs: &mut std::vec::Drain<'_, Envelope>,
    taken: &mut Vec<(Envelope, bool)>,
    events: &mut Events,
) -> Result<(), StoreError> {
    if let Err(e) = run(db, "BEGIN IMMEDIATE") {
        taken.extend(jobs.map(|envelope| (envelope, false)));
        return Err(unavailable("write", &e));
    }
    if let Err(e) = events.trim(db) {
        taken.extend(jobs.map(|envelope| (envelope, false)));
        return Err(e);
    }
    for mut envelope in jobs {
        let kept = one_job(db, &mut envelope);
        taken.push((envelope, *kept.as_ref().unwrap_or(&false)));
        kept?;
    }
    let kept = || taken.iter().filter(|(_, kept)| *kept);
    kept().for_each(|(envelope, _)| point(envelope.kind.before));
    run(db, "COMMIT").map_err(|e| unavailable("commit", &e))?;
    kept().for_each(|(envelope, _)| point(envelope.kind.after));
    Ok(())
}

fn point(name: &'static str) {
    if !name.is_empty() {
        crash::point(name);
    }
}

/// Whether the job's changes stay; an error when the transaction is beyond saving.
fn one_job(db: &Connection, envelope: &mut Envelope) -> Result<bool, StoreError> {
    run(db, "SAVEPOINT job").map_err(|e| unavailable("write", &e))?;
    let worked = catch_unwind(AssertUnwindSafe(|| envelope.job.work(db)));
    if db.is_autocommit() {
        // A full or broken disk makes SQLite roll back everything, the earlier jobs as well.
        return Err(StoreError::Unavailable {
            action: "write",
            reason: "the disk is full or failing, and the whole batch was rolled back".into(),
        });
    }
    let keep = worked.unwrap_or_else(|_| {
        tracing::error!(
            point = envelope.kind.before,
            "a write panicked; it is rolled back"
        );
        false
    });
    let end = if keep {
        Ok(())
    } else {
        run(db, "ROLLBACK TO job")
    };
    end.and_then(|()| run(db, "RELEASE job"))
        .map_err(|e| unavailable("write", &e))?;
    Ok(keep)
}

fn run(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(|_| ())
}
