//! A running `sectag mqtt sample`, read line by line.

use crate::support::{DEADLINE, Home, sectag};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Dropped, it is killed.
pub struct Running {
    child: Child,
    log: Receiver<String>,
    talk: Receiver<String>,
    lines: Vec<String>,
    said: Vec<String>,
}

impl Running {
    pub fn start(home: &Home, args: &[&str]) -> Self {
        let mut command = sectag(&home.path());
        command.args(["mqtt", "sample"]).args(args);
        Self::spawn(command.stdin(Stdio::null()))
    }

    /// With a keyboard: a pty of util-linux' script, on which log and talk are mixed.
    pub fn on_a_terminal(home: &Home, args: &[&str]) -> Self {
        let sample = [&["mqtt", "sample"], args].concat().join(" ");
        let mut command = Command::new("script");
        command
            .arg("-qec")
            .arg(format!("{} {sample}", env!("CARGO_BIN_EXE_sectag")))
            .arg("/dev/null")
            .env("SECTAG_HOME", home.path());
        Self::spawn(command.stdin(Stdio::piped()))
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        let keyboard = self.child.stdin.as_mut().unwrap();
        keyboard.write_all(key.as_bytes()).unwrap();
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            log: lines_of(child.stdout.take().unwrap()),
            talk: lines_of(child.stderr.take().unwrap()),
            child,
            lines: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Waits for this line of the log.
    pub fn until(&mut self, line: &str) {
        self.wait(|text| text == line, line);
    }

    /// Waits for a line of the log that holds this.
    pub fn until_part(&mut self, part: &str) {
        self.wait(|text| text.contains(part), part);
    }

    /// Waits for a line of the log that begins so.
    pub fn until_start(&mut self, start: &str) -> String {
        self.wait(|text| text.starts_with(start), start)
    }

    /// Waits for a line on stderr that holds this.
    pub fn until_talk(&mut self, part: &str) {
        let begun = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let Ok(line) = self.talk.recv_timeout(left) else {
                panic!("`{part}` was not said: {:#?}", self.said);
            };
            self.said.push(line);
            if self.said.last().is_some_and(|line| line.contains(part)) {
                return;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args([
                "-c",
                "kill -\"$0\" \"$1\"",
                name,
                &self.child.id().to_string(),
            ])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Ends it; what it said on stderr.
    pub fn stop(self) -> String {
        self.stop_with_log().1
    }

    /// Ends it; its log, and what it said on stderr.
    pub fn stop_with_log(self) -> (Vec<String>, String) {
        self.signal("TERM");
        let (code, lines, talk) = self.end();
        assert_eq!(code, Some(0), "{lines:#?}\n{talk}");
        (lines, talk)
    }

    /// Waits for its end: exit code, log, talk.
    pub fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        let begun = Instant::now();
        let code = loop {
            if let Some(end) = self.child.try_wait().unwrap() {
                break end.code();
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "it does not end: {:#?}",
                self.lines
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        self.lines.extend(self.log.iter());
        self.said.extend(self.talk.iter());
        (code, std::mem::take(&mut self.lines), self.said.join("\n"))
    }

    fn wait(&mut self, wanted: impl Fn(&str) -> bool, name: &str) -> String {
        let begun = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let Ok(line) = self.log.recv_timeout(left) else {
                self.said.extend(self.talk.try_iter());
                panic!("no line `{name}` after {:#?}\n{:#?}", self.lines, self.said);
            };
            self.lines.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line.trim_end_matches('\r').to_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}
