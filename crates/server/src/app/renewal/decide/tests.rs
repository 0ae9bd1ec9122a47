use super::*;
use crate::app::renewal::begin::Begun;
use crate::app::renewal::{SWITCH_KEY, due_at, problem_of, words_of};
use proptest::prelude::*;
use sectag_proto::command::{CommandRequest, ConfigPairs};
use sectag_proto::rules::{ClosedLoop, ErrorPolicy, RenewInto, Renewal, RuleCommand, RuleState};
use sectag_proto::service::Response;
use sectag_proto::token::DeviceType;
use sectag_proto::{DeviceId, FirmwareId, RuleId};

const DAY_MS: u64 = 86_400_000;

fn tag(n: u64) -> SecTag {
    SecTag::new(n).unwrap()
}

fn day(n: u64) -> Timestamp {
    Timestamp(n * DAY_MS)
}

fn device() -> Device {
    Device {
        id: DeviceId::from_bytes([1; 16]),
        version: 1,
        candidates: Vec::new(),
        pin: None,
        device_type: DeviceType::NRF9151_LACA,
        firmware: FirmwareId::from_bytes([2; 16]),
        owner: "team".into(),
        tags: vec!["a".into()],
        blocked: false,
        claimed_at: day(0),
        last_seen_at: None,
        finished_at: None,
        next_sequence: 1,
        reserved: false,
    }
}

fn csr(under: u64) -> RuleCommand {
    RuleCommand {
        description: None,
        request: CommandRequest::CertificateSigningRequest {
            sec_tag: tag(under),
            attributes: "CN={{device.id}}".into(),
            key_usage: None,
            issue: Some(ClosedLoop {
                validity_days: 90,
                ..ClosedLoop::default()
            }),
        },
    }
}

fn root(under: u64) -> RuleCommand {
    RuleCommand {
        description: None,
        request: CommandRequest::ServerCertificate {
            sec_tag: tag(under),
            content: "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----".into(),
        },
    }
}

fn rule(into: RenewInto) -> Rule {
    Rule {
        id: RuleId::from_bytes([9; 16]),
        name: "r".into(),
        description: None,
        state: RuleState::Active,
        tags: vec!["a".into()],
        commands: vec![root(1), csr(1)],
        on_error: ErrorPolicy::VendorDefault,
        renewal: Some(Renewal {
            at_percent: 67,
            into,
        }),
        created_at: day(0),
        activated_at: Some(day(0)),
    }
}

fn alternate() -> RenewInto {
    RenewInto::Alternate { sec_tag: tag(2) }
}

fn life(n: u8, under: u64, state: LifeState) -> Life {
    Life {
        spki_sha256: [n; 32],
        device: device().id,
        team: "team".into(),
        serial: format!("{n:02x}"),
        csr: CommandId::from_bytes([n; 16]),
        certificate: Some(CommandId::from_bytes([100 + n; 16])),
        sec_tag: Some(tag(under)),
        rule_id: None,
        not_before: day(0),
        not_after: day(100),
        issued_at: day(0),
        written_at: None,
        used_at: None,
        last_used_at: None,
        state,
        ended_at: None,
        alarm_days: None,
    }
}

fn known(lives: Vec<Life>, renewals: Vec<RenewalRun>) -> DeviceLives {
    DeviceLives { lives, renewals }
}

fn ids() -> impl FnMut() -> CommandId {
    let mut n = 50;
    move || {
        n += 1;
        CommandId::from_bytes([n; 16])
    }
}

fn ended(id: u8, request: CommandRequest, status: Status, words: &str) -> Command {
    Command {
        id: CommandId::from_bytes([id; 16]),
        sequence: 1,
        position: (1, 0),
        rule_id: None,
        description: None,
        request,
        status,
        created_at: day(0),
        updated_at: None,
        requested_at: None,
        responded_at: None,
        covered_at: None,
        response: Some(Response {
            message: words.into(),
            cme_error: None,
            attestation: None,
            failure: None,
            report_digest: String::new(),
            verified: None,
        }),
        on_error: ErrorPolicy::VendorDefault,
        tries: 0,
        parked: false,
    }
}

fn kinds(begun: &Begun) -> Vec<&'static str> {
    let kinds = begun.commands.iter().map(|c| c.request.kind().member());
    kinds.collect()
}

/// Begins what is asked of a device with these lives on that day; `None` when nothing is.
fn begin(rule: &Rule, lives: DeviceLives, on: u64) -> Option<Begun> {
    let (device, rules) = (device(), [rule.clone()]);
    let at = At::new(&device, &rules, lives, true, day(on));
    let asked = at.next_step()?;
    Some(at.begin(&asked, "ROOT\n", None, ids()).unwrap())
}

#[test]
fn a_renewal_begins_at_its_share_of_the_life_and_not_before() {
    let rule = rule(RenewInto::InPlace);
    let lives = || known(vec![life(1, 1, LifeState::Used)], vec![]);
    assert!(begin(&rule, lives(), 66).is_none());
    let begun = begin(&rule, lives(), 67).unwrap();
    assert_eq!(kinds(&begun), ["certificateSigningRequest", "finished"]);
    assert!(begun.run.in_place);
    assert_eq!((begun.run.step, begun.run.attempts), (RenewalStep::Key, 1));
    assert_eq!(begun.run.command, Some(begun.commands[0].id));
}

#[test]
fn another_tag_gets_the_rules_own_root_and_subject_before_anything_is_switched() {
    let begun = begin(
        &rule(alternate()),
        known(vec![life(1, 1, LifeState::Used)], vec![]),
        70,
    )
    .unwrap();
    assert_eq!(
        kinds(&begun),
        ["serverCertificate", "certificateSigningRequest"],
        "without `finished`: there is more to come"
    );
    let CommandRequest::ServerCertificate { sec_tag, content } = &begun.commands[0].request else {
        panic!();
    };
    assert!(*sec_tag == tag(2) && content.contains("QUJD"));
    let CommandRequest::CertificateSigningRequest {
        sec_tag,
        attributes,
        issue,
        ..
    } = &begun.commands[1].request
    else {
        panic!();
    };
    assert_eq!(*sec_tag, tag(2));
    assert_eq!(attributes, &format!("CN={}", device().id));
    assert_eq!(issue.unwrap().validity_days, 90);
    let back = begin(
        &rule(alternate()),
        known(vec![life(1, 2, LifeState::Used)], vec![]),
        70,
    )
    .unwrap();
    assert_eq!(back.run.sec_tag, tag(1), "the next renewal goes back");
}

#[test]
fn a_device_is_told_to_switch_only_after_it_stored_the_certificate() {
    let rule = rule(alternate());
    let old = life(1, 1, LifeState::Used);
    let mut run = begin(&rule, known(vec![old.clone()], vec![]), 70)
        .unwrap()
        .run;
    run.step = RenewalStep::Certificate;
    run.new = Some([2; 32]);
    run.command = Some(CommandId::from_bytes([102; 16]));
    let new = life(2, 2, LifeState::Issued);
    let lives = known(vec![old, new], vec![run]);
    assert!(
        begin(&rule, lives.clone(), 70).is_none(),
        "it is on its way"
    );
    let (device, rules) = (device(), [rule.clone()]);
    let mut at = At::new(&device, &rules, lives, true, day(70));
    let wrote = ended(102, csr(2).request, Status::Succeeded, "OK");
    at.heard(wrote.id, Some(&wrote));
    let asked = at.next_step().unwrap();
    let begun = at.begin(&asked, "ROOT", None, ids()).unwrap();
    assert_eq!(kinds(&begun), ["config", "finished"]);
    let pairs = vec![(SWITCH_KEY.to_owned(), "2".to_owned())];
    assert_eq!(
        begun.commands[0].request,
        CommandRequest::Config(ConfigPairs(pairs))
    );
    at.put(begun.run.clone());
    let told = ended(51, CommandRequest::Finished {}, Status::Succeeded, "");
    at.heard(told.id, Some(&told));
    assert_eq!(at.runs()[0].step, RenewalStep::Connect);
    assert!(at.next_step().is_none(), "a connection is awaited");
    let written = at.changes();
    assert!(matches!(written[0], LifeChange::Written { .. }));
}

#[test]
fn a_failure_is_tried_again_later_with_its_reason() {
    let rule = rule(RenewInto::InPlace);
    let lives = known(vec![life(1, 1, LifeState::Used)], vec![]);
    let run = begin(&rule, lives.clone(), 70).unwrap().run;
    let failed = ended(51, csr(1).request, Status::Failed, "+CME ERROR: 514");
    let (device, rules) = (device(), [rule]);
    let hear = |run: RenewalRun, command: Option<&Command>| {
        let lives = known(lives.lives.clone(), vec![run]);
        let mut at = At::new(&device, &rules, lives, true, day(70));
        at.heard(failed.id, command);
        at.runs()[0].clone()
    };
    let waiting = hear(run.clone(), Some(&failed));
    assert_eq!(waiting.step, RenewalStep::Waiting);
    assert_eq!(waiting.failing_since, Some(day(70)));
    assert_eq!(
        waiting.reason.as_deref(),
        Some("certificateSigningRequest: +CME ERROR: 514")
    );
    assert_eq!(waiting.retry_at, day(70).plus(RETRY_AFTER));
    let deleted = hear(run.clone(), None);
    assert!(deleted.reason.unwrap().contains("deleted"));
    let open = ended(51, csr(1).request, Status::InProgress, "");
    assert_eq!(hear(run, Some(&open)).step, RenewalStep::Key);
    let later = |at: Timestamp| {
        let lives = known(lives.lives.clone(), vec![waiting.clone()]);
        let at = At::new(&device, &rules, lives, true, at);
        at.next_step()
            .map(|asked| at.begin(&asked, "", None, ids()).unwrap())
    };
    assert!(later(day(70)).is_none());
    let again = later(waiting.retry_at).unwrap();
    assert_eq!((again.run.attempts, again.run.step), (2, RenewalStep::Key));
    assert_eq!(again.run.failing_since, Some(day(70)), "until it succeeds");
}

#[test]
fn a_certificate_that_was_not_stored_is_asked_for_anew() {
    let rule = rule(alternate());
    let old = life(1, 1, LifeState::Used);
    let mut run = begin(&rule, known(vec![old.clone()], vec![]), 70)
        .unwrap()
        .run;
    run.step = RenewalStep::Waiting;
    run.new = Some([2; 32]);
    let lives = known(vec![old, life(2, 2, LifeState::Issued)], vec![run]);
    let begun = begin(&rule, lives, 71).unwrap();
    assert_eq!(begun.run.step, RenewalStep::Key);
    assert_eq!(begun.run.new, None);
}

#[test]
fn in_place_a_second_failure_is_no_end() {
    let (device, rules) = (device(), [rule(RenewInto::InPlace)]);
    let old = known(vec![life(1, 1, LifeState::Used)], vec![]);
    let mut run = begin(&rules[0], old, 70).unwrap().run;
    // Its first CSR brought a certificate, which could not be stored.
    run.step = RenewalStep::Waiting;
    run.new = Some([2; 32]);
    let mut lives = known(vec![life(2, 1, LifeState::Issued)], vec![run]);
    for attempts in 2..5 {
        let mut at = At::new(&device, &rules, lives.clone(), true, day(70 + attempts));
        let asked = at.next_step().expect("the device has no certificate");
        let begun = at.begin(&asked, "", None, ids()).unwrap();
        assert_eq!(u64::from(begun.run.attempts), attempts);
        at.put(begun.run);
        let failed = ended(51, csr(1).request, Status::Failed, "+CME ERROR: 514");
        at.heard(failed.id, Some(&failed));
        lives.renewals = at.runs();
    }
}

#[test]
fn a_clock_that_was_ahead_does_not_stop_a_renewal() {
    let rule = rule(RenewInto::InPlace);
    let lives = known(vec![life(1, 1, LifeState::Used)], vec![]);
    let mut run = begin(&rule, lives.clone(), 70).unwrap().run;
    run.step = RenewalStep::Waiting;
    run.retry_at = day(4000);
    let lives = known(lives.lives, vec![run]);
    assert!(begin(&rule, lives, 70).is_some());
}

#[test]
fn a_certificate_that_a_clock_ahead_made_is_renewed_when_nothing_else_works() {
    let rule = rule(RenewInto::InPlace);
    let ahead = |by: u64| {
        let mut life = life(1, 1, LifeState::Written);
        (life.not_before, life.not_after) = (day(70 + by), day(170 + by));
        known(vec![life], vec![])
    };
    assert!(
        begin(&rule, ahead(1), 70).is_none(),
        "two clocks that differ a little"
    );
    assert!(begin(&rule, ahead(365), 70).is_some());
    // As it would be found: its connection is awaited.
    let mut lives = known(vec![life(7, 1, LifeState::Used)], vec![]);
    let mut run = begin(&rule, lives.clone(), 70).unwrap().run;
    (run.step, run.new) = (RenewalStep::Connect, Some([1; 32]));
    lives = known(ahead(365).lives, vec![run]);
    let (device, rules) = (device(), [rule]);
    let mut at = At::new(&device, &rules, lives, true, day(70));
    at.give_up_waiting();
    assert!(at.next_step().is_some());
}

#[test]
fn a_device_that_another_rule_takes_over_is_renewed_by_that() {
    let (device, theirs) = (device(), rule(alternate()));
    let mut ours = rule(RenewInto::InPlace);
    ours.id = RuleId::from_bytes([8; 16]);
    let old = known(vec![life(1, 1, LifeState::Used)], vec![]);
    let mut run = begin(&theirs, old.clone(), 70).unwrap().run;
    let next = |run: &RenewalRun, rules: &[Rule]| {
        let lives = known(old.lives.clone(), vec![run.clone()]);
        let mut at = At::new(&device, rules, lives, true, day(71));
        at.drop_unasked();
        let step = at.runs()[0].step;
        (step, at.next_step().map(|asked| asked.rule.id))
    };
    // Its tag was taken from the device while a repetition waits.
    run.step = RenewalStep::Waiting;
    let taken = [ours.clone()];
    assert_eq!(next(&run, &taken), (RenewalStep::Abandoned, Some(ours.id)));
    let still = [theirs.clone(), ours];
    assert_eq!(next(&run, &still), (RenewalStep::Waiting, Some(theirs.id)));
    run.step = RenewalStep::Key;
    assert_eq!(
        next(&run, &taken),
        (RenewalStep::Key, None),
        "the device is at it"
    );
}

#[test]
fn two_rules_that_share_another_tag_take_turns() {
    let device = device();
    let mut rules = [rule(alternate()), rule(alternate())];
    rules[1].id = RuleId::from_bytes([8; 16]);
    rules[1].commands = vec![csr(3)];
    let one = life(1, 1, LifeState::Used);
    let mut other = life(3, 3, LifeState::Used);
    other.rule_id = Some(rules[1].id.to_string());
    let run = RenewalRun {
        step: RenewalStep::Connect,
        new: Some([2; 32]),
        ..begin(&rules[0], known(vec![one.clone()], vec![]), 70)
            .unwrap()
            .run
    };
    let both = vec![one, other.clone(), life(2, 2, LifeState::Written)];
    let next = |run: RenewalRun, lives: Vec<Life>| {
        At::new(&device, &rules, known(lives, vec![run]), true, day(71)).next_step()
    };
    let asked = next(run.clone(), both);
    assert!(asked.is_none(), "what the first is about to use stays");
    // The first is back under its own tag, and the shared one is free.
    let done = RenewalRun {
        step: RenewalStep::Done,
        ..run
    };
    let asked = next(done, vec![other.clone()]).unwrap();
    assert_eq!(asked.life.spki_sha256, other.spki_sha256);
}

#[test]
fn nothing_is_begun_twice_nor_beside_other_commands() {
    let rule = rule(alternate());
    let two = || vec![life(1, 1, LifeState::Used), life(3, 1, LifeState::Used)];
    let run = begin(&rule, known(two(), vec![]), 70).unwrap().run;
    assert!(begin(&rule, known(two(), vec![run]), 70).is_none());
    let (device, rules) = (device(), [rule]);
    let busy = At::new(&device, &rules, known(two(), vec![]), false, day(70));
    assert!(busy.next_step().is_none());
}

#[test]
fn what_a_device_works_with_is_never_overwritten() {
    let used_there = || {
        known(
            vec![life(1, 1, LifeState::Used), life(2, 2, LifeState::Used)],
            vec![],
        )
    };
    let mut rule = rule(alternate());
    assert!(begin(&rule, used_there(), 70).is_none());
    let mut over = used_there();
    over.lives[1].not_after = day(69);
    assert!(
        begin(&rule, over, 70).is_some(),
        "an ended one is in nobody's way"
    );
    rule.tags = vec!["b".into()];
    rule.commands = vec![csr(7)];
    rule.renewal = Some(Renewal::default());
    assert!(begin(&rule, used_there(), 70).is_none(), "of other tags");
}

#[test]
fn a_device_that_comes_back_after_the_end_is_renewed_at_once() {
    let begun = begin(
        &rule(RenewInto::InPlace),
        known(vec![life(1, 1, LifeState::Expired)], vec![]),
        200,
    );
    assert!(begun.is_some());
}

#[test]
fn a_device_that_nobody_sees_connect_is_renewed_all_the_same() {
    let rules = [rule(RenewInto::InPlace), rule(alternate())];
    let device = device();
    let waiting = |in_place| RenewalRun {
        step: RenewalStep::Connect,
        new: Some([2; 32]),
        in_place,
        ..begin(
            &rules[0],
            known(vec![life(1, 1, LifeState::Used)], vec![]),
            70,
        )
        .unwrap()
        .run
    };
    let next = |rules: &[Rule], in_place, lives: Vec<Life>| {
        let lives = known(lives, vec![waiting(in_place)]);
        let mut at = At::new(&device, rules, lives, true, day(90));
        at.give_up_waiting();
        let asked = at.next_step()?;
        let begun = at.begin(&asked, "ROOT", None, ids()).unwrap();
        at.put(begun.run);
        Some((at.runs()[0].step, at.runs()[1].old))
    };
    let mut new = life(2, 1, LifeState::Written);
    assert_eq!(
        next(&rules[..1], true, vec![new.clone()]),
        Some((RenewalStep::Abandoned, [2; 32])),
        "in place the old one is gone"
    );
    new.sec_tag = Some(tag(2));
    let mut old = life(1, 1, LifeState::Used);
    let both = |old: &Life| vec![old.clone(), new.clone()];
    assert_eq!(
        next(&rules[1..], false, both(&old)),
        None,
        "the old one works"
    );
    old.not_after = day(80);
    let begun = next(&rules[1..], false, both(&old));
    assert_eq!(begun.unwrap().0, RenewalStep::Abandoned);
}

#[test]
fn a_rule_that_cannot_be_applied_is_a_failure_with_its_reason() {
    let mut rule = rule(RenewInto::InPlace);
    let mut wants_a_tag = csr(1);
    if let CommandRequest::CertificateSigningRequest { attributes, .. } = &mut wants_a_tag.request {
        *attributes = "L={{tag.location}}".into();
    }
    rule.commands = vec![wants_a_tag];
    let (device, rules) = (device(), [rule]);
    let lives = known(vec![life(1, 1, LifeState::Used)], vec![]);
    let mut at = At::new(&device, &rules, lives, true, day(70));
    let asked = at.next_step().unwrap();
    let reason = at.begin(&asked, "", None, ids()).unwrap_err();
    at.failed(&asked, &reason);
    let run = &at.runs()[0];
    assert!(run.reason.as_ref().unwrap().contains("location"), "{run:?}");
    assert_eq!(run.step, RenewalStep::Waiting);
}

#[test]
fn rules_that_cannot_alternate_are_told_so() {
    let renewal = |into| Renewal {
        at_percent: 67,
        into,
    };
    assert_eq!(problem_of(&[csr(1)], &renewal(alternate())), None);
    assert_eq!(
        problem_of(&[csr(1), csr(3)], &renewal(RenewInto::InPlace)),
        None
    );
    let several = problem_of(&[csr(1), csr(3)], &renewal(alternate())).unwrap();
    assert!(several.contains("several tags"));
    let own = problem_of(&[csr(2)], &renewal(alternate())).unwrap();
    assert!(own.contains("sec tag 2"));
    assert!(words_of(&renewal(alternate()))[1].contains(SWITCH_KEY));
    assert!(words_of(&renewal(RenewInto::InPlace))[1].contains("cannot connect"));
}

proptest! {
    #[test]
    fn a_due_date_lies_within_the_life(from in 0_u64..1 << 50, length in 0_u64..1 << 50, percent in 0_u8..=255) {
        let life = Life {
            not_before: Timestamp(from),
            not_after: Timestamp(from + length),
            ..life(1, 1, LifeState::Used)
        };
        let due = due_at(&life, percent);
        prop_assert!(life.not_before <= due && due <= life.not_after);
    }

    #[test]
    fn patience_grows_and_has_its_bounds(attempts in 0_u32..=u32::MAX, left in 0_u64..1 << 50) {
        let wait = retry_after(attempts, left);
        prop_assert!((RETRY_AFTER..=RETRY_AFTER_MAX).contains(&wait));
        prop_assert!(wait <= retry_after(attempts.saturating_add(1), left));
    }
}
