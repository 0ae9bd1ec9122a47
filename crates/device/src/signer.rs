//! A TLS client key that stays in the modem: the handshake borrows a signature (design: `TagSigner`). And who has no modem.

use std::sync::Arc;

use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::CertificateDer;
use sectag_modem::{SignerError, TagSigner};
use sectag_proto::es256::PublicKey;
use sectag_proto::{CredentialType, SecTag};

/// A certificate chain whose key is the one under `tag`.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    signer: Arc<dyn TagSigner>,
    tag: SecTag,
) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey::new(chain, Arc::new(TagKey { signer, tag })))
}

#[derive(Debug, Clone)]
struct TagKey {
    signer: Arc<dyn TagSigner>,
    tag: SecTag,
}

impl SigningKey for TagKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TagKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signer
            .sign(self.tag, message)
            .map(|signature| der_of(&signature))
            .map_err(|error| rustls::Error::General(format!("sec tag {}: {error}", self.tag)))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// A signer without sec tags, for links that ask for none: plain TCP, or credentials in files.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTags;

impl NoTags {
    fn missing<T>(tag: SecTag, credential: CredentialType) -> Result<T, SignerError> {
        Err(SignerError::Missing { tag, credential })
    }
}

impl TagSigner for NoTags {
    fn sign(&self, tag: SecTag, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Self::missing(tag, CredentialType::CLIENT_PRIVATE_KEY)
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        Self::missing(tag, CredentialType::CLIENT_PRIVATE_KEY)
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        Self::missing(tag, CredentialType::CLIENT_CERTIFICATE)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        Self::missing(tag, CredentialType::ROOT_CA)
    }
}

/// r‖s, as COSE and JOSE have it, to the DER sequence of two integers that TLS wants (RFC 3279 §2.2.3).
fn der_of(signature: &[u8; 64]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let (r, s) = (integer(r), integer(s));
    let length = r.len() + s.len();
    let mut der = Vec::with_capacity(2 + length);
    der.push(0x30);
    // At most 2 × 35 bytes, so the short form holds it.
    der.push(u8::try_from(length).unwrap_or(u8::MAX));
    der.extend_from_slice(&r);
    der.extend_from_slice(&s);
    der
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zeros.min(bytes.len() - 1)..];
    let padded = digits[0] & 0x80 != 0;
    let mut der = Vec::with_capacity(3 + digits.len());
    der.push(0x02);
    der.push(u8::try_from(digits.len() + usize::from(padded)).unwrap_or(u8::MAX));
    if padded {
        der.push(0);
    }
    der.extend_from_slice(digits);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_shortest_and_positive() {
        assert_eq!(integer(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
    }

    #[test]
    fn the_largest_signature_fits_the_short_form() {
        let der = der_of(&[0xff; 64]);
        assert_eq!((der.len(), der[1]), (72, 70));
    }
}
