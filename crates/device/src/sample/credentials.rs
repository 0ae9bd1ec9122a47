//! Credential files and how they get under the sec tags, before the network is up (spec/mqtt-tls-sample §1.4, §3).
//!
//! ```text
//!   certs/ca-cert.pem      certs/client-cert.pem      certs/private-key.pem       ──► primary tag
//!   certs/ca-cert-2.pem    certs/client-cert-2.pem    certs/private-key-2.pem     ──► secondary tag
//! ```
//!
//! The firmware's sample overwrites all of them at each boot. The normal way here is that of the exercise: look, compare,
//! and write only what is different, so that a hundred boots are one write.

use std::path::{Path, PathBuf};

use sectag_modem::credentials::{Comparison, CredentialStore, StoreError, Written};
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};

use super::events::Step;

/// Largest file that is read: a modem takes 4096 bytes of content, a little room for comments that openssl writes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Order of writing, and file names without `.pem`.
const FILES: [(CredentialType, &str); 3] = [
    (CredentialType::ROOT_CA, "ca-cert"),
    (CredentialType::CLIENT_CERTIFICATE, "client-cert"),
    (CredentialType::CLIENT_PRIVATE_KEY, "private-key"),
];

/// The CA certificate of the exercise, taken where there is no `ca-cert.pem`.
const EXERCISE_CA: &str = "server_certificate.crt";

/// A folder of credential files, and the tags they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where the files are.
    pub path: PathBuf,
    /// For the files without a number.
    pub primary: SecTag,
    /// For the files with `-2`; `None`: they are left alone.
    pub secondary: Option<SecTag>,
}

/// What a folder holds.
#[derive(Debug)]
pub struct Credentials {
    files: Vec<File>,
    unused: Vec<PathBuf>,
}

/// One file of a folder.
#[derive(Debug)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Where it goes.
    pub tag: SecTag,
    /// What it is.
    pub kind: CredentialType,
    content: SecretText,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is none of the files.
    #[error("`{}` holds no credential file", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// One half of a pair.
    #[error("`{}` is there, and `{}` is missing beside it", there.display(), missing.display())]
    Alone {
        /// The file that is there.
        there: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A file with something else in it.
    #[error("`{}` holds no {expected}: {found}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What it does hold.
        found: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Beyond [`FILE_BYTES_MAX`].
    #[error("`{}` has {bytes} bytes; a modem takes 4096", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

impl FolderError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Empty { .. } => format!(
                "the files are called ca-cert.pem, client-cert.pem and private-key.pem, for a secondary tag ca-cert-2.pem and so on; the exercise's {EXERCISE_CA} is taken as CA as well"
            ),
            Self::Alone { there, missing } => format!(
                "for client authentication put `{}` there; without it, take `{}` away",
                missing.display(),
                there.display()
            ),
            Self::Content { .. } => {
                "a certificate begins with -----BEGIN CERTIFICATE-----, a key with -----BEGIN PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----".to_owned()
            }
            Self::Read { .. } => "a credentials folder holds ca-cert.pem, and client-cert.pem with private-key.pem; it and its files must be readable by this user".to_owned(),
            Self::TooLarge { .. } => return None,
        })
    }
}

/// Why provisioning stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The files.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The place where they go.
    #[error("`{}` could not be put under sec tag {tag}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// The tag.
        tag: SecTag,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl ProvisionError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Store { source, .. } => source.hint(),
        }
    }
}

impl Folder {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// [`FolderError`]: one half of a pair, no file at all, or something else in a file.
    pub fn read(&self) -> Result<Credentials, FolderError> {
        std::fs::read_dir(&self.path).map_err(|source| FolderError::Read {
            path: self.path.clone(),
            source,
        })?;
        let mut files = Vec::new();
        let mut unused = Vec::new();
        for (tag, end) in [(Some(self.primary), ""), (self.secondary, "-2")] {
            let path = |name: &str| self.path.join(format!("{name}{end}.pem"));
            for (kind, name) in FILES {
                let mut path = path(name);
                if kind == CredentialType::ROOT_CA && end.is_empty() && !path.exists() {
                    path = self.path.join(EXERCISE_CA);
                }
                match tag {
                    Some(tag) if path.exists() => files.push(File::read(path, tag, kind)?),
                    None if path.exists() => unused.push(path),
                    _ => {}
                }
            }
            let has = |kind| {
                files
                    .iter()
                    .find(|f: &&File| Some(f.tag) == tag && f.kind == kind)
            };
            let certificate = has(CredentialType::CLIENT_CERTIFICATE);
            let key = has(CredentialType::CLIENT_PRIVATE_KEY);
            match (certificate, key) {
                (Some(there), None) => {
                    return Err(alone(there, path("private-key")));
                }
                (None, Some(there)) => {
                    return Err(alone(there, path("client-cert")));
                }
                _ => {}
            }
        }
        if files.is_empty() {
            let path = self.path.clone();
            return Err(FolderError::Empty { path });
        }
        Ok(Credentials { files, unused })
    }
}

fn alone(there: &File, missing: PathBuf) -> FolderError {
    FolderError::Alone {
        there: there.path.clone(),
        missing,
    }
}

impl File {
    fn read(path: PathBuf, tag: SecTag, kind: CredentialType) -> Result<Self, FolderError> {
        let unreadable = |source| FolderError::Read {
            path: path.clone(),
            source,
        };
        let bytes = std::fs::metadata(&path).map_err(unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(FolderError::TooLarge { path, bytes });
        }
        let content = SecretText::new(std::fs::read_to_string(&path).map_err(unreadable)?);
        if let Some((expected, found)) = mismatch(kind, content.expose()) {
            return Err(FolderError::Content {
                path,
                expected,
                found,
            });
        }
        Ok(Self {
            path,
            tag,
            kind,
            content,
        })
    }
}

/// What a text should be and what it is, when that differs.
fn mismatch(kind: CredentialType, text: &str) -> Option<(&'static str, &'static str)> {
    let certificate = text.contains("-----BEGIN CERTIFICATE-----");
    let key = text.contains("PRIVATE KEY-----");
    let found = match (text.trim().is_empty(), certificate, key) {
        (true, ..) => "it is empty",
        (_, true, true) => "it holds a certificate and a private key",
        (_, true, false) => "it holds a certificate",
        (_, false, true) => "it holds a private key",
        (_, false, false) => "it holds no PEM that is known here",
    };
    if kind == CredentialType::CLIENT_PRIVATE_KEY {
        (certificate || !key).then_some(("private key alone", found))
    } else {
        (key || !certificate).then_some(("certificate alone", found))
    }
}

impl Credentials {
    /// The files, in the order of writing.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Files of a secondary tag that was not named.
    pub fn unused(&self) -> &[PathBuf] {
        &self.unused
    }

    /// Private keys among the files: whoever can read the file has the key, which is for tests only.
    pub fn private_keys(&self) -> impl Iterator<Item = &Path> {
        self.files
            .iter()
            .filter(|file| file.kind == CredentialType::CLIENT_PRIVATE_KEY)
            .map(|file| file.path.as_path())
    }

    /// Puts them under their tags, in order, up to the first error: exists, compare, write only what is different. With
    /// `always` each is written, whatever is there. `step` hears about the first CA certificate.
    ///
    /// # Errors
    /// [`ProvisionError::Store`]; what was written before it stays. [`StoreError::Active`] when LTE is on.
    pub fn provision(
        &self,
        store: &mut dyn CredentialStore,
        always: bool,
        step: &mut dyn FnMut(Step),
        done: &mut dyn FnMut(&File, Written),
    ) -> Result<(), ProvisionError> {
        let mut told = false;
        for file in &self.files {
            let first_ca =
                file.kind == CredentialType::ROOT_CA && !std::mem::replace(&mut told, true);
            let written = match (always, first_ca) {
                (true, _) => store
                    .write(file.tag, file.kind, &file.content)
                    .map(|()| Written::Replaced),
                (false, true) => ca(store, file, step),
                (false, false) => store.write_if_different(file.tag, file.kind, &file.content),
            };
            match written {
                Ok(written) => done(file, written),
                Err(source) => {
                    return Err(ProvisionError::Store {
                        path: file.path.clone(),
                        tag: file.tag,
                        source,
                    });
                }
            }
        }
        Ok(())
    }
}

/// `certificate_provision()` of the exercise, step by step.
fn ca(
    store: &mut dyn CredentialStore,
    file: &File,
    step: &mut dyn FnMut(Step),
) -> Result<Written, StoreError> {
    let (tag, kind) = (file.tag, file.kind);
    let exists = store.exists(tag, kind).inspect_err(|error| {
        step(Step::CheckFailed {
            errno: super::errno::of_store(error),
        });
    })?;
    if exists {
        // The firmware takes an error of reading for a mismatch, and so it is: nothing readable is the same.
        let same = matches!(store.cmp(tag, kind, &file.content), Ok(Comparison::Match));
        step(Step::Compared { same });
        if same {
            return Ok(Written::Unchanged);
        }
    }
    step(Step::Writing);
    store.write(tag, kind, &file.content).inspect_err(|error| {
        step(Step::WriteFailed {
            errno: super::errno::of_store(error),
        });
    })?;
    Ok(if exists {
        Written::Replaced
    } else {
        Written::New
    })
}
