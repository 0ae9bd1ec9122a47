//! `device.toml` in the device's folder: one key per line, names as in `docs/reference/options.md`.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{Here, OPTIONS, Options, Source, Value, ValueError};
use crate::kconfig::{Place, near};

/// Why options were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// No key of the table.
    #[error("{source_of}: there is no option `{key}`")]
    Unknown {
        /// As typed.
        key: String,
        /// Where.
        source_of: Source,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A Kconfig name that a `prj.conf` may hold, and that sets nothing of a device.
    #[error("{source_of}: {}", elsewhere(name, here, effect))]
    Elsewhere {
        /// Without `CONFIG_`.
        name: &'static str,
        /// Where it counts.
        here: Here,
        /// What it does there, or why it does nothing.
        effect: &'static str,
        /// Where it was set.
        source_of: Source,
    },
    /// A value of another type, or out of range.
    #[error("{source_of}: `{key}`: {error}")]
    Value {
        /// As typed.
        key: String,
        /// Where.
        source_of: Source,
        /// Why.
        error: ValueError,
    },
    /// `coap-port` is a text, as in Kconfig, and this one names no port.
    #[error("{source_of}: `coap-port`: \"{given}\" is not a port from 1 to 65535")]
    CoapPort {
        /// As given.
        given: String,
        /// Where.
        source_of: Source,
    },
    /// `-o key` without `=`.
    #[error("`-o {text}` has no value")]
    NoValue {
        /// As typed.
        text: String,
    },
    /// Not TOML.
    #[error("{place}: {reason}")]
    Toml {
        /// Where.
        place: Place,
        /// In TOML's words.
        reason: String,
    },
}

impl OptionsError {
    pub(super) fn unknown(key: &str, source: &Source) -> Self {
        let shown: String = key.chars().take(80).collect();
        let keys = OPTIONS.iter().filter_map(super::Known::key);
        let names = OPTIONS
            .iter()
            .filter(|known| known.key().is_some())
            .map(|known| known.kconfig);
        let name = key.strip_prefix("CONFIG_").unwrap_or(key);
        if let Some(known) = super::known(name).filter(|known| known.key().is_none()) {
            return Self::Elsewhere {
                name: known.kconfig,
                here: known.here,
                effect: known.effect,
                source_of: source.clone(),
            };
        }
        Self::Unknown {
            suggestion: near::nearest(key, keys).or_else(|| near::nearest(name, names)),
            key: shown,
            source_of: source.clone(),
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown {
                suggestion: Some(name),
                ..
            } => Some(format!("did you mean `{name}`?")),
            Self::Unknown { .. } => {
                Some("`sectag device options` lists all, with their values".to_owned())
            }
            Self::Elsewhere { here, .. } => Some(match here {
                Here::Sample(flag) if !flag.is_empty() => format!("give {flag} there"),
                _ => "leave it out; in a prj.conf it may stay".to_owned(),
            }),
            Self::NoValue { text } => Some(format!("write -o {text}=VALUE")),
            Self::CoapPort { .. } => Some("write it as a text: coap-port = \"5684\"".to_owned()),
            Self::Value { .. } | Self::Toml { .. } => None,
        }
    }
}

impl Options {
    /// Takes over the keys of a `device.toml`; `file` is for messages.
    ///
    /// # Errors
    /// [`OptionsError`] with file and line; the keys before the wrong one may be in effect.
    pub fn apply_toml(&mut self, file: &str, text: &str) -> Result<(), OptionsError> {
        let place = |at: usize| Place {
            file: file.to_owned(),
            line: line_of(text, at),
        };
        let table: BTreeMap<Spanned<String>, toml::Value> =
            toml::from_str(text).map_err(|error| OptionsError::Toml {
                place: place(error.span().map_or(0, |span| span.start)),
                reason: error.message().to_owned(),
            })?;
        for (key, value) in table {
            let source = Source::File(place(key.span().start));
            let value = match value {
                toml::Value::Boolean(on) => Value::Flag(on),
                toml::Value::Integer(number) => Value::Number(number),
                toml::Value::String(text) => Value::Text(text),
                other => {
                    return Err(OptionsError::Value {
                        error: ValueError::Type {
                            value: other.to_string().trim_end().chars().take(80).collect(),
                            is: other.type_str(),
                            wanted: super::keyed(key.get_ref())
                                .map_or("an option", |known| known.kind.noun()),
                        },
                        key: key.into_inner(),
                        source_of: source,
                    });
                }
            };
            self.set(key.get_ref(), value, source)?;
        }
        Ok(())
    }
}

fn elsewhere(name: &str, here: &Here, effect: &str) -> String {
    match here {
        Here::Sample(_) => format!("CONFIG_{name} is of `sectag mqtt sample`"),
        _ => format!("CONFIG_{name} has no effect here: {effect}"),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    1 + before.filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, Option<String>) {
        let error = Options::ours().apply_toml("device.toml", text).unwrap_err();
        (error.to_string(), error.hint())
    }

    #[test]
    fn an_option_of_the_table_that_is_not_of_a_device_is_no_typing_mistake() {
        let refused = |text: &str| {
            let error = Options::ours().apply_flag(text).unwrap_err();
            (error.to_string(), error.hint().unwrap())
        };
        let (error, hint) = refused("CONFIG_NRF_PROVISIONING_STACK_SIZE=4096");
        assert!(
            error.ends_with(
                "=4096: CONFIG_NRF_PROVISIONING_STACK_SIZE has no effect here: threads here have the stack that the \
                 operating system gives them"
            ),
            "{error}"
        );
        assert_eq!(hint, "leave it out; in a prj.conf it may stay");
        let (error, hint) = refused("MQTT_HELPER_PORT=1");
        assert_eq!(
            error,
            "-o MQTT_HELPER_PORT=1: CONFIG_MQTT_HELPER_PORT is of `sectag mqtt sample`"
        );
        assert_eq!(hint, "give --port there");
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert_eq!(
            refused("# mine\nspread-s = 5\nintervl-s = 5\n"),
            (
                "device.toml:3: there is no option `intervl-s`".to_owned(),
                Some("did you mean `interval-s`?".to_owned())
            )
        );
        assert_eq!(
            refused("\nspread-s = \"5\"").0,
            "device.toml:2: `spread-s`: \"5\" is a text, not a number"
        );
        assert_eq!(
            refused("spread-s = [5]").0,
            "device.toml:1: `spread-s`: [5] is array, not a number"
        );
        assert!(refused("spread-s 5").0.starts_with("device.toml:1: "));
    }
}
