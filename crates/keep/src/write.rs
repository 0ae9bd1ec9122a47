//! Single files: written atomically, read with a look at who else may.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::{KeepError, crash};

/// The largest file that is read, in bytes. Keys, certificates and modem states are far below; what is larger
/// is not ours, and reading it would only move the failure to memory.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(crate) const PRIVATE: u32 = 0o600;
pub(crate) const PUBLIC: u32 = 0o644;
const PRIVATE_DIR: u32 = 0o700;
const OTHERS: u32 = 0o077;

/// Writes a file for our eyes only (mode 0600), atomically and durably. An existing file or link is replaced.
///
/// # Errors
/// [`KeepError::Io`] with the step that failed; the old content is then still in place, unless only the last
/// step (making the directory entry durable) failed.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), KeepError> {
    write(path, content, PRIVATE)
}

/// Writes a file that everyone may read (mode 0644), atomically and durably, whatever the umask says.
///
/// # Errors
/// As [`write_private`].
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), KeepError> {
    write(path, content, PUBLIC)
}

/// Adds to the end of a file for our eyes only, and makes it when it is not there. Not atomic and not durable: after a crash
/// the last pieces may be missing or torn. So each must prove itself whole, and be one that can be lost.
///
/// # Errors
/// [`KeepError::NotPrivate`] when group or others have any right on it, [`KeepError::WrongKind`], also for a link,
/// [`KeepError::TooLarge`] when it would not be read any more, [`KeepError::Io`].
pub fn append_private(path: &Path, piece: &[u8]) -> Result<(), KeepError> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let mut file = match OpenOptions::new()
        .append(true)
        .create(true)
        .mode(PRIVATE)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
    {
        Ok(file) => file,
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(KeepError::WrongKind {
                path: path.to_owned(),
                expected: "regular file",
            });
        }
        Err(e) => return Err(KeepError::io("open", path)(e)),
    };
    let found = file.metadata().map_err(KeepError::io("look at", path))?;
    if !found.is_file() {
        return Err(KeepError::WrongKind {
            path: path.to_owned(),
            expected: "regular file",
        });
    }
    only_ours(path, found.mode(), PRIVATE)?;
    let bytes = found.len().saturating_add(piece.len() as u64);
    if bytes > FILE_BYTES_MAX {
        return Err(KeepError::TooLarge {
            path: path.to_owned(),
            bytes,
            max: FILE_BYTES_MAX,
        });
    }
    file.write_all(piece).map_err(KeepError::io("add to", path))
}

/// Reads a file for our eyes only; `None` when it does not exist.
///
/// # Errors
/// [`KeepError::NotPrivate`] when group or others have any right on it, [`KeepError::ForeignLink`] when another
/// user (root excepted) could redirect it, [`KeepError::TooLarge`], [`KeepError::WrongKind`], [`KeepError::Io`].
pub fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeepError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(KeepError::io("look at", path)(e)),
        Ok(found) if found.file_type().is_symlink() => {
            let us = rustix::process::geteuid().as_raw();
            if found.uid() != us && found.uid() != 0 {
                return Err(KeepError::ForeignLink {
                    path: path.to_owned(),
                    owner: found.uid(),
                });
            }
        }
        Ok(_) => {}
    }
    let Some((file, size)) = open(path, true)? else {
        return Ok(None);
    };
    // Room for all of it at once: growing would leave copies of the secret behind in freed memory.
    let mut content = Zeroizing::new(Vec::with_capacity(size + 1));
    read_all(file, path, &mut content)?;
    Ok(Some(content))
}

/// Reads a file that is no secret; `None` when it does not exist.
///
/// # Errors
/// [`KeepError::TooLarge`], [`KeepError::WrongKind`], [`KeepError::Io`].
pub fn read_public(path: &Path) -> Result<Option<Vec<u8>>, KeepError> {
    let Some((file, size)) = open(path, false)? else {
        return Ok(None);
    };
    let mut content = Vec::with_capacity(size + 1);
    read_all(file, path, &mut content)?;
    Ok(Some(content))
}

/// Removes a file durably; `false` when it was not there.
///
/// # Errors
/// [`KeepError::Io`].
pub fn remove(path: &Path) -> Result<bool, KeepError> {
    let place = Place::of(path)?;
    if !place.dir.exists() {
        return Ok(false);
    }
    let dir = place.enter()?;
    unlink(path)
        .and_then(|was_there| {
            if was_there {
                dir.sync_all()?;
            }
            Ok(was_there)
        })
        .map_err(KeepError::io("remove", path))
}

/// Makes sure that a directory for our eyes only is there (mode 0700); missing parents are made the same way.
///
/// # Errors
/// [`KeepError::NotPrivate`] when it exists and others may look into it, [`KeepError::WrongKind`], [`KeepError::Io`].
pub fn private_dir(path: &Path) -> Result<(), KeepError> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIR)
        .create(path)
        .map_err(KeepError::io("create directory", path))?;
    let found = fs::metadata(path).map_err(KeepError::io("look at", path))?;
    if !found.is_dir() {
        return Err(KeepError::WrongKind {
            path: path.to_owned(),
            expected: "directory",
        });
    }
    only_ours(path, found.mode(), PRIVATE_DIR)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), KeepError> {
    let place = Place::of(path)?;
    let dir = place.enter()?;
    replace(path, &place, &dir, |temporary| {
        put(temporary, content, mode)
    })
}

/// Puts what `fill` makes beside `path` in its place, atomically and durably; `dir` is entered.
pub(crate) fn replace(
    path: &Path,
    place: &Place,
    dir: &File,
    fill: impl FnOnce(&Path) -> Result<(), KeepError>,
) -> Result<(), KeepError> {
    let temporary = place.beside("tmp");
    let result = fill(&temporary).and_then(|()| {
        step("keep.file.before-rename")
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(KeepError::io("rename to", path))
    });
    if let Err(e) = result {
        let _ = unlink(&temporary); // the error at hand says more than this one would
        return Err(e);
    }
    step("keep.file.after-rename")
        .and_then(|()| dir.sync_all())
        .map_err(KeepError::io("make durable", path))
}

/// A file's directory and name.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    name: String,
}

impl Place {
    pub(crate) fn of(path: &Path) -> Result<Self, KeepError> {
        let name = path.file_name().ok_or_else(|| KeepError::NoName {
            path: path.to_owned(),
        })?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        // Our own names are ASCII; a foreign one that is not UTF-8 still gets a usable temporary name.
        let name = name.to_string_lossy().into_owned();
        Ok(Self { dir, name })
    }

    /// A hidden neighbour of the file, for what is under way.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!(".{}.{suffix}", self.name))
    }

    /// Opens the directory and waits for other writers in it; they are let in when the result is dropped.
    pub(crate) fn enter(&self) -> Result<File, KeepError> {
        let dir = File::open(&self.dir).map_err(KeepError::io("open directory", &self.dir))?;
        loop {
            match flock(&dir, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(dir),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(KeepError::io("lock directory", &self.dir)(e.into())),
            }
        }
    }
}

/// One change to the file system: a crash point, and in tests a place where the world may end.
pub(crate) fn step(name: &'static str) -> io::Result<()> {
    crash::point(name);
    changing()
}

/// As [`step`], for changes too small to have a name.
pub(crate) fn changing() -> io::Result<()> {
    #[cfg(test)]
    crate::stop::check()?;
    Ok(())
}

/// Creates `path` anew with `mode` and `content`, durable except for its directory entry.
pub(crate) fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), KeepError> {
    finish(&create(path, content)?, path, mode)
}

/// Creates `path` anew with `content`, for us alone.
pub(crate) fn create(path: &Path, content: &[u8]) -> Result<File, KeepError> {
    let create = || -> io::Result<File> {
        unlink(path)?; // what an earlier crash left
        changing()?;
        // Never wider than private while it is filled; create_new also refuses to follow a link.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(path)?;
        changing()?;
        file.write_all(content)?;
        Ok(file)
    };
    create().map_err(KeepError::io("write", path))
}

/// Gives a file that was created its mode, and makes it durable.
pub(crate) fn finish(file: &File, path: &Path, mode: u32) -> Result<(), KeepError> {
    let finish = || -> io::Result<()> {
        if mode != PRIVATE {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        changing()?;
        file.sync_all()
    };
    finish().map_err(KeepError::io("write", path))
}

/// Removes `path` if it is there, and says whether it was.
pub(crate) fn unlink(path: &Path) -> io::Result<bool> {
    changing()?;
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn open(path: &Path, private: bool) -> Result<Option<(File, usize)>, KeepError> {
    // Not blocking: a FIFO in the place of a file must be an error, not a wait for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(KeepError::io("open", path)(e)),
    };
    // Looked at through the open file, so that nobody can swap it between the look and the read.
    let found = file.metadata().map_err(KeepError::io("look at", path))?;
    if !found.is_file() {
        return Err(KeepError::WrongKind {
            path: path.to_owned(),
            expected: "regular file",
        });
    }
    if private {
        only_ours(path, found.mode(), PRIVATE)?;
    }
    match usize::try_from(found.len()) {
        Ok(size) if found.len() <= FILE_BYTES_MAX => Ok(Some((file, size))),
        _ => Err(KeepError::TooLarge {
            path: path.to_owned(),
            bytes: found.len(),
            max: FILE_BYTES_MAX,
        }),
    }
}

fn read_all(file: File, path: &Path, content: &mut Vec<u8>) -> Result<(), KeepError> {
    file.take(FILE_BYTES_MAX)
        .read_to_end(content)
        .map_err(KeepError::io("read", path))?;
    Ok(())
}

fn only_ours(path: &Path, mode: u32, expected: u32) -> Result<(), KeepError> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(KeepError::NotPrivate {
        path: path.to_owned(),
        mode: mode & 0o7777,
        expected,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stop;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_private_file_is_ours_alone_and_a_public_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let (key, cert) = (home.path().join("a.key"), home.path().join("a.crt"));
        write_private(&key, b"secret").unwrap();
        write_public(&cert, b"known").unwrap();
        assert_eq!((mode_of(&key), mode_of(&cert)), (0o600, 0o644));
        assert_eq!(read_private(&key).unwrap().unwrap().as_slice(), b"secret");
        assert_eq!(read_public(&cert).unwrap().unwrap(), b"known");
        assert_eq!(names_in(home.path()), ["a.crt", "a.key"]);
    }

    #[test]
    fn pieces_are_added_to_a_file_for_our_eyes_only() {
        let home = tempfile::tempdir().unwrap();
        let (path, link) = (home.path().join("a"), home.path().join("link"));
        append_private(&path, b"one").unwrap();
        append_private(&path, b" two").unwrap();
        assert_eq!(mode_of(&path), 0o600);
        assert_eq!(read_private(&path).unwrap().unwrap().as_slice(), b"one two");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let e = append_private(&link, b"x").unwrap_err();
        assert!(matches!(e, KeepError::WrongKind { .. }), "{e}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let e = append_private(&path, b"x").unwrap_err();
        assert!(matches!(e, KeepError::NotPrivate { .. }), "{e}");
        let large = home.path().join("large");
        File::create(&large)
            .unwrap()
            .set_len(FILE_BYTES_MAX)
            .unwrap();
        fs::set_permissions(&large, fs::Permissions::from_mode(0o600)).unwrap();
        let e = append_private(&large, b"x").unwrap_err();
        assert!(matches!(e, KeepError::TooLarge { .. }), "{e}");
    }

    #[test]
    fn a_widened_key_is_refused_with_the_command_that_repairs_it() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("a.key");
        write_private(&key, b"secret").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let e = read_private(&key).unwrap_err();
        assert!(matches!(e, KeepError::NotPrivate { mode: 0o640, .. }));
        assert_eq!(
            e.hint().unwrap(),
            format!("run `chmod 600 '{}'`", key.display())
        );
        assert!(!e.to_string().contains("secret"));
    }

    #[test]
    fn rewriting_narrows_a_widened_key() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("a.key");
        fs::write(&key, b"old").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
        write_private(&key, b"new").unwrap();
        assert_eq!(mode_of(&key), 0o600);
    }

    #[test]
    fn a_stop_at_any_step_leaves_old_or_new() {
        let mut finished = false;
        for steps in 0..40 {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("a");
            write_private(&path, b"old").unwrap();
            finished = stop::after(steps, || write_private(&path, b"new longer")).is_ok();
            let seen = read_private(&path).unwrap().unwrap();
            assert!(
                seen.as_slice() == b"old" || seen.as_slice() == b"new longer",
                "step {steps}: {seen:?}"
            );
            assert!(!finished || seen.as_slice() == b"new longer");
            // The next write tidies up and wins.
            write_private(&path, b"next").unwrap();
            assert_eq!(read_private(&path).unwrap().unwrap().as_slice(), b"next");
            assert_eq!(names_in(home.path()), ["a"], "step {steps}");
        }
        assert!(finished, "40 steps are enough");
    }

    #[test]
    fn a_file_that_is_not_there_is_none_and_a_directory_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let nothing = home.path().join("nothing");
        assert!(read_private(&nothing).unwrap().is_none());
        assert!(read_public(&nothing).unwrap().is_none());
        assert!(!remove(&nothing).unwrap());
        assert!(matches!(
            read_public(home.path()),
            Err(KeepError::WrongKind { .. })
        ));
        let missing_dir = home.path().join("no/such/file");
        let e = write_private(&missing_dir, b"x").unwrap_err();
        assert!(e.to_string().contains("no/such"), "{e}");
    }

    #[test]
    fn a_written_link_is_replaced_and_its_target_untouched() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("target"), home.path().join("link"));
        fs::write(&target, b"not ours").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_private(&link, b"secret").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"not ours");
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_private_directory_is_made_once_and_refused_when_open() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        private_dir(&dir).unwrap();
        private_dir(&dir).unwrap();
        assert_eq!(mode_of(&dir), 0o700);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(
            private_dir(&dir)
                .unwrap_err()
                .hint()
                .unwrap()
                .contains("chmod 700")
        );
    }

    #[test]
    fn writers_of_one_file_take_turns() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a");
        std::thread::scope(|s| {
            for letter in [b'a', b'b', b'c', b'd'] {
                let path = &path;
                s.spawn(move || {
                    for _ in 0..10 {
                        write_private(path, &[letter; 100]).unwrap();
                        let seen = read_private(path).unwrap().unwrap();
                        assert!(seen.len() == 100 && seen.iter().all(|b| *b == seen[0]));
                    }
                });
            }
        });
        assert_eq!(names_in(home.path()), ["a"]);
    }
}
