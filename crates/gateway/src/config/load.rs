//! File and environment, read into one [`Config`].

use super::environment::PREFIX;
use super::{Config, Environment, Locations, Notice, Place, Setting, ValueError};
use crate::document::{Document, DocumentError};
use crate::keys::{Found, KeyName, Kind, Slot, Spelling};
use crate::settings::Source;
use crate::value::{Parsed, Refusal, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use toml_edit::Item;

/// Why nothing can be read at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read, or is not TOML.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The file is of a schema that is unknown here.
    #[error("Unknown tedge.toml version: {version}")]
    Version {
        /// What `config.version` says.
        version: String,
    },
    /// A key stands in the file under two names.
    #[error(
        "Cannot migrate '{old}' to '{new}': target key already exists. Please manually remove one of them from tedge.toml."
    )]
    Twice {
        /// The deprecated name.
        old: String,
        /// The other one.
        new: String,
    },
    /// A value, or an array of tables, stands where a table with keys belongs; whatever is in it would be ignored.
    #[error("invalid type: {found}, expected a table\nin `{name}`")]
    NoTable {
        /// The group's name.
        name: String,
        /// What is there.
        found: String,
    },
    /// A variable of ours is not UTF-8.
    #[error("the environment variable {0} is not text in UTF-8")]
    NoText(String),
    /// A key has two values in the environment.
    #[error(
        "the environment variables {old} and {new} are names of the same key, with different values"
    )]
    TwoVariables {
        /// The deprecated name.
        old: String,
        /// The other one.
        new: String,
    },
}

pub(super) fn load(locations: &Locations, environment: &Environment) -> Result<Config, LoadError> {
    let document = Document::read(&locations.file())?;
    Config::of(locations, &document, environment)
}

pub(super) fn of(
    locations: &Locations,
    document: &Document,
    environment: &Environment,
) -> Result<Config, LoadError> {
    if let Some(name) = environment.not_text().first() {
        return Err(LoadError::NoText(name.clone()));
    }
    let mut config = Config {
        locations: locations.clone(),
        set: BTreeMap::new(),
        cleared: BTreeSet::new(),
        problems: Vec::new(),
        notices: Vec::new(),
    };
    read_file(&mut config, document, locations.file())?;
    read_environment(&mut config, environment)?;
    Ok(config)
}

/// What is wrong with a file as a whole: an unknown version, or a key under two names.
///
/// # Errors
/// [`LoadError::Version`], [`LoadError::Twice`].
pub fn conflict(document: &Document) -> Result<(), LoadError> {
    known_version(document)?;
    let mut names: BTreeMap<Slot, (String, Spelling)> = BTreeMap::new();
    for (name, _) in document.values() {
        if let Some(found) = KeyName::find(&name) {
            add_name(&mut names, &name, &found)?;
        }
    }
    Ok(())
}

fn known_version(document: &Document) -> Result<(), LoadError> {
    let Some(item) = document.get("config.version") else {
        return Ok(());
    };
    let version = match item.as_str() {
        Some(text) => text.to_owned(),
        None => item.to_string().trim().to_owned(),
    };
    match version.as_str() {
        "1" | "2" => Ok(()),
        _ => Err(LoadError::Version { version }),
    }
}

fn add_name(
    names: &mut BTreeMap<Slot, (String, Spelling)>,
    name: &str,
    found: &Found,
) -> Result<(), LoadError> {
    let entry = (name.to_owned(), found.spelling);
    let Some((other, spelling)) = names.insert(found.slot.clone(), entry) else {
        return Ok(());
    };
    let (old, new) = match spelling {
        Spelling::Deprecated => (other, name.to_owned()),
        Spelling::Canonical => (name.to_owned(), other),
    };
    Err(LoadError::Twice { old, new })
}

fn read_file(config: &mut Config, document: &Document, path: PathBuf) -> Result<(), LoadError> {
    known_version(document)?;
    let mut names = BTreeMap::new();
    for (name, item) in document.values() {
        if name == "config.version" {
            continue;
        }
        let place = |spelled: &str| Place::File {
            path: path.clone(),
            spelled: spelled.to_owned(),
        };
        let Some(found) = KeyName::find(&name) else {
            match table_in_place_of_value(&name) {
                Some(slot) => config.problems.push(ValueError {
                    place: place(&slot.name()),
                    reason: "invalid type: map, expected a value".to_owned(),
                    slot,
                }),
                None if is_group(&name) => {
                    let found = item.type_name().to_owned();
                    return Err(LoadError::NoTable { name, found });
                }
                None => config.notices.push(Notice::Unknown {
                    place: format!("toml file {}", path.display()),
                    name,
                }),
            }
            continue;
        };
        if found.spelling == Spelling::Deprecated {
            config.notices.push(Notice::Deprecated {
                typed: name.clone(),
                name: found.slot.name(),
            });
        }
        add_name(&mut names, &name, &found)?;
        let parsed = Value::from_toml(found.slot.key.key().kind, item, &config.locations.dir);
        config.take(found.slot, parsed, Source::File, || place(&name));
    }
    for spelled in document.empty_tables() {
        if let Some(Found { slot, .. }) = KeyName::find(&spelled) {
            config.problems.push(ValueError {
                place: Place::File {
                    path: path.clone(),
                    spelled,
                },
                reason: "invalid type: map, expected a value".to_owned(),
                slot,
            });
        }
    }
    Ok(())
}

/// Keys are below this name.
fn is_group(name: &str) -> bool {
    let below = |key: &str| {
        key.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let names =
        |key: KeyName| below(key.name()) || key.key().aliases.iter().any(|alias| below(alias));
    name == "config" || KeyName::all().any(names)
}

/// `[mqtt.bind.port]`, with something in it.
fn table_in_place_of_value(name: &str) -> Option<Slot> {
    name.match_indices('.')
        .find_map(|(at, _)| KeyName::find(&name[..at]))
        .map(|found| found.slot)
}

fn read_environment(config: &mut Config, environment: &Environment) -> Result<(), LoadError> {
    let mut seen: BTreeMap<Slot, (&str, &str)> = BTreeMap::new();
    for (rest, text) in environment.keys() {
        let variable = format!("{PREFIX}{rest}");
        let Some(Found { slot, spelling }) = KeyName::of_variable(rest) else {
            config.notices.push(Notice::Unknown {
                name: rest.to_ascii_lowercase(),
                place: format!("environment variable {variable}"),
            });
            continue;
        };
        if let Some((other, value)) = seen.insert(slot.clone(), (rest, text))
            && value != text
        {
            return Err(LoadError::TwoVariables {
                old: format!("{PREFIX}{other}"),
                new: variable,
            });
        }
        if spelling == Spelling::Deprecated {
            config.notices.push(Notice::Deprecated {
                typed: variable.clone(),
                name: slot.variable(),
            });
        }
        if text.is_empty() {
            config.clear(slot);
            continue;
        }
        let parsed = from_variable(slot.key.key().kind, text, config);
        let secret = slot.key.key().secret;
        config.take(slot, parsed, Source::Environment, || Place::Variable {
            name: variable,
            text: if secret {
                "…".to_owned()
            } else {
                text.to_owned()
            },
        });
    }
    Ok(())
}

/// A text that begins like a TOML string or list is one; otherwise it is read as on the command line.
fn from_variable(kind: Kind, text: &str, config: &Config) -> Result<Parsed, Refusal> {
    if !text.starts_with(['"', '[']) {
        return Value::parse(kind, text, &config.locations.cwd);
    }
    let value: toml_edit::Value = text
        .parse()
        .map_err(|e: toml_edit::TomlError| Refusal(e.message().to_owned()))?;
    Value::from_toml(kind, &Item::Value(value), &config.locations.cwd)
}

impl Config {
    fn take(
        &mut self,
        slot: Slot,
        parsed: Result<Parsed, Refusal>,
        source: Source,
        place: impl FnOnce() -> Place,
    ) {
        self.clear(slot.clone());
        self.cleared.remove(&slot);
        match parsed {
            Ok(Parsed { value, concern }) => {
                if let Some(reason) = concern {
                    self.notices.push(Notice::Concern {
                        slot: slot.clone(),
                        reason,
                    });
                }
                self.set.insert(slot, Setting { value, source });
            }
            Err(Refusal(reason)) => self.problems.push(ValueError {
                reason: if slot.key.key().secret {
                    "this is no value of its type".to_owned()
                } else {
                    reason
                },
                place: place(),
                slot,
            }),
        }
    }

    fn clear(&mut self, slot: Slot) {
        self.set.remove(&slot);
        self.problems.retain(|problem| problem.slot != slot);
        self.cleared.insert(slot);
    }
}
