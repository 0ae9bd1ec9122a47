//! `sectag device`: the provisioning client with the modem it drives, for one session or resident.

mod resident;
mod say;
mod served;
mod talk;
mod tuning;

pub(crate) use say::words;
pub(crate) use served::{Beneath, Beside};

use crate::args::{DeviceVerb, Tuning, Which};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_choice::{self, Choice, Opened};
use crate::output;
use crate::up;
use sectag_device::Way;
use sectag_device::agent::{Agent, Happening};
use sectag_device::hosted::HostedModem;
use sectag_device::https::Https;
use sectag_device::options::{Identity, Options};
use sectag_device::settings::{FileSettings, Settings as _};
use sectag_device::state::{DeviceState, StateError};
use sectag_device::verbs::{self, Placed};
use sectag_keep::KeepError;
use sectag_modem::Modem;
use sectag_proto::device::{Config, Ending, Event, Transport};
use sectag_proto::{DeviceId, SecTag};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a device finds its service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) root_ca: PathBuf,
    pub(crate) root_ca_tag: SecTag,
}

/// `sectag device`
pub(crate) async fn device(place: &Place, verb: DeviceVerb, as_json: bool) -> Outcome {
    match verb {
        DeviceVerb::Token { which, modem } => talk::token(place, &which, &modem, as_json).await,
        DeviceVerb::Uuid { which, modem } => talk::uuid(place, &which, &modem, as_json).await,
        DeviceVerb::Now { which } => talk::now(place, &which, as_json).await,
        DeviceVerb::Interval { which, seconds } => {
            talk::interval(place, &which, seconds, as_json).await
        }
        DeviceVerb::Events {
            which,
            follow,
            after,
        } => talk::events(place, &which, after, follow, as_json).await,
        DeviceVerb::Options { which, tuning } => tuning::show(place, &which, &tuning, as_json),
        DeviceVerb::Run {
            which,
            tuning,
            modem,
            keep_running,
            shell,
        } => {
            let options = tuning::options(place, &which, &tuning)?;
            let device = Device::open(place, &which, &modem, &tuning, &options)?;
            if keep_running {
                let shell = shell || options.shell();
                resident::run(&which, device, &options, shell, as_json).await
            } else {
                once(device, &options, as_json).await
            }
        }
    }
}

/// A device of this machine: its folder, its modem, its settings, and the service it asks.
pub(crate) struct Device {
    /// Locked as long as this lives.
    pub(crate) state: DeviceState,
    pub(crate) modem: Box<dyn Modem + Send>,
    pub(crate) settings: FileSettings,
    pub(crate) service: Service,
    pub(crate) id: String,
    ready: Ready,
}

/// What a session needs beside its modem.
pub(crate) struct Ready {
    pub(crate) way: Way,
    pub(crate) identity: Identity,
}

impl Device {
    fn open(
        place: &Place,
        which: &Which,
        choice: &Choice,
        tuning: &Tuning,
        options: &Options,
    ) -> Outcome<Self> {
        let Opened {
            mut modem,
            virtual_modem,
            state,
        } = modem_choice::open(place, choice, which)?;
        let own = state.is_some();
        let state = match state {
            Some(state) => state,
            None => folder(place, which)?,
        };
        let service = tuning::service(place, tuning, options);
        let id = verbs::uuid(&mut *modem)?;
        let settings = if own {
            state.settings()
        } else {
            state.settings_of(&id)
        }
        .map_err(|error| home_fault(&place.home, error))?;
        let radio_rest = if virtual_modem.is_some() {
            // The virtual modem has no radio to rest.
            Duration::ZERO
        } else {
            Config::default().radio_rest
        };
        let mut ready = prepare(
            &mut *modem,
            options,
            &service,
            tuning.ca.is_some(),
            radio_rest,
        )?;
        ready.way = kept_between_runs(ready.way, &state, &id);
        Ok(Self {
            state,
            modem,
            settings,
            service,
            id: id.to_string(),
            ready,
        })
    }
}

/// One session, as people watch it.
async fn once(mut device: Device, options: &Options, as_json: bool) -> Outcome {
    let mut token = None;
    let mut spent = None;
    let mut observe = |happening: Happening<'_>| {
        if let Happening::Event(Event::FailedDeviceNotClaimed { token: given }) = &happening {
            token.clone_from(given);
        }
        if let Happening::Spent(budget) = &happening {
            spent = Some(**budget);
        }
        if let Some(line) = words(&happening) {
            eprintln!("{line}");
        }
    };
    let config = session_config(options, &device.ready.identity, &device.settings);
    let mut agent = Agent::new(config, device.ready.way);
    let ending = tokio::select! {
        ending = agent.run_once(&mut *device.modem, &mut device.settings, &mut observe) => Some(ending),
        stopped = up::stop_signal() => { stopped?; None }
    };
    if ending.is_none() {
        agent.put_back(&mut *device.modem, &mut observe).await;
    }
    agent.finish().await;
    let ending = ending.ok_or_else(|| Fault::no("stopped"))?;
    let token = token.filter(|_| options.print_attestation_token());
    say::report(
        &device.id,
        ending,
        token.as_deref(),
        spent.as_ref(),
        &device.service,
        as_json,
    )
}

/// The named device of the home, with its virtual modem.
pub(crate) fn open(place: &Place, which: &Which) -> Outcome<(DeviceState, HostedModem)> {
    let state = folder(place, which)?;
    let modem = state
        .modem(sectag_modem::Options::default())
        .map_err(|error| home_fault(&place.home, error))?;
    Ok((state, modem))
}

/// The named device's folder, locked.
pub(crate) fn folder(place: &Place, which: &Which) -> Outcome<DeviceState> {
    sectag_keep::private_dir(&place.home).map_err(|error| home_fault(&place.home, error.into()))?;
    DeviceState::open_named(&place.home, &which.name)
        .map_err(|error| match error {
            StateError::Name(_) => name_fault(error),
            StateError::Keep(KeepError::Busy { pid, .. }) => {
                let holder = pid.map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("process {pid}"),
                );
                Fault::untried(format!("device `{}` is in use by {holder}", which.name))
                    .hint("a device does one thing at a time: wait for it, stop it, or choose another device with --name")
            }
            other => home_fault(&place.home, other),
        })
}

fn name_fault(error: StateError) -> Fault {
    Fault::from(error).hint("choose another with --name, for example --name device-2")
}

fn home_fault(home: &Path, error: StateError) -> Fault {
    let hint = match &error {
        StateError::Keep(keep) => Some(keep.hint().unwrap_or_else(|| {
            "choose a directory that you may write with `--home DIR`".to_owned()
        })),
        StateError::Modem(modem) => modem.hint(),
        _ => None,
    };
    let fault = Fault::from(anyhow::Error::new(error).context(format!(
        "cannot use a device of the home `{}`",
        home.display()
    )));
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// The port that the service of this home wrote down for `listener`.
pub(crate) fn running_port(place: &Place, listener: &str) -> Option<u16> {
    place.running()?["listeners"][listener]
        .as_str()?
        .rsplit(':')
        .next()?
        .parse()
        .ok()
}

/// One provisioning session of a virtual modem with our defaults, watched.
pub(crate) async fn session(
    state: &DeviceState,
    modem: &mut HostedModem,
    service: &Service,
    observe: &mut (dyn FnMut(Happening<'_>) + Send),
) -> Outcome<Ending> {
    let options = Options::ours();
    let ready = prepare(modem, &options, service, false, Duration::ZERO)?;
    let mut settings = state.settings()?;
    let config = session_config(&options, &ready.identity, &settings);
    Ok(Agent::new(config, ready.way)
        .run_once(modem, &mut settings, observe)
        .await)
}

fn session_config(options: &Options, identity: &Identity, settings: &FileSettings) -> Config {
    let config = options.session_config(identity);
    Config {
        after: Some(config.after_key())
            .filter(|_| config.save_command_id)
            .and_then(|key| settings.load(&key)),
        ..config
    }
}

/// Who the device is, and the way to its service.
fn prepare(
    modem: &mut (dyn Modem + Send),
    options: &Options,
    service: &Service,
    ca_was_given: bool,
    radio_rest: Duration,
) -> Outcome<Ready> {
    let anchor = anchor(modem, options, service, ca_was_given)?;
    let id = verbs::uuid(modem)?;
    Ok(Ready {
        way: way(options, service, &anchor)?,
        identity: Identity {
            modem_version: verbs::firmware(modem)?,
            seed: Identity::seed_of(&id),
            radio_rest,
        },
    })
}

fn way(options: &Options, service: &Service, anchor: &str) -> Outcome<Way> {
    match options.transport() {
        Transport::Https => {
            let https = Https::new(&service.host, service.port, anchor)?;
            Ok(https.timeout(options.http_timeout()).into())
        }
        #[cfg(feature = "coap")]
        Transport::Coap => {
            let coap = sectag_device::Coap::new(&service.host, service.port, anchor)?;
            Ok(coap
                .timeout(options.coap_timeout())
                .session_cache(options.coap_session_cache())
                .block_bytes(options.coap_block_bytes())
                .into())
        }
        #[cfg(not(feature = "coap"))]
        Transport::Coap => {
            let refusal = sectag_device::options::TransportRefusal::CoapNotBuiltIn;
            Err(Fault::untried(refusal.to_string()).hint(refusal.hint()))
        }
    }
}

/// A DTLS session outlives the program in the device's folder. It speaks for the device that authenticated in it, so another
/// modem of the same folder has another file.
fn kept_between_runs(way: Way, state: &DeviceState, id: &DeviceId) -> Way {
    match way {
        #[cfg(feature = "coap")]
        Way::Coap(coap) => coap
            .kept_in(state.dir().join(format!("coap-session-{id}")))
            .into(),
        #[cfg(not(feature = "coap"))]
        Way::Https(_) => {
            let _ = (state, id);
            way
        }
        #[cfg(feature = "coap")]
        Way::Https(_) => way,
    }
}

/// The root CA under the tag; before that, ours goes there when nothing is there and WITH_CERT says so. Nothing of ours
/// is put under the tag of a vendor's service.
fn anchor(
    modem: &mut (dyn Modem + Send),
    options: &Options,
    service: &Service,
    ca_was_given: bool,
) -> Outcome<String> {
    let tag = service.root_ca_tag;
    let vendor = options.host_is_the_vendors() && !ca_was_given;
    if vendor || !options.with_cert() {
        if vendor {
            eprintln!(
                "note: `{}` is the vendor's, so nothing of this home is written under sec tag {tag}",
                service.host
            );
        }
        return verbs::root_ca(modem, tag)?.ok_or_else(|| {
            let why = if vendor {
                format!("the root CA of this home is not the one of `{}`", service.host)
            } else {
                "`with-cert` is n".to_owned()
            };
            Fault::untried(format!("no root CA lies under sec tag {tag}, and {why}"))
                .hint("give the service's root CA with --ca FILE, or write it there with `sectag creds write`")
        });
    }
    let ca = std::fs::read_to_string(&service.root_ca).map_err(|error| {
        Fault::untried(format!(
            "no root CA of the service at `{}`: {error}",
            service.root_ca.display()
        ))
        .hint("give the file that `sectag ca export` prints on the service's machine with --ca")
    })?;
    if !ca.contains("-----BEGIN CERTIFICATE-----") {
        return Err(Fault::untried(format!(
            "`{}` holds no certificate",
            service.root_ca.display()
        ))
        .hint("give the file that `sectag ca export` prints on the service's machine with --ca"));
    }
    if verbs::place_root_ca(modem, tag, ca.trim_end())? == Placed::Other {
        eprintln!(
            "note: sec tag {tag} holds another root CA than `{}`; the one under the tag is used",
            service.root_ca.display()
        );
    }
    Ok(verbs::root_ca(modem, tag)?.unwrap_or(ca))
}

fn print_one(as_json: bool, value: &Value, text: &str) {
    if as_json {
        output::json(value);
    } else {
        output::print(&format!("{text}\n"));
    }
}

fn id_and_token(id: &str, token: &str) -> Value {
    json!({ "id": id, "claimToken": token })
}
