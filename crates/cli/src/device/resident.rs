//! `sectag device run --keep-running`: the library resident, its control socket, and on request the firmware's console.

use super::{Device, words};
use crate::args::Which;
use crate::fault::{Fault, Outcome};
use crate::output;
use crate::up::StopSignal;
use sectag_device::agent::{Handle, Happening, Resident, StartError};
use sectag_device::console::{Console, CustomAt, NOTICE};
use sectag_device::control::Control;
use sectag_device::options::Options;
use sectag_modem::Modem;
use sectag_modem::host::{Shell, ShellOptions};
use sectag_proto::device::{Event, Transport};
use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

/// Keeps the device running until it is told to stop.
pub(super) async fn run(
    which: &Which,
    device: Device,
    options: &Options,
    shell: bool,
    as_json: bool,
) -> Outcome {
    let Device {
        state,
        modem,
        settings,
        service,
        id,
        ready,
    } = device;
    let config = options.client_config(&ready.identity);
    let (resident, handle) =
        Resident::new(config, ready.way, modem, Box::new(settings)).map_err(start_fault)?;
    let mut stop = StopSignal::listen()?;
    let control = Control::serve(state.dir(), handle.clone())?;
    eprintln!(
        "device `{}` ({id}) runs and asks {}:{}{}; `sectag device now`, `interval` and `events` talk to it; Ctrl-C stops it",
        which.name,
        service.host,
        service.port,
        match options.transport() {
            Transport::Https => "",
            Transport::Coap => " over CoAP",
        }
    );
    if shell {
        console(handle.clone(), options.custom_at())?;
    }
    let token = options.print_attestation_token();
    let journal = handle.journal().clone();
    let mut told = 0;
    let ended = resident
        .rooted_in(service.root_ca_tag)
        .run(
            async move { stop.came().await },
            &mut |happening: Happening<'_>| {
                if as_json {
                    for entry in journal.after(told) {
                        told = entry.seq;
                        output::print(&format!("{}\n", entry.json()));
                    }
                }
                say(&happening, token);
            },
        )
        .await;
    drop(control);
    ended.map_err(|lost| {
        Fault::from(lost).hint("is it still plugged in and powered? then start the device again")
    })?;
    eprintln!("stopped");
    Ok(())
}

pub(super) fn start_fault(error: StartError) -> Fault {
    Fault::from(error).hint(
        "set both, or neither: -o auto-start=y -o scheduled=y; `sectag device options` shows where each comes from",
    )
}

/// Tells on stderr; `token`: the attestation token of an unclaimed device as well.
pub(super) fn say(happening: &Happening<'_>, token: bool) {
    if let Some(line) = words(happening) {
        eprintln!("{line}");
    }
    if let Happening::Event(event) = happening
        && let Some(line) = about(event, token)
    {
        eprintln!("{line}");
    }
}

/// What the session's own lines leave out, because for one session the exit says it.
fn about(event: &Event, token: bool) -> Option<String> {
    Some(match event {
        Event::Done => "  DONE".to_owned(),
        Event::NoCommands => "  NO_COMMANDS".to_owned(),
        Event::FailedDeviceNotClaimed { token: Some(text) } if token => {
            format!("  NOT_CLAIMED   claim it: sectag claim {text}")
        }
        Event::FailedDeviceNotClaimed { .. } => "  NOT_CLAIMED".to_owned(),
        Event::FailedWrongRootCa => "  FAILED   no TLS or DTLS session: nobody listens there, or the certificate does not chain to the root CA under the tag".to_owned(),
        Event::FailedNoValidDatetime => "  FAILED   the modem's clock is not set (-ETIME)".to_owned(),
        Event::FailedTooManyCommands => "  FAILED   more commands than this device takes at once (-ENOMEM)".to_owned(),
        Event::Failed(errno) => format!("  FAILED   {}", errno.name()),
        Event::FatalError(errno) => format!("  FATAL_ERROR   {}", errno.name()),
        Event::ScheduledProvisioning(wait) => {
            format!("  next session in {}", seconds(*wait))
        }
        Event::IntervalChanged(interval) => format!("  interval {}", seconds(*interval)),
        Event::IntervalNotStored(_) => "  the interval could not be stored (-ENOSTR)".to_owned(),
        _ => return None,
    })
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// The firmware's console on stdin and stdout. Its thread ends with stdin or with the process.
fn console(handle: Handle, custom_at: bool) -> Outcome {
    let terminal = std::io::stdout().is_terminal();
    let options = ShellOptions {
        ansi: terminal && std::env::var_os("NO_COLOR").is_none(),
        // A terminal echoes by itself, line by line.
        echo: false,
        ..ShellOptions::default()
    };
    output::print(&format!("{NOTICE}\r\n"));
    std::thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || {
            let mut modem: Box<dyn Modem + Send> = if custom_at {
                Box::new(CustomAt::new(handle.clone()))
            } else {
                Box::new(handle.modem().clone())
            };
            let mut console = Console::new(handle);
            let mut shell = Shell::new(options);
            let mut out = Vec::new();
            shell.prompt(&mut out);
            let mut bytes = [0; 1024];
            loop {
                let mut stdout = std::io::stdout();
                if stdout
                    .write_all(&out)
                    .and_then(|()| stdout.flush())
                    .is_err()
                {
                    return;
                }
                out.clear();
                match std::io::stdin().read(&mut bytes) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        let received =
                            shell.receive(&bytes[..count], &mut *modem, &mut console, &mut out);
                        if let Err(error) = received {
                            out.extend_from_slice(format!("{error}\r\n").as_bytes());
                        }
                    }
                }
            }
        })?;
    Ok(())
}
