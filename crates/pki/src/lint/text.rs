//! What a certificate file looks like before anything in it is read: PEM or DER, line ends, text around.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::{Finding, MODEM_CHAIN_BYTES_MAX, rule};
use crate::PkiError;
use crate::certificate::parse;

/// Begins a section of PEM.
const BEGIN: &[u8] = b"-----BEGIN ";

/// What is in a file.
#[derive(Debug)]
pub struct Contents {
    /// Its certificates as DER, in their order.
    pub certificates: Vec<Vec<u8>>,
    /// The text of its first private key section, when there is one.
    pub private_key: Option<Zeroizing<String>>,
    /// The file is DER, not PEM.
    pub is_der: bool,
    /// What is wrong with the text.
    pub findings: Vec<Finding>,
}

/// Takes a file apart: PEM with certificates and perhaps a key, or one certificate as DER.
///
/// # Errors
/// [`PkiError::Malformed`] when there is no certificate in it, or a section cannot be decoded.
pub fn contents(file: &[u8]) -> Result<Contents, PkiError> {
    let mut findings = Vec::new();
    let mut found = |id, facts: String| {
        findings.push(Finding {
            rule: rule(id),
            certificate: None,
            facts,
        });
    };
    // A text may begin with the same byte, which is the digit 0.
    let is_text = file.windows(BEGIN.len()).any(|bytes| bytes == BEGIN);
    if file.first() == Some(&0x30) && !is_text {
        parse(file)?;
        found("der-not-pem", format!("{} bytes of DER", file.len()));
        return Ok(Contents {
            certificates: vec![file.to_vec()],
            private_key: None,
            is_der: true,
            findings,
        });
    }
    let file = match file.strip_prefix(&[0xef, 0xbb, 0xbf]) {
        Some(rest) => {
            found(
                "pem-bom",
                "the file begins with the bytes ef bb bf".to_owned(),
            );
            rest
        }
        None => file,
    };
    let text = Zeroizing::new(String::from_utf8_lossy(file).into_owned());
    for label in ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"] {
        if text.contains(&format!("-----BEGIN {label}-----")) {
            found("pem-label", format!("`-----BEGIN {label}-----`"));
        }
    }
    let certificates: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(file)
        .map(|certificate| certificate.map(|c| c.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|e| PkiError::malformed("PEM", e))?;
    if certificates.is_empty() {
        return Err(PkiError::malformed("PEM", "there is no certificate in it"));
    }
    let ends = text.matches("\r\n").count();
    if ends > 0 {
        let all = text.matches('\n').count();
        let mixed = if ends < all { ", the others LF" } else { "" };
        found(
            "pem-crlf",
            format!("{ends} of {all} lines end in CR LF{mixed}"),
        );
    }
    let outside = text_outside(&text);
    if outside > 0 {
        let lines = if outside == 1 { "line" } else { "lines" };
        found(
            "pem-text-around",
            format!("{outside} {lines} outside BEGIN and END"),
        );
    }
    if !text.ends_with('\n') {
        found(
            "pem-no-final-newline",
            "the last line does not end".to_owned(),
        );
    }
    if file.len() > MODEM_CHAIN_BYTES_MAX {
        found("over-4-kb", format!("the text has {} bytes", file.len()));
    }
    let private_key = private_key(&text);
    if private_key.is_some() {
        found(
            "key-in-file",
            "a private key stands beside the certificate".to_owned(),
        );
    }
    Ok(Contents {
        certificates,
        private_key,
        is_der: false,
        findings,
    })
}

/// Lines with something on them that no section holds.
fn text_outside(text: &str) -> usize {
    let mut inside = false;
    let mut outside = 0;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("-----BEGIN ") {
            inside = true;
        } else if line.starts_with("-----END ") {
            inside = false;
        } else if !inside && !line.is_empty() {
            outside += 1;
        }
    }
    outside
}

fn private_key(text: &str) -> Option<Zeroizing<String>> {
    let end = text.find("PRIVATE KEY-----")?;
    let begin = text[..end].rfind("-----BEGIN ")?;
    let label_end = end + "PRIVATE KEY-----".len();
    let close = text[label_end..].find("PRIVATE KEY-----")? + label_end + "PRIVATE KEY-----".len();
    Some(Zeroizing::new(text[begin..close].to_owned() + "\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Authority;

    fn root() -> (String, String) {
        let root = Authority::root("Root", 1_700_000_000).unwrap();
        (root.certificate_pem(), root.key().to_pem().to_string())
    }

    fn ids(file: &str) -> Vec<&'static str> {
        let contents = contents(file.as_bytes()).unwrap();
        contents.findings.iter().map(|f| f.rule.id).collect()
    }

    #[test]
    fn a_plain_pem_file_has_nothing_to_say() {
        assert_eq!(ids(&root().0), Vec::<&str>::new());
    }

    #[test]
    fn line_ends_text_around_and_a_missing_end_are_seen() {
        let (pem, key) = root();
        assert_eq!(ids(&pem.replace('\n', "\r\n")), ["pem-crlf"]);
        assert_eq!(
            ids(&format!("subject=CN = Root\n{pem}")),
            ["pem-text-around"]
        );
        assert_eq!(ids(pem.trim_end()), ["pem-no-final-newline"]);
        assert_eq!(ids(&format!("0 s:CN = Root\n{pem}")), ["pem-text-around"]);
        assert_eq!(ids(&format!("\u{feff}{pem}")), ["pem-bom"]);
        assert_eq!(ids(&pem.repeat(9)), ["over-4-kb"]);
        assert_eq!(ids(&format!("{pem}{key}")), ["key-in-file"]);
        let both = contents(format!("{pem}{key}").as_bytes()).unwrap();
        assert_eq!(both.private_key.unwrap().as_str(), key);
    }

    #[test]
    fn der_is_taken_and_said() {
        let der = crate::pem::certificates(&root().0).unwrap().remove(0);
        let found = contents(&der).unwrap();
        assert!(found.is_der);
        assert_eq!(found.findings[0].rule.id, "der-not-pem");
    }

    #[test]
    fn what_holds_no_certificate_is_an_error() {
        for file in [&b""[..], b"hello", b"0", root().1.as_bytes()] {
            assert!(contents(file).is_err());
        }
    }
}
