//! Private keys of the kinds that a local PKI meets: P-256 by default, RSA on request, P-384 where somebody brings it.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::{PkiError, PrivateKey, encrypted, pem};

/// What a new key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// RSA with a modulus of 2048 bits, for peers that know nothing else. Making one takes up to a second.
    Rsa2048,
}

/// A private key that signs certificates or belongs to one: P-256, P-384, or RSA from 2048 bits. It prints as `****`
/// and its bytes are zeroized on drop.
pub struct KeyPair {
    pkcs8: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
    inner: Inner,
}

enum Inner {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl KeyPair {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`PkiError::Crypto`] when the random generator fails.
    pub fn generate(kind: KeyType) -> Result<Self, PkiError> {
        let failed = |_| unspecified("make a private key");
        let inner = match kind {
            KeyType::P256 => Inner::P256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?,
            ),
            KeyType::Rsa2048 => Inner::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
        };
        Self::new(inner)
    }

    /// Reads the first private key of a PEM text: PKCS#8, SEC 1 or PKCS#1, not encrypted.
    ///
    /// # Errors
    /// [`PkiError::Encrypted`]; [`PkiError::Malformed`] when there is none, or it is of another kind.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        if encrypted::is_encrypted(text) {
            return Err(PkiError::Encrypted);
        }
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| PkiError::malformed("private key", "no PEM private key found"))?;
        Self::from_der(der.secret_der())
    }

    /// As [`KeyPair::from_pem`], and a key that is encrypted (`ENCRYPTED PRIVATE KEY`) is opened with `passphrase`.
    ///
    /// # Errors
    /// [`PkiError::Passphrase`] when it is the wrong one, and as [`KeyPair::from_pem`].
    pub fn from_encrypted_pem(text: &str, passphrase: &[u8]) -> Result<Self, PkiError> {
        if !encrypted::is_encrypted(text) {
            return Self::from_pem(text);
        }
        // What a wrong passphrase makes of the bytes can have a valid padding by chance; it is then no key.
        Self::from_der(&encrypted::decrypt(text, passphrase)?).map_err(|_| PkiError::Passphrase)
    }

    /// Reads a key from PKCS#8, SEC 1 or PKCS#1 DER.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] when it is of another kind.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let p256 = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        let p384 = || EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, der);
        let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
        let inner = p256
            .map(Inner::P256)
            .or_else(|_| p384().map(Inner::P384))
            .or_else(|_| rsa().map(Inner::Rsa))
            .map_err(|_| {
                PkiError::malformed(
                    "private key",
                    "it is none of ECDSA P-256, ECDSA P-384 and RSA from 2048 bits",
                )
            })?;
        Self::new(inner)
    }

    fn new(inner: Inner) -> Result<Self, PkiError> {
        let failed = |_| unspecified("encode a private key");
        let (pkcs8, public) = match &inner {
            Inner::P256(pair) | Inner::P384(pair) => (
                pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
                pair.public_key().as_ref().to_vec(),
            ),
            Inner::Rsa(pair) => {
                let document: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
                    pair.as_der().map_err(failed)?;
                (
                    document.as_ref().to_vec(),
                    pair.public_key().as_ref().to_vec(),
                )
            }
        };
        Ok(Self {
            pkcs8: Zeroizing::new(pkcs8),
            public,
            inner,
        })
    }

    /// The key as PKCS#8 PEM: a secret that leaves this type.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", &self.pkcs8))
    }

    /// The key as PKCS#8 PEM, encrypted with a passphrase: PBES2 (RFC 8018 §6.2) with PBKDF2-HMAC-SHA-256 and
    /// AES-256-CBC, which OpenSSL reads. Takes a good part of a second, and so does reading it.
    ///
    /// # Errors
    /// [`PkiError::Crypto`] when the random generator fails.
    pub fn to_encrypted_pem(&self, passphrase: &[u8]) -> Result<String, PkiError> {
        encrypted::encrypt(&self.pkcs8, passphrase)
    }

    /// The public key as SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> Vec<u8> {
        rcgen::PublicKeyData::subject_public_key_info(self)
    }

    /// Is it an RSA key? Its certificate then allows key encipherment.
    pub const fn is_rsa(&self) -> bool {
        matches!(self.inner, Inner::Rsa(_))
    }
}

impl From<PrivateKey> for KeyPair {
    fn from(key: PrivateKey) -> Self {
        let (pkcs8, pair) = key.into_parts();
        Self {
            pkcs8,
            public: pair.public_key().as_ref().to_vec(),
            inner: Inner::P256(pair),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl rcgen::PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.inner {
            Inner::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Inner::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Inner::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let failed = |_| rcgen::Error::RingUnspecified;
        match &self.inner {
            Inner::P256(pair) | Inner::P384(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(failed),
            Inner::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn unspecified(action: &'static str) -> PkiError {
    PkiError::Crypto {
        action,
        source: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_each_kind_survives_pem_and_never_prints() {
        for kind in [KeyType::P256, KeyType::Rsa2048] {
            let key = KeyPair::generate(kind).unwrap();
            let again = KeyPair::from_pem(&key.to_pem()).unwrap();
            assert_eq!(key.spki_der(), again.spki_der());
            assert_eq!(key.is_rsa(), kind == KeyType::Rsa2048);
            assert_eq!(format!("{key:?}"), "****");
        }
    }

    #[test]
    fn an_encrypted_key_needs_its_passphrase() {
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let text = key.to_encrypted_pem(b"open sesame").unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        let read = |passphrase: &[u8]| KeyPair::from_encrypted_pem(&text, passphrase);
        assert_eq!(read(b"open sesame").unwrap().spki_der(), key.spki_der());
        assert!(matches!(read(b"open").unwrap_err(), PkiError::Passphrase));
        assert!(matches!(
            KeyPair::from_pem(&text).unwrap_err(),
            PkiError::Encrypted
        ));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(KeyPair::from_pem("").is_err());
        assert!(KeyPair::from_der(&[0x30, 0]).is_err());
    }
}
