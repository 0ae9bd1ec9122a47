//! `sectag device`: a virtual modem in the home, and the provisioning client that drives it.

use crate::args::{DeviceVerb, Which};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_device::agent::{Agent, Happening};
use sectag_device::hosted::HostedModem;
use sectag_device::https::Https;
use sectag_device::settings::Settings as _;
use sectag_device::state::{DeviceState, StateError};
use sectag_device::verbs::{self, Placed};
use sectag_keep::KeepError;
use sectag_modem::Options;
use sectag_proto::SecTag;
use sectag_proto::device::{Config, Ending, Errno, Event};
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
        DeviceVerb::Token { which } => {
            let (_state, mut modem) = open(place, &which)?;
            let (id, token) = (verbs::uuid(&mut modem)?, verbs::token(&mut modem)?);
            print_one(as_json, &json!({ "id": id, "claimToken": token }), &token);
        }
        DeviceVerb::Uuid { which } => {
            let (_state, mut modem) = open(place, &which)?;
            let id = verbs::uuid(&mut modem)?;
            print_one(as_json, &json!({ "id": id }), &id.to_string());
        }
        DeviceVerb::Run {
            which,
            host,
            port,
            ca,
            ca_sec_tag,
        } => {
            let (state, mut modem) = open(place, &which)?;
            let service = Service {
                host,
                port: port
                    .or_else(|| running_port(place, "device"))
                    .unwrap_or(8443),
                root_ca: ca.unwrap_or_else(|| place.home.join("ca/root.crt")),
                root_ca_tag: SecTag::new(u64::from(ca_sec_tag))?,
            };
            let id = verbs::uuid(&mut modem)?;
            let mut token = None;
            let ending = session(&state, &mut modem, &service, &mut |happening| {
                if let Happening::Event(Event::FailedDeviceNotClaimed { token: given }) = &happening
                {
                    token.clone_from(given);
                }
                if let Some(line) = words(&happening) {
                    eprintln!("{line}");
                }
            })
            .await?;
            report(&id.to_string(), ending, token.as_deref(), &service, as_json)?;
        }
    }
    Ok(())
}

fn print_one(as_json: bool, value: &Value, text: &str) {
    if as_json {
        output::json(value);
    } else {
        output::print(&format!("{text}\n"));
    }
}

/// The named device of the home.
pub(crate) fn open(place: &Place, which: &Which) -> Outcome<(DeviceState, HostedModem)> {
    sectag_keep::private_dir(&place.home).map_err(|error| home_fault(&place.home, error.into()))?;
    let state = DeviceState::open_named(&place.home, &which.name)
        .map_err(|error| match error {
            StateError::Name(_) => {
                Fault::from(error).hint("choose another with --name, for example --name device-2")
            }
            StateError::Keep(KeepError::Busy { pid, .. }) => {
                let holder = pid.map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("process {pid}"),
                );
                Fault::untried(format!("device `{}` is in use by {holder}", which.name))
                    .hint("a device does one thing at a time: wait for it, stop it, or choose another device with --name")
            }
            other => home_fault(&place.home, other),
        })?;
    let modem = state
        .modem(Options::default())
        .map_err(|error| home_fault(&place.home, error))?;
    Ok((state, modem))
}

fn home_fault(home: &Path, error: StateError) -> Fault {
    let hint = match &error {
        StateError::Keep(keep) => keep.hint(),
        StateError::Modem(modem) => modem.hint(),
        _ => None,
    };
    Fault::from(anyhow::Error::new(error).context(format!(
        "cannot use a device of the home `{}`",
        home.display()
    )))
    .hint(
        hint.unwrap_or_else(|| {
            "choose a directory that you may write with `--home DIR`".to_owned()
        }),
    )
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

/// One provisioning session, watched.
pub(crate) async fn session(
    state: &DeviceState,
    modem: &mut HostedModem,
    service: &Service,
    observe: &mut (dyn FnMut(Happening<'_>) + Send),
) -> Outcome<Ending> {
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
    if verbs::place_root_ca(modem, service.root_ca_tag, ca.trim_end())? == Placed::Other {
        eprintln!(
            "note: sec tag {} holds another root CA than `{}`; the one under the tag is used",
            service.root_ca_tag,
            service.root_ca.display()
        );
    }
    let anchor = verbs::root_ca(modem, service.root_ca_tag)?.unwrap_or(ca);
    let mut settings = state.settings()?;
    let config = Config {
        modem_version: verbs::firmware(modem)?,
        // The virtual modem has no radio to rest.
        radio_rest: Duration::ZERO,
        save_command_id: true,
        ..Config::default()
    };
    let config = Config {
        after: settings.load(&config.after_key()),
        ..config
    };
    let https = Https::new(&service.host, service.port, &anchor)?;
    Ok(Agent::new(config, https)
        .run_once(modem, &mut settings, observe)
        .await)
}

/// One line for what happened, in the words of the firmware's log where it has some.
pub(crate) fn words(happening: &Happening<'_>) -> Option<String> {
    Some(match happening {
        Happening::Line { head, verdict, .. } => format!("  modem    {head} → {verdict}"),
        Happening::Answered {
            method,
            after: Some(after),
            status,
            received_bytes,
            ..
        } => format!(
            "  {method}      commands after `{after}` → {status}, {received_bytes} bytes of CBOR"
        ),
        Happening::Answered {
            method,
            status,
            sent_bytes,
            ..
        } => {
            format!("  {method}     {sent_bytes} bytes of CBOR responses → {status}")
        }
        Happening::Unanswered { method, error, .. } => {
            let mut text = format!("  {method}      no answer: {error}");
            let mut source = std::error::Error::source(*error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            text
        }
        Happening::NotSigned(error) => format!("  modem    no JWT: {error}"),
        Happening::Event(event) => match event {
            Event::BatchReceived { commands } => format!("  batch    {commands} command(s)"),
            Event::BatchRefused(reason) => format!("  batch    refused: {reason}"),
            Event::CommandFailed {
                index,
                correlation,
                command,
                number,
                answer,
            } => format!(
                "  failed   command {} ({correlation}): {command}: CME {number}: {}",
                index + 1,
                answer.trim()
            ),
            _ => return None,
        },
        _ => return None,
    })
}

fn report(
    id: &str,
    ending: Ending,
    token: Option<&str>,
    service: &Service,
    as_json: bool,
) -> Outcome {
    let result = match ending {
        Ending::Done => "DONE",
        Ending::Failed(Errno::NoData) => "NO_COMMANDS",
        Ending::Failed(Errno::Access) => "NOT_CLAIMED",
        Ending::Failed(_) => "FAILED",
    };
    if as_json {
        let errno = match ending {
            Ending::Done => Value::Null,
            Ending::Failed(errno) => json!(errno.name()),
        };
        output::json(&json!({ "id": id, "result": result, "errno": errno, "claimToken": token }));
    } else {
        output::print(&format!("{result}\n"));
    }
    match ending {
        Ending::Done | Ending::Failed(Errno::NoData) => Ok(()),
        Ending::Failed(Errno::Access) => {
            let fault = Fault::no(format!("device {id} is not claimed"));
            Err(match token {
                Some(token) => fault.hint(format!("claim it: sectag claim {token}")),
                None => fault,
            })
        }
        Ending::Failed(Errno::ConnectionRefused) => Err(Fault::no(format!(
            "no TLS session with {}:{}: nothing listens there, or its certificate does not chain to the root CA under sec tag {}",
            service.host, service.port, service.root_ca_tag
        ))
        .hint("is the service up (`sectag status`)? is `--ca` the file of that service's home?")),
        Ending::Failed(errno) => Err(Fault::no(format!("the session ended with {}", errno.name()))
            .hint("the lines above say which step failed; -vv shows more")),
    }
}
