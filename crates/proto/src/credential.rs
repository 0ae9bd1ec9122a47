//! What can lie under a security tag.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Credential type of `%CMNG` (spec/modem-at §4). A newtype with constants: a number nobody here knows survives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialType(pub u8);

impl CredentialType {
    /// Root CA (chain), PEM.
    pub const ROOT_CA: Self = Self(0);
    /// Client certificate, PEM.
    pub const CLIENT_CERTIFICATE: Self = Self(1);
    /// Client private key.
    pub const CLIENT_PRIVATE_KEY: Self = Self(2);
    /// Pre-shared key, ASCII hex.
    pub const PSK: Self = Self(3);
    /// Pre-shared key identity, text.
    pub const PSK_IDENTITY: Self = Self(4);
    /// Public key for command authentication (old firmware).
    pub const PUBLIC_KEY: Self = Self(5);
    /// Device identity public key.
    pub const DEVICE_IDENTITY_PUBLIC_KEY: Self = Self(6);
    /// Endorsement private key.
    pub const ENDORSEMENT_PRIVATE_KEY: Self = Self(8);
    /// Ownership public key.
    pub const OWNERSHIP_PUBLIC_KEY: Self = Self(9);
    /// Nordic identity root CA.
    pub const NORDIC_ROOT_CA: Self = Self(10);
    /// Nordic (base) public key.
    pub const NORDIC_PUBLIC_KEY: Self = Self(11);
}

impl fmt::Debug for CredentialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CredentialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::ROOT_CA => "root CA",
            Self::CLIENT_CERTIFICATE => "client certificate",
            Self::CLIENT_PRIVATE_KEY => "client private key",
            Self::PSK => "PSK",
            Self::PSK_IDENTITY => "PSK identity",
            Self::PUBLIC_KEY => "public key",
            Self::DEVICE_IDENTITY_PUBLIC_KEY => "device identity public key",
            Self::ENDORSEMENT_PRIVATE_KEY => "endorsement private key",
            Self::OWNERSHIP_PUBLIC_KEY => "ownership public key",
            Self::NORDIC_ROOT_CA => "Nordic identity root CA",
            Self::NORDIC_PUBLIC_KEY => "Nordic public key",
            Self(other) => return write!(f, "credential type {other}"),
        })
    }
}
