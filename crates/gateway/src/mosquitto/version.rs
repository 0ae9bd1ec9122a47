//! Which mosquitto it is, and what that changes.

use std::fmt;
use std::str::FromStr;

/// A version of mosquitto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerVersion {
    /// 2 in 2.0.11.
    pub major: u16,
    /// 0 in 2.0.11.
    pub minor: u16,
    /// 11 in 2.0.11.
    pub patch: u16,
}

impl BrokerVersion {
    /// Debian 12's.
    pub const V2_0_11: Self = Self::new(2, 0, 11);
    /// The 2.1 that the rules were observed on.
    pub const V2_1_2: Self = Self::new(2, 1, 2);

    /// From its three numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// From what `mosquitto -h` prints: `mosquitto version 2.0.11` on its first line. A suffix of the last number is
    /// ignored.
    ///
    /// # Errors
    /// [`NoVersion`] when the first line does not end in a version.
    pub fn parse(output: &str) -> Result<Self, NoVersion> {
        let line = output.lines().next().unwrap_or_default().trim();
        line.rsplit(' ')
            .next()
            .filter(|_| line.starts_with("mosquitto"))
            .and_then(numbers)
            .ok_or_else(|| NoVersion(line.chars().take(80).collect()))
    }

    /// 2.1 or later: `listener_allow_anonymous`, `--test-config`, plugins for passwords and ACL, strict numbers.
    pub const fn is_2_1(self) -> bool {
        self.major > 2 || (self.major == 2 && self.minor >= 1)
    }

    /// Before 2.0 the rules of anonymous access were others; nothing is generated for it.
    pub const fn is_too_old(self) -> bool {
        self.major < 2
    }

    /// Up to 2.0.20 a listener with half of certificate and key opens in plaintext; later ones refuse to start
    /// (spec/gateway-config §6.1).
    pub const fn opens_half_pairs_in_plaintext(self) -> bool {
        self.major < 2 || (self.major == 2 && self.minor == 0 && self.patch <= 20)
    }
}

fn numbers(text: &str) -> Option<BrokerVersion> {
    let mut parts = text.trim_start_matches('v').splitn(3, '.');
    let mut next = || {
        let digits: String = parts
            .next()?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse::<u16>().ok()
    };
    Some(BrokerVersion::new(next()?, next()?, next().unwrap_or(0)))
}

impl FromStr for BrokerVersion {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        numbers(text).ok_or_else(|| NoVersion(text.chars().take(80).collect()))
    }
}

impl fmt::Display for BrokerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// No version of mosquitto in what was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a version of mosquitto")]
pub struct NoVersion(String);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_on_the_first_line_of_the_help() {
        let help = "mosquitto version 2.0.11\n\nmosquitto is an MQTT v5.0/v3.1.1/v3.1 broker.\n";
        assert_eq!(BrokerVersion::parse(help), Ok(BrokerVersion::V2_0_11));
        let next = BrokerVersion::parse("mosquitto version 2.1.2-rc1\n").unwrap();
        assert_eq!(next.to_string(), "2.1.2");
        assert!(next.is_2_1() && !next.opens_half_pairs_in_plaintext());
        assert_eq!("2.0.21".parse(), Ok(BrokerVersion::new(2, 0, 21)));
        for text in [
            "",
            "mosquitto",
            "mosquitto version x",
            "nginx version 1.2.3",
        ] {
            assert!(BrokerVersion::parse(text).is_err(), "{text}");
        }
    }
}
