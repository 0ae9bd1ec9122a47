//! Which certificates devices connect with: heard on the connection's path, written down beside it.

use super::App;
use sectag_proto::Timestamp;
use sectag_store::{Spki, StoreError};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A certificate that connects again within this time says nothing new.
const TOLD_FOR: Duration = Duration::from_secs(86_400);
/// Certificates remembered as told; when there are more, all are forgotten, and each is told once more.
const TOLD_MAX: usize = 100_000;
/// Uses that wait to be written. More come only when the store stands still; those are heard at a later connection.
const WAITING_MAX: usize = 100_000;
/// Uses in one transaction.
const BATCH_MAX: usize = 256;

/// What connections said and the store does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    inner: Mutex<Inner>,
    /// Something waits.
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: HashMap<Spki, Timestamp>,
    told: HashMap<Spki, Timestamp>,
}

impl Uses {
    /// Takes a few hundred nanoseconds and never waits for a disk.
    fn hear(&self, spki: Spki, at: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = inner
            .told
            .get(&spki)
            .is_some_and(|told| at.since(*told) < TOLD_FOR);
        if is_told || (inner.waiting.len() >= WAITING_MAX && !inner.waiting.contains_key(&spki)) {
            return;
        }
        let kept = inner.waiting.entry(spki).or_insert(at);
        *kept = (*kept).max(at);
        drop(inner);
        self.wake.notify_one();
    }

    /// Takes a batch out, as told.
    fn take(&self) -> Vec<(Spki, Timestamp)> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Spki> = inner.waiting.keys().take(BATCH_MAX).copied().collect();
        let mut batch = Vec::with_capacity(keys.len());
        for spki in keys {
            if let Some(at) = inner.waiting.remove(&spki) {
                batch.push((spki, at));
            }
        }
        if inner.told.len() + batch.len() > TOLD_MAX {
            inner.told.clear();
        }
        inner.told.extend(batch.iter().copied());
        // As the store will have them: in the order of time.
        batch.sort_unstable_by_key(|(_, at)| *at);
        batch
    }

    /// Puts a batch back that could not be written.
    fn put_back(&self, batch: Vec<(Spki, Timestamp)>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for (spki, at) in batch {
            inner.told.remove(&spki);
            let kept = inner.waiting.entry(spki).or_insert(at);
            *kept = (*kept).max(at);
        }
    }

    /// Waits until there is something to write.
    pub(crate) async fn waiting(&self) {
        self.wake.notified().await;
    }
}

impl App {
    /// A device connected with the certificate of this key (SHA-256 of its SubjectPublicKeyInfo). Idempotent, for the
    /// connection's path: nothing is written here ([`App::write_uses`] does), and what is no certificate of ours is dropped
    /// there. A use that is lost with the process is heard again at the next connection.
    pub fn certificate_used(&self, spki_sha256: [u8; 32], at: Timestamp) {
        self.uses.hear(spki_sha256, at);
    }

    /// Writes down what [`App::certificate_used`] heard; how many uses were written.
    ///
    /// # Errors
    /// The store's; nothing is lost, the next call tries again.
    pub async fn write_uses(&self) -> Result<usize, StoreError> {
        let mut written = 0;
        loop {
            let batch = self.uses.take();
            if batch.is_empty() {
                return Ok(written);
            }
            match self.store.certificates_used(batch.clone()).await {
                Ok(first) => {
                    written += batch.len();
                    for used in first {
                        let renewed = used.renewal.is_some();
                        tracing::info!(device = %used.life.device, serial = used.life.serial, renewed, "device connected with a certificate for the first time");
                    }
                }
                Err(reason) => {
                    self.uses.put_back(batch);
                    return Err(reason);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_once_a_day_with_its_last_time() {
        let uses = Uses::default();
        uses.hear([1; 32], Timestamp(5));
        uses.hear([1; 32], Timestamp(3));
        uses.hear([2; 32], Timestamp(4));
        assert_eq!(
            uses.take(),
            [([2; 32], Timestamp(4)), ([1; 32], Timestamp(5))]
        );
        uses.hear([1; 32], Timestamp(6));
        assert!(uses.take().is_empty());
        uses.hear([1; 32], Timestamp(5).plus(TOLD_FOR));
        assert_eq!(uses.take().len(), 1);
    }

    #[test]
    fn what_could_not_be_written_waits() {
        let uses = Uses::default();
        uses.hear([1; 32], Timestamp(1));
        let batch = uses.take();
        uses.put_back(batch.clone());
        assert_eq!(uses.take(), batch);
    }

    #[test]
    fn a_storm_of_connections_stays_within_its_bounds() {
        let uses = Uses::default();
        for n in 0..WAITING_MAX + 10 {
            let mut spki = [0; 32];
            spki[..8].copy_from_slice(&n.to_le_bytes());
            uses.hear(spki, Timestamp(1));
        }
        assert_eq!(uses.inner.lock().unwrap().waiting.len(), WAITING_MAX);
        while !uses.take().is_empty() {}
        assert!(uses.inner.lock().unwrap().told.len() <= TOLD_MAX);
    }
}
