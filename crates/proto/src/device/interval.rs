//! The polling interval as it stands in the settings store (spec/device-protocol §13).

use super::config::Conduct;
use super::words::Errno;

/// More characters than this are refused with `-ENOMEM`.
pub(super) const CHARS_MAX: usize = 19;
/// Longest interval: what the clock of milliseconds can count. Longer ones are refused.
pub(super) const SECONDS_MAX: u64 = u64::MAX / 1000;

/// Seconds in the text of a setting; 0 means the default.
///
/// As `strtoll` with base 0: blanks in front, a sign, `0x…` for hexadecimal. A leading zero means octal to the firmware
/// and nothing to us: an owner who writes `0600` does not mean 384 s. One NUL at the end is left by older generations.
///
/// # Errors
/// [`Errno::NoMemory`] for 20 or more characters, [`Errno::Invalid`] for what is negative or not a number.
pub(super) fn parse(text: &str, conduct: Conduct) -> Result<u64, Errno> {
    let text = text.strip_suffix('\0').unwrap_or(text);
    if text.len() > CHARS_MAX {
        return Err(Errno::NoMemory);
    }
    if text.is_empty() {
        return Ok(0);
    }
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', _, ..] if conduct == Conduct::Firmware => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Errno::Invalid);
    }
    match u64::from_str_radix(digits, radix) {
        Ok(0) => Ok(0),
        Ok(seconds) if !negative && seconds <= SECONDS_MAX => Ok(seconds),
        _ => Err(Errno::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_an_interval_or_refused(text in any::<alloc::string::String>(), octal in any::<bool>()) {
            let conduct = if octal { Conduct::Firmware } else { Conduct::Careful };
            if let Ok(seconds) = parse(&text, conduct) {
                prop_assert!(seconds <= SECONDS_MAX);
            }
        }

        #[test]
        fn what_is_stored_is_read_back(seconds in 0..=SECONDS_MAX, firmware in any::<bool>()) {
            let conduct = if firmware { Conduct::Firmware } else { Conduct::Careful };
            prop_assert_eq!(parse(&seconds.to_string(), conduct), Ok(seconds));
        }
    }

    #[test]
    fn each_text_has_its_interval() {
        let invalid = Err(Errno::Invalid);
        let table: &[(&str, Result<u64, Errno>)] = &[
            ("", Ok(0)),
            ("0", Ok(0)),
            ("3600", Ok(3600)),
            ("3600\0", Ok(3600)),
            (" +60", Ok(60)),
            ("0x3c", Ok(60)),
            ("0X3C", Ok(60)),
            ("-0", Ok(0)),
            ("-1", invalid),
            ("-0x10", invalid),
            ("+-1", invalid),
            ("soon", invalid),
            ("60 s", invalid),
            ("60s", invalid),
            ("6_0", invalid),
            ("0x", invalid),
            ("+", invalid),
            ("1\0\0", invalid),
            ("é", invalid),
            ("9223372036854775807", Ok(9_223_372_036_854_775_807)),
            ("09223372036854775807", Err(Errno::NoMemory)),
            ("00000000000000000001", Err(Errno::NoMemory)),
        ];
        for (text, expected) in table {
            let mut expected = *expected;
            if expected.is_ok_and(|seconds| seconds > SECONDS_MAX) {
                expected = invalid;
            }
            assert_eq!(parse(text, Conduct::Careful), expected, "{text:?}");
        }
        assert_eq!(parse("0600", Conduct::Careful), Ok(600));
        assert_eq!(parse("0600", Conduct::Firmware), Ok(0o600));
        assert_eq!(parse("0800", Conduct::Firmware), invalid);
    }
}
