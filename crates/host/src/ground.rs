//! What the planner asks about files, answered by looking.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_gateway::facts::{Access, User, Want};
use sectag_gateway::mosquitto::{Files, Unread};
use sectag_gateway::plan::Ground;
use sectag_keep::{End, KeepError};

use crate::machine;

/// Entries of an included directory that are listed.
const ENTRIES_MAX: usize = 4096;

/// This machine's files, seen with the eyes of the broker's user.
pub struct Disk {
    /// Who the broker becomes; `None` when the system does not know that user: then only what everybody may read counts.
    pub user: Option<User>,
    /// Files in use that are about to be replaced, and what waits to replace them.
    pub waiting: BTreeMap<PathBuf, PathBuf>,
}

impl Disk {
    /// As it is.
    pub const fn new(user: Option<User>) -> Self {
        Self {
            user,
            waiting: BTreeMap::new(),
        }
    }

    fn access(&self, path: &Path, want: Want) -> Access {
        let look = sectag_keep::look(path);
        let nobody = User {
            name: "nobody".to_owned(),
            uid: u32::MAX,
            gid: u32::MAX,
            groups: Vec::new(),
        };
        self.user.as_ref().unwrap_or(&nobody).access(&look, want)
    }
}

impl Files for Disk {
    fn read(&self, file: &Path) -> Result<Vec<u8>, Unread> {
        match sectag_keep::read_public(file) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Unread("no such file".to_owned())),
            Err(e) => Err(Unread(reason(&e))),
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, Unread> {
        match sectag_keep::names(directory, ENTRIES_MAX) {
            Ok(names) => Ok(names
                .into_iter()
                .filter_map(|name| name.into_string().ok())
                .collect()),
            Err(e) => Err(Unread(reason(&e))),
        }
    }
}

impl Ground for Disk {
    fn broker_reads(&self, path: &Path) -> bool {
        // What is not there cannot be copied either; findings say so.
        !matches!(self.access(path, Want::Read), Access::Refused(_))
    }

    fn broker_reaches(&self, directory: &Path) -> bool {
        !matches!(self.access(directory, Want::Read), Access::Refused(_))
    }

    fn same_bytes(&self, a: &Path, b: &Path) -> bool {
        let content = |path: &Path| {
            let path = self.waiting.get(path).map_or(path, PathBuf::as_path);
            sectag_keep::content(path).ok().flatten()
        };
        matches!((content(a), content(b)), (Some(a), Some(b)) if a == b)
    }

    fn is_kept_as(&self, path: &Path, mode: u32, owner: Option<&str>) -> bool {
        let End::File(node) = sectag_keep::look(path).end else {
            return false;
        };
        let owned = match owner {
            Some(name) => machine::user(name).is_none_or(|user| user.uid == node.uid),
            None => true,
        };
        node.mode == mode && owned
    }
}

/// The cause alone: the path is said beside it.
pub(crate) fn reason(error: &KeepError) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}
