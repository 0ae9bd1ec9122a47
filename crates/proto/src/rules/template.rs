//! Template variables in the texts of a rule: `{{device.id}}`, `{{tag.location}}`; `{{{{` stands for two braces.
//!
//! | variable | value |
//! |---|---|
//! | `device.id` | the device id, lower case with hyphens |
//! | `device.imei` | the value of the tag `imei=…`, 15 digits: a claim token does not hold an IMEI |
//! | `device.type` | chip and variant, `nrf9151_LACA` |
//! | `team.prefix` | the topic prefix of the device's team |
//! | `tag.NAME` | the value of the tag `NAME=value` |
//!
//! A value is data: it can end neither the quotes nor the parameter nor the subject attribute in which it stands ([`Place`]).

use crate::DeviceId;
use crate::token::DeviceType;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A text with variables, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// What may stand between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `device.id`
    DeviceId,
    /// `device.imei`
    DeviceImei,
    /// `device.type`
    DeviceType,
    /// `team.prefix`
    TeamPrefix,
    /// `tag.NAME`
    Tag(String),
}

/// Where a text goes, which decides what a value in it must not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Shown to people, or carried as CBOR text: no control characters.
    Free,
    /// Between the quotes of an AT command: nor a quote.
    Quoted,
    /// `KEY=value,KEY=value`: nor a comma, a quote or a backslash.
    Attributes,
    /// The parameters of an AT command: as [`Place::Quoted`] between quotes; outside of them letters, digits and `._:+-`.
    Parameters,
}

/// What is known about one device when a rule is applied to it.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// Its id.
    pub device: DeviceId,
    /// From its claim token.
    pub device_type: DeviceType,
    /// Its tags.
    pub tags: &'a [String],
    /// Its team's topic prefix.
    pub team_prefix: Option<&'a str>,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Two braces that are never closed.
    #[error("`{{{{` without `}}}}`; two braces that mean themselves are written `{{{{{{{{`")]
    Unclosed,
    /// No such variable.
    #[error("`{{{{{given}}}}}` is not a variable; there are {KNOWN}")]
    Unknown {
        /// What was given, shortened.
        given: String,
    },
}

/// Why a variable has no value for this device, or none that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The device has no such tag.
    #[error("`{{{{{variable}}}}}` has no value: the device carries no tag `{tag}=…`")]
    NoTag {
        /// The variable.
        variable: Variable,
        /// The tag's name.
        tag: String,
    },
    /// The device has more than one.
    #[error(
        "`{{{{{variable}}}}}` has more than one value: the device carries several tags `{tag}=…`"
    )]
    SeveralTags {
        /// The variable.
        variable: Variable,
        /// The tag's name.
        tag: String,
    },
    /// The team has none.
    #[error("`{{{{team.prefix}}}}` has no value: the team has no topic prefix")]
    NoPrefix,
    /// A tag `imei=…` whose value is no IMEI.
    #[error("`{{{{device.imei}}}}` has no value: the tag `imei=…` does not hold 15 digits")]
    NotAnImei,
    /// The value holds a character that has a meaning where it would stand.
    #[error("the value of `{{{{{variable}}}}}` holds {character}, which cannot stand there")]
    Character {
        /// The variable.
        variable: Variable,
        /// Which, in words.
        character: String,
    },
}

/// The variables there are, for errors and help.
pub const KNOWN: &str = "device.id, device.imei, device.type, team.prefix and tag.NAME";

/// Characters of a variable's name that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;
const OPEN: &str = "{{";
const CLOSE: &str = "}}";
/// Digits of an IMEI.
const IMEI_DIGITS: usize = 15;

impl Template {
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(OPEN) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            let inside = &from[OPEN.len()..];
            if let Some(after) = inside.strip_prefix(OPEN) {
                literal.push_str(OPEN);
                rest = after;
                continue;
            }
            let (name, after) = inside.split_once(CLOSE).ok_or(TemplateError::Unclosed)?;
            if !literal.is_empty() {
                parts.push(Part::Text(core::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(Variable::parse(name.trim())?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// In the order of the text.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    /// The text for one device. `value` says what a variable is; what it says is checked against the place.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn fill<'v>(
        &self,
        place: Place,
        value: impl Fn(&Variable) -> Result<Cow<'v, str>, ValueError>,
    ) -> Result<String, ValueError> {
        let mut text = String::new();
        let mut quoted = false;
        for part in &self.parts {
            match part {
                Part::Text(literal) => {
                    quoted ^= literal.matches('"').count() % 2 == 1;
                    text.push_str(literal);
                }
                Part::Variable(variable) => {
                    let value = value(variable)?;
                    check(variable, &value, place, quoted)?;
                    text.push_str(&value);
                }
            }
        }
        Ok(text)
    }
}

fn check(variable: &Variable, value: &str, place: Place, quoted: bool) -> Result<(), ValueError> {
    let stands = |c: char| match place {
        _ if c.is_control() => false,
        Place::Free => true,
        Place::Quoted => c != '"',
        Place::Attributes => !matches!(c, '"' | ',' | '\\'),
        Place::Parameters if quoted => c != '"',
        Place::Parameters => c.is_ascii_alphanumeric() || "._:+-".contains(c),
    };
    match value.chars().find(|c| !stands(*c)) {
        None => Ok(()),
        Some(c) => Err(ValueError::Character {
            variable: variable.clone(),
            character: if c.is_control() {
                format!("the control character {:#04x}", u32::from(c))
            } else {
                format!("`{c}`")
            },
        }),
    }
}

impl Variable {
    fn parse(name: &str) -> Result<Self, TemplateError> {
        match name {
            "device.id" => Ok(Self::DeviceId),
            "device.imei" => Ok(Self::DeviceImei),
            "device.type" => Ok(Self::DeviceType),
            "team.prefix" => Ok(Self::TeamPrefix),
            _ => match name.strip_prefix("tag.") {
                Some(tag)
                    if !tag.is_empty()
                        && !tag.chars().any(|c| c.is_control() || "=,{}\"".contains(c)) =>
                {
                    Ok(Self::Tag(tag.into()))
                }
                _ => Err(TemplateError::Unknown {
                    given: name.chars().take(SHOWN_CHARS_MAX).collect(),
                }),
            },
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceId => f.write_str("device.id"),
            Self::DeviceImei => f.write_str("device.imei"),
            Self::DeviceType => f.write_str("device.type"),
            Self::TeamPrefix => f.write_str("team.prefix"),
            Self::Tag(name) => write!(f, "tag.{name}"),
        }
    }
}

impl Binding<'_> {
    /// What a variable is for this device.
    ///
    /// # Errors
    /// [`ValueError`] when it has no value.
    pub fn value(&self, variable: &Variable) -> Result<Cow<'_, str>, ValueError> {
        match variable {
            Variable::DeviceId => Ok(self.device.to_string().into()),
            Variable::DeviceType => Ok(self.device_type.owner_name().into()),
            Variable::TeamPrefix => self.team_prefix.map(Cow::from).ok_or(ValueError::NoPrefix),
            Variable::Tag(name) => self.tag(variable, name).map(Cow::from),
            Variable::DeviceImei => {
                let imei = self.tag(variable, "imei")?;
                if imei.len() == IMEI_DIGITS && imei.bytes().all(|b| b.is_ascii_digit()) {
                    Ok(imei.into())
                } else {
                    Err(ValueError::NotAnImei)
                }
            }
        }
    }

    /// The value of the tag `name=value`; an empty one is none.
    fn tag(&self, variable: &Variable, name: &str) -> Result<&str, ValueError> {
        let mut values = self
            .tags
            .iter()
            .filter_map(|tag| tag.split_once('='))
            .filter(|(key, value)| *key == name && !value.is_empty())
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(ValueError::NoTag {
                variable: variable.clone(),
                tag: name.into(),
            }),
            (Some(_), Some(_)) => Err(ValueError::SeveralTags {
                variable: variable.clone(),
                tag: name.into(),
            }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::vec;

    fn fill(text: &str, place: Place, tags: &[&str]) -> Result<String, String> {
        let tags: Vec<String> = tags.iter().map(|tag| tag.to_string()).collect();
        let binding = Binding {
            device: "50363154-3931-44f0-8022-121b6401627d".parse().unwrap(),
            device_type: DeviceType::NRF9151_LACA,
            tags: &tags,
            team_prefix: None,
        };
        Template::parse(text)
            .map_err(|e| e.to_string())?
            .fill(place, |variable| binding.value(variable))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn each_variable_has_its_value() {
        let tags = ["imei=350123456789012", "location=Trondheim", "plain"];
        for (text, value) in [
            (
                "CN={{device.id}}",
                "CN=50363154-3931-44f0-8022-121b6401627d",
            ),
            ("{{ device.imei }}", "350123456789012"),
            ("{{device.type}}!", "nrf9151_LACA!"),
            ("L={{tag.location}},O=x", "L=Trondheim,O=x"),
            ("no variables", "no variables"),
            ("{{{{device.id}} }}", "{{device.id}} }}"),
            ("", ""),
        ] {
            assert_eq!(fill(text, Place::Free, &tags).unwrap(), value);
        }
    }

    #[test]
    fn an_unknown_variable_is_named_beside_those_there_are() {
        let e = fill("{{device.serial}}", Place::Free, &[]).unwrap_err();
        assert_eq!(
            e,
            "`{{device.serial}}` is not a variable; there are device.id, device.imei, device.type, team.prefix and tag.NAME"
        );
        assert!(fill("{{}}", Place::Free, &[]).is_err());
        assert!(fill("{{tag.}}", Place::Free, &[]).is_err());
        assert!(fill("{{tag.a=b}}", Place::Free, &[]).is_err());
        let e = fill("{{device.id", Place::Free, &[]).unwrap_err();
        assert!(e.contains("without `}}`"), "{e}");
    }

    #[test]
    fn a_value_that_the_device_lacks_is_said() {
        for (text, tags, words) in [
            ("{{tag.a}}", vec![], "carries no tag `a=…`"),
            ("{{tag.a}}", vec!["a"], "carries no tag `a=…`"),
            ("{{tag.a}}", vec!["a="], "carries no tag `a=…`"),
            ("{{tag.a}}", vec!["a=1", "a=2"], "several tags `a=…`"),
            ("{{device.imei}}", vec!["imei=12"], "15 digits"),
            ("{{device.imei}}", vec![], "carries no tag `imei=…`"),
            ("{{team.prefix}}", vec![], "no topic prefix"),
        ] {
            let e = fill(text, Place::Free, &tags).unwrap_err();
            assert!(e.contains(words), "{e}");
        }
    }

    #[test]
    fn a_value_ends_neither_quotes_nor_parameters_nor_attributes() {
        let quote = ["x=a\"b"];
        for place in [Place::Quoted, Place::Attributes, Place::Parameters] {
            assert!(fill("{{tag.x}}", place, &quote).is_err(), "{place:?}");
        }
        assert!(fill("{{tag.x}}", Place::Attributes, &["x=a,CN=b"]).is_err());
        assert!(fill("1,{{tag.x}}", Place::Parameters, &["x=2,3"]).is_err());
        assert!(fill("1,{{tag.x}}", Place::Parameters, &["x=a b"]).is_err());
        assert!(fill("1,\"{{tag.x}}\"", Place::Parameters, &["x=a b,c"]).is_ok());
        assert!(fill("\"1\",{{tag.x}}", Place::Parameters, &["x=a b,c"]).is_err());
        assert!(fill("{{tag.x}}", Place::Free, &["x=a\nb"]).is_err());
    }
}
