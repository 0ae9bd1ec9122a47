//! A key made where it stays: the request for it, and what comes out (spec/modem-at §5, spec/device-protocol §2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectag_pki::pem;
use sectag_proto::at::{self, Answer};
use sectag_proto::token::KeygenBody;
use sectag_proto::{CredentialType, SecTag};

use super::ask::unusable;
use super::{AtStore, CredentialStore as _, StoreError};
use crate::Modem;

/// What key is wanted, and what shall be printed about it.
#[derive(Debug, Clone, Copy)]
pub struct KeyRequest<'a> {
    /// Where it shall lie.
    pub tag: SecTag,
    /// [`CredentialType::CLIENT_PRIVATE_KEY`] or [`CredentialType::ENDORSEMENT_PRIVATE_KEY`].
    pub kind: CredentialType,
    /// A CSR, or the bare public key.
    pub body: KeygenBody,
    /// Subject of the CSR, e.g. `O=Example,C=NO,CN=dev-1`; `None`: a modem takes `CN=<device uuid>`.
    pub attributes: Option<&'a str>,
    /// Nine binary digits, digitalSignature first; `None`: `111010000`.
    pub key_usage: Option<&'a str>,
}

impl KeyRequest<'_> {
    /// A client key under `tag`, with a CSR and the modem's defaults.
    pub const fn client(tag: SecTag) -> Self {
        Self {
            tag,
            kind: CredentialType::CLIENT_PRIVATE_KEY,
            body: KeygenBody::Csr,
            attributes: None,
            key_usage: None,
        }
    }
}

/// What is known about a new key outside of where it lies; nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMaterial {
    /// What `der` is.
    pub kind: KeygenBody,
    /// The CSR (PKCS#10), or the public key (SubjectPublicKeyInfo), as it was made.
    pub der: Vec<u8>,
    /// The modem's signature over it (COSE_Sign1); `None` where no modem made the key.
    pub cose: Option<Vec<u8>>,
    /// `<base64url body>.<base64url COSE>` as the modem printed it; `None` where no modem made the key.
    pub raw: Option<String>,
}

impl KeyMaterial {
    /// `der` as PEM.
    pub fn pem(&self) -> String {
        let label = match self.kind {
            KeygenBody::Csr => "CERTIFICATE REQUEST",
            KeygenBody::PublicKey => "PUBLIC KEY",
        };
        pem::encode(label, &self.der)
    }
}

/// Makes a key under a tag of `modem` (`AT%KEYGEN`), which must be offline.
///
/// # Errors
/// [`StoreError::Active`] while LTE is active, [`StoreError::Exists`] when the tag has a client key already.
pub fn keygen(modem: &mut dyn Modem, request: &KeyRequest<'_>) -> Result<KeyMaterial, StoreError> {
    AtStore::new(modem).keygen(request)
}

/// The command line.
pub(super) fn line(request: &KeyRequest<'_>) -> Result<String, StoreError> {
    checked(request)?;
    let content = match request.body {
        KeygenBody::Csr => 0,
        KeygenBody::PublicKey => 1,
    };
    let mut line = format!("AT%KEYGEN={},{},{content}", request.tag, request.kind.0);
    let quoted = |text: Option<&str>| {
        at::quote(text.unwrap_or_default())
            .map_err(|character| StoreError::Invalid(format!("the attributes hold {character:?}")))
    };
    if request.attributes.is_some() || request.key_usage.is_some() {
        line += &format!(",{}", quoted(request.attributes)?);
    }
    if request.key_usage.is_some() {
        line += &format!(",{}", quoted(request.key_usage)?);
    }
    Ok(line)
}

/// What every store refuses.
pub(super) fn checked(request: &KeyRequest<'_>) -> Result<(), StoreError> {
    let (client, endorsement) = (
        CredentialType::CLIENT_PRIVATE_KEY,
        CredentialType::ENDORSEMENT_PRIVATE_KEY,
    );
    if request.kind != client && request.kind != endorsement {
        return Err(StoreError::Invalid(format!(
            "a {} cannot be generated, only a client key (2) or an endorsement key (8)",
            request.kind
        )));
    }
    if let Some(bits) = request.key_usage
        && !(bits.len() == 9 && bits.bytes().all(|b| matches!(b, b'0' | b'1')))
    {
        return Err(StoreError::Invalid(format!(
            "`{bits}` is not a key usage: nine binary digits are needed, such as 111010000"
        )));
    }
    Ok(())
}

/// Reads the answer.
pub(super) fn material(
    request: &KeyRequest<'_>,
    answer: &Answer,
) -> Result<KeyMaterial, StoreError> {
    let raw = answer
        .info_text("%KEYGEN:")
        .ok_or_else(|| unusable(answer))?;
    let (body, cose) = raw.split_once('.').ok_or_else(|| unusable(answer))?;
    let decode = |text: &str| {
        URL_SAFE_NO_PAD
            .decode(text.trim().trim_end_matches('='))
            .map_err(|_| unusable(answer))
    };
    Ok(KeyMaterial {
        kind: request.body,
        der: decode(body)?,
        cose: Some(decode(cose)?),
        raw: Some(raw.to_owned()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sent_only_as_far_as_they_are_given() {
        let tag = SecTag::new(7).unwrap();
        let mut request = KeyRequest::client(tag);
        assert_eq!(line(&request).unwrap(), "AT%KEYGEN=7,2,0");
        request.attributes = Some("CN=dev-1");
        assert_eq!(line(&request).unwrap(), "AT%KEYGEN=7,2,0,\"CN=dev-1\"");
        request.key_usage = Some("101010000");
        assert_eq!(
            line(&request).unwrap(),
            "AT%KEYGEN=7,2,0,\"CN=dev-1\",\"101010000\""
        );
        request.attributes = None;
        request.body = KeygenBody::PublicKey;
        assert_eq!(
            line(&request).unwrap(),
            "AT%KEYGEN=7,2,1,\"\",\"101010000\""
        );
    }

    #[test]
    fn what_no_modem_takes_is_refused_before_it_is_sent() {
        let mut request = KeyRequest::client(SecTag::new(7).unwrap());
        request.key_usage = Some("11101");
        assert!(line(&request).is_err());
        request.key_usage = None;
        request.attributes = Some("CN=\"x\"");
        assert!(line(&request).is_err());
        request.attributes = None;
        request.kind = CredentialType::PSK;
        assert!(line(&request).unwrap_err().to_string().contains("PSK"));
    }
}
