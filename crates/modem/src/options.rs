//! Firmware quirks and injected faults: what two modems of one model may differ in.

use std::fmt;
use std::time::Duration;

use sectag_proto::cose::Convention;
use sha2::{Digest, Sha256};

use crate::Cme;

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
    /// Commands that fail although they are right, for tests of whoever drives the modem.
    pub faults: Vec<Fault>,
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
            faults: Vec::new(),
        }
    }
}

/// Answers one command with an error and does not run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which commands count, e.g. `AT%KEYGEN=42`; case does not matter.
    pub prefix: String,
    /// Which of them fails; 1 is the first since the modem was made.
    pub nth: u32,
    /// What it answers.
    pub answer: FaultAnswer,
}

/// What an injected fault prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAnswer {
    /// `ERROR`, whatever CMEE says.
    Error,
    /// A CME error, printed as CMEE says.
    Cme(Cme),
}

impl Fault {
    /// The `nth` command that begins with `prefix` answers the CME error `number`.
    pub fn cme(prefix: &str, nth: u32, number: u32) -> Self {
        Self {
            prefix: prefix.to_owned(),
            nth,
            answer: FaultAnswer::Cme(Cme(number)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, nth, .. } = self;
        match self.answer {
            FaultAnswer::Error => write!(f, "{prefix} #{nth}: ERROR"),
            FaultAnswer::Cme(cme) => write!(f, "{prefix} #{nth}: CME {}", cme.0),
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
