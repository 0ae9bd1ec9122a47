//! Which modem is served, and how it behaves.

use super::{Served, hinted};
use crate::args::Serve;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_device::state::{DeviceState, StateError};
use sectag_keep::KeepError;
use sectag_modem::{
    Entropy, FAULT_GRAMMAR, Options, QUIRKS, SharedModem, VirtualModem, Whose, seeded,
};

/// Opens the modem that `args` name.
pub(super) fn open(place: &Place, args: &Serve) -> Outcome<Served> {
    let options = options(args)?;
    let device = &args.device;
    let whose = match (&device.identity, device.seed) {
        (Some(path), _) => Whose::Files(path),
        (None, Some(seed)) => Whose::Seeds(seed),
        (None, None) => Whose::Anybodys,
    };
    if let Some(dir) = &device.state {
        let modem = VirtualModem::open_as(dir, options, entropy(), whose)
            .map_err(|error| hinted(error.hint(), error))?;
        return Ok(alone(modem));
    }
    if !matches!(whose, Whose::Anybodys) {
        let entropy = device.seed.map_or_else(entropy, |seed| seeded(!seed));
        let modem = VirtualModem::in_memory(options, entropy, whose)
            .map_err(|error| hinted(error.hint(), error))?;
        return Ok(alone(modem));
    }
    let name = device.name.as_deref().unwrap_or("device-1");
    sectag_keep::private_dir(&place.home).map_err(|error| hinted(error.hint(), error))?;
    let state = DeviceState::open_named(&place.home, name).map_err(|error| match error {
        StateError::Keep(KeepError::Busy { pid, .. }) => {
            let holder = pid.map_or_else(
                || "another process".to_owned(),
                |pid| format!("process {pid}"),
            );
            Fault::untried(format!("device `{name}` is in use by {holder}"))
                .hint("stop it, or serve another device with --name")
        }
        other => Fault::from(other),
    })?;
    let hosted = state.modem(options).map_err(|error| match error {
        StateError::Modem(error) => hinted(error.hint(), error),
        other => Fault::from(other),
    })?;
    let modem = hosted.shared().clone();
    if args.no_time {
        // A hosted modem has been told the time; switched off and on it has forgotten.
        modem.lock().power_on();
    }
    Ok(Served {
        modem,
        state: Some(state),
    })
}

/// The list behind the options of `sectag modem serve --help`.
pub(crate) fn quirks_help() -> String {
    let width = QUIRKS.iter().map(|quirk| quirk.name.len()).max();
    let mut text = "Quirks, the default value first:\n".to_owned();
    for quirk in QUIRKS {
        text.push_str(&format!(
            "  {:width$}  {}: {}\n",
            quirk.name,
            quirk.values,
            quirk.effect,
            width = width.unwrap_or_default()
        ));
    }
    text.push_str(&format!(
        "\nFaults: {FAULT_GRAMMAR}, with K counted from 1 since the start."
    ));
    text
}

fn alone(modem: VirtualModem) -> Served {
    Served {
        modem: SharedModem::new(modem),
        state: None,
    }
}

fn entropy() -> Entropy {
    Box::new(|bytes| {
        getrandom::fill(bytes).expect("the operating system's generator works on Linux after boot");
    })
}

fn options(args: &Serve) -> Outcome<Options> {
    let mut options = Options {
        boot_mode: u32::from(args.online),
        remote_signing: args.allow_remote_signing,
        ..Options::default()
    };
    for quirk in &args.quirks {
        let (name, value) = quirk.split_once('=').ok_or_else(|| {
            Fault::untried(format!("--quirk {quirk} has no value"))
                .hint("write it as NAME=VALUE; `sectag modem serve --help` lists them")
        })?;
        options
            .set_quirk(name, value)
            .map_err(|error| hinted(error.hint(), error))?;
    }
    for spec in &args.faults {
        options
            .inject(spec)
            .map_err(|error| Fault::untried(error).hint(format!("write it as {FAULT_GRAMMAR}")))?;
    }
    Ok(options)
}
