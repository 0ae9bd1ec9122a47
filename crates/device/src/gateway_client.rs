//! Our MQTT clients by the keys `mqtt.client.*`: from files to TLS, or to one finding (spec/gateway-config §8, RULE 16).
//!
//! ```text
//!   ca_file ──┐                                               no TLS key ──► plain TCP
//!   ca_dir  ──┴─► whom we trust (union; never the system's) ─┐
//!   cert_file ─┐                                             ├─► TLS 1.2 or 1.3
//!   key_file  ─┴─► who we are (both halves or none) ─────────┘
//!   username, password_file (first line) ─► CONNECT          anything missing or unusable ──► Finding, nothing is sent
//! ```
//!
//! **Every TLS key means TLS.** A key that is set takes effect or stops the connection: half a pair (E1), a certificate without
//! a CA (E7), a CA that yields no certificate (E8), version 1 (E12), a foreign or encrypted key (E13), no password (E17).
//!
//! Files are read at each connection, so what was renewed since is used at the next one. What cannot get better by itself ends
//! at once; what can is tried again ([`GatewayClient::open`]). `failures` says what went wrong in keys (RULE 19).

mod identity;
mod trust;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sectag_gateway::findings::{Finding, FindingId, Severity};
use sectag_gateway::{External, Host, Level, Settings};
use sectag_keep::KeepError;
use sectag_proto::Secret;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::failures::Cause;
use crate::link::{
    FileCredentials, LinkError, LinkOptions, MqttLink, NoTags, Security, TlsOptions,
};

/// Names of the keys.
pub(crate) mod key {
    pub(crate) const HOST: &str = "mqtt.client.host";
    pub(crate) const PORT: &str = "mqtt.client.port";
    pub(crate) const SERVER_NAME: &str = "mqtt.client.server_name";
    pub(crate) const CA_FILE: &str = "mqtt.client.auth.ca_file";
    pub(crate) const CA_DIR: &str = "mqtt.client.auth.ca_dir";
    pub(crate) const CERT_FILE: &str = "mqtt.client.auth.cert_file";
    pub(crate) const KEY_FILE: &str = "mqtt.client.auth.key_file";
    pub(crate) const USERNAME: &str = "mqtt.client.auth.username";
    pub(crate) const PASSWORD_FILE: &str = "mqtt.client.auth.password_file";
}

/// From a failed attempt to the next.
pub const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A client that the keys describe. Clones share the settings.
#[derive(Debug, Clone)]
pub struct GatewayClient {
    settings: Arc<Settings>,
}

impl GatewayClient {
    /// `mqtt.client.*` is obeyed; of the listeners it is said which one is meant.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// The keys.
    pub const fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// What the keys ask for. The connection has it, or there is none; [`MqttLink::level`] says what came about.
    pub fn level(&self) -> Level {
        self.settings.client.level()
    }

    /// Host and port, and the defaults for the rest. User name and password join when the link is opened.
    pub fn link_options(&self) -> LinkOptions {
        LinkOptions {
            port: self.settings.client.port.value.get(),
            ..LinkOptions::new(&self.settings.client.host.to_string())
        }
    }

    /// What is odd and works (E15).
    pub fn warnings(&self) -> Vec<Finding> {
        let client = &self.settings.client;
        let port = client.port.value.get();
        let (sentence, fix) = match (port, self.level()) {
            (8883, Level::None) => (
                "mqtt.client.port is 8883, by custom the port for TLS, and neither mqtt.client.auth.ca_file nor mqtt.client.auth.ca_dir is set: this is plaintext",
                "sectag config set mqtt.client.auth.ca_file <path>",
            ),
            (1883, Level::Server | Level::Mutual) => (
                "mqtt.client.port is 1883, by custom the port for plaintext, and the keys mqtt.client.* ask for TLS",
                "sectag config set mqtt.client.port 8883",
            ),
            _ => return Vec::new(),
        };
        vec![Finding {
            id: FindingId::E15,
            severity: Severity::Warn,
            sentence: sentence.to_owned(),
            values: vec![(key::PORT.to_owned(), port.to_string())],
            fix: fix.to_owned(),
        }]
    }

    /// Reads the files and says whether a connection could be tried with them.
    ///
    /// # Errors
    /// The first finding that forbids it.
    pub fn check(&self) -> Result<(), Box<Unready>> {
        self.ready().map(drop)
    }

    /// CN of the client certificate, if one is configured and usable, and it can be a topic level.
    pub fn common_name(&self) -> Option<String> {
        let client = &self.settings.client;
        let (_, key) = identity::read(client).ok()??;
        let identity = sectag_pki::identity(key.cert.first()?).ok()?;
        Some(identity.cn)
    }

    /// Connects, again and again with [`RETRY_PAUSE`] in between, as long as only patience is needed and `patience` lasts (`None`: for ever). What cannot get better by
    /// itself ends it at once. Each failed attempt that is followed by another is told to `observe`.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn open(
        &self,
        options: &LinkOptions,
        patience: Option<Duration>,
        observe: &mut (dyn FnMut(&LinkError) + Send),
    ) -> Result<MqttLink, LinkError> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let security = Security::Gateway(self.clone());
        loop {
            let mut options = options.clone();
            if let Some(deadline) = deadline {
                options.timeout = options.timeout.min(left(deadline).max(LAST_ATTEMPT));
            }
            let error = match MqttLink::open(Arc::new(NoTags), &security, &options).await {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            if !error.may_pass() || deadline.is_some_and(|deadline| left(deadline).is_zero()) {
                return Err(error);
            }
            observe(&error);
            let pause = deadline.map_or(RETRY_PAUSE, |deadline| left(deadline).min(RETRY_PAUSE));
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads everything that a connection needs.
    pub(crate) fn ready(&self) -> Result<Ready, Box<Unready>> {
        let client = &self.settings.client;
        self.no_plaintext_to_our_own_tls()?;
        identity::both_or_none(client)?;
        let trusts = client.ca_file.is_some() || client.ca_dir.is_some();
        let tls = match (self.level(), trusts) {
            (Level::None, _) => None,
            (_, false) => return Err(no_ca(client).into()),
            (_, true) => {
                let mut tls = TlsOptions::new([]);
                tls.files = Some(FileCredentials {
                    authorities: trust::read(client)?,
                    identity: identity::read(client)?,
                });
                tls.server_name = client.server_name.as_ref().map(Host::to_string);
                Some(tls)
            }
        };
        Ok(Ready {
            tls,
            user_name: client.username.clone(),
            password: password(client)?,
        })
    }

    /// The external listener is ours, so we know that it speaks TLS: a CONNECT in plaintext would only show what is in it.
    fn no_plaintext_to_our_own_tls(&self) -> Result<(), Unready> {
        let client = &self.settings.client;
        let Some(external) = self.target_external() else {
            return Ok(());
        };
        if self.level() != Level::None || external.level() == Level::None {
            return Ok(());
        }
        let port = client.port.value;
        Err(unready(
            FindingId::E15,
            (Cause::TlsExpected, key::CA_FILE),
            format!(
                "mqtt.client.port is {port}, the port of the external listener, whose keys ask for TLS ({}), and neither mqtt.client.auth.ca_file nor mqtt.client.auth.ca_dir is set",
                external.level()
            ),
            vec![
                (key::PORT, port.to_string()),
                ("mqtt.external.bind.port", external.port.value.to_string()),
            ],
            "sectag config set mqtt.client.auth.ca_file <path>",
        ))
    }

    /// The external listener, if the client goes there.
    pub(crate) fn target_external(&self) -> Option<&External> {
        target_external(&self.settings)
    }
}

/// A connection that is tried at the end of patience still gets this long for each stage.
const LAST_ATTEMPT: Duration = Duration::from_millis(500);

/// Is the broker on this machine? Loopback, or an address that one of our listeners has.
pub(crate) fn is_local(settings: &Settings) -> bool {
    let host = &settings.client.host;
    let external = settings.external.as_ref();
    *host == Host::Ip(settings.internal.address)
        || external.is_some_and(|external| external.address.as_ref() == Some(host))
        || match host {
            Host::Ip(address) => address.is_loopback() || address.is_unspecified(),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
}

pub(crate) fn target_external(settings: &Settings) -> Option<&External> {
    settings
        .external
        .as_ref()
        .filter(|external| external.port.value == settings.client.port.value)
        .filter(|_| is_local(settings))
}

/// Why nothing is sent: a finding of severity error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", finding.sentence)]
pub struct Unready {
    /// What is wrong.
    pub finding: Finding,
    /// The same among the causes of failed sessions.
    pub cause: Cause,
    /// The key to change.
    pub key: &'static str,
}

/// What the files held, for one connection.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) tls: Option<TlsOptions>,
    user_name: Option<String>,
    password: Option<Secret<Vec<u8>>>,
}

impl Ready {
    /// `options` with user name and password of the keys.
    pub(crate) fn login(&self, options: &LinkOptions) -> LinkOptions {
        LinkOptions {
            user_name: self.user_name.clone(),
            password: self.password.clone(),
            ..options.clone()
        }
    }
}

fn no_ca(client: &sectag_gateway::Client) -> Unready {
    let set = [
        (key::CERT_FILE, client.cert_file.as_deref()),
        (key::KEY_FILE, client.key_file.as_deref()),
    ];
    let mut values: Vec<_> = set
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?.display().to_string())))
        .collect();
    if let Some(name) = &client.server_name {
        values.push((key::SERVER_NAME, name.to_string()));
    }
    let (asks, value) = values
        .first()
        .map_or((key::CERT_FILE, String::new()), Clone::clone);
    unready(
        FindingId::E7,
        (Cause::CaMissing, key::CA_FILE),
        format!(
            "{asks} is `{value}`, which asks for TLS, and neither mqtt.client.auth.ca_file nor mqtt.client.auth.ca_dir is set: the broker could not be verified"
        ),
        values,
        "sectag config set mqtt.client.auth.ca_file <path>",
    )
}

/// The first line of the file, without its end (spec/gateway-config §8, step 6).
fn password(client: &sectag_gateway::Client) -> Result<Option<Secret<Vec<u8>>>, Unready> {
    let Some(path) = &client.password_file else {
        return Ok(None);
    };
    let shown = path.display().to_string();
    let none = |key, sentence, fix: &str| {
        let values = vec![(key::PASSWORD_FILE, shown.clone())];
        let about = (Cause::CredentialUnreadable, key);
        unready(FindingId::E17, about, sentence, values, fix)
    };
    if client.username.is_none() {
        return Err(none(
            key::USERNAME,
            format!(
                "mqtt.client.auth.password_file is `{shown}`, and mqtt.client.auth.username is not set: a password needs a user name"
            ),
            "sectag config set mqtt.client.auth.username <name>",
        ));
    }
    let content = read(path).map_err(|why| {
        none(
            key::PASSWORD_FILE,
            format!("mqtt.client.auth.password_file gives no password: `{shown}` {why}"),
            "sectag config set mqtt.client.auth.password_file <path>",
        )
    })?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(none(
            key::PASSWORD_FILE,
            format!(
                "mqtt.client.auth.password_file gives no password: the first line of `{shown}` is empty"
            ),
            "sectag config set mqtt.client.auth.password_file <path>",
        ));
    }
    Ok(Some(Secret::new(line.to_vec())))
}

/// Content of a file, or why there is none, in words that follow its name.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    match sectag_keep::content(path) {
        Ok(Some(content)) => Ok(content),
        Ok(None) => Err("does not exist".to_owned()),
        Err(KeepError::WrongKind { .. }) if path.is_dir() => {
            Err("is a directory, and a file is needed".to_owned())
        }
        Err(KeepError::WrongKind { expected, .. }) => Err(format!("is not a {expected}")),
        Err(KeepError::Io { source, .. }) => Err(format!("cannot be read: {source}")),
        Err(other) => Err(format!("cannot be read: {other}")),
    }
}

fn unready(
    id: FindingId,
    (cause, key): (Cause, &'static str),
    sentence: String,
    values: Vec<(&'static str, String)>,
    fix: impl Into<String>,
) -> Unready {
    let values = values.into_iter();
    Unready {
        cause,
        key,
        finding: Finding {
            id,
            severity: Severity::Error,
            sentence,
            values: values.map(|(key, value)| (key.to_owned(), value)).collect(),
            fix: fix.into(),
        },
    }
}
