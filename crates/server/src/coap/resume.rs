//! Sessions that clients resume by their ID, kept over a crash: `<home>/coap-resumptions`.
//!
//! ```text
//!  full handshake ─► Event::Cache ─► one sealed piece at the end of the file        (a thread of its own)
//!  start ─► read all that opens and is young enough ─► Endpoint::remember
//!  twice the bound in the file ─► written anew with the youngest
//! ```
//! A file that only grows is cheaper than a table: no sync, no transaction beside the owners' ones. What is lost with a
//! power cut costs its device a full handshake, no more. Nothing here can repeat a nonce: a resumed session has keys
//! of its own. Tickets need no file, since their keys are derived from the home's.

use super::seal::{Seal, put, take};
use sectag_dtls::CachedSession;
use sectag_keep::{self as keep, KeepError};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use zeroize::Zeroizing;

/// The key that seals the pieces is derived for this.
pub(super) const PURPOSE: &str = "sectag coap resumptions 1";
/// The name of the file in the home.
pub(crate) const FILE: &str = "coap-resumptions";

/// Pieces that wait for the thread; one more is not kept. A thousand full handshakes take a second of a core at least.
const WAITING_MAX: usize = 1024;

/// One piece: a session and when it was made.
struct Piece {
    unix_s: u64,
    id: Vec<u8>,
    session: CachedSession,
}

/// The file, as the listener sees it.
pub(super) struct Resumptions {
    pieces: Option<SyncSender<Piece>>,
    writer: Option<JoinHandle<()>>,
}

/// The sessions of the file, oldest first.
pub(super) type Found = Vec<(Vec<u8>, CachedSession)>;

impl Resumptions {
    /// Opens the file: what is in it and young enough, and the thread that adds to it.
    pub(super) fn open(home: &Path, key: &[u8; 32], limits: Bounds, now_s: u64) -> (Self, Found) {
        let mut file = File {
            path: home.join(FILE),
            seal: Seal::new(key, PURPOSE),
            limits,
            pieces: 0,
            told: false,
        };
        let found = file.read(now_s);
        let found: Vec<(Vec<u8>, CachedSession)> = found
            .into_iter()
            .map(|piece| (piece.id, piece.session))
            .collect();
        let (pieces, waiting) = sync_channel(WAITING_MAX);
        let writer = std::thread::Builder::new()
            .name("coap-resumptions".to_owned())
            .spawn(move || file.serve(&waiting));
        let writer = writer
            .inspect_err(|e| tracing::warn!(reason = %e, "sessions for resumption are not kept"))
            .ok();
        let pieces = writer.is_some().then_some(pieces);
        (Self { pieces, writer }, found)
    }

    /// Keeps a session; without waiting, and not when too many wait.
    pub(super) fn keep(&self, id: Vec<u8>, session: CachedSession, unix_s: u64) {
        if let Some(pieces) = &self.pieces {
            let _ = pieces.try_send(Piece {
                unix_s,
                id,
                session,
            });
        }
    }
}

impl Drop for Resumptions {
    /// What waits is written.
    fn drop(&mut self) {
        self.pieces = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Sessions that are kept; the file has at most twice as many pieces.
    pub(super) sessions_max: usize,
    /// Age in seconds at which a session can be resumed no more.
    pub(super) age_max_s: u64,
}

struct File {
    path: PathBuf,
    seal: Seal,
    limits: Bounds,
    /// In the file.
    pieces: usize,
    /// That it cannot be written was said.
    told: bool,
}

impl File {
    fn serve(mut self, waiting: &Receiver<Piece>) {
        while let Ok(piece) = waiting.recv() {
            if let Err(e) = self.add(&piece)
                && !std::mem::replace(&mut self.told, true)
            {
                tracing::warn!(reason = %e, "cannot keep sessions for resumption; after a crash devices will need full handshakes");
            }
        }
    }

    fn add(&mut self, piece: &Piece) -> Result<(), KeepError> {
        if self.pieces >= 2 * self.limits.sessions_max {
            let youngest = self.read(piece.unix_s);
            let mut bytes = Vec::new();
            for piece in &youngest {
                bytes.extend_from_slice(&self.sealed(piece));
            }
            keep::write_private(&self.path, &bytes)?;
            self.pieces = youngest.len();
        }
        keep::append_private(&self.path, &self.sealed(piece))?;
        self.pieces += 1;
        Ok(())
    }

    fn sealed(&self, piece: &Piece) -> Vec<u8> {
        let session = piece.session.to_bytes();
        let room = 8 + 4 + piece.id.len() + session.len() + super::seal::SEAL_BYTES;
        let mut plain = Zeroizing::new(Vec::with_capacity(room));
        plain.extend_from_slice(&piece.unix_s.to_be_bytes());
        put(&mut plain, &piece.id);
        plain.extend_from_slice(&session);
        let mut framed = Vec::new();
        if let Ok(sealed) = self.seal.seal(plain) {
            put(&mut framed, &sealed);
        }
        framed
    }

    /// The youngest that can be resumed, oldest first. What does not open ends the reading: a torn end, or another home's.
    fn read(&mut self, now_s: u64) -> Vec<Piece> {
        let bytes = match keep::read_private(&self.path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Vec::new(),
            Err(e) => {
                tracing::warn!(reason = %e, "cannot read sessions for resumption, so they are begun anew");
                let _ = keep::remove(&self.path);
                return Vec::new();
            }
        };
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while let Some((sealed, after)) = take(rest)
            && let Some(piece) = self.opened(sealed)
        {
            rest = after;
            pieces.push(piece);
        }
        self.pieces = pieces.len();
        if !rest.is_empty() {
            tracing::info!(
                bytes = rest.len(),
                "the end of the sessions for resumption does not open, so it is cut off"
            );
            let whole = &bytes[..bytes.len() - rest.len()];
            if let Err(e) = keep::write_private(&self.path, whole) {
                tracing::warn!(reason = %e, "cannot write sessions for resumption");
            }
        }
        let mut seen = HashSet::new();
        pieces.reverse();
        pieces.retain(|piece| {
            now_s.saturating_sub(piece.unix_s) <= self.limits.age_max_s
                && seen.insert(piece.id.clone())
        });
        pieces.truncate(self.limits.sessions_max);
        pieces.reverse();
        pieces
    }

    fn opened(&self, sealed: &[u8]) -> Option<Piece> {
        let plain = self.seal.open(sealed).ok()?;
        let (unix_s, rest) = plain.split_first_chunk::<8>()?;
        let (id, session) = take(rest)?;
        Some(Piece {
            unix_s: u64::from_be_bytes(*unix_s),
            id: id.to_vec(),
            session: CachedSession::from_bytes(session),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        sessions_max: 4,
        age_max_s: 100,
    };

    fn open(home: &Path, now_s: u64) -> (Resumptions, Vec<u8>) {
        let (resumptions, found) = Resumptions::open(home, &[1; 32], BOUNDS, now_s);
        (
            resumptions,
            found.into_iter().map(|(id, _)| id[0]).collect(),
        )
    }

    fn kept(home: &Path, ids: impl IntoIterator<Item = u8>, at_s: u64) {
        let (resumptions, _) = open(home, at_s);
        for id in ids {
            resumptions.keep(vec![id; 32], CachedSession::from_bytes(&[id; 90]), at_s);
        }
    }

    #[test]
    fn sessions_come_back_until_they_are_too_old() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), [1, 2], 1000);
        kept(dir.path(), [3], 1050);
        assert_eq!(open(dir.path(), 1090).1, [1, 2, 3]);
        assert_eq!(open(dir.path(), 1101).1, [3]);
    }

    #[test]
    fn the_file_is_bounded_and_the_youngest_stay() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), 0..100, 1000);
        assert_eq!(open(dir.path(), 1000).1, [96, 97, 98, 99]);
        let bytes = std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert!(bytes < 9 * 200, "{bytes}");
    }

    #[test]
    fn a_torn_end_is_cut_off_and_the_next_piece_follows_what_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), [1, 2], 1000);
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for cut in (1..whole.len() / 2).step_by(9) {
            keep::write_private(&path, &whole[..whole.len() - cut]).unwrap();
            kept(dir.path(), [3], 1000);
            assert_eq!(open(dir.path(), 1000).1, [1, 3], "cut by {cut}");
        }
    }

    #[test]
    fn a_file_of_another_home_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), [1], 1000);
        let (other, found) = Resumptions::open(dir.path(), &[2; 32], BOUNDS, 1000);
        assert!(found.is_empty());
        drop(other);
        assert_eq!(open(dir.path(), 1000).1, [0; 0]);
    }
}
