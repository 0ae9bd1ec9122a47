//! A device whose modem is behind a serial line: the same story over the AT host and over the firmware's shell.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use sectag_device::hosted::HostedModem;
use sectag_modem::host::{AtHost, Terminator};
use sectag_modem::{LineError, Modem, SharedModem, VirtualModem};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::{DEADLINE, Home, sectag};

/// A served modem. Dropped, it is killed.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(home: &Home, mode: &str, link: &std::path::Path) -> Served {
    let mut command: Command = sectag(&home.path());
    let child = command
        .args(["modem", "serve", "--seed", "77", "--online", "--mode", mode])
        .arg("--link")
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let served = Served(child);
    let begun = Instant::now();
    while !link.exists() {
        assert!(begun.elapsed() < DEADLINE);
        std::thread::sleep(Duration::from_millis(10));
    }
    served
}

fn provisions(mode: &str) {
    let home = Home::new();
    let _up = home.up(&[]);
    let link = home.beside("tty");
    let _served = serve(&home, mode, &link);
    let run = |code: i32| {
        let modem = link.to_str().unwrap();
        home.sectag(&["device", "run", "--modem", modem, "--name", "m", "--json"])
            .expect_code(code)
    };
    let first = run(1).json();
    assert_eq!(first["result"], "NOT_CLAIMED");
    let token = first["claimToken"].as_str().unwrap();
    home.sectag(&["claim", token, "--onboard", "42"])
        .expect_code(0);
    let done = run(0);
    assert_eq!(done.json()["result"], "DONE");
    // The radio went off for the writes and came back, and the root CA is not taken for another one.
    assert!(done.stderr.contains("AT+CFUN=4 → OK"), "{}", done.stderr);
    assert!(done.stderr.contains("AT+CFUN=1 → OK"), "{}", done.stderr);
    assert!(!done.stderr.contains("note:"), "{}", done.stderr);
    let id = first["id"].as_str().unwrap();
    let settings = home.read(&format!("devices/m/settings-{id}.json"));
    assert!(
        settings.contains("provisioning/after-correlation-id"),
        "settings of this module, apart from those of others: {settings}"
    );
}

#[test]
fn a_modem_behind_the_at_host_is_provisioned() {
    provisions("at");
}

#[test]
fn a_modem_behind_the_firmwares_shell_is_provisioned() {
    provisions("shell");
}

/// A modem on TCP that takes its time for a key: it says when it is asked, and answers when it is told to.
struct SlowModem {
    modem: HostedModem,
    address: std::net::SocketAddr,
    asked: mpsc::Receiver<()>,
    answer: mpsc::Sender<()>,
}

struct Asked {
    modem: HostedModem,
    tell: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Modem for Asked {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        if at.trim_start().starts_with("AT%KEYGEN") {
            let _ = self.tell.send(());
            let _ = self.go_on.recv();
        }
        Ok(self.modem.line(at))
    }

    fn notifications(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl SlowModem {
    fn start() -> Self {
        let mut modem = HostedModem::new(SharedModem::new(VirtualModem::from_seed(78)));
        modem.line("AT+CFUN=1");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel();
        let (answer, go_on) = mpsc::channel();
        let mut served = Asked {
            modem: modem.clone(),
            tell,
            go_on,
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut host = AtHost::new(Terminator::Cr);
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let mut out = Vec::new();
                    host.receive(&bytes[..count], &mut served, &mut out)
                        .unwrap();
                    if stream.write_all(&out).is_err() {
                        break;
                    }
                }
            }
        });
        Self {
            modem,
            address,
            asked,
            answer,
        }
    }
}

#[test]
fn ctrl_c_in_the_middle_of_a_session_gives_the_radio_back() {
    let home = Home::new();
    let _up = home.up(&[]);
    let mut slow = SlowModem::start();
    let modem = format!("tcp:{}", slow.address);
    let token = home.json(&["device", "token", "--modem", &modem]);
    let token = token["claimToken"].as_str().unwrap();
    home.sectag(&["claim", token]).expect_code(0);
    let id = home.json(&["device", "uuid", "--modem", &modem]);
    home.sectag(&[
        "commands",
        "add",
        id["id"].as_str().unwrap(),
        r#"{"clientPrivateKeyGeneration":{"secTag":42}}"#,
    ])
    .expect_code(0);
    let log = home.beside("device.log");
    let mut device = sectag(&home.path())
        .args(["device", "run", "--modem", &modem])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    if slow.asked.recv_timeout(DEADLINE).is_err() {
        panic!("{}", said());
    }
    assert_eq!(slow.modem.line("AT+CFUN?"), "+CFUN: 4\r\nOK\r\n");
    let asked = Command::new("sh")
        .args(["-c", &format!("kill -INT {}", device.id())])
        .status()
        .unwrap();
    assert!(asked.success());
    // The line that the modem works on is waited for.
    slow.answer.send(()).unwrap();
    let end = device.wait().unwrap();
    let said = said();
    assert_eq!(end.code(), Some(1), "{said}");
    assert!(said.ends_with("error: stopped\n"), "{said}");
    assert_eq!(slow.modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n", "{said}");
    assert_eq!(slow.modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n", "{said}");
}

#[test]
fn a_running_device_ends_when_its_modem_is_pulled() {
    let home = Home::new();
    let _up = home.up(&[]);
    let link = home.beside("tty");
    let served = serve(&home, "at", &link);
    let log = home.beside("device.log");
    let mut device = sectag(&home.path())
        .args(["device", "run", "--keep-running", "--name", "m", "--modem"])
        .arg(&link)
        .args(["-o", "scheduled=n", "-o", "auto-start=n"])
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let begun = Instant::now();
    while !said().contains("Ctrl-C stops it") {
        assert!(begun.elapsed() < DEADLINE, "{}", said());
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(served);
    home.sectag(&["device", "now", "--name", "m"])
        .expect_code(0);
    let begun = Instant::now();
    let end = loop {
        match device.try_wait().unwrap() {
            Some(end) => break end,
            None if begun.elapsed() > DEADLINE => {
                let _ = device.kill();
                panic!("{}", said());
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(end.code(), Some(2), "{}", said());
    assert!(said().contains("error: the modem is gone"), "{}", said());
}

#[test]
fn a_port_that_is_not_there_is_named() {
    let home = Home::new();
    let port = home.beside("nothing");
    let output = home
        .sectag(&["device", "run", "--modem", port.to_str().unwrap()])
        .expect_code(2);
    assert!(output.stderr.contains("nothing"), "{}", output.stderr);
}
