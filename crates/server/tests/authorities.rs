//! CAs of teams stand in the home, teams in the database; a start brings the two together, and destroys no key.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::json;
use std::path::Path;
use support::Town;

#[tokio::test]
async fn an_older_database_destroys_no_authority_and_the_newer_one_finds_it_again() {
    let mut town = Town::start().await;
    town.down().await;
    let home = town.dir.path().join("home");
    let (database, older) = (home.join("sectag.db"), town.dir.path().join("older.db"));
    let newer = town.dir.path().join("newer.db");
    std::fs::copy(&database, &older).unwrap();
    town.up().await;
    let made = town
        .owner("POST", "/v1/teams", Some(&json!({"name": "north"})))
        .await;
    let north = made.json()["id"].as_str().unwrap().to_owned();
    let files = ["ca/teams/ID.crt", "ca/teams/ID.key", "operator/ID.key"];
    let read = |folder: [&str; 3]| {
        folder.map(|file| std::fs::read(home.join(file.replace("ID", &north))).ok())
    };
    let authority = read(files);
    assert!(authority.iter().all(Option::is_some));
    town.down().await;
    std::fs::copy(&database, &newer).unwrap();
    let restore = |from: &Path| {
        for beside in ["sectag.db-wal", "sectag.db-shm"] {
            let _ = std::fs::remove_file(home.join(beside));
        }
        std::fs::copy(from, &database).unwrap();
    };
    restore(&older);
    let aside = [
        "ca/aside/ID.crt",
        "ca/aside/ID.key",
        "ca/aside/ID.operator.key",
    ];
    for _ in 0..2 {
        town.up().await;
        assert_eq!(town.owner("GET", "/v1/teams/north", None).await.status, 404);
        assert_eq!(
            (read(files), read(aside)),
            ([None, None, None], authority.clone())
        );
        town.down().await;
    }
    restore(&newer);
    town.up().await;
    assert_eq!((read(files), read(aside)), (authority, [None, None, None]));
    assert_eq!(town.owner("GET", "/v1/teams/north", None).await.status, 200);
    let lines = town.log.lines();
    let said = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!((said("is set aside in"), said("is back from")), (1, 1));
}
