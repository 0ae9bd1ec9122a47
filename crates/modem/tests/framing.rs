//! Bytes in, bytes out: the AT host and the shell in front of a modem, without pty or socket.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use sectag_modem::host::{
    AtHost, COMMAND_BYTES_MAX, LineHandler, NoHandler, Shell, ShellOptions, Terminator,
};
use sectag_modem::{
    Identity, LineError, Modem, Moment, Options, PowerCut, SharedModem, VirtualModem, seeded,
};
use sectag_proto::Uptime;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----";
const PROMPT: &str = "uart:~$ ";

fn modem() -> VirtualModem {
    let mut modem = VirtualModem::from_seed(1);
    modem.line("AT+CMEE=1");
    modem
}

fn at(terminator: Terminator, modem: &mut dyn Modem, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    AtHost::new(terminator)
        .receive(bytes, modem, &mut out)
        .unwrap();
    String::from_utf8(out).unwrap()
}

/// A shell that prints neither colours nor what is typed.
fn quiet() -> Shell {
    Shell::new(ShellOptions {
        ansi: false,
        echo: false,
        ..ShellOptions::default()
    })
}

fn type_into(shell: &mut Shell, modem: &mut dyn Modem, text: &str) -> String {
    let mut out = Vec::new();
    shell
        .receive(text.as_bytes(), modem, &mut NoHandler, &mut out)
        .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn each_terminator_ends_a_command() {
    for (_, terminator) in Terminator::NAMES {
        let end = String::from_utf8(terminator.bytes().to_vec()).unwrap();
        let typed = format!("AT+CFUN=4{end}AT+CFUN?{end}");
        let said = at(terminator, &mut modem(), typed.as_bytes());
        assert_eq!(said, "OK\r\n+CFUN: 4\r\nOK\r\n", "{terminator}");
    }
}

#[test]
fn with_cr_the_line_feed_of_crlf_does_no_harm() {
    let said = at(
        Terminator::Cr,
        &mut modem(),
        b"AT+CFUN=4\r\nAT+CFUN?\r\n\r\n",
    );
    assert_eq!(said, "OK\r\n+CFUN: 4\r\nOK\r\n");
}

#[test]
fn other_terminators_are_data() {
    for (terminator, bytes) in [
        (Terminator::CrLf, &b"AT\rAT\nAT\0"[..]),
        (Terminator::Lf, b"AT\rAT\0"),
        (Terminator::Nul, b"AT\rAT\r\n"),
    ] {
        assert_eq!(at(terminator, &mut modem(), bytes), "", "{terminator}");
    }
    // A NUL that ends nothing is left out, as the firmware does.
    assert_eq!(at(Terminator::Lf, &mut modem(), b"A\0T\n"), "OK\r\n");
}

#[test]
fn line_breaks_inside_quotes_belong_to_the_text() {
    for (name, terminator) in Terminator::NAMES {
        for breaks in ["\n", "\r\n", "\r"] {
            let content = PEM.replace('\n', breaks);
            let mut modem = modem();
            let mut typed = format!("AT%CMNG=0,7,0,\"{content}\"").into_bytes();
            typed.extend_from_slice(terminator.bytes());
            assert_eq!(at(terminator, &mut modem, &typed), "OK\r\n", "{name}");
            assert!(modem.line("AT%CMNG=2,7,0").contains(&content), "{name}");
        }
    }
}

#[test]
fn blank_lines_are_dropped_and_backspace_takes_back() {
    let mut modem = modem();
    assert_eq!(at(Terminator::Cr, &mut modem, b"\r \r\n\r\t\r"), "");
    assert_eq!(
        at(Terminator::Cr, &mut modem, b"AX\x08T\"\x7f+CFUN?\r"),
        "+CFUN: 0\r\nOK\r\n"
    );
    assert_eq!(at(Terminator::Cr, &mut modem, b"\x08\x08AT\r"), "OK\r\n");
}

#[test]
fn a_command_beyond_the_limit_answers_one_error_and_the_next_one_is_whole() {
    let fits = "x".repeat(COMMAND_BYTES_MAX - "AT%CMNG=0,7,4,\"\"".len());
    for terminator in [Terminator::Cr, Terminator::CrLf] {
        let end = String::from_utf8(terminator.bytes().to_vec()).unwrap();
        let longest = format!("AT%CMNG=0,7,4,\"{fits}\"{end}");
        assert_eq!(
            at(terminator, &mut modem(), longest.as_bytes()),
            "OK\r\n",
            "{terminator}"
        );
        let longer = format!("AT%CMNG=0,7,4,\"{fits}x\"{end}AT{end}");
        assert_eq!(
            at(terminator, &mut modem(), longer.as_bytes()),
            "ERROR\r\nOK\r\n",
            "{terminator}"
        );
        let lines = format!("AT%CMNG=0,7,0,\"{}\"{end}AT{end}", "y\r\n".repeat(3000));
        assert_eq!(
            at(terminator, &mut modem(), lines.as_bytes()),
            "ERROR\r\nOK\r\n"
        );
    }
}

#[test]
fn what_is_no_text_answers_error() {
    assert_eq!(at(Terminator::Cr, &mut modem(), b"AT\xff\r"), "ERROR\r\n");
    assert_eq!(
        at(Terminator::Cr, &mut modem(), b"AT%CMNG=0,7,4,\"a\0b\"\r"),
        "ERROR\r\n"
    );
}

#[test]
fn notifications_come_between_commands() {
    let mut modem = VirtualModem::new(
        Identity::from_seed(1),
        Options {
            attach_delay: Duration::from_secs(2),
            ..Options::default()
        },
        seeded(1),
    );
    let mut host = AtHost::new(Terminator::Cr);
    let mut out = Vec::new();
    host.receive(b"AT+CGEREP=1\rAT+CFUN=1\r", &mut modem, &mut out)
        .unwrap();
    assert_eq!(modem.next_wake(), Some(Uptime(2000)));
    host.poll(&mut modem, &mut out);
    assert_eq!(out, b"OK\r\nOK\r\n");
    modem.advance(Uptime(2000));
    host.poll(&mut modem, &mut out);
    assert_eq!(out, b"OK\r\nOK\r\n+CGEV: ME PDN ACT 0\r\n");
    assert_eq!(modem.next_wake(), None);
    out.clear();
    host.receive(b"AT+CFUN=4\rAT\r", &mut modem, &mut out)
        .unwrap();
    assert_eq!(out, b"OK\r\n+CGEV: ME DETACH\r\nOK\r\n");
}

#[test]
fn every_holder_of_a_shared_modem_hears_every_notification() {
    let mut one = SharedModem::new(VirtualModem::from_seed(1));
    let mut two = one.clone();
    one.line("AT+CGEREP=1");
    one.line("AT+CFUN=1");
    assert_eq!(one.notifications(), ["+CGEV: ME PDN ACT 0"]);
    assert_eq!(two.notifications(), ["+CGEV: ME PDN ACT 0"]);
    assert!(one.notifications().is_empty() && two.notifications().is_empty());
}

#[test]
fn the_shell_echoes_prompts_and_answers() {
    let mut shell = Shell::new(ShellOptions::default());
    let said = type_into(&mut shell, &mut modem(), "at AT+CFUN?\r\n");
    assert_eq!(
        said,
        "at AT+CFUN?\r\n+CFUN: 0\r\nOK\r\n\r\n\x1b[1;32muart:~$ \x1b[m"
    );
}

#[test]
fn single_quotes_carry_blanks_and_double_quotes() {
    let (mut shell, mut modem) = (quiet(), modem());
    let said = type_into(&mut shell, &mut modem, "at 'AT%CMNG=0,7,4,\"a b\"'\r");
    assert_eq!(said, format!("\r\nOK\r\n\r\n{PROMPT}"));
    assert!(modem.line("AT%CMNG=2,7,4").contains("\"a b\""));
    // Without them the shell eats the double quotes, and the modem is told no text.
    let said = type_into(&mut shell, &mut modem, "at AT%CMNG=0,7,4,\"a\"\r");
    assert_eq!(said, format!("\r\n+CME ERROR: 50\r\n\r\n{PROMPT}"));
}

#[test]
fn a_backslash_and_an_n_become_cr_lf_in_a_written_credential_only() {
    let (mut shell, mut modem) = (quiet(), modem());
    let pem = PEM.replace('\n', "\\n");
    type_into(
        &mut shell,
        &mut modem,
        &format!("at 'at%cmng=0,7,0,\"{pem}\"'\r"),
    );
    assert!(
        modem
            .line("AT%CMNG=2,7,0")
            .contains(&PEM.replace('\n', "\r\n"))
    );
    let said = type_into(&mut shell, &mut modem, "at 'AT%CMNG=3\\n,7,0'\r");
    assert!(said.contains("+CME ERROR: 50"), "{said}");
}

#[test]
fn an_answer_beyond_the_response_buffer_is_error_7_after_the_fact() {
    let (mut shell, mut modem) = (quiet(), modem());
    let long = "x".repeat(3000);
    modem.line(&format!("AT%CMNG=0,7,4,\"{long}\""));
    assert_eq!(
        type_into(&mut shell, &mut modem, "at AT%CMNG=2,7,4\r"),
        format!("\r\nSending AT command failed with error code -7\r\n{PROMPT}")
    );
}

#[test]
fn events_are_printed_when_asked_for_and_the_line_is_typed_again() {
    let mut modem = modem();
    let mut shell = Shell::new(ShellOptions {
        ansi: false,
        ..ShellOptions::default()
    });
    modem.line("AT+CGEREP=1");
    assert!(!type_into(&mut shell, &mut modem, "at AT+CFUN=1\r").contains("+CGEV"));
    assert!(
        type_into(&mut shell, &mut modem, "at events_enable\r")
            .contains("AT command event handler enabled\r\n")
    );
    let said = type_into(&mut shell, &mut modem, "at AT+CFUN=4\r");
    assert!(
        said.ends_with(&format!(
            "AT event handler:\r\n+CGEV: ME DETACH\r\n{PROMPT}"
        )),
        "{said}"
    );
    type_into(&mut shell, &mut modem, "at AT");
    modem.line("AT+CFUN=1");
    let mut out = Vec::new();
    shell.poll(&mut modem, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!("\r\nAT event handler:\r\n+CGEV: ME PDN ACT 0\r\n{PROMPT}at AT")
    );
    type_into(&mut shell, &mut modem, "\rat events_disable\r");
    assert!(!type_into(&mut shell, &mut modem, "at AT+CFUN=4\r").contains("DETACH"));
}

#[test]
fn raw_at_mode_begins_and_ends() {
    let (mut shell, mut modem) = (quiet(), modem());
    let said = type_into(
        &mut shell,
        &mut modem,
        "at at_cmd_mode start\r\nAT+CFUN?\r\nat AT\r\n",
    );
    assert!(said.contains("AT command mode started"), "{said}");
    assert!(said.ends_with("\r\n+CFUN: 0\r\nOK\r\nERROR\r\n"), "{said}");
    let said = type_into(&mut shell, &mut modem, "\x18\x11at AT\r");
    assert_eq!(said, format!("\r\n{PROMPT}\r\nOK\r\n\r\n{PROMPT}"));
}

#[test]
fn a_reboot_prints_the_banner_and_keeps_credentials() {
    let (mut shell, mut modem) = (quiet(), modem());
    modem.line("AT%CMNG=0,7,4,\"me\"");
    modem.line("AT+CFUN=1");
    let said = type_into(&mut shell, &mut modem, "kernel reboot warm\r");
    assert!(said.starts_with("\r\n*** Booting "), "{said}");
    assert!(said.ends_with(PROMPT), "{said}");
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 0\r\nOK\r\n");
    assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n");
    assert!(modem.line("AT%CMNG=2,7,4").contains("\"me\""));
}

struct Provisioning;

impl LineHandler for Provisioning {
    fn line(&mut self, line: &str) -> Option<String> {
        match line {
            "help" => Some("  nrf_provisioning : Provision\r\n".to_owned()),
            "nrf_provisioning now" => Some("Externally initiated\r\n".to_owned()),
            _ => None,
        }
    }
}

#[test]
fn other_lines_go_to_the_handler() {
    let mut shell = quiet();
    let mut out = Vec::new();
    shell
        .receive(
            b" nrf_provisioning now \rnrf_other now\r\r\nhelp\r",
            &mut modem(),
            &mut Provisioning,
            &mut out,
        )
        .unwrap();
    let said = String::from_utf8(out).unwrap();
    let (said, help) = said.split_at(said.find("\r\nAvailable").unwrap());
    assert!(help.contains("  at ") && help.contains("  nrf_provisioning "));
    assert_eq!(
        said,
        format!(
            "\r\nExternally initiated\r\n{PROMPT}\r\nnrf_other: command not found\r\n{PROMPT}\r\n{PROMPT}"
        )
    );
}

#[test]
fn the_shell_edits_its_line() {
    let (mut shell, mut modem) = (quiet(), modem());
    for typed in [
        "at ATX\x7f+CFUN?\r",
        "rubbish\x03at AT+CFUN?\r",
        "rubbish\x15at AT+CFUN?\r",
        "at AT\x1b[D\x1b[200~\x1bOA+CFUN?\r",
        "at\t AT+CFUN?\n",
    ] {
        let said = type_into(&mut shell, &mut modem, typed);
        assert!(said.contains("+CFUN: 0\r\nOK"), "{typed:?}: {said}");
    }
    let said = type_into(&mut shell, &mut modem, "at 'AT\r");
    assert!(said.contains("not terminated: '"), "{said}");
    let said = type_into(&mut shell, &mut modem, "at\r");
    assert!(said.contains("Usage: at"), "{said}");
    let long = format!("at '{}'\r", "x".repeat(COMMAND_BYTES_MAX));
    let said = type_into(&mut shell, &mut modem, &long);
    assert!(said.contains("longer than 4096"), "{said}");
}

#[test]
fn after_a_power_cut_nobody_answers() {
    let mut modem = VirtualModem::new(
        Identity::from_seed(1),
        Options {
            power_cut: Some(PowerCut {
                write: 1,
                when: Moment::After,
            }),
            ..Options::default()
        },
        seeded(1),
    );
    let mut out = Vec::new();
    let mut host = AtHost::new(Terminator::Cr);
    let done = host.receive(b"AT\rAT%CMNG=0,7,4,\"me\"\rAT\r", &mut modem, &mut out);
    assert!(matches!(done, Err(LineError::PowerCut)));
    assert_eq!(out, b"OK\r\n");
    let mut shell = quiet();
    let done = shell.receive(b"at AT\r", &mut modem, &mut NoHandler, &mut out);
    assert!(matches!(done, Err(LineError::PowerCut)));
    assert_eq!(modem.line("AT"), "");
    modem.power_on();
    assert!(modem.line("AT%CMNG=2,7,4").contains("\"me\""));
}

/// What a terminal, a tool, or line noise might send.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"AT+CGEREP=1".to_vec()),
        Just(b"AT+CFUN=1".to_vec()),
        Just(b"AT+CFUN=4".to_vec()),
        Just(b"AT%CMNG=0,7,4,\"a\r\nb\"".to_vec()),
        Just(b"AT%CMNG=2,7,4".to_vec()),
        Just(b"at 'AT%CMNG=0,7,4,\"a\\nb\"'".to_vec()),
        Just(b"at AT+CFUN=1".to_vec()),
        Just(b"at events_enable".to_vec()),
        Just(b"at at_cmd_mode start".to_vec()),
        Just(b"\x18\x11".to_vec()),
        Just(b"kernel reboot warm".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\x08\x7f\"'".to_vec()),
        Just(b"\x1b[1;5D".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
        Just(vec![b'x'; 4100]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Feeds the stream in pieces that end where `cuts` say.
fn in_pieces(bytes: &[u8], cuts: &[usize], mut take: impl FnMut(&[u8])) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for ends in cuts.windows(2) {
        take(&bytes[ends[0]..ends[1]]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_at_host_does_not_care_how_its_input_is_cut(
        bytes in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        terminator in 0..4_usize,
    ) {
        let terminator = Terminator::NAMES[terminator].1;
        let whole = at(terminator, &mut modem(), &bytes);
        let (mut host, mut modem, mut out) = (AtHost::new(terminator), modem(), Vec::new());
        in_pieces(&bytes, &cuts, |piece| host.receive(piece, &mut modem, &mut out).unwrap());
        prop_assert_eq!(whole, String::from_utf8(out).unwrap());
    }

    #[test]
    fn the_shell_does_not_care_how_its_input_is_cut(
        bytes in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        ansi in any::<bool>(),
        echo in any::<bool>(),
    ) {
        let options = ShellOptions { ansi, echo, ..ShellOptions::default() };
        let mut all = Vec::new();
        for cuts in [&[][..], &cuts] {
            let (mut shell, mut modem) = (Shell::new(options.clone()), modem());
            let mut out = Vec::new();
            in_pieces(&bytes, cuts, |piece| {
                shell.receive(piece, &mut modem, &mut NoHandler, &mut out).unwrap();
            });
            all.push(String::from_utf8(out).unwrap());
        }
        prop_assert_eq!(&all[0], &all[1]);
    }
}
