//! Judges a file that somebody wrote by hand: what is wrong in which line, why, and the block that works.
//!
//! Two blocks go around on the web. The one for server authentication lacks the anonymous switch, so that every client
//! is refused since 2.0. The one for both sides has its three file names rotated by one (`cafile` is the server's
//! certificate, `certfile` its key, `keyfile` the CA) and maps no user name (spec/gateway-config §16, 2–4). Names are
//! recognised by what is in the files, or by their words when the files are not there.

use std::fmt;
use std::path::{Path, PathBuf};

use sectag_pki::material::material;

use super::BrokerVersion;
use super::effective::{At, Directive, Effective, Listener, Origin, Problem, ProblemKind};
use super::files::Files;
use super::parse::parse;

mod correct;

/// What is wrong with one line, or with a whole listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Where; `None` when it is about the file.
    pub at: Option<At>,
    /// The broker does not start with it.
    pub stops: bool,
    /// What is wrong, one sentence.
    pub wrong: String,
    /// What comes of it, or how it is known.
    pub why: String,
}

/// A judged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// How the broker reads it.
    pub effective: Effective,
    /// In the order of lines; empty when nothing is wrong.
    pub judgements: Vec<Judgement>,
    /// The file as it should be; `None` when nothing is wrong.
    pub corrected: Option<String>,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A certificate that is no CA: for `certfile`.
    Certificate,
    /// A private key: for `keyfile`.
    PrivateKey,
    /// CAs only: for `cafile`.
    Authority,
}

/// A role and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The role.
    pub role: Role,
    /// From the file; otherwise from its name.
    pub by_content: bool,
}

impl Role {
    /// What a file is for, by what is in it. `None` when it may be for several things: a key together with its
    /// certificate, a certificate that signed itself and is no CA.
    pub fn of_content(bytes: &[u8]) -> Option<Self> {
        let material = material(bytes);
        let first = material.certificates.first().map(|held| &held.facts);
        match (first, material.keys.is_empty()) {
            (None, false) => Some(Self::PrivateKey),
            (Some(facts), true) if facts.is_ca => Some(Self::Authority),
            (Some(facts), true) if facts.subject != facts.issuer => Some(Self::Certificate),
            _ => None,
        }
    }

    /// What a file is for, by the words of its name: `server.key`, `PATH_TO_CLIENT_CA_CERTIFICATE`.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
        if has(&["key", "private", "privkey"]) {
            Some(Self::PrivateKey)
        } else if has(&["ca", "cas", "cacert", "root", "chain", "authority"]) {
            Some(Self::Authority)
        } else if has(&["crt", "cert", "cer", "certificate", "fullchain"]) {
            Some(Self::Certificate)
        } else {
            None
        }
    }

    /// What is known about a path.
    pub fn of(path: &Path, files: &dyn Files) -> Option<Known> {
        let (role, by_content) = match files.read(path) {
            Ok(bytes) => (Self::of_content(&bytes)?, true),
            Err(_) => (Self::of_name(path)?, false),
        };
        Some(Known { role, by_content })
    }

    const fn directive(self) -> &'static str {
        match self {
            Self::Certificate => "certfile",
            Self::PrivateKey => "keyfile",
            Self::Authority => "cafile",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the certificate of a server",
            Self::PrivateKey => "a private key",
            Self::Authority => "a CA",
        })
    }
}

/// Judges `text`, the file at `path`. Files that it names, and files it includes, come from `files`.
pub fn judge(path: &Path, text: &[u8], files: &dyn Files, version: BrokerVersion) -> Judged {
    let effective = parse(path, text, files, version);
    let mut judgements: Vec<Judgement> = Vec::new();
    let mut names = Vec::new();
    for listener in &effective.listeners {
        let right = Names::of(listener, files);
        judgements.extend(right.judgements(listener));
        names.push(right);
    }
    for problem in &effective.problems {
        judgements.push(of_problem(problem, &effective));
    }
    judgements.extend(local_only(&effective));
    judgements.extend(broker_wide(&effective));
    judgements.sort_by(|a, b| a.at.cmp(&b.at));
    let corrected = (!judgements.is_empty()).then(|| correct::corrected(&effective, &names));
    Judged {
        effective,
        judgements,
        corrected,
    }
}

/// The three file names of a listener, in their right places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) certfile: Option<String>,
    pub(super) keyfile: Option<String>,
    pub(super) cafile: Option<String>,
    /// `cafile` is a directory, or `capath` a file: the word changes.
    pub(super) ca_is_directory: bool,
    /// Lines whose name belongs elsewhere: the directive, its role, how it is known.
    wrong: Vec<(Directive, Known)>,
    /// `capath` leads to a file, or `cafile` to a directory.
    wrong_kind: Option<Directive>,
}

impl Names {
    fn of(listener: &Listener, files: &dyn Files) -> Self {
        let line = |name: &str| {
            listener
                .directives
                .iter()
                .rev()
                .find(|line| line.name == name)
        };
        let mut names = Self {
            certfile: listener.text("certfile").map(str::to_owned),
            keyfile: listener.text("keyfile").map(str::to_owned),
            cafile: listener.text("cafile").map(str::to_owned),
            ..Self::default()
        };
        let places = [Role::Certificate, Role::PrivateKey, Role::Authority];
        let lines: Vec<(Role, &Directive, Option<Known>)> = places
            .into_iter()
            .filter_map(|place| {
                let line = line(place.directive())?;
                Some((place, line, Role::of(Path::new(&line.value), files)))
            })
            .collect();
        let all_known = lines.iter().all(|(_, _, known)| known.is_some());
        for (place, line, known) in &lines {
            if let Some(known) = known.filter(|known| known.role != *place) {
                names.wrong.push(((*line).clone(), known));
            }
        }
        if !names
            .wrong
            .iter()
            .any(|(line, known)| is_plain(line, *known))
        {
            names.wrong.clear();
        }
        // Each role once: they only stand in each other's places.
        let mut roles: Vec<Role> = lines
            .iter()
            .filter_map(|(_, _, k)| Some((*k)?.role))
            .collect();
        roles.sort_unstable();
        roles.dedup();
        if all_known && roles.len() == lines.len() && !names.wrong.is_empty() {
            let with = |role: Role| {
                let found = lines
                    .iter()
                    .find(|(_, _, known)| known.is_some_and(|known| known.role == role));
                found.map(|(_, line, _)| line.value.clone())
            };
            names.certfile = with(Role::Certificate);
            names.keyfile = with(Role::PrivateKey);
            names.cafile = with(Role::Authority);
        }
        names.kind_of_ca(line("cafile"), line("capath"), files);
        names
    }

    fn kind_of_ca(
        &mut self,
        cafile: Option<&Directive>,
        capath: Option<&Directive>,
        files: &dyn Files,
    ) {
        let is_directory = |line: &Directive| files.list(Path::new(&line.value)).is_ok();
        let is_file = |line: &Directive| files.read(Path::new(&line.value)).is_ok();
        match (cafile, capath) {
            (Some(line), None) if self.wrong.is_empty() && is_directory(line) => {
                self.wrong_kind = Some(line.clone());
                self.ca_is_directory = true;
            }
            (None, Some(line)) => {
                self.cafile = Some(line.value.clone());
                self.ca_is_directory = true;
                if is_file(line) && !is_directory(line) {
                    self.wrong_kind = Some(line.clone());
                    self.ca_is_directory = false;
                }
            }
            _ => {}
        }
    }

    fn judgements(&self, listener: &Listener) -> Vec<Judgement> {
        let mut judgements: Vec<Judgement> = self
            .wrong
            .iter()
            .map(|(line, known)| {
                let how = if known.by_content {
                    "by what is in the file"
                } else {
                    "by its name; the file is not there"
                };
                Judgement {
                    at: Some(line.at.clone()),
                    stops: listener.is_tls(),
                    wrong: format!("`{}` names {}: `{}`", line.name, known.role, line.value),
                    why: format!("it belongs to `{}` ({how})", known.role.directive()),
                }
            })
            .collect();
        if self.wrong.len() == 3 {
            judgements.push(Judgement {
                at: listener.at.clone(),
                stops: true,
                wrong: "the three file names are rotated by one".to_owned(),
                why: "`cafile` is the CA that issued the clients, `certfile` the server's certificate, `keyfile` the server's private key".to_owned(),
            });
        }
        if let Some(line) = &self.wrong_kind {
            let (wrong, why) = if self.ca_is_directory {
                (
                    "a directory",
                    "the broker does not start; a directory with hash links is `capath`",
                )
            } else {
                (
                    "a file",
                    "the broker starts and refuses every client; a file is `cafile`",
                )
            };
            judgements.push(Judgement {
                at: Some(line.at.clone()),
                stops: self.ca_is_directory,
                wrong: format!("`{}` is {wrong}: `{}`", line.name, line.value),
                why: why.to_owned(),
            });
        }
        judgements
    }
}

/// Is this line wrong without doubt? A certificate in the place of a CA, known by its name only, may be a CA all the
/// same; a CA in the place of a certificate may have signed itself for a server. Keys are keys.
fn is_plain(line: &Directive, known: Known) -> bool {
    let key = known.role == Role::PrivateKey || line.name == "keyfile";
    key || (known.by_content && line.name == "cafile")
}

/// A problem of the parser, with what comes of it.
fn of_problem(problem: &Problem, effective: &Effective) -> Judgement {
    let why = match problem.kind {
        ProblemKind::NobodyNamed => {
            "since 2.0 `allow_anonymous` is false by default, and a certificate is a user name only if it is mapped"
        }
        ProblemKind::IdentityWithoutRequire => {
            "the user name comes from a certificate that no client is asked for"
        }
        ProblemKind::HalfPair | ProblemKind::CaWithoutTls | ProblemKind::RequireWithoutTls => {
            "TLS begins with `certfile` and `keyfile`, both of them"
        }
        ProblemKind::PerListenerTooLate => {
            "`per_listener_settings true` must stand before every security directive of all files"
        }
        ProblemKind::OrderTrap => {
            "what belongs to a listener stands below its `listener` line, in the same file"
        }
        ProblemKind::Open => "there is neither TLS nor a password",
        ProblemKind::NobodyTrusted => "the broker has no CA to check certificates of clients with",
        ProblemKind::InterfaceAndWildcard => {
            "an address beside an interface must be the interface's own"
        }
        ProblemKind::SamePort => "the system gives a port of an address to one listener",
        ProblemKind::Lost => "mosquitto keeps only the listeners of the included files in mind",
        _ if problem.stops => "the broker does not start",
        _ => "the broker starts all the same",
    };
    let version = effective.version;
    Judgement {
        at: problem.at.clone(),
        stops: problem.stops,
        wrong: problem.sentence.clone(),
        why: if problem.kind == ProblemKind::Unknown {
            format!("mosquitto {version} does not start with an unknown word")
        } else {
            why.to_owned()
        },
    }
}

/// A file without a listener opens nothing for the network.
fn local_only(effective: &Effective) -> Option<Judgement> {
    let listener = effective.listeners.first()?;
    (listener.origin == Origin::LocalOnly && effective.bridges.is_empty()).then(|| Judgement {
        at: None,
        stops: false,
        wrong: "there is no `listener`".to_owned(),
        why: "a broker with this file alone listens on this machine's loopback only, port 1883"
            .to_owned(),
    })
}

/// Security directives below a `listener` that apply to the whole broker (spec/gateway-config §16, 4).
fn broker_wide(effective: &Effective) -> Option<Judgement> {
    if effective.per_listener {
        return None;
    }
    let first: PathBuf = effective.files.first()?.clone();
    let line = effective.globals.iter().find(|line| {
        line.at.file == first
            && matches!(
                line.name.as_str(),
                "allow_anonymous" | "password_file" | "acl_file" | "psk_file"
            )
            && effective.listeners.iter().any(|listener| {
                let above = listener.at.as_ref();
                above.is_some_and(|above| above.file == first && above.line < line.at.line)
            })
    })?;
    let word = if effective.version.is_2_1() {
        "write `listener_allow_anonymous`"
    } else {
        "without `per_listener_settings true`"
    };
    Some(Judgement {
        at: Some(line.at.clone()),
        stops: false,
        wrong: format!(
            "`{}` applies to every listener of the broker, not to this one",
            line.name
        ),
        why: format!(
            "{word}; and a later file with `per_listener_settings true`, such as thin-edge.io's, would keep the broker from starting"
        ),
    })
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        write!(f, "{}: {}", self.wrong, self.why)
    }
}
