//! The page of findings is the table of findings, and the table has them all.

use sectag_gateway::findings::{FindingId, TABLE, reference};

#[test]
fn the_page_of_findings_is_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/gateway-findings.md"
    );
    let table = reference();
    if std::env::var_os("SECTAG_WRITE_REFERENCE").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == table,
        "docs/reference/gateway-findings.md is not the table; run this test with SECTAG_WRITE_REFERENCE=1"
    );
}

#[test]
fn the_table_has_every_id_once_and_in_order() {
    use FindingId::*;
    // A new id does not compile here until it is listed.
    let listed = |id: FindingId| match id {
        E1 | E3 | E4 | E5 | E6 | E7 | E8 | E9 | E10 | E11 | E12 | E13 | E14 | E15 | E16 | E17
        | E18 | E19 | E20 | E21 | B1 | B2 | B3 | B4 | B5 | B6 => {
            TABLE.iter().filter(|row| row.id == id).count()
        }
    };
    assert!(TABLE.iter().all(|row| listed(row.id) == 1));
    assert_eq!(TABLE.len(), 26);
    assert!(TABLE.windows(2).all(|rows| rows[0].id < rows[1].id));
    for row in TABLE {
        assert!(!row.what.contains('|') && !row.why.contains('|') && !row.fix.contains('|'));
        assert!(
            row.severities.windows(2).all(|two| two[0] > two[1]),
            "{}",
            row.id
        );
    }
}
