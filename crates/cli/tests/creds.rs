//! `sectag creds`, `modem at` and `modem record`: the same story over every kind of modem, and the words of typical mistakes.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use sectag_modem::host::{Hosts, Mode, Terminator};
use sectag_modem::{Options, SharedModem, VirtualModem};
use sectag_pki::{Authority, PrivateKey, Purpose};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{DEADLINE, Home, Output, run, sectag};

/// A home, a folder of credentials as the exercise has it, and a modem that others reach.
struct Desk {
    home: Home,
    now_s: u64,
}

impl Desk {
    fn new() -> Self {
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

    fn certs(&self) -> PathBuf {
        self.home.beside("certs")
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.certs().join(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.certs().join(name)).unwrap()
    }

    /// Runs a verb beside the files.
    fn sectag(&self, args: &[&str]) -> Output {
        self.sectag_in(args, &[])
    }

    fn sectag_in(&self, args: &[&str], envs: &[(&str, &str)]) -> Output {
        let mut command = sectag(&self.home.path());
        command
            .current_dir(self.certs())
            .env_remove("SECTAG_MODEM")
            .envs(envs.iter().copied())
            .args(args);
        run(command)
    }

    fn creds(&self, modem: &str, args: &[&str]) -> Output {
        self.sectag(&[&["creds", "--modem", modem], args].concat())
    }

    /// Compares a refusal.
    fn refuses(&self, args: &[&str], code: i32, stderr: &str) {
        let output = self.sectag(args);
        assert_eq!(self.named(&output.stderr), stderr, "{args:?}");
        assert_eq!(output.code, Some(code), "{args:?}");
    }

    fn named(&self, text: &str) -> String {
        text.replace(self.home.path().to_str().unwrap(), "HOME")
            .replace(self.certs().to_str().unwrap(), "CERTS")
    }
}

/// A modem in this process, served as another would be.
struct Bench {
    modem: SharedModem,
    _hosts: Hosts,
    pty: String,
    tcp: String,
}

impl Bench {
    fn new(mode: Mode, options: Options) -> Self {
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

    fn at() -> Self {
        Self::new(Mode::At(Terminator::CrLf), Options::default())
    }

    fn shell() -> Self {
        Self::new(Mode::Shell(Default::default()), Options::default())
    }

    fn mode(&self) -> String {
        self.modem.clone().line("AT+CFUN?")
    }
}

/// The story of one modem; it must not depend on where the modem is.
fn story(desk: &Desk, modem: &str) {
    let say = |args: &[&str]| {
        let output = desk.creds(modem, args);
        (output.code.unwrap(), output.stdout)
    };
    let ok = |text: &str| (0, text.to_owned());
    assert_eq!(say(&["exists", "24", "0"]), (1, "no\n".to_owned()));
    assert_eq!(
        say(&["write", "24", "ROOT_CA_CERT", "ca-cert.pem"]),
        ok("sec tag 24, ROOT_CA_CERT (0): written\n")
    );
    assert_eq!(say(&["exists", "24", "0"]), ok("yes\n"));
    assert_eq!(
        say(&["write", "24", "0", "ca-cert.pem"]),
        ok("match: sec tag 24, ROOT_CA_CERT (0): nothing written\n")
    );
    assert_eq!(say(&["cmp", "24", "0", "ca-cert.pem"]), ok("match\n"));
    assert_eq!(
        say(&["cmp", "24", "0", "client-cert.pem"]),
        (1, "mismatch\n".to_owned())
    );
    assert_eq!(
        say(&["write", "24", "0", "client-cert.pem"]),
        ok("mismatch: sec tag 24, ROOT_CA_CERT (0): replaced\n")
    );
    assert_eq!(
        say(&["write", "24", "0", "client-cert.pem", "--always"]),
        ok("sec tag 24, ROOT_CA_CERT (0): written\n")
    );
    let (code, read) = say(&["read", "24", "0"]);
    assert_eq!(
        (code, read.replace('\r', "")),
        ok(&desk.text("client-cert.pem"))
    );
    assert_eq!(
        say(&["delete", "24", "0"]),
        ok("sec tag 24, ROOT_CA_CERT (0): deleted\n")
    );
    assert_eq!(say(&["delete", "24", "0"]).0, 1);

    let (code, csr) = say(&["keygen", "42", "--attributes", "O=Example,CN=dev-1"]);
    assert_eq!(code, 0);
    let der = &sectag_pki_csr(&csr);
    assert_eq!(
        sectag_pki::csr::parse(der).unwrap().subject(),
        "O=Example,CN=dev-1"
    );
    assert_eq!(say(&["keygen", "42", "--attributes", "CN=dev-1"]).0, 1);
    let (_, list) = say(&["list", "42"]);
    assert!(
        list.starts_with("TAG  TYPE  NAME        SHA-256\n42   2     CLIENT_KEY  "),
        "{list}"
    );
    assert_eq!(
        say(&["clear", "42"]),
        ok("sec tag 42: 1 credential deleted\n")
    );

    assert_eq!(
        say(&["apply", ".", "--tag", "42", "--plan"]),
        (
            1,
            "  + write    sec tag 42, ROOT_CA_CERT (0)\n  + write    sec tag 42, CLIENT_KEY (2)\n  + write    sec tag 42, CLIENT_CERT (1)\n"
                .to_owned()
        )
    );
    assert_eq!(
        say(&["apply", ".", "--tag", "42"]),
        ok("3 changed, digests checked\n")
    );
    assert_eq!(
        say(&["apply", ".", "--tag", "42"]),
        ok("everything is there; nothing written\n")
    );
    assert_eq!(say(&["cmp", "42", "CLIENT_KEY", "private-key.pem"]).0, 1);
    assert_eq!(
        say(&["cmp", "42", "CLIENT_KEY", "private-key.pem", "--digest"]),
        ok("match\n")
    );
    assert_eq!(
        say(&["clear", "42"]),
        ok("sec tag 42: 3 credentials deleted\n")
    );
    assert_eq!(say(&["clear", "42"]), ok("sec tag 42: nothing was there\n"));
}

/// The DER of a CSR in PEM.
fn sectag_pki_csr(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap()
}

#[test]
fn the_story_over_the_homes_virtual_modem_and_over_files() {
    let desk = Desk::new();
    story(&desk, "virtual");
    story(&desk, "files");
    story(
        &desk,
        &format!("files:{}", desk.home.beside("elsewhere").display()),
    );
}

#[test]
fn the_story_over_an_at_host_on_a_pty_and_on_tcp() {
    let desk = Desk::new();
    let bench = Bench::at();
    bench.modem.clone().line("AT+CFUN=1");
    story(&desk, &bench.pty);
    story(&desk, &bench.tcp);
    assert_eq!(bench.mode(), "+CFUN: 1\r\nOK\r\n", "online as before");
}

#[test]
fn the_story_over_a_shell() {
    let desk = Desk::new();
    let bench = Bench::shell();
    bench.modem.clone().line("AT+CFUN=21");
    story(&desk, &bench.pty);
    assert_eq!(bench.mode(), "+CFUN: 21\r\nOK\r\n");
}

#[test]
fn equal_content_is_no_flash_write_and_no_moment_offline() {
    let desk = Desk::new();
    let bench = Bench::at();
    bench.modem.clone().line("AT+CFUN=1");
    let apply = || {
        desk.creds(&bench.tcp, &["apply", ".", "--tag", "42"])
            .expect_code(0)
    };
    apply();
    let writes = bench.modem.lock().flash_writes();
    bench.modem.clone().line("AT+CGEREP=1");
    for _ in 0..3 {
        apply();
        desk.creds(&bench.tcp, &["write", "42", "0", "ca-cert.pem"])
            .expect_code(0);
    }
    assert_eq!(bench.modem.lock().flash_writes(), writes);
    let said = sectag_modem::Modem::notifications(&mut bench.modem.clone());
    assert!(!said.iter().any(|line| line.contains("DETACH")), "{said:?}");
}

#[test]
fn who_the_modem_is_and_json() {
    let desk = Desk::new();
    let bench = Bench::shell();
    let imei = bench.modem.lock().identity().imei.clone();
    assert_eq!(
        desk.creds(&bench.pty, &["imei"]).stdout,
        format!("{imei}\n")
    );
    let token = desk.creds(&bench.pty, &["attest", "--json"]).json();
    assert_eq!(token["token"].as_str().unwrap().split('.').count(), 2);
    desk.creds(&bench.pty, &["write", "24", "0", "ca-cert.pem"]);
    let list = desk.creds(&bench.pty, &["list", "24", "--json"]).json();
    assert_eq!(list["items"][0]["tag"], 24);
    assert_eq!(list["items"][0]["type"], 0);
    assert_eq!(list["items"][0]["typeName"], "ROOT_CA_CERT");
    assert_eq!(list["items"][0]["sha256"].as_str().unwrap().len(), 64);
    let written = desk
        .creds(&bench.pty, &["write", "24", "0", "ca-cert.pem", "--json"])
        .json();
    assert_eq!(written["result"], "unchanged");
    let exists = desk.creds(&bench.pty, &["exists", "9", "0", "--json"]);
    assert_eq!(
        (exists.code, exists.json()["exists"].as_bool()),
        (Some(1), Some(false))
    );
    let plan = desk
        .creds(
            &bench.pty,
            &["apply", ".", "--tag", "24", "--plan", "--json"],
        )
        .json();
    assert_eq!(
        (plan["changes"].as_u64(), plan["applied"].as_bool()),
        (Some(2), Some(false))
    );
}

#[test]
fn a_csr_goes_into_a_file_as_pem_or_der() {
    let desk = Desk::new();
    desk.sectag(&["creds", "keygen", "1", "--der", "-o", "csr.der"])
        .expect_code(0);
    let csr =
        sectag_pki::csr::parse(&std::fs::read(desk.certs().join("csr.der")).unwrap()).unwrap();
    assert!(csr.subject().starts_with("CN="));
    assert_eq!(csr.key_usage_bits.as_deref(), Some("111010000"));
    let output = desk
        .sectag(&["creds", "keygen", "2", "--public-key", "-o", "key.pem"])
        .expect_code(0);
    assert_eq!(
        output.stderr,
        "a new client private key is under sec tag 2; `key.pem` holds its public half\n"
    );
    assert!(
        desk.text("key.pem")
            .starts_with("-----BEGIN PUBLIC KEY-----\n")
    );
    let output = desk.sectag(&["creds", "keygen", "3", "--key-usage", "101010000", "--json"]);
    let made = output.json();
    assert!(made["raw"].as_str().unwrap().contains('.'));
    let csr = sectag_pki::csr::parse(&sectag_pki_csr(made["pem"].as_str().unwrap())).unwrap();
    assert_eq!(csr.key_usage_bits.as_deref(), Some("101010000"));
    let output = desk
        .sectag(&["creds", "keygen", "4", "--out", "no/such/folder"])
        .expect_code(2);
    assert!(
        output
            .stdout
            .starts_with("-----BEGIN CERTIFICATE REQUEST-----\n")
    );
    assert!(output.stderr.contains(
        "the key is under sec tag 4, and what should have gone into the file is printed as PEM"
    ));
    let output = desk.sectag(&["creds", "keygen", "3", "--type", "8", "--public-key"]);
    assert!(output.stdout.starts_with("-----BEGIN PUBLIC KEY-----\n"));
}

const KEY_WARNING: &str = "warning: run-time provisioning of a private key is for tests only: a private key in a file or in flash is exposed to whoever can read it; let the modem make its key, which then never leaves it: `sectag creds keygen TAG`\n";

#[test]
fn a_private_key_from_a_file_is_warned_of_or_refused() {
    let desk = Desk::new();
    let output = desk
        .sectag(&["creds", "write", "42", "2", "private-key.pem"])
        .expect_code(0);
    assert_eq!(output.stderr, KEY_WARNING);
    assert!(!output.stdout.contains("PRIVATE"));
    for args in [
        &[
            "creds",
            "write",
            "43",
            "2",
            "private-key.pem",
            "--no-test-keys",
        ][..],
        &["creds", "apply", ".", "--tag", "43", "--no-test-keys"],
    ] {
        let output = desk.sectag(args).expect_code(1);
        assert!(
            output
                .stderr
                .contains("holds a private key, and --no-test-keys refuses keys from files"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("sectag creds keygen"));
    }
    assert_eq!(desk.sectag(&["creds", "list", "43"]).stdout, "");
}

#[test]
fn only_one_of_certificate_and_key_names_the_other() {
    let desk = Desk::new();
    let key = desk.text("private-key.pem");
    std::fs::remove_file(desk.certs().join("private-key.pem")).unwrap();
    desk.refuses(
        &["creds", "apply", ".", "--tag", "42"],
        1,
        "error: sec tag 42 gets a client certificate and has no client private key: mutual TLS needs both\n\n\
         hint: put `private-key.pem` beside it (manifest: private_key), or make the key in the modem first: `sectag creds keygen TAG`\n",
    );
    std::fs::remove_file(desk.certs().join("client-cert.pem")).unwrap();
    desk.put("private-key.pem", &key);
    desk.refuses(
        &["creds", "apply", ".", "--tag", "42"],
        1,
        &format!(
            "{KEY_WARNING}error: sec tag 42 gets a client private key and has no client certificate: mutual TLS needs both\n\n\
             hint: put `client-cert.pem` beside it (manifest: client_cert)\n"
        ),
    );
    assert_eq!(
        desk.sectag(&["creds", "list", "42"]).stdout,
        "",
        "nothing was begun"
    );
}

#[test]
fn a_certificate_for_another_key_shows_both() {
    let desk = Desk::new();
    desk.put("private-key.pem", &PrivateKey::generate().unwrap().to_pem());
    let output = desk
        .sectag(&["creds", "apply", ".", "--tag", "42"])
        .expect_code(1);
    assert!(
        output
            .stderr
            .contains("do not belong together: public key "),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("CSR"), "{}", output.stderr);
}

#[test]
fn a_manifest_is_planned_applied_and_checked() {
    let desk = Desk::new();
    desk.put(
        "tags.toml",
        "[tags.24]\nroot_ca = \"ca-cert.pem\"\n[tags.42]\nclient_cert = \"client-cert.pem\"\nprivate_key = \"private-key.pem\"\nonly = true\n",
    );
    desk.put("psk.hex", "c0ffee\n");
    desk.sectag(&["creds", "write", "42", "PSK", "psk.hex"])
        .expect_code(0);
    let output = desk
        .sectag(&["creds", "apply", "tags.toml", "--plan"])
        .expect_code(1);
    assert_eq!(
        output.stdout,
        "  + write    sec tag 24, ROOT_CA_CERT (0)\n  - delete   sec tag 42, PSK (3)\n  + write    sec tag 42, CLIENT_KEY (2)\n  + write    sec tag 42, CLIENT_CERT (1)\n"
    );
    desk.sectag(&["creds", "apply", "tags.toml"]).expect_code(0);
    desk.sectag(&["creds", "apply", "tags.toml", "--plan"])
        .expect_code(0);
    // From a modem's folder to another modem: a file store is a folder per tag.
    desk.sectag(&["creds", "apply", "tags.toml", "--modem", "files"])
        .expect_code(0);
    let store = desk.home.path().join("credentials");
    let output = desk
        .sectag(&["creds", "apply", store.to_str().unwrap(), "--plan"])
        .expect_code(0);
    assert_eq!(output.stdout.matches("= match").count(), 3);
}

#[test]
fn the_second_set_goes_to_the_secondary_tag() {
    let desk = Desk::new();
    std::fs::rename(
        desk.certs().join("ca-cert.pem"),
        desk.certs().join("ca-cert-2.pem"),
    )
    .unwrap();
    desk.refuses(
        &["creds", "apply", ".", "--tag", "1"],
        2,
        "error: `./ca-cert-2.pem` needs a sec tag\n\nhint: give it with --secondary-tag TAG\n",
    );
    desk.sectag(&["creds", "apply", ".", "--tag", "1", "--secondary-tag", "2"])
        .expect_code(0);
    assert_eq!(desk.sectag(&["creds", "exists", "2", "0"]).stdout, "yes\n");
}

#[test]
fn a_dry_run_sends_nothing_that_changes() {
    let desk = Desk::new();
    let bench = Bench::at();
    bench.modem.clone().line("AT+CFUN=1");
    let output = desk
        .creds(
            &bench.pty,
            &["write", "42", "2", "private-key.pem", "--dry-run"],
        )
        .expect_code(0);
    assert_eq!(
        output.stdout,
        "sec tag 42, CLIENT_KEY (2): would be written\n"
    );
    assert_eq!(
        output.stderr,
        format!(
            "{KEY_WARNING}dry run: not sent: AT+CFUN=4\ndry run: not sent: AT%CMNG=0,42,2,\"****\"\ndry run: not sent: AT+CFUN=1\n"
        )
    );
    let output = desk
        .creds(&bench.pty, &["apply", ".", "--tag", "42", "--dry-run"])
        .expect_code(0);
    assert_eq!(output.stdout, "3 to change\n");
    desk.creds(&bench.pty, &["keygen", "9", "--dry-run"])
        .expect_code(0);
    assert_eq!(bench.modem.lock().flash_writes(), 0);
    let output = desk
        .creds("files", &["write", "42", "0", "ca-cert.pem", "--dry-run"])
        .expect_code(0);
    assert!(
        output
            .stderr
            .starts_with("dry run: not written: sec tag 42, ROOT_CA_CERT (0) in `")
    );
    assert!(!desk.home.path().join("credentials/42").exists());
}

#[test]
fn a_transcript_holds_the_traffic_and_no_secret() {
    let desk = Desk::new();
    desk.put("psk.hex", "5ec2e75ec2e7");
    let bench = Bench::at();
    let file = desk.certs().join("talk.txt");
    for args in [
        &["write", "42", "2", "private-key.pem"][..],
        &["write", "42", "3", "psk.hex"],
        &["write", "42", "0", "ca-cert.pem"],
    ] {
        let args = [args, &["--transcript", "talk.txt"]].concat();
        desk.creds(&bench.pty, &args).expect_code(0);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(text.starts_with("# 2"), "{text}");
    assert!(text.contains(" > AT%CMNG=0,42,2,\"****\"\n"), "{text}");
    assert!(text.contains(" > AT%CMNG=0,42,3,\"****\"\n"), "{text}");
    assert!(text.contains("-----BEGIN CERTIFICATE-----\\n"), "{text}");
    let key = desk.text("private-key.pem");
    for secret in ["5ec2e7", key.lines().nth(1).unwrap()] {
        assert!(!text.contains(secret));
    }
}

#[test]
fn files_are_old_or_new_after_a_power_cut() {
    let desk = Desk::new();
    desk.creds("files", &["write", "42", "0", "ca-cert.pem"])
        .expect_code(0);
    let path = desk.home.path().join("credentials/42/root-ca.pem");
    let old = std::fs::read_to_string(&path).unwrap();
    for (point, is_new) in [
        ("keep.file.before-rename", false),
        ("keep.file.after-rename", true),
    ] {
        let output = desk.sectag_in(
            &[
                "creds",
                "--modem",
                "files",
                "write",
                "42",
                "0",
                "client-cert.pem",
            ],
            &[("SECTAG_CRASH_AT", point)],
        );
        assert_eq!(output.signal, Some(9), "{output:#?}");
        let now = std::fs::read_to_string(&path).unwrap();
        let wanted = if is_new {
            desk.text("client-cert.pem").trim_end().to_owned()
        } else {
            old.clone()
        };
        assert_eq!(now, wanted, "{point}");
    }
    let output = desk
        .creds("files", &["write", "42", "0", "client-cert.pem"])
        .expect_code(0);
    assert!(output.stdout.starts_with("match"));
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_that_repairs_it() {
    let desk = Desk::new();
    desk.creds("files", &["keygen", "42", "--attributes", "CN=gw"])
        .expect_code(0);
    let key = desk.home.path().join("credentials/42/client.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    desk.refuses(
        &["creds", "list", "--modem", "files"],
        2,
        "error: `HOME/credentials/42/client.key` is private, but others may open it (mode 0644)\n\n\
         hint: run `chmod 600 'HOME/credentials/42/client.key'`\n",
    );
}

/// A modem that answers `OK` to everything, one line at a time when it is told to.
fn slow_modem(hold: &'static str) -> (String, mpsc::Receiver<String>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    let (heard, lines) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve_slowly(stream, hold, &heard, &wait);
    });
    (address, lines, go)
}

fn serve_slowly(
    stream: TcpStream,
    hold: &str,
    heard: &mpsc::Sender<String>,
    wait: &mpsc::Receiver<()>,
) {
    let mut to = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let line = line.trim().to_owned();
        if line.is_empty() || !line.starts_with("AT") {
            // The rest of a PEM.
            if !line.ends_with('"') {
                continue;
            }
        }
        let _ = heard.send(line.clone());
        if line.starts_with(hold) {
            let _ = wait.recv();
        }
        let information = match line.as_str() {
            "AT+CFUN?" => "+CFUN: 1\r\n",
            "AT+CMEE?" => "+CMEE: 0\r\n",
            "AT%CMNG=1,24" => "%CMNG: 24,0,\"00\"\r\n%CMNG: 24,1,\"00\"\r\n%CMNG: 24,2,\"00\"\r\n",
            _ => "",
        };
        if to
            .write_all(format!("{information}OK\r\n").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

#[test]
fn ctrl_c_puts_the_radio_back_before_it_ends() {
    let desk = Desk::new();
    let (address, lines, go) = slow_modem("AT%CMNG=3,24,1");
    let mut command = sectag(&desk.home.path());
    let mut child = command
        .args(["creds", "clear", "24", "--mode", "at", "--modem", &address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("AT%CMNG=3,24,1") {
        seen.push(lines.recv_timeout(DEADLINE).unwrap());
    }
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let asked = Command::new("sh")
        .args(["-c", "kill -INT \"$0\"", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(asked.success());
    let first = said.next().unwrap().unwrap();
    assert!(first.starts_with("stopping after the line"), "{first}");
    go.send(()).unwrap();
    let end = child.wait().unwrap();
    seen.extend(lines.iter());
    assert_eq!(end.code(), Some(2));
    assert!(!seen.contains(&"AT%CMNG=3,24,2".to_owned()), "{seen:?}");
    assert_eq!(&seen[seen.len() - 2..], ["AT+CMEE=0", "AT+CFUN=1"]);
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert!(rest.join("\n").contains("stopped by a signal"), "{rest:?}");
}

#[test]
fn one_line_to_any_modem() {
    let desk = Desk::new();
    let bench = Bench::shell();
    let at = |line: &str| desk.sectag(&["modem", "at", "--modem", &bench.pty, line]);
    assert_eq!(at("AT+CFUN?").expect_code(0).stdout, "+CFUN: 0\r\nOK\r\n");
    let output = at("AT%CMNG=2,1,0").expect_code(1);
    assert_eq!(output.stdout, "ERROR\r\n");
    assert_eq!(
        output.stderr,
        "error: the modem answered ERROR\n\nhint: `AT+CMEE=1` makes it say a number\n"
    );
    at("AT+CMEE=1").expect_code(0);
    let output = at("AT%CMNG=2,1,0").expect_code(1);
    assert_eq!(
        output.stderr,
        "error: the modem answered `+CME ERROR: 513`\n\nhint: list what is there with `sectag creds list`\n"
    );
    let value = desk
        .sectag(&["modem", "at", "AT+CGMR", "--json", "--modem", &bench.tcp])
        .json();
    assert_eq!(value["result"], "OK");
    assert_eq!(value["lines"][0], "mfw_nrf91x1_2.0.2");
    desk.refuses(
        &["modem", "at", "CFUN?"],
        2,
        "error: `CFUN?` is no AT command\n\nhint: it begins with AT, for example `AT+CGSN` or `AT%CMNG=1`\n",
    );
    desk.refuses(
        &["modem", "at", "AT", "--modem", "files"],
        2,
        "error: files hold credentials; they take no AT lines\n\nhint: give --modem virtual, a port, or tcp:HOST:PORT\n",
    );
}

#[test]
fn a_recording_passes_lines_and_keeps_them() {
    let desk = Desk::new();
    let bench = Bench::at();
    let file = desk.certs().join("record.txt");
    let mut child = sectag(&desk.home.path())
        .args(["modem", "record", "--modem", &bench.pty])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"AT+CFUN?\n\nAT%CMNG=0,1,4,\"two\nlines\"\nAT%CMNG=2,1,4\nAT%JWT\n")
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.starts_with("+CFUN: 0\r\nOK\r\nOK\r\n%CMNG: 1,4,\""),
        "{stdout}"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("> AT%CMNG=0,1,4,\"two\\nlines\"\n"), "{text}");
    assert!(text.contains("< %JWT: \"****\"\n"), "{text}");
}

#[test]
fn a_port_is_refused_when_it_is_none_or_in_use() {
    let desk = Desk::new();
    desk.refuses(
        &["creds", "list", "--modem", "/dev/nonexistent"],
        2,
        "error: cannot use the port `/dev/nonexistent`\n  caused by: No such file or directory (os error 2)\n\n\
         hint: `ls /dev/serial/by-id/` shows what is plugged in; a board has several ports, the modem is mostly on the first\n",
    );
    desk.refuses(
        &["creds", "list", "--modem", "ttyUSB0"],
        2,
        "error: invalid value 'ttyUSB0' for '--modem <MODEM>': no kind of modem; give virtual (the device --name of this home), a serial port or pty, tcp:HOST:PORT, or files[:DIR]; a port has a path, for example /dev/ttyUSB0\n\n\
         For more information, try '--help'.\n",
    );
    let bench = Bench::at();
    let held = sectag_modem::serial::SerialModem::open(&bench.pty, Default::default()).unwrap();
    let output = desk.creds(&bench.pty, &["imei"]).expect_code(2);
    assert!(
        output.stderr.contains("is in use by another program"),
        "{}",
        output.stderr
    );
    drop(held);
    desk.creds(&bench.pty, &["imei"]).expect_code(0);
}

#[test]
fn a_port_without_a_modem_says_what_to_check() {
    let desk = Desk::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    // Somebody who answers, and is no modem.
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut to = stream.try_clone().unwrap();
        for line in BufReader::new(stream).lines() {
            if line.is_err() || to.write_all(b"220 hello\r\nERROR\r\n").is_err() {
                return;
            }
        }
    });
    let output = desk.creds(&address, &["imei"]).expect_code(2);
    assert!(
        output.stderr.contains("neither `at AT+CGSN` nor `AT+CGSN` brought an IMEI, the last words were `220 hello ERROR`"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("CONFIG_AT_HOST_LIBRARY"));
}

#[test]
fn typical_mistakes() {
    let desk = Desk::new();
    desk.put("garbage.txt", "garbage\n");
    desk.put("empty.pem", "\n");
    std::fs::write(desk.certs().join("der.bin"), [0x30, 0x82, 0xff, 0x00]).unwrap();
    let pem_hint = "\n\nhint: they begin with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`\n";
    for (args, code, stderr) in [
        (
            &["creds", "write", "1", "0", "nothing.pem"][..],
            2,
            "error: failed to read `nothing.pem`: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            &["creds", "write", "1", "0", "garbage.txt"],
            1,
            format!("error: `garbage.txt` holds no PEM, but ROOT_CA_CERT (0) takes certificates in PEM{pem_hint}"),
        ),
        (
            &["creds", "write", "1", "0", "private-key.pem"],
            1,
            "error: `private-key.pem` holds a private key, but ROOT_CA_CERT (0) takes certificates in PEM\n\n\
             hint: a private key is CLIENT_KEY (2)\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "2", "ca-cert.pem"],
            1,
            "error: `ca-cert.pem` holds a certificate, but CLIENT_KEY (2) takes a private key in PEM\n\n\
             hint: it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "3", "garbage.txt"],
            1,
            "error: `garbage.txt` holds something else, but PSK (3) takes an even number of hexadecimal digits\n\n\
             hint: `openssl rand -hex 32` makes one\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "0", "empty.pem"],
            1,
            "error: `empty.pem` is empty\n".to_owned(),
        ),
        (
            &["creds", "write", "1", "0", "der.bin"],
            1,
            "error: `der.bin` is not text\n\n\
             hint: credentials are PEM; DER is converted by `openssl x509 -inform der -in FILE` or `openssl pkey -inform der -in FILE`\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "2147483648", "0", "ca-cert.pem"],
            2,
            "error: invalid value '2147483648' for '<TAG>': sec tag 2147483648 is out of range: 0 to 2147483647 are for users\n\n\
             For more information, try '--help'.\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "CERTIFICATE", "ca-cert.pem"],
            2,
            "error: invalid value 'CERTIFICATE' for '<TYPE>': `CERTIFICATE` is not a credential type; there are ROOT_CA_CERT (0), CLIENT_CERT (1), CLIENT_KEY (2), PSK (3), PSK_ID (4), PUB_KEY (5), DEV_ID_PUB_KEY (6), ENDORSEMENT_KEY (8), OWNERSHIP_KEY (9), NORDIC_ID_ROOT_CA (10), NORDIC_PUB_KEY (11)\n\n\
             For more information, try '--help'.\n"
                .to_owned(),
        ),
        (
            &["creds", "read", "1", "CLIENT_KEY"],
            1,
            "error: sec tag 1, CLIENT_KEY (2): no access to this type (-EACCES, CME 514)\n\n\
             hint: private keys and PSKs can be listed with their digest, never read\n"
                .to_owned(),
        ),
        (
            &["creds", "delete", "1", "0"],
            1,
            "error: sec tag 1, ROOT_CA_CERT (0): not found (-ENOENT, CME 513)\n\n\
             hint: list what is there with `sectag creds list`\n"
                .to_owned(),
        ),
        (
            &["creds", "keygen", "1", "--attributes", "foo"],
            1,
            "error: sec tag 1, CLIENT_KEY (2): the modem answered `+CME ERROR: 50`\n\n\
             hint: attributes are K=V,K=V with CN, serialNumber, C (two letters), L, ST, O, OU; a value has 64 characters at most\n"
                .to_owned(),
        ),
        (
            &["creds", "keygen", "1", "--modem", "files"],
            2,
            "error: sec tag 1, CLIENT_KEY (2): invalid: files have no device UUID for the subject of a CSR: give attributes, for example `CN=dev-1` (-EINVAL)\n"
                .to_owned(),
        ),
        (
            &["creds", "imei", "--modem", "files"],
            1,
            "error: files have no IMEI\n\nhint: give --modem virtual, a port, or tcp:HOST:PORT\n".to_owned(),
        ),
        (
            &["creds", "apply", "."],
            2,
            "error: `./ca-cert.pem` needs a sec tag\n\nhint: give it with --tag TAG\n".to_owned(),
        ),
        (
            &["creds", "apply", "ca-cert.pem"],
            1,
            "error: `ca-cert.pem` is PEM, not a manifest\n\n\
             hint: one file is written with `sectag creds write TAG TYPE FILE`\n"
                .to_owned(),
        ),
        (
            &["creds", "exists", "1", "0"],
            1,
            "error: sec tag 1, ROOT_CA_CERT (0) is empty\n".to_owned(),
        ),
        (
            &["creds", "list", "1"],
            0,
            "nothing under sec tag 1; `sectag creds write TAG TYPE FILE` puts something there\n".to_owned(),
        ),
    ] {
        desk.refuses(args, code, &stderr);
    }
    desk.put("tags.toml", "[tags.24]\nrootca = \"ca-cert.pem\"\n");
    desk.refuses(
        &["creds", "apply", "tags.toml"],
        1,
        "error: `tags.toml`: `rootca` is unknown in [tags.24]\n\nhint: did you mean `root_ca`?\n",
    );
}

#[test]
fn a_modem_that_refuses_is_quoted_and_put_back_online() {
    let desk = Desk::new();
    let options = Options {
        faults: vec![sectag_modem::Fault::cme("AT%CMNG=0", 1, 515)],
        ..Options::default()
    };
    let bench = Bench::new(Mode::At(Terminator::CrLf), options);
    bench.modem.clone().line("AT+CFUN=1");
    let output = desk
        .creds(&bench.tcp, &["write", "24", "0", "ca-cert.pem"])
        .expect_code(1);
    assert_eq!(
        output.stderr,
        "error: sec tag 24, ROOT_CA_CERT (0): the storage is full (-ENOMEM, CME 515)\n\n\
         hint: delete what is not needed: `sectag creds list`, then `sectag creds delete TAG TYPE`\n"
    );
    assert_eq!(bench.mode(), "+CFUN: 1\r\nOK\r\n");
}

#[test]
fn content_comes_from_stdin_too() {
    let desk = Desk::new();
    let mut child = sectag(&desk.home.path())
        .args(["creds", "write", "24", "CA", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(desk.text("ca-cert.pem").as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "sec tag 24, ROOT_CA_CERT (0): written\n"
    );
}
