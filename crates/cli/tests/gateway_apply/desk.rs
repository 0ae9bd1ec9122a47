//! A gateway on one table: a home, Debian's mosquitto with a main file of its own, and a command that restarts it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home with its broker; both end with it.
pub struct Desk {
    directory: tempfile::TempDir,
    pub internal: u16,
    pub external: u16,
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Who the broker becomes, when the tests run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// It stays who starts it: it reads our home.
    Us,
    /// Debian's default: it does not.
    Mosquitto,
}

impl Desk {
    /// Nothing runs yet.
    pub fn new(user: As) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        chmod(root, 0o755);
        std::fs::create_dir(root.join("log")).unwrap();
        chmod(&root.join("log"), 0o777);
        std::fs::create_dir_all(root.join("etc/conf.d")).unwrap();
        let desk = Self {
            internal: free_port(),
            external: free_port(),
            directory,
        };
        let stays = if user == As::Us && is_root() {
            "user root\n"
        } else {
            ""
        };
        desk.write(
            "etc/mosquitto.conf",
            &format!(
                "persistence false\nlog_dest file {}\n{stays}\ninclude_dir {}\n",
                desk.path("log/mosquitto.log").display(),
                desk.path("etc/conf.d").display()
            ),
        );
        // Somebody's own; without any listener the broker would take port 1883, which is everybody's.
        let local = format!("listener {} 127.0.0.1\nallow_anonymous true\n", free_port());
        desk.write("etc/conf.d/local.conf", &local);
        desk.write("restart.sh", RESTART);
        chmod(&desk.path("restart.sh"), 0o755);
        desk
    }

    /// A desk whose internal listener has its port.
    pub fn ready(user: As) -> Self {
        let desk = Self::new(user);
        let (internal, external) = (desk.internal.to_string(), desk.external.to_string());
        desk.ok(&[
            "config",
            "set",
            "mqtt.bind.port",
            &internal,
            "mqtt.external.bind.port",
            &external,
            "mqtt.external.bind.address",
            "127.0.0.1",
        ]);
        desk
    }

    /// A desk with mutual TLS, applied and proved.
    pub fn mutual(user: As) -> Self {
        let desk = Self::ready(user);
        desk.ok(&["gateway", "init", "--level", "mutual", "--name", "gw-1"]);
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn main_file(&self) -> String {
        self.read("etc/mosquitto.conf")
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs `sectag` to its end.
    pub fn sectag(&self, arguments: &[&str]) -> Done {
        self.sectag_with(arguments, &[])
    }

    /// With more in the environment.
    pub fn sectag_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Done {
        let mut command = self.command(env!("CARGO_BIN_EXE_sectag"));
        let output = command
            .args(arguments)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Done {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Any program, in the surroundings of this desk.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env("SECTAG_HOME", self.path("home"))
            .env("SECTAG_BROKER_CONFIG", self.path("etc/mosquitto.conf"))
            .env("SECTAG_RESTART_COMMAND", self.path("restart.sh"))
            .env_remove("TEDGE_CONFIG_DIR")
            .stdin(Stdio::null());
        command
    }

    /// Runs `sectag`, which must end well.
    pub fn ok(&self, arguments: &[&str]) -> Done {
        let done = self.sectag(arguments);
        assert_eq!(
            done.code,
            Some(0),
            "{arguments:?}: {done:#?}\n{}",
            self.log()
        );
        done
    }

    /// What the broker said.
    pub fn log(&self) -> String {
        self.read("log/mosquitto.log") + &self.read("log/out")
    }

    /// Starts the broker as it is configured, or starts it anew.
    pub fn restart_broker(&self) {
        let done = self
            .command("sh")
            .arg(self.path("restart.sh"))
            .status()
            .unwrap();
        assert!(done.success());
        self.until_it_runs();
    }

    /// The broker's process.
    pub fn pid(&self) -> Option<u32> {
        let pid = self.read("log/pid").trim().parse().ok()?;
        sectag_host::processes::process(pid).map(|process| process.pid)
    }

    pub fn kill_broker(&self) {
        if let Some(pid) = self.pid() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    fn until_it_runs(&self) {
        let started = || self.log().contains("running");
        for _ in 0..500 {
            if started() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the broker does not start: {}", self.log());
    }

    /// Everything of the broker's configuration, and of what `apply` remembers: path and content.
    pub fn state(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for name in ["etc", "home/mosquitto"] {
            collect(&self.path(name), &mut all);
        }
        all.retain(|(path, _)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            !["apply.lock", "broker-command.log"].contains(&name)
        });
        all.sort();
        all
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.kill_broker();
    }
}

impl Done {
    /// Both streams.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(&self, what: &str) -> &Self {
        assert!(self.said().contains(what), "`{what}` is missing: {self:#?}");
        self
    }
}

/// Stops the broker, waits until it is gone, and starts it in the background.
const RESTART: &str = "#!/bin/sh
here=$(dirname \"$0\")
pid=$(cat \"$here/log/pid\" 2>/dev/null)
if [ -n \"$pid\" ]; then
    kill \"$pid\" 2>/dev/null
    n=0
    while kill -0 \"$pid\" 2>/dev/null && [ $n -lt 40 ]; do sleep 0.02; n=$((n + 1)); done
fi
PATH=$PATH:/usr/sbin
mosquitto -c \"$here/etc/mosquitto.conf\" </dev/null >\"$here/log/out\" 2>&1 &
echo $! >\"$here/log/pid\"
";

fn collect(directory: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            let content = std::fs::read(&path).unwrap();
            into.push((path, content));
        }
    }
}

pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether a test that needs another user or a file system of its own can run; said once when it cannot.
pub fn as_root() -> bool {
    if !is_root() {
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            let line = "skipped: tests that need another user or a file system of their own run as root only";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
        });
    }
    is_root()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// True if mosquitto can be run; else the test is skipped with one line, or fails if peers are required.
pub fn have_mosquitto() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|directory| directory.join("mosquitto").is_file());
    if !found {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "mosquitto is not installed and SECTAG_PEERS=require"
        );
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            let _ = writeln!(std::io::stderr(), "skipped: mosquitto is not installed");
        });
    }
    found
}
