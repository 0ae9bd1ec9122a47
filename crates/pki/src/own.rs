//! What a key signs about itself: certificates without an authority, and requests to one.

use aws_lc_rs::digest;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
};
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509CertificationRequest};

use crate::certificate::parse;
use crate::facts::general_name;
use crate::identity::name_attributes;
use crate::{Certificate, KeyPair, PkiError, ServerName, authority, pem};

/// A larger request is not looked at, in bytes: with an RSA key of 8192 bits and forty names it has half of this.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Signs a certificate for `key` by itself: version 3, **not** a CA, `clientAuth`, valid from `now_s − backdated_s` on.
/// `subject` is in the order of the bytes, with the types CN, O and OU.
///
/// # Errors
/// [`PkiError::BadName`], [`PkiError::BadTime`], [`PkiError::Crypto`].
pub fn self_signed(
    key: &KeyPair,
    subject: &[(&str, &str)],
    now_s: u64,
    backdated_s: u64,
    lifetime_s: u64,
) -> Result<Certificate, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(subject)?;
    params.serial_number = Some(authority::random_serial()?);
    let begin_s = now_s.saturating_sub(backdated_s);
    params.not_before = authority::moment(begin_s)?;
    params.not_after = authority::moment(begin_s.saturating_add(lifetime_s))?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let made = params
        .self_signed(key)
        .map_err(PkiError::crypto("sign a certificate"))?;
    Certificate::from_der(made.der())
}

/// Makes a certificate request (PKCS#10) for `key`, as PEM.
///
/// # Errors
/// [`PkiError::BadName`], [`PkiError::Crypto`].
pub fn request(key: &KeyPair, subject: &[(&str, &str)]) -> Result<String, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(subject)?;
    let made = params
        .serialize_request(key)
        .map_err(PkiError::crypto("sign a certificate request"))?;
    Ok(pem::encode("CERTIFICATE REQUEST", made.der()))
}

fn name(subject: &[(&str, &str)]) -> Result<DistinguishedName, PkiError> {
    let mut name = DistinguishedName::new();
    for (kind, value) in subject {
        let kind = match *kind {
            "CN" => DnType::CommonName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            _ => {
                return Err(PkiError::BadName {
                    name: (*value).to_owned(),
                    why: "a subject here has CN, O and OU",
                });
            }
        };
        name.push(kind, *value);
    }
    Ok(name)
}

/// What somebody asks to be certified, and has proved to hold the key of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Subject attributes in the order of the bytes.
    pub subject: Vec<(String, String)>,
    /// The public key as SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Alternative names that can be certified; others are left out.
    pub names: Vec<ServerName>,
}

impl Requested {
    /// The common name, when there is exactly one.
    pub fn common_name(&self) -> Option<&str> {
        let mut found = self.subject.iter().filter(|(kind, _)| kind == "CN");
        match (found.next(), found.next()) {
            (Some((_, cn)), None) => Some(cn),
            _ => None,
        }
    }
}

/// Reads a certificate request by anybody's tools, PEM or DER, and checks its own signature.
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn read_request(bytes: &[u8]) -> Result<Requested, PkiError> {
    let wrong = |why: &str| PkiError::malformed("certificate request", why);
    if bytes.len() > REQUEST_BYTES_MAX {
        return Err(wrong("it has more than 16 KiB"));
    }
    let text = String::from_utf8_lossy(bytes);
    let der = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"]
        .iter()
        .find_map(|label| pem::decode(label, &text))
        .unwrap_or_else(|| bytes.to_vec());
    let request = match X509CertificationRequest::from_der(&der) {
        Ok(([], request)) => request,
        Ok(_) => return Err(wrong("bytes follow it")),
        Err(e) => return Err(wrong(&e.to_string())),
    };
    request
        .verify_signature()
        .map_err(|_| wrong("its own signature does not match its public key"))?;
    let info = &request.certification_request_info;
    let names = request
        .requested_extensions()
        .into_iter()
        .flatten()
        .find_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
    Ok(Requested {
        subject: name_attributes(&info.subject),
        spki: info.subject_pki.raw.to_vec(),
        names: names
            .into_iter()
            .flatten()
            .filter_map(server_name)
            .collect(),
    })
}

/// What a certificate says about its holder, as if asked again. Its authority `issuer` (DER) must have signed it: that is
/// the proof that the key was somebody's to use.
///
/// # Errors
/// [`PkiError::Malformed`], also when `issuer` did not sign it.
pub fn read_issued(certificate: &[u8], issuer: &[u8]) -> Result<Requested, PkiError> {
    let (parsed, issuer) = (parse(certificate)?, parse(issuer)?);
    let signed = parsed.issuer().as_raw() == issuer.subject().as_raw()
        && parsed.verify_signature(Some(issuer.public_key())).is_ok();
    if !signed {
        return Err(PkiError::malformed(
            "certificate of this authority",
            "somebody else signed it",
        ));
    }
    let names = parsed.subject_alternative_name().ok().flatten();
    Ok(Requested {
        subject: name_attributes(parsed.subject()),
        spki: parsed.public_key().raw.to_vec(),
        names: names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(server_name)
            .collect(),
    })
}

fn server_name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<ServerName> {
    let text = general_name(name);
    let text = text
        .strip_prefix("DNS:")
        .or_else(|| text.strip_prefix("IP:"))?;
    text.parse().ok()
}

/// Subject and issuer as `CN=gw-1, O=Thin Edge`: in the order of the bytes, values as they are.
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn names_in_order(certificate: &[u8]) -> Result<(String, String), PkiError> {
    let parsed = parse(certificate)?;
    let text = |name| {
        let parts: Vec<String> = name_attributes(name)
            .iter()
            .map(|(kind, value)| format!("{kind}={value}"))
            .collect();
        parts.join(", ")
    };
    Ok((text(parsed.subject()), text(parsed.issuer())))
}

/// SHA-1 of a certificate, which some clouds show as its thumbprint. Never to be trusted, only to be compared by eye.
pub fn sha1_thumbprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    crate::hex(digest.as_ref()).to_ascii_uppercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Authority, KeyType, Terms, show};
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_self_signed_certificate_is_no_authority_and_has_a_serial_of_its_own() {
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let subject = [("CN", "gw-1"), ("O", "Thin Edge"), ("OU", "Device")];
        let make = || self_signed(&key, &subject, NOW, 86_400, 365 * 86_400).unwrap();
        let (first, second) = (make(), make());
        assert_ne!(first.serial_hex, second.serial_hex);
        assert_eq!(first.spki_sha256, second.spki_sha256);
        let facts = show(first.der()).unwrap();
        assert!(!facts.is_ca && facts.version == 3);
        assert_eq!(facts.subject, "OU=Device,O=Thin Edge,CN=gw-1");
        let (subject, issuer) = names_in_order(first.der()).unwrap();
        assert_eq!(subject, "CN=gw-1, O=Thin Edge, OU=Device");
        assert_eq!(subject, issuer);
        assert_eq!(facts.not_before_s, NOW - 86_400);
        assert_eq!(facts.not_after_s, NOW + 364 * 86_400);
        assert!(self_signed(&key, &[("X", "y")], NOW, 0, 1).is_err());
    }

    #[test]
    fn a_request_is_read_back_and_a_changed_one_is_not() {
        for kind in [KeyType::P256, KeyType::Rsa2048] {
            let key = KeyPair::generate(kind).unwrap();
            let text = request(&key, &[("CN", "client1"), ("O", "Dis")]).unwrap();
            let read = read_request(text.as_bytes()).unwrap();
            assert_eq!(read.common_name(), Some("client1"));
            assert_eq!(read.spki, key.spki_der());
            let mut der = pem::decode("CERTIFICATE REQUEST", &text).unwrap();
            assert_eq!(read_request(&der).unwrap(), read);
            let at = der.len() - 70;
            der[at] ^= 1;
            assert!(read_request(&der).is_err());
        }
    }

    #[test]
    fn a_certificate_is_asked_again_only_of_its_own_authority() {
        let (ours, theirs) = (
            Authority::root("a", NOW).unwrap(),
            Authority::root("a", NOW).unwrap(),
        );
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let terms = Terms {
            now_s: NOW,
            lifetime_s: 1_000,
            crl_url: None,
        };
        let names = ["gw.local".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let made = ours
            .issue_local_server(&key.spki_der(), &names, &terms)
            .unwrap();
        let read = read_issued(made.der(), ours.certificate_der()).unwrap();
        assert_eq!((read.spki, read.names), (key.spki_der(), names.to_vec()));
        assert!(read_issued(made.der(), theirs.certificate_der()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_request(&bytes).is_err());
        }
    }
}
