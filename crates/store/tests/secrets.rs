//! A secret is in the queue of its device, and nowhere else: not in the files, not in errors, not in debug output.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use sectag_store::{OpenError, SealKey, SqliteStore, Store};
use std::path::Path;

fn files_with(home: &Path, needle: &[u8]) -> Vec<String> {
    let holds = |bytes: Vec<u8>| bytes.windows(needle.len()).any(|window| window == needle);
    let files = std::fs::read_dir(home)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| holds(std::fs::read(path).unwrap()))
        .map(|path| path.display().to_string())
        .collect()
}

#[tokio::test]
async fn no_file_ever_holds_a_secret() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    let change = adding(vec![command(1, psk()), command(2, csr())]);
    assert!(!format!("{change:?}").contains(SECRET));
    store.commit(device_id(1), 1, change).await.unwrap();
    assert_ne!(
        files_with(home.path(), b"preSharedKey"),
        [""; 0],
        "the request itself is there"
    );
    assert_eq!(
        files_with(home.path(), SECRET.as_bytes()),
        [""; 0],
        "while it waits"
    );
    let loaded = store.queue(device_id(1), &[]).await.unwrap().unwrap();
    assert!(!format!("{loaded:?}").contains(SECRET));

    let done = adding(vec![terminal(command(1, psk()))]);
    store.commit(device_id(1), 2, done).await.unwrap();
    assert_eq!(
        files_with(home.path(), SECRET.as_bytes()),
        [""; 0],
        "when it is done"
    );
    drop(store);
    assert_eq!(
        files_with(home.path(), SECRET.as_bytes()),
        [""; 0],
        "at rest"
    );
}

#[tokio::test]
async fn the_seal_of_a_finished_command_is_wiped_from_the_database() {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join("sectag.db");
    let sealed = || {
        let db = rusqlite::Connection::open(&database).unwrap();
        let sql = "SELECT secrets FROM commands";
        db.query_row(sql, [], |row| row.get::<_, Option<Vec<u8>>>(0))
            .unwrap()
    };
    let store = open(home.path());
    claimed(&store, 1).await;
    store
        .commit(device_id(1), 1, adding(vec![command(1, psk())]))
        .await
        .unwrap();
    drop(store);
    let seal = sealed().unwrap();
    assert_ne!(files_with(home.path(), &seal), [""; 0]);
    let store = open(home.path());
    let done = adding(vec![terminal(command(1, psk()))]);
    store.commit(device_id(1), 2, done).await.unwrap();
    drop(store);
    assert_eq!(sealed(), None);
    assert_eq!(files_with(home.path(), &seal), [""; 0]);
}

#[tokio::test]
async fn another_seal_key_is_one_clear_error() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let path = home.path().join("sectag.db");
    let error = SqliteStore::open(&path, SealKey::new(&[1; 32])).unwrap_err();
    assert!(matches!(error, OpenError::WrongSealKey { .. }));
    let expected = format!(
        "the seal key does not belong to the database `{}`",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("restore the seal key"));
    drop(open(home.path()));
}

#[tokio::test]
async fn a_seal_that_was_moved_to_another_command_does_not_open() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    let both = adding(vec![command(1, psk()), command(2, psk())]);
    store.commit(device_id(1), 1, both).await.unwrap();
    drop(store);
    let db = rusqlite::Connection::open(home.path().join("sectag.db")).unwrap();
    let moved = "UPDATE commands SET secrets = (SELECT secrets FROM commands WHERE sequence = 2)";
    db.execute(moved, []).unwrap();
    drop(db);
    let store = open(home.path());
    let error = store
        .queue(device_id(1), &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&command_id(1).to_string()), "{error}");
    assert!(
        error.contains("does not open with this seal key"),
        "{error}"
    );
    // Owners can look all the same.
    assert_eq!(store.commands(device_id(1)).await.unwrap().len(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn all_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    let mut names = Vec::new();
    for file in std::fs::read_dir(home.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        names.push(file.file_name());
    }
    assert_eq!(names.len(), 4, "database, log, its index, lock: {names:?}");
}
