//! What shall lie under which tag, as a TOML file (docs/reference/creds-manifest.md), or by the names of files in a
//! folder. Pure: text in, names of files out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sectag_proto::{CredentialType, SecTag};
use toml::{Table, Value};

/// Longest manifest read, in bytes: some hundred tags.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// Key in the manifest, type.
const KEYS: [(&str, CredentialType); 5] = [
    ("root_ca", CredentialType::ROOT_CA),
    ("client_cert", CredentialType::CLIENT_CERTIFICATE),
    ("private_key", CredentialType::CLIENT_PRIVATE_KEY),
    ("psk", CredentialType::PSK),
    ("psk_id", CredentialType::PSK_IDENTITY),
];

/// Names in a folder, without the `-2` of the second set, and their types: those of the SDK's sample and exercise, then
/// those of [`FileStore`](super::FileStore).
const FILES: [(&str, CredentialType); 8] = [
    ("ca-cert.pem", CredentialType::ROOT_CA),
    ("client-cert.pem", CredentialType::CLIENT_CERTIFICATE),
    ("private-key.pem", CredentialType::CLIENT_PRIVATE_KEY),
    ("root-ca.pem", CredentialType::ROOT_CA),
    ("client.key", CredentialType::CLIENT_PRIVATE_KEY),
    ("psk", CredentialType::PSK),
    ("psk-id", CredentialType::PSK_IDENTITY),
    ("psk-identity", CredentialType::PSK_IDENTITY),
];

/// Which files belong under which tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// In the order of the tags.
    pub tags: BTreeMap<SecTag, TagFiles>,
}

/// The files of one tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagFiles {
    /// Paths as they were given.
    pub files: BTreeMap<CredentialType, PathBuf>,
    /// Whatever else lies under the tag is deleted. Default: `false`.
    pub only: bool,
}

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Longer than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest has {bytes} bytes, more than {MANIFEST_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not TOML.
    #[error("the manifest is not TOML: {0}")]
    Syntax(String),
    /// A key that means nothing.
    #[error("`{key}` is unknown{}", place(r#in))]
    Unknown {
        /// The key.
        key: String,
        /// The table it is in; empty at the top.
        r#in: String,
        /// The nearest one that is known.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong kind.
    #[error("`{key}` is not {expected}")]
    Kind {
        /// The key with its table.
        key: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A table whose name is no tag.
    #[error("{0}")]
    Tag(String),
    /// Nothing in it.
    #[error("the manifest names no credentials")]
    Empty,
}

fn place(table: &str) -> String {
    if table.is_empty() {
        String::new()
    } else {
        format!(" in [{table}]")
    }
}

impl ManifestError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            Self::Unknown { .. } | Self::Empty | Self::Tag(_) => Some(
                "a tag is a table like [tags.24] with root_ca, client_cert, private_key, psk, psk_id = \"FILE\", and only = true"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`]; unknown keys are errors, so that a misspelled one cannot be missed.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes: text.len() });
        }
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| ManifestError::Syntax(one_line(&error, text)))?;
        let mut manifest = Self::default();
        for (key, value) in &table {
            if key != "tags" {
                return Err(unknown(key, "", &["tags"]));
            }
            for (name, value) in table_of(value, "tags", "a table of tags")? {
                let tag = name
                    .parse::<SecTag>()
                    .map_err(|error| ManifestError::Tag(error.to_string()))?;
                let under = format!("tags.{name}");
                let files = files(table_of(value, &under, "a table")?, &under)?;
                if manifest.tags.insert(tag, files).is_some() {
                    return Err(ManifestError::Tag(format!("sec tag {tag} is there twice")));
                }
            }
        }
        if manifest.tags.is_empty() {
            return Err(ManifestError::Empty);
        }
        Ok(manifest)
    }
}

fn files(table: &Table, under: &str) -> Result<TagFiles, ManifestError> {
    let mut tag = TagFiles::default();
    for (key, value) in table {
        let full = || format!("{under}.{key}");
        if key == "only" {
            tag.only = value.as_bool().ok_or_else(|| ManifestError::Kind {
                key: full(),
                expected: "true or false",
            })?;
            continue;
        }
        let Some((_, kind)) = KEYS.iter().find(|(name, _)| name == key) else {
            let mut names: Vec<&'static str> = KEYS.iter().map(|(name, _)| *name).collect();
            names.push("only");
            return Err(unknown(key, under, &names));
        };
        let path = value
            .as_str()
            .filter(|path| !path.is_empty())
            .ok_or_else(|| ManifestError::Kind {
                key: full(),
                expected: "the name of a file, as a string",
            })?;
        tag.files.insert(*kind, path.into());
    }
    if tag.files.is_empty() && !tag.only {
        return Err(ManifestError::Empty);
    }
    Ok(tag)
}

fn table_of<'a>(
    value: &'a Value,
    key: &str,
    expected: &'static str,
) -> Result<&'a Table, ManifestError> {
    value.as_table().ok_or_else(|| ManifestError::Kind {
        key: key.to_owned(),
        expected,
    })
}

fn unknown(key: &str, table: &str, known: &[&'static str]) -> ManifestError {
    let letters = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let wanted = letters(key);
    let nearest = known.iter().copied().find(|name| {
        let name = letters(name);
        name == wanted || name.contains(&wanted) || wanted.contains(&name)
    });
    ManifestError::Unknown {
        key: key.chars().take(64).collect(),
        r#in: table.to_owned(),
        nearest,
    }
}

/// Where and what, without the text around it: somebody may have pasted a key there.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("{} at line {line}", error.message()),
        None => error.message().to_owned(),
    }
}

/// Which of a folder's sets of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// `ca-cert.pem`: for the tag.
    Primary,
    /// `ca-cert-2.pem`: for the secondary tag.
    Secondary,
}

/// What a file in a folder is, by its name; `None` for a name that means nothing here.
pub fn type_of_file(name: &str) -> Option<(CredentialType, Set)> {
    let find = |name: &str| FILES.iter().find(|(known, _)| *known == name);
    if let Some((_, kind)) = find(name) {
        return Some((*kind, Set::Primary));
    }
    let first = match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{}.{extension}", stem.strip_suffix("-2")?),
        None => name.strip_suffix("-2")?.to_owned(),
    };
    find(&first).map(|(_, kind)| (*kind, Set::Secondary))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_files_are_read() {
        let manifest = Manifest::parse(
            "[tags.24]\nroot_ca = \"ca.pem\"\n[tags.42]\nclient_cert = \"c.pem\"\nprivate_key = \"k.pem\"\nonly = true\n",
        )
        .unwrap();
        let tags: Vec<u32> = manifest.tags.keys().map(|tag| tag.get()).collect();
        assert_eq!(tags, [24, 42]);
        let second = &manifest.tags[&SecTag::new(42).unwrap()];
        assert!(second.only);
        assert_eq!(
            second.files[&CredentialType::CLIENT_PRIVATE_KEY],
            PathBuf::from("k.pem")
        );
    }

    #[test]
    fn a_misspelled_key_is_an_error_with_the_right_one() {
        let error = Manifest::parse("[tags.24]\nroot-ca = \"ca.pem\"\n").unwrap_err();
        assert_eq!(error.to_string(), "`root-ca` is unknown in [tags.24]");
        assert_eq!(error.hint().unwrap(), "did you mean `root_ca`?");
        let error = Manifest::parse("[tag.24]\nroot_ca = \"ca.pem\"\n").unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean `tags`?");
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_its_place() {
        for (text, words) in [
            ("", "names no credentials"),
            ("[tags.24]\n", "names no credentials"),
            ("tags = 3\n", "`tags` is not a table of tags"),
            ("[tags.2147483648]\nroot_ca = \"a\"\n", "out of range"),
            ("[tags.one]\nroot_ca = \"a\"\n", "`one` is not a sec tag"),
            (
                "[tags.1]\nroot_ca = 1\n",
                "`tags.1.root_ca` is not the name",
            ),
            (
                "[tags.1]\nroot_ca = \"a\"\nonly = \"yes\"\n",
                "true or false",
            ),
            (
                "[tags.1]\nroot_ca = \"a\"\n[tags.01]\nroot_ca = \"a\"\n",
                "there twice",
            ),
            ("\n[tags.1\n", "at line 2"),
        ] {
            let error = Manifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        assert!(Manifest::parse(&"#".repeat(MANIFEST_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn files_are_known_by_the_names_of_sample_and_store() {
        for (name, kind, set) in [
            ("ca-cert.pem", 0, Set::Primary),
            ("ca-cert-2.pem", 0, Set::Secondary),
            ("client-cert.pem", 1, Set::Primary),
            ("client-cert-2.pem", 1, Set::Secondary),
            ("private-key.pem", 2, Set::Primary),
            ("private-key-2.pem", 2, Set::Secondary),
            ("root-ca.pem", 0, Set::Primary),
            ("client.key", 2, Set::Primary),
            ("psk", 3, Set::Primary),
            ("psk-2", 3, Set::Secondary),
            ("psk-id", 4, Set::Primary),
        ] {
            assert_eq!(
                type_of_file(name),
                Some((CredentialType(kind), set)),
                "{name}"
            );
        }
        for name in ["", ".pem", "ca.pem", "ca-cert-3.pem", "README.md", "-2"] {
            assert_eq!(type_of_file(name), None, "{name}");
        }
    }
}
