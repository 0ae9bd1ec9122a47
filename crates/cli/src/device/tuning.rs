//! Which options are in effect, and `sectag device options`.

use super::{Service, name_fault, running_port};
use crate::args::{Tuning, Which};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_device::kconfig::{Kconfig, KconfigError};
use sectag_device::options::{Options, OptionsError, Source, Value};
use sectag_device::state::DeviceState;
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
        Fault::untried(format!("{place}{refusal}"))
            .hint("the device API speaks HTTPS: leave the transport out, or give --transport https")
    })?;
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
    let mut own = |key: &str, value: Option<Value>, flag: String| match value {
        Some(value) => options
            .set(key, value, Source::Flag(flag))
            .map_err(options_fault),
        None => Ok(()),
    };
    let host = tuning.host.clone();
    own(
        "http-hostname",
        host.clone().map(Value::Text),
        format!("--host {}", host.unwrap_or_default()),
    )?;
    let port = tuning.port;
    own(
        "http-port",
        port.map(|port| Value::Number(port.into())),
        format!("--port {}", port.unwrap_or_default()),
    )?;
    let tag = tuning.ca_sec_tag;
    own(
        "root-ca-sec-tag",
        tag.map(|tag| Value::Number(tag.into())),
        format!("--ca-sec-tag {}", tag.unwrap_or_default()),
    )?;
    if let Some(transport) = &tuning.transport {
        let flag = format!("--transport {transport}");
        let coap = transport == "coap";
        own("coap", Some(Value::Flag(coap)), flag.clone())?;
        own("https", Some(Value::Flag(!coap)), flag)?;
    }
    if let (None, Some(port)) = (options.http_port(), running_port(place, "device")) {
        options
            .set("http-port", Value::Number(port.into()), Source::Service)
            .map_err(options_fault)?;
    }
    Ok((options, kconfig))
}

/// Where the service is, by these options.
pub(super) fn service(place: &Place, tuning: &Tuning, options: &Options) -> Service {
    Service {
        host: options.http_hostname().to_owned(),
        port: options.http_port().unwrap_or(8443),
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
