//! Who a modem is: what the factory put in.

mod file;

pub use file::IdentityError;

use std::path::Path;

use sectag_proto::es256::{PublicKey, SignEs256};
use sectag_proto::token::DeviceType;
use sectag_proto::{DeviceId, FirmwareId};

use crate::key::PrivateKey;
use crate::seeded;

/// The identity of one modem. The identity key signs tokens; it cannot be read out of here.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `%DEVICEUUID`.
    pub device: DeviceId,
    /// Number in attestation tokens; decides model and hardware names.
    pub device_type: DeviceType,
    /// `%XMODEMUUID`.
    pub firmware: FirmwareId,
    /// `+CGMR`, e.g. `mfw_nrf91x1_2.0.2`.
    pub firmware_name: String,
    /// 15 digits, the last one being the check digit.
    pub imei: String,
    pub(crate) key: PrivateKey,
}

/// Who a modem is to be.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Whoever is there; on first use a new one.
    Anybodys,
    /// The one of a seed: for tests and simulations only.
    Seeds(u64),
    /// The one of a file, see [`Identity::from_file`]; what the file leaves open is as with [`Whose::Anybodys`].
    Files(&'a Path),
}

impl Whose<'_> {
    /// The identity, with `found` being the one that is there; `Ok(None)` when randomness yields no key.
    pub(crate) fn identity(
        self,
        found: Option<&Identity>,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Option<Identity>, IdentityError> {
        if let Self::Seeds(seed) = self {
            return Ok(Some(Identity::from_seed(seed)));
        }
        let base = found.cloned().or_else(|| Identity::from_entropy(entropy));
        match (self, base) {
            (Self::Files(path), Some(base)) => Identity::from_file(path, base).map(Some),
            (_, base) => Ok(base),
        }
    }
}

impl Identity {
    /// The first thing that `self` and `other` differ in: its name and both values.
    pub(crate) fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let kid = |identity: &Self| identity.public_key().kid().to_string();
        [
            ("UUID", self.device.to_string(), other.device.to_string()),
            ("identity key", kid(self), kid(other)),
            ("IMEI", self.imei.clone(), other.imei.clone()),
            (
                "device type",
                self.device_type.0.to_string(),
                other.device_type.0.to_string(),
            ),
            (
                "firmware UUID",
                self.firmware.to_string(),
                other.firmware.to_string(),
            ),
            (
                "firmware name",
                self.firmware_name.clone(),
                other.firmware_name.clone(),
            ),
        ]
        .into_iter()
        .find(|(_, ours, theirs)| ours != theirs)
    }

    /// The firmware the virtual modem presents itself as.
    pub const FIRMWARE_NAME: &'static str = "mfw_nrf91x1_2.0.2";

    /// Its build number: one for all modems of this firmware, as in the field.
    const FIRMWARE: FirmwareId = FirmwareId::from_bytes([
        0x6f, 0x1c, 0x2d, 0x3e, 0x4a, 0x5b, 0x4c, 0x6d, 0x8e, 0x7f, 0x90, 0xa1, 0xb2, 0xc3, 0xd4,
        0xe5,
    ]);

    /// A new modem. `None` when `entropy` yields no usable key in several draws, that is: when it is broken.
    pub fn from_entropy(entropy: &mut dyn FnMut(&mut [u8])) -> Option<Self> {
        let mut uuid = [0_u8; 16];
        entropy(&mut uuid);
        // Recorded factory UUIDs begin with an ASCII P and have the shape of version 4.
        uuid[0] = b'P';
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        let mut serial = [0_u8; 8];
        entropy(&mut serial);
        Some(Self {
            device: DeviceId::from_bytes(uuid),
            device_type: DeviceType::NRF9151_LACA,
            firmware: Self::FIRMWARE,
            firmware_name: Self::FIRMWARE_NAME.to_owned(),
            imei: imei(u64::from_be_bytes(serial)),
            key: PrivateKey::generate(entropy)?,
        })
    }

    /// The same modem for the same seed: for tests and simulations only.
    pub fn from_seed(seed: u64) -> Self {
        Self::from_entropy(&mut *seeded(seed))
            .expect("a hash does not fall outside the group order eight times")
    }

    /// The identity with a key given as its 32-byte scalar, for known-answer tests. `None` when it is no scalar.
    pub fn with_key(mut self, scalar: &[u8; 32]) -> Option<Self> {
        self.key = PrivateKey::from_scalar(scalar)?;
        Some(self)
    }

    /// The public half of the identity key.
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// `+CGMM`.
    pub(crate) const fn model(&self) -> &'static str {
        match self.device_type.0 {
            1 => "nRF9160-SIAA",
            2 => "nRF9160-SIBA",
            3 => "nRF9160-SICA",
            4 => "nRF9161-LACA",
            5 => "nRF9131-LACA",
            _ => "nRF9151-LACA",
        }
    }
}

/// 14 digits and their check digit (Luhn). 35 is a reporting body's number that test devices use too.
fn imei(serial: u64) -> String {
    let mut digits = format!("35{:012}", serial % 1_000_000_000_000);
    let sum: u32 = digits
        .bytes()
        .enumerate()
        .map(|(i, digit)| {
            let value = u32::from(digit - b'0') << (i % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    digits.push(char::from(b'0' + ((10 - sum % 10) % 10) as u8));
    digits
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn luhn_holds(imei: &str) -> bool {
        let sum: u32 = imei
            .bytes()
            .rev()
            .enumerate()
            .map(|(i, digit)| {
                let value = u32::from(digit - b'0') * if i % 2 == 1 { 2 } else { 1 };
                value / 10 + value % 10
            })
            .sum();
        sum.is_multiple_of(10)
    }

    #[test]
    fn an_imei_has_fifteen_digits_and_its_check_digit() {
        assert!(luhn_holds("490154203237518"), "the textbook example");
        for serial in [
            0,
            1,
            999_999_999_999,
            1_000_000_000_000,
            u64::MAX,
            123_456_789,
        ] {
            let imei = imei(serial);
            assert_eq!(imei.len(), 15);
            assert!(luhn_holds(&imei), "{imei}");
        }
    }

    #[test]
    fn one_seed_is_one_modem_and_two_seeds_are_two() {
        let (a, b, c) = (
            Identity::from_seed(1),
            Identity::from_seed(1),
            Identity::from_seed(2),
        );
        assert_eq!(
            (a.device, &a.imei, a.public_key()),
            (b.device, &b.imei, b.public_key())
        );
        assert_ne!(a.device, c.device);
        assert_ne!(a.public_key(), c.public_key());
    }

    #[test]
    fn a_device_uuid_looks_like_version_4() {
        let text = Identity::from_seed(3).device.to_string();
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]), "{text}");
    }

    #[test]
    fn broken_randomness_makes_no_modem() {
        assert!(Identity::from_entropy(&mut |bytes| bytes.fill(0)).is_none());
    }
}
