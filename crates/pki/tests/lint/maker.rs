//! Certificates that no proper tool makes: every field can be wrong.
#![allow(clippy::unwrap_used)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};

/// One DER element.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=0x7f => out.push(n as u8),
        n @ 0x80..=0xff => out.extend([0x81, n as u8]),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend(content);
    out
}

pub(crate) fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

pub(crate) fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let mut groups = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        content.extend(groups.iter().rev());
    }
    der(0x06, &content)
}

/// A key with its algorithm identifiers.
pub(crate) enum Key {
    Ec(EcdsaKeyPair, &'static str, &'static str),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(crate) fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self::Ec(pair, "1.2.840.10045.3.1.7", "1.2.840.10045.4.3.2")
    }

    pub(crate) fn p384() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
        Self::Ec(pair, "1.3.132.0.34", "1.2.840.10045.4.3.3")
    }

    pub(crate) fn p521() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_ASN1_SIGNING).unwrap();
        Self::Ec(pair, "1.3.132.0.35", "1.2.840.10045.4.3.4")
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn rsa(size: KeySize) -> Self {
        Self::Rsa(RsaKeyPair::generate(size).unwrap())
    }

    fn spki(&self) -> Vec<u8> {
        let (algorithm, key) = match self {
            Self::Ec(pair, curve, _) => (
                seq(&[oid("1.2.840.10045.2.1"), oid(curve)]),
                pair.public_key().as_ref(),
            ),
            Self::Ed25519(pair) => (seq(&[oid("1.3.101.112")]), pair.public_key().as_ref()),
            Self::Rsa(pair) => (
                seq(&[oid("1.2.840.113549.1.1.1"), der(0x05, &[])]),
                pair.public_key().as_ref(),
            ),
        };
        seq(&[algorithm, der(0x03, &[&[0], key].concat())])
    }

    fn algorithm(&self) -> Vec<u8> {
        match self {
            Self::Ec(_, _, signature) => seq(&[oid(signature)]),
            Self::Ed25519(_) => seq(&[oid("1.3.101.112")]),
            Self::Rsa(_) => seq(&[oid("1.2.840.113549.1.1.11"), der(0x05, &[])]),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(pair, _, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }
}

/// What a certificate says; made wrong field by field.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) v3: bool,
    pub(crate) serial: Vec<u8>,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) begin: (u8, &'static str),
    pub(crate) end: (u8, &'static str),
    pub(crate) extensions: Vec<Vec<u8>>,
    /// Signature algorithm inside; `None`: that of the key.
    pub(crate) inside: Option<Vec<u8>>,
    /// Signature algorithm outside and inside.
    pub(crate) algorithm: Option<Vec<u8>>,
    pub(crate) spoil: bool,
}

pub(crate) const UTC: u8 = 0x17;
pub(crate) const GENERALIZED: u8 = 0x18;

/// 2026-01-01, between the times of [`Form::new`].
pub(crate) const NOW_S: u64 = 1_767_225_600;

impl Form {
    pub(crate) fn new(subject: &str, issuer: &str) -> Self {
        Self {
            v3: true,
            serial: vec![0x11, 0x22, 0x33],
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            begin: (UTC, "250101000000Z"),
            end: (UTC, "450101000000Z"),
            extensions: Vec::new(),
            inside: None,
            algorithm: None,
            spoil: false,
        }
    }

    /// An authority.
    pub(crate) fn ca(subject: &str, issuer: &str) -> Self {
        Self::new(subject, issuer)
            .with(basic(true, None))
            .with(usage(&[5, 6]))
    }

    /// A server under the name `server.example`.
    pub(crate) fn server(subject: &str, issuer: &str) -> Self {
        Self::new(subject, issuer)
            .with(basic(false, None))
            .with(usage(&[0]))
            .with(eku(&[SERVER_AUTH]))
            .with(san(&[dns("server.example")]))
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Without the extension of this object identifier.
    pub(crate) fn without(mut self, id: &str) -> Self {
        let id = oid(id);
        self.extensions.retain(|extension| {
            !extension[2..].starts_with(&id) && !extension[3..].starts_with(&id)
        });
        self
    }

    pub(crate) fn signed(&self, key: &Key, by: &Key) -> Vec<u8> {
        let outside = self.algorithm.clone().unwrap_or_else(|| by.algorithm());
        let mut parts = Vec::new();
        if self.v3 {
            parts.push(der(0xa0, &der(0x02, &[2])));
        }
        parts.extend([
            der(0x02, &self.serial),
            self.inside.clone().unwrap_or_else(|| outside.clone()),
            name(&self.issuer),
            seq(&[
                der(self.begin.0, self.begin.1.as_bytes()),
                der(self.end.0, self.end.1.as_bytes()),
            ]),
            name(&self.subject),
            key.spki(),
        ]);
        if self.v3 && !self.extensions.is_empty() {
            parts.push(der(0xa3, &seq(&self.extensions)));
        }
        let tbs = seq(&parts);
        let mut signature = by.sign(&tbs);
        if self.spoil {
            signature = Key::p256().sign(&tbs);
        }
        seq(&[tbs, outside, der(0x03, &[&[0], &signature[..]].concat())])
    }
}

fn name(cn: &str) -> Vec<u8> {
    if cn.is_empty() {
        return seq(&[]);
    }
    seq(&[der(0x31, &seq(&[oid("2.5.4.3"), der(0x0c, cn.as_bytes())]))])
}

pub(crate) const BASIC: &str = "2.5.29.19";
pub(crate) const USAGE: &str = "2.5.29.15";
pub(crate) const EKU: &str = "2.5.29.37";
pub(crate) const SAN: &str = "2.5.29.17";
pub(crate) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

pub(crate) fn extension(id: &str, critical: bool, content: &[u8]) -> Vec<u8> {
    let mut parts = vec![oid(id)];
    if critical {
        parts.push(der(0x01, &[0xff]));
    }
    parts.push(der(0x04, content));
    seq(&parts)
}

pub(crate) fn basic(ca: bool, length: Option<u8>) -> Vec<u8> {
    let mut parts = Vec::new();
    if ca {
        parts.push(der(0x01, &[0xff]));
    }
    parts.extend(length.map(|length| der(0x02, &[length])));
    extension(BASIC, true, &seq(&parts))
}

/// Key usages by their bit numbers, 0 to 7.
pub(crate) fn usage(bits: &[u8]) -> Vec<u8> {
    let byte = bits.iter().fold(0, |all, bit| all | 0x80u8 >> bit);
    let unused = if byte == 0 {
        0
    } else {
        byte.trailing_zeros() as u8
    };
    let content = if byte == 0 {
        vec![0]
    } else {
        vec![unused, byte]
    };
    extension(USAGE, true, &der(0x03, &content))
}

pub(crate) fn eku(ids: &[&str]) -> Vec<u8> {
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| oid(id)).collect();
    extension(EKU, false, &seq(&ids))
}

pub(crate) fn dns(name: &str) -> Vec<u8> {
    der(0x82, name.as_bytes())
}

pub(crate) fn ip(bytes: &[u8]) -> Vec<u8> {
    der(0x87, bytes)
}

pub(crate) fn san(names: &[Vec<u8>]) -> Vec<u8> {
    extension(SAN, false, &seq(names))
}

pub(crate) fn subject_key_id(id: &[u8]) -> Vec<u8> {
    extension("2.5.29.14", false, &der(0x04, id))
}

pub(crate) fn authority_key_id(id: &[u8]) -> Vec<u8> {
    extension("2.5.29.35", false, &seq(&[der(0x80, id)]))
}
