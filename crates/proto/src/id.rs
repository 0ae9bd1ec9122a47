//! Each kind of id is its own type, so that two of them cannot be swapped.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID in the hyphenated form of 36 characters.
    #[error(
        "`{given}` is not a {what}: expected 36 characters like 50363154-3931-44f0-8022-121b6401627d"
    )]
    NotAUuid {
        /// What was expected, e.g. "device id".
        what: &'static str,
        /// What was given, at most 64 characters of it.
        given: String,
    },
    /// A security tag outside 0 … 2147483647.
    #[error("sec tag {0} is out of range: 0 to 2147483647 are for users")]
    SecTagRange(u64),
    /// A text that is no decimal number.
    #[error("`{0}` is not a sec tag: expected a decimal number from 0 to 2147483647")]
    SecTagText(String),
    /// A correlation id longer than the device's buffer; it would overwrite device memory.
    #[error("correlation id of {0} characters: a device keeps 45 at most")]
    CorrelationTooLong(usize),
    /// An empty correlation id, or one with characters other than visible ASCII without quotes, `&`, `#`, `%`, `+`.
    #[error("correlation id has a character that cannot travel in a query, or is empty")]
    CorrelationCharacter,
}

fn uuid_of(what: &'static str, text: &str) -> Result<Uuid, IdError> {
    let refuse = || IdError::NotAUuid {
        what,
        given: text.chars().take(64).collect(),
    };
    if text.len() != 36 {
        return Err(refuse());
    }
    Uuid::try_parse(text).map_err(|_| refuse())
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// From the 16 raw bytes in print order.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 raw bytes in print order.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.as_hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                uuid_of($what, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = alloc::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id! {
    /// The device UUID of the modem: lower case, hyphenated. Taken from a token or a JWT, never chosen by an owner.
    DeviceId, "device id"
}
uuid_id! {
    /// The service's id of one command as its owner created it; the first part of its correlation ids.
    CommandId, "command id"
}
uuid_id! {
    /// The service's id of a rule; `ruleId` of the commands that it made.
    RuleId, "rule id"
}
uuid_id! {
    /// The UUID of a modem firmware build (`%XMODEMUUID`).
    FirmwareId, "firmware id"
}

/// A security tag as users may use it: 0 … 2147483647 (spec/modem-at §4). Larger numbers belong to the modem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecTag(u32);

impl SecTag {
    /// The largest tag a user may write.
    pub const MAX: u32 = 2_147_483_647;

    /// # Errors
    /// [`IdError::SecTagRange`] above [`SecTag::MAX`].
    pub const fn new(tag: u64) -> Result<Self, IdError> {
        if tag > Self::MAX as u64 {
            return Err(IdError::SecTagRange(tag));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        Ok(Self(tag as u32))
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SecTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SecTag {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(IdError::SecTagText(text.chars().take(64).collect()));
        }
        Self::new(
            text.parse()
                .map_err(|_| IdError::SecTagText(text.to_string()))?,
        )
    }
}

impl<'de> Deserialize<'de> for SecTag {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// The id under which a device answers a command: 1 … 45 characters, by construction
/// (spec/device-protocol §4: a longer one overflows the device's buffer).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// Characters a device can keep: a UUID, a dot, and 8 more.
    pub const CHARS_MAX: usize = 45;

    /// # Errors
    /// [`IdError::CorrelationTooLong`], [`IdError::CorrelationCharacter`].
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.len() > Self::CHARS_MAX {
            return Err(IdError::CorrelationTooLong(text.len()));
        }
        let travels = |b: u8| {
            b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'&' | b'#' | b'%' | b'+' | b'\\')
        };
        if text.is_empty() || !text.bytes().all(travels) {
            return Err(IdError::CorrelationCharacter);
        }
        Ok(Self(text.to_string()))
    }

    /// The text as it travels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CorrelationId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for CorrelationId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = alloc::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}
