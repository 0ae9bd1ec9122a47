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
    let mut nanoseconds: u128 = 0;
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
        let part = number
            .parse::<u64>()
            .ok()
            .zip(Some(unit_ns(unit)?))
            .and_then(|(number, unit_ns)| u128::from(number).checked_mul(unit_ns));
        let sum = part.and_then(|part| nanoseconds.checked_add(part));
        let Some(sum) = sum.filter(|sum| u64::try_from(sum / NS).is_ok()) else {
            return refuse(TOO_LARGE.to_owned());
        };
        nanoseconds = sum;
        rest = behind.trim_start();
    }
    u64::try_from(nanoseconds / NS).map_err(|_| Refusal(TOO_LARGE.to_owned()))
}

const NS: u128 = 1_000_000_000;
const TOO_LARGE: &str = "number is too large or cannot be represented without a lack of precision (values below 1ns are not supported)";

fn unit_ns(unit: &str) -> Result<u128, Refusal> {
    Ok(match unit {
        "nanos" | "nsec" | "ns" => 1,
        "micros" | "usec" | "us" => 1_000,
        "millis" | "msec" | "ms" => 1_000_000,
        "seconds" | "second" | "secs" | "sec" | "s" => NS,
        "minutes" | "minute" | "mins" | "min" | "m" => 60 * NS,
        "hours" | "hour" | "hrs" | "hr" | "h" => 3_600 * NS,
        "days" | "day" | "d" => 86_400 * NS,
        "weeks" | "week" | "wks" | "wk" | "w" => 604_800 * NS,
        // A twelfth of a year of 365.25 days, rounded to days of 30.44.
        "months" | "month" | "M" => 2_630_016 * NS,
        "years" | "year" | "yrs" | "yr" | "y" => 31_557_600 * NS,
        _ => {
            return Err(Refusal(format!(
                "unknown time unit {unit:?}, supported units: ns, us, ms, sec, min, hours, days, weeks, months, years (and few variations)"
            )));
        }
    })
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
