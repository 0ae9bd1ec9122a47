//! Values of options and their types.

use std::fmt;

use crate::kconfig;

/// A value, as it is written in `prj.conf`, `device.toml` or after `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `y` or `n`; `true` or `false` in TOML.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for Value {
    /// As in `prj.conf`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(true) => f.write_str("y"),
            Self::Flag(false) => f.write_str("n"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => {
                f.write_str("\"")?;
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        f.write_str("\\")?;
                    }
                    write!(f, "{character}")?;
                }
                f.write_str("\"")
            }
        }
    }
}

impl Value {
    const fn noun(&self) -> &'static str {
        match self {
            Self::Flag(_) => "y or n",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
        }
    }
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `y` or `n`.
    Flag,
    /// A whole number from the first to the second.
    Number(i64, i64),
    /// A text of at most so many bytes.
    Text(usize),
}

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Another type.
    #[error("{value} is {is}, not {wanted}")]
    Type {
        /// As in `prj.conf`.
        value: String,
        /// What it is.
        is: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A number outside of its range.
    #[error("{number} is not within {least} to {most}")]
    Range {
        /// The number.
        number: i64,
        /// Smallest.
        least: i64,
        /// Largest.
        most: i64,
    },
    /// A text that is too long, or holds a line break or another control character.
    #[error("the text has {bytes} bytes or a control character; at most {max} printable ones fit")]
    Text {
        /// Its bytes.
        bytes: usize,
        /// Most bytes.
        max: usize,
    },
}

impl ValueError {
    /// How `name` is written right, in `prj.conf`.
    pub fn hint(&self, name: &str) -> Option<String> {
        let Self::Type { wanted, .. } = self else {
            return None;
        };
        Some(match *wanted {
            "a text" => format!("write the text in quotes: {name}=\"…\""),
            "a number" => format!("write the number without quotes: {name}=60"),
            _ => format!("write {name}=y or {name}=n"),
        })
    }
}

impl Kind {
    /// Whether `value` is of this kind.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn check(self, value: &Value) -> Result<(), ValueError> {
        match (self, value) {
            (Self::Flag, Value::Flag(_)) => Ok(()),
            (Self::Number(least, most), Value::Number(number)) => {
                if (least..=most).contains(number) {
                    Ok(())
                } else {
                    Err(ValueError::Range {
                        number: *number,
                        least,
                        most,
                    })
                }
            }
            (Self::Text(max), Value::Text(text)) => {
                if text.len() <= max && !text.chars().any(char::is_control) {
                    Ok(())
                } else {
                    Err(ValueError::Text {
                        bytes: text.len(),
                        max,
                    })
                }
            }
            _ => Err(ValueError::Type {
                value: value.to_string(),
                is: value.noun(),
                wanted: self.noun(),
            }),
        }
    }

    /// Reads what somebody typed after `name=`: quotes around a text may be left out, `true` and `false` are flags.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn read(self, text: &str) -> Result<Value, ValueError> {
        let value = match self {
            Self::Text(_) => {
                let inner = text
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                Value::Text(inner.unwrap_or(text).to_owned())
            }
            Self::Flag => match text {
                "y" | "true" => Value::Flag(true),
                "n" | "false" => Value::Flag(false),
                _ => loose(text),
            },
            Self::Number(..) => loose(text),
        };
        self.check(&value)?;
        Ok(value)
    }

    /// For the documentation.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Flag => "y or n",
            Self::Number(..) => "a number",
            Self::Text(_) => "a text",
        }
    }
}

fn loose(text: &str) -> Value {
    kconfig::number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number)
}
