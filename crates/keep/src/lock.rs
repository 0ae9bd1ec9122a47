//! One process at a time.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::KeepError;
use crate::write::PRIVATE;

/// Held as long as it lives; the operating system lets go of it when the process ends, however it ends.
///
/// The lock file stays behind: removing it would let two processes lock two files of the same name.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the lock at `path` without waiting, and writes our process id into the file.
///
/// # Errors
/// [`KeepError::Busy`] with the process id of the holder, [`KeepError::Io`].
pub fn lock(path: &Path) -> Result<Lock, KeepError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(path)
        .map_err(KeepError::io("open lock file", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Unreadable only means that the holder stays unnamed.
            let _ = file.take(32).read_to_string(&mut text);
            return Err(KeepError::Busy {
                path: path.to_owned(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(e) => return Err(KeepError::io("lock", path)(e.into())),
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()))
        .map_err(KeepError::io("write lock file", path))?;
    Ok(Lock {
        path: path.to_owned(),
        _file: file,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_has_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("home.lock");
        let held = lock(&path).unwrap();
        let e = lock(&path).unwrap_err();
        assert!(matches!(e, KeepError::Busy { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(e.to_string().contains(&std::process::id().to_string()));
        assert_eq!(held.path(), path);
        drop(held);
        lock(&path).unwrap();
    }
}
