//! The serial client against scripted ports: detection, notifications, multi-line answers, silence, transcript.

#![allow(clippy::unwrap_used)]

mod serial_bench;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use sectag_modem::host::Terminator;
use sectag_modem::serial::{
    LineReader, Mode, Port, PortError, SLOW, Said, Sent, SerialModem, SerialOptions, Transcript,
    masked,
};
use sectag_modem::{LineError, Modem, Options, SharedModem, VirtualModem};
use serial_bench::{CERTIFICATE, Wire, quick};

/// A port with a script: to each line written, what comes back.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Played>>);

#[derive(Default)]
struct Played {
    answers: VecDeque<(&'static str, Vec<u8>)>,
    written: Vec<u8>,
    out: VecDeque<u8>,
    gone: bool,
}

impl Script {
    /// Each pair: what must have been written (with its end), what then comes back.
    fn new(answers: &[(&'static str, &[u8])]) -> Self {
        let script = Self::default();
        script.0.lock().unwrap().answers = answers
            .iter()
            .map(|(line, answer)| (*line, answer.to_vec()))
            .collect();
        script
    }

    fn say(&self, bytes: &[u8]) {
        self.0.lock().unwrap().out.extend(bytes);
    }

    fn pull(&self) {
        self.0.lock().unwrap().gone = true;
    }

    fn is_played(&self) -> bool {
        self.0.lock().unwrap().answers.is_empty()
    }
}

impl Port for Script {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        let mut played = self.0.lock().unwrap();
        if played.gone {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = buffer.len().min(played.out.len()).min(5);
        for (to, from) in buffer.iter_mut().zip(played.out.drain(..count)) {
            *to = from;
        }
        drop(played);
        if count == 0 {
            // Time passes on a silent line.
            std::thread::sleep(wait.min(Duration::from_millis(5)));
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut played = self.0.lock().unwrap();
        played.written.extend_from_slice(bytes);
        if played.written == b"\r\n" {
            // The first line end, which finishes what somebody else had begun.
            played.written.clear();
            return Ok(());
        }
        let Some((line, answer)) = played.answers.pop_front() else {
            panic!("not in the script: {:?}", String::from_utf8_lossy(bytes));
        };
        assert_eq!(String::from_utf8_lossy(&played.written), line);
        played.written.clear();
        played.out.extend(answer);
        Ok(())
    }
}

fn at_mode() -> SerialOptions {
    SerialOptions {
        mode: Mode::At,
        ..quick()
    }
}

fn open(script: &Script, options: SerialOptions) -> SerialModem {
    SerialModem::over("script", Box::new(script.clone()), options).unwrap()
}

#[test]
fn a_shell_is_found_by_its_imei_and_an_at_host_after_it() {
    let shell = Script::new(&[
        ("at AT+CGSN\r\n", b"at AT+CGSN\r\r\nsh: busy\r\nERROR\r\n"),
        (
            "at AT+CGSN\r\n",
            b"at AT+CGSN\r\r\n350000000000006\r\nOK\r\n\r\n\x1b[1;32muart:~$ \x1b[m",
        ),
    ]);
    assert!(open(&shell, quick()).is_shell());
    let host = Script::new(&[
        ("at AT+CGSN\r\n", b"ERROR\r\n"),
        ("at AT+CGSN\r\n", b"ERROR\r\n"),
        ("at AT+CGSN\r\n", b"ERROR\r\n"),
        ("AT+CGSN\r\n", b"350000000000006\r\nOK\r\n"),
    ]);
    assert!(!open(&host, quick()).is_shell());
    assert!(shell.is_played() && host.is_played());
}

#[test]
fn whoever_is_no_modem_is_told_apart_from_silence() {
    let answers: Vec<(&'static str, &[u8])> = [
        [(
            "at AT+CGSN\r\n",
            b"at: no such command\r\nERROR\r\n".as_slice(),
        ); 3],
        [("AT+CGSN\r\n", b"login incorrect\r\nERROR\r\n".as_slice()); 3],
    ]
    .concat();
    let error = SerialModem::over("/dev/x", Box::new(Script::new(&answers)), quick()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no modem answers on `/dev/x`: neither `at AT+CGSN` nor `AT+CGSN` brought an IMEI, the last words were `login incorrect ERROR`"
    );
    assert!(error.hint().unwrap().contains("CONFIG_AT_HOST_LIBRARY"));
}

#[test]
fn a_given_mode_asks_nothing() {
    let script = Script::new(&[("at 'AT+CFUN?'\r\n", b"+CFUN: 4\r\nOK\r\n")]);
    let options = SerialOptions {
        mode: Mode::Shell,
        ..quick()
    };
    let mut modem = open(&script, options);
    assert_eq!(modem.line("AT+CFUN?").unwrap(), "+CFUN: 4\r\nOK\r\n");
    assert!(modem.alters_line_ends());
}

#[test]
fn notifications_between_and_inside_answers_are_kept_apart() {
    let script = Script::new(&[
        (
            "AT+CFUN?\r\n",
            b"+CEREG: 5\r\n+CFUN: 1\r\n%XTIME: \"80\",\"52\",\"01\"\r\nOK\r\n+CSCON: 0\r\n",
        ),
        ("AT+CEREG?\r\n", b"+CEREG: 5,1\r\nOK\r\n"),
    ]);
    let mut modem = open(&script, at_mode());
    script.say(b"stale\r\nOK\r\n+CGEV: ME PDN ACT 0\r\n+CGEV: ME D");
    assert_eq!(modem.notifications(), ["+CGEV: ME PDN ACT 0"]);
    script.say(b"ETACH\r\n");
    assert_eq!(modem.line("AT+CFUN?").unwrap(), "+CFUN: 1\r\nOK\r\n");
    assert_eq!(
        modem.notifications(),
        [
            "+CGEV: ME DETACH",
            "+CEREG: 5",
            "%XTIME: \"80\",\"52\",\"01\"",
            "+CSCON: 0"
        ]
    );
    assert_eq!(modem.line("AT+CEREG?").unwrap(), "+CEREG: 5,1\r\nOK\r\n");
    assert_eq!(modem.notifications(), [""; 0]);
}

#[test]
fn a_quoted_text_stays_whole_byte_for_byte() {
    let pem =
        "-----BEGIN CERTIFICATE-----\r\nOK\nERROR\n\r\n+CGEV: ME\n-----END CERTIFICATE-----\n";
    let answer = format!("%CMNG: 1,0,\"{}\",\"{pem}\"\r\nOK\r\n", "A".repeat(64));
    let script = Script::new(&[("AT%CMNG=2,1,0\r\n", answer.as_bytes())]);
    let mut modem = open(&script, at_mode());
    assert_eq!(modem.line("AT%CMNG=2,1,0").unwrap(), answer);
}

#[test]
fn silence_is_a_timeout_with_what_was_said_and_the_next_line_is_clean() {
    let script = Script::new(&[
        ("AT%CMNG=1\r\n", b"%CMNG: 1,0,\"AB\"\r\n%CMNG: 1,1,\"C"),
        ("AT+CGMR\r\n", b"mfw_nrf91x1_2.0.2\r\nOK\r\n"),
    ]);
    let mut modem = open(&script, at_mode());
    let error = modem.line("AT%CMNG=1").unwrap_err();
    assert!(matches!(error, LineError::Timeout { .. }));
    assert_eq!(error.said(), "%CMNG: 1,0,\"AB\"\r\n%CMNG: 1,1,\"C");
    script.say(b"D\"\r\nOK\r\n");
    assert_eq!(
        modem.line("AT+CGMR").unwrap(),
        "mfw_nrf91x1_2.0.2\r\nOK\r\n"
    );
}

#[test]
fn a_wire_that_never_falls_quiet_does_not_stop_the_work() {
    struct Noisy(Script, bool);
    impl Port for Noisy {
        fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
            let count = self.0.read(buffer, wait)?;
            if count > 0 {
                return Ok(count);
            }
            self.1 = !self.1;
            let noise: &[u8] = if self.1 {
                b"[00:00:01.000,000] <inf> app: OK"
            } else {
                b"\r\n"
            };
            buffer[..noise.len()].copy_from_slice(noise);
            Ok(noise.len())
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.write(bytes)
        }
    }
    let script = Script::new(&[("AT+CFUN?\r\n", b"\r\n+CFUN: 4\r\nOK\r\n")]);
    let mut modem = SerialModem::over("noise", Box::new(Noisy(script, false)), at_mode()).unwrap();
    assert_eq!(modem.line("AT+CFUN?").unwrap(), "+CFUN: 4\r\nOK\r\n");
}

#[test]
fn a_port_that_goes_away_is_an_error_and_no_loop() {
    let script = Script::new(&[]);
    let mut modem = open(&script, at_mode());
    script.pull();
    assert!(matches!(modem.line("AT+CFUN?"), Err(LineError::Port(_))));
    assert_eq!(modem.notifications(), [""; 0]);
}

#[test]
fn a_shells_own_error_is_the_end_of_the_answer() {
    let script = Script::new(&[(
        "at 'AT%CMNG=2,1,0'\r\n",
        b"Sending AT command failed with error code -7\r\n",
    )]);
    let options = SerialOptions {
        mode: Mode::Shell,
        ..quick()
    };
    let error = open(&script, options).line("AT%CMNG=2,1,0").unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("error code -7"), "{cause}");
}

#[test]
fn a_content_that_a_shell_cannot_print_is_compared_by_digest() {
    use sectag_modem::credentials::{AtStore, CredentialStore, StoreError, Written};
    use sectag_proto::secret::SecretText;
    use sectag_proto::{CredentialType, SecTag};

    let options = Options {
        checks_certificates: false,
        ..Options::default()
    };
    let virtual_modem = VirtualModem::new(
        sectag_modem::Identity::from_seed(1),
        options,
        sectag_modem::seeded(1),
    );
    let wire = Wire::shell(SharedModem::new(virtual_modem));
    let mut modem = SerialModem::over("wire", Box::new(wire), quick()).unwrap();
    let mut store = AtStore::new(&mut modem);
    let (tag, kind) = (SecTag::new(1).unwrap(), CredentialType::ROOT_CA);
    let long = SecretText::new("0123456789abcde\n".repeat(180));
    assert_eq!(
        store.write_if_different(tag, kind, &long).unwrap(),
        Written::New
    );
    assert!(matches!(store.read(tag, kind), Err(StoreError::TooLong)));
    assert_eq!(
        store.write_if_different(tag, kind, &long).unwrap(),
        Written::Unchanged
    );
}

#[test]
fn what_cannot_travel_is_refused_before_it_is_sent() {
    let script = Script::new(&[]);
    let mut modem = open(&script, at_mode());
    for line in [
        "AT%CMNG=0,1,4,\"größe\"",
        "AT+CFUN?\nAT+CFUN=4",
        "AT%CMNG=0,1,4,\"a\0b\"",
        "AT\x08",
        &format!("AT%CMNG=0,1,0,\"{}\"", "x".repeat(9000)),
    ] {
        assert!(
            matches!(modem.line(line), Err(LineError::Unsendable { .. })),
            "{line:.40}"
        );
    }
    assert!(script.is_played());
}

#[test]
fn slow_commands_have_their_own_time() {
    let of = |name: &str| SLOW.iter().find(|(known, _)| *known == name).unwrap().1;
    assert!(of("AT%KEYGEN") > SerialOptions::default().line_timeout);
    assert!(of("AT+CFUN=") > SerialOptions::default().line_timeout);
}

#[test]
fn a_transcript_has_everything_but_the_secrets() {
    let wire = Wire::at(
        SharedModem::new(VirtualModem::from_seed(1)),
        Terminator::CrLf,
    );
    let modem = SerialModem::over("wire", Box::new(wire), quick()).unwrap();
    let mut written = Vec::new();
    let mut modem = Transcript::new(modem, &mut written);
    let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----";
    for line in [
        "AT+CMEE=1",
        &format!("AT%CMNG=0,7,2,\"{key}\""),
        "AT%CMNG=0,7,3,\"5ec2e7\"",
        &format!("AT%CMNG=0,7,1,\"{CERTIFICATE}\""),
        "AT%CMNG=2,7,2",
        "AT%JWT=0,0",
        "AT+CGEREP=1",
        "AT+CFUN=1",
    ] {
        modem.line(line).unwrap();
    }
    modem.notifications();
    assert!(modem.take_failure().is_none());
    drop(modem);
    let text = String::from_utf8(written).unwrap();
    let without_time: Vec<&str> = text.lines().map(|line| &line[10..]).collect();
    assert_eq!(
        without_time,
        [
            "> AT+CMEE=1",
            "< OK",
            "> AT%CMNG=0,7,2,\"****\"",
            "< OK",
            "> AT%CMNG=0,7,3,\"****\"",
            "< OK",
            "> AT%CMNG=0,7,1,\"-----BEGIN CERTIFICATE-----\\nMAMCAQU=\\n-----END CERTIFICATE-----\"",
            "< OK",
            "> AT%CMNG=2,7,2",
            "< +CME ERROR: 514",
            "> AT%JWT=0,0",
            "< %JWT: \"****\"",
            "< OK",
            "> AT+CGEREP=1",
            "< OK",
            "> AT+CFUN=1",
            "< OK",
            "* +CGEV: ME PDN ACT 0",
        ]
    );
    assert!(text.starts_with("    0.0"), "{text}");
}

#[test]
fn a_port_that_is_none_says_so() {
    for (port, words) in [
        ("tcp:nowhere", "is not tcp:HOST:PORT"),
        ("/nonexistent/tty", "cannot use the port"),
        ("/dev/null", "cannot use the port"),
    ] {
        let error = SerialModem::open(port, quick()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let error = SerialModem::open(&format!("tcp:{address}"), quick()).unwrap_err();
    assert!(matches!(error, PortError::Open { .. }));
    assert!(error.hint().unwrap().contains("sectag modem serve"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever comes in, lines come out: without line ends outside quotes, never empty, and each is something.
    #[test]
    fn any_bytes_become_lines(
        bytes in prop::collection::vec(
            prop_oneof![
                any::<u8>(),
                Just(b'"'), Just(b'\r'), Just(b'\n'), Just(0x1b), Just(b'['), Just(b'%'), Just(b':'), Just(b'O'), Just(b'K'),
            ],
            0..400,
        ),
    ) {
        let mut reader = LineReader::default();
        let sent = Sent::new("AT%CMNG=1", "AT%CMNG=1");
        for byte in bytes {
            if let Some(line) = reader.push(byte) {
                prop_assert!(!line.trim().is_empty());
                let quotes = line.matches('"').count();
                prop_assert!(quotes > 0 || !line.contains(['\r', '\n']));
                if let Said::Final(end) = sent.sort(&line) {
                    prop_assert!(sectag_proto::at::Verdict::parse(&end).is_some());
                }
                prop_assert!(!masked(&line).contains(['\r', '\n']));
            }
        }
        reader.forget_answer();
        let _ = reader.abandon();
    }

    /// A content that travels out through a host or a shell is the content that lies there, and comes back.
    #[test]
    fn any_text_survives_host_and_shell(content in "[ !#-&(-\\[\\]-~\r\n]{1,80}", shell in any::<bool>()) {
        let content = content.trim().to_owned();
        prop_assume!(!content.is_empty());
        let shared = SharedModem::new(VirtualModem::from_seed(1));
        let wire = if shell { Wire::shell(shared.clone()) } else { Wire::at(shared.clone(), Terminator::CrLf) };
        let options = SerialOptions { mode: if shell { Mode::Shell } else { Mode::At }, ..quick() };
        let mut modem = SerialModem::over("wire", Box::new(wire), options).unwrap();
        let written = modem.line(&format!("AT%CMNG=0,1,4,\"{content}\"")).unwrap();
        prop_assert_eq!(written, "OK\r\n");
        let inside = shared.clone().line("AT%CMNG=2,1,4");
        let arrives = if shell { content.replace('\r', "").replace('\n', "\r\n") } else { content.clone() };
        let arrived = format!("\"{arrives}\"");
        prop_assert!(inside.contains(&arrived), "{}", inside);
        let read = modem.line("AT%CMNG=2,1,4").unwrap();
        let squeezed = |text: &str| text.replace('\r', "");
        prop_assert!(squeezed(&read).contains(&squeezed(&arrived)), "{}", read);
        if !shell {
            prop_assert_eq!(read, inside);
        }
    }
}
