//! A C program with libcurl provisions a blank device: `capi/provision.c`, compiled by gcc against the header, linked with
//! the static library, at a virtual modem on TCP and the running service.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use stranger::{at, have, text};
use support::{Home, Output, Up, run, sectag};

/// What the program needs to be made.
const TOOLS: [&str; 2] = ["gcc", "curl-config"];
/// Tag of what the device gets.
const SEC_TAG: &str = "42";

#[test]
fn a_c_program_takes_a_device_from_blank_to_done() {
    if !have(&TOOLS) {
        return;
    }
    let desk = Desk::new();

    // Nobody has claimed it: the event carries its token.
    let blank = desk.provision().expect_code(1);
    let lines: Vec<&str> = blank.stdout.lines().collect();
    assert_eq!(
        lines[..2],
        ["event START", "event FAILED_DEVICE_NOT_CLAIMED"]
    );
    assert_eq!(lines[3..], ["event STOP", "result -13"]);
    let token = lines[2].strip_prefix("token ").unwrap();

    let home = &desk.home;
    home.sectag(&["claim", token, "--onboard", SEC_TAG])
        .expect_code(0);
    let config = r#"{"config":{"app/name":"from the owner"}}"#;
    home.sectag(&["commands", "add", &desk.modem.id, config])
        .expect_code(0);

    let done = desk.provision().expect_code(0);
    assert_eq!(
        done.stdout,
        "event START\n\
         event NEED_LTE_DEACTIVATED\nsetting app/name=from the owner\nevent NEED_LTE_ACTIVATED\n\
         event NEED_LTE_DEACTIVATED\nevent NEED_LTE_ACTIVATED\n\
         event DONE\nevent STOP\nresult 1\n",
        "two batches, since the certificate is made from the first one's results, and `finished` leaves last: {done:#?}"
    );
    assert!(!done.stderr.contains("-----BEGIN"), "{done:#?}");
    let again = desk.provision().expect_code(1);
    let nothing = "event START\nevent NO_COMMANDS\nevent STOP\nresult -61\n";
    assert_eq!(again.stdout, nothing);
    for item in desk.queue() {
        assert_eq!(item["status"], "SUCCEEDED", "{item}");
    }

    // Key, certificate and root CA are in the modem.
    let modem = format!("tcp:{}", desk.modem.address);
    let listed = home
        .sectag(&["modem", "at", "--modem", &modem, "AT%CMNG=1,42"])
        .expect_code(0);
    for kind in 0..3 {
        let entry = format!("%CMNG: {SEC_TAG},{kind},");
        assert!(listed.stdout.contains(&entry), "{listed:#?}");
    }
}

#[test]
fn a_service_under_another_root_ca_is_told_as_such() {
    if !have(&TOOLS) {
        return;
    }
    let desk = Desk::new();
    let other = Home::new();
    assert!(other.up(&[]).stop().success());
    let refused = desk.provision_trusting(&at(&other, "ca/root.crt"));
    assert_eq!(
        refused.stdout,
        "event START\nevent FAILED_WRONG_ROOT_CA\nevent STOP\nresult -111\n",
    );
    assert_eq!(refused.code, Some(1));
}

#[test]
fn the_c_program_leaks_nothing_and_reads_nothing_that_is_not_its_own() {
    if !have(&TOOLS) {
        return;
    }
    // Nobody has to have it: where it is, it judges.
    if Command::new("valgrind").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: valgrind is not installed");
        return;
    }
    let desk = Desk::new();
    let token = desk.modem.claim_token(&desk.home);
    desk.home
        .sectag(&["claim", &token, "--onboard", SEC_TAG])
        .expect_code(0);
    let mut command = Command::new("valgrind");
    command
        .args(["--error-exitcode=9", "--leak-check=full", "--quiet"])
        .arg(&*PROGRAM);
    let judged = desk.run(command, &at(&desk.home, "ca/root.crt"));
    assert_eq!(judged.code, Some(0), "{judged:#?}");
    assert!(
        judged
            .stdout
            .ends_with("event DONE\nevent STOP\nresult 1\n")
    );
    assert!(!judged.stderr.contains("=="), "{judged:#?}");
}

#[test]
fn what_cannot_be_tried_is_said() {
    if !have(&TOOLS) {
        return;
    }
    let mut command = Command::new(&*PROGRAM);
    command.args(["https://127.0.0.1:1", "ca.pem", "127.0.0.1", "1"]);
    let output = run(command).expect_code(2);
    assert_eq!(output.stderr, "provision: no modem at 127.0.0.1:1\n");
}

/// A service, and a blank modem on TCP.
struct Desk {
    home: Home,
    up: Up,
    modem: Modem,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        let modem = Modem::serve(&home);
        Self { home, up, modem }
    }

    fn provision(&self) -> Output {
        self.provision_trusting(&at(&self.home, "ca/root.crt"))
    }

    fn provision_trusting(&self, root: &str) -> Output {
        self.run(Command::new(&*PROGRAM), root)
    }

    /// With the program, and what has to stand before it.
    fn run(&self, mut command: Command, root: &str) -> Output {
        let url = format!("https://localhost:{}", self.up.listeners.device.port());
        let (host, port) = self.modem.address.rsplit_once(':').unwrap();
        command.args([&url, root, host, port]);
        run(command)
    }

    fn queue(&self) -> Vec<Value> {
        let queue = self.home.json(&["commands", "list", &self.modem.id]);
        let items = queue["items"].as_array().unwrap().clone();
        assert!(items.len() >= 4, "{queue}");
        items
    }
}

/// `sectag modem serve`. Dropped, it is killed.
struct Modem {
    child: Child,
    address: String,
    id: String,
}

impl Modem {
    fn serve(home: &Home) -> Self {
        let mut child = sectag(&home.path())
            .args(["modem", "serve", "--tcp", "127.0.0.1:0", "--online"])
            .args(["--state", &text(home.beside("modem")), "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut values = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>();
        let said = values.next().expect("it says where it listens").unwrap();
        let member = |name: &str| said[name].as_str().unwrap().to_owned();
        Self {
            child,
            address: member("tcp"),
            id: member("id"),
        }
    }

    fn claim_token(&self, home: &Home) -> String {
        let modem = format!("tcp:{}", self.address);
        let said = home
            .sectag(&["modem", "at", "--modem", &modem, "AT%ATTESTTOKEN"])
            .expect_code(0);
        said.stdout.split('"').nth(1).unwrap().to_owned()
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The C program, compiled and linked once for all tests here.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let library = library(&root);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi-peer");
    std::fs::create_dir_all(&dir).unwrap();
    let program = dir.join("provision");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-O1"])
        .arg("-I")
        .arg(root.join("crates/capi/include"))
        .arg("-o")
        .arg(&program)
        .arg(root.join("tests/peers/capi/provision.c"))
        .arg(library)
        .args(["-lcurl", "-lpthread", "-ldl", "-lm"]);
    succeed(gcc);
    program
});

/// `libsectag_capi.a` as the sources are now: a test target gets no static library from its dependencies, so cargo is
/// asked for it. It builds into the same folder and is free while tests run.
fn library(root: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_sectag")).parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--locked", "--quiet", "-p", "sectag-capi"])
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .current_dir(root);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    succeed(cargo);
    folder.join("libsectag_capi.a")
}

/// A compiler may take longer than the programs of a test.
fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
}
