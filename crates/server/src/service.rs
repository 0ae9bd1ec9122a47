//! One process: store, owner API twice, device API twice (HTTPS, CoAP), broker; started together, ended together.

use crate::app::{
    App, Clock, Issuer, KeyText, home_team, of_home, reconcile_authorities, watch_lives,
};
use crate::audit::Keeper;
use crate::error::StartError;
use crate::events::Hub;
use crate::evidence::Evidence;
use crate::gate::{Doorkeeper, Lists};
use crate::home::Home;
use crate::issuers::Issuers;
use crate::listen::{Door, LiveTls, Manners};
use crate::listeners::{ClosedBroker, ListenerError, LiveBroker, MqttListener, Open};
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::settings::{CertificateFiles, Coap, Policy, Settings};
use crate::shown::Shown;
use crate::verify::AwsLc;
use crate::webhooks::Webhooks;
use crate::{coap, device_api, owner_api, tls};
use arc_swap::ArcSwap;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use sectag_keep as keep;
use sectag_mqtt::{Broker, BrokerError, BrokerLimits, Gate, Level, Snapshot};
use sectag_pki::topics::Rules;
use sectag_proto::Timestamp;
use sectag_store::{AddKeyError, ApiKey, Role, SealKey, SqliteStore, Teams};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Name of the API key in `owner.key`.
const OWNER_KEY_NAME: &str = "owner";

/// Name of the MQTT listener for devices and operators of this home.
const SERVICE_LISTENER: &str = "service";

/// What to start. [`Config::new`] takes everything from the home; a caller changes what flags say.
pub struct Config {
    /// Open and locked; it stays so until [`Service::shutdown`].
    pub home: Home,
    /// Owner API over TLS.
    pub owner: SocketAddr,
    /// Owner API over plain HTTP; a loopback address.
    pub loopback: SocketAddr,
    /// Device API over TLS.
    pub device: SocketAddr,
    /// MQTT over mutual TLS.
    pub mqtt: SocketAddr,
    /// Device API over CoAP and DTLS; nothing listens there where CoAP is not built in ([`HAS_COAP`](crate::HAS_COAP)).
    pub coap: SocketAddr,
    /// How the device API over CoAP behaves.
    pub coap_settings: Coap,
    /// Further MQTT listeners, for clients that this service did not make; none by default.
    pub listeners: Vec<MqttListener>,
    /// Topic rules of the service's own MQTT listener; `None` for the default, `<CN>/#`.
    pub rules: Option<Arc<Rules>>,
    /// Which device keys a claim trusts.
    pub policy: Policy,
    /// Whether editors and viewers are kept from devices that an admin or an owner claimed.
    pub admin_claims_hidden: bool,
    /// Further names in the server certificate.
    pub names: Vec<String>,
    /// Commands of one device that may wait.
    pub open_commands_max: usize,
    /// Where webhooks may lead, and whom they trust.
    pub webhooks: crate::settings::Webhooks,
    /// The certificate shown in the place of the home's own.
    pub certificate: CertificateFiles,
    /// The calendar.
    pub clock: Clock,
}

/// What is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Owner API over TLS.
    pub owner: SocketAddr,
    /// Owner API over plain HTTP.
    pub loopback: SocketAddr,
    /// Device API over TLS.
    pub device: SocketAddr,
    /// MQTT over mutual TLS.
    pub mqtt: SocketAddr,
    /// Device API over CoAP and DTLS, UDP; `None` where CoAP is not built in.
    pub coap: Option<SocketAddr>,
}

/// A running service. Dropped, it ends without ceremony; [`Service::shutdown`] finishes what is in hand.
#[derive(Debug)]
pub struct Service {
    addresses: Addresses,
    app: Arc<App>,
    broker: LiveBroker,
    store: Arc<SqliteStore>,
    home: Home,
    stop: watch::Sender<bool>,
    parts: Parts,
    doors: Vec<JoinHandle<()>>,
    keeper: JoinHandle<Keeper>,
}

/// The operating system's calendar.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("home", &self.home)
            .field("owner", &self.owner)
            .field("loopback", &self.loopback)
            .field("device", &self.device)
            .field("mqtt", &self.mqtt)
            .field("coap", &self.coap)
            .field("listeners", &self.listeners)
            .field("policy", &self.policy)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// As the home's `sectag.toml` says, with the system's clock.
    pub fn new(home: Home) -> Self {
        let settings = home.settings().clone();
        Self::with_settings(home, settings)
    }

    /// As `settings` say (the home's, after environment variables).
    pub fn with_settings(home: Home, settings: Settings) -> Self {
        Self {
            home,
            owner: settings.listen.owner,
            loopback: settings.listen.loopback,
            device: settings.listen.device,
            mqtt: settings.listen.mqtt,
            coap: settings.listen.coap,
            coap_settings: settings.coap,
            webhooks: settings.webhooks,
            listeners: Vec::new(),
            rules: None,
            policy: settings.policy,
            admin_claims_hidden: settings.owner.admin_claims_hidden,
            names: settings.names,
            open_commands_max: settings.open_commands_max,
            certificate: settings.certificate,
            clock: system_clock(),
        }
    }
}

impl Service {
    /// Binds everything, or nothing. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config {
            home, names, clock, ..
        } = config;
        if !config.loopback.ip().is_loopback() {
            return Err(StartError::NotLoopback {
                address: config.loopback,
            });
        }
        // Ports first: the mistake that is made most often shall cost nothing.
        let owner = bind("owner", config.owner).await?;
        let loopback = bind("loopback", config.loopback).await?;
        let device = bind("device", config.device).await?;
        let datagrams = coap::bind(config.coap).await?;
        // Also what the broker reads from its files.
        let own = home.server_pair(&names)?;
        let shown = Shown::open(&home, own, &config.certificate)?;
        let server = shown.pair().clone();
        home.operator_pair()?;
        let mut listeners = vec![MqttListener {
            name: SERVICE_LISTENER.to_owned(),
            addresses: vec![config.mqtt],
            tls: Some(home.broker_files()),
            rules: config.rules,
        }];
        listeners.extend(config.listeners);
        let broker = ClosedBroker::start(listeners, BrokerLimits::default())
            .await
            .map_err(|error| no_broker(error, config.mqtt))?;
        let store = Arc::new(open_store(&home).await?);
        let failed = |source| StartError::Store {
            path: home.database(),
            source,
        };
        // Before the trail is signed: what a start writes is under the signature.
        let team = home_team(home.owner_id(), clock());
        store.adopt(team).await.map_err(failed)?;
        register_owner_key(&home, store.as_ref(), clock()).await?;
        let keeper = Keeper::open(&home, store.clone(), clock.clone()).await?;
        let audit_key: Arc<str> = keeper.public_key_pem().into();
        let metrics: Arc<Metrics> = Arc::default();
        let issuers = Arc::new(Issuers::open(&home, clock().as_secs())?);
        reconcile_authorities(&issuers, store.as_ref(), clock())
            .await
            .map_err(failed)?;
        let (doorkeeper, errands) =
            Doorkeeper::open(store.clone(), clock.clone(), issuers.home_team())
                .await
                .map_err(failed)?;
        let app = Arc::new(App {
            store: store.clone(),
            issuer: Issuer {
                root_pem: home.root_pem(),
            },
            policy: config.policy,
            admin_claims_hidden: config.admin_claims_hidden,
            open_commands_max: config.open_commands_max,
            clock,
            verifier: AwsLc,
            admission: Arc::default(),
            owner: home.owner_id(),
            uses: Default::default(),
            own_certificates: of_home(home.path(), config.certificate.file.as_deref()),
            clones: Default::default(),
            issuers: issuers.clone(),
            doorkeeper: doorkeeper.clone(),
            uploads: Default::default(),
            alarmed: Mutex::new(HashMap::new()),
            rules: Default::default(),
        });
        doorkeeper.watches(broker.broker(), &app);
        let mut lists = Lists::new(store.clone(), issuers, app.clock.clone());
        lists.make().await;
        let gate: Arc<dyn Gate> = doorkeeper.clone();
        let broker = broker.open_to(Some(gate))?;
        let addresses = Addresses {
            owner: address(&owner, "owner", config.owner)?,
            loopback: address(&loopback, "loopback", config.loopback)?,
            device: address(&device, "device", config.device)?,
            mqtt: broker.broker().local_addr(),
            coap: coap::address(&datagrams, config.coap)?,
        };
        let (stop, stopped) = watch::channel(false);
        let hub = Arc::new(Hub::new(store.clone(), metrics.clone()));
        let webhooks = Arc::new(Webhooks::new(
            store.clone(),
            hub.clone(),
            metrics.clone(),
            app.clock.clone(),
            config.webhooks,
            home.owner_id(),
        ));
        let evidence = Arc::new(Evidence {
            hub,
            metrics: metrics.clone(),
            webhooks: webhooks.clone(),
            stopped: stopped.clone(),
        });
        let owner_tls: LiveTls = Arc::new(ArcSwap::from_pointee(tls::for_owners(&server)?));
        let device_tls: LiveTls = Arc::new(ArcSwap::from_pointee(tls::for_devices(&server)?));
        // Takes the sessions of the last run over, whose file is gone then; so it comes late.
        let settings = config.coap_settings;
        let (renewed, pairs) = watch::channel(server.clone());
        let datagrams = coap::Listener::open(datagrams, app.clone(), &home, pairs, settings)?;
        let looking = shown.watch(
            owner_tls.clone(),
            device_tls.clone(),
            renewed,
            stopped.clone(),
        );
        let facts = facts(addresses, &broker, app.clone(), datagrams.status());
        let parts = Parts::new(stopped.clone());
        let mut doors = vec![
            parts.begin("events", evidence.hub.clone().run(stopped.clone())),
            parts.begin("webhooks", webhooks.run(stopped.clone())),
            parts.begin("the watch over the service's certificate", looking),
        ];
        for (name, listener, live, hosts) in [
            ("owner", owner, Some(owner_tls), Vec::new()),
            ("loopback", loopback, None, loopback_names()),
        ] {
            let api = owner_api::Api {
                app: app.clone(),
                names: Arc::new(owner_api::Names {
                    scheme: if live.is_some() { "https" } else { "http" },
                    hosts,
                    port: address(&listener, name, config.owner)?.port(),
                }),
                facts: facts.clone(),
                audit_key: audit_key.clone(),
                evidence: evidence.clone(),
            };
            let door = Door {
                name,
                listener,
                manners: Manners {
                    // Whoever is on this machine has it anyway.
                    shared: live.is_some(),
                    ..owner_api::MANNERS
                },
                tls: live,
                admission: app.admission.clone(),
                clock: app.clock.clone(),
                metrics: metrics.clone(),
            };
            let service = TowerToHyperService::new(owner_api::router(api));
            doors.push(parts.begin("the owner API", door.serve(service, stopped.clone())));
        }
        let door = Door {
            name: "device",
            listener: device,
            tls: Some(device_tls),
            manners: device_api::MANNERS,
            admission: app.admission.clone(),
            clock: app.clock.clone(),
            metrics: metrics.clone(),
        };
        let for_devices = (app.clone(), metrics.clone());
        let service = service_fn(move |request| {
            let (app, metrics) = for_devices.clone();
            async move { device_api::counted(&app, &metrics, request).await }
        });
        let for_https = door.serve(service, stopped.clone());
        let lives = watch_lives(app.clone(), stopped.clone());
        let written = lists.run(doorkeeper.clone(), stopped.clone());
        let gate = doorkeeper.run(errands, stopped.clone());
        let uploads = app.clone().work_off(stopped.clone());
        doors.extend([
            parts.begin("the device API over HTTPS", for_https),
            parts.begin("the device API over CoAP", datagrams.serve(stopped.clone())),
            parts.begin("the watch over certificates of devices", lives),
            parts.begin("the writer of revocation lists", written),
            parts.begin("the gate of the MQTT broker", gate),
            parts.begin("the registrations in hand", uploads),
        ]);
        let keeper = parts.begin("the signer of the audit trail", keeper.run(stopped));
        write_run_file(&home, &addresses, broker.open())?;
        tracing::info!(owner = %addresses.owner, loopback = %addresses.loopback, device = %addresses.device, mqtt = %addresses.mqtt, coap = coap_word(&addresses), "service started");
        Ok(Self {
            addresses,
            app,
            broker,
            store,
            home,
            stop,
            parts,
            doors,
            keeper,
        })
    }

    /// What is bound.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The home it serves.
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The use cases, for callers in this process.
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// What the broker counted.
    pub fn broker_counters(&self) -> Snapshot {
        self.broker.broker().counters()
    }

    /// MQTT listeners besides the service's own.
    pub fn further_listeners(&self) -> &[Open] {
        further(self.broker.open())
    }

    /// Completes with a name when a part of the service has ended by an error of its own (the log has it), never otherwise. What
    /// the part did is done by nobody from then on: the service is to be [shut down](Self::shutdown) and started again.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            name = self.parts.failed() => name,
            name = self.broker.failed() => name,
        }
    }

    /// Stops accepting, finishes the requests in hand (at most five seconds), takes the DTLS sessions down for the next start,
    /// ends the broker, closes the store and removes `run.json`.
    pub async fn shutdown(self) {
        let Self {
            app,
            broker,
            store,
            home,
            stop,
            doors,
            keeper,
            ..
        } = self;
        stop.send_replace(true);
        for door in doors {
            // A door that panicked is closed as well.
            let _ = door.await;
        }
        broker.shutdown().await;
        drop(app);
        // Nothing is written behind this signature.
        if let Ok(mut keeper) = keeper.await {
            keeper.sign().await;
        }
        // Closing waits for the writer thread, and so must not hold up a runtime thread.
        let _ = tokio::task::spawn_blocking(move || drop(store)).await;
        if let Err(e) = keep::remove(&run_file(&home)) {
            tracing::info!(reason = %e, "cannot remove run.json");
        }
        tracing::info!("service ended");
    }
}

fn run_file(home: &Home) -> PathBuf {
    home.path().join("run.json")
}

fn write_run_file(home: &Home, addresses: &Addresses, open: &[Open]) -> Result<(), StartError> {
    let mut run = json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "listeners": listeners(addresses),
    });
    add_further(&mut run, open);
    keep::write_public(&run_file(home), run.to_string().as_bytes()).map_err(|source| {
        StartError::Home {
            home: home.path().to_owned(),
            source,
        }
    })
}

/// All but the service's own, which is the first.
fn further(open: &[Open]) -> &[Open] {
    open.get(1..).unwrap_or_default()
}

/// What else listens, if anything does.
fn add_further(data: &mut Value, open: &[Open]) {
    let more: Vec<Value> = further(open)
        .iter()
        .map(|open| json!({ "name": open.name, "address": open.address.to_string(), "level": level_word(open.level) }))
        .collect();
    if !more.is_empty() {
        data["gateway"] = more.into();
    }
}

/// As the gateway's settings call it.
pub const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Plain => "none",
        Level::Server => "server",
        Level::Mutual => "mutual",
    }
}

fn listeners(addresses: &Addresses) -> Value {
    json!({
        "owner": addresses.owner.to_string(),
        "loopback": addresses.loopback.to_string(),
        "device": addresses.device.to_string(),
        "mqtt": addresses.mqtt.to_string(),
        "coap": coap_word(addresses),
    })
}

/// Where it listens, or that it cannot.
fn coap_word(addresses: &Addresses) -> String {
    addresses
        .coap
        .map_or_else(|| "not built in".to_owned(), |address| address.to_string())
}

fn facts(
    addresses: Addresses,
    live: &LiveBroker,
    app: Arc<App>,
    coap: impl Fn() -> Value + Send + Sync + 'static,
) -> owner_api::StatusFacts {
    let broker: Weak<Broker> = Arc::downgrade(live.broker());
    let open = live.open().to_vec();
    Arc::new(move || {
        let mut data = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "policy": app.policy().as_str(),
            "listeners": listeners(&addresses),
            "broker": broker.upgrade().map(|broker| counters(&broker.counters())),
            "coap": coap(),
            "admission": app.admission.turned_away().json(),
        });
        add_further(&mut data, &open);
        data
    })
}

fn counters(counted: &Snapshot) -> Value {
    json!({
        "accepted": counted.accepted,
        "refusedTls": counted.refused_tls,
        "refusedConnect": counted.refused_connect,
        "refusedBusy": counted.refused_busy,
        "deniedPublish": counted.denied_publish,
        "deniedSubscribe": counted.denied_subscribe,
        "published": counted.published,
        "delivered": counted.delivered,
        "dropped": counted.dropped,
        "retainedRefused": counted.retained_refused,
        "sessions": counted.sessions,
        "connected": counted.connected,
    })
}

/// A page of another site that resolves its own name to 127.0.0.1 still sends that name as Host.
fn loopback_names() -> Vec<String> {
    ["localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec()
}

fn no_broker(error: ListenerError, own: SocketAddr) -> StartError {
    match error {
        ListenerError::Broker(BrokerError::Listen { address, source }) if address == own => {
            StartError::Listen {
                what: "mqtt",
                address,
                source,
            }
        }
        error => StartError::Mqtt(error),
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            what,
            address,
            source,
        })
}

fn address(
    listener: &TcpListener,
    what: &'static str,
    asked: SocketAddr,
) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen {
        what,
        address: asked,
        source,
    })
}

async fn open_store(home: &Home) -> Result<SqliteStore, StartError> {
    let path = home.database();
    let seal = SealKey::new(home.seal_key());
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, seal)).await;
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(e)) => Err(StartError::Open(e)),
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// Makes the key of `owner.key` known to the store: on the first start, or after the database was begun anew.
async fn register_owner_key(
    home: &Home,
    store: &SqliteStore,
    now: Timestamp,
) -> Result<(), StartError> {
    let hash = KeyText::hash(home.owner_key().expose());
    let failed = |source| StartError::Store {
        path: home.database(),
        source,
    };
    if store.key_by_hash(hash).await.map_err(failed)?.is_some() {
        return Ok(());
    }
    let key = ApiKey {
        team: home.owner_id(),
        name: OWNER_KEY_NAME.to_owned(),
        hash,
        role: Role::Owner,
        tags: Vec::new(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    match store.add_key(key, "service").await {
        Ok(()) => Ok(()),
        Err(AddKeyError::NameTaken { .. }) => {
            tracing::warn!(
                "the key in owner.key is not known to the database; use another key, or restore the file"
            );
            Ok(())
        }
        // It was entered a moment ago.
        Err(AddKeyError::NoTeam) => Ok(()),
        Err(AddKeyError::Store(e)) => Err(failed(e)),
    }
}
