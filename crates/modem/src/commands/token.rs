//! `%KEYGEN`, `%ATTESTTOKEN`, `%JWT`: everything the modem signs (spec/modem-at §5–§7, spec/device-protocol §2, §3).

use std::time::Duration;

use sectag_proto::es256::SignEs256;
use sectag_proto::jwt::{self, Claims};
use sectag_proto::token::{AttestationToken, KeygenBody, KeygenOutput};
use sectag_proto::{CredentialType, SecTag};

use super::Lines;
use super::arguments::Arguments;
use super::credential::{offline, own_tag_is_the_modems};
use crate::Cme;
use crate::csr::{self, Subject};
use crate::key::PrivateKey;
use crate::virtual_modem::VirtualModem;

/// Longest subject or audience of a JWT, in bytes: the client's buffer for the whole token is 850.
const CLAIM_BYTES_MAX: usize = 128;

/// `AT%KEYGEN=<tag>,<type>[,<content>[,"<attributes>"[,"<key usage>"]]]`
pub(super) fn generate_key(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(5)?;
    let tag = arguments.required(0)?;
    own_tag_is_the_modems(tag)?;
    let slot_kind = match arguments.required(1)? {
        2 => CredentialType::CLIENT_PRIVATE_KEY,
        8 => CredentialType::ENDORSEMENT_PRIVATE_KEY,
        _ => return Err(Cme::PARAMETERS.into()),
    };
    let kind = match arguments.number(2)?.unwrap_or(0) {
        0 => KeygenBody::Csr,
        1 => KeygenBody::PublicKey,
        _ => return Err(Cme::PARAMETERS.into()),
    };
    let subject = match arguments.text(3)? {
        None | Some("") => Subject::common_name(modem.identity.device.to_string()),
        Some(attributes) => Subject::parse(attributes).ok_or(Cme::PARAMETERS)?,
    };
    let usage = match arguments.text(4)? {
        None | Some("") => csr::DEFAULT_KEY_USAGE,
        Some(digits) => digits,
    };
    let usage = csr::key_usage(usage).ok_or(Cme::PARAMETERS)?;
    offline(modem)?;
    let key = key_for(modem, (tag, slot_kind))?;
    let body = match kind {
        KeygenBody::Csr => csr::build(&key, &subject, &usage, modem.options.csr_null_parameters),
        KeygenBody::PublicKey => key.public_key().as_spki_der().to_vec(),
    };
    let nonce = modem.random();
    let output = KeygenOutput::sign(
        kind,
        modem.identity.device,
        tag,
        nonce,
        body,
        modem.options.keygen_convention,
        &modem.identity.key,
    );
    Ok(vec![format!("%KEYGEN: \"{}\"", output.text())])
}

/// A new key, stored before anything about it is printed; an endorsement key that is there already answers again.
fn key_for(modem: &mut VirtualModem, slot: (u32, CredentialType)) -> Result<PrivateKey, Cme> {
    if let Some(pem) = modem.storage.content(slot) {
        if slot.1 == CredentialType::ENDORSEMENT_PRIVATE_KEY {
            return PrivateKey::from_pem(pem).ok_or(Cme::KEY_GENERATION);
        }
        return Err(Cme::ALREADY_EXISTS);
    }
    let key = PrivateKey::generate(&mut *modem.entropy).ok_or(Cme::KEY_GENERATION)?;
    let pem = key.to_pem().ok_or(Cme::KEY_GENERATION)?;
    let bytes_max = modem.options.storage_bytes_max;
    modem.change(|storage| storage.write(slot, &pem, bytes_max))?;
    Ok(key)
}

/// `AT%ATTESTTOKEN[="<32 hex digits>"]`
pub(super) fn attest(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(1)?;
    let nonce = match arguments.text(0)? {
        None => modem.random(),
        Some(challenge) => nonce(challenge).ok_or(Cme::PARAMETERS)?,
    };
    let identity = &modem.identity;
    let token = AttestationToken::sign(
        identity.device,
        identity.device_type,
        identity.firmware,
        nonce,
        modem.options.attest_convention,
        &identity.key,
    );
    Ok(vec![format!("%ATTESTTOKEN: \"{}\"", token.text())])
}

/// `AT%JWT[=<alg>[,<delta>[,"<subject>"[,"<audience>"[,<tag>,<key type>]]]]]`
pub(super) fn jwt(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(6)?;
    if arguments.number(0)?.unwrap_or(0) != 0 {
        return Err(Cme::PARAMETERS.into());
    }
    let delta = arguments.number(1)?.unwrap_or(0);
    let subject = arguments.text(2)?.unwrap_or_default();
    let audience = arguments.text(3)?.unwrap_or_default();
    if subject.len() > CLAIM_BYTES_MAX || audience.len() > CLAIM_BYTES_MAX {
        return Err(Cme::PARAMETERS.into());
    }
    let key = match (arguments.number(4)?, arguments.number(5)?) {
        (None, None) => modem.identity.key.clone(),
        (Some(tag), Some(2)) => {
            let tag = SecTag::new(u64::from(tag)).map_err(|_| Cme::PARAMETERS)?;
            let slot = (tag.get(), CredentialType::CLIENT_PRIVATE_KEY);
            let pem = modem.storage.content(slot).ok_or(Cme::NOT_FOUND)?;
            PrivateKey::from_pem(pem).ok_or(Cme::JWT)?
        }
        _ => return Err(Cme::PARAMETERS.into()),
    };
    let validity = match delta {
        0 => None,
        seconds => Some((
            modem.network.time().ok_or(Cme::JWT)?,
            Duration::from_secs(u64::from(seconds)),
        )),
    };
    let nonce = modem.random();
    let identity = &modem.identity;
    let token = jwt::sign(
        &Claims {
            chip: identity.device_type.chip(),
            device: identity.device,
            firmware: identity.firmware,
            nonce,
            validity,
            subject,
            audience,
        },
        &key,
    );
    Ok(vec![format!("%JWT: \"{token}\"")])
}

/// 16 bytes from 32 hex digits.
fn nonce(digits: &str) -> Option<[u8; 16]> {
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}
