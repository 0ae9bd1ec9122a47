//! The gateway's file among the broker's others: where its `include_dir` line goes, and what both do to each other.
//!
//! The whole configuration is read twice, as it is without our file and as it would be with it. What differs, and what
//! keeps the broker from starting, becomes findings with file and line. Other files are never changed.

use std::collections::BTreeMap;
use std::path::Path;

use super::BrokerVersion;
use super::effective::{Effective, Listener, Origin, Problem, ProblemKind};
use super::files::{Files, Overlay};
use super::parse::read;
use crate::findings::{Finding, FindingId, Severity};

/// Security directives that `per_listener_settings` takes from the broker and gives to listeners. Anonymous access has a
/// default of its own and is compared apart.
const SHARED: [&str; 7] = [
    "acl_file",
    "password_file",
    "psk_file",
    "plugin",
    "auth_plugin",
    "allow_zero_length_clientid",
    "auto_id_prefix",
];

/// The comment above our line in the broker's main file.
const COMMENT: &str =
    "# Listeners of Sectag's gateway; `sectag gateway remove` takes these two lines out again.";

/// A file of ours and the main file that includes it.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The broker's main file.
    pub main: &'a Path,
    /// Our file; its directory is included.
    pub fragment: &'a Path,
    /// Its text.
    pub text: &'a str,
}

/// `main` with a line that includes `directory`, before its first `include_dir` or at its end (amendment A5), and the
/// number of that line. Unchanged when the line is there.
pub fn with_include(main: &str, directory: &Path) -> (String, usize) {
    let wanted = format!("include_dir {}", directory.display());
    if let Some(index) = main
        .lines()
        .position(|line| line.trim_end_matches('\r') == wanted)
    {
        return (main.to_owned(), index + 1);
    }
    let before = main
        .lines()
        .position(|line| line.trim_start_matches(' ').starts_with("include_dir "))
        .unwrap_or_else(|| main.lines().count());
    let mut text = String::with_capacity(main.len() + COMMENT.len() + wanted.len() + 4);
    for (index, line) in main.split_inclusive('\n').enumerate() {
        if index == before {
            text.push_str(&format!("{COMMENT}\n{wanted}\n\n"));
        }
        text.push_str(line);
    }
    if before >= main.lines().count() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{COMMENT}\n{wanted}\n"));
    }
    (text, before + 2)
}

/// `main` without the line that includes `directory`, and without what [`with_include`] put around it.
pub fn remove_include(main: &str, directory: &Path) -> String {
    let wanted = format!("include_dir {}", directory.display());
    let lines: Vec<&str> = main.split_inclusive('\n').collect();
    let bare = |index: usize| {
        lines
            .get(index)
            .map(|line| line.trim_end_matches(['\n', '\r']))
    };
    let mut text = String::with_capacity(main.len());
    let mut index = 0;
    while index < lines.len() {
        if bare(index) == Some(COMMENT) && bare(index + 1) == Some(wanted.as_str()) {
            index += 2;
            if index < lines.len() && bare(index) == Some("") {
                index += 1;
            }
        } else if bare(index) == Some(wanted.as_str()) {
            index += 1;
        } else {
            text.push_str(lines[index]);
            index += 1;
        }
    }
    text
}

/// What the broker's other files and ours do to each other, worst first.
pub fn within(placed: Placed<'_>, files: &dyn Files, version: BrokerVersion) -> Vec<Finding> {
    let directory = placed.fragment.parent().unwrap_or(Path::new("/"));
    let main = files
        .read(placed.main)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let overlay = |main: String, fragment: Option<&str>| Overlay {
        below: files,
        above: BTreeMap::from([
            (placed.main.to_owned(), Some(main)),
            (placed.fragment.to_owned(), fragment.map(str::to_owned)),
        ]),
    };
    let (with, number) = with_include(&main, directory);
    let without = remove_include(&main, directory);
    let before = read(placed.main, &overlay(without, None), version);
    let after = read(placed.main, &overlay(with, Some(placed.text)), version);
    let alone = read(
        placed.fragment,
        &overlay(String::new(), Some(placed.text)),
        version,
    );
    let mut judge = Judge {
        placed,
        number,
        findings: Vec::new(),
    };
    judge.problems(&after);
    judge.ours(&alone, &after);
    judge.others(&before, &after);
    judge.packet_size(&before, &after);
    let mut findings = judge.findings;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

struct Judge<'a> {
    placed: Placed<'a>,
    /// Of our `include_dir` in the main file.
    number: usize,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    /// What keeps the whole from starting, or loses lines.
    fn problems(&mut self, after: &Effective) {
        for problem in &after.problems {
            let (id, severity) = match problem.kind {
                ProblemKind::SamePort => (FindingId::B2, Severity::Error),
                ProblemKind::Lost => (FindingId::B4, Severity::Error),
                _ if problem.stops => (FindingId::B3, Severity::Error),
                ProblemKind::OrderTrap | ProblemKind::HalfPair | ProblemKind::CaWithoutTls => {
                    (FindingId::B3, Severity::Warn)
                }
                _ => continue,
            };
            let fix = self.fix(problem);
            self.add(id, severity, problem.to_string(), problem, fix);
        }
    }

    fn fix(&self, problem: &Problem) -> String {
        let place = problem
            .at
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        match problem.kind {
            ProblemKind::SamePort => {
                "sectag config set mqtt.external.bind.port <port>, or take the other listener out"
                    .to_owned()
            }
            ProblemKind::PerListenerTooLate => format!(
                "move the security directives that stand before line {} of {} into a file that is included after it",
                self.number,
                self.placed.main.display()
            ),
            ProblemKind::Lost => format!("move the line at {place} above the first `include_dir`"),
            ProblemKind::OrderTrap => format!("put a `listener` above the line at {place}"),
            ProblemKind::Unreadable => format!("check the path and its mode: {place}"),
            _ => format!("correct the line at {place}"),
        }
    }

    /// Our listeners must be what we wrote.
    fn ours(&mut self, alone: &Effective, after: &Effective) {
        let ours = |listener: &&Listener| {
            listener
                .at
                .as_ref()
                .is_some_and(|at| at.file == self.placed.fragment)
        };
        let mut changed = Vec::new();
        for (wanted, got) in alone
            .listeners
            .iter()
            .filter(ours)
            .zip(after.listeners.iter().filter(ours))
        {
            let (was, is) = (alone.allows_anonymous(wanted), after.allows_anonymous(got));
            if was != is {
                changed.push((
                    Severity::Error,
                    format!("`{got}` would {} anonymous clients", verb(is)),
                ));
            }
            if after.knows_users(got) && !alone.knows_users(wanted) {
                let sentence = format!("passwords or plugins of other files apply to `{got}` too");
                changed.push((Severity::Warn, sentence));
            }
            if after.level(got) != alone.level(wanted) {
                let sentence = format!("`{got}` would have the level {}", after.level(got));
                changed.push((Severity::Error, sentence));
            }
        }
        for (severity, sentence) in changed {
            let main = self.placed.main.display();
            let fix = format!("sectag gateway check {main}");
            self.findings.push(Finding {
                id: FindingId::B4,
                severity,
                sentence: format!("{sentence}, because of the broker's other files"),
                values: vec![("main file".to_owned(), main.to_string())],
                fix,
            });
        }
    }

    /// Listeners of others must stay what they are.
    fn others(&mut self, before: &Effective, after: &Effective) {
        for was in &before.listeners {
            // Lines of the main file may have moved; port and address do not.
            let same = |is: &&Listener| is.port == was.port && is.address == was.address;
            match after.listeners.iter().find(same) {
                Some(is) if was.at.is_some() => self.other(before, was, after, is),
                None if was.origin == Origin::LocalOnly => self.no_local_listener(after),
                _ => {}
            }
        }
    }

    /// With `per_listener_settings true` what was the broker's is nobody's; without it what is ours may be everybody's.
    fn other(&mut self, before: &Effective, was: &Listener, after: &Effective, is: &Listener) {
        let place = is.at.as_ref().map(ToString::to_string).unwrap_or_default();
        let word = |yes| if yes { "true" } else { "false" };
        let (old, new) = (before.allows_anonymous(was), after.allows_anonymous(is));
        if old != new {
            let sentence = format!("{place}: `{is}` would {} anonymous clients", verb(new));
            let values = ("allow_anonymous", word(old), word(new));
            let fix = format!(
                "write `allow_anonymous {}` below the line at {place}",
                word(old)
            );
            self.changed(sentence, values, fix);
        }
        for name in SHARED {
            let (old, new) = (before.security(was, name), after.security(is, name));
            if old == new {
                continue;
            }
            let (sentence, fix) = match old {
                Some(value) => (
                    format!("{place}: `{name}` of the whole broker would not reach `{is}`"),
                    format!("write `{name} {value}` below the line at {place}"),
                ),
                None => (
                    format!("{place}: `{name}` of the gateway's file would apply to `{is}` too"),
                    "give the directory of mosquitto's plugins, so that it applies to the gateway's listener only".to_owned(),
                ),
            };
            let values = (name, old.unwrap_or("not set"), new.unwrap_or("not set"));
            self.changed(sentence, values, fix);
        }
    }

    /// 2.1 gets a limit from us, and the last one counts.
    fn packet_size(&mut self, before: &Effective, after: &Effective) {
        const NAME: &str = "max_packet_size";
        let (Some(old), Some(new)) = (before.global(NAME), after.global(NAME)) else {
            return;
        };
        if old != new {
            let line = before.globals.iter().rfind(|line| line.name == NAME);
            let place = line.map(|line| line.at.to_string()).unwrap_or_default();
            self.findings.push(Finding {
                id: FindingId::B4,
                severity: Severity::Warn,
                sentence: format!(
                    "{place}: the limit of {old} bytes would give way to ours of {new}"
                ),
                values: vec![(NAME.to_owned(), format!("{old} → {new}"))],
                fix: format!("move the line at {place} below our `include_dir`"),
            });
        }
    }

    fn changed(&mut self, sentence: String, (name, old, new): (&str, &str, &str), fix: String) {
        self.findings.push(Finding {
            id: FindingId::B4,
            severity: Severity::Error,
            sentence,
            values: vec![(name.to_owned(), format!("{old} → {new}"))],
            fix,
        });
    }

    /// Without any `listener` mosquitto serves the loopback on port 1883; the first `listener` ends that.
    fn no_local_listener(&mut self, after: &Effective) {
        let serves = after.listeners.iter().any(|listener| {
            listener.port == 1883 && (listener.is_loopback() || listener.is_wide())
        });
        if serves {
            return;
        }
        let ours = |listener: &&Listener| {
            let at = listener.at.as_ref();
            at.is_some_and(|at| at.file == self.placed.fragment) && !listener.is_tls()
        };
        let mut ours = after.listeners.iter().filter(ours);
        // Who moves the port means it.
        let (severity, end, fix) = match ours.find(|ours| ours.is_loopback() || ours.is_wide()) {
            Some(moved) => (
                Severity::Note,
                format!("; it serves port {}", moved.port),
                "sectag config unset mqtt.bind.port",
            ),
            None => (
                Severity::Warn,
                String::new(),
                "sectag config set mqtt.bind.enabled true",
            ),
        };
        self.findings.push(Finding {
            id: FindingId::B4,
            severity,
            sentence: format!(
                "the broker would not serve this machine's port 1883, which it opens by itself only while no file has a `listener`{end}"
            ),
            values: Vec::new(),
            fix: fix.to_owned(),
        });
    }

    fn add(
        &mut self,
        id: FindingId,
        severity: Severity,
        sentence: String,
        problem: &Problem,
        fix: String,
    ) {
        let place = problem
            .at
            .as_ref()
            .map(|at| ("line".to_owned(), at.to_string()));
        self.findings.push(Finding {
            id,
            severity,
            sentence,
            values: place.into_iter().collect(),
            fix,
        });
    }
}

const fn verb(allows: bool) -> &'static str {
    if allows { "let in" } else { "refuse" }
}
