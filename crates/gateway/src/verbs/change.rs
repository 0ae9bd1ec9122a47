//! `set`, `unset`, `add`, `remove`: a transaction on the file; the environment has no say in it.

use super::{PARSE, Said, Scene, TypedKey, failure, here, load_failure, shown, sources};
use crate::config::{Config, LoadError, conflict};
use crate::document::{self, Document, DocumentError};
use crate::findings::{self, Asked, Finding, FindingId};
use crate::keys::{Holds, Kind, Slot, Spelling};
use crate::restart;
use crate::value::{Parsed, Value};
use sectag_keep::KeepError;
use std::collections::BTreeSet;

/// One change. It has no `Debug`: a password may be the value.
#[derive(Clone)]
pub enum Operation {
    /// Give a key a value.
    Set(TypedKey, String),
    /// Remove its value.
    Unset(TypedKey),
    /// Add items to a list; for other types the same as setting.
    Add(TypedKey, String),
    /// Take items from a list; for other types remove the value if it is this one.
    Remove(TypedKey, String),
}

/// Applies all operations, or none. `force` writes values that make no sense (RULE 4), never those that are no values.
pub fn change(scene: &Scene<'_>, operations: &[Operation], force: bool) -> Said {
    let mut said = Said::default();
    let steps = match steps(scene, operations, force, &mut said) {
        Ok(steps) => steps,
        Err(refused) => return said.then(refused),
    };
    let path = scene.locations.file();
    let result = document::edit(&path, |document| {
        let before = Config::of_document(scene.locations, document).ok();
        // What can be read has no key under two names.
        if before.is_none() {
            check_before(document, &steps)?;
        }
        for step in &steps {
            step.apply(document, scene)?;
        }
        let after = match Config::of_document(scene.locations, document) {
            Ok(after) => after,
            Err(error) => {
                conflict(document)?;
                return Err(error.into());
            }
        };
        Ok::<_, Stop>((before, after))
    });
    match result {
        Ok((before, after)) => {
            follow(scene, &steps, before.as_ref(), &after, &mut said);
            said
        }
        Err(stop) => said.then(refused(scene, &steps, &stop)),
    }
}

/// The value of a line that `list` printed; `None` when it has none. Lists become what a command takes.
pub fn value_of_line(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let list = text
        .starts_with('[')
        .then(|| text.parse::<toml_edit::Value>().ok())
        .flatten();
    match list.as_ref().and_then(toml_edit::Value::as_array) {
        Some(items) => {
            let items: Vec<&str> = items.iter().filter_map(toml_edit::Value::as_str).collect();
            Some(items.join(","))
        }
        None => Some(text.to_owned()),
    }
}

/// A checked operation.
struct Step {
    slot: Slot,
    /// As typed, when that is another name of the key.
    old_name: Option<String>,
    action: Action,
    /// For messages; masked for a secret.
    text: String,
}

enum Action {
    Set(Value),
    Unset,
    Add(Vec<String>),
    Remove(Vec<String>),
    UnsetIf(Value),
}

#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Keep(#[from] KeepError),
}

fn steps(
    scene: &Scene<'_>,
    operations: &[Operation],
    force: bool,
    said: &mut Said,
) -> Result<Vec<Step>, Said> {
    let mut steps: Vec<Step> = Vec::new();
    let mut refusals = Said::default();
    for operation in operations {
        let (typed, text) = match operation {
            Operation::Unset(typed) => (typed, None),
            Operation::Set(typed, text)
            | Operation::Add(typed, text)
            | Operation::Remove(typed, text) => (typed, Some(text)),
        };
        said.deprecated(typed);
        let slot = typed.slot(scene)?;
        if steps.iter().any(|step| step.slot == slot) {
            let mut twice = failure(&format!("'{slot}' is given twice"), &[]);
            twice.exit = 2;
            return Err(twice);
        }
        let secret = slot.key.key().secret;
        let shown_text = match text {
            Some(_) if secret => super::MASK.to_owned(),
            Some(text) => text.clone(),
            None => String::new(),
        };
        let action = match (operation, text) {
            (Operation::Unset(_), _) | (_, None) => Action::Unset,
            (_, Some(text)) if secret && text == super::MASK => {
                let reason = "this is what stands for a secret in a list; give the secret itself";
                refusals = refusals.then(not_set(&slot, &shown_text, reason));
                continue;
            }
            (operation, Some(text)) => {
                let Parsed { value, concern } = match checked(scene, &slot, text, &shown_text) {
                    Ok(parsed) => parsed,
                    Err(refused) => {
                        refusals = refusals.then(refused);
                        continue;
                    }
                };
                let removes = matches!(operation, Operation::Remove(..));
                match concern {
                    Some(reason) if force => {
                        said.line(format!("warning: {slot}: {reason}; written as you wish"));
                    }
                    Some(reason) if !removes => {
                        let mut refused = not_set(&slot, &shown_text, &reason);
                        refused.hint("`--force` writes it nevertheless");
                        refusals = refusals.then(refused);
                        continue;
                    }
                    _ => {}
                }
                match (operation, value) {
                    (Operation::Add(..), Value::List(items)) => Action::Add(items),
                    (Operation::Remove(..), Value::List(items)) => Action::Remove(items),
                    (Operation::Remove(..), value) => Action::UnsetIf(value),
                    (_, value) => Action::Set(value),
                }
            }
        };
        steps.push(Step {
            old_name: (typed.found.spelling == Spelling::Deprecated).then(|| typed.typed.clone()),
            slot,
            action,
            text: shown_text,
        });
    }
    if refusals.exit == 0 {
        return Ok(steps);
    }
    if operations.len() > 1 {
        refusals.line("nothing was written");
    }
    Err(refusals)
}

fn checked(scene: &Scene<'_>, slot: &Slot, text: &str, shown_text: &str) -> Result<Parsed, Said> {
    Value::parse(slot.key.key().kind, text, &scene.locations.cwd).map_err(|refusal| {
        // The reason may quote the value.
        let reason = match slot.key.key().secret {
            true => "this is no value of its type".to_owned(),
            false => refusal.to_string(),
        };
        not_set(slot, shown_text, &reason)
    })
}

fn not_set(slot: &Slot, text: &str, reason: &str) -> Said {
    failure(
        &format!("failed to set the configuration key: '{slot}' with value: {text}."),
        &[PARSE.to_owned(), reason.to_owned()],
    )
}

/// A key under two names stops everything except removing the old one.
fn check_before(document: &Document, steps: &[Step]) -> Result<(), LoadError> {
    let mut rest = document.clone();
    for step in steps
        .iter()
        .filter(|step| matches!(step.action, Action::Unset))
    {
        step.unset(&mut rest)?;
    }
    conflict(&rest)
}

impl Step {
    fn apply(&self, document: &mut Document, scene: &Scene<'_>) -> Result<(), LoadError> {
        match &self.action {
            Action::Unset => self.unset(document),
            Action::Set(value) => self.set(document, value),
            Action::Add(items) => {
                let mut all: BTreeSet<String> = self.items(document, scene)?.into_iter().collect();
                all.extend(items.iter().cloned());
                self.set(document, &Value::List(all.into_iter().collect()))
            }
            Action::Remove(items) => {
                let before = self.items(document, scene)?;
                let mut left = before.clone();
                left.retain(|item| !items.contains(item));
                if left == before {
                    return Ok(());
                }
                self.set(document, &Value::List(left))
            }
            Action::UnsetIf(value) => {
                let config = Config::of_document(scene.locations, document)?;
                let is_it = config
                    .setting(&self.slot)
                    .is_some_and(|set| set.value == *value);
                if is_it { self.unset(document) } else { Ok(()) }
            }
        }
    }

    /// Under the canonical name; the other names go.
    fn set(&self, document: &mut Document, value: &Value) -> Result<(), LoadError> {
        let name = self.slot.name();
        let value = value.to_toml();
        let old = names(&self.slot)
            .into_iter()
            .find(|other| *other != name && document.get(other).is_some());
        match old {
            Some(old) => document.rename(&old, &name, &value)?,
            None => document.set(&name, &value)?,
        }
        Ok(())
    }

    /// All names of the key, or only the old one that was typed when the right one is there as well.
    fn unset(&self, document: &mut Document) -> Result<(), LoadError> {
        if let Some(old) = &self.old_name
            && document.get(old).is_some()
        {
            document.unset(old)?;
            return Ok(());
        }
        for name in names(&self.slot) {
            document.unset(&name)?;
        }
        Ok(())
    }

    /// The list in the file, else the default.
    fn items(&self, document: &Document, scene: &Scene<'_>) -> Result<Vec<String>, LoadError> {
        let config = Config::of_document(scene.locations, document)?;
        Ok(match config.value(&self.slot) {
            Some((Value::List(items), _)) => items,
            _ => Vec::new(),
        })
    }
}

/// Every spelling under which the key may stand in a file.
fn names(slot: &Slot) -> Vec<String> {
    let in_profile = |name: &str| match (&slot.profile, name.split_once('.')) {
        (Some(profile), Some((cloud, rest))) => format!("{cloud}.profiles.{profile}.{rest}"),
        _ => name.to_owned(),
    };
    let key = slot.key.key();
    let mut names = vec![in_profile(key.name)];
    names.extend(key.aliases.iter().map(|alias| in_profile(alias)));
    // A name with underscores is found without dots only.
    if slot.profile.is_none() {
        let flat: Vec<String> = names.iter().map(|name| name.replace('.', "_")).collect();
        names.extend(flat);
    }
    names
}

fn refused(scene: &Scene<'_>, steps: &[Step], stop: &Stop) -> Said {
    let keep = match stop {
        Stop::Load(LoadError::Document(DocumentError::Keep(keep)))
        | Stop::Document(DocumentError::Keep(keep))
        | Stop::Keep(keep) => keep,
        Stop::Load(LoadError::Document(
            error @ (DocumentError::Blocked(_) | DocumentError::Unsafe(_)),
        )) => return failure(&head(steps), &[error.to_string()]),
        Stop::Load(error) => return load_failure(scene, error),
        Stop::Document(DocumentError::Broken { path, source }) => {
            let path = path.clone();
            let source = source.clone();
            return load_failure(
                scene,
                &LoadError::Document(DocumentError::Broken { path, source }),
            );
        }
        Stop::Document(error) => {
            return failure(&head(steps), &[error.to_string()]);
        }
    };
    let mut causes = vec![match keep {
        KeepError::Io {
            action: "write", ..
        } => format!(
            "Writing the content to the file {:?} failed",
            scene.locations.file()
        ),
        other => other.to_string(),
    }];
    causes.extend(sources(keep));
    let mut said = failure(&head(steps), &causes);
    if let Some(hint) = keep.hint() {
        said.hint(hint);
    }
    said
}

fn head(steps: &[Step]) -> String {
    match steps {
        [one] if one.text.is_empty() => {
            format!("failed to unset the configuration key: '{}'.", one.slot)
        }
        [one] => format!(
            "failed to set the configuration key: '{}' with value: {}.",
            one.slot, one.text
        ),
        several => {
            let keys: Vec<String> = several
                .iter()
                .map(|step| format!("'{}'", step.slot))
                .collect();
            format!(
                "failed to change the configuration keys {}; nothing was written.",
                keys.join(", ")
            )
        }
    }
}

/// What follows from the change: odd things in the file, paths that lead nowhere, variables that win, services to restart,
/// findings.
fn follow(
    scene: &Scene<'_>,
    steps: &[Step],
    before: Option<&Config>,
    after: &Config,
    said: &mut Said,
) {
    said.notices(after);
    for problem in after.problems() {
        said.problem(scene, problem);
    }
    let nothing = Document::default();
    let overriding = Config::of(scene.locations, &nothing, scene.environment);
    for step in steps {
        if overriding
            .as_ref()
            .is_ok_and(|config| config.is_said(&step.slot))
        {
            said.line(format!(
                "note: the environment has the last word on {}: {}",
                step.slot,
                step.slot.variable()
            ));
        }
    }
    let file = scene.locations.file();
    let is_secret =
        |step: &Step| step.slot.key.key().secret && matches!(step.action, Action::Set(_));
    if steps.iter().any(is_secret) && sectag_keep::is_readable_by_others(&file) == Some(true) {
        let file = file.display();
        said.line(format!(
            "warning: others may read {file}, and a secret is in it; `chmod 600 {file}`"
        ));
    }
    said.other_files(scene, steps.iter().map(|step| &step.slot));
    let findings = findings(scene, steps, before, after);
    for step in steps {
        let name = step.slot.name();
        // A half pair says nothing about the path that is there.
        let is_told = |finding: &Finding| {
            finding.id != FindingId::E1 && finding.values.iter().any(|(key, _)| *key == name)
        };
        if let Action::Set(value) = &step.action
            && !findings.iter().any(is_told)
        {
            path_notes(&step.slot, value, said);
        }
    }
    if let Some(line) = restarts(steps, before, after) {
        said.line(format!("note: {line}"));
    }
    for finding in findings {
        said.line(format!(
            "{} {}: {}{}",
            finding.severity,
            finding.id,
            finding.sentence,
            match finding.fix.as_str() {
                "" => String::new(),
                fix => format!("; fix: {}", fix.lines().next().unwrap_or_default()),
            }
        ));
    }
}

/// Those that the change can touch: others were there before it, and would cost reading certificates.
fn findings(
    scene: &Scene<'_>,
    steps: &[Step],
    before: Option<&Config>,
    after: &Config,
) -> Vec<Finding> {
    let touched = |groups: &[&str]| {
        let is_in = |step: &Step| {
            groups
                .iter()
                .any(|group| step.slot.key.name().starts_with(group))
        };
        steps.iter().any(is_in)
    };
    let mut found = match after.settings() {
        Ok(settings) if touched(&["mqtt.", "certificate."]) => {
            let typed: Vec<&str> = steps.iter().map(|step| step.slot.key.name()).collect();
            let asked = match before.map(Config::settings) {
                Some(Ok(before)) => Asked::after(&before, &settings, &typed),
                // Nothing could be said about them before.
                _ => Asked::everything(),
            };
            match asked.is_nothing() {
                true => Vec::new(),
                false => scene.judge.findings(&settings, &asked),
            }
        }
        _ => Vec::new(),
    };
    if touched(&["http.", "c8y.proxy."]) {
        found = findings::join(found, findings::of_neighbours(after));
    }
    here(scene, found)
}

/// One line: who must restart because of the keys whose value changed (spec/gateway-config §10).
fn restarts(steps: &[Step], before: Option<&Config>, after: &Config) -> Option<String> {
    let changed = steps.iter().filter(|step| {
        let value = |config: &Config| config.value(&step.slot).map(|(value, _)| value);
        before.is_none_or(|before| value(before) != value(after))
    });
    let lines: Vec<String> = changed
        .filter_map(|step| restart::one_line_for(step.slot.key.name()))
        .collect();
    // The broker's line says how it is done; what the others ask for comes behind it.
    let first = lines
        .iter()
        .find(|line| line.starts_with("run"))
        .or(lines.first())?;
    let (how, _) = first.split_once(": ")?;
    let mut who: Vec<&str> = Vec::new();
    let parts = lines.iter().filter_map(|line| line.split_once(": "));
    for part in parts.flat_map(|(_, who)| who.split(", then ")) {
        if !who.contains(&part) {
            who.push(part);
        }
    }
    // What is done in any case needs no condition.
    let (broker, services) = ("restart mosquitto", "restart every service");
    let all = who.clone();
    who.retain(|part| {
        let broker_too = all.contains(&broker) && part.contains("mosquitto") && *part != broker;
        let services_too = all.contains(&services) && part.starts_with("restart the services");
        !broker_too && !services_too
    });
    who.sort_by_key(|part| !part.contains("mosquitto"));
    Some(format!("{how}: {}", who.join(", then ")))
}

/// The tier "warn and write" of RULE 4, as far as the path alone tells; what is inside is for findings.
fn path_notes(slot: &Slot, value: &Value, said: &mut Said) {
    let key = slot.key.key();
    let (Kind::Path, Some(path)) = (key.kind, value.as_path()) else {
        return;
    };
    let text = shown(slot, value, false);
    let wants_dir = match key.holds {
        Holds::Anything => return,
        Holds::AuthorityDir => Some(true),
        Holds::Authorities => None,
        Holds::Certificate | Holds::PrivateKey | Holds::File => Some(false),
    };
    match (sectag_keep::is_dir(path), wants_dir) {
        (None, _) => said.line(format!("warning: {text} does not exist")),
        (Some(true), Some(false)) => {
            said.line(format!(
                "warning: {text} is a directory, and {slot} is for a file"
            ));
        }
        (Some(false), Some(true)) => {
            said.line(format!(
                "warning: {text} is a file, and {slot} is for a directory"
            ));
        }
        _ => {}
    }
}
