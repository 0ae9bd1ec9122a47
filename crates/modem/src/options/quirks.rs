//! Quirks by the names they are typed with: one table for parsing, help and suggestions.

use std::time::Duration;

use sectag_proto::cose::Convention;

use super::Options;

/// One thing that firmware versions or boards differ in.
pub struct Quirk {
    /// What is typed before the `=`.
    pub name: &'static str,
    /// What may be typed behind it, the default first.
    pub values: &'static str,
    /// What it does, in a few words.
    pub effect: &'static str,
    set: fn(&mut Options, &str) -> Option<()>,
}

/// Why a quirk could not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuirkError {
    /// No such name.
    #[error("there is no quirk `{name}`")]
    Unknown {
        /// What was typed.
        name: String,
        /// The nearest name, if one is near.
        nearest: Option<&'static str>,
    },
    /// A value it does not take.
    #[error("quirk `{name}` takes {values}, not `{value}`")]
    Value {
        /// The quirk.
        name: &'static str,
        /// What was typed.
        value: String,
        /// What it takes.
        values: &'static str,
    },
}

impl QuirkError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown {
                nearest: Some(name),
                ..
            } => Some(format!("did you mean `{name}`?")),
            Self::Unknown { nearest: None, .. } => {
                let names: Vec<&str> = QUIRKS.iter().map(|quirk| quirk.name).collect();
                Some(format!("the quirks are {}", names.join(", ")))
            }
            Self::Value { .. } => None,
        }
    }
}

impl Options {
    /// Sets the quirk `name` to `value`.
    ///
    /// # Errors
    /// [`QuirkError`]: unknown, or a value that it does not take.
    pub fn set_quirk(&mut self, name: &str, value: &str) -> Result<(), QuirkError> {
        let Some(quirk) = QUIRKS.iter().find(|quirk| quirk.name == name) else {
            return Err(QuirkError::Unknown {
                name: name.to_owned(),
                nearest: nearest(name),
            });
        };
        (quirk.set)(self, value).ok_or_else(|| QuirkError::Value {
            name: quirk.name,
            value: value.to_owned(),
            values: quirk.values,
        })
    }
}

/// All quirks, in the order of the help.
pub const QUIRKS: &[Quirk] = &[
    Quirk {
        name: "attest-signature",
        values: "body-aad or empty-aad",
        effect: "what the signature of %ATTESTTOKEN covers: the body as external_aad, or as payload",
        set: |options, value| {
            options.attest_convention = convention(value)?;
            Some(())
        },
    },
    Quirk {
        name: "keygen-signature",
        values: "empty-aad or body-aad",
        effect: "the external_aad under the signature of %KEYGEN: empty (newer firmware), or the body",
        set: |options, value| {
            options.keygen_convention = convention(value)?;
            Some(())
        },
    },
    Quirk {
        name: "csr-null-parameters",
        values: "on or off",
        effect: "CSRs carry NULL algorithm parameters, which strict parsers refuse",
        set: |options, value| switch(&mut options.csr_null_parameters, value),
    },
    Quirk {
        name: "checks-certificates",
        values: "on or off",
        effect: "types 0 and 1 must be PEM certificates, else 527; off as firmware before 2.0.1",
        set: |options, value| switch(&mut options.checks_certificates, value),
    },
    Quirk {
        name: "lists-own-tags",
        values: "on or off",
        effect: "a complete list shows the modem's own entries as well",
        set: |options, value| switch(&mut options.lists_own_tags, value),
    },
    Quirk {
        name: "keygen-overwrites",
        values: "off or on",
        effect: "%KEYGEN type 2 on an occupied tag: 519, or a new key",
        set: |options, value| switch(&mut options.keygen_overwrites, value),
    },
    Quirk {
        name: "endorsement-key-stays",
        values: "on or off",
        effect: "%KEYGEN type 8 on an occupied tag: the key that is there, or 519",
        set: |options, value| switch(&mut options.endorsement_key_stays, value),
    },
    Quirk {
        name: "cfun-reads-back",
        values: "combined or literal",
        effect: "AT+CFUN? after 20, 21, 30, 31 or 40: what is on in all, or the number that was set",
        set: |options, value| {
            options.reads_back_literally = match value {
                "combined" => false,
                "literal" => true,
                _ => return None,
            };
            Some(())
        },
    },
    Quirk {
        name: "power-off-warning",
        values: "off or on",
        effect: "the supply is low: nothing may be written or deleted, 528",
        set: |options, value| switch(&mut options.power_off_warning, value),
    },
    Quirk {
        name: "storage-bytes",
        values: "65536 or another number",
        effect: "bytes of content of all entries together; beyond: 515",
        set: |options, value| number(&mut options.storage_bytes_max, value),
    },
    Quirk {
        name: "storage-entries",
        values: "512 or another number",
        effect: "entries of all tags together; beyond: 515",
        set: |options, value| number(&mut options.storage_entries_max, value),
    },
    Quirk {
        name: "attach-ms",
        values: "0 or another number",
        effect: "milliseconds from AT+CFUN=1 to the registration and its notifications",
        set: |options, value| {
            let mut millis = 0;
            number(&mut millis, value)?;
            options.attach_delay = Duration::from_millis(u64::try_from(millis).ok()?);
            Some(())
        },
    },
    Quirk {
        name: "boot-mode",
        values: "0 or another mode of AT+CFUN",
        effect: "the functional mode after boot",
        set: |options, value| {
            let mode = value.parse().ok()?;
            crate::functional::Functional::NUMBERS
                .contains(&mode)
                .then(|| options.boot_mode = mode)
        },
    },
    Quirk {
        name: "zone-quarter-hours",
        values: "0 or another number, -48 to 56",
        effect: "the time zone that AT%CCLK? shows",
        set: |options, value| {
            let zone = value.parse().ok()?;
            (-48..=56)
                .contains(&zone)
                .then(|| options.zone_quarter_hours = zone)
        },
    },
];

fn convention(value: &str) -> Option<Convention> {
    match value {
        "body-aad" => Some(Convention::BodyIsAad),
        "empty-aad" => Some(Convention::EmptyAad),
        _ => None,
    }
}

fn switch(option: &mut bool, value: &str) -> Option<()> {
    *option = match value {
        "on" => true,
        "off" => false,
        _ => return None,
    };
    Some(())
}

fn number(option: &mut usize, value: &str) -> Option<()> {
    // The largest of 32 bits is beyond every use and far from overflow.
    *option = usize::try_from(value.parse::<u32>().ok()?).ok()?;
    Some(())
}

/// The name that a typing mistake was meant to be: at most a third of its characters differ.
fn nearest(typed: &str) -> Option<&'static str> {
    let typed: String = typed.to_ascii_lowercase().replace('_', "-");
    QUIRKS
        .iter()
        .map(|quirk| (distance(&typed, quirk.name), quirk.name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .map(|(_, name)| name)
}

/// Levenshtein.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_each_quirk_is_the_default() {
        for quirk in QUIRKS {
            let mut options = Options::default();
            let default = quirk.values.split_whitespace().next().unwrap();
            options.set_quirk(quirk.name, default).unwrap();
            assert_eq!(
                format!("{options:?}"),
                format!("{:?}", Options::default()),
                "{}",
                quirk.name
            );
        }
    }

    #[test]
    fn the_other_value_is_not() {
        for quirk in QUIRKS {
            let mut options = Options::default();
            let other = match quirk.values.rsplit(' ').next().unwrap() {
                "number" | "+CFUN" | "AT+CFUN" => "4",
                "56" => "-48",
                value => value,
            };
            options.set_quirk(quirk.name, other).unwrap();
            assert_ne!(
                format!("{options:?}"),
                format!("{:?}", Options::default()),
                "{}",
                quirk.name
            );
        }
    }

    #[test]
    fn a_mistyped_quirk_is_suggested() {
        let mut options = Options::default();
        let error = options.set_quirk("keygen_overwrite", "on").unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean `keygen-overwrites`?");
        let error = options.set_quirk("colour", "red").unwrap_err();
        assert!(error.hint().unwrap().contains("storage-bytes"));
        let error = options.set_quirk("boot-mode", "3").unwrap_err();
        assert_eq!(
            error.to_string(),
            "quirk `boot-mode` takes 0 or another mode of AT+CFUN, not `3`"
        );
    }
}
