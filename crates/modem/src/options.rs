//! Firmware quirks and injected faults: what two modems of one model may differ in.

mod faults;
mod quirks;

pub use faults::{FAULT_GRAMMAR, Fault, FaultAnswer, Moment, PowerCut};
pub use quirks::{QUIRKS, Quirk, QuirkError};

use std::time::Duration;

use sectag_proto::cose::Convention;
use sha2::{Digest, Sha256};

use crate::storage::Room;

/// Where randomness comes from: fills the slice.
pub type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// How this modem behaves. [`Options::default`] is modem firmware 2.0.2 on an nRF9151 as spec/modem-at §5 describes it.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the signature of `%ATTESTTOKEN` covers. Default: the body as external_aad, null payload.
    pub attest_convention: Convention,
    /// What the signature of `%KEYGEN` covers. Default: empty external_aad.
    pub keygen_convention: Convention,
    /// CSRs carry NULL parameters in the signature algorithm, which strict parsers refuse. Default: `true`.
    pub csr_null_parameters: bool,
    /// Types 0 and 1 must be PEM certificates, else 527; firmware before 2.0.1 took anything. Default: `true`.
    pub checks_certificates: bool,
    /// A complete list shows the modem's own entries above the user's tags as well. Default: `true`.
    pub lists_own_tags: bool,
    /// `AT+CFUN` number after boot. Default: 0. A number that is none is taken as 0.
    pub boot_mode: u32,
    /// From `AT+CFUN=1` or `21` to `+CGEV: ME PDN ACT 0`. Default: zero, so at the next look at the notifications.
    pub attach_delay: Duration,
    /// Local time zone in quarter hours east of UTC, -48 … 56, as `AT%CCLK?` prints it. Default: 0.
    pub zone_quarter_hours: i8,
    /// Daylight saving as `AT%CCLK?` prints it: 0, 1 or 2 hours contained in the zone. Default: 0.
    pub daylight_saving: u8,
    /// Bytes of content of all entries together; beyond: 515. Default: 64 KiB.
    pub storage_bytes_max: usize,
    /// Entries of all tags together; beyond: 515. Default: 512.
    pub storage_entries_max: usize,
    /// KEYGEN type 2 replaces the key of an occupied tag, else it answers 519. Default: `false`.
    pub keygen_overwrites: bool,
    /// KEYGEN type 8 on an occupied tag answers with the key that is there, else 519. Default: `true`.
    pub endorsement_key_stays: bool,
    /// `AT+CFUN?` prints the number that was set last, else what is on in all. Default: `false`.
    pub reads_back_literally: bool,
    /// The supply is low: what would change the storage answers 528. Default: `false`.
    pub power_off_warning: bool,
    /// `AT#SECTAGSIGN` lends signatures of the client keys to whoever reaches the modem. No real modem has it.
    /// Default: `false`.
    pub remote_signing: bool,
    /// Commands that fail although they are right, for tests of whoever drives the modem.
    pub faults: Vec<Fault>,
    /// Cuts the power at a flash write, for tests of whoever must survive it. Default: `None`.
    pub power_cut: Option<PowerCut>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attest_convention: Convention::BodyIsAad,
            keygen_convention: Convention::EmptyAad,
            csr_null_parameters: true,
            checks_certificates: true,
            lists_own_tags: true,
            boot_mode: 0,
            attach_delay: Duration::ZERO,
            zone_quarter_hours: 0,
            daylight_saving: 0,
            storage_bytes_max: 64 * 1024,
            storage_entries_max: 512,
            keygen_overwrites: false,
            endorsement_key_stays: true,
            reads_back_literally: false,
            power_off_warning: false,
            remote_signing: false,
            faults: Vec::new(),
            power_cut: None,
        }
    }
}

impl Options {
    pub(crate) const fn room(&self) -> Room {
        Room {
            bytes: self.storage_bytes_max,
            entries: self.storage_entries_max,
        }
    }
}

/// Reproducible "randomness" for tests and simulations: SHA-256 over seed and counter. Never for a device that
/// somebody relies on, since whoever knows the seed knows its keys.
pub fn seeded(seed: u64) -> Entropy {
    let mut counter = 0_u64;
    Box::new(move |bytes| {
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(b"sectag virtual modem")
                .chain_update(seed.to_be_bytes())
                .chain_update(counter.to_be_bytes())
                .finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            counter = counter.wrapping_add(1);
        }
    })
}
