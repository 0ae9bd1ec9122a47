//! `prj.conf`: the firmware's build options as Zephyr writes them, read here so that one file configures the real
//! device and ours.
//!
//! ```text
//!   # comment                        CONFIG_NRF_PROVISIONING_SCHEDULED=y
//!   # CONFIG_X is not set            CONFIG_NRF_PROVISIONING_INTERVAL_S=3600
//!   CONFIG_X=0x2a                    CONFIG_NRF_PROVISIONING_HTTP_HOSTNAME="device.example"
//! ```
//!
//! Several files are one after the other, the last assignment of a name wins, as with overlays. What is not written in
//! this grammar is an error with file and line, as it is for Zephyr's build. An option that we know
//! ([`OPTIONS`](crate::options::OPTIONS)) must have a value of its type; one that we do not know is listed
//! ([`Kconfig::unknown`]) and has no effect.

mod line;
pub mod near;

pub(crate) use line::number;
pub use line::{LineFault, NAME_BYTES_MAX};

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::options::{self, Value};

/// Bytes of one file. Zephyr's largest samples have less than 10 kB.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Choices of Kconfig: the one that is set to `y` last is the one, and the others are `n`.
const CHOICES: [[&str; 2]; 1] = [["NRF_PROVISIONING_HTTP", "NRF_PROVISIONING_COAP"]];

/// Options read from one or more files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kconfig {
    set: BTreeMap<String, Setting>,
}

/// One option's value, and where it was set last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `y` and `n` are [`Value::Flag`], numbers [`Value::Number`], quoted texts [`Value::Text`].
    pub value: Value,
    /// File and line.
    pub place: Place,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// An option without effect here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// With `CONFIG_`.
    pub name: String,
    /// Where.
    pub place: &'a Place,
    /// With `CONFIG_`: the known name that was probably meant.
    pub suggestion: Option<String>,
}

/// Why a text is no `prj.conf`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KconfigError {
    /// The file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("`{file}` has {bytes} bytes; a prj.conf has at most {FILE_BYTES_MAX}")]
    TooLong {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("`{file}` is no text (UTF-8)")]
    NotText {
        /// The file.
        file: String,
    },
    /// A line that is neither comment nor assignment, or a value without meaning.
    #[error("{place}: {reason}")]
    Line {
        /// Where.
        place: Place,
        /// What is wrong.
        reason: LineFault,
    },
}

impl KconfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Line {
                reason: LineFault::Type { name, error },
                ..
            } => error.hint(&format!("CONFIG_{name}")),
            Self::Line { .. } => {
                Some("Zephyr's build refuses the same line; `sectag device options` lists the options that have an effect here".to_owned())
            }
            _ => None,
        }
    }
}

impl Kconfig {
    /// Reads files in order; later ones win.
    ///
    /// # Errors
    /// [`KconfigError`].
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, KconfigError> {
        let mut all = Self::default();
        for path in paths {
            let path = path.as_ref();
            let (bytes, length) = bytes_of(path).map_err(|source| KconfigError::Read {
                path: path.to_path_buf(),
                source,
            })?;
            if bytes.len() > FILE_BYTES_MAX {
                return Err(KconfigError::TooLong {
                    file: path.display().to_string(),
                    bytes: length.max(bytes.len()),
                });
            }
            all.add_bytes(&path.display().to_string(), &bytes)?;
        }
        Ok(all)
    }

    /// Adds one file's bytes; `file` is for messages.
    ///
    /// # Errors
    /// [`KconfigError`].
    pub fn add_bytes(&mut self, file: &str, bytes: &[u8]) -> Result<(), KconfigError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KconfigError::NotText {
            file: file.to_owned(),
        })?;
        self.add(file, text)
    }

    /// Adds one file's text; `file` is for messages.
    ///
    /// # Errors
    /// [`KconfigError`]; the lines before the wrong one are added.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), KconfigError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(KconfigError::TooLong {
                file: file.to_owned(),
                bytes: text.len(),
            });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let place = Place {
                file: file.to_owned(),
                line: index + 1,
            };
            match line::assignment(line) {
                Ok(None) => {}
                Ok(Some((name, value))) => {
                    if value == Value::Flag(true) {
                        self.unset_others(&name, &place);
                    }
                    self.set.insert(name, Setting { value, place });
                }
                Err(reason) => return Err(KconfigError::Line { place, reason }),
            }
        }
        Ok(())
    }

    fn unset_others(&mut self, chosen: &str, place: &Place) {
        let others = CHOICES
            .iter()
            .filter(|choice| choice.contains(&chosen))
            .flatten()
            .filter(|name| **name != chosen);
        for name in others {
            let setting = Setting {
                value: Value::Flag(false),
                place: place.clone(),
            };
            self.set.insert((*name).to_owned(), setting);
        }
    }

    /// The option `name` (without `CONFIG_`), under this name only; see [`Kconfig::find`].
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.set.get(name)
    }

    /// A known option under its name or a former one; the last assignment in reading order is not looked for among
    /// them, its present name wins.
    pub fn find(&self, name: &str) -> Option<&Setting> {
        self.get(name).or_else(|| {
            let known = options::known(name)?;
            known.former.iter().find_map(|former| self.get(former))
        })
    }

    /// A switch. `None`: not set, or an unknown option with another type of value.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.find(name)?.value {
            Value::Flag(on) => Some(on),
            _ => None,
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.find(name)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.find(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Everything that was set, by name (without `CONFIG_`).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.set
            .iter()
            .map(|(name, setting)| (name.as_str(), setting))
    }

    /// Options that we do not know and that have no effect, by name.
    pub fn unknown(&self) -> impl Iterator<Item = Unknown<'_>> {
        self.set
            .iter()
            .filter(|(name, _)| options::known(name).is_none())
            .map(|(name, setting)| Unknown {
                name: format!("CONFIG_{name}"),
                place: &setting.place,
                suggestion: near::nearest(name, options::OPTIONS.iter().map(|known| known.kconfig))
                    .map(|known| format!("CONFIG_{known}")),
            })
    }
}

/// The file's beginning, a byte more than may be read, and its length. A device or a pipe has none, and may have no end.
fn bytes_of(path: &Path) -> io::Result<(Vec<u8>, usize)> {
    let file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok((bytes, length))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Kconfig {
        let mut kconfig = Kconfig::default();
        kconfig.add("prj.conf", text).unwrap();
        kconfig
    }

    fn refused(text: &str) -> String {
        Kconfig::default()
            .add("prj.conf", text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_its_end() {
        let refused = Kconfig::read(&["/dev/zero"]).unwrap_err();
        assert!(
            matches!(refused, KconfigError::TooLong { bytes, .. } if bytes == FILE_BYTES_MAX + 1),
            "{refused}"
        );
    }

    #[test]
    fn a_file_of_every_kind_of_line_is_read() {
        let kconfig = read(
            "# Provisioning\r\n\
             CONFIG_NRF_PROVISIONING_SCHEDULED=y\r\n\
             # CONFIG_NRF_PROVISIONING_WITH_CERT is not set\n\
             CONFIG_NRF_PROVISIONING_INTERVAL_S=3600\n\
             CONFIG_NRF_PROVISIONING_ROOT_CA_SEC_TAG=0x2a\n\
             \n\
             CONFIG_MQTT_HELPER_LAST_WILL_MESSAGE=\"{\\\"a\\\": \\\\1}\"  \n",
        );
        assert_eq!(kconfig.flag("NRF_PROVISIONING_SCHEDULED"), Some(true));
        assert_eq!(kconfig.flag("NRF_PROVISIONING_WITH_CERT"), Some(false));
        assert_eq!(kconfig.number("NRF_PROVISIONING_INTERVAL_S"), Some(3600));
        assert_eq!(kconfig.number("NRF_PROVISIONING_ROOT_CA_SEC_TAG"), Some(42));
        assert_eq!(
            kconfig.text("MQTT_HELPER_LAST_WILL_MESSAGE"),
            Some("{\"a\": \\1}")
        );
        assert_eq!(kconfig.iter().count(), 5);
    }

    #[test]
    fn the_last_assignment_wins_over_all_files() {
        let mut kconfig = read("CONFIG_MQTT_BROKER_PORT=1883\n");
        kconfig
            .add("overlay-tls.conf", "\nCONFIG_MQTT_BROKER_PORT=8883\n")
            .unwrap();
        let setting = kconfig.get("MQTT_BROKER_PORT").unwrap();
        assert_eq!(setting.value, Value::Number(8883));
        assert_eq!(setting.place.to_string(), "overlay-tls.conf:2");
    }

    #[test]
    fn a_former_name_is_the_same_option() {
        let kconfig = read("CONFIG_NRF_PROVISIONING_COAP_TLS_SESSION_CACHE=n\n");
        assert_eq!(
            kconfig.flag("NRF_PROVISIONING_COAP_DTLS_SESSION_CACHE"),
            Some(false)
        );
        assert_eq!(kconfig.unknown().count(), 0);
    }

    #[test]
    fn a_line_that_zephyr_refuses_is_refused_with_its_place() {
        assert_eq!(
            refused("\nNRF_PROVISIONING=y"),
            "prj.conf:2: neither a comment nor `CONFIG_NAME=value`: `NRF_PROVISIONING=y`"
        );
        assert_eq!(
            refused("CONFIG_X = y"),
            "prj.conf:1: `CONFIG_X ` is no option name: after CONFIG_ come letters, digits and `_`"
        );
        assert_eq!(
            refused("CONFIG_X=\"a"),
            "prj.conf:1: the text of CONFIG_X must be one pair of quotes with nothing behind it"
        );
        assert_eq!(
            refused("CONFIG_X=y # no comment here"),
            "prj.conf:1: `y # no comment here` is no value for CONFIG_X: write y, n, a number, or a text in quotes"
        );
    }

    #[test]
    fn a_known_option_must_have_its_type() {
        assert_eq!(
            refused("CONFIG_NRF_PROVISIONING_INTERVAL_S=\"60\""),
            "prj.conf:1: CONFIG_NRF_PROVISIONING_INTERVAL_S: \"60\" is a text, not a number"
        );
        assert_eq!(
            refused("CONFIG_NRF_PROVISIONING_COAP_PORT=5684"),
            "prj.conf:1: CONFIG_NRF_PROVISIONING_COAP_PORT: 5684 is a number, not a text"
        );
        assert_eq!(
            refused("CONFIG_NRF_PROVISIONING_JWT_MAX_VALID_TIME_S=361"),
            "prj.conf:1: CONFIG_NRF_PROVISIONING_JWT_MAX_VALID_TIME_S: 361 is not within 0 to 360"
        );
    }

    #[test]
    fn of_a_choice_the_last_one_is_taken() {
        let kconfig = read("CONFIG_NRF_PROVISIONING_COAP=y\nCONFIG_NRF_PROVISIONING_HTTP=y\n");
        assert_eq!(kconfig.flag("NRF_PROVISIONING_COAP"), Some(false));
        assert_eq!(kconfig.flag("NRF_PROVISIONING_HTTP"), Some(true));
    }

    #[test]
    fn a_number_or_a_text_cannot_be_unset() {
        let kconfig = read("# CONFIG_NRF_PROVISIONING_INTERVAL_S is not set\n");
        assert_eq!(kconfig.get("NRF_PROVISIONING_INTERVAL_S"), None);
    }

    #[test]
    fn unknown_options_are_listed_and_near_misses_get_a_suggestion() {
        let kconfig = read(
            "CONFIG_LOG=y\nCONFIG_NRF_PROVISIONING_INTERVAL=60\nCONFIG_NRF_PROVISONING_SPREAD_S=1\n",
        );
        let unknown: Vec<_> = kconfig
            .unknown()
            .map(|unknown| (unknown.name, unknown.suggestion))
            .collect();
        assert_eq!(
            unknown,
            [
                ("CONFIG_LOG".to_owned(), None),
                (
                    "CONFIG_NRF_PROVISIONING_INTERVAL".to_owned(),
                    Some("CONFIG_NRF_PROVISIONING_INTERVAL_S".to_owned())
                ),
                (
                    "CONFIG_NRF_PROVISONING_SPREAD_S".to_owned(),
                    Some("CONFIG_NRF_PROVISIONING_SPREAD_S".to_owned())
                ),
            ]
        );
    }
}
