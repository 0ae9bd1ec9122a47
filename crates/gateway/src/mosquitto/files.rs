//! Where the reader gets files from: a disk that somebody else reads, a map of a test, or a disk with changes on top.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where files come from.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Unread`] with the reason.
    fn read(&self, file: &Path) -> Result<Vec<u8>, Unread>;

    /// Names in a directory, not sorted, those of directories too.
    ///
    /// # Errors
    /// [`Unread`] with the reason.
    fn list(&self, directory: &Path) -> Result<Vec<String>, Unread>;
}

/// Why a file or directory could not be read, as a clause: `no such file`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unread(pub String);

/// Files in memory, for tests and questions of the kind "what if".
impl Files for BTreeMap<PathBuf, String> {
    fn read(&self, file: &Path) -> Result<Vec<u8>, Unread> {
        self.get(file)
            .map(|text| text.clone().into_bytes())
            .ok_or_else(|| Unread("no such file".to_owned()))
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, Unread> {
        let names: Vec<String> = self
            .keys()
            .filter(|file| file.parent() == Some(directory))
            .filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()))
            .collect();
        if names.is_empty() {
            return Err(Unread("no such directory".to_owned()));
        }
        Ok(names)
    }
}

/// Some files as they would be, over the others as they are.
pub struct Overlay<'a> {
    /// The others.
    pub below: &'a dyn Files,
    /// Path and text; `None`: as if removed.
    pub above: BTreeMap<PathBuf, Option<String>>,
}

impl Files for Overlay<'_> {
    fn read(&self, file: &Path) -> Result<Vec<u8>, Unread> {
        match self.above.get(file) {
            Some(Some(text)) => Ok(text.clone().into_bytes()),
            Some(None) => Err(Unread("no such file".to_owned())),
            None => self.below.read(file),
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, Unread> {
        let mut names = self.below.list(directory).unwrap_or_default();
        let below = self.below.list(directory);
        let mut above = false;
        for (file, text) in &self.above {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if file.parent() == Some(directory) {
                names.retain(|other| other != name);
                if text.is_some() {
                    above = true;
                    names.push(name.to_owned());
                }
            }
        }
        if above {
            Ok(names)
        } else {
            below.map(|_| names)
        }
    }
}

/// Names of a directory that are read, in mosquitto's order: letters without regard to case, a capital before its
/// small one (`A a B b`).
pub(super) fn included(names: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = names
        .into_iter()
        .filter(|name| name.len() > ".conf".len() && name.ends_with(".conf"))
        .collect();
    names.sort_by(|a, b| {
        for (a, b) in a.bytes().zip(b.bytes()) {
            let order = a
                .to_ascii_uppercase()
                .cmp(&b.to_ascii_uppercase())
                .then(a.cmp(&b));
            if order.is_ne() {
                return order;
            }
        }
        a.len().cmp(&b.len())
    });
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_the_order_of_the_manual_page() {
        let names = [
            "b.conf", "A.conf", "01.conf", "a.conf", "B.conf", "00.conf", "x.CONF", ".conf",
            "y.txt",
        ];
        let sorted = included(names.map(str::to_owned).to_vec());
        assert_eq!(
            sorted,
            ["00.conf", "01.conf", "A.conf", "a.conf", "B.conf", "b.conf"]
        );
    }

    #[test]
    fn an_overlay_adds_replaces_and_hides() {
        let below = BTreeMap::from([
            (PathBuf::from("/d/a"), "old".to_owned()),
            (PathBuf::from("/d/b"), "b".to_owned()),
        ]);
        let overlay = Overlay {
            below: &below,
            above: BTreeMap::from([
                (PathBuf::from("/d/a"), Some("new".to_owned())),
                (PathBuf::from("/d/b"), None),
                (PathBuf::from("/e/c"), Some("c".to_owned())),
            ]),
        };
        assert_eq!(overlay.read(Path::new("/d/a")).unwrap(), b"new");
        assert!(overlay.read(Path::new("/d/b")).is_err());
        assert_eq!(overlay.list(Path::new("/d")).unwrap(), ["a"]);
        assert_eq!(overlay.list(Path::new("/e")).unwrap(), ["c"]);
        assert!(overlay.list(Path::new("/f")).is_err());
    }
}
