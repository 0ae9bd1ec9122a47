//! The keys: one table that says for each its type, default, other names and meaning (spec/gateway-config §2).
//!
//! ```text
//!   what was typed ──► KeyName::find ──► Found { slot: key + profile, spelling: Canonical | Deprecated }
//! ```
//! Everything else about a key (environment name, did-you-mean, order in a list, `docs/reference/config-keys.md`) is
//! computed from the table.

use std::fmt;

mod find;
mod reference;
mod table;

pub use find::{Found, Profile, Slot, Spelling, similar};
pub use reference::reference;

/// A key of the table; the only way to name one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(u16);

/// What the table says about a key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Canonical dotted name.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Its value when nobody sets it.
    pub default: Default,
    /// Other names, honoured with a notice in commands, files and environment alike (RULE 2): moved names, renamed leaves
    /// and those of version-1 files.
    pub aliases: &'static [&'static str],
    /// What it does, one sentence.
    pub about: &'static str,
    /// What to know besides.
    pub note: Option<&'static str>,
    /// Values that make sense.
    pub examples: &'static [&'static str],
    /// Masked wherever it is printed.
    pub secret: bool,
    /// Belongs to a cloud and may differ between its profiles.
    pub profiled: bool,
    /// thin-edge.io does not know it. It has no line in `list` while it is unset, so that the output stays theirs.
    pub ours: bool,
    /// What must be under the path.
    pub holds: Holds,
}

/// Types of values (spec/gateway-config §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1 to 65535.
    Port,
    /// 0 to 4294967295.
    Number,
    /// `true` or `false`.
    Bool,
    /// IPv4 or IPv6 address.
    Ip,
    /// Address or DNS name.
    Host,
    /// Address or DNS name, and a port if wanted.
    HostPort,
    /// Made absolute against the caller's working directory.
    Path,
    /// Seconds, or `30d`, `10 min`.
    Duration,
    /// One of these.
    Words(&'static [&'static str]),
    /// Separated by commas.
    List,
    /// Any text.
    Text,
    /// Text without wildcards of MQTT filters.
    Topic,
}

/// Where the value of an unset key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// It has none.
    Unset,
    /// This text.
    Fixed(&'static str),
    /// The value of another key.
    Same(&'static str),
    /// This path under the configuration directory.
    Under(&'static str),
    /// Other keys say it (RULE 17).
    Inferred,
    /// The common name of the device certificate.
    Certificate,
}

/// What a path should lead to, for warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Not a path, or one that may lead anywhere.
    Anything,
    /// Certificates, PEM.
    Certificate,
    /// A private key, PEM.
    PrivateKey,
    /// Certificates in a file, or a directory of them.
    Authorities,
    /// A directory of certificates.
    AuthorityDir,
    /// Some file.
    File,
}

impl KeyName {
    /// All keys in the order of their declaration.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..table::KEYS.len()).map(Self::at)
    }

    /// All keys in the order of lists: a group's own keys come before its sub-groups (spec/gateway-config §5).
    pub fn listed() -> Vec<Self> {
        let all: Vec<Self> = Self::all().collect();
        let mut listed = Vec::with_capacity(all.len());
        list_group(&all, 0, &mut listed);
        listed
    }

    /// The key with this canonical name.
    pub fn exact(name: &str) -> Option<Self> {
        table::KEYS
            .iter()
            .position(|key| key.name == name)
            .map(Self::at)
    }

    /// What the table says about it.
    pub fn key(self) -> &'static Key {
        &table::KEYS[usize::from(self.0)]
    }

    /// Canonical dotted name.
    pub fn name(self) -> &'static str {
        self.key().name
    }

    fn at(index: usize) -> Self {
        Self(u16::try_from(index).expect("the table has a hundred rows"))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Keys that share their first `depth` segments: leaves first, then each sub-group where it first appears.
fn list_group(keys: &[KeyName], depth: usize, listed: &mut Vec<KeyName>) {
    let segment = |key: KeyName| key.name().split('.').nth(depth);
    let is_leaf = |key: KeyName| key.name().split('.').nth(depth + 1).is_none();
    // On the top there are groups only.
    listed.extend(keys.iter().copied().filter(|key| is_leaf(*key)));
    let mut done: Vec<Option<&str>> = Vec::new();
    for key in keys.iter().copied().filter(|key| !is_leaf(*key)) {
        let name = segment(key);
        if done.contains(&name) {
            continue;
        }
        done.push(name);
        let group: Vec<KeyName> = keys
            .iter()
            .copied()
            .filter(|other| !is_leaf(*other) && segment(*other) == name)
            .collect();
        list_group(&group, depth + 1, listed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn no_two_keys_share_a_spelling() {
        let mut seen: BTreeMap<String, KeyName> = BTreeMap::new();
        for key in KeyName::all() {
            let spellings = std::iter::once(key.name()).chain(key.key().aliases.iter().copied());
            for spelling in spellings {
                let flat = spelling.replace('.', "_");
                let other = seen.insert(flat, key);
                assert!(other.is_none_or(|other| other == key), "{spelling}");
            }
        }
    }

    #[test]
    fn defaults_are_values_of_their_kind_and_lead_to_keys() {
        for name in KeyName::all() {
            let key = name.key();
            match key.default {
                Default::Fixed(text) => {
                    let root = std::path::Path::new("/");
                    crate::value::Value::parse(key.kind, text, root).unwrap();
                }
                Default::Same(other) => {
                    assert_eq!(KeyName::exact(other).unwrap().key().kind, key.kind);
                }
                _ => {}
            }
            for example in key.examples {
                let root = std::path::Path::new("/");
                crate::value::Value::parse(key.kind, example, root).unwrap();
            }
            assert!(key.about.ends_with('.'), "{name}");
            assert!(
                key.holds == Holds::Anything || key.kind == Kind::Path,
                "{name}"
            );
        }
    }

    #[test]
    fn a_list_has_the_leaves_of_a_group_before_its_sub_groups() {
        let names: Vec<&str> = KeyName::listed()
            .into_iter()
            .map(KeyName::name)
            .filter(|name| name.starts_with("mqtt.external"))
            .collect();
        assert_eq!(
            names,
            [
                "mqtt.external.ca_path",
                "mqtt.external.cert_file",
                "mqtt.external.key_file",
                "mqtt.external.crl_file",
                "mqtt.external.bind.port",
                "mqtt.external.bind.address",
                "mqtt.external.bind.interface",
            ]
        );
        assert_eq!(KeyName::listed().len(), KeyName::all().len());
    }
}
