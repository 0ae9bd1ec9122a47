//! ES256 keys and signatures: P-256 with SHA-256, signatures as r‖s of 64 bytes.

use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use core::fmt;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{RecoveryId, VerifyingKey};
use sha2::{Digest, Sha256};

/// A P-256 public key as DER SubjectPublicKeyInfo: always 91 bytes, uncompressed point, on the curve.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 91]);

/// Lower-case hex SHA-256 of the 91-byte SPKI: the `kid` of a JWT.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid([u8; 32]);

/// r‖s.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Verifies one signature. The service hands in aws-lc, the core has [`P256`].
pub trait VerifyEs256 {
    /// Whether `signature` over SHA-256(`message`) holds under `key`.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;
}

/// Signs one message; implemented by whoever holds the private key (the virtual modem).
pub trait SignEs256 {
    /// ES256 over `message`.
    fn sign(&self, message: &[u8]) -> Signature;
    /// The public half.
    fn public_key(&self) -> PublicKey;
}

/// [`VerifyEs256`] by the `p256` crate; slow and everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct P256;

/// Not a P-256 SubjectPublicKeyInfo, or not a kid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Wrong length, wrong algorithm, compressed, or off the curve.
    #[error("not an uncompressed P-256 public key as SubjectPublicKeyInfo (91 bytes)")]
    NotP256Spki,
    /// Not 64 lower-case hex digits.
    #[error("a kid is the SHA-256 of the public key as 64 lower-case hex digits")]
    NotAKid,
}

impl PublicKey {
    /// # Errors
    /// [`KeyError::NotP256Spki`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let der: [u8; 91] = der.try_into().map_err(|_| KeyError::NotP256Spki)?;
        if der[..SPKI_HEAD.len()] != SPKI_HEAD {
            return Err(KeyError::NotP256Spki);
        }
        let key = Self(der);
        key.verifying_key().ok_or(KeyError::NotP256Spki)?;
        Ok(key)
    }

    /// The 91 bytes.
    pub const fn as_spki_der(&self) -> &[u8; 91] {
        &self.0
    }

    /// The uncompressed point: 0x04 ‖ x ‖ y, 65 bytes.
    pub fn point(&self) -> &[u8] {
        &self.0[26..]
    }

    /// SHA-256 of the SPKI.
    pub fn kid(&self) -> Kid {
        Kid(Sha256::digest(self.0).into())
    }

    /// `None` off the curve, or compressed.
    fn verifying_key(&self) -> Option<VerifyingKey> {
        if self.point()[0] != UNCOMPRESSED {
            return None;
        }
        VerifyingKey::from_sec1_bytes(self.point()).ok()
    }

    fn from_verifying_key(key: &VerifyingKey) -> Option<Self> {
        let point = key.to_sec1_point(false);
        let mut der = [0; 91];
        der[..SPKI_HEAD.len()].copy_from_slice(&SPKI_HEAD);
        let room = &mut der[SPKI_HEAD.len()..];
        if point.as_bytes().len() != room.len() {
            return None;
        }
        room.copy_from_slice(point.as_bytes());
        Some(Self(der))
    }
}

impl Kid {
    /// # Errors
    /// [`KeyError::NotAKid`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(KeyError::NotAKid);
        }
        let mut kid = [0; 32];
        for (byte, pair) in kid.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (hex_digit(pair[0]), hex_digit(pair[1])) else {
                return Err(KeyError::NotAKid);
            };
            *byte = high << 4 | low;
        }
        Ok(Self(kid))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey(kid {})", self.kid())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature")
    }
}

impl VerifyEs256 for P256 {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        // A high s is accepted: modems do not normalise it.
        let (Some(key), Ok(signature)) = (
            key.verifying_key(),
            p256::ecdsa::Signature::from_slice(&signature.0),
        ) else {
            return false;
        };
        key.verify(message, &signature).is_ok()
    }
}

/// The public keys under which `signature` over `message` holds: two, or none when r is no x coordinate (§2.3).
pub fn recover(message: &[u8], signature: &Signature) -> Vec<PublicKey> {
    let Ok(signature) = p256::ecdsa::Signature::from_slice(&signature.0) else {
        return Vec::new();
    };
    let digest = Sha256::digest(message);
    // Ids 0 and 1 take x = r, 2 and 3 take x = r + n, which exists for about one signature in 2^128.
    (0..=RecoveryId::MAX)
        .filter_map(RecoveryId::from_byte)
        .filter_map(|id| VerifyingKey::recover_from_prehash(&digest, &signature, id).ok())
        .filter_map(|key| PublicKey::from_verifying_key(&key))
        .collect()
}

/// base64url without padding (RFC 4648 §5).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64url without padding; one spelling only (unused bits must be zero).
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// What precedes the point in every P-256 SubjectPublicKeyInfo (RFC 5480 §2.1.1, §2.2).
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// First byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 0x04;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use p256::ecdsa::signature::Signer;

    #[test]
    fn low_and_high_s_hold_and_lead_to_the_same_keys() {
        let secret = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let key = PublicKey::from_verifying_key(secret.verifying_key()).unwrap();
        let signature: p256::ecdsa::Signature = secret.sign(b"message");
        let (r, s) = signature.split_scalars();
        let other = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
        for signature in [signature, other] {
            let signature = Signature(signature.to_bytes().into());
            assert!(P256.verify(&key, b"message", &signature));
            assert!(!P256.verify(&key, b"massage", &signature));
            let found = recover(b"message", &signature);
            assert!(found.len() == 2 && found.contains(&key));
        }
    }
}
