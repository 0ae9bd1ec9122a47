//! A desk where the vendor's host names lead to our service, its root CA is what the tools trust, and the machine's own
//! files stay as they are: inside a network namespace with a private `/etc/hosts`, our service on port 443.
//!
//! Where nobody may make a namespace (many containers), Python's own look-up of the two names is answered instead: the same
//! requests on the wire, but what stands between them and the resolver is not the machine's. One line says so.

use crate::support::{Home, Output, Up, sectag};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names that no setting of the tools changes (spec/owner-api §10).
pub const NAMES: [&str; 2] = ["api.provisioning.nrfcloud.com", "api.nrfcloud.com"];
/// The tools look after their commands every five seconds, up to three times.
const DEADLINE: Duration = Duration::from_secs(120);
/// Set where a test runs inside its network.
const INSIDE: &str = "SECTAG_TEST_INSIDE";
/// Between two looks at a child.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A namespace as root makes it, and as everybody does, or root without CAP_SYS_ADMIN.
const NAMESPACES: [&[&str]; 2] = [
    &["--net", "--mount"],
    &["--map-root-user", "--net", "--mount"],
];
/// `sh -c ENTER HOSTS COMMAND…` inside a new namespace.
const ENTER: &str = "ip link set lo up && mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// Runs `story` at such a desk; in a namespace that is this program once more, for the one test.
pub fn inside(test: &str, story: impl FnOnce(&mut Desk)) {
    if std::env::var_os(INSIDE).is_some() {
        return story(&mut Desk::new(443));
    }
    let say = |line: &str| drop(writeln!(std::io::stderr(), "{test}: {line}"));
    if let Err(error) = Command::new(python()).arg("--version").output() {
        let missing = format!("no nrfcloud-utils: `{}`: {error}", python().display());
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(!required, "{missing}, and SECTAG_PEERS=require");
        return say(&format!("skipped: {missing}"));
    }
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    let names = NAMES.join(" ");
    std::fs::write(
        &hosts,
        format!("127.0.0.1 localhost {names}\n::1 localhost\n"),
    )
    .unwrap();
    let enter = |options: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(options).args(["--", "sh", "-c", ENTER]);
        command.arg(&hosts);
        command
    };
    let mut refusals = Vec::new();
    let allowed = NAMESPACES.into_iter().find(|options| {
        let before = refusals.len();
        refusals.extend(refusal(enter(options).arg("true")));
        refusals.len() == before
    });
    let Some(options) = allowed else {
        say(&format!(
            "no network namespace here ({}), so Python is told where the names lead",
            refusals.join("; ")
        ));
        return story(&mut Desk::new(0));
    };
    let output = enter(options)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success() && said(&output.stdout).contains("1 passed"),
        "{}\n{}",
        said(&output.stdout),
        said(&output.stderr)
    );
    assert!(
        !std::fs::read_to_string("/etc/hosts")
            .unwrap()
            .contains(NAMES[0]),
        "the machine's own file was touched"
    );
}

/// Why a command did not succeed, in its own last line.
fn refusal(command: &mut Command) -> Option<String> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(said.lines().last().unwrap_or("it said nothing").to_owned())
        }
        Err(error) => Some(format!("`unshare`: {error}")),
    }
}

fn python() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    PathBuf::from(root).join("target/peers/python/bin/python")
}

/// A service, and devices on ptys.
pub struct Desk {
    pub home: Home,
    service: Up,
    devices: Vec<Child>,
    /// The pty of the device that was started last.
    port: String,
    /// For `on_port.py`, where no namespace resolves the names.
    names: Option<OsString>,
}

impl Desk {
    /// With port 443 the names lead to the service already.
    fn new(port: u16) -> Self {
        let home = Home::new();
        let owner = format!("127.0.0.1:{port}");
        let names = NAMES.map(|name| ["--name", name]);
        let service = home
            .try_up(&[("SECTAG_LISTEN_OWNER", &owner)], names.as_flattened())
            .unwrap_or_else(|(end, log)| panic!("`sectag up` ended with {end}\n{log}"));
        let at = service.listeners.owner;
        let names = (port == 0).then(|| format!("{at} {}", NAMES.join(" ")).into());
        Self {
            home,
            service,
            devices: Vec::new(),
            port: String::new(),
            names,
        }
    }

    /// What the service said.
    pub fn log(&self) -> String {
        self.service.log()
    }

    /// A board with the library on a pty, which asks the service soon after boot and once a day, and when the tools say so. Its
    /// buffer takes the vendor's root CA, as that of the vendor's sample does.
    pub fn device(&mut self, name: &str, transport: &str) {
        let mut device = sectag(&self.home.path())
            .args(["modem", "serve", "--pty", "--mode", "shell", "--name", name])
            .args(["--provision", "--transport", transport])
            .args([
                "-o",
                "spread-s=0",
                "-o",
                "rx-bytes=4096",
                "-o",
                "tx-bytes=4096",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.home.beside(&format!("{name}.log"))).unwrap())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(device.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        self.devices.push(device);
        self.port = port.trim().to_owned();
        assert!(self.port.starts_with("/dev/"), "{}", self.port);
    }

    /// Takes the devices off their ptys, so that their modems can be used from here.
    pub fn off_the_ptys(&mut self) {
        for mut device in self.devices.drain(..) {
            let end = Command::new("kill").arg(device.id().to_string()).status();
            assert!(end.unwrap().success());
            device.wait().unwrap();
        }
    }

    pub fn key(&self) -> String {
        self.home.read("owner.key").trim().to_owned()
    }

    /// A file of this desk.
    pub fn path(&self, name: &str) -> String {
        self.home
            .beside(name)
            .into_os_string()
            .into_string()
            .unwrap()
    }

    /// One of the vendor's programs, as it is but for how it finds the serial port. Success, and all it said.
    pub fn tool(&self, program: &str, args: &[&str]) -> String {
        let output = self.tool_output(program, args);
        assert_eq!(
            output.code,
            Some(0),
            "{program}: {output:#?}\n{}",
            self.log()
        );
        format!("{}{}", output.stdout, output.stderr)
    }

    fn tool_output(&self, program: &str, args: &[&str]) -> Output {
        let (out, err) = (self.home.beside("tool.out"), self.home.beside("tool.err"));
        let mut child = Command::new(python())
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/peers/nrf_tools/on_port.py"
            ))
            .args([&self.port, program])
            .args(args)
            .current_dir(self.path(""))
            .env("REQUESTS_CA_BUNDLE", self.home.path().join("ca/root.crt"))
            .envs(self.names.iter().map(|names| ("SECTAG_TEST_NAMES", names)))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let end = loop {
            match child.try_wait().unwrap() {
                Some(end) => break Some(end),
                None if begun.elapsed() > DEADLINE => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::sleep(LOOK_EVERY),
            }
        };
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Output {
            code: end.and_then(|end| end.code()),
            signal: end.and_then(|end| end.signal()),
            stdout: read(&out),
            stderr: read(&err),
        }
    }

    /// A certificate authority of the operator's own, made by the vendor's tool: certificate and key.
    pub fn own_ca(&self) -> (String, String) {
        let folder = self.path("own-ca/");
        std::fs::create_dir_all(&folder).unwrap();
        self.tool(
            "create_ca_cert",
            &["--cn", "our own CA", "-p", &folder, "-f", "own_"],
        );
        let file = |end: &str| {
            let found = std::fs::read_dir(&folder).unwrap().find_map(|entry| {
                let path = entry
                    .unwrap()
                    .path()
                    .into_os_string()
                    .into_string()
                    .unwrap();
                path.ends_with(end).then_some(path)
            });
            found.unwrap_or_else(|| panic!("no file `…{end}`"))
        };
        (file("_ca.pem"), file("_prv.pem"))
    }

    /// Waits until `is_so`.
    pub fn until(&self, what: &str, mut is_so: impl FnMut(&Home) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.home) {
            assert!(begun.elapsed() < DEADLINE, "{what}\n{}", self.log());
            std::thread::sleep(10 * LOOK_EVERY);
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for child in &mut self.devices {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
