//! Settings that the golden files are made from: all levels, each way to bind, each kind of CA.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::num::NonZeroU16;
use std::path::PathBuf;

use sectag_gateway::mosquitto::{Authorities, BrokerVersion, Extras, Rendered, Resolved, render};
use sectag_gateway::{Client, External, Host, Internal, Level, Settings, Source, Sourced};

/// Where the files of the golden listeners are.
pub const DIRECTORY: &str = "/etc/sectag";

/// One golden file in two versions.
pub struct Case {
    /// `golden/<name>.2.0.conf`, `golden/<name>.2.1.conf`.
    pub name: &'static str,
    /// What its external listener must be.
    pub level: Option<Level>,
    pub settings: Settings,
    pub resolved: Resolved,
    pub extras: Extras,
}

impl Case {
    pub fn render(&self, version: BrokerVersion) -> Rendered {
        render(&self.settings, &self.resolved, &self.extras, version).unwrap()
    }
}

pub fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

/// The defaults, without an external listener.
pub fn settings() -> Settings {
    Settings {
        internal: Internal {
            enabled: true,
            address: "127.0.0.1".parse().unwrap(),
            port: port(1883),
        },
        external: None,
        client: Client {
            host: "127.0.0.1".parse().unwrap(),
            port: Sourced {
                value: port(1883),
                source: Source::Inferred,
            },
            server_name: None,
            ca_file: None,
            ca_dir: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
        },
        topic_root: "te".to_owned(),
        minimum_validity_s: 30 * 86_400,
    }
}

/// A listener with nothing but a port.
pub fn external(number: u16) -> External {
    External {
        port: Sourced {
            value: port(number),
            source: Source::File,
        },
        address: None,
        interface: None,
        ca_path: None,
        cert_file: None,
        key_file: None,
        crl_file: None,
    }
}

fn file(name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(DIRECTORY).join(name))
}

fn server() -> External {
    External {
        cert_file: file("server.crt"),
        key_file: file("server.key"),
        ..external(8883)
    }
}

fn mutual() -> External {
    External {
        ca_path: file("clients-ca.crt"),
        ..server()
    }
}

fn case(name: &'static str, external: Option<External>) -> Case {
    let authorities = external
        .as_ref()
        .and_then(|external| external.ca_path.as_ref())
        .map(|path| match path.extension() {
            Some(_) => Authorities::File,
            None => Authorities::HashedDirectory,
        });
    Case {
        name,
        level: external.as_ref().map(External::level),
        settings: Settings {
            external,
            ..settings()
        },
        resolved: Resolved {
            authorities,
            ..Resolved::default()
        },
        extras: Extras::default(),
    }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let at = |address: &str, external: External| External {
        address: Some(address.parse::<Host>().unwrap()),
        ..external
    };
    let mut cases = vec![
        case("internal", None),
        case("none", Some(at("192.0.2.7", external(1884)))),
        case("server", Some(server())),
        case("mutual", Some(mutual())),
        case(
            "mutual_two_cas",
            Some(External {
                ca_path: file("two-cas.pem"),
                ..mutual()
            }),
        ),
        case(
            "mutual_capath",
            Some(External {
                ca_path: file("clients"),
                ..mutual()
            }),
        ),
        case(
            "mutual_crl",
            Some(External {
                crl_file: file("clients.crl"),
                ..mutual()
            }),
        ),
        case(
            "interface",
            Some(External {
                interface: Some("wlan0".to_owned()),
                ..at("0.0.0.0", mutual())
            }),
        ),
        case("address", Some(at("::1", mutual()))),
        case("host_name", Some(at("gateway.local", server()))),
        case("mutual_acl", Some(mutual())),
        case("password", Some(server())),
    ];
    for case in &mut cases {
        match case.name {
            "host_name" => case.resolved.address = Some("192.0.2.7".parse().unwrap()),
            "mutual_acl" => {
                case.extras.acl_file = file("acl");
                case.extras.plugin_dir = Some("/usr/lib/mosquitto".into());
            }
            "password" => {
                case.extras.password_file = file("passwords");
                case.extras.plugin_dir = Some("/usr/lib/mosquitto".into());
            }
            _ => {}
        }
    }
    cases
}
