//! The rows of a bulk claim (spec/owner-api §2.3): token, and optionally comma-separated tags, quoted as in RFC 4180.

/// Splits CSV text into rows of fields. Blank lines are skipped; a field may be quoted, and then hold commas, line
/// ends and doubled quotes.
///
/// # Errors
/// The 1-based line on which a quote was opened and never closed, or text follows a closing quote.
pub fn rows(text: &str) -> Result<Vec<Vec<String>>, usize> {
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
                row.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            Some('\r') if matches!(chars.peek(), None | Some('\n')) => {}
            end @ (Some('\n') | None) => {
                if was_quoted || !field.is_empty() || !row.is_empty() {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                was_quoted = false;
                if end.is_none() {
                    return Ok(rows);
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
    fn a_quote_left_open_or_followed_by_text_names_its_line() {
        assert_eq!(rows("a\n\"b"), Err(2));
        assert_eq!(rows("\"a\"b"), Err(1));
    }
}
