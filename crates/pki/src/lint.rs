//! Which TLS stack will refuse a certificate, and why; before it is written to a device.
//!
//! ```text
//!   PEM or DER ──► text ──► certificates ──► each one ──► the chain ──► findings, each with a rule
//!                                                                          │
//!                     rule × verifier ──► refuses / accepts / depends ─────┘
//! ```
//!
//! [`RULES`] is the table: what is wrong, why, what to do, and what each of five verifiers makes of it, with the ground
//! on which we say so. Nothing here decides whether a chain is trusted: [`chain::judge`] asks webpki for that.
//!
//! The clock is an argument, and nothing is fetched: issuers that are neither in the file nor among the roots given
//! are not known.

mod bundle;
mod certificate;
pub mod chain;
mod key;
mod look;
mod reference;
mod rules;
mod text;

use std::fmt;

use crate::{CertificateFacts, PkiError, Purpose, ServerName};

pub(crate) use certificate::moment;
pub(crate) use key::public_of;
pub use key::{KeyKind, SignatureKind};
pub use look::Position;
pub use reference::reference;
pub use rules::{RULES, rule};
pub use text::{Contents, contents};

/// What the modem takes as one chain: certificates of a handshake in DER, or the text under a sec tag, in bytes
/// (spec/modem-at §4, spec/mqtt-tls-sample §3).
pub const MODEM_CHAIN_BYTES_MAX: usize = 4096;

/// Days before its end from which a certificate is said to expire soon.
pub const EXPIRES_SOON_DAYS: u64 = 90;

/// Days before its end from which that is urgent.
pub const EXPIRES_VERY_SOON_DAYS: u64 = 30;

/// Who looks at a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verifier {
    /// rustls with webpki and aws-lc: this program, thin-edge, many services.
    Rustls,
    /// OpenSSL 3.0 at security level 1, its own default: mosquitto, curl, Python where the distribution changed nothing.
    OpenSsl1,
    /// OpenSSL 3.0 at security level 2: the default of Debian and Ubuntu.
    OpenSsl2,
    /// Mbed TLS 3 with its default profile, as in the nRF Connect SDK and Zephyr.
    MbedTls,
    /// The nRF91 modem's own TLS.
    Modem,
}

impl Verifier {
    /// All of them, in the order of [`Rule::cells`].
    pub const ALL: [Self; 5] = [
        Self::Rustls,
        Self::OpenSsl1,
        Self::OpenSsl2,
        Self::MbedTls,
        Self::Modem,
    ];

    /// A name without blanks, for options and JSON.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Rustls => "rustls",
            Self::OpenSsl1 => "openssl-1",
            Self::OpenSsl2 => "openssl-2",
            Self::MbedTls => "mbedtls",
            Self::Modem => "modem",
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustls => "rustls",
            Self::OpenSsl1 => "OpenSSL (level 1)",
            Self::OpenSsl2 => "OpenSSL (level 2)",
            Self::MbedTls => "Mbed TLS",
            Self::Modem => "nRF91 modem",
        })
    }
}

/// What a verifier makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It refuses.
    Refuses,
    /// It takes it.
    Accepts,
    /// It depends on version, build or configuration.
    Depends,
}

/// How we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A test asks the verifier itself.
    Tested,
    /// Its documentation or source says so.
    Documented,
    /// We conclude it from something else; nobody has said or tried it.
    Inferred,
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What the verifier does.
    pub answer: Answer,
    /// How we know.
    pub ground: Ground,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Short name that stays the same: `no-san`.
    pub id: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why it matters, and to whom.
    pub why: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    /// By [`Verifier::ALL`].
    pub cells: [Cell; 5],
}

impl Rule {
    /// What `verifier` makes of it.
    pub fn cell(&self, verifier: Verifier) -> Cell {
        let at = Verifier::ALL.iter().position(|v| *v == verifier);
        self.cells[at.unwrap_or(0)] // ALL holds every verifier
    }

    /// Who refuses it.
    pub fn refused_by(&self) -> Vec<Verifier> {
        self.who(Answer::Refuses)
    }

    /// Whose answer depends on something.
    pub fn depends_for(&self) -> Vec<Verifier> {
        self.who(Answer::Depends)
    }

    /// The weight of a finding under this rule.
    pub fn severity(&self) -> Severity {
        if self.cells.iter().any(|cell| cell.answer == Answer::Refuses) {
            Severity::Refused
        } else if self.cells.iter().any(|cell| cell.answer == Answer::Depends) {
            Severity::Warning
        } else {
            Severity::Note
        }
    }

    fn who(&self, answer: Answer) -> Vec<Verifier> {
        let cells = self.cells.iter().zip(Verifier::ALL);
        cells
            .filter(|(cell, _)| cell.answer == answer)
            .map(|(_, verifier)| verifier)
            .collect()
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nobody refuses it.
    Note,
    /// Somebody may refuse it.
    Warning,
    /// Somebody refuses it.
    Refused,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Refused => "refused",
        })
    }
}

/// One rule that a file breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: &'static Rule,
    /// Which certificate of the file, counted from 0; `None`: the file as a whole.
    pub certificate: Option<usize>,
    /// The values of this case: "RSA with 1024 bits".
    pub facts: String,
}

/// What the certificates are for.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The time at which they must be valid, Unix seconds.
    pub now_s: u64,
    /// What the end entity does; `None`: what its own usages say, a server where they say nothing.
    pub purpose: Option<Purpose>,
    /// The name under which the server is reached; `None` does not check.
    pub name: Option<&'a ServerName>,
    /// Roots known beside the file, as DER.
    pub roots: &'a [Vec<u8>],
}

/// What was found in one file.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its certificates in order, with the place that each takes.
    pub certificates: Vec<(Position, CertificateFacts)>,
    /// What is wrong: the file first, then certificate by certificate.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Who refuses the file for one of its findings.
    pub fn refused_by(&self) -> Vec<Verifier> {
        let mut all: Vec<Verifier> = self
            .findings
            .iter()
            .flat_map(|finding| finding.rule.refused_by())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Lints one file: PEM with certificates, and perhaps the end entity's private key, or one certificate as DER.
///
/// # Errors
/// [`PkiError::Malformed`] when there is no certificate in it.
pub fn lint(file: &[u8], context: &Context<'_>) -> Result<Report, PkiError> {
    let contents = text::contents(file)?;
    let mut findings = contents.findings.clone();
    let mut report = lint_chain(&contents.certificates, context)?;
    if let Some(key) = &contents.private_key {
        findings.extend(check_key(&contents.certificates, key));
    }
    findings.append(&mut report.findings);
    Ok(Report { findings, ..report })
}

/// Lints certificates that belong together, in the order in which they are sent: end entity first.
///
/// # Errors
/// [`PkiError::Malformed`] for one that cannot be read, with its number.
pub fn lint_chain(chain: &[Vec<u8>], context: &Context<'_>) -> Result<Report, PkiError> {
    let looks = look::all(chain, context)?;
    let mut findings = bundle::check(&looks, context);
    for (at, look) in looks.iter().enumerate() {
        findings.extend(
            certificate::check(look, context)
                .into_iter()
                .map(|(rule, facts)| Finding {
                    rule,
                    certificate: Some(at),
                    facts,
                }),
        );
    }
    let other = bundle::what_webpki_adds(&looks, context, &findings);
    findings.extend(other);
    findings.sort_by_key(|finding| finding.certificate);
    Ok(Report {
        certificates: looks
            .into_iter()
            .map(|look| (look.position, look.facts))
            .collect(),
        findings,
    })
}

/// Does the private key in `pem` belong to the first certificate? `None` when it does, or when the kind of key cannot be
/// compared.
pub fn check_key(chain: &[Vec<u8>], pem: &str) -> Option<Finding> {
    let leaf = crate::certificate::parse(chain.first()?).ok()?;
    let public = key::public_of(pem)?;
    let certified = &leaf.public_key().subject_public_key.data[..];
    (public != certified).then(|| Finding {
        rule: rule("key-mismatch"),
        certificate: Some(0),
        facts: format!(
            "the key file's public key is {}…, the certificate of `{}` certifies {}…",
            short(&public),
            crate::identity::name_text(leaf.subject()),
            short(certified)
        ),
    })
}

/// The first bytes of a digest, enough to see that two differ.
fn short(public: &[u8]) -> String {
    crate::hex(&crate::sha256(public)[..8])
}

/// A server's name for people.
pub(crate) fn name_text(name: &ServerName) -> String {
    match name {
        ServerName::Dns(dns) => dns.clone(),
        ServerName::Ip(ip) => ip.to_string(),
    }
}
