//! Credentials in files, for a host without a modem: a folder per tag, keys for our eyes only.
//!
//! ```text
//!  DIR/                     0700
//!    .lock                  held during a change
//!    42/                    0700
//!      root-ca.pem          type 0, 0644
//!      client-cert.pem      type 1, 0644
//!      client.key           type 2, 0600
//!      psk                  type 3, 0600, hexadecimal digits
//!      psk-id               type 4, 0600
//!      endorsement.key      type 8, 0600
//! ```
//!
//! What is in a file is what was written, byte for byte. `sectag_keep` writes: a power cut leaves the old file or the
//! new one. Nothing is cached, so what another process has written is used at the next look. Modes and owners are
//! checked at each look; a key that others may read is refused with the command that repairs it.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sectag_keep::{KeepError, Lock};
use sectag_pki::{PrivateKey, csr, sha256};
use sectag_proto::es256::PublicKey;
use sectag_proto::secret::SecretText;
use sectag_proto::token::KeygenBody;
use sectag_proto::{CredentialType, SecTag};
use zeroize::Zeroizing;

use super::keygen::{KeyMaterial, KeyRequest, checked};
use super::{CredentialStore, Entry, StoreError, at_store};
use crate::certificate::is_pem_chain;
use crate::storage::CONTENT_BYTES_MAX;
use crate::{SignerError, TagSigner};

/// Type, file name, whether it is for our eyes only.
const FILES: [(CredentialType, &str, bool); 6] = [
    (CredentialType::ROOT_CA, "root-ca.pem", false),
    (CredentialType::CLIENT_CERTIFICATE, "client-cert.pem", false),
    (CredentialType::CLIENT_PRIVATE_KEY, "client.key", true),
    (CredentialType::PSK, "psk", true),
    (CredentialType::PSK_IDENTITY, "psk-id", true),
    (
        CredentialType::ENDORSEMENT_PRIVATE_KEY,
        "endorsement.key",
        true,
    ),
];

const LOCK_NAME: &str = ".lock";

/// Tries to get the lock before giving up, and the pause between them: two seconds, far longer than a change takes.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Key usage of a CSR when the request names none: what a modem takes.
const KEY_USAGE_DEFAULT: &str = "111010000";

/// The name of a type's file in a tag's folder; `None` for types that only modems have.
pub fn file_name(kind: CredentialType) -> Option<&'static str> {
    file_of(kind).map(|(name, _)| name)
}

fn file_of(kind: CredentialType) -> Option<(&'static str, bool)> {
    FILES
        .iter()
        .find(|(known, ..)| *known == kind)
        .map(|(_, name, private)| (*name, *private))
}

/// A directory of credentials; clones are the same one.
#[derive(Clone)]
pub struct FileStore {
    dir: Arc<Path>,
}

impl FileStore {
    /// The store in `dir`, which is made if need be.
    ///
    /// # Errors
    /// [`StoreError::Keep`]: not ours, or others may look into it; its hint has the command that repairs it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        sectag_keep::private_dir(dir)?;
        let store = Self { dir: dir.into() };
        // A store whose keys cannot be used says so when it is opened, not when it is needed.
        for tag in store.tags()? {
            store.entries_of(tag, None)?;
        }
        Ok(store)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, tag: SecTag, kind: CredentialType) -> Option<PathBuf> {
        Some(self.dir.join(tag.to_string()).join(file_name(kind)?))
    }

    /// The tags that have a folder, in order of their numbers.
    fn tags(&self) -> Result<Vec<SecTag>, StoreError> {
        let io = |source| {
            StoreError::Keep(KeepError::Io {
                action: "list",
                path: self.dir.to_path_buf(),
                source,
            })
        };
        let mut tags = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            if !entry.path().is_dir() {
                continue;
            }
            let name = entry.file_name();
            let tag = name.to_str().and_then(|name| {
                // `007` is not how a tag is written, so no second folder can mean the same tag.
                let tag: SecTag = name.parse().ok()?;
                (tag.to_string() == name).then_some(tag)
            });
            tags.extend(tag);
        }
        tags.sort_unstable();
        Ok(tags)
    }

    fn entries_of(
        &self,
        tag: SecTag,
        kind: Option<CredentialType>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for (known, ..) in FILES {
            if kind.is_some_and(|kind| kind != known) {
                continue;
            }
            if let Some(content) = self.content(tag, known)? {
                entries.push(Entry {
                    tag: tag.get(),
                    kind: known,
                    digest: Some(sha256(content.as_bytes())),
                });
            }
        }
        Ok(entries)
    }

    /// What is in the file; `None` when there is none.
    fn content(
        &self,
        tag: SecTag,
        kind: CredentialType,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        let Some((name, private)) = file_of(kind) else {
            return Ok(None);
        };
        let folder = self.dir.join(tag.to_string());
        if !folder.exists() {
            return Ok(None);
        }
        sectag_keep::private_dir(&folder)?;
        let path = folder.join(name);
        let bytes = if private {
            sectag_keep::read_private(&path)?
        } else {
            sectag_keep::read_public(&path)?.map(Zeroizing::new)
        };
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return Ok(None);
        };
        self.ours(&path)?;
        std::str::from_utf8(&bytes)
            .map(|text| Some(Zeroizing::new(text.to_owned())))
            .map_err(|_| StoreError::Invalid(format!("`{}` is not text", path.display())))
    }

    /// Whoever owns a file can change it: it must be the owner of the store, or root.
    fn ours(&self, path: &Path) -> Result<(), StoreError> {
        let owner = |path: &Path| {
            std::fs::metadata(path)
                .map(|found| found.uid())
                .map_err(|source| KeepError::Io {
                    action: "look at",
                    path: path.to_owned(),
                    source,
                })
        };
        let (of_file, of_store) = (owner(path)?, owner(&self.dir)?);
        if of_file == of_store || of_file == 0 {
            return Ok(());
        }
        Err(StoreError::Invalid(format!(
            "`{}` belongs to user {of_file}, the store to user {of_store}: run `chown {of_store} '{}'`",
            path.display(),
            path.display()
        )))
    }

    /// Alone with the directory, for as long as a change takes.
    fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.dir.join(LOCK_NAME);
        let mut tries = 0;
        loop {
            match sectag_keep::lock(&path) {
                Err(KeepError::Busy { .. }) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                other => return Ok(other?),
            }
        }
    }

    /// With the lock held.
    fn put(&self, tag: SecTag, kind: CredentialType, content: &str) -> Result<(), StoreError> {
        let (name, private) = file_of(kind).ok_or(StoreError::NoAccess)?;
        let folder = self.dir.join(tag.to_string());
        sectag_keep::private_dir(&folder)?;
        let path = folder.join(name);
        if private {
            sectag_keep::write_private(&path, content.as_bytes())?;
        } else {
            sectag_keep::write_public(&path, content.as_bytes())?;
        }
        Ok(())
    }

    fn client_key(&self, tag: SecTag) -> Result<PrivateKey, SignerError> {
        let pem = self.wanted(tag, CredentialType::CLIENT_PRIVATE_KEY)?;
        PrivateKey::from_pem(&pem).map_err(|_| SignerError::UnusableKey { tag })
    }

    fn wanted(&self, tag: SecTag, kind: CredentialType) -> Result<Zeroizing<String>, SignerError> {
        match self.content(tag, kind) {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(SignerError::Missing {
                tag,
                credential: kind,
            }),
            Err(error) => Err(SignerError::Unreadable {
                tag,
                credential: kind,
                why: match error.hint() {
                    Some(hint) => format!("{error}; {hint}"),
                    None => error.to_string(),
                },
            }),
        }
    }
}

impl CredentialStore for FileStore {
    fn list(
        &mut self,
        tag: Option<SecTag>,
        kind: Option<CredentialType>,
    ) -> Result<Vec<Entry>, StoreError> {
        let tags = match (tag, kind) {
            (None, Some(_)) => return Err(at_store::type_without_tag()),
            (Some(tag), _) => vec![tag],
            (None, None) => self.tags()?,
        };
        let mut entries = Vec::new();
        for tag in tags {
            entries.extend(self.entries_of(tag, kind)?);
        }
        Ok(entries)
    }

    fn write(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        content: &SecretText,
    ) -> Result<(), StoreError> {
        let content = content.expose();
        acceptable(kind, content)?;
        let _lock = self.lock()?;
        self.put(tag, kind, content)
    }

    fn read(&mut self, tag: SecTag, kind: CredentialType) -> Result<String, StoreError> {
        match kind {
            CredentialType::ROOT_CA
            | CredentialType::CLIENT_CERTIFICATE
            | CredentialType::PSK_IDENTITY => self
                .content(tag, kind)?
                .map(|content| content.as_str().to_owned())
                .ok_or(StoreError::NotFound),
            CredentialType::OWNERSHIP_PUBLIC_KEY => Err(StoreError::NotFound),
            _ => Err(StoreError::NoAccess),
        }
    }

    fn delete(&mut self, tag: SecTag, kind: CredentialType) -> Result<(), StoreError> {
        let path = self.path(tag, kind).ok_or(StoreError::NotFound)?;
        let _lock = self.lock()?;
        if !sectag_keep::remove(&path)? {
            return Err(StoreError::NotFound);
        }
        // The folder of an empty tag goes too; one that holds something stays.
        let _ = std::fs::remove_dir(self.dir.join(tag.to_string()));
        Ok(())
    }

    /// A P-256 key. A CSR needs attributes: a directory has no device UUID that could be its subject.
    fn keygen(&mut self, request: &KeyRequest<'_>) -> Result<KeyMaterial, StoreError> {
        checked(request)?;
        let attributes = match (request.body, request.attributes) {
            (KeygenBody::PublicKey, _) => Vec::new(),
            (KeygenBody::Csr, None | Some("")) => {
                return Err(StoreError::Invalid(
                    "files have no device UUID for the subject of a CSR: give attributes, for example `CN=dev-1`"
                        .to_owned(),
                ));
            }
            (KeygenBody::Csr, Some(text)) => csr::attributes(text).map_err(invalid)?,
        };
        let _lock = self.lock()?;
        let there = self.content(request.tag, request.kind)?;
        let (key, new) = match &there {
            Some(pem) if request.kind == CredentialType::ENDORSEMENT_PRIVATE_KEY => {
                (PrivateKey::from_pem(pem).map_err(invalid)?, false)
            }
            Some(_) => return Err(StoreError::Exists),
            None => (PrivateKey::generate().map_err(invalid)?, true),
        };
        let der = match request.body {
            KeygenBody::PublicKey => key.spki_der().to_vec(),
            KeygenBody::Csr => csr::build(
                &csr::Request {
                    attributes: &attributes,
                    key_usage_bits: request.key_usage.unwrap_or(KEY_USAGE_DEFAULT),
                    null_parameters: false,
                },
                &key.spki_der(),
                |info| key.sign(info).map_err(|_| csr::CsrError::Signature),
            )
            .map_err(invalid)?,
        };
        // Stored before anything about it is told, and only when there is something to tell.
        if new {
            self.put(request.tag, request.kind, &key.to_pem())?;
        }
        Ok(KeyMaterial {
            kind: request.body,
            der,
            cose: None,
            raw: None,
        })
    }
}

/// What a modem refuses is refused here too, so that a tag means the same in both.
fn acceptable(kind: CredentialType, content: &str) -> Result<(), StoreError> {
    if content.is_empty() {
        return Err(at_store::nothing());
    }
    if content.len() > CONTENT_BYTES_MAX {
        return Err(StoreError::Invalid(format!(
            "{} bytes are more than the {CONTENT_BYTES_MAX} of one entry",
            content.len()
        )));
    }
    match kind {
        CredentialType::ROOT_CA | CredentialType::CLIENT_CERTIFICATE if !is_pem_chain(content) => {
            Err(StoreError::Content)
        }
        CredentialType::PSK
            if !(content.len().is_multiple_of(2)
                && content.bytes().all(|b| b.is_ascii_hexdigit())) =>
        {
            Err(StoreError::Invalid(
                "a PSK is an even number of hexadecimal digits".to_owned(),
            ))
        }
        CredentialType::ENDORSEMENT_PRIVATE_KEY => Err(StoreError::NoAccess),
        _ if file_name(kind).is_none() => Err(StoreError::NoAccess),
        _ => Ok(()),
    }
}

fn invalid(error: impl fmt::Display) -> StoreError {
    StoreError::Invalid(error.to_string())
}

impl TagSigner for FileStore {
    fn sign(&self, tag: SecTag, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.client_key(tag)?
            .sign(message)
            .map_err(|_| SignerError::UnusableKey { tag })
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        PublicKey::from_spki_der(&self.client_key(tag)?.spki_der())
            .map_err(|_| SignerError::UnusableKey { tag })
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        self.wanted(tag, CredentialType::CLIENT_CERTIFICATE)
            .map(|pem| pem.as_str().to_owned())
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        self.wanted(tag, CredentialType::ROOT_CA)
            .map(|pem| pem.as_str().to_owned())
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileStore({})", self.dir.display())
    }
}
