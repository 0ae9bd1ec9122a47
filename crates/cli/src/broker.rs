//! `sectag mqtt broker`: our broker as the listener of the keys `mqtt.bind.*` and `mqtt.external.*`. `sectag up` opens the
//! same listeners beside its own when such a key is set.
//!
//! ```text
//!   tedge.toml, environment ──► Settings ──► findings ── an error ends the start
//!                                   └──────► listeners: address, level, files ──► server::listeners
//! ```
//! Every TLS key means TLS: a listener with one of them is opened with TLS, or not at all.

mod addresses;
mod words;

use crate::args::{self, Global};
use crate::config;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::mqtt::in_directory;
use crate::output;
use crate::up::{StopSignal, ended};
use sectag_gateway::facts::Facts;
use sectag_gateway::findings::{self, Finding, FindingId, Severity};
use sectag_gateway::keys::KeyName;
use sectag_gateway::{External, Level, Settings};
use sectag_keep as keep;
use sectag_mqtt::BrokerLimits;
use sectag_pki::topics::Rules;
use sectag_server::listeners::{
    ClientFiles, ListenerError, LiveBroker, MqttListener, Open, TlsFiles,
};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

const NOTHING_FIX: &str = "sectag config set mqtt.bind.enabled true    or    sectag config set mqtt.external.bind.port 8883";

/// The listeners of the keys, and what their clients need to know.
pub(crate) struct Gateway {
    settings: Settings,
    facts: Facts,
    home: std::path::PathBuf,
    pub(crate) listeners: Vec<MqttListener>,
}

/// `sectag mqtt broker`
pub(crate) async fn broker(global: &Global, place: &Place, args: &args::Broker) -> Outcome {
    let rules = rules(&args.rules)?;
    let gateway = Gateway::of_keys(global, place, rules).await?;
    if gateway.listeners.is_empty() {
        return Err(Fault::untried(
            "there is nothing to listen on: mqtt.bind.enabled is false, and no mqtt.external key is set",
        )
        .hint(match &global.config_dir {
            Some(directory) => in_directory(NOTHING_FIX, directory),
            None => NOTHING_FIX.to_owned(),
        }));
    }
    // Whoever reads what is printed may ask for the end at once.
    let mut stop = StopSignal::listen()?;
    let mut broker = LiveBroker::start(gateway.listeners.clone(), BrokerLimits::default())
        .await
        .map_err(not_started)?;
    if global.json {
        output::json(
            &json!({ "pid": std::process::id(), "listeners": gateway.json(broker.open()) }),
        );
    }
    eprintln!("sectag {} is a broker\n", env!("CARGO_PKG_VERSION"));
    eprint!("{}", gateway.look_around(broker.open()));
    eprintln!("\nstop it with Ctrl-C");
    let failed = stop.came_or(broker.failed()).await;
    eprintln!("stopping");
    broker.shutdown().await;
    ended(failed)
}

fn not_started(error: ListenerError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// The topic rules of a file, if one is given.
pub(crate) fn rules(args: &args::TopicRules) -> Outcome<Option<Arc<Rules>>> {
    let Some(path) = &args.topic_rules else {
        return Ok(None);
    };
    let text = keep::read_public(path)?
        .ok_or_else(|| Fault::untried(format!("`{}` does not exist", path.display())))?;
    let text = String::from_utf8(text)
        .map_err(|_| Fault::untried(format!("`{}` is not text", path.display())))?;
    let rules = Rules::parse(&text)
        .map_err(|error| Fault::untried(format!("`{}`, {error}", path.display())))?;
    Ok(Some(Arc::new(rules)))
}

impl Gateway {
    /// For `sectag up`: `None` when no key of a listener is set, for then it listens where it always does.
    pub(crate) async fn if_asked(
        global: &Global,
        place: &Place,
        rules: Option<Arc<Rules>>,
    ) -> Outcome<Option<Self>> {
        let (config, _) = config::load(global, place)?;
        let concerns =
            |name: &str| name.starts_with("mqtt.bind.") || name.starts_with("mqtt.external.");
        let said = KeyName::all()
            .filter(|key| concerns(key.name()))
            .any(|key| config.is_said(&sectag_gateway::keys::Slot::of(key)));
        match said {
            true => Self::of_keys(global, place, rules).await.map(Some),
            false => Ok(None),
        }
    }

    /// Reads the keys, judges them, and says what is odd.
    async fn of_keys(global: &Global, place: &Place, rules: Option<Arc<Rules>>) -> Outcome<Self> {
        let (_, settings) = config::load(global, place)?;
        let asked = settings.clone();
        // Resolving a name may take as long as the resolver does.
        let facts = tokio::task::spawn_blocking(move || {
            Facts::gather(&asked, &sectag_host::machine::machine(&asked))
        })
        .await?;
        judge(&settings, &facts, global.config_dir.as_deref())?;
        let mut listeners = Vec::new();
        if settings.internal.enabled {
            listeners.push(MqttListener {
                name: "internal".to_owned(),
                addresses: vec![SocketAddr::new(
                    settings.internal.address,
                    settings.internal.port.get(),
                )],
                tls: None,
                rules: None,
            });
        }
        if let Some(external) = &settings.external {
            listeners.push(MqttListener {
                name: "external".to_owned(),
                addresses: addresses::of(external, &facts.machine)?,
                tls: tls(external)?,
                rules,
            });
        }
        Ok(Self {
            settings,
            facts,
            home: place.home.clone(),
            listeners,
        })
    }

    /// An address of these listeners that `own` has as well.
    pub(crate) fn overlap(&self, own: SocketAddr) -> Option<(&MqttListener, SocketAddr)> {
        let shares = |other: &SocketAddr| {
            own.port() != 0
                && own.port() == other.port()
                && (own.ip() == other.ip()
                    || own.ip().is_unspecified()
                    || other.ip().is_unspecified())
        };
        self.listeners.iter().find_map(|listener| {
            let found = listener.addresses.iter().copied().find(shares)?;
            Some((listener, found))
        })
    }

    /// What a desktop client needs for each of them.
    pub(crate) fn look_around(&self, open: &[Open]) -> String {
        words::look_around(&self.settings, &self.facts, &self.home, open)
    }

    /// The same as data.
    pub(crate) fn json(&self, open: &[Open]) -> serde_json::Value {
        words::json(&self.settings, &self.facts, &self.home, open)
    }
}

/// Says what is odd, and refuses what would not work.
fn judge(settings: &Settings, facts: &Facts, directory: Option<&Path>) -> Outcome {
    let internal = |finding: &Finding| {
        let about = finding.values.first();
        finding.id == FindingId::E16 && about.is_some_and(|(key, _)| key.starts_with("mqtt.bind."))
    };
    let mut found = findings::for_listener(settings, facts);
    found.extend(findings::find(settings, facts).into_iter().filter(internal));
    // Our broker reads every file of a directory; only OpenSSL needs links by hash.
    found.retain(|finding| finding.id != FindingId::E18);
    for finding in &mut found {
        if let Some(directory) = directory {
            finding.fix = in_directory(&finding.fix, directory);
        }
    }
    let (errors, rest): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    for finding in rest {
        eprintln!("{} {}: {}", finding.severity, finding.id, finding.sentence);
        if !finding.fix.is_empty() {
            eprintln!("  {}", finding.fix);
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let join = |of: fn(&Finding) -> String, between: &str| {
        errors.iter().map(of).collect::<Vec<_>>().join(between)
    };
    let sentence = |finding: &Finding| format!("{} ({})", finding.sentence, finding.id);
    Err(Fault::untried(join(sentence, "\nerror: "))
        .hint(join(|finding| finding.fix.clone(), "\nhint: ")))
}

/// The files of the level that the keys ask for. Findings say more; what they overlook must not end in plaintext.
fn tls(external: &External) -> Outcome<Option<TlsFiles>> {
    let level = external.level();
    let (certificate, key) = match (level, &external.cert_file, &external.key_file) {
        (Level::None, ..) => return Ok(None),
        (_, Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => {
            return Err(incomplete(
                "mqtt.external.cert_file and mqtt.external.key_file are",
            ));
        }
    };
    let clients = match (level, &external.ca_path) {
        (Level::Mutual, Some(authorities)) => Some(ClientFiles {
            authorities: authorities.clone(),
            revocations: external.crl_file.clone(),
            revocations_required: external.crl_file.is_some(),
            teams: None,
        }),
        (Level::Mutual, None) => return Err(incomplete("mqtt.external.ca_path is")),
        _ => None,
    };
    Ok(Some(TlsFiles {
        certificate,
        key,
        clients,
    }))
}

fn incomplete(what: &str) -> Fault {
    Fault::untried(format!(
        "a TLS key of mqtt.external is set, and {what} needed for TLS"
    ))
    .hint("`sectag config list mqtt.external` shows them; set what is missing, or unset the others")
}

/// Two listeners of one process that want the same port.
pub(crate) fn overlap(gateway: &Gateway, own: SocketAddr) -> Outcome {
    let Some((listener, address)) = gateway.overlap(own) else {
        return Ok(());
    };
    let key = match listener.name.as_str() {
        "internal" => "mqtt.bind.port",
        _ => "mqtt.external.bind.port",
    };
    Err(Fault::untried(format!(
        "the {} MQTT listener wants {address}, and the service's own listener is on {own}",
        listener.name
    ))
    .hint(format!(
        "move one of them: `--listen-mqtt {}:{}`, or `sectag config set {key} {}`",
        own.ip(),
        free_beside(own.port()),
        free_beside(own.port()),
    )))
}

fn free_beside(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(8884)
}

/// A path that exists as text, for rows and JSON.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
