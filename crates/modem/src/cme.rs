//! CME error numbers and their words (spec/modem-at §4).

use std::fmt;

/// A `+CME ERROR` number. A newtype with constants, so that an injected number nobody here knows survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cme(pub u32);

impl Cme {
    /// Parameters incorrect.
    pub const PARAMETERS: Self = Self(50);
    /// Command disabled.
    pub const DISABLED: Self = Self(51);
    /// System failure: the virtual modem could not save its state.
    pub const SYSTEM_FAILURE: Self = Self(60);
    /// No such entry.
    pub const NOT_FOUND: Self = Self(513);
    /// Reading or changing this entry is never allowed.
    pub const NO_ACCESS: Self = Self(514);
    /// Storage full.
    pub const STORAGE_FULL: Self = Self(515);
    /// Needs LTE inactive.
    pub const ACTIVE_STATE: Self = Self(518);
    /// The tag already has a key.
    pub const ALREADY_EXISTS: Self = Self(519);
    /// Key generation failed.
    pub const KEY_GENERATION: Self = Self(523);
    /// JWT creation failed, for instance a lifetime without valid time.
    pub const JWT: Self = Self(525);
    /// Content that does not parse (types 0 and 1).
    pub const INVALID_CONTENT: Self = Self(527);

    /// Not while the power-off warning is active.
    pub const POWER_OFF_WARNING: Self = Self(528);
    /// The claim token could not be made.
    pub const CLAIM_TOKEN: Self = Self(529);

    /// The words of `AT+CMEE=2`; a number without words prints as `unknown error <n>`.
    const fn words(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "not supported by this firmware",
            50 => "incorrect parameters",
            51 => "command disabled",
            60 => "system failure",
            513 => "not found",
            514 => "no access",
            515 => "memory full",
            518 => "not allowed in active state",
            519 => "already exists",
            520 => "authentication failed",
            523 => "key generation failed",
            525 => "JWT creation failed",
            527 => "invalid content",
            528 => "not allowed with power-off warning",
            529 => "claim token creation failed",
            _ => return None,
        })
    }
}

impl fmt::Display for Cme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            Some(words) => f.write_str(words),
            None => write!(f, "unknown error {}", self.0),
        }
    }
}

/// How errors print: the state of `AT+CMEE`. Off after boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reporting {
    #[default]
    Off,
    Numeric,
    Verbose,
}

impl Reporting {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Numeric => 1,
            Self::Verbose => 2,
        }
    }

    pub(crate) const fn from_number(n: u32) -> Option<Self> {
        match n {
            0 => Some(Self::Off),
            1 => Some(Self::Numeric),
            2 => Some(Self::Verbose),
            _ => None,
        }
    }
}

/// Why a command did not end in `OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Prints `ERROR` whatever CMEE says: unknown command or broken syntax.
    Plain,
    /// Prints as CMEE says.
    Cme(Cme),
}

impl From<Cme> for Failure {
    fn from(cme: Cme) -> Self {
        Self::Cme(cme)
    }
}

impl Failure {
    /// The final result line, without line end.
    pub(crate) fn print(self, reporting: Reporting) -> String {
        match (self, reporting) {
            (Self::Plain, _) | (_, Reporting::Off) => "ERROR".to_owned(),
            (Self::Cme(cme), Reporting::Numeric) => format!("+CME ERROR: {}", cme.0),
            (Self::Cme(cme), Reporting::Verbose) => format!("+CME ERROR: {cme}"),
        }
    }
}
