//! The level of security on each side, derived and compared (RULE 1).

use crate::settings::{Host, Level, Settings};
use std::fmt;

/// What each side's keys ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// External listener and its port; `None` when there is none.
    pub listener: Option<(Level, u16)>,
    /// This machine's clients, and where they go.
    pub client: (Level, String),
    /// Why they cannot meet; `None` when they can, or go different ways.
    pub mismatch: Option<String>,
}

/// Derives and compares.
pub fn levels(settings: &Settings) -> Levels {
    let client = &settings.client;
    let listener = settings
        .external
        .as_ref()
        .map(|external| (external.level(), external.port.value.get()));
    let local = match &client.host {
        Host::Ip(address) => address.is_loopback(),
        Host::Name(name) => name == "localhost",
    };
    // Clients of another machine's broker, or of the internal listener, do not meet this one.
    let meets = local && listener.is_some_and(|(_, port)| port == client.port.value.get());
    let mismatch = match (listener, client.level()) {
        (Some((Level::None, _)), Level::Server | Level::Mutual) if meets => {
            Some("the clients use TLS and the listener does not")
        }
        (Some((Level::Server | Level::Mutual, _)), Level::None) if meets => {
            Some("the listener uses TLS and the clients do not")
        }
        (Some((Level::Mutual, _)), Level::Server) if meets => {
            Some("the listener wants a client certificate and the clients have none")
        }
        (Some((Level::Server, _)), Level::Mutual) if meets => {
            Some("the clients have a certificate and the listener never asks for it")
        }
        (_, Level::Server | Level::Mutual)
            if local && client.port.value == settings.internal.port && !meets =>
        {
            Some("the clients use TLS and the internal listener does not")
        }
        _ => None,
    };
    Levels {
        listener,
        client: (
            client.level(),
            address(&client.host, client.port.value.get()),
        ),
        mismatch: mismatch.map(str::to_owned),
    }
}

fn address(host: &Host, port: u16) -> String {
    match host {
        Host::Ip(address) if address.is_ipv6() => format!("[{address}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.listener {
            None => f.write_str("external listener: off")?,
            Some((level, port)) => write!(f, "external listener: {level}, port {port}")?,
        }
        let (level, address) = &self.client;
        write!(f, "; clients: {level}, to {address}")?;
        match &self.mismatch {
            Some(why) => write!(f, "; they do not match: {why}"),
            None => Ok(()),
        }
    }
}
