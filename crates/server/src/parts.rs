//! The tasks of a service. None of them ends before it is told to; one that does is an error of this service, and takes the
//! service along: what the task did would be done by nobody any more, and without a word.

use std::future::Future;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where tasks are begun, and where it is known that one has ended too early.
#[derive(Debug)]
pub(crate) struct Parts {
    stopped: watch::Receiver<bool>,
    broken: watch::Sender<Option<&'static str>>,
}

impl Parts {
    /// Parts that are told to end by `stopped`: true, or its sender is gone.
    pub(crate) fn new(stopped: watch::Receiver<bool>) -> Self {
        Self {
            stopped,
            broken: watch::Sender::new(None),
        }
    }

    /// Begins one. `name` is for whoever reads that it has ended.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let end = End {
            name,
            came_back: false,
            stopped: self.stopped.clone(),
            broken: self.broken.clone(),
        };
        tokio::spawn(async move {
            // Whole, not the one field that is written.
            let mut end = end;
            let result = work.await;
            end.came_back = true;
            result
        })
    }

    /// The name of the first part that ended before it was told to; pending as long as there is none.
    pub(crate) async fn failed(&self) -> &'static str {
        let mut broken = self.broken.subscribe();
        let name = broken.wait_for(Option::is_some).await.map(|name| *name);
        match name {
            Ok(Some(name)) => name,
            // The sender is ours.
            _ => std::future::pending().await,
        }
    }
}

/// How a part ends: it came back, it panicked, or the runtime dropped it, which is nobody's error.
struct End {
    name: &'static str,
    came_back: bool,
    stopped: watch::Receiver<bool>,
    broken: watch::Sender<Option<&'static str>>,
}

impl Drop for End {
    fn drop(&mut self) {
        let told = *self.stopped.borrow() || self.stopped.has_changed().is_err();
        if std::thread::panicking() || (self.came_back && !told) {
            tracing::error!(part = self.name, "a part of the service ended");
            self.broken.send_if_modified(|first| match first {
                None => {
                    *first = Some(self.name);
                    true
                }
                Some(_) => false,
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::task::Poll;

    /// What is known of a failure at this moment.
    async fn failed(parts: &Parts) -> Option<&'static str> {
        let mut failed = std::pin::pin!(parts.failed());
        std::future::poll_fn(|cx| {
            Poll::Ready(match failed.as_mut().poll(cx) {
                Poll::Ready(name) => Some(name),
                Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn the_first_part_that_panics_or_comes_back_unasked_is_named() {
        let (_stop, stopped) = watch::channel(false);
        let parts = Parts::new(stopped);
        let goes_on = parts.begin("goes on", std::future::pending::<()>());
        assert_eq!(failed(&parts).await, None);
        let panics = parts.begin("panics", async { panic!("on purpose") });
        let panics: Result<(), _> = panics.await;
        assert!(panics.unwrap_err().is_panic());
        assert_eq!(failed(&parts).await, Some("panics"));
        parts.begin("comes back", async {}).await.unwrap();
        assert_eq!(failed(&parts).await, Some("panics"));
        // A runtime that ends drops its tasks so.
        goes_on.abort();
        assert!(goes_on.await.unwrap_err().is_cancelled());

        let (_stop, stopped) = watch::channel(false);
        let parts = Parts::new(stopped);
        parts.begin("comes back", async {}).await.unwrap();
        assert_eq!(failed(&parts).await, Some("comes back"));
    }

    #[tokio::test]
    async fn parts_that_were_told_to_end_have_not_failed() {
        for told in [true, false] {
            let (stop, stopped) = watch::channel(false);
            let parts = Parts::new(stopped.clone());
            let mut until = stopped;
            let part = parts.begin("waits", async move {
                let _ = until.wait_for(|stop| *stop).await;
            });
            let dropped = parts.begin("dropped", std::future::pending::<()>());
            if told {
                stop.send_replace(true);
            } else {
                drop(stop);
            }
            part.await.unwrap();
            dropped.abort();
            let _ = dropped.await;
            assert_eq!(failed(&parts).await, None);
        }
    }
}
