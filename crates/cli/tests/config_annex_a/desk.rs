//! The program under one of its names, with a configuration and a working directory of its own.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The names under which it answers.
pub(crate) const PROGRAMS: [&str; 2] = ["sectag", "tedge"];

/// A place to type.
pub(crate) struct Desk {
    program: &'static str,
    dir: tempfile::TempDir,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    pub(crate) fn new(program: &'static str, file: &str) -> Self {
        let desk = Self {
            program,
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["cfg", "cwd", "home"] {
            std::fs::create_dir(desk.dir.path().join(name)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_sectag"), desk.dir.path().join(program)).unwrap();
        if !file.is_empty() {
            std::fs::write(desk.file(), file).unwrap();
        }
        desk
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("cfg")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.config().join("tedge.toml")
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// `$CFG`, `$CWD` and `$PROGRAM` in a text.
    pub(crate) fn fill(&self, text: &str) -> String {
        let path = |path: &Path| path.display().to_string();
        text.replace("$CFG", &path(&self.config()))
            .replace("$CWD", &path(&self.dir.path().join("cwd")))
            .replace("$PROGRAM", self.program)
    }

    /// `config` and what follows it, at the end of the line as in the annex.
    pub(crate) fn command(&self, words: &[&str], variables: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join(self.program));
        command.arg("config").args(words);
        // Alone it prints its help; an option would be something to complain about.
        if !words.is_empty() {
            command.arg("--config-dir").arg(self.config());
        }
        self.surround(&mut command);
        for variable in variables {
            let (name, value) = variable.split_once('=').unwrap();
            command.env(name, value);
        }
        command
    }

    pub(crate) fn run(&self, words: &[&str], variables: &[&str]) -> Ended {
        end(self.command(words, variables))
    }

    /// The same with the configuration directory mounted read-only; `None` when that is not possible here.
    pub(crate) fn run_read_only(&self, words: &[&str]) -> Option<Ended> {
        const SCRIPT: &str =
            "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 99; exec \"$@\"";
        let inner = self.command(words, &[]);
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", SCRIPT])
            .arg(self.config());
        command.arg(inner.get_program()).args(inner.get_args());
        self.surround(&mut command);
        let ended = command.output().ok()?;
        let ended = ended_of(ended);
        (ended.exit == 0 || ended.stdout.is_empty() && ended.stderr.starts_with("Error: "))
            .then_some(ended)
    }

    fn surround(&self, command: &mut Command) {
        let path: OsString = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path().join("home"))
            .current_dir(self.dir.path().join("cwd"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }
}

fn end(mut command: Command) -> Ended {
    ended_of(command.output().unwrap())
}

fn ended_of(output: std::process::Output) -> Ended {
    Ended {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
