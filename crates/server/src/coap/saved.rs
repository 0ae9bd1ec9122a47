//! Sessions between two lives of the service: taken down at an orderly end, loaded once at the next start.
//!
//! ```text
//!  end:    into_saved ─► seal ─► <home>/coap-sessions (private, atomic)
//!  start:  read ─► delete, durably ─► open ─► load each
//! ```
//! Two processes that go on with one session would send two records with one nonce, which breaks AES-GCM. So the file
//! is gone before its first session is loaded, and nothing is written while the service runs: after a crash there is nothing
//! to load. A copy that comes back (a restored backup) is told by its inode: the system dates every change of an inode,
//! and that date cannot be set. A file dated later than the sessions in it is not the one that we wrote. A rollback of
//! the whole disk, date and all, cannot be told (`docs/security.md`).

use super::Listener;
use super::seal::{Seal, put, take};
use crate::listen::Chain;
use sectag_dtls::SavedSession;
use sectag_keep::{self as keep, KeepError, crash};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// The key that seals the file is derived for this.
pub(super) const PURPOSE: &str = "sectag coap sessions 1";
/// The name of the file in the home.
pub(crate) const FILE: &str = "coap-sessions";

/// From taking the time to the last change of the file's inode: sealing, writing and syncing a few megabytes, on a disk
/// that is busy with the end of everything else.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);
/// Coarse file system clocks may date a change before we looked at ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// A session, and what it was granted (empty: nothing).
pub(super) struct Kept {
    pub(super) session: SavedSession,
    pub(super) grant: Vec<u8>,
}

/// The file of one home.
pub(super) struct Between {
    path: PathBuf,
    seal: Seal,
}

/// Why saved sessions were not loaded. The file is gone all the same, unless it says so.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLoaded {
    #[error("cannot read or delete the saved sessions, so none is loaded")]
    Keep(#[from] KeepError),
    #[error("the saved sessions were sealed under another key, or are damaged")]
    Sealed,
    #[error(
        "the file of saved sessions is not the one that was written {0} s after 1970: a copy of it"
    )]
    Copied(u64),
}

impl Between {
    pub(super) fn new(home: &Path, key: &[u8; 32]) -> Self {
        Self {
            path: home.join(FILE),
            seal: Seal::new(key, PURPOSE),
        }
    }

    /// Writes the file. Without sessions there is none.
    pub(super) fn write(&self, sessions: &[Kept]) -> Result<(), KeepError> {
        crash::point("coap.sessions.before-write");
        if sessions.is_empty() {
            return Ok(());
        }
        let mut bytes = Zeroizing::new(Vec::new());
        bytes.extend_from_slice(&now_ms().to_be_bytes());
        for kept in sessions {
            let session = kept.session.to_bytes();
            // Before it grows: growing would leave a copy of the secrets behind in freed memory.
            let needed = bytes.len() + session.len() + kept.grant.len() + 8;
            if bytes.capacity() < needed {
                let mut roomy = Zeroizing::new(Vec::with_capacity(needed * 2));
                roomy.extend_from_slice(&bytes);
                bytes = roomy;
            }
            put(&mut bytes, &session);
            put(&mut bytes, &kept.grant);
        }
        let Ok(sealed) = self.seal.seal(bytes) else {
            tracing::warn!(
                "cannot seal the DTLS sessions; devices will come back with a handshake"
            );
            return Ok(());
        };
        keep::write_private(&self.path, &sealed)?;
        crash::point("coap.sessions.after-write");
        Ok(())
    }

    /// Reads the sessions and deletes their file, which comes first: what is given back exists nowhere else.
    pub(super) fn take(&self) -> Result<Vec<Kept>, NotLoaded> {
        let read = match keep::read_private(&self.path) {
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(bytes)) => Ok(bytes),
            Err(e) => Err(e),
        };
        let dated_ms = std::fs::symlink_metadata(&self.path)
            .map(|found| found.ctime() * 1000 + found.ctime_nsec() / 1_000_000)
            .unwrap_or(i64::MAX);
        crash::point("coap.sessions.before-delete");
        keep::remove(&self.path)?;
        crash::point("coap.sessions.after-delete");
        let plain = self.seal.open(&read?).map_err(|_| NotLoaded::Sealed)?;
        let (written_ms, mut rest) = plain.split_first_chunk::<8>().ok_or(NotLoaded::Sealed)?;
        let written_ms = u64::from_be_bytes(*written_ms);
        if !is_original(written_ms, dated_ms) {
            return Err(NotLoaded::Copied(written_ms / 1000));
        }
        let mut sessions = Vec::new();
        while !rest.is_empty() {
            let (session, after) = take(rest).ok_or(NotLoaded::Sealed)?;
            let (grant, after) = take(after).ok_or(NotLoaded::Sealed)?;
            rest = after;
            // One of another version of the library comes back with a handshake.
            if let Ok(session) = SavedSession::from_bytes(session) {
                let grant = grant.to_vec();
                sessions.push(Kept { session, grant });
            }
        }
        Ok(sessions)
    }
}

/// Whether an inode changed last at `dated_ms` can be the one written from `written_ms` on.
fn is_original(written_ms: u64, dated_ms: i64) -> bool {
    let Ok(dated_ms) = u64::try_from(dated_ms) else {
        return false;
    };
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    dated_ms.saturating_add(ms(CLOCKS_DIFFER)) >= written_ms
        && dated_ms <= written_ms.saturating_add(ms(WRITTEN_WITHIN))
}

/// The file system's calendar, whatever clock the service was given.
fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Listener {
    /// Goes on with the sessions of the last run.
    pub(super) fn load(&mut self) {
        let kept = match self.between.take() {
            Ok(kept) => kept,
            Err(e) => {
                tracing::warn!(reason = %Chain(&e), "DTLS sessions of the last run are not taken over; devices come back with a handshake");
                return;
            }
        };
        let now = self.now();
        for Kept { session, grant } in kept {
            let (peer, cid) = (session.peer, !session.cid.is_empty());
            match self.endpoint.load(session, now) {
                Ok(key) => {
                    let granted = self.grants.from_bytes(key.0, &grant, self.app.now());
                    let device = granted.map(|granted| granted.device.get());
                    self.books.loaded(key.0, peer, cid, device);
                    match device {
                        Some(_) => self.server.trust(key.0, true),
                        None => self.is_new(key.0, peer),
                    }
                }
                Err(e) => {
                    tracing::debug!(%peer, reason = %e, "a saved DTLS session is not taken over")
                }
            }
        }
        if self.books.loaded > 0 {
            let sessions = self.books.loaded;
            tracing::info!(sessions, "DTLS sessions taken over from the last run");
        }
    }

    /// Takes the sessions down for the next one.
    pub(super) async fn save(self) {
        let now = self.now();
        let calendar = self.app.now();
        let Self {
            endpoint,
            grants,
            between,
            resumptions,
            ..
        } = self;
        let kept: Vec<Kept> = endpoint
            .into_saved(now)
            .into_iter()
            .map(|session| Kept {
                grant: grants.to_bytes(session.key.0, calendar).unwrap_or_default(),
                session,
            })
            .collect();
        let written = tokio::task::spawn_blocking(move || {
            drop(resumptions);
            between.write(&kept).map(|()| kept.len())
        });
        match written.await {
            Ok(Ok(0)) => {}
            Ok(Ok(sessions)) => tracing::info!(sessions, "DTLS sessions saved for the next start"),
            Ok(Err(e)) => {
                tracing::warn!(reason = %Chain(&e), "cannot save the DTLS sessions; devices come back with a handshake");
            }
            Err(e) => tracing::error!(reason = %e, "cannot save the DTLS sessions"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn between(dir: &Path, key: u8) -> Between {
        Between::new(dir, &[key; 32])
    }

    /// A file without sessions in it, which `write` would not make.
    fn write_empty(between: &Between, written_ms: u64) {
        let plain = Zeroizing::new(written_ms.to_be_bytes().to_vec());
        let sealed = between.seal.seal(plain).unwrap();
        keep::write_private(&between.path, &sealed).unwrap();
    }

    #[test]
    fn what_is_taken_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let ours = between(dir.path(), 1);
        assert!(ours.take().unwrap().is_empty());
        ours.write(&[]).unwrap();
        assert!(!ours.path.exists());
        write_empty(&ours, now_ms());
        assert!(ours.take().unwrap().is_empty());
        assert!(!ours.path.exists());
    }

    #[test]
    fn a_file_of_another_home_or_a_damaged_one_is_deleted_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let ours = between(dir.path(), 1);
        write_empty(&between(dir.path(), 2), now_ms());
        assert!(matches!(ours.take(), Err(NotLoaded::Sealed)));
        assert!(!ours.path.exists());
        keep::write_private(&ours.path, b"damaged").unwrap();
        assert!(matches!(ours.take(), Err(NotLoaded::Sealed)));
        assert!(!ours.path.exists());
    }

    #[test]
    fn a_file_that_others_may_read_is_deleted_and_not_loaded() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let ours = between(dir.path(), 1);
        write_empty(&ours, now_ms());
        std::fs::set_permissions(&ours.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(ours.take(), Err(NotLoaded::Keep(_))));
        assert!(!ours.path.exists());
    }

    #[test]
    fn a_copy_that_came_back_is_told_by_its_date() {
        let dir = tempfile::tempdir().unwrap();
        let ours = between(dir.path(), 1);
        // Sealed an hour ago, and the inode is of this moment: what a restore makes.
        write_empty(&ours, now_ms() - 3_600_000);
        assert!(matches!(ours.take(), Err(NotLoaded::Copied(_))));
        assert!(!ours.path.exists());
        assert!(is_original(1000, 1000) && is_original(1_000_000, 1_010_000));
        assert!(!is_original(1_000_000, 1_061_000) && !is_original(1_000_000, 900_000));
        assert!(!is_original(1000, -1));
    }
}
