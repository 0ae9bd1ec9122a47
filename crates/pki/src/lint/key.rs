//! Kinds of keys and signatures, by the object identifiers in certificates.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{AlgorithmIdentifier, FromDer as _, SubjectPublicKeyInfo};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::signature_algorithm::RsaSsaPssParams;

/// What a public key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with the length of its modulus in bits.
    Rsa(usize),
    /// RSA bound to the PSS padding (RFC 4055 §1.2).
    RsaPss(usize),
    /// ECDSA on a named curve.
    Ec(&'static str),
    /// ECDSA on a curve that we have no name for, or one that is spelled out.
    EcOther(String),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Anything else, by its object identifier.
    Other(String),
}

impl KeyKind {
    /// From a SubjectPublicKeyInfo.
    pub(crate) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let bits = || match RSAPublicKey::from_der(&spki.subject_public_key.data) {
            Ok((_, key)) => modulus_bits(key.modulus),
            Err(_) => 0,
        };
        match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" => Self::Rsa(bits()),
            "1.2.840.113549.1.1.10" => Self::RsaPss(bits()),
            "1.2.840.10045.2.1" => {
                let curve = spki
                    .algorithm
                    .parameters
                    .as_ref()
                    .and_then(|p| p.as_oid().ok());
                let Some(curve) = curve.map(|oid| oid.to_id_string()) else {
                    return Self::EcOther("explicit parameters".to_owned());
                };
                match CURVES.iter().find(|(oid, _)| *oid == curve) {
                    Some((_, name)) => Self::Ec(name),
                    None => Self::EcOther(curve),
                }
            }
            "1.3.101.112" => Self::Ed25519,
            other => Self::Other(match (other, spki.parsed()) {
                ("1.3.101.113", _) => "Ed448".to_owned(),
                (_, Ok(PublicKey::DSA(_))) => "DSA".to_owned(),
                (oid, _) => format!("algorithm {oid}"),
            }),
        }
    }

    /// RSA of either kind.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        match self {
            Self::Rsa(bits) | Self::RsaPss(bits) => Some(*bits),
            _ => None,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA, {bits} bits"),
            Self::RsaPss(bits) => write!(f, "RSA-PSS only, {bits} bits"),
            Self::Ec(curve) => write!(f, "EC {curve}"),
            Self::EcOther(curve) => write!(f, "EC, curve {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

const CURVES: &[(&str, &str)] = &[
    ("1.2.840.10045.3.1.7", "P-256"),
    ("1.3.132.0.34", "P-384"),
    ("1.3.132.0.35", "P-521"),
];

/// How a certificate is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureKind {
    /// "ECDSA", "RSA", "RSA-PSS", "Ed25519", or an object identifier.
    pub algorithm: String,
    /// "SHA-256"; empty where it is part of the algorithm or not known.
    pub hash: &'static str,
}

impl SignatureKind {
    pub(crate) fn of(algorithm: &AlgorithmIdentifier<'_>) -> Self {
        let oid = algorithm.algorithm.to_id_string();
        let known = SIGNATURES.iter().find(|(known, _, _)| *known == oid);
        let (name, hash) = match known {
            Some((_, "RSA-PSS", _)) => ("RSA-PSS".to_owned(), pss_hash(algorithm)),
            Some((_, name, hash)) => ((*name).to_owned(), *hash),
            None => (format!("algorithm {oid}"), ""),
        };
        Self {
            algorithm: name,
            hash,
        }
    }
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hash {
            "" => f.write_str(&self.algorithm),
            hash => write!(f, "{} with {hash}", self.algorithm),
        }
    }
}

const SIGNATURES: &[(&str, &str, &str)] = &[
    ("1.2.840.10045.4.3.2", "ECDSA", "SHA-256"),
    ("1.2.840.10045.4.3.3", "ECDSA", "SHA-384"),
    ("1.2.840.10045.4.3.4", "ECDSA", "SHA-512"),
    ("1.2.840.10045.4.3.1", "ECDSA", "SHA-224"),
    ("1.2.840.10045.4.1", "ECDSA", "SHA-1"),
    ("1.2.840.113549.1.1.11", "RSA", "SHA-256"),
    ("1.2.840.113549.1.1.12", "RSA", "SHA-384"),
    ("1.2.840.113549.1.1.13", "RSA", "SHA-512"),
    ("1.2.840.113549.1.1.14", "RSA", "SHA-224"),
    ("1.2.840.113549.1.1.5", "RSA", "SHA-1"),
    ("1.3.14.3.2.29", "RSA", "SHA-1"),
    ("1.2.840.113549.1.1.4", "RSA", "MD5"),
    ("1.2.840.113549.1.1.2", "RSA", "MD2"),
    ("1.2.840.113549.1.1.10", "RSA-PSS", ""),
    ("1.3.101.112", "Ed25519", ""),
    ("1.3.101.113", "Ed448", ""),
];

/// The hash among the PSS parameters; SHA-1 when there is none (RFC 4055 §3.1).
fn pss_hash(algorithm: &AlgorithmIdentifier<'_>) -> &'static str {
    let parameters = algorithm.parameters.as_ref();
    let Some(Ok(parameters)) = parameters.map(RsaSsaPssParams::try_from) else {
        return "";
    };
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => "SHA-256",
        "2.16.840.1.101.3.4.2.2" => "SHA-384",
        "2.16.840.1.101.3.4.2.3" => "SHA-512",
        "1.3.14.3.2.26" => "SHA-1",
        _ => "",
    }
}

/// The public key of the first private key in a PEM text, in the form it has inside a certificate; `None` when there is
/// none, or it is of a kind that aws-lc does not read (RSA below 2048 bits, brainpool, an encrypted key).
pub(crate) fn public_of(pem: &str) -> Option<Vec<u8>> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let der = key.secret_der();
    for curve in [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ] {
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
            return Some(pair.public_key().as_ref().to_vec());
        }
    }
    if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
        return Some(pair.public_key().as_ref().to_vec());
    }
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let start = modulus
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(modulus.len());
    match modulus.get(start) {
        Some(first) => (modulus.len() - start) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}
