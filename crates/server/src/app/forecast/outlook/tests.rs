use super::*;
use sectag_proto::rules::{ClosedLoop, ErrorPolicy, RenewInto, Renewal, RuleCommand, RuleState};
use sectag_proto::{CommandId, CommandRequest, DeviceId, RuleId, SecTag};
use sectag_store::{Life, LifeState, RenewalRun};

fn day(n: u64) -> Timestamp {
    Timestamp(n * 86_400_000)
}

fn tag() -> SecTag {
    SecTag::new(1).unwrap()
}

/// From day 0 to day 90; renewal is due on day 60.
fn ending() -> Ending {
    Ending {
        life: Life {
            spki_sha256: [1; 32],
            device: DeviceId::from_bytes([1; 16]),
            team: "t".into(),
            serial: "01".into(),
            csr: CommandId::from_bytes([1; 16]),
            certificate: None,
            sec_tag: Some(tag()),
            rule_id: None,
            not_before: day(0),
            not_after: day(90),
            issued_at: day(0),
            written_at: None,
            used_at: None,
            last_used_at: None,
            state: LifeState::Used,
            ended_at: None,
            alarm_days: None,
        },
        renewal: None,
        tags: vec!["a".into()],
        blocked: false,
        last_seen_at: Some(day(49)),
    }
}

fn rules() -> Vec<Rule> {
    let request = CommandRequest::CertificateSigningRequest {
        sec_tag: tag(),
        attributes: String::new(),
        key_usage: None,
        issue: Some(ClosedLoop::default()),
    };
    vec![Rule {
        id: RuleId::from_bytes([9; 16]),
        name: "r".into(),
        description: None,
        state: RuleState::Active,
        tags: vec!["a".into()],
        commands: vec![RuleCommand {
            description: None,
            request,
        }],
        on_error: ErrorPolicy::VendorDefault,
        renewal: Some(Renewal {
            at_percent: 66,
            into: RenewInto::InPlace,
        }),
        created_at: day(0),
        activated_at: Some(day(0)),
    }]
}

fn run(step: RenewalStep, at: u64) -> RenewalRun {
    RenewalRun {
        old: [1; 32],
        device: DeviceId::from_bytes([1; 16]),
        team: "t".into(),
        rule_id: rules()[0].id.to_string(),
        sec_tag: tag(),
        in_place: false,
        started_at: day(at),
        step,
        step_at: day(at),
        command: None,
        new: None,
        attempts: 1,
        retry_at: day(at),
        failing_since: None,
        reason: None,
        alarmed_at: None,
        ended_at: None,
    }
}

fn word(ending: &Ending, on: u64) -> &'static str {
    outlook(ending, &rules(), day(on)).0.as_str()
}

#[test]
fn a_device_that_comes_is_renewed_and_one_that_does_not_is_told() {
    assert_eq!(word(&ending(), 50), "renews");
    let (_, rule) = outlook(&ending(), &rules(), day(50));
    assert_eq!(rule, Some(rules()[0].id.to_string()));
    assert_eq!(
        word(&ending(), 70),
        "not-seen",
        "silent for most of its window"
    );
    let never = Ending {
        last_seen_at: None,
        ..ending()
    };
    assert_eq!(word(&never, 5), "renews");
    assert_eq!(word(&never, 30), "not-seen");
    let came = Ending {
        last_seen_at: Some(day(61)),
        ..ending()
    };
    assert_eq!(word(&came, 62), "renews", "the next fetch");
    let comes = Ending {
        last_seen_at: Some(day(69)),
        ..ending()
    };
    assert_eq!(word(&comes, 70), "overdue", "it came, and nothing began");
}

#[test]
fn what_nobody_renews_is_said_first() {
    let untagged = Ending {
        tags: Vec::new(),
        ..ending()
    };
    assert_eq!(word(&untagged, 50), "no-rule");
    let blocked = Ending {
        blocked: true,
        ..ending()
    };
    assert_eq!(word(&blocked, 50), "blocked");
    assert_eq!(word(&ending(), 90), "expired");
}

#[test]
fn a_renewal_is_well_until_it_fails_or_nobody_connects() {
    let with = |run: RenewalRun| Ending {
        renewal: Some(run),
        last_seen_at: Some(day(70)),
        ..ending()
    };
    assert_eq!(word(&with(run(RenewalStep::Key, 70)), 71), "renewing");
    assert_eq!(word(&with(run(RenewalStep::Key, 70)), 89), "not-seen");
    let mut failing = run(RenewalStep::Waiting, 70);
    failing.failing_since = Some(day(70));
    failing.reason = Some("CME".into());
    assert_eq!(word(&with(failing.clone()), 71), "failing");
    let words = outlook(&with(failing), &rules(), day(71)).0;
    let words = words.words(|at| at.as_secs().to_string());
    assert_eq!(words, "renewals failing since 6048000: CME");
    assert_eq!(word(&with(run(RenewalStep::Connect, 70)), 76), "renewing");
    assert_eq!(
        word(&with(run(RenewalStep::Connect, 70)), 77),
        "not-connecting"
    );
    assert_eq!(
        word(&with(run(RenewalStep::Connect, 88)), 89),
        "not-connecting",
        "half of what is left, when that is less"
    );
}

#[test]
fn a_short_life_alarms_in_its_last_third_only() {
    assert_eq!(
        alarming_from(&ending(), &rules()),
        day(90).min(Timestamp(5_132_160_000))
    );
    assert_eq!(days_left(day(90), day(89)), 1);
    assert_eq!(days_left(day(90), Timestamp(day(89).0 + 1)), 1);
    assert_eq!(days_left(day(90), day(90)), 0);
    assert_eq!(days_left(day(90), day(95)), 0);
}
