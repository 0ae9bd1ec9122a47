//! Trust that chains do not say: what ends with a claim, what is registered, and uploads that are worked off.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use sectag_store::{
    AddTeamError, ApiKey, BULK_OPEN_MAX, Bulk, BulkKind, BulkStatus, ClaimOutcome, DeleteTeamError,
    ForeignEndingQuery, Life, LifeChange, LifeState, NewClaim, NewRegistration,
    REGISTERED_CERTIFICATES_MAX, RegisteredCertificate, Role, Store, StoreError, Subject,
    TAKEN_BACK_MAX, Team, View,
};

const TEAM: &str = "ada";

fn life(device: u32, spki: u8, state: LifeState) -> Life {
    Life {
        spki_sha256: [spki; 32],
        device: device_id(device),
        team: TEAM.into(),
        serial: format!("{spki:02x}{spki:02x}"),
        csr: command_id(1),
        certificate: None,
        sec_tag: None,
        rule_id: None,
        not_before: at(0),
        not_after: at(1_000_000),
        issued_at: at(500),
        written_at: None,
        used_at: None,
        last_used_at: None,
        state,
        ended_at: None,
        alarm_days: None,
    }
}

/// A claimed device with one certificate of ours per key.
async fn with_certificates(store: &dyn Store, n: u32, keys: &[u8]) {
    let mut version = claimed(store, n).await.version;
    for (at, spki) in keys.iter().enumerate() {
        let mut change = issuing(issued(n, u32::try_from(at).unwrap(), *spki));
        let state = match at {
            0 => LifeState::Superseded,
            _ => LifeState::Used,
        };
        change
            .lives
            .push(LifeChange::Born(Box::new(life(n, *spki, state))));
        let committed = store.commit(device_id(n), version, change).await.unwrap();
        version = committed.version;
    }
}

fn registration(subject: Subject, n: u8) -> NewRegistration {
    NewRegistration {
        subject,
        sub_type: "tracker".into(),
        tags: vec!["a".into()],
        firmware_types: Vec::new(),
        spki_sha256: [n; 32],
        der_sha256: [n + 100; 32],
        certificate: RegisteredCertificate {
            serial: format!("0a{n:02x}"),
            issuer: "CN=Theirs".into(),
            der: vec![0x30, n],
            registered_at: at(0),
            ends_at: at(1_000_000),
        },
        needs_claim: false,
    }
}

fn upload(id: &str, total: u64) -> Bulk {
    Bulk {
        id: id.into(),
        kind: BulkKind::Register,
        team: TEAM.into(),
        by: "ada's key".into(),
        role: Role::Editor,
        scope: vec!["a".into()],
        status: BulkStatus::Pending,
        total,
        done: 0,
        failed: 0,
        created_at: at(1),
        finished_at: None,
        body: b"rows".to_vec(),
        errors: Vec::new(),
        secret: "s".into(),
    }
}

/// Registers these in one upload; its errors.
async fn register(store: &dyn Store, id: &str, rows: Vec<NewRegistration>) -> Vec<String> {
    let total = rows.len() as u64;
    assert!(store.add_bulk(upload(id, total)).await.unwrap());
    let rows = rows.into_iter().map(|row| Ok(Some(row))).collect();
    store.step_bulk(id, 0, rows, at(2)).await.unwrap();
    store.bulk(id).await.unwrap().unwrap().errors
}

fn team(id: &str, prefix: Option<&str>) -> Team {
    Team {
        id: id.into(),
        name: id.into(),
        topic_prefix: prefix.map(Into::into),
        created_at: at(0),
    }
}

#[tokio::test]
async fn a_team_that_is_gone_gets_nothing_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let store = store.as_ref();
    store.add_team(team(TEAM, None), "ada").await.unwrap();
    store.add_team(team("home", None), "ada").await.unwrap();
    let gateway = Subject::Named("gateway".into());
    let errors = register(store, "01A", vec![registration(gateway.clone(), 1)]).await;
    assert_eq!(errors, Vec::<String>::new());
    let kept = store.delete_team(TEAM, "ada", at(3)).await.unwrap_err();
    assert_eq!(
        kept,
        DeleteTeamError::InUse {
            devices: 0,
            registered: 1
        }
    );
    let gone = store.unregister(gateway, TEAM, "ada", at(3)).await;
    assert!(gone.unwrap());
    store.delete_team(TEAM, "ada", at(4)).await.unwrap();
    // Who asked a moment before.
    let claimed = store.claim(claim_of(1, &[0])).await.unwrap();
    assert!(
        matches!(claimed, ClaimOutcome::OwnedByOther(_)),
        "{claimed:?}"
    );
    assert_eq!(store.device(device_id(1)).await.unwrap(), None);
    let late = registration(Subject::Named("late".into()), 2);
    let errors = register(store, "01B", vec![late]).await;
    assert!(errors[0].contains("cannot be registered"), "{errors:?}");
}

#[tokio::test]
async fn the_prefix_of_a_team_and_the_topics_of_a_registered_device_stay_apart() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let store = store.as_ref();
    store.add_team(team(TEAM, None), "ada").await.unwrap();
    let north = store.add_team(team("north", Some("north")), "ada").await;
    north.unwrap();
    let rows = vec![
        registration(Subject::Named("north".into()), 1),
        registration(Subject::Named("south".into()), 2),
    ];
    let errors = register(store, "01A", rows).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("[0]: this id"), "{errors:?}");
    let south = store.add_team(team("s", Some("south")), "ada").await;
    assert!(matches!(south, Err(AddTeamError::PrefixTaken { .. })));
}

#[tokio::test]
async fn the_end_of_a_claim_takes_back_all_that_was_under_it_for_good() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    with_certificates(store.as_ref(), 1, &[1, 2]).await;
    with_certificates(store.as_ref(), 2, &[3]).await;
    let subject = Subject::from(device_id(1));
    let errors = register(
        store.as_ref(),
        "01A",
        vec![registration(subject.clone(), 7)],
    )
    .await;
    assert_eq!(errors, Vec::<String>::new());
    let before = store.trust_of(subject.clone()).await.unwrap();
    assert_eq!((before.revoked.len(), before.pins.len()), (0, 1));

    assert!(unclaim(store.as_ref(), device_id(1), "ada", at(10)).await);
    claimed(store.as_ref(), 1).await;
    drop(store);
    // What a start reads is the same.
    let store = shared(home.path());
    let trust = store.trust_of(subject.clone()).await.unwrap();
    let mut marks = trust.revoked.clone();
    marks.sort_unstable();
    assert_eq!(marks, [[1; 32], [2; 32], [107; 32]]);
    assert!(trust.pins.is_empty() && !trust.blocked);
    let all = store.revoked(0, at(20), 10).await.unwrap();
    assert_eq!(all.len(), 3, "the other device keeps its certificate");
    assert_eq!(
        store.revoked(all[0].number, at(20), 1).await.unwrap(),
        all[1..2]
    );
    assert!(
        store
            .revoked(0, at(1_000_001), 10)
            .await
            .unwrap()
            .is_empty(),
        "what has ended by its dates opens nothing anyway"
    );
    let listed = store.revoked_of_team(TEAM).await.unwrap();
    let serials: Vec<_> = listed.iter().map(|revoked| &revoked.serial[..]).collect();
    assert_eq!(
        serials,
        ["0101", "0202"],
        "lists hold what this home's CAs signed"
    );
    assert!(
        store
            .registered(subject.clone(), TEAM)
            .await
            .unwrap()
            .is_none()
    );
    let again = register(store.as_ref(), "01B", vec![registration(subject, 7)]).await;
    assert!(again[0].contains("was revoked"), "{again:?}");
}

#[tokio::test]
async fn blocked_devices_are_found_without_reading_the_others() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    for n in 1..=4 {
        claimed(store.as_ref(), n).await;
    }
    for n in [2, 4] {
        block(store.as_ref(), device_id(n), true, at(5)).await;
    }
    let page = store.blocked_devices(None, 1).await.unwrap();
    assert_eq!(page, [device_id(2)]);
    let page = store.blocked_devices(Some(device_id(2)), 9).await.unwrap();
    assert_eq!(page, [device_id(4)]);
    block(store.as_ref(), device_id(4), false, at(6)).await;
    assert!(!store.trust_of(device_id(4).into()).await.unwrap().blocked);
    assert_eq!(store.blocked_devices(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_certificate_is_taken_back_and_the_others_stay() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    with_certificates(store.as_ref(), 1, &[1, 2]).await;
    let device = device_id(1);
    register(
        store.as_ref(),
        "01A",
        vec![
            registration(device.into(), 7),
            registration(device.into(), 8),
        ],
    )
    .await;
    let revoke = async |serial: &str, team: &str| {
        let at = at(9);
        let done = store.revoke_certificate(device, team, serial, "ada", at);
        done.await.unwrap()
    };
    assert_eq!(revoke("ffff", TEAM).await, None);
    assert_eq!(revoke("0101", "bob").await, None, "another team's");
    // The superseded one is valid by its dates.
    assert_eq!(revoke("0101", TEAM).await, Some(true));
    assert_eq!(revoke("0101", TEAM).await, Some(false));
    assert_eq!(revoke("0a07", TEAM).await, Some(true));
    let trust = store.trust_of(device.into()).await.unwrap();
    let mut marks = trust.revoked.clone();
    marks.sort_unstable();
    assert_eq!(marks, [[1; 32], [107; 32]]);
    assert_eq!(trust.pins.len(), 1);
    assert_eq!(store.pins(None, at(9), 9).await.unwrap(), trust.pins);
    assert!(store.pins(None, at(2_000_000), 9).await.unwrap().is_empty());
    let told = store.audit(Some(device), None, 50).await.unwrap().items;
    let revoked = told
        .iter()
        .filter(|record| record.event.action == "certificate-revoked");
    assert_eq!(revoked.count(), 2);
}

/// Registers these for another team than [`TEAM`]; its errors.
async fn register_of(
    store: &dyn Store,
    team: &str,
    id: &str,
    rows: Vec<NewRegistration>,
) -> Vec<String> {
    let mut theirs = upload(id, rows.len() as u64);
    theirs.team = team.into();
    assert!(store.add_bulk(theirs).await.unwrap());
    let rows = rows.into_iter().map(|row| Ok(Some(row))).collect();
    store.step_bulk(id, 0, rows, at(3)).await.unwrap();
    store.bulk(id).await.unwrap().unwrap().errors
}

#[tokio::test]
async fn a_key_belongs_to_one_team_and_an_id_to_each() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let named = |id: &str| Subject::Named(id.to_owned());
    let unclaimed = NewRegistration {
        needs_claim: true,
        ..registration(device_id(9).into(), 2)
    };
    let errors = register(
        store.as_ref(),
        "01A",
        vec![
            registration(named("nrf-1"), 1),
            unclaimed,
            registration(named("nrf-2"), 1),
        ],
    )
    .await;
    assert!(errors[0].starts_with("[1]: this id cannot"), "{errors:?}");
    assert!(errors[1].starts_with("[2]: this certificate"), "{errors:?}");
    // Another team does not see it, has the same id beside it, and takes no certificate.
    let of = async |team: &str| store.registered(named("nrf-1"), team).await.unwrap();
    assert!(of("bob").await.is_none());
    let rows = vec![
        registration(named("nrf-1"), 5),
        registration(named("nrf-1"), 1),
    ];
    let errors = register_of(store.as_ref(), "bob", "01B", rows).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("[1]: this certificate"), "{errors:?}");
    assert_eq!(of("bob").await.unwrap().certificates[0].serial, "0a05");
    assert_eq!(of(TEAM).await.unwrap().certificates[0].serial, "0a01");
    let gone = store.unregister(named("nrf-1"), "bob", "bob", at(4)).await;
    assert!(gone.unwrap() && of("bob").await.is_none());
    let trust = store.trust_of(named("nrf-1")).await.unwrap();
    assert_eq!((trust.revoked, trust.pins.len()), (vec![[105; 32]], 1));
    // The same again changes what it says beside the certificate; another certificate comes beside it.
    let mut again = registration(named("nrf-1"), 1);
    again.tags = vec!["b".into()];
    let more = (11..11 + u8::try_from(REGISTERED_CERTIFICATES_MAX).unwrap())
        .map(|n| registration(named("nrf-1"), n));
    let errors = register(
        store.as_ref(),
        "01C",
        [again].into_iter().chain(more).collect(),
    )
    .await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("8 registered certificates"),
        "{errors:?}"
    );
    let found = store.registered(named("nrf-1"), TEAM).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.certificates.len(), REGISTERED_CERTIFICATES_MAX);
    assert_eq!(found.sub_type, "tracker");
    assert!(
        store
            .name_registered(named("nrf-1"), TEAM, "Tor", "ada", at(4))
            .await
            .unwrap()
    );
    assert!(
        store
            .unregister(named("nrf-1"), TEAM, "ada", at(5))
            .await
            .unwrap()
    );
    let trust = store.trust_of(named("nrf-1")).await.unwrap();
    assert_eq!((trust.revoked.len(), trust.pins.len()), (9, 0));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_and_no_row_is_done_twice() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    assert!(store.add_bulk(upload("01A", 3)).await.unwrap());
    assert!(store.add_bulk(upload("01B", 1)).await.unwrap());
    let next = store.next_bulk("").await.unwrap().unwrap();
    assert_eq!(next, (TEAM.to_owned(), "01A".to_owned()));
    let open = store.bulk_with_body("01A").await.unwrap().unwrap();
    assert_eq!(open.body, b"rows");
    let row = |n| Ok(Some(registration(Subject::Named(format!("d{n}")), n)));
    let stepped = store
        .step_bulk("01A", 0, vec![row(1), Err("nonsense".into())], at(2))
        .await
        .unwrap();
    assert_eq!(stepped.status, BulkStatus::InProgress);
    assert_eq!(stepped.changed, [Subject::Named("d1".into())]);
    // Somebody who did not hear of it asks again.
    let again = store
        .step_bulk("01A", 0, vec![row(2)], at(2))
        .await
        .unwrap();
    assert!(again.changed.is_empty());
    drop(store);
    let store = shared(home.path());
    let open = store.bulk_with_body("01A").await.unwrap().unwrap();
    assert_eq!((open.done, open.failed), (2, 1));
    let stepped = store
        .step_bulk("01A", 2, vec![row(3)], at(3))
        .await
        .unwrap();
    assert_eq!(stepped.status, BulkStatus::Failed);
    let done = store.bulk("01A").await.unwrap().unwrap();
    assert_eq!(done.errors, ["[1]: nonsense"]);
    assert_eq!(done.finished_at, Some(at(3)));
    assert_eq!((done.role, done.scope.len()), (Role::Editor, 1));
    let next = store.next_bulk("").await.unwrap().unwrap();
    assert_eq!(next, (TEAM.to_owned(), "01B".to_owned()));
    assert!(!format!("{done:?}").contains("secret"));
    assert_eq!(store.bulk("01Z").await.unwrap(), None);
}

#[tokio::test]
async fn uploads_that_wait_are_bounded_per_team() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    for n in 0..BULK_OPEN_MAX {
        assert!(store.add_bulk(upload(&format!("{n:04}"), 1)).await.unwrap());
    }
    assert!(!store.add_bulk(upload("9999", 1)).await.unwrap());
    let mut other = upload("9999", 1);
    other.team = "bob".into();
    assert!(store.add_bulk(other).await.unwrap());
}

#[tokio::test]
async fn a_device_that_was_registered_and_removed_too_often_is_not_registered_again() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let gateway = Subject::Named("gateway".into());
    assert!(
        register(&*store, "01A", vec![registration(gateway.clone(), 1)])
            .await
            .is_empty()
    );
    let gone = store.unregister(gateway.clone(), TEAM, "ada", at(3)).await;
    assert!(gone.unwrap());
    drop(store);
    let db = rusqlite::Connection::open(home.path().join("sectag.db")).unwrap();
    let copy = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
                INSERT INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
                SELECT randomblob(32), subject, team, serial, issued, revoked_at, ends_at FROM revoked, n WHERE number = 1";
    let made = db.execute(copy, [TAKEN_BACK_MAX as i64]).unwrap();
    assert_eq!(made, TAKEN_BACK_MAX - 2, "and the one that was registered");
    drop(db);
    let store = shared(home.path());
    let last = vec![registration(gateway.clone(), 2)];
    assert!(register(&*store, "01B", last.clone()).await.is_empty());
    let gone = store.unregister(gateway.clone(), TEAM, "ada", at(4)).await;
    assert!(gone.unwrap());
    let one_more = vec![registration(gateway.clone(), 3)];
    let errors = register(&*store, "01C", one_more.clone()).await;
    assert!(
        errors[0].contains("10000 certificates of this device"),
        "{errors:?}"
    );
    // Other devices, and the same id in another team, have their own.
    let other = registration(Subject::Named("other".into()), 4);
    assert!(register(&*store, "01D", vec![other]).await.is_empty());
    assert!(
        register_of(&*store, "bob", "01E", one_more)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_claim_takes_the_id_of_a_device_back_from_other_teams() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let subject = Subject::from(device_id(1));
    // Before anybody has claimed it, each team may register it below its own topics.
    for (team, id, n) in [("bob", "01A", 5), (TEAM, "01B", 6)] {
        let rows = vec![registration(subject.clone(), n)];
        let errors = register_of(store.as_ref(), team, id, rows).await;
        assert_eq!(errors, Vec::<String>::new());
    }
    claimed(store.as_ref(), 1).await;
    let trust = store.trust_of(subject.clone()).await.unwrap();
    assert_eq!(trust.revoked, [[105; 32]]);
    assert_eq!(trust.pins.len(), 1);
    assert_eq!(trust.pins[0].team, TEAM);
    let of = async |team: &str| store.registered(subject.clone(), team).await.unwrap();
    assert!(of("bob").await.is_none() && of(TEAM).await.is_some());
    let again = vec![registration(subject.clone(), 7)];
    let errors = register_of(store.as_ref(), "bob", "01C", again).await;
    assert!(errors[0].starts_with("[0]: this id cannot"), "{errors:?}");
    // Whoever has the device does not hear what others had.
    let asked = store.revoke_certificate(device_id(1), TEAM, "0a05", "ada", at(9));
    assert_eq!(asked.await.unwrap(), None);
    // Who lost it is told so, and not to whom.
    let told = store.audit(Some(device_id(1)), None, 50).await.unwrap();
    let mut told = told.items.into_iter().map(|record| record.event);
    let lost = told.find(|event| event.action == "certificate-revoked");
    let lost = lost.unwrap();
    assert_eq!(
        (lost.team.as_deref(), &lost.by[..]),
        (Some("bob"), "service")
    );
}

#[tokio::test]
async fn what_ends_is_told_to_whoever_sees_the_device() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let seen = NewClaim {
        tags: vec!["hall".into()],
        ..claim_of(1, &[0, 1])
    };
    let hidden = NewClaim {
        tags: vec!["hall".into()],
        reserved: true,
        ..claim_of(2, &[0, 1])
    };
    for claim in [seen, hidden] {
        let claimed = store.claim(claim).await.unwrap();
        assert!(matches!(claimed, ClaimOutcome::Created(_)), "{claimed:?}");
    }
    // Each row says `a`, whatever the tags of its device.
    let rows = vec![
        registration(device_id(1).into(), 1),
        registration(device_id(2).into(), 2),
        registration(device_id(3).into(), 3),
        registration(Subject::Named("nrf-1".into()), 4),
    ];
    assert_eq!(
        register(store.as_ref(), "01A", rows).await,
        Vec::<String>::new()
    );
    let told = async |tags: &[&str], reserved| {
        let view = View {
            tags: tags.iter().map(ToString::to_string).collect(),
            reserved,
            ..View::of(TEAM)
        };
        let query = ForeignEndingQuery {
            view: Some(view),
            until: at(2_000_000),
            after: (at(0), 0),
            limit: 9,
        };
        let page = store.foreign_endings(query).await.unwrap();
        let serials = page.items.into_iter().map(|ending| ending.serial);
        serials.collect::<Vec<_>>()
    };
    assert_eq!(told(&[], true).await, ["0a01", "0a02", "0a03", "0a04"]);
    assert_eq!(told(&[], false).await, ["0a01", "0a03", "0a04"]);
    assert_eq!(told(&["hall"], false).await, ["0a01"]);
    assert_eq!(told(&["a"], true).await, Vec::<String>::new());
    let stranger = View::of("bob");
    let query = ForeignEndingQuery {
        view: Some(stranger),
        until: at(2_000_000),
        after: (at(0), 0),
        limit: 9,
    };
    assert_eq!(store.foreign_endings(query).await.unwrap().items, []);
}

#[tokio::test]
async fn each_team_has_its_turn() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    for (team, id) in [("ada", "01"), ("ada", "02"), ("bob", "03"), ("cy", "04")] {
        let mut upload = upload(id, 1);
        upload.team = team.into();
        assert!(store.add_bulk(upload).await.unwrap());
    }
    let mut turns = Vec::new();
    let mut last = String::new();
    while let Some((team, id)) = store.next_bulk(&last).await.unwrap() {
        let row = vec![Err("nonsense".to_owned())];
        store.step_bulk(&id, 0, row, at(2)).await.unwrap();
        turns.push(id);
        last = team;
    }
    assert_eq!(turns, ["01", "03", "04", "02"]);
}

#[tokio::test]
async fn an_upload_ends_with_the_key_that_sent_it() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    store.add_team(team(TEAM, None), "ada").await.unwrap();
    let key = |name: &str, n, expires_at| ApiKey {
        team: TEAM.into(),
        name: name.into(),
        hash: [n; 32],
        role: Role::Editor,
        tags: Vec::new(),
        created_at: at(0),
        expires_at,
        revoked_at: None,
    };
    for key in [key("lost", 1, None), key("short", 2, Some(at(3)))] {
        store.add_key(key, "ada").await.unwrap();
    }
    let row = |n| Ok(Some(registration(Subject::Named(format!("d{n}")), n)));
    for (id, by) in [("01A", "lost"), ("01B", "short")] {
        let mut upload = upload(id, 3);
        upload.by = by.into();
        assert!(store.add_bulk(upload).await.unwrap());
        let n = if id == "01A" { 1 } else { 2 };
        let stepped = store.step_bulk(id, 0, vec![row(n)], at(2)).await.unwrap();
        assert_eq!(stepped.status, BulkStatus::InProgress);
        assert_eq!(store.bulk_halted(id, at(2)).await.unwrap(), None);
    }
    assert!(store.revoke_key(TEAM, "lost", "ada", at(3)).await.unwrap());
    for (id, words) in [
        ("01A", "`lost` that sent it was revoked"),
        ("01B", "`short` that sent it expired"),
    ] {
        let halted = store.bulk_halted(id, at(4)).await.unwrap().unwrap();
        assert!(halted.contains(words), "{halted}");
        // Whoever did not ask.
        let stepped = store.step_bulk(id, 1, vec![row(9)], at(4)).await.unwrap();
        assert_eq!(
            (stepped.status, stepped.changed.len()),
            (BulkStatus::Failed, 0)
        );
        let ended = store.bulk(id).await.unwrap().unwrap();
        assert_eq!(
            (ended.done, ended.failed, ended.finished_at),
            (3, 2, Some(at(4)))
        );
        assert!(
            ended.errors[0].starts_with("[1]: not worked on"),
            "{ended:?}"
        );
        assert_eq!(ended.errors[0][4..], ended.errors[1][4..]);
    }
    assert_eq!(store.next_bulk("").await.unwrap(), None);
    assert!(!store.fail_bulk("01A", "again", at(5)).await.unwrap());
}

#[tokio::test]
async fn a_damaged_upload_is_in_nobody_s_way_and_ends_with_its_cause() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    for id in ["01A", "01B", "01C"] {
        assert!(store.add_bulk(upload(id, 2)).await.unwrap());
    }
    drop(store);
    let db = rusqlite::Connection::open(home.path().join("sectag.db")).unwrap();
    for damage in [
        "role = 'emperor', errors = '[' WHERE id = '01A'",
        "total = 9000000000000000000, done = -1, scope = 'x' WHERE id = '01B'",
    ] {
        let sql = format!("UPDATE bulk_operations SET {damage}");
        assert_eq!(db.execute(&sql, []).unwrap(), 1);
    }
    drop(db);
    let store = shared(home.path());
    for (id, rows) in [("01A", 2), ("01B", 1000)] {
        assert_eq!(store.next_bulk("").await.unwrap().unwrap().1, id);
        let read = store.bulk_with_body(id).await;
        assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
        assert!(store.fail_bulk(id, "damaged", at(3)).await.unwrap());
        let ended = store.bulk(id).await.unwrap().unwrap();
        assert_eq!((ended.status, ended.failed), (BulkStatus::Failed, rows));
        assert_eq!(ended.errors.len() as u64, rows);
        assert_eq!(ended.errors[0], "[0]: damaged");
    }
    assert_eq!(store.next_bulk("").await.unwrap().unwrap().1, "01C");
}
