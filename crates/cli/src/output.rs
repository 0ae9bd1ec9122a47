//! Data goes to stdout, as a table for people or as JSON; talk goes to stderr.

use serde_json::Value;
use std::io::Write as _;

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
