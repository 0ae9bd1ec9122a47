//! Which options are in effect, and `sectag device options`.

use super::{Service, name_fault, running_port};
use crate::args::{Tuning, Which};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_device::kconfig::{Kconfig, KconfigError};
use sectag_device::options::{Options, OptionsError, Source, Value};
use sectag_device::state::DeviceState;
use sectag_proto::device::Transport;
use serde_json::json;
use std::io::ErrorKind;

/// Options in a device's folder.
const FILE: &str = "device.toml";

/// The options of this invocation; what has no effect is said.
pub(super) fn options(place: &Place, which: &Which, tuning: &Tuning) -> Outcome<Options> {
    let (options, kconfig) = gather(place, which, tuning)?;
    let mut unknown = 0;
    for option in kconfig.unknown() {
        match option.suggestion {
            Some(name) => eprintln!(
                "note: {}: {} is not known here and has no effect; did you mean {name}?",
                option.place, option.name
            ),
            None => unknown += 1,
        }
    }
    if unknown > 0 {
        eprintln!(
            "note: {unknown} other option(s) of --kconfig are not known here and have no effect; `sectag device options` with the same flags lists them"
        );
    }
    options.check_transport().map_err(|refusal| {
        let source = ["coap", "https"]
            .into_iter()
            .filter_map(|key| options.get(key))
            .find(|chosen| !matches!(chosen.source, Source::Default | Source::Faithful));
        let place = source.map_or_else(String::new, |chosen| format!("{}: ", chosen.source));
        Fault::untried(format!("{place}{refusal}")).hint(refusal.hint())
    })?;
    options.coap_port().map_err(options_fault)?;
    Ok(options)
}

fn gather(place: &Place, which: &Which, tuning: &Tuning) -> Outcome<(Options, Kconfig)> {
    let mut options = if tuning.faithful {
        Options::faithful()
    } else {
        Options::ours()
    };
    let folder = DeviceState::folder(&place.home, &which.name).map_err(name_fault)?;
    let file = folder.join(FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => options
            .apply_toml(&file.display().to_string(), &text)
            .map_err(options_fault)?,
        // No file, or no folder yet; whoever opens the folder says what is wrong with it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(error) => {
            return Err(Fault::untried(format!(
                "cannot read `{}`: {error}",
                file.display()
            )));
        }
    }
    let kconfig = Kconfig::read(&tuning.kconfig).map_err(kconfig_fault)?;
    options.apply_kconfig(&kconfig);
    for text in &tuning.options {
        options.apply_flag(text).map_err(options_fault)?;
    }
    own_flags(&mut options, tuning).map_err(options_fault)?;
    by_the_service(&mut options, place).map_err(options_fault)?;
    Ok((options, kconfig))
}

/// Flags of their own: `--transport` first, since host and port belong to one.
fn own_flags(options: &mut Options, tuning: &Tuning) -> Result<(), OptionsError> {
    if let Some(transport) = &tuning.transport {
        let coap = transport == "coap";
        let flag = || Source::Flag(format!("--transport {transport}"));
        options.set("coap", Value::Flag(coap), flag())?;
        options.set("https", Value::Flag(!coap), flag())?;
    }
    let [host_key, port_key] = keys(options.transport());
    if let Some(host) = &tuning.host {
        let flag = Source::Flag(format!("--host {host}"));
        options.set(host_key, Value::Text(host.clone()), flag)?;
    }
    if let Some(port) = tuning.port {
        let flag = Source::Flag(format!("--port {port}"));
        options.set(port_key, port_value(options.transport(), port), flag)?;
    }
    if let Some(tag) = tuning.ca_sec_tag {
        let flag = Source::Flag(format!("--ca-sec-tag {tag}"));
        options.set("root-ca-sec-tag", Value::Number(tag.into()), flag)?;
    }
    Ok(())
}

/// The ports that the running service of this home wrote down, where nobody chose any.
fn by_the_service(options: &mut Options, place: &Place) -> Result<(), OptionsError> {
    for (transport, listener) in [(Transport::Https, "device"), (Transport::Coap, "coap")] {
        let [_, key] = keys(transport);
        let chosen = options.get(key).map(|chosen| &chosen.source);
        if let (Some(Source::Default), Some(port)) = (chosen, running_port(place, listener)) {
            options.set(key, port_value(transport, port), Source::Service)?;
        }
    }
    Ok(())
}

/// Host and port.
const fn keys(transport: Transport) -> [&'static str; 2] {
    match transport {
        Transport::Https => ["http-hostname", "http-port"],
        Transport::Coap => ["coap-hostname", "coap-port"],
    }
}

/// COAP_PORT is a text.
fn port_value(transport: Transport, port: u16) -> Value {
    match transport {
        Transport::Https => Value::Number(port.into()),
        Transport::Coap => Value::Text(port.to_string()),
    }
}

/// Where the service is, by these options.
pub(super) fn service(place: &Place, tuning: &Tuning, options: &Options) -> Service {
    Service {
        host: options.hostname().to_owned(),
        port: match options.transport() {
            Transport::Https => options.http_port().unwrap_or(8443),
            Transport::Coap => options.coap_port().ok().flatten().unwrap_or(5684),
        },
        root_ca: tuning
            .ca
            .clone()
            .unwrap_or_else(|| place.home.join("ca/root.crt")),
        root_ca_tag: options.root_ca_tag(),
    }
}

/// `sectag device options`
pub(super) fn show(place: &Place, which: &Which, tuning: &Tuning, as_json: bool) -> Outcome {
    let (options, kconfig) = gather(place, which, tuning)?;
    if as_json {
        let rows: Vec<_> = options
            .rows()
            .map(|(known, chosen)| {
                json!({
                    "name": known.key(),
                    "kconfig": format!("CONFIG_{}", known.kconfig),
                    "value": match &chosen.value {
                        Value::Flag(on) => json!(on),
                        Value::Number(number) => json!(number),
                        Value::Text(text) => json!(text),
                    },
                    "unit": known.unit,
                    "source": chosen.source.to_string(),
                    "effect": known.effect,
                })
            })
            .collect();
        let unknown: Vec<_> = kconfig
            .unknown()
            .map(|option| {
                json!({
                    "kconfig": option.name,
                    "place": option.place.to_string(),
                    "suggestion": option.suggestion,
                })
            })
            .collect();
        output::json(&json!({ "items": rows, "withoutEffect": unknown }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = options
        .rows()
        .map(|(known, chosen)| {
            vec![
                known.key().unwrap_or_default().to_owned(),
                format!("{} {}", chosen.value, known.unit)
                    .trim_end()
                    .to_owned(),
                chosen.source.to_string(),
                format!("CONFIG_{}", known.kconfig),
            ]
        })
        .collect();
    output::table(&["NAME", "VALUE", "FROM", "KCONFIG"], &rows);
    for option in kconfig.unknown() {
        let meant = option
            .suggestion
            .map_or_else(String::new, |name| format!("; did you mean {name}?"));
        eprintln!(
            "note: {}: {} has no effect here{meant}",
            option.place, option.name
        );
    }
    Ok(())
}

fn options_fault(error: OptionsError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

fn kconfig_fault(error: KconfigError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
