//! Error policies where the closed loop, buffers and operators meet. (Plain failures are in `tests/error_policies.rs`.)

use super::*;
use crate::rules::ErrorPolicy;

fn desk(policy: ErrorPolicy, requests: impl IntoIterator<Item = CommandRequest>) -> Desk {
    let mut desk = Desk::with([]);
    let new = (1..).zip(requests).map(|(number, request)| NewCommand {
        on_error: policy,
        ..NewCommand::by_hand(id(number), request)
    });
    let changes = desk.queue.add(new.collect(), OPEN_COMMANDS_MAX, desk.now);
    desk.queue.apply(&changes.unwrap());
    desk
}

/// CSR, CA and `finished`; CSR and CA reported well, and the service refuses the CSR.
fn refused(policy: ErrorPolicy) -> Desk {
    let mut desk = desk(policy, [csr(true), ca(), finished()]);
    assert_eq!(desk.fetch(""), ["1.s", "1", "2.s", "2"]);
    let report = [
        desk.text("1", &keygen_answer(KeygenBody::Csr, 1)),
        desk.done("2"),
    ];
    let mut changes = desk.queue.settle(&report, desk.now);
    desk.queue
        .refuse_certificate(&mut changes, id(1), "its subject is CN=other", desk.now);
    desk.queue.apply(&changes);
    desk
}

#[test]
fn a_refused_csr_is_asked_for_again_under_another_number() {
    let mut desk = refused(ErrorPolicy::Retry { times: 1 });
    assert_eq!(
        desk.statuses(),
        [Status::Pending, Status::Succeeded, Status::Pending]
    );
    let tried = desk.command(1);
    assert_eq!(
        (tried.sequence, tried.position, tried.tries),
        (4, (1, 0), 1)
    );
    assert_eq!(
        desk.response(1).message,
        "its subject is CN=other",
        "why it is repeated"
    );
    let after = desk.at(2);
    assert_eq!(desk.fetch(&after), ["1.s", "1"], "finished waits for it");
}

#[test]
fn a_refused_csr_is_kept_apart_or_parked() {
    let mut kept = refused(ErrorPolicy::KeepRest);
    assert_eq!(kept.status(1), Status::Failed);
    let after = kept.at(2);
    assert_eq!(kept.fetch(&after), ["3"]);
    let mut parked = refused(ErrorPolicy::Park);
    assert!(parked.command(1).parked);
    let after = parked.at(2);
    assert!(parked.fetch(&after).is_empty());
    parked.pass(86_400);
    assert!(parked.fetch(&after).is_empty(), "it does not expire");
    let changes = parked.queue.resume(id(1), parked.now).unwrap();
    parked.queue.apply(&changes);
    assert_eq!(parked.fetch(&after), ["1.s", "1"]);
}

#[test]
fn the_certificate_has_the_policy_of_its_csr_and_keeps_its_place_when_it_is_repeated() {
    let mut desk = desk(
        ErrorPolicy::Retry { times: 2 },
        [csr(true), ca(), finished()],
    );
    desk.fetch("");
    let report = [
        desk.text("1", &keygen_answer(KeygenBody::Csr, 1)),
        desk.done("2"),
    ];
    let mut changes = desk.queue.settle(&report, desk.now);
    desk.queue
        .follow_with_certificate(&mut changes, id(1), id(9), PEM.into(), desk.now)
        .unwrap();
    desk.queue.apply(&changes);
    let after = desk.at(2);
    assert_eq!(desk.fetch(&after), ["9.s", "9", "3"]);
    let (failure, late) = (desk.failed("9", 514), desk.at(9));
    desk.settle(core::slice::from_ref(&failure));
    assert_eq!(desk.status(9), Status::Pending);
    assert_eq!(
        desk.status(3),
        Status::Pending,
        "delivered behind it, and not executed"
    );
    assert!(desk.settle(&[failure]).is_empty(), "the same report again");
    assert_eq!(desk.fetch(&late), ["9.s", "9", "3"]);
    let order: Vec<CommandId> = desk.queue.commands().iter().map(|c| c.id).collect();
    assert_eq!(order, [id(1), id(9), id(2), id(3)]);
}

#[test]
fn what_fits_no_buffer_is_not_repeated_and_holds_nobody_up_who_keeps_the_rest() {
    let large = || {
        CommandRequest::Config(crate::command::ConfigPairs(vec![(
            "a".into(),
            "x".repeat(900),
        )]))
    };
    let mut retried = desk(ErrorPolicy::Retry { times: 5 }, [large(), setting()]);
    assert!(retried.fetch("").is_empty());
    assert_eq!(retried.failure(1), Failure::DoesNotFit);
    assert_eq!(retried.failure(2), Failure::NotExecuted);
    let mut kept = desk(ErrorPolicy::KeepRest, [large(), large(), setting()]);
    assert_eq!(kept.fetch(""), ["3"], "in the same fetch");
    assert_eq!(kept.failure(2), Failure::DoesNotFit);
    let mut parked = desk(ErrorPolicy::Park, [large(), setting()]);
    assert!(parked.fetch("").is_empty());
    assert!(parked.command(1).parked);
    let small = parked
        .queue
        .change(id(1), None, Some(setting()), parked.now);
    parked.queue.apply(&small.unwrap());
    let resumed = parked.queue.resume(id(1), parked.now).unwrap();
    parked.queue.apply(&resumed);
    assert_eq!(parked.fetch(""), ["1", "2"]);
}

#[test]
fn a_fetched_command_is_not_changed_and_a_waiting_one_gets_a_new_number() {
    let mut desk = Desk::with([setting(), setting()]);
    let changed = desk
        .queue
        .change(id(2), Some("words".into()), Some(ca()), desk.now);
    desk.queue.apply(&changed.unwrap());
    let command = desk.command(2);
    assert_eq!((command.sequence, command.position), (3, (2, 0)));
    assert_eq!(command.description.as_deref(), Some("words"));
    desk.fetch("");
    let late = desk
        .queue
        .change(id(1), Some("x".into()), None, desk.now)
        .unwrap_err();
    assert!(matches!(late, OperatorError::NotPending { .. }), "{late}");
    assert!(matches!(
        desk.queue.resume(id(1), desk.now),
        Err(OperatorError::NotParked { .. })
    ));
    let bad = CommandRequest::ServerCertificate {
        sec_tag: tag(),
        content: "x".into(),
    };
    let waiting = Desk::with([setting()]);
    let refused = waiting.queue.change(id(1), None, Some(bad), waiting.now);
    assert!(matches!(refused, Err(OperatorError::Refused(_))));
}

#[test]
fn another_report_for_a_parked_command_is_an_alarm_and_changes_nothing() {
    let mut desk = desk(ErrorPolicy::Park, [key(), setting()]);
    desk.fetch("");
    let failure = desk.failed("1", 514);
    desk.settle(core::slice::from_ref(&failure));
    assert!(desk.command(1).parked);
    let again = desk.settle(&[failure]);
    assert!(again.is_empty() && again.alarms.is_empty());
    let other = desk.failed("1", 515);
    let changes = desk.settle(&[other]);
    assert!(
        matches!(changes.alarms[..], [Alarm::ReportDiffers { command, .. }] if command == id(1))
    );
    assert!(changes.is_empty());
}
