//! What stands between a serial line and the modem: the firmware's AT host or its shell, and the ptys and sockets
//! that carry them.
//!
//! ```text
//!   pty, TCP ──bytes──► AtHost │ Shell ──AT lines──► modem
//!            ◄──bytes──                ◄──answers, notifications──
//! ```
//!
//! [`AtHost`] and [`Shell`] are pure: bytes in, bytes out, whatever way the bytes were cut into pieces. [`Hosts`]
//! puts them on ptys and TCP ports, each connection with framing of its own, all over one [`SharedModem`]. Real time
//! enters here and nowhere else. What the bytes mean is spec/modem-at §9.
//!
//! [`SharedModem`]: crate::SharedModem

mod at_host;
mod carry;
mod clock;
mod hosts;
mod link;
mod pty;
mod remote_signer;
mod shell;
mod tcp;
mod words;

pub(crate) use carry::Bell;

pub use at_host::{AtHost, COMMAND_BYTES_MAX};
pub use hosts::{Ended, HostError, Hosts, Shutdown};
pub use remote_signer::RemoteSigner;
pub use shell::{RESPONSE_BYTES_MAX, Shell, ShellOptions};

use std::fmt;
use std::str::FromStr;

use crate::{LineError, Modem};

/// What the application beside the modem answers: shell lines that are not the shell's own, for instance
/// `nrf_provisioning now`, and AT commands that are not the modem's.
pub trait LineHandler: Send {
    /// What to print for `line`, each line ending in CR LF; `None` when this handler does not know the command. `help` asks
    /// for a line about each command.
    fn line(&mut self, line: &str) -> Option<String>;

    /// The whole answer to an AT command of the application's own, such as `AT#PROVSTART`, in either mode; `None` lets the
    /// modem answer. Default: `None`.
    fn at(&mut self, _command: &str) -> Option<String> {
        None
    }

    /// The board was rebooted by `kernel reboot`: what a firmware does at boot may be done. Default: nothing.
    fn rebooted(&mut self) {}
}

/// A shell that knows its own commands only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHandler;

impl LineHandler for NoHandler {
    fn line(&mut self, _line: &str) -> Option<String> {
        None
    }
}

/// What ends a command in AT host mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Terminator {
    /// NUL.
    Nul,
    /// CR, the firmware's default. The LF of a CR LF leads the next command as a blank and does no harm.
    #[default]
    Cr,
    /// LF.
    Lf,
    /// CR LF; either of them alone is data.
    CrLf,
}

impl Terminator {
    /// All of them, with the names they are typed by.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("nul", Self::Nul),
        ("cr", Self::Cr),
        ("lf", Self::Lf),
        ("crlf", Self::CrLf),
    ];

    /// The bytes.
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Nul => b"\0",
            Self::Cr => b"\r",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

impl FromStr for Terminator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, terminator)| *terminator)
            .ok_or_else(|| "a terminator is nul, cr, lf or crlf".to_owned())
    }
}

impl fmt::Display for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Self::NAMES[*self as usize];
        f.write_str(name)
    }
}

/// Which firmware stands between the line and the modem, as it is at power on.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Lines go to the modem as they are.
    At(Terminator),
    /// Zephyr's shell with its `at` command.
    Shell(ShellOptions),
}

/// The framing of one connection.
#[derive(Debug)]
pub(crate) enum Framing {
    At(AtHost),
    Shell(Box<Shell>),
}

impl Framing {
    pub(crate) fn new(mode: &Mode) -> Self {
        match mode {
            Mode::At(terminator) => Self::At(AtHost::new(*terminator)),
            Mode::Shell(options) => Self::Shell(Box::new(Shell::new(options.clone()))),
        }
    }

    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        modem: &mut dyn Modem,
        handler: &mut dyn LineHandler,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        match self {
            Self::At(host) => host.receive(bytes, modem, out),
            Self::Shell(shell) => shell.receive(bytes, modem, handler, out),
        }
    }

    pub(crate) fn poll(&mut self, modem: &mut dyn Modem, out: &mut Vec<u8>) {
        match self {
            Self::At(host) => host.poll(modem, out),
            Self::Shell(shell) => shell.poll(modem, out),
        }
    }

    pub(crate) fn greet(&mut self, out: &mut Vec<u8>) {
        if let Self::Shell(shell) = self {
            shell.prompt(out);
        }
    }
}
