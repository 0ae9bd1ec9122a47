//! `sectag`: takes a device from blank to a mutually authenticated MQTT session over TLS.
//!
//! This crate parses, calls and prints. Data goes to stdout, talk to stderr; exit 0 done, 1 the answer is no,
//! 2 it could not be tried.

mod args;
mod ca;
mod cert;
mod client;
mod creds;
mod demo;
mod device;
mod fault;
mod home;
mod modem;
mod modem_at;
mod modem_choice;
mod mqtt;
mod output;
mod owner;
mod sample;
mod up;

use args::{Cli, Verb};
use clap::Parser as _;
use clap::error::ErrorKind;
use fault::{Fault, Outcome};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(2),
            };
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{}", fault.text());
            fault.exit()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    log_to_stderr(cli.global.verbose, matches!(cli.verb, Verb::Up(_)));
    if let Ok(spec) = std::env::var("SECTAG_CRASH_AT") {
        sectag_keep::crash::arm(&spec)
            .map_err(|reason| Fault::untried(format!("SECTAG_CRASH_AT: {reason}")))?;
    }
    let place = home::Place::new(cli.global.home.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(dispatch(cli, place));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}

async fn dispatch(cli: Cli, place: home::Place) -> Outcome {
    let global = cli.global;
    let json = global.json;
    let owner = || client::Owner::new(&place, global.url.as_deref(), global.key_file.clone());
    match cli.verb {
        Verb::Up(args) => up::up(&place, args, json).await,
        Verb::Demo(args) => demo::demo(&args).await,
        Verb::Status => owner::status(&owner()?, json).await,
        Verb::Claim(args) => owner::claim(&owner()?, &place, args, json).await,
        Verb::Devices { verb } => owner::devices(&owner()?, verb, json).await,
        Verb::Commands { verb } => owner::commands(&owner()?, &place, verb, json).await,
        Verb::Keys { verb } => owner::keys(&owner()?, verb, json).await,
        Verb::Device { verb } => device::device(&place, verb, json).await,
        Verb::Mqtt { verb } => mqtt::mqtt(&place, verb, json).await,
        Verb::Ca { verb } => ca::ca(&place, verb, json),
        Verb::Cert { verb } => cert::cert(&place, verb, json).await,
        Verb::Modem { verb } => modem::modem(&place, verb, json).await,
        Verb::Creds(args) => creds::creds(&place, *args, json).await,
    }
}

/// `SECTAG_LOG` takes tracing filter directives; without it `-v` and `-vv` choose, and a service says INFO.
fn log_to_stderr(verbose: u8, service: bool) {
    let level = match (verbose, service) {
        (0, false) => "warn",
        (0, true) | (1, _) => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SECTAG_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let color = std::env::var_os("NO_COLOR").is_none()
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .init();
}
