//! Fetches: batches, `after`, outcomes that become unknown.

use super::*;

#[test]
fn the_first_fetch_delivers_in_order_with_the_delete_in_front() {
    let mut desk = Desk::with([key(), ca(), setting(), finished()]);
    assert_eq!(desk.fetch(""), ["1.s", "1", "2.s", "2", "3", "4"]);
    assert!(desk.statuses().iter().all(|s| *s == Status::InProgress));
    assert_eq!(desk.command(1).requested_at, Some(desk.now));
}

#[test]
fn nothing_queued_is_nothing_and_changes_nothing() {
    let mut desk = Desk::with([]);
    assert!(desk.fetch("").is_empty());
    let Fetched::Nothing { changes } = desk.queue.next_batch("", DEFAULTS, desk.now) else {
        panic!("a batch from an empty queue");
    };
    assert!(changes.is_empty());
    assert_eq!(changes.next_sequence, 1);
}

#[test]
fn the_same_after_delivers_the_same_again() {
    let mut desk = Desk::with([key(), finished()]);
    let first = desk.wire("");
    let requested = desk.command(1).requested_at;
    desk.pass(60);
    assert_eq!(desk.wire(""), first);
    assert_eq!(desk.command(1).requested_at, requested);
    let Fetched::Batch { changes, .. } = desk.queue.next_batch("", DEFAULTS, desk.now) else {
        panic!("nothing");
    };
    assert!(changes.is_empty(), "a repeated delivery needs no commit");
}

#[test]
fn an_unknown_after_counts_as_from_the_start() {
    let mut desk = Desk::with([key(), finished()]);
    let all = desk.fetch("");
    for after in [
        "x",
        "9685ef84-8cac-4257-b5cc-94bc416a1c1d.d",
        &format!("{}.63", id(1)),
    ] {
        assert_eq!(desk.fetch(after), all, "{after}");
    }
}

#[test]
fn after_covers_what_was_delivered_and_not_what_was_not() {
    let mut desk = Desk::with([setting(), setting()]);
    desk.limits.records_max = 1;
    assert_eq!(desk.fetch(""), ["1"]);
    assert_eq!(desk.fetch(&desk.at(2)), ["1"], "2 was never delivered");
    assert_eq!(desk.fetch(&desk.at(1)), ["2"]);
    assert_eq!(desk.status(1), Status::InProgress);
    assert_eq!(desk.command(1).covered_at, Some(desk.now));
}

#[test]
fn after_a_step_in_front_the_command_itself_comes_again() {
    let mut desk = Desk::with([setting(), key(), finished()]);
    desk.fetch("");
    let after = format!("{}.s", desk.at(2));
    assert_eq!(desk.fetch(&after), ["2.s", "2", "3"]);
}

#[test]
fn a_pair_is_never_split_over_two_batches() {
    let mut desk = Desk::with([setting(), key(), psk(), finished()]);
    desk.limits.records_max = 2;
    assert_eq!(desk.fetch(""), ["1"], "one record left, two needed");
    desk.limits.records_max = 6;
    assert_eq!(
        desk.fetch(&desk.at(1)),
        ["2.s", "2", "3.s", "3.t", "3.u", "3"]
    );
}

#[test]
fn a_batch_keeps_to_the_bytes_of_the_device() {
    let mut desk = Desk::with((0..20).map(|_| ca()));
    for bytes_max in [250, 400, 700, 3000] {
        desk.limits.cbor_bytes_max = bytes_max;
        desk.limits.records_max = 100;
        desk.limits.report_bytes_max = 100_000;
        let Fetched::Batch { bytes, count, .. } = desk.queue.next_batch("", desk.limits, desk.now)
        else {
            panic!("nothing for {bytes_max} bytes");
        };
        assert!(bytes.len() <= bytes_max && count % 2 == 0);
        let one_more = bytes.len() * (count + 2) / count;
        assert!(
            one_more > bytes_max || count == 40,
            "{bytes_max}: {count} is not the longest run"
        );
    }
}

#[test]
fn a_batch_keeps_to_what_the_device_can_report() {
    let mut desk = Desk::with((0..5).map(|_| csr(false)));
    desk.limits.report_bytes_max = 2048;
    assert_eq!(
        desk.fetch(""),
        ["1.s", "1", "2.s", "2"],
        "three answers of 600 bytes do not fit"
    );
}

#[test]
fn what_does_not_fit_alone_fails_in_words_and_the_rest_is_dropped() {
    type Narrow = fn(&mut FetchLimits);
    let cases: [(Narrow, &str); 4] = [
        (|l| l.cbor_bytes_max = 100, "rxMaxSize"),
        (|l| l.records_max = 1, "`limit`"),
        (|l| l.at_chars_max = 15, "AT command of"),
        (|l| l.report_bytes_max = 300, "txMaxSize"),
    ];
    for (narrow, words) in cases {
        let mut desk = Desk::with([setting(), csr(false), finished()]);
        desk.fetch("");
        desk.settle(&[desk.answer("1", WireResult::ConfigStored)]);
        narrow(&mut desk.limits);
        assert!(desk.fetch(&desk.at(1)).is_empty());
        assert_eq!(desk.failure(2), Failure::DoesNotFit);
        assert!(
            desk.response(2).message.contains(words),
            "{}",
            desk.response(2).message
        );
        assert_eq!(desk.failure(3), Failure::NotExecuted);
    }
}

#[test]
fn what_fits_goes_before_what_will_never_fit() {
    let mut desk = Desk::with([setting(), csr(false)]);
    desk.limits.cbor_bytes_max = 100;
    assert_eq!(desk.fetch(""), ["1"]);
    assert_eq!(desk.status(2), Status::Pending);
}

#[test]
fn a_device_that_takes_no_records_gets_nothing_and_loses_nothing() {
    let mut desk = Desk::with([setting()]);
    desk.limits.records_max = 0;
    assert!(desk.fetch("").is_empty());
    assert_eq!(desk.status(1), Status::Pending);
}

#[test]
fn executed_and_unreported_ends_as_outcome_unknown_after_ten_minutes() {
    let mut desk = Desk::with([key(), finished()]);
    desk.limits.records_max = 2;
    desk.fetch("");
    desk.fetch(&desk.at(1));
    desk.pass(599);
    desk.fetch(&desk.at(1));
    assert_eq!(desk.status(1), Status::InProgress);
    desk.pass(1);
    desk.fetch(&desk.at(1));
    assert_eq!(desk.failure(1), Failure::OutcomeUnknown);
    assert_eq!(
        desk.response(1).message,
        "outcome unknown: executed, report lost"
    );
    assert_eq!(
        desk.status(2),
        Status::InProgress,
        "an unknown outcome drops nothing"
    );
}

#[test]
fn an_outcome_becomes_unknown_without_a_fetch_when_somebody_looks() {
    let mut desk = Desk::with([psk()]);
    desk.fetch("");
    desk.fetch(&desk.at(1));
    desk.pass(600);
    let changes = desk.queue.expire(desk.now);
    desk.queue.apply(&changes);
    assert_eq!(desk.failure(1), Failure::OutcomeUnknown);
    assert!(desk.command(1).request.secrets().is_empty());
    assert!(desk.queue.expire(desk.now).is_empty());
}

#[test]
fn a_report_in_time_wins_over_the_unknown_outcome() {
    let mut desk = Desk::with([key()]);
    desk.fetch("");
    desk.fetch(&desk.at(1));
    desk.pass(300);
    desk.settle(&[desk.text("1", &keygen_answer(KeygenBody::PublicKey, 1))]);
    assert_eq!(desk.status(1), Status::Succeeded);
}

#[test]
fn a_device_that_lost_its_memory_gets_executed_commands_again_and_a_fresh_outcome() {
    let mut desk = Desk::with([key(), setting()]);
    desk.fetch("");
    desk.fetch(&desk.at(2));
    desk.pass(599);
    assert_eq!(desk.fetch(""), ["1.s", "1", "2"]);
    assert_eq!(desk.command(1).covered_at, None);
    desk.pass(10);
    desk.fetch(&desk.at(2));
    assert_eq!(
        desk.status(1),
        Status::InProgress,
        "the ten minutes begin anew"
    );
}

#[test]
fn commands_whose_secret_is_gone_fail_and_say_so() {
    let mut desk = Desk::with([psk(), finished()]);
    desk.queue.commands[0].request.erase_secrets();
    assert!(desk.fetch("").is_empty());
    assert!(
        desk.response(1)
            .message
            .contains("secret cannot be restored")
    );
    assert_eq!(desk.failure(2), Failure::NotExecuted);
}
