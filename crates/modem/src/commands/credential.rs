//! `%CMNG`: write, list, read, delete (spec/modem-at §4).

use sectag_proto::CredentialType;
use sectag_proto::es256::SignEs256;

use super::Lines;
use super::arguments::Arguments;
use crate::Cme;
use crate::certificate::is_pem_chain;
use crate::storage::{CONTENT_BYTES_MAX, TAG_MAX, deletable, digest, known, readable, writable};
use crate::virtual_modem::VirtualModem;

/// Characters of a password for an encrypted private key.
const PASSWORD_CHARS_MAX: usize = 32;

/// Tags of the modem's own entries, with their types; a delete-all tool has to skip them.
const OWN: [(u32, CredentialType); 3] = [
    (4_294_967_292, CredentialType::NORDIC_PUBLIC_KEY),
    (4_294_967_293, CredentialType::NORDIC_ROOT_CA),
    (4_294_967_294, CredentialType::DEVICE_IDENTITY_PUBLIC_KEY),
];

/// `AT%CMNG=<op>[,<tag>[,<type>[,"<content>"[,"<password>"]]]]`
pub(super) fn manage(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    match arguments.required(0)? {
        0 => write(modem, arguments),
        1 => list(modem, arguments),
        2 => read(modem, arguments),
        3 => delete(modem, arguments),
        _ => Err(Cme::PARAMETERS.into()),
    }
}

fn write(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(5)?;
    let slot = slot(arguments)?;
    let content = arguments
        .text(3)?
        .filter(|content| !content.is_empty() && content.len() <= CONTENT_BYTES_MAX)
        .ok_or(Cme::PARAMETERS)?;
    if arguments
        .text(4)?
        .is_some_and(|password| password.chars().count() > PASSWORD_CHARS_MAX)
    {
        return Err(Cme::PARAMETERS.into());
    }
    own_tag_is_the_modems(slot.0)?;
    if !writable(slot.1) {
        return Err(Cme::NO_ACCESS.into());
    }
    offline(modem)?;
    match slot.1 {
        CredentialType::ROOT_CA | CredentialType::CLIENT_CERTIFICATE
            if modem.options.checks_certificates && !is_pem_chain(content) =>
        {
            return Err(Cme::INVALID_CONTENT.into());
        }
        CredentialType::PSK if !is_hex(content) => return Err(Cme::PARAMETERS.into()),
        _ => {}
    }
    let room = modem.options.room();
    modem.change(|storage| storage.write(slot, content, room))?;
    Ok(Vec::new())
}

fn list(modem: &VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(3)?;
    let tag = arguments.number(1)?;
    let kind = arguments.number(2)?.map(credential_type).transpose()?;
    if tag.is_none() && kind.is_some() {
        return Err(Cme::PARAMETERS.into());
    }
    let wanted = |(t, k): (u32, CredentialType)| {
        tag.is_none_or(|tag| tag == t) && kind.is_none_or(|kind| kind == k)
    };
    let users = modem
        .storage
        .entries()
        .map(|(slot, content)| (slot, digest(content.as_bytes())));
    let own = OWN
        .iter()
        .filter(|_| modem.options.lists_own_tags)
        .map(|slot| (*slot, own_digest(modem, slot.1)));
    Ok(users
        .chain(own)
        .filter(|(slot, _)| wanted(*slot))
        .map(|((tag, kind), digest)| format!("%CMNG: {tag},{},\"{digest}\"", kind.0))
        .collect())
}

fn read(modem: &VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(3)?;
    let (tag, kind) = slot(arguments)?;
    if !readable(kind) {
        return Err(Cme::NO_ACCESS.into());
    }
    let content = modem.storage.content((tag, kind)).ok_or(Cme::NOT_FOUND)?;
    let digest = digest(content.as_bytes());
    Ok(vec![format!(
        "%CMNG: {tag},{},\"{digest}\",\"{content}\"",
        kind.0
    )])
}

fn delete(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(3)?;
    let slot = slot(arguments)?;
    own_tag_is_the_modems(slot.0)?;
    if !deletable(slot.1) {
        return Err(Cme::NO_ACCESS.into());
    }
    offline(modem)?;
    modem.change(|storage| storage.delete(slot).then_some(()).ok_or(Cme::NOT_FOUND))?;
    Ok(Vec::new())
}

/// Tag and type, both required.
fn slot(arguments: Arguments<'_>) -> Result<(u32, CredentialType), Cme> {
    Ok((
        arguments.required(1)?,
        credential_type(arguments.required(2)?)?,
    ))
}

fn credential_type(number: u32) -> Result<CredentialType, Cme> {
    u8::try_from(number)
        .map(CredentialType)
        .ok()
        .filter(|kind| known(*kind))
        .ok_or(Cme::PARAMETERS)
}

pub(super) const fn own_tag_is_the_modems(tag: u32) -> Result<(), Cme> {
    if tag > TAG_MAX {
        return Err(Cme::NO_ACCESS);
    }
    Ok(())
}

/// Storage must not change while LTE is active, modes 1, 2 and 21, and not on a failing supply.
pub(super) const fn offline(modem: &VirtualModem) -> Result<(), Cme> {
    if modem.options.power_off_warning {
        return Err(Cme::POWER_OFF_WARNING);
    }
    if modem.functional.lte_active() {
        return Err(Cme::ACTIVE_STATE);
    }
    Ok(())
}

fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The identity key's digest is real; the vendor's keys are not ours to have, so a name stands in for them.
fn own_digest(modem: &VirtualModem, kind: CredentialType) -> String {
    match kind {
        CredentialType::DEVICE_IDENTITY_PUBLIC_KEY => {
            digest(modem.identity.key.public_key().as_spki_der())
        }
        other => digest(format!("virtual {other}").as_bytes()),
    }
}
