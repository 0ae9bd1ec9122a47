//! What sec tags or files hold for a TLS client, read and checked before anything is sent.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use sectag_modem::{SignerError, TagSigner};
use sectag_pki::CertificateFacts;
use sectag_proto::SecTag;

use super::{FileCredentials, LinkError};
use crate::signer::certified;

/// Where a credential lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Under a security tag.
    Tag(SecTag),
    /// In a file.
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "sec tag {tag}"),
            Self::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// An authority and where it lies.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    pub(crate) place: Place,
    pub(crate) facts: CertificateFacts,
    der: Vec<u8>,
}

/// Certificate and key of one tag, or of two files.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) place: Place,
    pub(crate) facts: CertificateFacts,
    pub(crate) common_name: Option<String>,
    pub(crate) key: Arc<CertifiedKey>,
}

/// Authorities of all tags and of the file, and the first pair.
#[derive(Debug, Clone, Default)]
pub(crate) struct Papers {
    /// Where authorities were looked for.
    pub(crate) places: Vec<Place>,
    pub(crate) anchors: Vec<Anchor>,
    pub(crate) pair: Option<Pair>,
}

impl Papers {
    pub(crate) fn read(
        signer: &Arc<dyn TagSigner>,
        tags: &[SecTag],
        files: Option<&FileCredentials>,
    ) -> Result<Self, LinkError> {
        let mut papers = Self::default();
        for tag in tags {
            papers.places.push(Place::Tag(*tag));
            papers.anchors.extend(anchors(signer.as_ref(), *tag)?);
            if papers.pair.is_none() {
                papers.pair = pair(signer, *tag)?;
            }
        }
        if let Some(files) = files {
            for (path, der) in &files.authorities {
                let place = Place::File(path.clone());
                papers.anchors.push(anchor(&place, der.to_vec())?);
                if papers.places.last() != Some(&place) {
                    papers.places.push(place);
                }
            }
            if let (None, Some((path, key))) = (&papers.pair, &files.identity) {
                papers.pair = Some(pair_of(Place::File(path.clone()), key.clone())?);
            }
        }
        Ok(papers)
    }

    pub(crate) fn roots(&self) -> Result<RootCertStore, LinkError> {
        let mut roots = RootCertStore::empty();
        for anchor in &self.anchors {
            let der = CertificateDer::from(anchor.der.as_slice());
            roots.add(der).map_err(|error| LinkError::RootCa {
                place: anchor.place.clone(),
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
            let chain = pair.key.cert.iter();
            let chain = chain.map(|der| hex(&sectag_pki::sha256(der)));
            std::iter::once(pair.place.to_string()).chain(chain)
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
    let place = Place::Tag(tag);
    let unusable = |problem| LinkError::RootCa {
        place: place.clone(),
        problem,
    };
    let certificates =
        sectag_pki::pem::certificates(&text).map_err(|_| unusable(pem_problem(&text)))?;
    certificates
        .into_iter()
        .map(|der| anchor(&place, der))
        .collect()
}

fn anchor(place: &Place, der: Vec<u8>) -> Result<Anchor, LinkError> {
    let place = place.clone();
    match sectag_pki::show(&der) {
        Ok(facts) => Ok(Anchor { place, facts, der }),
        Err(error) => Err(LinkError::RootCa {
            place,
            problem: error.to_string(),
        }),
    }
}

fn pair(signer: &Arc<dyn TagSigner>, tag: SecTag) -> Result<Option<Pair>, LinkError> {
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
    let unusable = |problem| LinkError::Certificate {
        place: Place::Tag(tag),
        problem,
    };
    let chain = sectag_pki::pem::certificates(&text).map_err(|_| unusable(pem_problem(&text)))?;
    let Some(leaf) = chain.first() else {
        return Err(unusable(pem_problem(&text)));
    };
    let facts = sectag_pki::show(leaf).map_err(|error| unusable(error.to_string()))?;
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
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = certified(chain, signer.clone(), tag);
    pair_of(Place::Tag(tag), key).map(Some)
}

fn pair_of(place: Place, key: Arc<CertifiedKey>) -> Result<Pair, LinkError> {
    let unusable = |problem| LinkError::Certificate {
        place: place.clone(),
        problem,
    };
    let Some(leaf) = key.cert.first() else {
        return Err(unusable("it is empty".to_owned()));
    };
    let facts = sectag_pki::show(leaf).map_err(|error| unusable(error.to_string()))?;
    // A foreign authority may name its clients as it likes; then there is no topic level to offer.
    let common_name = sectag_pki::identity(leaf).ok().map(|identity| identity.cn);
    Ok(Pair {
        place,
        facts,
        common_name,
        key,
    })
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_that_is_no_certificate_is_told_in_one_line(
            before in ".{0,80}", between in "(?s).{0,80}", begin: bool, end: bool,
        ) {
            let begin = if begin { "-----BEGIN CERTIFICATE-----" } else { "" };
            let end = if end { "-----END CERTIFICATE-----" } else { "" };
            let said = pem_problem(&format!("{before}{begin}{between}{end}"));
            prop_assert!(!said.is_empty() && !said.contains('\n'), "{said}");
        }
    }

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
