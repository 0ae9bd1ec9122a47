//! A gateway on the desk: a home with configuration keys on free ports, papers from authorities of its own, the name `tedge`
//! for whoever types what a page says, and our broker with what it prints.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test file uses its part

mod mosquitto;
mod papers;

pub use mosquitto::Mosquitto;
pub use papers::Papers;

use crate::support::{DEADLINE, Home, Output, run, sectag};
use serde_json::Value;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A home whose `tedge.toml` begins with a free internal port and nothing else.
pub struct Gateway {
    /// Not running before the first `gateway apply`. It goes first: its process id is in a file beside the home.
    pub mosquitto: Mosquitto,
    pub home: Home,
    pub papers: Papers,
    pub internal: u16,
    pub external: u16,
}

impl Gateway {
    pub fn new() -> Self {
        let gateway = Self::untouched();
        let port = gateway.internal.to_string();
        gateway.set(&[("mqtt.bind.port", &port)]);
        gateway
    }

    /// Without a configuration.
    pub fn untouched() -> Self {
        let home = Home::new();
        symlink(env!("CARGO_BIN_EXE_sectag"), home.beside("tedge")).unwrap();
        let papers = Papers::new(&home.beside("papers"));
        let mosquitto = Mosquitto::install(&home);
        let [internal, external] = free_ports();
        Self {
            home,
            papers,
            mosquitto,
            internal,
            external,
        }
    }

    /// A line of the source page, by the name it has there; `sudo` is somebody else's business.
    pub fn tedge(&self, line: &str) -> Output {
        let words = line.split_whitespace().skip_while(|word| *word == "sudo");
        let mut command = Command::new(self.home.beside("tedge"));
        let words: Vec<&str> = words.collect();
        assert_eq!(words.first(), Some(&"tedge"), "{line}");
        command
            .args(&words[1..])
            .env("SECTAG_HOME", self.home.path())
            .env("NO_COLOR", "1")
            .env_remove("TEDGE_CONFIG_DIR");
        run(command)
    }

    /// Any verb; `gateway` finds the [`Mosquitto`] of this desk.
    pub fn sectag(&self, args: &[&str]) -> Output {
        let [main, restart] = Mosquitto::surroundings(&self.home);
        let envs = [
            ("SECTAG_BROKER_CONFIG", main.as_str()),
            ("SECTAG_RESTART_COMMAND", restart.as_str()),
        ];
        self.home.sectag_with(args, &envs)
    }

    /// `gateway plan`.
    pub fn plan(&self) -> Output {
        self.sectag(&["gateway", "plan"])
    }

    /// mosquitto's file as `gateway` would write it, nothing being there yet.
    pub fn listener_file(&self) -> String {
        self.listener_file_for("2.0.11")
    }

    /// The same for another version of mosquitto.
    pub fn listener_file_for(&self, version: &str) -> String {
        let plan = ["gateway", "plan", "--broker-version", version, "--json"];
        let plan = self.sectag(&plan).json();
        let files = plan["files"].as_array();
        let files = files.unwrap_or_else(|| panic!("no plan: {plan:#}"));
        let ours = files.iter().find(|file| file["path"] == plan["fragment"]);
        let ours = ours.unwrap_or_else(|| panic!("no file in {plan:#}"));
        let lines = ours["diff"].as_str().unwrap().lines().skip(2);
        let added = lines.filter_map(|line| line.strip_prefix('+'));
        added.map(|line| format!("{line}\n")).collect()
    }

    /// All in one transaction.
    pub fn set(&self, pairs: &[(&str, &str)]) -> Output {
        let mut words = vec!["config", "set"];
        words.extend(pairs.iter().flat_map(|(key, value)| [*key, *value]));
        self.sectag(&words).expect_code(0)
    }

    /// The desk's folder and the home may be passed through by everybody; files keep their own modes.
    pub fn open_to_others(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        let outer = self.home.beside("");
        for folder in [outer, self.home.path(), self.papers.path("")] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
        }
    }

    pub fn unset(&self, key: &str) {
        self.sectag(&["config", "unset", key]).expect_code(0);
    }

    /// `config get`, or nothing.
    pub fn get(&self, key: &str) -> Option<String> {
        let said = self.sectag(&["config", "get", key]);
        (said.code == Some(0)).then(|| said.stdout.trim_end().to_owned())
    }

    /// Keys for a listener of the papers' server on the free port, at this level, and for our clients to match.
    pub fn level(&self, level: &str) {
        let (port, papers) = (self.external.to_string(), &self.papers);
        let path = |name: &str| papers.text(name);
        self.set(&[
            ("mqtt.external.bind.port", &port),
            ("mqtt.external.bind.address", "127.0.0.1"),
            ("mqtt.client.host", "localhost"),
            ("mqtt.client.port", &port),
        ]);
        if level != "none" {
            self.set(&[
                ("mqtt.external.cert_file", &path("server.crt")),
                ("mqtt.external.key_file", &path("server.key")),
                ("mqtt.client.auth.ca_file", &path("ca.crt")),
            ]);
        }
        if level == "mutual" {
            self.set(&[
                ("mqtt.external.ca_path", &path("clients-ca.crt")),
                ("mqtt.client.auth.cert_file", &path("client.crt")),
                ("mqtt.client.auth.key_file", &path("client.key")),
            ]);
        }
    }

    /// Ids of what `config check` finds, each with its severity.
    pub fn findings(&self) -> Vec<(String, String)> {
        let said = self.sectag(&["config", "check", "--json"]).json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found = said.as_array().unwrap().iter();
        found
            .map(|one| (text(&one["id"]), text(&one["severity"])))
            .collect()
    }

    /// The finding with this id.
    pub fn finding(&self, id: &str) -> Value {
        let said = self.sectag(&["config", "check", "--json"]).json();
        let found = said.as_array().unwrap().iter().find(|one| one["id"] == id);
        found
            .unwrap_or_else(|| panic!("no {id} in {said:#}"))
            .clone()
    }

    /// A message by our own client, as the keys `mqtt.client.*` say; it ends by itself.
    pub fn publish(&self) -> Output {
        self.publish_to("te/desk")
    }

    pub fn publish_to(&self, topic: &str) -> Output {
        self.sectag(&[
            "mqtt",
            "pub",
            "--gateway",
            "--connection-timeout",
            "3",
            "--topic",
            topic,
            "--message",
            "hello",
        ])
    }
}

/// `sectag mqtt broker` beside the test. Dropped, it is killed.
pub struct Broker {
    child: Child,
    /// What it printed with `--json`.
    pub printed: Value,
    log: PathBuf,
}

impl Broker {
    pub fn start(gateway: &Gateway) -> Self {
        Self::start_with(gateway, &[])
    }

    pub fn start_with(gateway: &Gateway, args: &[&str]) -> Self {
        let (out, log) = (
            gateway.home.beside("broker.json"),
            gateway.home.beside("broker.log"),
        );
        let mut command = sectag(&gateway.home.path());
        command.args(["mqtt", "broker", "--json"]).args(args);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            let printed = std::fs::read(&out).unwrap_or_default();
            if let Ok(printed) = serde_json::from_slice(&printed) {
                return Self {
                    child,
                    printed,
                    log,
                };
            }
            let said = || std::fs::read_to_string(&log).unwrap();
            if let Some(end) = child.try_wait().unwrap() {
                panic!("the broker ended with {end}\n{}", said());
            }
            assert!(begun.elapsed() < DEADLINE, "no listener\n{}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What is printed for a listener.
    pub fn listener(&self, name: &str) -> Option<&Value> {
        let all = self.printed["listeners"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody listens on at this moment, all different.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// A path as text.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Only root may become somebody else.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// As [`is_root`]; a test that then ends says so in one line.
pub fn have_root(test: &str) -> bool {
    if !is_root() {
        // To the real standard error: the harness swallows what a passing test prints with eprintln.
        let _ = writeln!(std::io::stderr(), "skipped: {test} needs root");
    }
    is_root()
}
