//! What we build from, checked against `deny.toml` without the network: licences, sources, duplicate versions.
//!
//! `cargo deny` reads the same file; this test holds where it is not installed.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .and_then(Path::parent)
        .unwrap()
}

fn policy() -> toml::Table {
    std::fs::read_to_string(root().join("deny.toml"))
        .unwrap()
        .parse()
        .unwrap()
}

/// The packages that the workspace resolves to on this platform.
fn packages() -> Vec<Value> {
    let host = Command::new("rustc").args(["-vV"]).output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned();
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
            &host,
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn texts(value: &toml::Value) -> BTreeSet<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_licence_is_on_the_list() {
    let allowed = texts(&policy()["licenses"]["allow"]);
    let mut refused = Vec::new();
    for package in packages() {
        let licence = package["license"]
            .as_str()
            .unwrap_or("none")
            .replace('/', " OR ");
        if !acceptable(&licence, &allowed) {
            refused.push(format!(
                "{} {}: {licence}",
                package["name"], package["version"]
            ));
        }
    }
    assert!(
        refused.is_empty(),
        "not on the list in deny.toml:\n{}",
        refused.join("\n")
    );
}

#[test]
fn every_package_comes_from_here_or_from_the_one_registry() {
    let known = texts(&policy()["sources"]["allow-registry"]);
    for package in packages() {
        if let Some(source) = package["source"].as_str() {
            let place = source.trim_start_matches("registry+");
            assert!(
                known.contains(place),
                "{} comes from {source}",
                package["name"]
            );
        }
    }
}

#[test]
fn two_versions_of_a_package_need_a_reason() {
    let policy = policy();
    let mut skipped = BTreeMap::new();
    for entry in policy["bans"]["skip"].as_array().unwrap() {
        let (name, version) = entry["crate"]
            .as_str()
            .unwrap()
            .split_once('@')
            .expect("a skip names crate@version");
        assert!(
            entry.get("reason").is_some(),
            "{name}@{version} is skipped without a reason"
        );
        skipped
            .entry(name.to_owned())
            .or_insert_with(Vec::new)
            .push(version.to_owned());
    }
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap().to_owned();
        versions
            .entry(name)
            .or_default()
            .insert(package["version"].as_str().unwrap().to_owned());
    }
    for (name, found) in versions {
        let unexplained = found
            .iter()
            .filter(|version| {
                !skipped.get(&name).is_some_and(|list| {
                    list.iter()
                        .any(|skip| *version == skip || version.starts_with(&format!("{skip}.")))
                })
            })
            .count();
        assert!(
            unexplained <= 1,
            "{name} stands in {found:?}; deny.toml gives no reason"
        );
    }
}

/// SPDX expressions of `AND`, `OR`, `WITH` and parentheses.
fn acceptable(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any_of(&words, &mut at, allowed);
    assert_eq!(
        at,
        words.len(),
        "cannot read the licence expression {expression}"
    );
    verdict
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        verdict |= all_of(words, at, allowed);
    }
    verdict
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        verdict &= one(words, at, allowed);
    }
    verdict
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    if words[*at] == "(" {
        *at += 1;
        let verdict = any_of(words, at, allowed);
        *at += 1;
        return verdict;
    }
    let mut name = words[*at].to_owned();
    *at += 1;
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words[*at + 1]);
        *at += 2;
    }
    allowed.contains(&name)
}

#[test]
fn an_expression_is_read_with_its_precedence() {
    let allowed = ["MIT", "Apache-2.0"]
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    assert!(acceptable("MIT OR GPL-3.0", &allowed));
    assert!(!acceptable("MIT AND GPL-3.0", &allowed));
    assert!(acceptable("(GPL-3.0 OR MIT) AND Apache-2.0", &allowed));
    assert!(!acceptable("Apache-2.0 WITH LLVM-exception", &allowed));
}
