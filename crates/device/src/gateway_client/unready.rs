//! A finding that keeps a client from connecting, among the causes of failed sessions.

use sectag_gateway::findings::{Finding, FindingId};

use super::key;
use crate::failures::Cause;

/// Why nothing is sent: a finding of severity error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", finding.sentence)]
pub struct Unready {
    /// What is wrong.
    pub finding: Finding,
    /// The same among the causes of failed sessions.
    pub cause: Cause,
    /// The key to look at.
    pub key: &'static str,
}

impl From<Finding> for Unready {
    fn from(finding: Finding) -> Self {
        let named = finding.values.first().map_or("", |(name, _)| name.as_str());
        let named = key::ALL.into_iter().find(|key| *key == named);
        let (cause, usual) = match finding.id {
            FindingId::E1 if named == Some(key::KEY_FILE) => {
                (Cause::KeyWithoutCertificate, key::KEY_FILE)
            }
            FindingId::E1 => (Cause::CertificateWithoutKey, key::CERT_FILE),
            FindingId::E7 => (Cause::CaMissing, key::CA_FILE),
            FindingId::E8 => (Cause::CaUnreadable, key::CA_FILE),
            FindingId::E12 => (Cause::ClientCertificateUnreadable, key::CERT_FILE),
            FindingId::E13 if finding.values.len() > 1 => (Cause::ClientKeyMismatch, key::KEY_FILE),
            FindingId::E13 if named == Some(key::CERT_FILE) => {
                (Cause::ClientCertificateUnreadable, key::CERT_FILE)
            }
            FindingId::E20 => (Cause::ClientCertificateExpired, key::CERT_FILE),
            FindingId::E13 => (Cause::KeyCannotSign, key::KEY_FILE),
            FindingId::E17 => (Cause::CredentialUnreadable, key::PASSWORD_FILE),
            _ => (Cause::CredentialUnreadable, key::KEY_FILE),
        };
        Self {
            key: named.unwrap_or(usual),
            cause,
            finding,
        }
    }
}
