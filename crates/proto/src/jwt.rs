//! JWT ES256 as modems make it (spec/device-protocol §3): build, parse, verify. One algorithm, so nothing to confuse.

use crate::es256::{Kid, PublicKey, SignEs256, VerifyEs256};
use crate::{DeviceId, FirmwareId, Timestamp};
use alloc::string::String;
use core::time::Duration;

/// Longest lifetime (`exp - iat`) accepted: the library's option allows 0–360 s.
pub const LIFETIME_MAX: Duration = Duration::from_secs(360);
/// Clock difference tolerated at both ends: device time comes from the network (§3).
pub const SKEW_MAX: Duration = Duration::from_secs(300);
/// Longest token text: the client's buffer is 850.
pub const CHARS_MAX: usize = 1024;

/// A check that passed, as a value. Only the token check hands one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<T>(T);

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

/// A parsed JWT; nothing in it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedJwt {
    text: String,
    device: DeviceId,
    kid: Kid,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl UnverifiedJwt {
    /// Parses the compact form and refuses what no key could make acceptable: other algorithms, no `kid`, no `iat`,
    /// no `exp`, a lifetime above 360 s.
    ///
    /// # Errors
    /// [`JwtError`].
    pub fn parse(text: &str) -> Result<Self, JwtError> {
        let _ = text;
        todo!()
    }

    /// Who it says it is: only good for looking up the key.
    pub const fn claimed_device(&self) -> DeviceId {
        self.device
    }

    /// Which key it says it was signed with: only good for choosing among known candidates.
    pub const fn kid(&self) -> Kid {
        self.kid
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
        let _ = (key, now, verifier, &self.text);
        todo!()
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
    let _ = (claims, key);
    todo!()
}
