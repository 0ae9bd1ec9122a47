//! The `config` verbs (spec/gateway-config §5): what they print and how they end; the command line only carries it.
//!
//! ```text
//!   get  list  check           load ── notices ── answer                        reading never writes
//!   set  unset  add  remove    lock ── read ── change ── write ── what follows  one transaction
//!   upgrade                    backup ── old names become new ones
//! ```
//! Exit 0 done, 1 refused or not set or unreadable, 2 a key that does not exist. Nothing on stdout on failure. Words and
//! codes are thin-edge.io's where Annex A of the specification says so.

mod change;
mod levels;
mod list;
mod upgrade;

pub use change::{Operation, change, value_of_line};
pub use levels::{Levels, levels};
pub use list::{ListOptions, list};
pub use upgrade::upgrade;

use crate::config::{Config, Environment, LoadError, Locations, Place, ValueError};
use crate::document::DocumentError;
use crate::findings::{self, Asked, Finding, Severity};
use crate::keys::{Default, Found, KeyName, Profile, Slot, Spelling, similar};
use crate::settings::{Settings, Source};
use crate::value::Value;
use std::error::Error;
use std::fmt::Write as _;

/// What a verb says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Said {
    /// Data.
    pub stdout: String,
    /// Talk, lines.
    pub stderr: String,
    /// Exit code.
    pub exit: u8,
}

/// Around a command.
pub struct Scene<'a> {
    /// Which file.
    pub locations: &'a Locations,
    /// What wins over it.
    pub environment: &'a Environment,
    /// `--profile`.
    pub profile: Option<&'a str>,
    /// How the program was called, for the commands in hints.
    pub program: &'a str,
    /// Who looks at the rest of the world.
    pub judge: &'a dyn Judge,
}

/// Knows what the settings mean on this machine.
pub trait Judge {
    /// What is wrong with them, as far as it is asked for.
    fn findings(&self, settings: &Settings, asked: &Asked) -> Vec<Finding>;

    /// Commands as they are to be typed to meet the same configuration. `program` is how this one was called.
    fn here(&self, program: &str, commands: String) -> String {
        let _ = program;
        commands
    }
}

/// A key as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedKey {
    typed: String,
    found: Found,
}

impl TypedKey {
    /// Finds the key.
    ///
    /// # Errors
    /// A sentence with the names that were probably meant.
    pub fn parse(typed: &str) -> Result<Self, String> {
        if let Some(found) = KeyName::find(typed) {
            return Ok(Self {
                typed: typed.to_owned(),
                found,
            });
        }
        let shown: String = typed.chars().take(80).collect();
        let mut text = format!("Unknown tedge config key: '{shown}'");
        let near = similar(typed);
        if !near.is_empty() {
            let near: Vec<String> = near.iter().map(|name| format!("'{name}'")).collect();
            let _ = write!(text, "\n\n  tip: did you mean {}?", near.join(" or "));
        }
        Err(text)
    }

    /// The key's canonical name.
    pub fn name(&self) -> String {
        self.found.slot.name()
    }

    /// The key, in the profile of the command if it has one.
    fn slot(&self, scene: &Scene<'_>) -> Result<Slot, Said> {
        let mut slot = self.found.slot.clone();
        if let Some(name) = scene.profile {
            if !slot.key.key().profiled {
                return Err(failure(
                    "missing configuration parameter",
                    &[format!(
                        "You've supplied a profile, but {slot} is not a profiled configuration"
                    )],
                ));
            }
            let profile = Profile::new(name).ok_or_else(|| {
                failure(
                    "missing configuration parameter",
                    &[format!(
                        "`{name}` is no name of a profile: letters, digits, `-` and `_` make one"
                    )],
                )
            })?;
            // Another profile would be read or changed than the one that was typed.
            if slot.profile.as_ref().is_some_and(|typed| *typed != profile) {
                return Err(failure(
                    &format!("'{slot}' is of another profile than `{name}`"),
                    &["--profile or TEDGE_CLOUD_PROFILE says which profile is meant, and so does the key".to_owned()],
                ));
            }
            slot.profile = Some(profile);
        }
        Ok(slot)
    }
}

/// `config get`.
pub fn get(scene: &Scene<'_>, key: &TypedKey, options: &GetOptions) -> Said {
    let mut said = Said::default();
    said.deprecated(key);
    let slot = match key.slot(scene) {
        Ok(slot) => slot,
        Err(refused) => return said.then(refused),
    };
    let config = match load(scene, Some(&slot), &mut said) {
        Ok(config) => config,
        Err(refused) => return said.then(refused),
    };
    said.other_files(scene, [&slot].into_iter());
    if let Some(profile) = &slot.profile
        && !config.profiled().any(|other| other.profile == slot.profile)
    {
        let (cloud, _) = slot.key.name().split_once('.').unwrap_or_default();
        return said.then(failure(
            &format!("failed to get the configuration value for key: '{slot}'"),
            &[format!(
                "Unknown profile `{profile}` for the multi-profile property {cloud}"
            )],
        ));
    }
    let Some((value, source)) = config.value(&slot) else {
        said.not_set(scene, &slot);
        return said;
    };
    let beside = options.source || options.json;
    // Scripts ask whether the port is set; that the broker will have one is told beside.
    if is_only_inferred(&slot, source) && !beside {
        said.not_set(scene, &slot);
        said.line(format!("note: other keys say {value}; `--source` shows it"));
        return said;
    }
    let masked = slot.key.key().secret && !options.show_secrets;
    let text = if masked {
        MASK.to_owned()
    } else {
        value.to_string()
    };
    if masked {
        said.line("note: the value is masked; `--show-secrets` prints it");
    }
    if options.json {
        let entry = list::entry(&config, &slot, &value, source, options.show_secrets);
        said.stdout = format!("{entry:#}\n");
    } else if options.source {
        said.stdout = format!("{text}\t{source}\n");
    } else {
        said.stdout = format!("{text}\n");
    }
    said
}

/// Options of `config get`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GetOptions {
    /// Say who set it.
    pub source: bool,
    /// As JSON.
    pub json: bool,
    /// Print a secret.
    pub show_secrets: bool,
}

/// `config check`: exit 1 when a finding is an error, or a value is none.
pub fn check(scene: &Scene<'_>, json: bool) -> Said {
    let mut said = Said::default();
    let config = match load(scene, None, &mut said) {
        Ok(config) => config,
        Err(refused) => return said.then(refused),
    };
    if !config.problems().is_empty() {
        said.exit = 1;
    }
    let Ok(settings) = config.settings() else {
        said.line("error: nothing else can be checked before these values are repaired");
        return said;
    };
    let findings = here(
        scene,
        findings::join(
            scene.judge.findings(&settings, &Asked::everything()),
            findings::of_neighbours(&config),
        ),
    );
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        said.exit = 1;
    }
    if json {
        let findings: Vec<serde_json::Value> = findings.iter().map(finding_json).collect();
        said.stdout = format!("{:#}\n", serde_json::Value::from(findings));
        return said;
    }
    for finding in &findings {
        said.finding(finding);
    }
    if findings.is_empty() && said.exit == 0 {
        said.line("nothing to complain about");
    }
    said
}

/// With fixes that meet this configuration.
fn here(scene: &Scene<'_>, mut findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut findings {
        let fix = std::mem::take(&mut finding.fix);
        finding.fix = scene.judge.here(scene.program, fix);
    }
    findings
}

/// What stands for a secret.
pub(crate) const MASK: &str = "********";

/// The port of a listener that other keys ask for.
fn is_only_inferred(slot: &Slot, source: Source) -> bool {
    source == Source::Inferred && slot.key.name() == "mqtt.external.bind.port"
}

/// Loads, and tells everything that stands beside the answer. `asked` is the key whose bad value is an error.
fn load(scene: &Scene<'_>, asked: Option<&Slot>, said: &mut Said) -> Result<Config, Said> {
    let config = Config::load(scene.locations, scene.environment)
        .map_err(|error| load_failure(scene, &error))?;
    said.notices(&config);
    // The environment is the caller's: who set it wrong meant something else than what would be answered.
    let variable = config
        .problems()
        .iter()
        .find_map(|problem| match &problem.place {
            Place::Variable { name, text } => Some((problem, name, text)),
            Place::File { .. } => None,
        });
    if let Some((problem, name, text)) = variable {
        let head = format!(
            "Failed to set value for {} to {text:?} from environment variable {name}",
            problem.slot
        );
        return Err(failure(&head, &[PARSE.to_owned(), problem.reason.clone()]));
    }
    for problem in config.problems() {
        if asked == Some(&problem.slot) {
            let mut refused = failure("TOML parse error", &[problem_text(problem)]);
            refused.hint(repair(scene, problem));
            return Err(refused);
        }
        said.problem(scene, problem);
    }
    Ok(config)
}

/// First cause of every refused value.
const PARSE: &str = "Failed to parse input";

fn problem_text(problem: &ValueError) -> String {
    match &problem.place {
        Place::File { spelled, .. } => format!("{}\nin `{spelled}`", problem.reason),
        Place::Variable { name, .. } => format!("{}\nin {name}", problem.reason),
    }
}

fn repair(scene: &Scene<'_>, problem: &ValueError) -> String {
    let (program, slot) = (scene.program, &problem.slot);
    let commands = format!(
        "`{program} config set {slot} VALUE` or `{program} config unset {slot}` repairs it"
    );
    scene.judge.here(program, commands)
}

fn load_failure(scene: &Scene<'_>, error: &LoadError) -> Said {
    match error {
        LoadError::Document(DocumentError::Broken { path, source }) => {
            let mut said = failure("TOML parse error", &[source.to_string()]);
            said.hint(format!("edit {}", path.display()));
            said
        }
        LoadError::Document(error) => {
            let path = scene.locations.file();
            let mut causes = vec![error.to_string()];
            causes.extend(sources(error));
            let mut said = failure(&format!("failed to read {}", path.display()), &causes);
            if let DocumentError::Keep(keep) = error
                && let Some(hint) = keep.hint()
            {
                said.hint(hint);
            }
            said
        }
        LoadError::NoTable { .. } => {
            let mut said = failure("TOML parse error", &[error.to_string()]);
            said.hint(format!("edit {}", scene.locations.file().display()));
            said
        }
        LoadError::Version { .. } => failure(
            "TOML parse error",
            &[format!("{error}\nin `config.version`")],
        ),
        LoadError::Twice { old, .. } => {
            let mut said = failure(&error.to_string(), &[]);
            let command = format!("`{} config unset {old}` removes the old one", scene.program);
            said.hint(scene.judge.here(scene.program, command));
            said
        }
        LoadError::NoText(_) | LoadError::TwoVariables { .. } => failure(&error.to_string(), &[]),
    }
}

fn sources(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

/// Exit 1: a head line, then the causes, numbered when there are several.
fn failure(head: &str, causes: &[String]) -> Said {
    let mut text = format!("Error: {head}\n");
    if !causes.is_empty() {
        text.push_str("\nCaused by:\n");
    }
    for (at, cause) in causes.iter().enumerate() {
        let mut lines = cause.lines();
        let first = lines.next().unwrap_or_default();
        let (number, indent) = match causes.len() {
            1 => (String::new(), "    "),
            _ => (format!("{at}: "), "       "),
        };
        let _ = writeln!(text, "    {number}{first}");
        for line in lines {
            let _ = writeln!(text, "{indent}{line}");
        }
    }
    Said {
        stdout: String::new(),
        stderr: text,
        exit: 1,
    }
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    let values: serde_json::Map<String, serde_json::Value> = finding
        .values
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    serde_json::json!({
        "id": finding.id.to_string(),
        "severity": finding.severity.to_string(),
        "sentence": finding.sentence,
        "values": values,
        "fix": finding.fix,
    })
}

impl Said {
    /// Adds a line of talk.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.stderr.push_str(text.as_ref());
        self.stderr.push('\n');
    }

    fn hint(&mut self, text: impl AsRef<str>) {
        self.line(format!("\nhint: {}", text.as_ref()));
    }

    /// This, and then how it ended.
    fn then(mut self, end: Self) -> Self {
        self.stderr.push_str(&end.stderr);
        Self {
            stdout: end.stdout,
            stderr: self.stderr,
            exit: end.exit,
        }
    }

    fn deprecated(&mut self, key: &TypedKey) {
        if key.found.spelling == Spelling::Deprecated {
            self.line(format!(
                "warning: The key '{}' is deprecated. Use '{}' instead.",
                key.typed, key.found.slot
            ));
        }
    }

    fn notices(&mut self, config: &Config) {
        for notice in config.notices() {
            self.line(format!("warning: {notice}"));
        }
    }

    fn problem(&mut self, scene: &Scene<'_>, problem: &ValueError) {
        self.line(format!("warning: {problem}; {}", repair(scene, problem)));
    }

    fn finding(&mut self, finding: &Finding) {
        self.line(format!(
            "{} {}: {}",
            finding.severity, finding.id, finding.sentence
        ));
        if !finding.fix.is_empty() {
            self.line(format!("  fix: {}", finding.fix));
        }
    }

    /// A gateway of thin-edge.io 2 keeps its clouds' keys in files of their own, which are not read here.
    fn other_files<'a>(&mut self, scene: &Scene<'_>, mut slots: impl Iterator<Item = &'a Slot>) {
        let mappers = scene.locations.dir.join("mappers");
        if slots.any(|slot| slot.key.key().profiled) && sectag_keep::is_dir(&mappers) == Some(true)
        {
            self.line(format!(
                "warning: {} is not read; thin-edge.io 2 keeps the keys of clouds there",
                mappers.display()
            ));
        }
    }

    fn not_set(&mut self, scene: &Scene<'_>, slot: &Slot) {
        self.exit = 1;
        if slot.key.key().default == Default::Certificate {
            self.line(format!(
                "The provided config key: '{slot}' is not configured: The device id is read from the device certificate.\n\
                 To set '{slot}' to some <id>, you can use `{} cert create --device-id <id>`.",
                scene.program
            ));
        } else {
            self.line(format!("The provided config key: '{slot}' is not set"));
        }
    }
}

/// A value for people; a secret only when asked for.
fn shown(slot: &Slot, value: &Value, show_secrets: bool) -> String {
    if slot.key.key().secret && !show_secrets {
        MASK.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
