//! A developer's desk: a home with one virtual device, and samples that run beside the test.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test file uses its part

use crate::stranger::mosquitto::Mosquitto;
use crate::stranger::text;
use crate::support::{DEADLINE, Home, Output, sectag};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Desk {
    pub home: Home,
}

impl Desk {
    pub fn new() -> Self {
        Self { home: Home::new() }
    }

    /// `sectag mqtt sample` towards a port of this machine, to its end.
    pub fn sample(&self, port: u16, args: &[&str]) -> Output {
        let port = port.to_string();
        let always = ["mqtt", "sample", "--host", "localhost", "--port", &port];
        self.home.sectag(&[&always, args].concat())
    }

    /// The same, beside the test.
    pub fn start(&self, port: u16, args: &[&str]) -> Running {
        let mut command = sectag(&self.home.path());
        command
            .args(["mqtt", "sample", "--host", "localhost", "--port"])
            .arg(port.to_string())
            .args(args);
        Running::start(command, self.home.beside("said"), self.home.beside("told"))
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let file = self.home.beside(name);
        std::fs::write(&file, content).unwrap();
        text(file)
    }

    /// A new `certs/` folder with these files.
    pub fn certs(&self, files: &[(&str, &str)]) -> String {
        let folder = self.home.beside("certs");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        for (name, content) in files {
            std::fs::write(folder.join(name), content).unwrap();
        }
        text(folder)
    }

    /// A new `certs/` folder with the broker's CA.
    pub fn ca_of(&self, broker: &Mosquitto) -> String {
        self.certs(&[("ca-cert.pem", &broker.ca_pem())])
    }

    /// The broker's CA under a tag.
    pub fn trust(&self, tag: &str, broker: &Mosquitto) {
        let ca = text(broker.ca_file());
        self.home
            .sectag(&["creds", "write", tag, "ROOT_CA_CERT", &ca])
            .expect_code(0);
    }

    /// The types under a tag.
    pub fn listed(&self, tag: &str) -> Vec<String> {
        let list = self.home.json(&["creds", "list", tag]);
        let items = list["items"].as_array().unwrap();
        let name = |item: &serde_json::Value| item["typeName"].as_str().unwrap().to_owned();
        items.iter().map(name).collect()
    }
}

/// A sample that runs beside the test. Dropped, it is killed.
pub struct Running {
    child: Child,
    said: PathBuf,
    told: PathBuf,
}

impl Running {
    pub fn start(mut command: Command, said: PathBuf, told: PathBuf) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&said).unwrap())
            .stderr(File::create(&told).unwrap())
            .spawn()
            .unwrap();
        Self { child, said, told }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    pub fn told(&self) -> String {
        std::fs::read_to_string(&self.told).unwrap()
    }

    /// Waits for a text on stdout.
    pub fn until(&self, wanted: &str) {
        self.until_count(wanted, 1);
    }

    pub fn until_count(&self, wanted: &str, count: usize) {
        self.wait(wanted, || self.said().matches(wanted).count() >= count);
    }

    /// Waits for a text on stderr.
    pub fn until_told(&self, wanted: &str) {
        self.wait(wanted, || {
            std::fs::read_to_string(&self.told)
                .unwrap()
                .contains(wanted)
        });
    }

    fn wait(&self, wanted: &str, mut there: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !there() {
            assert!(
                begun.elapsed() < DEADLINE,
                "no `{wanted}` in\n{}\n{}",
                self.said(),
                self.told()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, name: &str) {
        let asked = Command::new("sh")
            .args([
                "-c",
                &format!("kill -{name} \"$0\""),
                &self.child.id().to_string(),
            ])
            .status()
            .unwrap();
        assert!(asked.success());
    }

    /// What it said, after an orderly end.
    pub fn stop(&mut self) -> String {
        self.signal("TERM");
        let _ = self.child.wait();
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
