//! `sectag nrf91`: what can be typed.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Nrf91 {
    /// Print the Kconfig overlay that points a real firmware at this service, or write it with the root CA as a header
    Kconfig(Kconfig),
}

#[derive(Debug, Args)]
pub(crate) struct Kconfig {
    /// Name under which devices reach the service; its certificate must carry it [default: the first of `names` in
    /// sectag.toml]
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Port there [default: the one that the service listens on]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Sec tag of the root CA, 0 to 2147483647 [default: 50, over CoAP 42]
    #[arg(long, value_name = "SEC_TAG", value_parser = clap::value_parser!(u32).range(..=2_147_483_647))]
    pub(crate) sec_tag: Option<u32>,
    /// CoAP over DTLS instead of HTTPS
    #[arg(long)]
    pub(crate) coap: bool,
    /// Root CA that the service's certificate chains to; for a public certificate that authority's [default:
    /// HOME/ca/root.crt]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Write sectag.conf and sectag_root_ca.h into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
