//! What is in a certificate, for people.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::certificate::{parse, seconds, serial_hex};
use crate::identity::name_text;
use crate::{PkiError, hex, sha256};

/// The facts of one certificate, as `cert show` prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// X.509 version as people count it: 3.
    pub version: u32,
    /// Subject in the order of RFC 4514.
    pub subject: String,
    /// Issuer in the order of RFC 4514.
    pub issuer: String,
    /// Serial number, lower-case hexadecimal.
    pub serial_hex: String,
    /// Start of validity, Unix seconds.
    pub not_before_s: u64,
    /// End of validity (inclusive), Unix seconds.
    pub not_after_s: u64,
    /// May it sign other certificates?
    pub is_ca: bool,
    /// How many authorities may stand below it; `None` for any number, and for what is no authority.
    pub path_length: Option<u32>,
    /// Alternative names with their kind: `DNS:localhost`, `IP:127.0.0.1`.
    pub names: Vec<String>,
    /// Key usages by their names in RFC 5280 §4.2.1.3.
    pub key_usages: Vec<&'static str>,
    /// Extended key usages by their names in RFC 5280 §4.2.1.12, others as dotted OIDs.
    pub extended_key_usages: Vec<String>,
    /// Subject key identifier, hexadecimal.
    pub subject_key_id: Option<String>,
    /// Authority key identifier, hexadecimal.
    pub authority_key_id: Option<String>,
    /// SHA-256 over the whole certificate, hexadecimal.
    pub fingerprint_sha256: String,
    /// SHA-256 over the SubjectPublicKeyInfo, hexadecimal.
    pub spki_sha256: String,
}

/// Reads the facts of a certificate. It says nothing about whether they are true: that is [`crate::chain::verify`].
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn show(der: &[u8]) -> Result<CertificateFacts, PkiError> {
    let certificate = parse(der)?;
    let mut facts = CertificateFacts {
        version: certificate.version().0.saturating_add(1),
        subject: name_text(certificate.subject()),
        issuer: name_text(certificate.issuer()),
        serial_hex: serial_hex(&certificate),
        not_before_s: seconds(certificate.validity().not_before.timestamp()),
        not_after_s: seconds(certificate.validity().not_after.timestamp()),
        is_ca: false,
        path_length: None,
        names: Vec::new(),
        key_usages: Vec::new(),
        extended_key_usages: Vec::new(),
        subject_key_id: None,
        authority_key_id: None,
        fingerprint_sha256: hex(&sha256(der)),
        spki_sha256: hex(&sha256(certificate.public_key().raw)),
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) => {
                facts.is_ca = basic.ca;
                facts.path_length = basic.path_len_constraint;
            }
            ParsedExtension::SubjectAlternativeName(san) => {
                facts.names = san.general_names.iter().map(general_name).collect()
            }
            ParsedExtension::KeyUsage(usage) => {
                let set = KEY_USAGES
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| usage.flags >> bit & 1 == 1);
                facts.key_usages = set.map(|(_, name)| *name).collect();
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let known = [
                    (usage.any, "anyExtendedKeyUsage"),
                    (usage.server_auth, "serverAuth"),
                    (usage.client_auth, "clientAuth"),
                    (usage.code_signing, "codeSigning"),
                    (usage.email_protection, "emailProtection"),
                    (usage.time_stamping, "timeStamping"),
                    (usage.ocsp_signing, "OCSPSigning"),
                ];
                let known = known
                    .iter()
                    .filter(|(set, _)| *set)
                    .map(|(_, name)| (*name).to_owned());
                facts.extended_key_usages = known
                    .chain(usage.other.iter().map(|oid| oid.to_id_string()))
                    .collect();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => facts.subject_key_id = Some(hex(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                facts.authority_key_id = id.key_identifier.as_ref().map(|id| hex(id.0))
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// By bit number (RFC 5280 §4.2.1.3).
const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

pub(crate) fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::RFC822Name(mail) => format!("email:{mail}"),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            match v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)) {
                Ok(ip) => format!("IP:{ip}"),
                Err(_) => format!("IP:#{}", hex(bytes)),
            }
        }
        _ => "other".to_owned(),
    }
}
