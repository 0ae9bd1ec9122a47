//! A calendar without a clock: seconds since 1970 as year, month, day and time of day.

use std::fmt;

/// A point in time, UTC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Date {
    pub(crate) year: i32,
    pub(crate) month: i32,
    pub(crate) day: i32,
    pub(crate) hour: i32,
    pub(crate) minute: i32,
    pub(crate) second: i32,
}

impl Date {
    /// `None` after the year 9999, which no certificate can name.
    pub(crate) fn of(unix_s: u64) -> Option<Self> {
        const END_OF_9999: u64 = 253_402_300_800;
        if unix_s >= END_OF_9999 {
            return None;
        }
        let (days, time) = (
            i64::try_from(unix_s / 86_400).ok()?,
            i32::try_from(unix_s % 86_400).ok()?,
        );
        // Days are counted from 0000-03-01, so that the leap day ends a year; an era is 400 years, 146,097 days.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Some(Self {
            year: i32::try_from(year).ok()?,
            month: i32::try_from(month).ok()?,
            day: i32::try_from(day_of_year - (153 * from_march + 2) / 5 + 1).ok()?,
            hour: time / 3_600,
            minute: time / 60 % 60,
            second: time % 60,
        })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_known_from_other_calendars() {
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_239_000, "2026-11-21T05:30:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(
                Date::of(unix_s).map(|date| date.to_string()).as_deref(),
                Some(text)
            );
        }
        assert_eq!(Date::of(253_402_300_800), None);
    }
}
