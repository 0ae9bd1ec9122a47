//! A process that is killed at each crash point leaves files that load, and the next process goes on from there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use sectag_keep::{crash, load_pair, write_pair};

const HOME: &str = "SECTAG_KEEP_TEST_HOME";
const POINT: &str = "SECTAG_KEEP_TEST_POINT";

fn put(home: &Path, which: &[u8]) {
    write_pair(&home.join("a.crt"), which, &home.join("a.key"), which).unwrap();
    sectag_keep::write_private(&home.join("single"), which).unwrap();
}

/// Not a test of its own: the process that gets killed. Does nothing unless the other test started it.
#[test]
fn the_process_that_gets_killed() {
    let (Ok(home), Ok(point)) = (std::env::var(HOME), std::env::var(POINT)) else {
        return;
    };
    crash::arm(&point).unwrap();
    put(Path::new(&home), b"new");
    unreachable!("crash point {point} was never passed");
}

#[test]
fn a_kill_at_each_point_leaves_old_or_new() {
    for (name, _) in crash::POINTS
        .iter()
        .filter(|(name, _)| name.starts_with("keep."))
    {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), b"old");
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_gets_killed"])
            .env(HOME, home.path())
            .env(POINT, name)
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{name}");

        let (cert, key) = load_pair(&home.path().join("a.crt"), &home.path().join("a.key"))
            .unwrap()
            .unwrap();
        assert_eq!(cert, *key, "half of a pair at {name}");
        assert!(cert == b"old" || cert == b"new", "{name}");
        let single = sectag_keep::read_private(&home.path().join("single"))
            .unwrap()
            .unwrap();
        assert!(
            single.as_slice() == b"old" || single.as_slice() == b"new",
            "{name}"
        );

        put(home.path(), b"next");
        let files = std::fs::read_dir(home.path()).unwrap().count();
        assert_eq!(files, 3, "{name} left something behind");
    }
}
