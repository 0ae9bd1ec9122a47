//! The CSR as the modem firmware writes it, byte for byte (spec/device-protocol §2.4, RFC 2986).
//!
//! Written here and not borrowed from `pki`: this is the device's hand, quirks included, and what reads it must
//! not be its own writer.

use sectag_proto::es256::SignEs256;

/// An attribute of the subject that the firmware takes, with the last bytes of its OID (2.5.4.x, RFC 4519).
const ATTRIBUTES: [(&str, u8); 9] = [
    ("CN", 3),
    ("SN", 4),
    ("serialNumber", 5),
    ("C", 6),
    ("L", 7),
    ("ST", 8),
    ("street", 9),
    ("O", 10),
    ("OU", 11),
];

/// Longest value of one attribute, in bytes (RFC 5280 appendix A: 64 for names and organisations).
const VALUE_BYTES_MAX: usize = 64;

/// Key usage when KEYGEN names none.
pub(crate) const DEFAULT_KEY_USAGE: &str = "111010000";

/// A subject, checked: attributes in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject(Vec<(u8, String)>);

impl Subject {
    /// `CN=<name>`.
    pub(crate) fn common_name(name: String) -> Self {
        Self(vec![(3, name)])
    }

    /// Reads `O=…,L=…,C=…,CN=…`; `None` for an unknown name, an empty or over-long value, or a country that is not
    /// two letters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.split(',')
            .map(|attribute| {
                let (name, value) = attribute.split_once('=')?;
                let (name, value) = (name.trim(), value.trim());
                let (_, oid) = ATTRIBUTES
                    .iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
                let fits = !value.is_empty()
                    && value.len() <= VALUE_BYTES_MAX
                    && !value.chars().any(char::is_control)
                    && (*oid != 6
                        || value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic()));
                fits.then(|| (*oid, value.to_owned()))
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }
}

/// Reads nine binary digits, the first being digitalSignature (RFC 5280 §4.2.1.3), into the content of a DER
/// BIT STRING: unused bits, then at most two bytes.
pub(crate) fn key_usage(digits: &str) -> Option<Vec<u8>> {
    if digits.len() != 9 || !digits.bytes().all(|b| matches!(b, b'0' | b'1')) {
        return None;
    }
    let bits = digits
        .bytes()
        .fold(0_u16, |bits, b| bits << 1 | u16::from(b - b'0'))
        << 7;
    // Trailing zero bits are left out of a named bit list (X.690 §11.2.2).
    let used = 16 - bits.trailing_zeros().min(16);
    let bytes = bits.to_be_bytes();
    Some(match used {
        0 => vec![0],
        1..=8 => vec![(8 - used) as u8, bytes[0]],
        _ => vec![(16 - used) as u8, bytes[0], bytes[1]],
    })
}

/// Writes and signs the request.
pub(crate) fn build(
    key: &dyn SignEs256,
    subject: &Subject,
    key_usage: &[u8],
    null_parameters: bool,
) -> Vec<u8> {
    let names: Vec<u8> = subject
        .0
        .iter()
        .flat_map(|(oid, value)| {
            // Country is a PrintableString, everything else UTF8String.
            let kind = if *oid == 6 { 0x13 } else { 0x0c };
            let pair = [tlv(0x06, &[0x55, 0x04, *oid]), tlv(kind, value.as_bytes())].concat();
            tlv(0x31, &tlv(0x30, &pair))
        })
        .collect();
    let usage = tlv(0x04, &tlv(0x03, key_usage));
    let extension = tlv(0x30, &[tlv(0x06, &[0x55, 0x1d, 0x0f]), usage].concat());
    let extensions = tlv(0x31, &tlv(0x30, &extension));
    let attributes = tlv(
        0xa0,
        &tlv(0x30, &[tlv(0x06, EXTENSION_REQUEST), extensions].concat()),
    );
    let info = tlv(
        0x30,
        &[
            tlv(0x02, &[0]),
            tlv(0x30, &names),
            key.public_key().as_spki_der().to_vec(),
            attributes,
        ]
        .concat(),
    );
    let null: &[u8] = if null_parameters { &[0x05, 0x00] } else { &[] };
    let algorithm = tlv(0x30, &[&tlv(0x06, ECDSA_WITH_SHA256), null].concat());
    let raw = key.sign(&info).0;
    let signature = tlv(0x30, &[integer(&raw[..32]), integer(&raw[32..])].concat());
    let bits = tlv(0x03, &[&[0], &signature[..]].concat());
    tlv(0x30, &[info, algorithm, bits].concat())
}

/// 1.2.840.113549.1.9.14
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
/// 1.2.840.10045.4.3.2
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=0x7f => out.push(n as u8),
        n @ 0x80..=0xff => out.extend([0x81, n as u8]),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// An unsigned big-endian number as a DER INTEGER.
fn integer(number: &[u8]) -> Vec<u8> {
    let first = number
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(number.len() - 1);
    let mut content = number[first..].to_vec();
    if content[0] & 0x80 != 0 {
        content.insert(0, 0);
    }
    tlv(0x02, &content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn key_usage_bits_are_those_of_the_samples() {
        assert_eq!(key_usage("111010000").unwrap(), [0x03, 0xe8]);
        assert_eq!(key_usage("101010000").unwrap(), [0x03, 0xa8]);
        assert_eq!(key_usage("100000001").unwrap(), [0x07, 0x80, 0x80]);
        assert_eq!(key_usage("000000000").unwrap(), [0x00]);
        for bad in ["", "11101000", "1110100000", "11101000x", "１11010000"] {
            assert_eq!(key_usage(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_subject_keeps_its_order_and_refuses_what_is_none() {
        let subject = Subject::parse("O=Bar, L=Oslo,C=NO,CN=a b").unwrap();
        let names: Vec<_> = subject.0.iter().map(|(oid, _)| *oid).collect();
        assert_eq!(names, [10, 7, 6, 3]);
        for bad in ["", "CN", "CN=", "C=Norway", "XX=1", "CN=a,,O=b", "CN=a\nb"] {
            assert_eq!(Subject::parse(bad), None, "{bad}");
        }
        assert_eq!(Subject::parse(&format!("CN={}", "x".repeat(65))), None);
    }

    #[test]
    fn integers_are_minimal_and_positive() {
        assert_eq!(integer(&[0, 0, 1]), [0x02, 1, 1]);
        assert_eq!(integer(&[0, 0x80]), [0x02, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [0x02, 1, 0]);
    }
}
