//! How many log lines strangers may cause: so many in a minute, and one that says how many were left out.

use super::MINUTE_MS;
use sectag_proto::Timestamp;

/// Log lines in a minute about requests and handshakes that anybody can send; the rest is counted.
pub const STRANGER_LINES_PER_MINUTE: u32 = 60;

/// How many lines were written in this minute.
#[derive(Debug)]
pub(super) struct Lines {
    since: Timestamp,
    told: u32,
    left_out: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Write it; so many were left out before.
    Tell { left_out: u64 },
    /// Leave it out, and say that the next ones are.
    Last,
    /// Leave it out.
    Hush,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            since: Timestamp(0),
            told: 0,
            left_out: 0,
        }
    }
}

impl Lines {
    pub(super) fn next(&mut self, now: Timestamp) -> Line {
        // A calendar that was put back begins a minute as well.
        if now.0.abs_diff(self.since.0) >= MINUTE_MS {
            let left_out = std::mem::take(&mut self.left_out);
            (self.since, self.told) = (now, 1);
            return Line::Tell { left_out };
        }
        if self.told < STRANGER_LINES_PER_MINUTE {
            self.told += 1;
            return Line::Tell { left_out: 0 };
        }
        self.left_out += 1;
        if self.left_out == 1 {
            Line::Last
        } else {
            Line::Hush
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn lines_end_and_begin_again_and_none_is_forgotten_in_the_count() {
        let mut lines = Lines::default();
        let mut told = 0;
        for _ in 0..1000 {
            told += u32::from(matches!(lines.next(START), Line::Tell { .. }));
        }
        assert_eq!(told, STRANGER_LINES_PER_MINUTE);
        assert_eq!(lines.next(Timestamp(START.0 + 59_999)), Line::Hush);
        let left_out = 1001 - u64::from(STRANGER_LINES_PER_MINUTE);
        assert_eq!(
            lines.next(Timestamp(START.0 + 60_000)),
            Line::Tell { left_out }
        );
        assert_eq!(
            lines.next(Timestamp(START.0 + 60_001)),
            Line::Tell { left_out: 0 }
        );
    }
}
