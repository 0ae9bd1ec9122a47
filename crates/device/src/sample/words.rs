//! What the sample and the exercise write to their log, word for word (spec/mqtt-tls-sample §1.5, §3). Every line passes
//! through here, so a test that compares text compares all there is.

use std::fmt;

/// How loud a line is, as the firmware's logger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `<inf>`
    Info,
    /// `<wrn>`
    Warning,
    /// `<err>`
    Error,
}

impl Level {
    /// The three letters of the firmware's log.
    pub const fn letters(self) -> &'static str {
        match self {
            Self::Info => "inf",
            Self::Warning => "wrn",
            Self::Error => "err",
        }
    }
}

/// One line of the log, without time stamp, level and module in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// The module that says it, e.g. `transport`.
    pub module: &'static str,
    /// The text; never more than one line.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where and how a connection was made, for the five lines that say so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) client_id: &'a str,
}

/// A text from outside on one line: control characters are escaped, so that a payload cannot drive a terminal.
pub(super) fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The five lines after a connection was made.
pub(super) fn connected(module: &'static str, place: Place<'_>) -> [Line; 5] {
    let tls = if place.tls { "Yes" } else { "No" };
    [
        info(module, "Connected to MQTT broker"),
        info(module, format!("Hostname: {}", place.host)),
        info(module, format!("Client ID: {}", place.client_id)),
        info(module, format!("Port: {}", place.port)),
        info(module, format!("TLS: {tls}")),
    ]
}

pub(super) fn published(module: &'static str, payload: &str, topic: &str) -> Line {
    info(
        module,
        format!("Published message: \"{payload}\" on topic: \"{topic}\""),
    )
}

pub(super) fn received(module: &'static str, payload: &str, topic: &str) -> Line {
    info(
        module,
        format!("Received payload: {payload} on topic: {topic}"),
    )
}

pub(super) fn not_sent(module: &'static str, errno: i32) -> Line {
    warning(module, format!("Failed to send payload, err: {errno}"))
}

pub(super) fn subscription_failed(module: &'static str, code: i32) -> Line {
    error(module, format!("Topic subscription failed, error: {code}"))
}

pub(super) fn not_subscribed(module: &'static str, errno: i32) -> Line {
    error(
        module,
        format!("Failed to subscribe to topics, error: {errno}"),
    )
}

pub(super) fn too_large() -> Line {
    error(
        "mqtt_helper",
        "Incoming MQTT message too large for payload buffer",
    )
}

pub(super) fn info(module: &'static str, text: impl Into<String>) -> Line {
    line(Level::Info, module, text)
}

pub(super) fn warning(module: &'static str, text: impl Into<String>) -> Line {
    line(Level::Warning, module, text)
}

pub(super) fn error(module: &'static str, text: impl Into<String>) -> Line {
    line(Level::Error, module, text)
}

fn line(level: Level, module: &'static str, text: impl Into<String>) -> Line {
    Line {
        level,
        module,
        text: text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_cannot_drive_a_terminal_or_forge_a_line() {
        assert_eq!(
            one_line("on\n<inf> ok\x1b[2J é"),
            "on\\n<inf> ok\\u{1b}[2J é"
        );
    }
}
