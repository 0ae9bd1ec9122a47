//! What the stories share: a key that signs, one that replays a recorded signature, and hex.
#![allow(dead_code, reason = "each story uses a part")]
#![allow(clippy::unwrap_used, unreachable_pub)]

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};

/// A P-256 private key.
pub struct TestKey(SigningKey);

impl TestKey {
    /// From the private scalar.
    pub fn from_bytes(scalar: &[u8]) -> Self {
        Self(SigningKey::from_slice(scalar).unwrap())
    }

    /// One key per number.
    pub fn numbered(number: u8) -> Self {
        let mut scalar = [0x5a; 32];
        scalar[31] = number;
        Self::from_bytes(&scalar)
    }

    /// PKCS#8, for libraries that sign by themselves.
    pub fn pkcs8_der(&self) -> Vec<u8> {
        use p256::pkcs8::EncodePrivateKey;
        self.0.to_pkcs8_der().unwrap().as_bytes().to_vec()
    }
}

impl SignEs256 for TestKey {
    fn sign(&self, message: &[u8]) -> Signature {
        let signature: p256::ecdsa::Signature = self.0.sign(message);
        Signature(signature.to_bytes().into())
    }

    fn public_key(&self) -> PublicKey {
        use p256::pkcs8::EncodePublicKey;
        let der = self.0.verifying_key().to_public_key_der().unwrap();
        PublicKey::from_spki_der(der.as_bytes()).unwrap()
    }
}

/// A recorded signature under a recorded key: what is built around it must come out as recorded.
pub struct Recorded {
    pub key: PublicKey,
    pub signature: Signature,
}

impl SignEs256 for Recorded {
    fn sign(&self, _message: &[u8]) -> Signature {
        self.signature
    }

    fn public_key(&self) -> PublicKey {
        self.key.clone()
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "hex of odd length");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
