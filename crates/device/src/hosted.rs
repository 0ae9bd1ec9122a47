//! A virtual modem on this machine: its clock is the host's, its state is in a directory of its own.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sectag_modem::{LineError, Modem, OpenError, Options, SharedModem, VirtualModem};
use sectag_proto::{Timestamp, Uptime};

/// A virtual modem that knows what time it is. Clones are the same modem, so one can send AT lines while another
/// lends signatures ([`HostedModem::shared`]).
#[derive(Debug, Clone)]
pub struct HostedModem {
    modem: SharedModem,
    started: Instant,
}

impl HostedModem {
    /// Puts `modem` on the host's clock.
    pub fn new(modem: SharedModem) -> Self {
        let hosted = Self {
            modem,
            started: Instant::now(),
        };
        hosted.tell_time();
        hosted
    }

    /// The modem whose state is in `dir`; a new one on first use, with keys from the operating system's generator.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let entropy = |bytes: &mut [u8]| {
            getrandom::fill(bytes)
                .expect("the operating system's generator works on Linux after boot");
        };
        VirtualModem::open(dir, options, Box::new(entropy))
            .map(|modem| Self::new(SharedModem::new(modem)))
    }

    /// The modem itself, for [`MqttLink`](crate::link::MqttLink).
    pub const fn shared(&self) -> &SharedModem {
        &self.modem
    }

    /// Runs one command line at this moment; see [`VirtualModem::line`].
    pub fn line(&mut self, at: &str) -> String {
        self.tell_time();
        self.modem.line(at)
    }

    fn tell_time(&self) {
        let uptime = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut modem = self.modem.lock();
        modem.advance(Uptime(uptime));
        // A host clock before 1970 is no time; the modem then goes on with what it had.
        if let Ok(since) = SystemTime::now().duration_since(UNIX_EPOCH) {
            let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            modem.set_time(Timestamp(now));
        }
    }
}

impl Modem for HostedModem {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        self.tell_time();
        Modem::line(&mut self.modem, at)
    }

    fn notifications(&mut self) -> Vec<String> {
        self.tell_time();
        self.modem.notifications()
    }

    fn reboot(&mut self) {
        self.modem.reboot();
    }
}
