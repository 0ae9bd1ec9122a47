//! Data goes to stdout, as a table for people or as JSON; talk goes to stderr. Text that `-` stands for comes from stdin.

use crate::fault::Outcome;
use serde_json::Value;
use std::io::{Read as _, Write as _};

/// Prints pretty JSON and a line end.
pub(crate) fn json(value: &Value) {
    print(&format!("{value:#}\n"));
}

/// Prints rows under headers, columns padded, no trailing blanks.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) {
    print(&render(headers, rows));
}

/// Prints text as it is; a closed pipe (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

/// What a program before us in a pipe says, or somebody types; of more than 1 MiB the beginning.
pub(crate) fn from_stdin() -> Outcome<String> {
    let mut text = String::new();
    std::io::stdin().take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}

fn render(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headers
        .iter()
        .map(|header| header.chars().count())
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(cell);
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', pad));
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(
        &headers
            .iter()
            .map(|header| (*header).to_owned())
            .collect::<Vec<_>>(),
    );
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

/// The text of a member, `-` when it is missing or null.
pub(crate) fn text_of(value: &Value, member: &str) -> String {
    match &value[member] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            })
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

/// A flat object as `member  value` lines, nested objects with dotted names; lists of objects as JSON.
pub(crate) fn show(value: &Value, as_json: bool) {
    if as_json {
        json(value);
        return;
    }
    let mut rows = Vec::new();
    flatten("", value, &mut rows);
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, text) in rows {
        let text = text.replace('\n', &format!("\n{:width$}  ", ""));
        print(&format!("{name:width$}  {text}\n"));
    }
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let name = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&name, value, rows);
            }
        }
        Value::Object(_) | Value::Null => rows.push((prefix.to_owned(), "-".to_owned())),
        Value::String(text) => rows.push((prefix.to_owned(), text.trim_end().to_owned())),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let text = items
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            rows.push((
                prefix.to_owned(),
                if text.is_empty() {
                    "-".to_owned()
                } else {
                    text
                },
            ));
        }
        other => rows.push((prefix.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_to_the_widest_cell_and_lines_have_no_trailing_blanks() {
        let text = render(
            &["ID", "STATUS"],
            &[
                vec!["a-long-id".into(), "OK".into()],
                vec!["b".into(), "-".into()],
            ],
        );
        assert_eq!(text, "ID         STATUS\na-long-id  OK\nb          -\n");
    }
}
