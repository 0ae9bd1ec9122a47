//! AT host mode: lines go to the modem as they are, answers come back unchanged (spec/modem-at §9).

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::Terminator;
use crate::{LineError, Modem};

/// Longest command, in bytes without its terminator; a longer one is read to its end and answers one `ERROR`.
pub const COMMAND_BYTES_MAX: usize = 4096;

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

/// Cuts a stream into commands and runs them.
///
/// A terminator ends a command outside double quotes only; inside them it is data. Commands of blanks only are dropped
/// without an answer. Backspace and DEL take back the last byte. Notifications are forwarded between commands.
pub struct AtHost {
    terminator: Terminator,
    /// Never longer than [`COMMAND_BYTES_MAX`]; allocated once, since it can hold a private key.
    line: Zeroizing<Vec<u8>>,
    in_quotes: bool,
    too_long: bool,
    last: u8,
}

impl AtHost {
    /// A host that has received nothing.
    pub fn new(terminator: Terminator) -> Self {
        Self {
            terminator,
            line: Zeroizing::new(Vec::with_capacity(COMMAND_BYTES_MAX + 1)),
            in_quotes: false,
            too_long: false,
            last: 0,
        }
    }

    /// Takes bytes from the line; what is to be sent back is appended to `out`.
    ///
    /// # Errors
    /// [`LineError::PowerCut`] and [`LineError::Port`]: nobody answers any more. Other failures print `ERROR`.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        modem: &mut dyn Modem,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        for byte in bytes {
            if self.ends_with(*byte) {
                self.run(modem, out)?;
            }
        }
        Ok(())
    }

    /// Forwards what the modem has said on its own.
    pub fn poll(&mut self, modem: &mut dyn Modem, out: &mut Vec<u8>) {
        for notification in modem.notifications() {
            out.extend_from_slice(notification.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Takes one byte; `true` when it completes a command.
    fn ends_with(&mut self, byte: u8) -> bool {
        let before = std::mem::replace(&mut self.last, byte);
        match byte {
            BACKSPACE | DELETE => {
                if !self.too_long && self.line.pop() == Some(b'"') {
                    self.in_quotes = !self.in_quotes;
                }
                self.last = self.line.last().copied().unwrap_or_default();
                return false;
            }
            _ if self.in_quotes => {}
            0 => return self.terminator == Terminator::Nul,
            b'\r' if self.terminator == Terminator::Cr => return true,
            b'\n' if self.terminator == Terminator::Lf => return true,
            b'\n' if self.terminator == Terminator::CrLf && before == b'\r' => {
                if !self.too_long {
                    self.line.pop();
                }
                return true;
            }
            _ => {}
        }
        if byte == b'"' {
            self.in_quotes = !self.in_quotes;
        }
        // The CR of a CR LF still has to fit beside the longest command.
        let room = COMMAND_BYTES_MAX + usize::from(byte == b'\r' && !self.in_quotes);
        if self.line.len() < room {
            self.line.push(byte);
        } else {
            self.too_long = true;
        }
        false
    }

    fn run(&mut self, modem: &mut dyn Modem, out: &mut Vec<u8>) -> Result<(), LineError> {
        let done = self.answer(modem, out);
        self.line.zeroize();
        self.in_quotes = false;
        self.too_long = false;
        self.last = 0;
        self.poll(modem, out);
        done
    }

    fn answer(&self, modem: &mut dyn Modem, out: &mut Vec<u8>) -> Result<(), LineError> {
        const ERROR: &[u8] = b"ERROR\r\n";
        if self.too_long || self.line.len() > COMMAND_BYTES_MAX {
            out.extend_from_slice(ERROR);
            return Ok(());
        }
        // The firmware hands over a C string: a NUL between quotes ends it.
        let line = match self.line.iter().position(|byte| *byte == 0) {
            Some(end) => &self.line[..end],
            None => &self.line[..],
        };
        if line.iter().all(|byte| *byte <= b' ') {
            return Ok(());
        }
        let Ok(line) = std::str::from_utf8(line) else {
            out.extend_from_slice(ERROR);
            return Ok(());
        };
        match modem.line(line) {
            Ok(answer) => out.extend_from_slice(answer.as_bytes()),
            Err(gone @ (LineError::PowerCut | LineError::Port(_))) => return Err(gone),
            Err(_) => out.extend_from_slice(ERROR),
        }
        Ok(())
    }
}

/// How far a command has come, not what is in it.
impl fmt::Debug for AtHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtHost")
            .field("terminator", &self.terminator)
            .field("bytes", &self.line.len())
            .field("in_quotes", &self.in_quotes)
            .finish()
    }
}
