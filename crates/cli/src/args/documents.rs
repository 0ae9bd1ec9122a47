//! What the documents, and the hints in the code, say can be typed is parsed by the command itself: a renamed verb or flag fails
//! here. `docs/reference/verbs.md` is the tree of verbs, so that each is in a document.
//!
//! In a shell block every line that begins with `sectag` is a call, and must parse whole. Between backticks it is a mention: it may
//! stop before its arguments, stand for several (`list|show`), leave options open (`[--limit N]`), and go on in the next
//! backticks with a verb's sisters (`sectag webhooks pause`, `resume`). Words in capitals, in `<>` or `{}`, and `…` are placeholders.

use super::Cli;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _};
use std::path::{Path, PathBuf};

const VERBS: &str = "docs/reference/verbs.md";

#[test]
fn every_call_in_the_documents_parses() {
    let tree = tree();
    let mut found = Found::default();
    for path in documents() {
        read_document(&tree, &path, &mut found);
    }
    assert!(found.calls > 200, "only {} calls were found", found.calls);
    assert_none(&found.wrong, "what does not parse");
}

#[test]
fn every_call_in_a_hint_or_a_help_text_parses() {
    let tree = tree();
    let mut found = Found::default();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for span in text_of_source(&text).split('`').skip(1) {
            found.mention(&tree, &path, &[], span);
        }
    }
    assert!(found.calls > 100, "only {} calls were found", found.calls);
    assert_none(&found.wrong, "what does not parse");
}

#[test]
fn the_page_of_verbs_is_the_tree() {
    let path = root().join(VERBS);
    let page = page_of_verbs(&tree());
    if std::env::var_os("SECTAG_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == page,
        "{VERBS} is not the tree; run this test with SECTAG_WRITE_REFERENCE=1"
    );
}

#[test]
fn every_verb_and_every_option_says_what_it_is() {
    let mut silent = Vec::new();
    each(&tree(), &mut Vec::new(), &mut |path, command| {
        let name = path.join(" ");
        if command.get_about().is_none() {
            silent.push(name.clone());
        }
        for arg in command.get_arguments() {
            let what = arg.get_help().map(ToString::to_string).unwrap_or_default();
            if what.is_empty() && !arg.is_hide_set() {
                silent.push(format!("{name}: {}", arg.get_id()));
            }
        }
    });
    assert_none(&silent, "what says nothing of itself");
}

fn assert_none(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn page_of_verbs(tree: &Command) -> String {
    let mut page = "# Verbs\n\nEvery verb of `sectag`, as `--help` lists them; the options of one are in its own `--help`. \
        Data goes to stdout, talk to stderr.\n"
        .to_owned();
    page += "\n| exit code | meaning |\n|---|---|\n| 0 | done |\n| 1 | the answer is no |\n| 2 | it could not be tried |\n";
    page += "\nA verb that has others says so in its help.\n\n| verb | what it does |\n|---|---|\n";
    each(tree, &mut Vec::new(), &mut |path, command| {
        if command.has_subcommands() && command.is_subcommand_required_set() || path.is_empty() {
            return;
        }
        let usage = command.clone().render_usage().to_string();
        let usage = usage.lines().next().unwrap_or_default();
        let usage = usage
            .trim_start_matches("Usage: ")
            .replace("[OPTIONS] ", "");
        let usage = usage
            .trim_end_matches(" [OPTIONS]")
            .trim_end_matches(" [COMMAND]");
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        page += &format!("| `{}` | {} |\n", cell(usage), cell(&about));
    });
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// What was met, and what did not parse.
#[derive(Default)]
struct Found {
    calls: usize,
    wrong: Vec<String>,
}

impl Found {
    /// A whole call, as typed into a shell.
    fn call(&mut self, tree: &Command, place: &Path, line: &str) {
        if let Some(words) = words(line) {
            self.parse(tree, place, &words, true);
        }
    }

    /// What stands between backticks; `above` is the verb whose sisters may go on without its name. The verb above this one.
    fn mention(
        &mut self,
        tree: &Command,
        place: &Path,
        above: &[String],
        span: &str,
    ) -> Option<Vec<String>> {
        let text = if span.starts_with("sectag ") {
            span.to_owned()
        } else {
            let first = span.split_whitespace().next()?;
            at(tree, above)
                .filter(|_| !above.is_empty())?
                .find_subcommand(first)?;
            format!("sectag {} {span}", above.join(" "))
        };
        let words: Vec<_> = words(&text)?
            .iter()
            .map(|word| {
                word.trim_start_matches('[')
                    .trim_end_matches("]…")
                    .trim_end_matches(']')
                    .to_owned()
            })
            .collect();
        let words = without_dots(tree, words);
        let mut last = None;
        for words in alternatives(tree, &words) {
            last = self.parse(tree, place, &words, false);
        }
        let mut above = last?;
        above.pop();
        Some(above)
    }

    /// Parses and notes; the path of the verb.
    fn parse(
        &mut self,
        tree: &Command,
        place: &Path,
        words: &[String],
        whole: bool,
    ) -> Option<Vec<String>> {
        self.calls += 1;
        let (path, _) = path_of(tree, words);
        if let Err(error) = tree.clone().try_get_matches_from(words)
            && !is_excused(&error, whole)
        {
            let error = error.to_string();
            let reason = error.lines().next().unwrap_or_default();
            self.wrong.push(format!(
                "{}: `{}`: {reason}",
                place.strip_prefix(root()).unwrap_or(place).display(),
                words.join(" ")
            ));
        }
        Some(path)
    }
}

/// `…` where nothing can stand says that more may follow.
fn without_dots(tree: &Command, mut words: Vec<String>) -> Vec<String> {
    if words.last().is_some_and(|word| word == "…")
        && let Err(error) = tree.clone().try_get_matches_from(&words)
        && error.kind() == ErrorKind::UnknownArgument
    {
        words.pop();
    }
    words
}

/// A placeholder is no number; a mention need not be whole.
fn is_excused(error: &clap::Error, whole: bool) -> bool {
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::ValueValidation | ErrorKind::InvalidValue if !value.is_empty() => {
            is_placeholder(value)
        }
        ErrorKind::InvalidValue
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !whole,
        _ => false,
    }
}

fn is_placeholder(word: &str) -> bool {
    word.contains(['…', '<', '{'])
        || word.contains(|c: char| c.is_ascii_uppercase())
            && !word.contains(|c: char| c.is_ascii_lowercase())
}

/// `list|show` stands for two calls; a placeholder where a verb belongs for all that take what follows.
fn alternatives(tree: &Command, words: &[String]) -> Vec<Vec<String>> {
    let (path, behind) = path_of(tree, words);
    let Some(next) = words.get(behind) else {
        return vec![words.to_vec()];
    };
    let Some(command) = at(tree, &path).filter(|command| command.has_subcommands()) else {
        return vec![words.to_vec()];
    };
    let with = |verb: &str| {
        let mut words = words.to_vec();
        verb.clone_into(&mut words[behind]);
        words
    };
    if is_placeholder(next) {
        let fits = |words: &Vec<String>| match tree.clone().try_get_matches_from(words) {
            Ok(_) => true,
            Err(error) => is_excused(&error, false),
        };
        let verbs = command.get_subcommands().map(|verb| with(verb.get_name()));
        let fitting: Vec<_> = verbs.filter(fits).collect();
        return if fitting.is_empty() {
            vec![words.to_vec()]
        } else {
            fitting
        };
    }
    next.split('|').map(with).collect()
}

/// The verbs at the start of a call, and where what follows them begins.
fn path_of(tree: &Command, words: &[String]) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    let mut command = tree;
    let mut behind = 1;
    while let Some(word) = words.get(behind) {
        if let Some(option) = word.strip_prefix("--") {
            let takes_value = command
                .get_arguments()
                .filter(|arg| arg.get_long() == Some(option))
                .any(|arg| arg.get_action().takes_values());
            behind += usize::from(takes_value);
        } else if let Some(verb) = command.find_subcommand(word) {
            path.push(verb.get_name().to_owned());
            command = verb;
        } else {
            break;
        }
        behind += 1;
    }
    (path, behind)
}

fn at<'a>(tree: &'a Command, path: &[String]) -> Option<&'a Command> {
    path.iter()
        .try_fold(tree, |command, verb| command.find_subcommand(verb))
}

fn each(command: &Command, path: &mut Vec<String>, look: &mut impl FnMut(&[String], &Command)) {
    look(path, command);
    for verb in command.get_subcommands() {
        if verb.is_hide_set() || verb.get_name() == "help" {
            continue;
        }
        path.push(verb.get_name().to_owned());
        each(verb, path, look);
        path.pop();
    }
}

fn tree() -> Command {
    let mut tree = Cli::command();
    tree.build();
    tree
}

/// Shell blocks line by line; elsewhere what is between backticks, paragraph by paragraph.
fn read_document(tree: &Command, path: &Path, found: &mut Found) {
    let text = std::fs::read_to_string(path).unwrap().replace("\\\n", "");
    let mut block = None::<Vec<&str>>;
    let mut above = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            match block.take() {
                None => block = Some(vec![line]),
                Some(lines) => calls(&lines).for_each(|line| found.call(tree, path, line)),
            }
        } else if let Some(lines) = &mut block {
            lines.push(line);
        } else {
            if line.trim().is_empty() || line.starts_with('|') {
                above.clear();
            }
            for span in line.split('`').skip(1).step_by(2) {
                if let Some(verb) = found.mention(tree, path, &above, span) {
                    above = verb;
                }
            }
        }
    }
}

/// What is typed in a block: the lines behind a prompt, or all lines where the first is a call. The rest is what is printed.
fn calls<'a>(block: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let prompts = block.iter().any(|line| line.starts_with("$ "));
    let typed = prompts
        || block[0].ends_with("sh")
        || block.get(1).is_some_and(|line| words(line).is_some());
    block
        .iter()
        .copied()
        .filter(move |line| typed && (!prompts || line.starts_with("$ ")))
}

/// The words of a call of `sectag`, without prompt, settings of the environment, comment, redirection and what follows in a column.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start().trim_start_matches("$ ");
    let mut words: Vec<String> = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    let mut blanks = 0;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => {
                words.extend(word.take());
                blanks += 1;
                continue;
            }
            (None, '>' | '&' | ';') if word.is_none() => break,
            (None, '#' | '|') if word.is_none() => break,
            (None, c) => {
                if blanks > 1 {
                    break;
                }
                word.get_or_insert_default().push(c);
            }
        }
        blanks = 0;
    }
    words.extend(word);
    let first = words
        .iter()
        .position(|word| word != "sudo" && !is_setting(word))?;
    (words[first] == "sectag" && words.len() > first + 1).then(|| words.split_off(first))
}

fn is_setting(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    })
}

/// Doc comments and string literals that go on over several lines, in one.
fn text_of_source(text: &str) -> String {
    let mut joined = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        let comment = ["//! ", "/// "]
            .iter()
            .find_map(|mark| line.strip_prefix(mark));
        match (comment, line.strip_suffix('\\')) {
            (Some(comment), _) => joined.extend([comment, " "]),
            (None, Some(part)) => joined.push_str(part),
            (None, None) => joined.extend([line, "\n"]),
        }
    }
    joined.replace("\\\"", "\"").replace("{}", " … ")
}

fn documents() -> Vec<PathBuf> {
    let root = root();
    let mut documents = files(&root.join("docs"), "md");
    let beside = std::fs::read_dir(&root).unwrap();
    documents.extend(
        beside
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "md")),
    );
    documents.retain(|path| !path.ends_with(VERBS));
    documents.sort();
    documents
}

fn sources() -> Vec<PathBuf> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    crates
        .flat_map(|member| files(&member.unwrap().path().join("src"), "rs"))
        .filter(|path| !path.ends_with("args/documents.rs"))
        .collect()
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.extension().is_some_and(|is| is == end) {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
