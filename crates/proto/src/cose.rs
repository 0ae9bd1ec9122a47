//! The one COSE_Sign1 structure that modems print (spec/device-protocol §2.1, RFC 9052 §4.4).

use crate::cbor::{self, Reader, Writer};
use crate::es256::Signature;
use crate::wire::CborRefusal;
use alloc::vec::Vec;
use core::convert::Infallible;
use minicbor::data::Tag;

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
    /// CBOR for -2, "identity key".
    pub const IDENTITY_KEY_ID: u8 = 0x21;

    /// The to-be-signed bytes: `["Signature1", h'a10126', external_aad, payload]`.
    pub fn to_be_signed(external_aad: &[u8], payload: Option<&[u8]>) -> Vec<u8> {
        let mut out = cbor::writer();
        out.array(4)
            .and_then(|out| out.str("Signature1"))
            .and_then(|out| out.bytes(&PROTECTED))
            .and_then(|out| out.bytes(external_aad))
            .and_then(|out| bytes_or_null(out, payload))
            .expect(cbor::IN_MEMORY);
        out.into_writer()
    }

    /// As CBOR with tag 18.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = cbor::writer();
        out.tag(Tag::new(TAG))
            .and_then(|out| out.array(4))
            .and_then(|out| out.bytes(&PROTECTED))
            .and_then(|out| out.map(1))
            .and_then(|out| out.u8(HEADER_KEY_ID))
            .and_then(|out| out.bytes(&self.key_id))
            .and_then(|out| bytes_or_null(out, self.payload.as_deref()))
            .and_then(|out| out.bytes(&self.signature.0))
            .expect(cbor::IN_MEMORY);
        out.into_writer()
    }

    /// Reads exactly what [`Sign1::encode`] writes: tagged, ES256 only, one unprotected header.
    ///
    /// # Errors
    /// The first place that differs.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborRefusal> {
        let mut input = Reader::new(bytes);
        input.tag(TAG, "tag 18 (COSE_Sign1)")?;
        let at = input.at();
        match input.array("array of four (COSE_Sign1)")? {
            4 => {}
            items => {
                return Err(CborRefusal::WrongItemCount {
                    what: "COSE_Sign1",
                    items,
                    at,
                });
            }
        }
        let at = input.at();
        if input.bytes("protected header")? != PROTECTED {
            return Err(CborRefusal::Unexpected {
                expected: "protected header {1: -7} (ES256)",
                at,
            });
        }
        let at = input.at();
        let one_key_id = CborRefusal::Unexpected {
            expected: "unprotected header {4: key id}",
            at,
        };
        if input.map("unprotected header")? != 1
            || input.u32("header number")? != u32::from(HEADER_KEY_ID)
        {
            return Err(one_key_id);
        }
        let key_id = input.bytes("key id")?.to_vec();
        let payload = input.bytes_or_null("payload")?.map(<[u8]>::to_vec);
        let signature = Signature(input.byte_array("signature of 64 bytes")?);
        input.end()?;
        Ok(Self {
            key_id,
            payload,
            signature,
        })
    }
}

fn bytes_or_null<'a>(
    out: &'a mut Writer,
    bytes: Option<&[u8]>,
) -> Result<&'a mut Writer, minicbor::encode::Error<Infallible>> {
    match bytes {
        Some(bytes) => out.bytes(bytes),
        None => out.null(),
    }
}

/// COSE_Sign1, RFC 9052 §2.
const TAG: u64 = 18;
/// `{1: -7}`: ES256.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x26];
/// Header parameter "kid", RFC 9052 §3.1.
const HEADER_KEY_ID: u8 = 4;
