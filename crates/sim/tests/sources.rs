//! Each statement of the source pages has a test, and `tests/sources/README.md` says which (its rows: a page's letter and
//! a number, as the tests' names begin).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Pages whose statements are tested, and how many they have.
const PAGES: [(char, usize); 4] = [('P', 11), ('X', 11), ('G', 17), ('L', 13)];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sources")
}

/// `| P1 | … | `p1_…` |`: row and test.
fn table(readme: &str) -> Vec<(String, String)> {
    let rows = readme.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let (first, last) = (cells.first()?, cells.last()?);
        let row = first.strip_prefix("| ")?;
        let test = last.strip_suffix(" |")?.strip_prefix('`')?;
        Some((row.to_owned(), test.strip_suffix('`')?.to_owned()))
    });
    rows.collect()
}

/// The row that a test's name begins with: `l13_…` is of L13.
fn row_of(test: &str) -> Option<String> {
    let (id, _) = test.split_once('_')?;
    let digits = id.get(1..)?;
    let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| id.to_uppercase())
}

/// Functions in the sources under `folder` whose names begin with a row.
fn tests(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tests(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| {
                let line = line.trim_start();
                let rest = line.strip_prefix("async ").unwrap_or(line);
                let name = rest.strip_prefix("fn ")?.split('(').next()?;
                row_of(name).map(|_| name.to_owned())
            });
            found.extend(names);
        }
    }
    found
}

#[test]
fn every_statement_of_a_page_has_a_test() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let table = table(&readme);
    for (page, statements) in PAGES {
        for number in 1..=statements {
            let row = format!("{page}{number}");
            assert!(
                table.iter().any(|(id, _)| *id == row),
                "{row} is not in the table"
            );
        }
    }
    for (row, test) in &table {
        assert_eq!(row_of(test).as_ref(), Some(row), "{test}");
    }
}

#[test]
fn the_table_and_the_tests_name_each_other() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let named: Vec<String> = table(&readme).into_iter().map(|(_, test)| test).collect();
    let once: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(once.len(), named.len(), "a test stands there twice");
    assert_eq!(once, tests(&folder()));
}
