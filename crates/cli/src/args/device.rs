//! `sectag device`: what can be typed.

use crate::modem_choice::{self, Choice};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Name of the device; its modem's state is HOME/devices/NAME
    #[arg(long, default_value = "device-1")]
    pub(crate) name: String,
}

/// What a device is told: how it behaves and where its service is. The later one wins: our defaults or `--faithful`,
/// then HOME/devices/NAME/device.toml, then `--kconfig`, then `-o`, then a flag of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Tuning {
    /// Host of the device API [default: localhost]
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Port of the device API [default: the one of the service in this home, else 8443, over CoAP 5684]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Root CA of the service, written into an empty tag only [default: HOME/ca/root.crt]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Sec tag of that root CA, 0 to 2147483647 [default: 50, over CoAP 42]
    #[arg(long, value_name = "SEC_TAG")]
    pub(crate) ca_sec_tag: Option<u32>,
    /// Behave as the firmware does, with its defaults and its flaws; whom the device talks to stays the same
    #[arg(long)]
    pub(crate) faithful: bool,
    /// How to reach the service: HTTPS, or CoAP over DTLS with Connection ID [default: https]
    #[arg(long, value_name = "TRANSPORT", value_parser = ["https", "coap"])]
    pub(crate) transport: Option<String>,
    /// Options of a firmware project, as Zephyr's build reads them; repeat it for overlays, the last one wins
    #[arg(long, value_name = "PRJ.CONF")]
    pub(crate) kconfig: Vec<PathBuf>,
    /// Set one option, e.g. `-o interval-s=3600`; `sectag device options` lists them
    #[arg(short = 'o', long = "option", value_name = "NAME=VALUE")]
    pub(crate) options: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceVerb {
    /// Run one provisioning session, or keep running
    Run {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        tuning: Tuning,
        #[arg(long, value_name = "MODEM", default_value_t, help = format!("Which modem: {}", modem_choice::HELP))]
        modem: Choice,
        /// Stay: come back by schedule, answer `sectag device now` and the others, until Ctrl-C. With --json each event is
        /// one line of JSON on stdout
        #[arg(long)]
        keep_running: bool,
        /// The firmware's console on this terminal (`nrf_provisioning now`, …). For tests only
        #[arg(long, requires = "keep_running")]
        shell: bool,
    },
    /// Make the running device ask its service for commands now
    Now {
        #[command(flatten)]
        which: Which,
    },
    /// Print the attestation token to claim the device with
    Token {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_name = "MODEM", default_value_t, help = format!("Which modem: {}", modem_choice::HELP))]
        modem: Choice,
    },
    /// Print the device UUID
    Uuid {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_name = "MODEM", default_value_t, help = format!("Which modem: {}", modem_choice::HELP))]
        modem: Choice,
    },
    /// Show the running device's interval between sessions, or set it
    Interval {
        #[command(flatten)]
        which: Which,
        /// New interval; 0 is the default
        #[arg(allow_negative_numbers = true)]
        seconds: Option<i64>,
    },
    /// Show what the running device has told, numbered
    Events {
        #[command(flatten)]
        which: Which,
        /// Stay, and show what comes, until the device stops
        #[arg(long)]
        follow: bool,
        /// Only those behind this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
    },
    /// Show every option of a device with its value and where that came from
    Options {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        tuning: Tuning,
    },
}
