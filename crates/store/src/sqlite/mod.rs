//! The contract on SQLite: WAL, `synchronous=FULL`, one writer thread with group commit, readers beside it.

mod access;
mod audit;
mod commands;
mod devices;
mod foreign;
mod lives;
mod migrate;
mod outbox;
mod readers;
mod revoking;
mod rows;
mod rules;
mod teams;
mod writer;

use crate::audit::{AuditEntry, AuditHead, Checkpoint};
use crate::contract::{CommitError, Store, StoreError};
use crate::record::{
    AuditEvent, AuditRecord, ClaimOutcome, Committed, Device, DeviceChange, DevicePage,
    DevicePatch, DeviceQuery, Issued, Loaded, NewClaim, Page, Tombstone, View,
};
use crate::seal::SealKey;
use async_trait::async_trait;
use migrate::MigrateError;
use readers::Readers;
use rows::{damaged, sql};
use rusqlite::{Connection, OpenFlags, Params};
use sectag_keep::{KeepError, Lock};
use sectag_proto::service::Command;
use sectag_proto::{CommandId, DeviceId, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use writer::{Kind, Writer};

/// Jobs in one transaction at most: with more, the first caller would wait longer for the last job's work than for
/// the disk.
pub const BATCH_MAX: usize = 256;

/// A write touches one row in each of a few pages, and each touched page goes to the log whole: 2 KiB are about a tenth
/// faster than the default of 4, and smaller ones split rows that hold a certificate.
const PAGE_BYTES: u32 = 2048;

/// Page cache of the writer. SQLite's default of 2 MiB makes it read back through the log what it wrote a moment ago.
const WRITER_CACHE_KIB: i64 = 64 * 1024;

/// Pages of the write-ahead log after which the writer copies them back into the database (2 KiB each). The log stays
/// at about 16 MiB; the default of 1000 pages would interrupt the writer eight times as often.
const CHECKPOINT_PAGES: u32 = 8000;

/// Of the database, so much is read through the memory map that all readers share: a question to a large fleet touches two
/// or three pages more than one to a small one, and each would be a system call for a reader that has not seen it. SQLite
/// maps no more than this.
const MAPPED_BYTES: i64 = 0x7fff_0000;

/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS: usize = 192;

/// How a store is run. [`Options::default`] is right for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Jobs in one transaction; default [`BATCH_MAX`]. 1 is one commit per write.
    pub batch_max: usize,
    /// Connections for reading; default 4.
    pub readers: usize,
    /// Events kept; default [`EVENTS_MAX`](crate::EVENTS_MAX).
    pub events_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_max: BATCH_MAX,
            readers: 4,
            events_max: crate::EVENTS_MAX,
        }
    }
}

/// The store on one SQLite file, which belongs to this process as long as it lives.
///
/// Dropping the last clone of its `Arc` waits until what was queued is written, and closes the file: milliseconds.
#[derive(Debug)]
pub struct SqliteStore {
    seal: Arc<SealKey>,
    /// `Some` until the drop.
    handles: Option<(Writer, Readers)>,
    newest_event: tokio::sync::watch::Receiver<u64>,
    /// Readers first: the writer, closing last, folds the write-ahead log into the database.
    threads: Vec<JoinHandle<()>>,
    /// Let go after the threads have ended: fields drop after [`Drop::drop`].
    _lock: Lock,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open, or its lock file cannot be written.
    #[error("the database `{}` cannot be used", path.display())]
    Lock {
        /// The database.
        path: PathBuf,
        /// Who has it.
        source: KeepError,
    },
    /// A later version of this program made it.
    #[error("the database `{}` has schema version {found}; this program knows versions up to {known}", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// It is a database, but not one of ours.
    #[error("`{}` is a database of another program", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// Its secrets were sealed under another key.
    #[error("the seal key does not belong to the database `{}`", path.display())]
    WrongSealKey {
        /// The database.
        path: PathBuf,
    },
    /// What is there does not read as it was written.
    #[error("cannot migrate the database `{}`", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The reason.
        source: StoreError,
    },
    /// SQLite could not.
    #[error("cannot {action} the database `{}`", path.display())]
    Sqlite {
        /// "open", "migrate".
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// The reason.
        source: rusqlite::Error,
    },
    /// The operating system could not.
    #[error("cannot {action} for the database `{}`", path.display())]
    Io {
        /// "create the file", "start a thread".
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
}

impl OpenError {
    /// What the user can do, when it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock { source, .. } => source.hint(),
            Self::NewerSchema { .. } => {
                Some("run the newer version of this program, or restore an older backup".into())
            }
            Self::WrongSealKey { .. } => Some(
                "restore the seal key that was kept beside this database when it was made".into(),
            ),
            Self::Foreign { .. } => Some("choose another home with `--home`".into()),
            Self::Damaged { .. } | Self::Sqlite { .. } | Self::Io { .. } => None,
        }
    }
}

impl SqliteStore {
    /// Opens the database at `path`, creates it (mode 0600) if there is none, and brings its schema up to date.
    /// `<path>.lock` keeps other processes out. Blocks while it works.
    ///
    /// # Errors
    /// [`OpenError`]; the database is unchanged then, except for finished steps of a migration.
    pub fn open(path: &Path, seal: SealKey) -> Result<Self, OpenError> {
        Self::open_with(path, seal, Options::default())
    }

    /// [`SqliteStore::open`] with other options.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(path: &Path, seal: SealKey, options: Options) -> Result<Self, OpenError> {
        let lock = sectag_keep::lock(&lock_path(path)).map_err(|source| OpenError::Lock {
            path: path.to_owned(),
            source,
        })?;
        create_private(path).map_err(|source| OpenError::Io {
            action: "create the file",
            path: path.to_owned(),
            source,
        })?;
        let sqlite = |action| {
            move |source| OpenError::Sqlite {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let mut db = writing(path).map_err(sqlite("open"))?;
        migrate::migrate(&mut db).map_err(|e| match e {
            MigrateError::Newer { found, known } => OpenError::NewerSchema {
                path: path.to_owned(),
                found,
                known,
            },
            MigrateError::Foreign => OpenError::Foreign {
                path: path.to_owned(),
            },
            MigrateError::Sqlite(source) => sqlite("migrate")(source),
            MigrateError::Store(source) => OpenError::Damaged {
                path: path.to_owned(),
                source,
            },
        })?;
        if !seal_key_fits(&db, &seal).map_err(sqlite("read"))? {
            return Err(OpenError::WrongSealKey {
                path: path.to_owned(),
            });
        }
        let readers: Vec<Connection> = (0..options.readers.max(1))
            .map(|_| reading(path))
            .collect::<rusqlite::Result<_>>()
            .map_err(sqlite("open"))?;
        let thread = |source| OpenError::Io {
            action: "start a thread",
            path: path.to_owned(),
            source,
        };
        let (readers, mut threads) = readers::start(readers).map_err(thread)?;
        let events =
            outbox::Events::new(&db, options.events_max).map_err(|source| OpenError::Damaged {
                path: path.to_owned(),
                source,
            })?;
        let newest_event = events.newest();
        let (writer, last) = writer::start(db, options.batch_max, events).map_err(thread)?;
        threads.push(last);
        Ok(Self {
            seal: Arc::new(seal),
            handles: Some((writer, readers)),
            newest_event,
            threads,
            _lock: lock,
        })
    }

    async fn write<T, E>(
        &self,
        kind: Kind,
        job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &self.handles {
            Some((writer, _)) => writer.run(kind, job).await,
            None => Err(StoreError::Closed.into()),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.handles {
            Some((_, readers)) => readers.run(question).await,
            None => Err(StoreError::Closed),
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let (mut writer, readers) = self.handles.take().unzip();
        drop(readers);
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        while let Some(thread) = threads.next() {
            if threads.len() == 0 {
                // The writer ends when all readers have closed, or its log would stay beside the database.
                writer = None;
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended by a panic");
            }
        }
        drop(writer);
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn claim(&self, claim: NewClaim) -> Result<ClaimOutcome, StoreError> {
        self.write(Kind::CLAIM, |db| devices::claim(db, claim))
            .await
    }

    async fn would_claim(&self, claim: NewClaim) -> Result<ClaimOutcome, StoreError> {
        self.read(|db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            devices::would_claim(db, claim)
        })
        .await
    }

    async fn unclaim(
        &self,
        device: DeviceId,
        version: u64,
        by: &str,
        at: Timestamp,
    ) -> Result<(), CommitError> {
        let by = by.to_owned();
        let job = move |db: &Connection| devices::unclaim(db, device, version, &by, at);
        self.write(Kind::UNCLAIM, job).await
    }

    async fn tombstone(&self, device: DeviceId) -> Result<Option<Tombstone>, StoreError> {
        self.read(move |db| devices::tombstone(db, device)).await
    }

    async fn device(&self, device: DeviceId) -> Result<Option<Device>, StoreError> {
        self.read(move |db| devices::device(db, device)).await
    }

    async fn devices(&self, query: DeviceQuery) -> Result<DevicePage, StoreError> {
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            devices::page(db, &query)
        })
        .await
    }

    async fn change_device(
        &self,
        device: DeviceId,
        version: u64,
        patch: DevicePatch,
        by: &str,
        at: Timestamp,
    ) -> Result<Device, CommitError> {
        let by = by.to_owned();
        let kind = match patch.blocked {
            Some(_) => Kind::BLOCK,
            None => Kind::TAGS,
        };
        let job = move |db: &Connection| devices::change(db, device, version, patch, &by, at);
        self.write(kind, job).await
    }

    async fn queue(
        &self,
        device: DeviceId,
        named: &[CommandId],
    ) -> Result<Option<Loaded>, StoreError> {
        let (named, seal) = (named.to_vec(), Arc::clone(&self.seal));
        self.read(move |db| commands::queue(db, device, &named, &seal))
            .await
    }

    async fn commit(
        &self,
        device: DeviceId,
        version: u64,
        change: DeviceChange,
    ) -> Result<Committed, CommitError> {
        let prepared = commands::prepare(device, version, change, &self.seal)?;
        let job = move |db: &Connection| commands::commit(db, &prepared);
        self.write(Kind::COMMIT, job).await
    }

    async fn command(
        &self,
        device: DeviceId,
        command: CommandId,
    ) -> Result<Option<Command>, StoreError> {
        self.read(move |db| commands::command(db, device, command))
            .await
    }

    async fn commands(&self, device: DeviceId) -> Result<Vec<Command>, StoreError> {
        self.read(move |db| commands::commands(db, device)).await
    }

    async fn commands_seen(
        &self,
        view: View,
        device: DeviceId,
        only: Option<CommandId>,
    ) -> Result<Option<Vec<Command>>, StoreError> {
        self.read(move |db| commands::seen(db, &view, device, only))
            .await
    }

    async fn issued_by_spki(&self, spki_sha256: [u8; 32]) -> Result<Option<Issued>, StoreError> {
        let sql = sql!("issued_by_spki");
        self.read(move |db| rows::first(db, sql, [&spki_sha256[..]], rows::issued))
            .await
    }

    async fn certificates(&self, device: DeviceId) -> Result<Vec<Issued>, StoreError> {
        let sql = sql!("issued_by_device");
        self.read(move |db| rows::all(db, sql, [device.as_bytes()], rows::issued))
            .await
    }

    async fn record(&self, events: Vec<AuditEvent>) -> Result<(), StoreError> {
        let job =
            move |db: &Connection| events.iter().try_for_each(|event| audit::insert(db, event));
        self.write(Kind::RECORD, job).await
    }

    async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        self.read(audit::head).await
    }

    async fn audit_entries(
        &self,
        after: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |db| audit::entries(db, after, last, limit))
            .await
    }

    async fn add_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let job = move |db: &Connection| audit::add_checkpoint(db, &checkpoint);
        self.write(Kind::CHECKPOINT, job).await
    }

    async fn checkpoints(&self, after: u64, limit: usize) -> Result<Vec<Checkpoint>, StoreError> {
        self.read(move |db| audit::checkpoints(db, after, limit))
            .await
    }

    async fn audit(
        &self,
        device: Option<DeviceId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AuditRecord, u64>, StoreError> {
        self.read(move |db| audit::page(db, device, before, limit))
            .await
    }
}

/// Runs one statement; the number of rows it changed.
fn execute(db: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    let run = || db.prepare_cached(sql)?.execute(params);
    run().map_err(|e| unavailable("write", &e))
}

fn read_error(error: rusqlite::Error) -> StoreError {
    unavailable("read", &error)
}

fn unavailable(action: &'static str, error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable {
        action,
        reason: error.to_string(),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// SQLite would create it readable for everyone; the log and its index take over the mode of the database.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

fn writing(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.pragma_update(None, "page_size", PAGE_BYTES)?; // counts for a new database only
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "secure_delete", "ON")?;
    db.pragma_update(None, "trusted_schema", "OFF")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.pragma_update(None, "trusted_schema", "OFF")?;
    db.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

/// Whether `seal` is the key this database was made with; a new database takes it.
fn seal_key_fits(db: &Connection, seal: &SealKey) -> rusqlite::Result<bool> {
    use rusqlite::OptionalExtension;
    let known = db.query_row(sql!("meta_get"), ["seal-check"], |row| row.get(0));
    if let Some(check) = known.optional()? {
        let check: Vec<u8> = check;
        return Ok(seal.is_key_of(&check));
    }
    let Ok(check) = seal.check() else {
        return Ok(false);
    };
    db.execute(sql!("meta_put"), rusqlite::params!["seal-check", check])?;
    Ok(true)
}

#[cfg(test)]
mod cost;
#[cfg(test)]
#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;
#[cfg(test)]
mod tests;
