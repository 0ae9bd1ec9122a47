//! `gateway init`: the whole recipe, by the same functions as the verbs it stands for.
//!
//! ```text
//!   ca init ─► cert issue server, client ─► CA files ─► config set ─► plan ─► apply
//! ```
//! What is there already is kept, so it may be run again, also for another level.

use super::{Desk, apply};
use crate::args::{ApplyGateway, Init, LevelName, PassphraseArgs};
use crate::ca::{self, Folder, Kind, Passphrase, host_names};
use crate::cert::{Order, Paths, default_names, issue_pair};
use crate::config;
use crate::fault::{Fault, Outcome};
use sectag_gateway::findings::{Asked, Finding};
use sectag_gateway::verbs::{Judge, Operation, Scene, TypedKey, change};
use sectag_gateway::{Level, Settings};
use sectag_pki::{KeyType, ServerName};
use std::path::{Path, PathBuf};

const YEAR_S: u64 = 365 * 86_400;
/// Of a plaintext external listener: 1883 is the internal one's.
const PORT_PLAIN: &str = "1884";

/// `sectag gateway init`
pub(super) async fn init(desk: &Desk<'_>, args: &Init) -> Outcome {
    let place = desk.place;
    apply::own_dir(&place.home)?;
    let name = client_name(args)?;
    let mut wanted = Keys::default();
    let port = args.port.map(|port| port.to_string());
    if args.level == LevelName::None {
        wanted.set(
            "mqtt.external.bind.port",
            port.unwrap_or_else(|| PORT_PLAIN.to_owned()),
        );
        wanted.unset(&SERVER_KEYS);
        wanted.unset(&MUTUAL_KEYS);
    } else {
        let folder = ca::ensure(place)?;
        let server = server(desk, args, &folder)?;
        let trust = written(desk, "servers-ca.crt", &ca::servers_bundle(&folder)?)?;
        match port {
            Some(port) => wanted.set("mqtt.external.bind.port", port),
            // What `--level none` chose is not for TLS, whose port follows from the level.
            None if is_plain_port(desk) => wanted.unset(&["mqtt.external.bind.port"]),
            None => {}
        }
        wanted.path("mqtt.external.cert_file", &server.certificate);
        wanted.path("mqtt.external.key_file", &server.key);
        wanted.set("mqtt.client.host", "localhost".to_owned());
        wanted.path("mqtt.client.auth.ca_file", &trust);
        if args.level == LevelName::Mutual {
            let client = pair(desk, &folder, Kind::Client, &name, Vec::new())?;
            let clients = written(desk, "clients-ca.crt", &ca::clients_bundle(&folder)?)?;
            wanted.path("mqtt.external.ca_path", &clients);
            let list = folder.crl(Kind::Client);
            if list.exists() {
                wanted.path("mqtt.external.crl_file", &list);
            }
            wanted.path("mqtt.client.auth.cert_file", &client.certificate);
            wanted.path("mqtt.client.auth.key_file", &client.key);
        } else {
            wanted.unset(&MUTUAL_KEYS);
        }
    }
    if let Some(address) = &args.address {
        wanted.set("mqtt.external.bind.address", address.clone());
    }
    wanted.write(desk)?;
    let how = ApplyGateway {
        dry_run: args.dry_run,
        ..ApplyGateway::default()
    };
    apply::apply(desk, &how).await
}

/// Keys that a level has, and that the levels below it do not.
const SERVER_KEYS: [&str; 5] = [
    "mqtt.external.cert_file",
    "mqtt.external.key_file",
    "mqtt.client.auth.ca_file",
    "mqtt.client.auth.ca_dir",
    "mqtt.client.server_name",
];
const MUTUAL_KEYS: [&str; 4] = [
    "mqtt.external.ca_path",
    "mqtt.external.crl_file",
    "mqtt.client.auth.cert_file",
    "mqtt.client.auth.key_file",
];

#[derive(Default)]
struct Keys(Vec<(&'static str, Option<String>)>);

impl Keys {
    fn set(&mut self, key: &'static str, value: String) {
        self.0.push((key, Some(value)));
    }

    fn path(&mut self, key: &'static str, path: &Path) {
        self.set(key, path.display().to_string());
    }

    fn unset(&mut self, keys: &[&'static str]) {
        self.0.extend(keys.iter().map(|key| (*key, None)));
    }

    /// One transaction, as `config set` does it.
    fn write(self, desk: &Desk<'_>) -> Outcome {
        let mut operations = Vec::new();
        for (key, value) in self.0 {
            let typed = TypedKey::parse(key).map_err(Fault::untried)?;
            operations.push(match value {
                Some(value) => {
                    eprintln!("set {key} {value}");
                    Operation::Set(typed, value)
                }
                None => Operation::Unset(typed),
            });
        }
        let environment = config::environment();
        let scene = Scene {
            locations: &config::locations(desk.global, desk.place)?,
            environment: &environment,
            profile: None,
            program: "sectag",
            judge: &Later,
        };
        let said = change(&scene, &operations, false);
        if said.exit == 0 {
            Ok(())
        } else {
            Err(Fault::with_code(
                said.exit,
                said.stderr.trim_start_matches("Error: ").trim_end(),
            ))
        }
    }
}

/// The plan judges, once all keys are there.
struct Later;

impl Judge for Later {
    fn findings(&self, _: &Settings, _: &Asked) -> Vec<Finding> {
        Vec::new()
    }
}

fn is_plain_port(desk: &Desk<'_>) -> bool {
    let external = config::load(desk.global, desk.place)
        .ok()
        .and_then(|(_, settings)| settings.external);
    external.is_some_and(|external| {
        external.level() == Level::None && external.port.value.to_string() == PORT_PLAIN
    })
}

fn server(desk: &Desk<'_>, args: &Init, folder: &Folder) -> Outcome<Paths> {
    let settings = config::load(desk.global, desk.place)
        .ok()
        .map(|(_, settings)| settings);
    let mut asked: Vec<ServerName> = Vec::new();
    for given in args.san.iter().chain(&args.address) {
        let name: ServerName = given
            .parse()
            .map_err(|e| Fault::no_because(anyhow::Error::new(e)))?;
        let wide = matches!(&name, ServerName::Ip(ip) if ip.is_unspecified());
        if !wide && !asked.contains(&name) {
            asked.push(name);
        }
    }
    has_names(desk, &asked)?;
    let mut names = default_names(settings.as_ref());
    asked.retain(|name| !names.contains(name));
    names.extend(asked);
    pair(desk, folder, Kind::Server, "server", names)
}

/// A server certificate that is there is kept; it must have what is asked for now.
fn has_names(desk: &Desk<'_>, asked: &[ServerName]) -> Outcome {
    let path = Paths::of(desk.place, None, "server")?.certificate;
    if !path.exists() {
        return Ok(());
    }
    let has = crate::cert::names_of(&path)?;
    let lacks: Vec<String> = asked
        .iter()
        .filter(|name| !has.contains(name))
        .map(|name| match name {
            ServerName::Dns(name) => name.clone(),
            ServerName::Ip(address) => address.to_string(),
        })
        .collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let lacks = lacks.join(",");
    Err(Fault::no(format!(
        "`{}` is kept, and it is not for {lacks}",
        path.display()
    ))
    .hint(format!(
        "`sectag cert issue server --force --san {lacks}` makes another with this machine's names and these; then run this again"
    )))
}

/// What this gateway's own client is called: fit for a certificate, before anything is made.
fn client_name(args: &Init) -> Outcome<String> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let host = host_names().into_iter().next().unwrap_or_default();
            let label = host.split('.').next().unwrap_or_default();
            if label.is_empty() { "gateway" } else { label }.to_owned()
        }
    };
    let wrong = if name == "server" {
        Some("it is the name of the listener's certificate here")
    } else if sectag_pki::looks_like_device_id(&name) {
        Some("it is shaped like a device id, and a gateway is none")
    } else {
        sectag_pki::identity_problem(&name)
    };
    match wrong {
        None => Ok(name),
        Some(why) => Err(
            Fault::no(format!("`{name}` cannot be this gateway's name: {why}"))
                .hint("the name is its user name at the broker; choose one with --name"),
        ),
    }
}

/// A key and its certificate; those that are there stay.
fn pair(
    desk: &Desk<'_>,
    folder: &Folder,
    kind: Kind,
    name: &str,
    names: Vec<ServerName>,
) -> Outcome<Paths> {
    let paths = Paths::of(desk.place, None, name)?;
    if let Some(dir) = paths.certificate.parent() {
        apply::own_dir(dir)?;
    }
    if paths.certificate.exists() && paths.key.exists() {
        eprintln!("kept {}", paths.certificate.display());
        return Ok(paths);
    }
    let order = Order {
        kind,
        name: name.to_owned(),
        names,
        key: KeyType::default(),
        lifetime_s: YEAR_S,
        crl_url: None,
        paths: paths.clone(),
        force: false,
    };
    let passphrase = Passphrase::new(&PassphraseArgs::default());
    issue_pair(folder, &order, &passphrase, sectag_host::machine::now_s())?;
    eprintln!("issued {}", paths.certificate.display());
    Ok(paths)
}

/// What is trusted, as a file beside the pairs.
fn written(desk: &Desk<'_>, name: &str, bundle: &str) -> Outcome<PathBuf> {
    let path = std::path::absolute(&desk.place.home)?
        .join("pki")
        .join(name);
    sectag_keep::write_public(&path, bundle.as_bytes())?;
    Ok(path)
}
