//! The firmware's console of the provisioning library: `nrf_provisioning now | token | uuid | interval <seconds>`
//! (spec/device-protocol §14). For tests only, and off unless it is asked for.
//!
//! [`Console`] answers the shell's lines; the shell itself, with its prompt and its `at` command, is
//! [`sectag_modem::host::Shell`]. [`CustomAt`] stands before the modem and answers `AT#PROVSTART` and `AT#PROVCFG`.

use sectag_modem::host::LineHandler;
use sectag_modem::{LineError, Modem};

use crate::agent::Handle;
use crate::verbs;

/// What host tools wait for after `nrf_provisioning now`.
pub const NOW_LINE: &str = "nrf_provisioning: Externally initiated provisioning";
/// Shown before the first prompt.
pub const NOTICE: &str = "The shell is meant for testing. Do not enable it in production.";

/// The firmware's help text.
const HELP: &str = "nrf_provisioning - nRF Provisioning commands\r\n\
                    Subcommands:\r\n  \
                    now       : Do provisioning now\r\n  \
                    token     : Get the attestation token\r\n  \
                    uuid      : Get device UUID\r\n  \
                    interval  : Set provisioning interval\r\n";
/// What the library says before init; the shell needs the application to have called it.
const NOT_INITIALISED: &str = "nrf_provisioning: the client is not initialised (-EFAULT)\r\n";

/// Answers the lines of the console.
pub struct Console {
    modem: Box<dyn Modem + Send>,
    handle: Option<Handle>,
}

impl Console {
    /// The console of a running device.
    pub fn new(handle: Handle) -> Self {
        Self {
            modem: Box::new(handle.modem().clone()),
            handle: Some(handle),
        }
    }

    /// The console of a modem whose application never initialised the library: `token` and `uuid` work.
    pub const fn without_client(modem: Box<dyn Modem + Send>) -> Self {
        Self {
            modem,
            handle: None,
        }
    }

    fn run(&mut self, words: &[&str]) -> String {
        match words {
            [] | ["-h" | "--help" | "help"] => HELP.to_owned(),
            ["now"] => match self.handle.as_ref().map(Handle::now_blocking) {
                Some(Ok(())) => format!("{NOW_LINE}\r\n"),
                Some(Err(failure)) => format!("nrf_provisioning: {failure}\r\n"),
                None => NOT_INITIALISED.to_owned(),
            },
            ["token"] => match verbs::token(&mut *self.modem) {
                Ok(token) => format!("{token}\r\n"),
                Err(error) => format!("Failed to get token: {error}\r\n"),
            },
            ["uuid"] => match verbs::uuid(&mut *self.modem) {
                Ok(id) => format!("{id}\r\n"),
                Err(error) => format!("Failed to get UUID: {error}\r\n"),
            },
            ["interval"] => {
                "No interval provided\r\nUsage: nrf_provisioning interval <seconds>\r\n".to_owned()
            }
            ["interval", seconds] => self.interval(seconds),
            [other, ..] => format!(
                "nrf_provisioning: `{}` is no subcommand, or has too many parameters\r\n{HELP}",
                shown(other)
            ),
        }
    }

    fn interval(&self, seconds: &str) -> String {
        let Some(handle) = &self.handle else {
            return NOT_INITIALISED.to_owned();
        };
        let Ok(seconds) = seconds.parse() else {
            return format!(
                "nrf_provisioning: `{}` is no number of seconds\r\n",
                shown(seconds)
            );
        };
        match handle.set_interval_blocking(seconds) {
            Ok(()) => String::new(),
            Err(failure) => format!("nrf_provisioning: {failure}\r\n"),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(40)
        .collect()
}

impl LineHandler for Console {
    fn line(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.split_first() {
            Some((&"nrf_provisioning", rest)) => Some(self.run(rest)),
            _ => None,
        }
    }

    fn rebooted(&mut self) {
        // A device that has stopped does not begin anew.
        let _ = self.handle.as_ref().map(Handle::rebooted_blocking);
    }
}

/// A modem with the application's own AT commands in front of it (CUSTOM_AT, spec/device-protocol §14).
pub struct CustomAt {
    modem: Box<dyn Modem + Send>,
    handle: Handle,
}

impl CustomAt {
    /// The modem of a running device.
    pub fn new(handle: Handle) -> Self {
        Self {
            modem: Box::new(handle.modem().clone()),
            handle,
        }
    }

    fn settings(&self) -> String {
        match self.handle.standing_blocking() {
            Ok(standing) => format!(
                "#PROVCFG: \"interval-sec\",{}\r\n#PROVCFG: \"after-correlation-id\",\"{}\"\r\nOK\r\n",
                standing.interval.interval.as_secs(),
                standing.after
            ),
            Err(_) => "ERROR\r\n".to_owned(),
        }
    }
}

impl Modem for CustomAt {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        let command = at.trim();
        if command.eq_ignore_ascii_case("AT#PROVSTART") {
            let answer = match self.handle.now_blocking() {
                Ok(()) => "OK\r\n",
                Err(_) => "ERROR\r\n",
            };
            return Ok(answer.to_owned());
        }
        if command.eq_ignore_ascii_case("AT#PROVCFG") {
            return Ok(self.settings());
        }
        self.modem.line(at)
    }

    fn notifications(&mut self) -> Vec<String> {
        self.modem.notifications()
    }

    fn reboot(&mut self) {
        self.modem.reboot();
    }
}
