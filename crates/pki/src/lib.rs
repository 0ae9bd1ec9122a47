//! Who signed what: keys, certificate authorities, CSRs, chains, revocation; bytes in, bytes out.
//!
//! ```text
//!            root (20 years, pathlen 1)
//!           /                          \
//!   issuing: servers (10 y, pathlen 0)   issuing: devices (10 y, pathlen 0) ──► CRL
//!          |                              |                 \
//!   server certificate (397 days)   device certificate (2 y)  operator certificate (2 y)
//!   serverAuth, DNS and IP names    clientAuth, CN=<device>   clientAuth, CN + OU=sectag-operator
//! ```
//!
//! What the service issues is ECDSA P-256 with SHA-256. A gateway's own PKI ([`Authority::issue_local_server`],
//! [`Authority::issue_local_client`]) also meets RSA and P-384: authorities that were made elsewhere, keys behind a
//! passphrase, requests by other tools. Time is an argument (`now_s`, seconds since 1970 UTC); keys and serial
//! numbers come from aws-lc's generator. There are no files, sockets or devices here. From a CSR only the public key
//! reaches a certificate: names and rights come from the caller.

pub mod at_script;
mod authority;
mod certificate;
pub mod chain;
mod crl;
pub mod csr;
mod der;
mod encrypted;
mod error;
mod facts;
pub mod header;
mod identity;
mod key;
mod key_pair;
pub mod lint;
pub mod material;
pub mod own;
pub mod pem;
pub mod topics;

pub use authority::{
    Authority, DeviceTerms, Purpose, ServerName, Terms, identity_problem, looks_like_device_id,
};
pub use certificate::Certificate;
pub use crl::RevocationList;
pub use error::PkiError;
pub use facts::{CertificateFacts, show};
pub use identity::{ClientIdentity, OPERATOR_UNIT, Role, identity};
pub use key::{PrivateKey, SPKI_BYTES, check_p256_spki};
pub use key_pair::{KeyPair, KeyType};

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
