//! What a TLS client offered, in words for the log line of a handshake that came to nothing for lack of common ground.

use rustls::server::ClientHello;
use rustls::{CipherSuite, Error, NamedGroup, PeerIncompatible, SignatureScheme};
use std::fmt::{Debug, Write as _};
use std::io;

/// Of each kind more are not named.
const NAMED_MAX: usize = 24;

/// Kept until the handshake is over.
#[derive(Debug, Default)]
pub(super) struct Offered {
    suites: Vec<CipherSuite>,
    /// `None`: the client does not say.
    groups: Option<Vec<NamedGroup>>,
    schemes: Vec<SignatureScheme>,
}

impl Offered {
    pub(super) fn of(hello: &ClientHello<'_>) -> Self {
        Self {
            suites: hello.cipher_suites().to_vec(),
            groups: hello.named_groups().map(<[NamedGroup]>::to_vec),
            schemes: hello.signature_schemes().to_vec(),
        }
    }

    /// Whether there was no ClientHello.
    pub(super) const fn is_empty(&self) -> bool {
        self.suites.is_empty()
    }

    /// Why the handshake failed: what is missing and what was offered where that is the reason, else the error's own words.
    pub(super) fn words(&self, e: &io::Error) -> String {
        let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let Some(Error::PeerIncompatible(missing)) = inner else {
            return e.to_string();
        };
        match missing {
            PeerIncompatible::NoCipherSuitesInCommon => {
                let why = if self.all(|name| name.contains("_CBC_")) {
                    "offers only CBC suites, and an AEAD suite such as ECDHE-ECDSA with AES-128-GCM is needed; offered:"
                } else if self.all(|name| name.contains("_PSK_")) {
                    "offers only PSK suites, and a certificate is shown here; offered:"
                } else if self.all(|name| name.contains("_RSA_")) {
                    "offers only RSA suites, and the certificate here is ECDSA; offered:"
                } else {
                    "no cipher suite in common; offered:"
                };
                list(why, &self.suites)
            }
            PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NamedGroupsExtensionRequired => list(
                "no curve in common, P-256 is needed; offered:",
                self.groups.as_deref().unwrap_or_default(),
            ),
            PeerIncompatible::NoSignatureSchemesInCommon => list(
                "no signature scheme in common, ECDSA with P-256 and SHA-256 is needed; offered:",
                &self.schemes,
            ),
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
                "offers no version that is taken here; TLS 1.2 or 1.3 is needed".to_owned()
            }
            PeerIncompatible::UncompressedEcPointsRequired
            | PeerIncompatible::NoEcPointFormatsInCommon => {
                "does not take uncompressed points, which TLS with P-256 needs".to_owned()
            }
            _ => e.to_string(),
        }
    }

    /// Whether this is said of all suites that are suites.
    fn all(&self, what: impl Fn(&str) -> bool) -> bool {
        let mut names = self.suites.iter().map(|suite| format!("{suite:?}"));
        let mut some = false;
        names.all(|name| {
            let counts = !name.ends_with("_SCSV");
            some |= counts;
            !counts || what(&name)
        }) && some
    }
}

fn list<T: Debug>(why: &str, offered: &[T]) -> String {
    let mut text = why.to_owned();
    for one in offered.iter().take(NAMED_MAX) {
        let _ = write!(text, " {one:?}");
    }
    match offered.len() {
        0 => text.push_str(" nothing"),
        n if n > NAMED_MAX => {
            let _ = write!(text, " and {} more", n - NAMED_MAX);
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(missing: PeerIncompatible, offered: &Offered) -> String {
        offered.words(&io::Error::new(
            io::ErrorKind::InvalidData,
            Error::PeerIncompatible(missing),
        ))
    }

    fn suites(suites: &[u16]) -> String {
        let offered = Offered {
            suites: suites.iter().copied().map(CipherSuite::from).collect(),
            ..Offered::default()
        };
        words(PeerIncompatible::NoCipherSuitesInCommon, &offered)
    }

    #[test]
    fn a_modem_that_offers_only_cbc_is_told_from_others() {
        // The oldest firmware's list (spec/device-protocol §6.1).
        let modem = suites(&[
            0xc024, 0xc00a, 0xc023, 0xc009, 0xc014, 0xc027, 0xc013, 0x00ff,
        ]);
        assert!(modem.starts_with("offers only CBC suites"), "{modem}");
        assert!(
            modem.contains("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
            "{modem}"
        );
        let rsa = suites(&[0xc02f, 0xc030]);
        assert!(rsa.starts_with("offers only RSA suites"), "{rsa}");
        let mixed = suites(&[0xc024, 0xc02f]);
        assert!(mixed.starts_with("no cipher suite in common"), "{mixed}");
        for nothing in [suites(&[]), suites(&[0x00ff])] {
            assert!(
                nothing.starts_with("no cipher suite in common"),
                "{nothing}"
            );
        }
    }

    #[test]
    fn curves_schemes_and_versions_are_named() {
        let offered = Offered {
            groups: Some(vec![NamedGroup::secp521r1]),
            schemes: vec![SignatureScheme::RSA_PKCS1_SHA256; 30],
            ..Offered::default()
        };
        let curve = words(PeerIncompatible::NoKxGroupsInCommon, &offered);
        assert!(curve.ends_with("offered: secp521r1"), "{curve}");
        let schemes = words(PeerIncompatible::NoSignatureSchemesInCommon, &offered);
        assert!(
            schemes.contains("RSA_PKCS1_SHA256") && schemes.ends_with("and 6 more"),
            "{schemes}"
        );
        let version = words(PeerIncompatible::Tls12NotOfferedOrEnabled, &offered);
        assert!(version.contains("TLS 1.2 or 1.3 is needed"), "{version}");
        let eof = offered.words(&io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "tls handshake eof",
        ));
        assert_eq!(eof, "tls handshake eof");
    }
}
