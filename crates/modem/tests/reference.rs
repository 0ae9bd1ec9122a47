//! docs/reference/virtual-modem.md says what the tables of the program say.

#![allow(clippy::unwrap_used)]

use sectag_modem::QUIRKS;

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
