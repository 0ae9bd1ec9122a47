//! One row of an upload: id, sub type, tags, firmware types, certificate (spec/owner-api §10). What can be said of it without
//! the database is said here.

use crate::owner_api::moment;
use rustls::server::ParsedCertificate;
use rustls_pki_types::CertificateDer;
use sectag_pki::chain::{self, Check};
use sectag_pki::{Authority, Certificate, Purpose, sha256, topics};
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{NewRegistration, REGISTERED_ID_CHARS_MAX, RegisteredCertificate, Subject};

/// Columns of a row.
const COLUMNS: usize = 5;
/// Characters of a sub type, and of a firmware type.
const WORD_CHARS_MAX: usize = 64;
/// Firmware types of one device; the vendor knows four.
const FIRMWARE_TYPES_MAX: usize = 16;

/// Bytes of a certificate: with chain and signature it has to fit a TLS handshake message of a modem many times over.
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// What is asked of rows beside what they say.
#[derive(Debug, Clone, Copy)]
pub struct RowRules {
    pub(crate) now: Timestamp,
    /// The home's own team, whose devices have no topic prefix.
    pub(crate) is_home: bool,
    pub(crate) has_prefix: bool,
    /// The key is limited to tags: only devices that it sees.
    pub(crate) is_scoped: bool,
}

/// A row that says what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub(crate) subject: Subject,
    sub_type: String,
    tags: Vec<String>,
    firmware_types: Vec<String>,
    certificate: Certificate,
    issuer: String,
    /// Nothing but a claim says that a device is this team's, or this key's.
    pub(crate) needs_claim: bool,
}

impl Checked {
    /// Whether the broker lets the certificate in by its chain: this CA signed it.
    pub(crate) fn is_of(&self, authority: &Authority, now: Timestamp) -> bool {
        let check = Check {
            root: authority.certificate_der(),
            intermediates: &[],
            purpose: Purpose::Devices,
            now_s: now.as_secs(),
            crl: None,
            name: None,
        };
        chain::verify(self.certificate.der(), &check).is_ok()
    }
}

impl From<Checked> for NewRegistration {
    fn from(checked: Checked) -> Self {
        let certificate = checked.certificate;
        Self {
            subject: checked.subject,
            sub_type: checked.sub_type,
            tags: checked.tags,
            firmware_types: checked.firmware_types,
            spki_sha256: certificate.spki_sha256,
            der_sha256: sha256(certificate.der()),
            certificate: RegisteredCertificate {
                serial: certificate.serial_hex.clone(),
                issuer: checked.issuer,
                der: certificate.der().to_vec(),
                registered_at: Timestamp(0), // the store's
                ends_at: Timestamp::from_secs(certificate.not_after_s),
            },
            needs_claim: checked.needs_claim,
        }
    }
}

/// Reads a row.
///
/// # Errors
/// What is wrong with it, for the person who made the CSV.
pub fn row(fields: &[String], rules: &RowRules) -> Result<Checked, String> {
    let [id, sub_type, tags, firmware_types, pem] = fields else {
        return Err(format!(
            "{} columns; {COLUMNS} are expected: device id, sub type, tags, firmware types, certificate",
            fields.len()
        ));
    };
    let subject = subject(id.trim(), rules)?;
    let (certificate, issuer) = certificate(pem, &subject, rules.now)?;
    Ok(Checked {
        sub_type: word("sub type", sub_type)?,
        tags: list(
            "tag",
            tags,
            super::super::TAGS_MAX,
            super::super::TAG_CHARS_MAX,
        )?,
        firmware_types: list(
            "firmware type",
            firmware_types,
            FIRMWARE_TYPES_MAX,
            WORD_CHARS_MAX,
        )?,
        subject,
        certificate,
        issuer,
        needs_claim: rules.is_scoped || (!rules.is_home && !rules.has_prefix),
    })
}

fn subject(id: &str, rules: &RowRules) -> Result<Subject, String> {
    if let Ok(device) = id.parse::<DeviceId>() {
        return Ok(Subject::Device(device));
    }
    if id.chars().count() > REGISTERED_ID_CHARS_MAX || !topics::is_usable_name(id) {
        return Err(format!(
            "the device id has 1 to {REGISTERED_ID_CHARS_MAX} characters, no `/`, `+` or `#`, no `$` at the start and no control characters"
        ));
    }
    if rules.is_scoped {
        return Err(
            "this API key is limited to tags, and an id that is no device UUID has none".to_owned(),
        );
    }
    // Without a prefix its topics would be among those of others.
    if !rules.is_home && !rules.has_prefix {
        return Err(
            "this team has no topic prefix, so only devices that it has claimed can be registered"
                .to_owned(),
        );
    }
    if id == RESERVED {
        return Err(format!(
            "`{RESERVED}` is the name of the operator's own certificate"
        ));
    }
    Ok(Subject::Named(id.to_owned()))
}

/// The CN of the home's operator, whose topics are its own.
const RESERVED: &str = "operator";

fn certificate(
    text: &str,
    subject: &Subject,
    now: Timestamp,
) -> Result<(Certificate, String), String> {
    // A script that wrote two characters where a line ends.
    let repaired = match !text.contains('\n') && text.contains("\\n") {
        true => text.replace("\\n", "\n"),
        false => text.to_owned(),
    };
    let found = sectag_pki::pem::certificates(&repaired)
        .map_err(|_| "the last column is not a certificate in PEM".to_owned())?;
    let [der] = &found[..] else {
        return Err(format!(
            "one certificate is expected, the device's own; the row has {}",
            found.len()
        ));
    };
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(format!(
            "the certificate has {} bytes, limit {CERTIFICATE_BYTES_MAX}",
            der.len()
        ));
    }
    let wrong = |e: sectag_pki::PkiError| e.to_string();
    let facts = sectag_pki::show(der).map_err(wrong)?;
    if facts.version != 3 {
        return Err(format!(
            "an X.509 certificate of version {} does not work with TLS; version 3 does",
            facts.version
        ));
    }
    ParsedCertificate::try_from(&CertificateDer::from(der.as_slice()))
        .map_err(|e| format!("TLS cannot use this certificate: {e}"))?;
    let identity = sectag_pki::identity(der).map_err(wrong)?;
    if identity.role == sectag_pki::Role::Operator {
        return Err(format!(
            "an operator's certificate (OU={}) cannot be a device's",
            sectag_pki::OPERATOR_UNIT
        ));
    }
    if identity.cn != subject.to_string() {
        return Err(format!(
            "the certificate is for CN={}, and the row is for {subject}: on the broker the CN is the device",
            identity.cn
        ));
    }
    let usage = &facts.extended_key_usages;
    let for_clients = |usage: &String| usage == "clientAuth" || usage == "anyExtendedKeyUsage";
    if !usage.is_empty() && !usage.iter().any(for_clients) {
        return Err(format!(
            "the certificate is not for clients (extended key usage: {})",
            usage.join(", ")
        ));
    }
    if facts.not_after_s < now.as_secs() {
        let ended = moment(Timestamp::from_secs(facts.not_after_s));
        return Err(format!("the certificate expired at {ended}"));
    }
    let certificate = Certificate::from_der(der).map_err(wrong)?;
    Ok((certificate, facts.issuer))
}

fn word(what: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().count() > WORD_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "a {what} has at most {WORD_CHARS_MAX} characters and no control characters"
        ));
    }
    Ok(text.to_owned())
}

/// Elements between `|`, blanks trimmed, empty ones and repetitions dropped.
fn list(what: &str, text: &str, max: usize, chars_max: usize) -> Result<Vec<String>, String> {
    let mut items: Vec<String> = Vec::new();
    for item in text
        .split('|')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        if item.chars().count() > chars_max || item.chars().any(char::is_control) {
            return Err(format!(
                "a {what} has at most {chars_max} characters and no control characters"
            ));
        }
        if !items.iter().any(|known| known == item) {
            items.push(item.to_owned());
        }
    }
    match items.len() > max {
        true => Err(format!("{} {what}s, limit {max}", items.len())),
        false => Ok(items),
    }
}

#[cfg(test)]
mod tests;
