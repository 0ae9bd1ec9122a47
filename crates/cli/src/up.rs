//! `sectag up`: one process, one home.

use crate::args::{Global, Up};
use crate::broker::{self, Gateway};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_server::{Config, Home, Policy, Service, StartError, system_clock};
use serde_json::json;
use std::path::Path;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A start that failed, with the service's own hint.
pub(crate) fn not_started(error: StartError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// `sectag up`
pub(crate) async fn up(global: &Global, place: &Place, args: Up) -> Outcome {
    if args.listen_coap.is_some() && !sectag_server::HAS_COAP {
        return Err(
            Fault::untried("--listen-coap: CoAP is not built into this program")
                .hint("build it with the feature `coap`, which needs clang, libclang and cmake"),
        );
    }
    let rules = broker::rules(&args.rules)?;
    let home = Home::open(&place.home, system_clock()()).map_err(not_started)?;
    let gateway = Gateway::if_asked(global, place, rules.clone()).await?;
    let settings = home
        .settings()
        .clone()
        .with_environment(std::env::vars())
        .map_err(|error| not_started(error.into()))?;
    let mut config = Config::with_settings(home, settings);
    config.names.extend(args.names);
    config.owner = args.listen_owner.unwrap_or(config.owner);
    config.loopback = args.listen_loopback.unwrap_or(config.loopback);
    config.device = args.listen_device.unwrap_or(config.device);
    config.mqtt = args.listen_mqtt.unwrap_or(config.mqtt);
    config.coap = args.listen_coap.unwrap_or(config.coap);
    config.policy = args
        .policy
        .as_deref()
        .and_then(Policy::parse)
        .unwrap_or(config.policy);
    config.rules = rules;
    if let Some(gateway) = &gateway {
        broker::overlap(gateway, config.mqtt)?;
        config.listeners.clone_from(&gateway.listeners);
    }
    // Whoever reads run.json may ask for the end at once.
    let mut stop = StopSignal::listen()?;
    let mut service = Service::start(config).await.map_err(not_started)?;
    let further = service.further_listeners();
    if global.json {
        let addresses = service.addresses();
        let mut data = json!({ "pid": std::process::id(), "home": place.home, "listeners": {
            "owner": addresses.owner, "loopback": addresses.loopback, "device": addresses.device, "mqtt": addresses.mqtt, "coap": addresses.coap } });
        if let Some(gateway) = &gateway {
            data["gateway"] = gateway.json(further);
        }
        output::json(&data);
    }
    eprintln!("sectag {} is up\n", env!("CARGO_PKG_VERSION"));
    eprint!("{}", look_around(&service, &place.home));
    if let Some(gateway) = &gateway {
        eprint!("{}", gateway.look_around(further));
    }
    eprintln!("\nstop it with Ctrl-C");
    let failed = stop.came_or(service.failed()).await;
    eprintln!("stopping");
    service.shutdown().await;
    ended(failed)
}

/// How it ends for whoever started it: a part that failed by itself is a reason to start it again.
pub(crate) fn ended(failed: Option<&str>) -> Outcome {
    match failed {
        None => Ok(()),
        Some(part) => Err(Fault::no(format!(
            "{part} failed, which is an error of sectag; everything was ended, so that nothing goes on without it"
        ))
        .hint("start it again: what was acknowledged is kept. Please report it with the lines of the log before this one")),
    }
}

/// Ctrl-C, or SIGTERM from whoever runs services here. Signals are kept from [`StopSignal::listen`] on.
pub(crate) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    pub(crate) fn listen() -> Outcome<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// As [`came`](Self::came); or the part that `failed` names, should that be earlier.
    pub(crate) async fn came_or(
        &mut self,
        failed: impl Future<Output = &'static str>,
    ) -> Option<&'static str> {
        tokio::select! {
            () = self.came() => None,
            part = failed => Some(part),
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() -> Outcome {
    StopSignal::listen()?.came().await;
    Ok(())
}

/// What listens, where the files are, and what a desktop MQTT client needs.
pub(crate) fn look_around(service: &Service, home: &Path) -> String {
    let addresses = service.addresses();
    let at = |file: &str| home.join(file).display().to_string();
    let rows = [
        ("home", home.display().to_string()),
        (
            "owner API",
            format!(
                "https://{}  and, on this machine, http://{}",
                addresses.owner, addresses.loopback
            ),
        ),
        ("owner key", at("owner.key")),
        (
            "device API",
            format!(
                "https://localhost:{} ({})",
                addresses.device.port(),
                addresses.device
            ),
        ),
        (
            "  over CoAP",
            addresses.coap.map_or_else(
                || "not built in".to_owned(),
                |coap| format!("coaps://localhost:{} ({coap}, UDP)", coap.port()),
            ),
        ),
        (
            "MQTT",
            format!(
                "host localhost, port {} ({}), mutual TLS",
                addresses.mqtt.port(),
                addresses.mqtt
            ),
        ),
        ("  server CA", at("ca/root.crt")),
        ("  client certificate", at("operator/operator.crt")),
        ("  client key", at("operator/operator.key")),
    ];
    rows.iter().fold(String::new(), |text, (name, value)| {
        format!("{text}{name:22}{value}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_failed_is_named_and_a_stop_is_no_fault() {
        assert!(ended(None).is_ok());
        let fault = ended(Some("the MQTT broker"))
            .err()
            .map(|fault| fault.text());
        let text = fault.unwrap_or_default();
        assert!(
            text.starts_with("error: the MQTT broker failed, "),
            "{text}"
        );
        assert!(text.contains("\n\nhint: start it again"), "{text}");
    }
}
