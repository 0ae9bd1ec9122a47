//! A certificate authority: a root, its two issuing authorities, and what they sign.

mod local;

use std::net::IpAddr;
use std::str::FromStr;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, DnsName};
use time::OffsetDateTime;

use crate::certificate::{parse, seconds};
use crate::identity::{OPERATOR_UNIT, name_text};
use crate::key::check_p256_spki;
use crate::{Certificate, KeyPair, KeyType, PkiError, topics};

pub use local::{Terms, identity_problem, looks_like_device_id};

const DAY_S: u64 = 86_400;
const YEAR_S: u64 = 365 * DAY_S + DAY_S / 4;
/// A device whose clock is an hour slow still accepts what was issued a moment ago.
const BACKDATED_S: u64 = 3_600;
const ROOT_S: u64 = 20 * YEAR_S;
const ISSUING_S: u64 = 10 * YEAR_S;
/// The longest that public clients accept; ours should not be the odd one out.
const SERVER_S: u64 = 397 * DAY_S;
const DEVICE_S: u64 = 2 * YEAR_S;
/// 126 random bits; the top bit is clear (positive) and the next is set (always the same length).
const SERIAL_BYTES: usize = 16;
/// RFC 5280 Appendix A.1, ub-common-name, in characters.
const COMMON_NAME_CHARS_MAX: usize = 64;
/// RFC 5280 §4.1.2.2: serial numbers have at most 20 bytes.
const SERIAL_BYTES_MAX: usize = 20;

/// What an issuing authority is for. It is written into its certificate as extended key usage, so that verifiers
/// refuse a server certificate from the devices authority even when it is properly signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Certificates of servers (`serverAuth`).
    Servers,
    /// Certificates of devices and operators (`clientAuth`).
    Devices,
}

/// What may differ between certificates of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceTerms {
    /// Seconds of validity from the time of signing; cut where the authority itself ends. Default: two years.
    pub lifetime_s: u64,
    /// keyAgreement beside digitalSignature, for servers that look for it with ECDSA keys. Default: no.
    pub key_agreement: bool,
}

impl Default for DeviceTerms {
    fn default() -> Self {
        Self {
            lifetime_s: DEVICE_S,
            key_agreement: false,
        }
    }
}

/// A name under which a server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerName {
    /// A DNS name, possibly with `*` as its whole first label.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl FromStr for ServerName {
    type Err = PkiError;

    /// An IP address (IPv6 with or without brackets), else a DNS name.
    fn from_str(text: &str) -> Result<Self, PkiError> {
        let bare = text
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            return Ok(Self::Ip(ip));
        }
        match DnsName::try_from(text.strip_prefix("*.").unwrap_or(text)) {
            Ok(_) => Ok(Self::Dns(text.to_ascii_lowercase())),
            Err(_) => Err(PkiError::BadName {
                name: text.to_owned(),
                why: "it is neither a DNS name nor an IP address",
            }),
        }
    }
}

/// One certificate authority: its certificate and its key.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
    name: String,
    is_root: bool,
    /// `None` when its certificate allows both.
    purpose: Option<Purpose>,
}

impl Authority {
    /// Makes a root: 20 years, at most one authority below it.
    ///
    /// # Errors
    /// [`PkiError::BadName`], [`PkiError::BadTime`], [`PkiError::Crypto`].
    pub fn root(name: &str, now_s: u64) -> Result<Self, PkiError> {
        Self::root_with(name, KeyType::P256, now_s)
    }

    /// As [`Authority::root`], with a key of this type.
    ///
    /// # Errors
    /// As [`Authority::root`].
    pub fn root_with(name: &str, kind: KeyType, now_s: u64) -> Result<Self, PkiError> {
        let key = KeyPair::generate(kind)?;
        let mut params = params(name, None, now_s, now_s.saturating_add(ROOT_S))?;
        certify(&mut params, 1);
        let made = params
            .self_signed(&key)
            .map_err(PkiError::crypto("sign the root certificate"))?;
        Self::from_parts(Certificate::from_der(made.der())?, key)
    }

    /// Makes an issuing authority below this root: 10 years, no authorities below it.
    ///
    /// # Errors
    /// [`PkiError::WrongAuthority`] when this is not a root, and as [`Authority::root`].
    pub fn issuing(&self, purpose: Purpose, now_s: u64) -> Result<Self, PkiError> {
        self.issuing_with(purpose, KeyType::P256, now_s)
    }

    /// As [`Authority::issuing`], with a key of this type.
    ///
    /// # Errors
    /// As [`Authority::issuing`].
    pub fn issuing_with(
        &self,
        purpose: Purpose,
        kind: KeyType,
        now_s: u64,
    ) -> Result<Self, PkiError> {
        let suffix = match purpose {
            Purpose::Servers => "servers",
            Purpose::Devices => "devices",
        };
        let common_name = format!("{} {suffix}", common_name_of(&self.certificate)?);
        self.issuing_named(&common_name, purpose, kind, now_s)
    }

    /// As [`Authority::issuing_with`], under this common name. Authorities of one root that issue beside each other need
    /// different names: verifiers find the issuer of a certificate, and of a revocation list, by its name.
    ///
    /// # Errors
    /// As [`Authority::issuing`].
    pub fn issuing_named(
        &self,
        common_name: &str,
        purpose: Purpose,
        kind: KeyType,
        now_s: u64,
    ) -> Result<Self, PkiError> {
        if !self.is_root {
            return Err(self.wrong("other authorities"));
        }
        let usage = match purpose {
            Purpose::Servers => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Devices => ExtendedKeyUsagePurpose::ClientAuth,
        };
        let key = KeyPair::generate(kind)?;
        let mut params = params(common_name, None, now_s, self.end(now_s, ISSUING_S)?)?;
        certify(&mut params, 0);
        params.extended_key_usages = vec![usage];
        let certificate = self.sign(&mut params, &key.spki_der())?;
        Self::from_parts(certificate, key)
    }

    /// Loads an authority that was made earlier, or elsewhere.
    ///
    /// # Errors
    /// [`PkiError::NotAnAuthority`], [`PkiError::KeyMismatch`], [`PkiError::Malformed`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, PkiError> {
        Self::from_parts(Certificate::from_pem(certificate)?, KeyPair::from_pem(key)?)
    }

    /// An authority by its certificate and its key.
    ///
    /// # Errors
    /// [`PkiError::NotAnAuthority`], [`PkiError::KeyMismatch`], [`PkiError::Malformed`].
    pub fn from_parts(certificate: Certificate, key: KeyPair) -> Result<Self, PkiError> {
        let parsed = parse(certificate.der())?;
        let name = name_text(parsed.subject());
        let lacks = |why| PkiError::NotAnAuthority {
            subject: name.clone(),
            why,
        };
        if !parsed.is_ca() {
            return Err(lacks("it lacks CA:TRUE in its basic constraints"));
        }
        let unreadable = |e| PkiError::malformed("certificate", e);
        let usage = parsed.key_usage().map_err(unreadable)?;
        if usage.is_some_and(|u| !u.value.key_cert_sign() || !u.value.crl_sign()) {
            return Err(lacks(
                "its key usage does not allow signing certificates and CRLs",
            ));
        }
        let public = &parsed.public_key().subject_public_key.data;
        if public.as_ref() != rcgen::PublicKeyData::der_bytes(&key) {
            return Err(PkiError::KeyMismatch { subject: name });
        }
        let purpose = match parsed.extended_key_usage().map_err(unreadable)? {
            Some(usage) if !usage.value.any => {
                match (usage.value.server_auth, usage.value.client_auth) {
                    (true, false) => Some(Purpose::Servers),
                    (false, true) => Some(Purpose::Devices),
                    (true, true) => None,
                    (false, false) => {
                        return Err(lacks(
                            "its extended key usage allows neither servers nor clients",
                        ));
                    }
                }
            }
            _ => None,
        };
        let is_root = parsed.subject().as_raw() == parsed.issuer().as_raw();
        Ok(Self {
            name,
            is_root,
            purpose,
            certificate,
            key,
        })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its certificate as DER.
    pub fn certificate_der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// Its private key, to be kept in a private file.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// What its certificate lets it issue; `None` for both.
    pub fn purpose(&self) -> Option<Purpose> {
        self.purpose
    }

    /// Is its certificate issued by itself?
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Signs a server certificate: 397 days, `serverAuth`, all `names` as alternative names, the first as CN.
    ///
    /// # Errors
    /// [`PkiError::NoNames`], [`PkiError::NotP256`], [`PkiError::WrongAuthority`], [`PkiError::AuthorityNotValid`].
    pub fn issue_server(
        &self,
        spki: &[u8],
        names: &[ServerName],
        now_s: u64,
    ) -> Result<Certificate, PkiError> {
        check_p256_spki(spki)?;
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
        let mut params = params(cn, None, now_s, self.end(now_s, SERVER_S)?)?;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyAgreement,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
        self.sign(&mut params, spki)
    }

    /// Signs a device certificate for two years: `clientAuth`, subject `CN=<cn>` and nothing else.
    ///
    /// # Errors
    /// [`PkiError::BadName`] when topic rules could not be made from `cn`, and as [`Authority::issue_server`].
    pub fn issue_device(&self, spki: &[u8], cn: &str, now_s: u64) -> Result<Certificate, PkiError> {
        self.issue_client(spki, cn, None, now_s, &DeviceTerms::default())
    }

    /// As [`Authority::issue_device`], on these terms.
    ///
    /// # Errors
    /// As [`Authority::issue_device`].
    pub fn issue_device_on(
        &self,
        spki: &[u8],
        cn: &str,
        now_s: u64,
        terms: &DeviceTerms,
    ) -> Result<Certificate, PkiError> {
        self.issue_client(spki, cn, None, now_s, terms)
    }

    /// As [`Authority::issue_device`], valid for `lifetime_s` seconds from now.
    ///
    /// # Errors
    /// As [`Authority::issue_device`].
    pub fn issue_device_for(
        &self,
        spki: &[u8],
        cn: &str,
        now_s: u64,
        lifetime_s: u64,
    ) -> Result<Certificate, PkiError> {
        let terms = DeviceTerms {
            lifetime_s,
            ..DeviceTerms::default()
        };
        self.issue_client(spki, cn, None, now_s, &terms)
    }

    /// Signs an operator certificate for two years: as a device's, with `OU=sectag-operator` ([`OPERATOR_UNIT`]).
    ///
    /// # Errors
    /// As [`Authority::issue_device`].
    pub fn issue_operator(
        &self,
        spki: &[u8],
        cn: &str,
        now_s: u64,
    ) -> Result<Certificate, PkiError> {
        let terms = DeviceTerms::default();
        self.issue_client(spki, cn, Some(OPERATOR_UNIT), now_s, &terms)
    }

    fn issue_client(
        &self,
        spki: &[u8],
        cn: &str,
        unit: Option<&str>,
        now_s: u64,
        terms: &DeviceTerms,
    ) -> Result<Certificate, PkiError> {
        check_p256_spki(spki)?;
        if self.purpose == Some(Purpose::Servers) {
            return Err(self.wrong("client certificates"));
        }
        if !topics::is_usable_name(cn) {
            return Err(PkiError::BadName {
                name: cn.to_owned(),
                why: "a client's name has no `+`, `#`, `/`, `$` at the start or control characters, and is not empty",
            });
        }
        let mut params = params(cn, unit, now_s, self.end(now_s, terms.lifetime_s)?)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if terms.key_agreement {
            params.key_usages.push(KeyUsagePurpose::KeyAgreement);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&mut params, spki)
    }

    /// Signs a list of revoked certificates as DER: (serial number in hexadecimal digits, Unix seconds) each.
    ///
    /// The CRL number is `now_s`, so a later list has a higher number as long as the clock does not go back.
    /// After `next_update_s` strict verifiers refuse the list: sign a new one well before.
    ///
    /// # Errors
    /// [`PkiError::BadSerial`], [`PkiError::BadTime`], [`PkiError::Crypto`] (also when `next_update_s` is not later).
    pub fn crl(
        &self,
        revoked: &[(&str, u64)],
        now_s: u64,
        next_update_s: u64,
    ) -> Result<Vec<u8>, PkiError> {
        self.crl_numbered(revoked, now_s, now_s, next_update_s)
    }

    /// As [`Authority::crl`], with a CRL number of the caller's, which must grow from list to list (RFC 5280 §5.2.3).
    ///
    /// # Errors
    /// As [`Authority::crl`].
    pub fn crl_numbered(
        &self,
        revoked: &[(&str, u64)],
        number: u64,
        now_s: u64,
        next_update_s: u64,
    ) -> Result<Vec<u8>, PkiError> {
        let revoked_certs = revoked
            .iter()
            .map(|(serial, when_s)| {
                Ok(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial_bytes(serial)?),
                    revocation_time: moment(*when_s)?,
                    reason_code: None,
                    invalidity_date: None,
                })
            })
            .collect::<Result<_, PkiError>>()?;
        let list = CertificateRevocationListParams {
            this_update: moment(now_s)?,
            next_update: moment(next_update_s)?,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: self.key_identifier()?,
        };
        let made = list
            .signed_by(&self.issuer()?)
            .map_err(PkiError::crypto("sign a revocation list"))?;
        Ok(made.der().to_vec())
    }

    fn sign(&self, params: &mut CertificateParams, spki: &[u8]) -> Result<Certificate, PkiError> {
        let public_key = rcgen::SubjectPublicKeyInfo::from_der(spki)
            .map_err(PkiError::crypto("read the public key"))?;
        params.use_authority_key_identifier_extension = true;
        let made = params
            .signed_by(&public_key, &self.issuer()?)
            .map_err(PkiError::crypto("sign a certificate"))?;
        let (ours, theirs) = (parse(self.certificate.der())?, parse(made.der())?);
        if ours.subject().as_raw() != theirs.issuer().as_raw() {
            // Names that repeat a type, such as DC=example,DC=org: verifiers compare the bytes, and would find no issuer.
            return Err(PkiError::BadName {
                name: self.name.clone(),
                why: "an authority whose name repeats an attribute cannot issue here",
            });
        }
        Certificate::from_der(made.der())
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, PkiError> {
        let der = CertificateDer::from(self.certificate.der());
        Issuer::from_ca_cert_der(&der, &self.key)
            .map_err(PkiError::crypto("use the authority's certificate"))
    }

    fn key_identifier(&self) -> Result<KeyIdMethod, PkiError> {
        let parsed = parse(self.certificate.der())?;
        let found = parsed
            .iter_extensions()
            .find_map(|e| match e.parsed_extension() {
                x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => {
                    Some(id.0.to_vec())
                }
                _ => None,
            });
        Ok(found.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified))
    }

    /// The end of a lifetime that begins now: never beyond our own.
    fn end(&self, now_s: u64, lifetime_s: u64) -> Result<u64, PkiError> {
        let ours = &self.certificate;
        if now_s < ours.not_before_s || now_s >= ours.not_after_s {
            return Err(PkiError::AuthorityNotValid {
                authority: self.name.clone(),
                not_before_s: ours.not_before_s,
                not_after_s: ours.not_after_s,
                now_s,
            });
        }
        Ok(now_s.saturating_add(lifetime_s).min(ours.not_after_s))
    }

    fn wrong(&self, what: &'static str) -> PkiError {
        PkiError::WrongAuthority {
            authority: self.name.clone(),
            what,
        }
    }
}

/// What all profiles share: version 3, a random serial, key identifiers, not-before one hour back, no CA.
fn params(
    cn: &str,
    unit: Option<&str>,
    now_s: u64,
    end_s: u64,
) -> Result<CertificateParams, PkiError> {
    if cn.is_empty() || cn.chars().count() > COMMON_NAME_CHARS_MAX {
        return Err(PkiError::BadName {
            name: cn.to_owned(),
            why: "a common name has 1 to 64 characters",
        });
    }
    let mut subject = DistinguishedName::new();
    if let Some(unit) = unit {
        subject.push(DnType::OrganizationalUnitName, unit);
    }
    subject.push(DnType::CommonName, cn);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(random_serial()?);
    params.not_before = moment(now_s.saturating_sub(BACKDATED_S))?;
    params.not_after = moment(end_s)?;
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params)
}

fn certify(params: &mut CertificateParams, path_length: u8) {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
}

pub(crate) fn random_serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; SERIAL_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| PkiError::Crypto {
            action: "make a serial number",
            source: None,
        })?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn serial_bytes(serial: &str) -> Result<Vec<u8>, PkiError> {
    let wrong = || PkiError::BadSerial {
        serial: serial.to_owned(),
    };
    let digits = serial.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() > 2 * SERIAL_BYTES_MAX {
        return Err(wrong());
    }
    let value = |digit: u8| char::from(digit).to_digit(16).ok_or_else(wrong);
    digits
        .chunks_exact(2)
        .map(|pair| Ok((value(pair[0])? * 16 + value(pair[1])?) as u8)) // two digits fit into a byte
        .collect()
}

fn alternative(name: &ServerName) -> Result<SanType, PkiError> {
    Ok(match name {
        ServerName::Ip(ip) => SanType::IpAddress(*ip),
        ServerName::Dns(dns) => {
            SanType::DnsName(dns.clone().try_into().map_err(|_| PkiError::BadName {
                name: dns.clone(),
                why: "DNS names in certificates are ASCII",
            })?)
        }
    })
}

fn common_name_of(certificate: &Certificate) -> Result<String, PkiError> {
    let parsed = parse(certificate.der())?;
    let name = parsed
        .subject()
        .iter_common_name()
        .next()
        .and_then(|cn| cn.as_str().ok());
    Ok(name.unwrap_or("Sectag").to_owned())
}

pub(crate) fn moment(seconds_: u64) -> Result<OffsetDateTime, PkiError> {
    let wrong = || PkiError::BadTime { seconds: seconds_ };
    let signed = i64::try_from(seconds_).map_err(|_| wrong())?;
    debug_assert_eq!(seconds(signed), seconds_);
    OffsetDateTime::from_unix_timestamp(signed).map_err(|_| wrong())
}
