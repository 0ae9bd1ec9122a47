//! The binary from the outside: a home of its own, `sectag up` as a child process, other verbs run to their end.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

pub(crate) mod owner;

use serde_json::Value;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A debug build on a busy machine starts, answers and ends well within this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a file or a child.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// A home that ends with the test. The folder itself is made by the first verb.
#[derive(Debug)]
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

/// A running `sectag up`. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) listeners: Listeners,
    log: PathBuf,
}

/// From `run.json`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listeners {
    pub(crate) owner: SocketAddr,
    pub(crate) loopback: SocketAddr,
    pub(crate) device: SocketAddr,
    pub(crate) mqtt: SocketAddr,
}

/// What a verb that ended left.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON value: {error}\n{self:#?}"))
    }

    /// Itself, after a look at the exit code.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The home, inside a folder that can hold a test's other files ([`Home::beside`]).
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A file next to the home.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A text file of the home.
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path().join(name);
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
    }

    /// Starts the service on free ports and waits until it says where it listens.
    pub(crate) fn up(&self, envs: &[(&str, &str)]) -> Up {
        self.try_up(envs, &[])
            .unwrap_or_else(|(end, log)| panic!("`sectag up` ended with {end}\n{log}"))
    }

    /// As [`Home::up`], with further arguments; an end before it listens is given back with what it said.
    pub(crate) fn try_up(
        &self,
        envs: &[(&str, &str)],
        args: &[&str],
    ) -> Result<Up, (ExitStatus, String)> {
        let log = self.beside("up.log");
        let run = self.path().join("run.json");
        // A killed service leaves its file; this one's is recognised by its process id.
        let mut child = sectag(&self.path())
            .arg("up")
            .args(["--listen-loopback", "127.0.0.1:0"])
            .args(["--listen-device", "127.0.0.1:0"])
            .args(["--listen-mqtt", "127.0.0.1:0"])
            .envs(cfg!(feature = "coap").then_some(("SECTAG_LISTEN_COAP", "127.0.0.1:0")))
            .args(args)
            .env("SECTAG_LISTEN_OWNER", "127.0.0.1:0")
            .envs(envs.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            if let Some(listeners) = listeners(&run, child.id()) {
                return Ok(Up {
                    child,
                    listeners,
                    log,
                });
            }
            let ended = child.try_wait().unwrap();
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            match ended {
                Some(end) => return Err((end, said())),
                None if begun.elapsed() > DEADLINE => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("`sectag up` did not listen within {DEADLINE:?}\n{}", said());
                }
                None => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Runs a verb to its end.
    pub(crate) fn sectag(&self, args: &[&str]) -> Output {
        self.sectag_with(args, &[])
    }

    /// As [`Home::sectag`], with environment variables.
    pub(crate) fn sectag_with(&self, args: &[&str], envs: &[(&str, &str)]) -> Output {
        let mut command = sectag(&self.path());
        command.args(args).envs(envs.iter().copied());
        run(command)
    }

    /// Runs a verb with `--json`, demands exit code 0 and gives what it printed; null for nothing.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.sectag(&[args, &["--json"]].concat()).expect_code(0);
        if output.stdout.trim().is_empty() {
            Value::Null
        } else {
            output.json()
        }
    }
}

impl Up {
    /// What it said on stderr so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for an end by itself; `None` when it is still there at the end of `within`.
    pub(crate) fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, within)
    }

    /// SIGTERM, and a wait for the orderly end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(asked.success(), "no SIGTERM for {}", self.child.id());
        self.wait(DEADLINE)
            .unwrap_or_else(|| panic!("no end after SIGTERM\n{}", self.log()))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary without the surroundings' settings.
pub(crate) fn sectag(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sectag"));
    for name in [
        "SECTAG_URL",
        "SECTAG_KEY_FILE",
        "SECTAG_LOG",
        "SECTAG_CRASH_AT",
    ] {
        command.env_remove(name);
    }
    command.env("SECTAG_HOME", home).env("NO_COLOR", "1");
    command
}

/// Runs a command to its end, at most [`DEADLINE`].
pub(crate) fn run(mut command: Command) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let end = wait(&mut child, DEADLINE);
    if end.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let output = Output {
        code: end.and_then(|end| end.code()),
        signal: end.and_then(|end| end.signal()),
        stdout: String::from_utf8_lossy(&std::fs::read(&out).unwrap()).into_owned(),
        stderr: String::from_utf8_lossy(&std::fs::read(&err).unwrap()).into_owned(),
    };
    assert!(
        end.is_some(),
        "{command:?} did not end within {DEADLINE:?}\n{output:#?}"
    );
    output
}

fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(end) = child.try_wait().unwrap() {
            return Some(end);
        }
        if begun.elapsed() > within {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn listeners(run: &Path, pid: u32) -> Option<Listeners> {
    let run: Value = serde_json::from_slice(&std::fs::read(run).ok()?).ok()?;
    if run["pid"].as_u64() != Some(u64::from(pid)) {
        return None;
    }
    let at = |name: &str| run["listeners"][name].as_str()?.parse().ok();
    Some(Listeners {
        owner: at("owner")?,
        loopback: at("loopback")?,
        device: at("device")?,
        mqtt: at("mqtt")?,
    })
}
