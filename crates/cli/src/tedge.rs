//! Called by the name `tedge`, the program takes that tool's `config` and `cert` verbs at the top, with its words and exit codes.

use crate::args::{Config, ConfigVerb, DeviceCert, Global, Talk};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Verbs of thin-edge.io's command that Sectag answers
#[derive(Debug, Parser)]
#[command(
    name = "tedge",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Tedge {
    #[command(flatten)]
    talk: Talk,
    /// Where tedge.toml is [default: TEDGE_CONFIG_DIR, else the home]
    #[arg(long, global = true, value_name = "CONFIG_DIR")]
    config_dir: Option<PathBuf>,
    /// The home, for everything that has no place of its own
    #[arg(
        long,
        global = true,
        env = "SECTAG_HOME",
        value_name = "DIR",
        hide = true
    )]
    home: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: TedgeVerb,
}

#[derive(Debug, Subcommand)]
enum TedgeVerb {
    /// Configure the gateway
    #[command(arg_required_else_help = true)]
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Create and manage the device certificate
    #[command(arg_required_else_help = true)]
    Cert {
        #[command(subcommand)]
        verb: DeviceCert,
    },
}

/// The file name of a call.
pub(crate) const NAME: &str = "tedge";

/// Whether the program was called by that name.
pub(crate) fn is_called(arguments: &[OsString]) -> bool {
    arguments
        .first()
        .and_then(|called| Path::new(called).file_name())
        .is_some_and(|name| name == NAME)
}

/// Parses and runs.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let command = Tedge::command().mut_subcommand("config", |config| {
        config.mut_subcommand("set", |set| set.override_usage(Config::SET_USAGE_TEDGE))
    });
    let matches = command.try_get_matches_from(arguments);
    let tedge = match matches.and_then(|matches| Tedge::from_arg_matches(&matches)) {
        Ok(tedge) => tedge,
        Err(error) => return crate::refuse(&error),
    };
    let global = Global {
        home: tedge.home,
        config_dir: tedge.config_dir,
        json: tedge.json,
        ..Global::default()
    };
    match tedge.verb {
        TedgeVerb::Config { verb } => crate::config::config(NAME, &global, false, verb),
        TedgeVerb::Cert { verb } => crate::cert::by_the_name_tedge(&global, verb),
    }
}
