//! `sectag modem`: a virtual modem on a pty or TCP, one AT line, a transcript.

mod open;
mod status;

pub(crate) use open::quirks_help;

use crate::args::{ModemVerb, Serve, Tuning, Which};
use crate::device::{Beneath, Beside};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_at;
use crate::output;
use crate::up::StopSignal;
use sectag_device::state::DeviceState;
use sectag_modem::SharedModem;
use sectag_modem::host::{Ended, HostError, Hosts, LineHandler, Mode, ShellOptions};
use serde_json::json;

/// Exit code after an injected power cut.
const POWER_CUT: u8 = 3;

/// `sectag modem`
pub(crate) async fn modem(place: &Place, verb: ModemVerb, as_json: bool) -> Outcome {
    match verb {
        ModemVerb::Serve(args) => serve(place, *args, as_json).await,
        ModemVerb::Status(which) => status::status(place, &which, as_json),
        ModemVerb::At(args) => modem_at::at(place, *args, as_json).await,
        ModemVerb::Record(args) => modem_at::record(place, *args).await,
    }
}

/// The modem to be served, and what keeps others from it.
struct Served {
    modem: SharedModem,
    /// Held while the modem is one of the home's devices.
    state: Option<DeviceState>,
}

async fn serve(place: &Place, args: Serve, as_json: bool) -> Outcome {
    let mut stop = StopSignal::listen()?;
    let served = open::open(place, &args)?;
    let writes_before = served.modem.lock().flash_writes();
    let mode = mode(&args);
    let mut hosts = Hosts::new(served.modem.clone(), mode);
    if args.no_time {
        hosts = hosts.without_time();
    }
    let (console, beside) = library(place, &args, &served)?;
    hosts = hosts.with_handler(console);
    let pty = (args.pty || args.link.is_some() || args.tcp.is_none())
        .then(|| hosts.pty(args.link.as_deref()))
        .transpose()
        .map_err(host_fault)?;
    let tcp = args
        .tcp
        .map(|address| hosts.tcp(address, args.dangerously_listen_beyond_loopback))
        .transpose()
        .map_err(host_fault)?;
    let (device, imei) = {
        let modem = served.modem.lock();
        (modem.identity().device, modem.identity().imei.clone())
    };
    if as_json {
        output::json(&json!({
            "pty": pty.as_deref(),
            "link": args.link.as_deref(),
            "tcp": tcp.map(|address| address.to_string()),
            "mode": args.mode,
            "id": device,
            "imei": imei,
            "pid": std::process::id(),
        }));
    } else {
        let path = args.link.as_deref().or(pty.as_deref());
        for line in path
            .map(|path| path.display().to_string())
            .into_iter()
            .chain(tcp.map(|address| address.to_string()))
        {
            output::print(&format!("{line}\n"));
        }
    }
    eprintln!("virtual modem {device}, IMEI {imei}; Ctrl-C ends it");

    let shutdown = hosts.shutdown();
    let mut waiting = tokio::task::spawn_blocking(move || hosts.wait());
    let ended = tokio::select! {
        ended = &mut waiting => ended?,
        () = stop.came() => {
            shutdown.now();
            waiting.await?
        }
    };
    if let Some(beside) = beside {
        beside.stop().await;
    }
    let writes = served.modem.lock().flash_writes();
    let here = writes - writes_before;
    let word = match &ended {
        Ended::Shutdown => "shutdown",
        Ended::PowerCut => "power-cut",
        Ended::Failed(_) => "failed",
    };
    if as_json {
        output::json(&json!({ "ended": word, "flashWrites": writes, "flashWritesHere": here }));
    } else {
        eprintln!("flash writes: {here} here, {writes} in all");
    }
    match ended {
        Ended::Shutdown => Ok(()),
        Ended::PowerCut => Err(Fault::with_code(
            POWER_CUT,
            "the power was cut at an injected flash write",
        )),
        Ended::Failed(error) => Err(error.into()),
    }
}

/// The library beside the modem, on request, and who takes the shell's lines that neither `at` nor `kernel` takes:
/// `nrf_provisioning …`.
fn library(
    place: &Place,
    args: &Serve,
    served: &Served,
) -> Outcome<(Box<dyn LineHandler>, Option<Beside>)> {
    let name = args.device.name.as_deref().unwrap_or("device-1");
    let beneath = Beneath {
        modem: &served.modem,
        has_time: !args.no_time,
        state: served.state.as_ref(),
        which: Which {
            name: name.to_owned(),
        },
    };
    if args.provision {
        let beside = beneath.provision(place, &args.tuning)?;
        return Ok((beside.console(), Some(beside)));
    }
    if args.tuning != Tuning::default() {
        return Err(Fault::untried(
            "options of the provisioning client have no effect without one",
        )
        .hint("add --provision, or leave them out"));
    }
    Ok((beneath.console(), None))
}

fn mode(args: &Serve) -> Mode {
    match args.mode.as_str() {
        "shell" => Mode::Shell(ShellOptions {
            ansi: !args.plain,
            raw_terminator: args.terminator,
            ..ShellOptions::default()
        }),
        _ => Mode::At(args.terminator),
    }
}

fn host_fault(error: HostError) -> Fault {
    hinted(error.hint(), error)
}

/// The error with its own hint.
fn hinted(hint: Option<String>, error: impl Into<anyhow::Error>) -> Fault {
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
