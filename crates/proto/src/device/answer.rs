//! The error filter for modem answers (spec/device-protocol §8.1).

use alloc::format;
use alloc::string::{String, ToString};

use super::words::AtLine;
use crate::at::{Answer, Verdict};
use crate::wire::WireResult;

/// Turns a whole modem answer into what is reported.
///
/// Error numbers in `ignore` become 100 with the error text, and so does an error **without** a number: a bare
/// `ERROR` counts as number 0, and 0 is success to the firmware. The service looks for the final `OK` itself.
/// A text without a final result line means that the modem was cut off: 99 with number 0, as for a failed line.
pub(super) fn filter(text: String, ignore: &[u32]) -> WireResult {
    let number = match Answer::parse(&text).map(|answer| answer.verdict) {
        Ok(Verdict::Ok) => return WireResult::AtDone { message: text },
        Ok(Verdict::Error) => 0,
        Ok(Verdict::Cme(number) | Verdict::Cms(number)) => number.unwrap_or(0) & 0xffff,
        Err(_) => return failed(text),
    };
    if number == 0 || ignore.contains(&number) {
        WireResult::AtDone { message: text }
    } else {
        WireResult::Failed {
            cme_error: number,
            message: text,
        }
    }
}

/// 99 without a number.
pub(super) const fn failed(message: String) -> WireResult {
    WireResult::Failed {
        cme_error: 0,
        message,
    }
}

/// For `AT%KEYGEN=<tag>,<type>,…`: the line that deletes the key which the command already made.
pub(super) fn delete_before_again(set_command: &str, parameters: &str) -> Option<AtLine> {
    if !set_command.eq_ignore_ascii_case("%KEYGEN") {
        return None;
    }
    let mut numbers = parameters.split(',').map(str::trim);
    let (tag, kind) = (numbers.next()?, numbers.next()?);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(tag) && is_number(kind)).then(|| AtLine::new(format!("AT%CMNG=3,{tag},{kind}")))
}

/// `n` of `+CMEE: n`.
pub(super) fn cmee_state(text: &str) -> Option<u8> {
    Answer::parse(text).ok()?.info("+CMEE:")?.parse().ok()
}

/// Whether an answer to `AT%CCLK?` names a time.
pub(super) fn names_a_time(text: &str) -> bool {
    Answer::parse(text).is_ok_and(|answer| {
        answer.verdict == Verdict::Ok && answer.info("%CCLK:").is_some_and(|info| !info.is_empty())
    })
}

/// The claim token in an answer to `AT%ATTESTTOKEN`.
pub(super) fn attestation_token(text: &str) -> Option<String> {
    let answer = Answer::parse(text).ok()?;
    (answer.verdict == Verdict::Ok)
        .then(|| answer.info_text("%ATTESTTOKEN:").map(ToString::to_string))
        .flatten()
}
