//! Chains: put together for a server to send, and verified the way a peer would.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

use crate::{Certificate, PkiError, Purpose, ServerName};

/// A chain as PEM, in the order that TLS sends it (RFC 8446 §4.4.2): end entity first, no root.
pub fn pem(chain: &[&Certificate]) -> String {
    chain.iter().map(|certificate| certificate.pem()).collect()
}

/// Why a chain is not to be trusted. The source says it in the verifier's words.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of `{subject}` is not trusted")]
pub struct ChainError {
    /// Subject of the end entity.
    pub subject: String,
    /// What the verifier found.
    #[source]
    pub reason: webpki::Error,
}

impl ChainError {
    /// The end entity is on the revocation list.
    pub fn is_revoked(&self) -> bool {
        self.reason == webpki::Error::CertRevoked
    }

    /// None of the trusted certificates issued it.
    pub fn is_unknown_issuer(&self) -> bool {
        self.reason == webpki::Error::UnknownIssuer
    }

    /// A certificate of the chain has expired.
    pub fn is_expired(&self) -> bool {
        matches!(self.reason, webpki::Error::CertExpired { .. })
    }
}

/// What a chain is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The trust anchor as DER: a root, or an issuing authority taken as one.
    pub root: &'a [u8],
    /// Authorities between it and the end entity, in any order.
    pub intermediates: &'a [&'a [u8]],
    /// [`Purpose::Servers`] asks for `serverAuth`, [`Purpose::Devices`] for `clientAuth`.
    pub purpose: Purpose,
    /// The time at which all must be valid, Unix seconds.
    pub now_s: u64,
    /// The issuer's revocation list as DER; `None` does not check. With a list, an outdated one, or one of another
    /// issuer, is an error.
    pub crl: Option<&'a [u8]>,
    /// The name under which the server was reached; `None` does not check.
    pub name: Option<&'a ServerName>,
}

/// Verifies that `leaf` chains to the root of `check` for its purpose and time (RFC 5280 §6).
///
/// # Errors
/// [`VerifyError`].
pub fn verify(leaf: &[u8], check: &Check<'_>) -> Result<(), VerifyError> {
    let facts = crate::show(leaf)?;
    let fail = |reason| {
        VerifyError::NotTrusted(ChainError {
            subject: facts.subject.clone(),
            reason,
        })
    };
    let root = CertificateDer::from(check.root);
    let anchors = [anchor_from_trusted_cert(&root).map_err(fail)?];
    let between: Vec<CertificateDer<'_>> = check
        .intermediates
        .iter()
        .map(|der| CertificateDer::from(*der))
        .collect();
    let leaf_der = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf_der).map_err(fail)?;
    let usage = match check.purpose {
        Purpose::Servers => KeyUsage::server_auth(),
        Purpose::Devices => KeyUsage::client_auth(),
    };
    let list = check
        .crl
        .map(|der| BorrowedCertRevocationList::from_der(der).map(CertRevocationList::from))
        .transpose()
        .map_err(fail)?;
    let lists: Vec<&CertRevocationList<'_>> = list.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build()
    });
    let time = UnixTime::since_unix_epoch(Duration::from_secs(check.now_s));
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &between,
        time,
        usage,
        revocation,
        None,
    )
    .map_err(fail)?;
    if let Some(name) = check.name {
        let name =
            match name {
                ServerName::Ip(ip) => rustls_pki_types::ServerName::from(*ip),
                ServerName::Dns(dns) => rustls_pki_types::ServerName::try_from(dns.as_str())
                    .map_err(|_| PkiError::BadName {
                        name: dns.clone(),
                        why: "a server is reached under a name without wildcards",
                    })?,
            };
        leaf.verify_is_valid_for_subject_name(&name).map_err(fail)?;
    }
    Ok(())
}

/// Why [`verify`] did not say yes.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It can be read and is not trusted.
    #[error(transparent)]
    NotTrusted(ChainError),
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] PkiError),
}
