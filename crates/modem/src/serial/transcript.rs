//! What was said, with the time, without secrets.

use std::fmt;
use std::io::Write;
use std::time::Instant;

use sectag_proto::at::Answer;

use super::mask::masked;
use crate::{LineError, Modem};

/// Writes down each line to and from a modem: seconds and milliseconds since the start, `>` out, `<` in, `*` the
/// modem's own words, `!` no answer. Private keys, PSKs, JWTs and PINs are `****`; a line break inside a line is `\n`.
///
/// ```text
///     0.000 > AT+CMEE=1
///     0.012 < OK
///     0.013 > AT%CMNG=0,42,2,"****"
/// ```
pub struct Transcript<M, W> {
    modem: M,
    to: W,
    started: Instant,
    /// The first failure to write; the modem goes on.
    failure: Option<std::io::Error>,
}

impl<M: Modem, W: Write> Transcript<M, W> {
    /// Listens to `modem` and writes to `to`.
    pub fn new(modem: M, to: W) -> Self {
        Self {
            modem,
            to,
            started: Instant::now(),
            failure: None,
        }
    }

    /// Why the transcript is not whole; asking clears it.
    pub fn take_failure(&mut self) -> Option<std::io::Error> {
        self.failure.take()
    }

    fn note(&mut self, mark: char, line: &str) {
        let elapsed = self.started.elapsed();
        let result = writeln!(
            self.to,
            "{:5}.{:03} {mark} {}",
            elapsed.as_secs(),
            elapsed.subsec_millis(),
            masked(line)
        )
        .and_then(|()| self.to.flush());
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }
}

impl<M: Modem, W: Write> Modem for Transcript<M, W> {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        self.note('>', at);
        let answer = self.modem.line(at);
        match &answer {
            Ok(text) => match Answer::parse(text) {
                Ok(parsed) => {
                    for line in &parsed.lines {
                        self.note('<', line);
                    }
                    self.note('<', &parsed.verdict.to_string());
                }
                Err(_) => self.note('<', text.trim_end()),
            },
            Err(error) => {
                let said = error.said().trim();
                if !said.is_empty() {
                    self.note('<', said);
                }
                self.note('!', &error.to_string());
            }
        }
        answer
    }

    fn notifications(&mut self) -> Vec<String> {
        let all = self.modem.notifications();
        for line in &all {
            self.note('*', line);
        }
        all
    }

    fn reboot(&mut self) {
        self.modem.reboot();
    }

    fn alters_line_ends(&self) -> bool {
        self.modem.alters_line_ends()
    }
}

impl<M: fmt::Debug, W> fmt::Debug for Transcript<M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transcript").field(&self.modem).finish()
    }
}
