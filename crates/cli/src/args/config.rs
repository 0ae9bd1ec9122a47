//! `config`: what can be typed. The same verbs serve a program that is called `tedge`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Config {
    #[command(flatten)]
    pub(crate) talk: Talk,
    /// Change `sectag.toml` in the home, which says how `sectag up` runs, and not `tedge.toml`
    #[arg(long, global = true)]
    pub(crate) service: bool,
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

/// Accepted as thin-edge.io does.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Talk {
    /// Say more on stderr, the same as --log-level debug
    #[arg(long, global = true)]
    pub(crate) debug: bool,
    /// How much is said on stderr
    #[arg(long, global = true, value_name = "LOG_LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub(crate) log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Get the value of the provided configuration key
    Get {
        /// Configuration key, see `config list --doc`
        key: String,
        #[command(flatten)]
        profile: Profile,
        /// Say who set it, behind a tab: default, inferred, file or environment
        #[arg(long)]
        source: bool,
        /// Print a secret as it is
        #[arg(long)]
        show_secrets: bool,
    },
    /// Set or update the provided configuration key with the given value; several pairs at once are one transaction
    #[command(override_usage = SET_USAGE)]
    Set {
        /// Configuration key, see `config list --doc`
        #[arg(required_unless_present = "from")]
        key: Option<String>,
        /// Its value; a relative path counts from here
        #[arg(required_unless_present = "from", allow_negative_numbers = true)]
        value: Option<String>,
        /// More keys and values
        #[arg(value_name = "KEY VALUE", allow_negative_numbers = true)]
        more: Vec<String>,
        /// Take lines `KEY=VALUE`, as `config list` prints them, from this file (`-`: stdin); `KEY=` unsets
        #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "value", "more"])]
        from: Option<PathBuf>,
        /// Write a value even if it makes no sense
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        profile: Profile,
    },
    /// Unset the provided configuration key; several at once are one transaction
    Unset {
        /// Configuration key, see `config list --doc`
        key: String,
        /// More keys
        #[arg(value_name = "KEY")]
        more: Vec<String>,
        #[command(flatten)]
        profile: Profile,
    },
    /// Append or set the provided configuration key with the given value
    Add {
        /// Configuration key, see `config list --doc`
        key: String,
        /// Items for a list, separated by commas; other keys are set
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        profile: Profile,
    },
    /// Remove or unset the provided configuration key with the given value
    Remove {
        /// Configuration key, see `config list --doc`
        key: String,
        /// Items of a list, separated by commas; other keys are unset if this is their value
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        profile: Profile,
    },
    /// Print the configuration keys and their values
    List {
        /// Only keys with this text in their name
        filter: Option<String>,
        /// Keys without a value as well
        #[arg(long)]
        all: bool,
        /// What the keys mean, with examples
        #[arg(long)]
        doc: bool,
        /// Say who set each, behind a tab: default, inferred, file or environment
        #[arg(long)]
        source: bool,
        /// Only values that differ from the default
        #[arg(long)]
        changed: bool,
        /// Print secrets as they are
        #[arg(long)]
        show_secrets: bool,
    },
    /// Look for what is wrong; exit 1 when something does not work or is not safe
    Check,
    /// Rename old keys in the file, once; the file as it was stays beside it
    Upgrade,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Profile {
    /// Profile of a cloud [default: TEDGE_CLOUD_PROFILE]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

macro_rules! set_usage {
    ($program:literal) => {
        concat!(
            $program,
            " config set [OPTIONS] <KEY> <VALUE> [<KEY> <VALUE>]...\n       ",
            $program,
            " config set [OPTIONS] --from <FILE>"
        )
    };
}

const SET_USAGE: &str = set_usage!("sectag");

impl Config {
    /// How `config set` is used, for a program that is called `tedge`.
    pub(crate) const SET_USAGE_TEDGE: &str = set_usage!("tedge");
}
