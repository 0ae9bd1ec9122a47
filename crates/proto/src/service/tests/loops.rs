//! The closed loop: the service signs, and `finished` waits.

use super::*;
use crate::rules::ErrorPolicy;

fn issue(desk: &mut Desk, changes: &mut Changes, certificate: u32) {
    let asked = changes.needs_certificate[0].command;
    desk.queue
        .follow_with_certificate(changes, asked, id(certificate), PEM.into(), desk.now)
        .unwrap();
    desk.queue.apply(changes);
}

/// CSR, CA, finished; the CSR reported with key `body`, everything before delivered.
fn reported(desk: &mut Desk, body: u8) -> Changes {
    let csr = desk.text("1", &keygen_answer(KeygenBody::Csr, body));
    desk.queue.settle(&[desk.done("1.s"), csr], desk.now)
}

#[test]
fn finished_waits_for_the_certificate_which_comes_directly_behind_its_csr() {
    let mut desk = Desk::with([csr(true), ca(), finished()]);
    assert_eq!(desk.fetch(""), ["1.s", "1", "2.s", "2"]);
    let report = [
        desk.text("1", &keygen_answer(KeygenBody::Csr, 1)),
        desk.done("2"),
    ];
    let mut changes = desk.queue.settle(&report, desk.now);
    let asked = &changes.needs_certificate[0];
    assert_eq!(
        (asked.command, asked.sec_tag, asked.attributes.as_str()),
        (id(1), tag(), "")
    );
    assert_eq!(asked.output.kind, KeygenBody::Csr);
    issue(&mut desk, &mut changes, 9);
    assert!(changes.needs_certificate.is_empty());
    assert_eq!(changes.next_sequence, 5);
    let order: Vec<CommandId> = desk.queue.commands().iter().map(|c| c.id).collect();
    assert_eq!(order, [id(1), id(9), id(2), id(3)]);
    let after = desk.at(2);
    assert_eq!(
        desk.fetch(&after),
        ["9.s", "9", "3"],
        "although 2 stands behind it"
    );
    assert_eq!(
        desk.fetch(&after),
        ["9.s", "9", "3"],
        "and again when that was lost"
    );
    desk.settle(&[desk.done("9"), desk.answer("3", WireResult::Finished)]);
    assert_eq!(desk.statuses(), [Status::Succeeded; 4]);
}

#[test]
fn finished_waits_even_when_the_csr_ran_and_its_report_is_missing() {
    let mut desk = Desk::with([csr(true), finished()]);
    desk.fetch("");
    assert!(desk.fetch(&desk.at(1)).is_empty());
    assert_eq!(desk.status(2), Status::Pending);
}

#[test]
fn finished_leaves_with_the_last_of_the_others_wherever_it_stands() {
    let mut desk = Desk::with([finished(), csr(true), ca(), key(), finished()]);
    desk.limits.records_max = 4;
    assert_eq!(desk.fetch(""), ["2.s", "2", "3.s", "3"]);
    let csr = desk.text("2", &keygen_answer(KeygenBody::Csr, 1));
    let mut changes = desk.queue.settle(&[csr, desk.done("3")], desk.now);
    issue(&mut desk, &mut changes, 9);
    let after = desk.at(3);
    assert_eq!(desk.fetch(&after), ["9.s", "9", "4.s", "4"]);
    let after = desk.at(4);
    desk.settle(&[desk.done("9"), desk.failed("4", 515)]);
    assert_eq!(desk.failure(1), Failure::NotExecuted, "not complete");
    assert_eq!(desk.fetch(&after), [""; 0]);

    let mut desk = Desk::with([finished(), setting(), finished()]);
    assert_eq!(
        desk.fetch(""),
        ["2", "1"],
        "one in a batch: a device acknowledges one"
    );
    desk.settle(&[
        desk.answer("2", WireResult::ConfigStored),
        desk.answer("1", WireResult::Finished),
    ]);
    assert_eq!(desk.fetch(&desk.at(1)), ["3"]);
}

#[test]
fn a_finished_that_the_device_did_not_reach_is_no_executed_one() {
    let mut desk = Desk::with([finished(), setting()]);
    assert_eq!(desk.fetch(""), ["2", "1"]);
    // The device lost its report and asks on behind the setting: `finished` was never reached.
    let after = desk.at(2);
    assert_eq!(desk.fetch(&after), ["1"]);
    assert!(desk.queue.will_finish());
    let after = desk.at(1);
    let changes = desk.queue.progress(&after, desk.now);
    desk.queue.apply(&changes);
    assert!(!desk.queue.will_finish(), "the device had it");
}

#[test]
fn a_finished_in_front_of_a_command_that_fails_again_and_again_is_delivered_in_the_end() {
    let mut desk = Desk::with([]);
    let retried = [finished(), setting()].into_iter().zip(1..);
    let new = retried.map(|(request, number)| NewCommand {
        on_error: ErrorPolicy::Retry { times: 2 },
        ..NewCommand::by_hand(id(number), request)
    });
    let changes = desk.queue.add(new.collect(), OPEN_COMMANDS_MAX, desk.now);
    desk.queue.apply(&changes.unwrap());
    for _ in 0..2 {
        assert_eq!(desk.fetch(""), ["2", "1"]);
        desk.settle(&[desk.failed("2", 0)]);
        desk.pass(30);
    }
    assert_eq!(desk.fetch(""), ["2", "1"]);
    desk.settle(&[desk.answer("2", WireResult::ConfigStored)]);
    assert_eq!(desk.fetch(&desk.at(2)), ["1"]);
    desk.settle(&[desk.answer("1", WireResult::Finished)]);
    assert_eq!(desk.statuses(), [Status::Succeeded; 2]);
}

#[test]
fn an_open_loop_csr_does_not_hold_finished_back() {
    let mut desk = Desk::with([csr(false), finished()]);
    assert_eq!(desk.fetch(""), ["1.s", "1", "2"]);
}

#[test]
fn a_refused_csr_fails_with_the_reason_and_the_rest_is_dropped() {
    let mut desk = Desk::with([csr(true), ca(), finished()]);
    desk.fetch("");
    let mut changes = reported(&mut desk, 1);
    desk.queue
        .refuse_certificate(&mut changes, id(1), "its subject is CN=other", desk.now);
    assert!(changes.needs_certificate.is_empty());
    desk.queue.apply(&changes);
    assert_eq!(desk.failure(1), Failure::CertificateRefused);
    assert_eq!(desk.response(1).message, "its subject is CN=other");
    assert_eq!(desk.failure(2), Failure::NotExecuted);
    assert_eq!(desk.failure(3), Failure::NotExecuted);
    let again = reported(&mut desk, 1);
    assert!(again.is_empty() && again.needs_certificate.is_empty() && again.alarms.is_empty());
}

#[test]
fn an_answer_that_is_no_keygen_output_fails_a_closed_loop_and_only_that() {
    for issue in [true, false] {
        let mut desk = Desk::with([csr(issue), finished()]);
        desk.fetch("");
        let changes = desk.settle(&[desk.text("1", "%KEYGEN: \"nonsense\"\r\nOK\r\n")]);
        assert!(changes.needs_certificate.is_empty());
        if issue {
            assert_eq!(desk.failure(1), Failure::CertificateRefused);
            assert!(desk.response(1).message.starts_with("no certificate: "));
            assert_eq!(desk.failure(2), Failure::NotExecuted);
        } else {
            assert_eq!(desk.status(1), Status::Succeeded);
        }
    }
}

#[test]
fn the_same_csr_reported_twice_asks_once() {
    let mut desk = Desk::with([csr(true), finished()]);
    desk.fetch("");
    let mut changes = reported(&mut desk, 1);
    issue(&mut desk, &mut changes, 9);
    let again = reported(&mut desk, 1);
    assert!(again.is_empty() && again.needs_certificate.is_empty() && again.alarms.is_empty());
}

#[test]
fn a_changed_key_is_an_alarm_and_its_certificate_replaces_the_one_that_waits() {
    let mut desk = Desk::with([csr(true), finished()]);
    desk.fetch("");
    let mut changes = reported(&mut desk, 1);
    issue(&mut desk, &mut changes, 9);
    let mut changes = reported(&mut desk, 2);
    assert!(matches!(changes.alarms[..], [Alarm::KeyChanged { command, .. }] if command == id(1)));
    issue(&mut desk, &mut changes, 10);
    assert_eq!(desk.failure(9), Failure::NotExecuted);
    assert_eq!(desk.fetch(&desk.at(1)), ["10.s", "10", "2"]);
}

#[test]
fn a_changed_key_that_is_refused_leaves_the_first_result() {
    let mut desk = Desk::with([csr(true), finished()]);
    desk.fetch("");
    let mut changes = reported(&mut desk, 1);
    issue(&mut desk, &mut changes, 9);
    let before = desk.command(1).clone();
    let mut changes = reported(&mut desk, 2);
    desk.queue
        .refuse_certificate(&mut changes, id(1), "another device's", desk.now);
    desk.queue.apply(&changes);
    assert_eq!(desk.command(1), &before);
    assert_eq!(changes.alarms.len(), 1);
    assert_eq!(desk.status(9), Status::Pending);
}

#[test]
fn a_lost_csr_is_queued_again_once_under_a_new_number_at_its_place() {
    let mut desk = Desk::with([csr(true), finished()]);
    desk.fetch("");
    let first = desk.at(1);
    desk.fetch(&first);
    desk.pass(600);
    assert_eq!(desk.fetch(&first), ["1.s", "1"]);
    assert_ne!(desk.at(1), first);
    assert_eq!(
        desk.fetch(&first),
        ["1.s", "1"],
        "the new one was not executed yet"
    );
    let old = WireResponse {
        correlation: CorrelationId::new(&first).unwrap(),
        result: WireResult::AtDone {
            message: keygen_answer(KeygenBody::Csr, 1),
        },
    };
    let late = desk.settle(&[old]);
    assert!(
        late.is_empty() && late.alarms.is_empty(),
        "that key is being replaced"
    );
    let mut changes = reported(&mut desk, 2);
    issue(&mut desk, &mut changes, 9);
    assert_eq!(desk.fetch(&desk.at(1)), ["9.s", "9", "2"]);
}

#[test]
fn a_csr_lost_twice_fails_and_finished_is_dropped() {
    let mut desk = Desk::with([csr(true), finished()]);
    desk.fetch("");
    desk.fetch(&desk.at(1));
    desk.pass(600);
    desk.fetch(&desk.at(1));
    desk.fetch(&desk.at(1));
    desk.pass(600);
    assert!(desk.fetch(&desk.at(1)).is_empty());
    assert_eq!(desk.failure(1), Failure::OutcomeUnknown);
    assert_eq!(desk.failure(2), Failure::NotExecuted);
}

#[test]
fn a_success_before_a_failure_in_the_same_report_still_gets_its_certificate() {
    let mut desk = Desk::with([csr(true), ca(), finished()]);
    desk.fetch("");
    let report = [
        desk.text("1", &keygen_answer(KeygenBody::Csr, 1)),
        desk.failed("2", 515),
    ];
    let mut changes = desk.queue.settle(&report, desk.now);
    issue(&mut desk, &mut changes, 9);
    assert_eq!(desk.fetch(&desk.at(2)), ["9.s", "9"]);
    assert_eq!(desk.failure(3), Failure::NotExecuted);
}

#[test]
fn a_certificate_delivered_late_is_not_covered_by_what_ran_before_it() {
    let mut desk = Desk::with([csr(true), ca(), setting(), finished()]);
    desk.limits.records_max = 5;
    assert_eq!(desk.fetch(""), ["1.s", "1", "2.s", "2", "3"]);
    let after = desk.at(3);
    let mut changes = reported(&mut desk, 1);
    issue(&mut desk, &mut changes, 9);
    // 2 and 3 ran as well; their part of the report was lost. The certificate leaves within the same millisecond.
    assert_eq!(desk.fetch(&after), ["9.s", "9", "4"]);
    assert_eq!(desk.fetch(&after), ["9.s", "9", "4"]);
    assert_eq!(desk.command(9).covered_at, None);
    assert!(desk.command(2).covered_at.is_some() && desk.command(3).covered_at.is_some());
    let certificate = desk.at(9);
    assert_eq!(desk.fetch(&certificate), ["4"], "2 and 3 stay executed");
}

#[test]
fn a_certificate_that_fits_no_device_is_an_error_and_changes_nothing() {
    let mut desk = Desk::with([csr(true), finished()]);
    desk.fetch("");
    let mut changes = reported(&mut desk, 1);
    let long = format!("-----BEGIN CERTIFICATE-----\n{}", "A".repeat(2048));
    let error = desk
        .queue
        .follow_with_certificate(&mut changes, id(1), id(9), long, desk.now)
        .unwrap_err();
    assert!(matches!(error, AddError::AtTooLong { max: 2047, .. }));
    assert_eq!(
        (changes.commands.len(), changes.needs_certificate.len()),
        (1, 1)
    );
}

#[test]
fn a_keygen_of_the_wrong_content_still_asks_and_says_what_it_is() {
    let mut desk = Desk::with([csr(true)]);
    desk.fetch("");
    let changes = desk.settle(&[desk.text("1", &keygen_answer(KeygenBody::PublicKey, 1))]);
    assert_eq!(
        changes.needs_certificate[0].output.kind,
        KeygenBody::PublicKey
    );
}

#[test]
fn actions_of_a_batch_are_what_the_expansion_says() {
    let mut desk = Desk::with([setting()]);
    let batch = desk.wire("");
    assert!(matches!(&batch[0].action, Action::Config(pairs) if pairs.len() == 1));
}
