//! What stands at a path and on the way to it: kinds, modes and owners, without reading any content.
//!
//! ```text
//!   /etc/certs ─► /srv/certs    look("/etc/certs/server.key")
//!                               along: /  /etc  /srv  /srv/certs      end: File(mode, owner)
//! ```
//!
//! Links are followed the way the kernel does it, so `along` holds every directory that a reader must be able to enter.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use crate::KeepError;

/// Links that are followed on one way, as in Linux; more are taken for a circle.
const LINKS_MAX: usize = 40;

/// A file or directory and who may do what with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it really is: no links in it.
    pub path: PathBuf,
    /// Permission bits, as `chmod` takes them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What stands at the end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing.
    Missing,
    /// The way there is closed: why.
    Blocked(String),
    /// A directory.
    Directory(Node),
    /// A file.
    File(Node),
    /// A device, a socket, a pipe.
    Other(Node),
}

/// The way to a path, and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Directories that must be entered to get there, from `/` on, as far as we came.
    pub along: Vec<Node>,
    /// What is there.
    pub end: End,
}

/// Looks at a path; a relative one counts from the working directory.
pub fn look(path: &Path) -> Look {
    let mut along = Vec::new();
    let end = walk(path, &mut along).unwrap_or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => End::Missing,
        _ => End::Blocked(e.to_string()),
    });
    Look { along, end }
}

/// Reads a file whoever else may read it: to judge a key, not to use it. `None` when it does not exist.
///
/// # Errors
/// As [`crate::read_public`].
pub fn content(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeepError> {
    Ok(crate::read_public(path)?.map(Zeroizing::new))
}

/// The names in a directory, sorted.
///
/// # Errors
/// [`KeepError::Io`], also when there are more than `entries_max`.
pub fn names(dir: &Path, entries_max: usize) -> Result<Vec<OsString>, KeepError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(KeepError::io("list", dir))? {
        if names.len() == entries_max {
            return Err(KeepError::Io {
                action: "list",
                path: dir.to_owned(),
                source: io::Error::other(format!("there are more than {entries_max} entries")),
            });
        }
        names.push(entry.map_err(KeepError::io("list", dir))?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

fn walk(path: &Path, along: &mut Vec<Node>) -> io::Result<End> {
    let path = std::path::absolute(path)?;
    let mut rest: VecDeque<OsString> = steps(&path).collect();
    let mut here = PathBuf::from("/");
    let mut found = fs::symlink_metadata(&here)?;
    let mut links = 0;
    while let Some(step) = rest.pop_front() {
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        along.push(node(&here, &found));
        if step == ".." {
            here.pop();
            found = fs::symlink_metadata(&here)?;
            continue;
        }
        let next = here.join(&step);
        let there = fs::symlink_metadata(&next)?;
        if !there.is_symlink() {
            here = next;
            found = there;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::other("too many symbolic links on the way"));
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            here = PathBuf::from("/");
            found = fs::symlink_metadata(&here)?;
        }
        for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(step);
        }
    }
    along.dedup();
    let node = node(&here, &found);
    Ok(if found.is_dir() {
        End::Directory(node)
    } else if found.is_file() {
        End::File(node)
    } else {
        End::Other(node)
    })
}

fn steps(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn node(path: &Path, found: &Metadata) -> Node {
    Node {
        path: path.to_owned(),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn entered(look: &Look) -> Vec<&Path> {
        look.along.iter().map(|node| node.path.as_path()).collect()
    }

    #[test]
    fn links_are_followed_and_every_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/deep")).unwrap();
        fs::write(root.join("real/deep/key"), "x").unwrap();
        fs::set_permissions(
            root.join("real/deep/key"),
            fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        symlink("real/deep", root.join("link")).unwrap();
        symlink(root.join("link/key"), root.join("key")).unwrap();

        let look = look(&root.join("key"));
        let End::File(node) = &look.end else {
            panic!("{look:?}")
        };
        assert_eq!(
            (node.path.as_path(), node.mode),
            (&*root.join("real/deep/key"), 0o640)
        );
        for dir in [&root, &root.join("real"), &root.join("real/deep")] {
            assert!(entered(&look).contains(&dir.as_path()), "{look:?}");
        }
        assert_eq!(entered(&look)[0], Path::new("/"));
    }

    #[test]
    fn what_is_not_there_is_missing_and_a_file_is_no_way() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(look(&dir.path().join("no/such")).end, End::Missing);
        assert!(matches!(
            look(&dir.path().join("file/x")).end,
            End::Blocked(_)
        ));
        assert!(matches!(
            look(&dir.path().join("file/../file")).end,
            End::Blocked(_)
        ));
        symlink("round", dir.path().join("round")).unwrap();
        assert!(matches!(
            look(&dir.path().join("round")).end,
            End::Blocked(_)
        ));
        assert!(matches!(look(dir.path()).end, End::Directory(_)));
    }

    #[test]
    fn a_list_of_names_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(names(dir.path(), 3).unwrap(), ["a", "b", "c"]);
        assert!(names(dir.path(), 2).is_err());
        assert!(names(&dir.path().join("a"), 2).is_err());
    }
}
