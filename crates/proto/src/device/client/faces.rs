//! What a caller of the library sees beside the machine itself: options, and results of the calls.

use core::time::Duration;

use crate::DeviceId;
use crate::device::config::{Conduct, Config};

/// Options of a [`Client`](super::Client). [`ClientConfig::default`] is our own conduct, [`ClientConfig::faithful`] the
/// firmware's (generation G3). What differs in coming back, beside what [`Conduct`] says about one session:
///
/// | | ours | firmware |
/// |---|---|---|
/// | first run | after 1 s, in the device's own slot of the spread (from `seed`) | after 1 s + `rand() % spread`, by default no spread |
/// | next run | an interval after the session *began*, in the slot | an interval after it *ended*, + `rand() % spread` |
/// | busy, timeout | back-off, plus up to half of it by chance, in the next slot | back-off |
/// | no valid time | back-off | never again by itself |
/// | other failures (not claimed, wrong root CA, …) | back-off or interval, whichever is sooner | interval |
/// | the service's hint (`Retry-After`) | lower bound, plus up to half of it by chance, in the next slot | ignored |
/// | busy after a long time without a network | back-off from its first step | back-off goes on where the network left it |
/// | network comes up in a back-off | in the next slot | at once |
/// | interval changed in the store by somebody else | a due session runs first | the due session is skipped |
/// | interval changed before the first run or in a back-off | does not delay it; a shorter one ends no back-off from a busy service and no hint | a new schedule |
/// | trigger while a session runs | one more session | the same, but swallowed with SCHEDULED |
/// | settings cannot be read | told, defaults count | FATAL_ERROR, nothing comes by itself |
/// | SCHEDULED_PROVISIONING | also tells back-offs | only regular runs |
/// | stored interval `0600` | 600 s | octal, 384 s |
/// | over CoAP: connections | one DTLS session for everything, kept between runs, moved by its Connection ID | one for each run, with keep-open (nRF91x1); without (nRF9160) one for each fetch and one for each report |
/// | over CoAP: authentication | when nothing is granted: first, after Max-Age, after a 4.01 | before each fetch, and on each new session |
/// | over CoAP: `.dtls/suspend` | never: the session is kept by the driver | with keep-open, before commands are executed |
/// | over CoAP: a kept session that does not answer | any request goes once more, on a fresh one | a report goes once more, on a fresh one, whatever it failed by |
/// | over CoAP: a token that expired in offline work | is made anew | is presented as it is |
/// | over CoAP: a report that fails | is kept, as over HTTPS | ends the session and is lost |
///
/// Slots are narrower than the spread where the interval, or twice the back-off, is shorter. What happens on the air over
/// CoAP is in [`coap`](crate::device::coap), whose conduct [`LinkConduct::of`](crate::device::coap::LinkConduct::of) chooses.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// What a session may assume; `session.after` is loaded by the client itself when SAVE_CMD_ID is on.
    pub session: Config,
    /// AUTO_START_ON_INIT: begin in [`Client::init`](super::Client::init). Default false.
    pub auto_start: bool,
    /// SCHEDULED: come back by itself; needs `auto_start`. Default false.
    pub scheduled: bool,
    /// INTERVAL_S. Default 86400 s, at least 1 s.
    pub interval: Duration,
    /// SPREAD_S. Default 100 s here, 0 in the firmware (0 behaves as no spread).
    pub spread: Duration,
    /// INITIAL_BACKOFF. Default 60 s, at least 1 s; doubles up to [`BACKOFF_MAX`](super::super::BACKOFF_MAX).
    pub initial_backoff: Duration,
    /// Unique to the device, e.g. [`ClientConfig::seed_of`]: spread and jitter come from it, so that a herd powered up
    /// together does not come together. The default is 0, the same for everybody: set it.
    pub seed: u64,
}

/// Why a [`ClientConfig`] was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigRefusal {
    /// As Kconfig: SCHEDULED depends on AUTO_START_ON_INIT.
    #[error("SCHEDULED needs AUTO_START_ON_INIT")]
    ScheduledWithoutAutoStart,
}

/// Results of the library's calls, with the firmware's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// `-EFAULT`: not initialised.
    #[error("the client is not initialised (-EFAULT)")]
    NotInitialised,
    /// `-EALREADY`: initialised before.
    #[error("the client is initialised already (-EALREADY)")]
    Already,
    /// `-EINVAL`: a negative interval, or one that no clock can count.
    #[error("an interval is neither negative nor longer than a clock counts (-EINVAL)")]
    Invalid,
    /// `-ENOTSUP`: the client is not scheduled.
    #[error("the client is not scheduled, so it has no interval (-ENOTSUP)")]
    NotScheduled,
    /// `-ENOSTR`: the interval could not be stored. The driver learns it from
    /// [`Event::IntervalNotStored`](crate::device::Event).
    #[error("the interval could not be stored (-ENOSTR)")]
    NotStored,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            session: Config::default(),
            auto_start: false,
            scheduled: false,
            interval: Duration::from_secs(86_400),
            spread: Duration::from_secs(100),
            initial_backoff: Duration::from_secs(60),
            seed: 0,
        }
    }
}

impl ClientConfig {
    /// The firmware's conduct and defaults, generation G3, with its flaws: no spread, no chance in the back-off, no ear
    /// for hints, nothing scheduled after a missing time, a lost report forgotten.
    pub fn faithful() -> Self {
        Self {
            session: Config {
                conduct: Conduct::Firmware,
                ..Config::default()
            },
            spread: Duration::ZERO,
            ..Self::default()
        }
    }

    /// A seed from what only this device has.
    pub const fn seed_of(device: &DeviceId) -> u64 {
        let halves = u128::from_be_bytes(*device.as_bytes());
        ((halves >> 64) as u64) ^ (halves as u64)
    }
}
