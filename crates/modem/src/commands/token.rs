//! `%KEYGEN`, `%ATTESTTOKEN`, `%JWT`: everything the modem signs (spec/modem-at §5–§7, spec/device-protocol §2, §3).

use std::time::Duration;

use sectag_pki::csr::{self, CsrError};
use sectag_proto::es256::SignEs256;
use sectag_proto::jwt::{self, Claims};
use sectag_proto::token::{AttestationToken, KeygenBody, KeygenOutput};
use sectag_proto::{CredentialType, SecTag};

use super::Lines;
use super::arguments::Arguments;
use super::credential::{offline, own_tag_is_the_modems};
use crate::Cme;
use crate::key::PrivateKey;
use crate::virtual_modem::VirtualModem;

/// Longest subject or audience of a JWT, in bytes: the client's buffer for the whole token is 850.
const CLAIM_BYTES_MAX: usize = 128;

/// Attributes of a CSR's subject; more would not fit the client's answer buffer.
const ATTRIBUTES_MAX: usize = 16;

/// Key usage of a CSR when the command names none (spec/modem-at §5).
const DEFAULT_KEY_USAGE: &str = "111010000";

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
    let device = modem.identity.device.to_string();
    let attributes = match arguments.text(3)? {
        None | Some("") => vec![("CN", device.as_str())],
        Some(text) => csr::attributes(text).map_err(|_| Cme::PARAMETERS)?,
    };
    let usage = match arguments.text(4)? {
        None | Some("") => DEFAULT_KEY_USAGE,
        Some(digits) => digits,
    };
    let nine_digits = usage.len() == 9 && usage.bytes().all(|b| matches!(b, b'0' | b'1'));
    if attributes.len() > ATTRIBUTES_MAX || !nine_digits {
        return Err(Cme::PARAMETERS.into());
    }
    offline(modem)?;
    let key = Generated::for_slot(modem, (tag, slot_kind))?;
    let spki = key.private.public_key();
    let body = match kind {
        KeygenBody::PublicKey => spki.as_spki_der().to_vec(),
        KeygenBody::Csr => csr::build(
            &csr::Request {
                attributes: &attributes,
                key_usage_bits: usage,
                null_parameters: modem.options.csr_null_parameters,
            },
            spki.as_spki_der(),
            |info| Ok::<_, CsrError>(key.private.sign(info).0),
        )
        .map_err(|_| Cme::KEY_GENERATION)?,
    };
    // Stored before anything about it is printed, and only when there is something to print.
    key.store(modem)?;
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

/// The key of one KEYGEN command.
struct Generated {
    private: PrivateKey,
    /// Where to put it; `None` when it is there already.
    slot: Option<(u32, CredentialType)>,
}

impl Generated {
    /// A new key. What becomes of one that is there differs by firmware: see [`Options`](crate::Options).
    fn for_slot(modem: &mut VirtualModem, slot: (u32, CredentialType)) -> Result<Self, Cme> {
        let options = &modem.options;
        let endorses = slot.1 == CredentialType::ENDORSEMENT_PRIVATE_KEY;
        match modem.storage.content(slot) {
            Some(pem) if endorses && options.endorsement_key_stays => Ok(Self {
                private: PrivateKey::from_pem(pem).ok_or(Cme::KEY_GENERATION)?,
                slot: None,
            }),
            Some(_) if endorses || !options.keygen_overwrites => Err(Cme::ALREADY_EXISTS),
            _ => Ok(Self {
                private: PrivateKey::generate(&mut *modem.entropy).ok_or(Cme::KEY_GENERATION)?,
                slot: Some(slot),
            }),
        }
    }

    fn store(&self, modem: &mut VirtualModem) -> Result<(), Cme> {
        let Some(slot) = self.slot else {
            return Ok(());
        };
        let pem = self.private.to_pem().ok_or(Cme::KEY_GENERATION)?;
        let room = modem.options.room();
        modem.change(|storage| storage.write(slot, &pem, room))
    }
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

/// `AT%CLAIMTOKEN=<tag>[,"<32 hex digits>"]`: needs an ownership public key (type 9) under the tag. No command of
/// this modem puts one there, so what is well-formed fails as on a device without owner.
pub(super) fn claim(arguments: Arguments<'_>) -> Lines {
    arguments.at_most(2)?;
    own_tag_is_the_modems(arguments.required(0)?)?;
    if let Some(challenge) = arguments.text(1)? {
        nonce(challenge).ok_or(Cme::PARAMETERS)?;
    }
    Err(Cme::CLAIM_TOKEN.into())
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
