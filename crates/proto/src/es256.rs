//! ES256 keys and signatures: P-256 with SHA-256, signatures as r‖s of 64 bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

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
        let _ = der;
        todo!()
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
        todo!()
    }
}

impl Kid {
    /// # Errors
    /// [`KeyError::NotAKid`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let _ = text;
        todo!()
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
        let _ = (key, message, signature);
        todo!()
    }
}

/// The public keys under which `signature` over `message` holds: two, or none when r is no x coordinate (§2.3).
pub fn recover(message: &[u8], signature: &Signature) -> Vec<PublicKey> {
    let _ = (message, signature);
    todo!()
}

/// base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let _ = bytes;
    todo!()
}
