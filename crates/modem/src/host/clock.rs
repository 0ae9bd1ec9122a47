//! The host's two clocks, told to the modem before it is asked anything.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sectag_proto::{Timestamp, Uptime};

use crate::SharedModem;

/// Copies count from the same start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    calendar: bool,
}

impl Clock {
    /// Begins at uptime zero. Without `calendar` the modem is never told the time of day.
    pub(super) fn start(calendar: bool) -> Self {
        Self {
            started: Instant::now(),
            calendar,
        }
    }

    pub(super) fn tell(&self, modem: &SharedModem) {
        let mut modem = modem.lock();
        modem.advance(self.uptime());
        if !self.calendar {
            return;
        }
        // A host clock before 1970 is no time; the modem then goes on with what it had.
        if let Ok(since) = SystemTime::now().duration_since(UNIX_EPOCH) {
            modem.set_time(Timestamp(millis(since)));
        }
    }

    /// How long until `due`; zero when it has passed.
    pub(super) fn until(&self, due: Uptime) -> Duration {
        due.since(self.uptime())
    }

    fn uptime(&self) -> Uptime {
        Uptime(millis(self.started.elapsed()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
