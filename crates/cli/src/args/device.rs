//! `sectag device`: what can be typed.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Name of the device; its modem's state is HOME/devices/NAME
    #[arg(long, default_value = "device-1")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceVerb {
    /// Run one provisioning session
    Run {
        #[command(flatten)]
        which: Which,
        /// Host of the device API
        #[arg(long, default_value = "localhost")]
        host: String,
        /// Port of the device API [default: the one of the service in this home, else 8443]
        #[arg(long)]
        port: Option<u16>,
        /// Root CA of the service, written into an empty tag only [default: HOME/ca/root.crt]
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Sec tag of that root CA, 0 to 2147483647
        #[arg(long, value_name = "SEC_TAG", default_value_t = 50)]
        ca_sec_tag: u32,
    },
    /// Print the attestation token to claim the device with
    Token {
        #[command(flatten)]
        which: Which,
    },
    /// Print the device UUID
    Uuid {
        #[command(flatten)]
        which: Which,
    },
}
