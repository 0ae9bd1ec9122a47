//! Who signs the audit trail: a key outside of the database, at each start, every so many entries, and at the end.
//!
//! ```text
//!   store: entries, chained ──► head ──► Keeper: (number, hash, time) signed ──► database
//!                                                                           └──► audit.checkpoints, a line each
//! ```
//! So whoever can write to the database only can neither change what was signed nor cut it off without a trace
//! (docs/reference/audit.md).

use crate::app::Clock;
use crate::error::StartError;
use crate::home::Home;
use sectag_keep::{self as keep, crash};
use sectag_pki::{PrivateKey, pem};
use sectag_proto::es256::PublicKey;
use sectag_store::audit::{CHECKPOINT_EVERY, Checkpoint, verify_tail};
use sectag_store::{AuditEvent, SqliteStore, Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// How often the end of the trail is looked at: one read of one row.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Holds the key and signs.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: Arc<SqliteStore>,
    key: PrivateKey,
    file: PathBuf,
    clock: Silent,
    /// The newest entry that is signed.
    signed: u64,
}

/// A clock that says nothing about itself.
struct Silent(Clock);

impl std::fmt::Debug for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Keeper {
    /// Reads or makes `audit.key`, looks whether the trail is the one that was signed, and signs its end.
    pub(crate) async fn open(
        home: &Home,
        store: Arc<SqliteStore>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let key = key(home.path())?;
        let file = home.path().join("audit.checkpoints");
        let wrong = |source| StartError::Home {
            home: home.path().to_owned(),
            source,
        };
        let text = keep::read_private(&file).map_err(wrong)?;
        let text =
            String::from_utf8_lossy(text.as_ref().map_or(&[], |text| &text[..])).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            // A line that a crash cut off: the next one shall begin on its own.
            keep::append_private(&file, b"\n").map_err(wrong)?;
        }
        let newest = text
            .lines()
            .filter_map(Checkpoint::parse)
            .max_by_key(|checkpoint| checkpoint.number);
        let mut keeper = Self {
            store,
            key,
            file,
            clock: Silent(clock),
            signed: newest.as_ref().map_or(0, |newest| newest.number),
        };
        let looked = keeper.look(newest.as_ref()).await;
        looked.map_err(|source| StartError::Store {
            path: home.database(),
            source,
        })?;
        Ok(keeper)
    }

    /// Who signs, as PEM.
    pub(crate) fn public_key_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.key.spki_der())
    }

    /// Signs every [`CHECKPOINT_EVERY`] entries until the service ends; gives itself back for the last signature.
    pub(crate) async fn run(mut self, mut stopped: watch::Receiver<bool>) -> Self {
        loop {
            tokio::select! {
                _ = stopped.changed() => return self,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.store.audit_head().await {
                Ok(head) if head.number >= self.signed + CHECKPOINT_EVERY => self.sign().await,
                Ok(_) => {}
                Err(reason) => tracing::warn!(%reason, "the audit trail cannot be read"),
            }
        }
    }

    /// Signs the end of the trail, if it is not signed yet. What fails is a warning: the chain is there, and the next
    /// signature covers it.
    pub(crate) async fn sign(&mut self) {
        if let Err(reason) = self.try_sign().await {
            tracing::warn!(%reason, "no checkpoint of the audit trail");
        }
    }

    async fn try_sign(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let head = self.store.audit_head().await?;
        if head.number <= self.signed {
            return Ok(());
        }
        let at = (self.clock.0)().0;
        let message = Checkpoint::message(head.number, &head.hash, at);
        let checkpoint = Checkpoint {
            number: head.number,
            hash: head.hash,
            at,
            signature: self.key.sign_der(message.as_bytes())?,
        };
        crash::point("audit.checkpoint.before-file");
        // The file first: it is what remains when the database is cut.
        let line = checkpoint.line() + "\n";
        keep::append_private(&self.file, line.as_bytes())?;
        std::fs::File::open(&self.file)?.sync_all()?;
        crash::point("audit.checkpoint.after-file");
        self.store.add_checkpoint(checkpoint).await?;
        crash::point("audit.checkpoint.after-store");
        self.signed = head.number;
        Ok(())
    }

    /// Looks at what came after the newest signature; an entry of the trail tells when it does not continue what was signed.
    async fn look(&mut self, newest: Option<&Checkpoint>) -> Result<(), StoreError> {
        let head = self.store.audit_head().await?;
        let from = newest.map_or(0, |newest| newest.number);
        let tail = self
            .store
            .audit_entries(
                from.saturating_sub(1),
                head.number,
                sectag_store::PAGE_ROWS_MAX,
            )
            .await?;
        let ours = PublicKey::from_spki_der(&self.key.spki_der()).ok();
        let signed = newest.is_none_or(|newest| ours.is_some_and(|key| newest.is_signed_by(&key)));
        if signed && verify_tail(&tail, newest) {
            self.sign().await;
            return Ok(());
        }
        let detail = format!(
            "the audit trail does not continue what was signed at entry {from}; `sectag audit verify` tells more"
        );
        tracing::warn!(%detail, "audit alarm");
        let alarm = AuditEvent::new((self.clock.0)(), "service", "audit-alarm").detail(detail);
        self.store.record(vec![alarm]).await
    }
}

fn key(home: &Path) -> Result<PrivateKey, StartError> {
    let path = home.join("audit.key");
    let wrong = |source| StartError::Home {
        home: home.to_owned(),
        source,
    };
    let broken = |source| StartError::Pki {
        what: path.display().to_string(),
        source,
    };
    if let Some(bytes) = keep::read_private(&path).map_err(wrong)? {
        let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
        return PrivateKey::from_pem(&text).map_err(broken);
    }
    let key = PrivateKey::generate().map_err(broken)?;
    keep::write_private(&path, key.to_pem().as_bytes()).map_err(wrong)?;
    Ok(key)
}
