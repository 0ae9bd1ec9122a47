//! How Zephyr's shell cuts a line into words: blanks separate, single or double quotes hold together.

use zeroize::Zeroizing;

/// The words of `line`. Inside quotes a backslash escapes that quote and nothing else.
///
/// # Errors
/// The quote that is never closed.
pub(super) fn split(line: &str) -> Result<Vec<Zeroizing<String>>, char> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(words);
        }
        // Room for the rest at once: a word can be a private key, and growing would leave copies behind.
        let mut word = Zeroizing::new(String::with_capacity(line.len()));
        let mut quote = None;
        while let Some(c) = chars.next_if(|c| quote.is_some() || !c.is_ascii_whitespace()) {
            match (quote, c) {
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), _) if c == open => quote = None,
                (Some(open), '\\') => {
                    word.push(chars.next_if_eq(&open).unwrap_or('\\'));
                }
                _ => word.push(c),
            }
        }
        if let Some(open) = quote {
            return Err(open);
        }
        words.push(word);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line)
            .unwrap()
            .iter()
            .map(|word| word.to_string())
            .collect()
    }

    #[test]
    fn quotes_hold_blanks_together_and_disappear() {
        assert_eq!(words("  at  AT+CFUN?  "), ["at", "AT+CFUN?"]);
        assert_eq!(
            words(r#"at 'AT%CMNG=0,1,4,"a b"'"#),
            ["at", r#"AT%CMNG=0,1,4,"a b""#]
        );
        assert_eq!(words(r#"at AT%X="a b"c"#), ["at", "AT%X=a bc"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn a_backslash_escapes_the_open_quote_only() {
        assert_eq!(words(r"'a\nb\'c'"), [r"a\nb'c"]);
        assert_eq!(words(r"a\ b"), [r"a\", "b"]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert_eq!(split("at 'AT"), Err('\''));
        assert_eq!(split("at \"AT"), Err('"'));
    }
}
