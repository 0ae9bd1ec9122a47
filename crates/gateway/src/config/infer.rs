//! What keys say about each other (RULE 17, amendment A2), and the typed settings.

use super::{Config, ValueError};
use crate::keys::{KeyName, Slot};
use crate::settings::{Client, External, Host, Internal, Level, Settings, Source, Sourced};
use crate::value::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

/// MQTT without TLS.
pub(super) const PORT_PLAIN: NonZeroU16 = NonZeroU16::new(1883).expect("1883 is not 0");
/// MQTT over TLS.
pub(super) const PORT_TLS: NonZeroU16 = NonZeroU16::new(8883).expect("8883 is not 0");

/// All keys that make an external listener (amendment A2).
const EXTERNAL: &str = "mqtt.external.";

impl Config {
    pub(super) fn inferred(&self, key: KeyName) -> Option<(Value, Source)> {
        match key.name() {
            "mqtt.external.bind.port" => {
                let port = self.external_port()?;
                Some((Value::Port(port.value), port.source))
            }
            "mqtt.client.port" => {
                let port = self.client_port();
                Some((Value::Port(port.value), port.source))
            }
            _ => None,
        }
    }

    pub(super) fn infer_settings(&self) -> Result<Settings, Vec<ValueError>> {
        let concerns = |problem: &&ValueError| {
            let name = problem.slot.key.name();
            name.starts_with("mqtt.") || name == MINIMUM
        };
        let problems: Vec<ValueError> = self.problems.iter().filter(concerns).cloned().collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Settings {
            internal: self.internal(),
            external: self.external(),
            client: self.client(),
            topic_root: self
                .text("mqtt.topic_root")
                .unwrap_or_else(|| "te".to_owned()),
            minimum_validity_s: match self.at(MINIMUM) {
                Some((Value::Duration(_, seconds), _)) => seconds,
                _ => MINIMUM_S,
            },
        })
    }

    fn internal(&self) -> Internal {
        Internal {
            enabled: !matches!(self.at("mqtt.bind.enabled"), Some((Value::Bool(false), _))),
            address: match self.at("mqtt.bind.address") {
                Some((Value::Ip(address), _)) => address,
                _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
            },
            port: self.port("mqtt.bind.port").unwrap_or(PORT_PLAIN),
        }
    }

    fn external(&self) -> Option<External> {
        let port = self.external_port()?;
        Some(External {
            port,
            address: self.host("mqtt.external.bind.address"),
            interface: self.text("mqtt.external.bind.interface"),
            ca_path: self.path("mqtt.external.ca_path"),
            cert_file: self.path("mqtt.external.cert_file"),
            key_file: self.path("mqtt.external.key_file"),
            crl_file: self.path("mqtt.external.crl_file"),
        })
    }

    fn client(&self) -> Client {
        let local = Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Client {
            host: self.host("mqtt.client.host").unwrap_or(local),
            port: self.client_port(),
            server_name: self.host("mqtt.client.server_name"),
            ca_file: self.path("mqtt.client.auth.ca_file"),
            ca_dir: self.path("mqtt.client.auth.ca_dir"),
            cert_file: self.path("mqtt.client.auth.cert_file"),
            key_file: self.path("mqtt.client.auth.key_file"),
            username: self.text("mqtt.client.auth.username"),
            password_file: self.path("mqtt.client.auth.password_file"),
        }
    }

    /// `None` when no key of the listener is set.
    fn external_port(&self) -> Option<Sourced<NonZeroU16>> {
        if let Some(port) = self.explicit_port("mqtt.external.bind.port") {
            return Some(port);
        }
        let any = |slot: &Slot| slot.key.name().starts_with(EXTERNAL);
        if !self.set.keys().any(any) {
            return None;
        }
        let tls = self.is_set("mqtt.external.cert_file") && self.is_set("mqtt.external.key_file");
        Some(Sourced {
            value: if tls { PORT_TLS } else { PORT_PLAIN },
            source: Source::Inferred,
        })
    }

    fn client_port(&self) -> Sourced<NonZeroU16> {
        if let Some(port) = self.explicit_port("mqtt.client.port") {
            return port;
        }
        let inferred = |value| Sourced {
            value,
            source: Source::Inferred,
        };
        let trusts =
            self.is_set("mqtt.client.auth.ca_file") || self.is_set("mqtt.client.auth.ca_dir");
        if trusts && !self.client_is_local() {
            return inferred(PORT_TLS);
        }
        if let Some(external) = self.external()
            && trusts
            && external.level() != Level::None
        {
            return inferred(external.port.value);
        }
        Sourced {
            value: self.port("mqtt.bind.port").unwrap_or(PORT_PLAIN),
            source: match self.at("mqtt.bind.port") {
                Some((_, Source::Default)) | None => Source::Default,
                Some(_) => Source::Inferred,
            },
        }
    }

    /// Loopback, or the address of a listener of this machine.
    fn client_is_local(&self) -> bool {
        let Some(host) = self.host("mqtt.client.host") else {
            return true;
        };
        let internal = Host::Ip(self.internal().address);
        host == internal
            || self.host("mqtt.external.bind.address").as_ref() == Some(&host)
            || match &host {
                Host::Ip(address) => address.is_loopback() || address.is_unspecified(),
                Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            }
    }

    fn explicit_port(&self, name: &str) -> Option<Sourced<NonZeroU16>> {
        let setting = self.set.get(&Slot::of(KeyName::exact(name)?))?;
        match setting.value {
            Value::Port(value) => Some(Sourced {
                value,
                source: setting.source,
            }),
            _ => None,
        }
    }

    fn is_set(&self, name: &str) -> bool {
        KeyName::exact(name).is_some_and(|key| self.set.contains_key(&Slot::of(key)))
    }

    fn at(&self, name: &str) -> Option<(Value, Source)> {
        self.get(KeyName::exact(name)?)
    }

    fn port(&self, name: &str) -> Option<NonZeroU16> {
        match self.at(name)? {
            (Value::Port(port), _) => Some(port),
            _ => None,
        }
    }

    fn host(&self, name: &str) -> Option<Host> {
        match self.at(name)? {
            (Value::Host(host), _) => Some(host),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.at(name)? {
            (Value::Text(text), _) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

const MINIMUM: &str = "certificate.validity.minimum_duration";
/// Its default, 30 days.
const MINIMUM_S: u64 = 30 * 86_400;
