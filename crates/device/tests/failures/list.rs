//! The list of causes: in the code, in the docs, and in these tests.

use std::collections::BTreeSet;

use sectag_device::Cause;

const DOCS: &str = include_str!("../../../../docs/reference/tls-failures.md");

const TESTS: [&str; 6] = [
    include_str!("client.rs"),
    include_str!("keys.rs"),
    include_str!("material.rs"),
    include_str!("mqtt.rs"),
    include_str!("server.rs"),
    include_str!("transport.rs"),
];

/// (id, how it shows on an nRF91) of each row of the page's tables.
fn rows() -> Vec<(&'static str, &'static str)> {
    DOCS.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let cells: Vec<_> = row.split(" | ").collect();
            let shown = cells.last().unwrap().trim_end_matches('|').trim();
            (cells[0].trim_end_matches('`'), shown)
        })
        .collect()
}

#[test]
fn the_page_lists_every_cause_in_the_order_of_the_code() {
    let said = |cause: &Cause| (cause.id(), cause.on_nrf91().unwrap_or("–"));
    let listed: Vec<_> = Cause::ALL.iter().map(said).collect();
    assert_eq!(rows(), listed);
}

#[test]
fn ids_are_unique_and_more_than_25() {
    let ids: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.id()).collect();
    assert_eq!(ids.len(), Cause::ALL.len());
    assert!(ids.len() > 25);
}

#[test]
fn every_cause_is_provoked_by_a_test() {
    for cause in Cause::ALL {
        let asserted = format!("Cause::{cause:?},");
        assert!(
            TESTS.iter().any(|text| text.contains(&asserted)),
            "nobody provokes {cause:?}"
        );
    }
}
