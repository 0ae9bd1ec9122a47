//! mosquitto on this machine: which one, where its main file is, who it becomes, how it is told to reload or restart.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sectag_gateway::facts::User;
use sectag_gateway::mosquitto::{self, BrokerVersion};

use crate::ground::Disk;
use crate::machine;
use crate::processes::{self, Process};

/// Debian's place for the main file.
pub const MAIN: &str = "/etc/mosquitto/mosquitto.conf";
/// The unit of mosquitto.
pub const UNIT: &str = "mosquitto";

/// What is said about the broker; the rest is found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerOptions {
    /// Its main file. Default [`MAIN`].
    pub main: PathBuf,
    /// The program. Default: `mosquitto` in `PATH` or a `sbin`.
    pub program: Option<PathBuf>,
    /// Its version; default: what the program says.
    pub version: Option<BrokerVersion>,
    /// Who it becomes; default: who it is, who its `user` line says, `mosquitto`.
    pub user: Option<String>,
    /// Shell command that reloads it.
    pub reload: Option<String>,
    /// Shell command that restarts it.
    pub restart: Option<String>,
    /// Its unit under systemd. Default [`UNIT`].
    pub unit: String,
    /// Its process, or a file with its number.
    pub pid: Option<String>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its main file.
    pub main: PathBuf,
    /// The program, when it is known.
    pub program: Option<PathBuf>,
    /// Its version.
    pub version: BrokerVersion,
    /// Name of who it becomes.
    pub user_name: String,
    /// That user; `None` when the system does not know the name.
    pub user: Option<User>,
    /// How it reloads; `None`: somebody must do it.
    pub reload: Option<Way>,
    /// How it restarts; `None`: somebody must do it.
    pub restart: Option<Way>,
    /// Its process, if it runs where we can see it.
    pub running: Option<Process>,
}

/// How a broker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A shell command.
    Command(String),
    /// `systemctl`, with this unit.
    Systemd(String),
    /// SIGHUP to the running process.
    Signal,
}

/// Why there is no broker to work with.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Neither a program nor a version.
    #[error("no mosquitto was found")]
    NoProgram,
    /// The program does not say its version.
    #[error("`{} -h` does not name a version of mosquitto", .0.display())]
    NoVersion(PathBuf),
    /// It could not be run.
    #[error("cannot run `{} -h`", .0.display())]
    Run(PathBuf, #[source] io::Error),
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            main: MAIN.into(),
            program: None,
            version: None,
            user: None,
            reload: None,
            restart: None,
            unit: UNIT.to_owned(),
            pid: None,
        }
    }
}

impl BrokerError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        "install mosquitto, name its program with --broker, or plan for another machine with --broker-version 2.0.11"
    }
}

impl Broker {
    /// Finds out.
    ///
    /// # Errors
    /// [`BrokerError`] when no version can be told.
    pub fn find(options: &BrokerOptions) -> Result<Self, BrokerError> {
        let program = options.program.clone().or_else(|| in_path("mosquitto"));
        let version = match options.version {
            Some(version) => version,
            None => version_of(program.as_deref().ok_or(BrokerError::NoProgram)?)?,
        };
        let main = std::path::absolute(&options.main).unwrap_or_else(|_| options.main.clone());
        let effective = mosquitto::read(&main, &Disk::new(None), version);
        let pid = match &options.pid {
            Some(pid) => pid_of(pid),
            None => effective.global("pid_file").and_then(pid_of),
        };
        let running = processes::broker(&main).or_else(|| {
            let process = processes::process(pid?)?;
            let is_meant = options.pid.is_some() || process.name == "mosquitto";
            is_meant.then_some(process)
        });
        let systemd = has_unit(&options.unit);
        let we = rustix::process::geteuid().as_raw();
        let user_name = options
            .user
            .clone()
            .or_else(|| Some(machine::user_by_id(running.as_ref()?.uid)?.name))
            .or_else(|| {
                // Only root can become somebody else.
                let stays = we != 0 && !systemd;
                stays.then(|| machine::user_by_id(we).map(|user| user.name))?
            })
            .or_else(|| effective.global("user").map(str::to_owned))
            .unwrap_or_else(|| "mosquitto".to_owned());
        let unit = || systemd.then(|| Way::Systemd(options.unit.clone()));
        let command = |text: &Option<String>| text.clone().map(Way::Command);
        let signal = || {
            running
                .as_ref()
                .filter(|process| we == 0 || process.uid == we)
                .map(|_| Way::Signal)
        };
        Ok(Self {
            reload: command(&options.reload).or_else(unit).or_else(signal),
            restart: command(&options.restart).or_else(unit),
            user: machine::user(&user_name),
            user_name,
            main,
            program,
            version,
            running,
        })
    }

    /// Its process as it is at this moment.
    pub fn process(&self) -> Option<Process> {
        processes::broker(&self.main).or_else(|| processes::process(self.running.as_ref()?.pid))
    }

    /// Tells the broker. What a command says goes to `log`, so that a broker it leaves behind does not hold us.
    ///
    /// # Errors
    /// A sentence.
    pub fn tell(
        &self,
        way: &Way,
        verb: &str,
        log: &Path,
        patience: Duration,
    ) -> Result<(), String> {
        match way {
            Way::Command(text) => run("sh", &["-c", text], text, log, patience),
            Way::Systemd(unit) => {
                let shown = format!("systemctl {verb} {unit}");
                run("systemctl", &[verb, unit], &shown, log, patience)
            }
            Way::Signal => {
                let process = self
                    .process()
                    .ok_or_else(|| "mosquitto does not run".to_owned())?;
                i32::try_from(process.pid)
                    .ok()
                    .and_then(rustix::process::Pid::from_raw)
                    .ok_or_else(|| "mosquitto does not run".to_owned())
                    .and_then(|pid| {
                        rustix::process::kill_process(pid, rustix::process::Signal::HUP)
                            .map_err(|e| format!("SIGHUP to process {} failed: {e}", process.pid))
                    })
            }
        }
    }
}

impl Way {
    /// The command that somebody could type.
    pub fn text(&self, verb: &str, running: Option<&Process>) -> String {
        match self {
            Self::Command(text) => text.clone(),
            Self::Systemd(unit) => format!("systemctl {verb} {unit}"),
            Self::Signal => match running {
                Some(process) => format!("kill -HUP {}", process.pid),
                None => "kill -HUP <mosquitto>".to_owned(),
            },
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(
    program: &str,
    arguments: &[&str],
    shown: &str,
    log: &Path,
    patience: Duration,
) -> Result<(), String> {
    let said = || -> io::Result<(File, File)> {
        let out = File::create(log)?;
        let err = out.try_clone()?;
        Ok((out, err))
    };
    let (out, err) = said().map_err(|e| format!("cannot write `{}`: {e}", log.display()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // A broker that a script leaves behind does not get the signals of our terminal.
        .process_group(0)
        .spawn()
        .map_err(|e| format!("cannot run `{shown}`: {e}"))?;
    let until = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let last = last_lines(log);
                return Err(format!("`{shown}` failed ({status}){last}"));
            }
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait(); // it was killed
                return Err(format!("`{shown}` did not end within {patience:?}"));
            }
            Err(e) => return Err(format!("cannot wait for `{shown}`: {e}")),
        }
    }
}

/// The end of what a command said, as part of a sentence.
pub(crate) fn last_lines(log: &Path) -> String {
    const LINES: usize = 4;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    if last.is_empty() {
        String::new()
    } else {
        format!(": {}", last.join(" / "))
    }
}

/// True if systemd runs this machine and knows the unit.
fn has_unit(unit: &str) -> bool {
    Path::new("/run/systemd/system").is_dir()
        && Command::new("systemctl")
            .args(["cat", "--", unit])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

fn version_of(program: &Path) -> Result<BrokerVersion, BrokerError> {
    let output = Command::new(program)
        .arg("-h")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| BrokerError::Run(program.to_owned(), e))?;
    let said = [output.stdout, output.stderr].concat();
    BrokerVersion::parse(&String::from_utf8_lossy(&said))
        .map_err(|_| BrokerError::NoVersion(program.to_owned()))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// A number, or a file with one.
fn pid_of(text: &str) -> Option<u32> {
    if let Ok(pid) = text.parse() {
        return Some(pid);
    }
    std::fs::read_to_string(text).ok()?.trim().parse().ok()
}
