//! Private keys that cannot be printed, and the one form of public key that is accepted.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::{PkiError, pem};

/// Length of a P-256 SubjectPublicKeyInfo with an uncompressed point, in bytes (RFC 5480 §2).
pub const SPKI_BYTES: usize = 91;

/// What stands before the 65-byte point: id-ecPublicKey, secp256r1, BIT STRING without unused bits.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An ECDSA P-256 private key. It prints as `****` and its bytes are zeroized on drop.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`PkiError::Crypto`] when the random generator fails.
    pub fn generate() -> Result<Self, PkiError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| unspecified("make a private key"))?;
        Self::from_pair(pair)
    }

    /// Reads the first private key of a PEM text: PKCS#8 or SEC 1.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] when there is none, or it is not a P-256 key.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| PkiError::malformed("private key", "no PEM private key found"))?;
        let der = Zeroizing::new(match der {
            PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
            PrivateKeyDer::Sec1(key) => key.secret_sec1_der().to_vec(),
            _ => {
                return Err(PkiError::malformed(
                    "private key",
                    "it is an RSA key; an ECDSA P-256 key is needed",
                ));
            }
        });
        Self::from_der(&der)
    }

    /// Reads a key from PKCS#8 or SEC 1 DER.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] when it is not a P-256 key.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|e| PkiError::malformed("private key", format!("not ECDSA P-256 ({e})")))?;
        Self::from_pair(pair)
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, PkiError> {
        let document = pair
            .to_pkcs8v1()
            .map_err(|_| unspecified("encode a private key"))?;
        Ok(Self {
            pkcs8: Zeroizing::new(document.as_ref().to_vec()),
            pair,
        })
    }

    pub(crate) fn into_parts(self) -> (Zeroizing<Vec<u8>>, EcdsaKeyPair) {
        (self.pkcs8, self.pair)
    }

    /// The key as PKCS#8 PEM: a secret that leaves this type.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", &self.pkcs8))
    }

    /// The key as PKCS#8 DER, for TLS configurations: a secret that leaves this type.
    pub fn secret_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> [u8; SPKI_BYTES] {
        let mut spki = [0; SPKI_BYTES];
        spki[..SPKI_PREFIX.len()].copy_from_slice(&SPKI_PREFIX);
        spki[SPKI_PREFIX.len()..].copy_from_slice(self.pair.public_key().as_ref());
        spki
    }

    /// ECDSA with SHA-256 over `message`: r ‖ s, 32 bytes each (the form of JOSE and COSE).
    ///
    /// # Errors
    /// [`PkiError::Crypto`] when the random generator fails.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], PkiError> {
        let fail = || unspecified("sign");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8)
            .map_err(|_| fail())?;
        let signature = pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| fail())?;
        signature.as_ref().try_into().map_err(|_| fail())
    }
}

impl PrivateKey {
    /// ECDSA with SHA-256 over `message` in DER (RFC 3279 §2.2.3), the form that OpenSSL verifies.
    ///
    /// # Errors
    /// [`PkiError::Crypto`] when the random generator fails.
    pub fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| unspecified("sign"))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| rcgen::Error::RingUnspecified)
    }
}

/// Checks that `spki` is a P-256 public key in its 91-byte form with a point on the curve, and gives that point.
///
/// # Errors
/// [`PkiError::NotP256`].
pub fn check_p256_spki(spki: &[u8]) -> Result<&[u8], PkiError> {
    let wrong = || PkiError::NotP256 { bytes: spki.len() };
    let point = spki.strip_prefix(&SPKI_PREFIX).ok_or_else(wrong)?;
    if spki.len() != SPKI_BYTES || point[0] != 0x04 {
        return Err(wrong());
    }
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).map_err(|_| wrong())?;
    Ok(point)
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
    fn a_key_survives_pem_and_never_prints() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(key.spki_der(), again.spki_der());
        assert_eq!(format!("{key:?}"), "****");
        assert_eq!(check_p256_spki(&key.spki_der()).unwrap().len(), 65);
    }

    #[test]
    fn what_is_no_p256_key_is_refused() {
        assert!(PrivateKey::from_pem("").is_err());
        assert!(PrivateKey::from_der(&[0x30, 0]).is_err());
        let mut spki = PrivateKey::generate().unwrap().spki_der();
        assert!(check_p256_spki(&spki[..90]).is_err());
        assert!(check_p256_spki(&[]).is_err());
        spki[90] ^= 1; // off the curve
        assert!(check_p256_spki(&spki).is_err());
    }
}
