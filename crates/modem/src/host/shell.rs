//! Shell mode: Zephyr's shell with the `at` command in front of the modem (spec/modem-at §9).

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::{AtHost, COMMAND_BYTES_MAX, LineHandler, Terminator, words};
use crate::{LineError, Modem};

/// Longest answer the firmware's `at` command has room for; a longer one prints error -7 although the command was run.
pub const RESPONSE_BYTES_MAX: usize = 2700;

/// What `at` alone prints.
const USAGE: &str = "Usage: at <subcommand>\r\n\r\nSubcommands:\r\n  events_enable     Enable AT event handler which prints AT notifications\r\n  events_disable    Disable AT event handler\r\n  at_cmd_mode start Raw AT commands until ctrl-x ctrl-q\r\n\r\nAny other subcommand is interpreted as AT command and sent to the modem.\r\n";

/// What `help` prints; the handler's own lines follow.
const HELP: &str = "Available commands:\r\n  at      : Execute an AT command\r\n  kernel  : kernel reboot [warm|cold]\r\n";

/// What a reboot prints.
const BANNER: &str =
    "*** Booting nRF Connect SDK v3.1.0 ***\r\n*** Using Zephyr OS v4.1.99 ***\r\n";

const RAW_MODE: &str = "MoSh AT command mode started, press ctrl-x ctrl-q to escape\r\n";

// Error numbers as the firmware's C library has them.
const E2BIG: i32 = -7;
const EIO: i32 = -5;
const ETIMEDOUT: i32 = -116;

const CTRL_C: u8 = 0x03;
const BACKSPACE: u8 = 0x08;
const CTRL_Q: u8 = 0x11;
const CTRL_U: u8 = 0x15;
const CTRL_X: u8 = 0x18;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// How the shell looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellOptions {
    /// Printed when the shell waits for a line. Default: `uart:~$ `, as host tools know it.
    pub prompt: String,
    /// Colours and cursor movements as ANSI sequences. Default: `true`.
    pub ansi: bool,
    /// What is typed comes back. Default: `true`.
    pub echo: bool,
    /// A backslash and an `n` inside `AT%CMNG=0…` become CR LF (AT_SHELL_UNESCAPE_LF). Default: `true`.
    pub unescapes_line_feeds: bool,
    /// What ends a command after `at at_cmd_mode start`. Default: CR.
    pub raw_terminator: Terminator,
}

impl Default for ShellOptions {
    fn default() -> Self {
        Self {
            prompt: "uart:~$ ".to_owned(),
            ansi: true,
            echo: true,
            unescapes_line_feeds: true,
            raw_terminator: Terminator::Cr,
        }
    }
}

/// Edits lines, runs them, prints.
pub struct Shell {
    options: ShellOptions,
    /// Never longer than [`COMMAND_BYTES_MAX`]; allocated once, since it can hold a private key.
    line: Zeroizing<Vec<u8>>,
    too_long: bool,
    input: Input,
    /// The line end that came last; the other one right behind it belongs to it.
    line_end: Option<u8>,
    prints_events: bool,
    /// Present after `at at_cmd_mode start`; `true` when ctrl-x came last.
    raw: Option<(AtHost, bool)>,
}

/// Where in an escape sequence the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Text,
    Escape,
    Sequence,
}

impl Shell {
    /// A shell that has received nothing.
    pub fn new(options: ShellOptions) -> Self {
        Self {
            options,
            line: Zeroizing::new(Vec::with_capacity(COMMAND_BYTES_MAX)),
            too_long: false,
            input: Input::Text,
            line_end: None,
            prints_events: false,
            raw: None,
        }
    }

    /// Takes bytes from the line; what is to be sent back is appended to `out`. Lines that are not the shell's own go to
    /// `handler`.
    ///
    /// # Errors
    /// [`LineError::PowerCut`]: nobody answers any more. Other failures print the firmware's error text.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        modem: &mut dyn Modem,
        handler: &mut dyn LineHandler,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        for byte in bytes {
            if self.raw.is_some() {
                self.raw_byte(*byte, modem, out)?;
            } else {
                self.byte(*byte, modem, handler, out)?;
            }
        }
        Ok(())
    }

    /// Prints what the modem has said on its own, if that was asked for with `at events_enable`.
    pub fn poll(&mut self, modem: &mut dyn Modem, out: &mut Vec<u8>) {
        if let Some((host, _)) = &mut self.raw {
            host.poll(modem, out);
            return;
        }
        let events = modem.notifications();
        if events.is_empty() || !self.prints_events {
            return;
        }
        self.erase_line(out);
        print_events(&events, out);
        self.prompt(out);
        out.extend_from_slice(&self.line);
    }

    /// Prints the prompt, as after power on.
    pub fn prompt(&self, out: &mut Vec<u8>) {
        self.coloured("\x1b[1;32m", &self.options.prompt, out);
    }

    fn byte(
        &mut self,
        byte: u8,
        modem: &mut dyn Modem,
        handler: &mut dyn LineHandler,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        match self.input {
            Input::Text => {}
            Input::Escape => {
                self.input = if matches!(byte, b'[' | b'O') {
                    Input::Sequence
                } else {
                    Input::Text
                };
                return Ok(());
            }
            Input::Sequence => {
                // The final byte of a control sequence (ECMA-48 §5.4).
                if (0x40..=0x7e).contains(&byte) {
                    self.input = Input::Text;
                }
                return Ok(());
            }
        }
        if matches!(byte, b'\r' | b'\n') {
            if self.line_end.is_some_and(|end| end != byte) {
                return Ok(());
            }
            self.line_end = Some(byte);
            return self.enter(modem, handler, out);
        }
        self.line_end = None;
        match byte {
            ESCAPE => self.input = Input::Escape,
            BACKSPACE | DELETE => {
                let erased: &[u8] = match self.line.pop() {
                    Some(_) if self.options.echo => b"\x08 \x08",
                    _ => b"",
                };
                out.extend_from_slice(erased);
            }
            CTRL_C => {
                self.forget();
                out.extend_from_slice(b"\r\n");
                self.prompt(out);
            }
            CTRL_U => {
                self.erase_line(out);
                self.forget();
                self.prompt(out);
            }
            b' '..=0x7e if self.line.len() == COMMAND_BYTES_MAX => self.too_long = true,
            b' '..=0x7e => {
                self.line.push(byte);
                if self.options.echo {
                    out.push(byte);
                }
            }
            // As the firmware's shell: what cannot be printed is not typed.
            _ => {}
        }
        Ok(())
    }

    fn enter(
        &mut self,
        modem: &mut dyn Modem,
        handler: &mut dyn LineHandler,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        out.extend_from_slice(b"\r\n");
        let line = std::mem::take(&mut *self.line);
        let line = Zeroizing::new(String::from_utf8(line).unwrap_or_default());
        let too_long = std::mem::take(&mut self.too_long);
        self.line.reserve(COMMAND_BYTES_MAX);
        if too_long {
            let text = format!("command longer than {COMMAND_BYTES_MAX} characters\r\n");
            self.complain(&text, out);
        } else {
            self.execute(&line, modem, handler, out)?;
        }
        if self.raw.is_some() {
            return Ok(());
        }
        let events = modem.notifications();
        if self.prints_events {
            print_events(&events, out);
        }
        self.prompt(out);
        Ok(())
    }

    fn execute(
        &mut self,
        line: &str,
        modem: &mut dyn Modem,
        handler: &mut dyn LineHandler,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        let words = match words::split(line) {
            Ok(words) => words,
            Err(quote) => {
                self.complain(&format!("not terminated: {quote}\r\n"), out);
                return Ok(());
            }
        };
        let words: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
        match words[..] {
            [] => {}
            ["at"] => out.extend_from_slice(USAGE.as_bytes()),
            ["at", "events_enable"] => {
                self.prints_events = true;
                out.extend_from_slice(b"AT command event handler enabled\r\n");
            }
            ["at", "events_disable"] => {
                self.prints_events = false;
                out.extend_from_slice(b"AT command event handler disabled\r\n");
            }
            ["at", "at_cmd_mode", "start"] | ["at_cmd_mode", "start"] => {
                self.raw = Some((AtHost::new(self.options.raw_terminator), false));
                out.extend_from_slice(RAW_MODE.as_bytes());
            }
            // Further words are dropped: the firmware sends the first one only.
            ["at", command, ..] => self.send(command, modem, out)?,
            ["kernel", "reboot"] | ["kernel", "reboot", "warm" | "cold"] => {
                modem.reboot();
                self.forget();
                self.prints_events = false;
                handler.rebooted();
                out.extend_from_slice(BANNER.as_bytes());
            }
            ["help"] => {
                out.extend_from_slice(HELP.as_bytes());
                out.extend_from_slice(handler.line("help").unwrap_or_default().as_bytes());
            }
            [first, ..] => match handler.line(line.trim()) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => self.complain(&format!("{first}: command not found\r\n"), out),
            },
        }
        Ok(())
    }

    fn send(
        &self,
        command: &str,
        modem: &mut dyn Modem,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        let writes = command
            .get(..9)
            .is_some_and(|head| head.eq_ignore_ascii_case("AT%CMNG=0"));
        let unescaped = (writes && self.options.unescapes_line_feeds)
            .then(|| Zeroizing::new(command.replace("\\n", "\r\n")));
        let command = unescaped.as_ref().map_or(command, |text| text.as_str());
        let failed = match modem.line(command) {
            Ok(answer) if answer.len() <= RESPONSE_BYTES_MAX => {
                out.extend_from_slice(answer.as_bytes());
                out.extend_from_slice(b"\r\n");
                return Ok(());
            }
            Ok(_) => E2BIG,
            Err(LineError::PowerCut) => return Err(LineError::PowerCut),
            Err(LineError::Timeout { .. }) => ETIMEDOUT,
            Err(LineError::Unsendable { .. }) => E2BIG,
            Err(_) => EIO,
        };
        let text = format!("Sending AT command failed with error code {failed}\r\n");
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn raw_byte(
        &mut self,
        byte: u8,
        modem: &mut dyn Modem,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        let Some((host, leaving)) = &mut self.raw else {
            return Ok(());
        };
        match byte {
            CTRL_X => *leaving = true,
            CTRL_Q if *leaving => {
                self.raw = None;
                out.extend_from_slice(b"\r\n");
                self.prompt(out);
            }
            _ => {
                *leaving = false;
                host.receive(&[byte], modem, out)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.line.zeroize();
        self.too_long = false;
    }

    fn complain(&self, text: &str, out: &mut Vec<u8>) {
        self.coloured("\x1b[1;31m", text, out);
    }

    fn coloured(&self, colour: &str, text: &str, out: &mut Vec<u8>) {
        let (on, off) = if self.options.ansi {
            (colour, "\x1b[m")
        } else {
            ("", "")
        };
        for part in [on, text, off] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Takes prompt and line off the screen; without ANSI the text goes to a line of its own.
    fn erase_line(&self, out: &mut Vec<u8>) {
        if self.options.ansi {
            let columns = self.options.prompt.chars().count() + self.line.len();
            out.extend_from_slice(format!("\x1b[{columns}D\x1b[J").as_bytes());
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn print_events(events: &[String], out: &mut Vec<u8>) {
    for event in events {
        out.extend_from_slice(format!("AT event handler:\r\n{event}\r\n").as_bytes());
    }
}

/// How far a line has come, not what is in it.
impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell")
            .field("bytes", &self.line.len())
            .field("prints_events", &self.prints_events)
            .field("raw", &self.raw.is_some())
            .finish_non_exhaustive()
    }
}
