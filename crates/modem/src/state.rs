//! What survives a restart: identity and credentials, in one private file.

use std::path::{Path, PathBuf};

use sectag_keep::{KeepError, Lock};
use sectag_proto::token::DeviceType;
use sectag_proto::{CredentialType, DeviceId, FirmwareId};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::key::PrivateKey;
use crate::storage::{Room, Storage};
use crate::{Identity, IdentityError};

/// The layout this version writes and reads.
const VERSION: u32 = 1;
const FILE_NAME: &str = "modem.json";
const LOCK_NAME: &str = "modem.lock";

/// Why a modem's directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system said no, a file is open to others, or another process holds the directory.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The state file is there and does not make sense.
    #[error(
        "`{}` is not the state of a virtual modem ({reason}); restore it from a backup, or remove it to begin with a new device",
        path.display()
    )]
    Corrupt {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it, without its content.
        reason: String,
    },
    /// The state file was written by a version that knows more.
    #[error("`{}` has layout version {found}; this program reads version {VERSION}: use the version that wrote it", path.display())]
    Version {
        /// The state file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// The directory holds another device than the one asked for.
    #[error("`{}` holds a device whose {what} is {found}, not {wanted}", path.display())]
    OtherDevice {
        /// The directory.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The file with the identity asked for.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The randomness given yields no key.
    #[error("the source of randomness yields no usable key, so no device identity was made")]
    Randomness,
}

impl OpenError {
    /// What the user can do, when the sentence does not say it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Keep(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::OtherDevice { .. } => {
                Some("choose another directory, or leave the identity away".to_owned())
            }
            _ => None,
        }
    }
}

/// What can be told about a modem's state from outside; nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The device.
    pub device: DeviceId,
    /// Its IMEI.
    pub imei: String,
    /// Its firmware.
    pub firmware_name: String,
    /// Changes of the credential storage over the modem's whole life.
    pub flash_writes: u64,
    /// Tag, type and content length in bytes of each entry.
    pub entries: Vec<(u32, CredentialType, usize)>,
}

/// Looks at the modem whose state is in `dir`, also while another process holds it; `None` when there is none.
///
/// # Errors
/// [`OpenError`]: not readable, not private, or not a modem state.
pub fn inspect(dir: &Path) -> Result<Option<Inspection>, OpenError> {
    let path = dir.join(FILE_NAME);
    let Some(bytes) = sectag_keep::read_private(&path)? else {
        return Ok(None);
    };
    let saved = parse(&path, &bytes)?;
    Ok(Some(Inspection {
        device: saved.identity.device,
        imei: saved.identity.imei,
        firmware_name: saved.identity.firmware_name,
        flash_writes: saved.flash_writes,
        entries: saved
            .storage
            .entries()
            .map(|((tag, kind), content)| (tag, kind, content.len()))
            .collect(),
    }))
}

/// The file and the lock that keeps other processes from it.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    _lock: Lock,
}

/// What was in the file.
pub(crate) struct Saved {
    pub(crate) identity: Identity,
    pub(crate) storage: Storage,
    pub(crate) flash_writes: u64,
}

impl StateFile {
    /// Makes the directory if need be, locks it and reads what is there.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Option<Saved>), OpenError> {
        sectag_keep::private_dir(dir)?;
        let lock = sectag_keep::lock(&dir.join(LOCK_NAME))?;
        let path = dir.join(FILE_NAME);
        let saved = sectag_keep::read_private(&path)?
            .map(|bytes| parse(&path, &bytes))
            .transpose()?;
        Ok((Self { path, _lock: lock }, saved))
    }

    /// Replaces the file.
    pub(crate) fn save(
        &self,
        identity: &Identity,
        storage: &Storage,
        flash_writes: u64,
    ) -> Result<(), KeepError> {
        sectag_keep::write_private(&self.path, &print(identity, storage, flash_writes))
    }
}

#[derive(Serialize, Deserialize)]
struct Layout<'a> {
    version: u32,
    device: DeviceId,
    device_type: u32,
    firmware: FirmwareId,
    firmware_name: String,
    imei: String,
    flash_writes: u64,
    identity_key: SecretField<'a>,
    entries: Vec<EntryLayout<'a>>,
}

#[derive(Serialize, Deserialize)]
struct EntryLayout<'a> {
    tag: u32,
    #[serde(rename = "type")]
    kind: CredentialType,
    content: SecretField<'a>,
}

/// Borrowed when written; owned and forgotten on drop when read.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct SecretField<'a>(std::borrow::Cow<'a, str>);

impl Drop for SecretField<'_> {
    fn drop(&mut self) {
        if let std::borrow::Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

#[derive(Deserialize)]
struct OnlyVersion {
    version: u32,
}

fn print(identity: &Identity, storage: &Storage, flash_writes: u64) -> Zeroizing<Vec<u8>> {
    let key = identity
        .key
        .to_pem()
        .expect("a P-256 key always fits PKCS#8");
    let layout = Layout {
        version: VERSION,
        device: identity.device,
        device_type: identity.device_type.0,
        firmware: identity.firmware,
        firmware_name: identity.firmware_name.clone(),
        imei: identity.imei.clone(),
        flash_writes,
        identity_key: SecretField(key.as_str().into()),
        entries: storage
            .entries()
            .map(|((tag, kind), content)| EntryLayout {
                tag,
                kind,
                content: SecretField(content.into()),
            })
            .collect(),
    };
    // Escapes at most double a PEM; room for all at once leaves no copies behind in freed memory.
    let room = storage.entries().map(|(_, content)| 2 * content.len() + 64);
    let mut bytes = Zeroizing::new(Vec::with_capacity(2048 + room.sum::<usize>()));
    serde_json::to_writer(&mut *bytes, &layout)
        .expect("text, numbers and lists go into JSON, and memory takes it");
    bytes
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Saved, OpenError> {
    let corrupt = |reason: &str| OpenError::Corrupt {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    // Where and what kind, but never the text of the parser: it can quote content.
    let broken = |error: serde_json::Error| {
        corrupt(&format!(
            "{} at line {} column {}",
            match error.classify() {
                serde_json::error::Category::Eof => "cut short",
                serde_json::error::Category::Data => "a field is missing or has the wrong form",
                _ => "not JSON",
            },
            error.line(),
            error.column()
        ))
    };
    let OnlyVersion { version } = serde_json::from_slice(bytes).map_err(broken)?;
    if version != VERSION {
        return Err(OpenError::Version {
            path: path.to_owned(),
            found: version,
        });
    }
    let layout: Layout<'_> = serde_json::from_slice(bytes).map_err(broken)?;
    let key = PrivateKey::from_pem(&layout.identity_key.0)
        .ok_or_else(|| corrupt("the identity key is not a P-256 private key"))?;
    let mut storage = Storage::default();
    for entry in &layout.entries {
        storage
            .write((entry.tag, entry.kind), &entry.content.0, Room::ENDLESS)
            .map_err(|_| corrupt("too many entries"))?;
    }
    Ok(Saved {
        identity: Identity {
            device: layout.device,
            device_type: DeviceType(layout.device_type),
            firmware: layout.firmware,
            firmware_name: layout.firmware_name,
            imei: layout.imei,
            key,
        },
        storage,
        flash_writes: layout.flash_writes,
    })
}
