//! `%ATTESTTOKEN` and `%KEYGEN` outputs: `base64url(body) "." base64url(COSE_Sign1)` (spec/device-protocol §2).

use crate::cose::{Convention, Sign1};
use crate::es256::{
    self, Kid, PublicKey, SignEs256, Signature, VerifyEs256, base64url, from_base64url,
};
use crate::token::body::{AttestationBody, KeygenPayload};
use crate::wire::CborRefusal;
use crate::{DeviceId, FirmwareId, Verified};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use sha2::{Digest, Sha256};

mod body;

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
    #[error(
        "the {part} part is not base64url without padding: a character is wrong, or the text was cut short"
    )]
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
        match self.0 {
            1 => "nrf9160_SIAA".into(),
            2 => "nrf9160_SIBA".into(),
            3 => "nrf9160_SICA".into(),
            4 => "nrf9161_LACA".into(),
            5 => "nrf9131_LACA".into(),
            6 => "nrf9151_LACA".into(),
            other => format!("unknown_{other}"),
        }
    }

    /// The chip as it begins `iss` and `jti` of a JWT: `nRF9160`, `nRF9161`, `nRF9131`, `nRF9151`; the family's
    /// name `nRF91` for an unknown number.
    pub const fn chip(self) -> &'static str {
        match self.0 {
            1..=3 => "nRF9160",
            4 => "nRF9161",
            5 => "nRF9131",
            6 => "nRF9151",
            _ => "nRF91",
        }
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
        let chars = printed(text, "%ATTESTTOKEN:").len();
        let parts = Parts::read(text, "%ATTESTTOKEN:")?;
        let wanted = "an attestation token (`AT%ATTESTTOKEN`)";
        if parts.is_keygen() {
            return Err(TokenError::WrongKind {
                found: "a KEYGEN output",
                wanted,
            });
        }
        if chars > Self::CHARS_MAX {
            return Err(shape(BODY, "longer than any attestation token"));
        }
        let body = &parts.body;
        let fields = AttestationBody::read(body).map_err(|_| shape(BODY, ATTESTATION_BODY))?;
        if fields.message != MESSAGE_ATTESTATION {
            return Err(TokenError::WrongKind {
                found: "another message of a modem",
                wanted,
            });
        }
        if parts.cose.payload.is_some() {
            return Err(shape(
                SIGNATURE,
                "its payload is null in an attestation token",
            ));
        }
        Ok(Self {
            device: fields.device,
            device_type: fields.device_type,
            firmware: fields.firmware,
            nonce: fields.nonce,
            body: parts.body,
            cose: parts.cose,
        })
    }

    /// All keys that can have signed it: two per convention, four in all; never the convention that leaves the body out.
    ///
    /// # Errors
    /// [`TokenError::NoKey`] when there is none.
    pub fn candidates(&self) -> Result<Vec<Candidate>, TokenError> {
        let candidates = candidates(&self.cose, |convention| self.to_be_signed(convention));
        if candidates.is_empty() {
            return Err(TokenError::NoKey);
        }
        Ok(candidates)
    }

    /// What the signature covers under `convention`; both forms hold the whole body.
    pub fn to_be_signed(&self, convention: Convention) -> Vec<u8> {
        match convention {
            Convention::BodyIsAad => Sign1::to_be_signed(&self.body, None),
            Convention::EmptyAad => Sign1::to_be_signed(&[], Some(&self.body)),
        }
    }

    /// # Errors
    /// [`TokenError::Signature`], [`TokenError::BodyNotCovered`].
    pub fn verify(
        &self,
        key: &PublicKey,
        verifier: &dyn VerifyEs256,
    ) -> Result<Convention, TokenError> {
        if let Some(convention) = convention_of(&self.cose, key, verifier, |convention| {
            self.to_be_signed(convention)
        }) {
            return Ok(convention);
        }
        let without_body = Sign1::to_be_signed(&[], None);
        if verifier.verify(key, &without_body, &self.cose.signature) {
            return Err(TokenError::BodyNotCovered);
        }
        Err(TokenError::Signature)
    }

    /// As [`AttestationToken::verify`], and says whose it is. That the device itself shows the token, and shows it today, is
    /// not proven: it never changes.
    ///
    /// # Errors
    /// As [`AttestationToken::verify`].
    pub fn verified_device(
        &self,
        key: &PublicKey,
        verifier: &dyn VerifyEs256,
    ) -> Result<Verified<DeviceId>, TokenError> {
        self.verify(key, verifier)?;
        Ok(Verified::kept(self.device))
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
        let body = AttestationBody {
            message: MESSAGE_ATTESTATION,
            device,
            device_type,
            firmware,
            nonce,
        }
        .write();
        let mut token = Self {
            device,
            device_type,
            firmware,
            nonce,
            body,
            cose: unsigned(None),
        };
        token.cose.signature = key.sign(&token.to_be_signed(convention));
        token
    }

    /// The text as printed, without quotes.
    pub fn text(&self) -> String {
        two_parts(&self.body, &self.cose)
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
    /// Longest text accepted, in characters: the host library's largest answer buffer.
    pub const CHARS_MAX: usize = 4096;

    /// Parses the text (surrounding blanks, quotes, `%KEYGEN:` and a final `OK` line tolerated).
    ///
    /// # Errors
    /// [`TokenError`]: `Parts`, `Base64`, `Shape`, `WrongKind`.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let parts = Parts::read(text, "%KEYGEN:")?;
        let Some(payload) = &parts.cose.payload else {
            let wanted = "a KEYGEN output";
            return Err(match AttestationBody::read(&parts.body) {
                Ok(_) => TokenError::WrongKind {
                    found: "an attestation token",
                    wanted,
                },
                Err(_) => shape(SIGNATURE, "its payload is a byte string in a KEYGEN output"),
            });
        };
        let fields = KeygenPayload::read(payload).map_err(|_| shape(SIGNATURE, KEYGEN_PAYLOAD))?;
        let kind = match fields.message {
            MESSAGE_PUBLIC_KEY => KeygenBody::PublicKey,
            MESSAGE_CSR => KeygenBody::Csr,
            _ => {
                return Err(TokenError::WrongKind {
                    found: "another message of a modem",
                    wanted: "a KEYGEN output",
                });
            }
        };
        Ok(Self {
            kind,
            device: fields.device,
            sec_tag: fields.sec_tag,
            digest: fields.digest,
            nonce: fields.nonce,
            body: parts.body,
            cose: parts.cose,
        })
    }

    /// All keys that can have signed it, both conventions.
    pub fn candidates(&self) -> Vec<Candidate> {
        candidates(&self.cose, |convention| self.to_be_signed(convention))
    }

    /// What the signature covers under `convention`: the payload, which holds the body's digest, in both.
    pub fn to_be_signed(&self, convention: Convention) -> Vec<u8> {
        let external_aad = match convention {
            Convention::BodyIsAad => self.body.as_slice(),
            Convention::EmptyAad => &[],
        };
        Sign1::to_be_signed(external_aad, self.cose.payload.as_deref())
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
        if self.digest != <[u8; 32]>::from(Sha256::digest(&self.body)) {
            return Err(TokenError::Digest);
        }
        convention_of(&self.cose, key, verifier, |convention| {
            self.to_be_signed(convention)
        })
        .ok_or(TokenError::Signature)
    }

    /// Makes one, as a modem does.
    pub fn sign(
        kind: KeygenBody,
        device: DeviceId,
        sec_tag: u32,
        nonce: [u8; 16],
        body: Vec<u8>,
        convention: Convention,
        key: &dyn SignEs256,
    ) -> Self {
        let digest = Sha256::digest(&body).into();
        let payload = KeygenPayload {
            message: match kind {
                KeygenBody::PublicKey => MESSAGE_PUBLIC_KEY,
                KeygenBody::Csr => MESSAGE_CSR,
            },
            device,
            sec_tag,
            digest,
            nonce,
        }
        .write();
        let mut output = Self {
            kind,
            device,
            sec_tag,
            digest,
            nonce,
            body,
            cose: unsigned(Some(payload)),
        };
        output.cose.signature = key.sign(&output.to_be_signed(convention));
        output
    }

    /// The text as printed, without quotes.
    pub fn text(&self) -> String {
        two_parts(&self.body, &self.cose)
    }

    /// Only the base64url body, as recorded owner answers show it.
    pub fn body_text(&self) -> String {
        base64url(&self.body)
    }

    /// Only the base64url COSE part.
    pub fn cose_text(&self) -> String {
        base64url(&self.cose.encode())
    }
}

/// Body and COSE part of any token.
struct Parts {
    body: Vec<u8>,
    cose: Sign1,
}

impl Parts {
    fn read(text: &str, prefix: &str) -> Result<Self, TokenError> {
        let text = printed(text, prefix);
        if text.len() > KeygenOutput::CHARS_MAX {
            return Err(shape(BODY, "longer than any answer of a modem"));
        }
        let Some((body, cose)) = text.split_once('.').filter(|(_, cose)| !cose.contains('.'))
        else {
            return Err(TokenError::Parts {
                parts: text.split('.').count(),
            });
        };
        let body = from_base64url(body).ok_or(TokenError::Base64 { part: BODY })?;
        let cose = from_base64url(cose).ok_or(TokenError::Base64 { part: SIGNATURE })?;
        let cose = Sign1::decode(&cose).map_err(|refusal| {
            shape(
                SIGNATURE,
                match refusal {
                    CborRefusal::Truncated { .. } => "it was cut short",
                    CborRefusal::TrailingBytes { .. } => "there is more text behind its end",
                    _ => COSE_SIGN1,
                },
            )
        })?;
        if body.is_empty() {
            return Err(shape(BODY, "it is empty"));
        }
        Ok(Self { body, cose })
    }

    fn is_keygen(&self) -> bool {
        self.cose.payload.as_deref().is_some_and(|payload| {
            KeygenPayload::read(payload)
                .is_ok_and(|fields| matches!(fields.message, MESSAGE_PUBLIC_KEY | MESSAGE_CSR))
        })
    }
}

/// The token inside what people paste: without blanks, the answer's prefix, its final `OK`, and quotes.
fn printed<'a>(text: &'a str, prefix: &str) -> &'a str {
    let text = text.trim();
    let text = text.strip_prefix(prefix).unwrap_or(text).trim_start();
    let text = match text.strip_suffix("OK") {
        Some(before) if before.ends_with(['\r', '\n']) => before.trim_end(),
        _ => text,
    };
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

fn two_parts(body: &[u8], cose: &Sign1) -> String {
    format!("{}.{}", base64url(body), base64url(&cose.encode()))
}

fn unsigned(payload: Option<Vec<u8>>) -> Sign1 {
    Sign1 {
        key_id: vec![Sign1::IDENTITY_KEY_ID],
        payload,
        signature: Signature([0; 64]),
    }
}

fn candidates(cose: &Sign1, to_be_signed: impl Fn(Convention) -> Vec<u8>) -> Vec<Candidate> {
    CONVENTIONS
        .into_iter()
        .flat_map(|convention| {
            es256::recover(&to_be_signed(convention), &cose.signature)
                .into_iter()
                .map(move |key| Candidate {
                    kid: key.kid(),
                    key,
                    convention,
                })
        })
        .collect()
}

fn convention_of(
    cose: &Sign1,
    key: &PublicKey,
    verifier: &dyn VerifyEs256,
    to_be_signed: impl Fn(Convention) -> Vec<u8>,
) -> Option<Convention> {
    CONVENTIONS
        .into_iter()
        .find(|convention| verifier.verify(key, &to_be_signed(*convention), &cose.signature))
}

const fn shape(part: &'static str, reason: &'static str) -> TokenError {
    TokenError::Shape { part, reason }
}

/// The conventions accepted, the verified one first (spec/device-protocol §2.2).
const CONVENTIONS: [Convention; 2] = [Convention::BodyIsAad, Convention::EmptyAad];
/// First item of an attestation body.
const MESSAGE_ATTESTATION: u32 = 1;
/// First item of a KEYGEN payload over a SubjectPublicKeyInfo.
const MESSAGE_PUBLIC_KEY: u32 = 8;
/// First item of a KEYGEN payload over a CSR.
const MESSAGE_CSR: u32 = 9;
const BODY: &str = "body";
const SIGNATURE: &str = "signature";
const COSE_SIGN1: &str =
    "expected COSE_Sign1 with ES256: 18([h'a10126', {4: kid}, payload, 64 bytes])";
const ATTESTATION_BODY: &str =
    "expected CBOR 55799([1, device uuid, device type, firmware uuid, nonce])";
const KEYGEN_PAYLOAD: &str =
    "expected a CBOR payload 55799([8 or 9, device uuid, sec tag, sha256, nonce])";
