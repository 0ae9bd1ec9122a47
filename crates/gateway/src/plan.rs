//! What `sectag gateway apply` will do, as a value: files with their differences, steps in order with reasons, findings.
//!
//! ```text
//!   Settings, what runs now, Ground (files, who may read them) ──► make ──► Plan ──► shown by `plan`, done by `apply`
//! ```
//!
//! Nothing is done here, and no private key is read: a key that must be where the broker can read it is a
//! [`NewContent::CopyOf`] with owner and mode.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::facts::Facts;
use crate::findings::{self, Finding, FindingId};
use crate::mosquitto::{
    BrokerVersion, Extras, Files, Overlay, Placed, Rendered, Resolved, render, within,
};
use crate::restart::{self, Action, Content, Step};
use crate::{Client, Host, Level, Settings, Sourced};

mod copies;
mod diff;
mod main_file;

pub use diff::unified;

use copies::Copies;
use main_file::Main;

/// Name of our file; it is the only one in its directory that mosquitto reads.
pub const FRAGMENT: &str = "sectag-listener.conf";
/// Where the files go when the broker's user cannot reach the home: `/etc/mosquitto/sectag`, beside
/// `/etc/mosquitto/mosquitto.conf` (amendment A5).
pub fn beside_main(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("/")).join("sectag")
}

/// Everything that `apply` would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The broker it is made for.
    pub version: BrokerVersion,
    /// Level of the external listener; `None` without one.
    pub level: Option<Level>,
    /// The broker's main file.
    pub main: PathBuf,
    /// Our file.
    pub fragment: PathBuf,
    /// Text of our file, also when it is the same as the one on disk.
    pub fragment_text: String,
    /// The line in the main file that includes our directory.
    pub include: Include,
    /// The broker's user cannot reach the home, so the files are under [`beside_main`].
    pub outside_home: bool,
    /// A host name of the configuration and the address it stands for.
    pub resolved: Option<(String, IpAddr)>,
    /// Files to write, in the order of writing; the main file is last, so that it never includes what is not there.
    pub files: Vec<FileChange>,
    /// What to do, in order. [`Action::WriteFiles`] writes `files`.
    pub steps: Vec<Step>,
    /// What is worth knowing and stops nothing.
    pub findings: Vec<Finding>,
}

/// The line that makes mosquitto read our file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The line itself, for people who must add it by hand.
    pub line: String,
    /// Its number in the main file, from 1, when it is in place.
    pub number: usize,
    /// It is there already.
    pub present: bool,
}

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Where.
    pub path: PathBuf,
    /// Its text now; `None` when there is no such file or its text is not to be shown.
    pub old: Option<String>,
    /// What it becomes.
    pub new: NewContent,
    /// Unified difference of texts; empty for copies.
    pub diff: String,
    /// Mode bits it gets; `None`: those of the file that is there.
    pub mode: Option<u32>,
    /// User that will own it; `None`: who owns it now, or whoever runs `apply`.
    pub owner: Option<String>,
    /// Why, one clause.
    pub why: String,
}

/// What a file becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewContent {
    /// This text.
    Text(String),
    /// The bytes of this file.
    CopyOf(PathBuf),
}

impl FileChange {
    /// Which content the broker must read anew, for a copy.
    fn content(&self) -> Option<Content> {
        let NewContent::CopyOf(_) = self.new else {
            return None;
        };
        Some(match self.path.file_name()?.to_str()? {
            "server.key" | "server.crt" => Content::ServerPair,
            "clients-ca.crt" => Content::ClientsAuthority,
            "clients.crl" => Content::RevocationList,
            _ => Content::Access,
        })
    }
}

/// What the plan must know about the machine.
pub trait Ground: Files {
    /// May the broker's user read this file or directory where it is?
    fn broker_reads(&self, path: &Path) -> bool;
    /// May the broker's user pass through this directory? It need not exist: then the nearest that does counts.
    fn broker_reaches(&self, directory: &Path) -> bool;
    /// Do both files exist with the same bytes?
    fn same_bytes(&self, a: &Path, b: &Path) -> bool;
    /// Does the file exist with this mode and owner?
    fn is_kept_as(&self, path: &Path, mode: u32, owner: Option<&str>) -> bool;
}

/// What a plan is made from.
pub struct Inputs<'a> {
    /// What shall be.
    pub settings: &'a Settings,
    /// What runs now, as far as the last `apply` knows; `None` before the first.
    pub running: Option<&'a Settings>,
    /// Files whose content changed since.
    pub contents: &'a [Content],
    /// Passwords, rules, plugins.
    pub extras: &'a Extras,
    /// The files that the settings name, and the machine.
    pub facts: &'a Facts,
    /// The broker.
    pub version: BrokerVersion,
    /// Its main file, `/etc/mosquitto/mosquitto.conf` as a rule.
    pub main: &'a Path,
    /// Who the broker becomes after its start, `mosquitto` as a rule.
    pub broker_user: &'a str,
    /// Sectag's home.
    pub home: &'a Path,
    /// The machine.
    pub ground: &'a dyn Ground,
}

impl Plan {
    /// True when nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.steps.is_empty()
    }

    /// Steps that a person, or another host, must do.
    pub fn for_people(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.action.is_ours())
    }
}

/// Makes the plan.
///
/// # Errors
/// All findings, worst first, when one of them is an error (RULE 12): those of the settings
/// ([`crate::findings::find`]), of the generator, and of the broker's other files.
pub fn make(inputs: &Inputs<'_>) -> Result<Plan, Vec<Finding>> {
    let in_home = inputs.home.join("mosquitto");
    let outside_home = !inputs.ground.broker_reaches(&in_home);
    let (directory, other) = if outside_home {
        (beside_main(inputs.main), in_home)
    } else {
        (in_home, beside_main(inputs.main))
    };
    let main = Main::read(inputs, &directory, &other);
    let mut resolved = Resolved::of(inputs.settings, inputs.facts);
    let mut findings = findings::find(inputs.settings, inputs.facts);
    let mut copies = Copies::new(inputs, &directory);
    let mut extras = inputs.extras.clone();
    resolved.paths = copies.all(resolved.authorities, &mut extras);
    copies.forget_cured(&mut findings);
    let mut files = copies.files;

    let fragment = directory.join(FRAGMENT);
    let rendered = render(inputs.settings, &resolved, &extras, inputs.version);
    let from_file = match &rendered {
        Ok(rendered) => {
            let placed = Placed {
                main: inputs.main,
                fragment: &fragment,
                text: &rendered.text,
            };
            let mut notes = rendered.notes.clone();
            let files = Overlay {
                below: inputs.ground,
                above: BTreeMap::from([(inputs.main.to_owned(), Some(main.without.clone()))]),
            };
            notes.extend(within(placed, &files, inputs.version));
            notes.extend(main.finding.clone());
            notes
        }
        Err(errors) => errors.clone(),
    };
    // The settings' findings and the generator's know the same rules; one sentence for each is enough.
    let known: Vec<FindingId> = findings.iter().map(|finding| finding.id).collect();
    findings.extend(
        from_file
            .into_iter()
            .filter(|finding| !known.contains(&finding.id)),
    );
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.id));
    let rendered = match rendered {
        Ok(rendered) if !findings::has_error(&findings) => rendered,
        _ => return Err(findings),
    };
    files.extend(text_change(inputs, &fragment, &rendered));
    files.extend(main.change(inputs));
    let steps = steps(inputs, &files);
    Ok(Plan {
        version: inputs.version,
        level: rendered.level,
        main: inputs.main.to_owned(),
        fragment,
        fragment_text: rendered.text,
        include: main.include,
        outside_home,
        resolved: resolved_name(inputs, &resolved),
        files,
        steps,
        findings,
    })
}

fn text_change(inputs: &Inputs<'_>, fragment: &Path, rendered: &Rendered) -> Option<FileChange> {
    let old = inputs.ground.read(fragment).ok();
    let old = old.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if old.as_deref() == Some(rendered.text.as_str()) {
        return None;
    }
    Some(FileChange {
        path: fragment.to_owned(),
        diff: unified(fragment, old.as_deref().unwrap_or_default(), &rendered.text),
        old,
        new: NewContent::Text(rendered.text.clone()),
        mode: Some(0o644),
        owner: None,
        why: "the listeners that the keys ask for".to_owned(),
    })
}

/// What the table says, and a restart when a file of the broker changes although the table knows of nothing.
fn steps(inputs: &Inputs<'_>, files: &[FileChange]) -> Vec<Step> {
    let unconfigured;
    let running = match inputs.running {
        Some(running) => running,
        None => {
            unconfigured = before_the_first(inputs.settings);
            &unconfigured
        }
    };
    let mut contents = inputs.contents.to_vec();
    contents.extend(files.iter().filter_map(FileChange::content));
    let mut steps = restart::consequences(running, inputs.settings, &contents);
    let has = |action| steps.iter().any(|step: &Step| step.action == action);
    let texts = files
        .iter()
        .any(|file| matches!(file.new, NewContent::Text(_)));
    if texts && !has(Action::RestartBroker) {
        let more = restart::of_new_fragment("the broker's files differ from what the keys ask for");
        steps.retain(|step| {
            !matches!(step.action, Action::ReloadBroker | Action::EndSessions)
                && !more.iter().any(|other| other.action == step.action)
        });
        steps.extend(more);
        steps.sort_by_key(|step| step.action);
    }
    steps
}

/// What runs before anything was applied: no external listener, and services with the defaults.
fn before_the_first(settings: &Settings) -> Settings {
    let client = &settings.client;
    Settings {
        external: None,
        client: Client {
            host: Host::Ip(Ipv4Addr::LOCALHOST.into()),
            port: Sourced {
                value: settings.internal.port,
                source: client.port.source,
            },
            server_name: None,
            ca_file: None,
            ca_dir: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
        },
        ..settings.clone()
    }
}

fn resolved_name(inputs: &Inputs<'_>, resolved: &Resolved) -> Option<(String, IpAddr)> {
    match inputs.settings.external.as_ref()?.address.as_ref()? {
        Host::Name(name) => Some((name.clone(), resolved.address?)),
        Host::Ip(_) => None,
    }
}
