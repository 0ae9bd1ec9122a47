//! What a file of certificates, keys or revocation lists holds, taken apart section by section.
//!
//! A section that cannot be read is a problem with its reason, and the others are still read: whoever judges a file wants
//! to know all of it. Nothing secret is kept, so a [`Material`] may be printed.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, ParsedExtension};

use crate::certificate::{parse, seconds, serial_hex};
use crate::facts::general_name;
use crate::identity::name_text;
use crate::lint::public_of;
use crate::{PkiError, show};

/// The sections of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Material {
    /// Certificates, in their order.
    pub certificates: Vec<Held>,
    /// Private keys, in their order. TLS libraries take the first.
    pub keys: Vec<KeyFacts>,
    /// Revocation lists, in their order.
    pub revocations: Vec<RevocationFacts>,
    /// What could not be read, each with its reason.
    pub problems: Vec<String>,
    /// The file is a certificate or a revocation list in DER. Nothing was taken from it; a problem says so.
    pub is_der: bool,
}

/// A certificate and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// As DER.
    pub der: Vec<u8>,
    /// What it says.
    pub facts: HeldFacts,
}

/// What whoever judges a file asks of a certificate in it; [`show`](crate::show) tells everything, and takes its digests for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFacts {
    /// X.509 version as people count it: 3.
    pub version: u32,
    /// Subject in the order of RFC 4514.
    pub subject: String,
    /// Issuer in the order of RFC 4514.
    pub issuer: String,
    /// Serial number, lower-case hexadecimal.
    pub serial_hex: String,
    /// Start of validity, Unix seconds.
    pub not_before_s: u64,
    /// End of validity (inclusive), Unix seconds.
    pub not_after_s: u64,
    /// May it sign other certificates?
    pub is_ca: bool,
    /// Alternative names with their kind: `DNS:localhost`, `IP:127.0.0.1`.
    pub names: Vec<String>,
    /// Extended key usages by their names in RFC 5280 §4.2.1.12, others as dotted OIDs.
    pub extended_key_usages: Vec<String>,
    /// Its public key in the form of [`KeyFacts::public`].
    pub public: Vec<u8>,
}

/// What can be said about a private key without showing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// A pass phrase is needed to read it.
    pub is_encrypted: bool,
    /// Its public key in the form that certificates hold; `None` when it is encrypted, or of a kind that is not read
    /// here (RSA below 2048 bits, unusual curves).
    pub public: Option<Vec<u8>>,
}

/// What a revocation list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFacts {
    /// As DER.
    pub der: Vec<u8>,
    /// Issuer in the order of RFC 4514.
    pub issuer: String,
    /// When it was made, Unix seconds.
    pub this_update_s: u64,
    /// When the next one is due, Unix seconds; strict verifiers refuse the list after it.
    pub next_update_s: Option<u64>,
    /// How many certificates it revokes.
    pub revoked: usize,
}

impl HeldFacts {
    fn of(der: &[u8]) -> Result<Self, PkiError> {
        let certificate = parse(der)?;
        let mut facts = Self {
            version: certificate.version().0.saturating_add(1),
            subject: name_text(certificate.subject()),
            issuer: name_text(certificate.issuer()),
            serial_hex: serial_hex(&certificate),
            not_before_s: seconds(certificate.validity().not_before.timestamp()),
            not_after_s: seconds(certificate.validity().not_after.timestamp()),
            is_ca: false,
            names: Vec::new(),
            extended_key_usages: Vec::new(),
            public: certificate.public_key().subject_public_key.data.to_vec(),
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(basic) => facts.is_ca = basic.ca,
                ParsedExtension::SubjectAlternativeName(san) => {
                    facts.names = san.general_names.iter().map(general_name).collect();
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    let known = [
                        (usage.any, "anyExtendedKeyUsage"),
                        (usage.server_auth, "serverAuth"),
                        (usage.client_auth, "clientAuth"),
                        (usage.code_signing, "codeSigning"),
                        (usage.email_protection, "emailProtection"),
                        (usage.time_stamping, "timeStamping"),
                        (usage.ocsp_signing, "OCSPSigning"),
                    ];
                    let known = known.into_iter().filter(|(set, _)| *set);
                    let known = known.map(|(_, name)| name.to_owned());
                    let others = usage.other.iter().map(|oid| oid.to_id_string());
                    facts.extended_key_usages = known.chain(others).collect();
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

impl KeyFacts {
    /// Is it the key of this certificate? `None` when that cannot be told.
    pub fn is_of(&self, held: &Held) -> Option<bool> {
        self.public.as_ref().map(|ours| *ours == held.facts.public)
    }

    /// As [`Self::is_of`], for a certificate as DER.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] when `certificate` is none.
    pub fn belongs_to(&self, certificate: &[u8]) -> Result<Option<bool>, PkiError> {
        let parsed = parse(certificate)?;
        let theirs = parsed.public_key().subject_public_key.data.as_ref();
        Ok(self.public.as_ref().map(|ours| ours == theirs))
    }
}

/// Takes a file apart. PEM only: that is what brokers and clients read.
pub fn material(file: &[u8]) -> Material {
    let mut material = Material::default();
    if let Some(what) = der(file) {
        let problem = format!("it is DER, and PEM is needed ({what})");
        material.problems.push(problem);
        material.is_der = true;
        return material;
    }
    let text = String::from_utf8_lossy(file);
    for section in sections(&text) {
        match section {
            Ok((label, text)) => material.take(label, text),
            Err(label) => material
                .problems
                .push(format!("`BEGIN {label}` has no end")),
        }
    }
    material
}

impl Material {
    fn take(&mut self, label: &str, text: &str) {
        if label.ends_with("PRIVATE KEY") {
            let is_encrypted =
                label == "ENCRYPTED PRIVATE KEY" || text.contains("Proc-Type: 4,ENCRYPTED");
            let public = if is_encrypted { None } else { public_of(text) };
            if !is_encrypted
                && public.is_none()
                && let Err(e) = PrivateKeyDer::from_pem_slice(text.as_bytes())
            {
                self.problems.push(format!(
                    "the section `BEGIN {label}` is no private key: {e}"
                ));
                return;
            }
            self.keys.push(KeyFacts {
                is_encrypted,
                public,
            });
        } else if label == "CERTIFICATE" {
            let number = self.certificates.len() + self.problems.len() + 1;
            let read = CertificateDer::from_pem_slice(text.as_bytes())
                .map_err(|e| PkiError::malformed("PEM section", e))
                .and_then(|der| {
                    let facts = HeldFacts::of(&der)?;
                    Ok(Held {
                        der: der.to_vec(),
                        facts,
                    })
                });
            match read {
                Ok(held) => self.certificates.push(held),
                Err(e) => self.problems.push(format!("certificate {number}: {e}")),
            }
        } else if label == "X509 CRL" {
            match revocation(text) {
                Ok(facts) => self.revocations.push(facts),
                Err(e) => self.problems.push(e.to_string()),
            }
        } else if matches!(label, "TRUSTED CERTIFICATE" | "X509 CERTIFICATE") {
            self.problems.push(format!(
                "a section is labelled `BEGIN {label}`, and only `BEGIN CERTIFICATE` is read everywhere"
            ));
        }
    }
}

/// What a file in DER is.
fn der(file: &[u8]) -> Option<String> {
    // Both are a SEQUENCE; PEM begins otherwise, and is most of what is read here.
    if file.first() != Some(&0x30) {
        return None;
    }
    if let Ok(facts) = show(file) {
        return Some(format!("the certificate of {}", facts.subject));
    }
    let (_, list) = CertificateRevocationList::from_der(file).ok()?;
    let issuer = name_text(list.issuer());
    Some(format!("the revocation list of {issuer}"))
}

fn revocation(text: &str) -> Result<RevocationFacts, PkiError> {
    let wrong = |e: &dyn std::fmt::Display| PkiError::malformed("revocation list", e);
    let der =
        CertificateRevocationListDer::from_pem_slice(text.as_bytes()).map_err(|e| wrong(&e))?;
    let (_, list) = CertificateRevocationList::from_der(&der).map_err(|e| wrong(&e))?;
    Ok(RevocationFacts {
        issuer: name_text(list.issuer()),
        this_update_s: seconds(list.last_update().timestamp()),
        next_update_s: list.next_update().map(|time| seconds(time.timestamp())),
        revoked: list.iter_revoked_certificates().count(),
        der: der.to_vec(),
    })
}

/// The PEM sections with their labels; the label alone for one that does not end.
fn sections(text: &str) -> impl Iterator<Item = Result<(&str, &str), &str>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let begin = find(rest, BEGIN)?;
            let from = &rest[begin..];
            let line = from.lines().next().unwrap_or_default();
            let Some(label) = line[BEGIN.len()..].trim_end().strip_suffix("-----") else {
                rest = &from[BEGIN.len()..];
                continue;
            };
            let close = format!("-----END {label}-----");
            return Some(match find(from, &close) {
                Some(at) => {
                    let end = at + close.len();
                    rest = &from[end..];
                    Ok((label, &from[..end]))
                }
                None => {
                    rest = &from[BEGIN.len()..];
                    Err(label)
                }
            });
        }
    })
}

/// Where a border of a section is. It begins with dashes, and base64 has none.
fn find(text: &str, border: &str) -> Option<usize> {
    let mut dashes = text.match_indices('-').map(|(at, _)| at);
    dashes.find(|at| text[*at..].starts_with(border))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Authority, PrivateKey, Purpose, pem};

    const NOW_S: u64 = 1_750_000_000;

    #[test]
    fn a_file_is_taken_apart() {
        let root = Authority::root("Root", NOW_S).unwrap();
        let other = PrivateKey::generate().unwrap();
        let list = root.crl(&[("0a", NOW_S)], NOW_S, NOW_S + 60).unwrap();
        let file = format!(
            "subject=Root\n{}{}{}",
            root.certificate_pem(),
            root.key().to_pem().as_str(),
            pem::encode("X509 CRL", &list)
        );
        let found = material(file.as_bytes());
        assert_eq!(found.problems, Vec::<String>::new());
        assert_eq!(found.certificates[0].facts.subject, "CN=Root");
        assert_eq!(
            found.keys[0].belongs_to(root.certificate_der()).unwrap(),
            Some(true)
        );
        let list = &found.revocations[0];
        assert_eq!((list.revoked, list.next_update_s), (1, Some(NOW_S + 60)));
        let other = material(other.to_pem().as_bytes());
        assert_eq!(
            other.keys[0].belongs_to(root.certificate_der()).unwrap(),
            Some(false)
        );
    }

    #[test]
    fn a_certificate_says_the_same_here_as_when_it_is_shown() {
        let root = Authority::root("Root", NOW_S).unwrap();
        let [servers, devices] = [Purpose::Servers, Purpose::Devices]
            .map(|purpose| root.issuing(purpose, NOW_S).unwrap());
        let key = PrivateKey::generate().unwrap();
        let names = ["localhost".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let server = servers
            .issue_server(&key.spki_der(), &names, NOW_S)
            .unwrap();
        let device = devices
            .issue_device(&key.spki_der(), "client-1", NOW_S)
            .unwrap();
        let file = [
            root.certificate_pem(),
            servers.certificate_pem(),
            server.pem(),
            device.pem(),
        ];
        let found = material(file.concat().as_bytes());
        assert_eq!(found.certificates.len(), 4);
        for Held { der, facts: held } in &found.certificates {
            let shown = show(der).unwrap();
            assert_eq!(
                (held.version, &held.subject, &held.issuer, held.is_ca),
                (shown.version, &shown.subject, &shown.issuer, shown.is_ca)
            );
            assert_eq!(held.serial_hex, shown.serial_hex);
            assert_eq!(
                (held.not_before_s, held.not_after_s, &held.names),
                (shown.not_before_s, shown.not_after_s, &shown.names)
            );
            assert_eq!(held.extended_key_usages, shown.extended_key_usages);
        }
        let usages = |at: usize| &found.certificates[at].facts.extended_key_usages[..];
        assert_eq!(
            (usages(2), usages(3)),
            (
                &["serverAuth".to_owned()][..],
                &["clientAuth".to_owned()][..]
            )
        );
        let key = material(key.to_pem().as_bytes()).keys.remove(0);
        assert_eq!(key.is_of(&found.certificates[2]), Some(true));
        assert_eq!(key.is_of(&found.certificates[0]), Some(false));
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_and_the_rest_is_read() {
        let root = Authority::root("Root", NOW_S).unwrap().certificate_pem();
        let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        let found = material(format!("{broken}{root}-----BEGIN CERTIFICATE-----\nMIIB").as_bytes());
        assert_eq!(
            (found.certificates.len(), found.problems.len()),
            (1, 2),
            "{found:?}"
        );
        let der = pem::certificates(&root).unwrap().remove(0);
        assert!(material(&der).problems[0].starts_with("it is DER"));
        let list = Authority::root("Root", NOW_S).unwrap();
        let list = list.crl(&[], NOW_S, NOW_S + 60).unwrap();
        let found = material(&list);
        assert!(found.is_der && found.revocations.is_empty());
        assert!(found.problems[0].contains("revocation list of CN=Root"));
        assert_eq!(material(b"hello -----BEGIN"), Material::default());
        assert_eq!(material(&[0x30, 0xff, 0, 200]), Material::default());
    }

    #[test]
    fn a_damaged_key_is_no_key() {
        let text = "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n";
        let found = material(text.as_bytes());
        assert!(
            found.keys.is_empty() && found.problems.len() == 1,
            "{found:?}"
        );
    }

    #[test]
    fn an_encrypted_key_is_known_by_its_label_and_by_its_header() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END EC PRIVATE KEY-----\n",
        ] {
            let found = material(text.as_bytes());
            assert!(
                found.keys[0].is_encrypted && found.keys[0].public.is_none(),
                "{found:?}"
            );
        }
    }
}
