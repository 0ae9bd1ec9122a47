//! Pieces of HTML, and members of the document as they are needed for it: what is missing is empty.

use serde_json::Value;
use std::fmt::Write;

/// Of a table: name, kind (HTML), and what it is about.
pub(super) type Row = (String, String, String);

/// Of members or parameters.
pub(super) fn table(rows: Vec<Row>) -> String {
    let mut html = String::from("<table class=\"members\"><tbody>\n");
    for (name, kind, about) in rows {
        let about: Vec<String> = about.split("\n\n").map(marked).collect();
        let _ = writeln!(
            html,
            "<tr><td><code>{}</code></td><td>{kind}</td><td><p>{}</p></td></tr>",
            escaped(&name),
            about.join("</p><p>")
        );
    }
    html.push_str("</tbody></table>\n");
    html
}

/// Paragraphs, with empty lines between them.
pub(super) fn prose(words: &str) -> String {
    let mut html = String::new();
    for paragraph in words.split("\n\n").filter(|words| !words.is_empty()) {
        let _ = writeln!(html, "<p>{}</p>", marked(paragraph));
    }
    html
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let object = value.as_object().into_iter().flatten();
    object.map(|(name, value)| (name.as_str(), value))
}

/// Text with `code` in it, as HTML.
pub(super) fn marked(words: &str) -> String {
    let mut html = String::new();
    for (at, part) in words.split('`').enumerate() {
        match at % 2 {
            0 => html.push_str(&escaped(part)),
            _ => {
                let _ = write!(html, "<code>{}</code>", escaped(part));
            }
        }
    }
    html
}

pub(super) fn escaped(words: &str) -> String {
    let mut html = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            marked("a <b> & `c \"d\"`"),
            "a &lt;b&gt; &amp; <code>c &quot;d&quot;</code>"
        );
    }
}
