//! What the verbs print.

use super::slot_json;
use super::slot_name;
use crate::args::Slot;
use crate::output;
use sectag_modem::credentials::{Entry, Written, type_name};
use sectag_proto::{CredentialType, SecTag};
use serde_json::{Value, json};

pub(super) fn list(
    entries: &[Entry],
    tag: Option<SecTag>,
    kind: Option<CredentialType>,
    as_json: bool,
) {
    if as_json {
        let items: Vec<Value> = entries
            .iter()
            .map(|entry| {
                json!({
                    "tag": entry.tag,
                    "type": entry.kind,
                    "typeName": type_name(entry.kind),
                    "sha256": entry.digest.map(hex),
                })
            })
            .collect();
        output::json(&json!({ "items": items }));
        return;
    }
    if entries.is_empty() {
        let place = match (tag, kind) {
            (Some(tag), Some(kind)) => format!("no {} under sec tag {tag}", type_name(kind)),
            (Some(tag), None) => format!("nothing under sec tag {tag}"),
            _ => "nothing under any sec tag".to_owned(),
        };
        eprintln!("{place}; `sectag creds write TAG TYPE FILE` puts something there");
        return;
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            vec![
                entry.tag.to_string(),
                entry.kind.0.to_string(),
                type_name(entry.kind),
                entry.digest.map_or_else(|| "-".to_owned(), hex),
            ]
        })
        .collect();
    output::table(&["TAG", "TYPE", "NAME", "SHA-256"], &rows);
}

/// One word, or one member.
pub(super) fn answer(as_json: bool, member: &str, value: bool, word: &str) {
    if as_json {
        output::json(&json!({ member: value }));
    } else {
        output::print(&format!("{word}\n"));
    }
}

/// One text, or one member.
pub(super) fn one(as_json: bool, member: &str, text: &str) {
    if as_json {
        output::json(&json!({ member: text }));
    } else {
        output::print(&format!("{text}\n"));
    }
}

/// `None`: written without a look at what was there.
pub(super) fn written(slot: &Slot, written: Option<Written>, dry: bool, as_json: bool) {
    let (word, compared, result) = match written {
        None => ("written", "", "written"),
        Some(Written::New) => ("new", "", "written"),
        Some(Written::Replaced) => ("replaced", "mismatch: ", "replaced"),
        Some(Written::Unchanged) => ("unchanged", "match: ", "nothing written"),
    };
    if as_json {
        let mut value = slot_json(slot);
        value["result"] = json!(word);
        value["dryRun"] = json!(dry);
        output::json(&value);
    } else {
        let would = super::would_be(dry && written != Some(Written::Unchanged));
        output::print(&format!("{compared}{}: {would}{result}\n", slot_name(slot)));
    }
}

/// Something was done, or would be.
pub(super) fn done(as_json: bool, value: Value, dry: bool, text: &str) {
    if as_json {
        let mut value = value;
        value["dryRun"] = json!(dry);
        output::json(&value);
    } else {
        output::print(&format!("{text}\n"));
    }
}

/// As modems print digests: upper case.
pub(super) fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}
