//! The modem on real ptys and sockets: clients come, go, misbehave, and come back.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use sectag_modem::host::{Ended, HostError, Hosts, LineHandler, Mode, ShellOptions, Terminator};
use sectag_modem::{Identity, Moment, Options, PowerCut, SharedModem, VirtualModem, seeded};
use serial2::SerialPort;

/// Longer than anything here takes, shorter than a person's patience.
const PATIENCE: Duration = Duration::from_secs(20);

fn modem(options: Options) -> SharedModem {
    SharedModem::new(VirtualModem::new(
        Identity::from_seed(1),
        options,
        seeded(2),
    ))
}

fn hosts(mode: Mode) -> Hosts {
    Hosts::new(modem(Options::default()), mode)
}

fn port(path: &Path) -> SerialPort {
    let mut port = SerialPort::open(path, 115_200).unwrap();
    port.set_read_timeout(Duration::from_millis(100)).unwrap();
    port
}

/// Reads until `end` has come.
fn until(client: &mut impl Read, end: &str) -> String {
    let begun = Instant::now();
    let mut said = String::new();
    let mut buffer = [0; 256];
    while !said.contains(end) {
        assert!(begun.elapsed() < PATIENCE, "no {end:?} in {said:?}");
        match client.read(&mut buffer) {
            Ok(0) => panic!("closed after {said:?}"),
            Ok(read) => said.push_str(&String::from_utf8_lossy(&buffer[..read])),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => panic!("{error} after {said:?}"),
        }
    }
    said
}

fn ask(client: &mut (impl Read + Write), line: &str) -> String {
    client.write_all(line.as_bytes()).unwrap();
    client.write_all(b"\r").unwrap();
    until(client, "OK\r\n")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    stream
}

#[test]
fn a_pty_answers_and_survives_its_clients() {
    let mut hosts = hosts(Mode::At(Terminator::Cr));
    let path = hosts.pty(None).unwrap();
    for n in 0..5 {
        let mut client = port(&path);
        assert_eq!(
            ask(&mut client, &format!("AT+CFUN={}", n % 2 * 4)),
            "OK\r\n"
        );
        assert_eq!(
            ask(&mut client, "AT+CFUN?"),
            format!("+CFUN: {}\r\nOK\r\n", n % 2 * 4)
        );
        // What is left behind, half a command and unread answers, is not the next client's.
        client
            .write_all(b"AT+CGSN\rAT+CFUN?\rAT%CMNG=0,1,4,\"half")
            .unwrap();
        drop(client);
        // The pace of people and tools: bytes of two clients at the same moment cannot be told apart.
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut client = port(&path);
    assert_eq!(ask(&mut client, "AT+CFUN?"), "+CFUN: 0\r\nOK\r\n");
}

#[test]
fn two_clients_of_a_pty_are_one_line() {
    let mut hosts = hosts(Mode::At(Terminator::Cr));
    let path = hosts.pty(None).unwrap();
    let mut reads = port(&path);
    let writes = port(&path);
    writes.write_all(b"AT+CFUN").unwrap();
    drop(writes);
    reads.write_all(b"?\r").unwrap();
    assert_eq!(until(&mut reads, "OK\r\n"), "+CFUN: 0\r\nOK\r\n");
}

#[test]
fn a_client_leaves_neither_modes_nor_its_claim_behind() {
    let mut modem = modem(Options::default());
    modem.line("AT+CMEE=1");
    modem.line("AT+CGEREP=1");
    let mut hosts = Hosts::new(modem.clone(), Mode::At(Terminator::Cr));
    let path = hosts.pty(None).unwrap();
    for mode in [1, 4, 1] {
        let rude = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut modes = rustix::termios::tcgetattr(&rude).unwrap();
        assert!(
            !modes
                .local_modes
                .contains(rustix::termios::LocalModes::ECHO)
        );
        modes.local_modes |=
            rustix::termios::LocalModes::ECHO | rustix::termios::LocalModes::ICANON;
        modes.output_modes |= rustix::termios::OutputModes::OPOST;
        let now = rustix::termios::OptionalActions::Now;
        rustix::termios::tcsetattr(&rude, now, &modes).unwrap();
        rustix::termios::ioctl_tiocexcl(&rude).unwrap();
        drop(rude);
        std::thread::sleep(Duration::from_millis(200));
        // Said while nobody listens.
        modem.line(&format!("AT+CFUN={mode}"));
        std::thread::sleep(Duration::from_millis(50));
        let mut client = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        client.write_all(b"AT%CMNG=0,1,4,\"a\nb\r\"\rAT\r").unwrap();
        assert!(until(&mut client, "\r\n").starts_with(if mode == 1 {
            "+CME ERROR: 518\r\n"
        } else {
            "OK\r\n"
        }));
    }
}

#[test]
fn notifications_come_when_nobody_types() {
    let mut modem = modem(Options {
        attach_delay: Duration::from_millis(50),
        ..Options::default()
    });
    let mut hosts = Hosts::new(modem.clone(), Mode::At(Terminator::Cr));
    let path = hosts.pty(None).unwrap();
    let address = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let (mut serial, mut tcp) = (port(&path), connect(address));
    ask(&mut serial, "AT+CGEREP=1");
    ask(&mut tcp, "AT");
    serial.write_all(b"AT+CFUN=1\r").unwrap();
    assert_eq!(
        until(&mut serial, "ACT 0\r\n"),
        "OK\r\n+CGEV: ME PDN ACT 0\r\n"
    );
    assert_eq!(until(&mut tcp, "ACT 0\r\n"), "+CGEV: ME PDN ACT 0\r\n");
    // Somebody in this process does it.
    modem.line("AT+CFUN=4");
    assert_eq!(until(&mut serial, "\r\n"), "+CGEV: ME DETACH\r\n");
    assert_eq!(until(&mut tcp, "\r\n"), "+CGEV: ME DETACH\r\n");
}

#[test]
fn the_clock_runs() {
    let mut hosts = hosts(Mode::At(Terminator::Cr));
    let path = hosts.pty(None).unwrap();
    assert!(ask(&mut port(&path), "AT%CCLK?").starts_with("%CCLK: \""));
    let mut blind = Hosts::new(modem(Options::default()), Mode::At(Terminator::Cr)).without_time();
    let path = blind.pty(None).unwrap();
    let mut client = port(&path);
    client.write_all(b"AT%CCLK?\r").unwrap();
    assert_eq!(until(&mut client, "\r\n"), "ERROR\r\n");
}

#[test]
fn a_link_points_to_the_pty_while_it_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("modem");
    let mut first = hosts(Mode::At(Terminator::Cr));
    let path = first.pty(Some(&link)).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), path);
    assert_eq!(ask(&mut port(&link), "AT"), "OK\r\n");
    let taken = hosts(Mode::At(Terminator::Cr)).pty(Some(&link));
    assert!(matches!(taken, Err(HostError::LinkTaken { .. })));
    assert_eq!(ask(&mut port(&link), "AT"), "OK\r\n");
    let shutdown = first.shutdown();
    shutdown.now();
    assert!(matches!(first.wait(), Ended::Shutdown));
    assert!(fs::symlink_metadata(&link).is_err());
}

#[test]
fn tcp_clients_come_one_after_another_and_beside_each_other() {
    let mut hosts = hosts(Mode::Shell(ShellOptions {
        ansi: false,
        ..ShellOptions::default()
    }));
    let address = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
    for _ in 0..3 {
        let mut client = connect(address);
        assert_eq!(until(&mut client, "$ "), "uart:~$ ");
        client.write_all(b"at AT+CFUN").unwrap();
    }
    let (mut one, mut two) = (connect(address), connect(address));
    one.write_all(b"at AT+CF").unwrap();
    assert!(ask(&mut two, "at AT+CGSN").contains("at AT+CGSN\r\n"));
    assert!(ask(&mut one, "UN?").contains("+CFUN: 0\r\n"));
}

struct Application(u32);

impl LineHandler for Application {
    fn line(&mut self, line: &str) -> Option<String> {
        (line == "reboots").then(|| format!("{}\r\n", self.0))
    }

    fn at(&mut self, command: &str) -> Option<String> {
        (command == "AT#PROVSTART").then(|| "OK\r\n".to_owned())
    }

    fn rebooted(&mut self) {
        self.0 += 1;
    }
}

#[test]
fn an_application_answers_commands_of_its_own_in_either_mode() {
    let application = || Box::new(Application(0));
    let mut plain = hosts(Mode::At(Terminator::Cr)).with_handler(application());
    let mut client = port(&plain.pty(None).unwrap());
    assert_eq!(ask(&mut client, "AT#PROVSTART"), "OK\r\n");
    assert_eq!(ask(&mut client, "AT+CFUN?"), "+CFUN: 0\r\nOK\r\n");
    client.write_all(b"AT#PROVSTOP\r").unwrap();
    assert_eq!(until(&mut client, "\r\n"), "ERROR\r\n");

    let mut shell = hosts(Mode::Shell(ShellOptions {
        ansi: false,
        echo: false,
        ..ShellOptions::default()
    }))
    .with_handler(application());
    let mut client = port(&shell.pty(None).unwrap());
    assert!(ask(&mut client, "at AT#PROVSTART").starts_with("\r\nOK\r\n"));
    client.write_all(b"kernel reboot warm\rreboots\r").unwrap();
    until(&mut client, "$ \r\n1\r\n");
}

#[test]
fn a_client_that_never_reads_does_not_stop_the_others() {
    let mut modem = modem(Options::default());
    modem.line(&format!("AT%CMNG=0,1,4,\"{}\"", "x".repeat(4000)));
    let mut hosts = Hosts::new(modem, Mode::At(Terminator::Cr));
    let path = hosts.pty(None).unwrap();
    let address = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let (mut deaf, mut rude) = (port(&path), connect(address));
    for _ in 0..10 {
        deaf.write_all(b"AT%CMNG=2,1,4\r").unwrap();
        rude.write_all(b"AT%CMNG=2,1,4\r").unwrap();
    }
    assert_eq!(ask(&mut connect(address), "AT"), "OK\r\n");
    // It hears all of it as soon as it listens.
    deaf.write_all(b"AT+CFUN?\r").unwrap();
    let said = until(&mut deaf, "+CFUN: 0\r\nOK\r\n");
    assert_eq!(said.matches("%CMNG: 1,4").count(), 10);
}

#[test]
fn other_machines_are_kept_out_unless_asked_for() {
    let mut hosts = hosts(Mode::At(Terminator::Cr));
    let wide = "0.0.0.0:0".parse().unwrap();
    let error = hosts.tcp(wide, false).unwrap_err();
    assert!(error.to_string().contains("0.0.0.0:0"), "{error}");
    assert!(error.hint().unwrap().contains("--dangerously"));
    assert!(hosts.tcp("[::1]:0".parse().unwrap(), false).is_ok());
}

#[test]
fn a_power_cut_ends_every_line() {
    for over_tcp in [false, true] {
        let shared = modem(Options {
            power_cut: Some(PowerCut {
                write: 2,
                when: Moment::Before,
            }),
            ..Options::default()
        });
        let mut hosts = Hosts::new(shared.clone(), Mode::At(Terminator::Cr));
        let path = hosts.pty(None).unwrap();
        let address = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let lines = ["AT%CMNG=0,1,4,\"one\"\r", "AT%CMNG=0,2,4,\"two\"\r"];
        let (mut serial, mut tcp) = (port(&path), connect(address));
        let client: &mut dyn ReadWrite = if over_tcp { &mut tcp } else { &mut serial };
        client.write_all(lines[0].as_bytes()).unwrap();
        assert_eq!(until(&mut &mut *client, "\r\n"), "OK\r\n");
        client.write_all(lines[1].as_bytes()).unwrap();
        assert!(matches!(hosts.wait(), Ended::PowerCut));
        let mut modem = shared.lock();
        assert!(modem.power_is_cut());
        modem.power_on();
        assert!(modem.line("AT%CMNG=1,1").contains("%CMNG: 1,4"));
        assert_eq!(modem.line("AT%CMNG=1,2"), "OK\r\n");
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}
