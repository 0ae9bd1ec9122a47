//! P-256 private keys: made from injected randomness or read from PEM, used for signing, never printed.

use std::fmt;

use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature as EcdsaSignature, SigningKey};
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use zeroize::Zeroizing;

/// A private key. `Debug` shows its kid, which is public.
#[derive(Clone)]
pub(crate) struct PrivateKey {
    signing: SigningKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Draws a scalar; numbers outside the group order are drawn again.
    pub(crate) fn generate(entropy: &mut dyn FnMut(&mut [u8])) -> Option<Self> {
        // A draw fails with probability 2^-32; a source that fails this often is broken.
        for _ in 0..8 {
            let mut scalar = Zeroizing::new([0_u8; 32]);
            entropy(scalar.as_mut_slice());
            if let Some(key) = Self::from_scalar(&scalar) {
                return Some(key);
            }
        }
        None
    }

    /// From the 32 bytes of the scalar, big-endian.
    pub(crate) fn from_scalar(scalar: &[u8; 32]) -> Option<Self> {
        Self::from_secret(&SecretKey::from_slice(scalar).ok()?)
    }

    /// From PEM: PKCS#8 or SEC1, unencrypted, P-256; blanks around it do not matter.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.trim();
        let secret = SecretKey::from_pkcs8_pem(pem)
            .or_else(|_| SecretKey::from_sec1_pem(pem))
            .ok()?;
        Self::from_secret(&secret)
    }

    /// PKCS#8 PEM, with LF line ends.
    pub(crate) fn to_pem(&self) -> Option<Zeroizing<String>> {
        SecretKey::from(self.signing.as_nonzero_scalar())
            .to_pkcs8_pem(LineEnding::LF)
            .ok()
    }

    /// Signs what SHA-256 has made of a message; `None` is for a digest that the curve cannot take, which none is.
    pub(crate) fn sign_digest(&self, digest: &[u8; 32]) -> Option<Signature> {
        let signature: EcdsaSignature = self.signing.sign_prehash(digest).ok()?;
        Some(Signature(signature.to_bytes().into()))
    }

    fn from_secret(secret: &SecretKey) -> Option<Self> {
        let spki = secret.public_key().to_public_key_der().ok()?;
        Some(Self {
            signing: SigningKey::from(secret),
            public: PublicKey::from_spki_der(spki.as_bytes()).ok()?,
        })
    }
}

impl SignEs256 for PrivateKey {
    fn sign(&self, message: &[u8]) -> Signature {
        let signature: EcdsaSignature = self.signing.sign(message);
        Signature(signature.to_bytes().into())
    }

    fn public_key(&self) -> PublicKey {
        self.public.clone()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(kid {})", self.public.kid())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_proto::es256::{P256, VerifyEs256};

    #[test]
    fn a_signature_holds_under_the_public_half() {
        let key = PrivateKey::generate(&mut *crate::seeded(1)).unwrap();
        assert!(P256.verify(&key.public_key(), b"hello", &key.sign(b"hello")));
        assert!(!P256.verify(&key.public_key(), b"hullo", &key.sign(b"hello")));
    }

    #[test]
    fn a_digest_signs_as_its_message() {
        let key = PrivateKey::generate(&mut *crate::seeded(1)).unwrap();
        let digest = <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(b"hello"));
        let signature = key.sign_digest(&digest).unwrap();
        assert!(P256.verify(&key.public_key(), b"hello", &signature));
    }

    #[test]
    fn a_key_survives_its_pem() {
        let key = PrivateKey::generate(&mut *crate::seeded(2)).unwrap();
        let again = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(key.public_key(), again.public_key());
    }

    #[test]
    fn a_broken_source_of_randomness_ends_instead_of_looping() {
        assert!(PrivateKey::generate(&mut |bytes| bytes.fill(0)).is_none());
        assert!(PrivateKey::generate(&mut |bytes| bytes.fill(0xff)).is_none());
    }

    #[test]
    fn debug_shows_no_key() {
        let key = PrivateKey::from_scalar(&[7; 32]).unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains("0707"), "{shown}");
    }
}
