//! The modem's clock and what the network tells it: time, attach, notifications. Nothing here reads a real clock.

use std::collections::VecDeque;

use sectag_proto::{Timestamp, Uptime};

use crate::functional::LinkChange;
use crate::options::Options;

/// Notifications kept for readers; the oldest go first. More than any session between two looks produces.
const NOTIFICATIONS_MAX: usize = 256;

#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    now: Option<Uptime>,
    /// Network time and the uptime at which it was told.
    time: Option<(Timestamp, Uptime)>,
    attached: bool,
    /// When the pending attach is done.
    attach_at: Option<Uptime>,
    /// `AT+CGEREP=1`
    pub(crate) packet_events: bool,
    /// `AT%XTIME=1`
    pub(crate) time_events: bool,
    /// `AT+CEREG=<n>`
    pub(crate) registration_events: u8,
    /// What was said last; every reader keeps its own place.
    recent: VecDeque<String>,
    /// How much was said in all.
    said: u64,
}

impl Network {
    pub(crate) fn uptime(&self) -> Uptime {
        self.now.unwrap_or(Uptime(0))
    }

    /// Uptime never goes back: an earlier one is ignored.
    pub(crate) fn advance(&mut self, now: Uptime) {
        self.now = self.now.max(Some(now));
    }

    pub(crate) fn set_time(&mut self, time: Timestamp) {
        self.time = Some((time, self.uptime()));
    }

    /// `None` until the network has told it; it then survives going offline.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        self.time
            .map(|(time, told)| time.plus(self.uptime().since(told)))
    }

    pub(crate) fn link(&mut self, change: LinkChange, options: &Options) {
        match change {
            LinkChange::None => {}
            LinkChange::Up => self.attach_at = Some(self.uptime().plus(options.attach_delay)),
            LinkChange::Down => {
                self.settle(options);
                self.attach_at = None;
                if std::mem::take(&mut self.attached) {
                    if self.packet_events {
                        self.say("+CGEV: ME DETACH".to_owned());
                    }
                    if self.registration_events > 0 {
                        self.say("+CEREG: 0".to_owned());
                    }
                }
            }
        }
    }

    /// Finishes an attach that is due. Subscriptions count at that moment, so those made after `CFUN=1` still do.
    pub(crate) fn settle(&mut self, options: &Options) {
        if self.attach_at.is_none_or(|due| due > self.uptime()) {
            return;
        }
        self.attach_at = None;
        self.attached = true;
        if self.registration_events > 0 {
            self.say("+CEREG: 5".to_owned());
        }
        if self.time_events
            && let Some(time) = self.time()
        {
            self.say(time_notification(time, options));
        }
        if self.packet_events {
            self.say("+CGEV: ME PDN ACT 0".to_owned());
        }
    }

    pub(crate) const fn attached(&self) -> bool {
        self.attached
    }

    /// What was said since the place `heard`, which moves to the end.
    pub(crate) fn hear(&self, heard: &mut u64) -> Vec<String> {
        let missed = usize::try_from(self.said.saturating_sub(*heard)).unwrap_or(usize::MAX);
        *heard = self.said;
        let skip = self.recent.len().saturating_sub(missed);
        self.recent.iter().skip(skip).cloned().collect()
    }

    /// When something happens by itself; `None`: not before the next command.
    pub(crate) const fn next_wake(&self) -> Option<Uptime> {
        self.attach_at
    }

    /// Power off and on: the clock, the link and the subscriptions are gone; what was said stays said.
    pub(crate) fn restart(&mut self) {
        *self = Self {
            now: self.now,
            recent: std::mem::take(&mut self.recent),
            said: self.said,
            ..Self::default()
        };
    }

    fn say(&mut self, text: String) {
        if self.recent.len() == NOTIFICATIONS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(text);
        self.said += 1;
    }
}

/// `yy/MM/dd,hh:mm:ss±zz`: local time and its zone in quarter hours.
pub(crate) fn clock_text(time: Timestamp, zone_quarter_hours: i8) -> String {
    let (year, month, day, second) = local(time, zone_quarter_hours);
    format!(
        "{:02}/{month:02}/{day:02},{:02}:{:02}:{:02}{}{:02}",
        year % 100,
        second / 3600,
        second / 60 % 60,
        second % 60,
        if zone_quarter_hours < 0 { '-' } else { '+' },
        zone_quarter_hours.unsigned_abs()
    )
}

/// `%XTIME: "<zone>","<universal time and zone>","<dst>"`, semi-octets swapped as on the air (TS 24.008 §10.5.3.9).
fn time_notification(time: Timestamp, options: &Options) -> String {
    let (year, month, day, second) = local(time, 0);
    let swapped = |n: u64| format!("{}{}", n % 10, n / 10 % 10);
    let quarters = u64::from(options.zone_quarter_hours.unsigned_abs());
    // The sign is bit 3 of the first semi-octet on the air: the tens digit, at most 5, plus 8.
    let tens = quarters / 10 + if options.zone_quarter_hours < 0 { 8 } else { 0 };
    let zone = format!("{}{tens:X}", quarters % 10);
    let universal: String = [
        year % 100,
        month,
        day,
        second / 3600,
        second / 60 % 60,
        second % 60,
    ]
    .into_iter()
    .map(swapped)
    .collect();
    format!(
        "%XTIME: \"{zone}\",\"{universal}{zone}\",\"{:02}\"",
        options.daylight_saving
    )
}

/// Year, month, day, second of the day (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn local(time: Timestamp, zone_quarter_hours: i8) -> (u64, u64, u64, u64) {
    // A century beyond the two digits that are printed; keeps the sums far from overflow.
    let utc = time.as_secs().min(6_000_000_000);
    let seconds = utc.saturating_add_signed(i64::from(zone_quarter_hours) * 900);
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day, seconds % 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_prints_local_time_with_its_zone() {
        // 2025-04-29T09:02:33Z
        let time = Timestamp::from_secs(1_745_917_353);
        assert_eq!(clock_text(time, 8), "25/04/29,11:02:33+08");
        assert_eq!(clock_text(time, 0), "25/04/29,09:02:33+00");
        assert_eq!(clock_text(time, -40), "25/04/28,23:02:33-40");
    }

    #[test]
    fn leap_days_are_days() {
        assert_eq!(
            clock_text(Timestamp::from_secs(1_709_164_800), 0),
            "24/02/29,00:00:00+00"
        );
        assert_eq!(
            clock_text(Timestamp::from_secs(951_868_799), 0),
            "00/02/29,23:59:59+00"
        );
        assert_eq!(clock_text(Timestamp(u64::MAX), 56).len(), 20);
        assert_eq!(clock_text(Timestamp(0), -48), "70/01/01,00:00:00-48");
    }

    #[test]
    fn universal_time_is_swapped_as_on_the_air() {
        // 2018-01-29T15:17:24Z, two hours east, one of them daylight saving
        let options = Options {
            zone_quarter_hours: 8,
            daylight_saving: 1,
            ..Options::default()
        };
        assert_eq!(
            time_notification(Timestamp::from_secs(1_517_239_044), &options),
            r#"%XTIME: "80","81109251714280","01""#
        );
    }

    #[test]
    fn time_goes_on_with_the_uptime_and_never_back() {
        let mut network = Network::default();
        network.advance(Uptime(5_000));
        network.set_time(Timestamp::from_secs(100));
        network.advance(Uptime(9_000));
        network.advance(Uptime(1_000));
        assert_eq!(network.time(), Some(Timestamp::from_secs(104)));
    }
}
