//! Values: from text and from TOML, checked by type (spec/gateway-config §3), and back.
//!
//! A refusal is final: the text is no value of the type, or could break out of a line of mosquitto's file (RULE 5). A
//! concern is a value that makes no sense; a command refuses it unless forced, a file may hold it (RULE 4).

mod duration;

use crate::keys::Kind;
use crate::settings::Host;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::{Component, Path, PathBuf};
use toml_edit::{Array, Item};

pub use duration::seconds;

/// A value of some [`Kind`]. `Display` is its text as commands print it; there is nothing secret in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// 1 to 65535.
    Port(NonZeroU16),
    /// A whole number.
    Number(u32),
    /// `true` or `false`.
    Bool(bool),
    /// An address.
    Ip(IpAddr),
    /// An address or a name.
    Host(Host),
    /// An absolute, clean path.
    Path(PathBuf),
    /// As typed, and in seconds.
    Duration(String, u64),
    /// One of the words of its kind.
    Word(&'static str),
    /// Several texts.
    List(Vec<String>),
    /// Text, an address with a port among them.
    Text(String),
}

/// A value, and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The value.
    pub value: Value,
    /// Why a command refuses it unless forced.
    pub concern: Option<String>,
}

/// Why something is no value of its type; the words are thin-edge.io's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Bytes of a value that are read; mosquitto and our own programs take no more on a line.
pub const VALUE_BYTES_MAX: usize = 4096;

impl Value {
    /// Reads what was typed, or stands in an environment variable. Relative paths are joined to `cwd`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(kind: Kind, text: &str, cwd: &Path) -> Result<Parsed, Refusal> {
        let refuse = |reason: String| Err(Refusal(reason));
        if text.len() > VALUE_BYTES_MAX {
            return refuse(format!(
                "{} bytes are more than the {VALUE_BYTES_MAX} that a value may have",
                text.len()
            ));
        }
        if let Some(found) = text.chars().find(|c| c.is_control()) {
            return refuse(format!("control character {found:?} in the value"));
        }
        let value = match kind {
            Kind::Port => Self::Port(text.parse().map_err(because)?),
            Kind::Number => Self::Number(text.parse().map_err(because)?),
            Kind::Bool => Self::Bool(text.parse().map_err(because)?),
            Kind::Ip => Self::Ip(text.parse().map_err(because)?),
            Kind::Host => Self::Host(text.parse().map_err(because)?),
            Kind::HostPort => {
                host_and_port(text)?;
                Self::Text(text.to_owned())
            }
            Kind::Duration => Self::Duration(text.to_owned(), seconds(text)?),
            Kind::Words(words) => {
                let word = words.iter().find(|word| **word == text);
                Self::Word(word.ok_or_else(|| {
                    let words = words.join(", ");
                    Refusal(format!(
                        "Failed to parse flag: {text}. Supported values are: {words}"
                    ))
                })?)
            }
            Kind::List => {
                let items = text.split(',').map(str::trim);
                let items = items.filter(|item| !item.is_empty());
                return Ok(Self::List(items.map(str::to_owned).collect()).into());
            }
            Kind::Path | Kind::Text | Kind::Topic if text.trim() != text => {
                return refuse("the value begins or ends with a blank".to_owned());
            }
            Kind::Path if text.is_empty() => {
                return refuse(
                    "an empty path leads nowhere; `config unset` removes a key".to_owned(),
                );
            }
            Kind::Path => Self::Path(clean(&cwd.join(text))),
            Kind::Text | Kind::Topic => Self::Text(text.to_owned()),
        };
        let concern = match kind {
            Kind::Text | Kind::Topic if text.is_empty() => {
                Some("the value is empty; `config unset` removes a key".to_owned())
            }
            Kind::Topic => text
                .chars()
                .find(|c| matches!(c, '+' | '#'))
                .map(|c| format!("`{c}` is a wildcard, and nothing can be published to it")),
            _ => None,
        };
        Ok(Parsed { value, concern })
    }

    /// Reads what stands in a file. Relative paths are joined to `dir`.
    ///
    /// # Errors
    /// [`Refusal`]; in the words of a deserializer when the TOML type is wrong.
    pub fn from_toml(kind: Kind, item: &Item, dir: &Path) -> Result<Parsed, Refusal> {
        let wrong = |expected: &str| {
            Refusal(format!(
                "invalid type: {}, expected {expected}",
                shown(item)
            ))
        };
        match kind {
            Kind::Port | Kind::Number => {
                let expected = if kind == Kind::Port { "u16" } else { "u32" };
                let number = item.as_integer().ok_or_else(|| wrong(expected))?;
                let out_of_range = |expected: &str| {
                    Refusal(format!(
                        "invalid value: integer `{number}`, expected {expected}"
                    ))
                };
                if kind == Kind::Number {
                    let number = u32::try_from(number).map_err(|_| out_of_range(expected))?;
                    return Ok(Self::Number(number).into());
                }
                let number = u16::try_from(number).map_err(|_| out_of_range(expected))?;
                let port = NonZeroU16::new(number).ok_or_else(|| out_of_range("a nonzero u16"))?;
                Ok(Self::Port(port).into())
            }
            Kind::Bool => {
                let value = item.as_bool().ok_or_else(|| wrong("a boolean"))?;
                Ok(Self::Bool(value).into())
            }
            Kind::List => match item.as_array() {
                Some(array) => {
                    let mut items = Vec::with_capacity(array.len());
                    for value in array {
                        let text = value.as_str().ok_or_else(|| wrong("a list of strings"))?;
                        Self::parse(Kind::Text, text, dir)?;
                        items.push(text.to_owned());
                    }
                    Ok(Self::List(items).into())
                }
                None => Self::parse(
                    kind,
                    item.as_str().ok_or_else(|| wrong("a list of strings"))?,
                    dir,
                ),
            },
            Kind::Duration if item.is_integer() => {
                let number = item.as_integer().unwrap_or_default();
                Self::parse(kind, &number.to_string(), dir)
            }
            _ => Self::parse(kind, item.as_str().ok_or_else(|| wrong("a string"))?, dir),
        }
    }

    /// The value as it stands in a file.
    pub fn to_toml(&self) -> toml_edit::Value {
        match self {
            Self::Port(port) => i64::from(port.get()).into(),
            Self::Number(number) => i64::from(*number).into(),
            Self::Bool(value) => (*value).into(),
            Self::List(items) => Array::from_iter(items).into(),
            other => other.to_string().into(),
        }
    }

    /// As a path.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            _ => None,
        }
    }

    /// As JSON: numbers, booleans and lists are such.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Port(port) => port.get().into(),
            Self::Number(number) => (*number).into(),
            Self::Bool(value) => (*value).into(),
            Self::List(items) => items.clone().into(),
            other => other.to_string().into(),
        }
    }
}

impl From<Value> for Parsed {
    fn from(value: Value) -> Self {
        Self {
            value,
            concern: None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Ip(address) => address.fmt(f),
            Self::Host(host) => host.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Duration(text, _) | Self::Text(text) => f.write_str(text),
            Self::Word(word) => f.write_str(word),
            Self::List(items) => write!(f, "{items:?}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A PIN or a password may be inside.
            Self::Text(_) => f.write_str("Text(..)"),
            other => f.write_str(&other.to_string()),
        }
    }
}

/// Removes `.`, `..` and doubled slashes from an absolute path, without looking at the disk.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn because(error: impl fmt::Display) -> Refusal {
    Refusal(error.to_string())
}

fn host_and_port(text: &str) -> Result<(), Refusal> {
    if text.parse::<Host>().is_ok() {
        return Ok(());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return text.parse::<Host>().map(|_| ()).map_err(because);
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<Host>().map_err(because)?;
    port.parse::<NonZeroU16>().map_err(because)?;
    Ok(())
}

/// A TOML value in a deserializer's words.
fn shown(item: &Item) -> String {
    const TEXT_CHARS_MAX: usize = 60;
    match item {
        Item::Value(toml_edit::Value::String(text)) => {
            let text: String = text.value().chars().take(TEXT_CHARS_MAX).collect();
            format!("string {text:?}")
        }
        Item::Value(toml_edit::Value::Integer(number)) => format!("integer `{}`", number.value()),
        Item::Value(toml_edit::Value::Float(number)) => {
            format!("floating point `{}`", number.value())
        }
        Item::Value(toml_edit::Value::Boolean(value)) => format!("boolean `{}`", value.value()),
        Item::Value(toml_edit::Value::Array(_)) | Item::ArrayOfTables(_) => "sequence".to_owned(),
        _ => "map".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(kind: Kind, text: &str) -> String {
        match Value::parse(kind, text, Path::new("/cwd")) {
            Ok(Parsed {
                concern: Some(concern),
                ..
            }) => format!("concern: {concern}"),
            Ok(parsed) => parsed.value.to_string(),
            Err(refusal) => format!("refused: {refusal}"),
        }
    }

    #[test]
    fn refusals_have_the_words_of_the_contract() {
        for (kind, text, words) in [
            (
                Kind::Port,
                "99999",
                "number too large to fit in target type",
            ),
            (Kind::Port, "0", "number would be zero for non-zero type"),
            (Kind::Port, "\"1234\"", "invalid digit found in string"),
            (Kind::Port, " 8883", "invalid digit found in string"),
            (Kind::Port, "0x22B3", "invalid digit found in string"),
            (Kind::Ip, "localhost", "invalid IP address syntax"),
            (
                Kind::Bool,
                "yes",
                "provided string was not `true` or `false`",
            ),
            (
                Kind::Words(&["off", "module", "socket"]),
                "tpm",
                "Failed to parse flag: tpm. Supported values are: off, module, socket",
            ),
        ] {
            assert_eq!(said(kind, text), format!("refused: {words}"));
        }
    }

    #[test]
    fn a_path_is_made_absolute_and_clean() {
        assert_eq!(
            said(Kind::Path, "certs/server.crt"),
            "/cwd/certs/server.crt"
        );
        assert_eq!(said(Kind::Path, "/nope/../x//server.crt"), "/x/server.crt");
        assert_eq!(said(Kind::Path, "../../../a/./b"), "/a/b");
        assert_eq!(said(Kind::Path, "~/a"), "/cwd/~/a");
        assert!(said(Kind::Path, "").starts_with("refused: an empty path"));
    }

    #[test]
    fn nothing_that_could_break_out_of_a_line_is_a_value() {
        for kind in [Kind::Text, Kind::Path, Kind::Host, Kind::List, Kind::Topic] {
            for text in ["a\nb", "a\rb", "a\0b", "\u{85}"] {
                assert!(said(kind, text).starts_with("refused"), "{kind:?} {text:?}");
            }
        }
        assert!(said(Kind::Text, " ").starts_with("refused"));
        assert!(said(Kind::Path, "/a ").starts_with("refused"));
    }

    #[test]
    fn what_makes_no_sense_is_a_concern() {
        assert!(said(Kind::Topic, "a/#").starts_with("concern: `#` is a wildcard"));
        assert!(said(Kind::Text, "").starts_with("concern: the value is empty"));
        assert_eq!(said(Kind::Topic, "device/main//"), "device/main//");
    }

    #[test]
    fn toml_of_another_type_is_refused_in_a_deserializers_words() {
        let read = |text: &str| {
            let document: toml_edit::DocumentMut = text.parse().unwrap();
            match Value::from_toml(Kind::Port, &document["a"], Path::new("/dir")) {
                Ok(parsed) => parsed.value.to_string(),
                Err(refusal) => refusal.to_string(),
            }
        };
        assert_eq!(read("a = 8883"), "8883");
        assert_eq!(
            read("a = \"8883\""),
            "invalid type: string \"8883\", expected u16"
        );
        assert_eq!(
            read("a = 70000"),
            "invalid value: integer `70000`, expected u16"
        );
        assert_eq!(
            read("a = 0"),
            "invalid value: integer `0`, expected a nonzero u16"
        );
        assert_eq!(read("[a]"), "invalid type: map, expected u16");
    }

    #[test]
    fn an_address_with_a_port_may_be_of_either_family() {
        for text in [
            "example.com",
            "example.com:8883",
            "10.0.0.1:1",
            "[::1]:8883",
            "::1",
        ] {
            assert_eq!(said(Kind::HostPort, text), text);
        }
        for text in [
            "",
            "a b",
            "example.com:0",
            "example.com:x",
            "https://example.com",
        ] {
            assert!(said(Kind::HostPort, text).starts_with("refused"), "{text}");
        }
    }
}
