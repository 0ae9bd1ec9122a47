//! A bench with one device on a pty: the vendor's tools on one side, `sectag creds` on the other.

use crate::support::{DEADLINE, Home, Output, run, sectag};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// One row of a credential list.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    pub tag: u32,
    pub kind: String,
    /// Upper-case hexadecimal digits.
    pub digest: String,
}

pub struct Bench {
    home: Home,
    mode: &'static str,
    modem: Child,
    port: String,
}

/// Whether the vendor's tools are installed where `tools/packages` puts them.
pub fn have_tools() -> bool {
    let found = python().is_file();
    if !found {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "`{}` is missing and SECTAG_PEERS=require",
            python().display()
        );
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: nrfcredstore and nrfcloud-utils are not installed"
            );
        });
    }
    found
}

fn python() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    PathBuf::from(root).join("target/peers/python/bin/python")
}

impl Bench {
    /// `mode` is the firmware that stands before the modem: `at` or `shell` (spec/modem-at §9).
    pub fn new(mode: &'static str) -> Self {
        let home = Home::new();
        let mut modem = sectag(&home.path())
            .args([
                "modem", "serve", "--pty", "--name", "device-1", "--mode", mode,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(modem.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let port = port.trim().to_owned();
        assert!(port.starts_with("/dev/"), "{port:?}");
        Self {
            home,
            mode,
            modem,
            port,
        }
    }

    pub fn port(&self) -> &str {
        &self.port
    }

    /// A file of this bench; with an empty name the folder, with its slash.
    pub fn path(&self, name: &str) -> String {
        self.home
            .beside(name)
            .into_os_string()
            .into_string()
            .unwrap()
    }

    /// The one file whose name ends so.
    pub fn one_file(&self, end: &str) -> String {
        let names: Vec<String> = std::fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(end))
            .collect();
        let [name] = names.as_slice() else {
            panic!("{names:?}")
        };
        self.path(name)
    }

    /// Runs one of the vendor's programs to its end, in the bench's folder.
    pub fn tool(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(python());
        command
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/peers/nrf_tools/on_port.py"
            ))
            .args([&self.port, program])
            .args(args)
            .current_dir(self.path(""));
        run(command)
    }

    /// `sectag creds` on the same pty.
    pub fn creds(&self, args: &[&str]) -> Output {
        self.home
            .sectag(&[&["creds", "--modem", &self.port], args].concat())
    }

    /// `sectag creds list`, in the tool's terms.
    pub fn listed(&self, args: &[&str]) -> Vec<Listed> {
        let list = self
            .creds(&[&["list", "--json"], args].concat())
            .expect_code(0)
            .json();
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(Listed::from)
            .collect()
    }

    /// A certificate file with several lines.
    pub fn certificate(&self) -> String {
        let file = self.path("ca.pem");
        let ca = sectag_pki::Authority::root("bench", 1_790_000_000).unwrap();
        std::fs::write(&file, ca.certificate_pem()).unwrap();
        file
    }

    /// SHA-256 of a file as the modem stores what the tools send of it: without white space at its end, with CR LF when
    /// it went through the shell.
    pub fn digest_in_modem(&self, file: &str) -> String {
        let mut text = std::fs::read_to_string(file).unwrap().trim_end().to_owned();
        if self.mode == "shell" {
            text = text.replace('\n', "\r\n");
        }
        let stored = self.path("stored");
        std::fs::write(&stored, text).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-r", &stored]);
        let digest = run(openssl).expect_code(0).stdout;
        digest.split_whitespace().next().unwrap().to_uppercase()
    }

    /// Takes the device off the pty, so that its own processes can use its modem.
    pub fn off_the_pty(&mut self) {
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &self.modem.id().to_string()])
            .status()
            .unwrap();
        assert!(asked.success());
        let begun = std::time::Instant::now();
        while self.modem.try_wait().unwrap().is_none() {
            assert!(
                begun.elapsed() < DEADLINE,
                "the modem does not end after SIGTERM"
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// A verb in the bench's home.
    pub fn sectag(&self, args: &[&str]) -> Output {
        self.home.sectag(args)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.modem.kill();
        let _ = self.modem.wait();
    }
}
