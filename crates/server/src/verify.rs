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
