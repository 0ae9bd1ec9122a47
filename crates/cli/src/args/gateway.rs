//! `gateway`: what can be typed.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Heading of the options that every `gateway` verb takes.
const BROKER: &str = "The broker";

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Gateway {
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(subcommand)]
    pub(crate) verb: GatewayVerb,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BrokerArgs {
    /// mosquitto's main file
    #[arg(long, global = true, help_heading = BROKER, env = "SECTAG_BROKER_CONFIG", value_name = "FILE",
          default_value = sectag_host::broker::MAIN)]
    pub(crate) broker_config: PathBuf,
    /// mosquitto's program [default: found in PATH]
    #[arg(long, global = true, help_heading = BROKER, env = "SECTAG_BROKER", value_name = "FILE")]
    pub(crate) broker: Option<PathBuf>,
    /// Plan for this version of mosquitto [default: what the program says]
    #[arg(long, global = true, help_heading = BROKER, value_name = "VERSION")]
    pub(crate) broker_version: Option<String>,
    /// Who mosquitto becomes before it reads keys [default: who runs it, its `user` line, mosquitto]
    #[arg(long, global = true, help_heading = BROKER, env = "SECTAG_BROKER_USER", value_name = "USER")]
    pub(crate) broker_user: Option<String>,
    /// As whom our services run, which read the client key [default: you]
    #[arg(long, global = true, help_heading = BROKER, env = "SECTAG_SERVICE_USER", value_name = "USER")]
    pub(crate) service_user: Option<String>,
    /// Shell command that restarts mosquitto, and ends while mosquitto runs [default: systemctl, where systemd runs]
    #[arg(long, global = true, help_heading = BROKER, env = "SECTAG_RESTART_COMMAND", value_name = "COMMAND")]
    pub(crate) restart_command: Option<String>,
    /// Shell command that makes mosquitto read its files again [default: systemctl, else SIGHUP]
    #[arg(long, global = true, help_heading = BROKER, env = "SECTAG_RELOAD_COMMAND", value_name = "COMMAND")]
    pub(crate) reload_command: Option<String>,
    /// mosquitto's unit under systemd
    #[arg(long, global = true, help_heading = BROKER, value_name = "UNIT", default_value = sectag_host::broker::UNIT)]
    pub(crate) unit: String,
    /// mosquitto's process, or a file with its number [default: found by its main file]
    #[arg(long, global = true, help_heading = BROKER, value_name = "PID|FILE")]
    pub(crate) pid: Option<String>,
    /// Seconds to wait for mosquitto, and for each command
    #[arg(long, global = true, help_heading = BROKER, value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayVerb {
    /// Show what `apply` would do: files, steps with their reasons, findings. Nothing is changed; exit 3 when a step is
    /// somebody's, not `apply`'s
    Plan,
    /// Write the listener's file, tell the broker, wait, probe; on any failure everything is put back
    Apply(Apply),
    /// Levels of both sides, what is served, what still runs with older settings; exit 1 when something is not as the keys say
    Status,
    /// Prove the listeners: who is let in, who is refused, under which name, with which certificate
    Probe,
    /// Judge a mosquitto file, say what is wrong with it, and print the block that was probably meant
    Check {
        /// The file; `-` reads stdin
        file: PathBuf,
    },
    /// Take our line and files out of the broker's configuration, and restart it
    Remove,
    /// The whole way from an empty gateway: CA, certificates, keys in tedge.toml, plan, apply
    Init(Init),
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Apply {
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Shell command that restarts our services, after the broker serves [default: systemctl for those that run]
    #[arg(long, env = "SECTAG_SERVICES_COMMAND", value_name = "COMMAND")]
    pub(crate) services_command: Option<String>,
    /// Restart services although an operation is in progress
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not probe the listeners afterwards
    #[arg(long)]
    pub(crate) no_probe: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// What clients meet: plaintext, a server that proves who it is, or both sides that do
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: LevelName,
    /// Name of this gateway's own client certificate [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A name or address of this gateway for the server certificate, besides those it knows (repeat for several)
    #[arg(long, value_name = "NAME")]
    pub(crate) san: Vec<String>,
    /// Address of the external listener [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
    /// Port of the external listener [default: 8883, without TLS 1884]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<std::num::NonZeroU16>,
    /// Only show the plan; CA, certificates and keys are made all the same
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelName {
    /// Plaintext
    None,
    /// TLS; the server proves who it is
    Server,
    /// TLS; both do
    Mutual,
}
