//! What is sealed for the next start: AES-256-GCM under keys derived from the home's, one for each purpose.
//!
//! Form of a sealed value: nonce (12 bytes, random) ‖ ciphertext ‖ tag (16 bytes); the associated data is the purpose.

use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// Bytes that sealing adds.
pub(super) const SEAL_BYTES: usize = NONCE_LEN + MAX_TAG_LEN;

/// Seals and opens for one purpose.
pub(super) struct Seal {
    key: RandomizedNonceKey,
    purpose: &'static str,
}

/// Does not open: another home's, another purpose's, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DoesNotOpen;

impl Seal {
    /// `key` belongs to this purpose alone ([`crate::Home::derived_key`]).
    pub(super) fn new(key: &[u8; 32], purpose: &'static str) -> Self {
        Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, key)
                .expect("AES-256 takes a key of 32 bytes"),
            purpose,
        }
    }

    /// Fails only with the random number generator.
    pub(super) fn seal(&self, mut plain: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, DoesNotOpen> {
        // Room at once where there is none: growing would leave a copy behind in freed memory.
        if plain.capacity() < plain.len() + MAX_TAG_LEN {
            let mut roomy = Zeroizing::new(Vec::with_capacity(plain.len() + MAX_TAG_LEN));
            roomy.extend_from_slice(&plain);
            plain = roomy;
        }
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.purpose.as_bytes()), &mut *plain)
            .map_err(|_| DoesNotOpen)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&plain);
        Ok(sealed)
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(DoesNotOpen)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.purpose.as_bytes()),
                &mut body,
            )
            .map_err(|_| DoesNotOpen)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

/// A piece with its length in front.
pub(super) fn put(bytes: &mut Vec<u8>, piece: &[u8]) {
    let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(piece);
}

/// The next piece of [`put`], and what follows it.
pub(super) fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_under_its_key_and_purpose_only() {
        let seal = Seal::new(&[7; 32], "a");
        let sealed = seal.seal(Zeroizing::new(b"hush".to_vec())).unwrap();
        assert_eq!(sealed.len(), 4 + SEAL_BYTES);
        assert_eq!(seal.open(&sealed).unwrap().as_slice(), b"hush");
        assert_eq!(Seal::new(&[8; 32], "a").open(&sealed), Err(DoesNotOpen));
        assert_eq!(Seal::new(&[7; 32], "b").open(&sealed), Err(DoesNotOpen));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(seal.open(&altered), Err(DoesNotOpen));
            assert_eq!(seal.open(&sealed[..at]), Err(DoesNotOpen));
        }
    }

    #[test]
    fn pieces_come_back_and_a_cut_one_does_not() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"one");
        put(&mut bytes, b"");
        let (one, rest) = take(&bytes).unwrap();
        assert_eq!((one, take(rest)), (&b"one"[..], Some((&b""[..], &b""[..]))));
        assert_eq!(take(&bytes[..6]), None);
        assert_eq!(take(&bytes[..3]), None);
    }
}
