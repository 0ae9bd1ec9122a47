//! docs/reference/virtual-modem.md and creds-manifest.md say what the tables of the program say.

#![allow(clippy::unwrap_used)]

use sectag_modem::QUIRKS;
use sectag_modem::credentials::{Manifest, file_name, type_of_file};
use sectag_proto::CredentialType;

#[test]
fn each_quirk_has_its_row() {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/virtual-modem.md"
    );
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rows) = page.split_once("## Quirks").unwrap();
    let (rows, _) = rows.split_once("\n## ").unwrap();
    let rows: Vec<&str> = rows
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected: Vec<String> = QUIRKS
        .iter()
        .map(|quirk| format!("| `{}` | {} | {} |", quirk.name, quirk.values, quirk.effect))
        .collect();
    assert_eq!(rows, expected);
}

fn creds_manifest() -> String {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/creds-manifest.md"
    );
    std::fs::read_to_string(page).unwrap()
}

/// The rows of the table with this head: what stands between backticks in the first cells, and all cells.
fn rows<'a>(page: &'a str, head: &str) -> Vec<(Vec<&'a str>, Vec<&'a str>)> {
    let (_, table) = page.split_once(head).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells[0].split('`').skip(1).step_by(2).collect();
        (names, cells)
    })
    .collect()
}

/// The type that a cell begins with.
fn kind(cell: &str) -> u8 {
    cell.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn a_manifest_means_what_its_page_says() {
    let page = creds_manifest();
    let example = page.split("```toml").nth(1).unwrap();
    let example = Manifest::parse(example.split("```").next().unwrap()).unwrap();
    assert_eq!(example.tags.len(), 3);
    for (names, cells) in rows(&page, "| key | type | what is in the file |") {
        if cells[1] == "–" {
            continue;
        }
        let text = format!("[tags.1]\n{} = \"file\"", names[0]);
        let manifest = Manifest::parse(&text).unwrap();
        let files = &manifest.tags.values().next().unwrap().files;
        let kinds: Vec<u8> = files.keys().map(|kind| kind.0).collect();
        assert_eq!(kinds, [kind(cells[1])], "{names:?}");
    }
}

#[test]
fn files_mean_what_their_page_says() {
    let page = creds_manifest();
    for (names, cells) in rows(&page, "| name | also | type |") {
        let also = cells[1].split('`').skip(1).step_by(2);
        for name in names.into_iter().chain(also) {
            let found = type_of_file(name).map(|(kind, _)| kind.0);
            assert_eq!(found, Some(kind(cells[2])), "{name}");
        }
    }
    for (names, cells) in rows(&page, "| file | type | mode |") {
        let name = file_name(CredentialType(kind(cells[1])));
        assert_eq!(name, Some(names[0]));
    }
}
