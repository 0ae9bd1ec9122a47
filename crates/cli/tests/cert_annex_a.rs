//! Annex A of spec/gateway-config, certificate verbs: each row under both names of the program.
//!
//! Exit code and stdout are thin-edge.io's where the annex has ✔, and better where it has ✘. Amendment A10 takes rows 11 and 19
//! out of the contract: they are about a cloud.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A configuration directory, and one name of the program.
struct Desk {
    dir: tempfile::TempDir,
    name: &'static str,
}

impl Desk {
    fn new(name: &'static str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            name,
        }
    }

    fn cert(&self, args: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_sectag"))
            .arg0(self.name)
            .arg("--config-dir")
            .arg(self.dir.path())
            .arg("cert")
            .args(args)
            .env_clear()
            .env("SECTAG_HOME", self.dir.path().join("home"))
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A file of the device certificate.
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("device-certs").join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.dir.path().join("tedge.toml"), text).unwrap();
    }

    fn created() -> impl Iterator<Item = Self> {
        both().inspect(|desk| {
            desk.cert(&["create", "--device-id", "gw-1"]).expect(0);
        })
    }
}

impl Ended {
    /// A failure has nothing on stdout (spec/gateway-config §5).
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        if code != 0 {
            assert_eq!(self.stdout, "", "{self:#?}");
        }
        assert!(!self.stderr.contains("backtrace"), "{self:#?}");
        self
    }

    #[track_caller]
    fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` in {self:#?}");
        }
        self
    }

    /// The value behind a label on stdout.
    #[track_caller]
    fn value(&self, label: &str) -> String {
        let line = self
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("`{label}` in {self:#?}"))
            .trim_start()
            .to_owned()
    }
}

fn both() -> impl Iterator<Item = Desk> {
    ["sectag", "tedge"].into_iter().map(Desk::new)
}

const CERTIFICATE: &str = "tedge-certificate.pem";
const KEY: &str = "tedge-private-key.pem";
const NEW: &str = "tedge-certificate.pem.new";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn rows_1_and_6_the_folder_is_made_and_the_certificate_shown() {
    for desk in both() {
        let made = desk.cert(&["create", "--device-id", "gw-1"]).expect(0);
        assert_eq!(
            made.value("Certificate:   "),
            desk.file(CERTIFICATE).display().to_string()
        );
        for label in ["Subject:       ", "Issuer:        "] {
            assert_eq!(made.value(label), "CN=gw-1, O=Thin Edge, OU=Device");
        }
        let status = made.value("Status:        ");
        assert!(status.starts_with("VALID (expires in: 36"), "{status}");
        for label in ["Valid from:    ", "Valid until:   "] {
            assert!(made.value(label).ends_with(" +0000"), "{made:?}");
        }
        let serial = made.value("Serial number: ");
        let (decimal, hex) = serial.split_once(" (0x").unwrap();
        let hex = u128::from_str_radix(hex.strip_suffix(')').unwrap(), 16).unwrap();
        assert_eq!(decimal.parse::<u128>().unwrap(), hex);
        assert_eq!(made.value("Thumbprint:    ").len(), 40);
        assert_eq!(made.stdout.lines().count(), 8);
        made.says(&[
            "Certificate created successfully\n",
            "has to be uploaded to the cloud",
        ]);
        assert_eq!(mode(&desk.file(CERTIFICATE)), 0o444);
        assert_eq!(mode(&desk.file(KEY)), 0o400);
        let shown = desk.cert(&["show"]).expect(0);
        assert_eq!(shown.value("Thumbprint:    ").len(), 40);
    }
}

#[test]
fn rows_2_and_3_no_id_and_a_bad_id() {
    for desk in both() {
        desk.cert(&["create"]).expect(1).says(&["--device-id"]);
        desk.cert(&["create", "--device-id", "gw 1"])
            .expect(1)
            .says(&["gw 1", "contains characters which cannot be used in a name"]);
        let long = "x".repeat(65);
        desk.cert(&["create", "--device-id", &long]).expect(1);
        assert!(!desk.file(CERTIFICATE).exists() && !desk.file(KEY).exists());
        desk.configure("[device]\nid = \"from-file\"\n");
        let made = desk.cert(&["create"]).expect(0);
        assert!(made.value("Subject:       ").starts_with("CN=from-file, "));
    }
}

#[test]
fn rows_4_and_5_nothing_to_show_or_check() {
    for desk in both() {
        desk.cert(&["show"]).expect(1).says(&[CERTIFICATE]);
        desk.cert(&["show", "--new"]).expect(1).says(&[NEW]);
        desk.cert(&["needs-renewal"])
            .expect(2)
            .says(&["cannot check the certificate", CERTIFICATE]);
    }
}

#[test]
fn row_7_what_exists_is_not_overwritten() {
    for desk in Desk::created() {
        let before = fs::read(desk.file(CERTIFICATE)).unwrap();
        desk.cert(&["create", "--device-id", "gw-2"])
            .expect(1)
            .says(&["already exists and would be overwritten", "cert remove"]);
        assert_eq!(fs::read(desk.file(CERTIFICATE)).unwrap(), before);
    }
}

#[test]
fn rows_8_and_9_exit_0_means_renew() {
    for desk in Desk::created() {
        desk.cert(&["needs-renewal"])
            .expect(1)
            .says(&["Status:        VALID (expires in: 36"]);
        let minimum = "[certificate.validity]\nminimum_duration = \"400d\"\n";
        desk.configure(minimum);
        let due = desk.cert(&["needs-renewal"]).expect(0);
        assert_eq!(due.stdout, "");
        due.says(&["Status:        EXPIRES SOON (expires in: 36"]);
    }
}

#[test]
fn row_10_a_request_uses_the_key() {
    for desk in Desk::created() {
        let made = desk.cert(&["create-csr"]).expect(0);
        assert_eq!(made.stdout, "");
        made.says(&["Certificate Signing Request was successfully created."]);
        let csr = fs::read(desk.file("tedge.csr")).unwrap();
        assert_eq!(mode(&desk.file("tedge.csr")), 0o444);
        let asked = sectag_pki::own::read_request(&csr).unwrap();
        assert_eq!(asked.common_name(), Some("gw-1"));
        let key = fs::read_to_string(desk.file(KEY)).unwrap();
        let key = sectag_pki::KeyPair::from_pem(&key).unwrap();
        assert_eq!(asked.spki, key.spki_der());
        // Again, and elsewhere.
        desk.cert(&["create-csr"]).expect(0);
        let other = desk.dir.path().join("other.csr");
        desk.cert(&["create-csr", "--output-path", other.to_str().unwrap()])
            .expect(0);
        assert!(other.exists());
    }
}

#[test]
fn row_12_a_renewal_waits_beside_with_a_serial_of_its_own() {
    for desk in Desk::created() {
        let old = desk.cert(&["show"]).expect(0);
        let renewed = desk.cert(&["renew", "--ca", "self-signed"]).expect(0);
        assert_eq!(
            renewed.value("Certificate:   "),
            desk.file(NEW).display().to_string()
        );
        assert_eq!(
            renewed.value("Subject:       "),
            "CN=gw-1, O=Thin Edge, OU=Device"
        );
        // Upstream derives the serial from the key, so both certificates have the same.
        let serial = "Serial number: ";
        assert_ne!(renewed.value(serial), old.value(serial));
        assert_eq!(
            desk.cert(&["show", "--new"]).expect(0).value(serial),
            renewed.value(serial)
        );
        assert_eq!(
            desk.cert(&["show"]).expect(0).value(serial),
            old.value(serial)
        );
        renewed.says(&[
            "Certificate renewed successfully",
            "then the device reconnected",
        ]);
    }
}

#[test]
fn row_13_no_certificate_for_a_key_that_nobody_has() {
    for desk in Desk::created() {
        fs::remove_file(desk.file(KEY)).unwrap();
        desk.cert(&["renew", "--ca", "self-signed"])
            .expect(1)
            .says(&["the key of the certificate is missing", KEY]);
        assert!(!desk.file(NEW).exists());
        desk.cert(&["renew", "--ca", "c8y"]).expect(1);
    }
}

#[test]
fn rows_14_and_15_remove_says_what_it_removed() {
    for desk in Desk::created() {
        desk.cert(&["renew", "--ca", "self-signed"]).expect(0);
        fs::remove_file(desk.file(KEY)).unwrap();
        let removed = desk.cert(&["remove"]).expect(0);
        assert_eq!(removed.stdout, "");
        removed.says(&["successfully removed", NEW, CERTIFICATE]);
        assert!(!desk.file(NEW).exists() && !desk.file(CERTIFICATE).exists());
        let nothing = desk.cert(&["remove"]).expect(0);
        assert_eq!(nothing.stderr, "There is no certificate to remove\n");
        assert_eq!(nothing.stdout, "");
    }
}

#[test]
fn rows_16_and_17_an_expired_certificate_is_shown_and_a_key_is_not() {
    for desk in Desk::created() {
        let (root, key) = (
            sectag_pki::Authority::root("ca", 1_000_000_000).unwrap(),
            sectag_pki::KeyPair::generate(sectag_pki::KeyType::P256).unwrap(),
        );
        let terms = sectag_pki::Terms {
            now_s: 1_000_000_000,
            lifetime_s: 86_400,
            crl_url: None,
        };
        let expired = root
            .issue_local_server(&key.spki_der(), &["vm".parse().unwrap()], &terms)
            .unwrap();
        let path = desk.dir.path().join("serverexp.crt");
        fs::write(&path, expired.pem()).unwrap();
        let path = path.to_str().unwrap();
        let shown = desk.cert(&["show", "--cert-path", path]).expect(0);
        assert_eq!(shown.value("Certificate:   "), path);
        assert_eq!(shown.value("Subject:       "), "CN=vm");
        assert_eq!(shown.value("Issuer:        "), "CN=ca");
        assert!(
            shown
                .value("Status:        ")
                .starts_with("EXPIRED (since: ")
        );
        assert_eq!(shown.stderr, "");
        desk.cert(&["needs-renewal", "--cert-path", path]).expect(0);

        let key_path = desk.dir.path().join("server.key");
        fs::write(&key_path, key.to_pem().as_bytes()).unwrap();
        desk.cert(&["show", "--cert-path", key_path.to_str().unwrap()])
            .expect(1)
            .says(&["holds a private key, not a certificate"]);
    }
}

#[test]
fn row_18_both_halves_or_none() {
    for desk in Desk::created() {
        fs::remove_file(desk.file(CERTIFICATE)).unwrap();
        desk.cert(&["create", "--device-id", "gw-1"])
            .expect(1)
            .says(&["a private key already exists and would be overwritten", KEY]);
        assert!(!desk.file(CERTIFICATE).exists());
    }
}
