//! What the tags hold does not suffice; nothing was sent.

use sectag_modem::SignerError;
use sectag_proto::CredentialType;

use super::{Cause, Explanation};
use crate::link::{LinkError, tag_list};

pub(super) fn explain(error: &LinkError) -> Option<Explanation> {
    let sentence = error.to_string();
    let explained = |cause, fix: String| Some(Explanation::new(cause, sentence.clone(), fix));
    match error {
        LinkError::NoTags => explained(
            Cause::NoSecTag,
            "give `--sec-tag`, or set CONFIG_MQTT_HELPER_SEC_TAG".to_owned(),
        ),
        LinkError::NoRootCa { tags, target } => {
            let tag = tags.first().map(ToString::to_string).unwrap_or_default();
            explained(
                Cause::CaMissing,
                format!(
                    "write the root CA of the broker to {}: `sectag cert chain {target} --to-tag {tag}` fetches and shows it, or provision the device first",
                    tag_list(tags)
                ),
            )
        }
        LinkError::RootCa { place, .. } => explained(
            Cause::CaUnreadable,
            format!(
                "write the root CA to {place} again, as PEM with its line ends; a modem takes 4 kB"
            ),
        ),
        LinkError::Certificate { place, .. } => explained(
            Cause::ClientCertificateUnreadable,
            format!("write the client certificate to {place} again, as PEM with its line ends"),
        ),
        LinkError::CertificateWithoutKey { tag, .. } => explained(
            Cause::CertificateWithoutKey,
            format!(
                "write the private key (type 2) of that certificate to sec tag {tag}, or delete the certificate to connect without client authentication"
            ),
        ),
        LinkError::KeyWithoutCertificate { tag } => explained(
            Cause::KeyWithoutCertificate,
            format!(
                "write the client certificate (type 1) for that key to sec tag {tag}, or delete the key to connect without client authentication"
            ),
        ),
        LinkError::KeyMismatch {
            tag,
            certificate_key,
            private_key,
        } => Some(Explanation::new(
            Cause::ClientKeyMismatch,
            format!(
                "{sentence}: the certificate is for the key with SHA-256 {}…, and the private key's is {}…",
                short(certificate_key),
                short(private_key)
            ),
            format!("generate the key and have its certificate issued again for sec tag {tag}"),
        )),
        LinkError::Signer(SignerError::UnusableKey { tag }) => explained(
            Cause::KeyCannotSign,
            format!(
                "write an unencrypted P-256 key and its certificate to sec tag {tag}, or let the modem generate one"
            ),
        ),
        LinkError::Signer(SignerError::Missing { tag, credential }) => match *credential {
            CredentialType::ROOT_CA => explained(
                Cause::CaMissing,
                format!("write the root CA of the broker to sec tag {tag}"),
            ),
            CredentialType::CLIENT_CERTIFICATE => explained(
                Cause::KeyWithoutCertificate,
                format!("write the client certificate (type 1) to sec tag {tag}"),
            ),
            _ => explained(
                Cause::CertificateWithoutKey,
                format!("write the private key (type 2) to sec tag {tag}"),
            ),
        },
        LinkError::Signer(_) => explained(
            Cause::CredentialUnreadable,
            "use a tag of the file store or of a virtual modem, or let the modem speak MQTT itself"
                .to_owned(),
        ),
        LinkError::ServerName(_) => explained(
            Cause::ServerNameInvalid,
            "give a host name such as `broker.example`, or an IP address, without scheme and port"
                .to_owned(),
        ),
        LinkError::Gateway(_) | LinkError::Tls(_) | LinkError::Session { .. } => None,
    }
}

fn short(hex: &str) -> &str {
    hex.get(..16).unwrap_or(hex)
}
