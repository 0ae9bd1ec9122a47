//! The one COSE_Sign1 structure that modems print (spec/device-protocol §2.1, RFC 9052 §4.4).

use crate::es256::Signature;
use alloc::vec::Vec;

/// `18([h'a10126', {4: kid}, payload, bstr64])`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign1 {
    /// Content of the unprotected key id: `h'21'`, CBOR for -2, "identity key".
    pub key_id: Vec<u8>,
    /// `None` = CBOR null (ATTESTTOKEN), a byte string for KEYGEN.
    pub payload: Option<Vec<u8>>,
    /// r‖s.
    pub signature: Signature,
}

/// Which of the two field conventions the signature covers (spec/device-protocol §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Convention {
    /// external_aad is the body; ATTESTTOKEN: payload null.
    BodyIsAad,
    /// external_aad is empty; ATTESTTOKEN: payload = bstr(body).
    EmptyAad,
}

impl Sign1 {
    /// The to-be-signed bytes: `["Signature1", h'a10126', external_aad, payload]`.
    pub fn to_be_signed(external_aad: &[u8], payload: Option<&[u8]>) -> Vec<u8> {
        let _ = (external_aad, payload);
        todo!()
    }

    /// As CBOR with tag 18.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}
