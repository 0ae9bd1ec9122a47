//! PEM text around DER (RFC 7468): 64 characters a line, LF, nothing before or after.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::PkiError;

const LINE: usize = 64;

/// Encodes `der` under `label`, for example `CERTIFICATE` or `X509 CRL`.
pub fn encode(label: &str, der: &[u8]) -> String {
    // Room for all of it at once: the text may be a private key, and growing would leave copies behind.
    let digits = der.len().div_ceil(3) * 4;
    let body = zeroize::Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(digits + digits / LINE + 2 * label.len() + 40);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// The first section under `label` as DER; `None` when there is none, or it is broken. Lines inside may have any length.
pub fn decode(label: &str, text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let mut digits = zeroize::Zeroizing::new(String::with_capacity(body.len()));
    digits.extend(body.split_ascii_whitespace());
    STANDARD.decode(digits.as_bytes()).ok()
}

/// All certificates of a PEM text in their order, as DER. Other sections and text between them are skipped.
///
/// # Errors
/// [`PkiError::Malformed`] when a section is broken or there is no certificate.
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(text.as_bytes())
        .map(|certificate| certificate.map(|c| c.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|e| PkiError::malformed("PEM", e))?;
    if found.is_empty() {
        return Err(PkiError::malformed("PEM", "there is no certificate in it"));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in [1, 47, 48, 49, 96, 500] {
            let der = vec![0xa5; length];
            let text = encode("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(decode("CERTIFICATE", &text).unwrap(), der);
            assert_eq!(certificates(&text).unwrap(), [der]);
        }
        assert!(certificates("no PEM").is_err());
    }
}
