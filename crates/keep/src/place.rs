//! Files for somebody else: with the owner and mode that its reader needs, before its name is there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Gid, Uid};

use crate::KeepError;
use crate::write::{Place, changing, create, replace};

/// Writes a file atomically and durably, with exactly this mode and, if given, this owner and group (numbers). An existing
/// file or link is replaced. Until it is complete it belongs to us alone.
///
/// # Errors
/// [`KeepError::Io`] with the step that failed; to give a file away takes the rights to do so. The old content is then
/// still in place, unless only the last step (making the directory entry durable) failed.
pub fn place(
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> Result<(), KeepError> {
    let place = Place::of(path)?;
    let dir = place.enter()?;
    replace(path, &place, &dir, |temporary| {
        put(temporary, content, mode, owner)
    })
}

fn put(path: &Path, content: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<(), KeepError> {
    let file = create(path, content)?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|e| KeepError::io("give away", path)(e.into()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| changing())
        .and_then(|()| file.sync_all())
        .map_err(KeepError::io("write", path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stop;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_has_its_mode_and_owner_whatever_was_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.key");
        fs::write(&path, "wide").unwrap();
        let ours = fs::metadata(&path).unwrap();
        place(&path, b"key", 0o400, Some((ours.uid(), ours.gid()))).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o400);
        assert_eq!(fs::read(&path).unwrap(), b"key");
        place(&path, b"next", 0o644, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_stop_at_any_step_leaves_old_or_new() {
        let mut finished = false;
        for steps in 0..40 {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("a");
            place(&path, b"old", 0o640, None).unwrap();
            finished = stop::after(steps, || place(&path, b"new", 0o640, None)).is_ok();
            let seen = fs::read(&path).unwrap();
            assert!(seen == b"old" || seen == b"new", "step {steps}");
            assert!(!finished || seen == b"new");
        }
        assert!(finished, "40 steps are enough");
    }
}
