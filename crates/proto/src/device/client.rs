//! The client library's face: init, trigger, set_interval (spec/device-protocol §12, §14), schedule and session in one
//! machine.

use alloc::string::String;
use core::time::Duration;

use super::config::{Conduct, Config};
use super::words::{Ending, Input, Output};
use crate::Uptime;

/// Options of a [`Client`]. [`ClientConfig::default`] is our own conduct, [`ClientConfig::faithful`] the firmware's.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// What a session may assume; `session.after` is loaded by the client itself when SAVE_CMD_ID is on.
    pub session: Config,
    /// AUTO_START_ON_INIT: begin in [`Client::init`]. Default false.
    pub auto_start: bool,
    /// SCHEDULED: come back by itself; needs `auto_start`. Default false.
    pub scheduled: bool,
    /// INTERVAL_S. Default 86400 s.
    pub interval: Duration,
    /// SPREAD_S. Default 100 s here, 0 in the firmware (0 behaves as no spread).
    pub spread: Duration,
    /// INITIAL_BACKOFF. Default 60 s; doubles up to 86400 s.
    pub initial_backoff: Duration,
    /// Unique to the device: spread and jitter come from it, so that a herd powered up together does not come together.
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
    /// `-EINVAL`: a negative interval.
    #[error("an interval cannot be negative (-EINVAL)")]
    Invalid,
    /// `-ENOTSUP`: the client is not scheduled.
    #[error("the client is not scheduled, so it has no interval (-ENOTSUP)")]
    NotScheduled,
    /// `-ENOSTR`: the interval could not be stored. The driver learns it from
    /// [`Event::IntervalNotStored`](super::Event).
    #[error("the interval could not be stored (-ENOSTR)")]
    NotStored,
}

/// The library: one law as [`Session`](super::Session), inputs and outputs are the same words.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
}

impl Default for ClientConfig {
    fn default() -> Self {
        todo!()
    }
}

impl ClientConfig {
    /// The firmware's conduct and defaults, generation G3, with its flaws.
    pub fn faithful() -> Self {
        Self {
            session: Config {
                conduct: Conduct::Firmware,
                ..Config::default()
            },
            ..Self::default()
        }
    }
}

impl Client {
    /// A client that is not initialised.
    ///
    /// # Errors
    /// [`ConfigRefusal`].
    pub fn new(config: ClientConfig) -> Result<Self, ConfigRefusal> {
        Ok(Self { config })
    }

    /// `nrf_provisioning_init`: starts when AUTO_START_ON_INIT says so.
    ///
    /// # Errors
    /// [`CallError::Already`].
    pub fn init(&mut self, now: Uptime) -> Result<(), CallError> {
        let _ = (now, &self.config);
        todo!()
    }

    /// `nrf_provisioning_trigger_manually`: a session begins as soon as none runs; works with and without SCHEDULED.
    ///
    /// # Errors
    /// [`CallError::NotInitialised`].
    pub fn trigger(&mut self, now: Uptime) -> Result<(), CallError> {
        let _ = now;
        todo!()
    }

    /// `nrf_provisioning_set_interval`: a changed one is saved (decimal text) and the schedule is made anew.
    ///
    /// # Errors
    /// [`CallError`]; whether it was stored is told by an event.
    pub fn set_interval(&mut self, seconds: i64, now: Uptime) -> Result<(), CallError> {
        let _ = (seconds, now);
        todo!()
    }

    /// Takes one input, see [`Session::handle`](super::Session::handle).
    pub fn handle(&mut self, input: Input, now: Uptime) {
        let _ = (input, now);
        todo!()
    }

    /// The next thing to do, see [`Session::poll`](super::Session::poll).
    pub fn poll(&mut self) -> Output {
        todo!()
    }

    /// How the last session ended; `None` while one runs and before the first.
    pub fn ending(&self) -> Option<Ending> {
        todo!()
    }

    /// Whether a session runs.
    pub fn is_running(&self) -> bool {
        todo!()
    }

    /// The interval in effect.
    pub fn interval(&self) -> Duration {
        todo!()
    }

    /// When the next session begins by itself.
    pub fn next_session(&self) -> Option<Uptime> {
        todo!()
    }

    /// `after` of the next fetch.
    pub fn after(&self) -> String {
        todo!()
    }
}
