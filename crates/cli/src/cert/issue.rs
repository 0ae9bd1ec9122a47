//! `sectag cert issue`: a key and a certificate from the home's authorities, written as a pair.

use crate::args::{Global, Issue, IssueArgs, IssueClient, IssueServer};
use crate::ca::{Entry, Folder, Kind, Passphrase, broken, host_names, kept, moment};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_gateway::config::Config;
use sectag_gateway::keys::KeyName;
use sectag_gateway::value::Value;
use sectag_gateway::{Host, Settings};
use sectag_pki::{Certificate, KeyPair, KeyType, ServerName, Terms};
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const DAY_S: u64 = 86_400;
/// `certificate.validity.requested_duration` by default.
const DAYS_DEFAULT: u64 = 365;

/// One certificate with a new key.
pub(crate) struct Order {
    pub(crate) kind: Kind,
    /// Identity of a client; what a server is called in the register.
    pub(crate) name: String,
    /// Of a server.
    pub(crate) names: Vec<ServerName>,
    pub(crate) key: KeyType,
    pub(crate) lifetime_s: u64,
    pub(crate) crl_url: Option<String>,
    pub(crate) paths: Paths,
    /// Replace what is there.
    pub(crate) force: bool,
}

/// Where a pair is.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Paths {
    /// `DIR/NAME.crt` and `DIR/NAME.key`, absolute; the folder is `HOME/pki` by default.
    pub(crate) fn of(place: &Place, dir: Option<&Path>, name: &str) -> Outcome<Self> {
        let dir = match dir {
            Some(dir) => std::path::absolute(dir)?,
            None => std::path::absolute(&place.home)?.join("pki"),
        };
        // The register remembers it as text.
        if dir.to_str().is_none() {
            let sentence = format!("the folder `{}` is not written in UTF-8", dir.display());
            return Err(Fault::untried(sentence).hint("rename it, or write elsewhere with --dir"));
        }
        Ok(Self {
            certificate: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        })
    }
}

pub(super) fn issue(global: &Global, place: &Place, verb: &Issue) -> Outcome {
    let (folder, configured) = (Folder::existing(place)?, configured(global, place));
    let (order, arguments) = match verb {
        Issue::Server(arguments) => (
            server(place, configured.as_ref(), arguments)?,
            &arguments.issue,
        ),
        Issue::Client(arguments) => (
            client(place, configured.as_ref(), arguments)?,
            &arguments.issue,
        ),
    };
    if arguments.dir.is_none() {
        sectag_keep::private_dir(&place.home.join("pki")).map_err(kept)?;
    }
    let passphrase = Passphrase::new(&arguments.passphrase);
    let certificate = issue_pair(&folder, &order, &passphrase, super::now_s())?;
    said(global, &order, &certificate)
}

/// Makes a key, has it certified, writes that down, and only then writes the pair.
pub(crate) fn issue_pair(
    folder: &Folder,
    order: &Order,
    passphrase: &Passphrase,
    now_s: u64,
) -> Outcome<Certificate> {
    let Paths { certificate, key } = &order.paths;
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    match (is_there(certificate), is_there(key)) {
        _ if order.force => {}
        (false, false) => {}
        (true, true) => {
            let sentence = format!("`{}` is there already", certificate.display());
            return Err(Fault::no(sentence).hint(
                "`sectag cert renew` renews it; --force replaces it, --dir writes elsewhere",
            ));
        }
        (has_certificate, _) => {
            let (half, other) = match has_certificate {
                true => (certificate, key),
                false => (key, certificate),
            };
            let verb = match order.kind {
                Kind::Server => "server --force".to_owned(),
                Kind::Client => format!("client {} --force", order.name),
            };
            return Err(Fault::no(format!(
                "`{}` is there, and `{}`, which belongs to it, is missing",
                half.display(),
                other.display()
            ))
            .hint(format!(
                "bring it back, or make both anew: `sectag cert issue {verb}`"
            )));
        }
    }
    if let Some(dir) = certificate.parent().filter(|dir| !dir.is_dir()) {
        return Err(
            Fault::untried(format!("there is no folder `{}`", dir.display()))
                .hint("make it first, with the owner it should have"),
        );
    }
    let authority = folder.authority(order.kind.stem(), passphrase)?;
    let fresh = KeyPair::generate(order.key).map_err(|e| broken(key, &e))?;
    let terms = Terms {
        now_s,
        lifetime_s: order.lifetime_s,
        crl_url: order.crl_url.as_deref(),
    };
    let made = match order.kind {
        Kind::Server => authority.issue_local_server(&fresh.spki_der(), &order.names, &terms),
        Kind::Client => authority.issue_local_client(&fresh.spki_der(), &order.name, &terms),
    }
    .map_err(Fault::no_because)?;
    let mut entry = Entry::new(
        order.kind,
        &order.name,
        &made,
        authority.certificate(),
        order.crl_url.as_deref(),
    );
    entry.certificate = Some(certificate.clone());
    entry.key = Some(key.clone());
    folder.record(entry)?;
    let chain = made.pem() + &folder.chain(order.kind)?;
    sectag_keep::replace_pair(
        certificate,
        chain.as_bytes(),
        key,
        fresh.to_pem().as_bytes(),
    )
    .map_err(kept)?;
    // Its mode is that of the key it replaces, which its reader may need; nobody needs this.
    let mode = std::fs::metadata(key)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        std::fs::set_permissions(key, Permissions::from_mode(mode & !0o007))?;
    }
    // A renewal of what was replaced would bring the old names back.
    for path in [key, certificate] {
        sectag_keep::remove(&sectag_keep::new_beside(path)).map_err(kept)?;
    }
    Ok(made)
}

fn server(
    place: &Place,
    configured: Option<&(Config, Settings)>,
    arguments: &IssueServer,
) -> Outcome<Order> {
    let name = arguments.name.as_str();
    if let Some(why) = sectag_pki::identity_problem(name) {
        return Err(Fault::no(format!(
            "`{name}` cannot name a certificate here: {why}"
        )));
    }
    let mut names = Vec::new();
    if !arguments.only_given {
        names = default_names(configured.map(|(_, settings)| settings));
    }
    for name in &arguments.sans {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    order(
        place,
        configured,
        Kind::Server,
        name,
        names,
        &arguments.issue,
    )
}

fn client(
    place: &Place,
    configured: Option<&(Config, Settings)>,
    arguments: &IssueClient,
) -> Outcome<Order> {
    let name = arguments.name.as_str();
    check_identity(name, arguments.device)?;
    order(
        place,
        configured,
        Kind::Client,
        name,
        Vec::new(),
        &arguments.issue,
    )
}

/// Amendment A8: fit for topics, and shaped like a device id only when it is one.
pub(super) fn check_identity(name: &str, is_device: bool) -> Outcome {
    if let Some(why) = sectag_pki::identity_problem(name) {
        return Err(Fault::no(format!(
            "`{name}` cannot be the identity of a client: {why}"
        ))
        .hint("the identity is the user name at the broker and a level of its topics"));
    }
    if !sectag_pki::looks_like_device_id(name) {
        return Ok(());
    }
    let id = name.parse::<sectag_proto::DeviceId>();
    match id {
        Ok(id) if id.to_string() == name && is_device => Ok(()),
        Ok(id) if id.to_string() == name => Err(Fault::no(format!(
            "`{name}` has the shape of a device id; a client under that name could act as the device"
        ))
        .hint("choose another name; devices get theirs by provisioning, or with --device if this is one")),
        _ => Err(Fault::no(format!(
            "`{name}` looks like a device id and is none: those are written in lower case with hyphens"
        ))
        .hint("choose another name")),
    }
}

fn order(
    place: &Place,
    configured: Option<&(Config, Settings)>,
    kind: Kind,
    name: &str,
    names: Vec<ServerName>,
    arguments: &IssueArgs,
) -> Outcome<Order> {
    Ok(Order {
        kind,
        name: name.to_owned(),
        names,
        key: arguments.key.into(),
        lifetime_s: lifetime_s(configured.map(|(config, _)| config), arguments.days),
        crl_url: arguments.crl_url.clone(),
        paths: Paths::of(place, arguments.dir.as_deref(), name)?,
        force: arguments.force,
    })
}

/// The days given, else those that are configured.
pub(super) fn lifetime_s(config: Option<&Config>, days: Option<u64>) -> u64 {
    let configured = || duration_s(config?, "certificate.validity.requested_duration");
    // Whole days are used (spec/gateway-config §2.5).
    let days = days.unwrap_or_else(|| configured().map_or(DAYS_DEFAULT, |s| (s / DAY_S).max(1)));
    days.saturating_mul(DAY_S)
}

/// A duration among the keys.
pub(super) fn duration_s(config: &Config, key: &str) -> Option<u64> {
    match config.get(KeyName::exact(key)?)? {
        (Value::Duration(_, seconds), _) => Some(seconds),
        _ => None,
    }
}

/// What is configured; a configuration that cannot be read is said and left out.
pub(super) fn configured(global: &Global, place: &Place) -> Option<(Config, Settings)> {
    match crate::config::load(global, place) {
        Ok(configured) => Some(configured),
        Err(fault) => {
            eprintln!("{}; defaults are used", fault.warning());
            None
        }
    }
}

/// The names of a server certificate without anything given (RULE 20): this machine's, the loopback's, and what the
/// settings say about listener and clients.
pub(crate) fn default_names(settings: Option<&Settings>) -> Vec<ServerName> {
    let mut texts = host_names();
    texts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    if let Some(settings) = settings {
        let bound = settings.external.as_ref().and_then(|e| e.address.as_ref());
        for host in bound.into_iter().chain([&settings.client.host]) {
            match host {
                Host::Ip(ip) if ip.is_unspecified() => eprintln!(
                    "note: the listener takes all addresses; add those that clients use: --san ADDRESS"
                ),
                host => texts.push(host.to_string()),
            }
        }
    }
    let mut names: Vec<ServerName> = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            // For example with an underscore: nobody could check such a name.
            Err(_) => eprintln!("note: `{text}` cannot be a name in a certificate; it is left out"),
        }
    }
    names
}

fn said(global: &Global, order: &Order, certificate: &Certificate) -> Outcome {
    let facts =
        sectag_pki::show(certificate.der()).map_err(|e| broken(&order.paths.certificate, &e))?;
    let Paths { certificate, key } = &order.paths;
    if global.json {
        let mut value = super::value_of(&facts);
        value["name"] = json!(order.name);
        value["kind"] = json!(order.kind.word());
        value["certificate"] = json!(certificate);
        value["key"] = json!(key);
        output::json(&value);
    } else {
        let lines = [
            ("certificate", certificate.display().to_string()),
            ("key", key.display().to_string()),
            ("names", super::or_dash(facts.names.join(", "))),
            ("until", moment(facts.not_after_s)),
            ("serial", facts.serial_hex.clone()),
        ];
        for (name, text) in lines {
            if !(name == "names" && order.kind == Kind::Client) {
                output::print(&format!("{name:12} {text}\n"));
            }
        }
    }
    let (side, reader) = match order.kind {
        Kind::Server => ("mqtt.external", "the broker"),
        Kind::Client => ("mqtt.client.auth", "the client"),
    };
    let alone = std::fs::metadata(key).is_ok_and(|found| found.permissions().mode() & 0o077 == 0);
    if alone {
        eprintln!(
            "the key can be read by its owner alone; {reader} must be able to (`sectag gateway apply` sees to that for this machine)"
        );
    }
    eprintln!(
        "next: sectag config set {side}.cert_file {} {side}.key_file {}",
        certificate.display(),
        key.display()
    );
    Ok(())
}
