//! Credentials by (sec tag, type), wherever they live: behind AT commands ([`AtStore`]) or in files ([`FileStore`]).
//! The results are those of `modem_key_mgmt` (spec/modem-at §10).
//!
//! ```text
//!  write_if_different     exists? (list) ──no──► write ──► New
//!                            │ yes
//!                         cmp (read; by digest where reading is refused)
//!                            ├─ match ────► nothing is written ──► Unchanged: no wear on the flash
//!                            └─ mismatch ─► write ──► Replaced
//! ```
//!
//! It refuses to write while LTE is active, as the modem does; [`AtStore::offline`] goes offline for exactly as long as
//! a change needs it, and back in every case.

mod ask;
mod at_store;
mod compare;
mod error;
mod file_store;
mod keygen;
mod manifest;
mod names;
mod offline;
mod plan;

pub use ask::{attest, firmware, imei, model};
pub use at_store::AtStore;
pub use error::StoreError;
pub use file_store::{FileStore, file_name};
pub use keygen::{KeyMaterial, KeyRequest, keygen};
pub use manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError, Set, TagFiles, type_of_file};
pub use names::{type_from_text, type_name};
pub use plan::{Action, Plan, PlanError, Step, Wanted};

use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Above the users' tags for the modem's own.
    pub tag: u32,
    /// What it is.
    pub kind: CredentialType,
    /// SHA-256 over the stored bytes; `None` when the store does not say.
    pub digest: Option<[u8; 32]>,
}

/// What `cmp` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same bytes, one trailing line feed aside.
    Match,
    /// Other bytes.
    Mismatch,
}

impl Comparison {
    const fn of(same: bool) -> Self {
        if same { Self::Match } else { Self::Mismatch }
    }
}

/// What `write_if_different` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing was there.
    New,
    /// It replaced something else.
    Replaced,
    /// It was there; nothing was written.
    Unchanged,
}

/// Where credentials live.
pub trait CredentialStore {
    /// Entries in the store's order, all, of one tag, or of one type of a tag.
    ///
    /// # Errors
    /// [`StoreError`]
    fn list(
        &mut self,
        tag: Option<SecTag>,
        kind: Option<CredentialType>,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Overwrites; content must not be empty.
    ///
    /// # Errors
    /// [`StoreError`]
    fn write(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        content: &SecretText,
    ) -> Result<(), StoreError>;

    /// The content as it was written.
    ///
    /// # Errors
    /// [`StoreError::NoAccess`] for keys, [`StoreError::NotFound`]
    fn read(&mut self, tag: SecTag, kind: CredentialType) -> Result<String, StoreError>;

    /// Removes one entry.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]
    fn delete(&mut self, tag: SecTag, kind: CredentialType) -> Result<(), StoreError>;

    /// Makes a key where it stays. An endorsement key that is there answers again.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the tag has a client key, [`StoreError::Invalid`] for another type.
    fn keygen(&mut self, request: &KeyRequest<'_>) -> Result<KeyMaterial, StoreError>;

    /// Whether something is there.
    ///
    /// # Errors
    /// [`StoreError`]
    fn exists(&mut self, tag: SecTag, kind: CredentialType) -> Result<bool, StoreError> {
        Ok(!self.list(Some(tag), Some(kind))?.is_empty())
    }

    /// SHA-256 over the stored bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]
    fn digest(&mut self, tag: SecTag, kind: CredentialType) -> Result<[u8; 32], StoreError> {
        self.list(Some(tag), Some(kind))?
            .into_iter()
            .find_map(|entry| entry.digest)
            .ok_or(StoreError::NotFound)
    }

    /// Compares by content, one trailing line feed ignored on either side. Over a way that changes line ends
    /// ([`CredentialStore::alters_line_ends`]) what arrives when `content` is written matches as well.
    ///
    /// # Errors
    /// [`StoreError::NoAccess`] for types 2 and 3, which are never read; see [`CredentialStore::cmp_digest`].
    fn cmp(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        content: &SecretText,
    ) -> Result<Comparison, StoreError> {
        if matches!(
            kind,
            CredentialType::CLIENT_PRIVATE_KEY | CredentialType::PSK
        ) {
            return Err(StoreError::NoAccess);
        }
        let stored = self.read(tag, kind)?;
        Ok(Comparison::of(compare::same(
            &stored,
            content.expose(),
            self.alters_line_ends(),
        )))
    }

    /// Compares by the digest in the list: for what cannot be read.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when the store lists no digests.
    fn cmp_digest(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        content: &SecretText,
    ) -> Result<Comparison, StoreError> {
        let digest = self.digest(tag, kind)?;
        Ok(Comparison::of(self.same_digest(&digest, content)))
    }

    /// Whether a digest is that of `content`, as it is or as it arrives.
    fn same_digest(&self, digest: &[u8; 32], content: &SecretText) -> bool {
        compare::same_digest(digest, content.expose(), self.alters_line_ends())
    }

    /// The normal way in: exists, compare (by digest where reading is refused), write only if different.
    ///
    /// # Errors
    /// [`StoreError`]
    fn write_if_different(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        content: &SecretText,
    ) -> Result<Written, StoreError> {
        if content.expose().is_empty() {
            return Err(at_store::nothing());
        }
        let Some(entry) = self.list(Some(tag), Some(kind))?.into_iter().next() else {
            self.write(tag, kind, content)?;
            return Ok(Written::New);
        };
        let same = match self.cmp(tag, kind, content) {
            Ok(comparison) => comparison == Comparison::Match,
            Err(StoreError::NoAccess | StoreError::TooLong) => entry
                .digest
                .is_some_and(|digest| self.same_digest(&digest, content)),
            Err(error) => return Err(error),
        };
        if same {
            return Ok(Written::Unchanged);
        }
        self.write(tag, kind, content)?;
        Ok(Written::Replaced)
    }

    /// Deletes every entry of the tag; how many.
    ///
    /// # Errors
    /// [`StoreError`]; entries before the one that failed are gone.
    fn clear(&mut self, tag: SecTag) -> Result<usize, StoreError> {
        let entries = self.list(Some(tag), None)?;
        for entry in &entries {
            self.delete(tag, entry.kind)?;
        }
        Ok(entries.len())
    }

    /// Whether the way to the store changes line ends, as a shell does.
    fn alters_line_ends(&self) -> bool {
        false
    }
}
