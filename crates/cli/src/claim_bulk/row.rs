//! One row of the input: `token[,tags]`, or `imei,uuid,token,timestamp` as the vendor's tool writes it (spec/owner-api §2.3).

use sectag_server::owner_api::csv_rows;

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A blank line, a comment, or a heading.
    Nothing,
    /// A device.
    Claim { token: String, tags: Vec<String> },
    /// A row without a token.
    Bad { text: String, reason: String },
}

/// Characters of a row without a token that are kept to find it by.
const SHOWN_MAX: usize = 200;

/// Reads one line. `first`: a line without a token may be the heading.
pub(super) fn read(line: &[u8], first: bool) -> Row {
    let bad = |text: &str, reason: &str| Row::Bad {
        text: text.chars().take(SHOWN_MAX).collect(),
        reason: reason.to_owned(),
    };
    let Ok(text) = std::str::from_utf8(line) else {
        return bad(&String::from_utf8_lossy(line), "the row is not UTF-8");
    };
    let text = text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if text.is_empty() || text.starts_with('#') {
        return Row::Nothing;
    }
    let Ok(rows) = csv_rows(text) else {
        return bad(text, "quotes do not match");
    };
    let mut fields = rows.into_iter().next().unwrap_or_default().into_iter();
    let (one, two, three) = (fields.next(), fields.next(), fields.next());
    match (one, two, three) {
        (Some(token), tags, _) if is_token(&token) => Row::Claim {
            token: token.trim().to_owned(),
            tags: tags.into_iter().filter(|tags| !tags.is_empty()).collect(),
        },
        (_, _, Some(token)) if is_token(&token) => Row::Claim {
            token: token.trim().to_owned(),
            tags: Vec::new(),
        },
        _ if first && text.to_ascii_lowercase().contains("token") => Row::Nothing,
        _ => bad(
            text,
            "no claim token, neither in the first nor in the third column",
        ),
    }
}

/// Whether it looks like one: two parts in base64url. What it says, the service finds out.
fn is_token(field: &str) -> bool {
    /// The shortest that could hold a device id and a signature.
    const CHARS_MIN: usize = 100;
    let field = field.trim();
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    field.len() >= CHARS_MIN
        && field
            .split_once('.')
            .is_some_and(|(body, cose)| is_part(body) && is_part(cose))
}

/// A field of CSV.
pub(super) fn quoted(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> String {
        format!("{}.{}", "2dn3".repeat(20), "0oRD".repeat(25))
    }

    fn claim(tags: &[&str]) -> Row {
        Row::Claim {
            token: token(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    #[test]
    fn both_kinds_of_rows_are_read() {
        let token = token();
        for (line, row) in [
            (token.clone(), claim(&[])),
            (format!("{token},a"), claim(&["a"])),
            (format!("\"{token}\",\"a,b\"\r\n"), claim(&["a,b"])),
            (format!("\"{token}\",\"\",\"row 3: refused\""), claim(&[])),
            (
                format!(
                    "352656100367872,50363154-3931-44f0-8022-121b6401627d,{token},2026-11-21T07:00:00+00:00"
                ),
                claim(&[]),
            ),
            (format!("\u{feff},,{token},"), claim(&[])),
            ("  \n".to_owned(), Row::Nothing),
            ("# gathered in Trondheim".to_owned(), Row::Nothing),
        ] {
            assert_eq!(read(line.as_bytes(), false), row, "{line}");
        }
    }

    #[test]
    fn a_heading_is_no_device_and_a_row_without_a_token_is_named() {
        assert_eq!(read(b"imei,uuid,token,timestamp", true), Row::Nothing);
        for line in [
            "imei,uuid,token,timestamp",
            "a,b",
            "\"open",
            "352656100367872,,x.y,",
        ] {
            assert!(
                matches!(read(line.as_bytes(), false), Row::Bad { .. }),
                "{line}"
            );
        }
        assert!(matches!(read(b"\xff\xfe", true), Row::Bad { .. }));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let line = format!("{},{}", quoted(&token()), quoted("a \"b\",c"));
        assert_eq!(read(line.as_bytes(), false), claim(&["a \"b\",c"]));
    }
}
