//! The page of keys is the table of keys.

#[test]
fn the_page_of_keys_is_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/config-keys.md"
    );
    let table = sectag_gateway::keys::reference();
    if std::env::var_os("SECTAG_WRITE_REFERENCE").is_some() {
        std::fs::write(path, &table).expect("the page can be written");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == table,
        "docs/reference/config-keys.md is not the table; run this test with SECTAG_WRITE_REFERENCE=1"
    );
}
