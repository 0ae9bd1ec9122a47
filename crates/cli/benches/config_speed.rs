//! What `sectag config` costs in time and memory, against what this machine asks for anything of the kind, all in one run.
//!
//! `cargo bench -p sectag-cli --bench config_speed`. Every round runs each program once, so that company on the machine is
//! shared by all; a figure is the median of the rounds. A `set` is held against the least that keeps a file: the same
//! bytes written beside it, fsync, rename, fsync of the directory.
#![allow(clippy::unwrap_used, missing_docs)]

use sectag_pki::{Authority, PrivateKey, Purpose};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 240;
/// Discarded: page cache and directory entries come in.
const WARM_UP: usize = 10;

/// `--version` over `/bin/true`.
const VERSION_MAX: f64 = 3.0;
/// `config get` over `--version`.
const GET_MAX: f64 = 1.3;
/// `config set` over `GET_MAX` × `--version` + this × a bare write.
const WRITE_MAX: f64 = 1.5;
/// 8,000,000 bytes, in units of 1,048,576.
const MEMORY_MIB_MAX: f64 = 8e6 / 1_048_576.0;

/// Medians of thin-edge.io 2.0.1, as published for a shared machine of two cores (spec/gateway-config §5).
const UPSTREAM: &str =
    "thin-edge.io 2.0.1, elsewhere: --version 3.3 ms, get 4.2 ms, list 5.3 ms, set 12 ms, 15.8 MB";

fn main() {
    // A disk, not a memory file system: fsync is to cost what it costs.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [plain, mutual] = ["plain", "mutual"].map(|name| folder.path().join(name));
    let plain = Desk::new(&plain);
    let mutual = Desk::new(&mutual);
    mutual.papers();

    let get = ["config", "get", "mqtt.external.bind.port"];
    let mut times: [Vec<Duration>; 8] = Default::default();
    for round in 0..WARM_UP + ROUNDS {
        // Never the value that is there, so that each `set` writes.
        let port = if round % 2 == 0 { "8884" } else { "8885" };
        let set = ["config", "set", "mqtt.external.bind.port", port];
        let [one, other] = mutual.certificates();
        let certificate = if round % 2 == 0 { other } else { one };
        let set_certificate = ["config", "set", "mqtt.external.cert_file", &certificate];
        let taken = [
            run(&mut Command::new("/bin/true")),
            run(&mut plain.sectag(&["--version"])),
            run(&mut plain.sectag(&get)),
            run(&mut plain.sectag(&["config", "list"])),
            run(&mut plain.sectag(&set)),
            run(&mut mutual.sectag(&set)),
            run(&mut mutual.sectag(&set_certificate)),
            plain.bare_write(),
        ];
        if round >= WARM_UP {
            for (times, taken) in times.iter_mut().zip(taken) {
                times.push(taken);
            }
        }
    }
    let [
        nothing,
        version,
        got,
        list,
        set,
        set_mutual,
        set_certificate,
        write,
    ] = times.map(median_ms);
    let other = ["config", "set", "mqtt.external.bind.port", "8886"];
    // The rounds ended with the first of them.
    let [_, certificate] = mutual.certificates();
    let certificate = ["config", "set", "mqtt.external.cert_file", &certificate];
    let memory = [
        ("get", plain.peak_kib(&get)),
        ("list", plain.peak_kib(&["config", "list"])),
        ("set", plain.peak_kib(&other)),
        ("set, mutual TLS", mutual.peak_kib(&other)),
        ("set of a certificate", mutual.peak_kib(&certificate)),
    ];

    println!("median of {ROUNDS} runs, ms");
    println!("/bin/true                               {nothing:8.2}");
    println!("sectag --version                        {version:8.2}");
    println!("sectag config get                       {got:8.2}");
    println!("sectag config list                      {list:8.2}");
    println!("sectag config set                       {set:8.2}");
    println!("the same, in a gateway with mutual TLS  {set_mutual:8.2}");
    println!("sectag config set, a certificate there  {set_certificate:8.2}");
    println!("bare write, fsync, rename, fsync        {write:8.2}");
    println!("{UPSTREAM}\n");
    verdict("--version / true", version / nothing, VERSION_MAX);
    verdict("get / --version", got / version, GET_MAX);
    let allowed = GET_MAX.mul_add(version, WRITE_MAX * write);
    verdict("set / (1.3 --version + 1.5 write)", set / allowed, 1.0);
    verdict("the same, with mutual TLS", set_mutual / allowed, 1.0);
    verdict("the same, a certificate", set_certificate / allowed, 1.0);
    for (verb, kib) in memory {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let mib = kib as f64 / 1024.0;
        verdict(&format!("MiB of memory, {verb}"), mib, MEMORY_MIB_MAX);
    }
}

fn verdict(what: &str, value: f64, target: f64) {
    let word = if value <= target { "reached" } else { "missed" };
    println!("{what}: {value:.2} (target {target:.2}: {word})");
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// From the start of a program to its end.
fn run(command: &mut Command) -> Duration {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let ended = command.status().unwrap();
    let taken = begun.elapsed();
    assert!(ended.success(), "{command:?}");
    taken
}

struct Desk<'a> {
    home: &'a Path,
}

impl<'a> Desk<'a> {
    /// A gateway with an external listener.
    fn new(home: &'a Path) -> Self {
        fs::DirBuilder::new().mode(0o700).create(home).unwrap();
        let desk = Self { home };
        run(&mut desk.sectag(&[
            "config",
            "set",
            "mqtt.external.bind.port",
            "8883",
            "mqtt.external.bind.address",
            "127.0.0.1",
            "mqtt.client.host",
            "localhost",
        ]));
        desk
    }

    /// Mutual TLS on both sides, as spec/gateway-config §4.2 has it.
    fn papers(&self) {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let root = Authority::root("bench", now_s).unwrap();
        let server = PrivateKey::generate().unwrap();
        let names = ["localhost".parse().unwrap()];
        let servers = root.issuing(Purpose::Servers, now_s).unwrap();
        let server_certificate = servers
            .issue_server(&server.spki_der(), &names, now_s)
            .unwrap();
        let client = PrivateKey::generate().unwrap();
        let clients = root.issuing(Purpose::Devices, now_s).unwrap();
        let client_certificate = clients
            .issue_device(&client.spki_der(), "client-1", now_s)
            .unwrap();
        let cas = root.certificate_pem() + &clients.certificate_pem();
        for (file, content) in [
            ("ca.crt", cas),
            (
                "server.crt",
                server_certificate.pem() + &servers.certificate_pem(),
            ),
            (
                "server-2.crt",
                server_certificate.pem() + &servers.certificate_pem(),
            ),
            ("server.key", server.to_pem().to_string()),
            (
                "client.crt",
                client_certificate.pem() + &clients.certificate_pem(),
            ),
            ("client.key", client.to_pem().to_string()),
        ] {
            fs::write(self.home.join(file), content).unwrap();
        }
        let at = |file: &str| self.home.join(file).to_str().unwrap().to_owned();
        run(&mut self.sectag(&[
            "config",
            "set",
            "mqtt.client.auth.ca_file",
            &at("ca.crt"),
            "mqtt.client.auth.cert_file",
            &at("client.crt"),
            "mqtt.client.auth.key_file",
            &at("client.key"),
            "mqtt.external.ca_path",
            &at("ca.crt"),
            "mqtt.external.cert_file",
            &at("server.crt"),
            "mqtt.external.key_file",
            &at("server.key"),
        ]));
    }

    /// Two files for `mqtt.external.cert_file`, so that each `set` writes. It reads certificate and key, and verifies the chain
    /// with our clients' CA.
    fn certificates(&self) -> [String; 2] {
        ["server.crt", "server-2.crt"].map(|file| self.home.join(file).to_str().unwrap().to_owned())
    }

    fn sectag(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sectag"));
        command
            .args(args)
            .env("SECTAG_HOME", self.home)
            .env_remove("TEDGE_CONFIG_DIR");
        command
    }

    /// The least that leaves either the old file or the new one behind after a power cut.
    fn bare_write(&self) -> Duration {
        let (beside, file) = (self.home.join("bare.new"), self.home.join("bare"));
        let content = fs::read(self.home.join("tedge.toml")).unwrap();
        let begun = Instant::now();
        let mut new = File::create(&beside).unwrap();
        new.write_all(&content).unwrap();
        new.sync_all().unwrap();
        fs::rename(&beside, &file).unwrap();
        File::open(self.home).unwrap().sync_all().unwrap();
        begun.elapsed()
    }

    /// Peak resident memory of a verb. What it has to say at the end finds a full pipe, and while it waits there the kernel
    /// knows.
    fn peak_kib(&self, args: &[&str]) -> u64 {
        const PIPE_BYTES: usize = 64 * 1024;
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&[0; PIPE_BYTES]).unwrap();
        let mut child = self
            .sectag(args)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let begun = Instant::now();
        let mut waited = 0;
        let peak = loop {
            let status = fs::read_to_string(&status).unwrap();
            waited = if status.contains("State:\tS") {
                waited + 1
            } else {
                0
            };
            // Nothing else that it waits for takes this long.
            if waited == 20 || begun.elapsed() > Duration::from_secs(5) {
                break field_kib(&status, "VmHWM:");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let drain = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        assert!(child.wait().unwrap().success(), "{args:?}");
        let _ = drain.join();
        peak.unwrap_or_else(|| panic!("{args:?} said nothing at its end"))
    }
}

fn field_kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
