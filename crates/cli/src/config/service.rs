//! `config --service`: the same verbs for `sectag.toml`, which says how `sectag up` runs.
//!
//! The file is edited as `tedge.toml` is; `sectag_server::Settings` judges the result before it is written, so what is stored
//! is what the service takes.

use crate::args::ConfigVerb;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_gateway::document::{self, Document, DocumentError};
use sectag_gateway::verbs::{Said, value_of_line};
use sectag_keep::KeepError;
use sectag_server::{Private, Settings, SettingsError};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use toml_edit::{Array, Value};

/// A key of `sectag.toml`. `docs/reference/sectag-toml.md` says what each does.
struct ServiceKey {
    name: &'static str,
    /// What it is in the settings.
    of: fn(&Settings) -> Value,
}

const KEYS: &[ServiceKey] = &[
    ServiceKey {
        name: "names",
        of: |settings| Array::from_iter(&settings.names).into(),
    },
    ServiceKey {
        name: "policy",
        of: |settings| settings.policy.as_str().into(),
    },
    ServiceKey {
        name: "open-commands-max",
        of: |settings| {
            i64::try_from(settings.open_commands_max)
                .unwrap_or(i64::MAX)
                .into()
        },
    },
    ServiceKey {
        name: "listen.owner",
        of: |settings| settings.listen.owner.to_string().into(),
    },
    ServiceKey {
        name: "listen.loopback",
        of: |settings| settings.listen.loopback.to_string().into(),
    },
    ServiceKey {
        name: "listen.device",
        of: |settings| settings.listen.device.to_string().into(),
    },
    ServiceKey {
        name: "listen.mqtt",
        of: |settings| settings.listen.mqtt.to_string().into(),
    },
    ServiceKey {
        name: "listen.coap",
        of: |settings| settings.listen.coap.to_string().into(),
    },
    ServiceKey {
        name: "coap.authorised-s",
        of: |settings| i64::from(settings.coap.authorised_s).into(),
    },
    ServiceKey {
        name: "coap.attestation-auth",
        of: |settings| settings.coap.attestation_auth.into(),
    },
    ServiceKey {
        name: "owner.admin-claims-hidden",
        of: |settings| settings.owner.admin_claims_hidden.into(),
    },
    ServiceKey {
        name: "webhooks.ca-file",
        of: |settings| path(settings.webhooks.ca_file.as_deref()),
    },
    ServiceKey {
        name: "webhooks.private",
        of: |settings| match settings.webhooks.private {
            Private::Home => "home".into(),
            Private::All => "all".into(),
            Private::None => "none".into(),
        },
    },
    ServiceKey {
        name: "certificate.file",
        of: |settings| path(settings.certificate.file.as_deref()),
    },
    ServiceKey {
        name: "certificate.key",
        of: |settings| path(settings.certificate.key.as_deref()),
    },
];

/// A file, or an empty text for none.
fn path(file: Option<&Path>) -> Value {
    file.map_or_else(String::new, |file| file.display().to_string())
        .into()
}

pub(super) fn answer(program: &str, place: &Place, verb: ConfigVerb, json: bool) -> Outcome<Said> {
    let file = place.home.join("sectag.toml");
    let mut said = Said::default();
    match verb {
        ConfigVerb::Get { key, source, .. } => {
            let key = find(&key)?;
            let now = Now::read(file)?;
            let text = text_of(&(key.of)(&now.settings));
            said.stdout = match (json, source) {
                (true, _) => format!("{:#}\n", now.entry(key)),
                (false, true) => format!("{text}\t{}\n", now.source(key)),
                (false, false) => format!("{text}\n"),
            };
        }
        ConfigVerb::List {
            filter,
            source,
            changed,
            ..
        } => {
            let now = Now::read(file)?;
            let filter = filter.unwrap_or_default();
            let keys = KEYS
                .iter()
                .filter(|key| key.name.contains(&filter) && (!changed || now.is_changed(key)));
            if json {
                let entries: Vec<_> = keys.map(|key| now.entry(key)).collect();
                said.stdout = format!("{:#}\n", serde_json::Value::from(entries));
                return Ok(said);
            }
            for key in keys {
                let _ = write!(
                    said.stdout,
                    "{}={}",
                    key.name,
                    text_of(&(key.of)(&now.settings))
                );
                let _ = match source {
                    true => writeln!(said.stdout, "\t{}", now.source(key)),
                    false => writeln!(said.stdout),
                };
            }
        }
        ConfigVerb::Check => {
            Now::read(file)?;
            said.line("nothing to complain about");
        }
        ConfigVerb::Upgrade => said.line("sectag.toml has no old names"),
        ConfigVerb::Set {
            key,
            value,
            more,
            from,
            ..
        } => {
            let words: Vec<String> = match from {
                Some(from) => lines(&super::text_of(&from)?)?,
                None => key.into_iter().chain(value).chain(more).collect(),
            };
            if words.len() % 2 == 1 {
                return Err(Fault::untried(format!(
                    "`{}` has no value",
                    words[words.len() - 1]
                )));
            }
            let mut changes = Vec::new();
            for pair in words.chunks_exact(2) {
                let key = find(&pair[0])?;
                let value = if pair[1].is_empty() && key.name != "names" {
                    None
                } else {
                    Some(value_of(key, &pair[1])?)
                };
                changes.push((key, value));
            }
            write(place, file, &changes, &mut said, program)?;
        }
        ConfigVerb::Unset { key, more, .. } => {
            let mut changes = vec![(find(&key)?, None)];
            for key in &more {
                changes.push((find(key)?, None));
            }
            write(place, file, &changes, &mut said, program)?;
        }
        ConfigVerb::Add { key, value, .. } => {
            let key = find(&key)?;
            let mut items = items(&Now::read(file.clone())?.in_file, key)?;
            items.extend(value.split(',').map(|item| item.trim().to_owned()));
            items.sort_unstable();
            items.dedup();
            let list = Array::from_iter(&items).into();
            write(place, file, &[(key, Some(list))], &mut said, program)?;
        }
        ConfigVerb::Remove { key, value, .. } => {
            let key = find(&key)?;
            let mut items = items(&Now::read(file.clone())?.in_file, key)?;
            items.retain(|item| !value.split(',').any(|gone| gone.trim() == item));
            let list = Array::from_iter(&items).into();
            write(place, file, &[(key, Some(list))], &mut said, program)?;
        }
    }
    Ok(said)
}

/// What is in effect.
struct Now {
    document: Document,
    in_file: Settings,
    settings: Settings,
}

impl Now {
    fn read(file: PathBuf) -> Outcome<Self> {
        let document = Document::read(&file).map_err(Fault::no_because)?;
        let place = file.display().to_string();
        let in_file = Settings::parse(document.text(), &place).map_err(refused)?;
        let settings = in_file
            .clone()
            .with_environment(std::env::vars())
            .map_err(refused)?;
        Ok(Self {
            document,
            in_file,
            settings,
        })
    }

    fn source(&self, key: &ServiceKey) -> &'static str {
        let text = |settings: &Settings| text_of(&(key.of)(settings));
        if text(&self.settings) != text(&self.in_file) {
            "environment"
        } else if self.document.get(key.name).is_some() {
            "file"
        } else {
            "default"
        }
    }

    fn is_changed(&self, key: &ServiceKey) -> bool {
        text_of(&(key.of)(&self.settings)) != text_of(&(key.of)(&Settings::default()))
    }

    fn entry(&self, key: &ServiceKey) -> serde_json::Value {
        let value = match (key.of)(&self.settings) {
            Value::Integer(number) => (*number.value()).into(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            other => serde_json::Value::from(text_of(&other)),
        };
        json!({
            "key": key.name,
            "value": value,
            "source": self.source(key),
            "changed": self.is_changed(key),
        })
    }
}

fn find(typed: &str) -> Outcome<&'static ServiceKey> {
    KEYS.iter().find(|key| key.name == typed).ok_or_else(|| {
        let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        Fault::untried(format!("`{typed}` is no key of sectag.toml"))
            .hint(format!("these are: {}", names.join(", ")))
    })
}

/// The text as the key's type; what it may be is the settings' to judge.
fn value_of(key: &ServiceKey, text: &str) -> Outcome<Value> {
    Ok(match (key.of)(&Settings::default()) {
        Value::Integer(_) => {
            let number: i64 = text
                .parse()
                .map_err(|_| Fault::no(format!("{}: `{text}` is not a number", key.name)))?;
            number.into()
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim);
            Array::from_iter(items.filter(|item| !item.is_empty())).into()
        }
        _ => text.into(),
    })
}

fn items(settings: &Settings, key: &ServiceKey) -> Outcome<Vec<String>> {
    match (key.of)(settings) {
        Value::Array(items) => {
            let items = items.iter().filter_map(Value::as_str);
            Ok(items.map(str::to_owned).collect())
        }
        _ => Err(Fault::no(format!("`{}` is not a list", key.name)).hint("use `set` and `unset`")),
    }
}

fn lines(text: &str) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| Fault::untried(format!("`{line}` is not KEY=VALUE")))?;
        words.push(key.trim_end().to_owned());
        words.push(value_of_line(value.trim_start()).unwrap_or_default());
    }
    Ok(words)
}

fn write(
    place: &Place,
    file: PathBuf,
    changes: &[(&ServiceKey, Option<Value>)],
    said: &mut Said,
    program: &str,
) -> Outcome {
    sectag_keep::private_dir(&place.home)?;
    let shown = file.display().to_string();
    document::edit(&file, |document| {
        for (key, value) in changes {
            match value {
                Some(value) => document.set(key.name, value)?,
                None => {
                    document.unset(key.name)?;
                }
            }
        }
        Settings::parse(document.text(), &shown)?;
        Ok::<_, Stop>(())
    })
    .map_err(|stop| match stop {
        Stop::Settings(error) => refused(error).hint("nothing was written"),
        other => Fault::no_because(other),
    })?;
    if place.running().is_some() {
        said.line(format!("note: to take effect: restart `{program} up`"));
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

fn refused(error: SettingsError) -> Fault {
    let hint = error
        .suggestion
        .as_ref()
        .map(|key| format!("did you mean `{key}`?"));
    let fault = Fault::no_because(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.value().clone(),
        Value::Array(items) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            format!("{items:?}")
        }
        other => other.to_string().trim().to_owned(),
    }
}
