//! JWT ES256 as modems make it (spec/device-protocol §3): build, parse, verify. One algorithm, so nothing to confuse.

use crate::es256::{Kid, PublicKey, SignEs256, Signature, VerifyEs256, base64url, from_base64url};
use crate::{DeviceId, FirmwareId, Timestamp};
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

/// Longest lifetime (`exp - iat`) accepted: the library's option allows 0–360 s.
pub const LIFETIME_MAX: Duration = Duration::from_secs(360);
/// Clock difference tolerated at both ends: device time comes from the network (§3).
pub const SKEW_MAX: Duration = Duration::from_secs(300);
/// Longest token text: the client's buffer is 850.
pub const CHARS_MAX: usize = 1024;

/// A check that passed, as a value. Only the token check hands one out, and
/// [`Grants`](crate::service::grants::Grants) that kept one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// A check that passed before the service's orderly restart.
    pub(crate) const fn kept(checked: T) -> Self {
        Self(checked)
    }
}

impl<T: Copy> Verified<T> {
    /// What was verified.
    pub const fn get(&self) -> T {
        self.0
    }
}

/// Why a JWT was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// Not three base64url parts, or too long, or not JSON.
    #[error("not a JWT: {0}")]
    Malformed(&'static str),
    /// `alg` is not ES256.
    #[error("alg `{0}` is not ES256")]
    Algorithm(String),
    /// No `kid`, or not one.
    #[error("no kid: 64 lower-case hex digits of the key's SHA-256 are required")]
    NoKid,
    /// No device UUID after the first dot of `iss`.
    #[error("iss `{0}` has no device UUID after its first dot")]
    NoDevice(String),
    /// No `iat`.
    #[error("no iat")]
    NoIssuedAt,
    /// No `exp`.
    #[error("no exp")]
    NoExpiry,
    /// `exp - iat` above [`LIFETIME_MAX`], or negative.
    #[error("lifetime of {seconds} s (limit 360 s)")]
    Lifetime {
        /// exp − iat.
        seconds: i64,
    },
    /// Past `exp` plus skew.
    #[error("expired {seconds} s ago (skew of 300 s allowed)")]
    Expired {
        /// now − exp.
        seconds: u64,
    },
    /// Before `iat` minus skew.
    #[error("not valid for another {seconds} s (skew of 300 s allowed)")]
    NotYetValid {
        /// iat − now.
        seconds: u64,
    },
    /// `kid` is not the key's.
    #[error("kid {given} is not this device's key")]
    WrongKid {
        /// The kid of the token.
        given: Kid,
    },
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature,
}

/// A parsed JWT; nothing in it is proven. `Debug` leaves the text out: who has it is the device, until it expires.
#[derive(Clone, PartialEq, Eq)]
pub struct UnverifiedJwt {
    text: String,
    device: DeviceId,
    kid: Kid,
    signature: Signature,
    /// The later of `iat` and `nbf`.
    valid_from: Timestamp,
    expires_at: Timestamp,
}

impl UnverifiedJwt {
    /// Parses the compact form and refuses what no key could make acceptable: other algorithms, no `kid`, no `iat`,
    /// no `exp`, a lifetime above 360 s.
    ///
    /// # Errors
    /// [`JwtError`].
    pub fn parse(text: &str) -> Result<Self, JwtError> {
        if text.len() > CHARS_MAX {
            return Err(JwtError::Malformed("longer than any modem prints"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtError::Malformed("not three parts with dots between"));
        };
        let header: Header = from_part(header, "the header is not base64url of a JSON object")?;
        if header.alg != ALGORITHM {
            let shown = header.alg.chars().take(ALGORITHM_SHOWN_MAX).collect();
            return Err(JwtError::Algorithm(shown));
        }
        if header.crit.is_some() {
            return Err(JwtError::Malformed("it demands extensions (crit)"));
        }
        let kid = header.kid.as_deref().map(Kid::parse);
        let Some(Ok(kid)) = kid else {
            return Err(JwtError::NoKid);
        };
        let payload: Payload = from_part(payload, "the payload is not base64url of a JSON object")?;
        let device = device_of(&payload.iss)?;
        let expires_s = payload.exp.ok_or(JwtError::NoExpiry)?;
        let issued_s = payload.iat.ok_or(JwtError::NoIssuedAt)?;
        let lifetime_s = i128::from(expires_s) - i128::from(issued_s);
        if !(0..=i128::from(LIFETIME_MAX.as_secs())).contains(&lifetime_s) {
            let bound = |seconds: i128| seconds.clamp(i64::MIN.into(), i64::MAX.into());
            return Err(JwtError::Lifetime {
                seconds: i64::try_from(bound(lifetime_s)).unwrap_or(i64::MAX),
            });
        }
        let signature: Option<[u8; 64]> =
            from_base64url(signature).and_then(|bytes| bytes.try_into().ok());
        let Some(signature) = signature else {
            return Err(JwtError::Malformed(
                "the signature is not 64 bytes in base64url",
            ));
        };
        Ok(Self {
            text: text.into(),
            device,
            kid,
            signature: Signature(signature),
            valid_from: Timestamp::from_secs(issued_s.max(payload.nbf.unwrap_or(0))),
            expires_at: Timestamp::from_secs(expires_s),
        })
    }

    /// Who it says it is: only good for looking up the key.
    pub const fn claimed_device(&self) -> DeviceId {
        self.device
    }

    /// Which key it says it was signed with: only good for choosing among known candidates.
    pub const fn kid(&self) -> Kid {
        self.kid
    }

    /// SHA-256 of its text: tells whether the same bytes come again, without keeping them.
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// End of its life.
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Checks time, kid and signature under `key`.
    ///
    /// # Errors
    /// [`JwtError`].
    pub fn verify(
        &self,
        key: &PublicKey,
        now: Timestamp,
        verifier: &dyn VerifyEs256,
    ) -> Result<Verified<DeviceId>, JwtError> {
        if self.kid != key.kid() {
            return Err(JwtError::WrongKid { given: self.kid });
        }
        if now > self.expires_at.plus(SKEW_MAX) {
            return Err(JwtError::Expired {
                seconds: now.since(self.expires_at).as_secs(),
            });
        }
        if self.valid_from > now.plus(SKEW_MAX) {
            return Err(JwtError::NotYetValid {
                seconds: self.valid_from.since(now).as_secs(),
            });
        }
        let signed = self.text.rsplit_once('.').map_or("", |(signed, _)| signed);
        if !verifier.verify(key, signed.as_bytes(), &self.signature) {
            return Err(JwtError::Signature);
        }
        Ok(Verified(self.device))
    }
}

impl fmt::Debug for UnverifiedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJwt")
            .field("device", &self.device)
            .field("kid", &self.kid)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a modem puts into a JWT.
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    /// `nRF9151`, …
    pub chip: &'a str,
    /// For `iss`.
    pub device: DeviceId,
    /// For `jti`.
    pub firmware: FirmwareId,
    /// For `jti`.
    pub nonce: [u8; 16],
    /// Seconds; `None` leaves `iat` and `exp` out, as AT level does with delta 0.
    pub validity: Option<(Timestamp, Duration)>,
    /// `sub`; empty leaves it out.
    pub subject: &'a str,
    /// `aud`; empty leaves it out.
    pub audience: &'a str,
}

/// Builds and signs; both JSON texts padded with trailing spaces to a multiple of three bytes.
pub fn sign(claims: &Claims<'_>, key: &dyn SignEs256) -> String {
    let header = format!(
        r#"{{"typ":"JWT","alg":"ES256","kid":"{}"}}"#,
        key.public_key().kid()
    );
    let mut payload = format!(
        r#"{{"iss":{},"jti":{}"#,
        json_text(&format!("{}.{}", claims.chip, claims.device)),
        json_text(&format!(
            "{}.{}.{:032x}",
            claims.chip,
            claims.firmware,
            u128::from_be_bytes(claims.nonce)
        )),
    );
    for (name, value) in [("sub", claims.subject), ("aud", claims.audience)] {
        if !value.is_empty() {
            payload += &format!(r#","{name}":{}"#, json_text(value));
        }
    }
    if let Some((issued, lifetime)) = claims.validity {
        let issued_s = issued.as_secs();
        let expires_s = issued_s.saturating_add(lifetime.as_secs());
        payload += &format!(r#","iat":{issued_s},"exp":{expires_s}"#);
    }
    payload.push('}');
    let signed = format!("{}.{}", padded_part(header), padded_part(payload));
    let signature = base64url(&key.sign(signed.as_bytes()).0);
    format!("{signed}.{signature}")
}

/// Members that decide; all others are ignored (RFC 7519 §4). A member given twice is refused.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11); none is.
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    iss: String,
    iat: Option<u64>,
    exp: Option<u64>,
    nbf: Option<u64>,
}

fn from_part<T: serde::de::DeserializeOwned>(
    part: &str,
    otherwise: &'static str,
) -> Result<T, JwtError> {
    let json = from_base64url(part).ok_or(JwtError::Malformed(otherwise))?;
    // serde would also read a struct from a JSON array; a JWT's texts are objects.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(JwtError::Malformed(otherwise));
    }
    serde_json::from_slice(&json).map_err(|_| JwtError::Malformed(otherwise))
}

/// The device UUID: 36 characters after the first dot, `<chip>.<device uuid>`.
fn device_of(iss: &str) -> Result<DeviceId, JwtError> {
    iss.split_once('.')
        .and_then(|(_, rest)| rest.get(..36))
        .and_then(|uuid| uuid.parse().ok())
        .ok_or_else(|| JwtError::NoDevice(iss.chars().take(ISS_SHOWN_MAX).collect()))
}

/// Trailing spaces to a multiple of three bytes, so that base64 needs no `=`.
fn padded_part(mut json: String) -> String {
    while !json.len().is_multiple_of(3) {
        json.push(' ');
    }
    base64url(json.as_bytes())
}

fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
}

/// RFC 7518 §3.1.
const ALGORITHM: &str = "ES256";
/// Characters of a foreign `alg` that an error repeats.
const ALGORITHM_SHOWN_MAX: usize = 32;
/// Characters of an `iss` that an error repeats.
const ISS_SHOWN_MAX: usize = 64;
