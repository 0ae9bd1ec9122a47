//! Who a client is, by its certificate.

use x509_parser::prelude::X509Name;

use crate::certificate::{parse, serial_hex};
use crate::{PkiError, hex, topics};

/// The organizational unit that makes a client certificate an operator's. Device profiles never contain an OU, and
/// a device's names never reach its certificate from its CSR, so only [`crate::Authority::issue_operator`] writes it.
pub const OPERATOR_UNIT: &str = "sectag-operator";

/// What a client may do beyond its own topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Only its own topics.
    Device,
    /// May read all.
    Operator,
}

/// The identity in a client certificate. Only as good as the check of the chain that came before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    /// The common name: user name and first topic level. Fit for topics ([`topics::is_usable_name`]).
    pub cn: String,
    /// Operator or device.
    pub role: Role,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// The issuer's distinguished name in the order of RFC 4514.
    pub issuer: String,
}

/// Reads the identity from a client certificate whose chain the caller has verified.
///
/// # Errors
/// [`PkiError::BadName`] when there is not exactly one common name or it is unfit for topics;
/// [`PkiError::Malformed`].
pub fn identity(der: &[u8]) -> Result<ClientIdentity, PkiError> {
    let certificate = parse(der)?;
    let attributes = name_attributes(certificate.subject());
    let values = |kind: &str| -> Vec<&str> {
        let of_kind = attributes.iter().filter(|(k, _)| k == kind);
        of_kind.map(|(_, value)| value.as_str()).collect()
    };
    let bad = |why| PkiError::BadName {
        name: name_text(certificate.subject()),
        why,
    };
    let cn = match values("CN")[..] {
        [cn] if topics::is_usable_name(cn) => cn.to_owned(),
        [_] => return Err(bad("its CN cannot be a topic level")),
        _ => return Err(bad("a client certificate has exactly one CN")),
    };
    let role = match values("OU")[..] {
        [OPERATOR_UNIT] => Role::Operator,
        _ => Role::Device,
    };
    Ok(ClientIdentity {
        cn,
        role,
        serial: serial_hex(&certificate),
        issuer: name_text(certificate.issuer()),
    })
}

/// The attributes of a name in the order of the bytes; what is no text is `#` and hexadecimal digits.
pub(crate) fn name_attributes(name: &X509Name<'_>) -> Vec<(String, String)> {
    let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| match a.as_str() {
        Ok(text) => text.to_owned(),
        Err(_) => format!("#{}", hex(a.as_slice())),
    };
    name.iter_attributes()
        .map(|a| {
            (
                short_name(&a.attr_type().to_id_string()).to_owned(),
                text(a),
            )
        })
        .collect()
}

/// The name as RFC 4514 writes it: last attribute first, special characters escaped.
pub(crate) fn name_text(name: &X509Name<'_>) -> String {
    let mut attributes = name_attributes(name);
    attributes.reverse();
    join(&attributes)
}

/// `K=V,K=V` with the escapes of RFC 4514 §2.4.
pub(crate) fn join(attributes: &[(String, String)]) -> String {
    let parts: Vec<String> = attributes
        .iter()
        .map(|(kind, value)| format!("{kind}={}", escape(value)))
        .collect();
    parts.join(",")
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            ' ' if at == 0 || at == last => out.extend(['\\', c]),
            c if c.is_control() => {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    out.push_str(&format!("\\{byte:02x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// Attribute types with their OIDs in dotted form and as DER content (RFC 4519).
pub(crate) const ATTRIBUTE_TYPES: &[(&str, &str, &[u8])] = &[
    ("CN", "2.5.4.3", &[0x55, 0x04, 0x03]),
    ("serialNumber", "2.5.4.5", &[0x55, 0x04, 0x05]),
    ("C", "2.5.4.6", &[0x55, 0x04, 0x06]),
    ("L", "2.5.4.7", &[0x55, 0x04, 0x07]),
    ("ST", "2.5.4.8", &[0x55, 0x04, 0x08]),
    ("O", "2.5.4.10", &[0x55, 0x04, 0x0a]),
    ("OU", "2.5.4.11", &[0x55, 0x04, 0x0b]),
];

fn short_name(oid: &str) -> &str {
    ATTRIBUTE_TYPES
        .iter()
        .find(|(_, dotted, _)| *dotted == oid)
        .map_or(oid, |(name, _, _)| name)
}
