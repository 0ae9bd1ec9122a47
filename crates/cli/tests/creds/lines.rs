//! `sectag modem at` and `record`, and what Ctrl-C leaves behind.

use crate::desk::{Bench, Desk};
use crate::support::{DEADLINE, sectag};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;

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
fn a_signal_that_comes_twice_at_once_is_one_wish() {
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
    // As `timeout` does: the process first, then its group. Two kinds, so that none is merged into the other.
    let asked = Command::new("sh")
        .args([
            "-c",
            "kill -TERM \"$0\"; kill -INT \"$0\"",
            &child.id().to_string(),
        ])
        .status()
        .unwrap();
    assert!(asked.success());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("stopping after"));
    go.send(()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    seen.extend(lines.iter());
    assert_eq!(seen.last().map(String::as_str), Some("AT+CFUN=1"));
}

#[test]
fn a_transcript_that_cannot_be_kept_stops_before_the_modem_is_asked() {
    let desk = Desk::new();
    let bench = Bench::at();
    for args in [
        &["modem", "at", "AT", "--transcript", "/dev/full"][..],
        &["modem", "record", "/dev/full"],
    ] {
        let output = desk
            .sectag(&[args, &["--modem", &bench.tcp]].concat())
            .expect_code(2);
        assert_eq!(output.stdout, "", "the modem was not asked");
        assert!(
            output
                .stderr
                .starts_with("error: cannot write the transcript `/dev/full`: No space left"),
            "{}",
            output.stderr
        );
    }
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
