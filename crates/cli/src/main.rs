//! `sectag`: takes a device from blank to a mutually authenticated MQTT session over TLS.
//!
//! This crate parses, calls and prints. Data goes to stdout, talk to stderr; exit 0 done, 1 the answer is no,
//! 2 it could not be tried.

mod args;
mod audit;
mod broker;
mod ca;
mod cert;
mod claim_bulk;
mod client;
mod commands;
mod config;
mod creds;
mod demo;
mod device;
mod evidence;
mod fault;
mod gateway;
mod home;
mod modem;
mod modem_at;
mod modem_choice;
mod mqtt;
mod nrf91;
mod output;
mod owner;
mod people;
mod plan;
mod registration;
mod renewals;
mod rules;
mod sample;
mod tags;
mod tedge;
mod up;

use args::{Cli, OnlyConfig, OnlyConfigVerb, Verb};
use clap::Parser as _;
use clap::error::ErrorKind;
use fault::{Fault, Outcome};
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let is_tedge = tedge::is_called(&arguments);
    if let Some((global, verb)) = config::plain(&arguments) {
        let program = if is_tedge { tedge::NAME } else { "sectag" };
        return config::config(program, &global, false, verb);
    }
    if is_tedge {
        return tedge::main(arguments);
    }
    if config::is_asked(&arguments) {
        return match OnlyConfig::try_parse_from(arguments) {
            Ok(OnlyConfig { global, verb }) => {
                let OnlyConfigVerb::Config(args) = verb;
                config::config("sectag", &global, args.service, args.verb)
            }
            Err(error) => refuse(&error),
        };
    }
    if is_version(&arguments) {
        output::print(concat!("sectag ", env!("CARGO_PKG_VERSION"), "\n"));
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(fault) => {
            fault.print();
            fault.exit()
        }
    }
}

/// Nothing but the question for the version, which needs no tree of verbs.
fn is_version(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, only] if only == "--version" || only == "-V")
}

/// What was typed makes no sense, or was a question about what can be typed.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

fn run(cli: Cli) -> Outcome<ExitCode> {
    let cli = match cli.verb {
        Verb::Config(args) => {
            return Ok(config::config(
                "sectag",
                &cli.global,
                args.service,
                args.verb,
            ));
        }
        verb => Cli { verb, ..cli },
    };
    let is_service = matches!(
        cli.verb,
        Verb::Up(_)
            | Verb::Mqtt {
                verb: args::Mqtt::Broker(_)
            }
    );
    log_to_stderr(cli.global.verbose, is_service);
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
    done.map(|()| ExitCode::SUCCESS)
}

async fn dispatch(cli: Cli, place: home::Place) -> Outcome {
    let global = cli.global;
    let json = global.json;
    let owner = || client::Owner::new(&place, global.url.as_deref(), global.key_file.clone());
    match cli.verb {
        Verb::Up(args) => up::up(&global, &place, args).await,
        Verb::Demo(args) => demo::demo(&args).await,
        Verb::Status => owner::status(&owner()?, json).await,
        Verb::Claim(args) => owner::claim(&owner()?, &place, args, json).await,
        Verb::Devices { verb } => owner::devices(&owner()?, verb, json).await,
        Verb::Commands { verb } => commands::commands(&owner()?, &place, verb, json).await,
        Verb::Rules { verb } => rules::rules(&owner()?, &place, verb, json).await,
        Verb::Tags { verb } => tags::tags(&owner()?, verb, json).await,
        Verb::Plan(args) => plan::plan(&owner()?, args, json).await,
        Verb::Forecast(args) => renewals::forecast(&owner()?, args, json).await,
        Verb::Renewals(args) => renewals::renewals(&owner()?, args, json).await,
        Verb::Keys { verb } => people::keys(&owner()?, verb, json).await,
        Verb::Teams { verb } => people::teams(&owner()?, verb, json).await,
        Verb::AllowList { verb } => people::allow_list(&owner()?, verb, json).await,
        Verb::Events(args) => evidence::events(&owner()?, args, json).await,
        Verb::Alarms(args) => evidence::alarms(&owner()?, args, json).await,
        Verb::Webhooks { verb } => evidence::webhooks(&owner()?, verb, json).await,
        Verb::Audit { verb } => audit::audit(&global, &place, verb).await,
        Verb::Openapi => {
            output::print(sectag_server::owner_api::document());
            Ok(())
        }
        Verb::Device { verb } => device::device(&place, verb, json).await,
        Verb::Mqtt { verb } => mqtt::mqtt(&global, &place, verb).await,
        Verb::Ca { verb } => ca::ca(&place, verb, json),
        Verb::Config(_) => unreachable!("it is answered before the runtime starts"),
        Verb::Cert { verb } => cert::cert(&global, &place, verb).await,
        Verb::Gateway(args) => gateway::gateway(&global, &place, *args).await,
        Verb::Nrf91 { verb } => nrf91::nrf91(&place, verb, json),
        Verb::Modem { verb } => modem::modem(&place, verb, json).await,
        Verb::Creds(args) => creds::creds(&place, *args, json).await,
    }
}

/// `SECTAG_LOG` takes tracing filter directives; without it `-v` and `-vv` choose, and a service says INFO. Libraries that
/// write to the `log` facade are heard as well; the TLS library only when asked for, since strangers choose how much it says,
/// and what matters of it stands in lines of ours.
fn log_to_stderr(verbose: u8, service: bool) {
    let level = match (verbose, service) {
        (0, false) => "warn,rustls=off",
        (0, true) | (1, _) => "info,rustls=off",
        _ => "debug,rustls=warn",
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
