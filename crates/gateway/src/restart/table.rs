//! The table of spec/gateway-config §10, one row for each class of keys.

use super::Content;

/// Long-running services of this machine that read the configuration once (spec/gateway-config §10).
pub const SERVICES: &[&str] = &[
    "tedge-agent",
    "tedge-mapper-c8y",
    "tedge-mapper-az",
    "tedge-mapper-aws",
    "tedge-mapper-collectd",
    "tedge-mapper-local",
    "c8y-firmware-plugin",
    "tedge-watchdog",
];

/// What follows from a change in one class of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub keys: Keys,
    /// Must the broker's file be written anew?
    pub regenerate: Regenerate,
    /// The broker.
    pub broker: Broker,
    /// Our services on this machine.
    pub services: Services,
    /// The same services elsewhere restart too.
    pub remote: bool,
    /// Clients that are not ours.
    pub third_parties: ThirdParties,
    /// Why, one clause.
    pub reason: &'static str,
}

/// A class of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// These; one that ends in `.` stands for all keys below it.
    Named(&'static [&'static str]),
    /// Not a key: what is in a file.
    Content(Content),
}

/// Must the broker's file be written anew?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regenerate {
    /// It does not say this.
    No,
    /// It does.
    Yes,
    /// Only when mosquitto bridges to the cloud itself.
    IfItBridges,
}

/// What the broker must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// Nothing.
    No,
    /// SIGHUP (spec/gateway-config §15).
    Reload,
    /// Stop and start.
    Restart,
    /// Stop and start, if mosquitto bridges to the cloud itself.
    RestartIfItBridges,
}

/// What our services must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// Nothing.
    No,
    /// Restart, all of them.
    Restart,
    /// Restart, if `mqtt.client.port` leads to the external listener.
    IfTheyUseIt,
    /// Restart, these.
    Some(&'static [&'static str]),
    /// The cloud is connected anew, which restarts its mapper.
    Reconnect,
}

/// What clients must do that are not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThirdParties {
    /// Nothing.
    No,
    /// Adapt their configuration.
    Adapt,
    /// Trust the new CA, if it is one.
    IfTheAuthorityChanges,
    /// Get certificates from the new CA.
    NewCertificates,
    /// Nothing; those that are revoked keep their open session through a reload.
    SessionsStay,
}

/// The row of a key; `None` for a key that no broker and no service of the table reads.
pub fn row(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.keys.contains(key))
}

impl Keys {
    fn contains(&self, key: &str) -> bool {
        match self {
            Self::Named(names) => names
                .iter()
                .any(|name| *name == key || (name.ends_with('.') && key.starts_with(name))),
            Self::Content(_) => false,
        }
    }

    /// How a step names it.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Named(names) => names[0],
            Self::Content(Content::ServerPair) => "content of mqtt.external.cert_file and key_file",
            Self::Content(Content::ClientsAuthority) => "content of mqtt.external.ca_path",
            Self::Content(Content::RevocationList) => "content of mqtt.external.crl_file",
            Self::Content(Content::ClientFiles) => "content of files under mqtt.client.auth",
            Self::Content(Content::Access) => "content of rules or passwords",
        }
    }
}

const NOTHING: Row = Row {
    keys: Keys::Named(&[]),
    regenerate: Regenerate::No,
    broker: Broker::No,
    services: Services::No,
    remote: false,
    third_parties: ThirdParties::No,
    reason: "",
};

/// All rows; the first that has a key counts.
pub const ROWS: &[Row] = &[
    Row {
        keys: Keys::Named(&["mqtt.bind.port", "mqtt.bind.address"]),
        regenerate: Regenerate::Yes,
        broker: Broker::Restart,
        services: Services::Restart,
        remote: true,
        third_parties: ThirdParties::Adapt,
        reason: "a listener moves only by a restart, and mqtt.client.port defaults to mqtt.bind.port",
    },
    Row {
        keys: Keys::Named(&["mqtt.bind.enabled"]),
        regenerate: Regenerate::Yes,
        broker: Broker::Restart,
        reason: "the internal listener is written or not, and a listener comes and goes only by a restart",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["mqtt.external.bind."]),
        regenerate: Regenerate::Yes,
        broker: Broker::Restart,
        services: Services::IfTheyUseIt,
        remote: true,
        third_parties: ThirdParties::Adapt,
        reason: "a reload cannot add, move or remove listeners",
    },
    Row {
        keys: Keys::Named(&["mqtt.external.cert_file", "mqtt.external.key_file"]),
        regenerate: Regenerate::Yes,
        broker: Broker::Restart,
        third_parties: ThirdParties::IfTheAuthorityChanges,
        reason: "a reload does not take other paths",
        ..NOTHING
    },
    Row {
        keys: Keys::Content(Content::ServerPair),
        broker: Broker::Reload,
        reason: "a reload takes the new certificate and key for new connections, once both are in place",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["mqtt.external.ca_path"]),
        regenerate: Regenerate::Yes,
        broker: Broker::Restart,
        services: Services::IfTheyUseIt,
        remote: true,
        third_parties: ThirdParties::NewCertificates,
        reason: "a reload does not reread the CA, and the level of the listener may change",
    },
    Row {
        keys: Keys::Content(Content::ClientsAuthority),
        broker: Broker::Restart,
        third_parties: ThirdParties::NewCertificates,
        reason: "a reload does not reread the CA",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["mqtt.external.crl_file"]),
        regenerate: Regenerate::Yes,
        broker: Broker::Restart,
        reason: "a reload does not begin or end the checking of revocations",
        ..NOTHING
    },
    Row {
        keys: Keys::Content(Content::RevocationList),
        broker: Broker::Reload,
        third_parties: ThirdParties::SessionsStay,
        reason: "a reload rereads the revocations",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&[
            "mqtt.client.host",
            "mqtt.client.port",
            "mqtt.client.server_name",
        ]),
        services: Services::Restart,
        reason: "services read the configuration once, at start",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["mqtt.client.auth."]),
        services: Services::Restart,
        remote: true,
        reason: "services read the configuration and the files it names once, at start",
        ..NOTHING
    },
    Row {
        keys: Keys::Content(Content::ClientFiles),
        services: Services::Restart,
        remote: true,
        reason: "thin-edge.io's services read certificates once, at start",
        ..NOTHING
    },
    Row {
        keys: Keys::Content(Content::Access),
        broker: Broker::Reload,
        reason: "a reload applies rules and passwords, and drops clients that are not allowed any more",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["mqtt.topic_root", "mqtt.device_topic_id"]),
        services: Services::Restart,
        remote: true,
        third_parties: ThirdParties::Adapt,
        reason: "topics are made from it at start",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["mqtt.bridge.built_in"]),
        regenerate: Regenerate::Yes,
        broker: Broker::Restart,
        services: Services::Reconnect,
        reason: "the bridge moves between mosquitto and the mapper",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&[
            "http.cert_path",
            "http.key_path",
            "http.ca_path",
            "http.bind.",
            "http.client.",
        ]),
        services: Services::Some(&["tedge-agent", "tedge-mapper-c8y", "c8y-firmware-plugin"]),
        third_parties: ThirdParties::Adapt,
        reason: "the file transfer service and its clients read their TLS files at start",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["device.csr_path", "certificate."]),
        reason: "commands read it at each run",
        ..NOTHING
    },
    Row {
        keys: Keys::Named(&["device.", "c8y.", "az.", "aws."]),
        regenerate: Regenerate::IfItBridges,
        broker: Broker::RestartIfItBridges,
        services: Services::Reconnect,
        reason: "the cloud connection belongs to its mapper, or to mosquitto's bridge",
        ..NOTHING
    },
];
