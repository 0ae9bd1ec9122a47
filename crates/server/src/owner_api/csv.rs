//! The rows of a bulk claim (spec/owner-api §2.3): token, and optionally comma-separated tags, quoted as in RFC 4180.

/// Fields of a row that are kept: more than anybody asks for, so that a row of commas costs no more than its text.
const FIELDS_MAX: usize = 64;

/// Splits CSV text into rows of fields, at most 64 of each row. Blank lines are skipped; a field may be quoted, and then hold
/// commas, line ends and doubled quotes.
///
/// # Errors
/// The 1-based line on which a quote was opened and never closed, or text follows a closing quote.
pub fn rows(text: &str) -> Result<Vec<Vec<String>>, usize> {
    Ok(rows_up_to(text, usize::MAX)?.unwrap_or_default())
}

/// As [`rows`]; `None`, without reading on, when there are more than `max`. What stands for nothing in a text takes a hundred
/// bytes as a row.
///
/// # Errors
/// As [`rows`].
pub(crate) fn rows_up_to(text: &str, max: usize) -> Result<Option<Vec<Vec<String>>>, usize> {
    let keep = |row: &mut Vec<String>, field: &mut String| match row.len() < FIELDS_MAX {
        true => row.push(std::mem::take(field)),
        false => field.clear(),
    };
    let mut rows = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut field = String::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    let mut was_quoted = false;
    loop {
        match chars.next() {
            Some('"') if field.is_empty() && !was_quoted => {
                let opened = line;
                loop {
                    match chars.next() {
                        None => return Err(opened),
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            field.push('"');
                        }
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            field.push(c);
                        }
                    }
                }
                was_quoted = true;
            }
            Some(',') => {
                keep(&mut row, &mut field);
                was_quoted = false;
            }
            Some('\r') if matches!(chars.peek(), None | Some('\n')) => {}
            end @ (Some('\n') | None) => {
                if was_quoted || !field.is_empty() || !row.is_empty() {
                    if rows.len() == max {
                        return Ok(None);
                    }
                    keep(&mut row, &mut field);
                    rows.push(std::mem::take(&mut row));
                }
                was_quoted = false;
                if end.is_none() {
                    return Ok(Some(rows));
                }
                line += 1;
            }
            Some(_) if was_quoted => return Err(line),
            Some(c) => field.push(c),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_the_client_writes_them() {
        let text = "\"tok.en\",\"a,b\"\n\"tok.en2\"\n\nplain,x\r\n";
        assert_eq!(
            rows(text).unwrap(),
            [vec!["tok.en", "a,b"], vec!["tok.en2"], vec!["plain", "x"]]
        );
    }

    #[test]
    fn quotes_and_line_ends_inside_quotes_survive() {
        assert_eq!(rows("\"a\"\"b\nc\",").unwrap(), [vec!["a\"b\nc", ""]]);
    }

    #[test]
    fn more_rows_or_fields_than_anybody_wants_are_not_kept() {
        let text = "a\n".repeat(3);
        assert_eq!(rows_up_to(&text, 3).unwrap().unwrap().len(), 3);
        assert_eq!(rows_up_to(&text, 2).unwrap(), None);
        let wide = rows(&(",".repeat(FIELDS_MAX * 9) + "\nb")).unwrap();
        assert_eq!((wide[0].len(), &wide[1]), (FIELDS_MAX, &vec!["b".into()]));
    }

    #[test]
    fn a_quote_left_open_or_followed_by_text_names_its_line() {
        assert_eq!(rows("a\n\"b"), Err(2));
        assert_eq!(rows("\"a\"b"), Err(1));
    }
}
