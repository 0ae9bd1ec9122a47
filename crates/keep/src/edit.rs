//! Files that people and other programs write as well: changed under a lock, and left as they were set up.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};

use crate::KeepError;
use crate::write::{PUBLIC, Place, create, finish, read_public, replace};

/// Reads `path`, hands its content to `change`, and puts the answer in its place, atomically and durably. Other editors of
/// files in the same directory wait meanwhile, so no change is lost.
///
/// `change` gets `None` when there is no file, and answers `None` to leave everything as it is. A symbolic link is followed
/// from where it stands, and its target replaced. Mode and owner are kept; a new file has mode 0644, and missing directories
/// are made.
///
/// # Errors
/// [`KeepError`] as for reading and writing, as `E`; whatever `change` says. The old content is then in place.
pub fn edit<T, E: From<KeepError>>(
    path: &Path,
    change: impl FnOnce(Option<Vec<u8>>) -> Result<(Option<Vec<u8>>, T), E>,
) -> Result<T, E> {
    let path = target(path)?;
    let place = Place::of(&path)?;
    fs::create_dir_all(&place.dir).map_err(KeepError::io("create directory", &place.dir))?;
    let dir = place.enter()?;
    let found = match fs::metadata(&path) {
        Ok(found) => Some(found),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(KeepError::io("look at", &path)(e).into()),
    };
    let (content, answer) = change(read_public(&path)?)?;
    if let Some(content) = content {
        replace(&path, &place, &dir, |temporary| {
            put_like(temporary, &content, found.as_ref(), PUBLIC)
                .map_err(|error| of_file(&path, &place, error))
        })?;
    }
    Ok(answer)
}

/// Whether `path` leads to a directory; `None` when it leads nowhere, or not for us.
pub fn is_dir(path: &Path) -> Option<bool> {
    fs::metadata(path).ok().map(|found| found.is_dir())
}

/// Whether others than the owner may read the file at `path`; `None` when it leads nowhere, or not for us.
pub fn is_readable_by_others(path: &Path) -> Option<bool> {
    fs::metadata(path)
        .ok()
        .map(|found| found.mode() & 0o044 != 0)
}

const KEEP_OWNER: &str = "keep the owner of";
/// Links in a row that are followed, as the kernel does.
const LINKS_MAX: usize = 40;

/// Where the content is: the path itself, or what it links to.
fn target(path: &Path) -> Result<PathBuf, KeepError> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_symlink() => {
                let to = fs::read_link(&path).map_err(KeepError::io("read link", &path))?;
                path = match path.parent() {
                    Some(dir) => dir.join(to),
                    None => to,
                };
            }
            _ => return Ok(path),
        }
    }
    Err(KeepError::io("follow links from", &path)(
        rustix::io::Errno::LOOP.into(),
    ))
}

/// What kept us from filling the temporary, as people know it: about `path`.
fn of_file(path: &Path, place: &Place, error: KeepError) -> KeepError {
    match error {
        // It is the file's owner who is kept, not the temporary's.
        KeepError::Io {
            action: KEEP_OWNER,
            source,
            ..
        } => KeepError::io(KEEP_OWNER, path)(source),
        // Nobody has heard of the temporary, and who may not make it may not write into the directory.
        KeepError::Io { action, source, .. } => {
            let refused = source.kind() == io::ErrorKind::PermissionDenied;
            let at = if refused { &place.dir } else { path };
            KeepError::io(action, at)(source)
        }
        other => other,
    }
}

/// Creates `path` anew with `content`, and with mode and owner of the file that it will replace; with `mode` when there is
/// none.
pub(crate) fn put_like(
    path: &Path,
    content: &[u8],
    like: Option<&fs::Metadata>,
    mode: u32,
) -> Result<(), KeepError> {
    let file = create(path, content)?;
    let mode = like.map_or(mode, |like| like.mode() & 0o7777);
    if let Some(like) = like {
        let own = || -> io::Result<()> {
            let ours = file.metadata()?;
            if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
                let (owner, group) = (Uid::from_raw(like.uid()), Gid::from_raw(like.gid()));
                rustix::fs::fchown(&file, Some(owner), Some(group))?;
            }
            Ok(())
        };
        own().map_err(KeepError::io(KEEP_OWNER, path))?;
    }
    finish(&file, path, mode)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stop;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn append(path: &Path, text: &str) -> Result<(), KeepError> {
        edit(path, |old| {
            let mut content = old.unwrap_or_default();
            content.extend_from_slice(text.as_bytes());
            Ok((Some(content), ()))
        })
    }

    #[test]
    fn mode_and_links_stay_as_somebody_made_them() {
        let home = tempfile::tempdir().unwrap();
        let (dir, link) = (home.path().join("etc"), home.path().join("link"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("real"), "a").unwrap();
        fs::set_permissions(dir.join("real"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("etc/second", &link).unwrap();
        symlink("real", dir.join("second")).unwrap();
        append(&link, "b").unwrap();
        assert_eq!(fs::read(dir.join("real")).unwrap(), b"ab");
        let mode = fs::metadata(dir.join("real")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(
            fs::symlink_metadata(dir.join("second"))
                .unwrap()
                .is_symlink()
        );
    }

    #[test]
    fn a_new_file_is_public_whether_its_directory_is_there_or_its_link_leads_nowhere() {
        let home = tempfile::tempdir().unwrap();
        append(&home.path().join("a/b/file"), "x").unwrap();
        let found = fs::metadata(home.path().join("a/b/file")).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o644);
        symlink("nowhere", home.path().join("link")).unwrap();
        append(&home.path().join("link"), "x").unwrap();
        assert_eq!(fs::read(home.path().join("nowhere")).unwrap(), b"x");
        symlink("self", home.path().join("self")).unwrap();
        assert!(append(&home.path().join("self"), "x").is_err());
    }

    #[test]
    fn nothing_is_written_when_nothing_changes_and_an_error_leaves_the_old_content() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        edit(&path, |_| Ok::<_, KeepError>((None, ()))).unwrap();
        assert!(!path.exists());
        append(&path, "a").unwrap();
        let refused = edit(&path, |_| {
            Err::<(Option<Vec<u8>>, ()), _>(KeepError::NoName { path: "x".into() })
        });
        assert!(refused.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"a");
        assert!(append(home.path(), "a").is_err());
    }

    #[test]
    fn an_error_names_the_file_or_its_directory_and_never_the_temporary() {
        for steps in 0..12 {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("a");
            fs::write(&path, "old").unwrap();
            if let Err(error) = stop::after(steps, || append(&path, "new")) {
                assert!(!error.to_string().contains(".a.tmp"), "{error}");
            }
        }
    }

    #[test]
    fn many_editors_at_once_lose_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10).for_each(|_| append(&path, "x").unwrap()));
            }
        });
        assert_eq!(fs::read(&path).unwrap().len(), 80);
    }

    #[test]
    fn a_stop_at_any_step_leaves_old_or_new() {
        for steps in 0..12 {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("a");
            append(&path, "old").unwrap();
            let finished = stop::after(steps, || append(&path, "new")).is_ok();
            let seen = fs::read(&path).unwrap();
            assert!(seen == b"old" || seen == b"oldnew", "step {steps}");
            assert!(!finished || seen == b"oldnew");
        }
    }
}
