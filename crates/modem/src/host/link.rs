//! A name for a pty that stays the same: a symbolic link that is ours, and is taken away at the end.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::HostError;

/// A link to our pty; dropping it removes it, if it still is ours.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    target: PathBuf,
}

impl Link {
    /// Makes `path` point to `pty`. What is there is replaced only when it is what a process like ours left behind: a link
    /// to a pty that is gone, or that has become this one.
    pub(super) fn make(path: &Path, pty: &Path) -> Result<Self, HostError> {
        let failed = |source| HostError::Link {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(_) if is_stale(path, pty) => fs::remove_file(path).map_err(failed)?,
            Ok(_) => {
                return Err(HostError::LinkTaken {
                    path: path.to_owned(),
                });
            }
        }
        symlink(pty, path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            target: pty.to_owned(),
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if fs::read_link(&self.path).is_ok_and(|target| target == self.target) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_stale(path: &Path, pty: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| {
        target == pty || (target.parent() == Some(Path::new("/dev/pts")) && !target.exists())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_removed_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("modem");
        let pty = Path::new("/dev/pts/77777");
        let link = Link::make(&path, pty).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), pty);
        drop(link);
        assert!(fs::symlink_metadata(&path).is_err());
    }

    #[test]
    fn a_stale_link_is_replaced_and_anything_else_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("modem");
        let pty = Path::new("/dev/pts/77777");
        for stale in ["/dev/pts/77777", "/dev/pts/77778"] {
            symlink(stale, &path).unwrap();
            drop(Link::make(&path, pty).unwrap());
            assert!(fs::symlink_metadata(&path).is_err());
        }
        for foreign in ["/dev/null", "/nowhere", "/dev/pts/ptmx"] {
            symlink(foreign, &path).unwrap();
            assert!(matches!(
                Link::make(&path, pty),
                Err(HostError::LinkTaken { .. })
            ));
            assert_eq!(fs::read_link(&path).unwrap(), Path::new(foreign));
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, "mine").unwrap();
        assert!(Link::make(&path, pty).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_link_that_became_somebody_elses_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("modem");
        let link = Link::make(&path, Path::new("/dev/pts/77777")).unwrap();
        fs::remove_file(&path).unwrap();
        symlink("/dev/null", &path).unwrap();
        drop(link);
        assert!(fs::symlink_metadata(&path).is_ok());
    }
}
