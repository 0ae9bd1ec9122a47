//! A bench for clients by keys: papers of openssl, Debian's mosquitto with any listener, and a wire that is listened to.
#![allow(dead_code, unused_imports, clippy::unwrap_used, unreachable_pub)] // each test file uses its part

mod mosquitto;
mod papers;
mod relay;

pub(crate) use mosquitto::Mosquitto;
pub(crate) use papers::Papers;
pub(crate) use relay::{Relay, is_client_hello, is_plaintext_connect};

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// True if the programs can be run; else the test is skipped with one line, or fails if peers are required.
pub(crate) fn have(programs: &[&str]) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .collect();
    let missing = programs
        .iter()
        .find(|program| !places.iter().any(|place| place.join(program).is_file()));
    if let Some(program) = missing {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "{program} is not installed and SECTAG_PEERS=require"
        );
        // To the real standard error: the harness swallows what a passing test prints with eprintln.
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
    }
    missing.is_none()
}

/// A port that nothing listens on at this moment.
pub(crate) fn free_port() -> u16 {
    free_ports(1)[0]
}

/// Different ports that nothing listens on at this moment.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let ports = held.iter().map(|held| held.local_addr().unwrap().port());
    ports.collect()
}
