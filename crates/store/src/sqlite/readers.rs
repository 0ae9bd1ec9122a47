//! Readers: a few read-only connections, each on its own thread, beside the writer and never in its way.

use crate::contract::StoreError;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait at most; then callers wait.
const QUEUE_MAX: usize = 256;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The callers' end of the queue. The readers end when the last clone is gone.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    queue: mpsc::Sender<Question>,
}

impl Readers {
    /// Runs `question` on one of the connections.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, told) = oneshot::channel();
        let question: Question = Box::new(move |db| {
            // A caller that went away needs no answer.
            if !tell.is_closed() {
                let _ = tell.send(question(db));
            }
        });
        let sent = self.queue.send(question).await;
        sent.map_err(|_| StoreError::Closed)?;
        told.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Starts a thread per connection.
pub(crate) fn start(
    connections: Vec<Connection>,
) -> std::io::Result<(Readers, Vec<JoinHandle<()>>)> {
    let (queue, questions) = mpsc::channel::<Question>(QUEUE_MAX);
    let questions = Arc::new(Mutex::new(questions));
    let threads = connections.into_iter().map(|db| {
        let questions = Arc::clone(&questions);
        std::thread::Builder::new()
            .name("store-reader".into())
            .spawn(move || {
                loop {
                    // Whoever holds the lock waits for the next question; the lock is free again before it is answered.
                    let next = questions
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .blocking_recv();
                    let Some(question) = next else { return };
                    if catch_unwind(AssertUnwindSafe(|| question(&db))).is_err() {
                        tracing::error!("a read panicked");
                    }
                }
            })
    });
    let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
    Ok((Readers { queue }, threads))
}
