//! Certificate signing requests (PKCS#10, RFC 2986): read as modems write them, and written as modems do.
//!
//! Older modem firmware writes the signature algorithm with NULL parameters, `300c06082a8648ce3d0403020500`; RFC 5758
//! §3.2 forbids them. The self-signature does not cover that field, so [`parse`] replaces it and fixes the outer
//! length. The digest that the modem attests is over the original bytes (spec/device-protocol.md §2.4).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509CertificationRequest};

use crate::identity::{ATTRIBUTE_TYPES, join, name_attributes};
use crate::key::check_p256_spki;
use crate::{SPKI_BYTES, der, sha256};

/// A modem's request has about 270 bytes; one with all attributes at full length stays below this.
pub const CSR_BYTES_MAX: usize = 4_096;
/// Longest attribute value in characters (RFC 5280 Appendix A.1, ub-common-name and its like).
const VALUE_CHARS_MAX: usize = 64;

const ECDSA_WITH_SHA256: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];
const ECDSA_WITH_SHA256_NULL: &[u8] = &[
    0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, 0x05, 0x00,
];
/// extensionRequest, 1.2.840.113549.1.9.14.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
/// keyUsage, 2.5.29.15.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// Bits of a KeyUsage (RFC 5280 §4.2.1.3).
const KEY_USAGE_BITS: usize = 9;

/// A request whose self-signature holds. When issuing, only the public key is taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    /// Subject attributes in the order of the bytes, for example `("O", "Example")`.
    pub attributes: Vec<(String, String)>,
    /// The requester's public key, an ECDSA P-256 point on the curve.
    pub spki_der: [u8; SPKI_BYTES],
    /// Requested key usage as nine digits, digitalSignature first; `None` when it was not requested.
    pub key_usage_bits: Option<String>,
    /// SHA-256 over the bytes as they came: what a KEYGEN attestation contains.
    pub original_sha256: [u8; 32],
    /// Was the algorithm written with NULL parameters?
    pub had_null_parameters: bool,
    /// The request as RFC 5758 wants it; equal to the original when nothing was to repair.
    pub der: Vec<u8>,
}

impl Csr {
    /// `K=V,K=V` in the order of the bytes, which is the order in which a modem takes attributes.
    pub fn subject(&self) -> String {
        join(&self.attributes)
    }

    /// The subject as RFC 4514 writes it: last attribute first.
    pub fn subject_rfc4514(&self) -> String {
        let reversed: Vec<_> = self.attributes.iter().rev().cloned().collect();
        join(&reversed)
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// Too long to be looked at.
    #[error("the request has {bytes} bytes, more than {CSR_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not PKCS#10 in DER.
    #[error("this is not a certificate signing request: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// Another signature algorithm than ecdsa-with-SHA256.
    #[error("the request is not signed with ECDSA and SHA-256")]
    Algorithm,
    /// A public key that is not on P-256.
    #[error("the public key in the request is not an ECDSA P-256 key")]
    NotP256,
    /// The requester does not have the private key, or the request was changed.
    #[error("the request's own signature does not match its public key")]
    Signature,
    /// Text that is not `K=V,K=V` with known types and values that fit.
    #[error("`{part}` is not a subject attribute: {why}")]
    Attribute {
        /// The part in question.
        part: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Key usage that is not nine binary digits.
    #[error("`{bits}` is not a key usage: nine binary digits are needed, such as 111010000")]
    KeyUsage {
        /// What was given.
        bits: String,
    },
}

/// Reads a request: repairs NULL parameters, checks key, algorithm and self-signature.
///
/// # Errors
/// [`CsrError`]. Bytes behind the request are an error, too.
pub fn parse(original: &[u8]) -> Result<Csr, CsrError> {
    let (normal, had_null_parameters) = repair(original)?;
    let malformed = |why: &str| CsrError::Malformed {
        why: why.to_owned(),
    };
    let (info, signature) =
        split(&normal).ok_or_else(|| malformed("its outer structure is not PKCS#10"))?;
    let request = match X509CertificationRequest::from_der(&normal) {
        Ok(([], request)) => request,
        Ok(_) => return Err(malformed("bytes follow it")),
        Err(e) => return Err(malformed(&e.to_string())),
    };
    if request.certification_request_info.version.0 != 0 {
        return Err(malformed("its version is not 1"));
    }
    let spki = request.certification_request_info.subject_pki.raw;
    let point = check_p256_spki(spki).map_err(|_| CsrError::NotP256)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(info, signature)
        .map_err(|_| CsrError::Signature)?;
    let key_usage_bits = request
        .requested_extensions()
        .into_iter()
        .flatten()
        .find_map(|extension| match extension {
            ParsedExtension::KeyUsage(usage) => {
                let digit = |bit| {
                    if usage.flags >> bit & 1 == 1 {
                        '1'
                    } else {
                        '0'
                    }
                };
                Some((0..KEY_USAGE_BITS).map(digit).collect())
            }
            _ => None,
        });
    Ok(Csr {
        attributes: name_attributes(&request.certification_request_info.subject),
        spki_der: spki.try_into().map_err(|_| CsrError::NotP256)?,
        key_usage_bits,
        original_sha256: sha256(original),
        had_null_parameters,
        der: normal,
    })
}

/// The request with the algorithm as RFC 5758 wants it, and whether that changed anything. Checks no signature.
///
/// # Errors
/// [`CsrError::TooLong`], [`CsrError::Malformed`], [`CsrError::Algorithm`].
pub fn repair(original: &[u8]) -> Result<(Vec<u8>, bool), CsrError> {
    if original.len() > CSR_BYTES_MAX {
        return Err(CsrError::TooLong {
            bytes: original.len(),
        });
    }
    let (info, algorithm, signature) = parts(original).ok_or_else(|| CsrError::Malformed {
        why: "its outer structure is not PKCS#10 in DER".to_owned(),
    })?;
    match algorithm.whole {
        ECDSA_WITH_SHA256 => Ok((original.to_vec(), false)),
        ECDSA_WITH_SHA256_NULL => {
            let normal = der::element(
                der::SEQUENCE,
                &[info.whole, ECDSA_WITH_SHA256, signature.whole],
            );
            Ok((normal, true))
        }
        _ => Err(CsrError::Algorithm),
    }
}

/// What a virtual modem's request is made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Subject attributes in the order they shall appear; see [`attributes`].
    pub attributes: &'a [(&'a str, &'a str)],
    /// Nine binary digits, digitalSignature first; the modem's default is `111010000`.
    pub key_usage_bits: &'a str,
    /// Write the algorithm as older firmware does.
    pub null_parameters: bool,
}

/// Writes a request as a modem does: UTF8String values (also for the country), one extension request
/// with the key usage, which is not critical. `sign` gives r ‖ s of ECDSA with SHA-256 over the bytes it is handed.
///
/// # Errors
/// [`CsrError::Attribute`], [`CsrError::KeyUsage`], [`CsrError::NotP256`], or what `sign` fails with.
pub fn build<E: From<CsrError>>(
    request: &Request<'_>,
    spki: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<Vec<u8>, E> {
    let info = to_be_signed(request, spki)?;
    let signature = der::ecdsa_signature(&sign(&info)?);
    let algorithm = if request.null_parameters {
        ECDSA_WITH_SHA256_NULL
    } else {
        ECDSA_WITH_SHA256
    };
    let signature = der::element(der::BIT_STRING, &[&[0], &signature]);
    Ok(der::element(der::SEQUENCE, &[&info, algorithm, &signature]))
}

/// The part of a request that is signed.
fn to_be_signed(request: &Request<'_>, spki: &[u8]) -> Result<Vec<u8>, CsrError> {
    check_p256_spki(spki).map_err(|_| CsrError::NotP256)?;
    let names: Vec<Vec<u8>> = request
        .attributes
        .iter()
        .map(|(kind, value)| attribute(kind, value))
        .collect::<Result<_, _>>()?;
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let subject = der::element(der::SEQUENCE, &names);
    let usage = der::element(der::OCTET_STRING, &[&key_usage(request.key_usage_bits)?]);
    let usage = der::element(
        der::SEQUENCE,
        &[&der::element(der::OID, &[KEY_USAGE]), &usage],
    );
    let wanted = der::element(der::SET, &[&der::element(der::SEQUENCE, &[&usage])]);
    let wanted = der::element(
        der::SEQUENCE,
        &[&der::element(der::OID, &[EXTENSION_REQUEST]), &wanted],
    );
    let version = [0x02, 0x01, 0x00];
    Ok(der::element(
        der::SEQUENCE,
        &[
            &version,
            &subject,
            spki,
            &der::element(der::CONTEXT_0, &[&wanted]),
        ],
    ))
}

/// Splits `O=Example,L=Trondheim,C=no,CN=dev-1` (spec/modem-at.md §5). Spaces around a part are dropped; there are
/// no escapes, so a value cannot contain a comma.
///
/// # Errors
/// [`CsrError::Attribute`] for an unknown type or a value that is empty or too long.
pub fn attributes(text: &str) -> Result<Vec<(&str, &str)>, CsrError> {
    let split = |part| {
        let (kind, value) =
            str::split_once(part, '=').ok_or_else(|| refuse(part, "it has no `=`"))?;
        let (kind, value) = (kind.trim(), value.trim());
        attribute(kind, value)?;
        Ok((kind, value))
    };
    text.split(',').map(split).collect()
}

fn attribute(kind: &str, value: &str) -> Result<Vec<u8>, CsrError> {
    let refuse = |why| refuse(&format!("{kind}={value}"), why);
    let (_, _, oid) = ATTRIBUTE_TYPES
        .iter()
        .find(|(name, _, _)| *name == kind)
        .ok_or_else(|| refuse("known are CN, serialNumber, C, L, ST, O and OU"))?;
    if value.is_empty()
        || value.chars().count() > VALUE_CHARS_MAX
        || value.chars().any(char::is_control)
    {
        return Err(refuse(
            "a value has 1 to 64 characters, none of them control characters",
        ));
    }
    if kind == "C" && (value.len() != 2 || !value.bytes().all(|b| b.is_ascii_alphabetic())) {
        return Err(refuse("a country has two letters"));
    }
    let pair = [
        der::element(der::OID, &[oid]),
        der::element(der::UTF8_STRING, &[value.as_bytes()]),
    ];
    Ok(der::element(
        der::SET,
        &[&der::element(der::SEQUENCE, &[&pair[0], &pair[1]])],
    ))
}

fn refuse(part: &str, why: &'static str) -> CsrError {
    CsrError::Attribute {
        part: part.to_owned(),
        why,
    }
}

/// A named bit list: trailing zero bits are left out (X.690 §11.2.2).
fn key_usage(bits: &str) -> Result<Vec<u8>, CsrError> {
    if bits.len() != KEY_USAGE_BITS || !bits.bytes().all(|b| matches!(b, b'0' | b'1')) {
        return Err(CsrError::KeyUsage {
            bits: bits.to_owned(),
        });
    }
    let significant = bits.trim_end_matches('0');
    let mut bytes = vec![0u8; significant.len().div_ceil(8)];
    for (at, _) in significant
        .bytes()
        .enumerate()
        .filter(|(_, digit)| *digit == b'1')
    {
        bytes[at / 8] |= 0x80 >> (at % 8);
    }
    // At most seven unused bits.
    let unused = (bytes.len() * 8 - significant.len()) as u8;
    Ok(der::element(der::BIT_STRING, &[&[unused], &bytes]))
}

fn parts(request: &[u8]) -> Option<(der::Element<'_>, der::Element<'_>, der::Element<'_>)> {
    let outer = der::only(der::SEQUENCE, request)?;
    let (info, rest) = der::take(outer.content)?;
    let (algorithm, rest) = der::take(rest)?;
    let signature = der::only(der::BIT_STRING, rest)?;
    (info.tag == der::SEQUENCE).then_some((info, algorithm, signature))
}

/// What is signed, and the signature.
fn split(request: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, _, signature) = parts(request)?;
    match signature.content {
        [0, signature @ ..] => Some((info.whole, signature)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{PkiError, PrivateKey};

    fn made(null_parameters: bool, bits: &str, names: &str) -> (PrivateKey, Vec<u8>) {
        let key = PrivateKey::generate().unwrap();
        let attributes = attributes(names).unwrap();
        let request = Request {
            attributes: &attributes,
            key_usage_bits: bits,
            null_parameters,
        };
        let sign = |m: &[u8]| key.sign(m).map_err(|_: PkiError| CsrError::Signature);
        let csr = build(&request, &key.spki_der(), sign).unwrap();
        (key, csr)
    }

    #[test]
    fn what_a_virtual_modem_builds_is_read_back() {
        for null_parameters in [false, true] {
            let names = "O=Example,L=Trondheim,C=no,CN=dev-1";
            let (key, csr) = made(null_parameters, "101010000", names);
            let read = parse(&csr).unwrap();
            assert_eq!(read.subject(), names);
            assert_eq!(
                read.subject_rfc4514(),
                "CN=dev-1,C=no,L=Trondheim,O=Example"
            );
            assert_eq!(read.key_usage_bits.as_deref(), Some("101010000"));
            assert_eq!(read.spki_der, key.spki_der());
            assert_eq!(read.had_null_parameters, null_parameters);
            assert_eq!(read.original_sha256, sha256(&csr));
            assert_eq!(read.der == csr, !null_parameters);
        }
    }

    #[test]
    fn a_changed_request_is_refused() {
        let (_, csr) = made(true, "111010000", "CN=dev-1");
        let at = csr.windows(5).position(|w| w == b"dev-1").unwrap();
        let mut changed = csr.clone();
        changed[at + 4] = b'2';
        assert_eq!(parse(&changed), Err(CsrError::Signature));
        let mut longer = csr.clone();
        longer.push(0);
        assert!(matches!(parse(&longer), Err(CsrError::Malformed { .. })));
        assert!(matches!(
            parse(&[0; CSR_BYTES_MAX + 1]),
            Err(CsrError::TooLong { .. })
        ));
    }

    #[test]
    fn attributes_and_key_usages_are_checked() {
        for bad in [
            "",
            "CN",
            "CN=",
            "X=1",
            "C=nor",
            "C=1a",
            "CN=a,,O=b",
            "CN=a\u{7}",
        ] {
            assert!(
                matches!(attributes(bad), Err(CsrError::Attribute { .. })),
                "{bad}"
            );
        }
        assert!(attributes(&format!("CN={}", "a".repeat(65))).is_err());
        assert_eq!(
            attributes("O=a b, CN=c").unwrap(),
            [("O", "a b"), ("CN", "c")]
        );
        for bad in ["", "11101000", "1110100000", "11101000x"] {
            assert!(key_usage(bad).is_err());
        }
        assert_eq!(key_usage("111010000").unwrap(), [3, 2, 3, 0xe8]);
        assert_eq!(key_usage("000000001").unwrap(), [3, 3, 7, 0, 0x80]);
        assert_eq!(key_usage("000000000").unwrap(), [3, 1, 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damage_anywhere_never_panics_and_repair_is_idempotent(
            null in any::<bool>(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let (_, mut csr) = made(null, "111010000", "O=Example,CN=dev-1");
            let _ = parse(&csr[..cut.index(csr.len())]);
            let at = at.index(csr.len());
            csr[at] = to;
            let _ = parse(&csr);
            if let Ok((once, _)) = repair(&csr) {
                prop_assert_eq!(repair(&once), Ok((once.clone(), false)));
            }
        }
    }
}
