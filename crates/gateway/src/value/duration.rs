//! Durations: seconds, or numbers with units.

use super::Refusal;

/// Seconds of `90`, `30d`, `1h 30min`; parts of a second are dropped.
///
/// # Errors
/// [`Refusal`] in the words of the parser that thin-edge.io uses.
pub fn seconds(text: &str) -> Result<u64, Refusal> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let refuse = |reason: String| Err(Refusal(reason));
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return refuse("value was empty".to_owned());
    }
    // Both in 64 bits: a division of 128 bits is a function of its own, far from everything else.
    let (mut seconds, mut nanoseconds) = (0_u64, 0);
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return refuse(format!("expected number at {at}"));
        }
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.len()
            - behind
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, behind) = behind.split_at(letters);
        if unit.is_empty() {
            return refuse(match behind.chars().next() {
                Some(c) if !c.is_ascii_digit() => {
                    format!("invalid character at {}", text.len() - behind.len())
                }
                _ => format!("time unit needed, for example {number}sec or {number}ms"),
            });
        }
        let unit = Unit::named(unit)?;
        let part = number.parse().ok().and_then(|number| unit.times(number));
        let sum = part.and_then(|(whole, ns)| {
            let ns = nanoseconds + ns;
            let sum = seconds.checked_add(whole)?.checked_add(ns / NS)?;
            Some((sum, ns % NS))
        });
        let Some(sum) = sum else {
            return refuse(TOO_LARGE.to_owned());
        };
        (seconds, nanoseconds) = sum;
        rest = behind.trim_start();
    }
    Ok(seconds)
}

const NS: u64 = 1_000_000_000;
const TOO_LARGE: &str = "number is too large or cannot be represented without a lack of precision (values below 1ns are not supported)";

/// What a number counts.
enum Unit {
    /// So many seconds each.
    Seconds(u64),
    /// So many of them make a second.
    Parts(u64),
}

impl Unit {
    fn named(unit: &str) -> Result<Self, Refusal> {
        Ok(match unit {
            "nanos" | "nsec" | "ns" => Self::Parts(NS),
            "micros" | "usec" | "us" => Self::Parts(1_000_000),
            "millis" | "msec" | "ms" => Self::Parts(1_000),
            "seconds" | "second" | "secs" | "sec" | "s" => Self::Seconds(1),
            "minutes" | "minute" | "mins" | "min" | "m" => Self::Seconds(60),
            "hours" | "hour" | "hrs" | "hr" | "h" => Self::Seconds(3_600),
            "days" | "day" | "d" => Self::Seconds(86_400),
            "weeks" | "week" | "wks" | "wk" | "w" => Self::Seconds(604_800),
            // A twelfth of a year of 365.25 days, rounded to days of 30.44.
            "months" | "month" | "M" => Self::Seconds(2_630_016),
            "years" | "year" | "yrs" | "yr" | "y" => Self::Seconds(31_557_600),
            _ => {
                return Err(Refusal(format!(
                    "unknown time unit {unit:?}, supported units: ns, us, ms, sec, min, hours, days, weeks, months, years (and few variations)"
                )));
            }
        })
    }

    /// Whole seconds and nanoseconds; `None` when they are too many.
    fn times(&self, number: u64) -> Option<(u64, u64)> {
        match self {
            Self::Seconds(each) => Some((number.checked_mul(*each)?, 0)),
            Self::Parts(parts) => Some((number / parts, number % parts * (NS / parts))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_be_plain_or_have_units() {
        for (text, expected) in [
            ("0", 0),
            ("90", 90),
            ("5s", 5),
            ("10 min", 600),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("365d", 31_536_000),
            ("1y", 31_557_600),
            ("1500ms", 1),
            ("600ms 600ms 999us", 1),
            ("18446744073709551614s 999ms 1ms", u64::MAX),
        ] {
            assert_eq!(seconds(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, words) in [
            ("", "value was empty"),
            ("d", "expected number at 0"),
            ("-5s", "expected number at 0"),
            ("5s 3", "time unit needed, for example 3sec or 3ms"),
            ("5%", "invalid character at 1"),
            ("99999999999999999999y", "number is too large"),
            ("18446744073709551615y", "number is too large"),
        ] {
            let refusal = seconds(text).unwrap_err().to_string();
            assert!(refusal.starts_with(words), "{text}: {refusal}");
        }
        assert!(
            seconds("1 fortnight")
                .unwrap_err()
                .to_string()
                .starts_with("unknown time unit \"fortnight\", supported units: ns, us, ms, sec,")
        );
    }
}
