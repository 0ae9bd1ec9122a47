//! What is done, kept beside the input: small, replaced atomically after each call; and the rows that were refused.

use crate::fault::{Fault, Outcome};
use sectag_keep as keep;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How far an input is claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Bytes of the input whose answers are known, and their SHA-256.
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    /// Rows in them.
    pub(super) rows: u64,
    pub(super) claimed: u64,
    pub(super) failed: u64,
    /// Bytes of the file of refused rows that belong to them.
    pub(super) failed_bytes: u64,
}

/// The journal of one input.
pub(super) struct Journal {
    /// Stdin has none.
    path: Option<PathBuf>,
    found: Option<Done>,
    failed: Failed,
}

/// Where refused rows go: a file, made with the first of them; or stdout, for an input without a name.
struct Failed {
    path: Option<PathBuf>,
    file: Option<File>,
}

const VERSION: u64 = 1;

impl Journal {
    /// Looks for what an earlier run left.
    pub(super) fn open(input: &Path, failed: Option<PathBuf>) -> Outcome<Self> {
        let beside = |end: &str| {
            let mut name = input.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let is_file = input != Path::new("-");
        if let Some(failed) = failed.as_deref().filter(|failed| is_same(input, failed)) {
            return Err(Fault::untried(format!(
                "`{}` is the file of the rows and that of the refused ones",
                failed.display()
            ))
            .hint("give --failed another name; the rows would be written over"));
        }
        let path = is_file.then(|| beside(".journal"));
        let failed = failed.or_else(|| is_file.then(|| beside(".failed.csv")));
        let found = match &path {
            None => None,
            Some(path) => keep::read_private(path)?
                .map(|bytes| {
                    read(&bytes).ok_or_else(|| {
                        Fault::untried(format!("`{}` is no journal of ours", path.display()))
                            .hint("remove it, or give the rows under another name")
                    })
                })
                .transpose()?,
        };
        Ok(Self {
            path,
            found,
            failed: Failed {
                path: failed,
                file: None,
            },
        })
    }

    /// What an earlier run left.
    pub(super) const fn found(&self) -> Option<Done> {
        self.found
    }

    /// Its file; empty for stdin.
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Whether an end in the middle is remembered.
    pub(super) const fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Begins, or goes on: refused rows behind the last known answer are cut off.
    pub(super) fn begin(&mut self) -> Outcome<Done> {
        let done = self.found.unwrap_or_default();
        match &self.failed.path {
            Some(path) if path.exists() => {
                let mut file = self.failed.open()?;
                if file.metadata()?.len() < done.failed_bytes {
                    return Err(Fault::untried(format!(
                        "`{}` is shorter than what was written to it",
                        path.display()
                    ))
                    .hint(format!(
                        "remove `{}` and begin anew; what is claimed stays claimed",
                        self.path().display()
                    )));
                }
                file.set_len(done.failed_bytes)?;
                file.seek(SeekFrom::End(0))?;
                file.sync_all()?;
                self.failed.file = Some(file);
            }
            _ if done.failed_bytes > 0 => {
                return Err(Fault::untried(format!(
                    "the file of refused rows is gone, and `{}` counts on it",
                    self.path().display()
                ))
                .hint("remove the journal and begin anew; what is claimed stays claimed"));
            }
            _ => {}
        }
        Ok(done)
    }

    /// The answers of a call are known: first the refused rows, then the journal, each durable.
    pub(super) fn record(&mut self, done: &mut Done, failed: &str) -> Outcome {
        self.failed.append(failed)?;
        done.failed_bytes += failed.len() as u64;
        if let Some(path) = &self.path {
            keep::write_private(path, written(done).to_string().as_bytes())?;
        }
        Ok(())
    }

    /// All is done: the journal goes. Gives the file of refused rows, if there are any.
    pub(super) fn finish(self, done: Done) -> Outcome<Option<PathBuf>> {
        if let Some(path) = &self.path {
            keep::remove(path)?;
        }
        match (self.failed.path, done.failed) {
            (Some(path), 0) => {
                // Of an earlier run over the same rows.
                if self.failed.file.is_some() {
                    keep::remove(&path)?;
                }
                Ok(None)
            }
            (path, 0) => Ok(path.filter(|_| false)),
            (path, _) => Ok(Some(path.unwrap_or_else(|| PathBuf::from("stdout")))),
        }
    }
}

/// Whether both names lead to one file, by whatever way.
fn is_same(one: &Path, two: &Path) -> bool {
    let place = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    place(one).is_some_and(|of_one| place(two) == Some(of_one))
}

impl Failed {
    fn append(&mut self, rows: &str) -> Outcome {
        if rows.is_empty() {
            return Ok(());
        }
        if self.path.is_none() {
            crate::output::print(rows);
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(self.open()?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(rows.as_bytes())?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// For our eyes only: a claim token lets somebody else claim a device that is given back.
    fn open(&self) -> Outcome<File> {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| Fault::untried(format!("cannot write `{}`: {error}", path.display())))
    }
}

fn written(done: &Done) -> Value {
    let sha256: String = done
        .sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({
        "version": VERSION,
        "bytes": done.bytes,
        "sha256": sha256,
        "rows": done.rows,
        "claimed": done.claimed,
        "failed": done.failed,
        "failedBytes": done.failed_bytes,
    })
}

fn read(bytes: &[u8]) -> Option<Done> {
    let kept: Value = serde_json::from_slice(bytes).ok()?;
    let number = |name: &str| kept[name].as_u64();
    let hex = kept["sha256"].as_str()?.as_bytes();
    let mut sha256 = [0; 32];
    let (pairs, rest) = hex.as_chunks::<2>();
    if number("version")? != VERSION || pairs.len() != sha256.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in sha256.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Done {
        bytes: number("bytes")?,
        sha256,
        rows: number("rows")?,
        claimed: number("claimed")?,
        failed: number("failed")?,
        failed_bytes: number("failedBytes")?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let rows = dir.path().join("rows.csv");
        std::fs::write(&rows, "token").unwrap();
        let link = dir.path().join("link.csv");
        std::os::unix::fs::symlink(&rows, &link).unwrap();
        for failed in [&rows, &link] {
            assert!(Journal::open(&rows, Some(failed.clone())).is_err());
        }
        assert_eq!(std::fs::read(&rows).unwrap(), b"token");
        let elsewhere = dir.path().join("refused.csv");
        assert!(Journal::open(&rows, Some(elsewhere)).is_ok());
    }

    #[test]
    fn a_journal_is_read_as_it_was_written_and_nothing_else_is() {
        let done = Done {
            bytes: 1 << 40,
            sha256: [0xab; 32],
            rows: 3,
            claimed: 2,
            failed: 1,
            failed_bytes: 77,
        };
        assert_eq!(read(written(&done).to_string().as_bytes()), Some(done));
        for other in ["", "{}", "[1]", "{\"version\":2}"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }
}
