//! Strangers on the serial line: socat and Python's pyserial talk to the virtual modem on its pty. A multi-line PEM
//! survives byte for byte, by digest and read back, with every terminator and through the shell, and the pty survives
//! its clients.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use stranger::have;
use support::{DEADLINE, Home, sectag};

const TERMINATORS: [(&str, &str); 4] =
    [("nul", "\0"), ("cr", "\r"), ("lf", "\n"), ("crlf", "\r\n")];

#[test]
fn socat_writes_a_pem_with_every_terminator_and_reads_it_back() {
    if !have(&["socat"]) {
        return;
    }
    let pem = pem();
    for (name, end) in TERMINATORS {
        let modem = Served::new(&["--terminator", name]);
        let mut line = Socat::open(&modem.port);
        for (tag, text) in [(1, pem.clone()), (2, pem.replace('\n', "\r\n"))] {
            let said = line.ask(&format!("AT%CMNG=0,{tag},0,\"{text}\"{end}"), "\r\n");
            assert_eq!(said, "OK\r\n", "{name}");
            let said = line.ask(&format!("AT%CMNG=2,{tag},0{end}"), "\r\nOK\r\n");
            assert_eq!(
                said,
                format!(
                    "%CMNG: {tag},0,\"{}\",\"{text}\"\r\nOK\r\n",
                    modem.digest(&text)
                ),
                "{name}"
            );
        }
    }
}

#[test]
fn a_pty_is_opened_and_left_by_one_socat_after_another() {
    if !have(&["socat"]) {
        return;
    }
    let modem = Served::new(&["--terminator", "lf"]);
    for n in 0..5 {
        let mut line = Socat::open(&modem.port);
        assert_eq!(
            line.ask(&format!("AT%CMNG=0,{n},4,\"{n}\"\n"), "\r\n"),
            "OK\r\n"
        );
        line.leave();
    }
    let mut line = Socat::open(&modem.port);
    let said = line.ask("AT%CMNG=1\n", "OK\r\n");
    assert_eq!(said.matches(",4,\"").count(), 5, "{said}");
}

#[test]
fn pyserial_writes_a_pem_with_every_terminator_and_opens_the_port_each_time() {
    if !have_pyserial() {
        return;
    }
    let pem = pem();
    for (n, (name, end)) in TERMINATORS.into_iter().enumerate() {
        let modem = Served::new(&["--terminator", name]);
        let flow = if n % 2 == 0 { "rtscts" } else { "none" };
        let mut line = Pyserial::open(&modem.port, flow, "reopen");
        assert_eq!(
            line.ask(&format!("AT%CMNG=0,7,0,\"{pem}\"{end}"), "OK\r\n"),
            "OK\r\n"
        );
        assert_eq!(
            line.ask(&format!("AT%CMNG=1,7{end}"), "OK\r\n"),
            format!("%CMNG: 7,0,\"{}\"\r\nOK\r\n", modem.digest(&pem))
        );
        let read = line.ask(&format!("AT%CMNG=2,7,0{end}"), "\r\nOK\r\n");
        assert!(read.contains(&format!(",\"{pem}\"\r\n")), "{read}");
    }
}

#[test]
fn through_the_shell_a_backslash_and_an_n_arrive_as_cr_lf() {
    if !have_pyserial() {
        return;
    }
    let pem = pem();
    for plain in [true, false] {
        let looks = if plain { &["--plain"][..] } else { &[] };
        let modem = Served::new(&[&["--mode", "shell"], looks].concat());
        let mut line = Pyserial::open(&modem.port, "rtscts", "keep");
        let typed = format!("at 'AT%CMNG=0,7,0,\"{}\"'\r\n", pem.replace('\n', "\\n"));
        let said = line.ask(&typed, "\r\nOK\r\n");
        // The echo, then the answer.
        assert!(said.starts_with(typed.trim_end()), "{said}");
        let stored = pem.replace('\n', "\r\n");
        let said = line.ask("at AT%CMNG=2,7,0\r\n", "\r\nOK\r\n");
        assert!(
            said.contains(&format!(
                "%CMNG: 7,0,\"{}\",\"{stored}\"\r\n",
                modem.digest(&stored)
            )),
            "{said}"
        );
        assert_eq!(said.contains('\x1b'), !plain, "{said:?}");
    }
}

/// `sectag modem serve` on a pty, with a modem of its own.
struct Served {
    home: Home,
    child: Child,
    port: String,
}

impl Served {
    fn new(options: &[&str]) -> Self {
        let home = Home::new();
        let mut child = sectag(&home.path())
            .args(["modem", "serve", "--pty", "--seed", "1"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let port = port.trim().to_owned();
        assert!(port.starts_with("/dev/"), "{port:?}");
        Self { home, child, port }
    }

    /// SHA-256 as the modem prints it, by a program of Debian's.
    fn digest(&self, text: &str) -> String {
        let file = self.home.beside("digested");
        std::fs::write(&file, text).unwrap();
        let output = Command::new("sha256sum").arg(&file).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        output.split_whitespace().next().unwrap().to_uppercase()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socat between our pipes and the pty.
struct Socat {
    child: Child,
    input: Option<ChildStdin>,
    output: std::sync::mpsc::Receiver<Vec<u8>>,
}

impl Socat {
    fn open(port: &str) -> Self {
        let mut child = Command::new("socat")
            .args(["-", &format!("{port},raw,echo=0")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, output) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            output,
        }
    }

    fn ask(&mut self, text: &str, until: &str) -> String {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        let begun = Instant::now();
        let mut said = String::new();
        while !said.contains(until) {
            assert!(begun.elapsed() < DEADLINE, "no {until:?} in {said:?}");
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                said.push_str(&String::from_utf8(bytes).unwrap());
            }
        }
        said
    }

    /// Ends it as a person would, by closing its input.
    fn leave(mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Drop for Socat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `dialogue.py` on the pty.
struct Pyserial {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Pyserial {
    fn open(port: &str, flow: &str, reopen: &str) -> Self {
        let mut child = Command::new(python())
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/peers/pty/dialogue.py"
            ))
            .args([port, flow, reopen])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn ask(&mut self, text: &str, until: &str) -> String {
        let wish = json!({ "send": text, "until": until });
        writeln!(self.input, "{wish}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        answer.as_str().unwrap().to_owned()
    }
}

impl Drop for Pyserial {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Several lines, so that line ends matter.
fn pem() -> String {
    let ca = sectag_pki::Authority::root("serial line", 1_790_000_000).unwrap();
    ca.certificate_pem()
}

/// `SECTAG_PYTHON`, or where `tools/packages` puts one with pyserial.
fn python() -> PathBuf {
    std::env::var_os("SECTAG_PYTHON").map_or_else(
        || {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
            PathBuf::from(root).join("target/peers/python/bin/python")
        },
        PathBuf::from,
    )
}

fn have_pyserial() -> bool {
    let found = Command::new(python())
        .args(["-c", "import serial"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "`{}` has no pyserial and SECTAG_PEERS=require",
            python().display()
        );
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            let _ = writeln!(std::io::stderr(), "skipped: pyserial is not installed");
        });
    }
    found
}
