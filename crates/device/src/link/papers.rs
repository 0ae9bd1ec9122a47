//! What the sec tags hold for a TLS client, read and checked before anything is sent.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use sectag_modem::{SignerError, TagSigner};
use sectag_pki::CertificateFacts;
use sectag_proto::SecTag;

use super::LinkError;

/// An authority and the tag it lies under.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    pub(crate) tag: SecTag,
    pub(crate) facts: CertificateFacts,
    der: Vec<u8>,
}

/// Certificate and key of one tag.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) tag: SecTag,
    pub(crate) facts: CertificateFacts,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) common_name: Option<String>,
}

/// Authorities of all tags, and the pair of the first that has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Papers {
    pub(crate) anchors: Vec<Anchor>,
    pub(crate) pair: Option<Pair>,
}

impl Papers {
    pub(crate) fn read(signer: &dyn TagSigner, tags: &[SecTag]) -> Result<Self, LinkError> {
        let mut papers = Self::default();
        for tag in tags {
            papers.anchors.extend(anchors(signer, *tag)?);
            if papers.pair.is_none() {
                papers.pair = pair(signer, *tag)?;
            }
        }
        Ok(papers)
    }

    pub(crate) fn roots(&self) -> Result<RootCertStore, LinkError> {
        let mut roots = RootCertStore::empty();
        for anchor in &self.anchors {
            let der = CertificateDer::from(anchor.der.as_slice());
            roots.add(der).map_err(|error| LinkError::RootCa {
                tag: anchor.tag,
                problem: format!(
                    "`{}` cannot be a trust anchor: {error}",
                    anchor.facts.subject
                ),
            })?;
        }
        Ok(roots)
    }

    /// Everything that decides whether an earlier TLS session may be continued.
    pub(crate) fn fingerprint(&self) -> Vec<String> {
        let anchors = self
            .anchors
            .iter()
            .map(|anchor| anchor.facts.fingerprint_sha256.clone());
        let pair = self.pair.iter().flat_map(|pair| {
            let chain = pair.chain.iter().map(|der| hex(&sectag_pki::sha256(der)));
            std::iter::once(format!("tag {}", pair.tag)).chain(chain)
        });
        anchors.chain(pair).collect()
    }
}

fn anchors(signer: &dyn TagSigner, tag: SecTag) -> Result<Vec<Anchor>, LinkError> {
    let text = match signer.root_ca(tag) {
        Ok(text) => text,
        Err(SignerError::Missing { .. }) => return Ok(Vec::new()),
        Err(other) => return Err(other.into()),
    };
    let unusable = |problem| LinkError::RootCa { tag, problem };
    let certificates =
        sectag_pki::pem::certificates(&text).map_err(|_| unusable(pem_problem(&text)))?;
    certificates
        .into_iter()
        .map(|der| {
            let facts = sectag_pki::show(&der).map_err(|error| unusable(error.to_string()))?;
            Ok(Anchor { tag, facts, der })
        })
        .collect()
}

fn pair(signer: &dyn TagSigner, tag: SecTag) -> Result<Option<Pair>, LinkError> {
    let present = |result| match result {
        Err(SignerError::Missing { .. }) => Ok(None),
        other => other.map(Some),
    };
    let text = present(signer.certificate_chain(tag))?;
    let key = match signer.public_key(tag) {
        Err(SignerError::Missing { .. }) => None,
        other => Some(other),
    };
    let (text, key) = match (text, key) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(LinkError::KeyWithoutCertificate { tag }),
        (Some(text), key) => (text, key),
    };
    let unusable = |problem| LinkError::Certificate { tag, problem };
    let chain = sectag_pki::pem::certificates(&text).map_err(|_| unusable(pem_problem(&text)))?;
    let Some(leaf) = chain.first() else {
        return Err(unusable(pem_problem(&text)));
    };
    let facts = sectag_pki::show(leaf).map_err(LinkError::certificate(tag))?;
    let Some(key) = key else {
        return Err(LinkError::CertificateWithoutKey {
            tag,
            subject: facts.subject,
        });
    };
    let private_key = key?.kid().to_string();
    if facts.spki_sha256 != private_key {
        return Err(LinkError::KeyMismatch {
            tag,
            certificate_key: facts.spki_sha256,
            private_key,
        });
    }
    // A foreign authority may name its clients as it likes; then there is no topic level to offer.
    let common_name = sectag_pki::identity(leaf).ok().map(|identity| identity.cn);
    Ok(Some(Pair {
        tag,
        facts,
        chain: chain.into_iter().map(CertificateDer::from).collect(),
        common_name,
    }))
}

/// What is wrong with a text that should be certificates in PEM, with the values that show it.
fn pem_problem(text: &str) -> String {
    let length = text.len();
    let begins = text.matches("-----BEGIN CERTIFICATE-----").count();
    let ends = text.matches("-----END CERTIFICATE-----").count();
    if text.trim().is_empty() {
        return format!("it is empty ({length} bytes)");
    }
    if begins == 0 {
        let label = text
            .split_once("-----BEGIN ")
            .and_then(|(_, rest)| rest.split_once("-----"))
            .map(|(label, _)| label);
        return match label {
            Some(label) => {
                format!("it holds `BEGIN {label}` where `BEGIN CERTIFICATE` is expected")
            }
            None => format!("{length} bytes without a `-----BEGIN CERTIFICATE-----` line"),
        };
    }
    if ends < begins {
        return format!(
            "{begins} `BEGIN CERTIFICATE` and {ends} `END CERTIFICATE` lines in {length} bytes: the text was cut short"
        );
    }
    let lines = text.lines().count();
    if lines < 3 {
        return format!(
            "{length} bytes in {lines} line(s): the line ends inside the PEM text were lost (CR LF is needed between them)"
        );
    }
    format!("{length} bytes in {lines} lines that are no Base64 between BEGIN and END")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_pem_text_is_said_with_its_values() {
        let cases = [
            ("", "empty (0 bytes)"),
            ("hello", "5 bytes without"),
            (
                "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n",
                "`BEGIN EC PRIVATE KEY` where `BEGIN CERTIFICATE`",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nMIIB",
                "1 `BEGIN CERTIFICATE` and 0 `END CERTIFICATE` lines in 32 bytes: the text was cut short",
            ),
            (
                "-----BEGIN CERTIFICATE-----MIIB-----END CERTIFICATE-----",
                "in 1 line(s)",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nno!\n-----END CERTIFICATE-----\n",
                "no Base64",
            ),
        ];
        for (text, said) in cases {
            assert!(pem_problem(text).contains(said), "{}", pem_problem(text));
        }
    }
}
