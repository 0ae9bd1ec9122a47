//! Why there is no link.

use sectag_modem::SignerError;
use sectag_mqtt::ClientError;
use sectag_proto::SecTag;

use super::papers::Place;
use crate::failures::{self, Explanation, Facts};
use crate::gateway_client::Unready;

/// Why there is no link; [`LinkError::explain`] has cause, sentence and fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// TLS with peer verification, and no sec tag to find an authority under.
    #[error("TLS needs a sec tag, and the list is empty")]
    NoTags,
    /// None of the tags has a root CA.
    #[error("no root CA (type 0) under {}", tag_list(tags))]
    NoRootCa {
        /// The tags asked.
        tags: Vec<SecTag>,
        /// `host:port` that was to be connected to.
        target: String,
    },
    /// The root CA under the tag is unusable.
    #[error("the root CA {}{place} is unusable: {problem}", of(0, place))]
    RootCa {
        /// Where it lies.
        place: Place,
        /// What is wrong with the text.
        problem: String,
    },
    /// The client certificate under the tag is unusable.
    #[error(
        "the client certificate {}{place} is unusable: {problem}",
        of(1, place)
    )]
    Certificate {
        /// Where it lies.
        place: Place,
        /// What is wrong with the text.
        problem: String,
    },
    /// A client certificate without its key.
    #[error(
        "sec tag {tag} has the client certificate (type 1) of `{subject}`, and no private key (type 2)"
    )]
    CertificateWithoutKey {
        /// The tag.
        tag: SecTag,
        /// Subject of the certificate.
        subject: String,
    },
    /// A client key without its certificate.
    #[error("sec tag {tag} has a private key (type 2), and no client certificate (type 1)")]
    KeyWithoutCertificate {
        /// The tag.
        tag: SecTag,
    },
    /// Certificate and key belong to different devices, or the key was generated again.
    #[error(
        "the client certificate (type 1) under sec tag {tag} is not for the private key (type 2) there"
    )]
    KeyMismatch {
        /// The tag.
        tag: SecTag,
        /// SHA-256 of the public key in the certificate, hexadecimal.
        certificate_key: String,
        /// SHA-256 of the public half of the private key, hexadecimal.
        private_key: String,
    },
    /// The key cannot sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The name that the server shall have is none.
    #[error("`{0}` is neither a host name nor an IP address")]
    ServerName(String),
    /// What the keys `mqtt.client.*` say cannot be done; nothing was sent.
    #[error(transparent)]
    Gateway(#[from] Box<Unready>),
    /// The TLS library refuses the settings.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    /// Connecting failed; it names the stage.
    #[error("{error}")]
    Session {
        /// What happened.
        error: ClientError,
        /// What was known at that time.
        facts: Box<Facts>,
    },
}

impl LinkError {
    /// Cause, sentence and fix; `None` for what no user can cause.
    pub fn explain(&self) -> Option<Explanation> {
        failures::explain_link(self)
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        self.explain().map(|explanation| explanation.fix)
    }
}

/// `(type 0) under ` for a tag, `in ` for a file.
fn of(kind: u8, place: &Place) -> String {
    match place {
        Place::Tag(_) => format!("(type {kind}) under "),
        Place::File(_) => "in ".to_owned(),
    }
}

/// A directory of authorities has hundreds.
const FILES_NAMED_MAX: usize = 3;

/// `under sec tag 42`, `under sec tags 42 and 43`, `` in `ca.crt` ``.
pub(crate) fn located(places: &[Place]) -> String {
    let mut tags = Vec::new();
    let mut parts = Vec::new();
    let mut more = 0;
    for place in places {
        match place {
            Place::Tag(tag) => tags.push(*tag),
            Place::File(path) if parts.len() < FILES_NAMED_MAX => {
                parts.push(format!("in `{}`", path.display()));
            }
            Place::File(_) => more += 1,
        }
    }
    if more > 0 {
        parts.push(format!("in {more} more files"));
    }
    if !tags.is_empty() || places.is_empty() {
        parts.insert(0, format!("under {}", tag_list(&tags)));
    }
    parts.join(" and ")
}

/// `sec tag 42`, `sec tags 42 and 43`.
pub(crate) fn tag_list(tags: &[SecTag]) -> String {
    let numbers: Vec<String> = tags.iter().map(ToString::to_string).collect();
    match &numbers[..] {
        [] => "no sec tag".to_owned(),
        [one] => format!("sec tag {one}"),
        [first @ .., last] => format!("sec tags {} and {last}", first.join(", ")),
    }
}
