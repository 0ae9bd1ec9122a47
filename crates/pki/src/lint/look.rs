//! A certificate as the rules see it.

use std::fmt;

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::X509Certificate;

use super::{Context, KeyKind, SignatureKind};
use crate::certificate::parse;
use crate::{CertificateFacts, PkiError, Purpose};

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The one that somebody shows for itself.
    EndEntity,
    /// An authority between.
    Intermediate,
    /// Its own issuer, fit to be a trust anchor.
    Root,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndEntity => "end entity",
            Self::Intermediate => "intermediate",
            Self::Root => "root",
        })
    }
}

/// One certificate with what the rules ask for.
pub(crate) struct Look<'a> {
    pub(crate) der: &'a [u8],
    pub(crate) x509: X509Certificate<'a>,
    pub(crate) facts: CertificateFacts,
    pub(crate) position: Position,
    pub(crate) purpose: Purpose,
    pub(crate) key: KeyKind,
    pub(crate) signature: SignatureKind,
}

/// Reads all certificates and gives each its place: the first is the end entity, unless it is an authority without any
/// sign of being a server's or a client's own.
pub(crate) fn all<'a>(
    chain: &'a [Vec<u8>],
    context: &Context<'_>,
) -> Result<Vec<Look<'a>>, PkiError> {
    let mut looks = Vec::with_capacity(chain.len());
    for (at, der) in chain.iter().enumerate() {
        let look = Look::new(der).map_err(|error| match error {
            PkiError::Malformed { what, why } if chain.len() > 1 => PkiError::Malformed {
                what,
                why: format!("number {at} of the chain: {why}"),
            },
            other => other,
        })?;
        looks.push(look);
    }
    let other_end = looks
        .iter()
        .position(|look| !look.facts.is_ca && !look.is_self_issued());
    let only_roots = looks.len() > 1 && looks.iter().all(|look| look.is_self_issued());
    if let Some(first) = looks.first_mut() {
        let asked = context.purpose.is_some() || context.name.is_some();
        let facts = &first.facts;
        let named = |name: &String| name.starts_with("DNS:") || name.starts_with("IP:");
        let serves = facts.names.iter().any(named) || !facts.extended_key_usages.is_empty();
        // Behind its issuer, or in a file of roots that have nothing to do with each other.
        let misplaced = (facts.is_ca && other_end.is_some()) || only_roots;
        if !misplaced && (asked || serves || !(first.facts.is_ca || first.is_self_issued())) {
            first.position = Position::EndEntity;
        }
        let client = first
            .facts
            .extended_key_usages
            .iter()
            .any(|u| u == "clientAuth");
        let server = first
            .facts
            .extended_key_usages
            .iter()
            .any(|u| u == "serverAuth");
        let own = if client && !server && context.name.is_none() {
            Purpose::Devices
        } else {
            Purpose::Servers
        };
        let purpose = context.purpose.unwrap_or(own);
        for look in &mut looks {
            look.purpose = purpose;
        }
    }
    Ok(looks)
}

impl<'a> Look<'a> {
    pub(crate) fn new(der: &'a [u8]) -> Result<Self, PkiError> {
        let x509 = parse(der)?;
        let facts = crate::show(der)?;
        let self_issued = x509.subject() == x509.issuer();
        Ok(Self {
            der,
            key: KeyKind::of(x509.public_key()),
            signature: SignatureKind::of(&x509.signature_algorithm),
            position: if self_issued {
                Position::Root
            } else {
                Position::Intermediate
            },
            purpose: Purpose::Servers,
            x509,
            facts,
        })
    }

    /// Its issuer has its own name. That alone is no proof of a self-signature.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.x509.subject() == self.x509.issuer()
    }

    /// It names `issuer` as its issuer and, as far as the algorithm is known here, its signature is of that key.
    pub(crate) fn is_issued_by(&self, issuer: &Look<'_>) -> bool {
        self.names_issuer(issuer) && self.signed_by(issuer) != Some(false)
    }

    pub(crate) fn names_issuer(&self, issuer: &Look<'_>) -> bool {
        self.x509.issuer().as_raw() == issuer.x509.subject().as_raw()
    }

    /// Is the signature of this key? `None` when the algorithm is not known here.
    pub(crate) fn signed_by(&self, issuer: &Look<'_>) -> Option<bool> {
        use x509_parser::error::X509Error;
        match self.x509.verify_signature(Some(issuer.x509.public_key())) {
            Ok(()) => Some(true),
            // Short RSA keys, and PSS with a salt of unusual length, are refused with the same word as a wrong signature.
            Err(X509Error::SignatureVerificationError) => {
                let usual = issuer.key.rsa_bits().is_none_or(|bits| bits >= 2048)
                    && self.signature.algorithm != "RSA-PSS";
                usual.then_some(false)
            }
            Err(_) => None,
        }
    }

    /// The same subject and key, perhaps in another certificate: a cross-signed root.
    pub(crate) fn is_same_authority(&self, other: &Look<'_>) -> bool {
        self.x509.subject().as_raw() == other.x509.subject().as_raw()
            && self.x509.public_key().raw == other.x509.public_key().raw
    }

    /// The content of the extension with this object identifier, and whether it is critical.
    pub(crate) fn extension(&self, oid: &str) -> Option<(&ParsedExtension<'a>, bool)> {
        self.x509
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == oid)
            .map(|extension| (extension.parsed_extension(), extension.critical))
    }

    /// Validity as signed Unix seconds, so that times before 1970 are what they are.
    pub(crate) fn validity(&self) -> (i64, i64) {
        let validity = self.x509.validity();
        (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        )
    }

    /// The name for people.
    pub(crate) fn subject(&self) -> &str {
        &self.facts.subject
    }
}

pub(crate) const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub(crate) const KEY_USAGE: &str = "2.5.29.15";
pub(crate) const SUBJECT_ALT_NAME: &str = "2.5.29.17";
pub(crate) const NAME_CONSTRAINTS: &str = "2.5.29.30";
pub(crate) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
