//! `sectag modem`: what can be typed.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ModemVerb {
    /// Serve a virtual modem
    Serve,
}
