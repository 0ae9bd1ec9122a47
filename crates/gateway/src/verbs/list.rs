//! `config list`.

use super::{Said, Scene, is_only_inferred, levels, load, shown};
use crate::config::Config;
use crate::keys::{Default, KeyName, Slot};
use crate::settings::Source;
use crate::value::Value;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Options of `config list`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListOptions {
    /// Keys without a value as well.
    pub all: bool,
    /// What the keys mean.
    pub doc: bool,
    /// Say who set each.
    pub source: bool,
    /// Only values that differ from the default.
    pub changed: bool,
    /// As JSON.
    pub json: bool,
    /// Print secrets.
    pub show_secrets: bool,
    /// Stdout is a terminal.
    pub terminal: bool,
}

/// `config list`; `filter` is a plain substring of the name.
pub fn list(scene: &Scene<'_>, filter: Option<&str>, options: &ListOptions) -> Said {
    let filter = filter.unwrap_or_default();
    if options.doc {
        return Said {
            stdout: doc(filter, options.terminal),
            ..Said::default()
        };
    }
    let mut said = Said::default();
    let config = match load(scene, None, &mut said) {
        Ok(config) => config,
        Err(refused) => return said.then(refused),
    };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for slot in slots(&config) {
        if !slot.name().contains(filter) || config.problem(&slot).is_some() {
            continue;
        }
        match config.value(&slot) {
            Some((_, source))
                if is_only_inferred(&slot, source) && !options.source && !options.json =>
            {
                without.push(slot);
            }
            Some((value, source))
                if options.changed && !is_changed(&config, &slot, &value, source) => {}
            Some((value, source)) => with.push((slot, value, source)),
            None if !slot.key.key().ours => without.push(slot),
            None => {}
        }
    }
    let levels = config.settings().map(|settings| levels(&settings)).ok();
    if options.json {
        let entries = with.iter().map(|(slot, value, source)| {
            entry(&config, slot, value, *source, options.show_secrets)
        });
        let entries: Vec<_> = if options.all {
            let without = without
                .iter()
                .map(|slot| json!({"key": slot.name(), "value": null}));
            entries.chain(without).collect()
        } else {
            entries.collect()
        };
        let levels = levels.map(|levels| {
            json!({
                "listener": levels.listener.map(|(level, _)| level.to_string()),
                "client": levels.client.0.to_string(),
                "mismatch": levels.mismatch,
            })
        });
        let all = json!({"keys": entries, "levels": levels});
        said.stdout = format!("{all:#}\n");
        return said;
    }
    let mut text = String::new();
    for (slot, value, source) in &with {
        let value = shown(slot, value, options.show_secrets);
        let _ = match options.source {
            true => writeln!(text, "{slot}={value}\t{source}"),
            false => writeln!(text, "{slot}={value}"),
        };
    }
    if options.all && !without.is_empty() {
        if !with.is_empty() {
            text.push('\n');
        }
        for slot in &without {
            let _ = writeln!(text, "{slot}=");
        }
    }
    said.stdout = text;
    let touches = |slot: &Slot| {
        ["mqtt.external.", "mqtt.client."]
            .iter()
            .any(|group| slot.key.name().starts_with(group))
    };
    if with.iter().any(|(slot, _, _)| touches(slot))
        && let Some(levels) = levels
    {
        said.line(format!("note: {levels}"));
    }
    said
}

/// A key as JSON.
pub(super) fn entry(
    config: &Config,
    slot: &Slot,
    value: &Value,
    source: Source,
    show_secrets: bool,
) -> serde_json::Value {
    let key = slot.key.key();
    let masked = key.secret && !show_secrets;
    let shown = match masked {
        true => shown(slot, value, false).into(),
        false => value.to_json(),
    };
    json!({
        "key": slot.name(),
        "value": shown,
        "source": source.to_string(),
        "changed": is_changed(config, slot, value, source),
    })
}

/// Somebody set it, and to something else than the default.
fn is_changed(config: &Config, slot: &Slot, value: &Value, source: Source) -> bool {
    matches!(source, Source::File | Source::Environment)
        && config.default_value(slot).as_ref() != Some(value)
}

/// All keys in the order of lists; those of a cloud's profiles behind the cloud's own.
fn slots(config: &Config) -> Vec<Slot> {
    let listed = KeyName::listed();
    let cloud_of = |key: KeyName| key.name().split('.').next().unwrap_or_default();
    let mut slots = Vec::with_capacity(listed.len());
    for (at, key) in listed.iter().enumerate() {
        slots.push(Slot::of(*key));
        let cloud = cloud_of(*key);
        let last = listed
            .get(at + 1)
            .is_none_or(|next| cloud_of(*next) != cloud);
        if !last || !key.key().profiled {
            continue;
        }
        let profiles: BTreeSet<_> = config
            .profiled()
            .filter(|slot| cloud_of(slot.key) == cloud)
            .filter_map(|slot| slot.profile.clone())
            .collect();
        for profile in profiles {
            let of_cloud = listed.iter().filter(|key| cloud_of(**key) == cloud);
            slots.extend(of_cloud.map(|key| Slot {
                key: *key,
                profile: Some(profile.clone()),
            }));
        }
    }
    slots
}

/// `list --doc`, in the order of declaration.
fn doc(filter: &str, terminal: bool) -> String {
    let mut text = String::new();
    let matching = KeyName::all().filter(|key| key.name().contains(filter));
    for (at, name) in matching.enumerate() {
        let key = name.key();
        if at > 0 && !terminal {
            text.push('\n');
        }
        let mut line = |left: &str, right: &str| {
            let _ = writeln!(text, "{left:>DOC_COLUMN$}  {right}");
        };
        line(key.name, key.about);
        if let Some(note) = key.note {
            line("", &format!("Note: {note}"));
        }
        match key.default {
            Default::Fixed(fixed) if !key.secret && !fixed.is_empty() => {
                line("", &format!("Default: {fixed}"));
            }
            Default::Same(other) => line("", &format!("Default: that of {other}")),
            _ => {}
        }
        match key.examples {
            [] => {}
            [one] => line("", &format!("Example: {one}")),
            several => line("", &format!("Examples: {}", several.join(", "))),
        }
    }
    text
}

/// Names are right-aligned to this column.
const DOC_COLUMN: usize = 30;
