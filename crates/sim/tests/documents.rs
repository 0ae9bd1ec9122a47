//! The documents lead where they say, and know every action of the audit trail that the sources write.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files with this ending below `folder`.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
    found
}

/// The documents for people.
fn pages() -> Vec<PathBuf> {
    let mut pages = files(&root().join("docs"), "md");
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ] {
        pages.push(root().join(page));
    }
    pages
}

/// A page's lines outside of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Where `[words](target)` lead to.
fn links(text: &str) -> Vec<&str> {
    let of_line = |line| {
        let line: &str = line;
        let ends = line.split("](").skip(1);
        ends.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
    };
    prose(text).flat_map(of_line).collect()
}

/// The anchor of a heading, as forges make it: lower case, hyphens for blanks, no other signs.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let there = file.exists()
                && (fragment.is_empty() || {
                    let text = std::fs::read_to_string(&file).unwrap_or_default();
                    let headings = prose(&text).filter(|line| line.starts_with('#'));
                    let named = format!("id=\"{fragment}\"");
                    headings.map(anchor).any(|known| known == fragment) || text.contains(&named)
                });
            if !there {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What stands between backticks, outside of blocks of code.
fn code(text: &str) -> Vec<&str> {
    prose(text)
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let folders = [
        "crates/",
        "docs/",
        "fuzz/",
        "packaging/",
        "spec/",
        "tests/",
        "tools/",
    ];
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for name in code(&text) {
            let plain = !name.contains(['{', '*', '…', ' ', '<']);
            if !plain || !folders.iter().any(|folder| name.starts_with(folder)) {
                continue;
            }
            // `tests/moves.rs` may be a crate's.
            let name = name.split(':').next().unwrap();
            let crates = std::fs::read_dir(root().join("crates")).unwrap();
            let mut roots: Vec<_> = crates.map(|entry| entry.unwrap().path()).collect();
            roots.push(root());
            if !roots.iter().any(|root| root.join(name).exists()) {
                wrong.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_bench_and_test_that_a_document_runs_is_there() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for line in text.lines().filter(|line| line.contains("-p sectag-")) {
            let rest = line.split("-p sectag-").nth(1).unwrap();
            let name = rest.split([' ', '`']).next().unwrap();
            for (option, folder) in [("--bench ", "benches"), ("--test ", "tests")] {
                let Some(rest) = rest.split('`').next().unwrap().split(option).nth(1) else {
                    continue;
                };
                let target = rest.split(' ').next().unwrap();
                let path = root().join("crates").join(name).join(folder).join(target);
                if !path.is_dir() && !path.with_extension("rs").exists() {
                    wrong.push(format!("{}: {}", page.display(), path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A file's text before its tests.
fn program(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Words with hyphens that stand between quotes, each with the sign before it.
fn quoted(text: &str) -> impl Iterator<Item = (Option<char>, &str)> {
    let pieces: Vec<&str> = text.split('"').collect();
    let words = pieces.chunks(2).filter_map(|pair| match pair {
        [before, word] => Some((before.trim_end().chars().next_back(), *word)),
        _ => None,
    });
    let words: Vec<_> = words.collect();
    words.into_iter().filter(|(_, word)| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    })
}

/// Actions that a file writes into the audit trail: what `AuditEvent::new` and its helpers are called with.
fn actions(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for call in ["AuditEvent::new(", "about("] {
        for rest in text.split(call).skip(1) {
            let mut depth = 1;
            let end = rest.find(|c| {
                depth += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth == 0
            });
            let given = &rest[..end.unwrap_or(0)];
            // Who did it may stand before what was done.
            let actors = ["service", "device", "broker"];
            let mut arguments =
                quoted(given).filter(|(before, _)| matches!(before, None | Some(',')));
            let action = arguments.find(|(_, word)| !actors.contains(word));
            found.extend(action.map(|(_, word)| word.to_owned()));
        }
    }
    for line in text
        .lines()
        .filter(|line| line.trim_start().starts_with("let action = if "))
    {
        found.extend(quoted(line).map(|(_, word)| word.to_owned()));
    }
    found
}

#[test]
fn every_action_of_the_audit_trail_stands_in_its_reference_and_the_reverse() {
    let page = std::fs::read_to_string(root().join("docs/reference/audit.md")).unwrap();
    let mut told = BTreeSet::new();
    for head in [
        "| action | kind of [event](events.md) | what |",
        "| alarm | raised by |",
    ] {
        let (_, table) = page.split_once(head).unwrap();
        for row in table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
        {
            let cell = row.split(" | ").next().unwrap();
            told.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    let mut written = BTreeSet::new();
    let mut sources = String::new();
    for file in ["server", "store"]
        .into_iter()
        .flat_map(|name| files(&root().join("crates").join(name).join("src"), "rs"))
    {
        let text = program(&file);
        written.extend(actions(&text));
        // Where an action is only sorted into a kind, nobody writes it.
        if !file.ends_with("contract/outbox.rs") {
            sources += &text;
        }
    }
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other).cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        only(&written, &told),
        [""; 0],
        "written, and not in docs/reference/audit.md"
    );
    let unknown: Vec<_> = told
        .iter()
        .filter(|action| !sources.contains(&format!("\"{action}\"")))
        .collect();
    assert!(
        unknown.is_empty(),
        "in docs/reference/audit.md, and never written: {unknown:?}"
    );
    assert!(written.len() > 30, "{written:?}");
}
