//! Commands in the owner's words (spec/owner-api §4), before they are expanded into wire commands.
//!
//! The serde form is the `request` object of the owner API: one member named after the type.

use crate::SecTag;
use crate::secret::SecretText;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One command as its owner created it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum CommandRequest {
    /// A client key whose public half is exported.
    ClientPrivateKeyGeneration {
        /// Where.
        sec_tag: SecTag,
    },
    /// A client key whose CSR is exported; its public key later signs JWTs.
    CloudAccessKeyGeneration {
        /// Where.
        sec_tag: SecTag,
    },
    /// A client key and its CSR.
    CertificateSigningRequest {
        /// Where.
        sec_tag: SecTag,
        /// `O=…,CN=…`; empty means `CN=<device uuid>`.
        #[serde(default)]
        attributes: String,
        /// Nine binary digits, e.g. `101010000`; `None` (or empty) means the modem's default `111010000`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_usage: Option<String>,
        /// Closed loop: the service signs the CSR and queues the certificate directly behind it (an addition of ours).
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        issue: bool,
    },
    /// Write a client certificate.
    ClientCertificate {
        /// Where.
        sec_tag: SecTag,
        /// PEM.
        content: String,
    },
    /// Write a root CA, or a chain.
    ServerCertificate {
        /// Where.
        sec_tag: SecTag,
        /// PEM; may hold several certificates.
        content: String,
    },
    /// Write a private key.
    ClientPrivateKey {
        /// Where.
        sec_tag: SecTag,
        /// PEM.
        content: SecretField,
        /// For encrypted PKCS#8, at most 32 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<SecretField>,
    },
    /// Write a pre-shared key and its identity.
    PreSharedKey {
        /// Where.
        sec_tag: SecTag,
        /// Type 4.
        identity: String,
        /// Type 3, ASCII hex.
        secret: SecretField,
    },
    /// Make (or show again) an endorsement key.
    EndorsementKeyGeneration {
        /// Where.
        sec_tag: SecTag,
    },
    /// Store key/value pairs in the device's settings; accepts a plain object and `{"properties": {…}}`.
    Config(ConfigPairs),
    /// Any SET command.
    AtCommand {
        /// Without `AT` and `=`.
        command: String,
        /// All after the `=`.
        #[serde(default)]
        parameters: String,
        /// CME numbers that count as success, six at most.
        #[serde(default)]
        ignore_cme_errors: Vec<u32>,
    },
    /// Provisioning is complete.
    Finished {},
}

/// Pairs in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigPairs(pub Vec<(String, String)>);

/// A secret in a request: given, or already erased and known only by its digest (spec/owner-api §9).
/// Deserializes from text; serializes as `{"sha256": "<first 16 hex digits>"}`, never as the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretField {
    /// The secret itself.
    Given(SecretText),
    /// First 16 hex digits of its SHA-256.
    Erased(String),
}

/// The name of a command's type as it appears in JSON, tables and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "one to one with CommandRequest")]
pub enum CommandKind {
    ClientPrivateKeyGeneration,
    CloudAccessKeyGeneration,
    CertificateSigningRequest,
    ClientCertificate,
    ServerCertificate,
    ClientPrivateKey,
    PreSharedKey,
    EndorsementKeyGeneration,
    Config,
    AtCommand,
    Finished,
}

impl CommandKind {
    /// The member name in `request` and `response`: `certificateSigningRequest`.
    pub const fn member(self) -> &'static str {
        match self {
            Self::ClientPrivateKeyGeneration => "clientPrivateKeyGeneration",
            Self::CloudAccessKeyGeneration => "cloudAccessKeyGeneration",
            Self::CertificateSigningRequest => "certificateSigningRequest",
            Self::ClientCertificate => "clientCertificate",
            Self::ServerCertificate => "serverCertificate",
            Self::ClientPrivateKey => "clientPrivateKey",
            Self::PreSharedKey => "preSharedKey",
            Self::EndorsementKeyGeneration => "endorsementKeyGeneration",
            Self::Config => "config",
            Self::AtCommand => "atCommand",
            Self::Finished => "finished",
        }
    }
}

impl CommandRequest {
    /// Its type.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::ClientPrivateKeyGeneration { .. } => CommandKind::ClientPrivateKeyGeneration,
            Self::CloudAccessKeyGeneration { .. } => CommandKind::CloudAccessKeyGeneration,
            Self::CertificateSigningRequest { .. } => CommandKind::CertificateSigningRequest,
            Self::ClientCertificate { .. } => CommandKind::ClientCertificate,
            Self::ServerCertificate { .. } => CommandKind::ServerCertificate,
            Self::ClientPrivateKey { .. } => CommandKind::ClientPrivateKey,
            Self::PreSharedKey { .. } => CommandKind::PreSharedKey,
            Self::EndorsementKeyGeneration { .. } => CommandKind::EndorsementKeyGeneration,
            Self::Config(_) => CommandKind::Config,
            Self::AtCommand { .. } => CommandKind::AtCommand,
            Self::Finished {} => CommandKind::Finished,
        }
    }

    /// The secrets it holds, in a fixed order; empty for most kinds and after [`CommandRequest::erase_secrets`].
    /// The store seals these beside the (redacted) serde form.
    pub fn secrets(&self) -> Vec<&SecretText> {
        todo!()
    }

    /// Puts secrets back, in the order of [`CommandRequest::secrets`]. Fields beyond the list stay erased.
    pub fn restore_secrets(&mut self, secrets: Vec<SecretText>) {
        let _ = secrets;
        todo!()
    }

    /// Forgets the secrets; their digests stay.
    pub fn erase_secrets(&mut self) {
        todo!()
    }
}

impl Serialize for ConfigPairs {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for ConfigPairs {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let _ = d;
        todo!()
    }
}

impl Serialize for SecretField {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let _ = s;
        todo!()
    }
}

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let _ = d;
        todo!()
    }
}
