//! `sectag creds`: what can be typed.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Creds {
    /// List what lies under the tags
    List,
}
