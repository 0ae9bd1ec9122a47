//! A certificate we made or read, with the facts that are asked for most.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{PkiError, hex, pem, sha256};

/// A certificate as DER, with the facts that stores and comparisons need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// Serial number, lower-case hexadecimal without leading zero bytes.
    pub serial_hex: String,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Start of validity, Unix seconds.
    pub not_before_s: u64,
    /// End of validity (inclusive), Unix seconds.
    pub not_after_s: u64,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`PkiError::Malformed`], also for bytes behind the certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let parsed = parse(der)?;
        Ok(Self {
            der: der.to_vec(),
            serial_hex: serial_hex(&parsed),
            spki_sha256: sha256(parsed.public_key().raw),
            not_before_s: seconds(parsed.validity().not_before.timestamp()),
            not_after_s: seconds(parsed.validity().not_after.timestamp()),
        })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`PkiError::Malformed`].
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        let all = pem::certificates(text)?;
        Self::from_der(&all[0]) // `certificates` gives at least one
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as PEM, ending with a line feed.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }
}

/// Reads a certificate and nothing behind it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(PkiError::malformed(
            "certificate",
            format!("{} bytes follow it", rest.len()),
        )),
        Err(e) => Err(PkiError::malformed("certificate", e)),
    }
}

pub(crate) fn serial_hex(certificate: &X509Certificate<'_>) -> String {
    let raw = certificate.raw_serial();
    let start = raw
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(raw.len().saturating_sub(1));
    hex(&raw[start..])
}

/// Unix seconds; times before 1970 count as 0.
pub(crate) fn seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or(0)
}
