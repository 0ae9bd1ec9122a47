//! ES256 by aws-lc, for the many checks a service makes.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sectag_proto::es256::{PublicKey, Signature, VerifyEs256};

/// [`VerifyEs256`] by aws-lc. Signatures with a high s are accepted: modems do not normalise them.
#[derive(Debug, Clone, Copy, Default)]
pub struct AwsLc;

impl VerifyEs256 for AwsLc {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point())
            .verify(message, &signature.0)
            .is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_pki::PrivateKey;

    /// Order of P-256 (SEC 2 §2.4.2).
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x51,
    ];

    /// r ‖ n − s: holds whenever r ‖ s does.
    fn other_half(signature: [u8; 64]) -> [u8; 64] {
        let mut other = signature;
        let mut borrow = 0;
        for at in (0..32).rev() {
            let difference = i16::from(N[at]) - i16::from(signature[32 + at]) - borrow;
            borrow = i16::from(difference < 0);
            other[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
        other
    }

    #[test]
    fn low_and_high_s_hold_and_nothing_else() {
        let secret = PrivateKey::generate().unwrap();
        let key = PublicKey::from_spki_der(&secret.spki_der()).unwrap();
        let signature = secret.sign(b"message").unwrap();
        let other = other_half(signature);
        assert!(signature != other && other_half(other) == signature);
        // One of the two is the high one.
        for signature in [signature, other] {
            assert!(AwsLc.verify(&key, b"message", &Signature(signature)));
            assert!(!AwsLc.verify(&key, b"massage", &Signature(signature)));
        }
        for end in [[0; 32], N] {
            let mut bad = signature;
            bad[32..].copy_from_slice(&end);
            assert!(!AwsLc.verify(&key, b"message", &Signature(bad)));
        }
    }
}
