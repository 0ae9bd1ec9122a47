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
//! a CA (E7), a CA that yields no certificate (E8), version 1 (E12), a foreign or encrypted key (E13), plaintext to our own TLS listener (E14), no password (E17). The words
//! are those of `sectag_gateway::findings`, which judges the same files for every other command.
//!
//! Files are read at each connection, so what was renewed since is used at the next one. What cannot get better by itself ends
//! at once; what can is tried again ([`GatewayClient::open`]). `failures` says what went wrong in keys (RULE 19).

mod files;
mod unready;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sectag_gateway::facts::{Facts, Machine};
use sectag_gateway::findings::{self, Finding, FindingId, Severity};
use sectag_gateway::{External, Host, Level, Settings};
use sectag_proto::Secret;
use tokio::time::Instant;

pub use unready::Unready;

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

    /// All of them.
    pub(crate) const ALL: [&str; 9] = [
        HOST,
        PORT,
        SERVER_NAME,
        CA_FILE,
        CA_DIR,
        CERT_FILE,
        KEY_FILE,
        USERNAME,
        PASSWORD_FILE,
    ];
}

/// From a failed attempt to the next.
pub const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A client that the keys describe. Clones share the settings.
#[derive(Debug, Clone)]
pub struct GatewayClient {
    settings: Arc<Settings>,
    machine: Arc<Machine>,
}

impl GatewayClient {
    /// `mqtt.client.*` is obeyed; of the listeners it is said which one is meant.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            machine: Arc::default(),
        }
    }

    /// With the names and addresses of this machine, by which a broker on it is recognised. Without them: loopback, and the
    /// addresses in the settings.
    #[must_use]
    pub fn on(self, machine: Machine) -> Self {
        Self {
            machine: Arc::new(machine),
            ..self
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

    /// What is wrong, and what is odd and works: a port against custom, a certificate that expires soon, a key that others can read.
    pub fn findings(&self) -> Vec<Finding> {
        self.find(&self.facts())
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
        let facts = self.facts();
        let leaf = facts
            .chain(self.settings.client.cert_file.as_ref())
            .first()?;
        Some(sectag_pki::identity(&leaf.der).ok()?.cn)
    }

    /// Connects, again and again with [`RETRY_PAUSE`] in between, as long as only patience is needed and `patience` lasts (`None`: for
    /// ever). What cannot get better by itself ends it at once. Each failed attempt that is followed by another is told to `observe`.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn open(
        &self,
        options: &LinkOptions,
        patience: Option<Duration>,
        observe: &mut (dyn FnMut(&LinkError) + Send),
    ) -> Result<MqttLink, LinkError> {
        self.try_until(options, patience, &[], observe).await
    }

    /// The same after a connection that was lost. What looks like a port of another kind may be a broker that is just going down.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn open_again(
        &self,
        options: &LinkOptions,
        patience: Option<Duration>,
        observe: &mut (dyn FnMut(&LinkError) + Send),
    ) -> Result<MqttLink, LinkError> {
        const GOING_DOWN: [Cause; 2] = [Cause::NoTlsOnPort, Cause::ClosedAfterConnect];
        self.try_until(options, patience, &GOING_DOWN, observe)
            .await
    }

    async fn try_until(
        &self,
        options: &LinkOptions,
        patience: Option<Duration>,
        passing: &[Cause],
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
            let cause = error.explain().map(|explanation| explanation.cause);
            let may_pass = cause.is_some_and(|cause| cause.may_pass() || passing.contains(&cause));
            if !may_pass || deadline.is_some_and(|deadline| left(deadline).is_zero()) {
                return Err(error);
            }
            observe(&error);
            let pause = deadline.map_or(RETRY_PAUSE, |deadline| left(deadline).min(RETRY_PAUSE));
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads everything that a connection needs. Renewal renames certificate and key one after the other; whoever read in between
    /// reads again.
    pub(crate) fn ready(&self) -> Result<Ready, Box<Unready>> {
        match self.read() {
            Err(first) if first.finding.id == FindingId::E13 => self.read(),
            other => other,
        }
    }

    fn read(&self) -> Result<Ready, Box<Unready>> {
        let client = &self.settings.client;
        self.no_plaintext_to_our_own_tls()?;
        let facts = self.facts();
        if let Some(finding) = self
            .find(&facts)
            .into_iter()
            .find(|finding| finding.severity == Severity::Error)
        {
            return Err(Box::new(finding.into()));
        }
        let tls = match self.level() {
            Level::None => None,
            Level::Server | Level::Mutual => {
                let mut tls = TlsOptions::new([]);
                tls.files = Some(FileCredentials {
                    authorities: files::authorities(client, &facts)?,
                    identity: files::identity(client, &facts)?,
                });
                tls.server_name = client.server_name.as_ref().map(Host::to_string);
                Some(tls)
            }
        };
        Ok(Ready {
            tls,
            user_name: client.username.clone(),
            password: files::password(client)?,
        })
    }

    fn facts(&self) -> Facts {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let machine = Machine {
            now_s: now.map_or(0, |now| now.as_secs()),
            ..Machine::clone(&self.machine)
        };
        Facts::gather_client(&self.settings.client, &machine)
    }

    fn find(&self, facts: &Facts) -> Vec<Finding> {
        let settings = &self.settings;
        findings::for_client(&settings.client, settings.minimum_validity_s, facts)
    }

    /// The external listener is ours, so we know that it speaks TLS: a CONNECT in plaintext would only show what is in it.
    fn no_plaintext_to_our_own_tls(&self) -> Result<(), Box<Unready>> {
        let Some(external) = self.external() else {
            return Ok(());
        };
        if self.level() != Level::None || external.level() == Level::None {
            return Ok(());
        }
        let port = self.settings.client.port.value;
        let finding = Finding::new(
            FindingId::E14,
            Severity::Error,
            format!(
                "mqtt.client.port is {port}, which is the external listener, whose level is {}, but no CA is set: neither mqtt.client.auth.ca_file nor mqtt.client.auth.ca_dir",
                external.level()
            ),
        )
        .value(key::PORT, port)
        .value("mqtt.external.bind.port", external.port.value)
        .fix(&[
            "sectag config set mqtt.client.auth.ca_file <path>".to_owned(),
            format!("sectag config set mqtt.client.port {}", self.settings.internal.port),
        ]);
        Err(Box::new(Unready {
            cause: Cause::TlsExpected,
            key: key::CA_FILE,
            finding,
        }))
    }

    /// Is the broker on this machine?
    pub(crate) fn is_local(&self) -> bool {
        let settings = &self.settings;
        let host = &settings.client.host;
        let external = settings.external.as_ref();
        *host == Host::Ip(settings.internal.address)
            || external.is_some_and(|external| external.address.as_ref() == Some(host))
            || self.machine.is_own(host) == Some(true)
    }

    /// The external listener, if the client goes there.
    pub(crate) fn external(&self) -> Option<&External> {
        let client = &self.settings.client;
        self.settings
            .external
            .as_ref()
            .filter(|external| external.port.value == client.port.value)
            .filter(|_| self.is_local() && !self.is_internal())
            .filter(|external| match &external.address {
                Some(Host::Ip(address)) => may_lead_to(&client.host, *address),
                Some(Host::Name(_)) | None => true,
            })
    }

    /// Does the client go to the internal listener?
    pub(crate) fn is_internal(&self) -> bool {
        let (client, internal) = (&self.settings.client, &self.settings.internal);
        let overlaps = self.settings.external.as_ref().is_some_and(|external| {
            external.port.value == internal.port
                && match &external.address {
                    Some(Host::Ip(address)) if address.is_unspecified() => true,
                    Some(address) => *address == client.host,
                    None => external.interface.is_none(),
                }
        });
        internal.enabled
            && internal.port == client.port.value
            && may_lead_to(&client.host, internal.address)
            && !overlaps
            && self.is_local()
    }
}

/// Could a connection to `host` be taken by who listens at `address`? Names other than `localhost` are not resolved.
fn may_lead_to(host: &Host, address: IpAddr) -> bool {
    if address.is_unspecified() {
        return true;
    }
    match host {
        Host::Ip(host) => *host == address,
        Host::Name(name) if name == "localhost" => address.is_loopback(),
        Host::Name(_) => !address.is_loopback(),
    }
}

/// A connection that is tried at the end of patience still gets this long for each stage.
const LAST_ATTEMPT: Duration = Duration::from_millis(500);

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
