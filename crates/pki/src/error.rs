//! Why a certificate could not be read or made.

use crate::lint::moment;

/// An error with the facts; none of them is a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The bytes are not what they should be.
    #[error("this is not a valid {what}: {why}")]
    Malformed {
        /// "certificate", "private key", "PEM".
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A public key that is not an uncompressed point on P-256.
    #[error("the public key is not an ECDSA P-256 key in its 91-byte form ({bytes} bytes)")]
    NotP256 {
        /// Length of what was given, in bytes.
        bytes: usize,
    },
    /// The private key belongs to another certificate.
    #[error("the private key does not belong to the certificate of `{subject}`")]
    KeyMismatch {
        /// Subject of the certificate.
        subject: String,
    },
    /// A certificate that must not sign others.
    #[error("the certificate of `{subject}` is not a certificate authority: {why}")]
    NotAnAuthority {
        /// Subject of the certificate.
        subject: String,
        /// What it lacks.
        why: &'static str,
    },
    /// A certificate authority was asked for something it is not for.
    #[error("`{authority}` does not issue {what}")]
    WrongAuthority {
        /// Subject of the authority.
        authority: String,
        /// What was asked for.
        what: &'static str,
    },
    /// The authority is not valid at the time of signing.
    #[error(
        "`{authority}` is valid from {} to {}, and it is {}",
        moment(*not_before_s), moment(*not_after_s), moment(*now_s)
    )]
    AuthorityNotValid {
        /// Subject of the authority.
        authority: String,
        /// Start of its validity.
        not_before_s: u64,
        /// End of its validity.
        not_after_s: u64,
        /// The time of signing.
        now_s: u64,
    },
    /// A name that cannot be put into a certificate, or must not be.
    #[error("`{name}` cannot be a name in a certificate: {why}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A server certificate without any name: no client could accept it.
    #[error("a server certificate needs at least one DNS name or IP address")]
    NoNames,
    /// A time that does not fit into a certificate.
    #[error("{seconds} (Unix seconds) is not a time that fits into a certificate")]
    BadTime {
        /// The time.
        seconds: u64,
    },
    /// A serial number that is not 1 to 20 bytes of hexadecimal digits.
    #[error("`{serial}` is not a serial number (2 to 40 hexadecimal digits)")]
    BadSerial {
        /// What was given.
        serial: String,
    },
    /// A private key that cannot be read without a passphrase.
    #[error("the private key is encrypted, and no passphrase was given")]
    Encrypted,
    /// The passphrase does not open the key, or the file is damaged; nobody can tell which.
    #[error("the passphrase does not open the private key")]
    Passphrase,
    /// A public key of a kind or size that is not certified.
    #[error("{found} is not certified: ECDSA P-256, ECDSA P-384 or RSA from 2048 bits is needed")]
    WeakKey {
        /// What was given: "RSA, 1024 bits".
        found: String,
    },
    /// The cryptographic library refused; it does not say why.
    #[error("cannot {action}")]
    Crypto {
        /// What was tried: "sign a certificate".
        action: &'static str,
        /// What the library says, if anything.
        #[source]
        source: Option<rcgen::Error>,
    },
}

impl PkiError {
    pub(crate) fn malformed(what: &'static str, why: impl ToString) -> Self {
        Self::Malformed {
            what,
            why: why.to_string(),
        }
    }

    pub(crate) fn crypto(action: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |e| Self::Crypto {
            action,
            source: Some(e),
        }
    }
}
