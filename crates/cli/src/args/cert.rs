//! `sectag cert`: what can be typed.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Show what a certificate file says
    Show {
        /// PEM file; every certificate in it is shown
        file: PathBuf,
    },
}
