//! From bytes to lines, and from lines to what they are: the answer, its end, a notification, or noise. Pure.

use std::fmt;

use sectag_proto::at::Verdict;
use zeroize::Zeroizing;

/// Longest logical line kept; an information line holds one credential of 4 kB at most. What is longer is cut into
/// several.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// What a firmware shell prints when it could not hand a command to the modem (spec/modem-at §9).
const SHELL_REFUSAL: &str = "Sending AT command failed with error code";

/// Puts lines together: ANSI sequences go, a line break inside the quotes of an information line stays.
#[derive(Debug, Default)]
pub struct LineReader {
    line: Vec<u8>,
    escape: Escape,
    /// Inside a quoted text of an information line.
    quoted: bool,
}

/// Where in an ANSI sequence.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// After ESC and `[`, until a final byte.
    Control,
}

impl LineReader {
    /// Takes a byte; gives a line when it ends here, without its end, a shell's prompt and blanks around. Empty lines are
    /// dropped.
    pub fn push(&mut self, byte: u8) -> Option<String> {
        match (self.escape, byte) {
            (Escape::None, 0x1b) => self.escape = Escape::Begun,
            (Escape::None, b'\r' | b'\n') if !self.quoted => return self.end(),
            (Escape::None, 0) if !self.quoted => {}
            (Escape::None, _) => {
                if byte == b'"' && (self.quoted || self.is_information()) {
                    self.quoted = !self.quoted;
                }
                self.line.push(byte);
                if self.line.len() >= LINE_BYTES_MAX {
                    return self.end();
                }
            }
            (Escape::Begun, b'[') => self.escape = Escape::Control,
            // A second ESC begins anew; anything else was a sequence of two.
            (Escape::Begun, 0x1b) => {}
            (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Control, 0x40..=0x7e) => self.escape = Escape::None,
            (Escape::Control, 0x1b) => self.escape = Escape::Begun,
            (Escape::Control, _) => {}
        }
        None
    }

    /// What came of a line that never ended.
    pub fn abandon(&mut self) -> String {
        self.end().unwrap_or_default()
    }

    /// Before a new command: the rest of an old answer is dropped, a notification that has begun may go on.
    pub fn forget_answer(&mut self) {
        let begun = String::from_utf8_lossy(&self.line);
        if self.quoted || !without_prompts(&begun).starts_with(['%', '+']) {
            *self = Self::default();
        }
    }

    fn end(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.line);
        self.quoted = false;
        let text = String::from_utf8_lossy(&bytes);
        let line = without_prompts(&text).trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// Whether the line so far is `%NAME: ` or `+NAME: `: only there a quote opens a text. An echoed command, or a log
    /// line with a lonely quote, must not swallow the answer.
    fn is_information(&self) -> bool {
        let text = String::from_utf8_lossy(&self.line);
        name_of(without_prompts(&text)).is_some()
    }
}

/// What a line is, seen by whoever waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Belongs to the answer.
    Information(String),
    /// Ends the answer: `OK`, `ERROR`, `+CME ERROR: …`, `+CMS ERROR: …`.
    Final(String),
    /// The firmware's shell could not send the command; its number.
    Refused(i32),
    /// The modem's own words.
    Notification(String),
    /// An echo, or a log line while nobody waits.
    Nothing,
}

/// What was sent, to tell its answer from the rest. It may hold a private key, so `Debug` shows what is outside quotes.
pub struct Sent {
    /// Upper case, without quoted texts; empty while nobody waits.
    command: String,
    /// All of it, for the echo.
    text: Zeroizing<String>,
}

/// Shortest line that counts as a piece of an echo; terminals break long lines, and what is shorter tells nothing.
const PIECE_CHARS_MIN: usize = 4;

/// Lines up to this length come back whole.
const WHOLE_CHARS_MAX: usize = 24;

impl Sent {
    /// `text` is what went over the wire, `command` the AT command in it.
    pub fn new(text: &str, command: &str) -> Self {
        let outside_quotes: String = command.split('"').step_by(2).collect();
        Self {
            command: outside_quotes.to_ascii_uppercase(),
            text: Zeroizing::new(text.trim().to_owned()),
        }
    }

    /// Nobody waits for an answer.
    pub fn nothing() -> Self {
        Self {
            command: String::new(),
            text: Zeroizing::default(),
        }
    }

    /// What `line` is.
    pub fn sort(&self, line: &str) -> Said {
        let waiting = !self.command.is_empty();
        if waiting && Verdict::parse(line).is_some() {
            return Said::Final(line.to_owned());
        }
        if let Some(rest) = line.strip_prefix(SHELL_REFUSAL) {
            return if waiting {
                Said::Refused(rest.trim().parse().unwrap_or(-1))
            } else {
                Said::Nothing
            };
        }
        if self.is_echo(line) || is_log(line) {
            return Said::Nothing;
        }
        match name_of(line) {
            Some(name) if !waiting || !self.command.contains(&name.to_ascii_uppercase()) => {
                Said::Notification(line.to_owned())
            }
            _ if waiting => Said::Information(line.to_owned()),
            _ => Said::Nothing,
        }
    }

    fn is_echo(&self, line: &str) -> bool {
        if self.text.len() <= WHOLE_CHARS_MAX {
            return line == self.text.as_str();
        }
        line.len() >= PIECE_CHARS_MIN && self.text.contains(line)
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sent({:?})", self.command)
    }
}

/// `[00:00:12.345,678] <inf> module: …`: a firmware's log on the same wire.
fn is_log(line: &str) -> bool {
    let Some((time, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return false;
    };
    time.bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b','))
        && ["<err>", "<wrn>", "<inf>", "<dbg>"]
            .iter()
            .any(|level| rest.trim_start().starts_with(level))
}

/// `%NAME` or `+NAME` of a line that is `%NAME: …`.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(':')?;
    let letters = name.strip_prefix(['%', '+', '#'])?;
    let is_name = !letters.is_empty()
        && letters
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_name.then_some(name)
}

/// Without `uart:~$ ` and its like at the start, however many.
fn without_prompts(line: &str) -> &str {
    const MARK: &str = ":~$";
    const NAME_CHARS_MAX: usize = 16;
    let mut line = line.trim_start();
    while let Some((name, rest)) = line.split_once(MARK) {
        let is_name = name.len() <= NAME_CHARS_MAX
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if !is_name {
            break;
        }
        line = rest.trim_start();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut reader = LineReader::default();
        bytes.iter().filter_map(|b| reader.push(*b)).collect()
    }

    #[test]
    fn lines_end_at_any_line_end_and_lose_prompt_and_colour() {
        assert_eq!(
            lines(b"\r\n\x1b[1;32muart:~$ \x1b[m\x1b[8D\x1b[J350000000000006\r\r\nOK\r\n"),
            ["350000000000006", "OK"]
        );
        assert_eq!(
            lines(b"uart:~$ uart:~$ OK\nmosh-2:~$ ERROR\r"),
            ["OK", "ERROR"]
        );
        assert_eq!(lines(b"\x1bEOK\n"), ["OK"], "a sequence of two");
    }

    #[test]
    fn a_quoted_text_keeps_its_line_breaks() {
        assert_eq!(
            lines(b"%CMNG: 1,0,\"AB\",\"-----BEGIN\r\nOK\nERROR\r\n-----END\"\r\nOK\r\n"),
            [
                "%CMNG: 1,0,\"AB\",\"-----BEGIN\r\nOK\nERROR\r\n-----END\"",
                "OK"
            ]
        );
    }

    #[test]
    fn a_lonely_quote_elsewhere_does_not_swallow_the_answer() {
        assert_eq!(
            lines(
                b"uart:~$ at 'AT%CMNG=0,1,0,\"abc\r\n+def\"'\r\n[00:00:01] <inf> say: \"\r\nOK\r\n"
            )
            .last(),
            Some(&"OK".to_owned())
        );
    }

    #[test]
    fn what_is_not_the_answer_is_a_notification() {
        let sent = Sent::new("AT%CMNG=1", "AT%CMNG=1");
        assert_eq!(
            sent.sort("%CMNG: 1,0"),
            Said::Information("%CMNG: 1,0".to_owned())
        );
        assert_eq!(
            sent.sort("+CGEV: ME PDN ACT 0"),
            Said::Notification("+CGEV: ME PDN ACT 0".to_owned())
        );
        assert_eq!(
            sent.sort("+CME ERROR: 513"),
            Said::Final("+CME ERROR: 513".to_owned())
        );
        assert_eq!(
            Sent::nothing().sort("%XTIME: \"80\""),
            Said::Notification("%XTIME: \"80\"".to_owned())
        );
        assert_eq!(Sent::nothing().sort("OK"), Said::Nothing);
    }

    #[test]
    fn an_echo_is_no_answer_and_a_shells_refusal_is_its_end() {
        let sent = Sent::new("at 'AT+CGSN'", "AT+CGSN");
        assert_eq!(sent.sort("at 'AT+CGSN'"), Said::Nothing);
        assert_eq!(
            sent.sort("Sending AT command failed with error code -7"),
            Said::Refused(-7)
        );
        let long = "AT%CMNG=0,1,0,\"-----BEGIN CERTIFICATE-----\"";
        assert_eq!(
            ["AT%CMNG=0,1,0,\"-----BEGIN CERT", "IFICATE-----\""]
                .map(|piece| Sent::new(long, long).sort(piece)),
            [Said::Nothing, Said::Nothing],
            "broken by a terminal"
        );
        assert!(!format!("{:?}", Sent::new(long, long)).contains("BEGIN"));
        let bare = Sent::new("AT+CGMR", "AT+CGMR");
        assert_eq!(bare.sort("[00:01:02.345,678] <inf> app: OK"), Said::Nothing);
        assert_eq!(
            bare.sort("mfw_nrf91x1_2.0.2"),
            Said::Information("mfw_nrf91x1_2.0.2".to_owned())
        );
    }

    #[test]
    fn half_a_notification_goes_on_and_half_an_answer_does_not() {
        let mut reader = LineReader::default();
        for byte in b"+CGEV: ME P" {
            assert_eq!(reader.push(*byte), None);
        }
        reader.forget_answer();
        let rest: Vec<String> = b"DN ACT 0\r\n"
            .iter()
            .filter_map(|b| reader.push(*b))
            .collect();
        assert_eq!(rest, ["+CGEV: ME PDN ACT 0"]);
        for byte in b"%CMNG: 1,0,\"AB\",\"---" {
            assert_eq!(reader.push(*byte), None);
        }
        reader.forget_answer();
        let rest: Vec<String> = b"OK\r\n".iter().filter_map(|b| reader.push(*b)).collect();
        assert_eq!(rest, ["OK"]);
    }
}
