//! `sectag modem`: what can be typed.

use super::ModemArgs;
use clap::{Args, Subcommand};
use sectag_modem::host::Terminator;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum ModemVerb {
    /// Serve a virtual modem on a pty or a TCP port until Ctrl-C
    ///
    /// The pty's path, or the port, is printed on stdout; with --json the count of flash writes at the end as well. Exit 0
    /// after Ctrl-C or SIGTERM, 3 after an injected power cut.
    #[command(after_help = crate::modem::quirks_help())]
    Serve(Box<Serve>),
    /// Show a virtual modem's identity, entries and flash writes, also while it is served
    Status(StoredModem),
    /// Send one AT line to a modem and print its answer; exit 1 when the answer is an error
    At(Box<AtLine>),
    /// Pass lines from stdin to a modem and its answers to stdout, and write both into FILE until stdin ends or Ctrl-C
    Record(Box<Record>),
}

#[derive(Debug, Args)]
pub(crate) struct AtLine {
    #[command(flatten)]
    pub(crate) modem: ModemArgs,
    /// The line, e.g. 'AT%CMNG=1'; quotes may span lines; `-` reads it from stdin
    #[arg(value_name = "LINE")]
    pub(crate) line: String,
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    #[command(flatten)]
    pub(crate) modem: ModemArgs,
    /// The transcript, appended: milliseconds, `>` out, `<` in, `*` notifications; secrets are ****
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// On a pty, which host tools take for a serial port (the default, unless --tcp is given)
    #[arg(long)]
    pub(crate) pty: bool,
    /// A link to the pty, for a name that stays the same; removed at the end
    #[arg(long, value_name = "PATH")]
    pub(crate) link: Option<PathBuf>,
    /// On a TCP port, e.g. 127.0.0.1:5555; port 0 is any free one
    #[arg(long, value_name = "ADDR:PORT", value_parser = super::address)]
    pub(crate) tcp: Option<SocketAddr>,
    /// Listen on an address that other machines reach: whoever connects may read, replace and use what is in the modem
    #[arg(long, requires = "tcp")]
    pub(crate) dangerously_listen_beyond_loopback: bool,
    /// The firmware in front of the modem: its AT host, or its shell with the command `at`
    #[arg(long, value_name = "MODE", default_value = "at", value_parser = ["at", "shell"])]
    pub(crate) mode: String,
    /// What ends a command: nul, cr, lf or crlf. With cr, CR LF does as well
    #[arg(long, value_name = "TERMINATOR", default_value_t)]
    pub(crate) terminator: Terminator,
    /// Shell without colours and cursor movements
    #[arg(long)]
    pub(crate) plain: bool,
    #[command(flatten)]
    pub(crate) device: ServedDevice,
    /// Begin registered to a network (AT+CFUN=1)
    #[arg(long)]
    pub(crate) online: bool,
    /// Never tell the modem the time: AT%CCLK? fails, as before the first network
    #[arg(long)]
    pub(crate) no_time: bool,
    /// Behave as another firmware does (repeat for several; see the list below)
    #[arg(long = "quirk", value_name = "NAME=VALUE")]
    pub(crate) quirks: Vec<String>,
    /// Fail on purpose (repeat for several): AT%CMNG=0#3:515 answers the third write with CME error 515, AT%KEYGEN#1:error
    /// with ERROR; write#2:cut-before and write#2:cut-after cut the power at the second flash write
    #[arg(long = "fault", value_name = "SPEC")]
    pub(crate) faults: Vec<String>,
    /// Lend signatures of the client keys to whoever is connected, by a command that no real modem has (AT#SECTAGSIGN)
    #[arg(long)]
    pub(crate) allow_remote_signing: bool,
    /// Run the provisioning client beside the modem, so that `nrf_provisioning now` in the shell runs a session
    #[arg(long)]
    pub(crate) provision: bool,
    #[command(
        flatten,
        next_help_heading = "Options of --provision, as of `sectag device run`"
    )]
    pub(crate) tuning: super::Tuning,
}

/// Which modem it is.
#[derive(Debug, Args)]
pub(crate) struct ServedDevice {
    /// The modem of the home's device NAME, the one that `device run` drives [default: device-1]
    #[arg(long, conflicts_with_all = ["state", "seed", "identity"])]
    pub(crate) name: Option<String>,
    /// The modem whose state is in DIR; a new one on first use
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The same identity for the same number, in memory or for the first use of --state: for tests, since whoever knows N
    /// knows its keys
    #[arg(long, value_name = "N", conflicts_with = "identity")]
    pub(crate) seed: Option<u64>,
    /// The identity from FILE, in memory or for the first use of --state: JSON with any of device, device_type, firmware,
    /// firmware_name, imei, identity_key (PEM); mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StoredModem {
    /// The modem of the home's device NAME [default: device-1]
    #[arg(long, conflicts_with = "state")]
    pub(crate) name: Option<String>,
    /// The modem whose state is in DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}
