//! `#SECTAGSIGN`: a private command that lends signatures; no real modem has it, and ours only when it was asked for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectag_proto::es256::SignEs256;
use sectag_proto::{CredentialType, SecTag};

use super::Lines;
use super::arguments::Arguments;
use crate::Cme;
use crate::key::PrivateKey;
use crate::virtual_modem::VirtualModem;

/// `AT#SECTAGSIGN=<tag>[,"<base64url SHA-256>"]` → `#SECTAGSIGN: "<base64url>"`: r‖s over the digest, or without one
/// the public key (SubjectPublicKeyInfo), which tells whether the command is there and which certificate fits.
///
/// A digest, because a message can be longer than a command: in TLS 1.2 it is the whole handshake.
pub(super) fn lend(modem: &VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(2)?;
    let tag = SecTag::new(u64::from(arguments.required(0)?)).map_err(|_| Cme::PARAMETERS)?;
    let digest = arguments.text(1)?.map(parse).transpose()?;
    let slot = (tag.get(), CredentialType::CLIENT_PRIVATE_KEY);
    let pem = modem.storage.content(slot).ok_or(Cme::NOT_FOUND)?;
    let key = PrivateKey::from_pem(pem).ok_or(Cme::NO_ACCESS)?;
    let bytes = match digest {
        None => key.public_key().as_spki_der().to_vec(),
        Some(digest) => {
            let signature = key.sign_digest(&digest).ok_or(Cme::SYSTEM_FAILURE)?;
            signature.0.to_vec()
        }
    };
    Ok(vec![format!(
        "#SECTAGSIGN: \"{}\"",
        URL_SAFE_NO_PAD.encode(bytes)
    )])
}

fn parse(digest: &str) -> Result<[u8; 32], Cme> {
    URL_SAFE_NO_PAD
        .decode(digest)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Cme::PARAMETERS)
}
