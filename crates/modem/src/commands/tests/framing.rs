//! Lines, errors, injected faults (spec/modem-at §1).

use super::*;

#[test]
fn a_bare_at_answers_ok_in_any_case() {
    for line in ["AT", "at", "At", "AT\r\n"] {
        assert_eq!(modem().line(line), OK, "{line:?}");
    }
}

#[test]
fn names_do_not_care_about_case() {
    let mut modem = modem();
    assert_eq!(modem.line("at+cfun?"), modem.line("AT+CFUN?"));
    assert!(modem.line("at%cmng=1").ends_with(OK));
}

#[test]
fn unknown_commands_and_broken_lines_answer_error_whatever_cmee_says() {
    let mut modem = modem();
    for line in [
        "AT%NONE",
        "AT+CFUN",
        "AT%CMNG?",
        "AT%JWT?",
        "AT%CCLK=1",
        "hello",
        "",
        "AT%CMNG=0,1,0,\"x",
        "AT%XSUDO=1",
    ] {
        assert_eq!(modem.line(line), "ERROR\r\n", "{line}");
    }
}

#[test]
fn an_overlong_line_answers_error() {
    let line = write(1, 4, &"x".repeat(crate::LINE_BYTES_MAX));
    assert_eq!(modem().line(&line), "ERROR\r\n");
}

#[test]
fn errors_print_as_cmee_says_and_it_is_off_after_boot() {
    let mut modem = VirtualModem::from_seed(1);
    assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n");
    assert_eq!(modem.line("AT%CMNG=3,1,0"), "ERROR\r\n");
    ok(&mut modem, "AT+CMEE=1");
    assert_eq!(modem.line("AT%CMNG=3,1,0"), "+CME ERROR: 513\r\n");
    ok(&mut modem, "AT+CMEE=2");
    assert_eq!(modem.line("AT%CMNG=3,1,0"), "+CME ERROR: not found\r\n");
    assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 2\r\nOK\r\n");
    ok(&mut modem, "AT+CMEE=1");
    cme(&mut modem, "AT+CMEE=3", 50);
    assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 1\r\nOK\r\n");
}

#[test]
fn an_injected_fault_hits_the_nth_command_and_nothing_is_run() {
    let mut modem = modem_with(Options {
        faults: vec![
            Fault::cme("at%keygen=42", 2, 523),
            Fault {
                prefix: "AT+CFUN?".to_owned(),
                nth: 1,
                answer: FaultAnswer::Error,
            },
        ],
        ..Options::default()
    });
    ok(&mut modem, "AT%KEYGEN=42,2,0");
    ok(&mut modem, "AT%CMNG=3,42,2");
    cme(&mut modem, "AT%KEYGEN=42,2,0", 523);
    assert_eq!(modem.line("AT%CMNG=1,42"), OK);
    ok(&mut modem, "AT%KEYGEN=42,2,0");
    assert_eq!(modem.line("AT+CFUN?"), "ERROR\r\n");
    ok(&mut modem, "AT+CFUN?");
}
