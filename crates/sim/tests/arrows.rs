//! Arrows point to a lower floor; never sideways, never up (ARCHITECTURE.md, *Floors*). Read from the manifests, so
//! that a wrong arrow fails here before anybody compiles it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use toml::Table;

/// Floors from below. Crates that are planned stand here too, so that their first commit has its place.
const FLOORS: [(&str, &[&str]); 5] = [
    ("ground", &["proto", "pki", "coap", "dtls", "keep"]),
    ("first", &["modem", "store", "gateway", "mqtt"]),
    ("second", &["device", "server", "host"]),
    ("roof", &["cli", "capi"]),
    ("garden", &["sim"]),
];

/// `dtls` wraps a C library and `keep` is where files live: their lists are their own.
const BANS: [(&str, &[&str]); 4] = [
    (
        "proto",
        &[
            "std::time::Instant",
            "std::time::SystemTime",
            "std::fs::File",
            "std::net::TcpStream",
            "std::net::UdpSocket",
        ],
    ),
    (
        "pki",
        &[
            "std::time::Instant",
            "std::time::SystemTime",
            "std::fs::File",
            "std::net::TcpStream",
            "std::net::UdpSocket",
        ],
    ),
    (
        "coap",
        &[
            "std::time::Instant",
            "std::time::SystemTime",
            "std::fs::File",
            "std::net::TcpStream",
            "std::net::UdpSocket",
        ],
    ),
    (
        "keep",
        &[
            "std::time::Instant",
            "std::time::SystemTime",
            "std::net::TcpStream",
            "std::net::UdpSocket",
        ],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .and_then(Path::parent)
        .unwrap()
}

/// Folder of each crate and its manifest.
fn crates() -> BTreeMap<String, Table> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(path.join("Cargo.toml")) else {
            continue;
        };
        let folder = path.file_name().unwrap().to_str().unwrap().to_owned();
        found.insert(folder, text.parse().unwrap());
    }
    found
}

fn floor(folder: &str) -> Option<usize> {
    FLOORS
        .iter()
        .position(|(_, crates)| crates.contains(&folder))
}

/// Every table of dependencies in a manifest: also those for tests, for builds, and for one platform only.
fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut tables: Vec<&Table> = KINDS
        .iter()
        .filter_map(|kind| manifest.get(*kind)?.as_table())
        .collect();
    if let Some(targets) = manifest.get("target").and_then(|t| t.as_table()) {
        for target in targets.values().filter_map(|t| t.as_table()) {
            tables.extend(
                KINDS
                    .iter()
                    .filter_map(|kind| target.get(*kind)?.as_table()),
            );
        }
    }
    tables
}

/// Folders of our crates that this manifest names, whatever the dependency is called there.
fn arrows(manifest: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for table in dependency_tables(manifest) {
        for (name, value) in table {
            let package = value.get("package").and_then(|p| p.as_str());
            let path = value.get("path").and_then(|p| p.as_str());
            let name = package.unwrap_or(name);
            if let Some(folder) = name.strip_prefix("sectag-") {
                found.push(folder.to_owned());
            } else if let Some(path) = path {
                found.push(path.rsplit('/').next().unwrap().to_owned());
            }
        }
    }
    found
}

/// What is wrong with these manifests, in words.
fn wrong(crates: &BTreeMap<String, Table>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (folder, manifest) in crates {
        let Some(from) = floor(folder) else {
            wrong.push(format!(
                "`{folder}` is on no floor: give it one in this test and in ARCHITECTURE.md"
            ));
            continue;
        };
        let package = manifest["package"]["name"].as_str().unwrap();
        let named = [format!("sectag-{folder}"), "sectag".to_owned()];
        if !named.iter().any(|name| name == package) {
            wrong.push(format!(
                "`{folder}` is packaged as `{package}`, not as `sectag-{folder}`"
            ));
        }
        for to in arrows(manifest) {
            match floor(&to) {
                None => wrong.push(format!(
                    "`{folder}` depends on `{to}`, which is on no floor"
                )),
                Some(below) if below >= from => {
                    let (here, there) = (FLOORS[from].0, FLOORS[below].0);
                    wrong.push(format!("`{folder}` ({here}) depends on `{to}` ({there}): arrows point to a lower floor"));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

#[test]
fn every_arrow_points_to_a_lower_floor() {
    let crates = crates();
    assert!(crates.len() > 5, "the workspace was not found");
    let wrong = wrong(&crates);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn nothing_depends_on_the_garden() {
    for (folder, manifest) in crates() {
        assert!(!arrows(&manifest).contains(&"sim".to_owned()), "{folder}");
    }
}

#[test]
fn the_workspace_table_names_our_crates_by_their_folder() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace: Table = text.parse().unwrap();
    let table = workspace["workspace"]["dependencies"].as_table().unwrap();
    for (name, value) in table.iter().filter(|(name, _)| name.starts_with("sectag-")) {
        let folder = name.trim_start_matches("sectag-");
        assert_eq!(
            value["path"].as_str(),
            Some(format!("crates/{folder}").as_str()),
            "{name}"
        );
        assert!(floor(folder).is_some(), "{name} is on no floor");
    }
}

#[test]
fn ground_floor_crates_have_their_ban_lists() {
    let present = crates();
    for (folder, bans) in BANS
        .iter()
        .filter(|(folder, _)| present.contains_key(*folder))
    {
        let path = root().join("crates").join(folder).join("clippy.toml");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let list: Table = text.parse().unwrap();
        let banned: Vec<&str> = list["disallowed-types"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|entry| entry["path"].as_str())
            .collect();
        for ban in *bans {
            assert!(
                banned.contains(ban),
                "{}: {ban} is not banned",
                path.display()
            );
        }
    }
}

#[test]
fn a_wrong_arrow_is_found_wherever_it_hides() {
    let judge = |folder: &str, manifest: &str| {
        let table: Table = manifest.parse().unwrap();
        wrong(&BTreeMap::from([(folder.to_owned(), table)]))
    };
    let manifest = |name: &str, rest: &str| format!("[package]\nname = \"sectag-{name}\"\n{rest}");
    assert!(
        judge(
            "store",
            &manifest("store", "[dependencies]\nsectag-proto.workspace = true")
        )
        .is_empty()
    );
    for (folder, rest) in [
        ("proto", "[dependencies]\nsectag-pki.workspace = true"),
        (
            "store",
            "[dev-dependencies]\nsectag-server.workspace = true",
        ),
        (
            "device",
            "[dependencies]\ns = { package = \"sectag-server\", path = \"../server\" }",
        ),
        (
            "server",
            "[target.'cfg(unix)'.dependencies]\nsectag-device.workspace = true",
        ),
        (
            "modem",
            "[build-dependencies]\nsectag-mqtt = { path = \"../mqtt\" }",
        ),
        ("cli", "[dependencies]\nsectag-sim.workspace = true"),
        ("utils", ""),
    ] {
        assert_eq!(
            judge(folder, &manifest(folder, rest)).len(),
            1,
            "{folder}: {rest}"
        );
    }
}
