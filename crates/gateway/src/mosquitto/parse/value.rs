//! What stands behind a name, as each version takes it.

use super::super::BrokerVersion;
use super::super::directive::{Kind, Word};

/// The value as mosquitto takes it, or the sentence of its refusal.
pub(super) fn value(
    known: &Word,
    name: &str,
    rest: &str,
    version: BrokerVersion,
) -> Result<String, String> {
    let first = rest.split(' ').find(|word| !word.is_empty());
    let empty = || format!("`{name}` has no value");
    match known.kind {
        Kind::Bool => match first.ok_or_else(empty)? {
            word @ ("true" | "false" | "1" | "0") => Ok(word.to_owned()),
            word => Err(format!(
                "`{name} {}`: the value is `true` or `false`",
                short(word)
            )),
        },
        Kind::Int => {
            let word = first.ok_or_else(empty)?;
            let Some(number) = number(word, version) else {
                return Err(format!("`{name} {}`: the value is a number", short(word)));
            };
            let bounds = match name {
                "max_qos" | "maximum_qos" => 0..=2,
                "port" => 1..=65_535,
                "max_packet_size" => 20..=i64::from(i32::MAX),
                "max_topic_alias" => 0..=65_535,
                _ => i64::MIN..=i64::MAX,
            };
            if bounds.contains(&number) {
                Ok(number.to_string())
            } else {
                Err(format!(
                    "`{name} {}`: the value is from {} to {}",
                    short(word),
                    bounds.start(),
                    bounds.end()
                ))
            }
        }
        Kind::Text => {
            let text = rest.trim();
            if text.is_empty() {
                Err(empty())
            } else if text.contains('\u{fffd}') {
                Err(format!("the value of `{name}` is not UTF-8"))
            } else {
                Ok(text.to_owned())
            }
        }
        Kind::Words => {
            let allowed: &[&str] = match name {
                "protocol" => &["mqtt", "websockets", "http_api"],
                "socket_domain" => &["ipv4", "ipv6"],
                "log_dest" => &[
                    "none", "syslog", "stdout", "stderr", "topic", "dlt", "file", "android",
                ],
                "log_type" => &[
                    "none",
                    "information",
                    "notice",
                    "warning",
                    "error",
                    "debug",
                    "subscribe",
                    "unsubscribe",
                    "internal",
                    "websockets",
                    "all",
                ],
                _ => return Ok(rest.trim().to_owned()),
            };
            let word = first.ok_or_else(empty)?;
            if allowed.contains(&word) {
                Ok(rest.trim().to_owned())
            } else {
                Err(format!(
                    "`{name} {}`: the value is one of {}",
                    short(word),
                    allowed.join(", ")
                ))
            }
        }
    }
}

/// C's `atoi` in 2.0; in 2.1 `strtol` with base 0, and nothing may follow.
pub(super) fn number(word: &str, version: BrokerVersion) -> Option<i64> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let parsed = if version.is_2_1() {
        let hexadecimal = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
        let octal = digits.strip_prefix('0').filter(|rest| !rest.is_empty());
        let (digits, radix) = match (hexadecimal, octal) {
            (Some(digits), _) => (digits, 16),
            (None, Some(digits)) => (digits, 8),
            (None, None) => (digits, 10),
        };
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        i64::from_str_radix(digits, radix).ok()?
    } else {
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        digits[..end].parse().unwrap_or(0)
    };
    Some(sign * parsed).filter(|number| i32::try_from(*number).is_ok())
}

/// Enough of a word to recognise it.
pub(super) fn short(word: &str) -> String {
    word.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(80)
        .collect()
}
