//! The way through a firmware shell (spec/modem-at §9).

use std::io;

use zeroize::Zeroizing;

use crate::LineError;

/// `at '<command>'`, CR removed, LF as backslash-n: the firmware makes CR LF of it.
pub(super) fn wrap(at: &str) -> Result<Zeroizing<String>, LineError> {
    for (character, why) in [
        (
            '\'',
            "a single quote ends what a shell takes as one argument",
        ),
        ('\\', "a shell takes a backslash as the start of an escape"),
    ] {
        if at.contains(character) {
            return Err(LineError::Unsendable {
                bytes: at.len(),
                why,
            });
        }
    }
    let mut wrapped = Zeroizing::new(String::with_capacity(at.len() * 2 + 8));
    wrapped.push_str("at '");
    for character in at.chars() {
        match character {
            '\r' => {}
            '\n' => wrapped.push_str("\\n"),
            other => wrapped.push(other),
        }
    }
    wrapped.push('\'');
    Ok(wrapped)
}

/// What the shell's error code means. [`io::ErrorKind::FileTooLarge`]: the command was executed, its answer is lost.
pub(super) fn refused(code: i32) -> io::Error {
    const E2BIG: i32 = -7;
    let (kind, meaning) = match code {
        E2BIG => (
            io::ErrorKind::FileTooLarge,
            ": the answer does not fit its buffer, but the command was executed",
        ),
        _ => (io::ErrorKind::Other, ""),
    };
    io::Error::new(
        kind,
        format!("the firmware's shell answered with error code {code}{meaning}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_become_backslash_n() {
        assert_eq!(*wrap("AT+CGSN").unwrap(), "at 'AT+CGSN'");
        assert_eq!(
            *wrap("AT%CMNG=0,1,0,\"a\r\nb\nc\"").unwrap(),
            "at 'AT%CMNG=0,1,0,\"a\\nb\\nc\"'"
        );
    }

    #[test]
    fn what_a_shell_would_eat_is_refused() {
        assert!(wrap("AT%CMNG=0,1,4,\"it's\"").is_err());
        assert!(wrap("AT%CMNG=0,1,4,\"a\\nb\"").is_err());
    }
}
