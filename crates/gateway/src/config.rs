//! What is configured: environment over file over default (spec/gateway-config §4).
//!
//! ```text
//!   tedge.toml ── names, old names ──┐
//!   TEDGE_… variables ───────────────┼─► Config ── get, source ──► verbs
//!   table of defaults, inference ────┘     └────── settings ─────► findings, generator, client, broker
//! ```
//! Reading never writes: old names are understood where they stand (RULE 6). A value that is none is kept as a
//! [`ValueError`] of its key; the other keys still work, so that a command can repair it.

mod environment;
mod infer;
mod load;

pub use environment::{Environment, Locations};
pub use load::{LoadError, conflict};

use crate::document::Document;
use crate::keys::{Default, KeyName, Slot};
use crate::settings::{Settings, Source};
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is configured, good and bad.
#[derive(Debug, Clone)]
pub struct Config {
    locations: Locations,
    set: BTreeMap<Slot, Setting>,
    /// Empty variables unset their keys.
    cleared: BTreeSet<Slot>,
    problems: Vec<ValueError>,
    notices: Vec<Notice>,
}

/// A value that somebody set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// File or environment.
    pub source: Source,
}

/// A value that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// Its key.
    pub slot: Slot,
    /// Where it stands.
    pub place: Place,
    /// What is wrong; nothing secret.
    pub reason: String,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, under this name.
    File {
        /// The file.
        path: PathBuf,
        /// The key as it is written there.
        spelled: String,
    },
    /// In the environment.
    Variable {
        /// Name of the variable.
        name: String,
        /// Its text, masked for a secret.
        text: String,
    },
}

/// Something to tell beside the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Another name of a key was used, and honoured.
    Deprecated {
        /// As written.
        typed: String,
        /// As it should be.
        name: String,
    },
    /// A name that is no key.
    Unknown {
        /// Dotted name, or the variable's name behind the prefix in lower case.
        name: String,
        /// "toml file …" or "environment variable …".
        place: String,
    },
    /// A value that a command would not take without `--force`.
    Concern {
        /// Its key.
        slot: Slot,
        /// Why.
        reason: String,
    },
}

impl Config {
    /// Reads file and environment.
    ///
    /// # Errors
    /// [`LoadError`] when the file as a whole makes no sense; never for a single value.
    pub fn load(locations: &Locations, environment: &Environment) -> Result<Self, LoadError> {
        load::load(locations, environment)
    }

    /// What a file says that is read already, and the environment.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of(
        locations: &Locations,
        document: &Document,
        environment: &Environment,
    ) -> Result<Self, LoadError> {
        load::of(locations, document, environment)
    }

    /// What a file says, whatever the environment says.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_document(locations: &Locations, document: &Document) -> Result<Self, LoadError> {
        load::of(locations, document, &Environment::default())
    }

    /// The value in effect of a key in its cloud's default profile, and who said it.
    pub fn get(&self, key: KeyName) -> Option<(Value, Source)> {
        self.value(&Slot::of(key))
    }

    /// The value in effect, and who said it. `None`: nobody says anything, or what is said is no value.
    pub fn value(&self, slot: &Slot) -> Option<(Value, Source)> {
        if self.problem(slot).is_some() {
            return None;
        }
        let key = slot.key.key();
        if key.default == Default::Certificate
            && let Some(name) = self.certificate_name("device.cert_path")
        {
            return Some((Value::Text(name), Source::Inferred));
        }
        if let Some(setting) = self.set.get(slot) {
            return Some((setting.value.clone(), setting.source));
        }
        self.unset_value(slot)
    }

    /// The value that the key would have if nobody set it.
    pub fn default_value(&self, slot: &Slot) -> Option<Value> {
        let mut without = self.clone();
        without.set.remove(slot);
        without.unset_value(slot).map(|(value, _)| value)
    }

    fn unset_value(&self, slot: &Slot) -> Option<(Value, Source)> {
        let key = slot.key.key();
        match key.default {
            Default::Unset | Default::Certificate => None,
            Default::Fixed(text) => {
                // The table's defaults are values of their kinds; a test says so.
                let parsed = Value::parse(key.kind, text, Path::new("/")).ok()?;
                Some((parsed.value, Source::Default))
            }
            Default::Under(path) => {
                Some((Value::Path(self.locations.dir.join(path)), Source::Default))
            }
            Default::Same(other) => self.default_of(slot, other),
            Default::Inferred => self.inferred(slot.key),
        }
    }

    /// Who said the value in effect.
    pub fn source(&self, key: KeyName) -> Option<Source> {
        self.get(key).map(|(_, source)| source)
    }

    /// What file or environment say about it, before defaults and inference.
    pub fn setting(&self, slot: &Slot) -> Option<&Setting> {
        self.set.get(slot)
    }

    /// Whether somebody says something about it, be it that it is unset.
    pub fn is_said(&self, slot: &Slot) -> bool {
        self.set.contains_key(slot) || self.cleared.contains(slot)
    }

    /// The path in effect, of a key whose values are paths.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let (value, _) = self.get(KeyName::exact(name)?)?;
        value.as_path().map(Path::to_owned)
    }

    /// Keys in other than the default profile that are set.
    pub fn profiled(&self) -> impl Iterator<Item = &Slot> {
        self.set.keys().filter(|slot| slot.profile.is_some())
    }

    /// Values that are none.
    pub fn problems(&self) -> &[ValueError] {
        &self.problems
    }

    /// What is wrong with the value of a key.
    pub fn problem(&self, slot: &Slot) -> Option<&ValueError> {
        self.problems.iter().find(|problem| problem.slot == *slot)
    }

    /// What to tell beside an answer: old names, unknown names, odd values.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Where it was read from.
    pub const fn locations(&self) -> &Locations {
        &self.locations
    }

    /// The typed value of everything that concerns the broker and its clients.
    ///
    /// # Errors
    /// The values among them that are none.
    pub fn settings(&self) -> Result<Settings, Vec<ValueError>> {
        self.infer_settings()
    }

    fn default_of(&self, slot: &Slot, other: &str) -> Option<(Value, Source)> {
        if let Some(name) = slot
            .key
            .name()
            .strip_suffix(".device.id")
            .filter(|_| other == "device.id")
            .and_then(|cloud| {
                let own = self.set.keys().any(|set| {
                    set.key.name() == format!("{cloud}.device.cert_path")
                        && set.profile == slot.profile
                });
                own.then(|| self.certificate_name(&format!("{cloud}.device.cert_path")))
                    .flatten()
            })
        {
            return Some((Value::Text(name), Source::Inferred));
        }
        let (value, source) = self.get(KeyName::exact(other)?)?;
        Some((value, source.min(Source::Inferred)))
    }

    /// The common name in a device certificate that is there and readable.
    fn certificate_name(&self, path_key: &str) -> Option<String> {
        let path = self.path(path_key)?;
        let content = sectag_keep::read_public(&path).ok()??;
        let chain = sectag_pki::pem::certificates(std::str::from_utf8(&content).ok()?).ok()?;
        let facts = sectag_pki::show(chain.first()?).ok()?;
        common_name(&facts.subject)
    }
}

/// The common name of a subject in the order of RFC 4514, where a backslash escapes the character behind it.
fn common_name(subject: &str) -> Option<String> {
    let at = subject
        .match_indices("CN=")
        .map(|(at, _)| at)
        .find(|at| *at == 0 || subject[..*at].trim_end().ends_with([',', '+']))?;
    let mut name = String::new();
    let mut characters = subject[at + "CN=".len()..].chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => name.extend(characters.next()),
            ',' | '+' => break,
            _ => name.push(c),
        }
    }
    (!name.is_empty()).then_some(name)
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, spelled } => {
                write!(f, "{}: {} in `{spelled}`", path.display(), self.reason)
            }
            Place::Variable { name, text } => write!(f, "{name}={text}: {}", self.reason),
        }
    }
}

impl std::error::Error for ValueError {}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deprecated { typed, name } => {
                write!(f, "The key '{typed}' is deprecated. Use '{name}' instead.")
            }
            Self::Unknown { name, place } => {
                write!(f, "Unknown configuration field {name:?} from {place}")
            }
            Self::Concern { slot, reason } => write!(f, "{slot}: {reason}"),
        }
    }
}
