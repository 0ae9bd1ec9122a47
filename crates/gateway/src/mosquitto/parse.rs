//! Reads a configuration the way mosquitto does.
//!
//! 1. A line is a word, one blank, and the rest. `#` begins a comment in column 1 only; a blank before it makes it an
//!    unknown word.
//! 2. `include_dir` is taken from the main file only: names longer than `.conf` that end so, `A a B b`.
//! 3. Each file begins without a listener of its own. What belongs to a listener and stands before the first
//!    `listener` of its file configures the default listener: port 1883 on all interfaces.
//! 4. The first word that is wrong ends the start. Here reading goes on, so that all of them are shown.
//!
//! Checked against Debian's 2.0.11 by a test; 2.1 after its documentation (spec/gateway-config §14).

use std::path::{Path, PathBuf};

use super::BrokerVersion;
use super::directive::{Duplicate, Kind, Scope, Word, word};
use super::effective::{At, Directive, Effective, Listener, Origin, Problem, ProblemKind, is_true};
use super::files::{Files, Unread, included};

mod value;
mod whole;

use value::{number, short, value};

/// Files that are read; a directory of more is a mistake, and the answer would help nobody.
pub const FILES_MAX: usize = 512;
/// Bytes that are read of one file. The longest example in the wild, with all comments, has 40 kB.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads `main` and what it includes. A main file that cannot be read is a problem that stops the broker.
pub fn read(main: &Path, files: &dyn Files, version: BrokerVersion) -> Effective {
    match files.read(main) {
        Ok(bytes) => parse(main, &bytes, files, version),
        Err(Unread(reason)) => {
            let mut reader = Reader::new(files, version);
            reader.problem(
                ProblemKind::Unreadable,
                None,
                true,
                format!("{} cannot be read: {reason}", main.display()),
            );
            reader.result
        }
    }
}

/// Reads `bytes` as the main file called `main`; the files it includes come from `files`.
pub fn parse(main: &Path, bytes: &[u8], files: &dyn Files, version: BrokerVersion) -> Effective {
    let mut reader = Reader::new(files, version);
    reader.file(main, bytes, 0);
    reader.finish()
}

struct Reader<'a> {
    files: &'a dyn Files,
    result: Effective,
    default: Listener,
    /// A security directive was seen: too late for `per_listener_settings`.
    secured: bool,
    plugin: bool,
}

/// Which listener a file is talking about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    Default,
    Line(usize),
    /// Its listener was moved by a later one of an included file.
    Lost,
}

impl<'a> Reader<'a> {
    fn new(files: &'a dyn Files, version: BrokerVersion) -> Self {
        Self {
            files,
            result: Effective {
                version,
                per_listener: false,
                globals: Vec::new(),
                listeners: Vec::new(),
                bridges: Vec::new(),
                files: Vec::new(),
                include_dirs: Vec::new(),
                problems: Vec::new(),
            },
            default: Listener {
                origin: Origin::Default,
                port: 0,
                address: None,
                at: None,
                directives: Vec::new(),
            },
            secured: false,
            plugin: false,
        }
    }

    fn problem(&mut self, kind: ProblemKind, at: Option<&At>, stops: bool, sentence: String) {
        self.result.problems.push(Problem {
            kind,
            at: at.cloned(),
            stops,
            sentence,
        });
    }

    fn file(&mut self, path: &Path, bytes: &[u8], level: usize) {
        let mut at = At {
            file: path.to_owned(),
            line: 0,
        };
        if self.result.files.len() == FILES_MAX || bytes.len() > FILE_BYTES_MAX {
            let limits =
                format!("not read: only {FILES_MAX} files of at most {FILE_BYTES_MAX} bytes are");
            self.problem(ProblemKind::TooMuch, Some(&at), true, limits);
            return;
        }
        self.result.files.push(path.to_owned());
        let mut current = Current::Default;
        let mut bridge = false;
        for line in bytes.split(|byte| *byte == b'\n') {
            at.line += 1;
            // C strings end at the first NUL.
            let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line[0] == b'#' || line[0] == b'\r' {
                continue;
            }
            let text = String::from_utf8_lossy(line);
            let text = text.trim_start_matches(' ');
            let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
            if !name.is_empty() {
                self.line(&at, name, rest, level, &mut current, &mut bridge);
            }
        }
    }

    fn line(
        &mut self,
        at: &At,
        name: &str,
        rest: &str,
        level: usize,
        current: &mut Current,
        bridge: &mut bool,
    ) {
        let version = self.result.version;
        let Some(known) = word(name).filter(|word| word.in_2_0 || version.is_2_1()) else {
            let since = if word(name).is_some() {
                ": it exists since 2.1"
            } else if name.starts_with('#') {
                ": a comment begins in column 1"
            } else if name.contains('\t') {
                ": a blank, not a tab, ends a name"
            } else {
                ""
            };
            let name = short(name);
            let sentence = format!("mosquitto {version} does not know `{name}`{since}");
            return self.problem(ProblemKind::Unknown, Some(at), true, sentence);
        };
        if known.name == "include_dir" {
            return self.include(at, rest, level, current);
        }
        if known.name == "listener" {
            return self.listener(at, rest, current);
        }
        let value = match value(known, name, rest, version) {
            Ok(value) => value,
            Err(sentence) => {
                return self.problem(ProblemKind::BadValue, Some(at), true, sentence);
            }
        };
        let directive = Directive {
            name: name.to_owned(),
            value,
            at: at.clone(),
        };
        match known.scope {
            Scope::Global if known.name == "per_listener_settings" => self.per_listener(directive),
            Scope::Global => {
                self.plugin |= matches!(known.name, "plugin_load" | "global_plugin");
                self.global(known, directive);
            }
            Scope::Security => {
                self.secured = true;
                self.plugin |= known.name.ends_with("plugin");
                if self.result.per_listener {
                    self.of_listener(known, directive, current);
                } else {
                    self.global(known, directive);
                }
            }
            Scope::Listener => {
                self.plugin |= known.name == "plugin_use";
                self.of_listener(known, directive, current);
            }
            Scope::DefaultListener => self.of_default(directive, current),
            Scope::Bridge => {
                if known.name == "connection" {
                    *bridge = true;
                } else if !*bridge {
                    let sentence = format!("`{name}` belongs below a `connection`");
                    return self.problem(ProblemKind::Orphan, Some(at), true, sentence);
                }
                self.result.bridges.push(directive);
            }
            Scope::Plugin => {
                if !self.plugin {
                    let sentence = format!("`{name}` belongs below a `plugin`");
                    return self.problem(ProblemKind::Orphan, Some(at), true, sentence);
                }
                match current {
                    Current::Line(index) if self.result.per_listener => {
                        self.result.listeners[*index].directives.push(directive);
                    }
                    _ => self.result.globals.push(directive),
                }
            }
        }
    }

    fn per_listener(&mut self, directive: Directive) {
        if self.result.per_listener {
            return; // 2.0 and 2.1: once on, it stays on
        }
        let on = is_true(&directive.value);
        if on && self.secured {
            let sentence =
                "`per_listener_settings true` after a security directive: it must come first";
            self.problem(
                ProblemKind::PerListenerTooLate,
                Some(&directive.at),
                true,
                sentence.to_owned(),
            );
        }
        self.result.per_listener = on;
        self.result.globals.push(directive);
    }

    fn global(&mut self, known: &Word, directive: Directive) {
        let first = self
            .result
            .globals
            .iter()
            .find(|other| other.name == directive.name)
            .map(|other| other.at.clone());
        self.twice(known, &directive, first);
        self.result.globals.push(directive);
    }

    fn of_listener(&mut self, known: &Word, directive: Directive, current: &mut Current) {
        match *current {
            Current::Line(index) => {
                let first = same(&self.result.listeners[index], &directive.name);
                self.twice(known, &directive, first);
                self.result.listeners[index].directives.push(directive);
            }
            Current::Lost => {
                let sentence = format!(
                    "`{}` is lost: the `include_dir` between it and its `listener` opened other listeners",
                    directive.name
                );
                self.problem(ProblemKind::Lost, Some(&directive.at), false, sentence);
            }
            Current::Default => self.before_any(known, directive),
        }
    }

    /// Listener-scoped, and the file has no listener yet: the order trap.
    fn before_any(&mut self, known: &Word, directive: Directive) {
        let version = self.result.version;
        let security = known.scope == Scope::Security;
        let refused = if version.is_2_1() {
            known.needs_listener_in_2_1 || security
        } else {
            known.name == "mount_point"
        };
        let name = &directive.name;
        if refused {
            let sentence = format!("`{name}` before any `listener` of its file is refused");
            return self.problem(ProblemKind::OrderTrap, Some(&directive.at), true, sentence);
        }
        let opens = version.is_2_1() || opens_default(&directive);
        if opens {
            let sentence = format!(
                "`{name}` before any `listener` of its file opens the default listener: port 1883 on all interfaces"
            );
            self.problem(ProblemKind::OrderTrap, Some(&directive.at), false, sentence);
            self.default.at.get_or_insert_with(|| directive.at.clone());
        }
        let first = same(&self.default, &directive.name);
        self.twice(known, &directive, first);
        self.default.directives.push(directive);
    }

    fn of_default(&mut self, directive: Directive, current: &mut Current) {
        if directive.name == "port" {
            self.default.port = directive.value.parse().unwrap_or(1883);
        } else if self.default.address.is_some() {
            let sentence = "`bind_address` twice".to_owned();
            self.problem(ProblemKind::Duplicate, Some(&directive.at), true, sentence);
        } else {
            self.default.address = Some(directive.value.clone());
        }
        if self.result.version.is_2_1() {
            *current = Current::Default;
        }
        self.default.at.get_or_insert_with(|| directive.at.clone());
    }

    /// A text twice is an error in 2.0, and in 2.1 often the last one.
    fn twice(&mut self, known: &Word, directive: &Directive, first: Option<At>) {
        let Some(first) = first.filter(|_| known.kind == Kind::Text) else {
            return;
        };
        let stops = !self.result.version.is_2_1() || known.twice_in_2_1 == Duplicate::Refused;
        let name = &directive.name;
        let sentence = if stops {
            format!("`{name}` twice: the first is at {first}")
        } else {
            format!("`{name}` twice: this one is taken, not the one at {first}")
        };
        self.problem(ProblemKind::Duplicate, Some(&directive.at), stops, sentence);
    }

    fn listener(&mut self, at: &At, rest: &str, current: &mut Current) {
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let Some(port) = words.next() else {
            let sentence = "`listener` has no port".to_owned();
            return self.problem(ProblemKind::BadValue, Some(at), true, sentence);
        };
        let number = number(port, self.result.version).and_then(|port| u16::try_from(port).ok());
        let address = words.next().filter(|word| !word.starts_with('#'));
        let Some(number) = number.filter(|number| *number > 0 || address.is_some()) else {
            let sentence = format!("`listener {}`: a port is from 1 to 65535", short(port));
            return self.problem(ProblemKind::BadValue, Some(at), true, sentence);
        };
        *current = Current::Line(self.result.listeners.len());
        self.result.listeners.push(Listener {
            origin: Origin::Line,
            port: number,
            address: address.map(str::to_owned),
            at: Some(at.clone()),
            directives: Vec::new(),
        });
    }

    fn include(&mut self, at: &At, rest: &str, level: usize, current: &mut Current) {
        if level > 0 {
            let stops = self.result.version.is_2_1();
            let sentence = "`include_dir` counts in the main file only".to_owned();
            return self.problem(ProblemKind::NestedInclude, Some(at), stops, sentence);
        }
        // The name is the whole rest: blanks at its ends belong to it.
        let directory = PathBuf::from(rest);
        self.result.include_dirs.push(Directive {
            name: "include_dir".to_owned(),
            value: rest.to_owned(),
            at: at.clone(),
        });
        let names = match self.files.list(&directory) {
            Ok(names) => names,
            Err(Unread(reason)) => {
                let sentence = format!("the directory `{}` cannot be read: {reason}", short(rest));
                return self.problem(ProblemKind::Unreadable, Some(at), true, sentence);
            }
        };
        let before = self.result.listeners.len();
        for name in included(names) {
            let path = directory.join(name);
            match self.files.read(&path) {
                Ok(bytes) => self.file(&path, &bytes, level + 1),
                Err(Unread(reason)) => {
                    let sentence = format!("{} cannot be read: {reason}", path.display());
                    self.problem(ProblemKind::Unreadable, Some(at), true, sentence);
                }
            }
        }
        if matches!(current, Current::Line(_)) && self.result.listeners.len() > before {
            *current = Current::Lost;
        }
    }

    fn finish(mut self) -> Effective {
        if self.default.at.is_some() {
            if self.default.port == 0 {
                self.default.port = 1883;
            }
            self.result.listeners.push(self.default);
        } else if self.result.listeners.is_empty() {
            self.default.origin = Origin::LocalOnly;
            self.default.port = 1883;
            self.default.address = Some("localhost".to_owned());
            self.result.listeners.push(self.default);
        }
        let mut problems = whole::problems(&self.result);
        self.result.problems.append(&mut problems);
        self.result
    }
}

/// What 2.0 compares with its defaults before it opens the default listener.
fn opens_default(directive: &Directive) -> bool {
    let value = directive.value.as_str();
    match directive.name.as_str() {
        "require_certificate"
        | "use_identity_as_username"
        | "use_subject_as_username"
        | "use_username_as_clientid" => is_true(value),
        "allow_zero_length_clientid" => !is_true(value),
        "max_connections" => !value.starts_with('-'),
        "max_qos" | "maximum_qos" => value != "2",
        "protocol" => value != "mqtt",
        "tls_keyform" => value == "engine",
        "tls_version" | "http_dir" | "max_topic_alias" | "allow_anonymous" | "acl_file"
        | "auto_id_prefix" => false,
        _ => true,
    }
}

fn same(listener: &Listener, name: &str) -> Option<At> {
    let found = listener
        .directives
        .iter()
        .find(|directive| directive.name == name);
    found.map(|directive| directive.at.clone())
}
