//! One line: a comment, or an assignment.

use crate::options::{self, Value, ValueError};

/// Bytes of one name after `CONFIG_`.
pub const NAME_BYTES_MAX: usize = 128;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// Neither a comment nor `CONFIG_NAME=value`.
    #[error("neither a comment nor `CONFIG_NAME=value`: `{0}`")]
    NotAssignment(String),
    /// Letters, digits and `_` only.
    #[error("`{0}` is no option name: after CONFIG_ come letters, digits and `_`")]
    Name(String),
    /// A quote that is not closed, or text after it.
    #[error("the text of CONFIG_{0} must be one pair of quotes with nothing behind it")]
    Quotes(String),
    /// Neither `y`, `n`, a number nor a quoted text.
    #[error("`{value}` is no value for CONFIG_{name}: write y, n, a number, or a text in quotes")]
    Value {
        /// After `CONFIG_`.
        name: String,
        /// As written.
        value: String,
    },
    /// A known option with a value of another type or out of range.
    #[error("CONFIG_{name}: {error}")]
    Type {
        /// After `CONFIG_`.
        name: String,
        /// Why.
        error: ValueError,
    },
}

/// Name and value of a line; `None` for blank lines and comments, and where `not set` means nothing.
pub(super) fn assignment(line: &str) -> Result<Option<(String, Value)>, LineFault> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    if let Some(comment) = line.strip_prefix('#') {
        let Some(name) = comment
            .trim()
            .strip_prefix("CONFIG_")
            .and_then(|rest| rest.strip_suffix(" is not set"))
            .filter(|name| is_name(name))
        else {
            return Ok(None);
        };
        // As the build does: a number or a text cannot be unset.
        return Ok(match options::known(name) {
            Some(known) if known.kind != options::Kind::Flag => None,
            _ => Some((name.to_owned(), Value::Flag(false))),
        });
    }
    let Some((name, value)) = line
        .strip_prefix("CONFIG_")
        .and_then(|rest| rest.split_once('='))
    else {
        return Err(LineFault::NotAssignment(shown(line)));
    };
    if !is_name(name) {
        return Err(LineFault::Name(shown(&format!("CONFIG_{name}"))));
    }
    let value = value_of(name, value)?;
    if let Some(known) = options::known(name) {
        known.kind.check(&value).map_err(|error| LineFault::Type {
            name: name.to_owned(),
            error,
        })?;
    }
    Ok(Some((name.to_owned(), value)))
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(fits)
}

fn value_of(name: &str, text: &str) -> Result<Value, LineFault> {
    if let Some(rest) = text.strip_prefix('"') {
        return quoted(rest)
            .map(Value::Text)
            .ok_or_else(|| LineFault::Quotes(name.to_owned()));
    }
    match text {
        "y" => return Ok(Value::Flag(true)),
        "n" => return Ok(Value::Flag(false)),
        _ => {}
    }
    number(text)
        .map(Value::Number)
        .ok_or_else(|| LineFault::Value {
            name: name.to_owned(),
            value: shown(text),
        })
}

/// The text up to the closing quote, which must be last; a backslash takes the next character as it is.
fn quoted(rest: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?),
            '"' => return characters.as_str().is_empty().then_some(text),
            other => text.push(other),
        }
    }
    None
}

/// Decimal with an optional minus, or hexadecimal with `0x`.
pub(crate) fn number(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
        return all.then(|| i64::from_str_radix(digits, 16).ok()).flatten();
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all = digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// For messages: no line of a foreign file is repeated whole when it is long.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut shown: String = text.chars().take(CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_64_bits() {
        assert_eq!(number("-1"), Some(-1));
        assert_eq!(number("0x7fffffffffffffff"), Some(i64::MAX));
        assert_eq!(number("0xffffffffffffffff"), None);
        for text in ["", "-", "0x", "1.5", "+1", "0x-1", " 1", "1_000"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
