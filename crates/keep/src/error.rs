//! What can go wrong with a file, in words that name the file.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be kept or loaded. The sentence has the facts, [`KeepError::hint`] what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The operating system said no; the reason is the source.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as an infinitive: "write", "rename to".
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// A private file or directory that its group or everyone may open.
    #[error("`{}` is private, but others may open it (mode {mode:04o})", path.display())]
    NotPrivate {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The mode it should have.
        expected: u32,
    },
    /// A symbolic link that another user could point elsewhere.
    #[error("`{}` is a symbolic link that belongs to user {owner}", path.display())]
    ForeignLink {
        /// The link.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
    },
    /// Something that is there, but is not what it should be (a directory where a file belongs, or the reverse).
    #[error("`{}` is not a {expected}", path.display())]
    WrongKind {
        /// What was found.
        path: PathBuf,
        /// "regular file" or "directory".
        expected: &'static str,
    },
    /// A file beyond [`crate::FILE_BYTES_MAX`].
    #[error("`{}` has {bytes} bytes, more than the {max} that are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// One half of a pair is there, the other is not, and no interrupted write explains it.
    #[error("`{}` is there, but `{}`, which belongs to it, is missing", present.display(), missing.display())]
    HalfPair {
        /// The half that exists.
        present: PathBuf,
        /// The half that does not.
        missing: PathBuf,
    },
    /// Another process holds the lock.
    #[error("`{}` is locked by {}", path.display(), holder(*pid))]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Process id of the holder, as it wrote it; `None` when the file does not say.
        pid: Option<u32>,
    },
    /// A path without a file name, such as `/` or `..`.
    #[error("`{}` does not name a file", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
}

impl KeepError {
    /// What the user can do, when it is known. Printed after the error and its causes, as `hint: …`.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!(
                    "run as the user that owns `{}`, or give this user access to it",
                    path.display()
                ))
            }
            Self::Io { path, source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(format!(
                    "free some space on the file system of `{}`; nothing was changed",
                    path.display()
                ))
            }
            Self::NotPrivate { path, expected, .. } => {
                Some(format!("run `chmod {expected:o} '{}'`", path.display()))
            }
            Self::ForeignLink { path, .. } => Some(format!(
                "replace `{}` by the file itself, or by a link of your own",
                path.display()
            )),
            Self::HalfPair { present, missing } => Some(format!(
                "restore `{}` from a backup, or remove `{}` to begin anew",
                missing.display(),
                present.display()
            )),
            Self::Busy { pid: Some(pid), .. } => Some(format!(
                "stop process {pid} first, or choose another home with `--home`"
            )),
            Self::Busy { pid: None, .. } => Some("stop the other process first".to_owned()),
            _ => None,
        }
    }

    /// For `map_err`: attaches what was tried, and on what, to an operating system error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}
