//! Programs none of us wrote, and what they need: files on disk, a device whose claim and JWTs are real, a tap on the
//! wire. A program that is missing is said in one line and its tests pass; with `SECTAG_PEERS=require` they fail.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test file uses its part

pub mod mosquitto;

use crate::support::{DEADLINE, Home, Output, owner, run};
use sectag_device::verbs;
use sectag_modem::VirtualModem;
use sectag_proto::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether all of `programs` can be run.
pub fn have(programs: &[&str]) -> bool {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let installed =
        // Debian puts daemons where only root looks.
        |program: &str| std::env::split_paths(&paths).chain(["/usr/sbin".into()]).any(|at| at.join(program).is_file());
    let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
    let mut all = true;
    for program in programs.iter().filter(|program| !installed(program)) {
        assert!(
            !required,
            "{program} is not installed and SECTAG_PEERS=require"
        );
        // To the real standard error: the harness swallows what a passing test prints with eprintln.
        if SAID.lock().unwrap().insert((*program).to_owned()) {
            let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
        }
        all = false;
    }
    all
}

/// Where `tools/packages` puts MQTT.js, when it could.
pub fn node_modules() -> Option<PathBuf> {
    let modules = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/peers/node/node_modules"
    ));
    if have(&["node"]) && modules.join("mqtt").is_dir() {
        return Some(modules);
    }
    let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
    assert!(
        !required,
        "MQTT.js is not installed and SECTAG_PEERS=require"
    );
    let _ = writeln!(std::io::stderr(), "skipped: MQTT.js is not installed");
    None
}

/// The Python into whose environment `tools/packages` puts Python programs, when it has this package.
pub fn python_with(package: &str) -> Option<PathBuf> {
    let home = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/peers/python"
    ));
    let python = home.join("bin/python");
    let mut question = Command::new(&python);
    question.args(["-c", &format!("import {package}")]);
    if python.is_file() && run(question).code == Some(0) {
        return Some(python);
    }
    let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
    assert!(
        !required,
        "{package} for Python is not installed and SECTAG_PEERS=require"
    );
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {package} for Python is not installed"
    );
    None
}

/// Runs a program to its end, without input.
pub fn ask(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args);
    run(command)
}

/// The path of a file of the home, as text.
pub fn at(home: &Home, file: &str) -> String {
    text(home.path().join(file))
}

/// A path as text.
pub fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}

/// A device on the test's desk: its modem signs, a stranger carries the bytes.
pub struct Device {
    modem: VirtualModem,
    pub id: String,
}

/// What the service lets pass between its clock and a device's is a few minutes; an hour is not.
pub const HOUR_MS: i64 = 3_600_000;

impl Device {
    pub fn new(seed: u64) -> Self {
        let mut modem = VirtualModem::from_seed(seed);
        let id = verbs::uuid(&mut modem).unwrap().to_string();
        Self { modem, id }
    }

    /// A JWT made on a clock that is `ahead_ms` off; validity zero leaves `iat` and `exp` out.
    pub fn jwt(&mut self, ahead_ms: i64, validity: Duration) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_millis()).unwrap();
        self.modem
            .set_time(Timestamp(now.saturating_add_signed(ahead_ms)));
        verbs::jwt(&mut self.modem, 0, validity)
            .unwrap()
            .expose()
            .to_owned()
    }

    pub fn good_jwt(&mut self) -> String {
        self.jwt(0, Duration::from_secs(300))
    }

    pub fn token(&mut self) -> String {
        verbs::token(&mut self.modem).unwrap()
    }

    /// Claimed by the home's owner, with these commands queued.
    pub fn claimed(mut self, home: &Home, loopback: SocketAddr, commands: &[Value]) -> Self {
        let key = home.read("owner.key");
        let token = self.token();
        let post = |path: &str, body: &Value| {
            let answer = owner::call(loopback, &key, "POST", path, Some(body)).unwrap();
            assert!(answer.status < 300, "{answer:?}");
        };
        post("/v1/claimed-devices", &json!({ "claimToken": token }));
        let path = format!("/v1/claimed-devices/{}/provisioning", self.id);
        for command in commands {
            post(&path, &json!({ "request": command }));
        }
        self
    }
}

/// Stands before a TLS listener, passes one connection on and keeps what the server sent.
pub struct Tap {
    pub port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
    worker: std::thread::JoinHandle<()>,
}

impl Tap {
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = sent.clone();
        let worker = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut server = TcpStream::connect(server).unwrap();
            for stream in [&client, &server] {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
            }
            let mut from_client = client.try_clone().unwrap();
            let mut to_server = server.try_clone().unwrap();
            let up = std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
            });
            let mut buffer = [0; 16 * 1024];
            while let Ok(length @ 1..) = server.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..length]);
                if client.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(std::net::Shutdown::Both);
            let _ = server.shutdown(std::net::Shutdown::Both);
            let _ = up.join();
        });
        Self { port, sent, worker }
    }

    /// After the connection's end: (content type, length with its header of 5) of each TLS record the server sent.
    pub fn records(self) -> Vec<(u8, usize)> {
        self.worker.join().unwrap();
        let bytes = self.sent.lock().unwrap();
        let mut rest = bytes.as_slice();
        let mut records = Vec::new();
        while let [kind, _, _, high, low, ..] = rest {
            let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            records.push((*kind, length));
            rest = rest.get(length..).expect("whole records only");
        }
        assert!(rest.is_empty(), "half a record header");
        records
    }
}
