//! Reports: successes, failures, duplicates, liars.

use super::*;

#[test]
fn the_success_sequence_ends_with_finished() {
    let mut desk = Desk::with([key(), ca(), setting(), finished()]);
    desk.fetch("");
    desk.pass(5);
    let report = [
        desk.text("1.s", "+CME ERROR: 513\r\n"),
        desk.text("1", &keygen_answer(KeygenBody::PublicKey, 1)),
        desk.done("2.s"),
        desk.done("2"),
        desk.answer("3", WireResult::ConfigStored),
        desk.answer("4", WireResult::Finished),
    ];
    let changes = desk.settle(&report);
    assert!(changes.finished && changes.alarms.is_empty());
    assert_eq!(desk.statuses(), [Status::Succeeded; 4]);
    assert_eq!(desk.command(1).responded_at, Some(desk.now));
    assert_eq!(desk.response(2).message, "OK\r\n");
    assert!(desk.fetch(&desk.at(4)).is_empty());
    assert!(
        desk.fetch("").is_empty(),
        "never delivered again after its report"
    );
}

#[test]
fn a_key_generation_keeps_body_and_attestation_apart() {
    let mut desk = Desk::with([csr(false)]);
    desk.fetch("");
    let answer = keygen_answer(KeygenBody::Csr, 1);
    let changes = desk.settle(&[desk.done("1.s"), desk.text("1", &answer)]);
    assert!(
        changes.needs_certificate.is_empty(),
        "nobody asked to sign it"
    );
    let response = desk.response(1);
    let whole = format!(
        "{}.{}",
        response.message,
        response.attestation.as_ref().unwrap()
    );
    assert!(answer.contains(&whole) && !response.message.contains(['.', '"', '%']));
}

#[test]
fn the_failure_sequence_shows_what_failed_and_what_was_dropped() {
    let mut desk = Desk::with([ca(), key(), ca(), finished()]);
    desk.fetch("");
    desk.settle(&[
        desk.done("1.s"),
        desk.done("1"),
        desk.done("2.s"),
        desk.failed("2", 523),
    ]);
    assert_eq!(desk.status(1), Status::Succeeded);
    assert_eq!(desk.response(2).cme_error, Some(523));
    assert_eq!(desk.response(2).message, "+CME ERROR: 523");
    assert_eq!(desk.failure(2), Failure::RefusedByDevice);
    for dropped in [3, 4] {
        assert_eq!(desk.failure(dropped), Failure::NotExecuted);
        let words = format!(
            "not executed: command {} (clientPrivateKeyGeneration) failed",
            id(2)
        );
        assert!(desk.response(dropped).message.starts_with(&words));
    }
    assert!(desk.fetch(&desk.at(2)).is_empty());
}

#[test]
fn a_failure_drops_commands_that_were_never_delivered_as_well() {
    let mut desk = Desk::with([setting(), setting(), setting()]);
    desk.limits.records_max = 1;
    desk.fetch("");
    desk.settle(&[desk.failed("1", 0)]);
    assert_eq!(desk.statuses(), [Status::Failed; 3]);
    assert_eq!(desk.command(3).requested_at, None);
}

#[test]
fn a_failed_delete_fails_its_command() {
    let mut desk = Desk::with([key(), finished()]);
    desk.fetch("");
    desk.settle(&[desk.failed("1.s", 514)]);
    assert_eq!(desk.response(1).cme_error, Some(514));
    assert_eq!(desk.failure(2), Failure::NotExecuted);
}

#[test]
fn only_the_ignored_code_makes_an_error_text_a_success() {
    for (text, fine) in [
        ("+CME ERROR: 513\r\n", true),
        ("OK\r\n", true),
        ("+CME ERROR: 514\r\n", false),
        ("ERROR\r\n", false),
        ("", false),
    ] {
        let mut desk = Desk::with([ca()]);
        desk.fetch("");
        desk.settle(&[desk.text("1.s", text), desk.done("1")]);
        let expected = if fine {
            Status::Succeeded
        } else {
            Status::Failed
        };
        assert_eq!(desk.status(1), expected, "{text:?}");
    }
}

#[test]
fn a_bare_error_inside_a_100_is_a_failure_unless_it_is_ignored() {
    let mut desk = Desk::with([at("1", &[513]), at("1", &[0])]);
    desk.fetch("");
    desk.settle(&[desk.text("2", "ERROR\r\n")]);
    assert_eq!(desk.status(2), Status::Succeeded);
    desk.settle(&[desk.text("1", "ERROR\r\n")]);
    assert_eq!(desk.failure(1), Failure::RefusedByDevice);
    assert_eq!(desk.response(1).cme_error, None);
}

#[test]
fn what_a_device_executed_behind_a_bare_error_is_what_it_reports() {
    let mut desk = Desk::with([at("1", &[513]), at("1", &[513]), finished()]);
    desk.fetch("");
    let refused = desk.text("1", "ERROR\r\n");
    let changes = desk.settle(&[
        refused,
        desk.done("2"),
        desk.answer("3", WireResult::Finished),
    ]);
    assert_eq!(changes.alarms, []);
    assert!(changes.finished);
    assert_eq!(desk.failure(1), Failure::RefusedByDevice);
    assert_eq!([desk.status(2), desk.status(3)], [Status::Succeeded; 2]);
}

#[test]
fn a_setting_that_was_not_stored_shows_its_errno() {
    let mut desk = Desk::with([setting()]);
    desk.fetch("");
    let result = WireResult::Failed {
        cme_error: 4_294_967_284,
        message: "Unable to store [0](0-indexed) key-value-pair".into(),
    };
    desk.settle(&[desk.answer("1", result)]);
    let words = "Unable to store [0](0-indexed) key-value-pair (errno 12)";
    assert_eq!(desk.response(1).message, words);
}

#[test]
fn an_acknowledgement_of_another_kind_is_no_success() {
    let mut desk = Desk::with([setting()]);
    desk.fetch("");
    desk.settle(&[desk.answer("1", WireResult::Finished)]);
    assert_eq!(desk.failure(1), Failure::RefusedByDevice);
}

#[test]
fn answers_count_in_any_order_and_in_parts() {
    let mut desk = Desk::with([ca(), setting(), finished()]);
    desk.fetch("");
    desk.settle(&[desk.answer("2", WireResult::ConfigStored), desk.done("1.s")]);
    assert_eq!(
        desk.statuses(),
        [Status::InProgress, Status::Succeeded, Status::InProgress]
    );
    desk.settle(&[desk.answer("3", WireResult::Finished), desk.done("1")]);
    assert_eq!(desk.statuses(), [Status::Succeeded; 3]);
}

#[test]
fn the_same_report_again_changes_nothing() {
    let mut desk = Desk::with([key(), ca(), finished()]);
    desk.fetch("");
    let report = [
        desk.done("1.s"),
        desk.text("1", &keygen_answer(KeygenBody::PublicKey, 1)),
        desk.done("2.s"),
        desk.failed("2", 515),
    ];
    desk.settle(&report);
    let again = desk.settle(&report);
    assert!(again.is_empty() && again.alarms.is_empty() && !again.finished);
    let within: Vec<_> = report.iter().chain(&report).cloned().collect();
    assert!(desk.settle(&within).is_empty());
}

#[test]
fn another_report_for_a_settled_command_is_an_alarm_and_changes_nothing() {
    let mut desk = Desk::with([ca()]);
    desk.fetch("");
    desk.settle(&[desk.done("1")]);
    let changes = desk.settle(&[desk.failed("1", 514)]);
    assert!(
        matches!(changes.alarms[..], [Alarm::ReportDiffers { command, .. }] if command == id(1))
    );
    assert!(changes.is_empty());
}

#[test]
fn another_key_for_a_settled_generation_is_an_alarm_and_is_shown() {
    let mut desk = Desk::with([key()]);
    desk.fetch("");
    desk.settle(&[desk.text("1", &keygen_answer(KeygenBody::PublicKey, 1))]);
    let before = desk.response(1).message.clone();
    let changes = desk.settle(&[desk.text("1", &keygen_answer(KeygenBody::PublicKey, 2))]);
    assert!(matches!(changes.alarms[..], [Alarm::KeyChanged { command, .. }] if command == id(1)));
    assert_ne!(desk.response(1).message, before);
    assert_eq!(desk.status(1), Status::Succeeded);
}

#[test]
fn unknown_and_undelivered_ids_change_nothing_and_are_alarms() {
    let mut desk = Desk::with([setting(), ca()]);
    desk.limits.records_max = 1;
    desk.fetch("");
    let stranger = WireResponse {
        correlation: CorrelationId::new("9685ef84-8cac-4257-b5cc-94bc416a1c1d.d").unwrap(),
        result: WireResult::Finished,
    };
    let wrong_step = desk.done("1.s");
    let report = [stranger, desk.done("2"), wrong_step];
    let changes = desk.settle(&report);
    assert!(changes.is_empty());
    let named: Vec<String> = report.iter().map(|r| r.correlation.to_string()).collect();
    let alarms: Vec<String> = changes
        .alarms
        .iter()
        .map(|alarm| match alarm {
            Alarm::NeverDelivered { correlation } => correlation.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(alarms, named);
}

#[test]
fn secrets_are_erased_at_success_at_failure_and_when_dropped() {
    let mut desk = Desk::with([psk(), psk(), psk()]);
    desk.fetch("");
    assert_eq!(desk.command(1).request.secrets().len(), 1);
    desk.settle(&[desk.done("1"), desk.failed("2.u", 515)]);
    for number in 1..=3 {
        assert!(
            desk.command(number).request.secrets().is_empty(),
            "{number}"
        );
    }
    assert_eq!(desk.status(1), Status::Succeeded);
    assert_eq!(desk.failure(3), Failure::NotExecuted);
}

#[test]
fn what_ran_unreported_before_a_failure_is_not_called_unexecuted() {
    let mut desk = Desk::with([setting(), setting(), setting()]);
    desk.fetch("");
    desk.settle(&[desk.failed("2", 0)]);
    assert_eq!(
        desk.statuses(),
        [Status::InProgress, Status::Failed, Status::Failed]
    );
    desk.pass(600);
    assert!(desk.fetch(&desk.at(2)).is_empty());
    assert_eq!(desk.failure(1), Failure::OutcomeUnknown);
}
