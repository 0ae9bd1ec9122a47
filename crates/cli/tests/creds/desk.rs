//! A home, a folder of credentials, and a modem that others reach.

use crate::support::{Home, Output, run, sectag};
use sectag_modem::host::{Hosts, Mode, Terminator};
use sectag_modem::{Options, SharedModem, VirtualModem};
use sectag_pki::{Authority, PrivateKey, Purpose};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// A home, a folder of credentials as the exercise has it, and a modem that others reach.
pub(crate) struct Desk {
    pub(crate) home: Home,
    now_s: u64,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self {
            home: Home::new(),
            now_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        };
        std::fs::create_dir(desk.certs()).unwrap();
        let root = Authority::root("Test root", desk.now_s).unwrap();
        let issuing = root.issuing(Purpose::Devices, desk.now_s).unwrap();
        let key = PrivateKey::generate().unwrap();
        let certificate = issuing
            .issue_device(&key.spki_der(), "dev-1", desk.now_s)
            .unwrap();
        desk.put("ca-cert.pem", &root.certificate_pem());
        desk.put("client-cert.pem", &certificate.pem());
        desk.put("private-key.pem", &key.to_pem());
        desk
    }

    pub(crate) fn certs(&self) -> PathBuf {
        self.home.beside("certs")
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        std::fs::write(self.certs().join(name), text).unwrap();
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.certs().join(name)).unwrap()
    }

    /// Runs a verb beside the files.
    pub(crate) fn sectag(&self, args: &[&str]) -> Output {
        self.sectag_in(args, &[])
    }

    pub(crate) fn sectag_in(&self, args: &[&str], envs: &[(&str, &str)]) -> Output {
        let mut command = sectag(&self.home.path());
        command
            .current_dir(self.certs())
            .env_remove("SECTAG_MODEM")
            .envs(envs.iter().copied())
            .args(args);
        run(command)
    }

    pub(crate) fn creds(&self, modem: &str, args: &[&str]) -> Output {
        self.sectag(&[&["creds", "--modem", modem], args].concat())
    }

    /// Compares a refusal.
    pub(crate) fn refuses(&self, args: &[&str], code: i32, stderr: &str) {
        let output = self.sectag(args);
        assert_eq!(self.named(&output.stderr), stderr, "{args:?}");
        assert_eq!(output.code, Some(code), "{args:?}");
    }

    pub(crate) fn named(&self, text: &str) -> String {
        text.replace(self.home.path().to_str().unwrap(), "HOME")
            .replace(self.certs().to_str().unwrap(), "CERTS")
    }
}

/// A modem in this process, served as another would be.
pub(crate) struct Bench {
    pub(crate) modem: SharedModem,
    _hosts: Hosts,
    pub(crate) pty: String,
    pub(crate) tcp: String,
}

impl Bench {
    pub(crate) fn new(mode: Mode, options: Options) -> Self {
        let modem = SharedModem::new(VirtualModem::new(
            sectag_modem::Identity::from_seed(7),
            options,
            sectag_modem::seeded(7),
        ));
        let mut hosts = Hosts::new(modem.clone(), mode);
        let pty = hosts.pty(None).unwrap().display().to_string();
        let tcp = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        Self {
            modem,
            _hosts: hosts,
            pty,
            tcp: format!("tcp:{tcp}"),
        }
    }

    pub(crate) fn at() -> Self {
        Self::new(Mode::At(Terminator::CrLf), Options::default())
    }

    pub(crate) fn shell() -> Self {
        Self::new(Mode::Shell(Default::default()), Options::default())
    }

    pub(crate) fn mode(&self) -> String {
        self.modem.clone().line("AT+CFUN?")
    }
}

/// The DER of a CSR in PEM.
pub(crate) fn der_of(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap()
}

/// What is said about a private key from a file.
pub(crate) const KEY_WARNING: &str = "warning: run-time provisioning of a private key is for tests only: a private key in a file or in flash is exposed to whoever can read it; let the modem make its key, which then never leaves it: `sectag creds keygen TAG`\n";
