//! Radio and CMEE: taken down, looked at, put back.

use super::*;

#[test]
fn the_firmware_asks_for_the_radio_after_every_batch_and_we_only_when_we_took_it() {
    let batch = [config("u.1", &[("a", "1")])];
    let mut firmware = Table::firmware().batch(&batch);
    firmware.run();
    assert!(firmware.events.contains(&Event::NeedLteActivated));
    let mut careful = Table::careful().batch(&batch);
    careful.run();
    assert!(!careful.events.contains(&Event::NeedLteActivated));
}

#[test]
fn a_radio_that_stays_on_ends_the_session_and_everything_is_put_back() {
    let mut table =
        Table::careful().batch(&[config("u.1", &[("a", "1")]), at("u.2", "%X", "1", &[])]);
    table.radio_stuck = true;
    table.run();
    assert!(table.commands_run().is_empty());
    assert!(table.sent.is_empty());
    assert_eq!(table.lines.last().unwrap(), "AT+CMEE=0");
    assert_eq!(table.session.after(), "", "the batch will be fetched again");
    assert_eq!(
        table.story(),
        [
            Event::Start,
            Event::NeedLteDeactivated,
            Event::NeedLteActivated,
            Event::Failed(Errno::TimedOut),
            Event::Stop
        ]
    );
    assert_eq!(table.now, Uptime(122_000));
}

#[test]
fn the_firmware_leaves_cmee_alone_after_a_radio_timeout() {
    let mut table = Table::firmware().batch(&[at("u.2", "%X", "1", &[])]);
    table.radio_stuck = true;
    table.run();
    assert_eq!(table.lines.last().unwrap(), "AT+CMEE=1");
    assert_eq!(
        table.session.ending(),
        Some(Ending::Failed(Errno::TimedOut))
    );
}

#[test]
fn a_network_that_does_not_come_back_keeps_the_report_for_the_next_session() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.mode = 30; // neither offline nor connected
    table.radio_stuck = false;
    table.session.handle(Input::Triggered, table.now);
    let mut dead = true;
    for _ in 0..2000 {
        let answer = match table.session.poll() {
            Output::Wait(None) => break,
            Output::Wait(Some(until)) => {
                table.now = until;
                Input::Tick
            }
            Output::Event(event) => {
                table.events.push(event);
                continue;
            }
            Output::Radio(RadioWish::Online) if dead => {
                dead = false;
                table.radio_stuck = true;
                Input::ModemFailed(String::new())
            }
            other => table.answer_to(other),
        };
        table.session.handle(answer, table.now);
    }
    assert!(table.session.has_unacknowledged_report());
    assert!(table.events.contains(&Event::ReportKept(Errno::TimedOut)));
    table.mode = 1;
    table.run();
    assert_eq!(table.reported(0), [("u.1".to_string(), done("OK\r\n"))]);
}

#[test]
fn a_lost_wish_for_the_radio_is_wished_again_and_the_firmware_stays_off() {
    for (mut table, wishes) in [(Table::careful(), 3), (Table::firmware(), 1)] {
        table = table.batch(&[at("u.1", "%X", "1", &[])]);
        let mut lost = 0;
        table.session.handle(Input::Triggered, table.now);
        loop {
            let answer = match table.session.poll() {
                Output::Wait(None) => break,
                Output::Wait(Some(until)) => {
                    table.now = until;
                    Input::Tick
                }
                Output::Event(event) => {
                    table.events.push(event);
                    continue;
                }
                Output::Radio(RadioWish::Online) if lost < wishes => {
                    lost += 1;
                    match lost {
                        // The line failed, then the modem did not do it, then it did.
                        1 => Input::ModemFailed(String::new()),
                        2 => table.answer_to(Output::Radio(RadioWish::Query)),
                        _ => table.answer_to(Output::Radio(RadioWish::Online)),
                    }
                }
                other => table.answer_to(other),
            };
            table.session.handle(answer, table.now);
        }
        assert_eq!(lost, wishes);
        assert_eq!(table.mode, if wishes == 3 { 1 } else { 4 });
        let told = table.events.iter();
        let asked = told.filter(|event| **event == Event::NeedLteActivated);
        assert_eq!(asked.count(), 1, "told once");
    }
}

#[test]
fn a_radio_that_is_offline_already_is_left_alone() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.mode = 4;
    table.run();
    assert_eq!(
        table.story(),
        [Event::Start, Event::NoCommands, Event::Stop]
    );
    assert_eq!(table.mode, 4);
}

#[test]
fn cmee_that_is_on_stays_on() {
    let mut table = Table::careful().batch(&[at("u.1", "%X", "1", &[])]);
    table.cmee = 1;
    table.run();
    assert_eq!(table.lines, ["AT%CCLK?", "AT+CMEE?", "AT%X=1"]);
}

#[test]
fn a_command_that_changes_the_radio_is_followed_by_another_look() {
    let mut table =
        Table::careful().batch(&[at("u.1", "+CFUN", "1", &[]), at("u.2", "%X", "1", &[])]);
    table.mode = 4;
    table.run();
    assert_eq!(table.commands_run(), ["AT+CFUN=1", "AT%X=1"]);
}
