//! The firmware's console of the provisioning library: `nrf_provisioning now | token | uuid | interval <seconds>`
//! (spec/device-protocol §14). For tests only, and off unless it is asked for.

use sectag_modem::host::LineHandler;

use crate::agent::Handle;
use crate::verbs;

/// What host tools wait for after `nrf_provisioning now`.
pub const NOW_LINE: &str = "nrf_provisioning: Externally initiated provisioning";
/// Shown before the first prompt.
pub const NOTICE: &str = "The shell is meant for testing. Do not enable it in production.";

const HELP: &str = "nrf_provisioning - nRF Provisioning commands\r\n\
                    Subcommands:\r\n  \
                    now       : Do provisioning now\r\n  \
                    token     : Get the attestation token\r\n  \
                    uuid      : Get device UUID\r\n  \
                    interval  : Set provisioning interval\r\n";

/// Answers the lines of the console for a running device.
#[derive(Debug, Clone)]
pub struct Console {
    handle: Handle,
    custom_at: bool,
}

impl Console {
    /// The console of this device.
    pub const fn new(handle: Handle) -> Self {
        Self {
            handle,
            custom_at: false,
        }
    }

    /// CUSTOM_AT: whether `at AT#PROVSTART` and `at AT#PROVCFG` are answered.
    #[must_use]
    pub const fn with_custom_at(mut self, on: bool) -> Self {
        self.custom_at = on;
        self
    }

    fn run(&self, words: &[&str]) -> String {
        match words {
            [] | ["-h" | "--help" | "help"] => HELP.to_owned(),
            ["now"] => match self.handle.now_blocking() {
                Ok(()) => format!("{NOW_LINE}\r\n"),
                Err(failure) => format!("nrf_provisioning: {failure}\r\n"),
            },
            ["token"] => match self
                .handle
                .modem()
                .with_blocking(|modem| verbs::token(modem))
            {
                Ok(Ok(token)) => format!("{token}\r\n"),
                Ok(Err(error)) => format!("Failed to get token: {error}\r\n"),
                Err(error) => format!("Failed to get token: {error}\r\n"),
            },
            ["uuid"] => match self
                .handle
                .modem()
                .with_blocking(|modem| verbs::uuid(modem))
            {
                Ok(Ok(id)) => format!("{id}\r\n"),
                Ok(Err(error)) => format!("Failed to get UUID: {error}\r\n"),
                Err(error) => format!("Failed to get UUID: {error}\r\n"),
            },
            ["interval"] => {
                "No interval provided\r\nUsage: nrf_provisioning interval <seconds>\r\n".to_owned()
            }
            ["interval", seconds] => match seconds.parse() {
                Ok(seconds) => match self.handle.set_interval_blocking(seconds) {
                    Ok(()) => String::new(),
                    Err(failure) => format!("nrf_provisioning: {failure}\r\n"),
                },
                Err(_) => format!(
                    "`{}` is no number of seconds\r\n",
                    seconds.chars().take(40).collect::<String>()
                ),
            },
            [other, ..] => format!(
                "{}: wrong parameter count or unknown subcommand\r\n{HELP}",
                other.chars().take(40).collect::<String>()
            ),
        }
    }
}

impl LineHandler for Console {
    fn line(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.split_first() {
            Some((&"nrf_provisioning", rest)) => Some(self.run(rest)),
            _ => None,
        }
    }
}
