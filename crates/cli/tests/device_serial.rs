//! A device whose modem is behind a serial line: the same story over the AT host and over the firmware's shell.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use std::process::{Child, Command, Stdio};
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
