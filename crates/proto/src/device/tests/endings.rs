//! How a session begins and how it ends.

use super::*;

#[test]
fn too_many_commands_execute_nothing_and_report_nothing() {
    let commands: Vec<_> = (0..11)
        .map(|i| at(&format!("u.{i}"), "%X", "1", &[]))
        .collect();
    let mut table = Table::careful().batch(&commands);
    table.run();
    assert!(table.commands_run().is_empty());
    assert!(table.sent.is_empty());
    assert_eq!(table.session.after(), "");
    assert_eq!(
        table.story(),
        [Event::Start, Event::FailedTooManyCommands, Event::Stop]
    );
}

#[test]
fn an_empty_batch_and_an_empty_body_are_invalid() {
    for body in [vec![0x80], Vec::new()] {
        let mut table = Table::careful();
        table.fetches.push_back(Ok((200, body)));
        table.run();
        assert_eq!(
            table.story(),
            [Event::Start, Event::Failed(Errno::Invalid), Event::Stop]
        );
    }
}

#[test]
fn each_status_of_a_fetch_has_its_event() {
    let told = |status| {
        let mut table = Table::careful().fetch_status(status);
        table.run();
        table.story()[1].clone()
    };
    assert_eq!(told(204), Event::NoCommands);
    assert_eq!(told(400), Event::Failed(Errno::Invalid));
    assert_eq!(
        told(401),
        Event::FailedDeviceNotClaimed {
            token: Some("2dn3.0oRD".to_string())
        }
    );
    assert_eq!(told(403), Event::Failed(Errno::Permission));
    assert_eq!(told(404), Event::Failed(Errno::NotSupported));
    assert_eq!(told(415), Event::Failed(Errno::NoMessage));
    assert_eq!(told(500), Event::Failed(Errno::Busy));
    assert_eq!(told(503), Event::Failed(Errno::NotSupported));
}

#[test]
fn each_transport_failure_of_a_fetch_has_its_event() {
    let told = |error| {
        let mut table = Table::careful();
        table.fetches.push_back(Err(error));
        table.run();
        table.story()[1].clone()
    };
    assert_eq!(told(TransportError::Refused), Event::FailedWrongRootCa);
    assert_eq!(told(TransportError::Tls), Event::FailedWrongRootCa);
    assert_eq!(
        told(TransportError::Timeout),
        Event::Failed(Errno::TimedOut)
    );
    assert_eq!(told(TransportError::Closed), Event::Failed(Errno::Shutdown));
    assert_eq!(told(TransportError::TooLarge), Event::FailedTooManyCommands);
}

#[test]
fn a_device_that_is_not_claimed_says_so_without_a_token_when_none_can_be_made() {
    let mut table = Table::careful()
        .fetch_status(401)
        .answer("AT%ATTESTTOKEN", "ERROR\r\n");
    table.run();
    assert_eq!(
        table.story()[1],
        Event::FailedDeviceNotClaimed { token: None }
    );
}

#[test]
fn without_a_valid_time_nothing_is_requested() {
    let mut table = Table::careful();
    for _ in 0..100 {
        table = table.answer("AT%CCLK?", "+CME ERROR: 60\r\n");
    }
    table.run();
    assert_eq!((table.signatures, table.now), (0, Uptime(60_000)));
    assert_eq!(
        table.story(),
        [Event::Start, Event::FailedNoValidDatetime, Event::Stop]
    );
}

#[test]
fn a_clock_that_becomes_valid_in_the_third_second_is_enough() {
    let mut table = Table::careful()
        .answer("AT%CCLK?", "ERROR\r\n")
        .answer("AT%CCLK?", "ERROR\r\n")
        .answer("AT%CCLK?", "ERROR\r\n");
    table.run();
    assert_eq!((table.signatures, table.now), (1, Uptime(3000)));
}

#[test]
fn a_modem_that_will_not_sign_fails_the_session() {
    let mut session = Session::new(Config::default());
    session.handle(Input::Triggered, Uptime(0));
    while !matches!(session.poll(), Output::Wait(_)) {}
    session.handle(
        Input::ModemSaid("%CCLK: \"26/11/20\"\r\nOK\r\n".to_string()),
        Uptime(0),
    );
    while !matches!(session.poll(), Output::Wait(_)) {}
    session.handle(Input::SignFailed("+CME ERROR: 525".to_string()), Uptime(0));
    assert_eq!(session.ending(), Some(Ending::Failed(Errno::NoExec)));
}

#[test]
fn the_last_id_is_saved_after_finished_when_asked_and_used_by_the_next_life() {
    let config = Config {
        save_command_id: true,
        after: Some("u.0".to_string()),
        ..Config::default()
    };
    let mut table = Table::new(config).batch(&[finished("u.7")]);
    table.run();
    assert_eq!(table.afters, ["u.0"]);
    assert_eq!(
        table.saved,
        [(
            "provisioning/after-correlation-id".to_string(),
            "u.7".to_string()
        )]
    );
}

#[test]
fn a_second_trigger_starts_a_second_session_with_the_same_after() {
    let mut table = Table::careful().batch(&[finished("u.7")]);
    table.run().run();
    assert_eq!(table.afters, ["", "u.7"]);
}

#[test]
fn a_trigger_inside_a_session_changes_nothing() {
    let mut session = Session::new(Config::default());
    session.handle(Input::Triggered, Uptime(0));
    while !matches!(session.poll(), Output::Wait(_)) {}
    session.handle(Input::Triggered, Uptime(1));
    assert_eq!(session.poll(), Output::Wait(None));
}
