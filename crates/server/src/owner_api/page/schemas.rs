//! Schemas in words: a few for a member's kind, a table for the members of a shape.

use super::html::{Row, escaped, items, members, table, text};
use serde_json::Value;
use std::fmt::Write;

/// Of a shape: its members, or what it is one of.
pub(super) fn shape(schema: &Value) -> String {
    let of = items(&schema["oneOf"]);
    if !of.is_empty() {
        return choices(of);
    }
    let mut html = String::new();
    for part in items(&schema["allOf"]) {
        match part.get("$ref") {
            Some(_) => {
                let _ = writeln!(html, "<p>The members of {}, and:</p>", kind(part));
            }
            None => html.push_str(&shape(part)),
        }
    }
    let rows = rows(schema);
    if !rows.is_empty() {
        html.push_str(&table(rows));
    } else if schema.get("allOf").is_none() {
        let _ = writeln!(html, "<p>{}</p>", kind(schema));
    }
    html
}

/// Exactly one of them; what all have in common is said once.
fn choices(choices: &[Value]) -> String {
    let (mut own, mut common, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let in_all = |name: &str| choices.iter().all(|c| c["properties"].get(name).is_some());
    for choice in choices {
        let rows = rows(choice);
        if rows.is_empty() {
            others.push(kind(choice));
        }
        for row in rows {
            match choices.len() > 1 && in_all(&row.0) {
                true => common.push(row),
                false => own.push(row),
            }
        }
    }
    common.dedup();
    let mut html = String::new();
    if !others.is_empty() {
        let _ = writeln!(html, "<p>{}</p>", others.join(", or "));
    }
    if !own.is_empty() {
        let either = match others.is_empty() {
            true => "One of",
            false => "Or one of",
        };
        let _ = write!(html, "<p>{either}:</p>\n{}", table(own));
    }
    if !common.is_empty() {
        let _ = write!(html, "<p>And in each:</p>\n{}", table(common));
    }
    html
}

/// Those that are always there first, in the order of their declaration.
fn rows(schema: &Value) -> Vec<Row> {
    let required = items(&schema["required"]);
    let mut rows: Vec<Row> = members(&schema["properties"])
        .map(|(name, property)| {
            let mut words = kind(property);
            if !required.iter().any(|known| known == name) {
                words.push_str(", optional");
            }
            (name.to_owned(), words, about(property))
        })
        .collect();
    rows.sort_by_key(|(name, ..)| {
        let place = required.iter().position(|known| known == name);
        place.unwrap_or(required.len())
    });
    rows
}

fn about(property: &Value) -> String {
    let mut words = text(&property["description"]).to_owned();
    let inner: Vec<String> = members(&property["properties"])
        .map(|(name, inner)| match text(&inner["description"]) {
            "" => format!("`{name}`"),
            words => format!("`{name}`: {words}"),
        })
        .collect();
    if !inner.is_empty() {
        words = format!("{words}\n\n{}", inner.join("\n\n"));
    }
    words
}

/// A schema in a few words; HTML.
pub(super) fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        let name = escaped(name);
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    let choices = items(&schema["oneOf"]);
    if !choices.is_empty() {
        let kinds: Vec<String> = choices.iter().map(kind).collect();
        return kinds.join(" or ");
    }
    // The first is how to write it; the others are taken as well.
    if let Some(first) = items(&schema["anyOf"]).first() {
        return kind(first);
    }
    let words = items(&schema["enum"]);
    if !words.is_empty() {
        let words: Vec<String> = words
            .iter()
            .map(|word| format!("<code>{}</code>", escaped(text(word))))
            .collect();
        return words.join(", ");
    }
    let one = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "string" => match text(&schema["format"]) {
            "" => "text".to_owned(),
            "uuid" => "UUID".to_owned(),
            "date-time" => "time".to_owned(),
            other => format!("text ({})", escaped(other)),
        },
        "integer" => "number".to_owned(),
        "boolean" => "<code>true</code> or <code>false</code>".to_owned(),
        "null" => "null".to_owned(),
        "object" => "object".to_owned(),
        other => escaped(other),
    };
    match &schema["type"] {
        Value::String(name) => one(name),
        Value::Array(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|kind| one(text(kind))).collect();
            kinds.join(" or ")
        }
        _ => "anything".to_owned(),
    }
}
