//! Commands one by one: order, failures, the error filter, buffers.

use super::*;

#[test]
fn a_session_that_succeeds_runs_reports_and_is_done() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1.s", "%CMNG", "3,42,2", &[513]),
            at("u.1", "%KEYGEN", "42,2,0", &[]),
            config("u.2", &[("provisioning/interval-sec", "60")]),
            finished("u.3"),
        ])
        .answer("AT%KEYGEN", "%KEYGEN: \"MIH.0oR\"\r\nOK\r\n");
    table.run();
    assert_eq!(
        table.lines,
        [
            "AT%CCLK?",
            "AT+CMEE?",
            "AT+CMEE=1",
            "AT%CMNG=3,42,2",
            "AT%KEYGEN=42,2,0",
            "AT+CMEE=0"
        ]
    );
    assert_eq!(
        table.reported(0),
        [
            ("u.1.s".to_string(), done("OK\r\n")),
            ("u.1".to_string(), done("%KEYGEN: \"MIH.0oR\"\r\nOK\r\n")),
            ("u.2".to_string(), WireResult::ConfigStored),
            ("u.3".to_string(), WireResult::Finished),
        ]
    );
    assert_eq!(
        table.saved,
        [("provisioning/interval-sec".to_string(), "60".to_string())]
    );
    assert_eq!(
        table.story(),
        [
            Event::Start,
            Event::NeedLteDeactivated,
            Event::NeedLteActivated,
            Event::Done,
            Event::Stop
        ]
    );
    assert_eq!(table.session.ending(), Some(Ending::Done));
    assert_eq!((table.signatures, table.mode), (2, 1));
    assert_eq!(
        table.now,
        Uptime(2000),
        "two seconds of rest after the radio"
    );
}

#[test]
fn a_failure_stops_the_batch_and_finished_is_never_acknowledged() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1", "%CMNG", "0,1,0,\"a\"", &[]),
            at("u.2", "%CMNG", "0,1,1,\"secret\"", &[]),
            at("u.3", "%CMNG", "0,1,2,\"c\"", &[]),
            finished("u.4"),
        ])
        .answer("AT%CMNG=0,1,1", "+CME ERROR: 527\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.1".to_string(), done("OK\r\n")),
            ("u.2".to_string(), failed(527, "+CME ERROR: 527\r\n")),
        ]
    );
    assert_eq!(table.commands_run().len(), 2);
    assert_eq!(table.afters, ["", "u.2"], "after covers the failed command");
    assert_eq!(
        table.story(),
        [
            Event::Start,
            Event::NeedLteDeactivated,
            Event::NeedLteActivated,
            Event::NoCommands,
            Event::Stop
        ]
    );
    assert!(table.events.contains(&Event::CommandFailed {
        index: 1,
        correlation: CorrelationId::new("u.2").unwrap(),
        command: "AT%CMNG=0,1,1,…".to_string(),
        number: 527,
        answer: "+CME ERROR: 527".to_string(),
    }));
    assert!(!format!("{:?}", table.events).contains("secret"));
}

#[test]
fn finished_before_a_failure_is_not_acknowledged_either() {
    let mut table = Table::careful()
        .batch(&[finished("u.1"), at("u.2", "%X", "1", &[])])
        .answer("AT%X", "+CME ERROR: 50\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [("u.2".to_string(), failed(50, "+CME ERROR: 50\r\n"))]
    );
}

#[test]
fn finished_is_acknowledged_last_whatever_its_position() {
    let mut table = Table::careful().batch(&[finished("u.1"), at("u.2", "%X", "1", &[])]);
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.2".to_string(), done("OK\r\n")),
            ("u.1".to_string(), WireResult::Finished)
        ]
    );
}

#[test]
fn an_ignored_cme_code_is_reported_as_done_with_the_error_text() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1", "%CMNG", "3,42,2", &[50, 513]),
            at("u.2", "%X", "1", &[]),
        ])
        .answer("AT%CMNG", "+CME ERROR: 513\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.1".to_string(), done("+CME ERROR: 513\r\n")),
            ("u.2".to_string(), done("OK\r\n"))
        ]
    );
}

#[test]
fn a_bare_error_counts_as_success() {
    let mut table = Table::careful()
        .batch(&[at("u.1", "%X", "1", &[]), finished("u.2")])
        .answer("AT%X", "ERROR\r\n");
    table.run();
    assert_eq!(
        table.reported(0),
        [
            ("u.1".to_string(), done("ERROR\r\n")),
            ("u.2".to_string(), WireResult::Finished)
        ]
    );
}

#[test]
fn a_modem_that_is_cut_off_fails_the_command_without_a_number() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.answers.push((
        "AT%X",
        VecDeque::from([Input::ModemFailed("%X: half".to_string())]),
    ));
    table.run();
    assert_eq!(
        table.reported(0),
        [("u.1".to_string(), failed(0, "%X: half"))]
    );
}

#[test]
fn a_key_generation_that_outgrows_the_buffer_deletes_the_key_before_it_runs_again() {
    let mut table = Table::careful()
        .batch(&[at("u.1", "%KEYGEN", "42,2,0,\"CN=a\"", &[])])
        .answer("AT%KEYGEN", &long_answer(1024))
        .answer("AT%KEYGEN", &long_answer(1025));
    table.run();
    assert_eq!(
        table.commands_run(),
        [
            "AT%KEYGEN=42,2,0,\"CN=a\"",
            "AT%CMNG=3,42,2",
            "AT%KEYGEN=42,2,0,\"CN=a\""
        ]
    );
    assert_eq!(
        table.reported(0),
        [("u.1".to_string(), done(&long_answer(1025)))]
    );
}

#[test]
fn an_answer_of_1023_bytes_fits_the_first_buffer() {
    let mut table = Table::careful()
        .batch(&[at("u.1", "%KEYGEN", "42,2,0", &[])])
        .answer("AT%KEYGEN", &long_answer(1023));
    table.run();
    assert_eq!(table.commands_run(), ["AT%KEYGEN=42,2,0"]);
}

#[test]
fn an_answer_beyond_the_largest_buffer_fails_without_a_number() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[]), finished("u.2")]);
    for _ in 0..3 {
        table = table.answer("AT%X", &long_answer(5000));
    }
    table.run();
    assert_eq!(table.commands_run().len(), 3, "1024, 2048, 4096");
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(0, "answer of 5000 bytes, 4096 fit")
        )]
    );
}

#[test]
fn a_command_longer_than_the_at_buffer_fails_and_is_not_run() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", &"1".repeat(2047), &[])]);
    table.session = Session::new(Config {
        rx_bytes_max: 4096,
        ..Config::default()
    });
    table.run();
    assert!(table.commands_run().is_empty());
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(0, "AT command of 2052 bytes, 2047 fit")
        )]
    );
}

#[test]
fn a_setting_that_is_not_stored_fails_with_the_firmware_text_and_a_negative_errno() {
    let mut table = Table::careful().batch(&[
        config("u.1", &[("a", "1"), ("b", "2"), ("c", "3")]),
        finished("u.2"),
    ]);
    table.store_fails_at = Some((1, StoreFailure::NoMemory));
    table.run();
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(
                4_294_967_284,
                "Unable to store [1](0-indexed) key-value-pair"
            )
        )]
    );
    assert_eq!(table.saved.len(), 2);
}

#[test]
fn a_key_that_is_too_big_is_named_by_its_index() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")])]);
    table.store_fails_at = Some((0, StoreFailure::KeyTooBig));
    table.run();
    assert_eq!(
        table.reported(0),
        [(
            "u.1".to_string(),
            failed(4_294_967_284, "Key [0](0-indexed) too big")
        )]
    );
}

#[test]
fn pem_text_reaches_the_modem_with_its_line_feeds_and_no_log() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n";
    let line = format!("AT%CMNG=0,42,2,\"{pem}\"");
    let mut table =
        Table::careful().batch(&[at("u.1", "%CMNG", &format!("0,42,2,\"{pem}\""), &[])]);
    table.run();
    assert_eq!(table.commands_run(), [line.as_str()]);
    assert_eq!(
        format!("{:?}", Output::Line(AtLine::new(line))),
        "Line(\"AT%CMNG=0,42,2,…\")"
    );
    assert!(!format!("{:?}", table.events).contains("MIGH"));
}
