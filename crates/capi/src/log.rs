//! The lines for a device's log: what the firmware's events do not say.

use alloc::format;
use alloc::string::String;

use sectag_proto::device::{Event, StoreFailure};

/// One line, or `None` for what the event callback tells. Holds no secrets: AT lines come without quoted parameters.
pub(crate) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::BatchReceived { commands } => format!("{commands} commands received"),
        Event::BatchRefused(refusal) => format!("the batch was refused: {refusal}"),
        Event::CommandDone {
            index,
            correlation,
            command,
            ..
        } => format!("command {index} ({correlation}) done: {command}"),
        Event::CommandFailed {
            index,
            correlation,
            command,
            number,
            answer,
        } => format!("command {index} ({correlation}) failed: {command}: {answer} ({number})"),
        Event::AnswerTooLarge { bytes, next_bytes } => {
            format!("the modem's answer of {bytes} bytes does not fit; again with {next_bytes}")
        }
        Event::ReportTooLarge { bytes, max } => {
            format!("results of {bytes} bytes are lost, {max} fit")
        }
        Event::Reported { bytes } => format!("{bytes} bytes of results acknowledged"),
        Event::ReportAgain { result, pause } => format!(
            "the report was not acknowledged ({result}), again in {} s",
            pause.as_secs()
        ),
        Event::ReportKept(errno) => {
            format!("the report was not acknowledged ({errno}) and waits for the next session")
        }
        Event::ReportLost(errno) => {
            format!("the report was not acknowledged ({errno}) and is lost")
        }
        Event::IntervalChanged(interval) => format!("the interval is {} s", interval.as_secs()),
        Event::IntervalNotStored(failure) => {
            format!("the interval could not be stored: {}", why(*failure))
        }
        Event::IntervalRefused { text, result } => {
            format!("the stored interval `{text}` is none ({result}), the default counts")
        }
        Event::SettingUnreadable { key, failure } => {
            format!("`{key}` could not be read: {}", why(*failure))
        }
        Event::SaveFailed(failure) => {
            format!("the last command id could not be saved: {}", why(*failure))
        }
        _ => return None,
    })
}

const fn why(failure: StoreFailure) -> &'static str {
    match failure {
        StoreFailure::KeyTooBig => "the key is too long",
        StoreFailure::NoMemory => "no room",
        StoreFailure::Invalid => "refused as invalid",
        StoreFailure::Io => "the store failed",
    }
}
