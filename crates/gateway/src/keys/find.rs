//! From what was typed to a key.

use super::{KeyName, table};
use std::fmt;

/// A key, and the cloud profile that it is meant for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The key.
    pub key: KeyName,
    /// `None`: the cloud's default profile, or no cloud at all.
    pub profile: Option<Profile>,
}

/// Name of a cloud profile: letters, digits, `-` and `_`; never with a dot, which would end it inside a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile(String);

/// How a key was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// By its name.
    Canonical,
    /// By another name that is honoured with a notice.
    Deprecated,
}

/// A key that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What was meant.
    pub slot: Slot,
    /// How it was said.
    pub spelling: Spelling,
}

impl Profile {
    /// `None` when it could not be part of a key.
    pub fn new(name: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (!name.is_empty() && name.bytes().all(fits)).then(|| Self(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Slot {
    /// The key in its cloud's default profile.
    pub const fn of(key: KeyName) -> Self {
        Self { key, profile: None }
    }

    /// `c8y.url`, or with a profile `c8y.profiles.p1.url`.
    pub fn name(&self) -> String {
        match &self.profile {
            None => self.key.name().to_owned(),
            Some(profile) => {
                let (cloud, rest) = self.key.name().split_once('.').unwrap_or_default();
                format!("{cloud}.profiles.{}.{rest}", profile.as_str())
            }
        }
    }

    /// Name of the environment variable that sets it.
    pub fn variable(&self) -> String {
        format!(
            "TEDGE_{}",
            self.name().replace('.', "_").to_ascii_uppercase()
        )
    }
}

impl KeyName {
    /// The key of a dotted name; exact and case-sensitive (spec/gateway-config §4.4). `_` for `.` is a deprecated spelling,
    /// `c8y.profiles.p1.url` is `c8y.url` in a profile.
    pub fn find(typed: &str) -> Option<Found> {
        if let Some((key, spelling)) = plain(typed) {
            return Some(Found {
                slot: Slot::of(key),
                spelling,
            });
        }
        let (cloud, rest) = typed.split_once(".profiles.")?;
        let (profile, leaf) = rest.split_once('.')?;
        let (key, spelling) = plain(&format!("{cloud}.{leaf}"))?;
        let profile = Profile::new(profile)?;
        key.key().profiled.then_some(Found {
            slot: Slot {
                key,
                profile: Some(profile),
            },
            spelling,
        })
    }

    /// The key of the part of a variable's name behind `TEDGE_`.
    pub fn of_variable(rest: &str) -> Option<Found> {
        let flat = rest.to_ascii_lowercase();
        if let Some((key, spelling)) = flat_name(&flat) {
            return Some(Found {
                slot: Slot::of(key),
                spelling,
            });
        }
        // Profile names may hold underscores: the longest key that ends the name wins.
        let (cloud, behind) = flat.split_once("_profiles_")?;
        let profile = |at: usize| {
            let (key, spelling) = flat_name(&format!("{cloud}{}", &behind[at..]))?;
            let profile = Profile::new(&behind[..at])?;
            key.key().profiled.then_some(Found {
                slot: Slot {
                    key,
                    profile: Some(profile),
                },
                spelling,
            })
        };
        behind.match_indices('_').find_map(|(at, _)| profile(at))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names that were probably meant: first those with the same last segment or a few letters off (two at most), the nearest
/// first; for the name of a group, its first keys. Three at most (RULE 9).
pub fn similar(typed: &str) -> Vec<&'static str> {
    const SHOWN_MAX: usize = 3;
    // A name far beyond any key is no typing mistake, and comparing it would only cost time.
    const TYPED_BYTES_MAX: usize = 128;
    if typed.len() > TYPED_BYTES_MAX {
        return Vec::new();
    }
    let lower = typed.to_ascii_lowercase();
    let leaf = lower.rsplit(['.', '_']).next().unwrap_or_default();
    let group = format!("{lower}.");
    let mut near: Vec<(usize, usize, &'static str)> = table::KEYS
        .iter()
        .enumerate()
        .filter_map(|(at, key)| {
            let steps = std::iter::once(&key.name)
                .chain(key.aliases)
                .map(|name| distance(&lower, name))
                .min()?;
            let last = lower.rsplit('.').next();
            let same_leaf = std::iter::once(&key.name)
                .chain(key.aliases)
                .any(|name| name.rsplit('.').next() == last);
            let far_leaf = leaf.len() > 3 && key.name.ends_with(leaf);
            (steps <= 2 || same_leaf || far_leaf || key.name.starts_with(&group)).then(|| {
                let rank = if steps <= 2 {
                    steps
                } else {
                    3 + distance(&lower, key.name)
                };
                (rank, at, key.name)
            })
        })
        .collect();
    near.sort_unstable();
    near.into_iter()
        .take(SHOWN_MAX)
        .map(|(_, _, name)| name)
        .collect()
}

fn plain(typed: &str) -> Option<(KeyName, Spelling)> {
    if let Some(key) = KeyName::exact(typed) {
        return Some((key, Spelling::Canonical));
    }
    let alias = KeyName::all().find(|key| key.key().aliases.contains(&typed));
    if let Some(key) = alias {
        return Some((key, Spelling::Deprecated));
    }
    if typed.contains('.') {
        return None;
    }
    flat_name(typed).map(|(key, _)| (key, Spelling::Deprecated))
}

/// A name with `_` for every `.`.
fn flat_name(flat: &str) -> Option<(KeyName, Spelling)> {
    let same = |name: &str| {
        name.len() == flat.len()
            && name
                .bytes()
                .zip(flat.bytes())
                .all(|(a, b)| a == b || (a == b'.' && b == b'_'))
    };
    if let Some(key) = KeyName::all().find(|key| same(key.name())) {
        return Some((key, Spelling::Canonical));
    }
    KeyName::all()
        .find(|key| key.key().aliases.iter().any(|alias| same(alias)))
        .map(|key| (key, Spelling::Deprecated))
}

/// Letters to change, insert, remove, or swap with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut steps = (last[j] + usize::from(a[i] != b[j]))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                steps = steps.min(before[j - 1] + 1);
            }
            row.push(steps);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(typed: &str) -> (String, Spelling) {
        let found = KeyName::find(typed).unwrap();
        (found.slot.name(), found.spelling)
    }

    #[test]
    fn a_key_is_found_by_its_name_by_an_alias_and_with_underscores() {
        let name = "mqtt.client.auth.ca_file".to_owned();
        assert_eq!(found(&name), (name.clone(), Spelling::Canonical));
        for other in [
            "mqtt.client.auth.cafile",
            "mqtt.client.cafile",
            "mqtt.client_ca_file",
            "mqtt_client_auth_ca_file",
        ] {
            assert_eq!(found(other), (name.clone(), Spelling::Deprecated));
        }
        for no in [
            "MQTT.bind.port",
            "mqtt.external",
            "config.version",
            "",
            "mqtt_bind.port",
        ] {
            assert_eq!(KeyName::find(no), None, "{no}");
        }
    }

    #[test]
    fn a_profile_belongs_to_a_cloud() {
        assert_eq!(
            found("c8y.profiles.p1.device.cert_path").0,
            "c8y.profiles.p1.device.cert_path"
        );
        assert_eq!(KeyName::find("mqtt.profiles.p1.bind.port"), None);
        assert_eq!(KeyName::find("c8y.profiles..url"), None);
        let slot = KeyName::of_variable("C8Y_PROFILES_P_1_URL").unwrap().slot;
        assert_eq!(slot.name(), "c8y.profiles.p_1.url");
        assert_eq!(slot.variable(), "TEDGE_C8Y_PROFILES_P_1_URL");
    }

    #[test]
    fn what_was_probably_meant_is_said_nearest_first_and_three_at_most() {
        assert_eq!(
            similar("mqtt.extrenal.bind.port")[0],
            "mqtt.external.bind.port"
        );
        assert_eq!(similar("MQTT.bind.port")[0], "mqtt.bind.port");
        assert_eq!(
            similar("mqtt.client.ca_file")[0],
            "mqtt.client.auth.ca_file"
        );
        assert!(
            similar("mqtt.external")
                .iter()
                .all(|name| name.starts_with("mqtt.external."))
        );
        assert_eq!(similar("mqtt.external").len(), 3);
        assert_eq!(similar("client.cafile"), ["mqtt.client.auth.ca_file"]);
        assert!(similar("no.such.key").is_empty());
        assert!(similar(&"x".repeat(10_000)).is_empty());
    }
}
