//! Cipher suites by their names or numbers in the IANA registry.

use std::fmt;
use std::str::FromStr;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use sectag_mqtt::client::suite_name;

/// A cipher suite that can be used here.
#[derive(Clone, Copy, PartialEq)]
pub struct CipherSuite(SupportedCipherSuite);

impl Eq for CipherSuite {}

impl CipherSuite {
    /// All that can be used, the preferred first.
    pub fn known() -> impl Iterator<Item = Self> {
        ALL_CIPHER_SUITES.iter().copied().map(Self)
    }

    /// The IANA name.
    pub fn name(self) -> &'static str {
        suite_name(self.0.suite()).unwrap_or("unnamed")
    }

    /// The IANA number.
    pub fn number(self) -> u16 {
        self.0.suite().into()
    }

    /// Is it for TLS 1.3? Else for TLS 1.2.
    pub fn is_tls13(self) -> bool {
        self.0.tls13().is_some()
    }

    pub(super) const fn supported(self) -> SupportedCipherSuite {
        self.0
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cipher suite that nobody here knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no cipher suite that can be used; these can: {}",
    known_list()
)]
pub struct UnknownCipherSuite {
    given: String,
}

fn known_list() -> String {
    let all: Vec<String> = CipherSuite::known()
        .map(|suite| format!("{} (0x{:04x})", suite.name(), suite.number()))
        .collect();
    all.join(", ")
}

/// The IANA name in any case (also with a leading `TLS13_`, or with `-` for `_` as Mbed TLS writes it), or the number: `0xc02b`, `49195`.
impl FromStr for CipherSuite {
    type Err = UnknownCipherSuite;

    fn from_str(text: &str) -> Result<Self, UnknownCipherSuite> {
        let given = text.trim();
        let name = given.to_ascii_uppercase().replace('-', "_");
        let name = match name.strip_prefix("TLS13_") {
            Some(rest) => format!("TLS_{rest}"),
            None => name,
        };
        let number = match given.to_ascii_lowercase().strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => given.parse().ok(),
        };
        Self::known()
            .find(|suite| Some(suite.number()) == number || suite.name() == name)
            .ok_or_else(|| UnknownCipherSuite {
                given: given.chars().take(80).collect(),
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_found_by_name_and_by_number() {
        let same = [
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "tls-ecdhe-ecdsa-with-aes-128-gcm-sha256",
            "0xC02B",
            "0xc02b",
            "49195",
            " 49195 ",
        ];
        for text in same {
            let suite: CipherSuite = text.parse().unwrap();
            assert_eq!((suite.number(), suite.name()), (0xc02b, same[0]));
        }
        let suite: CipherSuite = "TLS13_AES_128_GCM_SHA256".parse().unwrap();
        assert_eq!(suite.to_string(), "TLS_AES_128_GCM_SHA256");
        assert!(suite.is_tls13());
    }

    #[test]
    fn every_known_suite_has_a_name_that_leads_back_to_it() {
        for suite in CipherSuite::known() {
            assert_eq!(suite.name().parse(), Ok(suite));
            assert_eq!(suite.number().to_string().parse(), Ok(suite));
        }
    }

    #[test]
    fn an_unknown_suite_is_answered_with_the_known_ones() {
        for text in ["TLS_RSA_WITH_AES_128_CBC_SHA", "0x002f", "all", "", "65536"] {
            let error = text.parse::<CipherSuite>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{text}` is no cipher suite")),
                "{error}"
            );
            assert!(error.contains("TLS_AES_128_GCM_SHA256 (0x1301)"), "{error}");
        }
    }
}
