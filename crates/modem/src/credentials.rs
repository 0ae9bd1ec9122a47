//! Credentials by (sec tag, type), wherever they live: behind AT commands or in files. The results are those of
//! `modem_key_mgmt` (spec/modem-at §10).

use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};

use crate::LineError;

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

/// Why a credential operation failed, with the errno of `modem_key_mgmt`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// `-ENOENT` (513).
    #[error("not found (-ENOENT, CME 513)")]
    NotFound,
    /// `-EACCES` (514): this type cannot be read or compared.
    #[error("no access to this type (-EACCES, CME 514)")]
    NoAccess,
    /// `-ENOMEM` (515).
    #[error("the storage is full (-ENOMEM, CME 515)")]
    Full,
    /// `-EPERM` (518): LTE is active.
    #[error("not allowed while LTE is active (-EPERM, CME 518)")]
    Active,
    /// `-EALREADY` (519).
    #[error("already exists (-EALREADY, CME 519)")]
    Exists,
    /// `-ECANCELED` (528).
    #[error("the power-off warning is active (-ECANCELED, CME 528)")]
    PowerOff,
    /// `-EINVAL`: nothing to write, or a text that cannot travel.
    #[error("invalid: {0} (-EINVAL)")]
    Invalid(String),
    /// Any other answer, with the modem's words.
    #[error("the modem answered `{0}`")]
    Unexpected(String),
    /// No answer.
    #[error("no answer")]
    Line(#[from] LineError),
    /// The files' part.
    #[error(transparent)]
    Keep(#[from] sectag_keep::KeepError),
}

impl StoreError {
    /// The negative errno, e.g. `-ENOENT`.
    pub fn errno(&self) -> &'static str {
        todo!()
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        todo!()
    }
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
        let _ = (tag, kind);
        todo!()
    }

    /// Compares by content, one trailing line feed ignored on either side.
    ///
    /// # Errors
    /// [`StoreError::NoAccess`] for types 2 and 3
    fn cmp(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        content: &SecretText,
    ) -> Result<Comparison, StoreError> {
        let _ = (tag, kind, content);
        todo!()
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
        let _ = (tag, kind, content);
        todo!()
    }

    /// Deletes every entry of the tag; how many.
    ///
    /// # Errors
    /// [`StoreError`]
    fn clear(&mut self, tag: SecTag) -> Result<usize, StoreError> {
        let _ = tag;
        todo!()
    }
}
