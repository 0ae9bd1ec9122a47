//! `config`: finds the file, lets `sectag_gateway::verbs` answer, and prints it. It starts neither runtime nor TLS, and makes no
//! home: reading a key costs what starting a program costs.

mod judge;
mod service;

use judge::World;
pub(crate) use judge::{options, with_options};

use crate::args::{ConfigVerb, Global, Profile};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_gateway::Settings;
use sectag_gateway::config::{Config, Environment, Locations};
use sectag_gateway::verbs::{self, GetOptions, ListOptions, Operation, Said, Scene, TypedKey};
use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the configuration of the broker is: `--config-dir`, `TEDGE_CONFIG_DIR`, or the home.
pub(crate) fn locations(global: &Global, place: &Place) -> Outcome<Locations> {
    located(global, place, &environment())
}

fn located(global: &Global, place: &Place, environment: &Environment) -> Outcome<Locations> {
    let cwd = std::env::current_dir()?;
    let given = global.config_dir.as_deref();
    Ok(Locations::choose(given, environment, &place.home, &cwd))
}

/// The variables of this process that are about configuration.
pub(crate) fn environment() -> Environment {
    Environment::of_process()
}

/// Everything that is configured, for verbs that act on it; what stands beside it is said on stderr.
pub(crate) fn load(global: &Global, place: &Place) -> Outcome<(Config, Settings)> {
    let config = Config::load(&locations(global, place)?, &environment())?;
    for notice in config.notices() {
        eprintln!("warning: {notice}");
    }
    match config.settings() {
        Ok(settings) => Ok((config, settings)),
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(Fault::untried(errors.join("\n"))
                .hint("`sectag config set KEY VALUE` or `sectag config unset KEY` repairs a value"))
        }
    }
}

/// The first word behind global options is `config`, so that nothing else of the program is needed.
pub(crate) fn is_asked(arguments: &[OsString]) -> bool {
    const WITH_VALUE: [&str; 4] = ["--home", "--url", "--key-file", "--config-dir"];
    let mut arguments = arguments
        .iter()
        .skip(1)
        .filter_map(|argument| argument.to_str());
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument) {
            arguments.next();
        } else if !argument.starts_with('-') {
            return argument == "config";
        }
    }
    false
}

/// The two commands that scripts run most, `config get KEY` and `config set KEY VALUE` with nothing but a place; everything
/// else is the argument parser's, which alone takes a tenth of the time of such a command.
pub(crate) fn plain(arguments: &[OsString]) -> Option<(Global, ConfigVerb)> {
    let home = std::env::var_os("SECTAG_HOME").map(PathBuf::from);
    let mut global = Global {
        home,
        ..Global::default()
    };
    let mut words = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str()? {
            "--config-dir" => global.config_dir = Some(arguments.next()?.into()),
            "--home" => global.home = Some(arguments.next()?.into()),
            word if word.starts_with('-') => return None,
            word => words.push(word),
        }
    }
    // What an empty or dashed place means is the parser's to say.
    let odd = |place: &Option<PathBuf>| {
        let text = place
            .as_ref()
            .map(|place| place.as_os_str().as_encoded_bytes());
        text.is_some_and(|text| text.is_empty() || text.starts_with(b"-"))
    };
    if odd(&global.home) || odd(&global.config_dir) {
        return None;
    }
    let verb = match words[..] {
        ["config", "get", key] => ConfigVerb::Get {
            key: key.to_owned(),
            profile: Profile::default(),
            source: false,
            show_secrets: false,
        },
        ["config", "set", key, value] => ConfigVerb::Set {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
            more: Vec::new(),
            from: None,
            force: false,
            profile: Profile::default(),
        },
        _ => return None,
    };
    Some((global, verb))
}

/// Runs a verb. `program` is how the program was called.
pub(crate) fn config(program: &str, global: &Global, service: bool, verb: ConfigVerb) -> ExitCode {
    answer(program, global, service, verb).unwrap_or_else(|fault| {
        eprintln!("{}", fault.text());
        fault.exit()
    })
}

/// The end of the process, once everything is said: what it holds goes with it, and tidying it up would be work for nothing.
fn tell(said: &Said) -> ExitCode {
    eprint!("{}", without_controls(&said.stderr));
    match printed(&said.stdout) {
        Ok(()) => std::process::exit(said.exit.into()),
        Err(error) => {
            eprintln!("Error: cannot write the answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Who saves the answer in a file believes the exit code; a closed pipe (`| head`) is no error.
fn printed(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// What files, variables and arguments hold may be quoted; it must not steer the terminal.
fn without_controls(text: &str) -> std::borrow::Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(steers) {
        return text.into();
    }
    let shown = text.chars().map(|c| match c {
        c if steers(c) => c.escape_default().to_string(),
        c => c.to_string(),
    });
    shown.collect::<String>().into()
}

fn answer(program: &str, global: &Global, service: bool, verb: ConfigVerb) -> Outcome<ExitCode> {
    if let Ok(spec) = std::env::var("SECTAG_CRASH_AT") {
        sectag_keep::crash::arm(&spec)
            .map_err(|reason| Fault::untried(format!("SECTAG_CRASH_AT: {reason}")))?;
    }
    let place = Place::new(global.home.clone())?;
    if service {
        return service::answer(program, &place, verb, global.json).map(|said| tell(&said));
    }
    let environment = environment();
    let locations = located(global, &place, &environment)?;
    let profile = match &verb {
        ConfigVerb::Get { profile, .. }
        | ConfigVerb::Set { profile, .. }
        | ConfigVerb::Unset { profile, .. }
        | ConfigVerb::Add { profile, .. }
        | ConfigVerb::Remove { profile, .. } => profile.profile.clone(),
        _ => None,
    };
    let profile = profile.or_else(|| environment.profile().map(str::to_owned));
    let scene = Scene {
        locations: &locations,
        environment: &environment,
        profile: profile.as_deref(),
        program,
        judge: &World {
            resolve: matches!(verb, ConfigVerb::Check),
            options: judge::options(global),
        },
    };
    let json = global.json;
    let operations;
    let said = match &verb {
        ConfigVerb::Get {
            key,
            source,
            show_secrets,
            ..
        } => {
            let options = GetOptions {
                source: *source,
                json,
                show_secrets: *show_secrets,
            };
            with_key(key, |key| verbs::get(&scene, &key, &options))
        }
        ConfigVerb::Set {
            key,
            value,
            more,
            from,
            force,
            ..
        } => {
            operations = match from {
                Some(file) => from_lines(&text_of(file)?),
                None => pairs(program, key.iter().chain(value).chain(more)),
            };
            match &operations {
                Ok(operations) => change(&scene, &place, operations, *force)?,
                Err(said) => return Ok(tell(said)),
            }
        }
        ConfigVerb::Unset { key, more, .. } => {
            let mut operations = Vec::new();
            for typed in std::iter::once(key).chain(more) {
                match TypedKey::parse(typed) {
                    Ok(key) => operations.push(Operation::Unset(key)),
                    Err(reason) => return Ok(tell(&bad_key(typed, &reason))),
                }
            }
            change(&scene, &place, &operations, false)?
        }
        ConfigVerb::Add { key, value, .. } => {
            let add = |key| Operation::Add(key, value.clone());
            one(&scene, &place, key, add)?
        }
        ConfigVerb::Remove { key, value, .. } => {
            let remove = |key| Operation::Remove(key, value.clone());
            one(&scene, &place, key, remove)?
        }
        ConfigVerb::List {
            filter,
            all,
            doc,
            source,
            changed,
            show_secrets,
        } => {
            let options = ListOptions {
                all: *all,
                doc: *doc,
                source: *source,
                changed: *changed,
                json,
                show_secrets: *show_secrets,
                terminal: std::io::stdout().is_terminal(),
            };
            verbs::list(&scene, filter.as_deref(), &options)
        }
        ConfigVerb::Check => verbs::check(&scene, json),
        ConfigVerb::Upgrade => verbs::upgrade(&scene),
    };
    Ok(tell(&said))
}

/// A home is ours alone; it is made here and not by the first write, which would make it for everybody.
fn change(
    scene: &Scene<'_>,
    place: &Place,
    operations: &[Operation],
    force: bool,
) -> Outcome<Said> {
    if scene.locations.dir == place.home {
        sectag_keep::private_dir(&place.home)?;
    }
    Ok(verbs::change(scene, operations, force))
}

fn one(
    scene: &Scene<'_>,
    place: &Place,
    typed: &str,
    operation: impl FnOnce(TypedKey) -> Operation,
) -> Outcome<Said> {
    match TypedKey::parse(typed) {
        Ok(key) => change(scene, place, &[operation(key)], false),
        Err(reason) => Ok(bad_key(typed, &reason)),
    }
}

fn with_key(typed: &str, then: impl FnOnce(TypedKey) -> Said) -> Said {
    match TypedKey::parse(typed) {
        Ok(key) => then(key),
        Err(reason) => bad_key(typed, &reason),
    }
}

/// In the words of the argument parser.
fn bad_key(typed: &str, reason: &str) -> Said {
    usage(&format!("invalid value '{typed}' for '<KEY>': {reason}"))
}

fn usage(text: &str) -> Said {
    let mut said = Said {
        exit: 2,
        ..Said::default()
    };
    said.line(format!(
        "error: {text}\n\nFor more information, try '--help'."
    ));
    said
}

/// Keys and values in turn.
fn pairs<'a>(
    program: &str,
    words: impl Iterator<Item = &'a String>,
) -> Result<Vec<Operation>, Said> {
    let mut operations = Vec::with_capacity(1);
    let mut words = words.peekable();
    while let Some(typed) = words.next() {
        let key = match TypedKey::parse(typed) {
            Ok(key) => key,
            // After a complete pair, a word that is no key was not meant as one.
            Err(_) if !operations.is_empty() && words.peek().is_none() => {
                return Err(usage(&format!(
                    "unexpected argument '{typed}' found\n\nUsage: {program} config set [OPTIONS] <KEY> <VALUE> [<KEY> <VALUE>]..."
                )));
            }
            Err(reason) => return Err(bad_key(typed, &reason)),
        };
        let Some(value) = words.next() else {
            return Err(usage(&format!(
                "the following required arguments were not provided:\n  <VALUE> of {typed}\n\nUsage: {program} config set [OPTIONS] <KEY> <VALUE> [<KEY> <VALUE>]..."
            )));
        };
        operations.push(Operation::Set(key, value.clone()));
    }
    Ok(operations)
}

/// Lines as `config list` prints them.
fn from_lines(text: &str) -> Result<Vec<Operation>, Said> {
    let mut operations = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = at + 1;
        let Some((typed, value)) = line.split_once('=') else {
            // What it says is not repeated: it may be a password.
            return Err(usage(&format!("line {at} is not KEY=VALUE")));
        };
        let (typed, value) = (typed.trim_end(), value.trim_start());
        let key = TypedKey::parse(typed)
            .map_err(|reason| bad_key(typed, &format!("line {at}: {reason}")))?;
        operations.push(match verbs::value_of_line(value) {
            Some(value) => Operation::Set(key, value),
            None => Operation::Unset(key),
        });
    }
    Ok(operations)
}

fn text_of(file: &Path) -> Outcome<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    let content = sectag_keep::read_public(file)?
        .ok_or_else(|| Fault::untried(format!("`{}` does not exist", file.display())))?;
    String::from_utf8(content)
        .map_err(|_| Fault::untried(format!("`{}` is not text in UTF-8", file.display())))
}
