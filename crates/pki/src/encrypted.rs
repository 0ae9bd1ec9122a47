//! Encrypted private keys: PKCS#8's EncryptedPrivateKeyInfo (RFC 5958 §3) by PBES2 (RFC 8018 §6.2).
//!
//! ```text
//!   passphrase, salt ──PBKDF2-HMAC-SHA-256, 600 000 rounds──► key ──AES-256-CBC, PKCS#7 padding──► the key
//! ```
//! Written so, and read also with SHA-1, SHA-512, AES-128 and other counts of rounds, as OpenSSL and step write them.
//! The primitives are aws-lc's; what is here is the dozen of DER elements around them.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::der::{INTEGER, OCTET_STRING, OID, SEQUENCE, element, only, take};
use crate::{PkiError, pem};

/// What OWASP's cheat sheet on storing passwords asks for with SHA-256.
const ROUNDS: u32 = 600_000;
/// More would be a way to keep us busy: at 1 µs each these are ten seconds.
const ROUNDS_MAX: u32 = 10_000_000;
const SALT_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;

/// 1.2.840.113549.1.5.13
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
/// 1.2.840.113549.1.5.12
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// 1.2.840.113549.2.7, .9, .11
const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 7];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];
const HMAC_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 11];
/// 2.16.840.1.101.3.4.1.2 and .42
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
const NULL: &[u8] = &[5, 0];

/// Does this PEM text begin with a private key that a passphrase protects? The old form with a `Proc-Type` line counts.
pub(crate) fn is_encrypted(text: &str) -> bool {
    let encrypted = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----");
    let plain = text.find("PRIVATE KEY-----").unwrap_or(usize::MAX);
    encrypted.is_some_and(|at| at < plain) || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// PKCS#8 in, PEM out.
pub(crate) fn encrypt(pkcs8: &[u8], passphrase: &[u8]) -> Result<String, PkiError> {
    let failed = || PkiError::Crypto {
        action: "encrypt a private key",
        source: None,
    };
    let (mut salt, mut iv) = ([0; SALT_BYTES], [0; BLOCK_BYTES]);
    let random = SystemRandom::new();
    random.fill(&mut salt).map_err(|_| failed())?;
    random.fill(&mut iv).map_err(|_| failed())?;
    let mut key = Zeroizing::new([0; 32]);
    let rounds = NonZeroU32::new(ROUNDS).ok_or_else(failed)?;
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        &salt,
        passphrase,
        key.as_mut(),
    );
    // Room for the padding, so that the clear text is never left behind by growing; it is encrypted in place.
    let mut bytes = Vec::with_capacity(pkcs8.len() + BLOCK_BYTES);
    bytes.extend_from_slice(pkcs8);
    let cipher = UnboundCipherKey::new(&AES_256, key.as_ref()).map_err(|_| failed())?;
    PaddedBlockEncryptingKey::cbc_pkcs7(cipher)
        .and_then(|cipher| {
            let context = EncryptionContext::Iv128(FixedLength::from(iv));
            cipher.less_safe_encrypt(&mut bytes, context)
        })
        .map_err(|_| failed())?;
    let sequence = |parts: &[&[u8]]| element(SEQUENCE, parts);
    let oid = |oid: &[u8]| element(OID, &[oid]);
    let derivation = sequence(&[
        &oid(PBKDF2),
        &sequence(&[
            &element(OCTET_STRING, &[&salt]),
            &element(INTEGER, &[trimmed(&ROUNDS.to_be_bytes())]),
            &sequence(&[&oid(HMAC_SHA256), NULL]),
        ]),
    ]);
    let scheme = sequence(&[&oid(AES_256_CBC), &element(OCTET_STRING, &[&iv])]);
    let algorithm = sequence(&[&oid(PBES2), &sequence(&[&derivation, &scheme])]);
    let whole = sequence(&[&algorithm, &element(OCTET_STRING, &[&bytes])]);
    Ok(pem::encode("ENCRYPTED PRIVATE KEY", &whole))
}

/// A positive number without leading zero bytes; the constants here never need a sign byte.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(0);
    &bytes[start..]
}

/// PEM in, PKCS#8 out.
pub(crate) fn decrypt(text: &str, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let der = pem::decode("ENCRYPTED PRIVATE KEY", text).ok_or_else(|| {
        PkiError::malformed(
            "encrypted private key",
            "it is not in PKCS#8; convert it: `openssl pkcs8 -topk8 -in FILE`",
        )
    })?;
    decrypt_der(&der, passphrase)
}

fn decrypt_der(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let scheme = Scheme::read(der)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    let key = &mut key[..scheme.key_bytes];
    pbkdf2::derive(scheme.digest, scheme.rounds, scheme.salt, passphrase, key);
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let mut bytes = Zeroizing::new(scheme.content.to_vec());
    let clear = UnboundCipherKey::new(algorithm, key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .and_then(|cipher| {
            let context = DecryptionContext::Iv128(FixedLength::from(scheme.iv));
            cipher.decrypt(&mut bytes, context).map(|clear| clear.len())
        })
        .map_err(|_| PkiError::Passphrase)?;
    bytes.truncate(clear);
    Ok(bytes)
}

/// How a key was encrypted, and what became of it.
struct Scheme<'a> {
    digest: pbkdf2::Algorithm,
    salt: &'a [u8],
    rounds: NonZeroU32,
    key_bytes: usize,
    iv: [u8; BLOCK_BYTES],
    content: &'a [u8],
}

impl<'a> Scheme<'a> {
    fn read(der: &'a [u8]) -> Result<Self, PkiError> {
        let unusual = |why: &str| PkiError::malformed("encrypted private key", why);
        let broken = || unusual("its structure is not PKCS#8");
        let whole = only(SEQUENCE, der).ok_or_else(broken)?;
        let (algorithm, rest) = tagged(SEQUENCE, whole.content).ok_or_else(broken)?;
        let (content, _) = tagged(OCTET_STRING, rest).ok_or_else(broken)?;
        let (name, parameters) = tagged(OID, algorithm).ok_or_else(broken)?;
        if name != PBES2 {
            return Err(unusual(
                "it is encrypted by a scheme other than PBES2; write it again: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE`",
            ));
        }
        let parameters = only(SEQUENCE, parameters).ok_or_else(broken)?.content;
        let (derivation, rest) = tagged(SEQUENCE, parameters).ok_or_else(broken)?;
        let (cipher, _) = tagged(SEQUENCE, rest).ok_or_else(broken)?;

        let (name, parameters) = tagged(OID, derivation).ok_or_else(broken)?;
        if name != PBKDF2 {
            return Err(unusual(
                "its key is derived by another function than PBKDF2; write it again: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE`",
            ));
        }
        let parameters = only(SEQUENCE, parameters).ok_or_else(broken)?.content;
        let (salt, rest) = tagged(OCTET_STRING, parameters).ok_or_else(broken)?;
        let (rounds, mut rest) = tagged(INTEGER, rest).ok_or_else(broken)?;
        let rounds = number(rounds)
            .and_then(NonZeroU32::new)
            .filter(|rounds| rounds.get() <= ROUNDS_MAX)
            .ok_or_else(|| unusual("its count of rounds is not between 1 and 10 000 000"))?;
        if let Some((_, after)) = tagged(INTEGER, rest) {
            rest = after; // the length of the key, which the cipher says as well
        }
        let digest = match rest {
            [] => HMAC_SHA1,
            rest => {
                let function = only(SEQUENCE, rest).ok_or_else(broken)?.content;
                tagged(OID, function).ok_or_else(broken)?.0
            }
        };
        let digest = match digest {
            HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
            HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
            HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(unusual("its key is derived with an unknown digest")),
        };

        let (name, parameters) = tagged(OID, cipher).ok_or_else(broken)?;
        let key_bytes = match name {
            AES_128_CBC => 16,
            AES_256_CBC => 32,
            _ => {
                return Err(unusual(
                    "its cipher is neither AES-256-CBC nor AES-128-CBC; write it again: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE`",
                ));
            }
        };
        let iv = only(OCTET_STRING, parameters).ok_or_else(broken)?.content;
        Ok(Self {
            digest,
            salt,
            rounds,
            key_bytes,
            iv: iv.try_into().map_err(|_| broken())?,
            content,
        })
    }
}

/// The content of the first element, which has this tag, and what follows it.
fn tagged(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    take(bytes)
        .filter(|(element, _)| element.tag == tag)
        .map(|(element, rest)| (element.content, rest))
}

/// A positive integer of at most four bytes.
fn number(bytes: &[u8]) -> Option<u32> {
    let bytes = match bytes {
        [] => return None,
        [first, ..] if first & 0x80 != 0 => return None,
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn der() -> Vec<u8> {
        static ONCE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let make = || {
            let text = encrypt(b"a secret", b"open").unwrap();
            pem::decode("ENCRYPTED PRIVATE KEY", &text).unwrap()
        };
        ONCE.get_or_init(make).clone()
    }

    #[test]
    fn the_same_key_is_never_written_alike() {
        let again = encrypt(b"a secret", b"open").unwrap();
        assert_ne!(pem::decode("ENCRYPTED PRIVATE KEY", &again).unwrap(), der());
    }

    #[test]
    fn a_count_of_rounds_that_would_never_end_is_refused() {
        let der = der();
        let (rounds, more) = ([2, 3, 0x09, 0x27, 0xc0], [2, 3, 0x7f, 0xff, 0xff]);
        assert_eq!(number(&rounds[2..]), Some(ROUNDS));
        let at = der.windows(5).position(|w| w == rounds).unwrap();
        let mut changed = der.clone();
        changed[at..at + 5].copy_from_slice(&more);
        assert!(Scheme::read(&changed).is_ok());
        let scheme = Scheme::read(&der).unwrap();
        assert_eq!((scheme.rounds.get(), scheme.key_bytes), (ROUNDS, 32));
        for bytes in [&[][..], &[0x80], &[1, 2, 3, 4, 5]] {
            assert_eq!(number(bytes), None);
        }
        assert_eq!(number(&[0, 0xff]), Some(255));
    }

    #[test]
    fn what_is_not_pbes2_says_so() {
        let mut other = der();
        let at = other.windows(PBES2.len()).position(|w| w == PBES2).unwrap();
        other[at + PBES2.len() - 1] = 10;
        let e = decrypt_der(&other, b"open").unwrap_err();
        assert!(e.to_string().contains("other than PBES2"), "{e}");
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        assert!(is_encrypted(old));
        assert!(
            decrypt(old, b"x")
                .unwrap_err()
                .to_string()
                .contains("topk8")
        );
    }

    proptest! {
        #[test]
        fn any_change_is_an_error_or_another_scheme(at in 0_usize..150, to in any::<u8>()) {
            let mut der = der();
            let at = at % der.len();
            der[at] = to;
            let _ = Scheme::read(&der);
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Scheme::read(&bytes).is_err());
        }
    }
}
