//! A device that keeps running, from the terminal: its verbs, its console, its death, and the files that configure it.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;
use support::{DEADLINE, Home, sectag};

/// A running device. Dropped, it is killed.
struct Device {
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
    out: PathBuf,
}

impl Device {
    /// `device run --keep-running` with these flags besides; waits until its socket is served.
    fn start(home: &Home, name: &str, args: &[&str]) -> Self {
        let mut command = sectag(&home.path());
        command
            .args(["device", "run", "--keep-running", "--name", name])
            .args(args);
        let device = Self::spawn(home, command);
        device.until(|device| device.log().contains("Ctrl-C stops it"));
        device
    }

    fn spawn(home: &Home, mut command: Command) -> Self {
        let (log, out) = (home.beside("device.log"), home.beside("device.out"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            child,
            log,
            out,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    fn until(&self, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < DEADLINE,
                "{}\n---\n{}",
                self.log(),
                self.out()
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\r").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn signal(&self, name: &str) {
        let asked = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .unwrap();
        assert!(asked.success());
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const MANUAL: [&str; 4] = ["-o", "scheduled=n", "-o", "auto-start=n"];

#[test]
fn a_running_device_is_asked_killed_and_comes_back() {
    let home = Home::new();
    let _up = home.up(&[]);
    let mut device = Device::start(&home, "d", &["-o", "spread-s=0", "-v"]);
    let named = |verb: &'static str| ["device", verb, "--name", "d"];

    // It begins by itself, unclaimed, and shows its token; then it comes when it is told to.
    device.until(|device| {
        device
            .log()
            .contains("NOT_CLAIMED   claim it: sectag claim ")
    });
    let token = home.sectag(&named("token")).expect_code(0).stdout;
    let id = home.json(&named("uuid"))["id"].clone();
    assert!(device.log().contains(id.as_str().unwrap()));
    home.sectag(&["claim", token.trim()]).expect_code(0);
    let mut follower = sectag(&home.path())
        .args(["device", "events", "--name", "d", "--follow", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let now = home.sectag(&named("now")).expect_code(0);
    assert_eq!(
        (now.stdout.as_str(), now.stderr.as_str()),
        ("triggered\n", "")
    );
    assert_eq!(home.json(&named("now"))["result"], 0);
    let events = BufReader::new(follower.stdout.take().unwrap());
    let mut seqs = Vec::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        seqs.push(event["seq"].as_u64().unwrap());
        if event["event"] == "NO_COMMANDS" {
            break;
        }
    }
    let _ = follower.kill();
    let _ = follower.wait();
    let wanted: Vec<u64> = (1..=seqs.len() as u64).collect();
    assert_eq!(seqs, wanted, "none is missing");

    // The firmware's words are in its log.
    for line in [
        "Requesting commands",
        "Connected",
        "No commands to process on server side",
        "Unauthorized access: device is not yet claimed.",
    ] {
        assert!(device.log().contains(line), "{line}\n{}", device.log());
    }

    // Its interval.
    let shown = home.sectag(&named("interval")).expect_code(0);
    assert_eq!(shown.stdout, "86400 s\n");
    let set = home
        .sectag(&["device", "interval", "--name", "d", "3600"])
        .expect_code(0);
    assert_eq!(set.stdout, "3600 s\n");
    let stored = home.read("devices/d/settings.json");
    assert!(
        stored.contains("\"provisioning/interval-sec\": \"3600\""),
        "{stored}"
    );
    let negative = home
        .sectag(&["device", "interval", "--name", "d", "-5"])
        .expect_code(1);
    assert_eq!(
        negative.stderr,
        "error: an interval is neither negative nor longer than a clock counts (-EINVAL)\n\nhint: an interval is a number of seconds, 0 for the default\n"
    );

    // One at a time.
    let second = home
        .sectag(&["device", "run", "--name", "d"])
        .expect_code(2);
    assert_eq!(
        second.stderr,
        format!(
            "error: device `d` is in use by process {}\n\nhint: a device does one thing at a time: wait for it, stop it, or choose another device with --name\n",
            device.child.id()
        )
    );

    // Killed, it leaves its socket behind, and nobody is fooled by it.
    device.signal("KILL");
    device.child.wait().unwrap();
    assert!(home.path().join("devices/d/control.sock").exists());
    let gone = home.sectag(&named("now")).expect_code(2);
    assert_eq!(
        gone.stderr,
        "error: device `d` does not run\n\nhint: start it with `sectag device run --keep-running --name d`\n"
    );
    assert_eq!(home.json(&named("uuid"))["id"], id, "no device is needed");

    // The next one takes its place, with the interval that was stored, and ends in order.
    let mut device = Device::start(&home, "d", &["-o", "spread-s=0"]);
    let interval = home.json(&named("interval"));
    assert_eq!(interval["seconds"], 3600);
    device.signal("INT");
    assert!(device.child.wait().unwrap().success(), "{}", device.log());
    assert!(!home.path().join("devices/d/control.sock").exists());
    assert!(device.log().ends_with("stopped\n"), "{}", device.log());
}

#[test]
fn a_manual_device_has_no_interval() {
    let home = Home::new();
    let _up = home.up(&[]);
    let _device = Device::start(&home, "device-1", &MANUAL);
    let output = home.sectag(&["device", "interval", "60"]).expect_code(1);
    assert_eq!(
        output.stderr,
        "error: the client is not scheduled, so it has no interval (-ENOTSUP)\n\n\
         hint: start it with `-o auto-start=y -o scheduled=y`, or without a prj.conf that says otherwise\n"
    );
    let none = home.sectag(&["device", "events"]).expect_code(0);
    assert_eq!(none.stdout, "");
    assert_eq!(
        none.stderr,
        "nothing happened yet; `sectag device now` makes the device ask for commands\n"
    );
}

#[test]
fn the_console_answers_as_the_firmware_does() {
    let home = Home::new();
    let _up = home.up(&[]);
    let args = [&MANUAL[..], &["--shell", "-o", "custom-at=y"]].concat();
    let mut device = Device::start(&home, "device-1", &args);
    device.until(|device| device.out().ends_with("uart:~$ "));
    assert_eq!(
        device.out(),
        "The shell is meant for testing. Do not enable it in production.\r\nuart:~$ "
    );
    device.type_line("nrf_provisioning");
    device.until(|device| device.out().contains("Set provisioning interval"));
    assert!(
        device.out().contains(
            "nrf_provisioning - nRF Provisioning commands\r\nSubcommands:\r\n  now       : Do provisioning now\r\n"
        ),
        "{}",
        device.out()
    );
    device.type_line("nrf_provisioning uuid");
    let id = home.json(&["device", "uuid"])["id"].clone();
    device.until(|device| device.out().contains(id.as_str().unwrap()));
    device.type_line("nrf_provisioning now");
    device.until(|device| {
        device
            .out()
            .contains("nrf_provisioning: Externally initiated provisioning\r\n")
    });
    device.until(|device| device.log().contains("NOT_CLAIMED"));
    device.type_line("nrf_provisioning interval");
    device.until(|device| {
        device
            .out()
            .contains("No interval provided\r\nUsage: nrf_provisioning interval <seconds>\r\n")
    });
    device.type_line("nrf_provisioning interval 60");
    device.until(|device| device.out().contains("(-ENOTSUP)"));
    device.type_line("at AT#PROVCFG");
    device.until(|device| {
        device
            .out()
            .contains("#PROVCFG: \"interval-sec\",86400\r\n")
    });
    device.type_line("at AT#PROVSTART");
    device.until(|device| device.log().matches("NOT_CLAIMED").count() == 2);
    device.type_line("frobnicate");
    device.until(|device| device.out().contains("frobnicate: command not found"));
    // The end of the input ends the console, not the device.
    device.stdin = None;
    let now = home.sectag(&["device", "now"]).expect_code(0);
    assert_eq!(now.stdout, "triggered\n");
}

/// A served modem's shell over TCP, as a host tool sees it.
struct Tool {
    stream: TcpStream,
    seen: String,
}

impl Tool {
    fn open(device: &Device) -> Self {
        device.until(|device| device.out().contains('\n'));
        let stream = TcpStream::connect(device.out().lines().next().unwrap()).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(50)))
            .unwrap();
        Self {
            stream,
            seen: String::new(),
        }
    }

    fn expect(&mut self, line: &str, answer: &str) {
        self.seen.clear();
        self.stream
            .write_all(format!("{line}\r").as_bytes())
            .unwrap();
        let begun = Instant::now();
        while !self.seen.contains(answer) {
            assert!(begun.elapsed() < DEADLINE, "{answer:?} in {:?}", self.seen);
            let mut bytes = [0; 4096];
            if let Ok(count) = self.stream.read(&mut bytes) {
                self.seen += &String::from_utf8_lossy(&bytes[..count]);
            }
        }
    }
}

fn serve(home: &Home, args: &[&str]) -> Device {
    let mut command = sectag(&home.path());
    command
        .args(["modem", "serve", "--mode", "shell", "--plain"])
        .args(["--tcp", "127.0.0.1:0"])
        .args(args);
    Device::spawn(home, command)
}

#[test]
fn a_served_modem_with_the_library_really_provisions() {
    let home = Home::new();
    let _up = home.up(&[]);
    let args = [&["--provision"], &MANUAL[..]].concat();
    let device = serve(&home, &args);
    let mut tool = Tool::open(&device);
    tool.expect("nrf_provisioning token", ".0oRDoQEm");
    let token = home.sectag(&["device", "token"]).expect_code(0).stdout;
    home.sectag(&["claim", token.trim(), "--onboard", "16842753"])
        .expect_code(0);
    tool.expect(
        "nrf_provisioning now",
        "nrf_provisioning: Externally initiated provisioning",
    );
    device.until(|device| device.log().contains("  DONE\n"));
    tool.expect("at AT%CMNG=1,16842753,1", "%CMNG: 16842753,1,");
    let events = home.sectag(&["device", "events"]).expect_code(0).stdout;
    assert!(events.contains("NEED_LTE_DEACTIVATED"), "{events}");
}

#[test]
fn a_served_modem_without_the_library_says_so() {
    let home = Home::new();
    let device = serve(&home, &["--seed", "5"]);
    let mut tool = Tool::open(&device);
    tool.expect("nrf_provisioning uuid", "\r\nuart:~$ ");
    assert_eq!(tool.seen.matches('-').count(), 4, "{}", tool.seen);
    tool.expect("nrf_provisioning now", "not initialised (-EFAULT)");
    let refused = home
        .sectag(&["modem", "serve", "--seed", "5", "--host", "h"])
        .expect_code(2);
    assert_eq!(
        refused.stderr,
        "error: options of the provisioning client have no effect without one\n\nhint: add --provision, or leave them out\n"
    );
}
