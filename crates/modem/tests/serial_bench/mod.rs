//! A wire without a machine: what is written goes through the firmware's AT host or shell to a virtual modem, and
//! what comes back can be read.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use sectag_modem::SharedModem;
use sectag_modem::host::{AtHost, NoHandler, Shell, ShellOptions, Terminator};
use sectag_modem::serial::{Port, SerialOptions};

/// Two texts that a modem takes as certificates.
pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----";
pub const CERTIFICATE_2: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQY=\n-----END CERTIFICATE-----";

/// Default options with waits that a test can afford; a wire in memory answers at once.
pub fn quick() -> SerialOptions {
    SerialOptions {
        line_timeout: Duration::from_millis(50),
        read_timeout: Duration::from_millis(10),
        settle: Duration::ZERO,
        ..SerialOptions::default()
    }
}

pub struct Wire {
    modem: SharedModem,
    firmware: Firmware,
    out: VecDeque<u8>,
}

enum Firmware {
    At(AtHost),
    Shell(Box<Shell>),
}

impl Wire {
    pub fn at(modem: SharedModem, terminator: Terminator) -> Self {
        Self {
            modem,
            firmware: Firmware::At(AtHost::new(terminator)),
            out: VecDeque::new(),
        }
    }

    pub fn shell(modem: SharedModem) -> Self {
        Self {
            modem,
            firmware: Firmware::Shell(Box::new(Shell::new(ShellOptions::default()))),
            out: VecDeque::new(),
        }
    }
}

impl Port for Wire {
    fn read(&mut self, buffer: &mut [u8], _wait: Duration) -> io::Result<usize> {
        let mut said = Vec::new();
        match &mut self.firmware {
            Firmware::At(host) => host.poll(&mut self.modem, &mut said),
            Firmware::Shell(shell) => shell.poll(&mut self.modem, &mut said),
        }
        self.out.extend(said);
        // A few bytes at a time, as a serial line delivers them.
        let count = buffer.len().min(self.out.len()).min(7);
        for (to, from) in buffer.iter_mut().zip(self.out.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        match &mut self.firmware {
            Firmware::At(host) => host.receive(bytes, &mut self.modem, &mut out),
            Firmware::Shell(shell) => {
                shell.receive(bytes, &mut self.modem, &mut NoHandler, &mut out)
            }
        }
        .map_err(|error| io::Error::other(error.to_string()))?;
        self.out.extend(out);
        Ok(())
    }
}
