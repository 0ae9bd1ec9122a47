//! The CBOR inside tokens: `55799([…])`, five items each (spec/device-protocol §2.1).

use super::DeviceType;
use crate::cbor::{self, Head, Major, Reader};
use crate::wire::CborRefusal;
use crate::{DeviceId, FirmwareId};
use alloc::vec::Vec;
use minicbor::data::Tag;

/// `55799([1, bstr16 device, uint type, bstr16 firmware, bstr16 nonce])`
pub(super) struct AttestationBody {
    pub(super) message: u32,
    pub(super) device: DeviceId,
    pub(super) device_type: DeviceType,
    pub(super) firmware: FirmwareId,
    pub(super) nonce: [u8; 16],
}

/// `55799([8 or 9, bstr16 device, bstr(CBOR int), bstr32 sha256, bstr16 nonce])`
pub(super) struct KeygenPayload {
    pub(super) message: u32,
    pub(super) device: DeviceId,
    pub(super) sec_tag: u32,
    pub(super) digest: [u8; 32],
    pub(super) nonce: [u8; 16],
}

impl AttestationBody {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CborRefusal> {
        let mut input = five_items(bytes)?;
        let body = Self {
            message: input.u32("message number")?,
            device: DeviceId::from_bytes(input.byte_array("device uuid")?),
            device_type: DeviceType(input.u32("device type")?),
            firmware: FirmwareId::from_bytes(input.byte_array("firmware uuid")?),
            nonce: input.byte_array("nonce")?,
        };
        input.end()?;
        Ok(body)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = cbor::writer();
        out.tag(Tag::new(SELF_DESCRIBED))
            .and_then(|out| out.array(ITEMS))
            .and_then(|out| out.u32(self.message))
            .and_then(|out| out.bytes(self.device.as_bytes()))
            .and_then(|out| out.u32(self.device_type.0))
            .and_then(|out| out.bytes(self.firmware.as_bytes()))
            .and_then(|out| out.bytes(&self.nonce))
            .expect(cbor::IN_MEMORY);
        out.into_writer()
    }
}

impl KeygenPayload {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CborRefusal> {
        let mut input = five_items(bytes)?;
        let payload = Self {
            message: input.u32("message number")?,
            device: DeviceId::from_bytes(input.byte_array("device uuid")?),
            sec_tag: read_sec_tag(input.bytes("sec tag")?)?,
            digest: input.byte_array("digest")?,
            nonce: input.byte_array("nonce")?,
        };
        input.end()?;
        Ok(payload)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut tag = cbor::writer();
        tag.i32(self.sec_tag.cast_signed()).expect(cbor::IN_MEMORY);
        let mut out = cbor::writer();
        out.tag(Tag::new(SELF_DESCRIBED))
            .and_then(|out| out.array(ITEMS))
            .and_then(|out| out.u32(self.message))
            .and_then(|out| out.bytes(self.device.as_bytes()))
            .and_then(|out| out.bytes(&tag.into_writer()))
            .and_then(|out| out.bytes(&self.digest))
            .and_then(|out| out.bytes(&self.nonce))
            .expect(cbor::IN_MEMORY);
        out.into_writer()
    }
}

/// A signed 32-bit number; negative ones are tags above 2147483647.
fn read_sec_tag(bytes: &[u8]) -> Result<u32, CborRefusal> {
    let mut input = Reader::new(bytes);
    let Head { major, value, at } = input.head("sec tag")?;
    let tag = match (major, i32::try_from(value)) {
        (Major::Unsigned, Ok(value)) => value,
        (Major::Negative, Ok(value)) => -1 - value,
        (Major::Unsigned | Major::Negative, Err(_)) => return Err(CborRefusal::NumberRange { at }),
        _ => {
            return Err(CborRefusal::Unexpected {
                expected: "sec tag",
                at,
            });
        }
    };
    input.end()?;
    Ok(tag.cast_unsigned())
}

fn five_items(bytes: &[u8]) -> Result<Reader<'_>, CborRefusal> {
    let mut input = Reader::new(bytes);
    input.tag(SELF_DESCRIBED, "tag 55799")?;
    let at = input.at();
    match input.array("array of five")? {
        ITEMS => Ok(input),
        items => Err(CborRefusal::WrongItemCount {
            what: "message",
            items,
            at,
        }),
    }
}

/// Self-described CBOR, RFC 8949 §3.4.6.
const SELF_DESCRIBED: u64 = 55799;
const ITEMS: u64 = 5;
