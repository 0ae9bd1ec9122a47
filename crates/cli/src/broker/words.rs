//! What a desktop client needs for each listener: host, port, CA file, client certificate.

use super::shown;
use sectag_gateway::Settings;
use sectag_gateway::facts::Facts;
use sectag_keep as keep;
use sectag_mqtt::Level;
use sectag_server::level_word;
use sectag_server::listeners::Open;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Most names of a certificate in one row.
const NAMES_MAX: usize = 4;

/// One row per fact, as `sectag up` has them.
pub(super) fn look_around(
    settings: &Settings,
    facts: &Facts,
    home: &Path,
    open: &[Open],
) -> String {
    let mut text = String::new();
    for open in open {
        let needs = Needs::of(settings, facts, home, open);
        let mut row = |name: &str, value: String| text += &format!("{name:22}{value}\n");
        row(
            &format!("MQTT, {}", open.name),
            format!(
                "host {}, port {} ({}), {}",
                needs.hosts.join(" or "),
                open.address.port(),
                open.address,
                open.level
            ),
        );
        if open.level == Level::Plain {
            row("  security", "none: no TLS, no user name".to_owned());
            continue;
        }
        row("  server CA", needs.ca_text(settings));
        if open.level == Level::Server {
            row("  client certificate", "none is asked for".to_owned());
            continue;
        }
        match &needs.client {
            Some((certificate, key)) => {
                row("  client certificate", shown(certificate));
                row("  client key", shown(key));
            }
            None => row("  client certificate", needs.signer_text(settings)),
        }
    }
    text
}

/// The same as data; what is not known is null.
pub(super) fn json(settings: &Settings, facts: &Facts, home: &Path, open: &[Open]) -> Value {
    let all = open.iter().map(|open| {
        let needs = Needs::of(settings, facts, home, open);
        json!({
            "name": open.name,
            "address": open.address,
            "level": level_word(open.level),
            "hosts": needs.hosts,
            "caFile": needs.ca,
            "certFile": needs.client.as_ref().map(|(certificate, _)| certificate),
            "keyFile": needs.client.as_ref().map(|(_, key)| key),
        })
    });
    all.collect()
}

/// What a client has to be told.
struct Needs {
    hosts: Vec<String>,
    /// A file with the CA of the server certificate.
    ca: Option<PathBuf>,
    /// A client certificate that is known, and its key.
    client: Option<(PathBuf, PathBuf)>,
}

impl Needs {
    fn of(settings: &Settings, facts: &Facts, home: &Path, open: &Open) -> Self {
        let of_external = settings.external.as_ref();
        let chain =
            of_external.map_or(&[][..], |external| facts.chain(external.cert_file.as_ref()));
        if open.level == Level::Plain {
            return Self {
                hosts: plain_hosts(open.address, facts),
                ca: None,
                client: None,
            };
        }
        let names = chain.iter().take(1).flat_map(|leaf| &leaf.facts.names);
        let names = names.filter_map(|name| {
            name.strip_prefix("DNS:")
                .or_else(|| name.strip_prefix("IP:"))
        });
        let mut hosts: Vec<String> = names.take(NAMES_MAX).map(str::to_owned).collect();
        if hosts.is_empty() {
            hosts = plain_hosts(open.address, facts);
        }
        let client = &settings.client;
        let mutual = open.level == Level::Mutual;
        Self {
            hosts,
            ca: chain
                .last()
                .and_then(|last| ca_of(&last.facts.issuer, settings, home)),
            client: client
                .cert_file
                .clone()
                .zip(client.key_file.clone())
                .filter(|_| mutual),
        }
    }

    fn ca_text(&self, settings: &Settings) -> String {
        let external = settings.external.as_ref();
        match (&self.ca, external.and_then(|it| it.cert_file.as_deref())) {
            (Some(ca), _) => shown(ca),
            (None, Some(certificate)) => format!("the one that issued {}", shown(certificate)),
            (None, None) => "not known".to_owned(),
        }
    }

    fn signer_text(&self, settings: &Settings) -> String {
        let external = settings.external.as_ref();
        match external.and_then(|it| it.ca_path.as_deref()) {
            Some(path) => format!("one that a CA of {} issued", shown(path)),
            None => "not known".to_owned(),
        }
    }
}

/// A file among those of our own clients and of the home that holds the CA with this name.
fn ca_of(issuer: &str, settings: &Settings, home: &Path) -> Option<PathBuf> {
    let candidates = [
        settings.client.ca_file.clone(),
        Some(home.join("ca/root.crt")),
    ];
    candidates.into_iter().flatten().find(|path| {
        let content = keep::content(path).ok().flatten();
        let held = content.map(|content| sectag_pki::material::material(&content).certificates);
        held.is_some_and(|held| held.iter().any(|one| one.facts.subject == issuer))
    })
}

/// How the address is reached, when no certificate says so.
fn plain_hosts(address: SocketAddr, facts: &Facts) -> Vec<String> {
    if !address.ip().is_unspecified() {
        return vec![address.ip().to_string()];
    }
    let names = facts.machine.host_names.iter().take(NAMES_MAX - 1).cloned();
    names.chain(["localhost".to_owned()]).collect()
}
