//! The chain that a server sent, judged: how its links hang together, which root it ends in, and whether to trust it.
//!
//! ```text
//!   sent:  0 end entity ──issued by──► 1 intermediate ──issued by──► ?
//!                                                                    │
//!              sent as well ◄── is its own issuer ───────────────────┤
//!              known        ◄── among the roots given ───────────────┤
//!              missing      ◄── neither: its name is said, and nothing takes its place
//! ```

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::look::Look;
use super::{Context, Finding, KeyKind, SignatureKind, lint_chain};
use crate::{CertificateFacts, PkiError, Purpose, ServerName};

/// One certificate of a chain.
#[derive(Clone, Debug)]
pub struct Link {
    /// As it was sent.
    pub der: Vec<u8>,
    /// What it says.
    pub facts: CertificateFacts,
    /// Its key.
    pub key: KeyKind,
    /// How it is signed.
    pub signature: SignatureKind,
}

impl Link {
    /// Reads one.
    ///
    /// # Errors
    /// [`PkiError::Malformed`].
    pub fn new(der: &[u8]) -> Result<Self, PkiError> {
        let look = Look::new(der)?;
        Ok(Self {
            der: der.to_vec(),
            key: look.key,
            signature: look.signature,
            facts: look.facts,
        })
    }
}

/// Where the path from the end entity ends.
#[derive(Clone, Debug)]
pub enum Root {
    /// In a certificate that the server sent.
    Sent {
        /// Its number in the chain.
        link: usize,
        /// It is among the roots given as well.
        known: bool,
    },
    /// In one of the roots given, which the server did not send.
    Known(Box<Link>),
    /// Nowhere: the last certificate of the path names an issuer that was neither sent nor given.
    Missing {
        /// The issuer's name in the order of RFC 4514.
        issuer: String,
    },
}

/// A chain with everything that can be said about it.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What was sent, in the order in which it was sent.
    pub links: Vec<Link>,
    /// The way from the end entity upwards, as numbers of `links`.
    pub path: Vec<usize>,
    /// Where it ends.
    pub root: Root,
    /// Does a verifier that trusts the roots given take it, with this name, at this time? Else its words.
    pub verified: Result<(), String>,
    /// What [`super::lint_chain`] finds.
    pub findings: Vec<Finding>,
}

impl Judgement {
    /// The certificate of the root, wherever it was found.
    pub fn root_link(&self) -> Option<&Link> {
        match &self.root {
            Root::Sent { link, .. } => self.links.get(*link),
            Root::Known(link) => Some(link),
            Root::Missing { .. } => None,
        }
    }
}

/// Longest path that is followed; real ones have three or four links.
const PATH_LINKS_MAX: usize = 16;

/// What stays wrong with an end entity that is itself among the roots given. All else, as CA:TRUE in the certificate of
/// the exercise's broker, is settled by trusting exactly this certificate; the findings name whom it stops.
const BINDS_ALL: &[&str] = &[
    "expired",
    "not-yet-valid",
    "validity-backwards",
    "utctime-19xx",
    "name-mismatch",
    "no-name",
    "ip-in-dns-san",
    "no-server-auth",
    "any-eku",
];

/// Judges the chain that a server reached under `name` sent.
///
/// # Errors
/// [`PkiError::Malformed`] for an empty chain, or a certificate that cannot be read.
pub fn judge(
    sent: &[Vec<u8>],
    roots: &[Vec<u8>],
    name: &ServerName,
    now_s: u64,
) -> Result<Judgement, PkiError> {
    let context = Context {
        now_s,
        purpose: Some(Purpose::Servers),
        name: Some(name),
        roots,
    };
    let findings = lint_chain(sent, &context)?.findings;
    let links: Vec<Link> = sent
        .iter()
        .map(|der| Link::new(der))
        .collect::<Result<_, _>>()?;
    let Some((leaf, others)) = sent.split_first() else {
        return Err(PkiError::malformed(
            "chain",
            "there is no certificate in it",
        ));
    };
    let looks: Vec<Look<'_>> = sent
        .iter()
        .map(|der| Look::new(der))
        .collect::<Result<_, _>>()?;
    // A store holds roots of every age; one that cannot be read is nobody's root here.
    let stored: Vec<Look<'_>> = roots.iter().filter_map(|der| Look::new(der).ok()).collect();
    let (path, root) = follow(&looks, &stored);
    let between: Vec<&[u8]> = others.iter().map(Vec::as_slice).collect();
    let said = webpki_says(leaf, &between, roots, Purpose::Servers, Some(name), now_s);
    let verified = match said {
        Err(_)
            if roots.contains(leaf) && findings.iter().all(|f| !BINDS_ALL.contains(&f.rule.id)) =>
        {
            Ok(())
        }
        said => said.map_err(|error| words(&error)),
    };
    Ok(Judgement {
        links,
        path,
        root,
        verified,
        findings,
    })
}

/// From the end entity to the root. The roots given come first, so that a root which was also sent cross-signed by an
/// older one ends the path.
fn follow(sent: &[Look<'_>], stored: &[Look<'_>]) -> (Vec<usize>, Root) {
    let mut path = vec![0];
    loop {
        let at = path[path.len() - 1]; // begins with one
        let look = &sent[at];
        let known = |root: &&Look<'_>| root.is_same_authority(look);
        let authority = at != 0 || look.is_self_issued();
        if look.is_self_issued() && look.signed_by(look) != Some(false) {
            let known = stored.iter().any(|root| root.is_same_authority(look));
            return (path, Root::Sent { link: at, known });
        }
        let same = stored.iter().find(known).filter(|_| authority);
        if let Some(root) = same.or_else(|| stored.iter().find(|root| look.is_issued_by(root))) {
            // Sent as well, further up?
            let also = sent.iter().position(|other| other.der == root.der);
            let root = match also {
                Some(link) => Root::Sent { link, known: true },
                None => Root::Known(Box::new(Link {
                    der: root.der.to_vec(),
                    facts: root.facts.clone(),
                    key: root.key.clone(),
                    signature: root.signature.clone(),
                })),
            };
            if let Root::Sent { link, .. } = root
                && !path.contains(&link)
            {
                path.push(link);
            }
            return (path, root);
        }
        let issuer =
            (0..sent.len()).find(|other| !path.contains(other) && look.is_issued_by(&sent[*other]));
        match issuer {
            Some(issuer) if path.len() < PATH_LINKS_MAX => path.push(issuer),
            _ => {
                let issuer = look.facts.issuer.clone();
                return (path, Root::Missing { issuer });
            }
        }
    }
}

/// Asks webpki, as rustls does, with every anchor that can be one.
pub(crate) fn webpki_says(
    leaf: &[u8],
    between: &[&[u8]],
    anchors: &[Vec<u8>],
    purpose: Purpose,
    name: Option<&ServerName>,
    now_s: u64,
) -> Result<(), webpki::Error> {
    let anchors: Vec<CertificateDer<'_>> = anchors
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let anchors: Vec<_> = anchors
        .iter()
        .filter_map(|der| anchor_from_trusted_cert(der).ok())
        .collect();
    let between: Vec<CertificateDer<'_>> = between
        .iter()
        .map(|der| CertificateDer::from(*der))
        .collect();
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf)?;
    let usage = match purpose {
        Purpose::Servers => KeyUsage::server_auth(),
        Purpose::Devices => KeyUsage::client_auth(),
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &between,
        time,
        usage,
        None,
        None,
    )?;
    let name = match name {
        None => return Ok(()),
        Some(ServerName::Ip(ip)) => rustls_pki_types::ServerName::from(*ip),
        Some(ServerName::Dns(dns)) => match rustls_pki_types::ServerName::try_from(dns.as_str()) {
            Ok(name) => name,
            Err(_) => return Ok(()), // a wildcard is no name to reach anything by
        },
    };
    leaf.verify_is_valid_for_subject_name(&name)
}

/// The verifier's error as a sentence, in the words of the rules where there is one.
pub fn words(error: &webpki::Error) -> String {
    use webpki::Error as E;
    let day = |time: &UnixTime| {
        super::certificate::day(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    };
    match error {
        E::UnknownIssuer => "no root that is trusted here issued it".to_owned(),
        E::CertExpired { time, not_after } => format!(
            "it was valid until {}, and the clock says {}",
            day(not_after),
            day(time)
        ),
        E::CertNotValidYet { time, not_before } => format!(
            "it is valid from {}, and the clock says {}",
            day(not_before),
            day(time)
        ),
        E::CertNotValidForName(context) => {
            let own = match &context.presented[..] {
                [] => "no name".to_owned(),
                names => names.join(", "),
            };
            format!(
                "it was reached as {}, and is for {own}",
                context.expected.to_str()
            )
        }
        E::CaUsedAsEndEntity => {
            "it is an authority (CA:TRUE) and is shown as an end entity".to_owned()
        }
        E::EndEntityUsedAsCa => "an issuer in it is no authority".to_owned(),
        E::UnsupportedCertVersion => "it is X.509 version 1".to_owned(),
        E::InvalidSignatureForPublicKey => "a signature in it is wrong".to_owned(),
        E::PathLenConstraintViolated => "it is longer than a path length allows".to_owned(),
        E::NameConstraintViolation => {
            "its name is outside its issuer's name constraints".to_owned()
        }
        other => format!("webpki says {other}"),
    }
}
