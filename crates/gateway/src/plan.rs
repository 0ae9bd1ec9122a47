//! What `sectag gateway apply` will do, as a value: files with their differences, steps in order with reasons, findings.
//!
//! ```text
//!   Settings, what runs now, Ground (files, who may read them) ──► make ──► Plan ──► shown by `plan`, done by `apply`
//! ```
//!
//! Nothing is done here, and no private key is read: a key that must be where the broker can read it is a
//! [`NewContent::CopyOf`] with owner and mode.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::findings::{Finding, FindingId, Severity};
use crate::mosquitto::{
    Authorities, BrokerVersion, Extras, Files, Paths, Placed, Rendered, Resolved, render,
    with_include, within,
};
use crate::restart::{self, Action, Content, Step};
use crate::{Host, Level, Settings};

mod diff;

pub use diff::unified;

/// Name of our file; it is the only one in its directory that mosquitto reads.
pub const FRAGMENT: &str = "sectag-listener.conf";
/// Where the files go when the broker's user cannot reach the home (amendment A5).
pub const ETC: &str = "/etc/mosquitto/sectag";

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
    /// The broker's user cannot reach the home, so the files are under [`ETC`].
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
    /// What `mqtt.external.ca_path` is.
    pub authorities: Option<Authorities>,
    /// The address of the host name in `mqtt.external.bind.address`.
    pub address: Option<IpAddr>,
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
/// The findings of severity error, when there are any: of the generator, and of the broker's other files. Findings about
/// the contents of certificates are [`crate::findings`]'s.
pub fn make(inputs: &Inputs<'_>) -> Result<Plan, Vec<Finding>> {
    let outside_home = !inputs.ground.broker_reaches(&inputs.home.join("mosquitto"));
    let directory = if outside_home {
        PathBuf::from(ETC)
    } else {
        inputs.home.join("mosquitto")
    };
    let mut files = Vec::new();
    let mut findings = Vec::new();
    let mut extras = inputs.extras.clone();
    let paths = place(inputs, &directory, &mut extras, &mut files, &mut findings);
    let resolved = Resolved {
        address: inputs.address,
        authorities: inputs.authorities,
        paths,
    };
    let rendered = match render(inputs.settings, &resolved, &extras, inputs.version) {
        Ok(rendered) => rendered,
        Err(mut errors) => {
            errors.extend(findings);
            return Err(errors);
        }
    };
    let fragment = directory.join(FRAGMENT);
    let placed = Placed {
        main: inputs.main,
        fragment: &fragment,
        text: &rendered.text,
    };
    findings.extend(rendered.notes.iter().cloned());
    findings.extend(within(placed, inputs.ground, inputs.version));
    let (errors, findings): (Vec<Finding>, Vec<Finding>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(errors);
    }
    let (include, main) = include(inputs, &directory);
    files.extend(text_change(inputs, &fragment, &rendered));
    files.extend(main);
    let steps = steps(inputs, &files);
    Ok(Plan {
        version: inputs.version,
        level: rendered.level,
        main: inputs.main.to_owned(),
        fragment,
        fragment_text: rendered.text,
        include,
        outside_home,
        resolved: resolved_name(inputs),
        files,
        steps,
        findings,
    })
}

/// Files of the home that the broker cannot read where they are get a copy beside our file (amendments A5, A6). Files
/// elsewhere are somebody's: they stay, and findings advise.
fn place(
    inputs: &Inputs<'_>,
    directory: &Path,
    extras: &mut Extras,
    files: &mut Vec<FileChange>,
    findings: &mut Vec<Finding>,
) -> Paths {
    let mut paths = Paths::default();
    let Some(external) = &inputs.settings.external else {
        return paths;
    };
    let mut copy = |source: Option<&PathBuf>, name: &str, mode: u32, what: &str| {
        let source = source.filter(|path| path.starts_with(inputs.home))?;
        if inputs.ground.broker_reads(source) {
            return None;
        }
        let path = directory.join(name);
        let owner = (mode != 0o644).then(|| inputs.broker_user.to_owned());
        let there = inputs.ground.same_bytes(source, &path)
            && inputs.ground.is_kept_as(&path, mode, owner.as_deref());
        if !there {
            files.push(FileChange {
                path: path.clone(),
                old: None,
                new: NewContent::CopyOf(source.clone()),
                diff: String::new(),
                mode: Some(mode),
                owner,
                why: format!("{what} where {} can read it", inputs.broker_user),
            });
        }
        Some(path)
    };
    paths.key_file = copy(
        external.key_file.as_ref(),
        "server.key",
        0o400,
        "the listener's key",
    );
    paths.cert_file = copy(
        external.cert_file.as_ref(),
        "server.crt",
        0o644,
        "the listener's certificate",
    );
    if inputs.authorities == Some(Authorities::File) {
        let what = "the CA of the clients";
        paths.ca_path = copy(external.ca_path.as_ref(), "clients-ca.crt", 0o644, what);
    }
    paths.crl_file = copy(
        external.crl_file.as_ref(),
        "clients.crl",
        0o644,
        "the revocations",
    );
    if let Some(path) = copy(extras.acl_file.as_ref(), "acl", 0o640, "the topic rules") {
        extras.acl_file = Some(path);
    }
    if let Some(path) = copy(
        extras.password_file.as_ref(),
        "passwords",
        0o400,
        "the passwords",
    ) {
        extras.password_file = Some(path);
    }
    if let Some(path) = &external.ca_path
        && inputs.authorities == Some(Authorities::HashedDirectory)
        && path.starts_with(inputs.home)
        && !inputs.ground.broker_reads(path)
    {
        findings.push(Finding {
            id: FindingId::E21,
            severity: Severity::Error,
            sentence: format!(
                "{} cannot read the directory of CAs {}",
                inputs.broker_user,
                path.display()
            ),
            values: vec![(
                "mqtt.external.ca_path".to_owned(),
                path.display().to_string(),
            )],
            fix: "sectag config set mqtt.external.ca_path <file with all CAs>".to_owned(),
        });
    }
    paths
}

fn include(inputs: &Inputs<'_>, directory: &Path) -> (Include, Option<FileChange>) {
    let old = text(inputs, inputs.main);
    let (new, number) = with_include(old.as_deref().unwrap_or_default(), directory);
    let present = old.as_deref() == Some(new.as_str());
    let include = Include {
        line: format!("include_dir {}", directory.display()),
        number,
        present,
    };
    let change = (!present).then(|| FileChange {
        path: inputs.main.to_owned(),
        diff: unified(inputs.main, old.as_deref().unwrap_or_default(), &new),
        old,
        new: NewContent::Text(new),
        mode: None,
        owner: None,
        why: "the broker reads our file before its own directories".to_owned(),
    });
    (include, change)
}

fn text_change(inputs: &Inputs<'_>, fragment: &Path, rendered: &Rendered) -> Option<FileChange> {
    let old = text(inputs, fragment);
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

fn text(inputs: &Inputs<'_>, path: &Path) -> Option<String> {
    let bytes = inputs.ground.read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the table says, and a restart when a file of the broker changes although the table knows of nothing.
fn steps(inputs: &Inputs<'_>, files: &[FileChange]) -> Vec<Step> {
    let nothing_yet;
    let running = match inputs.running {
        Some(running) => running,
        None => {
            nothing_yet = Settings {
                external: None,
                ..inputs.settings.clone()
            };
            &nothing_yet
        }
    };
    let mut steps = restart::consequences(running, inputs.settings, inputs.contents);
    let texts = files
        .iter()
        .any(|file| matches!(file.new, NewContent::Text(_)));
    let restarts = steps
        .iter()
        .any(|step| step.action == Action::RestartBroker);
    let touches = steps.iter().any(|step| step.action == Action::ReloadBroker);
    if (texts && !restarts) || (!files.is_empty() && !restarts && !touches) {
        let more = restart::of_new_fragment("the broker's files differ from what the keys ask for");
        steps.retain(|step| {
            step.action != Action::ReloadBroker
                && !more.iter().any(|other| other.action == step.action)
        });
        steps.extend(more);
        steps.sort_by_key(|step| step.action);
    }
    steps
}

fn resolved_name(inputs: &Inputs<'_>) -> Option<(String, IpAddr)> {
    match inputs.settings.external.as_ref()?.address.as_ref()? {
        Host::Name(name) => Some((name.clone(), inputs.address?)),
        Host::Ip(_) => None,
    }
}
