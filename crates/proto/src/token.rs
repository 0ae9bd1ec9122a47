//! `%ATTESTTOKEN` and `%KEYGEN` outputs: `base64url(body) "." base64url(COSE_Sign1)` (spec/device-protocol §2).

use crate::cose::{Convention, Sign1};
use crate::es256::{Kid, PublicKey, SignEs256, VerifyEs256};
use crate::{DeviceId, FirmwareId};
use alloc::string::String;
use alloc::vec::Vec;

/// Why a token text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not two parts with a dot.
    #[error("a token has two parts with one dot between them; this has {parts}")]
    Parts {
        /// Parts found.
        parts: usize,
    },
    /// A part is not base64url without padding.
    #[error("the {part} part is not base64url without padding")]
    Base64 {
        /// "body" or "signature".
        part: &'static str,
    },
    /// A part does not have the CBOR that it should have.
    #[error("the {part} part is not what a modem prints: {reason}")]
    Shape {
        /// "body" or "signature".
        part: &'static str,
        /// In words.
        reason: &'static str,
    },
    /// It parses as the other thing.
    #[error("this is {found}; only {wanted} can be used here")]
    WrongKind {
        /// e.g. "a KEYGEN output"
        found: &'static str,
        /// e.g. "an attestation token (`AT%ATTESTTOKEN`)"
        wanted: &'static str,
    },
    /// No public key can have made this signature.
    #[error("the signature was made by no key: altered, cut short, or an example from a page")]
    NoKey,
    /// The signature does not hold under the key given, in any accepted convention.
    #[error("the signature does not hold under the device's key")]
    Signature,
    /// Signed by the convention (empty external_aad, null payload) that does not cover the body.
    #[error("the signature does not cover the body")]
    BodyNotCovered,
    /// sha256(body) differs from the digest in the signed payload.
    #[error("the body's SHA-256 differs from the signed digest")]
    Digest,
}

/// One key that may have signed a token, and under which convention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The key.
    pub key: PublicKey,
    /// Its kid.
    pub kid: Kid,
    /// The convention under which it was recovered.
    pub convention: Convention,
}

/// A parsed claim token. Parsed, not proven: see [`AttestationToken::candidates`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationToken {
    /// Device UUID.
    pub device: DeviceId,
    /// 1 nRF9160 SIAA … 6 nRF9151 LACA; unknown numbers survive.
    pub device_type: DeviceType,
    /// Modem firmware UUID.
    pub firmware: FirmwareId,
    /// Device random, or the caller's challenge.
    pub nonce: [u8; 16],
    /// The body bytes, which are signed.
    pub body: Vec<u8>,
    /// The signature part.
    pub cose: Sign1,
}

/// The device type number of an attestation body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceType(pub u32);

impl DeviceType {
    /// nRF9151 LACA.
    pub const NRF9151_LACA: Self = Self(6);

    /// Chip, underscore, variant as owners see it: `nrf9160_SICA`; `unknown_<n>` otherwise (spec/owner-api §2.1).
    pub fn owner_name(self) -> String {
        todo!()
    }

    /// The chip as it begins `iss` and `jti` of a JWT: `nRF9160`, `nRF9161`, `nRF9131`, `nRF9151`.
    pub fn chip(self) -> &'static str {
        todo!()
    }
}

impl AttestationToken {
    /// Longest text accepted, in characters: the host library scans 127 per half.
    pub const CHARS_MAX: usize = 255;

    /// Parses the text (surrounding blanks, line ends, quotes and `%ATTESTTOKEN:` tolerated).
    ///
    /// # Errors
    /// [`TokenError`]: `Parts`, `Base64`, `Shape`, `WrongKind`.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let _ = text;
        todo!()
    }

    /// All keys that can have signed it: two per convention, four in all; never the convention that leaves the body out.
    ///
    /// # Errors
    /// [`TokenError::NoKey`] when there is none.
    pub fn candidates(&self) -> Result<Vec<Candidate>, TokenError> {
        todo!()
    }

    /// # Errors
    /// [`TokenError::Signature`], [`TokenError::BodyNotCovered`].
    pub fn verify(
        &self,
        key: &PublicKey,
        verifier: &dyn VerifyEs256,
    ) -> Result<Convention, TokenError> {
        let _ = (key, verifier);
        todo!()
    }

    /// Makes one, as a modem does.
    pub fn sign(
        device: DeviceId,
        device_type: DeviceType,
        firmware: FirmwareId,
        nonce: [u8; 16],
        convention: Convention,
        key: &dyn SignEs256,
    ) -> Self {
        let _ = (device, device_type, firmware, nonce, convention, key);
        todo!()
    }

    /// The text as printed, without quotes.
    pub fn text(&self) -> String {
        todo!()
    }
}

/// What KEYGEN was asked to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeygenBody {
    /// Message 8: 91-byte SubjectPublicKeyInfo.
    PublicKey,
    /// Message 9: PKCS#10 CSR.
    Csr,
}

/// A parsed `%KEYGEN` output. Parsed, not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeygenOutput {
    /// Message 8 or 9.
    pub kind: KeygenBody,
    /// Device UUID in the signed payload.
    pub device: DeviceId,
    /// Sec tag in the signed payload, negative numbers mapped back (+2^32). May lie above [`crate::SecTag::MAX`].
    pub sec_tag: u32,
    /// SHA-256 in the signed payload.
    pub digest: [u8; 32],
    /// Nonce in the signed payload.
    pub nonce: [u8; 16],
    /// The body bytes as printed (for a CSR: not normalised).
    pub body: Vec<u8>,
    /// The signature part.
    pub cose: Sign1,
}

impl KeygenOutput {
    /// Parses the text (surrounding blanks, quotes, `%KEYGEN:` and a final `OK` line tolerated).
    ///
    /// # Errors
    /// [`TokenError`]: `Parts`, `Base64`, `Shape`, `WrongKind`.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let _ = text;
        todo!()
    }

    /// All keys that can have signed it, both conventions.
    pub fn candidates(&self) -> Vec<Candidate> {
        todo!()
    }

    /// Checks the digest over the body, then the signature in both conventions.
    ///
    /// # Errors
    /// [`TokenError::Digest`], [`TokenError::Signature`].
    pub fn verify(
        &self,
        key: &PublicKey,
        verifier: &dyn VerifyEs256,
    ) -> Result<Convention, TokenError> {
        let _ = (key, verifier);
        todo!()
    }

    /// Makes one, as a modem does.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of the signed payload"
    )]
    pub fn sign(
        kind: KeygenBody,
        device: DeviceId,
        sec_tag: u32,
        nonce: [u8; 16],
        body: Vec<u8>,
        convention: Convention,
        key: &dyn SignEs256,
    ) -> Self {
        let _ = (kind, device, sec_tag, nonce, body, convention, key);
        todo!()
    }

    /// The text as printed, without quotes.
    pub fn text(&self) -> String {
        todo!()
    }

    /// Only the base64url body, as recorded owner answers show it.
    pub fn body_text(&self) -> String {
        todo!()
    }

    /// Only the base64url COSE part.
    pub fn cose_text(&self) -> String {
        todo!()
    }
}
