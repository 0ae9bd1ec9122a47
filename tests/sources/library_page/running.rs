//! A verb that stays until it is told to stop, read line by line.

use crate::support::{DEADLINE, Home, sectag};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Dropped, it is killed.
pub struct Running {
    child: Child,
    stdin: ChildStdin,
    out: Receiver<String>,
    talk: Receiver<String>,
    heard: Vec<String>,
}

impl Running {
    pub fn start(home: &Home, args: &[&str]) -> Self {
        let mut child = sectag(&home.path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            out: lines_of(child.stdout.take().unwrap()),
            talk: lines_of(child.stderr.take().unwrap()),
            child,
            heard: Vec::new(),
        }
    }

    /// `sectag device run --keep-running`, once it can be talked to.
    pub fn device(home: &Home, args: &[&str]) -> Self {
        let mut device = Self::start(home, &[&["device", "run", "--keep-running"], args].concat());
        device.says("Ctrl-C stops it");
        device
    }

    pub fn types(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Waits for a line on stdout that holds this.
    pub fn prints(&mut self, part: &str) -> String {
        let line = line_with(&self.out, part, &mut self.heard);
        line.unwrap_or_else(|| panic!("`{part}` was not printed: {:#?}", self.heard))
    }

    /// Waits for a line on stderr that holds this.
    pub fn says(&mut self, part: &str) -> String {
        let line = line_with(&self.talk, part, &mut self.heard);
        line.unwrap_or_else(|| panic!("`{part}` was not said: {:#?}", self.heard))
    }

    /// Lines on stdout that nobody waited for.
    pub fn printed(&self) -> Vec<String> {
        self.out.try_iter().collect()
    }

    /// With `--json`: the library's events up to the next STOP, without the ones that this project adds.
    pub fn session(&mut self) -> Vec<String> {
        const ADDED: [&str; 4] = [
            "BATCH_RECEIVED",
            "COMMAND_DONE",
            "COMMAND_FAILED",
            "REPORTED",
        ];
        let mut events = Vec::new();
        while events.last().is_none_or(|last| last != "STOP") {
            let line = self.prints("\"event\"");
            let entry: Value = serde_json::from_str(&line).unwrap();
            let event = entry["event"].as_str().unwrap();
            if !ADDED.contains(&event) {
                events.push(event.to_owned());
            }
        }
        events
    }

    /// SIGTERM, and its orderly end.
    pub fn stop(mut self) {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(asked.unwrap().success());
        let begun = Instant::now();
        let end = loop {
            match self.child.try_wait().unwrap() {
                Some(end) => break end,
                None => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
            assert!(begun.elapsed() < DEADLINE, "no end after SIGTERM");
        };
        assert!(end.success(), "{end}: {:#?}", self.heard);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line_with(from: &Receiver<String>, part: &str, heard: &mut Vec<String>) -> Option<String> {
    let begun = Instant::now();
    loop {
        let left = DEADLINE.saturating_sub(begun.elapsed());
        let line = from.recv_timeout(left).ok()?;
        heard.push(line.clone());
        if line.contains(part) {
            return Some(line);
        }
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
