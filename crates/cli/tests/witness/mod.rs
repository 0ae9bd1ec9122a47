//! A process that subscribes and says line by line what it got: `sectag mqtt sub`.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test file uses its part

use crate::support::{DEADLINE, sectag};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// A subscriber whose subscription was granted. Dropped, it is killed.
pub struct Witness {
    child: Child,
    messages: Receiver<String>,
}

impl Witness {
    /// `sectag mqtt sub` with `credentials`, subscribed to `filter`.
    pub fn start(home: &Path, credentials: &[&str], filter: &str) -> Self {
        let mut child = sectag(home)
            .args(["mqtt", "sub", "--json", "-t", filter])
            .args(credentials)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let messages = lines_of(child.stdout.take().unwrap());
        let talk = lines_of(child.stderr.take().unwrap());
        let first = talk.recv_timeout(DEADLINE);
        let witness = Self { child, messages };
        assert_eq!(first, Ok(format!("subscribed to {filter}")));
        witness
    }

    /// The next message; panics when none comes.
    pub fn next(&mut self) -> Value {
        let line = self.messages.recv_timeout(DEADLINE).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
