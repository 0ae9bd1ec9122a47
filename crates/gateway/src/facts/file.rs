//! What is at a path: nothing, something closed, a directory of certificates, or a file taken apart.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use sectag_keep::{End, Look, Node};
use sectag_pki::material::{Material, material};

use super::user::is_readable_by_others;
use super::{Access, Machine, Trusted, User, Want};

/// Entries of a directory that are looked at; a system's store has a few hundred.
pub const DIRECTORY_ENTRIES_MAX: usize = 4096;

/// A path and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFacts {
    /// The way there, with modes and owners.
    pub look: Look,
    /// What is there.
    pub what: What,
    /// It is, or leads to, a place where the system keeps public CAs.
    pub is_system_store: bool,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Nothing.
    Missing,
    /// Something that the user who looked cannot read: why.
    Unreadable(String),
    /// A directory.
    Directory(DirectoryFacts),
    /// A file.
    File(FileFacts),
}

/// A directory as those see it who look for CAs in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryFacts {
    /// How many entries it has.
    pub entries: usize,
    /// Files with the extensions `pem`, `crt` and `cer`: what our clients read.
    pub by_extension: Vec<Inside>,
    /// Files with names like `1f2e3d4c.0`: what OpenSSL, and so mosquitto, reads.
    pub hashed: Vec<Inside>,
}

/// A file in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// Its path under the directory.
    pub path: PathBuf,
    /// The file behind it, links followed.
    pub node: Node,
    /// What is in it, or why it could not be read.
    pub found: Result<Material, String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Mode and owner.
    pub node: Node,
    /// Certificates, keys and revocation lists in it.
    pub material: Material,
    /// What its first line would be as a password.
    pub password: Password,
}

/// The first line of a file, without what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// There is something.
    Present,
    /// The file, or its first line, is empty.
    Empty,
    /// Bytes that are no text in UTF-8.
    NoText,
}

impl PathFacts {
    /// Looks at a path and reads what is there.
    pub fn read(path: &Path, machine: &Machine) -> Self {
        Self::read_beside(path, &system_stores(machine))
    }

    /// As [`PathFacts::read`], for many paths: the stores are looked up once.
    pub(super) fn read_beside(path: &Path, stores: &[PathBuf]) -> Self {
        let look = sectag_keep::look(path);
        let what = match &look.end {
            End::Missing => What::Missing,
            End::Blocked(why) => What::Unreadable(why.clone()),
            End::Other(_) => What::Unreadable("it is neither a file nor a directory".to_owned()),
            End::File(node) => match sectag_keep::content(path) {
                Ok(Some(content)) => What::File(FileFacts {
                    node: node.clone(),
                    material: material(&content),
                    password: password(&content),
                }),
                Ok(None) => What::Missing,
                Err(e) => What::Unreadable(reason(&e)),
            },
            End::Directory(_) => match directory(path) {
                Ok(facts) => What::Directory(facts),
                Err(e) => What::Unreadable(reason(&e)),
            },
        };
        Self {
            is_system_store: is_among(path, &look, stores),
            look,
            what,
        }
    }

    /// Can that user do it?
    pub fn access(&self, user: &User, want: Want) -> Access {
        user.access(&self.look, want)
    }

    /// Could anybody on this machine read it?
    pub fn is_readable_by_others(&self) -> bool {
        is_readable_by_others(&self.look)
    }

    /// What is at the end of the way, if we came that far.
    pub fn node(&self) -> Option<&Node> {
        match &self.look.end {
            End::Directory(node) | End::File(node) | End::Other(node) => Some(node),
            End::Missing | End::Blocked(_) => None,
        }
    }
}

impl Inside {
    pub(super) fn trusted(&self) -> impl Iterator<Item = Trusted<'_>> {
        let held = self.found.iter().flat_map(|found| &found.certificates);
        held.map(|held| Trusted {
            from: &self.path,
            held,
        })
    }
}

fn directory(dir: &Path) -> Result<DirectoryFacts, sectag_keep::KeepError> {
    let names = sectag_keep::names(dir, DIRECTORY_ENTRIES_MAX)?;
    let mut facts = DirectoryFacts {
        entries: names.len(),
        ..DirectoryFacts::default()
    };
    for name in names {
        let (extension, hash) = (has_extension(&name), is_hash(&name));
        if !extension && !hash {
            continue;
        }
        let path = dir.join(name);
        let End::File(node) = sectag_keep::look(&path).end else {
            continue;
        };
        let found = match sectag_keep::content(&path) {
            Ok(content) => Ok(material(content.as_deref().map_or(&[], Vec::as_slice))),
            Err(e) => Err(reason(&e)),
        };
        let inside = Inside { path, node, found };
        if extension {
            facts.by_extension.push(inside);
        } else if holds_certificate(&inside) {
            facts.hashed.push(inside);
        }
    }
    Ok(facts)
}

fn holds_certificate(inside: &Inside) -> bool {
    inside
        .found
        .as_ref()
        .is_ok_and(|found| !found.certificates.is_empty())
}

fn has_extension(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    matches!(extension, Some("pem" | "crt" | "cer"))
}

/// The hash of a subject in eight digits, a point, a number (`openssl rehash`). Revocation lists have `.r0`.
fn is_hash(name: &OsStr) -> bool {
    let Some((hash, number)) = name.to_str().and_then(|name| name.split_once('.')) else {
        return false;
    };
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    hash.len() == 8
        && hash.bytes().all(hex)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// The places of public CAs, and where their links lead.
pub(super) fn system_stores(machine: &Machine) -> Vec<PathBuf> {
    let mut places = machine.system_stores.clone();
    for store in &machine.system_stores {
        match sectag_keep::look(store).end {
            End::Directory(node) | End::File(node) if !places.contains(&node.path) => {
                places.push(node.path);
            }
            _ => {}
        }
    }
    places
}

fn is_among(path: &Path, look: &Look, stores: &[PathBuf]) -> bool {
    let real = match &look.end {
        End::Directory(node) | End::File(node) => Some(&node.path),
        _ => None,
    };
    stores
        .iter()
        .any(|store| store == path || real == Some(store))
}

fn password(content: &[u8]) -> Password {
    let line = content.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Password::Empty,
        Ok(_) => Password::Present,
        Err(_) => Password::NoText,
    }
}

/// The cause alone: the path is said beside it.
fn reason(error: &sectag_keep::KeepError) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hash_links_are_known() {
        for name in ["1f2e3d4c.0", "00000000.12"] {
            assert!(is_hash(OsStr::new(name)), "{name}");
        }
        for name in [
            "1f2e3d4c.r0",
            "1f2e3d4c.",
            "1f2e3d4.0",
            "1F2E3D4C.0",
            "ca.pem",
            "1f2e3d4c",
        ] {
            assert!(!is_hash(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_password_is_the_first_line() {
        assert_eq!(password(b"secret\nmore"), Password::Present);
        assert_eq!(password(b"secret\r\n"), Password::Present);
        for empty in [&b""[..], b"\n", b"\r\nx"] {
            assert_eq!(password(empty), Password::Empty);
        }
        assert_eq!(password(&[0xff, 1]), Password::NoText);
    }
}
