//! `sectag mqtt sample`: what can be typed.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Sample {}
