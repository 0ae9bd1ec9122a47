//! Who must restart after a change, in which order, and why (spec/gateway-config §10).
//!
//! ```text
//!   give clients what they need ─► write files ─► test ─► reload | restart the broker ─► wait for a handshake, probe
//!     ─► restart our services ─► look at their health ─► tell the other hosts and foreign clients
//! ```
//!
//! [`ROWS`] is the table; [`consequences`] applies it to two settings and to files whose content changed. Services read
//! the configuration once, at start, and mosquitto rereads little, so most rows say restart.

use std::collections::BTreeSet;
use std::fmt;

use crate::{External, Level, Settings};

mod reference;
mod table;

pub use reference::reference;
pub use table::{Broker, Keys, ROWS, Regenerate, Row, SERVICES, Services, ThirdParties, row};

/// A file whose content changed while its path stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// `mqtt.external.cert_file` and `key_file`: a renewal.
    ServerPair,
    /// `mqtt.external.ca_path`.
    ClientsAuthority,
    /// `mqtt.external.crl_file`.
    RevocationList,
    /// Anything under `mqtt.client.auth.*`.
    ClientFiles,
    /// Rules or passwords that the broker reads.
    Access,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub action: Action,
    /// Why, one sentence.
    pub reason: String,
    /// Keys that ask for it; `content of …` for a file.
    pub because: Vec<String>,
}

/// Things to do, in the order in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Somebody gives every client the CA of the broker's certificate, before the listener speaks TLS.
    GiveClientsAuthority,
    /// Somebody gives every client its certificate, before the listener requires one.
    GiveClientsCertificates,
    /// Somebody makes the old and the new CA trusted everywhere, before leaf certificates change.
    TrustBothAuthorities,
    /// The planned files are written, placed, owned.
    WriteFiles,
    /// `mosquitto --test-config` (2.1), and our own look at every file (RULE 15).
    TestConfiguration,
    /// SIGHUP to the broker.
    ReloadBroker,
    /// The broker stops and starts.
    RestartBroker,
    /// Wait until the listeners accept and complete a handshake.
    AwaitListeners,
    /// Connect as a client: refused and accepted as the level says.
    Probe,
    /// This machine's services restart.
    RestartServices,
    /// A cloud connection is opened anew, which restarts its mapper.
    ReconnectCloud,
    /// Each service's health topic says `up`.
    CheckServices,
    /// The same services on other hosts: restart, and set their client keys.
    RestartRemoteServices,
    /// Clients that are not ours adapt: address, CA, certificate.
    AdaptThirdParties,
    /// Open sessions stay: a revoked client is disconnected by a restart only.
    EndSessions,
}

impl Action {
    /// True for what `apply` does by itself; the others are for people, or for other hosts.
    pub const fn is_ours(self) -> bool {
        !matches!(
            self,
            Self::GiveClientsAuthority
                | Self::GiveClientsCertificates
                | Self::TrustBothAuthorities
                | Self::RestartRemoteServices
                | Self::AdaptThirdParties
                | Self::EndSessions
        )
    }
}

/// What follows from a change, in order. `before`: the settings that run now; `contents`: files that changed in place.
pub fn consequences(before: &Settings, after: &Settings, contents: &[Content]) -> Vec<Step> {
    let mut steps = Steps::default();
    for key in changed_keys(before, after) {
        if let Some(row) = row(key) {
            steps.apply(row, key, before, after);
        }
    }
    for content in contents.iter().collect::<BTreeSet<_>>() {
        let row = content.row();
        steps.apply(row, row.keys.label(), before, after);
    }
    let level = |settings: &Settings| settings.external.as_ref().map(External::level);
    match (level(before), level(after)) {
        (Some(Level::None | Level::Server), Some(Level::Mutual)) => steps.add(
            Action::GiveClientsCertificates,
            "the listener will refuse clients without a certificate",
            "mqtt.external.ca_path",
        ),
        (Some(Level::None), Some(Level::Server)) => steps.add(
            Action::GiveClientsAuthority,
            "the listener will speak TLS, and clients must trust its certificate",
            "mqtt.external.cert_file",
        ),
        _ => {}
    }
    steps.finish()
}

/// What follows when the broker's file must be written anew although no setting changed, say for another version.
pub fn of_new_fragment(reason: &str) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.add(Action::RestartBroker, reason, "the broker's file");
    steps.add(Action::WriteFiles, reason, "the broker's file");
    steps.finish()
}

/// One line for the terminal after a key was set or unset: who must restart. `None` when nobody must, or for a key that
/// the table does not have.
pub fn one_line_for(key: &str) -> Option<String> {
    let row = row(key)?;
    let mut who = Vec::new();
    match row.broker {
        Broker::No => {}
        Broker::Reload => who.push("reload mosquitto"),
        Broker::Restart => who.push("restart mosquitto"),
        Broker::RestartIfItBridges => {
            who.push("restart mosquitto if it bridges to the cloud itself")
        }
    }
    match row.services {
        Services::No => {}
        Services::Restart => who.push("restart every service"),
        Services::IfTheyUseIt => who.push("restart the services that use this listener"),
        Services::Reconnect => who.push("reconnect the cloud"),
        Services::Some(_) => who.push("restart tedge-agent, the mappers and c8y-firmware-plugin"),
    }
    if who.is_empty() {
        return None;
    }
    let apply = if row.regenerate == Regenerate::Yes {
        "run `sectag gateway apply`: "
    } else {
        "to take effect: "
    };
    Some(format!("{apply}{}", who.join(", then ")))
}

/// Keys of [`Settings`] whose value differs.
fn changed_keys(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let mut add = |differs: bool, key| {
        if differs {
            keys.push(key);
        }
    };
    let (old, new) = (&before.internal, &after.internal);
    add(old.port != new.port, "mqtt.bind.port");
    add(old.address != new.address, "mqtt.bind.address");
    add(old.enabled != new.enabled, "mqtt.bind.enabled");
    let (old, new) = (before.external.as_ref(), after.external.as_ref());
    // A reference to each value; `None` for a listener that is not there.
    macro_rules! external {
        ($($field:ident $key:literal),+) => {
            $(add(old.map(|e| &e.$field) != new.map(|e| &e.$field)
                && (old.is_some_and(|e| e.$field.is_some()) || new.is_some_and(|e| e.$field.is_some())), $key);)+
        };
    }
    let port = |external: Option<&External>| external.map(|external| external.port.value);
    add(port(old) != port(new), "mqtt.external.bind.port");
    external!(
        address "mqtt.external.bind.address",
        interface "mqtt.external.bind.interface",
        cert_file "mqtt.external.cert_file",
        key_file "mqtt.external.key_file",
        ca_path "mqtt.external.ca_path",
        crl_file "mqtt.external.crl_file"
    );
    let (old, new) = (&before.client, &after.client);
    add(old.host != new.host, "mqtt.client.host");
    add(old.port.value != new.port.value, "mqtt.client.port");
    add(
        old.server_name != new.server_name,
        "mqtt.client.server_name",
    );
    add(old.ca_file != new.ca_file, "mqtt.client.auth.ca_file");
    add(old.ca_dir != new.ca_dir, "mqtt.client.auth.ca_dir");
    add(old.cert_file != new.cert_file, "mqtt.client.auth.cert_file");
    add(old.key_file != new.key_file, "mqtt.client.auth.key_file");
    add(old.username != new.username, "mqtt.client.auth.username");
    add(
        old.password_file != new.password_file,
        "mqtt.client.auth.password_file",
    );
    add(before.topic_root != after.topic_root, "mqtt.topic_root");
    keys
}

impl Content {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        let keys = Keys::Content(self);
        ROWS.iter()
            .find(|row| row.keys == keys)
            .expect("each content has a row; a test walks them")
    }
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn apply(&mut self, row: &'static Row, key: &str, before: &Settings, after: &Settings) {
        let reason = row.reason;
        if row.regenerate == Regenerate::Yes || matches!(row.keys, Keys::Content(_)) {
            self.add(Action::WriteFiles, reason, key);
        }
        match row.broker {
            Broker::No | Broker::RestartIfItBridges => {}
            Broker::Reload => self.add(Action::ReloadBroker, reason, key),
            Broker::Restart => self.add(Action::RestartBroker, reason, key),
        }
        let uses = uses_external(before) || uses_external(after);
        match row.services {
            Services::Restart | Services::Some(_) => self.add(Action::RestartServices, reason, key),
            Services::IfTheyUseIt if uses => {
                let reason = "mqtt.client.port leads to this listener";
                self.add(Action::RestartServices, reason, key);
            }
            Services::Reconnect => self.add(Action::ReconnectCloud, reason, key),
            Services::No | Services::IfTheyUseIt => {}
        }
        if row.remote {
            let reason = "services on other hosts and in containers read their own configuration";
            self.add(Action::RestartRemoteServices, reason, key);
        }
        match row.third_parties {
            ThirdParties::No => {}
            ThirdParties::Adapt => {
                let reason = "clients that are not ours have their own configuration";
                self.add(Action::AdaptThirdParties, reason, key);
            }
            ThirdParties::IfTheAuthorityChanges => {
                let reason =
                    "only if the certificate comes from another CA: clients must trust it first";
                self.add(Action::AdaptThirdParties, reason, key);
            }
            ThirdParties::NewCertificates => {
                let reason = "certificates of clients must come from a CA that the listener trusts";
                let action = if matches!(row.keys, Keys::Content(_)) || has_authority(before, after)
                {
                    Action::TrustBothAuthorities
                } else {
                    Action::AdaptThirdParties
                };
                self.add(action, reason, key);
            }
            ThirdParties::SessionsStay => {
                let reason =
                    "a reload refuses revoked clients; their open sessions stay until a restart";
                self.add(Action::EndSessions, reason, key);
            }
        }
    }

    fn add(&mut self, action: Action, reason: &str, key: &str) {
        if let Some(step) = self.0.iter_mut().find(|step| step.action == action) {
            if !step.because.iter().any(|other| other == key) {
                step.because.push(key.to_owned());
            }
            return;
        }
        self.0.push(Step {
            action,
            reason: reason.to_owned(),
            because: vec![key.to_owned()],
        });
    }

    /// In order, with what belongs to a reload or restart. A restart makes a reload superfluous.
    fn finish(mut self) -> Vec<Step> {
        let because = |steps: &[Step], action| {
            steps
                .iter()
                .find(|step| step.action == action)
                .map(|step| step.because.clone())
        };
        if let Some(keys) = because(&self.0, Action::RestartBroker) {
            if let Some(reload) = because(&self.0, Action::ReloadBroker) {
                for key in reload {
                    self.add(Action::RestartBroker, "", &key);
                }
                self.0.retain(|step| step.action != Action::ReloadBroker);
            }
            self.0.retain(|step| step.action != Action::EndSessions);
            for key in keys {
                self.around_broker(&key);
            }
        } else if let Some(keys) = because(&self.0, Action::ReloadBroker) {
            for key in keys {
                self.around_broker(&key);
            }
        }
        if let Some(keys) = because(&self.0, Action::RestartServices) {
            for key in keys {
                let reason = "a service that restarted must be seen to run";
                self.add(Action::CheckServices, reason, &key);
            }
        }
        self.0.sort_by_key(|step| step.action);
        self.0
    }

    fn around_broker(&mut self, key: &str) {
        let test = "what the broker would refuse is found before it is stopped";
        self.add(Action::TestConfiguration, test, key);
        let wait = "a port that accepts is not yet a listener that serves";
        self.add(Action::AwaitListeners, wait, key);
        let probe = "the level is what a connection meets, not what a file says";
        self.add(Action::Probe, probe, key);
    }
}

/// Do our own clients go through the external listener?
fn uses_external(settings: &Settings) -> bool {
    settings
        .external
        .as_ref()
        .is_some_and(|external| external.port.value == settings.client.port.value)
}

fn has_authority(before: &Settings, after: &Settings) -> bool {
    let has = |settings: &Settings| {
        let external = settings.external.as_ref();
        external.is_some_and(|external| external.ca_path.is_some())
    };
    has(before) && has(after)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GiveClientsAuthority => "give every client the CA of the broker's certificate",
            Self::GiveClientsCertificates => "give every client its certificate",
            Self::TrustBothAuthorities => "make the old and the new CA trusted everywhere",
            Self::WriteFiles => "write the files",
            Self::TestConfiguration => "test the configuration",
            Self::ReloadBroker => "reload the broker",
            Self::RestartBroker => "restart the broker",
            Self::AwaitListeners => "wait until the listeners complete a handshake",
            Self::Probe => "probe the listeners",
            Self::RestartServices => "restart the services",
            Self::ReconnectCloud => "reconnect the cloud",
            Self::CheckServices => "check the services' health",
            Self::RestartRemoteServices => "restart the services on other hosts",
            Self::AdaptThirdParties => "adapt clients that are not ours",
            Self::EndSessions => "know that open sessions of revoked clients stay",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} ({})",
            self.action,
            self.reason,
            self.because.join(", ")
        )
    }
}
