//! `openssl s_client` and `gnutls-cli` as DTLS clients that say a line and hear it again.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]
#![allow(missing_docs, unreachable_pub)]

use super::foreign::{PATIENCE, Server};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// True if all of them can be run; else the test is skipped with one line, or fails if peers are required.
pub fn have(programs: &[&str]) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    for program in programs {
        let found = Path::new(program).is_absolute() && Path::new(program).exists()
            || std::env::split_paths(&paths).any(|directory| directory.join(program).is_file());
        if !found {
            let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
            assert!(!required, "{program} is not there and SECTAG_PEERS=require");
            // To the real standard error: the harness swallows what a passing test prints with eprintln.
            let _ = writeln!(std::io::stderr(), "skipped: {program} is not there");
            return false;
        }
    }
    true
}

/// A program with its output as it comes; killed when dropped.
pub struct Tool {
    child: Child,
    said: Vec<u8>,
    /// How much of it [`Tool::line`] has given out.
    told: usize,
    pieces: Receiver<Vec<u8>>,
}

impl Tool {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, pieces) = channel();
        let outs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for mut out in outs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = out.read(&mut buffer) {
                    if sender.send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            child,
            said: Vec::new(),
            told: 0,
            pieces,
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Waits until the program has said this; gives what it said so far.
    pub fn until(&mut self, needle: &str) -> String {
        self.until_any(&[needle])
    }

    /// As [`Tool::until`], for the first of several.
    pub fn until_any(&mut self, needles: &[&str]) -> String {
        let end = Instant::now() + PATIENCE;
        while !needles.iter().any(|needle| self.text().contains(needle)) {
            assert!(
                self.more(end),
                "waited for {needles:?}, read: {}",
                self.text()
            );
        }
        self.text()
    }

    /// The next whole line, nothing when the program has ended.
    pub fn line(&mut self) -> Option<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let rest = &self.said[self.told..];
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&rest[..length]).into_owned();
                self.told += length + 1;
                return Some(line);
            }
            if !self.more(end) {
                assert!(Instant::now() < end, "no more lines came: {}", self.text());
                return None;
            }
        }
    }

    fn more(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        let piece = self.pieces.recv_timeout(left);
        piece.map(|piece| self.said.extend(piece)).is_ok()
    }

    pub fn write(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Closes its input and waits for its end: exit code and all it said.
    pub fn finish(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let end = Instant::now() + PATIENCE;
        while self.more(end) {}
        if Instant::now() >= end {
            let _ = self.child.kill();
        }
        let status = self.child.wait().unwrap();
        (status.code(), self.text())
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The root as a file, and room for the sessions that `openssl` keeps.
pub struct Desk {
    directory: tempfile::TempDir,
    server: Server,
}

impl Desk {
    pub fn new(server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("root.pem"), &server.root_pem).unwrap();
        Self {
            directory,
            server: server.clone(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `openssl s_client`, checking chain and name.
    pub fn s_client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-dtls1_2", "-connect"])
            .arg(self.server.address.to_string())
            .args(["-verify_return_error", "-servername", &self.server.name])
            .args(["-verify_hostname", &self.server.name, "-CAfile"])
            .arg(self.path("root.pem"))
            .args(arguments)
            .current_dir(self.directory.path());
        command
    }

    /// `gnutls-cli --udp`, checking chain and name.
    pub fn gnutls_cli(&self, priority: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("gnutls-cli");
        command
            .args(["--udp", "--port", &self.server.address.port().to_string()])
            .arg(format!("--verify-hostname={}", self.server.name))
            .arg(format!("--sni-hostname={}", self.server.name))
            .arg(format!(
                "--x509cafile={}",
                self.path("root.pem").to_string_lossy()
            ))
            .arg(format!(
                "--priority=NORMAL:-VERS-ALL:+VERS-DTLS1.2{priority}"
            ))
            .args(arguments)
            .arg(self.server.address.ip().to_string());
        command
    }
}

/// Says a line, hears it again, and goes in order; gives all the program said.
pub fn say_and_hear(command: Command, line: &str) -> String {
    let mut tool = Tool::start(command);
    tool.write(&format!("{line}\n"));
    tool.until(line);
    let (code, text) = tool.finish();
    assert_eq!(code, Some(0), "{text}");
    text
}
