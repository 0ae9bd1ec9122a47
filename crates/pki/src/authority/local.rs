//! What a local PKI signs: servers and clients of a gateway (spec/gateway-config §12.2, RULE 20).

use rcgen::{CertificateParams, CrlDistributionPoint, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::{Authority, COMMON_NAME_CHARS_MAX, Purpose, ServerName, alternative, params};
use crate::lint::KeyKind;
use crate::{Certificate, PkiError, topics};

/// RSA keys below this are broken within reach; RFC 8446 peers refuse them, too.
const RSA_BITS_MIN: usize = 2_048;
/// Beyond this a handshake takes a second of a small gateway's processor.
const RSA_BITS_MAX: usize = 8_192;

/// For how long a certificate is signed, and where its revocation is published.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The time of signing, Unix seconds. The certificate is valid from one hour before it.
    pub now_s: u64,
    /// Seconds from then on; cut where the authority itself ends.
    pub lifetime_s: u64,
    /// Where the CRL of this authority can be fetched, as a URL; `None` leaves the extension out.
    pub crl_url: Option<&'a str>,
}

impl Authority {
    /// Signs a server certificate: version 3, CA:FALSE, `serverAuth`, all `names` as alternative names, the first as CN;
    /// digitalSignature with keyAgreement, or keyEncipherment for RSA.
    ///
    /// # Errors
    /// [`PkiError::NoNames`], [`PkiError::WeakKey`], [`PkiError::WrongAuthority`], [`PkiError::AuthorityNotValid`].
    pub fn issue_local_server(
        &self,
        spki: &[u8],
        names: &[ServerName],
        terms: &Terms<'_>,
    ) -> Result<Certificate, PkiError> {
        if self.purpose == Some(Purpose::Devices) {
            return Err(self.wrong("server certificates"));
        }
        let first = match names.first().ok_or(PkiError::NoNames)? {
            ServerName::Dns(name) => name.clone(),
            ServerName::Ip(ip) => ip.to_string(),
        };
        // Clients read the alternative names; the CN is for people and has a length limit.
        let cn = if first.chars().count() <= COMMON_NAME_CHARS_MAX {
            &first
        } else {
            "server"
        };
        let second = match public_key(spki)? {
            KeyKind::Rsa(_) => KeyUsagePurpose::KeyEncipherment,
            _ => KeyUsagePurpose::KeyAgreement,
        };
        let mut params = self.local(cn, terms)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, second];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
        self.sign(&mut params, spki)
    }

    /// Signs a client certificate: version 3, CA:FALSE, `clientAuth`, digitalSignature, subject `CN=<identity>` alone.
    ///
    /// # Errors
    /// [`PkiError::BadName`] by [`identity_problem`], and as [`Authority::issue_local_server`].
    pub fn issue_local_client(
        &self,
        spki: &[u8],
        identity: &str,
        terms: &Terms<'_>,
    ) -> Result<Certificate, PkiError> {
        if self.purpose == Some(Purpose::Servers) {
            return Err(self.wrong("client certificates"));
        }
        if let Some(why) = identity_problem(identity) {
            return Err(PkiError::BadName {
                name: identity.to_owned(),
                why,
            });
        }
        public_key(spki)?;
        let mut params = self.local(identity, terms)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&mut params, spki)
    }

    fn local(&self, cn: &str, terms: &Terms<'_>) -> Result<CertificateParams, PkiError> {
        let end_s = self.end(terms.now_s, terms.lifetime_s)?;
        let mut params = params(cn, None, terms.now_s, end_s)?;
        params.crl_distribution_points = terms
            .crl_url
            .map(|url| CrlDistributionPoint {
                uris: vec![url.to_owned()],
            })
            .into_iter()
            .collect();
        Ok(params)
    }
}

/// Why a text cannot be the identity of a client; `None` when it can. The identity becomes user name and topic level, and
/// stands in the broker's ACL (spec/gateway-config, amendment A8).
pub fn identity_problem(identity: &str) -> Option<&'static str> {
    if identity.is_empty() || identity.chars().count() > COMMON_NAME_CHARS_MAX {
        Some("an identity has 1 to 64 characters")
    } else if identity.contains(['+', '#', '/']) {
        Some("`+`, `#` and `/` mean something in MQTT topics")
    } else if identity.chars().any(char::is_control) {
        Some("control characters have no place in an identity")
    } else if identity.trim() != identity {
        Some("an identity neither begins nor ends with a blank: nobody would see the difference")
    } else if !topics::is_usable_name(identity) {
        Some("names that begin with `$` belong to the broker")
    } else {
        None
    }
}

/// Has it the shape of a device id: 32 hexadecimal digits, with hyphens or without? A person's client under such a name
/// could be taken for a device, or for one that comes later.
pub fn looks_like_device_id(identity: &str) -> bool {
    let mut digits = identity
        .trim_matches(|c| matches!(c, '{' | '}'))
        .chars()
        .filter(|c| *c != '-');
    digits.clone().count() == 32 && digits.all(|c| c.is_ascii_hexdigit())
}

/// The kind of a public key that may be certified.
pub(super) fn public_key(spki: &[u8]) -> Result<KeyKind, PkiError> {
    use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};
    let (rest, parsed) =
        SubjectPublicKeyInfo::from_der(spki).map_err(|e| PkiError::malformed("public key", e))?;
    if !rest.is_empty() {
        return Err(PkiError::malformed("public key", "bytes follow it"));
    }
    match KeyKind::of(&parsed) {
        KeyKind::Rsa(bits) if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) => {
            Ok(KeyKind::Rsa(bits))
        }
        KeyKind::Ec(curve @ ("P-256" | "P-384")) => Ok(KeyKind::Ec(curve)),
        other => Err(PkiError::WeakKey {
            found: other.to_string(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_topic_level_that_people_can_read() {
        for yes in [
            "client1",
            "gw 1",
            "Grüße",
            "a.b-c_d",
            "x".repeat(64).as_str(),
        ] {
            assert_eq!(identity_problem(yes), None, "{yes}");
        }
        for no in [
            "",
            "a/b",
            "a+",
            "#",
            "$SYS",
            " a",
            "a ",
            "a\nb",
            "a\0",
            &"x".repeat(65),
        ] {
            assert!(identity_problem(no).is_some(), "{no:?}");
        }
    }

    #[test]
    fn a_device_id_is_known_by_its_shape() {
        for yes in [
            "50363154-3931-44f0-8022-121b6401627d",
            "50363154-3931-44F0-8022-121B6401627D",
            "50363154393144f08022121b6401627d",
            "{50363154-3931-44f0-8022-121b6401627d}",
        ] {
            assert!(looks_like_device_id(yes), "{yes}");
        }
        for no in [
            "client1",
            "",
            "50363154-3931-44f0-8022-121b6401627",
            &"g".repeat(32),
        ] {
            assert!(!looks_like_device_id(no), "{no}");
        }
    }
}
