//! What an interrupted `apply` leaves behind, so that the next one can go back or finish.
//!
//! ```text
//!   <home>/mosquitto/journal.json    files with what was there before; how far it came
//!   <home>/mosquitto/previous/N      their content, for our eyes only
//! ```

use std::path::{Path, PathBuf};

use sectag_keep::KeepError;
use serde_json::{Value, json};

const FORMAT: u64 = 1;

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Files are being changed; the broker knows nothing.
    Files,
    /// The broker was, or is about to be, told.
    Told,
    /// The new files are proved and stay.
    Decided,
}

/// One file that is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub path: PathBuf,
    /// What was there; `None`: nothing.
    pub previous: Option<Previous>,
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Where its content is kept.
    pub copy: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// How far.
    pub phase: Phase,
    /// Files, in the order of change.
    pub entries: Vec<Entry>,
    /// A reload is enough to take the old files again; else a restart.
    pub reload: bool,
    /// What is on record when it is done.
    pub record: Option<Value>,
}

/// Why there is no journal to read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Its content.
    #[error("`{}` is not a journal of this version of Sectag", .0.display())]
    Unknown(PathBuf),
}

impl Journal {
    /// Reads it; `None` when nothing was interrupted.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn read(path: &Path) -> Result<Option<Self>, JournalError> {
        let Some(bytes) = sectag_keep::read_private(path)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .ok()
            .as_ref()
            .and_then(Self::of)
            .map(Some)
            .ok_or_else(|| JournalError::Unknown(path.to_owned()))
    }

    /// Writes it durably.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn write(&self, path: &Path) -> Result<(), KeepError> {
        sectag_keep::write_private(path, format!("{:#}\n", self.value()).as_bytes())
    }

    fn value(&self) -> Value {
        let entries: Vec<Value> = self
            .entries
            .iter()
            .map(|entry| {
                let previous = entry.previous.as_ref().map(|previous| {
                    json!({
                        "copy": previous.copy,
                        "mode": previous.mode,
                        "uid": previous.uid,
                        "gid": previous.gid,
                    })
                });
                json!({ "path": entry.path, "previous": previous })
            })
            .collect();
        json!({
            "format": FORMAT,
            "phase": self.phase.word(),
            "reload": self.reload,
            "files": entries,
            "record": self.record,
        })
    }

    fn of(value: &Value) -> Option<Self> {
        let entry = |value: &Value| {
            let path = |value: &Value| Some(PathBuf::from(value.as_str()?));
            let previous = match &value["previous"] {
                Value::Null => None,
                found => Some(Previous {
                    copy: path(&found["copy"])?,
                    mode: u32::try_from(found["mode"].as_u64()?).ok()?,
                    uid: u32::try_from(found["uid"].as_u64()?).ok()?,
                    gid: u32::try_from(found["gid"].as_u64()?).ok()?,
                }),
            };
            Some(Entry {
                path: path(&value["path"])?,
                previous,
            })
        };
        (value["format"].as_u64()? == FORMAT).then_some(())?;
        Some(Self {
            phase: Phase::of(value["phase"].as_str()?)?,
            entries: value["files"]
                .as_array()?
                .iter()
                .map(entry)
                .collect::<Option<_>>()?,
            reload: value["reload"].as_bool()?,
            record: (!value["record"].is_null()).then(|| value["record"].clone()),
        })
    }
}

impl Phase {
    const fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Told => "told",
            Self::Decided => "decided",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Files, Self::Told, Self::Decided]
            .into_iter()
            .find(|phase| phase.word() == word)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("journal.json");
        assert_eq!(Journal::read(&path).unwrap(), None);
        let journal = Journal {
            phase: Phase::Told,
            entries: vec![
                Entry {
                    path: "/etc/mosquitto/sectag/server.key".into(),
                    previous: Some(Previous {
                        copy: "/h/mosquitto/previous/0".into(),
                        mode: 0o400,
                        uid: 107,
                        gid: 115,
                    }),
                },
                Entry {
                    path: "/etc/mosquitto/mosquitto.conf".into(),
                    previous: None,
                },
            ],
            reload: false,
            record: Some(json!({ "at": 1 })),
        };
        journal.write(&path).unwrap();
        assert_eq!(Journal::read(&path).unwrap(), Some(journal));
        sectag_keep::write_private(&path, b"{\"format\":2}").unwrap();
        assert!(Journal::read(&path).is_err());
    }
}
